"""`tokmark ab`: sides that fail, other load on the machine, and signals."""
import json
import signal

import pytest

from ab_sides import CELL, ONE_START, await_rounds, compare, no_known_noise, results, side  # noqa: F401
from caller import worker_pids
from waiting import TIMEOUT_S, is_alive, wait_until


# --- sides that fail ---

@pytest.mark.parametrize("failure, verdict, reason", [
    ("--exit-at 5", "crashed", "exited"), ("--hang-at 5", "timeout", "timeout_measure"),
    ("--nonfinite-at 5", "invalid", "nonfinite_loss"), ("--recompile-at 5", "invalid", "recompile"),
    ("--exit-at 0", "crashed", "exited")])
@pytest.mark.parametrize("is_b", [False, True])
def test_a_side_that_fails_is_a_result(call, failure, verdict, reason, is_b):
    good, bad = side("--made-up"), side("--made-up", failure)
    code = 4 if failure.endswith(" 0") else 3
    done, line = compare(call, *((good, bad) if is_b else (bad, good)), "--timeout", "2s", code=code)
    name = "b" if is_b else "a"
    assert line["outcome"] == "undecided" and line["reasons"][0]["code"] == f"{name}_failed"
    assert line[name]["verdict"] == verdict and line[name]["reasons"][0]["code"] == reason
    assert line["a" if is_b else "b"]["verdict"] == "ok"
    assert "UNDECIDED" in done.stdout and f"{name}_failed" in done.stdout


def test_a_side_that_diverges_while_it_is_measured_is_not_faster(call):
    """Twice as fast, until its loss is no number: blocks 0 to 2 are warm-up and the first rounds'."""
    _, line = compare(call, side("--made-up", "--step-ms 2"), side("--made-up", "--nonfinite-at 9"), code=3)
    assert line["rounds"] > 0 and line["outcome"] == "undecided"
    assert line["b"]["reasons"][0]["code"] == "nonfinite_loss"


@pytest.mark.parametrize("is_b", [False, True])
def test_a_side_in_another_precision_than_asked_is_no_side(call, is_b):
    """Though it is twice as fast, and everything else is well."""
    good, bad = side("--made-up", "--step-ms 2"), side("--made-up", "--dtype bf16")
    done, line = compare(call, *((good, bad) if is_b else (bad, good)), code=4)
    name = "b" if is_b else "a"
    assert line["outcome"] == "undecided" and line["reasons"][0]["code"] == f"{name}_failed"
    assert line[name]["verdict"] == "invalid" and line[name]["dtype_compute"] == "bf16"
    assert [reason["code"] for reason in line[name]["reasons"]] == ["precision_not_as_asked"]
    assert "FASTER" not in done.stdout and "SLOWER" not in done.stdout


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_the_precision_that_was_asked_for_is_no_fault(call, precision):
    flags = f" --precision {precision}"
    _, line = compare(call, side("--made-up", f"--dtype {precision}") + flags, side("--made-up") + flags, code=0)
    assert line["outcome"] == "same" and line["a"]["dtype_compute"] == precision


def test_nothing_is_decided_while_others_take_the_processors(call, busy_cpu):
    """B's steps take a third of A's; that much is certain, and not whose doing it is."""
    sides = ["--a", side("--said --step-ms 6"), "--b", side("--said --step-ms 2"), *ONE_START, "--rounds", "20"]
    for limit, outcome, codes in (("10", "undecided", ["foreign_load"]), ("off", "faster", [])):
        process = call.start("ab", *sides, "--foreign-load", limit, "--out", limit,
                             launch=["taskset", "-c", str(busy_cpu)])
        out, errors = process.communicate()
        (line,) = results(call, limit)
        assert (line["outcome"], [reason["code"] for reason in line["reasons"]]) == (outcome, codes), errors
        assert 50 < line["foreign_cpu_percent"] <= 100, "the workers sleep"
        # rounds that were disturbed are kept raw with their cause, counted, and made up for once; what they say decides nothing
        raw = [json.loads(text) for text in (call.folder / limit / "samples" / line["samples_file"]).open()]
        causes = [each["set_aside"] for each in raw if each["set_aside"]]
        assert {cause: causes.count(cause) for cause in set(causes)} == line["set_aside"]
        assert len(raw) == line["rounds"] + len(causes) and line["rounds"] <= 20 and len(raw) <= 40
        assert (len(causes) > len(raw) / 2) == bool(codes)
        assert process.returncode == (3 if codes else 0) and ("UNDECIDED" in out) == bool(codes)


def test_the_other_comparisons_go_on(call):
    call("ab", "--a", side("--made-up"), "--b", "--engine exec:false", "--mode", "decode", "infer", "--seq", "16",
         "--warmup", "1", code=4)
    first, second = results(call)
    assert {line["b"]["verdict"] for line in (first, second)} == {"crashed"}
    assert {line["a"]["verdict"] for line in (first, second)} == {"ok"}


def test_a_side_that_does_not_open_leaves_the_other_unstarted(call):
    _, line = compare(call, "--engine exec:false", side("--made-up"), code=4)
    assert line["a"]["verdict"] == "crashed" and line["b"]["verdict"] is None
    assert line["rounds"] == 0 and line["log_ratio"] is None and line["a"]["ms_p50"] is None


# --- signals ---

def interrupt(call, process):
    """Ctrl-C."""
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 130, stderr
    return stdout, results(call)[-1]


def test_an_interrupt_keeps_what_is_whole(call):
    slow = side("--made-up", "--pause-ms 20")
    process = call.start("ab", "--a", slow, "--b", slow, *ONE_START, "--rounds", "1000", "--seq", "16", "32")
    await_rounds(call, process)
    pids = worker_pids(process)
    stdout, line = interrupt(call, process)
    assert len(results(call)) == 1 and "interrupted" in [reason["code"] for reason in line["reasons"]]
    assert line["a"]["verdict"] == line["b"]["verdict"] == "interrupted"
    assert line["rounds"] >= 1 and line["log_ratio"] is not None and "interrupted" in stdout
    assert len(pids) == 2 and not any(is_alive(pid) for pid in pids)


def rounds_so_far(call):
    return sum(path.read_text().count("\n") for path in call.folder.glob("_bench/samples/ab-*.jsonl"))


@pytest.mark.parametrize("step_ms, outcome", [(2, "slower"), (1.05, "undecided")])
def test_what_was_interrupted_is_judged_by_what_there_is(call, step_ms, outcome):
    """In the first of exact starts, where no look was planned: at an error of 0.1 %, with what two processes differ by."""
    process = call.start("ab", "--a", side("--made-up", "--pause-ms 20"), "--b", side("--made-up", f"--pause-ms 20 --step-ms {step_ms}"),
                         *CELL, "--rounds", "1000")
    wait_until(lambda: rounds_so_far(call) >= 4, process)
    stdout, line = interrupt(call, process)
    assert line["outcome"] == outcome and outcome.upper() in stdout
    assert line["looks"][0]["error"] == 0.001 and line["looks"][0]["rounds"] == line["rounds"] >= 4
    assert line["reasons"][0]["code"] == "interrupted" and "judged by what there is" in line["reasons"][0]["text"]


def test_an_interrupt_in_a_later_start_keeps_the_starts_before(call):
    log = call.folder / "log"
    flags = side("--made-up", "--pause-ms 10", f"--log {log}")
    process = call.start("ab", "--a", flags, "--b", flags, *CELL, "--rounds", "6")
    wait_until(lambda: log.exists() and log.read_text().count("hello") >= 5, process)
    _, line = interrupt(call, process)
    assert line["starts"] == len(line["start_log_ratios"]) == 2 and line["rounds"] >= 12
    assert line["outcome"] == "undecided" and "interrupted" in [reason["code"] for reason in line["reasons"]]
    # two of twenty starts may spend a 100th of the error
    assert [(look["starts"], look["error"]) for look in line["looks"]] == [(2, pytest.approx(0.0005))]
    pids = {int(text.split()[0]) for text in log.read_text().splitlines()}
    assert len(pids) >= 5 and not any(is_alive(pid) for pid in pids)


def test_no_worker_outlives_a_killed_harness(call):
    process = call.start("ab", "--a", side("--step-ms 5"), "--b", side("--step-ms 5"), *ONE_START)
    await_rounds(call, process)
    pids = worker_pids(process)
    process.kill()
    process.wait()
    assert len(pids) == 2
    wait_until(lambda: not any(is_alive(pid) for pid in pids))

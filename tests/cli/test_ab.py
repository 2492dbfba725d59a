"""`tokmark ab`: two live workers, interleaved, through the whole program."""
import json
import math
import os
import re
import signal
import statistics
import subprocess
import time

import pytest
from scipy import stats

from caller import ROOT, TOKMARK, await_samples, worker_pids

WORKER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "ab_worker.py")
CELL = ["--mode", "infer", "--seq", "16", "--batch", "1", "--warmup", "3"]
ONE_START = [*CELL, "--starts", "1"]
SMALL = ["--set", "dim=32", "--set", "layers_count=2", "--set", "heads_count=2", "--set", "ffn_hidden=48",
         "--set", "vocab_size=128", "--set", "rotary_dim=4", "--set", "experts_count=4"]


@pytest.fixture(autouse=True)
def no_known_noise(tmp_path, monkeypatch):
    """What the machine's user has stored must not decide here."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def side(*args):
    """FLAGS of a side whose engine is ab_worker.py."""
    return f"--engine \"exec:python3 '{WORKER}' {' '.join(args)}\""


def results(call, out="_bench"):
    text = (call.folder / out / "ab_results.jsonl").read_text(encoding="utf-8")
    assert text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def compare(call, a, b, *args, code):
    done = call("ab", "--a", a, "--b", b, *ONE_START, *args, code=code)
    return done, results(call)[-1]


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


# --- what it says ---

def test_equal_sides_are_the_same(call):
    done, line = compare(call, side("--made-up"), side("--made-up"), code=0)
    assert line["outcome"] == "same" and line["reasons"] == []
    assert line["log_ratio"] == 0 and line["ratio_percent_low"] == line["ratio_percent_high"] == 0
    assert line["rounds"] == 12  # the first look that can decide
    assert line["synthetic"] is True and line["same_work"] is True
    assert "SAME" in done.stdout and "ab_results.jsonl" in done.stdout
    assert "started" in done.stderr and "SAME" in done.stderr


@pytest.mark.parametrize("a, b, outcome, ratio", [(1, 2, "slower", 2), (2, 1, "faster", 0.5)])
def test_a_side_that_takes_twice_as_long(call, a, b, outcome, ratio):
    done, line = compare(call, side("--made-up", f"--step-ms {a}"), side("--made-up", f"--step-ms {b}"), code=0)
    assert line["outcome"] == outcome and outcome.upper() in done.stdout
    assert line["log_ratio"] == pytest.approx(math.log(ratio), abs=1e-12)
    assert line["ratio_percent"] == pytest.approx(100 * (ratio - 1))
    assert line["a"]["ms_p50"] == a and line["b"]["ms_p50"] == b
    assert line["steps_per_block"] == 2  # 4 ms of the slower side
    assert line["sign_p"] == pytest.approx(2 * 0.5 ** line["rounds"])
    assert line["a"]["samples"] == line["b"]["samples"] == 2 * 2 * line["rounds"]
    assert line["lead_in_steps_dropped"] == 4 * line["rounds"]


@pytest.mark.parametrize("extra, ratio", [(3.1, 1.031), (0.4, 1.004)])
def test_the_threshold_decides(call, extra, ratio):
    a, b = side("--made-up", "--step-ms 10"), side("--made-up", f"--step-ms {10 + extra / 10}")
    _, line = compare(call, a, b, code=0)
    assert line["log_ratio"] == pytest.approx(math.log(ratio))
    assert line["outcome"] == ("slower" if extra > 1 else "same")
    _, line = compare(call, a, b, "--threshold", "5", code=0)
    assert line["outcome"] == "same" and line["threshold_percent"] == line["threshold_asked_percent"] == 5


def test_real_time_and_exactly_so_many_rounds(call):
    """A sleep takes at least as long as it is told; how much longer is the machine's affair."""
    done, line = compare(call, side("--step-ms 1"), side("--step-ms 100"), "--rounds", "8", code=None)
    # so uneven rounds that they tell nothing are the machine's affair, too
    assert done.returncode in (0, 3) and line["outcome"] in ("slower", "undecided")
    assert line["rounds"] == 8 and line["synthetic"] is False
    assert line["b"]["ms_p50"] >= 100 and line["a"]["ms_p50"] >= 1
    assert math.exp(line["log_ratio"]) == pytest.approx(line["b"]["ms_p50"] / line["a"]["ms_p50"], rel=0.5)


def test_synced_per_block(call):
    _, line = compare(call, side("--made-up"), side("--made-up", "--step-ms 1.5"), "--sync", "block", code=0)
    assert line["log_ratio"] == pytest.approx(math.log(1.5)) and line["b"]["ms_p50"] == 1.5


def test_native_against_itself(call):
    done = call("ab", "--a", "--threads 1", "--threads", "1", "--mode", "infer", "--seq", "16", "--batch", "1", *SMALL,
                "--threshold", "30", "--max-time", "10s")
    line, = results(call)
    # the machine's noise decides which of the two; either goes with its exit code and with measured rounds
    assert (line["outcome"], done.returncode) in (("same", 0), ("undecided", 3)), done.stdout
    assert (line["a"]["verdict"], line["b"]["verdict"]) == ("ok", "ok") and line["rounds"] > 0
    assert line["a"]["cell_id"] == line["b"]["cell_id"] and line["a"]["backend"] == line["b"]["backend"]
    assert line["a"]["flags"] == "--threads 1" and line["b"]["flags"] is None
    assert line["a"]["argv"] == [TOKMARK, "worker", "native"]


def test_different_work_is_said(call):
    done, line = compare(call, side("--made-up") + " --batch 1", side("--made-up") + " --batch 2", code=0)
    assert line["same_work"] is False and "different work" in done.stdout
    assert (line["a"]["cell"]["batch_size"], line["b"]["cell"]["batch_size"]) == (1, 2)


def test_flags_of_a_side_replace_the_common_ones(call):
    call("ab", "--a", "--seq 32 64 --batch 2", "--seq", "16", "24", "--engine", side("--made-up")[10:-1], "--mode",
         "infer", "--warmup", "1", code=0)
    first, second = results(call)
    assert [line["a"]["cell"]["seq_len"] for line in (first, second)] == [32, 64]
    assert [line["b"]["cell"]["seq_len"] for line in (first, second)] == [16, 24]
    assert {line["a"]["cell"]["batch_size"] for line in (first, second)} == {2}
    assert {line["b"]["cell"]["batch_size"] for line in (first, second)} == {4}


# --- how it is measured ---

def test_blocks_are_interleaved_and_counterbalanced(call):
    log = call.folder / "log"
    flags = side("--made-up", "--step-ms 1", f"--log {log}")
    _, line = compare(call, flags, flags, "--rounds", "3", code=3)
    lines = [text.split() for text in log.read_text().splitlines()]
    runs = [(pid, int(steps)) for pid, kind, steps in lines if kind == "run"]
    a = next(pid for pid, kind, _ in lines if kind == "hello")
    order = "".join("A" if pid == a else "B" for pid, _ in runs)
    warmup = len(order) - 12
    assert order[warmup:] == "ABBA" + "BAAB" + "ABBA"
    # the same warm-up on both sides, interleaved; then blocks of 4 steps and a lead-in
    assert order[:warmup] == "AB" * (warmup // 2)
    assert sum(steps for pid, steps in runs[:warmup] if pid == a) == line["a"]["warmup_steps"] == 3
    assert line["b"]["warmup_steps"] == 3
    assert [steps for _, steps in runs[warmup:]] == [5] * 12
    assert len({pid for pid, _, _ in lines}) == 2
    # both were open before the first step, and alive until the last
    kinds = [kind for _, kind, _ in lines]
    assert kinds[:4] == ["hello", "open", "hello", "open"] and kinds[-2:] == ["close", "close"]


def test_warm_up_ends_for_both_and_takes_its_share_of_the_time_at_most(call):
    args = ["--warmup", "auto", "--max-time", "400ms"]
    # How many rounds fit, and so what can be said of A, is the machine's affair.
    done, line = compare(call, side("--made-up", "--step-ms 1", "--growing"), side("--made-up"), *args, code=None)
    assert done.returncode in (0, 3), done.stderr
    assert line["a"]["verdict"] == "unsteady" and line["a"]["reasons"][0]["code"] == "warmup_not_steady"
    assert line["b"]["verdict"] == "ok" and line["rounds"] > 0
    # 1 ms and 2 % more each: 100 ms are over after 56 steps
    assert 50 <= line["a"]["warmup_steps"] <= 120
    assert line["b"]["warmup_steps"] <= line["a"]["warmup_steps"]


# --- several starts ---

def test_every_start_has_workers_of_its_own(call):
    log = call.folder / "log"
    flags = side("--made-up", "--step-ms 1", f"--log {log}")
    call("ab", "--a", flags, "--b", flags, *CELL, "--starts", "5", "--rounds", "3", code=0)
    (line,) = results(call)
    lines = [text.split() for text in log.read_text().splitlines()]
    hellos = [pid for pid, kind, _ in lines if kind == "hello"]
    assert line["starts"] == 5 and len(set(hellos)) == 10 and line["rounds"] == 15
    # two alive at a time, all closed before the next two begin
    kinds = [kind for _, kind, _ in lines if kind in ("hello", "close")]
    assert kinds == ["hello", "hello", "close", "close"] * 5
    assert line["a"]["blocks"] == 30 and line["lead_in_steps_dropped"] == 60
    path = call.folder / "_bench" / "samples" / line["samples_file"]
    rounds = [json.loads(text) for text in path.read_text().splitlines()]
    assert [each["start"] for each in rounds] == [start for start in range(5) for _ in range(3)]
    assert line["start_log_ratios"] == [0] * 5 and line["start_spread_percent"] == 0


def test_processes_that_differ_are_not_taken_for_sides_that_do(call):
    """Every process is slower by a share of its own: nothing is known of the sides."""
    uneven = side("--made-up", "--step-ms 0.1", "--uneven")
    said = []
    for _ in range(8):
        call("ab", "--a", uneven, "--b", uneven, *CELL, "--starts", "5", "--rounds", "10", "--threshold", "0.1")
        line = results(call)[-1]
        said.append(line["outcome"])
        ratios = line["start_log_ratios"]
        assert len(set(ratios)) == 5 and line["log_ratio"] == pytest.approx(sum(ratios) / 5)
        half = 2.7764451052 * statistics.stdev(ratios) / math.sqrt(5)
        assert line["log_ratio_low"] == pytest.approx(line["log_ratio"] - half, rel=1e-6)
        assert line["log_ratio_high"] == pytest.approx(line["log_ratio"] + half, rel=1e-6)
        assert line["start_spread_percent"] == pytest.approx(100 * math.expm1(statistics.stdev(ratios)))
        # blocks of about 4 ms, in every start as many steps as in the first
        text = (call.folder / "_bench" / "samples" / line["samples_file"]).read_text()
        steps = [json.loads(each)["steps"] for each in text.splitlines()]
        assert set(steps) == {line["steps_per_block"]} and line["a"]["samples"] == 2 * sum(steps)
    # a 95 % interval beyond 0.1 % has a probability of at most 5 %: 4 of 8 of 0.04 %
    assert said.count("undecided") > 4, said
    done = call("ab", "--a", uneven, "--b", uneven, *ONE_START, "--rounds", "10", "--threshold", "0.1")
    line = results(call)[-1]
    assert line["outcome"] != "undecided", "one start is certain of its own two processes"
    assert line["starts"] == 1 and line["start_spread_percent"] is None and "without --starts 1" in done.stdout
    assert line["spread_from"] == "rounds"


def sequential(call, factors, code, starts="10"):
    """B's workers take their factors from the list in turn, A's steps are all alike, and time is no matter: nothing is left to chance."""
    (call.folder / "factors").write_text("\n".join(map(repr, factors)))
    done = call("ab", "--a", side("--made-up", "--step-ms 1"), "--b", side("--made-up", f"--each {call.folder}/factors"), *CELL,
                "--starts", starts, "--max-time", "1h", code=code)
    return done, results(call)[-1]


def spread_about(difference, count=10, apart=0.01):
    """Starts that are on average `difference` apart, alternately 1 % more and less."""
    return [math.exp(math.log1p(difference) + (apart if i % 2 else -apart)) for i in range(count)]


@pytest.mark.parametrize("difference, outcome, starts, rounds", [
    (0.2, "slower", 1, 12), (-0.367, "faster", 1, 12), (0.08, "slower", 2, 26), (0.03, "slower", 6, 78)])
def test_a_larger_difference_is_decided_sooner(call, difference, outcome, starts, rounds):
    """20 % within the first start, in its first 12 rounds; 3 % takes many, of 13 rounds each."""
    done, line = sequential(call, spread_about(difference), code=0)
    assert (line["outcome"], line["starts"], line["rounds"]) == (outcome, starts, rounds), line["looks"]
    assert line["starts_planned"] == 10 and line["reasons"] == []
    assert line["spread_from"] == ("built_in" if starts < 5 else "starts")
    assert ("two processes of a program differ" in done.stdout) == (starts < 5)
    assert (line["looks"][-1]["outcome"], line["looks"][-1]["ratio_percent"]) == (outcome, line["ratio_percent"])
    assert {look["outcome"] for look in line["looks"][:-1]} <= {"undecided"}
    # 0.1 % within the first start; 0.044 (1 / 10)^2 after it
    assert [look["error"] for look in line["looks"][:2]] == pytest.approx([0.001, 0.00044][:len(line["looks"])])
    assert [look["starts"] for look in line["looks"]] == list(range(len(line["looks"])))


def test_looks_have_the_interval_of_their_error(call):
    """From five starts on Student's t and the starts' own spread; before, 1.5 % known with 4 degrees of freedom as well."""
    factors = spread_about(0.012, apart=0.03)
    _, line = sequential(call, factors, code=3)
    logs = [math.log(round(1e6 * factor) / 1e6) for factor in factors]
    assert [look["starts"] for look in line["looks"]] == list(range(11)) and line["starts"] == 10
    assert line["start_log_ratios"] == pytest.approx(logs, abs=1e-9)
    for look in line["looks"][1:]:
        seen = logs[:look["starts"]]
        freedom, squares = len(seen) - 1, sum((x - statistics.mean(seen))**2 for x in seen)
        if len(seen) < 5:
            freedom, squares = freedom + 4, squares + 4 * 0.015**2
        half = stats.t.isf(look["error"] / 2, freedom) * math.sqrt(squares / freedom / len(seen))
        middle = statistics.mean(seen)
        assert look["ratio_percent_low"] == pytest.approx(100 * math.expm1(middle - half), abs=1e-6)
        assert look["ratio_percent_high"] == pytest.approx(100 * math.expm1(middle + half), abs=1e-6)
    reasons = line["reasons"]
    assert [reason["code"] for reason in reasons] == ["precision_not_met", "straddles_threshold"]
    assert "10 starts" in reasons[0]["text"] and "--starts" in reasons[0]["text"]
    assert (line["ratio_percent_low"], line["ratio_percent_high"]) == (line["looks"][-1]["ratio_percent_low"], line["looks"][-1]["ratio_percent_high"])


def test_equal_sides_are_the_same_once_five_starts_are_alike(call):
    _, line = sequential(call, [1], code=0)
    assert (line["outcome"], line["starts"], line["rounds"], line["reasons"]) == ("same", 5, 65, [])


def test_at_most_so_many_starts(call):
    _, line = sequential(call, spread_about(0.012), starts="3", code=3)
    assert line["starts"] == line["starts_planned"] == 3 and line["looks"][-1]["error"] > 0.03


def test_fewer_starts_where_starting_is_dear(call):
    """Each worker takes 600 ms to open: two are more than the second start may take. A slower machine only adds to that."""
    slow = side("--made-up", "--open-ms 600")
    done = call("ab", "--a", slow, "--b", slow, *CELL, "--max-time", "1s", code=3)
    line, = results(call)
    assert line["starts"] == line["starts_planned"] == 1 and line["prepare_ms"] >= 1200
    assert line["reasons"][0]["code"] == "precision_not_met" and "preparing one takes" in line["reasons"][0]["text"]
    first, second = done.stderr.splitlines()[:2]
    assert "started: at most 20 starts, 1.0s of rounds" in first and "preparing took" in second and "1 start, at most 1.0s" in second
    # and a large difference is decided all the same
    call("ab", "--a", slow, "--b", side("--made-up", "--open-ms 600", "--step-ms 0.63"), *CELL, "--max-time", "1s", code=0)
    line = results(call)[-1]
    assert (line["outcome"], line["starts"], line["starts_planned"]) == ("faster", 1, 1)


@pytest.mark.parametrize("is_b", [False, True])
def test_a_side_that_fails_in_a_later_start(call, is_b, tmp_path):
    """The third worker of that side dies in its rounds; the first starts' results stay."""
    count = tmp_path / "count"
    script = tmp_path / "dies.sh"
    script.write_text(f"""#!/bin/sh
echo x >>'{count}'
[ $(wc -l <'{count}') -lt 3 ] || exec python3 '{WORKER}' --made-up --exit-at 5
exec python3 '{WORKER}' --made-up
""")
    bad, good = f"--engine \"exec:sh '{script}'\"", side("--made-up")
    call("ab", "--a", good if is_b else bad, "--b", bad if is_b else good, *CELL, "--starts", "5", "--rounds", "4", code=3)
    (line,) = results(call)
    name = "b" if is_b else "a"
    assert line["starts"] == 2 and line["rounds"] >= 8 and line["outcome"] == "undecided"
    assert line["reasons"][0]["code"] == f"{name}_failed" and line[name]["verdict"] == "crashed"
    assert line["a" if is_b else "b"]["verdict"] == "ok"


def test_raw_rounds_are_kept(call):
    _, line = compare(call, side("--made-up", "--step-ms 0.8"), side("--made-up", "--step-ms 1"), code=0)
    path = call.folder / "_bench" / "samples" / line["samples_file"]
    rounds = [json.loads(text) for text in path.read_text().splitlines()]
    assert len(rounds) == line["rounds"]
    assert [each["order"] for each in rounds[:3]] == ["ABBA", "BAAB", "ABBA"]
    assert rounds[0]["a"] == {"block_ns": [8e5, 8e5], "window_ns": [32e5, 32e5], "ns": [[8e5] * 4] * 2}
    assert all(each["log_ratio"] == pytest.approx(math.log(1.25)) for each in rounds)


def test_max_time_ends_a_comparison_with_a_reason(call):
    _, line = compare(call, side("--step-ms 20"), side("--step-ms 20"), "--max-time", "500ms", code=3)
    assert line["outcome"] == "undecided"
    assert [reason["code"] for reason in line["reasons"]] == ["precision_not_met", "too_few_rounds"]
    assert line["ratio_percent"] is not None and line["ratio_percent_low"] is None


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
    sides = ["--a", side("--step-ms 6"), "--b", side("--step-ms 2"), *ONE_START, "--rounds", "20"]
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


# --- exit codes ---

def test_the_gate(call):
    slow, fast = side("--made-up", "--step-ms 2"), side("--made-up")
    compare(call, fast, slow, "--gate", code=1)
    compare(call, slow, fast, "--gate", code=0)
    compare(call, fast, fast, "--gate", code=0)
    compare(call, fast, side("--made-up", "--exit-at 9"), "--gate", code=3)


@pytest.mark.parametrize("args, text", [
    ([], "--a FLAGS"), (["--a"], "--a needs a value"), (["--a", "--seqq 1"], "--a: unknown flag '--seqq'; did you mean '--seq'?"),
    (["--b", "--engine natve"], "--b: --engine: unknown engine 'natve'; did you mean 'native'?"),
    (["--b", "--seq 1 --mode tran"], "did you mean 'train'?"), (["--a", "infer"], "--a: unexpected word 'infer'"),
    (["--a", "--batch 1 2"], "side A has 4 cells and side B 2"), (["--a", "--set 'x"], "not closed"),
    (["--a", "--steps 5"], "--a: unknown flag '--steps'"), (["--a", "--batch 2", "--steps", "5"], "unknown flag '--steps'"),
    (["--a", "--batch 2", "--resume"], "unknown flag '--resume'"),
    (["--a", "--batch 2", "--rounds", "5", "--max-time", "3s"], "exclude each other"),
    (["--a", "--binary /nonexistent/tokmark"], "--a: --binary: cannot read"),
    (["--a", "--binary ."], "no program that can be run"),
    (["--a", "--engine exec:true --binary /bin/true"], "the command names its own program"),
    (["--a", "--rev HEAD"], "--binary"), (["--a", "--engine exec:true --rev HEAD"], "no git repository"),
    (["--a", "--python x"], "--a: --python is for --engine pytorch or jax"),
    (["--a", "--batch 2", "--treshold", "3"], "'--threshold'"), (["--a", "--batch 2", "--threshold", "0"], "0.01"),
    (["--a", "--batch 2", "--starts", "0"], "--starts"), (["--a", "--batch 2", "--starts", "65"], "64"),
    (["--a", "--data missing"], "cannot read 'missing'"), (["--a", "--batch 2", "--out", "."], "_bench"),
])
def test_wrong_command_lines(call, args, text):
    done = call("ab", *args, code=2)
    assert text in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert done.stdout == "" and call.files() == []


def test_a_folder_that_is_held_or_cannot_be(call):
    (call.folder / "file").write_text("x")
    call("ab", "--a", side("--made-up"), *ONE_START, "--out", "file/x", code=5)


def test_dry_run_starts_and_writes_nothing(call):
    done = call("ab", "--a", "--batch 2", "--mode", "infer", "--dry-run", "--rounds", "7", code=0)
    assert "batch 2" in done.stdout and "batch 4" in done.stdout and "7 rounds" in done.stdout
    assert call.files() == []


def test_flags_of_run_reach_both_sides(call):
    words = ["--b", "--threads 1", *ONE_START, *SMALL, "--rounds", "2"]
    call("ab", *words, "--seed", "7", "--launch", "env TOKMARK_TEST=1", code=3)
    line = results(call)[-1]
    for name in ("a", "b"):
        assert line[name]["cell"]["seed"] == "7" and line[name]["argv"][:2] == ["env", "TOKMARK_TEST=1"]


def test_colour_when_asked(call):
    for words, env, is_colored in ([["--color", "always"], {}, True], [["--color", "never"], {}, False], [[], {"NO_COLOR": "1"}, False]):
        done = call("ab", "--a", side("--made-up"), "--b", side("--made-up --step-ms 8"), *ONE_START, *words, env=env, code=0)
        assert ("\x1b[31mSLOWER\x1b[0m" in done.stdout) == ("\x1b" in done.stdout) == is_colored, done.stdout


def test_quiet_and_the_line_that_was_torn(call):
    (call.folder / "_bench").mkdir()
    (call.folder / "_bench" / "ab_results.jsonl").write_text('{"whole":1}\n{"to')
    done, _ = compare(call, side("--made-up"), side("--made-up"), code=0)
    assert "cut a torn last line of 4 bytes" in done.stderr
    done, _ = compare(call, side("--made-up"), side("--made-up"), "--quiet", code=0)
    assert done.stderr == ""
    assert [line.get("whole") for line in results(call)] == [1, None, None]


# --- another program, another revision ---

def test_another_binary(call):
    other = call.folder / "other"
    other.write_text(f"#!/bin/sh\necho \"$@\" >> '{call.folder}/called'\nexec '{TOKMARK}' \"$@\"\n")
    other.chmod(0o755)
    call("ab", "--a", f"--binary {other}", "--engine", "null", "--mode", "infer", "--rounds", "2", "--warmup", "1",
         "--starts", "1", code=3)
    line, = results(call)
    assert line["a"]["binary"] == str(other) == line["a"]["argv"][0] and line["b"]["binary"] is None
    assert line["b"]["argv"][0] == TOKMARK
    assert (call.folder / "called").read_text() == "worker null\n"


def git(folder, *args):
    env = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    return subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@t.example", *args], cwd=folder, text=True,
                          check=True, capture_output=True, env=env).stdout.strip()


@pytest.fixture
def repository(call, tmp_path, monkeypatch):
    """A worker in a subfolder, at 2 ms a step in the first commit (tag old) and 1 ms in the work folder."""
    top = tmp_path / "repository"
    (top / "sub").mkdir(parents=True)
    places = tmp_path / "temporary"
    places.mkdir()
    monkeypatch.setenv("TMPDIR", str(places))
    git(top, "init", "-q", "-b", "main")
    path = top / "sub" / "mine.sh"
    for step_ms, tag in ((2, "old"), (1, "new")):
        path.write_text(f"#!/bin/sh\nexec python3 '{WORKER}' --made-up --step-ms {step_ms}\n")
        path.chmod(0o755)
        git(top, "add", ".")
        git(top, "commit", "-q", "-m", tag)
        git(top, "tag", tag)
    call.folder = top / "sub"
    return top


def is_tidy(repository):
    places = repository.parent / "temporary"
    return list(places.iterdir()) == [] and git(repository, "worktree", "list").count("\n") == 0


def test_another_revision(call, repository):
    done = call("ab", "--engine", "exec:./mine.sh", "--a", "--rev old", *ONE_START, code=0)
    line, = results(call)
    assert line["outcome"] == "faster" and line["ratio_percent"] == pytest.approx(-50), done.stdout
    assert line["a"]["rev"] == "old" and line["a"]["rev_commit"] == git(repository, "rev-parse", "old")
    assert line["b"]["rev"] is None and line["b"]["rev_commit"] is None
    assert is_tidy(repository)
    assert git(repository, "status", "--porcelain", "--untracked-files=no") == ""


def test_a_revision_is_removed_after_failures_too(call, repository):
    call("ab", "--engine", "exec:./mine.sh", "--a", "--rev old", "--b", "--engine exec:false", *ONE_START, code=4)
    assert is_tidy(repository)


def test_a_revision_is_removed_after_an_interrupt(call, repository):
    process = call.start("ab", "--engine", side("--step-ms 5")[10:-1], "--a", "--rev old", *ONE_START)
    await_rounds(call, process)
    assert not is_tidy(repository)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130 and is_tidy(repository)


@pytest.mark.parametrize("rev, text", [("odl", "did you mean 'old'?"), ("-q", "there are HEAD"), ("old~7", "'old'")])
def test_a_revision_that_is_not(call, repository, rev, text):
    done = call("ab", "--engine", "exec:./mine.sh", "--a", f"--rev={rev}", *ONE_START, code=2)
    assert text in done.stderr and is_tidy(repository)


def test_a_revision_without_the_folder(call, repository):
    (repository / "late").mkdir()
    call.folder = repository / "late"
    done = call("ab", "--engine", "exec:true", "--a", "--rev old", *ONE_START, code=2)
    assert "has no folder 'late'" in done.stderr


# --- signals ---

def await_rounds(call, process):
    await_samples(call, process, "ab-*.jsonl")


def interrupt(call, process):
    """Ctrl-C."""
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=30)
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
    while rounds_so_far(call) < 4:
        assert process.poll() is None
        time.sleep(0.02)
    stdout, line = interrupt(call, process)
    assert line["outcome"] == outcome and outcome.upper() in stdout
    assert line["looks"][0]["error"] == 0.001 and line["looks"][0]["rounds"] == line["rounds"] >= 4
    assert line["reasons"][0]["code"] == "interrupted" and "judged by what there is" in line["reasons"][0]["text"]


def test_an_interrupt_in_a_later_start_keeps_the_starts_before(call):
    log = call.folder / "log"
    flags = side("--made-up", "--pause-ms 10", f"--log {log}")
    process = call.start("ab", "--a", flags, "--b", flags, *CELL, "--rounds", "6")
    while not log.exists() or log.read_text().count("hello") < 5:
        assert process.poll() is None
        time.sleep(0.01)
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
    end = time.monotonic() + 20
    while time.monotonic() < end and any(is_alive(pid) for pid in pids):
        time.sleep(0.05)
    assert len(pids) == 2 and not any(is_alive(pid) for pid in pids)


# --- documentation ---

def documented(heading):
    with open(os.path.join(ROOT, "docs", "ab.md"), encoding="utf-8") as file:
        section = file.read().split(heading, 1)[1].split("\n## ", 1)[0].split("\n### ", 1)[0]
    return re.findall(r"^\| `(\w+)`", section, re.M)


def test_lines_have_the_documented_fields(call):
    _, line = compare(call, side("--made-up"), side("--made-up"), code=0)
    assert documented("## Result") == list(line)
    assert documented("### A side") == list(line["a"]) == list(line["b"])

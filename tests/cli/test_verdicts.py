"""What is said of good measurements: wrong ones are invalid, noisy ones have warnings, and only a
precision that was asked for and CPU contention make a cell unsteady."""
import collections
import json
import math
import re
import statistics

import pytest

from caller import THIN, worker
from test_check import SMALL, proxy
from waiting import wait_until

ZERO = proxy("zero", "loss")
STEPS = ["--mode", "infer", "--steps", "200", "--warmup", "1", "--drift", "off"]


def reasons(record):
    return [reason["code"] for reason in record["reasons"]]


def warnings(record):
    return [warning["code"] for warning in record["warnings"]]


# --- precision ---

def test_only_a_precision_that_was_asked_for_is_a_verdict(call):
    """Steps of 1 to 3 ms in turn: no median within 1 % in 200 ms."""
    uneven = ["run", "--engine", worker("--uneven"), "--mode", "infer", "--max-time", "200ms", "--warmup", "1"]
    call(*uneven, code=0)
    (record,) = call.records()
    assert (record["verdict"], reasons(record)) == ("ok", [])
    assert warnings(record)[0] == "target_ci_not_met" and "the target is " in record["warnings"][0]["text"]
    assert record["tokens_per_sec_low"] < record["tokens_per_sec"] < record["tokens_per_sec_high"]
    assert record["median_tokens_per_sec"] == pytest.approx(record["tokens_per_step"] / record["ms_p50"] * 1e3)
    done = call(*uneven, "--target-ci", "1", "--out", "asked", code=0)
    (asked,) = call.records("asked")
    assert (asked["verdict"], reasons(asked)) == ("unsteady", ["target_ci_not_met"]), done.stderr
    assert asked["policy_id"] != record["policy_id"], "--resume does not take one for the other"
    call(*uneven, "--strict", "--out", "strict", code=3)
    call(*uneven, "--target-ci", "1", "--strict", "--out", "strict", code=3)


def test_a_few_uneven_steps_say_how_badly_they_are_known(call):
    few = ["run", "--engine", worker("--uneven"), "--mode", "infer", "--warmup", "0"]
    call(*few, "--steps", "25", code=0)
    (record,) = call.records()
    assert (record["verdict"], reasons(record)) == ("ok", []) and "imprecise" in warnings(record)
    (text,) = [warning["text"] for warning in record["warnings"] if warning["code"] == "imprecise"]
    low, high = (abs(float(side)) for side in re.search(r"known to -([\d.]+) / \+([\d.]+) % only", text).groups())
    assert low == pytest.approx(100 * (1 - record["ms_p50_low"] / record["ms_p50"]), rel=0.01)
    assert high == pytest.approx(100 * (record["ms_p50_high"] / record["ms_p50"] - 1), rel=0.01)
    call(*few, "--steps", "5", "--out", "none", code=0)
    (record,) = call.records("none")
    assert record["ms_p50_low"] is None and "imprecise" in warnings(record)
    call(*few, "--steps", "2000", "--out", "many", code=0)
    assert "imprecise" not in warnings(call.records("many")[0])


# --- others ---

def raw_blocks(call, out):
    (path,) = (call.folder / out / "samples").iterdir()
    return [block for block in map(json.loads, path.read_text().splitlines()) if block["phase"] == "steady"]


def test_disturbed_blocks_are_set_aside_and_their_results_kept(call, busy_cpu):
    sleepy = ["run", "--engine", worker("--step-ms 5"), *STEPS]
    for limit, verdict, wanted in (("10", "unsteady", ["foreign_load"]), ("off", "ok", [])):
        process = call.start(*sleepy, "--foreign-load", limit, "--out", limit, launch=["taskset", "-c", str(busy_cpu)])
        _, errors = process.communicate()
        (record,) = call.records(limit)
        assert (record["verdict"], reasons(record)) == (verdict, wanted), (record, errors)
        assert 50 < record["foreign_cpu_percent"] <= 100, "the worker sleeps"
        assert process.returncode == 0, "noise is no failure"
        assert record["steps"] == 200 and record["ms_p50"] >= 5, "what there is"
        assert record["loss_last"] == 2.5, "and what those steps gave"
    loaded, taken = (call.records(out)[0] for out in ("10", "off"))
    assert loaded["clean_percent"] == 0 and loaded["steps_set_aside"] >= 200
    assert sum(loaded["set_aside"].values()) - loaded["set_aside"].get("after_pause", 0) == loaded["blocks"]
    assert 5900 < loaded["paused_ms"], "a load that stays is waited for once"
    assert (taken["clean_percent"], taken["set_aside"], taken["steps_set_aside"], taken["paused_ms"]) == (100, {}, 0, 0)
    causes = [block["set_aside"] for block in raw_blocks(call, "10")]
    assert {cause: causes.count(cause) for cause in set(causes)} == loaded["set_aside"]
    assert all(block["cpus"]["foreign_ns"] > 0 and block["ns"] for block in raw_blocks(call, "10"))
    (told,) = [reason["text"] for reason in loaded["reasons"]]
    assert f"only 0 of {loaded['blocks']} blocks undisturbed" in told
    ids = {record["policy_id"] for record in (loaded, taken)}
    assert len(ids) == 1, "the limit is no part of the cell"


def known_lines(folder, what):
    lines = map(json.loads, (folder / "tokmark" / "machine.jsonl").read_text().splitlines())
    return [line for line in lines if line["what"] == what]


def test_the_machine_s_clock_is_remembered_and_a_slower_one_is_warned_of(call, tmp_path):
    run = ["run", "--engine", "null", "--mode", "infer", "--steps", "20", "--warmup", "0", "--drift", "off",
           "--foreign-load", "off", "--pace", "on"]
    env = {"XDG_DATA_HOME": str(tmp_path / "data")}
    call(*run, env=env, code=0)
    (first,) = call.records()
    assert first["pace_ms"] > 0.1
    assert first["pace_percent"] is None and first["null_reasons"]["pace_percent"] == "no_reference"
    (line,) = known_lines(tmp_path / "data", "clock")
    assert line["clock_ns"] == round(first["pace_ms"] * 1e6)
    # a machine that was a thousand times as fast: it may be busy now, and idle later
    line["clock_ns"] //= 1000
    (tmp_path / "data" / "tokmark" / "machine.jsonl").write_text(json.dumps(line) + "\n")
    done = call(*run, env=env, code=0)
    record = call.records()[-1]
    assert (record["verdict"], reasons(record)) == ("ok", []) and "machine_slow" in warnings(record)
    call(*run, "--strict", env=env, code=3)
    record = call.records()[-1]
    expected = 100 * line["clock_ns"] / (record["pace_ms"] * 1e6)
    assert record["pace_percent"] == pytest.approx(expected) and record["pace_percent"] < 50
    assert "machine.jsonl" in done.stdout, "the hint"
    # off: neither looked at nor judged
    call(*run[:-1], "off", env=env, code=0)
    record = call.records()[-1]
    assert record["pace_ms"] is None and record["null_reasons"]["pace_ms"] == "off"
    assert record["policy_id"] == first["policy_id"], "it changes no result"


def test_a_clock_check_that_cannot_be_kept_stops_no_run(call, tmp_path):
    (tmp_path / "data").write_text("a file")
    done = call("run", "--engine", "null", "--mode", "infer", "train", "--steps", "20", "--warmup", "0", "--drift", "off",
                "--foreign-load", "off", "--pace", "on", env={"XDG_DATA_HOME": str(tmp_path / "data")}, code=0)
    assert done.stderr.count("of the machine is not kept") == 1 and len(call.records()) == 2


HISTORY_RUN = ["run", "--engine", "null", "--mode", "infer", "--steps", "20", "--warmup", "0", "--drift", "off",
               "--foreign-load", "off", "--pace", "off"]
HISTORY_FIELDS = ["history_" + name for name in "runs ms ms_low ms_high spread_percent range_percent".split()]


def machine_file(folder):
    return folder / "tokmark" / "machine.jsonl"


def test_a_run_unlike_earlier_ones_has_a_warning_and_an_interval_that_holds_them(call, tmp_path):
    env = {"XDG_DATA_HOME": str(tmp_path / "data")}
    call(*HISTORY_RUN, "--history", "on", env=env, code=0)
    (first,) = call.records()
    assert re.fullmatch("h[0-9a-f]{16}", first["history_id"])
    assert {first["null_reasons"][name] for name in HISTORY_FIELDS} == {"no_earlier_run"}
    assert first["next_run_basis"] in ("this_run", None) and first["null_reasons"]["between_run_percent"] == "one_run"
    (line,) = known_lines(tmp_path / "data", "run")
    assert line["history_id"] == first["history_id"] and line["at"] == first["started_at"] and line["run_id"] == first["run_id"]
    assert (line["ms"], line["ms_low"], line["ms_high"]) == (first["ms_p50"], first["ms_p50_low"], first["ms_p50_high"])
    # a machine that was ten thousand times as slow, and always about the same
    earlier = [10000 * line["ms"] * factor for factor in (1, 1.01, 0.99, 1)]
    base = {**line, "run_id": "r0", "ms_low": None, "ms_high": None}
    machine_file(tmp_path / "data").write_text("".join(json.dumps({**base, "ms": ms}) + "\n" for ms in earlier))
    call(*HISTORY_RUN, "--history", "on", env=env, code=0)
    record = call.records()[-1]
    assert (record["verdict"], reasons(record)) == ("ok", []) and "runs_disagree" in warnings(record)
    assert any("4 runs before it" in warning["text"] for warning in record["warnings"])
    runs = [*earlier, record["ms_p50"]]
    logs = [math.log(ms) for ms in runs]
    assert record["history_id"] == first["history_id"] and record["history_runs"] == 5
    assert record["history_ms"] == pytest.approx(statistics.geometric_mean(runs))
    assert record["history_spread_percent"] == pytest.approx(100 * math.sqrt(math.expm1(statistics.variance(logs))))
    assert record["history_range_percent"] == pytest.approx(100 * (max(runs) / min(runs) - 1))
    assert record["history_ms_low"] < record["history_ms"] < record["history_ms_high"]
    # Student's t of 4 degrees of freedom
    half = 2.7764451051977987 * statistics.stdev(logs) * math.sqrt(1 + 1 / 5)
    assert record["next_run_basis"] == "cell"
    assert record["next_run_ms_low"] == pytest.approx(statistics.geometric_mean(runs) * math.exp(-half), rel=1e-6)
    assert record["next_run_ms_high"] == pytest.approx(statistics.geometric_mean(runs) * math.exp(half), rel=1e-6)
    # off: neither looked at nor kept
    kept = machine_file(tmp_path / "data").read_text()
    call(*HISTORY_RUN, "--history", "off", env=env, code=0)
    record = call.records()[-1]
    assert record["history_id"] is None and record["null_reasons"]["history_id"] == "off"
    assert record["next_run_basis"] in ("this_run", None) and "runs_disagree" not in warnings(record)
    assert record["policy_id"] == first["policy_id"], "it changes no result"
    assert machine_file(tmp_path / "data").read_text() == kept


def known_run(line, ms):
    """The journal's line of an earlier run, which knew its own median well."""
    return json.dumps({**line, "run_id": "r0", "ms": ms, "ms_low": ms * 0.999, "ms_high": ms * 1.001}) + "\n"


@pytest.mark.parametrize("apart, verdict", [(0.1, "unsteady"), (0, "ok")])
def test_an_asked_precision_is_one_for_the_next_run(call, tmp_path, apart, verdict):
    """The samples of a run are precise to 50 %; what its earlier runs say decides."""
    env = {"XDG_DATA_HOME": str(tmp_path / "data")}
    run = [*HISTORY_RUN, "--history", "on", "--target-ci", "50"]
    run[run.index("null")] = "native"
    run += ["--model", "superintelligence-tiny", *THIN, "--seq", "8", "--batch", "1", "--device", "cpu"]
    run[run.index("--steps"):run.index("--steps") + 2] = ["--max-time", "1s"]
    call(*run, env=env, code=0)
    (line,) = known_lines(tmp_path / "data", "run")
    factors = [1 + apart * 10 * (i % 2) for i in range(10)]

    def judged(ms):
        machine_file(tmp_path / "data").write_text("".join(known_run(line, ms * factor) for factor in factors))
        call(*run, env=env, code=0)
        return call.records()[-1]

    record = judged(line["ms"])
    # until the machine lets a run be like the one before it
    wait_until(lambda: record["verdict"] == verdict or record.update(judged(record["ms_p50"])))
    assert record["next_run_basis"] == "cell" and (record["verdict"], reasons(record)) == (verdict, ["target_ci_not_met"] if apart else [])
    if apart:
        assert f"to +{100 * (record['next_run_ms_high'] / record['ms_p50'] - 1):.3g} % from" in record["reasons"][0]["text"]


def test_other_cells_tell_a_first_run_how_far_runs_lie_apart(call, tmp_path):
    env = {"XDG_DATA_HOME": str(tmp_path / "data")}
    for _ in range(2):
        call(*HISTORY_RUN, "--history", "on", "--seq", "16", env=env)
    call(*HISTORY_RUN, "--history", "on", "--seq", "32", env=env)
    assert [(record["seq_len"], record["next_run_basis"]) for record in call.records()[1:]] == [(16, "cell"), (32, "kind")]
    assert call.records()[-1]["between_run_percent"] >= 0


def test_without_a_memory_trials_of_the_call_say_it(call):
    call(*HISTORY_RUN, "--history", "off", "--trials", "3")
    assert [record["next_run_basis"] for record in call.records()[1:]] == ["trials", "trials"]


def test_trials_of_a_run_and_only_runs_of_the_same_thing_are_held_against_each_other(call, tmp_path):
    env = {"XDG_DATA_HOME": str(tmp_path / "data")}
    call(*HISTORY_RUN, "--history", "on", "--seq", "16", "32", "--trials", "3", env=env)
    found = collections.defaultdict(list)
    for record in call.records():
        found[record["history_id"]].append((record["seq_len"], record["history_runs"]))
    assert sorted(found.values()) == [[(16, None), (16, 2), (16, 3)], [(32, None), (32, 2), (32, 3)]]
    call(*HISTORY_RUN, "--history", "on", "--seq", "16", "--threads", "1", "--out", "other", env=env)
    call(*HISTORY_RUN, "--history", "on", "--seq", "16", "--launch", "env A=1", "--out", "other", env=env)
    for variables in ({"OMP_NUM_THREADS": "1"}, {"OMP_NUM_THREADS": "2"}, {"NO_MATTER": "2"}):
        call(*HISTORY_RUN, "--history", "on", "--seq", "16", "--out", "other", env={**env, **variables})
    others = [record["history_id"] for record in call.records("other")]
    assert len(found.keys() | set(others)) == 6 and others[-1] in found


def test_what_has_no_history(call, tmp_path):
    env = {"XDG_DATA_HOME": str(tmp_path / "data")}
    for engine, why in ((worker(), "code_not_known"), ("sandbox", "synthetic")):
        out = why
        call("run", "--engine", engine, *HISTORY_RUN[3:], "--history", "on", "--out", out, env=env)
        (record,) = call.records(out)
        assert record["null_reasons"]["history_id"] == why
        assert {record["null_reasons"][name] for name in HISTORY_FIELDS} == {why}
    # another card may go by the same name
    call("run", "--engine", worker(), *HISTORY_RUN[3:], "--device", "cuda:0", "--history", "on", "--out", "gpu", env=env)
    (record,) = call.records("gpu")
    assert record["null_reasons"]["history_id"] == "device_not_known"
    assert not machine_file(tmp_path / "data").exists()


def test_too_short_to_tell(call):
    call("run", "--engine", "null", "--mode", "infer", "--steps", "20", "--warmup", "0",
         "--foreign-load", "1", "--drift", "off", code=0)
    (record,) = call.records()
    assert record["foreign_cpu_percent"] is None
    assert record["null_reasons"]["foreign_cpu_percent"] == "too_short"
    # on a machine where every block waited for a CPU that is judged, and said instead
    assert "load_not_judged" in warnings(record) or "foreign_load" in reasons(record)


# --- checks ---

def measure(call, engine, *args, out="_bench"):
    call("run", "--engine", engine, *SMALL, "--mode", "infer", "--steps", "3", "--warmup", "0",
         "--out", out, *args)
    return call.records(out)[-1]


def test_a_check_speaks_for_the_speed_records_beside_it(call):
    assert measure(call, proxy())["check"] is None
    assert call.records()[-1]["null_reasons"]["check"] == "not_checked"
    call("check", "--engines", f"native,{ZERO}", *SMALL, code=1)
    record = measure(call, ZERO)
    assert (record["verdict"], reasons(record), record["check"]) == (
        "invalid", ["check_failed"], "failed")
    assert measure(call, "native")["check"] == "reference"
    # another engine, another folder, another precision's check
    assert measure(call, proxy())["check"] is None
    assert measure(call, ZERO, out="elsewhere")["verdict"] == "ok"


def test_the_newest_check_counts_and_only_what_fits(call):
    call("check", "--engines", f"native,{proxy()}", *SMALL, code=0)
    assert measure(call, proxy())["check"] == "passed"
    path = call.folder / "_bench" / "checks.jsonl"
    line = json.loads(path.read_text(encoding="utf-8").splitlines()[-1])

    def append(**changes):
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps({**line, **changes}) + "\n")
    failed = {"verdict": "invalid"}
    for changes in ({"engine_version": "0"}, {"precision": "bf16"}, {"model": "other"},
                    {"device": "cuda:0"}, {"harness": "tokmark 0"}, {"mode": "decode"},
                    {"verdict": "crashed"}, {"model_source": "package x"}):
        append(**{**failed, **changes})
    assert measure(call, proxy())["check"] == "passed"
    append(**failed)
    assert measure(call, proxy())["check"] == "failed"
    append()
    assert measure(call, proxy())["verdict"] == "ok"


# --- cures ---

def test_what_would_help_is_said_once(call):
    done = call("run", "--engine", "native", "--precision", "bf16", "int8", "--mode", "infer", code=4)
    assert done.stdout.count("\n  unsupported: ") == 1
    assert "\nWhat would help:\n  unsupported: choose what the reason names" in done.stdout
    for record in call.records():
        assert record["reasons"][0]["cure"].startswith("choose what the reason names")
    (call.folder / "steps").write_text("100000\n")
    done = call("run", "--engine", worker(f"--starts '{call.folder / 'steps'}'"), "--steps", "40", "--warmup", "1",
                "--mode", "infer", "--out", "b", code=0)
    assert "What would help" not in done.stdout


@pytest.mark.parametrize("says,result,verdict", [
    (None, "unchecked", "ok"), ("no", "unchecked", "ok"), ("same", "same", "ok"), ("differs", "differs", "invalid"),
])
@pytest.mark.parametrize("mode", ["train", "infer"])
def test_the_timed_step_is_checked(call, says, result, verdict, mode):
    engine = worker(f"--verify {says}" if says else "")
    call("run", "--engine", engine, "--steps", "5", "--mode", mode, code=0 if verdict == "ok" else 3)
    (record,) = call.records()
    assert (record["step_check"], record["verdict"]) == (result, verdict), record["reasons"]
    assert record["steps"] == 5
    difference = {"same": 0, "differs": pytest.approx(0.1 / 2.6)}.get(result)
    assert record["step_difference"] == difference
    if result == "differs":
        assert "loss" in record["reasons"][0]["text"] and "0.0385" in record["reasons"][0]["text"]


# Whatever else is wrong: invalid before unsteady, and how a worker ended before both; every reason is there, in that order.
@pytest.mark.parametrize("does,verdict,codes", [
    ("--uneven", "unsteady", ["target_ci_not_met"]),
    ("--uneven --nonfinite", "invalid", ["nonfinite_loss", "target_ci_not_met"]),
    ("--uneven --verify differs", "invalid", ["step_differs", "target_ci_not_met"]),
    ("--nonfinite --verify differs", "invalid", ["nonfinite_loss", "step_differs"]),
    ("--uneven --nonfinite --verify differs", "invalid", ["nonfinite_loss", "step_differs", "target_ci_not_met"]),
    ("--uneven --nonfinite --die-at 3", "crashed", ["killed_by_signal", "nonfinite_loss"]),
])
def test_of_several_problems_the_gravest_is_the_verdict(call, does, verdict, codes):
    limit = "1m" if "--die-at" in does else "100ms"  # what dies is not to be saved by the time
    precise = ["--target-ci", "0.1", "--max-time", limit] if "--uneven" in does else ["--steps", "5"]
    call("run", "--engine", worker(does), "--mode", "infer", "--warmup", "0", *precise)
    (record,) = call.records()
    assert (record["verdict"], reasons(record)) == (verdict, codes), record["reasons"]


@pytest.mark.parametrize("limit,is_warned", [(["auto"], True), (["off"], False), (["300"], False)])
def test_a_level_that_moves_is_warned_of_unless_nobody_asks(call, limit, is_warned):
    call("run", "--engine", worker("--uneven --slower-after 30"), "--mode", "infer", "--warmup", "0", "--steps", "60", "--drift",
         *limit, code=0)
    (record,) = call.records()
    assert ("drift" in warnings(record)) == is_warned
    assert record["drift_percent"] > 50

"""DIR/events.jsonl (docs/events.md): what a run tells while it works."""
import json
import signal
import time
import zipfile

from caller import NULL, await_samples, worker

EVENTS = "_bench/events.jsonl"
KEYS = {
    "run": {"schema", "tokmark_version", "pid", "command", "trials", "cells_count", "first_cell", "cells"},
    "cell": {"cell_id", "trial", "position", "is_sentinel", "state"},
    "phase": {"cell_id", "trial", "phase"},
    "block": {"cell_id", "trial", "phase", "steps_done", "steps", "window_ns", "ms_per_step", "remaining_ms", "loss"},
    "telemetry": {"cell_id", "trial", "rss_mb", "available_mb", "null_reasons"},
    "record": {"cell_id", "trial", "verdict", "file", "offset"},
    "end": {"exit_code"},
}
MEASURED = {"samples", "ms_p50", "ms_p50_low", "ms_p50_high", "median_samples", "set_aside_steps"}
SWEEP = ["run", "--engine", "null", "--mode", "infer", "train", "--seq", "64", "128", "--batch", "1", "2", "--steps", "30", "--warmup", "2"]


def events(call, name=None):
    with open(call.folder / EVENTS, encoding="utf-8") as lines:
        found = [json.loads(line) for line in lines]
    return [event for event in found if name is None or event["event"] == name]


def stored(call, event):
    with open(call.folder / "_bench" / event["file"], "rb") as file:
        file.seek(event["offset"])
        return json.loads(file.readline())


def test_every_line_has_its_keys(call):
    call(*SWEEP, "--trials", "2", code=0)
    for event in events(call):
        keys = set(event) - {"event", "time_ms", "run_id"}
        wanted = KEYS[event["event"]] | (MEASURED if event.get("phase") == "measure" and event["event"] == "block" else set())
        gauges = {"cpu_mhz", "power_w"} if event["event"] == "telemetry" else set()  # while it measures
        assert keys - gauges == wanted, event
        assert abs(event["time_ms"] / 1000 - time.time()) < 600
    assert {event["run_id"] for event in events(call)} == {record["run_id"] for record in call.records()}


def test_what_the_machine_does_is_told_or_why_not(call):
    call("run", "--engine", worker("--step-ms 20"), "--mode", "infer", "--seq", "8", "--batch", "1", "--steps", "70", "--warmup", "2", code=0)
    told = [event for event in events(call, "telemetry") if "power_w" in event]
    assert told
    for event in told:
        nulls = {key for key in ("cpu_mhz", "power_w", "available_mb") if event[key] is None}
        assert nulls - {"available_mb"} == set(event["null_reasons"])
        assert all(event[key] > 0 for key in ("cpu_mhz", "power_w") if key not in nulls)


def test_the_plan_and_what_became_of_it(call):
    call(*SWEEP, "--trials", "2", code=0)
    (run,) = events(call, "run")
    records = call.records()
    assert run["cells_count"] == len(run["cells"]) == 8 and run["trials"] == 2
    for cell in run["cells"]:
        mine = [record for record in records if record["cell_id"] == cell["cell_id"]]
        assert len(mine) == 2
        assert all(record[key] == value for record in mine for key, value in cell.items())
    started = events(call, "cell")
    assert [event["position"] for event in started] == list(range(16))
    assert [(event["cell_id"], event["trial"]) for event in started] == [(r["cell_id"], r["trial"]) for r in records]
    told = events(call, "record")
    assert [stored(call, event) for event in told] == records
    assert [event["verdict"] for event in told] == [record["verdict"] for record in records]
    assert events(call)[-1]["event"] == "end" and events(call)[-1]["exit_code"] == 0


def test_blocks_add_up_to_the_record(call):
    call(*SWEEP, code=0)
    for record in call.records():
        mine = [event for event in events(call, "block") if event["cell_id"] == record["cell_id"]]
        measured = [event for event in mine if event["phase"] == "measure"]
        warmup = [event for event in mine if event["phase"] == "warmup"]
        assert sum(event["steps"] for event in measured) == record["steps"] == measured[-1]["steps_done"] == 30
        assert sum(event["steps"] for event in warmup) == record["warmup_steps"] == warmup[-1]["steps_done"]
        assert measured[-1]["samples"] == record["samples"]
        window_ms = sum(event["window_ns"] for event in measured) / 1e6
        assert abs(window_ms / record["steps"] / record["ms_per_step"] - 1) < 1e-9


def test_the_median_closes_in_on_that_of_the_record(call):
    call("run", "--engine", worker("--uneven"), "--mode", "infer", "--seq", "8", "--batch", "1", "--steps", "120", "--warmup", "1",
         "--sync", "step", code=0)
    (record,) = call.records()
    last = [event for event in events(call, "block") if event["phase"] == "measure"][-1]
    assert last["ms_p50_low"] <= last["ms_p50"] <= last["ms_p50_high"]
    assert last["median_samples"] == last["samples"] == 120
    assert abs(last["ms_p50"] - record["ms_p50"]) < 1e-9


def test_short_blocks_are_told_together(call):
    call("run", "--engine", "null", "--mode", "infer", "--seq", "8", "--batch", "1", "--sync", "block", "--steps", "2000000", "--warmup", "1", code=0)
    told = [event for event in events(call, "block") if event["phase"] == "measure"]
    gaps = [after["time_ms"] - before["time_ms"] for before, after in zip(told, told[1:])]
    assert all(gap >= 99 for gap in gaps[:-1]), gaps
    assert sum(event["steps"] for event in told) == 2000000


def test_a_resumed_run_appends(call):
    call(*SWEEP, code=0)
    before = (call.folder / EVENTS).read_bytes()
    with open(call.folder / EVENTS, "ab") as file:
        file.write(b'{"event":"blo')
    call(*SWEEP, "--resume", "--seq", "64", "128", "256", code=0)
    after = (call.folder / EVENTS).read_bytes()
    assert after.startswith(before) and b'{"event":"blo{' not in after
    second = events(call, "run")[1]["run_id"]
    states = [event["state"] for event in events(call, "cell") if event["run_id"] == second]
    assert sorted(states) == ["skipped"] * 8 + ["started"] * 4


def test_the_canary_cell_is_told_apart(call):
    call("run", "--engine", worker("--step-ms 8"), "--mode", "infer", "--seq", "8", "16", "32", "--batch", "1", "--steps", "100", "--warmup", "1",
         "--sentinel", "0.01", code=0)
    told = [event for event in events(call, "record") if event["file"] == "sentinel.jsonl"]
    assert told and len(told) == len([event for event in events(call, "cell") if event["is_sentinel"]])
    for event in told:
        assert (stored(call, event)["cell_id"], stored(call, event)["trial"]) == (event["cell_id"], event["trial"])


def test_what_cannot_be_written_does_not_fail_the_run(call):
    (call.folder / EVENTS).mkdir(parents=True)
    done = call(*NULL, code=0)
    assert done.stderr.count("there are no further events") == 1 and "Is a directory" in done.stderr
    assert len(call.records()) == 2


def test_an_end_is_told_after_a_signal(call):
    process = call.start("run", "--engine", worker("--step-ms 20"), "--mode", "infer", "--seq", "8", "--batch", "1", "--steps", "100000")
    await_samples(call, process)
    process.send_signal(signal.SIGINT)
    assert process.wait() == 130
    assert events(call)[-1]["event"] == "end" and events(call)[-1]["exit_code"] == 130


def test_archives_leave_it_out(call):
    call(*NULL, "--zip", code=0)
    with zipfile.ZipFile(call.folder / "_bench.zip") as archive:
        assert not [name for name in archive.namelist() if "events" in name]

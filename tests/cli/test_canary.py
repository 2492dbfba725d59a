"""--sentinel: one cell is measured again through a long sweep, and a machine that changed is reported."""
import json
import signal
import zipfile

import pytest

from caller import worker
from waiting import TIMEOUT_S

CHANGE = ("sentinel_change_percent", "sentinel_change_low", "sentinel_change_high")


def sweep(call, *lines, seqs=("32", "64", "96"), open_s=0.7):
    """Flags of a sweep whose successive workers say what the lines say. Each cell but the first takes
    longer than the 0.01 minutes after which the canary is due, so from the third cell on one stands
    before each cell, and one at the end: for three cells the workers are cell, cell, canary, cell, canary."""
    path = call.folder / "starts"
    path.write_text("\n".join(str(line) for line in lines) + "\n")
    return ["run", "--mode", "infer", "--steps", "40", "--warmup", "0", "--seq", *seqs, "--sentinel", "0.01",
            "--engine", worker(f"--starts '{path}' --open-s {open_s}")]


def canaries(call):
    text = (call.folder / "_bench" / "sentinel.jsonl").read_text(encoding="utf-8")
    assert text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def codes(record):
    return [warning["code"] for warning in record["warnings"]]


def test_an_unchanged_machine(call):
    done = call(*sweep(call, 100000), "--zip", code=0)
    told = [line[:line.index("]") + 1] for line in done.stderr.splitlines() if "started" in line]
    assert told == ["[1/3]", "[2/3]", "[canary]", "[3/3]", "[canary]"]
    records = call.records()
    assert [record["seq_len"] for record in records] == [32, 64, 96]
    assert {record["verdict"] for record in records} == {"ok"}
    for record in records[:2]:
        assert {record["null_reasons"][name] for name in CHANGE} == {"no_sentinel_yet"}
    assert records[2]["sentinel_change_percent"] == 0
    assert -0.2 < records[2]["sentinel_change_low"] <= 0 <= records[2]["sentinel_change_high"] < 0.2
    again = canaries(call)
    assert [(record["seq_len"], record["trial"], record["sweep_position"]) for record in again] == [
        (32, 1, 2), (32, 2, 3)]
    assert {record["cell_id"] for record in again} == {records[0]["cell_id"]}
    assert list(again[0]) == list(records[0])
    assert again[0]["null_reasons"]["trials_ms"] == "sentinel"
    assert "machine changed" not in done.stdout and "sentinel.jsonl" in done.stdout
    names = zipfile.ZipFile(call.folder / "_bench.zip").namelist()
    assert "_bench/sentinel.jsonl" in names
    samples = [name for name in names if "/samples/" in name and records[0]["cell_id"] in name]
    assert len(samples) == 3 and sum(".sentinel." in name for name in samples) == 2


def test_later_cells_are_warned_of_a_changed_machine(call):
    done = call(*sweep(call, 100000, 100000, 110000), code=0)
    first, second, third = call.records()
    assert first["verdict"] == second["verdict"] == "ok"
    assert third["verdict"] == "ok" and third["reasons"] == [] and codes(third) == ["machine_drift"]
    assert third["sentinel_change_percent"] == pytest.approx(10, abs=0.01)
    assert 9.5 < third["sentinel_change_low"] < 10 < third["sentinel_change_high"] < 10.5
    assert [record["verdict"] for record in canaries(call)] == ["ok", "ok"]
    assert [record["sentinel_change_percent"] for record in canaries(call)] == pytest.approx([10, 10], abs=0.01)
    text = done.stdout[done.stdout.index("The machine changed"):]
    assert "infer fp32 seq 64 batch 4 trial 1" in text
    assert "seq 96" not in text, "measured after the change, between two that agree"


def test_every_step_of_a_change_lists_its_own_cells(call):
    done = call(*sweep(call, 100000, 100000, 110000, 110000, 121000), code=0)
    assert done.stdout.count("The machine changed") == 2
    assert done.stdout.count("seq 64 batch 4 trial 1\n") == done.stdout.count("seq 96 batch 4 trial 1\n") == 1
    assert [record["sentinel_change_percent"] for record in canaries(call)] == pytest.approx([10, 21], abs=0.01)


def test_a_change_within_the_target_is_allowed(call):
    done = call(*sweep(call, 100000, 100000, 110000), "--target-ci", "20", "--max-time", "30s", code=2)
    assert "exclude" in done.stderr
    flags = [flag for flag in sweep(call, 100000, 100000, 110000) if flag not in ("--steps", "40")]
    call(*flags, "--target-ci", "20", "--max-time", "100ms", code=0)
    assert call.records()[2]["sentinel_change_percent"] == pytest.approx(10, abs=0.01)


def test_a_canary_that_fails_says_nothing(call):
    call(*sweep(call, 100000, 100000, "crash", 100000), code=0)
    third = call.records()[2]
    assert third["verdict"] == "ok"
    assert {third["null_reasons"][name] for name in CHANGE} == {"sentinel_failed"}
    failed, last = canaries(call)
    assert failed["verdict"] == "crashed" and failed["null_reasons"][CHANGE[0]] == "sentinel_failed"
    assert last["verdict"] == "ok" and last[CHANGE[0]] == 0


def test_the_first_good_cell_is_the_canary(call):
    call(*sweep(call, "crash", 100000, seqs=("32", "64", "96", "128")), code=3)
    assert {record["seq_len"] for record in canaries(call)} == {64}


def test_off_and_short_sweeps_have_none(call):
    flags = sweep(call, 100000, open_s=0)
    call(*flags, "--sentinel", "off", code=0)
    assert {record["null_reasons"][name] for record in call.records() for name in CHANGE} == {"sentinel_off"}
    call(*flags, "--sentinel", "15", "--out", "short", code=0)
    assert {record["null_reasons"][name] for record in call.records("short") for name in CHANGE} == {
        "no_sentinel_yet"}
    assert not any("sentinel" in name for name in call.files())
    assert "every 15 minutes" in call(*flags[:-4], "--dry-run", code=0).stdout
    assert "Canary" not in call(*flags, "--sentinel", "off", "--dry-run", code=0).stdout


def test_resume_measures_nothing_again_and_repairs(call):
    flags = sweep(call, 100000)
    call(*flags, code=0)
    path = call.folder / "_bench" / "sentinel.jsonl"
    with open(path, "ab") as file:
        file.write(b'{"framework":"exec')
    done = call(*flags, "--resume", code=0)
    assert "Skipped 3 of 3" in done.stdout and len(call.records()) == 3
    call(*flags, code=0)
    assert [record["trial"] for record in canaries(call)] == [1, 2, 1, 2]
    assert len({record["run_id"] for record in canaries(call)}) == 2


def test_an_interrupt_during_the_canary(call):
    process = call.start(*sweep(call, 100000))
    line = ""
    while not (line.startswith("[canary]") and "started" in line):
        line = process.stderr.readline()
        assert line
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 130
    assert len(call.records()) == 2
    assert [record["verdict"] for record in canaries(call)] == ["interrupted"]


def test_a_full_disk(call):
    folder = call.folder / "_bench"
    folder.mkdir()
    line = json.dumps({"a line": "x" * 200000}) + "\n"
    (folder / "sentinel.jsonl").write_text(line)
    done = call.limited(len(line) + 100, *sweep(call, 100000))
    assert done.returncode == 5, (done.stdout, done.stderr)
    assert (folder / "sentinel.jsonl").read_text() == line, "as it was"
    assert len(call.records()) == 2
    lost = [json.loads(text) for text in done.stdout.splitlines() if text.startswith("{")]
    assert len(lost) == 1 and lost[0]["trial"] == 1 and lost[0]["seq_len"] == 32


def test_values_that_are_none(call):
    assert "did you mean 'off'" in call("run", "--sentinel", "of", code=2).stderr
    assert "--sentinel" in call("run", "--sentinel", "0", code=2).stderr
    assert "0.01 to 144000 or off; default: 15" in " ".join(call("run", "--help", code=0).stdout.split())

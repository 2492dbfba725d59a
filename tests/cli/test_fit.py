"""`--batch max`, `--seq max`, `--batch best`: sizes that are found by trials, on a worker with a room of the test's choosing."""
import json
import os
import re

import pytest

import caller
from caller import ROOT, worker

SHORT = ["--mode", "train", "--steps", "3", "--warmup", "1"]


def frontier(call, out="_bench"):
    text = (call.folder / out / "frontier.jsonl").read_text(encoding="utf-8")
    assert text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def find(call, *args, code=0):
    done = call("run", *SHORT, *args, code=code)
    return done, frontier(call)


def sizes(line):
    return [one["size"] for one in line["tries"]]


def test_the_largest_batch_is_found_and_measured(call):
    done, (line,) = find(call, "--engine", worker("--room", "1200"), "--seq", "32", "--batch", "max")
    assert (line["size"], line["fails"], line["batch_size"]) == (37, 38, 37)
    assert line["axis"] == "batch_size" and line["goal"] == "max"
    assert line["reasons"][0]["code"] == "memory_does_not_fit" or line["reasons"][0]["code"] == "out_of_memory"
    for one in line["tries"]:
        assert one["verdict"] == ("ok" if one["size"] <= 37 else "oom") and not one["by_prediction"]
    (record,) = call.records()
    assert record["batch_size"] == 37 and record["verdict"] == "ok"
    assert "train fp32, seq 32 batch 37: the largest batch" in done.stderr


def test_what_is_known_of_the_frontier_saves_trials(call):
    args = ["--engine", worker("--room", "1200"), "--seq", "32", "--batch", "max"]
    find(call, *args)
    _, (first, again) = find(call, *args)
    assert again["key"] == first["key"] and again["size"] == 37
    assert sizes(again) == [37, 38] and len(first["tries"]) > 5
    # another length is another search
    _, lines = find(call, "--engine", worker("--room", "1200"), "--seq", "64", "--batch", "max")
    assert lines[-1]["size"] == 18 and lines[-1]["key"] != first["key"]


def test_the_longest_row_is_found_for_each_batch_and_mode(call):
    _, lines = find(call, "--engine", worker("--room", "100"), "--seq", "max", "--batch", "1", "4", "--mode", "train", "infer")
    assert [(line["mode"], line["batch_size"], line["seq_len"]) for line in lines] == [
        ("train", 1, 100), ("infer", 1, 100), ("train", 4, 25), ("infer", 4, 25)]
    assert {(record["batch_size"], record["seq_len"]) for record in call.records()} == {(1, 100), (4, 25)}


def test_the_fastest_batch_is_found(call):
    # up to 8 rows a step takes the same time, beyond it grows with their square
    done, (line,) = find(call, "--engine", worker("--slow-over", "8"), "--seq", "16", "--batch", "best")
    assert line["size"] == 8 and line["goal"] == "best" and sizes(line) == [1, 2, 4, 8, 16, 32]
    speeds = [one["tokens_per_sec"] for one in line["tries"]]
    assert speeds[3] == max(speeds) and call.records()[0]["batch_size"] == 8
    assert "the fastest batch" in done.stderr


def test_nothing_that_fits_is_a_record(call):
    done, (line,) = find(call, "--engine", worker("--room", "10"), "--seq", "32", "--batch", "max", code=4)
    assert line["size"] == 0 and line["fails"] == 1 and sizes(line) == [1]
    (record,) = call.records()
    assert record["verdict"] == "oom" and record["batch_size"] == 1 and "no batch fits" in done.stderr


def test_the_host_is_not_asked_for_more_than_it_has(call, monkeypatch):
    # sanitizers take memory of their own
    monkeypatch.setattr(caller, "TOKMARK", os.path.abspath(os.environ.get("TOKMARK_RELEASE_BINARY", caller.TOKMARK)))
    small = ["--set", "dim=64", "--set", "heads_count=4", "--set", "ffn_hidden=64", "--set", "vocab_size=512", "--set", "rotary_dim=8",
             "--set", "layers_count=1"]
    args = [*small, "--seq", "32", "--batch", "max", "--memory-limit"]
    _, (line,) = find(call, *args, "28M")
    assert line["size"] > 20 and line["fails"] == line["size"] + 1
    # the prediction says where to begin
    assert abs(line["tries"][0]["size"] - line["size"]) < 20 and len(line["tries"]) < 14
    record = call.records()[0]
    assert record["verdict"] == "ok" and record["maxrss_mb"] <= 28
    # what is known of a larger room is too much for this one: that is predicted, and not tried
    _, (_, less) = find(call, *args, "20M")
    assert less["size"] < line["size"] - 5 and less["tries"][0]["size"] == line["size"]
    assert less["tries"][0]["by_prediction"] and not any(one["by_prediction"] for one in less["tries"] if one["verdict"] == "ok")
    shown = call("run", *SHORT, *args, "20M", "--dry-run", code=0)
    predicted = int(re.search(r"train +fp32 +32 +(\d+) ", shown.stdout).group(1))
    assert abs(predicted - less["size"]) < 20, shown.stdout


# --- devices --------------------------------------------------------------------------------------

TWELVE = ["--seq", "32", "--batch", "12", "--devices", "cpu:min"]


def test_the_fewest_devices_are_found_for_each_layout_and_measured(call):
    done, lines = find(call, "--engine", worker("--room", "100"), *TWELVE, "--parallel", "ddp", "fsdp")
    for line, layout in zip(lines, ("ddp", "fsdp"), strict=True):
        assert (line["axis"], line["goal"], line["parallel"], line["size"], line["fails"]) == ("devices", "min", layout, 4, 3)
        # 12 rows divide over all of them; nothing is predicted of such an engine
        assert [(one["size"], one["verdict"], one["by_prediction"]) for one in line["tries"]] == [
            (1, "oom", False), (2, "oom", False), (3, "oom", False), (4, "ok", False)]
    assert len({line["key"] for line in lines}) == 2
    records = call.records()
    assert [(record["device"], record["devices_count"], record["verdict"]) for record in records] == [
        ("cpu:4 ddp", 4, "ok"), ("cpu:4 fsdp", 4, "ok")]
    assert "train fp32, seq 32 batch 12: ddp needs 4 devices; 4 tries" in done.stderr


@pytest.mark.parametrize("room, size, tried, device", [
    (384, 1, [1], "cpu"), (90, 6, [1, 2, 3, 4, 6], "cpu:6 fsdp"), (60, 0, [1, 2, 3, 4, 6], "cpu:6 fsdp"),
])
def test_devices_that_rows_do_not_divide_over_are_passed_over(room, size, tried, device, call):
    done, (line,) = find(call, "--engine", worker("--room", str(room)), *TWELVE, "--parallel", "fsdp", code=0 if size else 4)
    assert line["size"] == size and sizes(line) == tried and line["parallel"] == "fsdp"
    (record,) = call.records()
    assert record["device"] == device and record["verdict"] == ("ok" if size else "oom")
    assert ("no devices fit" in done.stderr) == (size == 0)


def test_layouts_that_one_device_makes_the_same_are_one_cell(call):
    done, lines = find(call, "--engine", worker("--room", "384"), *TWELVE, "--parallel", "ddp", "fsdp", "tp", "--trials", "2")
    assert [(line["parallel"], line["size"]) for line in lines] == [("ddp", 1), ("fsdp", 1), ("tp", 1)]
    assert [(record["device"], record["trial"]) for record in call.records()] == [("cpu", 0), ("cpu", 1)]
    assert "[1/2]" in done.stderr and "[2/2]" in done.stderr


def test_too_few_devices_by_prediction_are_passed_over(call):
    """Of a model of 124 M parameters two thirds of the limit are weights, gradients and moments."""
    args = ["--engine", "pytorch", "--model", "gpt2-124m", "--seq", "32", "--batch", "4", "--devices", "cpu:min", "--dry-run"]
    limits = {"3G": "cpu ", "1600M": "cpu:2 fsdp", "1G": "cpu:4 fsdp"}
    for limit, device in limits.items():
        shown = call("run", *SHORT, *args, "--parallel", "fsdp", "--memory-limit", limit, code=0).stdout
        assert f" train   fp32 {device}" in shown, (limit, shown)
    shown = call("run", *SHORT, *args, "--parallel", "fsdp", "ddp", code=0).stdout
    assert "1 cell," in shown, shown
    assert call.files() == []


@pytest.mark.parametrize("args, text", [
    (["run", *TWELVE, "--parallel", "fsdp:2,tp:2"], "finds how many there are to be"),
    (["run", "--devices", "min"], "needs --parallel"), (["run", "--devices", "cpu:mni", "--parallel", "ddp"], "cpu:min"),
    (["run", *TWELVE, "--batch", "max", "--parallel", "ddp"], "stands alone"),
    (["run", "--devices", "min", "--parallel", "ddp", "--batch", "max"], "one of them can be found"),
    (["run", *TWELVE, "--parallel", "ddp", "--launch", "srun"], "the launcher starts a number of its own"),
    (["explain", *TWELVE, "--parallel", "ddp"], "--devices: sizes are found by `tokmark run`"),
])
def test_devices_to_be_found_stand_alone(call, args, text):
    done = call(*args, "--engine", "pytorch", code=2)
    assert text in done.stderr and call.files() == []


@pytest.mark.parametrize("args, text", [
    (["run", "--batch", "max", "--seq", "max"], "one of them can be found"),
    (["run", "--batch", "max", "4"], "stands alone"), (["run", "--batch", "4", "best"], "stands alone"),
    (["run", "--batch", "most"], "max"), (["run", "--seq", "best"], "max"),
    (["explain", "--batch", "max"], "sizes are found by `tokmark run`"),
    (["ab", "--a", "--threads 1", "--b", "--threads 2", "--batch", "max"], "sizes are found by `tokmark run`"),
])
def test_a_size_to_be_found_stands_alone(call, args, text):
    done = call(*args, code=2)
    assert text in done.stderr and call.files() == []


def test_lines_have_the_documented_fields(call):
    _, (line,) = find(call, "--engine", worker("--room", "64"), "--seq", "32", "--batch", "max")
    with open(os.path.join(ROOT, "docs", "fit.md"), encoding="utf-8") as file:
        rows = [row.split("|")[1] for row in file if row.startswith("| `")]
    assert [name for row in rows for name in re.findall(r"`(\w+)`", row)] == list(line)

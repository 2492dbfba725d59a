"""--resume: finished cells are left out, everything that changes a result is measured again."""
import json
import os
import signal

import pytest

from caller import NULL, table, worker


def test_finished_cells_are_skipped(call):
    call(*NULL, code=0)
    done = call(*NULL, "--resume", code=0)
    assert "Skipped 2 of 2" in done.stdout
    assert len(call.records()) == 2
    done = call(*NULL, "--resume", "--seq", "128", "256", code=0)
    assert "Skipped 2 of 4" in done.stdout
    assert len(call.records()) == 4
    assert [record["seq_len"] for record in call.records()] == [128, 128, 256, 256]


def test_without_resume_everything_is_measured_again(call):
    call(*NULL, code=0)
    call(*NULL, code=0)
    assert len(call.records()) == 4
    assert len({record["run_id"] for record in call.records()}) == 2


def test_other_flags_are_other_measurements(call):
    base = ["run", "--engine", "null", "--mode", "infer"]
    flags = [["--steps", "20", "--warmup", "2"], ["--steps", "21", "--warmup", "2"],
             ["--steps", "20", "--warmup", "3"],
             ["--steps", "20", "--warmup", "2", "--sync", "block"],
             ["--steps", "20", "--warmup", "2", "--launch", "env A=1"],
             ["--steps", "20", "--warmup", "2", "--seed", "1"],
             ["--steps", "20", "--warmup", "2", "--threads", "2"],
             ["--steps", "20", "--warmup", "2", "--set", "ffn_hidden=128"],
             ["--steps", "20", "--warmup", "2", "--trials", "2"]]
    for count, other in enumerate(flags, 1):
        call(*base, *other, "--resume", code=0)
        assert len(call.records()) == count, other
    for other in flags:
        assert "Skipped" in call(*base, *other, "--resume", code=0).stdout
    assert len(call.records()) == len(flags)


def test_what_does_not_change_a_figure_does_not_matter(call):
    call(*NULL, code=0)
    call(*NULL, "--resume", "--timeout", "5m", "--color", "never", "--quiet", "--mode", "infer", "train",
         code=0)
    assert len(call.records()) == 2


def test_unfinished_cells_are_measured_again(call):
    args = ["run", "--mode", "infer", "--seq", "32", "64", "96", "--steps", "5", "--warmup", "0"]
    # the worker's words are part of the cell, so it has to change its mind by itself
    engine = worker("--oom-seq 96", "--crash-seq 64")
    call(*args, "--engine", engine, code=3)
    done = call(*args, "--engine", engine, "--resume", code=3)
    assert "Skipped 2 of 3" in done.stdout
    assert [r["verdict"] for r in call.records()] == ["ok", "crashed", "oom", "crashed"]


def spoil(path, verdict, *codes):
    """As if the first record had come out otherwise."""
    lines = path.read_text().splitlines()
    record = json.loads(lines[0])
    record["verdict"] = verdict
    record["reasons"] = [{"code": code, "text": "as a test says"} for code in codes]
    path.write_text("\n".join([json.dumps(record), *lines[1:]]) + "\n")


@pytest.mark.parametrize("verdict, codes, is_again", [
    ("unsteady", ["foreign_load"], True), ("invalid", ["foreign_load"], True), ("oom", ["host_memory_low"], True),
    ("invalid", ["nonfinite_loss", "foreign_load"], False), ("invalid", ["check_failed"], False), ("oom", ["memory_does_not_fit"], False),
    ("unsteady", ["target_ci_not_met"], False), ("invalid", [], False)])
def test_what_the_machine_spoilt_at_that_moment_is_measured_again(call, verdict, codes, is_again):
    call(*NULL, code=0)
    spoil(call.folder / "_bench" / "bench_results.jsonl", verdict, *codes)
    code = 0 if is_again or verdict == "unsteady" else 3
    done = call(*NULL, "--resume", code=code)
    assert f"Skipped {1 if is_again else 2} of 2" in done.stdout
    assert len(call.records()) == (3 if is_again else 2)
    assert "Skipped 2 of 2" in call(*NULL, "--resume", code=code).stdout, "the new one counts"


def rows(stdout):
    return [(row["mode"], row["seq_len"], row["verdict"]) for row in table(stdout)]


def test_table_and_exit_code_are_of_the_whole_folder(call):
    """A bad record that is skipped was a cell that is ok; there was no table."""
    small = ["run", "--mode", "infer", "--steps", "5", "--warmup", "0", "--engine", worker("--oom-seq 96")]
    call(*small, "--seq", "32", "96", code=3)
    done = call(*small, "--seq", "32", "96", "--resume", code=3)
    assert "Skipped 2 of 2" in done.stdout and len(call.records()) == 2
    assert rows(done.stdout) == [("infer", "32", "ok"), ("infer", "96", "oom")]
    assert "seq 96 batch 4: oom" in done.stdout
    # what is not of this sweep stands behind it, and counts too
    done = call(*small, "--seq", "64", "--resume", code=3)
    assert rows(done.stdout) == [("infer", "64", "ok"), ("infer", "32", "ok"), ("infer", "96", "oom")]
    # without --resume a run is a run of its own
    done = call(*small, "--seq", "64", code=0)
    assert rows(done.stdout) == [("infer", "64", "ok")]
    # nothing was measured that was ok, but something is there
    call(*small, "--seq", "96", "--out", "b", code=4)
    call(*small, "--seq", "96", "--out", "b", "--resume", code=4)


def test_the_newest_that_counts_is_shown_once(call):
    call(*NULL, code=0)
    call(*NULL, "--mode", "infer", code=0)
    call(*NULL[:-3], "21", *NULL[-2:], "--mode", "infer", code=0)  # another policy
    done = call(*NULL, "--resume", code=0)
    assert rows(done.stdout) == [("train", "128", "ok"), ("infer", "128", "ok")]
    assert len(call.records()) == 4
    # it is that of this plan, not the newest of all
    path = call.folder / "_bench" / "bench_results.jsonl"
    records = [json.loads(line) for line in path.read_text().splitlines()]
    records[2]["ms_p50"] = 4321.0
    records[3]["ms_p50"] = 8765.0
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    stdout = call(*NULL, "--resume", code=0).stdout
    assert "4,321" in stdout and "8,765" not in stdout


def test_unsteady_cells_are_measured_again_when_asked(call):
    call(*NULL, code=0)
    spoil(call.folder / "_bench" / "bench_results.jsonl", "unsteady", "target_ci_not_met")
    done = call(*NULL, "--resume", code=0)
    assert "Skipped 2 of 2" in done.stdout and rows(done.stdout)[0][2] == "unsteady"
    call(*NULL, "--resume", "--strict", code=3)
    done = call(*NULL, "--resume=unsteady", code=0)
    assert "Skipped 1 of 2" in done.stdout
    assert rows(done.stdout) == [("train", "128", "ok"), ("infer", "128", "ok")]
    assert "Skipped 2 of 2" in call(*NULL, "--resume=unsteady", code=0).stdout
    # a value only behind '='
    assert "unexpected word" in call(*NULL, "--resume", "unsteady", code=2).stderr


def test_a_trial_that_is_measured_again_is_no_earlier_one(call):
    trials = [*NULL, "--mode", "infer", "--trials", "2"]
    call(*trials, code=0)
    path = call.folder / "_bench" / "bench_results.jsonl"
    spoil(path, "unsteady", "target_ci_not_met")
    call(*trials, "--resume=unsteady", code=0)
    assert call.records()[2]["trials_count"] == 2


def test_kill_9_then_resume(call):
    """The harness dies in the middle of a cell: what is there stays, the rest is measured."""
    args = ["run", "--engine", worker("--hold held"), "--mode", "infer", "--seq", "32", "64", "96",
            "--steps", "40", "--warmup", "0", "--resume"]
    (call.folder / "held").write_text("64")
    process = call.start(*args)
    lines = []
    while not (lines and "[2/3]" in lines[-1] and "started" in lines[-1]):
        lines.append(process.stderr.readline())
        assert lines[-1], lines
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert len(call.records()) == 1
    (call.folder / "held").unlink()
    # as if it had died while writing
    path = call.folder / "_bench" / "bench_results.jsonl"
    with open(path, "ab") as file:
        file.write(b'{"framework":"exec')
    done = call(*args, code=0)
    assert "Skipped 1 of 3" in done.stdout
    assert "torn last line of 18 bytes" in done.stderr
    assert [record["seq_len"] for record in call.records()] == [32, 64, 96]
    assert {record["verdict"] for record in call.records()} == {"ok"}
    csv = (call.folder / "_bench" / "bench_results.csv").read_text().splitlines()
    assert len(csv) >= 4 and csv[0].startswith("framework,")
    assert not any(name.endswith(".tmp") for name in os.listdir(call.folder / "_bench"))


def test_a_dry_run_knows_what_resume_will_skip(call):
    run = ["run", "--engine", "null", "--mode", "infer", "--steps", "20", "--warmup", "0"]
    call(*run, "--seq", "8", "16", "--trials", "2", code=0)
    wider = [*run, "--seq", "8", "16", "32", "--trials", "2", "--dry-run"]
    assert "finished" not in call(*wider, code=0).stdout
    shown = call(*wider, "--resume", code=0).stdout
    cells = [line for line in shown.splitlines() if " infer " in line]
    assert [line.rstrip().endswith("finished") for line in cells] == [True, True, False]
    assert "3 cells x 2 trials, 4 of 6 finished (--resume)" in shown
    assert "finished" not in call(*wider, "--resume", "--steps", "21", code=0).stdout, "another policy"
    nothing_left = call(*run, "--seq", "8", "--trials", "2", "--resume", "--dry-run", code=0).stdout
    assert "2 of 2 finished" in nothing_left and "time" not in nothing_left.split("finished (")[1]

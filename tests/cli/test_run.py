"""`tokmark run` end to end: cells, verdicts, exit codes, the table, the store."""
import json
import os
import pty
import re
import subprocess
import termios

import pytest

from caller import NULL, TOKMARK, calm, table, worker
from waiting import TIMEOUT_S

def test_a_null_sweep(call):
    done = call(*NULL, "--seq", "64", "128", "--batch", "1,2", "--mode", "train", "infer", "decode",
                "--trials", "2", code=0)
    records = call.records()
    assert len(records) == 2 * 2 * 3 * 2
    assert {record["verdict"] for record in records} == {"ok"}
    assert {record["steps"] for record in records} == {20}
    assert {record["synthetic"] for record in records} == {False}
    assert [record["trial"] for record in records] == [0] * 12 + [1] * 12
    assert len({record["cell_id"] for record in records}) == 12
    assert len({record["run_id"] for record in records}) == 1
    assert re.fullmatch(r"r\d{8}T\d{6}Z-[0-9a-f]{6}", records[0]["run_id"])
    assert records[0]["command"][1] == "run" and "--engine" in records[0]["command"]
    assert "SYNTHETIC" not in done.stdout
    rows = table(done.stdout)
    assert len(rows) == 12 and {row["trials"] for row in rows} == {"2 of 2 valid"}
    assert [(row["seq_len"], row["batch_size"]) for row in rows[::3]] == [("64", "1"), ("64", "2"), ("128", "1"),
                                                                         ("128", "2")]


def test_progress_is_plain_lines_and_quiet_is_silent(call):
    done = call(*NULL, code=0)
    lines = done.stderr.splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("[1/2] train fp32 seq 128 batch 4: started")
    assert re.match(r"\[2/2\] infer .*: ok, ms_p50 [\d.]+( [-+/.\d]+ %)?, tokens_per_sec [\d,]+, samples 20", lines[3])
    assert "\x1b" not in done.stderr + done.stdout
    assert call(*NULL, "-q", code=0).stderr == ""
    assert call(*NULL, "--progress", "never", code=0).stderr == ""


def rewritten(call, *args, columns=80, progress="auto"):
    """What a run writes to a terminal as its stderr: the lines that took each other's place."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (50, columns))
    env = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    words = calm(["run", "--engine", worker("--step-ms 20"), "--warmup", "0", "--mode", "infer", "--progress", progress, *args])
    with subprocess.Popen([TOKMARK, *words], cwd=call.folder, env={**env, "TERM": "xterm"}, stdout=subprocess.DEVNULL,
                          stderr=theirs) as process:
        os.close(theirs)
        text = b""
        try:
            while chunk := os.read(ours, 65536):
                text += chunk
        except OSError:  # the other end is closed
            pass
        process.wait(timeout=TIMEOUT_S)
    os.close(ours)
    assert process.returncode == 0, text
    return text.decode().replace("\r\n", "\n")


def test_a_terminal_gets_one_rewritten_line(call):
    text = rewritten(call, "--steps", "40")
    drawn = text.replace("\x1b[K", "").split("\r")
    measuring = [line for line in drawn if ": measuring, samples " in line]
    # 40 steps of 20 ms, drawn again after 100 ms at the earliest: however slow the machine is, it moves
    assert len(set(measuring)) >= 2, drawn
    assert all(len(line) < 80 for line in drawn if "\n" not in line), drawn
    assert text.count("\n") == 1  # the cell's end; a busy machine may make it `unsteady`
    assert re.search(r"\[1/1\] infer fp32 seq 128 batch 4: (ok|unsteady), .*\n", text), text


def test_the_line_is_rewritten_on_a_pipe_when_asked(call):
    calls = {when: call("run", "--engine", worker(), "--mode", "infer", "--steps", "5", "--progress", when).stderr
             for when in ("always", "auto", "never")}
    # read as text: the carriage return before each is a line end
    assert "[1/1] infer fp32 seq 128 batch 4: starting the worker\x1b[K" in calls["always"].split("\n")
    assert "\x1b" not in calls["auto"] and "started" in calls["auto"] and calls["never"] == ""


def test_colour_when_asked(call):
    assert "\x1b[32mok" in call(*NULL, "--color", "always", code=0).stdout
    assert "\x1b" not in call(*NULL, "--color", "never", code=0).stdout
    assert "\x1b" not in call(*NULL, env={"NO_COLOR": "1"}, code=0).stdout


def test_failing_cells_do_not_stop_the_sweep(call):
    done = call("run", "--engine", worker("--oom-seq 64", "--crash-seq 96"), "--seq", "32", "64", "96",
                "128", "--mode", "infer", "--steps", "5", "--warmup", "0", "--try-all", code=3)
    records = call.records()
    assert [record["verdict"] for record in records] == ["ok", "oom", "crashed", "ok"]
    reasons = done.stdout[done.stdout.index("Not ok:"):]
    assert "seq 64 batch 4: oom: " in reasons and "seq 96 batch 4: crashed: " in reasons
    # what a cell that failed could not say, another of its group said
    assert re.search(r"^exec:.* on cpu: superintelligence-tiny, .*fp32; measured on text novel.txt \(1234 tokens\)$", done.stdout, re.M)
    assert records[0]["framework"].startswith("exec:python3")
    assert "last words" in records[2]["log_tail"]
    assert records[1]["ms_per_step"] is None
    assert records[1]["mem_needed_bytes"] == 2000


def test_nothing_measured_is_exit_4(call):
    call("run", "--engine", "exec:no/such/program", "--steps", "5", code=4)
    assert {record["verdict"] for record in call.records()} == {"crashed"}
    call("run", "--engine", worker("--oom-seq 128"), "--steps", "5", "--out", "b", code=4)
    call("run", "--engine", "null", "--device", "tpu", "--steps", "5", "--out", "c", code=4)
    assert {record["verdict"] for record in call.records("c")} == {"unsupported"}


def test_a_second_writer_is_told_who_has_the_folder(call):
    first = call.start("run", "--engine", worker("--step-ms 20"), "--steps", "100000", "--mode",
                       "infer")
    try:
        assert "started" in first.stderr.readline()
        done = call(*NULL, code=5)
        assert done.stderr.count("\n") == 1
        assert str(first.pid) in done.stderr
    finally:
        first.kill()
        first.communicate()


def test_an_out_folder_that_cannot_be_made_is_exit_5(call):
    (call.folder / "file").write_text("")
    done = call(*NULL, "--out", "file/below", code=5)
    assert done.stderr.count("\n") == 1
    assert call.files() == ["file"]


def test_a_full_disk_loses_no_record(call):
    """The record that cannot be appended is printed, so that it is not lost."""
    out = call.folder / "_bench"
    call(*NULL, code=0)
    before = (out / "bench_results.jsonl").read_bytes()
    limit = len(before) + 200
    done = call.limited(limit, *NULL)
    assert done.returncode == 5, (done.stdout, done.stderr)
    assert (out / "bench_results.jsonl").read_bytes() == before
    lost = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))
    assert lost["cell_id"] in done.stderr
    assert lost["mode"] == "train"


def test_closed_descriptors_do_not_become_files(call):
    command = " ".join([TOKMARK, *calm(NULL)]) + " <&- >&- 2>&-"
    done = subprocess.run(["sh", "-c", command], cwd=call.folder, check=False)
    assert done.returncode == 5, "the table is lost"
    assert len(call.records()) == 2
    csv = (call.folder / "_bench" / "bench_results.csv").read_text().splitlines()
    assert len(csv) == 3 and csv[0].startswith("framework,device,")


def test_set_changes_the_model_its_name_and_the_cell(call):
    call(*NULL, "--mode", "infer", code=0)
    call(*NULL, "--mode", "infer", "--set", "layers_count=2", "--set", "dropout=0", code=0)
    plain, changed = call.records()
    assert plain["model"] == "superintelligence-tiny"
    assert changed["model"] == "superintelligence-tiny,layers_count=2,dropout=0"
    assert plain["cell_id"] != changed["cell_id"]
    assert plain["params_total"] > changed["params_total"]
    assert changed["model_spec"]["layers_count"] == 2


def test_data_and_weights_are_known_by_their_content(call):
    for name in ("a.txt", "b.txt"):
        (call.folder / name).write_text("the same text " * 100)
    (call.folder / "c.txt").write_text("another text " * 100)
    for name in ("a.txt", "b.txt", "c.txt"):
        call(*NULL, "--mode", "infer", "--data", name, code=0)
    a, b, c = call.records()
    assert a["data_hash"] == b["data_hash"] != c["data_hash"]
    assert a["cell_id"] == b["cell_id"] != c["cell_id"]


def test_sync_per_block_and_auto_stopping(call):
    call("run", "--engine", worker("--step-ms 1"), "--sync", "block", "--mode", "infer", "--max-time",
         "1s", "--target-ci", "20")
    record, = call.records()
    assert record["sync"] == "block"
    assert record["verdict"] in ("ok", "unsteady")
    assert record["warmup_steps"] > 0


def test_launch_prefix(call):
    """It is started, with all words of the command behind its own."""
    (call.folder / "launch").write_text('#!/bin/sh\necho "$@" > launched\nshift\nexec "$@"\n')
    (call.folder / "launch").chmod(0o755)
    call(*NULL, "--mode", "infer", "--launch", "./launch 'a b'", code=0)
    assert call.records()[0]["verdict"] == "ok"
    words = (call.folder / "launched").read_text().split()
    assert words[:2] == ["a", "b"] and words[3:] == ["worker", "null"]


def test_workers_are_not_told_that_they_are_our_own_rank(call):
    """Within a job's script (sbatch sets SLURM_PROCID) that would be a rank of a launcher's."""
    (call.folder / "launch").write_text('#!/bin/sh\nenv > launched\nexec "$@"\n')
    (call.folder / "launch").chmod(0o755)
    ranks = {"RANK": "1", "OMPI_COMM_WORLD_RANK": "1", "PMI_RANK": "1", "SLURM_PROCID": "1"}
    env = {**os.environ, **ranks, "SLURM_NTASKS": "2", "WORLD_SIZE": "2"}
    call(*NULL, "--mode", "infer", "--launch", "./launch", env=env, code=0)
    found = {line.partition("=")[0] for line in (call.folder / "launched").read_text().splitlines()}
    assert not found & set(ranks) and {"SLURM_NTASKS", "WORLD_SIZE"} <= found


def test_dry_run_of_the_null_engine(call):
    done = call("run", "--engine", "null", "--dry-run", "--seq", "64", "128", code=0)
    assert "4 cells" in done.stdout and "nothing was started or written" in done.stdout
    assert call.files() == []
    done = call("run", "--engine", "null", "--device", "tpu", "--dry-run", code=0)
    assert "unsupported" in done.stdout


@pytest.mark.parametrize("engine", ["native", "pytorch", "jax"])
def test_a_dry_run_knows_the_memory_of_every_preset(call, engine):
    """Without starting anything: no such interpreter is there."""
    python = [] if engine == "native" else ["--python", "/nowhere/python"]
    for model in ("gpt2-124m", "superintelligence-tiny"):
        done = call("run", "--engine", engine, *python, "--model", model, "--mode", "train",
                    "infer", "decode", "--seq", "64", "128", "--dry-run", code=0)
        rows = [line for line in done.stdout.splitlines() if re.match(r" +\d+  h", line)]
        assert len(rows) == 6
        assert all(re.search(r"\d [KMG]iB +(yes|no) ", row) for row in rows), done.stdout


@pytest.mark.parametrize("limit, fits", [("10M", "no"), ("1000G", "yes")])
def test_a_dry_run_goes_by_the_memory_limit(call, limit, fits):
    done = call("run", "--engine", "native", "--model", "superintelligence-tiny", "--mode", "infer", "--seq", "16", "--memory-limit", limit, "--dry-run", code=0)
    assert re.search(rf"^ +1  h.* MiB +{fits} ", done.stdout, re.M), done.stdout


@pytest.mark.parametrize("args", [["env"], ["env", "--json"], ["models"], ["engines"]])
def test_listings(call, args):
    done = call(*args, code=0)
    assert done.stderr == "" and done.stdout
    if "--json" in args:
        json.loads(done.stdout)
    if args == ["env"]:
        assert re.search(r"^fingerprint +h[0-9a-f]{16}$", done.stdout, re.M)
    if args == ["models"]:
        assert re.search(r"^superintelligence +10\.3 G ", done.stdout, re.M)
    if args == ["engines"]:
        assert re.search(r"^null ", done.stdout, re.M) and "exec:COMMAND" in done.stdout


def reason(record):
    return record["reasons"][0]["code"]


def test_what_needs_more_than_what_did_not_fit_is_not_run(call):
    sweep = ["run", "--engine", worker("--oom-seq 64"), "--steps", "3", "--warmup", "0",
             "--seq", "32", "64", "128", "--batch", "2", "1", "4"]
    done = call(*sweep, code=3)
    found = {(r["seq_len"], r["batch_size"], r["mode"]): r for r in call.records()}
    assert len(found) == 18
    for (seq_len, batch_size, _), record in found.items():
        # in the order of the sweep: train 2 was the first that did not fit, then infer 2 and both 1
        if seq_len == 32:
            assert record["verdict"] == "ok"
            continue
        assert record["verdict"] == "oom"
        is_run = seq_len == 64 and batch_size in (1, 2)
        assert reason(record) == ("memory_does_not_fit" if is_run else "dominated")
        if not is_run:
            assert record["ms_per_step"] is None and record["steps"] is None
            assert "seq 64 batch" in record["notes"] and "--try-all" in record["notes"]
            assert record["worker_exit"] is None
    assert "dominated" in done.stdout


def test_what_does_not_fit_names_what_is_predicted_to(call):
    """And that does, under the same limit: as the build without sanitizers, which take memory themselves."""
    plain = os.environ.get("TOKMARK_RELEASE_BINARY", TOKMARK)
    cell = ["run", "--mode", "infer", "--seq", "128", "--memory-limit", "200M", "--steps", "1", "--warmup", "0",
            "--foreign-load", "off", "--pace", "off", "--history", "off", "--drift", "off"]
    done = call(*cell, "--batch", "64", name=plain, code=4)
    (record,) = call.records()
    fit = record["fits_instead"]
    assert record["verdict"] == "oom" and (fit["precision"], fit["seq_len"], fit["available_mb"]) == ("fp32", 128, pytest.approx(190, abs=10))
    assert f"predicted to fit: batch {fit['batch_size']} (" in record["notes"]
    assert f"predicted to fit: batch {fit['batch_size']} (" in done.stdout
    call(*cell, "--batch", str(fit["batch_size"]), name=plain, code=0)
    smaller = call.records()[1]
    assert smaller["peak_mem_mb"] < 200 and smaller["fits_instead"] is None
    assert smaller["mem_predicted_mb"] == pytest.approx(fit["mem_predicted_mb"])
    assert smaller["null_reasons"]["fits_instead"] == "no_oom"


def test_try_all_runs_every_cell(call):
    call("run", "--engine", worker("--oom-seq 64"), "--steps", "3", "--warmup", "0", "--seq", "64",
         "128", "--try-all", code=3)
    assert [r["verdict"] for r in call.records()] == ["oom", "oom", "ok", "ok"]


def test_a_second_trial_of_what_did_not_fit_is_not_run(call):
    call("run", "--engine", worker("--oom-seq 64"), "--steps", "3", "--warmup", "0", "--seq", "64",
         "--mode", "infer", "--trials", "2", code=4)
    assert [reason(r) for r in call.records()] == ["memory_does_not_fit", "dominated"]


def test_what_a_device_says_of_itself_is_recorded(call):
    call("run", "--engine", worker("--device-ns 500000"), "--mode", "infer", "--steps", "7", code=0)
    call("run", "--engine", worker(), "--mode", "infer", "--steps", "7", code=0)
    said, silent = call.records()
    assert said["device_ms_per_step"] == 0.5
    assert (said["mem_device_used_mb"], said["mem_device_total_mb"]) == (3.0, 8.0)
    for field in ("device_ms_per_step", "mem_device_used_mb", "mem_device_total_mb"):
        assert silent[field] is None and silent["null_reasons"][field] == "not_reported"

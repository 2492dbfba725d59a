"""Signals: the first ends the block and keeps completed results, the second ends everything at once."""
import json
import os
import re
import signal
import time

import pytest

from caller import await_samples, worker, worker_pids
from waiting import TIMEOUT_S, is_alive, wait_until


def start(call, *worker_args, extra=()):
    return call.start("run", "--engine", worker(*worker_args), "--mode", "infer", "--seq", "32", "64",
                      "--steps", "100000", "--warmup", "0", "--zip", *extra)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_keeps_what_is_whole(call, number):
    process = start(call, "--step-ms 2")
    await_samples(call, process)
    pids = worker_pids(process)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 128 + number, (stdout, stderr)
    record, = call.records()
    assert record["verdict"] == "interrupted"
    assert record["steps"] > 0 and record["ms_per_step"] is not None
    assert "Interrupted: 1 of 2 cells not started, from infer fp32 seq 64 batch 4 on" in stdout
    assert "bench_results.jsonl" in stdout
    assert f"stopped by {number.name}; no archive" in stderr
    assert not (call.folder / "_bench.zip").exists()
    assert pids and not any(is_alive(pid) for pid in pids)


def test_the_second_signal_stops_at_once(call):
    process = start(call, "--step-ms 30000", "--stubborn")
    wait_until(lambda: worker_pids(process), process)
    time.sleep(1.0)  # inside the first, long block
    pids = worker_pids(process)
    begin = time.monotonic()
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=TIMEOUT_S)
    assert time.monotonic() - begin < 4  # of the first alone: 2 s for the block and 2 s between SIGTERM and SIGKILL
    assert process.returncode == 130, (stdout, stderr)
    assert pids and not any(is_alive(pid) for pid in pids)
    # whatever was written is whole
    path = call.folder / "_bench" / "bench_results.jsonl"
    lines = path.read_text().splitlines()
    assert [json.loads(line)["verdict"] for line in lines] == ["interrupted"]


def test_an_interrupt_of_the_last_cell(call):
    process = call.start("run", "--engine", worker("--step-ms 2"), "--mode", "infer", "--steps", "100000",
                         "--warmup", "0")
    await_samples(call, process)
    process.send_signal(signal.SIGINT)
    stdout, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 130
    assert "not started" not in stdout


def test_cells_of_all_trials_that_were_not_started_are_counted(call):
    """Those that --resume found finished are none of them."""
    cells = ["run", "--engine", worker("--open-s 30"), "--mode", "infer", "--steps", "5", "--warmup", "0", "--seq", "32"]
    call(*cells, code=0)
    process = call.start(*cells, "64", "96", "--trials", "2", "--resume")
    line = process.stderr.readline()
    assert re.match(r"\[\d/6\] infer fp32 seq (64|96) batch 4 trial 1 of 2: started", line), line
    process.send_signal(signal.SIGINT)
    stdout, _ = process.communicate(timeout=TIMEOUT_S)
    # of the first trial one is at work and one not, 32 is there; of the second none has begun
    assert "Interrupted: 4 of 6 cells not started" in stdout and "Skipped 1 of 6" in stdout


def test_interrupted_cells_are_measured_by_resume(call):
    process = start(call, "--step-ms 2")
    await_samples(call, process)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=TIMEOUT_S)
    args = ["run", "--engine", worker("--step-ms 2"), "--mode", "infer", "--seq", "32", "64", "--steps",
            "5", "--warmup", "0", "--resume"]
    done = call(*args, code=0)
    assert "Skipped" not in done.stdout
    assert [record["verdict"] for record in call.records()] == ["interrupted", "ok", "ok"]


def test_sigusr1_prints_a_status_line(call):
    process = start(call, "--step-ms 2", extra=("--progress", "never"))
    await_samples(call, process)
    process.send_signal(signal.SIGUSR1)
    line = process.stderr.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=TIMEOUT_S)
    assert line.startswith("[1/2] infer fp32 seq 32 batch 4: measuring, samples "), line
    assert "ms_p50" in line and "tokens_per_sec" in line and "eta" in line


def test_sigusr1_does_not_disturb_the_measurement(call):
    process = call.start("run", "--engine", worker("--step-ms 5"), "--mode", "infer", "--steps", "100",
                         "--warmup", "0")
    await_samples(call, process)
    for _ in range(20):
        if process.poll() is None:
            os.kill(process.pid, signal.SIGUSR1)
        time.sleep(0.01)
    process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0
    record, = call.records()
    assert (record["verdict"], record["steps"]) == ("ok", 100)


def test_a_reader_that_goes_away_costs_no_record(call):
    process = start(call, "--step-ms 1", extra=("--seq", "32"))
    process.stdout.close()
    process.stderr.close()
    await_samples(call, process)
    process.send_signal(signal.SIGINT)
    process.wait(timeout=TIMEOUT_S)
    assert process.returncode == 130
    assert call.records()[0]["verdict"] == "interrupted"

"""Faults, seen from outside: the whole program against workers, disks and kills that go wrong.

Unit tests take each part to every byte and phase (test_store_*, test_drive_*); here a sweep of several
cells must keep every finished record, leave no half line and no process, and go on where it can.
"""
import csv
import json
import os
import signal
import subprocess
import sys

import pytest

from waiting import TIMEOUT_S, wait_until

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TOKMARK = os.path.abspath(os.environ.get("TOKMARK_BINARY", os.path.join(ROOT, "build", "tokmark")))
HOSTILE = os.path.join(ROOT, "tests", "protocol", "hostile_worker.py")


def hostile(fault, phase, argument="x", marker=""):
    return f"exec:{sys.executable} '{HOSTILE}' {fault} {phase} {argument} {marker}"


def run(folder, *args):
    return subprocess.run([TOKMARK, "run", "--drift", "off", "--foreign-load", "off", "--pace", "off", "--history", "off", *args], cwd=folder, text=True, stdin=subprocess.DEVNULL,
                          capture_output=True, timeout=TIMEOUT_S, check=False)


def records(out):
    """Every record; JSONL and CSV must be whole and agree."""
    text = (out / "bench_results.jsonl").read_text(encoding="utf-8")
    assert text == "" or text.endswith("\n")
    found = [json.loads(line) for line in text.splitlines()]
    with open(out / "bench_results.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["cell_id"] for row in rows] == [record["cell_id"] for record in found]
    return found


def processes_with(marker):
    """Those with an argument `marker`. tokmark's own holds the worker's whole command, and so, until it is
    replaced, does every child that tokmark starts: of those none is meant."""
    found = []
    for entry in os.listdir("/proc"):
        try:
            with open(f"/proc/{entry}/cmdline", "rb") as file:
                if entry.isdigit() and marker.encode() in file.read().split(b"\0"):
                    found.append(int(entry))
        except OSError:
            continue
    return found


@pytest.mark.parametrize("fault, phase, argument, verdict", [
    ("hang", "hello", "x", "timeout"),
    ("hang", "run", "x", "timeout"),
    ("garbage", "open", "x", "protocol_error"),
    ("garbage", "run", "x", "protocol_error"),
    ("signal", "run", "9", "crashed"),
    ("exit", "open", "3", "crashed"),
])
def test_a_worker_gone_wrong_is_a_record_and_the_sweep_goes_on(tmp_path, fault, phase, argument, verdict):
    done = run(tmp_path, "--engine", hostile(fault, phase, argument), "--steps", "5", "--warmup", "1",
               "--timeout", "1s", "--mode", "infer", "--seq", "16", "32")
    found = records(tmp_path / "_bench")
    assert [record["verdict"] for record in found] == [verdict] * 2, done.stderr
    assert all(record["reasons"] for record in found)
    assert done.returncode == 4, done.stderr


def test_a_worker_that_allocates_without_end_is_oom(tmp_path):
    done = run(tmp_path, "--engine", hostile("eat", "run"), "--steps", "5", "--warmup", "1",
               "--memory-limit", "200M", "--mode", "infer", "--seq", "16", "32")
    found = records(tmp_path / "_bench")
    assert [record["verdict"] for record in found] == ["oom"] * 2, done.stderr
    assert found[0]["reasons"][0]["code"] == "memory_limit"


def test_a_worker_that_leaks_in_short_blocks_is_oom(tmp_path):
    run(tmp_path, "--engine", hostile("leak", "never"), "--max-time", "8s", "--warmup", "1", "--memory-limit", "200M", "--mode", "infer", "--seq", "16")
    (record,) = records(tmp_path / "_bench")
    assert (record["verdict"], record["reasons"][0]["code"]) == ("oom", "memory_limit"), record["reasons"]


def test_kill_9_of_a_worker_from_outside(tmp_path):
    marker = f"marker-{os.getpid()}-worker"
    process = subprocess.Popen(
        [TOKMARK, "run", "--engine", hostile("hang", "run", "x", marker), "--steps", "5",
         "--warmup", "0", "--mode", "infer", "--seq", "16"], cwd=tmp_path, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    wait_until(lambda: processes_with(marker), process)
    os.kill(processes_with(marker)[0], signal.SIGKILL)
    process.communicate(timeout=TIMEOUT_S)
    assert process.returncode in (3, 4)
    assert records(tmp_path / "_bench")[0]["verdict"] == "crashed"
    assert "signal 9" in records(tmp_path / "_bench")[0]["worker_exit"]


def test_kill_9_of_the_harness_leaves_no_worker_and_no_half_line(tmp_path):
    marker = f"marker-{os.getpid()}-harness"
    arguments = ["--engine", "native", "--model", "superintelligence-tiny", "--set", "layers_count=1",
                 "--steps", "3", "--warmup", "0", "--mode", "infer", "--batch", "1",
                 "--seq", "8-20", "--out", marker]
    process = subprocess.Popen([TOKMARK, "run", *arguments], cwd=tmp_path, stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    lines = tmp_path / marker / "bench_results.jsonl"
    wait_until(lambda: lines.exists() and lines.read_bytes().count(b"\n") >= 3, process)
    children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process.pid)], text=True,
                              capture_output=True, check=False).stdout.split()
    process.kill()
    process.wait()
    finished = lines.read_bytes().count(b"\n")
    wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in children))
    done = run(tmp_path, *arguments, "--resume")
    # On a busy machine a cell can be `unsteady`; --resume measures it again, and both records stay.
    found = records(tmp_path / marker)
    assert len(found) >= 13 and len({record["cell_id"] for record in found}) == 13, done.stderr
    assert done.returncode == 0, done.stderr
    unsteady = sum(record["verdict"] == "unsteady" for record in found[:finished])
    assert f"{finished - unsteady} " in done.stderr  # it says how many it skipped
    assert all(record["verdict"] in ("ok", "unsteady") for record in found)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_really_full_file_system(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)],
                           capture_output=True, text=True, check=False)
    if mount.returncode != 0:
        pytest.skip("mounting is not allowed here: " + mount.stderr)
    try:
        done = run(tmp_path, "--engine", "null", "--steps", "5", "--warmup", "0", "--seq", "1-64",
                   "--mode", "infer", "--out", str(disk / "out"))
        assert done.returncode == 5, done.stderr
        said = done.stderr.splitlines()[-1]
        assert "No space left on device" in done.stderr or "disk full" in done.stderr
        assert str(disk / "out") in done.stderr
        found = records(disk / "out")
        assert 0 < len(found) < 64
        printed = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        # The record that did not get there is printed. A cell whose log or samples came to the disk's end first has none.
        assert len(printed) == (0 if "/samples/" in said or "/logs/" in said else 1), done.stderr
        whole = [record["seq_len"] for record in found + printed]
        assert whole == list(range(1, len(whole) + 1))
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_read_only_folder(tmp_path):
    if os.geteuid() == 0:
        # root writes anywhere but below a file or on a file system that is read-only
        target = "/proc/tokmark-cannot-write-here"
    else:
        target = tmp_path / "locked"
        target.mkdir(mode=0o500)
    done = run(tmp_path, "--engine", "null", "--steps", "5", "--out", str(target))
    assert done.returncode == 5
    assert done.stderr.count("\n") == 1 and str(target) in done.stderr

#!/usr/bin/env python3
"""Reads results folders while sweeps write them, thousands of times, and checks every reading.

    bench/reader_live.py [--reads 10000] [--binary build/tokmark] [--seed 1]

Sweeps of the sandbox engine write folders of some 48 records; they are killed (SIGKILL) at random times and go on with
--resume, which repairs the torn end. Meanwhile `tokmark cat` reads the folder again and again, and one `tokmark cat --follow`
reads all along. Each reading must give

  - every record that was finished (its '\\n' was there) when the reading began;
  - none but records that the finished folder has, in its order: so no half one, and none twice.
"""
import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FIELDS = "run_id,cell_id,trial,started_at,ms_p50,history_id"
SWEEP = ["--sandbox", "--mode", "train", "infer", "decode", "--seq", "128-1024*2", "--batch", "1", "2", "4", "8", "--steps", "10",
         "--history", "off", "--resume"]


def finished(path):
    """Lines that are in the file, by nothing but their ends."""
    try:
        with open(path, "rb") as file:
            return file.read().count(b"\n")
    except FileNotFoundError:
        return 0


def read(binary, folder):
    run = subprocess.run([binary, "cat", folder, "--fields", FIELDS], capture_output=True, text=True, check=False)
    return run.stdout.splitlines()[1:], run.stderr


class Folder:
    """One folder, from its first record to its last."""

    def __init__(self, binary, path):
        self.binary, self.path = binary, path
        self.jsonl = os.path.join(path, "bench_results.jsonl")
        self.reads = []
        self.kills = self.torn = 0
        os.mkdir(path)
        self.follower = subprocess.Popen([binary, "cat", path, "--follow", "--fields", FIELDS], stdout=subprocess.PIPE,
                                         stderr=subprocess.PIPE, text=True)

    def sweep(self):
        return subprocess.Popen([self.binary, "run", *SWEEP, "--out", self.path], stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL, start_new_session=True)

    def read_once(self):
        least = finished(self.jsonl)
        if not os.path.exists(self.jsonl):
            return
        rows, notes = read(self.binary, self.path)
        most = finished(self.jsonl)
        if not least <= len(rows) <= most:
            sys.exit(f"{len(rows)} records; {least} were finished before and {most} after\n{notes}")
        self.torn += "ends inside" in notes
        if notes and ("ends inside" not in notes or "1 line was" not in notes):
            sys.exit(f"a note that should not be: {notes}")
        self.reads.append(rows)

    def run(self, reads_max):
        while True:
            writer = self.sweep()
            end = time.monotonic() + random.choice([0.2, 0.5, 1, 2, 60]) * random.random()
            while writer.poll() is None and time.monotonic() < end and len(self.reads) < reads_max:
                self.read_once()
            if writer.poll() is not None or len(self.reads) >= reads_max:
                if writer.wait() not in (0, 3) or not self.reads:
                    sys.exit(f"the sweep ended with {writer.returncode}")
                break
            os.killpg(writer.pid, signal.SIGKILL)
            writer.wait()
            self.kills += 1
            if random.random() < 0.5:  # a kill inside of the one write(2) of a record is rare: leave what it would
                with open(self.jsonl, "ab") as file:
                    file.write(b'{"framework":"native-sandbox","device":"cpu","precision":"fp32'[:random.randint(1, 60)])
            self.read_once()
        return self.check()

    def check(self):
        final, _ = read(self.binary, self.path)
        for rows in self.reads:
            if rows != final[:len(rows)]:
                sys.exit("a reading gave what the finished folder does not have in that place")
        followed = [self.follower.stdout.readline().rstrip("\n") for _ in range(len(final) + 1)][1:]
        self.follower.kill()
        self.follower.communicate()
        if followed != final or len(final) != finished(self.jsonl):
            sys.exit("the follower gave other records than the finished folder has")
        return len(final)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reads", type=int, default=10000)
    parser.add_argument("--binary", default=os.path.join(ROOT, "build", "tokmark"))
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    random.seed(options.seed)
    reads = records = folders = kills = torn = 0
    with tempfile.TemporaryDirectory() as base:
        while reads < options.reads:
            folder = Folder(os.path.abspath(options.binary), os.path.join(base, str(folders)))
            records += folder.run(options.reads - reads)
            reads += len(folder.reads)
            kills += folder.kills
            torn += folder.torn
            folders += 1
    print(f"{reads} readings of {folders} folders while {records} records were written, {kills} writers killed, {torn} readings "
          "with a torn end: no half record, none missed, none twice")


if __name__ == "__main__":
    main()

"""What the tests of `tokmark ab` share: sides whose engine is ab_worker.py, and the lines that are stored."""
import json
import os

import pytest

from caller import await_samples

WORKER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "ab_worker.py")
CELL = ["--mode", "infer", "--seq", "16", "--batch", "1", "--warmup", "3"]
ONE_START = [*CELL, "--starts", "1"]


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


def await_rounds(call, process):
    await_samples(call, process, "ab-*.jsonl")

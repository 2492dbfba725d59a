"""The C worker and the Python worker are the same machine written twice: whatever a host writes, they answer alike.

Requests are made from a seed: sound ones, of which one is spoilt in its JSON, its bytes or its place. Both engines do
nothing: what differs is the workers' own. TOKMARK_AGREE=COUNT tries more of them.
"""
import json
import os
import random
import subprocess
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
TOKMARK = os.environ["TOKMARK_BINARY"]
sys.path.insert(0, os.path.join(ROOT, "src", "engines", "python"))

from tokmark_worker import protocol, worker as python_worker  # noqa: E402
from tokmark_worker.errors import WorkerError  # noqa: E402

from waiting import TIMEOUT_S

COUNT = int(os.environ.get("TOKMARK_AGREE", "120"))
RAW_VALUES = [
    "0", "-0", "-1", "1", "2", "1.0", "1e0", "2.5", "1E2", "4294967295", "4294967296", "1152921504606846977",
    "9223372036854775807", "9223372036854775808", "18446744073709551616", "1e400", "-1e400", "1e-400", "NaN", "Infinity",
    "01", "+1", ".5", "1.", "0x10", "true", "false", "null", "True", '""', '"x"', '"0"', '"é"', '"\\u00e9"', '"\\u0000"',
    '"\\ud800"', '"\\ude00\\ud83d"', '"\\ud83d\\ude00"', '"\\x41"', '"a\\/b"', '"' + "a" * 70 + '"', '"' + "é" * 40 + '"',
    '"' + "a" * 2000 + '"', '"a\tb"', "[]", "[1]", "[1,1]", "[1,]", "[null]", "{}", '{"a":1}', '{"a":1,"a":2}', '{"a":{"b":[]}}',
    "[" * 20 + "]" * 20, "[" * 400 + "]" * 400, "[" * 3000 + "]" * 3000, "", "step", "'step'",
]
RAW_BYTES = [b"\0", b"\n", b"\r", b"\t", b"\x0b", b"\x0c", b" ", b"\xff", b"\xc3", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"{", b"}", b'"', b",",
             b":", b"\\", b"0", b"\x7f", b"\xe2\x80\xa8"]


class Null:
    """As src/engines/null."""

    name, version = "null", "1"

    def open(self, cell):
        if cell.device.partition(":")[0] != "cpu":
            raise WorkerError("unsupported", "it uses no such device")
        return {}

    def run_block(self, steps, sync):
        return {"window_ns": steps, "step_ns": [1] * steps if sync == "step" else None}

    def memory(self):
        return {}

    def check(self, *_):
        raise WorkerError("unsupported", "nothing is computed")

    def verify(self, _step):
        raise ValueError("it cannot")

    def close(self):
        pass


# --- what a host writes ----------------------------------------------------------------------------


def sound_requests(chance):
    with open(os.path.join(HERE, "open.json"), encoding="utf-8") as file:
        opened = json.load(file)
    opened["options"] = {"lr": "0.1", "compile": "off"} if chance.random() < 0.3 else {}
    requests = [{"type": "hello", "versions": [1, 2], "host": "test"}, opened]
    for _ in range(chance.randrange(1, 4)):
        requests.append(chance.choice([
            {"type": "run", "steps": 3, "sync": "step"}, {"type": "run", "steps": 2, "sync": "block"}, {"type": "memory"},
            {"type": "verify", "step": 1}, {"type": "check", "inputs": "a", "output": "b", "train_steps": 1, "weights": True},
        ]))
    return [*requests, {"type": "close"}]


def places(value, at=()):
    """Of every member of an object and its objects: the keys that lead to it."""
    for key, inner in value.items() if isinstance(value, dict) else ():
        yield (*at, key)
        yield from places(inner, (*at, key))


def spoilt_json(chance, request):
    """A member has another value, is missing, comes twice, or is one that nobody knows. The text that json.dumps()
    cannot make stands where a mark was."""
    mark = "a mark"
    request = json.loads(json.dumps(request))
    path = chance.choice(list(places(request)))
    inside = request
    for key in path[:-1]:
        inside = inside[key]
    way = chance.choice(["value", "value", "value", "gone", "twice", "unknown"])
    if way == "gone":
        del inside[path[-1]]
    elif way == "value":
        inside[path[-1]] = mark
    else:
        inside["unknown"] = mark
    text = json.dumps(request).replace(json.dumps(mark), chance.choice(RAW_VALUES))
    return text.replace('"unknown"', json.dumps(path[-1])) if way == "twice" else text


def spoilt_bytes(chance, line):
    at = chance.randrange(len(line) + 1)
    way = chance.choice(["in", "for", "out", "cut"])
    piece = chance.choice(RAW_BYTES)
    if way == "in":
        return line[:at] + piece + line[at:]
    if way == "for":
        return line[:at] + piece + line[at + 1:]
    return line[:at] + line[at + 1:] if way == "out" else line[:at]


def written(seed):
    chance = random.Random(seed)
    requests = sound_requests(chance)
    lines = [json.dumps(request).encode() for request in requests]
    at = chance.randrange(len(lines))
    way = chance.choice(["json", "json", "json", "bytes", "place"])
    if way == "json":
        lines[at] = spoilt_json(chance, requests[at]).encode()
    elif way == "bytes":
        lines[at] = spoilt_bytes(chance, lines[at])
    elif chance.random() < 0.5:
        lines.insert(chance.randrange(len(lines) + 1), lines[at])
    else:
        lines.insert(chance.randrange(len(lines)), lines.pop(at))
    end = b"" if chance.random() < 0.1 else b"\n"
    return b"\n".join(lines) + end


# --- what workers answer ---------------------------------------------------------------------------


def answers(replies, exit_code):
    """Types, of errors their kind; texts are each worker's own."""
    found = [json.loads(line) for line in replies.splitlines()]
    return [(reply["type"], reply.get("kind")) for reply in found], exit_code


def of_c(data):
    done = subprocess.run([TOKMARK, "worker", "null"], input=data, capture_output=True, timeout=TIMEOUT_S, check=False)
    return answers(done.stdout, done.returncode)


def of_python(data, monkeypatch, folder):
    """Here, without a process: all that it reads is there already."""
    monkeypatch.setattr(python_worker, "import_engine", lambda _: Null)
    monkeypatch.setattr(python_worker.traceback, "print_exc", lambda: None)
    (folder / "in").write_bytes(data)
    with open(folder / "in", "rb") as requests, open(folder / "out", "wb") as replies:
        worker = python_worker.Worker("null", protocol.Stream(requests.fileno(), replies.fileno()))
        worker.serve()
    return answers((folder / "out").read_bytes(), worker.exit_code)


@pytest.mark.parametrize("part", range(4))
def test_whatever_is_written_both_answer_alike(part, monkeypatch, tmp_path):
    differ = []
    for seed in range(part, COUNT, 4):
        data = written(seed)
        c, python = of_c(data), of_python(data, monkeypatch, tmp_path)
        if c != python:
            differ.append(f"seed {seed}: C {c}, Python {python}: {data[-700:]!r}")
    assert not differ, f"{len(differ)} differ\n" + "\n".join(differ[:8])


@pytest.mark.parametrize("reply", ["ready", "block", "bye", "error"])
def test_who_says_what_a_worker_says_is_told_so(reply, monkeypatch, tmp_path):
    data = json.dumps({"type": reply}).encode() + b"\n"
    assert of_c(data) == of_python(data, monkeypatch, tmp_path) == ([("error", "internal")], 1)
    with pytest.raises(protocol.ProtocolError, match=f"message '{reply}': 'type' is not sent by a host: "):
        protocol.decode(data)


@pytest.mark.parametrize("text", ['"\\ud800"', '"a\\ude00\\ud83d"', '["\\udfff"]'])
def test_half_a_character_is_no_text(text, monkeypatch, tmp_path):
    """Also in a key that nobody knows, as a line is read whole."""
    data = f'{{"type":"hello","versions":[1],"host":"test","unknown":{text}}}\n'.encode()
    assert of_c(data) == of_python(data, monkeypatch, tmp_path) == ([("error", "internal")], 1)


def test_most_of_it_is_understood():
    """Or nothing would be compared but first lines."""
    greeted = sum(of_c(written(seed))[0][0] == ("hello", None) for seed in range(20))
    opened = sum(("ready", None) in of_c(written(seed))[0] for seed in range(20))
    assert greeted >= 8 and opened >= 6


@pytest.mark.parametrize("change", [
    {"rotary_base": None}, {"experts_active": None}, {"experts_count": None}, {"norm": None}, {"ffn": None}, {"norm_eps": 1}, {"norm_eps": 2},
    {"rotary_base": 0.5}, {"rotary_base": 2e9}, {"experts_count": 65}, {"dim": 1 << 21}, {"vocab_size": (1 << 24) + 1}, {"dropout": 0.995},
    {"layers_count": 4097},
])
def test_a_model_has_the_same_limits(change, monkeypatch, tmp_path):
    """None: the field is not there."""
    requests = [{"type": "hello", "versions": [1], "host": "test"}, *sound_requests(random.Random(1))[1:2], {"type": "close"}]
    model = {**requests[1]["model"], **change}
    requests[1]["model"] = {key: value for key, value in model.items() if value is not None}
    data = b"".join(json.dumps(request).encode() + b"\n" for request in requests)
    assert of_c(data) == of_python(data, monkeypatch, tmp_path)

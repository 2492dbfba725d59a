"""The fields of a cell are rows of src/spec/cell.def: the program and the Python workers must hold to the same ones."""
import copy
import json
import os
import re
import subprocess
import sys
from dataclasses import MISSING, fields

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
TOKMARK = os.environ["TOKMARK_BINARY"]
sys.path.insert(0, os.path.join(ROOT, "src", "engines", "python"))

from tokmark_worker import cell as python_cell  # noqa: E402
from tokmark_worker.protocol import ProtocolError, encode  # noqa: E402

def read(*path):
    with open(os.path.join(ROOT, *path), encoding="utf-8") as file:
        return file.read()


def program_rows():
    """key -> (kind as docs/protocol.md says it, words, is it optional)."""
    out = subprocess.run([TOKMARK, "fields", "--of", "open", "--format", "json"], capture_output=True, text=True, check=True)
    rows = [json.loads(line) for line in out.stdout.splitlines()]
    return {("options." if row["in"] == "options" else "") + row["name"]:
            (row["kind"], tuple(row["words"]), not row["required"]) for row in rows}


def python_rows():
    found = {}
    for prefix, kind in (("", python_cell.Cell), ("options.", python_cell.Options)):
        for item in fields(kind):
            is_optional = (item.default, item.default_factory) != (MISSING, MISSING)
            row = item.metadata
            found[prefix + item.name] = (row["kind"], row["limit"], is_optional)
    return found


def test_python_has_the_same_rows():
    shown = {"text": "text {}", "seed": "text {}", "count": "count >= {}", "settings": "object, text {}", "word": "word"}
    assert program_rows() == {
        key: (shown.get(kind, "object").format(limit), limit if kind == "word" else (), is_optional)
        for key, (kind, limit, is_optional) in python_rows().items()
    }


def test_a_models_fields_are_the_same():
    types = {"U32": int, "DOUBLE": float, "BOOL": bool, "NORM": str, "FFN": str}
    c_fields = {key: types[kind] for key, kind in re.findall(r"^MODEL\((\w+), (\w+),", read("src", "spec", "model.def"), re.M)}
    ours = {item.name: type(item.default) for item in fields(python_cell.ModelSpec)}
    assert ours.pop("name") is str
    assert ours == c_fields


@pytest.mark.parametrize("norm, total, active", [("rms", 3456, 2176), ("layer", 3496, 2216)])
def test_of_experts_those_that_are_chosen_work_on_a_token(norm, total, active):
    """By hand: outside of layers 11 * 8 + 5 * 8 + 8 + 11 * 8, in each of two 8 + 216 + 72 + 8 + 32 and four experts of
    108 + 108 + 104, of which two are chosen; biases of five norms."""
    spec = python_cell.ModelSpec(vocab_size=11, max_seq_len=5, dim=8, layers_count=2, heads_count=2, ffn_hidden=12, experts_count=4,
                                 experts_active=2, norm=norm)
    assert (spec.params_total(), spec.params_active()) == (total, active)


RATE = "0.001"  # of the texts the one that is a number


def request():
    """With every key: of words that may be absent the last one, which is not the default."""
    message = json.loads(read("tests", "protocol", "open.json"))
    message["options"] = {}
    for key, (kind, limit, is_optional) in python_rows().items():
        if is_optional and kind != "options":
            value = {"word": lambda words: words[-1], "text": lambda _: "mine.model:Mine", "settings": lambda _: {"n": "2"}, "count": lambda _: 2}
            set_key(message, key, RATE if key == "options.lr" else value[kind](limit))
    return message


def set_key(message, key, value):
    at = message["options"] if key.startswith("options.") else message
    name = key.split(".")[-1]
    if value is None:
        del at[name]
    else:
        at[name] = value


def at_the_limits(key, kind, limit):
    """(value, is it taken) at both sides of a row's limits."""
    if key == "options.lr":
        return [("0.5", True), ("1e-3", True), ("0", False), ("-1", False), ("inf", False), ("much", False), (0.5, False)]
    if kind == "text":
        return [("x" * (limit - 1), True), ("x" * limit, False), ("é" * (limit // 2), limit % 2 == 1), (7, False)]
    if kind == "word":
        return [(word, True) for word in limit] + [("", False), (limit[0] + "x", False), ([], False)]
    if kind == "count":
        largest = 8 if key == "seq_len" else 2**32 - 1
        return [(limit, True), (limit - 1, False), (largest, True), (largest + 1, False), (2.0, False), (True, False)]
    if kind == "seed":
        return [("0", True), (str(2**64 - 1), True), (str(2**64), False), ("-1", False), ("", False), (7, False)]
    if kind == "settings":
        room = limit - len('{"a":""}')
        return [({}, True), ({"a": "x" * (room - 1)}, True), ({"a": "x" * room}, False), ("a=b", False)]
    return [([], False), ("", False)]


@pytest.mark.parametrize("key", sorted(python_rows()))
def test_python_holds_to_its_rows(key):
    kind, limit, is_optional = python_rows()[key]
    for value, is_taken in [*at_the_limits(key, kind, limit), (None, is_optional)]:
        message = copy.deepcopy(request())
        set_key(message, key, value)
        if is_taken:
            read_back = python_cell.read_cell(message)
            for part in key.split(".") if value is not None else ():
                read_back = getattr(read_back, part)
            if value is not None:
                assert read_back == (int(value) if kind == "seed" else value)
        else:
            with pytest.raises(ProtocolError, match=f"'?{key}"):
                python_cell.read_cell(message)


def test_what_is_absent_is_zero():
    message = json.loads(read("tests", "protocol", "open.json"))
    found = python_cell.read_cell(message)
    for key, (kind, limit, is_optional) in python_rows().items():
        if is_optional and kind != "options":
            value = found
            for part in key.split("."):
                value = getattr(value, part)
            assert value == {"word": limit[0] if kind == "word" else None, "text": "", "settings": {}, "count": 1}[kind]


def test_a_reply_has_only_keys_that_the_protocol_knows():
    assert json.loads(encode("memory", {"peak_bytes": 1, "rss_bytes": None})) == {"type": "memory", "peak_bytes": 1}
    for reply, key in [("ready", "parms_total"), ("block", "params_total"), ("memory", "peak_byte"), ("bye", "loss")]:
        with pytest.raises(KeyError, match=f"'{reply}' has no key '{key}'"):
            encode(reply, {key: 1})

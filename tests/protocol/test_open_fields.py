"""The fields of a cell are rows in src/spec/cell.c. The Python workers' rows and the table of `open` in
docs/protocol.md must say the same: names, types, limits and words."""
import copy
import json
import os
import re
import sys
from dataclasses import MISSING, fields

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "src", "engines", "python"))

from tokmark_worker import cell as python_cell  # noqa: E402
from tokmark_worker.protocol import ProtocolError  # noqa: E402

# FIELD_x in C -> what the Python row calls it
KINDS = {
    "TEXT": "text", "HASH": "text", "WORD": "word", "COUNT": "count", "SEED": "seed", "MODEL": "model",
    "SETTINGS": "settings", "OPTIONS": "options",
}  # fmt: skip
SEED_BYTES = 24


def read(*path):
    with open(os.path.join(ROOT, *path), encoding="utf-8") as file:
        return file.read()


def c_words(source, header, array):
    """The words of a names array in cell.c: spelt out, or by one of cell.h's maps."""
    body = re.search(rf"const {array}\[\] = \{{(.*?)\}};", source, re.S).group(1)
    use = re.search(r"(CELL_\w+_MAP)\(X\)", body)
    if use:
        body = re.search(rf"#define {use.group(1)}\(X\)((?:.*\\\n)*.*)", header).group(1)
    return tuple(re.findall(r'"([^"]+)"', body))


def c_bytes(header, member):
    """The size of a char array of struct cell or struct cell_options."""
    size = re.search(rf"char {member.split('.')[-1]}\[(\w+)\]", header).group(1)
    return int(re.search(rf"#define {size}\s+(\d+)", header + read("src", "base", "hash.h")).group(1))


def c_rows():
    """key -> (kind, limit, is it optional)."""
    source, header = read("src", "spec", "cell.c"), read("src", "spec", "cell.h")
    found = {}
    tables = re.findall(r"struct field (\w+)\[\] = \{\n(.*?)\n\};", source, re.S)
    assert [name for name, _ in tables] == ["fields", "option_fields"]
    for name, body in tables:
        rows = re.findall(r'\{"(\w+)", FIELD_(\w+), NEED_(\w+), AT\(([\w.]+)\)([^}]*)\}', body)
        assert len(rows) == body.count("{") > 0, f"a row of {name} is not understood"
        for key, kind, need, member, rest in rows:
            limit = None
            if kind in ("TEXT", "HASH", "SETTINGS"):
                limit = c_bytes(header, member)
            elif kind == "WORD":
                limit = c_words(source, header, re.search(r"WORDS\((\w+)\)", rest).group(1))
            elif kind == "COUNT":
                limit = int(re.search(r"\.least = (\d+)", rest).group(1))
            elif kind == "SEED":
                limit = SEED_BYTES
            prefix = "" if name == "fields" else "options."
            found[prefix + key] = (KINDS[kind], limit, need in ("IF_SET", "BESIDE", "UNHASHED"))
    return found


def python_rows():
    found = {}
    for prefix, kind in (("", python_cell.Cell), ("options.", python_cell.Options)):
        for item in fields(kind):
            is_optional = (item.default, item.default_factory) != (MISSING, MISSING)
            row = item.metadata
            found[prefix + item.name] = (row["kind"], row["limit"], is_optional)
    return found


def test_python_has_the_same_rows():
    assert python_rows() == c_rows()


def test_a_models_fields_are_the_same():
    source = read("src", "spec", "model.c")
    table = re.search(r"struct field fields\[\] = \{\n(.*?)\n\};", source, re.S).group(1)
    types = {"U32": int, "DOUBLE": float, "BOOL": bool, "NORM": str, "FFN": str}
    c_fields = {key: types[kind] for key, kind in re.findall(r'\{"(\w+)", FIELD_(\w+),', table)}
    ours = {item.name: type(item.default) for item in fields(python_cell.ModelSpec)}
    assert ours.pop("name") is str
    assert ours == c_fields


def test_the_documents_table_is_the_same():
    text = read("docs", "protocol.md")
    section = text[text.index("### open\n") : text.index("\n### run\n")]
    table = re.search(r"\n\n(\| key .*?)\n\n", section, re.S).group(1)
    rows = {}
    for line in table.splitlines()[3:]:
        key, kind, meaning = (part.strip() for part in line.strip("|").split("|"))
        rows[key.strip("`")] = (kind, meaning)
    wanted = c_rows()
    assert list(rows) and set(rows) == set(wanted)
    for key, (kind, limit, _) in wanted.items():
        shown, meaning = rows[key]
        assert shown == {
            "text": f"text {limit}",
            "seed": f"text {limit}",
            "count": f"count >= {limit}",
            "settings": f"object, text {limit}",
        }.get(kind, {"word": "word"}.get(kind, "object")), key
        if kind == "word":
            assert tuple(re.search(r"`([^`]+)`", meaning).group(1).split()) == limit, key


def request():
    message = json.loads(read("tests", "protocol", "open.json"))
    message["model_ref"] = "mine.model:Mine"
    message["memory_check"] = "off"
    message["options"] = {"moe": "published", "compile": "off", "source": "auto",
                          "figures": "own", "trust_remote_code": "yes", "set": {"n_layer": "2"}}  # fmt: skip
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

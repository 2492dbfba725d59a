"""`tokmark cat`: what it prints of results, and what it says of what is none."""
import json
import os
import subprocess
import time

import pytest

TOKMARK = os.environ["TOKMARK_BINARY"]


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """The folder of a small sweep, with its archive beside it."""
    base = tmp_path_factory.mktemp("cat")
    subprocess.run([TOKMARK, "run", "--sandbox", "--mode", "train", "infer", "--seq", "128", "--batch", "1", "2", "--out", "out",
                    "--zip", "--steps", "30"], cwd=base, capture_output=True, check=False)
    return base / "out"


def cat(*arguments, stdin=None, code=0):
    run = subprocess.run([TOKMARK, "cat", *map(str, arguments)], input=stdin, capture_output=True, text=True, check=False)
    assert run.returncode == code, run.stderr
    return run


def written(folder):
    return [json.loads(line) for line in (folder / "bench_results.jsonl").read_text().splitlines()]


def test_every_form_says_the_same(swept):
    rows = [(row["mode"], row["batch_size"], row["ms_p50"], row["compile_ms"]) for row in written(swept)]
    names = "mode,batch_size,ms_p50,compile_ms"
    lines = cat(swept, "--fields", names).stdout.splitlines()
    assert lines[0].split("\t") == names.split(",")
    values = [line.split("\t") for line in lines[1:]]
    assert [(mode, int(batch), float(ms)) for mode, batch, ms, _ in values] == [row[:3] for row in rows]
    assert {value[3] for value in values} == {"null" if row[3] is None else str(row[3]) for row in rows}
    assert cat(swept, "--fields", names, "--format", "csv").stdout.splitlines() == [line.replace("\t", ",") for line in lines]
    objects = json.loads(cat(swept, "--fields", names, "--format", "json").stdout)
    assert [tuple(item.values()) for item in objects] == rows
    assert [json.loads(line) for line in cat(swept, "--fields", names, "--format", "jsonl").stdout.splitlines()] == objects


def test_all_fields_as_jsonl_is_the_file_itself_from_wherever_it_comes(swept):
    text = (swept / "bench_results.jsonl").read_text()
    for source in (swept, swept / "bench_results.jsonl", str(swept) + ".zip"):
        run = cat(source, "--format", "jsonl")
        assert (run.stdout, run.stderr) == (text, "")
    assert cat("-", "--format", "jsonl", stdin=text).stdout == text
    assert cat(swept, swept, "--format", "jsonl").stdout == text + text


def test_values_that_come_back_are_not_those_of_the_line_before(swept):
    """A value that stands as in the line before is not read again: what lies between must not be forgotten."""
    row = written(swept)[0]
    texts = ["x", "x", None, "x", "x\\y", "x\ny", "x" * 29, "x" * 30, "x" * 30 + "y", "x" * 30, "\\n", "\n", None, None]
    numbers = [1, 1.0, 10, 1, None, 1, 2, 20, 2, 0.1, 0.10, 1e2, 100, 1]
    lists = [[], [{"code": "a", "text": "b"}], [], [], [{"code": "c", "text": "d"}], [], [], [], [], [], [], [], [], []]
    lines = [json.dumps({**row, "notes": text, "ms_p50": number, "synthetic": i % 3 == 0, "warnings": warned, "null_reasons": {}})
             for i, (text, number, warned) in enumerate(zip(texts, numbers, lists))]
    names = "notes,ms_p50,synthetic,warnings"
    said = cat("-", "--fields", names, "--format", "json", stdin="\n".join(lines) + "\n").stdout
    assert [tuple(item.values()) for item in json.loads(said)] == [
        (text, number, i % 3 == 0, warned) for i, (text, number, warned) in enumerate(zip(texts, numbers, lists))]


def test_where_compares_by_type(swept):
    rows = written(swept)
    trains = cat(swept, "--fields", "batch_size", "--where", "mode=train").stdout.splitlines()[1:]
    assert trains == [str(row["batch_size"]) for row in rows if row["mode"] == "train"] != []
    assert len(cat(swept, "--fields", "mode", "--where", "batch_size=2.0", "--where", "synthetic=true").stdout.splitlines()) == 3
    assert len(cat(swept, "--fields", "mode", "--where", "weights_hash=null").stdout.splitlines()) == 5
    assert json.loads(cat(swept, "--fields", "mode", "--where", "mode=none", "--format", "json").stdout) == []


@pytest.mark.parametrize("arguments, words", [
    (["--fields", "mode,msp50"], ["msp50", "ms_p50"]),
    (["--fields", "mode,,seq_len"], ["''"]),
    (["--fields", "mode,mode"], ["twice"]),
    (["--where", "mode"], ["FIELD=VALUE"]),
    (["--where", "moode=train"], ["moode", "'mode'"]),
    (["--where", "seq_len=short"], ["seq_len", "whole number"]),
    (["--where", "synthetic=yes"], ["true or false"]),
    (["--follow", "--format", "json"], ["jsonl"]),
    (["--follow", "other"], ["one folder"]),
])
def test_what_cannot_be_asked_for_is_told(swept, arguments, words):
    run = cat(swept, *arguments, code=2)
    assert run.stdout == ""
    assert all(word in run.stderr for word in words), run.stderr


def test_lines_that_are_no_records_are_counted(swept):
    line = (swept / "bench_results.jsonl").read_text().splitlines()[0]
    run = cat("-", "--fields", "mode", stdin=f"# mine\n{line}\n{{\"schema\":2}}\n{line[:99]}")
    assert run.stdout == "mode\ntrain\n"
    assert "3 lines were no records" in run.stderr and "line 1" in run.stderr
    run = cat("-", stdin="nothing of ours\n", code=4)
    assert "1 line was no record" in run.stderr
    assert cat("-", "--fields", "mode", stdin="").stdout == "mode\n"
    run = cat(swept / "nowhere", code=5)
    assert run.stdout == "" and "nowhere" in run.stderr


def test_texts_stay_on_their_line_and_in_their_column():
    record = json.dumps({"schema": 1, "mode": "a\tb\\c\nd", "notes": "x,\"y\""})
    run = cat("-", "--fields", "mode,notes", stdin=record + "\n")
    assert run.stdout.splitlines()[1] == "a\\tb\\\\c\\nd\tx,\"y\""
    run = cat("-", "--fields", "mode,notes", "--format", "csv", stdin=record + "\n")
    assert run.stdout == 'mode,notes\n"a\tb\\c\nd","x,""y"""\n'


def test_follow_prints_records_as_they_are_written(swept, tmp_path):
    lines = (swept / "bench_results.jsonl").read_text().splitlines(keepends=True)
    with subprocess.Popen([TOKMARK, "cat", tmp_path, "--follow", "--fields", "mode,batch_size", "--format", "jsonl"],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            with open(tmp_path / "bench_results.jsonl", "w", encoding="utf-8") as file:
                for line in lines:
                    file.write(line[:40])
                    file.flush()
                    time.sleep(0.01)
                    file.write(line[40:])
                    file.flush()
                    wanted = json.loads(line)
                    assert json.loads(process.stdout.readline()) == {key: wanted[key] for key in ("mode", "batch_size")}
            assert process.poll() is None
        finally:
            process.kill()

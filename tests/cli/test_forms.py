"""-o: standard output of `run` and `ab` in the form that was asked for, and nothing but that."""
import csv
import io
import json
import os
import re

import pytest

from caller import NULL, ROOT, worker

FORMS = ["md", "csv", "json", "jsonl"]
SIDE = f"--engine \"exec:python3 '{ROOT}/tests/cli/ab_worker.py' --made-up\""
AB = ["ab", "--a", SIDE, "--b", SIDE.replace("--made-up", "--made-up --step-ms 1.2"), "--mode", "infer", "--seq", "16", "--batch", "1",
      "--warmup", "1", "--starts", "1", "--rounds", "12"]


def grid_of(text):
    """The cells of the first Markdown table, as people paste it."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in re.split(r"(?<!\\\\)\|", line)[1:-1]] for line in lines]
    assert len({len(row) for row in rows}) == 1 and all(re.fullmatch("-+:?", cell) for cell in rows[1])
    return rows[:1] + rows[2:]


def rows_of(text):
    rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    assert len({len(row) for row in rows}) == 1, "RFC 4180: as many fields in every line"
    return rows


def test_a_run_in_every_form(call):
    seen = {}
    for form in FORMS:
        done = call(*NULL, "--mode", "infer", "--seq", "64", "128", "--out", form, "-o", form, code=0)
        assert f"{form}/bench_results.jsonl" in done.stderr and f"{form}/bench_results" not in done.stdout
        seen[form] = done.stdout
    stored = (call.folder / "jsonl" / "bench_results.jsonl").read_text()
    assert seen["jsonl"] == stored and stored.count("\n") == 2
    assert json.loads(seen["json"]) == [json.loads(line) for line in (call.folder / "json" / "bench_results.jsonl").open()]
    assert seen["csv"] == (call.folder / "csv" / "bench_results.csv").read_text() and len(rows_of(seen["csv"])) == 3
    head, *rows = grid_of(seen["md"])
    assert head[:4] == ["mode", "seq_len (tokens)", "batch_size (rows)", "verdict"] and [row[1] for row in rows] == ["64", "128"]


def test_what_failed_is_in_every_form_and_the_exit_code_stays(call):
    failing = ["run", "--engine", worker("--crash-seq 128"), "--mode", "infer", "--steps", "5", "--warmup", "0"]
    (record,) = json.loads(call(*failing, "-o", "json", code=4).stdout)
    assert record["verdict"] == "crashed"
    assert rows_of(call(*failing, "--format=csv", code=4).stdout)[1]
    text = call(*failing, "-o", "md", code=4).stdout
    assert "\nNot ok:\n\n- infer fp32 seq 128 batch 4: crashed: " in text and "\nWhat would help:\n\n- " in text


def test_resume_gives_what_is_there_and_quiet_nothing_else(call):
    first = call(*NULL, "-o", "jsonl", "-q", code=0)
    assert first.stderr == ""
    assert call(*NULL, "-o", "jsonl", "--resume", "-q", code=0).stdout == first.stdout


@pytest.mark.parametrize("words, said", [
    (["run", "--dry-run", "-o", "json"], "--dry-run prints a table only"),
    (["run", "--compare", ".", "-o", "md"], "`tokmark compare` has"),
    (["run", "-o", "jsn"], "json"),
    (["ab", "--b", "--threads 1", "--dry-run", "-o", "csv"], "--dry-run prints a table only")])
def test_what_has_no_form_is_refused(call, words, said):
    done = call(*words, code=2)
    assert said in done.stderr and done.stdout == "" and not os.listdir(call.folder)


def test_a_comparison_in_every_form(call):
    seen = {form: call(*AB, "--out", form, "-o", form, code=0).stdout for form in FORMS}
    stored = {form: (call.folder / form / "ab_results.jsonl").read_text() for form in FORMS}
    assert seen["jsonl"] == stored["jsonl"]
    assert json.loads(seen["json"]) == [json.loads(stored["json"])]
    line = json.loads(stored["csv"])
    head, row = rows_of(seen["csv"])
    cells = dict(zip(head, row, strict=True))
    assert set(line) - {"a", "b"} <= set(cells) and {"a.verdict", "b.verdict"} <= set(cells)
    assert cells["outcome"] == "slower" and cells["b.verdict"] == line["b"]["verdict"]
    assert json.loads(cells["environment"]) == line["environment"] and float(cells["ratio_percent"]) == line["ratio_percent"]
    head, row = grid_of(seen["md"])
    assert head[0] == "#" and dict(zip(head, row))["B is"] == "SLOWER" and "1. infer fp32 seq 16 batch 1: " in seen["md"]

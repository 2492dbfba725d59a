"""Ids: no reader of the files takes one for a number, and those of earlier versions are still found."""
import csv
import json
import re

from caller import NULL, worker

IDS = ("run_id", "cell_id", "policy_id", "environment_id", "history_id", "data_hash", "weights_hash")
HASHED = ("run", "--engine", "null", "--steps", "20", "--warmup", "2", "--seq", "16", "--history", "on")


def is_number(text):
    """As pandas decides for a column: does every reader of numbers refuse it?"""
    try:
        float(text)
    except ValueError:
        return False
    return True


def without_letter(text):
    """What tokmark 0.1 would have written."""
    return re.sub(r"\bh(?=[0-9a-f]{16}\b)", "", re.sub(r'"r(?=\d{8}T\d{6}Z-)', '"', text))


def test_no_id_reads_as_a_number(call, tmp_path):
    (call.folder / "tokens.bin").write_bytes(bytes(range(256)) * 4)
    env = {"XDG_DATA_HOME": str(tmp_path / "user")}
    call(*HASHED, "--data", "tokens.bin", "--batch", *map(str, range(1, 9)), env=env)
    with open(call.folder / "_bench" / "bench_results.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    records = call.records()
    assert len(records) == 16
    for record, row in zip(records, rows):
        for name in IDS:
            if record[name] is None:
                continue
            assert row[name] == record[name] and record[name][0].isalpha()
            assert not is_number(record[name])
    assert all(record[name] is not None for record in records for name in IDS if name != "weights_hash")
    names = {path.name.split(".")[0] for path in (call.folder / "_bench" / "samples").iterdir()}
    assert names == {record["cell_id"] for record in records}


def test_records_of_an_earlier_version_are_resumed(call):
    (call.folder / "tokens.bin").write_bytes(bytes(range(256)) * 4)
    sweep = [*NULL, "--batch", "1", "--seq", "16", "32", "--trials", "2", "--data", "tokens.bin"]
    call(*sweep, code=0)
    path = call.folder / "_bench" / "bench_results.jsonl"
    old = without_letter(path.read_text())
    assert not re.search(r'"(h[0-9a-f]{16}|r\d{8}T)', old) and '"h' in path.read_text()
    path.write_text(old)
    done = call(*sweep, "--resume", code=0)
    assert "Skipped 8 of 8" in done.stdout
    assert path.read_text() == old, "what was written stays as it is"
    call(*[word if word != "32" else "64" for word in sweep], "--resume", code=0)
    assert len(call.records()) == 12


def test_earlier_runs_of_an_earlier_version_count(call, tmp_path):
    env = {"XDG_DATA_HOME": str(tmp_path / "user")}
    for _ in range(2):
        call(*HASHED, "--mode", "infer", env=env)
    journal = tmp_path / "user" / "tokmark" / "machine.jsonl"
    journal.write_text(without_letter(journal.read_text()))
    call(*HASHED, "--mode", "infer", env=env)
    assert [record["history_runs"] for record in call.records()] == [None, 2, 3]
    ids = [line["history_id"] for line in map(json.loads, journal.read_text().splitlines()) if line["what"] == "run"]
    assert ids[0] == ids[1] == ids[2][1:]


def test_engines_whose_names_differ_at_the_end_are_two(call):
    """Commands are long: what is cut is not what tells them apart."""
    names = [worker("--uneven " * 20 + "--step-ms", step) for step in ("1.1", "1.2")]
    for name in names:
        call("run", "--engine", name, "--mode", "infer", "--seq", "16", "--steps", "3", "--warmup", "1", "--out", "out")
    found = call.records("out")
    assert [record["framework"] for record in found] == names
    assert found[0]["cell_id"] != found[1]["cell_id"]
    call("registry", "bridge", "--into", "metrics.yaml", "--id-template", "{engine}.{mode}", "out", code=0)
    text = (call.folder / "metrics.yaml").read_text()
    assert "1.1.infer" in text and "1.2.infer" in text

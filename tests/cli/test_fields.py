"""`tokmark fields` and what is made from the table of facts: the documentation and workers' replies."""
import json
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TOKMARK = os.environ["TOKMARK_BINARY"]


def fields(*arguments):
    run = subprocess.run([TOKMARK, "fields", *arguments], capture_output=True, text=True, check=True)
    return run.stdout


def test_the_tables_of_the_documentation_are_fresh():
    run = subprocess.run([sys.executable, os.path.join(ROOT, "tools", "docs_tables.py"), "--check", TOKMARK],
                         capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (0, "")


def test_every_section_and_every_reply_has_its_table():
    texts = []
    for name in ("records", "protocol"):
        with open(os.path.join(ROOT, "docs", name + ".md"), encoding="utf-8") as file:
            texts.append(file.read())
    rows = [json.loads(line) for line in fields("--format", "json").splitlines()]
    for group in {row["group"] for row in rows}:
        assert texts[0].count(f"<!-- tokmark fields --format md --group {group} -->") == 1
    for giver in {row["from"] for row in rows if "key" in row}:
        assert texts[1].count(f"<!-- tokmark fields --format md --from {giver} -->") == 1


def test_fields_can_be_chosen_by_section_and_by_who_gives_them():
    rows = [json.loads(line) for line in fields("--format", "json").splitlines()]
    latency = [json.loads(line) for line in fields("--format", "json", "--group", "latency").splitlines()]
    assert latency == [row for row in rows if row["group"] == "latency"] != []
    memory = [json.loads(line) for line in fields("--format", "json", "--from", "memory").splitlines()]
    assert {row["key"] for row in memory if "key" in row} >= {"allocated_bytes", "reserved_bytes"}
    text = fields("--group", "latency").splitlines()
    assert len(text) == len(latency) + 1 and text[1].startswith("engine_version ")

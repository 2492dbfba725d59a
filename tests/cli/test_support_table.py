"""docs/models.md and docs/jax.md say what works; every row names the test that shows it."""
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def rows(name="models.md", title="Your own models: what works"):
    text = (ROOT / "docs" / name).read_text(encoding="utf-8")
    section = text[text.index(f"## {title}") :].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [line for line in lines if not line.endswith("| test |") and not line.startswith("| ---")]


@pytest.mark.parametrize(
    "table, least", [((), 25), (("jax.md", "Which forms run"), 15)], ids=["pytorch", "jax"]
)
def test_every_row_of_the_support_table_names_a_test_that_there_is(table, least):
    found = rows(*table)
    assert len(found) > least
    for row in found:
        cell = row.strip("|").split("|")[-1].strip()
        match = re.fullmatch(r"`(test_\w+\.py)::(test_\w+)`", cell)
        assert match, row
        source = (ROOT / "tests" / "engines" / match[1]).read_text(encoding="utf-8")
        assert re.search(rf"^def {match[2]}\(", source, re.MULTILINE), row


def test_every_family_that_is_tested_is_in_the_table():
    source = (ROOT / "tests" / "engines" / "test_pytorch_transformers.py").read_text(encoding="utf-8")
    families = source[source.index("FAMILIES = {") : source.index("RECURRENT =")]
    names = re.findall(r'^    "(\w+)":', families, re.MULTILINE)
    listed = " ".join(row.split("|")[1] for row in rows())
    assert len(names) > 12
    for name in names:
        assert re.search(rf"\b{name.removesuffix('_text')}\b", listed), name

#!/usr/bin/env python3
"""Texts as a test: links between documents lead somewhere.

check_style.py runs it. Each rule is first tried on a text that is wrong (self_test).
"""
import os
import re

LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
# `docs/metrics.md, "Clock check"` in a comment or a text; quotes may be escaped as in C.
QUOTED_SECTION = re.compile(r"(?<![\w/])((?:docs/)?\w+\.md), \\?\"([^\"\\\n]+)\\?\"")


def without_code(text):
    """Blanks fenced blocks, indented blocks and code spans; keeps line breaks."""
    text = re.sub(r"^```.*?^```", lambda m: re.sub(r"[^\n]", "", m.group(0)), text, flags=re.S | re.M)
    return re.sub(r"`[^`\n]*`", "", text)


def headings(text):
    text = re.sub(r"^```.*?^```", "", text, flags=re.S | re.M)
    return [line.lstrip("#").strip() for line in text.split("\n") if re.match(r"#{1,6} ", line)]


def anchors(text):
    """The fragments of a document's headings, as GitHub makes them."""
    found = set()
    for heading in headings(text):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        number = 0
        while (slug if number == 0 else f"{slug}-{number}") in found:
            number += 1
        found.add(slug if number == 0 else f"{slug}-{number}")
    return found


def check_links(path, text, read, found):
    """read: the text of a file of the repository, None where there is none. A folder is the empty text."""
    if not path.endswith(".md"):
        return
    for number, line in enumerate(without_code(text).split("\n"), 1):
        for target in LINK.findall(line):
            if re.match(r"[a-z]+:", target):
                continue
            name, _, fragment = target.partition("#")
            to = os.path.normpath(os.path.join(os.path.dirname(path), name)) if name else path
            there = text if to == path else read(to)
            if there is None:
                found.append(f"{path}:{number}: the link to {target} leads nowhere: there is no {to}")
            elif fragment and fragment not in anchors(there):
                found.append(f"{path}:{number}: the link to {target} leads nowhere: {to} has no such heading")


def check_sections(path, text, read, found):
    """A section that a comment or a text names in quotes is there."""
    for number, line in enumerate(text.split("\n"), 1):
        for name, section in QUOTED_SECTION.findall(line):
            there = read(name if "/" in name else os.path.join("docs", name))
            if there is not None and section not in headings(there):
                found.append(f"{path}:{number}: {name} has no section \"{section}\"")


def check_texts(path, text, read, found):
    check_links(path, text, read, found)
    check_sections(path, text, read, found)


def self_test():
    files = {"docs/a.md": "# The `first` part, again\n\n```\n# no heading\n```\n", "docs": ""}
    planted = [
        ("docs/b.md", "[a](c.md)", "there is no docs/c.md"),
        ("README.md", "see [a](docs/a.md#the-second-part)", "no such heading"),
        ("docs/b.md", "[a](a.md#no-heading)", "no such heading"),
        ("src/base/a.c", "/* docs/a.md, \"The other part\" */", "no section"),
    ]
    for path, text, wanted in planted:
        found = []
        check_texts(path, text, files.get, found)
        if not any(wanted in line for line in found):
            print(f"texts self-test: '{wanted}' was not found in the planted {path}: {found}")
            return 1
    clean = []
    check_texts("docs/b.md", "[a](a.md#the-first-part-again) [b](../docs) [c](https://x.org/#y) `[d](e.md)`\n# Here\n[e](#here)\n",
                files.get, clean)
    check_texts("src/base/a.c", "/* docs/a.md, \"The `first` part, again\" */", files.get, clean)
    if clean:
        print(f"texts self-test: clean text was blamed: {clean}")
        return 1
    return 0

#!/usr/bin/env python3
"""Texts as a test: links between documents lead somewhere, and texts use the words of the field.

check_style.py runs it. Each rule is first tried on a text that is wrong (self_test).
"""
import os
import re

LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
# `docs/metrics.md, "Clock check"` in a comment or a text; quotes may be escaped as in C.
QUOTED_SECTION = re.compile(r"(?<![\w/])((?:docs/)?\w+\.md), \\?\"([^\"\\\n]+)\\?\"")


# Words that only this project ever used, each with the usual one. What is published keeps its name: flags, record
# fields, reason codes, file names and the key `cure` of a reason are words in code, which no pattern here matches.
PRIVATE_WORDS = (
    (re.compile(r"\bfigures?\b", re.I), "result, value, setting"),
    (re.compile(r"\bcures\b|\b(?:a|the|its|their|what would|would) cure\b", re.I), "hint"),
    (re.compile(r"\b(?:the|a|sweep's) sentinel\b", re.I), "canary cell"),
    (re.compile(r"\b(?:machine's|usual|fastest|that) pace\b", re.I), "clock check, clock rate"),
    (re.compile(r"\b(?:held|hold|holds) (?:\w+ )?against\b", re.I), "compared with"),
    (re.compile(r"\bwhat (?:it|a \w+|\w+s) (?:came|come|comes) to\b", re.I), "result, outcome"),
    (re.compile(r"\bwhat is whole\b", re.I), "completed results"),
    (re.compile(r"\bfor their heat\b", re.I), "thermally throttled"),
    (re.compile(r"\bgrouped product|\bmatrix products?\b", re.I), "matmul"),
    (re.compile(r"\bworkers? (?:\w+ )?in turns\b", re.I), "interleaved"),
)
WORDS_IN = re.compile(r"(?:src|docs|bench|tools|benchmarks|examples)/.*\.(?:c|h|def|py|sh|md)$|[A-Z]+\.md$")
# The option `figures` of the protocol's `open`, as code.
PUBLISHED = re.compile(r"`[^`]*`|\"figures\"|figures_names|options\.figures|\bfigures: str = _row")


# A number in a text and a noun that would be wrong behind 1: "%zu cells". Where people read results, it is "cell%s".
COUNTED = re.compile(r'%(?:zu|"PRIu(?:32|64)") (?:[a-z]+ )?(?:cells|trials|samples|starts|rounds|lines|steps|blocks|tensors|losses|records'
                     r'|comparisons|recompilations|times|runs|files|points|repeats|warnings)\b')
COUNTED_IN = re.compile(r"src/(?:cli|client|compare|drive|measure|observe|registry|store|telemetry)/.*\.c$")
ALWAYS_MANY = re.compile(r"no memory|more than %|of %zu samples|last %zu samples|between %zu trials|x %\"PRIu64\" trials|at most %|\+%zu runs|the key '%s' %zu")


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


def check_words(path, text, found):
    if not WORDS_IN.match(path):
        return
    for number, line in enumerate(text.split("\n"), 1):
        line = PUBLISHED.sub("", line)
        for pattern, usual in PRIVATE_WORDS:
            match = pattern.search(line)
            if match:
                found.append(f"{path}:{number}: '{match.group(0)}' is a word of ours; say {usual}")


def check_plurals(path, text, found):
    if not COUNTED_IN.match(path):
        return
    text = re.sub(r'"\s*\n\s*"', "", text)  # adjacent literals are one
    text = re.sub(r'"\s*(PRIu(?:32|64))\s*"', r'"\1"', text)
    for literal in re.findall(r'"(?:[^"\\\n]|\\.|"PRIu(?:32|64)")*"', text):
        match = COUNTED.search(literal)
        if match and not ALWAYS_MANY.search(literal):
            found.append(f"{path}: '{match.group(0)}' reads wrong for 1: %s and num_plural()")


def check_texts(path, text, read, found):
    check_plurals(path, text, found)
    check_words(path, text, found)
    check_links(path, text, read, found)
    check_sections(path, text, read, found)


def self_test():
    files = {"docs/a.md": "# The `first` part, again\n\n```\n# no heading\n```\n", "docs": ""}
    planted = [
        ("docs/b.md", "[a](c.md)", "there is no docs/c.md"),
        ("README.md", "see [a](docs/a.md#the-second-part)", "no such heading"),
        ("docs/b.md", "[a](a.md#no-heading)", "no such heading"),
        ("src/base/a.c", "/* docs/a.md, \"The other part\" */", "no section"),
        ("src/base/a.c", "/* Made-up figures. */", "'figures' is a word of ours; say result"),
        ("docs/b.md", "Gradients are held against PyTorch's.", "say compared with"),
        ("README.md", "The sentinel is measured again.", "say canary cell"),
        ("src/cli/a.c", 'f("%" PRIu64 " of %" PRIu64\n  " cells", a);', "reads wrong for 1"),
        ("src/cli/a.c", 'f(out, "%zu measured steps", a);', "reads wrong for 1"),
        ("src/base/a.c", "    {\"interrupted; what is whole was written\"},", "say completed results"),
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
    check_texts("src/cli/a.c", 'f("%zu step%s, %s steps; no memory for %zu cells");', files.get, clean)
    check_texts("docs/b.md", "`options.figures` and `cure`; `--sentinel`, `pace_ms`, sentinel.jsonl. A dot product.", files.get, clean)
    if clean:
        print(f"texts self-test: clean text was blamed: {clean}")
        return 1
    return 0

#!/usr/bin/env python3
"""Writes the tables of fields in docs/ anew, from the program's own table of facts.

usage: docs_tables.py [--check] BINARY

A table stands between `<!-- tokmark fields ARGUMENTS -->` and `<!-- end -->` and is what that
command prints. --check changes nothing, names the files that are stale and exits 1.
"""
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FILES = ("docs/records.md", "docs/protocol.md")
TABLE = re.compile(r"(<!-- tokmark (fields [^\n]*?) -->\n)(.*?)(<!-- end -->)", re.S)


def fresh(text, binary):
    def table(match):
        out = subprocess.run([binary, *match.group(2).split()], capture_output=True, text=True, check=True)
        return match.group(1) + out.stdout + match.group(4)

    return TABLE.sub(table, text)


def main():
    arguments = [word for word in sys.argv[1:] if word != "--check"]
    stale = []
    for name in FILES:
        path = os.path.join(ROOT, name)
        with open(path, encoding="utf-8") as file:
            text = file.read()
        wanted = fresh(text, os.path.abspath(arguments[0]))
        if wanted == text:
            continue
        stale.append(name)
        if "--check" not in sys.argv:
            with open(path, "w", encoding="utf-8") as file:
                file.write(wanted)
    for name in stale if "--check" in sys.argv else ():
        print(f"{name}: its tables are stale; run: python3 tools/docs_tables.py BINARY")
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())

"""Where --model finds code: files of any name, modules of other folders, packages with relative imports. Without a
framework: what a reference means does not depend on one."""
import subprocess
import sys
import textwrap

import pytest

from pytorch_worker import PYTHON_SOURCES

from waiting import TIMEOUT_S


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    where = tmp_path_factory.mktemp("references")
    write(where / "plain.py", "def make(): return 'plain'\n")
    write(where / "my-net.v2.py", """
        from dataclasses import dataclass
        import plain


        @dataclass
        class Net:
            said: "str" = "net beside " + plain.make()

            class Inner:
                said = "inner"
    """)
    write(where / "json.py", "class Net: said = 'not the json that others mean'\n")
    write(where / "deep/pkg/__init__.py", "NAME = 'pkg'\n")
    write(where / "deep/pkg/sub/__init__.py", "said = 'the package itself'\n")
    write(where / "deep/pkg/sub/part.py", """
        from .. import NAME
        from ..other import word
        def make(): return f"{NAME} {word}"
    """)
    write(where / "deep/pkg/other.py", "word = 'other'\n")
    write(where / "broken.py", "x = 1\nraise ValueError('not today')\n")
    return where


PROGRAM = """
import sys
del sys.path[0]  # the working directory has a json.py
import json, os
sys.path.insert(0, sys.argv[1])
from tokmark_worker.errors import WorkerError
from tokmark_worker.user_code import find_target
for ref in sys.argv[2:]:
    try:
        found = find_target(ref)
        print(getattr(found, "said", None) or (found() if callable(found) else found))
        assert hasattr(json, "dumps")
    except WorkerError as error:
        print(f"{error.kind}: {error.text}")
"""


def found(folder, *refs):
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(PYTHON_SOURCES), *refs], cwd=folder, text=True,
                          capture_output=True, timeout=TIMEOUT_S)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_files_and_folders(folder):
    refs = {
        "./plain.py:make": "plain",
        "plain:make": "plain",
        f"{folder}/my-net.v2.py:Net": "net beside plain",
        "./my-net.v2.py:Net.Inner": "inner",
        "./json.py:Net": "not the json that others mean",
        "deep/pkg/sub/part.py:make": "pkg other",
        "./deep/pkg.sub.part:make": "pkg other",
        "deep/pkg/sub/__init__.py:said": "the package itself",
    }
    assert found(folder, *refs) == list(refs.values())
    # each alone, so that none lives by what another has put on the path
    for ref, said in refs.items():
        assert found(folder, ref) == [said]


def test_what_is_not_there_is_named(folder):
    lines = found(folder, "./missing.py:Net", "./plain.py:mak", "./broken.py:Net", "deep/pkg.nothing:Net", "plain")
    assert "there is no file" in lines[0] and "missing.py" in lines[0]
    assert "did you mean 'make'?" in lines[1]
    assert "not today" in lines[2]
    assert "pkg.nothing" in lines[3]
    assert "no pkg.module:factory" in lines[4]

"""Whose Python an engine runs in: the choice, what it says of it, and what is missing."""
import json
import os
import subprocess
import sys

import pytest

# Of the environment that the tests themselves run in, nothing may decide.
CLEAN = {"TOKMARK_PYTHON": "", "VIRTUAL_ENV": "", "CONDA_PREFIX": ""}


def fake(path, packages="{}", missing="[]"):
    """A stand-in interpreter that answers a probe."""
    path.parent.mkdir(parents=True, exist_ok=True)
    answer = (f'{{"executable":"{path}","chosen_by":"\'$4\'","python":"3.12.0",'
              f'"packages":{packages},"missing":{missing}}}')
    path.write_text(f"#!/bin/sh\n[ \"$2 $3\" = 'probe pytorch' ] || exit 9\necho '{answer}'\n")
    path.chmod(0o755)
    return path


def probe(call, *args, **env):
    done = call("worker", "pytorch", "--probe", *args, env={**CLEAN, **env}, code=0)
    return json.loads(done.stdout)


@pytest.fixture
def places(call):
    """One of every kind, the first in the documented order last."""
    folder = call.folder
    return {
        "python3 in PATH": fake(folder / "bin" / "python3"),
        "tokmark setup": fake(folder / "data" / "tokmark" / "pytorch" / "bin" / "python"),
        "./.venv": fake(folder / ".venv" / "bin" / "python"),
        "$CONDA_PREFIX": fake(folder / "conda" / "bin" / "python"),
        "$VIRTUAL_ENV": fake(folder / "active" / "bin" / "python"),
        "$TOKMARK_PYTHON": fake(folder / "named" / "python3.13"),
        "--python": fake(folder / "asked" / "bin" / "python"),
    }


def test_the_documented_order(call, places):
    folder = call.folder
    (folder / "data" / "tokmark" / "pytorch" / ".complete").touch()
    env = {
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "XDG_DATA_HOME": str(folder / "data"),
        "CONDA_PREFIX": str(folder / "conda"),
        "VIRTUAL_ENV": str(folder / "active"),
        "TOKMARK_PYTHON": str(folder / "named" / "python3.13"),
    }
    asked = ["--python", str(folder / "asked")]  # a folder stands for its bin/python
    for origin in reversed(places):
        found = probe(call, *asked, **env)
        assert found["chosen_by"] == origin
        path = str(places[origin])
        assert found["executable"] == path
        # the next one, once this one is not there
        if origin == "--python":
            asked = []
        elif origin.startswith("$"):
            env[origin[1:]] = ""
        elif origin != "python3 in PATH":
            places[origin].unlink()


def test_an_installation_that_was_cut_short_is_not_taken(call, places):
    places["./.venv"].unlink()
    env = {"PATH": f"{call.folder / 'bin'}:{os.environ['PATH']}",
           "XDG_DATA_HOME": str(call.folder / "data")}
    assert probe(call, **env)["chosen_by"] == "python3 in PATH"


@pytest.mark.parametrize("name", ["TOKMARK_PYTHON", "VIRTUAL_ENV", "CONDA_PREFIX"])
def test_what_is_named_and_not_there_is_an_error(call, name):
    done = call("run", "--engine", "pytorch", env={**CLEAN, name: "/nowhere/python"}, code=4)
    assert f"${name}: '/nowhere/python'" in done.stderr
    assert done.stderr.count("\n") == 1
    assert call.files() == []


def test_a_python_that_is_none(call):
    (call.folder / "text").write_text("not a program")
    for value in ("./text", "no-such-python", str(call.folder)):
        done = call("run", "--engine", "pytorch", "--python", value, env=CLEAN, code=4)
        assert done.stderr.startswith("tokmark run: --python: '")
        assert done.stderr.count("\n") == 1
    assert call.files() == ["text"]


@pytest.mark.parametrize("script, wanted", [
    ("echo no such option >&2; exit 2", "no such option"),
    ("exit 3", "does not start (exit 3)"),
    ("echo nonsense", "does not start (exit 0)"),
    ("kill -9 $$", "signal 9"),
    ("head -c 3000000 /dev/zero | tr '\\0' x", "does not start"),
])
def test_an_interpreter_that_breaks(call, script, wanted):
    path = call.folder / "python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    done = call("run", "--engine", "pytorch", "--python", "./python", env=CLEAN, code=4)
    assert wanted in done.stderr
    assert done.stderr.count("\n") == 1
    assert call.files() == ["python"]


def test_an_interpreter_that_hangs(call):
    path = call.folder / "python"
    path.write_text("#!/bin/sh\nexec sleep 1000\n")
    path.chmod(0o755)
    done = call("run", "--engine", "pytorch", "--python", "./python", "--timeout", "300ms", env=CLEAN,
                code=4)
    assert "does not say what it is" in done.stderr
    assert call.files() == ["python"]


def test_no_torch_is_one_clear_line(call):
    path = fake(call.folder / "python", missing='["torch"]')
    for arguments in ([], ["--mode", "train", "infer", "--seq", "8", "16"]):
        done = call("run", "--engine", "pytorch", *arguments, env={**CLEAN, "TOKMARK_PYTHON": str(path)},
                    code=4)
        assert done.stdout == ""
        assert done.stderr.count("\n") == 1
        for word in ("no torch in", str(path), "$TOKMARK_PYTHON", "tokmark setup pytorch", "--python"):
            assert word in done.stderr
        assert call.files() == ["python"]
    call("run", "--engine", "pytorch", "--sandbox", "--steps", "3", env={**CLEAN, "PATH": "/nowhere"},
         code=0)


def test_env_says_which_was_chosen_and_why(call):
    path = fake(call.folder / "python", packages='{"torch":"2.9.1"}')
    done = call("env", env={**CLEAN, "TOKMARK_PYTHON": str(path)}, code=0)
    lines = dict(line.split(None, 1) for line in done.stdout.splitlines())
    assert lines["pytorch.executable"] == str(path)
    assert lines["pytorch.chosen_by"] == "$TOKMARK_PYTHON"
    assert lines["pytorch.packages.torch"] == "2.9.1"
    assert lines["pytorch.missing"] == "none"
    facts = json.loads(call("env", "--json", env={**CLEAN, "TOKMARK_PYTHON": "/nowhere"}, code=0).stdout)
    assert "/nowhere" in facts["pytorch"]


def test_the_real_probe_knows_what_is_installed(call):
    import torch

    found = probe(call, "--python", sys.executable)
    assert found["packages"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["missing"] == []
    bare = call.folder / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True)
    found = probe(call, "--python", str(bare))
    assert found["missing"] == ["torch"] and found["packages"] == {}


# --- setup ----------------------------------------------------------------------------------------


def recorder(folder):
    """An interpreter that notes what it is given."""
    path = folder / "python"
    path.write_text('#!/bin/sh\nshift\nfor word; do echo "$word" >>given; done\n')
    path.chmod(0o755)
    return path


def test_setup_hands_over_engine_folder_and_words_for_pip(call):
    path = recorder(call.folder)
    call("setup", "pytorch", "--python", str(path), "--pip=--index-url 'a b'",
         env={"XDG_DATA_HOME": "/data"}, code=0)
    given = (call.folder / "given").read_text().splitlines()
    assert given == ["setup", "pytorch", "/data/tokmark/pytorch", "--index-url", "a b"]
    (call.folder / "given").unlink()
    call("setup", "jax", "--python", str(path), env={"XDG_DATA_HOME": "", "HOME": "/home/me"}, code=0)
    assert (call.folder / "given").read_text().splitlines()[2] == "/home/me/.local/share/tokmark/jax"


def test_setup_makes_an_environment_and_says_where(call):
    """With a pip that only notes what it is asked for: nothing is fetched in a test."""
    packages = call.folder / "packages"
    packages.mkdir()
    for name in ("torch", "numpy"):
        (packages / f"{name}.py").write_text("__version__ = '2.9'\n")
    (packages / "pip").mkdir()
    (packages / "pip" / "__init__.py").touch()
    (packages / "pip" / "__main__.py").write_text(
        f"import sys\nopen({str(call.folder / 'pip.log')!r}, 'a').write(' '.join(sys.argv[1:]) + '\\n')\n")
    env = {"XDG_DATA_HOME": str(call.folder / "data"), "PYTHONPATH": str(packages), "PIP_FIND_LINKS": ""}
    words = ["setup", "pytorch", "--python", sys.executable, "--pip=--no-index"]
    done = call(*words, env=env, code=0)
    folder = call.folder / "data" / "tokmark" / "pytorch"
    assert done.stdout.strip() == str(folder / "bin" / "python")
    assert (folder / ".complete").exists()
    asked = (call.folder / "pip.log").read_text().splitlines()
    assert [line for line in asked if "install" in line and "torch" in line and "--no-index" in line]
    again = call(*words, env=env, code=0)
    assert "already" in again.stderr and again.stdout == done.stdout
    assert (call.folder / "pip.log").read_text().splitlines() == asked


def test_setup_that_fails_leaves_nothing_that_is_taken(call):
    packages = call.folder / "packages" / "pip"
    packages.mkdir(parents=True)
    (packages / "__init__.py").touch()
    (packages / "__main__.py").write_text("import sys\nsys.exit(1 if 'install' in sys.argv else 0)\n")
    env = {"XDG_DATA_HOME": str(call.folder / "data"), "PYTHONPATH": str(packages.parent)}
    done = call("setup", "pytorch", "--python", sys.executable, env=env, code=4)
    assert "installing failed" in done.stderr and done.stdout == ""
    assert not (call.folder / "data" / "tokmark" / "pytorch" / ".complete").exists()

"""Whose Python an engine runs in: the choice, what it says of it, and what is missing."""
import json
import os
import re
import subprocess
import sys

import pytest

from caller import NULL, THIN, worker

# Of the environment that the tests themselves run in, nothing may decide.
CLEAN = {"TOKMARK_PYTHON": "", "TOKMARK_CALLER": "", "VIRTUAL_ENV": "", "CONDA_PREFIX": "", "CONDA_DEFAULT_ENV": ""}


def fake(path, packages="{}", missing="[]"):
    """A stand-in interpreter that answers a probe."""
    path.parent.mkdir(parents=True, exist_ok=True)
    answer = (f'{{"executable":"{path}","chosen_by":"\'$5\'","python":"3.12.0",'
              f'"packages":{packages},"missing":{missing}}}')
    path.write_text(f"#!/bin/sh\n[ \"$3 $4\" = 'probe pytorch' ] || exit 9\nout=${{2#*,}}\necho '{answer}' >&$out\n")
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


def has_torch(venv):
    """As pip would put it there."""
    (venv / "lib" / "python3.12" / "site-packages" / "torch").mkdir(parents=True)


@pytest.mark.parametrize("base", [{"CONDA_DEFAULT_ENV": "base"}, {}])
def test_the_base_of_conda_is_nobodys_choice(call, places, base):
    folder = call.folder
    env = {"CONDA_PREFIX": str(folder / "conda"), "XDG_DATA_HOME": str(folder / "data"), **base}
    if not base:  # told by what only an installation of conda has
        (folder / "conda" / "condabin").mkdir()
    assert probe(call, **env)["chosen_by"] == "$CONDA_PREFIX (base)", "./.venv has no torch"
    (folder / ".venv" / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = true\n")
    assert probe(call, **env)["chosen_by"] == "./.venv", "it may see torch"
    (folder / ".venv" / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n")
    assert probe(call, **env)["chosen_by"] == "$CONDA_PREFIX (base)"
    has_torch(folder / ".venv")
    assert probe(call, **env)["chosen_by"] == "./.venv"
    assert probe(call, **{**env, "CONDA_DEFAULT_ENV": "work"})["chosen_by"] == "$CONDA_PREFIX"
    places["./.venv"].unlink()
    assert probe(call, **env)["chosen_by"] == "$CONDA_PREFIX (base)"
    (folder / "data" / "tokmark" / "pytorch" / ".complete").touch()
    assert probe(call, **env)["chosen_by"] == "tokmark setup", "so that the advice of base works"


def test_an_environment_above_is_taken_up_to_the_repository(call):
    top = call.folder
    outer = fake(top / ".venv" / "bin" / "python")
    inner = top / "repo" / "src" / "deep"
    inner.mkdir(parents=True)
    fake(top / "bin" / "python3")
    env = {"PATH": f"{top / 'bin'}:{os.environ['PATH']}"}
    call.folder = inner
    assert probe(call, **env)["chosen_by"] == "python3 in PATH", "in no repository: only here"
    (top / "repo" / ".git").mkdir()
    assert probe(call, **env)["chosen_by"] == "python3 in PATH", "not above the repository"
    mine = fake(top / "repo" / ".venv" / "bin" / "python")
    assert probe(call, **env) | {"packages": {}} == {
        "executable": str(mine), "chosen_by": ".venv of the repository", "python": "3.12.0", "packages": {}, "missing": []}
    nearer = fake(inner / ".venv" / "bin" / "python")
    assert probe(call, **env)["executable"] == str(nearer)
    call.folder = top
    assert probe(call, **env)["executable"] == str(outer)


def test_the_python_that_called(call, places):
    folder = call.folder
    own = fake(folder / "own" / "bin" / "python3")
    env = {"VIRTUAL_ENV": str(folder / "active"), "PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}
    for engines, chosen in (("jax pytorch", own), ("pytorch", own), ("jax", places["$VIRTUAL_ENV"]),
                            ("", places["$VIRTUAL_ENV"])):
        found = probe(call, **env, TOKMARK_CALLER=f"{engines}:{own}")
        assert found["executable"] == str(chosen)
    for origin in ("$VIRTUAL_ENV", "./.venv"):
        places[origin].unlink()
    assert probe(call, **{**env, "VIRTUAL_ENV": ""}, TOKMARK_CALLER=f":{own}")["executable"] == str(own)
    asked = probe(call, "--python", str(folder / "asked"), **env, TOKMARK_CALLER=f"pytorch:{own}")
    assert asked["chosen_by"] == "--python"


def test_the_advice_works_while_the_variable_stands(call, places):
    """Whatever decided, what is advised comes before it."""
    for name, origin in (("VIRTUAL_ENV", "$VIRTUAL_ENV"), ("CONDA_PREFIX", "$CONDA_PREFIX"),
                         ("TOKMARK_PYTHON", "$TOKMARK_PYTHON")):
        path = fake(places[origin], missing='["torch"]')
        env = {**CLEAN, name: str(path if name == "TOKMARK_PYTHON" else path.parent.parent)}
        done = call("run", "--engine", "pytorch", env=env, code=4)
        assert f'no torch in {path} ({origin})' in done.stderr
        assert 'call with --python "$(tokmark setup pytorch)"' in done.stderr
        found = probe(call, "--python", str(places["tokmark setup"]), **env)
        assert found["executable"] == str(places["tokmark setup"])


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
    ("echo nonsense >&${2#*,}", "does not start (exit 0)"),
    ("kill -9 $$", "signal 9"),
    ("head -c 3000000 /dev/zero | tr '\\0' x >&${2#*,}", "does not start"),
    ("echo 'Fatal Python error: bad PYTHONUTF8'; echo 'Python runtime state: preinitializing'; exit 1",
     "Fatal Python error: bad PYTHONUTF8"),
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
    done = call("env", env={**CLEAN, "TOKMARK_PYTHON": str(path), "CUDA_VISIBLE_DEVICES": ""}, code=0)
    lines = {line.split()[0]: line.partition(" ")[2].strip() for line in done.stdout.splitlines()}
    assert lines["pytorch.executable"] == str(path)
    assert lines["pytorch.chosen_by"] == "$TOKMARK_PYTHON"
    assert lines["pytorch.packages.torch"] == "2.9.1"
    assert lines["pytorch.missing"] == "none"
    assert lines["variables.CUDA_VISIBLE_DEVICES"] == ""
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


# --- what prints before the worker ---

SPEAKING = """import os, sys
sys.stdout.write('{"type":"hello"} welcome to this site {')
sys.stdout.flush()
os.write(1, b'\\0 and more\\n{"executable":"/wrong"}\\n')
"""


def site(folder):
    """A folder for PYTHONPATH whose every hook prints."""
    folder.mkdir()
    for name in ("sitecustomize", "usercustomize", "startup"):
        (folder / f"{name}.py").write_text(SPEAKING)
    return folder


@pytest.mark.parametrize("env", [
    {},
    {"PYTHONIOENCODING": "utf-16"},
    {"PYTHONIOENCODING": "no-such-encoding"},
    {"PYTHONUTF8": "0", "LC_ALL": "C"},
    {"PYTHONWARNINGS": "error", "PYTHONSTARTUP": "site/startup.py"},
    {"PYTHONVERBOSE": "1", "PYTHONUNBUFFERED": "1"},
    {"PYTHONINSPECT": "1"},
])
def test_what_a_site_prints_is_not_in_the_answer(call, env):
    site(call.folder / "site")
    found = probe(call, "--python", sys.executable, PYTHONPATH="site", **env)
    assert found["executable"] == sys.executable and found["missing"] == []


def test_what_a_path_file_and_a_wrapper_print_is_not_in_the_answer(call):
    venv = call.folder / "speaking"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    packages, = venv.glob("lib/python*/site-packages")
    (packages / "speaking.pth").write_text("import os; os.write(1, b'half a line')\n")
    wrapper = call.folder / "python"
    wrapper.write_text(f"#!/bin/sh\necho loading modules\nexec {venv}/bin/python \"$@\"\n")
    wrapper.chmod(0o755)
    assert probe(call, "--python", "./python")["missing"] == ["torch"]
    # what `tokmark setup` prints is a path for a shell to take
    (call.folder / "data" / "tokmark" / "jax").mkdir(parents=True)
    (call.folder / "data" / "tokmark" / "jax" / ".complete").touch()
    done = call("setup", "jax", "--python", "./python", env={"XDG_DATA_HOME": str(call.folder / "data")}, code=0)
    assert done.stdout == f"{call.folder}/data/tokmark/jax/bin/python\n"
    assert "half a line" in done.stderr and "loading modules" in done.stderr


def test_a_run_under_a_site_that_prints(call):
    site(call.folder / "site")
    env = {"PYTHONPATH": "site", "PYTHONIOENCODING": "no-such-encoding", "PYTHONWARNINGS": "always"}
    call("run", "--engine", "pytorch", "--python", sys.executable, "--model", "superintelligence-tiny", *THIN, "--seq", "8",
         "--batch", "1", "--mode", "infer", "--steps", "3", "--warmup", "1", env={**CLEAN, **env}, code=0)
    record, = call.records()
    assert record["verdict"] == "ok"
    log, = (call.folder / "_bench" / "logs").iterdir()
    assert "welcome to this site" in log.read_text(errors="replace")


BANNER = """#!/bin/sh
echo "Last login: never"
echo '{"level":"info","msg":"pulling {image}"}'
echo
printf 'user@box {~} $ '
exec "$@"
"""


def test_a_launchers_banner_is_passed_over(call):
    script = call.folder / "launcher"
    script.write_text(BANNER)
    script.chmod(0o755)
    call(*NULL, "--mode", "infer", "--launch", "./launcher", code=0)
    assert call.records()[0]["verdict"] == "ok"
    log, = (call.folder / "_bench" / "logs").iterdir()
    assert "Last login: never" in log.read_text() and "user@box {~} $ " in log.read_text()
    # before a probe, too, and before a worker of another make
    found = fake(call.folder / "python", missing='["torch"]')
    done = call("run", "--engine", "pytorch", "--python", str(found), "--launch", "./launcher", env=CLEAN, code=4)
    assert "no torch in" in done.stderr
    call("run", "--engine", worker(), "--mode", "infer", "--steps", "3", "--warmup", "1", "--launch", "./launcher",
         "--out", "other", code=0)


@pytest.mark.parametrize("script, code", [
    ("exec \"$@\"", ""),  # no launcher: the worker itself breaks its promise
    ("exit 3", "exited"),
])
def test_other_workers_print_nothing_first(call, script, code):
    path = call.folder / "chatty"
    path.write_text(f"#!/bin/sh\necho hello\n{script}\n")
    path.chmod(0o755)
    engine = worker().replace("exec:", "exec:./chatty ")
    launch = ["--launch", "./chatty"] if code == "exited" else []
    call("run", "--engine", engine, "--mode", "infer", "--steps", "3", *launch, code=4)
    found = call.records()[0]["reasons"][0]["code"]
    assert found in ({code} if code else {"bad_message", "unasked_message"}), "by which comes first"


@pytest.mark.parametrize("start", ["hang", "exit 1", "kill -SEGV $$"])
def test_what_a_launcher_complains_of_is_in_the_reason(call, start):
    path = call.folder / "launcher"
    path.write_text(f"#!/bin/sh\necho one; echo two >&2\necho launcher: no CPU 2 here >&2\n{start.replace('hang', 'exec sleep 600')}\n")
    path.chmod(0o755)
    done = call("run", "--engine", "null", "--mode", "infer", "--seq", "16", "--steps", "3", "--timeout", "5s",
                "--launch", "./launcher", code=4)
    reason, = call.records()[0]["reasons"]
    assert "launcher: no CPU 2 here" in reason["text"], reason
    assert "no CPU 2 here" in done.stdout + done.stderr
    # a worker that has spoken says itself what is wrong
    call("run", "--engine", worker("--crash-seq", "16"), "--mode", "infer", "--seq", "16", "--steps", "3", "--out", "later", code=4)
    assert re.fullmatch(r"the worker (ended|died) during \w+: [^:]*", call.records("later")[0]["reasons"][0]["text"])


def test_a_banner_without_end_is_no_banner(call):
    path = call.folder / "launcher"
    path.write_text("#!/bin/sh\nexec yes 'still connecting'\n")
    path.chmod(0o755)
    call("run", "--engine", "null", "--mode", "infer", "--steps", "3", "--launch", "./launcher", code=4)
    reason, = call.records()[0]["reasons"]
    assert reason["code"] == "bad_message" and "before the worker's hello" in reason["text"]


# --- setup ----------------------------------------------------------------------------------------


def recorder(folder):
    """An interpreter that notes what it is given."""
    path = folder / "python"
    path.write_text('#!/bin/sh\nshift 2\nfor word; do echo "$word" >>given; done\n')
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
    # the environment's own pip is not called, and takes seconds to put there
    (packages.parent / "sitecustomize.py").write_text("import venv\nvenv.EnvBuilder._setup_pip = lambda *_: None\n")
    env = {"XDG_DATA_HOME": str(call.folder / "data"), "PYTHONPATH": str(packages.parent)}
    done = call("setup", "pytorch", "--python", sys.executable, env=env, code=4)
    assert "installing failed" in done.stderr and done.stdout == ""
    assert not (call.folder / "data" / "tokmark" / "pytorch" / ".complete").exists()

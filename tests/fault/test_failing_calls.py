"""Every allocation and every system call of a command fails once: a clear error and a documented exit code, no crash, and
what was reported as stored is there.

A run with none failing lists the calls, one for each place in the program that makes them (failing_calls.c). Of those a
sample is made to fail; all of them with TOKMARK_FAILING_CALLS=all (`make failing-calls`).
"""
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

TOKMARK = os.path.abspath(os.environ.get("TOKMARK_RELEASE_BINARY", "build/tokmark"))
SAMPLE = 6  # of each command and kind, but for
# a results file that cannot be looked at must not be taken for one that is not there; a worker that could not be written to
# must not be waited for
WHOLE = {("merge", "system"), ("run", "system")}
TIMEOUT_S = 200
SWEEP = ["run", "--sandbox", "--seq", "16", "--batch", "1", "--steps", "4", "--quiet"]


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    path = tmp_path_factory.mktemp("library") / "failing_calls.so"
    source = Path(__file__).with_name("failing_calls.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", path, source, "-ldl"], check=True)
    return path


class Machine:
    """A folder with results, and the program in it with calls that fail."""

    def __init__(self, library, folder):
        self.library = library
        self.folder = folder
        folder.mkdir()
        self.environ = {**os.environ, "XDG_DATA_HOME": str(folder / "data"), "COLUMNS": "120"}
        self.environ.pop("TOKMARK_BINARY", None)
        for name in ("base", "new"):
            assert self.run([*SWEEP, "--out", name]).returncode == 0
        self.kept = folder.with_name(folder.name + ".kept")
        shutil.copytree(folder, self.kept)

    def renew(self):
        shutil.rmtree(self.folder)
        shutil.copytree(self.kept, self.folder)

    def run(self, args, kind=None, at=0, list_path=None):
        environ = dict(self.environ)
        if kind is not None:
            environ.update(LD_PRELOAD=str(self.library), FAIL_KIND=kind, FAIL_AT=str(at))
        if list_path is not None:
            environ["FAIL_LIST"] = str(list_path)
        return subprocess.run([TOKMARK, *args], cwd=self.folder, env=environ, text=True, capture_output=True,
                              timeout=TIMEOUT_S, check=False)

    def places(self, args, kind):
        path = self.folder.with_name("places")
        self.renew()
        assert self.run(args, kind, 0, path).returncode in (0, 1)
        return [int(line) for line in path.read_text().split()]

    def records(self, name):
        """Whole records of a folder; what is no record fails."""
        path = self.folder / name / "bench_results.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture(scope="module")
def machine(library, tmp_path_factory):
    return Machine(library, tmp_path_factory.mktemp("machine") / "work")


def sampled(places, name, kind):
    is_whole = os.environ.get("TOKMARK_FAILING_CALLS") == "all" or (name, kind) in WHOLE
    if is_whole or len(places) <= SAMPLE:
        return places
    step = len(places) / SAMPLE
    return [places[int(i * step)] for i in range(SAMPLE)]


def check_run(machine, done):
    """A sweep into `new`, which has records: none of them is lost, and it goes on where it was cut."""
    before = {json.dumps(record) for record in map(json.loads, (machine.kept / "new/bench_results.jsonl").open())}
    now = (machine.folder / "new/bench_results.jsonl").read_text().splitlines()
    assert {json.dumps(json.loads(line)) for line in now if line.endswith("}")} >= before
    if done.returncode == 0:
        assert len(now) == 2 * len(before)
    again = machine.run([*SWEEP, "--out", "new", "--resume"])
    assert again.returncode == 0, again.stderr
    assert len(machine.records("new")) >= len(before)


def check_merge(machine, done):
    """The registry is the old one or the new one, whole."""
    path = machine.folder / "registry.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    assert [json.loads(line) for line in lines] == (machine.records("base") if lines else [])
    if done.returncode == 0:
        assert lines


def check_text(name):
    def check(machine, done):
        if done.returncode == 0:
            assert (machine.folder / name).read_text().strip() if name else done.stdout.strip()
    return check


COMMANDS = {
    "run": ([*SWEEP, "--out", "new"], check_run),
    "merge": (["registry", "merge", "--into", "registry.jsonl", "base", "--include", "sandbox"], check_merge),
    "compare": (["compare", "base", "new", "--include", "sandbox"], check_text(None)),
    "export": (["export", "prometheus", "base", "--to", "out.prom", "--include", "sandbox"], check_text("out.prom")),
    "report": (["report", "base", "--format", "html:report.html"], check_text("report.html")),
    "history": (["history", "base", "new", "--include", "sandbox"], check_text(None)),
    "cat": (["cat", "base"], check_text(None)),
}


@pytest.mark.parametrize("kind", ["memory", "system"])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_call_that_fails_is_an_error_and_loses_nothing(machine, name, kind):
    args, check = COMMANDS[name]
    places = machine.places(args, kind)
    assert len(places) >= {"memory": 8, "system": 4}[kind]
    wrong = []
    for at in sampled(places, name, kind):
        machine.renew()
        try:
            done = machine.run(args, kind, at)
        except subprocess.TimeoutExpired:
            wrong.append((at, "it does not end"))
            continue
        if done.returncode not in (0, 1, 3, 4, 5) or (done.returncode >= 4 and "tokmark" not in done.stderr):
            wrong.append((at, done.returncode, done.stderr[-300:]))
            continue
        try:
            check(machine, done)
        except AssertionError as error:
            wrong.append((at, done.returncode, done.stderr[-200:], str(error)[:400]))
    assert not wrong, "\n".join(map(str, wrong))

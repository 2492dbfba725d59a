"""`tokmark ab`: another program and another revision as a side."""
import os
import signal
import subprocess

import pytest

from ab_sides import ONE_START, WORKER, await_rounds, no_known_noise, results, side  # noqa: F401
from caller import TOKMARK
from waiting import TIMEOUT_S


def test_another_binary(call):
    other = call.folder / "other"
    other.write_text(f"#!/bin/sh\necho \"$@\" >> '{call.folder}/called'\nexec '{TOKMARK}' \"$@\"\n")
    other.chmod(0o755)
    call("ab", "--a", f"--binary {other}", "--engine", "null", "--mode", "infer", "--rounds", "2", "--warmup", "1",
         "--starts", "1", code=3)
    line, = results(call)
    assert line["a"]["binary"] == str(other) == line["a"]["argv"][0] and line["b"]["binary"] is None
    assert line["b"]["argv"][0] == TOKMARK
    assert (call.folder / "called").read_text() == "worker null\n"


def git(folder, *args):
    env = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    return subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@t.example", *args], cwd=folder, text=True,
                          check=True, capture_output=True, env=env).stdout.strip()


@pytest.fixture
def repository(call, tmp_path, monkeypatch):
    """A worker in a subfolder, at 2 ms a step in the first commit (tag old) and 1 ms in the work folder."""
    top = tmp_path / "repository"
    (top / "sub").mkdir(parents=True)
    places = tmp_path / "temporary"
    places.mkdir()
    monkeypatch.setenv("TMPDIR", str(places))
    git(top, "init", "-q", "-b", "main")
    path = top / "sub" / "mine.sh"
    for step_ms, tag in ((2, "old"), (1, "new")):
        path.write_text(f"#!/bin/sh\nexec python3 '{WORKER}' --made-up --step-ms {step_ms}\n")
        path.chmod(0o755)
        git(top, "add", ".")
        git(top, "commit", "-q", "-m", tag)
        git(top, "tag", tag)
    call.folder = top / "sub"
    return top


def is_tidy(repository):
    places = repository.parent / "temporary"
    return list(places.iterdir()) == [] and git(repository, "worktree", "list").count("\n") == 0


def test_another_revision(call, repository):
    done = call("ab", "--engine", "exec:./mine.sh", "--a", "--rev old", *ONE_START, code=0)
    line, = results(call)
    assert line["outcome"] == "faster" and line["ratio_percent"] == pytest.approx(-50), done.stdout
    assert line["a"]["rev"] == "old" and line["a"]["rev_commit"] == git(repository, "rev-parse", "old")
    assert line["b"]["rev"] is None and line["b"]["rev_commit"] is None
    assert is_tidy(repository)
    assert git(repository, "status", "--porcelain", "--untracked-files=no") == ""


def test_a_revision_is_removed_after_failures_too(call, repository):
    call("ab", "--engine", "exec:./mine.sh", "--a", "--rev old", "--b", "--engine exec:false", *ONE_START, code=4)
    assert is_tidy(repository)


def test_a_revision_is_removed_after_an_interrupt(call, repository):
    process = call.start("ab", "--engine", side("--step-ms 5")[10:-1], "--a", "--rev old", *ONE_START)
    await_rounds(call, process)
    assert not is_tidy(repository)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 130 and is_tidy(repository)


@pytest.mark.parametrize("rev, text", [("odl", "did you mean 'old'?"), ("-q", "there are HEAD"), ("old~7", "'old'")])
def test_a_revision_that_is_not(call, repository, rev, text):
    done = call("ab", "--engine", "exec:./mine.sh", "--a", f"--rev={rev}", *ONE_START, code=2)
    assert text in done.stderr and is_tidy(repository)


def test_a_revision_without_the_folder(call, repository):
    (repository / "late").mkdir()
    call.folder = repository / "late"
    done = call("ab", "--engine", "exec:true", "--a", "--rev old", *ONE_START, code=2)
    assert "has no folder 'late'" in done.stderr

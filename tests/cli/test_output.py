"""Standard output that takes nothing: whatever a command prints, its loss is exit 5 and a sentence."""
import os
import re
import subprocess

import pytest

from caller import NULL, TOKMARK, calm
from waiting import TIMEOUT_S

# Every command that prints to standard output, with words that make it do so; a worker speaks its protocol there.
PRINTING = {
    "run": NULL, "explain": ["explain", "--engine", "native", "--set", "layers_count=1", "vocab_size=128"], "ab": ["ab", "--b", "--threads 1", "--dry-run"],
    "noise": ["noise", "--list"], "check": ["check", "--help"], "models": ["models"], "engines": ["engines"],
    "env": ["env"], "setup": ["setup", "--help"], "help": ["help"], "version": ["version"],
    "completion": ["completion", "bash"], "man": ["man"], "fields": ["fields"], "cat": ["cat", "_bench"],
    "registry": ["registry", "--help"], "compare": ["compare", "--help"],
    "history": ["history", "--help"], "export": ["export", "--list"], "report": ["report", "--help"], "hud": ["hud", "--help"],
    "serve": ["serve", "--help"], "peak": ["peak", "--help"],
    "stability": ["stability", "--help"], "profile": ["profile", "--help"],
}


def test_every_command_is_here(call):
    text = call("help", code=0).stdout
    commands = re.findall("^  ([a-z]+) ", text[text.index("Commands:"):text.index("First steps:")], re.M)
    assert sorted({*PRINTING, "worker"}) == sorted(commands)


def words(call, command):
    if command == "cat":
        call(*NULL, code=0)
    return [TOKMARK, *calm(PRINTING[command])]


@pytest.mark.parametrize("command", PRINTING)
@pytest.mark.parametrize("redirection, why", [(">&-", "it is closed"), (">/dev/full", "No space left on device")])
def test_output_that_is_lost_is_exit_5_and_a_sentence(call, command, redirection, why):
    done = subprocess.run(["bash", "-c", f'"$@" {redirection}', "bash", *words(call, command)], cwd=call.folder,
                          text=True, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 5, done.stderr
    assert done.stderr.splitlines()[-1] == f"tokmark: cannot write to standard output: {why}"
    assert done.stderr.count("cannot write") == 1


@pytest.mark.parametrize("command", PRINTING)
def test_a_reader_that_has_enough_is_no_fault(call, command):
    ours, theirs = os.pipe()
    os.close(ours)
    done = subprocess.run(words(call, command), cwd=call.folder, text=True, stdin=subprocess.DEVNULL, stdout=theirs,
                          stderr=subprocess.PIPE, timeout=TIMEOUT_S, check=False)
    os.close(theirs)
    assert done.returncode == 0 and "cannot write" not in done.stderr, done.stderr


def test_bad_cells_and_a_lost_table_are_exit_5(call):
    """The exit code of the cells must not hide that nobody saw them."""
    sweep = [TOKMARK, *calm(["run", "--engine", "null", "--device", "tpu", "--steps", "5"])]
    with open("/dev/full", "w", encoding="ascii") as full:
        done = subprocess.run(sweep, cwd=call.folder, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 5
    assert len(call.records()) == 2

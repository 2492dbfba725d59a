"""Completion in the shells themselves: each loads its script, and offers the same for the same line."""
import os
import pty
import re
import shutil
import subprocess
import termios
import threading

import pytest

from waiting import TIMEOUT_S

# The line up to the cursor, as words; what is offered for the last of them.
OFFERS = [
    (["tokmark", "ru"], ["run"]),
    (["tokmark", "completion", ""], ["bash", "zsh", "fish"]),
    (["tokmark", "run", "--dry"], ["--dry-run"]),
    (["tokmark", "run", "--tri"], ["--trials"]),
    (["tokmark", "run", "--model", "gpt"], ["gpt2-124m"]),
    (["tokmark", "run", "--model=gpt"], ["gpt2-124m"]),
    (["tokmark", "run", "--color="], ["auto", "always", "never"]),
    (["tokmark", "run", "--mode", "train", "dec"], ["decode"]),
    (["tokmark", "run", "--mode", "train", "--sync", "st"], ["step"]),
    # a flag that takes one value has it
    (["tokmark", "run", "--sync", "step", "b"], []),
    (["tokmark", "run", "--quiet", "b"], []),
    # one that takes a value behind '=' only
    (["tokmark", "run", "--resume="], ["unfinished", "unsteady"]),
    (["tokmark", "run", "--resume", "un"], []),
    (["tokmark", "noise", "--repe"], ["--repeats"]),
    (["bench_jax", "--platf"], ["--platform"]),
    (["bench_pytorch", "--platf"], []),
    (["/x/bench_jax", "--platform", "t"], ["tpu"]),
    # files and folders
    (["tokmark", "run", "--weights", "wei"], ["weights.safetensors", "weird"]),
    (["tokmark", "run", "--out", "wei"], ["weird"]),
    (["tokmark", "cat", "wei"], ["weights.safetensors", "weird"]),
]

BASH = """source "$SCRIPT"
words=("$@")
COMP_WORDS=() # as readline splits them: '=' is a word of its own
for word in "${words[@]}"; do
    case $word in
    --*=*) COMP_WORDS+=("${word%%=*}" '=' "${word#*=}") ;;
    *) COMP_WORDS+=("$word") ;;
    esac
done
[ -n "${COMP_WORDS[-1]}" ] || [ "${COMP_WORDS[-2]}" != = ] || unset 'COMP_WORDS[-1]'
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_tokmark
printf '%s\\n' "${COMPREPLY[@]}"
"""

# What is offered goes to a file: zsh completes only inside of its line editor.
ZSH = """PROMPT= ; autoload -Uz compinit; compinit -u -D
source "$SCRIPT"
compadd() {
    if [[ ${@[1,(i)(-|--)]} == *-(O|A|D)\\ * ]]; then builtin compadd "$@"; return; fi
    local -a offered
    builtin compadd -A offered "$@"
    (($#offered)) && print -rl -- $offered >>"$OFFERED"
    builtin compadd "$@"
}
end_line() {
    print -r -- "end of line" >>"$OFFERED"
    ((--COUNT)) || exit
    zle kill-whole-line
}
zle -N end_line
bindkey '^I' list-choices
bindkey '^T' end_line
print READY
"""


def in_bash(folder, script, lines):
    env = {**os.environ, "SCRIPT": str(script)}
    done = [subprocess.run(["bash", "--norc", "-c", BASH, "bash", *line], cwd=folder, env=env, text=True,
                           capture_output=True, timeout=TIMEOUT_S, check=True) for line in lines]
    assert {each.stderr for each in done} == {""}
    return [each.stdout.splitlines() for each in done]


def in_zsh(folder, script, lines):
    offered = script.with_suffix(".offered")
    (script.parent / ".zshrc").write_text(ZSH)
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (50, 120))
    env = {**os.environ, "SCRIPT": str(script), "OFFERED": str(offered), "COUNT": str(len(lines)),
           "ZDOTDIR": str(script.parent), "TERM": "xterm"}
    with subprocess.Popen(["zsh", "-d", "-i"], cwd=folder, env=env, stdin=theirs, stdout=theirs, stderr=theirs,
                          start_new_session=True) as process:
        os.close(theirs)
        timer = threading.Timer(TIMEOUT_S, process.kill)
        timer.start()
        said = b""
        while b"READY" not in said:
            said += os.read(ours, 4096)
        os.write(ours, b"".join(" ".join(line).encode() + b"\t\x14" for line in lines))
        try:
            while os.read(ours, 4096):  # until it has ended
                pass
        except OSError:
            pass
        process.wait()
        timer.cancel()
    os.close(ours)
    return [text.splitlines() for text in offered.read_text().split("end of line\n")[:-1]]


def in_fish(folder, script, lines):
    code = f"source {script}; for line in $argv; complete -C $line; echo end of line; end"
    done = subprocess.run(["fish", "--no-config", "-c", code, *[" ".join(line) for line in lines]], cwd=folder, text=True,
                          capture_output=True, env={**os.environ, "HOME": str(script.parent)}, timeout=TIMEOUT_S, check=True)
    assert done.stderr == ""
    return [re.sub(r"\t.*", "", text).splitlines() for text in done.stdout.split("end of line\n")[:-1]]


def offers(shell, folder, script, lines):
    """What the shell would put in place of each line's last word, whatever it writes around it."""
    found = {"bash": in_bash, "zsh": in_zsh, "fish": in_fish}[shell](folder, script, lines)
    assert len(found) == len(lines)
    result = {}
    for words, names in zip(lines, found):
        flag, _, last = words[-1].rpartition("=")
        names = [name.removeprefix(flag + "=").rstrip("/") for name in names]
        result[" ".join(words)] = sorted({name for name in names if name.startswith(last)})
    return result


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_offers_the_same(call, shell, tmp_path_factory):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    script = tmp_path_factory.mktemp("shell") / f"tokmark.{shell}"
    script.write_text(call("completion", shell, code=0).stdout)
    (call.folder / "weights.safetensors").write_text("")
    (call.folder / "weird").mkdir()
    seen = offers(shell, call.folder, script, [words for words, _ in OFFERS])
    assert seen == {" ".join(words): sorted(wanted) for words, wanted in OFFERS}


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_finds_it_in_its_path_of_functions(call, tmp_path_factory):
    folder = tmp_path_factory.mktemp("functions")
    (folder / "_tokmark").write_text(call("completion", "zsh", code=0).stdout)
    loader = folder / "load"
    loader.write_text(f"fpath=({folder} $fpath); compinit -u -D\n")
    assert offers("zsh", call.folder, loader, [["bench_jax", "--platf"]]) == {"bench_jax --platf": ["--platform"]}


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_flags_come_with_their_help(call):
    (call.folder / "s.fish").write_text(call("completion", "fish", code=0).stdout)
    done = subprocess.run(["fish", "--no-config", "-c", "source s.fish; complete -C 'tokmark run --tri'"], cwd=call.folder,
                          env={**os.environ, "HOME": str(call.folder)}, text=True, capture_output=True, check=True)
    assert done.stdout == "--trials\ttimes to measure each cell, in a fresh process\n"

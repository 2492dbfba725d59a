"""`tokmark hud` and `run --hud` in a real terminal (tmux): keys, sizes, files as they change, and the terminal given back."""
import contextlib
import json
import os
import re
import select
import shlex
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from caller import CALM, NULL, TOKMARK, worker
from waiting import TIMEOUT_S, state_of

LOOK_S = 1  # what changes a screen and writes nothing, such as its size
CTRL_Z = "C-z"


class Screen:
    """A terminal with a shell in it."""

    def __init__(self, folder, columns=80, rows=24, env=None):
        self.folder = folder
        self.name = f"tokmark-{os.getpid()}-{id(self)}"
        words = {"LC_ALL": "C.UTF-8", "PS1": "ready> ", "TERM": "screen-256color", "NO_COLOR": "", **(env or {})}
        shell = " ".join(f"{key}={shlex.quote(value)}" for key, value in words.items())
        self("new-session", "-d", "-x", str(columns), "-y", str(rows), "-c", str(folder), f"env {shell} bash --norc --noprofile")
        self.piped = tempfile.TemporaryDirectory()
        path = os.path.join(self.piped.name, "changes")
        os.mkfifo(path)
        self.changes = os.open(path, os.O_RDWR | os.O_NONBLOCK)  # whatever is written to the screen comes here, too
        self("pipe-pane", f"cat >{shlex.quote(path)}")
        self.shell_pid = self("display", "-p", "#{pane_pid}").strip()
        self.wait("ready>")

    def __call__(self, *words):
        env = {key: value for key, value in os.environ.items() if not key.startswith("TMUX")}
        done = subprocess.run(["tmux", "-L", self.name, "-f", "/dev/null", *words], capture_output=True, env=env, check=True, timeout=TIMEOUT_S)
        return done.stdout.decode(errors="replace")

    def text(self, *more):
        return self("capture-pane", "-p", *more)

    def wait(self, *patterns, without=None):
        """Until all of the patterns are on the screen, and it is whole; it is looked at when something was written to it."""
        end = time.monotonic() + TIMEOUT_S
        while time.monotonic() < end:
            is_drawn = self.is_waiting()
            text = self.text()
            if all(re.search(pattern, text) for pattern in patterns) and (without is None or not re.search(without, text)):
                if is_drawn and text == self.text():
                    return text
            elif select.select([self.changes], [], [], LOOK_S)[0]:
                os.read(self.changes, 1 << 20)
        raise AssertionError(f"{patterns} without {without} never came:\n{text}")

    def is_waiting(self):
        """Whether the program in front has no more to write for now: one in the middle of a picture runs, or waits for the processor."""
        return state_of(self.group_in_front()) in "ST"

    def group_in_front(self):
        """The process group that has the terminal, of which the program in front is the first."""
        return Path(f"/proc/{self.shell_pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[5]

    def type(self, line):
        self("send-keys", "-l", line)
        self("send-keys", "Enter")

    def press(self, *keys):
        self("send-keys", *keys)

    def click(self, column, row):
        for button in "20", "23":  # pressed, released
            self("send-keys", "-H", "1b", "5b", "4d", button, f"{33 + column:x}", f"{33 + row:x}")

    def hud(self, *words):
        self.type(shlex.join([TOKMARK, "hud", *words]))

    def end(self):
        """Without a word to the program in front: one that ends with its terminal looks for leaks, in a process that the
        terminal's end then kills, and waits for that for ever, with a whole processor."""
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # the shell has ended, or that program by now
            front = self.group_in_front()
            if front not in (self.shell_pid, "-1"):
                os.killpg(int(front), signal.SIGKILL)
        self("kill-server")
        os.close(self.changes)
        self.piped.cleanup()


@pytest.fixture(name="screen")
def make_screen(tmp_path):
    screens = []

    def start(**options):
        screens.append(Screen(tmp_path, **options))
        return screens[-1]

    yield start
    for screen in screens:
        screen.end()


def published(seq, batch, precision="fp32", engine="pytorch", ms=10.0):
    """A record as the published scripts write it."""
    tokens = seq * batch
    return {"framework": engine, "device": "cuda", "precision": precision, "mode": "train", "seq_len": seq, "batch_size": batch, "steps": 50,
            "tokens_per_step": tokens, "ms_per_step": ms, "tokens_per_sec": tokens * 1000 / ms, "mem_alloc_mb": 1.5, "mem_reserved_mb": 2.0,
            "peak_mem_mb": 3.0 + batch, "params_millions": 31.5, "notes": ""}


def write(folder, records, mode="w"):
    path = folder / "_bench"
    path.mkdir(exist_ok=True)
    with open(path / "bench_results.jsonl", mode, encoding="utf-8") as file:
        file.writelines(json.dumps(record) + "\n" for record in records)


SWEEP = [published(seq, batch, precision, engine, ms=seq * batch / 100 * (2 if engine == "jax" else 1) * (0.5 if precision == "bf16" else 1))
         for engine in ("pytorch", "jax") for precision in ("fp32", "bf16") for seq in (128, 512) for batch in (1, 4, 8)]


def sweep_screen(screen, tmp_path, **options):
    write(tmp_path, SWEEP)
    shown = screen(**options)
    shown.hud("_bench")
    shown.wait("24 (records|rec) ", r"batch \d")
    return shown


# --- what is shown, and keys ---

def test_the_published_scripts_folder(screen, tmp_path):
    text = sweep_screen(screen, tmp_path).text()
    assert "hud  _bench" in text and "0 bad lines" in text and "no events: 24 cells from 24 records" in text
    assert re.search(r"pytorch train fp32 128 +100,000 +100,000 +100,000", text)
    assert re.search(r"jax train bf16 512 +100,000 ", text)


@pytest.mark.parametrize("key, back, words", [("b", "B", ["batch 1", "batch 4", "batch 8"]), ("s", "S", ["seq 128", "seq 512"]),
                                              ("p", "P", ["fp32", "bf16"]), ("e", "E", ["pytorch", "jax"])])
def test_filters_go_round(screen, tmp_path, key, back, words):
    shown = sweep_screen(screen, tmp_path)
    for word in words:
        shown.press(key)
        shown.wait(rf"(?m)^ {word}  .*24 records")
    shown.press(key)
    shown.wait("all cells")
    for word in reversed(words):
        shown.press(back)
        text = shown.wait(rf"(?m)^ {word}  .*24 records")
    if key == "e":
        assert "jax train" not in text
    shown.press(back)
    shown.wait("all cells")


def test_filters_add_up_and_clear(screen, tmp_path):
    shown = sweep_screen(screen, tmp_path)
    shown.press("b", "s", "p", "e")
    text = shown.wait("(?m)^ batch 1  seq 128  fp32  pytorch ")
    assert re.search("(?m)^ train fp32 128 ", text) and "512" not in text
    shown.press("0")
    shown.wait("all cells", "jax train bf16 512")


def test_metrics_go_round(screen, tmp_path):
    shown = sweep_screen(screen, tmp_path)
    labels = ["median ms", "mean ms", "p99 ms", "peak MiB", "first step ms", "loss", "tokens/s"]
    for label in labels:
        shown.press("m")
        text = shown.wait(f"(?m)^ {label} ")
        if label == "peak MiB":
            assert re.search(r"jax train fp32 128 +4.000 +7.000 +11.00", text)
    for label in reversed(labels[:-1]):
        shown.press("M")
        shown.wait(f"(?m)^ {label} ")


def test_find(screen, tmp_path):
    shown = sweep_screen(screen, tmp_path)
    shown.press("/")
    shown.wait("(?m)^ /_ ")
    shown("send-keys", "-l", "JAX q 512")  # keys are text now; q does not end it
    shown.press("BSpace", "BSpace", "BSpace", "BSpace", "BSpace")
    shown("send-keys", "-l", "512")
    shown.wait("(?m)^ /JAX 512_ ")
    shown.press("Enter")
    shown.wait("(?m)^ /JAX 512  ", "train bf16 512", without="128")
    shown.press("/", "Escape")
    shown.wait("all cells", "128")


def test_a_pinned_cell_is_compared_with(screen, tmp_path):
    shown = sweep_screen(screen, tmp_path)
    shown.press("m", "m", "Home", "c")  # mean ms, where less is better
    text = shown.wait("mean ms vs base", "vs pytorch train fp32 seq 128 batch 1")
    assert re.search(r"pytorch train fp32 128 +base +\+300%▲ +\+700%▲", text)
    assert re.search(r"pytorch train bf16 128 +-50\.0%▼", text)
    shown.press("c")
    shown.wait("all cells", without="base")


def test_the_selection_moves(screen, tmp_path):
    shown = sweep_screen(screen, tmp_path)
    shown.press("Home")
    shown.wait("(?m)no verdict pytorch train fp32 seq 128 batch 1 ")
    shown.press("Right")
    shown.wait("(?m)no verdict pytorch train fp32 seq 128 batch 4 ")
    shown.press("Down")
    shown.wait("(?m)no verdict pytorch train fp32 seq 512 batch 4 ")
    shown.press("End", "Up", "Left")
    shown.wait("(?m)no verdict jax train bf16 seq 128 batch 4 ")


def test_table_or_plot(screen, tmp_path):
    shown = sweep_screen(screen, tmp_path)
    shown.press("m", "m", "t")
    shown.wait("jax train bf16 seq 512 batch 8 +40.96 █+")
    shown.press("t")
    shown.wait("batch 1 ", "jax train bf16 512 ")


def test_help_closes_with_any_key(screen, tmp_path):
    shown = sweep_screen(screen, tmp_path)
    shown.press("?")
    shown.wait("any key closes it")
    shown.press("q")
    shown.wait("all cells", without="any key")


def test_pause(screen, tmp_path):
    shown = sweep_screen(screen, tmp_path)
    shown.press("Space")
    shown.wait("PAUSED")
    write(tmp_path, [published(1024, 1)], "a")
    shown.press("b")  # drawn anew, with what was there
    text = shown.wait("(?m)^ batch 1 ")
    assert "24 records" in text
    shown.press("Space", "0")
    shown.wait("25 records", "1024", without="PAUSED")


def test_the_mouse(screen, tmp_path):
    shown = sweep_screen(screen, tmp_path)
    rows = shown.text().splitlines()
    row = next(i for i, line in enumerate(rows) if line.startswith(" jax train bf16 512"))
    shown.click(30, row)
    shown.wait("no verdict jax train bf16 seq 512 batch 1 ")
    column = rows[23].index("m metric")
    shown.click(column, 23)
    shown.wait("(?m)^ median ms ")


def test_every_key_of_the_help_does_what_it_says_while_a_sweep_runs(screen, call, tmp_path):
    call("run", "--engine", "null", "--mode", "train", "--seq", "8", "16", "--batch", "1", "2", "--steps", "20", "--warmup", "2")
    process = call.start("run", "--engine", worker("--step-ms 4"), "--mode", "train", "--seq", "8", "--batch", "1", "--steps", "100000")
    shown = screen(columns=120)
    shown.hud("_bench")
    shown.wait("RUNNING", "▶ train fp32 seq 8 batch 1  measuring", "4 records")
    done = "(?m)^ [^\\n]* train fp32 seq {} batch {} "  # the line of the selected cell
    steps = [("b", "b", "(?m)^ batch 1  "), ("B", "B", "(?m)^ all cells"), ("s", "s", "(?m)^ seq 8  "), ("S", "S", "(?m)^ all cells"),
             ("p", "p", "(?m)^ fp32  "), ("P", "P", "(?m)^ all cells"), ("e", "e", "(?m)^ null  "), ("E", "E", "(?m)^ all cells"),
             ("m", "m", "(?m)^ median ms "), ("M", "M", "(?m)^ tokens/s "), ("/", "/", "(?m)^ /_"), ("/", "n", "(?m)^ /n_"), ("/", "Enter", "(?m)^ /n  "),
             ("0", "0", "(?m)^ all cells"), ("arrows", "Home", done.format(8, 1)), ("arrows", "Right", done.format(8, 2)),
             ("arrows", "Down", done.format(16, 2)), ("arrows", "Left", done.format(16, 1)), ("arrows", "Up", done.format(8, 1)),
             ("arrows", "End", "exec"), ("arrows", "PPage", done.format(8, 1)), ("arrows", "NPage", "exec"), ("arrows", "Home", done.format(8, 1)),
             ("c", "c", r"(?m)^ vs null .*seq 8 batch 1"), ("c", "c", "(?m)^ all cells"), ("t", "t", "seq 16 batch 2 .*█"), ("t", "t", "(?m)batch 1 +2$"),
             ("space", "Space", "PAUSED"), ("space", "Space", "hud  _bench"), ("?", "?", "any key closes it"), ("?", "Escape", "all cells")]
    shown.press("?")
    text = shown.wait("any key closes it")
    left = next(line.index("Keys:") for line in text.splitlines() if "Keys:" in line)
    lines = [line[left:left + 9] for line in text.split("closes it\n")[1].splitlines()[1:11]]
    words = {word for line in lines for word in line.split()}
    shown.press("Escape")
    shown.wait("RUNNING", without="any key")
    helped = {key for key, _, _ in steps} | {"q", "mouse"}
    assert words == helped
    for _, key, pattern in steps:
        shown.press(key)
        shown.wait(pattern, "RUNNING")
    rows = shown.text().splitlines()
    shown.click(rows[23].index("m metric"), 23)
    shown.wait("(?m)^ median ms ")
    shown.press("q")
    shown.wait("ready>", without="RUNNING")
    process.send_signal(signal.SIGINT)
    process.wait()


# --- files as they change ---

def test_records_come(screen, tmp_path):
    shown = sweep_screen(screen, tmp_path)
    write(tmp_path, [published(2048, 16)], "a")
    shown.wait("25 records", "2048", "16")


def test_a_half_line_waits(screen, tmp_path):
    shown = sweep_screen(screen, tmp_path)
    line = json.dumps(published(2048, 16)) + "\n"
    with open(tmp_path / "_bench/bench_results.jsonl", "a", encoding="utf-8") as file:
        file.write("nonsense\n" + line[:40])
        file.flush()
        text = shown.wait("1 bad lines")
        assert "24 records" in text
        file.write(line[40:])
    shown.wait("25 records", "1 bad lines")


def test_a_file_that_is_cut_or_replaced_is_read_anew(screen, tmp_path):
    shown = sweep_screen(screen, tmp_path)
    write(tmp_path, SWEEP[:3])
    shown.wait("3 records", without="jax")
    write(tmp_path, [])
    shown.wait("0 records")
    os.replace(tmp_path / "_bench/bench_results.jsonl", tmp_path / "_bench/old.jsonl")
    write(tmp_path, SWEEP[12:])
    shown.wait("12 records", "jax", without="pytorch")


def test_a_folder_may_come_later(screen, tmp_path):
    shown = screen()
    shown.hud("_bench")
    shown.wait("waiting for the folder", "no records yet")
    write(tmp_path, SWEEP)
    shown.wait("24 records", "all cells", without="waiting")
    os.rename(tmp_path / "_bench", tmp_path / "old")
    write(tmp_path, SWEEP[:2])
    shown.wait("2 records")


def test_a_sweep_from_its_beginning_to_its_end(screen, call, tmp_path):
    (tmp_path / "_bench").mkdir()
    shown = screen()
    shown.hud("_bench")
    shown.wait("no records yet")
    process = call.start("run", "--engine", worker("--step-ms 4"), "--mode", "infer", "--seq", "8", "16", "--batch", "1", "2", "--steps", "300",
                         "--warmup", "2")
    shown.wait("RUNNING", r"▶ infer fp32 seq \d+ batch \d  measuring", r"step ms +.*[▁▂▃▄▅▆▇█]", r"median +4\.\d+ ms  \[", r"95% ±.*±", "MiB", "eta")
    shown.wait(r"machine +clock (\d+ MHz|n/a \(no cpufreq\))  power (\d+\.?\d* W|n/a \((no rapl|no permission|too short)\))")
    shown.wait("ENDED  exit 0", "4/4", "4 records")
    assert process.wait() == 0
    text = shown.text()
    for record in call.records():
        assert re.search(rf"infer fp32 {record['seq_len']} ", text)
    assert "▶" not in text


def test_a_killed_sweep_is_stale_and_shows_nothing_twice(screen, call, tmp_path):
    args = ["run", "--engine", worker("--hold held"), "--mode", "infer", "--seq", "8", "16", "--batch", "1", "--steps", "400", "--warmup", "2"]
    (tmp_path / "held").write_text("16")
    process = call.start(*args)
    (tmp_path / "_bench").mkdir(exist_ok=True)
    shown = screen()
    shown.hud("_bench")
    shown.wait("1 records", "▶ infer fp32 seq 16")
    process.send_signal(signal.SIGKILL)
    process.wait()
    shown.wait("STALE  quiet for", "1 records.*STALE", r"\? cut off infer fp32 seq 16 batch 1", without="▶|running|measuring")
    once = json.loads(call("hud", "_bench", "--once", "--format", "json", code=0).stdout)
    assert [cell["state"] for cell in once["cells"]] == ["done", "cut off"]
    (tmp_path / "held").unlink()
    call(*args, "--resume", code=0)
    shown.wait("ENDED  exit 0", "2 records", "2/2", without="STALE")


# --- terminals ---

@pytest.mark.parametrize("columns, rows", [(80, 24), (40, 10), (200, 60), (20, 4)])
def test_sizes(screen, tmp_path, columns, rows):
    text = sweep_screen(screen, tmp_path, columns=columns, rows=rows).text() if columns >= 40 else None
    if text is None:
        write(tmp_path, SWEEP)
        shown = screen(columns=columns, rows=rows)
        shown.hud("_bench")
        text = shown.wait("hud ")
    assert all(len(line) <= columns for line in text.splitlines())
    if columns >= 80:
        assert "q quit" in text
    if columns >= 40:
        assert re.search("0 bad", text) and re.search("24 rec", text) and "tokens/s" in text


def test_names_of_bars_tell_cells_apart_on_a_narrow_screen(screen, tmp_path):
    shown = sweep_screen(screen, tmp_path, columns=40, rows=10)
    shown.press("t", "Home")
    shown.wait("seq 128 batch 1 ", "seq 128 batch 4 ", "seq 128 batch 8 ", "seq 512 batch 1 ")


def test_long_names_leave_room_for_values_and_keep_their_ends(screen, tmp_path):
    write(tmp_path, [published(seq, batch, engine=name) for name in ("exec:" + "x" * 200, "jax") for seq in (128, 512) for batch in (1, 4, 8)])
    shown = screen()
    shown.hud("_bench")
    text = shown.wait("12 records")
    assert re.search(r"(?m)^ …x+ train fp32 512 +51,200 +204,800 +409,600", text)
    assert re.search(r"(?m)^ jax train fp32 128 +12,800", text)


def test_the_mouse_is_left_to_the_terminal(screen, tmp_path):
    write(tmp_path, SWEEP)
    for words, is_taken in ([], "1"), (["--no-mouse"], "0"):
        shown = screen()
        shown.hud("_bench", *words)
        shown.wait("24 records")
        assert shown("display", "-p", "#{mouse_any_flag}").strip() == is_taken


def test_resizing(screen, tmp_path):
    shown = sweep_screen(screen, tmp_path)
    shown("resize-window", "-x", "40", "-y", "10")
    text = shown.wait("24 rec .* 0 bad$", without="bad lines")
    assert len(text.rstrip("\n").splitlines()) <= 10
    shown("resize-window", "-x", "100", "-y", "30")
    shown.wait("24 records", "q quit")


def test_without_colours(screen, tmp_path):
    write(tmp_path, SWEEP)
    for env, words, is_colored in [({}, [], True), ({"NO_COLOR": "1"}, [], False), ({"NO_COLOR": "1"}, ["--color", "always"], True),
                                   ({}, ["--color=never"], False)]:
        shown = screen(env=env)
        shown.hud("_bench", *words)
        shown.wait("24 records")
        assert bool(re.search(r"\x1b\[(\d+;)*3[0-7]m", shown.text("-e"))) == is_colored, (env, words)


def test_ascii(screen, tmp_path):
    write(tmp_path, SWEEP)
    shown = screen(env={"LC_ALL": "C"})
    shown.hud("_bench")
    shown.wait("24 records")
    shown.press("Home", "m", "m", "c", "t")
    text = shown.wait("vs base", "##")
    assert text.isascii() and "^" in text


def test_texts_from_outside_are_inert(screen, tmp_path):
    bad = published(128, 1, engine="\x1b]0;owned\x07\x1b[2J\x1b[31mred\u202eevil\u0301\x9b5m\ud83d\ude00")
    write(tmp_path, [bad, published(128, 2, precision="\x1b[?1049l")])
    shown = screen()
    shown.hud("_bench")
    text = shown.wait("2 records", r"…\?\[2J\?\[31mred\?evil\?\?5m\?")
    assert "owned" not in shown("display", "-p", "#{pane_title}")
    assert "\x1b[31m" not in shown.text("-e").replace("\x1b[1m\x1b[31m", "")
    assert text.splitlines()[0].startswith(" hud ")


def test_suspended_and_back(screen, tmp_path):
    shown = sweep_screen(screen, tmp_path)
    shown.press(CTRL_Z)
    shown.wait("Stopped", "ready>")
    shown.type("echo typed $((20 + 3))")
    shown.wait("typed 23")
    shown.type("fg")
    shown.wait("24 records", "all cells", without="Stopped")
    shown.press("b")
    shown.wait("(?m)^ batch 1 ")


@pytest.mark.parametrize("how", ["q", "C-c", "TERM", "HUP", "ABRT", "SEGV", "KILL"])
def test_the_terminal_is_given_back(screen, tmp_path, how):
    write(tmp_path, SWEEP)
    shown = screen()
    shown.type("stty -g > before")
    shown.type(shlex.join([TOKMARK, "hud", "_bench"]) + "; stty -g > after; echo over $((40 + 2))")
    shown.wait("24 records", "all cells")
    if how in ("q", "C-c"):
        shown.press(how)
    else:
        shell = shown("display", "-p", "#{pane_pid}").strip()
        with open(f"/proc/{shell}/task/{shell}/children", encoding="ascii") as children:
            (pid,) = children.read().split()
        os.kill(int(pid), getattr(signal, f"SIG{how}"))
    if how == "C-c":
        shown.type("stty -g > after; echo over $((40 + 2))")
    shown.wait("over 42", without="24 records")
    assert (tmp_path / "before").read_text() == (tmp_path / "after").read_text()
    assert shown("display", "-p", "#{alternate_on}#{cursor_flag}#{mouse_any_flag}").strip() == "010"


@pytest.mark.parametrize("env", [{"TERM": "dumb"}, {"TERM": "no-such-terminal"}, {}])
def test_without_a_screen_there_are_lines(screen, tmp_path, env):
    write(tmp_path, SWEEP)
    shown = screen(env=env, columns=160)
    shown.type(shlex.join([TOKMARK, "hud", "_bench"]) + ("" if env else " | cat"))
    shown.wait("24 records, 0 bad lines; newest: jax cuda train bf16 seq 512 batch 8: no verdict, 100,000 tokens/s")
    write(tmp_path, [published(7, 3)], "a")
    shown.wait("25 records, 0 bad lines; newest: pytorch cuda train fp32 seq 7 batch 3")
    shown.press("C-c")
    shown.wait(r"ready> \Z|ready>\s*\Z")


# --- once ---

def test_once_as_json(call, tmp_path):
    call(*NULL, code=0)
    shown = json.loads(call("hud", "_bench", "--once", "--format", "json", code=0).stdout)
    assert (shown["state"], shown["records"], shown["bad_lines"], shown["run"]["exit_code"]) == ("ENDED", 2, 0, 0)
    for cell, record in zip(shown["cells"], sorted(call.records(), key=lambda record: record["mode"] != "train"), strict=True):
        for key in ("framework", "model", "device", "mode", "precision", "seq_len", "batch_size", "verdict", "tokens_per_sec", "ms_p50", "ms_p50_low"):
            assert cell[key] == record[key], key
    write(tmp_path, SWEEP)
    shown = json.loads(call("hud", "_bench", "--once", "--format", "json", "--keys", "bp", code=0).stdout)
    assert len(shown["cells"]) == 4 and shown["filters"] == "batch 1  fp32"


def test_once_as_text(call, tmp_path):
    write(tmp_path, SWEEP)
    done = call("hud", "_bench", "--once", code=0, env={"LC_ALL": "C.UTF-8", "COLUMNS": "100"})
    assert re.search(r"jax train bf16 512 +100,000 +100,000 +100,000", done.stdout) and "24 records" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100
    done = call("hud", "nowhere", "--once")
    assert done.returncode == 5 and "nowhere" in done.stderr


# --- run --hud ---

def start_own(screen, *more):
    shown = screen()
    args = ["run", "--hud", "--engine", worker("--step-ms 4"), "--mode", "infer", "--seq", "8", "16", "--batch", "1", "--warmup", "2", *CALM, *more]
    shown.type(shlex.join([TOKMARK, *args]) + "; echo exit code $?")
    shown.wait("RUNNING", "▶ infer fp32 seq 8 batch 1  measuring", "median +4")
    return shown


def test_run_shows_itself(screen, call):
    shown = start_own(screen, "--steps", "300")
    shown.wait("bench_results.csv", "exit code 0")
    assert [record["verdict"] for record in call.records()] == ["ok", "ok"]


def test_run_takes_keys_and_goes_on_when_its_screen_is_left(screen, call):
    shown = start_own(screen, "--steps", "100000")
    shown.press("m")
    shown.wait("(?m)^ median ms ")
    shown.press("q")
    shown.wait(r"\[1/2\] infer fp32 seq 8 batch 1: measuring, samples", without="RUNNING")
    shown.press("C-c")
    shown.wait("exit code 130")
    assert len(call.records()) == 1


def test_run_ends_with_ctrl_c(screen, call):
    shown = start_own(screen, "--steps", "100000")
    shown.press("C-c")
    shown.wait("stopped by SIGINT", "exit code 130")
    assert [record["verdict"] for record in call.records()] == ["interrupted"]


def test_run_needs_no_terminal_for_it(call):
    done = call(*NULL, "--hud", code=0)
    assert "--hud needs a terminal" in done.stderr and len(call.records()) == 2

"""`tokmark ab`: two live workers, interleaved, through the whole program."""
import json
import math
import os
import re

import pytest

from ab_sides import ONE_START, compare, no_known_noise, results, side  # noqa: F401
from caller import ROOT, TOKMARK

SMALL = ["--set", "dim=32", "--set", "layers_count=2", "--set", "heads_count=2", "--set", "ffn_hidden=48",
         "--set", "vocab_size=128", "--set", "rotary_dim=4", "--set", "experts_count=4"]


# --- what it says ---

def test_equal_sides_are_the_same(call):
    done, line = compare(call, side("--made-up"), side("--made-up"), code=0)
    assert line["outcome"] == "same" and line["reasons"] == []
    assert line["log_ratio"] == 0 and line["ratio_percent_low"] == line["ratio_percent_high"] == 0
    assert line["rounds"] == 12  # the first look that can decide
    assert line["synthetic"] is True and line["same_work"] is True
    assert "SAME" in done.stdout and "ab_results.jsonl" in done.stdout
    assert "started" in done.stderr and "SAME" in done.stderr


@pytest.mark.parametrize("a, b, outcome, ratio", [(1, 2, "slower", 2), (2, 1, "faster", 0.5)])
def test_a_side_that_takes_twice_as_long(call, a, b, outcome, ratio):
    done, line = compare(call, side("--made-up", f"--step-ms {a}"), side("--made-up", f"--step-ms {b}"), code=0)
    assert line["outcome"] == outcome and outcome.upper() in done.stdout
    assert line["log_ratio"] == pytest.approx(math.log(ratio), abs=1e-12)
    assert line["ratio_percent"] == pytest.approx(100 * (ratio - 1))
    assert line["a"]["ms_p50"] == a and line["b"]["ms_p50"] == b
    assert line["steps_per_block"] == 2  # 4 ms of the slower side
    assert line["sign_p"] == pytest.approx(2 * 0.5 ** line["rounds"])
    assert line["a"]["samples"] == line["b"]["samples"] == 2 * 2 * line["rounds"]
    assert line["lead_in_steps_dropped"] == 4 * line["rounds"]


@pytest.mark.parametrize("extra, ratio", [(3.1, 1.031), (0.4, 1.004)])
def test_the_threshold_decides(call, extra, ratio):
    a, b = side("--made-up", "--step-ms 10"), side("--made-up", f"--step-ms {10 + extra / 10}")
    _, line = compare(call, a, b, code=0)
    assert line["log_ratio"] == pytest.approx(math.log(ratio))
    assert line["outcome"] == ("slower" if extra > 1 else "same")
    _, line = compare(call, a, b, "--threshold", "5", code=0)
    assert line["outcome"] == "same" and line["threshold_percent"] == line["threshold_asked_percent"] == 5


def test_real_time_and_exactly_so_many_rounds(call):
    """A sleep takes at least as long as it is told; how much longer is the machine's affair."""
    done, line = compare(call, side("--step-ms 1"), side("--step-ms 100"), "--rounds", "8", code=None)
    # so uneven rounds that they tell nothing are the machine's affair, too
    assert done.returncode in (0, 3) and line["outcome"] in ("slower", "undecided")
    assert line["rounds"] == 8 and line["synthetic"] is False
    assert line["b"]["ms_p50"] >= 100 and line["a"]["ms_p50"] >= 1
    assert math.exp(line["log_ratio"]) == pytest.approx(line["b"]["ms_p50"] / line["a"]["ms_p50"], rel=0.5)


def test_synced_per_block(call):
    _, line = compare(call, side("--made-up"), side("--made-up", "--step-ms 1.5"), "--sync", "block", code=0)
    assert line["log_ratio"] == pytest.approx(math.log(1.5)) and line["b"]["ms_p50"] == 1.5


def test_native_against_itself(call):
    done = call("ab", "--a", "--threads 1", "--threads", "1", "--mode", "infer", "--seq", "16", "--batch", "1", *SMALL,
                "--threshold", "30", "--max-time", "10s")
    line, = results(call)
    # the machine's noise decides which of the two, and whether a side is steady; either goes with its exit code and with measured rounds
    assert (line["outcome"], done.returncode) in (("same", 0), ("undecided", 3)), done.stdout
    assert {line["a"]["verdict"], line["b"]["verdict"]} <= {"ok", "unsteady"} and line["rounds"] > 0
    assert line["a"]["cell_id"] == line["b"]["cell_id"] and line["a"]["backend"] == line["b"]["backend"]
    assert line["a"]["flags"] == "--threads 1" and line["b"]["flags"] is None
    assert line["a"]["argv"] == [TOKMARK, "worker", "native"]


def test_different_work_is_said(call):
    done, line = compare(call, side("--made-up") + " --batch 1", side("--made-up") + " --batch 2", code=0)
    assert line["same_work"] is False and "different work" in done.stdout
    assert (line["a"]["cell"]["batch_size"], line["b"]["cell"]["batch_size"]) == (1, 2)


def test_flags_of_a_side_replace_the_common_ones(call):
    call("ab", "--a", "--seq 32 64 --batch 2", "--seq", "16", "24", "--engine", side("--made-up")[10:-1], "--mode",
         "infer", "--warmup", "1", code=0)
    first, second = results(call)
    assert [line["a"]["cell"]["seq_len"] for line in (first, second)] == [32, 64]
    assert [line["b"]["cell"]["seq_len"] for line in (first, second)] == [16, 24]
    assert {line["a"]["cell"]["batch_size"] for line in (first, second)} == {2}
    assert {line["b"]["cell"]["batch_size"] for line in (first, second)} == {4}


# --- how it is measured ---

def test_blocks_are_interleaved_and_counterbalanced(call):
    log = call.folder / "log"
    flags = side("--made-up", "--step-ms 1", f"--log {log}")
    _, line = compare(call, flags, flags, "--rounds", "3", code=3)
    lines = [text.split() for text in log.read_text().splitlines()]
    runs = [(pid, int(steps)) for pid, kind, steps in lines if kind == "run"]
    a = next(pid for pid, kind, _ in lines if kind == "hello")
    order = "".join("A" if pid == a else "B" for pid, _ in runs)
    warmup = len(order) - 12
    assert order[warmup:] == "ABBA" + "BAAB" + "ABBA"
    # the same warm-up on both sides, interleaved; then blocks of 4 steps and a lead-in
    assert order[:warmup] == "AB" * (warmup // 2)
    assert sum(steps for pid, steps in runs[:warmup] if pid == a) == line["a"]["warmup_steps"] == 3
    assert line["b"]["warmup_steps"] == 3
    assert [steps for _, steps in runs[warmup:]] == [5] * 12
    assert len({pid for pid, _, _ in lines}) == 2
    # both were open before the first step, and alive until the last
    kinds = [kind for _, kind, _ in lines]
    assert kinds[:4] == ["hello", "open", "hello", "open"] and kinds[-2:] == ["close", "close"]


def test_warm_up_ends_for_both_and_takes_its_share_of_the_time_at_most(call):
    args = ["--warmup", "auto", "--max-time", "400ms"]
    # How many rounds fit, and so what can be said of A, is the machine's affair.
    done, line = compare(call, side("--made-up", "--step-ms 1", "--growing"), side("--made-up"), *args, code=None)
    assert done.returncode in (0, 3), done.stderr
    assert line["a"]["verdict"] == "unsteady" and line["a"]["reasons"][0]["code"] == "warmup_not_steady"
    assert line["b"]["verdict"] == "ok" and line["rounds"] > 0
    # 1 ms and 2 % more each: 100 ms are over after 56 steps
    assert 50 <= line["a"]["warmup_steps"] <= 120
    assert line["b"]["warmup_steps"] <= line["a"]["warmup_steps"]


def test_raw_rounds_are_kept(call):
    _, line = compare(call, side("--made-up", "--step-ms 0.8"), side("--made-up", "--step-ms 1"), code=0)
    path = call.folder / "_bench" / "samples" / line["samples_file"]
    rounds = [json.loads(text) for text in path.read_text().splitlines()]
    assert len(rounds) == line["rounds"]
    assert [each["order"] for each in rounds[:3]] == ["ABBA", "BAAB", "ABBA"]
    assert rounds[0]["a"] == {"block_ns": [8e5, 8e5], "window_ns": [32e5, 32e5], "ns": [[8e5] * 4] * 2}
    assert all(each["log_ratio"] == pytest.approx(math.log(1.25)) for each in rounds)


def test_max_time_ends_a_comparison_with_a_reason(call):
    _, line = compare(call, side("--step-ms 20"), side("--step-ms 20"), "--max-time", "500ms", code=3)
    assert line["outcome"] == "undecided"
    assert [reason["code"] for reason in line["reasons"]] == ["precision_not_met", "too_few_rounds"]
    assert line["ratio_percent"] is not None and line["ratio_percent_low"] is None


# --- exit codes ---

def test_the_gate(call):
    slow, fast = side("--made-up", "--step-ms 2"), side("--made-up")
    compare(call, fast, slow, "--gate", code=1)
    compare(call, slow, fast, "--gate", code=0)
    compare(call, fast, fast, "--gate", code=0)
    compare(call, fast, side("--made-up", "--exit-at 9"), "--gate", code=3)


@pytest.mark.parametrize("args, text", [
    ([], "--a FLAGS"), (["--a"], "--a needs a value"), (["--a", "--seqq 1"], "--a: unknown flag '--seqq'; did you mean '--seq'?"),
    (["--b", "--engine natve"], "--b: --engine: unknown engine 'natve'; did you mean 'native'?"),
    (["--b", "--seq 1 --mode tran"], "did you mean 'train'?"), (["--a", "infer"], "--a: unexpected word 'infer'"),
    (["--a", "--batch 1 2"], "side A has 4 cells and side B 2"), (["--a", "--set 'x"], "not closed"),
    (["--a", "--steps 5"], "--a: unknown flag '--steps'"), (["--a", "--batch 2", "--steps", "5"], "unknown flag '--steps'"),
    (["--a", "--batch 2", "--resume"], "unknown flag '--resume'"),
    (["--a", "--batch 2", "--rounds", "5", "--max-time", "3s"], "exclude each other"),
    (["--a", "--binary /nonexistent/tokmark"], "--a: --binary: cannot read"),
    (["--a", "--binary ."], "no program that can be run"),
    (["--a", "--engine exec:true --binary /bin/true"], "the command names its own program"),
    (["--a", "--rev HEAD"], "--binary"), (["--a", "--engine exec:true --rev HEAD"], "no git repository"),
    (["--a", "--python x"], "--a: --python is for --engine pytorch or jax"),
    (["--a", "--batch 2", "--treshold", "3"], "'--threshold'"), (["--a", "--batch 2", "--threshold", "0"], "0.01"),
    (["--a", "--batch 2", "--starts", "0"], "--starts"), (["--a", "--batch 2", "--starts", "65"], "64"),
    (["--a", "--data missing"], "cannot read 'missing'"), (["--a", "--batch 2", "--out", "."], "_bench"),
])
def test_wrong_command_lines(call, args, text):
    done = call("ab", *args, code=2)
    assert text in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert done.stdout == "" and call.files() == []


def test_a_folder_that_is_held_or_cannot_be(call):
    (call.folder / "file").write_text("x")
    call("ab", "--a", side("--made-up"), *ONE_START, "--out", "file/x", code=5)


def test_dry_run_starts_and_writes_nothing(call):
    done = call("ab", "--a", "--batch 2", "--mode", "infer", "--dry-run", "--rounds", "7", code=0)
    assert "batch 2" in done.stdout and "batch 4" in done.stdout and "7 rounds" in done.stdout
    assert call.files() == []


def test_flags_of_run_reach_both_sides(call):
    words = ["--b", "--threads 1", *ONE_START, *SMALL, "--rounds", "2"]
    call("ab", *words, "--seed", "7", "--launch", "env TOKMARK_TEST=1", code=3)
    line = results(call)[-1]
    for name in ("a", "b"):
        assert line[name]["cell"]["seed"] == "7" and line[name]["argv"][:2] == ["env", "TOKMARK_TEST=1"]


def test_colour_when_asked(call):
    for words, env, is_colored in ([["--color", "always"], {}, True], [["--color", "never"], {}, False], [[], {"NO_COLOR": "1"}, False]):
        done = call("ab", "--a", side("--made-up"), "--b", side("--made-up --step-ms 8"), *ONE_START, *words, env=env, code=0)
        assert ("\x1b[31mSLOWER\x1b[0m" in done.stdout) == ("\x1b" in done.stdout) == is_colored, done.stdout


def test_quiet_and_the_line_that_was_torn(call):
    (call.folder / "_bench").mkdir()
    (call.folder / "_bench" / "ab_results.jsonl").write_text('{"whole":1}\n{"to')
    done, _ = compare(call, side("--made-up"), side("--made-up"), code=0)
    assert "cut a torn last line of 4 bytes" in done.stderr
    done, _ = compare(call, side("--made-up"), side("--made-up"), "--quiet", code=0)
    assert done.stderr == ""
    assert [line.get("whole") for line in results(call)] == [1, None, None]


# --- documentation ---

def documented(heading):
    with open(os.path.join(ROOT, "docs", "ab.md"), encoding="utf-8") as file:
        section = file.read().split(heading, 1)[1].split("\n## ", 1)[0].split("\n### ", 1)[0]
    return re.findall(r"^\| `(\w+)`", section, re.M)


def test_lines_have_the_documented_fields(call):
    _, line = compare(call, side("--made-up"), side("--made-up"), code=0)
    assert documented("## Result") == list(line)
    assert documented("### A side") == list(line["a"]) == list(line["b"])

"""--trials: the order of cells, the spread between trials, what did not fit in any order."""
import math
import re

import pytest

from caller import table, worker

# Student's t at 97.5 %, by one and two degrees of freedom: any published table.
STUDENT = {2: 12.706204736432095, 3: 4.302652729911275}
CELLS = ["run", "--engine", "null", "--mode", "infer", "--seq", "32", "64", "96", "128", "--steps", "5",
         "--warmup", "0"]
SHORT = ["run", "--mode", "infer", "--steps", "40", "--warmup", "0"]
TRIALS = ("trials_count", "trials_ms", "trials_ms_low", "trials_ms_high", "trials_spread_percent",
          "trials_range_percent")


def starts(call, *lines):
    """--engine whose successive workers say what the lines say."""
    path = call.folder / "starts"
    path.write_text("\n".join(str(line) for line in lines) + "\n")
    return worker(f"--starts '{path}'")


def order(records):
    return [(record["trial"], record["seq_len"]) for record in records]


def expected(medians):
    """The formulas of docs/metrics.md, written down a second time."""
    logs = [math.log(median) for median in medians]
    k, mean = len(logs), sum(logs) / len(logs)
    variance = sum((value - mean) ** 2 for value in logs) / (k - 1)
    half = STUDENT[k] * math.sqrt(variance / k)
    return (k, math.exp(mean), math.exp(mean - half), math.exp(mean + half),
            100 * math.sqrt(math.exp(variance) - 1), 100 * (max(medians) / min(medians) - 1))


def assert_trials(record, medians):
    for name, want in zip(TRIALS, expected(medians)):
        assert record[name] == pytest.approx(want, rel=1e-9), name


def test_one_trial_keeps_the_order_of_the_plan(call):
    call(*CELLS, code=0)
    records = call.records()
    assert [record["seq_len"] for record in records] == [32, 64, 96, 128]
    assert [record["sweep_position"] for record in records] == [0, 1, 2, 3]
    assert {record["sweep_order"] for record in records} == {"plan"}
    assert {record["null_reasons"][name] for record in records for name in TRIALS} == {"one_trial"}


def test_each_trial_has_an_order_of_its_own_by_seed(call):
    call(*CELLS, "--trials", "4", "--seed", "5", code=0)
    call(*CELLS, "--trials", "4", "--seed", "5", "--out", "again", code=0)
    call(*CELLS, "--trials", "4", "--seed", "6", "--out", "other", code=0)
    records = call.records()
    assert [record["sweep_position"] for record in records] == list(range(16))
    assert {record["sweep_order"] for record in records} == {"random"}
    trials = [[seq for trial, seq in order(records) if trial == number] for number in range(4)]
    assert all(sorted(trial) == [32, 64, 96, 128] for trial in trials)
    assert [record["trial"] for record in records] == sorted(record["trial"] for record in records)
    assert len({tuple(trial) for trial in trials}) > 1
    assert order(records) == order(call.records("again"))
    assert order(records) != order(call.records("other"))


def test_dry_run_shows_the_order_that_is_then_taken(call):
    shown = call(*CELLS, "--trials", "3", "--dry-run", code=0).stdout
    call(*CELLS, "--trials", "3", code=0)
    lines = re.findall(r"trial (\d+): cells ([\d ]+)", shown)
    told = [(int(trial) - 1, 32 * int(cell)) for trial, cells in lines for cell in cells.split()]
    assert len(told) == 12
    assert told == order(call.records())
    assert "Order:" not in call(*CELLS, "--dry-run", code=0).stdout


def test_resume_goes_on_in_the_same_order(call):
    call(*CELLS, "--trials", "3", "--out", "whole", code=0)
    call(*CELLS, "--trials", "3", code=0)
    path = call.folder / "_bench" / "bench_results.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:5]))
    done = call(*CELLS, "--trials", "3", "--resume", code=0)
    assert "Skipped 5 of 12" in done.stdout
    assert order(call.records()) == order(call.records("whole"))
    assert [record["sweep_position"] for record in call.records()] == list(range(12))


def test_the_spread_between_trials(call):
    engine = starts(call, 100000, 110000, 130000)
    done = call(*SHORT, "--engine", engine, "--trials", "3", code=0)
    first, second, third = call.records()
    medians = [record["ms_p50"] for record in (first, second, third)]
    assert medians == pytest.approx([0.1, 0.11, 0.13])
    assert {first["null_reasons"][name] for name in TRIALS} == {"one_trial"}
    assert_trials(second, medians[:2])
    assert_trials(third, medians)
    (row,) = table(done.stdout)
    assert (row["verdict"], row["trials"]) == ("ok", "3 of 3 valid")
    low, mean, high = (third["trials_ms" + end] for end in ("_low", "", "_high"))
    assert row["trials_ms"] == f"{mean:.3f}" and row["trials_ms_low..high"] == f"{low:.3f}..{high:.3f}"
    assert row["interval"] == f"-{100 * (1 - low / mean):.0f}/+{100 * (high / mean - 1):.0f} %"
    window_ms = sum(record["ms_per_step"] * record["steps"] for record in call.records())
    assert row["tokens_per_sec"] == f"{4 * 128 * 3 * 40 / window_ms * 1000:,.0f}"
    assert "go by the interval between trials" in done.stdout
    assert re.search(r"between 3 trials, 0\.1\d*-0\.1\d* ms within", done.stdout)


def test_trials_that_agree_need_no_warning(call):
    done = call(*SHORT, "--engine", starts(call, 100000), "--trials", "3", code=0)
    assert [row["trials"] for row in table(done.stdout)] == ["3 of 3 valid"]
    assert "between trials" not in done.stdout
    assert call.records()[2]["trials_spread_percent"] == 0


def test_a_trial_that_failed_is_none_of_them(call):
    engine = starts(call, 100000, "crash", 120000)
    done = call(*SHORT, "--engine", engine, "--trials", "3", code=3)
    _, second, third = call.records()
    assert {second["null_reasons"][name] for name in TRIALS} == {"crashed"}
    assert_trials(third, [0.1, 0.12])
    (row,) = table(done.stdout)
    assert (row["verdict"], row["trials"]) == ("crashed", "2 of 3 valid")


def test_no_valid_trial_has_no_mean_and_trials_count_from_1(call):
    done = call(*SHORT, "--engine", worker("--step-ms 0.1 --nonfinite"), "--trials", "3", code=3)
    assert [record["trial"] for record in call.records()] == [0, 1, 2]
    assert all(record["ms_p50"] > 0 for record in call.records())
    (row,) = table(done.stdout)
    assert (row["verdict"], row["trials"]) == ("invalid", "0 of 3 valid")
    assert {row[name] for name in ("trials_ms", "interval", "trials_ms_low..high", "tokens_per_sec")} == {"-"}
    for text in (done.stderr, done.stdout):
        assert all(f"batch 4 trial {trial}" in text for trial in (1, 2, 3)) and "trial 0" not in text
    assert "trial 3 of 3: invalid" in done.stderr


def test_tokens_per_sec_of_trials_is_all_their_tokens_by_all_their_windows(call):
    done = call(*SHORT, "--engine", starts(call, 100000, 300000), "--trials", "2", code=0)
    (row,) = table(done.stdout)
    records = call.records()
    tokens = sum(record["tokens_per_step"] * record["steps"] for record in records)
    window_s = sum(record["ms_per_step"] * record["steps"] for record in records) / 1e3
    assert row["tokens_per_sec"] == f"{tokens / window_s:,.0f}"


def test_resumed_trials_know_the_earlier_ones_and_others_do_not(call):
    engine = starts(call, 100000, 110000, 130000)
    call(*SHORT, "--engine", engine, code=0)
    call(*SHORT, "--engine", engine, "--trials", "3", "--resume", code=0)
    _, second, third = call.records()
    assert_trials(second, [0.1, 0.11])
    assert_trials(third, [0.1, 0.11, 0.13])
    call(*SHORT, "--engine", engine, "--trials", "2", code=0)
    assert call.records()[3]["null_reasons"]["trials_ms"] == "one_trial"
    # another policy is another measurement
    call(*SHORT[:-4], "--steps", "41", "--warmup", "0", "--engine", engine, "--trials", "2", "--resume",
         code=0)
    assert call.records()[5]["null_reasons"]["trials_ms"] == "one_trial"


def test_what_did_not_fit_in_any_order(call):
    """A larger cell that was measured before is proof that there was memory enough."""
    seen = set()
    for seed in range(6):
        out = f"out{seed}"
        done = call("run", "--engine", worker("--oom-seq 64", "--step-ms 0"), "--mode", "infer", "--seq",
                    "64", "96", "--steps", "5", "--warmup", "0", "--trials", "2", "--seed", str(seed),
                    "--out", out)
        records = call.records(out)
        larger_first = records[0]["seq_len"] == 96
        seen.add(larger_first)
        assert done.returncode == (3 if larger_first else 4)
        dominated = [record["seq_len"] for record in records
                     if [reason["code"] for reason in record["reasons"]] == ["dominated"]]
        assert sorted(dominated) == ([] if larger_first else [64, 96, 96]), (seed, order(records))
        for record in records:
            fits = record["seq_len"] == 96 and larger_first
            assert record["verdict"] == ("ok" if fits else "oom")
    assert seen == {True, False}

"""`tokmark noise`: a cell against itself, what is stored of it, and what `tokmark ab` makes of that."""
import datetime
import json
import math
import re
import signal

import pytest

from ab_sides import CELL, ONE_START, await_rounds, results, side

from waiting import TIMEOUT_S


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    """The user's data folder."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "data" / "tokmark"


JOURNAL = "machine.jsonl"


def entries(data, what="floor"):
    text = (data / JOURNAL).read_text(encoding="utf-8")
    assert text.endswith("\n")
    return [line for line in map(json.loads, text.splitlines()) if line["what"] == what]


def words(flags):
    """FLAGS of a side as words of the command line."""
    engine = flags[len('--engine "'):-1]
    return ["--engine", engine]


@pytest.fixture(name="stored", scope="module")
def make_stored():
    """What `noise` stored of a made-up engine here, once a test has asked for it."""
    return []


@pytest.fixture(name="write_floor")
def make_write_floor(call, data, stored):
    def write(percent, **changes):
        """An entry as `noise` stores it, with another floor."""
        if not stored:
            call("noise", *words(side("--made-up")), *CELL, "--repeats", "1", code=0)
            stored.extend(entries(data))
        entry = stored[-1] | {"floor_percent": percent} | changes
        data.mkdir(parents=True, exist_ok=True)
        (data / JOURNAL).write_text(json.dumps(entry) + "\n")
        return entry
    return write


def days_ago(days):
    return (datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def test_the_floor_is_t_of_the_table_times_the_spread(call, data):
    done = call("noise", *words(side("--step-ms 1")), *CELL, "--repeats", "3", "--rounds", "3", code=0)
    entry, = entries(data)
    ratios = entry["log_ratios"]
    assert len(ratios) == 3 and any(ratio != 0 for ratio in ratios)
    bound = 3.182446305284263 * math.sqrt(sum(ratio * ratio for ratio in ratios) / 3)
    assert entry["floor_percent"] == pytest.approx(100 * math.expm1(bound), rel=1e-9)
    assert "noise floor" in done.stdout
    lines = results(call)
    assert [line["purpose"] for line in lines] == ["noise"] * 3
    assert [line["log_ratio"] for line in lines] == ratios
    assert all(line["a"]["cell_id"] == line["b"]["cell_id"] for line in lines)
    assert {line["environment_id"] for line in lines} == {entry["environment_id"]}
    assert (entry["mode"], entry["precision"], entry["device"], entry["seq_len"], entry["batch_size"]) == (
        "infer", "fp32", "cpu", 16, 1)


def test_fresh_workers_every_time(call):
    log = call.folder / "log"
    call("noise", *words(side("--made-up", f"--log {log}")), *CELL, "--repeats", "3", "--rounds", "1", code=0)
    pids = {line.split()[0] for line in log.read_text().splitlines()}
    assert len(pids) == 6


@pytest.mark.parametrize("floor, step_ms, outcome, code", [
    (27.8, 1.2, "undecided", 3), (27.8, 1, "undecided", 3), (27.8, 1.4, "slower", 1), (27.8, 0.5, "faster", 0),
    (5, 1.2, "slower", 1), (5, 1, "same", 0)])
def test_a_floor_never_disarms_the_gate(call, write_floor, floor, step_ms, outcome, code):
    """A gate at 5 %: the threshold stays what was asked for, and nothing under a floor above it passes for SAME."""
    write_floor(floor)
    sides = "--a", side("--made-up"), "--b", "--batch 2 " + side("--made-up", f"--step-ms {step_ms}")
    done = call("ab", *sides, *ONE_START, "--threshold", "5", "--gate", code=code)
    line = results(call)[-1]
    assert (line["outcome"], line["threshold_percent"], line["noise_floor_percent"]) == (outcome, 5, floor)
    assert line["noise_floor_from"] == "cell" and line["noise_floor_reason"] is None
    is_above = floor > 5
    assert ("noise floor, 27.8 %, is above the threshold, 5 %" in done.stderr) == is_above
    assert [reason["code"] for reason in line["reasons"]] == (["floor_above_threshold"] if outcome == "undecided" else [])
    if outcome == "undecided":
        assert "27.8 %" in done.stdout and "5 %" in done.stdout


def test_a_floor_of_a_busy_minute_and_a_gate(call, data):
    """Seen in use: a floor of 27.8 % made SAME and exit 0 of 20 against 24 ms, gated at 5 %."""
    a, b = side("--made-up", "--step-ms 20"), side("--made-up", "--step-ms 24")
    call("noise", *words(a), *CELL, "--repeats", "1", code=0)
    (data / JOURNAL).write_text(json.dumps(entries(data)[-1] | {"floor_percent": 27.8}) + "\n")
    done = call("ab", "--a", a, "--b", b, *ONE_START, "--threshold", "5", "--gate", code=3)
    line = results(call)[-1]
    assert line["outcome"] == "undecided" and line["threshold_percent"] == 5
    assert "UNDECIDED" in done.stdout and "27.8 %, is above the threshold, 5 %" in done.stdout
    # without the floor the gate fails, as it must
    (data / JOURNAL).unlink()
    call("ab", "--a", a, "--b", b, *ONE_START, "--threshold", "5", "--gate", code=1)


@pytest.mark.parametrize("change", [{"environment_id": "0" * 16}, {"mode": "train"}, {"device": "cuda:0"}, {"seq_len": 999}, {"batch_size": 7},
                                    {"engine": "native"}, {"precision": "bf16"}, {"floor_percent": -1}, {"at": "long ago"}, {"at": days_ago(31)}])
def test_a_floor_of_another_cell_or_machine_or_month_does_not_count(call, write_floor, change):
    write_floor(4, **change)
    worker = side("--made-up")
    done = call("ab", "--a", worker, "--b", worker, *ONE_START, code=0)
    line = results(call)[-1]
    assert line["noise_floor_percent"] is None and "tokmark noise" in line["noise_floor_reason"]
    assert line["threshold_percent"] == 1 and "noise floor unknown" in done.stdout


def test_a_floor_of_an_earlier_version_counts(call, write_floor, data):
    entry = write_floor(4)
    (data / JOURNAL).unlink()
    del entry["what"], entry["ms"]
    (data / "noise.jsonl").write_text(json.dumps(entry | {"schema": "tokmark.noise/1"}) + "\n")
    worker = side("--made-up")
    call("ab", "--a", worker, "--b", worker, *ONE_START, code=3)
    assert results(call)[-1]["noise_floor_percent"] == 4


def test_a_floor_of_a_busy_machine_is_refused(call, data, busy_cpu):
    done = call("noise", *words(side("--step-ms 5")), *CELL, "--repeats", "1", "--rounds", "40", "--foreign-load", "5",
                "--launch", f"taskset -c {busy_cpu}", code=4)
    assert "not stored: 0 of 1" in done.stdout and "of the processors' time" in done.stdout
    assert not (data / JOURNAL).exists()


def test_bad_lines_are_skipped_with_a_note(call, write_floor, data):
    entry = write_floor(4)
    (data / JOURNAL).write_bytes(b"\xff\xfe\x00\n{}\n[1]\n" + json.dumps(entry).encode() + b"\n" +
                                       b"x" * 100000 + b"\n{\"torn")
    worker = side("--made-up")
    done = call("ab", "--a", worker, "--b", worker, *ONE_START, "--threshold", "4", code=0)
    assert results(call)[-1]["noise_floor_percent"] == 4
    assert "4 lines skipped" in done.stderr
    done = call("noise", "--list", code=0)
    assert "4 lines skipped" in done.stderr and "seq 16 batch 1" in done.stdout and "4 %" in done.stdout
    # appending cuts what was torn, and leaves the rest as it is
    call("noise", *words(worker), *CELL, "--repeats", "1", code=0)
    lines = (data / JOURNAL).read_bytes().split(b"\n")
    assert lines[0] == b"\xff\xfe\x00" and lines[-1] == b"" and b"torn" not in lines[-2]


@pytest.mark.parametrize("name", [JOURNAL, "noise.jsonl"])
def test_a_file_that_cannot_be_read_is_said(call, data, name):
    (data / name).mkdir(parents=True)
    worker = side("--made-up")
    call("ab", "--a", worker, "--b", worker, *ONE_START, code=0)
    assert name in results(call)[-1]["noise_floor_reason"]
    call("noise", "--list", code=5)


@pytest.mark.parametrize("flags", [[], ["--show"], ["--list"]])
def test_what_the_machine_has_shown(call, write_floor, data, flags):
    done = call("noise", *flags, code=0)
    assert "Nothing is known" in done.stdout
    entry = write_floor(4)
    run = {"schema": "tokmark.machine/1", "what": "run", "at": days_ago(2), "machine_id": "h0123456789abcdef", "run_id": "r", "history_id": "h" + "1" * 16,
           "framework": "native", "device": "cpu", "mode": "train", "precision": "fp32", "model": "tiny", "seq_len": 64, "batch_size": 2,
           "ms": 100, "ms_low": None, "ms_high": None}
    lines = [entry | {"floor_percent": 2.5}, entry | {"model": "evil\x1b[2J", "floor_percent": 3}, run, run | {"ms": 110}, run | {"ms": 121}]
    with open(data / JOURNAL, "a", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
    files = call.files()
    done = call("noise", *flags, code=0)
    rows = [row.split() for row in done.stdout.splitlines()]
    floor, = [row for row in rows if row[:2] == ["noise", "floor"] and "evil" not in row[-1]]
    assert floor[2:6] == ["1", "1", "2.5", "%"] and floor[-1] == entry["model"]
    # a standard deviation of ln 1.1, of the last of three runs
    runs, = [row for row in rows if row[0] == "runs"]
    assert runs[1:5] == ["121", "3", f"{100 * math.sqrt(math.expm1(math.log(1.1) ** 2)):.2f}", "%"]
    assert runs[5:7] == [run["at"][:10], days_ago(2 - 180)[:10]] and runs[7:] == "native cpu train fp32 seq 64 batch 2 tiny".split()
    assert "\x1b" not in done.stdout and "evil?[2J" in done.stdout
    assert call.files() == files, "nothing was measured"


# --- what goes wrong ---

def test_nothing_is_stored_of_a_cell_that_fails(call, data):
    done = call("noise", *words(side("--made-up", "--exit-at 9")), *CELL, "--repeats", "2", code=4)
    assert not (data / JOURNAL).exists() and "not stored: 0 of 2" in done.stdout
    assert [line["outcome"] for line in results(call)] == ["undecided"] * 2


def test_nothing_is_stored_of_a_cell_that_was_cut(call, data):
    process = call.start("noise", *words(side("--step-ms 5")), *CELL)
    await_rounds(call, process)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 130 and not (data / JOURNAL).exists()


@pytest.mark.parametrize("args, text", [
    (["--repeats", "0"], "smallest is 1"), (["--repeats", "101"], "largest is 100"), (["--a", "x"], "unknown flag"),
    (["--engine", "natve"], "'native'"), (["--starts", "3"], "unknown flag '--starts'"), (["--rounds", "3", "--max-time", "3s"], "exclude each other"),
    (["--lsit"], "'--list'"), (["--threshold", "3"], "unknown flag")])
def test_wrong_command_lines(call, args, text):
    done = call("noise", *args, code=2)
    assert text in done.stderr and done.stderr.count("\n") == 1 and call.files() == []


def test_help_has_the_defaults_in_force(call):
    """Others may take half of what `run` and `ab` let them: what is stored lasts."""
    def default(command):
        text = " ".join(call("help", command, code=0).stdout.split())
        return re.search(r"--foreign-load PCT .*?default: (\w+)\)", text).group(1)
    assert (default("noise"), default("ab"), default("run")) == ("5", "10", "10")


def test_dry_run(call):
    done = call("noise", "--mode", "infer", "--seq", "16", "32", "--repeats", "7", "--dry-run", code=0)
    assert done.stdout.count("7 comparisons") == 2 and call.files() == []

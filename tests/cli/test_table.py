"""The table of a run on screens of any width: nothing wraps, no name is cut, what is left out is named."""
import json
import os
import pty
import re
import subprocess
import termios

import pytest

from caller import NULL, TOKMARK, calm, table, worker
from waiting import TIMEOUT_S

COLUMNS = ["mode", "seq_len", "batch_size", "verdict", "ms_p50", "interval", "next_run_ms_low..high", "tokens_per_sec",
           "peak_mem_mb", "loss_last"]
LONG = "a-model-of-a-very-long-name-" * 3


def on_terminal(call, columns, *args, env=None, code=0):
    """What a run of those words writes to a terminal of that width."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (50, columns))
    env = {**{name: value for name, value in os.environ.items() if name != "COLUMNS"}, **(env or {})}
    with subprocess.Popen([TOKMARK, *calm(args)], cwd=call.folder, env={**env, "TERM": "xterm", "NO_COLOR": "1"},
                          stdin=subprocess.DEVNULL, stdout=theirs, stderr=subprocess.PIPE) as process:
        os.close(theirs)
        text = b""
        try:
            while chunk := os.read(ours, 65536):
                text += chunk
        except OSError:  # the other end is closed
            pass
        _, errors = process.communicate(timeout=TIMEOUT_S)
    os.close(ours)
    assert process.returncode == code, errors
    return text.decode().replace("\r\n", "\n")


def shown(stdout):
    return next(line.split() for line in stdout.splitlines() if re.match("(precision +)?mode ", line))


@pytest.mark.parametrize("width", [200, 120, 100, 80, 60, 40])
def test_it_fits_the_terminal_and_names_what_it_leaves_out(call, width):
    # made up, and so the same on every machine: how wide a number is decides what fits
    out = on_terminal(call, width, "run", "--sandbox", "--steps", "30", "--precision", "fp32", "bf16")
    assert max(len(line) for line in out.splitlines()) <= width, out
    names = shown(out)
    left_out = re.search("No room for: ((.|\n  )*)", out)
    left_out = re.split(r",\s+", left_out.group(1)) if left_out else []
    expected = COLUMNS if "precision" not in names else ["precision", *COLUMNS]
    assert sorted(names + left_out) == sorted(expected)
    assert [name for name in expected if name in names] == names
    # least important first; which cell it is and its median always stay
    order = ["loss_last", "peak_mem_mb", "next_run_ms_low..high", "tokens_per_sec", "interval", "verdict"]
    assert sorted(left_out) == sorted(order[:len(left_out)])
    assert {200: not left_out, 80: "tokens_per_sec" in names, 40: "ms_p50" in names}.get(width, True)
    # every cell is told apart, in a column or in the title over its lines
    assert len(table(out)) == 4 and out.count("fp32") >= 1 and out.count("bf16") >= 1


def test_no_name_is_cut_and_no_word_broken(call):
    tiny = call("models", "--json", code=0).stdout.splitlines()
    spec = next(json.loads(line)["spec"] for line in tiny if '"superintelligence-tiny"' in line)
    spec.pop("name", None)
    spec["summary"] = "long"
    (call.folder / (LONG + ".json")).write_text(json.dumps(spec))
    for width in (200, 80, 40):
        out = on_terminal(call, width, *NULL, "--model", LONG + ".json")
        assert LONG in out and "~" not in out
    # into a file or a pipe goes everything, whatever the screen
    done = call(*NULL, "--model", LONG + ".json", env={"COLUMNS": "40"}, code=0)
    assert shown(done.stdout) == COLUMNS and LONG in done.stdout and "No room" not in done.stdout


def test_columns_of_the_environment_are_the_user_s_wish(call):
    sandbox = ["run", "--sandbox", "--steps", "30"]
    out = on_terminal(call, 120, *sandbox, env={"COLUMNS": "60"})
    assert 40 < max(len(line) for line in out.splitlines()) <= 60
    assert on_terminal(call, 60, *sandbox, "--out", "b", env={"COLUMNS": "wide"}).count("No room") == 1


def test_units_and_the_machine_stand_above(call):
    out = call(*NULL, code=0).stdout.splitlines()
    cpu = json.loads(call("env", "--json", code=0).stdout)["cpu"]
    assert out[0] == "null on cpu: superintelligence-tiny, 30.5 M parameters, fp32"
    assert re.fullmatch(re.escape(f"{cpu['model']}, {cpu['cpus_usable']} CPU") + r"s?, [\d.]+ GiB memory", out[1])
    assert out[4].split() == ["tokens", "rows", "ms", "ms", "tokens/s", "MiB"]
    fields = call("cat", "_bench", code=0).stdout.splitlines()[0].split("\t")
    assert set(COLUMNS) - set(fields) == {"interval", "next_run_ms_low..high"}, "names of columns are names of fields"


# --- reasons ---

def test_a_reason_is_told_once_and_whole_when_asked(call):
    long = ["run", "--engine", worker("--crash-seq 128"), "--mode", "infer", "--steps", "5", "--warmup", "0"]
    done = call(*long, code=4)
    (text,) = [reason["text"] for reason in call.records()[0]["reasons"]]
    assert (done.stdout + done.stderr).count(text[:40]) == 1
    assert ": crashed: killed_by_signal (" in done.stderr, "in progress the code alone"
    assert text in call(*long, "-v", code=4).stdout


def test_an_interval_far_from_even_is_seen(call):
    """1.954 to 3.945 around 2.066 was +-91 %."""
    call(*NULL, "--mode", "infer", code=0)
    path = call.folder / "_bench" / "bench_results.jsonl"
    record = {**json.loads(path.read_text()), "ms_p50": 2.066, "next_run_ms_low": 1.954, "next_run_ms_high": 3.945}
    path.write_text(json.dumps(record) + "\n")
    (row,) = table(call(*NULL, "--mode", "infer", "--resume", code=0).stdout)
    assert (row["ms_p50"], row["interval"], row["next_run_ms_low..high"]) == ("2.066", "-5/+91 %", "1.954..3.945")


# --- other tables ---

def test_tables_of_ab_and_check_fit_too(call):
    cell = ["--mode", "infer", "--seq", "8", "--batch", "1", "--set", "dim=32", "--set", "layers_count=1", "--set", "heads_count=2",
            "--set", "ffn_hidden=48", "--set", "vocab_size=128", "--set", "rotary_dim=4", "--set", "experts_count=4"]
    (call.folder / "starts").write_text("1250000\n")  # figures as wide on every machine
    said = worker("--starts", "starts")
    for width, left_out in ((120, 0), (70, 1), (50, 2)):
        out = on_terminal(call, width, "ab", *cell, "--a", f'--engine "{said}"', "--b", f'--engine "{said}"', "--starts", "1",
                          "--rounds", "3", code=3)
        assert max(len(line) for line in out.splitlines() if "ab_results.jsonl" not in line) <= width, out
        names = "".join(re.findall("No room for: (.*)", out)).split(", ") if left_out else []
        assert "B is" in out and "B/A" in out and len(names) == left_out and ("rounds (starts)" in names) == (left_out > 0), out
    # sizes by --set: names of tensors are long, and what engine, kind and verdict a line is of always stays
    for width in (120, 60):
        out = on_terminal(call, width, "check", "--engines", f"native,exec:{TOKMARK} worker native", *cell[2:])
        assert max(len(line) for line in out.splitlines() if "checks.jsonl" not in line) <= width, out
        assert ("No room for: worst tensor" in out) == (width == 60) and out.count("PASS") > 1

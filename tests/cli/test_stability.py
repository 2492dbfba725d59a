"""`tokmark stability`: trainings of the native engine, and of a worker whose losses are made up by the test."""
import csv
import json
import math
import os
import re
import signal
import subprocess

import pytest

from caller import ROOT, program, worker
from waiting import TIMEOUT_S

SCRIPTED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "scripted_worker.py")
SMALL = ["--set", "dim=16", "--set", "layers_count=2", "--set", "heads_count=2", "--set", "ffn_hidden=24",
         "--set", "vocab_size=256", "--set", "rotary_dim=4", "--set", "experts_count=4", "--seq", "8"]
# as it came, and what it is no more likely to be by chance than by one in millions
FALLING = [9 * math.exp(-i / 40) + 0.01 * math.sin(i) for i in range(100)]


def lines(call, out="_bench"):
    text = (call.folder / out / "stability.jsonl").read_text(encoding="utf-8")
    assert text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def train(call, *args, code):
    done = call("stability", *SMALL, *args, code=code)
    return done, lines(call)


def scripted(call, name, losses, norms=None, experts=None, twin=None, twin_end=None):
    """--engines for a worker that says these losses; None is one that is no number. twin: those from nudged weights, before `twin_end`."""
    blocks = []
    for i, loss in enumerate(losses):
        norm = norms[i] if norms else 1.0
        block = {"nonfinite": (loss is None) + (norm is None), "loss": loss, "grad_norm": norm}
        if experts:
            block["expert_tokens"] = experts[i]
        blocks.append({key: value for key, value in block.items() if value is not None})
    script = {"ready": {}, "memory": {}, "blocks": blocks, "step_ns": [1000, 2000]}
    if twin:
        script["twin"] = [{"nonfinite": 0, "loss": loss, "grad_norm": 1.0} for loss in twin] + [twin_end] * (twin_end is not None)
    (call.folder / f"{name}.json").write_text(json.dumps(script), encoding="utf-8")
    return f"exec:python3 '{SCRIPTED}' {call.folder}/{name}.json {call.folder}/{name}.said"


def train_scripted(call, losses, code, **more):
    return train(call, "--engines", scripted(call, "a", losses, **more), "--steps", str(len(losses)), code=code)


# --- a real training ---

def test_the_built_in_text_is_learned(call):
    done, (line,) = train(call, "--steps", "60", "--lr", "1e-2", code=0)
    assert line["verdict"] == "ok" and line["reasons"] == [] and line["steps_done"] == 60
    assert line["data"].startswith("United States Declaration of Independence")
    assert len(line["losses"]) == len(line["grad_norms"]) == 60
    # about ln(256) at first; letters of English are learned
    assert line["loss_first"] == line["losses"][0] and abs(line["loss_first"] - math.log(256)) < 1.5
    assert line["loss_end"] < line["loss_first"] - 1 and line["loss_slope"] < 0
    assert line["grad_norm_p50"] > 0 and line["grad_norm_max"] >= line["grad_norm_p95"] >= line["grad_norm_p50"]
    assert 1 <= line["expert_imbalance_last"] <= 4
    assert re.search(r"^native +fp32 +ok +60 ", done.stdout, re.M)
    rows = list(csv.DictReader((call.folder / "_bench" / "stability.csv").open(newline="", encoding="utf-8")))
    assert [float(row["loss"]) for row in rows] == line["losses"]
    assert [float(row["grad_norm"]) for row in rows] == line["grad_norms"]
    assert [int(row["step"]) for row in rows] == list(range(1, 61))
    assert {(row["run_id"], row["engine"], row["precision"]) for row in rows} == {(line["run_id"], "native", "fp32")}
    left = [name for name in call.files() if not name.startswith("_bench/logs/")]
    assert left == ["_bench", "_bench/.tokmark.lock", "_bench/logs", "_bench/stability.csv", "_bench/stability.jsonl"]


def test_colour_when_asked(call):
    assert "\x1b[32mok\x1b[0m" in train(call, "--steps", "2", "--color", "always", code=0)[0].stdout
    assert "\x1b" not in train(call, "--steps", "2", "--color", "never", code=0)[0].stdout


def test_a_rate_that_is_too_high_is_seen_with_its_step(call):
    done, (line,) = train(call, "--steps", "60", "--lr", "1e6", code=1)
    assert line["verdict"] == "invalid" and line["learning_rate"] == 1e6
    step = line["nonfinite_step"]
    assert line["reasons"][0]["code"] == "nonfinite_loss"
    assert f"at step {step} of 60" in line["reasons"][0]["text"] and f"at step {step} of 60" in done.stdout
    assert line["steps_done"] == step == len(line["losses"]) == len(line["grad_norms"])
    assert None in (line["losses"][-1], line["grad_norms"][-1])
    assert None not in line["losses"][:-1] and None not in line["grad_norms"][:-1]


def test_a_text_of_ones_own_and_the_same_again(call):
    (call.folder / "own.txt").write_text("the cat sat on the mat. " * 50, encoding="utf-8")
    own = ["--steps", "10", "--data", "own.txt"]
    _, (line,) = train(call, *own, "--out", "_bench", code=0)
    assert line["data"].endswith("own.txt") and line["reference"] is None
    # the same training, of another call: another version, or another machine
    call("stability", *SMALL, *own, "--base", "_bench", "--out", "again", code=0)
    (again,) = lines(call, "again")
    assert again["losses"] == line["losses"] and again["cell_id"] == line["cell_id"]
    assert again["loss_difference"] == 0 and again["reference"] == f"native fp32 of run {line['run_id']}"
    # one that differs is not compared with it, and that is said
    done = call("stability", *SMALL, *own, "--seed", "5", "--base", "_bench", "--out", "other", code=4)
    assert lines(call, "other")[0]["reasons"][0]["code"] == "no_reference" and "no_reference" in done.stdout
    done = call("stability", *SMALL, *own, "--base", "nowhere", "--out", "none", code=2)
    assert "--base: there is no 'nowhere/stability.jsonl'" in done.stderr


def test_a_base_with_other_losses_fails(call):
    train(call, "--steps", "10", code=0)
    path = call.folder / "_bench" / "stability.jsonl"
    line = json.loads(path.read_text(encoding="utf-8"))
    line["losses"][6] *= 1.02
    path.write_text("no JSON\n" + json.dumps(line) + "\n", encoding="utf-8")
    done = call("stability", *SMALL, "--steps", "10", "--base", "_bench", "--out", "new", code=1)
    (new,) = lines(call, "new")
    assert new["verdict"] == "invalid" and new["loss_difference_step"] == 7
    assert new["loss_difference"] == pytest.approx(0.02, rel=0.1) and "the loss of step 7" in done.stdout
    call("stability", *SMALL, "--steps", "10", "--base", "_bench", "--out", "wide", "--tolerance", "5", code=0)


def test_lines_have_the_documented_fields(call):
    _, (line,) = train(call, "--steps", "2", code=0)
    with open(os.path.join(ROOT, "docs", "records.md"), encoding="utf-8") as file:
        section = file.read().split("## Trainings", 1)[1].split("\n## ", 1)[0]
    assert re.findall(r"^\| `(\w+)`", section, re.M) == list(line)


# --- what a worker may say ---

def test_losses_that_are_apart_fail_at_their_step(call):
    apart = list(FALLING)
    apart[49] += 0.004 * FALLING[0]
    first, second = scripted(call, "a", FALLING), scripted(call, "b", apart)
    done, (one, two) = train(call, "--engines", first, second, "--steps", "100", code=1)
    assert one["verdict"] == "ok" and one["reference"] is None and one["tolerance"] is None
    assert two["verdict"] == "invalid" and two["reasons"][0]["code"] == "over_tolerance"
    assert two["loss_difference"] == pytest.approx(0.004) and two["loss_difference_step"] == 50
    assert two["rounding_difference"] == 0  # the same losses from nudged weights: no rounding there
    assert two["tolerance"] == 0.002 and "the loss of step 50" in done.stdout
    train(call, "--engines", first, second, "--steps", "100", "--tolerance", "0.5", code=0)


def test_what_rounding_makes_of_the_reference_is_allowed_from_then_on(call):
    """The reference again from weights that differ in their last place: 0.1 % apart from step 40 on."""
    twin = [loss + (0.001 * FALLING[0] if i >= 39 else 0) for i, loss in enumerate(FALLING)]
    late, early = list(FALLING), list(FALLING)
    late[49] += 0.004 * FALLING[0]
    early[19] += 0.004 * FALLING[0]
    first = scripted(call, "a", FALLING, twin=twin)
    engines = ["--engines", first, scripted(call, "b", late), scripted(call, "c", early)]
    done, (_, late, early) = train(call, *engines, "--steps", "100", code=1)
    assert late["verdict"] == "ok" and late["loss_difference"] == pytest.approx(0.004)
    assert late["rounding_difference"] == pytest.approx(0.001) and late["tolerance"] == pytest.approx(0.01)
    assert early["verdict"] == "invalid" and early["rounding_difference"] == 0 and early["tolerance"] == 0.002
    assert "the loss of step 20" in early["reasons"][0]["text"]
    # three twins serve all, and leave nothing
    assert done.stderr.count("how far does rounding grow?") == 1
    assert not [name for name in call.files() if "twin" in name or name.startswith("_bench/stability.") and name.count("/") > 1]
    # whoever gives a tolerance means it
    train(call, *engines[:3], "--steps", "100", "--tolerance", "0.3", code=1)


def test_rounding_is_measured_in_a_folder_of_any_name(call):
    apart = [loss + (0.004 * FALLING[0] if i == 49 else 0) for i, loss in enumerate(FALLING)]
    engines = ["--engines", scripted(call, "a", FALLING, twin=apart), scripted(call, "b", apart)]
    folder = os.fsdecode(b"r\xe9sults %41")
    done = subprocess.run([program("tokmark"), "stability", *SMALL, *engines, "--steps", "100", "--out", folder], cwd=call.folder,
                          capture_output=True, check=False, timeout=TIMEOUT_S)
    assert lines(call, folder)[1]["rounding_difference"] == pytest.approx(0.004), done


def apart_with_a_twin_that_ends(call, end, code):
    """The record of losses that are apart at step 50, where rounding was measured until step 30."""
    apart = list(FALLING)
    apart[49] += 0.004 * FALLING[0]
    first = scripted(call, "a", FALLING, twin=FALLING[:30], twin_end=end)
    done, (_, line) = train(call, "--engines", first, scripted(call, "b", apart), "--steps", "100", code=code)
    assert line["loss_difference_step"] == 50 and line["rounding_difference"] is None and line["tolerance"] == 0.002
    return done, line


def test_who_is_stopped_while_rounding_is_measured_is_no_worse_for_it(call):
    _, line = apart_with_a_twin_that_ends(call, signal.SIGINT.value, 130)
    assert line["verdict"] == "interrupted" and [reason["code"] for reason in line["reasons"]] == ["interrupted"]


def test_a_reference_that_fails_when_it_is_trained_again_is_said(call):
    done, line = apart_with_a_twin_that_ends(call, "dies", 1)
    assert line["verdict"] == "invalid" and [reason["code"] for reason in line["reasons"]] == ["over_tolerance", "rounding_not_known"]
    assert "what rounding makes of it is not known" in done.stdout and "the reference, trained again, ended as crashed" in done.stdout
    assert done.stderr.count("how far does rounding grow?") == 1


def test_a_loss_that_is_no_number_ends_it(call):
    _, (line,) = train_scripted(call, FALLING[:30] + [None] * 70, 1)
    assert line["nonfinite_step"] == 31 == line["steps_done"]
    assert "the loss is not a finite number at step 31 of 100" in line["reasons"][0]["text"]


def test_gradients_that_are_no_number_end_it(call):
    _, (line,) = train_scripted(call, FALLING, 1, norms=[1.0] * 9 + [None] + [1.0] * 90)
    assert line["nonfinite_step"] == 10 == line["steps_done"] and line["nonfinite_norms"] == 1
    assert "the norm of the gradients is not a finite number at step 10" in line["reasons"][0]["text"]
    # what there was is summed up
    assert line["loss_first"] == FALLING[0] and line["loss_slope"] < 0 and line["grad_norm_p50"] == line["grad_norm_max"] == 1


def test_losses_that_rise_are_no_training(call):
    _, (line,) = train_scripted(call, [4 + 0.05 * i for i in range(100)], 1)
    assert line["reasons"][0]["code"] == "loss_diverged" and line["diverged_step"] == 18
    assert "from step 18 of 100" in line["reasons"][0]["text"]


def test_a_spike_is_told_and_is_no_failure(call):
    losses = list(FALLING)
    losses[70] += 4
    done, (line,) = train_scripted(call, losses, 0)
    assert line["spikes"] == 1 and line["spike_step"] == 71 and line["spike_z"] > 6
    assert "1 loss spike, the highest at step 71" in done.stdout


def test_experts_are_judged_where_training_ends(call):
    # in between another expert has all tokens: a step more or less of either tenth is another figure
    experts = [[10 * i] * 4 if i <= 10 else [100 + 40 * max(i - 90, 0), 100 + 40 * min(i - 10, 80), 100, 100]
               for i in range(1, 101)]
    _, (line,) = train_scripted(call, FALLING, 0, experts=experts)
    assert line["expert_imbalance_first"] == 1 and line["expert_imbalance_last"] == 4


def test_a_worker_without_losses_is_not_judged(call):
    _, (line,) = train(call, "--engines", "null", "--steps", "5", code=4)
    assert line["verdict"] == "unsupported" and line["reasons"][0]["code"] == "no_loss" and line["steps_done"] == 0


def test_what_an_engine_cannot_do_is_no_failure(call):
    _, (fp32, bf16) = train(call, "--precision", "fp32", "bf16", "--steps", "3", code=0)
    assert (fp32["verdict"], bf16["verdict"]) == ("ok", "unsupported")


def test_made_up_losses_are_not_taken(call):
    _, (line,) = train(call, "--engines", "sandbox", "--steps", "3", code=4)
    assert line["verdict"] == "unsupported"


def test_a_worker_that_dies_is_a_failure(call):
    _, (line,) = train(call, "--engines", worker("--die-at 3"), "--steps", "9", code=1)
    assert line["verdict"] == "crashed"


@pytest.mark.parametrize("words, text", [
    (["--lr", "0"], "--lr: '0' is too small"), (["--lr", "nan"], "--lr: 'nan' is not a number"),
    (["--engines", "native", "native"], "is there twice"),
    (["--engines", "native", "pytorch", "--model", "m.py:F"], "--model"), (["--steps", "0"], "--steps"),
    (["--data", "none.txt"], "--data: cannot read 'none.txt'"),
])
def test_a_wrong_command_line_starts_nothing(call, words, text):
    done = call("stability", *words, code=2)
    assert text in done.stderr and call.files() == []

"""`tokmark check` without any framework: native against itself behind a proxy that can lie."""
import json
import os
import re
import signal
import time
import zipfile

import pytest

from caller import TOKMARK
from waiting import wait_until
from check_proxy import PROXY, Tensors, put_float, read_float

SMALL = ["--set", "dim=16", "--set", "layers_count=2", "--set", "heads_count=2", "--set", "ffn_hidden=24",
         "--set", "vocab_size=64", "--set", "rotary_dim=4", "--set", "experts_count=4", "--seq", "8"]
LAST = "layers.1.moe.experts.3.ffn.w2.bias"


def proxy(*args):
    return f"exec:env TOKMARK='{TOKMARK}' python3 '{PROXY}' " + " ".join(args)


def lines(call, out="_bench"):
    text = (call.folder / out / "checks.jsonl").read_text(encoding="utf-8")
    assert text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def check(call, *args, code, engines=("native",), others=()):
    done = call("check", "--engines", *engines, *others, *SMALL, *args, code=code)
    return done, lines(call)


# --- what passes ---

def test_an_engine_agrees_with_itself(call):
    done, (reference, line) = check(call, "--train-steps", "2", others=[proxy()], code=0)
    assert reference["verdict"] == "ok" and reference["reference"] is None
    assert all(kind is None for kind in reference["kinds"].values())
    assert line["verdict"] == "ok" and line["reasons"] == []
    assert line["reference"]["engine"] == "native" and line["reference"]["precision"] == "fp32"
    assert line["worker"] == "proxy" and line["weights_hash"] == reference["weights_hash"]
    assert set(line["kinds"]) == {"weights", "logits", "loss", "gradients", "parameters"}
    for name, kind in line["kinds"].items():
        assert kind["error"] == 0 and kind["over"] == 0 and kind["over_tensors"] == [], name
        assert kind["tolerance"] == (0 if name == "weights" else pytest.approx(1e-4))
    assert done.stdout.count("PASS") == 5 and "FAIL" not in done.stdout
    # nothing but the outcome is left
    left = [name for name in call.files() if not name.startswith("_bench/logs/")]
    assert left == ["_bench", "_bench/.tokmark.lock", "_bench/checks.jsonl", "_bench/logs"]


def test_flags_of_run_reach_every_worker(call):
    wrap = call.folder / "wrap"
    wrap.write_text(f"#!/bin/sh\necho x >> '{call.folder}/started'\nexec \"$@\"\n")
    wrap.chmod(0o755)
    _, found = check(call, "--launch", str(wrap), "--seed", "5", others=[proxy()], code=0)
    assert [line["seed"] for line in found] == [5, 5] and (call.folder / "started").read_text() == "x\nx\n"


def test_colour_when_asked(call):
    assert "\x1b[32mPASS\x1b[0m" in check(call, "--color", "always", others=[proxy()], code=0)[0].stdout
    assert "\x1b" not in check(call, "--color", "never", others=[proxy()], code=0)[0].stdout


def test_lines_have_the_documented_fields(call):
    _, (_, line) = check(call, others=[proxy()], code=0)
    path = os.path.join(os.path.dirname(__file__), "..", "..", "docs", "records.md")
    with open(path, encoding="utf-8") as file:
        section = file.read().split("## Checks", 1)[1].split("\n## ", 1)[0]
    assert re.findall(r"^\| `(\w+)`", section, re.M) == list(line)


@pytest.mark.parametrize("mode, kinds", [("infer", {"logits", "loss", "weights"}),
                                         ("decode", {"logits", "loss", "weights"}),
                                         ("train", {"logits", "loss", "weights", "gradients"})])
def test_modes_give_what_they_can(call, mode, kinds):
    _, (_, line) = check(call, "--mode", mode, others=[proxy()], code=0)
    assert {name for name, kind in line["kinds"].items() if kind} == kinds


def test_weights_in_use_are_optional(call):
    _, (_, line) = check(call, others=[proxy("no-weights")], code=0)
    assert line["kinds"]["weights"] is None and line["kinds"]["gradients"]["over"] == 0


def test_what_an_engine_cannot_do_is_no_failure(call):
    done, got = check(call, "--precision", "fp32", "bf16", others=[proxy()], code=0)
    assert [(line["precision"], line["verdict"]) for line in got] == [
        ("fp32", "ok"), ("bf16", "unsupported"), ("fp32", "ok"), ("bf16", "unsupported")]
    assert "native bf16: unsupported: native runs fp32" in done.stdout
    _, got = check(call, others=["null"], code=4)
    assert got[-1]["verdict"] == "unsupported"
    _, got = check(call, engines=["null"], others=["native"], code=4)
    assert got[-1]["reasons"][0]["code"] == "no_reference"
    _, got = check(call, others=[proxy("synthetic")], code=4)
    assert got[-1]["reasons"][0]["code"] == "synthetic"


def test_lines_are_appended_and_a_torn_one_is_cut(call):
    check(call, others=["null"], code=4)
    with open(call.folder / "_bench" / "checks.jsonl", "a", encoding="utf-8") as file:
        file.write('{"schema":1,"run')
    done, got = check(call, others=["null"], code=4)
    assert len(got) == 4 and "cut a torn last line of 16 bytes" in done.stderr


# --- what fails ---

def perturbed(call, name, elements):
    """The weights that check makes, and a copy with 1 % more in some elements of one tensor."""
    call("check", "--engines", "native,null", *SMALL, "--keep", "--out", "kept", code=4)
    (folder,) = (call.folder / "kept").glob("check.*")
    path = folder / "weights.safetensors"
    tensors = Tensors(path)
    content = tensors.items[name][2]
    for index in range(len(content) // 4) if elements is None else elements:
        put_float(content, index, read_float(content, index) * 1.01)
    changed = call.folder / "changed.safetensors"
    tensors.write(changed)
    return path, changed


@pytest.mark.parametrize("elements", [None, [3]], ids=["a tensor", "one element"])
@pytest.mark.parametrize("name", ["lm_head.weight", "layers.0.attn.qkv_proj.weight", LAST, "layers.1.norm2.weight"])
def test_a_weight_that_is_one_percent_off_is_named(call, name, elements):
    path, changed = perturbed(call, name, elements)
    engine = proxy()
    done, got = check(call, "--weights", str(path), f"{engine}={changed}", others=[engine], code=1)
    line = got[-1]
    assert line["verdict"] == "invalid" and line["reasons"][0]["code"] == "over_tolerance"
    assert line["weights_hash"] != line["reference"]["weights_hash"]
    weights = line["kinds"]["weights"]
    assert weights["over"] == 1 and weights["worst"] == name
    assert weights["error"] == pytest.approx(0.01, rel=1e-3)
    assert f"weights     {name}: 1.0e-02" in done.stdout and "FAIL" in done.stdout
    if elements is None:
        assert line["kinds"]["gradients"]["over"] > 0


def test_the_same_without_weights_in_use_fails_by_what_is_computed(call):
    path, changed = perturbed(call, "layers.0.moe.experts.1.ffn.w3.weight", None)
    engine = proxy("no-weights")
    _, got = check(call, "--weights", str(path), f"{engine}={changed}", others=[engine], code=1)
    assert got[-1]["kinds"]["weights"] is None and got[-1]["kinds"]["logits"]["over"] == 1


def test_one_wrong_gradient_is_named(call):
    done, got = check(call, others=[proxy("zero", f"grad.{LAST}")], code=1)
    gradients = got[-1]["kinds"]["gradients"]
    assert gradients["over_tensors"] == [{"tensor": LAST, "error": 1.0}]
    assert "1 of" in got[-1]["reasons"][0]["text"] and f"gradients   {LAST}: 1.0e+00" in done.stdout


@pytest.mark.parametrize("fault, verdict, code, text", [
    (["no-output"], "invalid", "bad_output", "No such file"),
    (["garbage-output"], "invalid", "bad_output", "cannot be read"),
    (["cut-output"], "invalid", "bad_output", "truncated"),
    (["fifo"], "invalid", "bad_output", "not a file"),
    (["nan", "logits"], "invalid", "nonfinite", "'logits' holds 1 of"),
    (["inf", "grad." + LAST], "invalid", "nonfinite", LAST),
    (["nan", "weight." + LAST], "invalid", "nonfinite", "weight." + LAST),
    (["shape", "logits"], "invalid", "bad_output", "[2, 8, 64] is due"),
    (["dtype", "loss"], "invalid", "bad_output", "'loss' as I32"),
    (["drop", "grad." + LAST], "invalid", "bad_output", f"did not write 'grad.{LAST}'"),
    (["drop", "weight." + LAST], "invalid", "bad_output", f"did not write 'weight.{LAST}'"),
    (["params"], "invalid", "params_mismatch", "the preset"),
    (["hang"], "timeout", "timeout_check", "during check"),
    (["exit"], "crashed", "exited", "exit"),
    (["garbage"], "protocol_error", "bad_message", "during check"),
    (["error", "oom"], "oom", "out_of_memory", "as asked"),
    (["error", "model"], "invalid", "model_error", "as asked"),
    (["error", "internal"], "crashed", "worker_error", "as asked"),
])
def test_a_hostile_worker_is_a_clear_line(call, fault, verdict, code, text):
    _, got = check(call, "--timeout", "3s", others=[proxy(*fault)], code=1)
    assert [line["verdict"] for line in got] == ["ok", verdict]
    assert got[1]["reasons"][0]["code"] == code and text in got[1]["reasons"][0]["text"]
    if fault == ["exit"]:
        said = [line for line in got[1]["log_tail"].splitlines() if not line.startswith("==")]  # a sanitizer may have more to say
        assert said[-1].endswith("last words")


def test_a_hostile_reference_fails_itself_and_spares_the_others(call):
    done, got = check(call, engines=[proxy("nan", "logits")], others=["native"], code=1)
    assert [line["verdict"] for line in got] == ["invalid", "unsupported"]
    assert got[1]["reasons"][0]["code"] == "no_reference"
    assert "reference" not in done.stdout.splitlines()[1]


def test_a_program_that_is_not_there(call):
    _, got = check(call, others=["exec:./nothing_here"], code=1)
    assert got[1]["verdict"] == "crashed" and got[1]["reasons"][0]["code"] == "start_failed"


# --- the folder ---

def test_a_folder_has_one_writer(call):
    held = call.start("check", "--engines", "native", proxy("hang"), *SMALL)
    wait_until((call.folder / "_bench" / "checks.jsonl").exists, held)
    done = call("check", "--engines", "native,null", *SMALL, code=5)
    assert "is being written by process" in done.stderr
    held.send_signal(signal.SIGINT)
    held.wait()


def test_an_interrupt_leaves_whole_lines_and_no_files(call):
    process = call.start("check", "--engines", "native", proxy("hang"), *SMALL)
    wait_until((call.folder / "_bench" / "logs" / "check.exec.fp32.log").exists, process)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate()
    assert process.returncode == 130
    assert [line["verdict"] for line in lines(call)] == ["ok", "interrupted"]
    assert "interrupted" in out and not list((call.folder / "_bench").glob("check.*"))


def test_a_full_disk_is_said(call):
    done = call.limited(20000, "check", "--engines", "native,null", *SMALL)
    assert done.returncode == 5 and "cannot write what is compared to" in done.stderr
    assert not list((call.folder / "_bench").glob("check.*"))


def test_keep_leaves_what_was_compared(call):
    done = call("check", "--engines", "native", proxy(), *SMALL, "--keep", code=0)
    (folder,) = (call.folder / "_bench").glob("check.*")
    assert str(folder) in done.stdout
    names = {"inputs", "weights", "0.fp32", "1.fp32"}
    assert {path.name for path in folder.iterdir()} == {f"{name}.safetensors" for name in names}


def test_checks_go_into_the_archive(call):
    check(call, others=["null"], code=4)
    call("run", "--engine", "null", "--steps", "3", "--mode", "infer", "--zip", code=0)
    with zipfile.ZipFile(call.folder / "_bench.zip") as archive:
        assert "_bench/checks.jsonl" in archive.namelist()


# --- wrong usage ---

@pytest.mark.parametrize("line, wanted", [
    ("", "--engines native,pytorch"),
    ("--engines", "--engines needs a value"),
    ("--engines native", "nothing to be compared with"),
    ("--engines native,native", "twice"),
    ("--engines native pytorhc", "'pytorch'"),
    ("--engines native,", "there are native, "),
    ("--engines native exec:", "exec:./my_worker"),
    ("--engines native,null --precision bf61", "'bf16'"),
    ("--engines native,null --precision int8", "unknown value"),
    ("--engines native,null --mode trian", "'train'"),
    ("--engines native,null --model superinteligence", "'superintelligence'"),
    ("--engines native,null --set layer_count=2", "layers_count"),
    ("--engines native,null --set layers_count", "layers_count=2"),
    ("--engines native,null --weights missing.safetensors", "missing.safetensors"),
    ("--engines native,null --weights null=missing.safetensors", "'missing.safetensors'"),
    ("--engines native,null --device cup", "'cpu'"),
    ("--engines native,null --device null=cup", "'cpu'"),
    ("--engines native,null --seq 0", "smallest is 1"),
    ("--engines native,null --batch 1-3", "whole number"),
    ("--engines native,null --train-steps 2 --mode infer", "--mode train"),
    ("--engines native,null --launch 'a", "not closed"),
    ("--engines native,null --out .", "_bench"),
    ("--engine native", "'--engines'"),
])
def test_wrong_usage(call, line, wanted):
    done = call("check", *line.split(), code=2)
    assert done.stdout == "" and done.stderr.count("\n") == 1
    assert done.stderr.startswith("tokmark check") and wanted in done.stderr, done.stderr
    assert call.files() == []

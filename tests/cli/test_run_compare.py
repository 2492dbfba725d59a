"""`tokmark run --compare BASE [--gate PCT]`, and the examples for CI systems that use it."""
import json
import os
import re
import shutil
import subprocess
import xml.etree.ElementTree as xml

import pytest

from caller import CALM, ROOT, THIN, TOKMARK, program

# So wide a gate that a busy machine's noise is within it.
WIDE = ["--gate", "900"]
TINY = ["--engine", "native", "--model", "superintelligence-tiny", *THIN, "--mode", "infer", "--seq", "8",
        "--batch", "1", "--steps", "60", "--warmup", "5", "--device", "cpu", *CALM]


# On a busy machine samples may say too little to decide: then once more.
TRIES = 6


def run(folder, *words, code=0):
    for _ in range(TRIES):
        done = subprocess.run([TOKMARK, "run", *TINY, *words], cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode != 3 or code == 3:
            break
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done.stdout + done.stderr


def scale(folder, factor):
    """The results of a folder, as if the machine had been that much slower."""
    path = folder / "bench_results.jsonl"
    records = [json.loads(text) for text in path.read_text().splitlines()]
    for record in records:
        for name in ("ms_p50", "ms_p50_low", "ms_p50_high", "ms_per_step"):
            record[name] = record[name] and record[name] * factor
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


@pytest.fixture(name="base", scope="module")
def make_base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    for _ in range(TRIES):
        shutil.rmtree(folder / "base", ignore_errors=True)
        run(folder, "--out", "base")
        record = json.loads((folder / "base" / "bench_results.jsonl").read_text())
        if record["ms_p50_low"] is not None:
            break
    return folder / "base"


def test_a_run_is_compared_and_gated_in_one_call(tmp_path, base):
    text = run(tmp_path, "--compare", str(base), *WIDE)
    assert "1 the same" in text and "gate 900 %: passed" in text and text.index("bench_results.jsonl") < text.index("ms_p50, ms")
    shutil.copytree(base, tmp_path / "fast")
    scale(tmp_path / "fast", 0.001)
    assert "gate 900 %: failed" in run(tmp_path, "--compare", "fast", *WIDE, "--out", "other", code=1)
    # Without a gate the exit code is the run's, also where the samples say too little.
    assert any("1 worse" in run(tmp_path, "--compare", "fast", "--out", f"more-{number}") for number in range(TRIES))


def test_of_a_folder_with_older_runs_the_new_one_counts(tmp_path, base):
    run(tmp_path, "--out", "out")
    scale(tmp_path / "out", 1000)
    assert "1 the same" in run(tmp_path, "--out", "out", "--compare", str(base), *WIDE)


def test_what_cannot_be_decided_is_no_pass(tmp_path, base):
    assert "no base to compare with" in run(tmp_path, "--compare", "nowhere", *WIDE, code=3)
    assert "seed: 0, now 7" in run(tmp_path, "--compare", str(base), "--seed", "7", "--out", "other", *WIDE, code=3)
    assert "five samples or fewer" in run(tmp_path, "--compare", str(base), "--steps", "4", "--out", "few", *WIDE, code=3)
    # A first run has no base, and without a gate that is no fault.
    run(tmp_path, "--compare", "nowhere", "--out", "first")


def test_wrong_words_start_nothing(tmp_path):
    for words, text in ((["--gate", "3"], "needs --compare"), (["--compare", "-"], "standard input"), (["--compare", "baseline:../x"], "no name")):
        assert text in run(tmp_path, *words, code=2)
        assert os.listdir(tmp_path) == []


# --- the examples for CI ---

def scripts(path):
    """The shell of a workflow: blocks `run: |` of GitHub, lists `script:` of GitLab."""
    with open(path, encoding="utf-8") as file:
        lines = file.read().splitlines()
    block, indent = [], None
    for text in [*lines, "end"]:
        deep = len(text) - len(text.lstrip())
        if indent is not None and (not text.strip() or deep > indent):
            block.append(text)
            continue
        if block:
            yield "\n".join(re.sub(r"^\s*(- )?", "", one) for one in block if one.strip() and not one.strip().startswith("#"))
        is_start = re.fullmatch(r"\s*(- )?(run: \||(after_)?script:)", text)
        block, indent = [], deep if is_start else None


FILES = ["github-actions.yml", "gitlab-ci.yml"]


@pytest.mark.parametrize("name", FILES)
def test_the_ci_examples_run(tmp_path, base, name):
    """Every shell block of the file, one after the other, in one folder, with the program and few steps in place of what takes long."""
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    os.symlink(program("tokmark"), bin_folder / "tokmark")
    # Commands of the CI system itself are recorded only.
    for tool in ("git", "make", "gh", "curl"):
        (bin_folder / tool).write_text(f"#!/bin/sh\necho {tool} \"$@\" >> '{tmp_path}/called'\n")
        (bin_folder / tool).chmod(0o755)
    shutil.copytree(base, tmp_path / "base")
    found = list(scripts(os.path.join(ROOT, "examples", "ci", name)))
    assert found and any("tokmark run" in text for text in found) and any("markdown" in text for text in found)
    env = {**os.environ, "PATH": f"{bin_folder}:{os.environ['PATH']}", "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
           "TOKMARK_FLAGS": " ".join([*TINY, "--steps", "60"]), "GATE": "900", "PR": "1", "CI_MERGE_REQUEST_IID": "1", "CI_API_V4_URL": "http://x",
           "CI_PROJECT_ID": "1", "TOKMARK_TOKEN": "t"}
    for _ in range(TRIES):
        shutil.rmtree(tmp_path / "new", ignore_errors=True)  # of a try that decided nothing; the base may be what said too little
        for text in found:
            done = subprocess.run(["bash", "-euo", "pipefail", "-c", text], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                break
        if done.returncode != 3:
            break
    assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
    assert (tmp_path / "comment.md").read_text().rstrip().endswith("-->")
    assert xml.parse(tmp_path / "gate.xml").find("testsuite").get("failures") == "0"


@pytest.mark.parametrize("name", FILES)
def test_the_ci_examples_are_yaml_and_use_flags_that_exist(name):
    path = os.path.join(ROOT, "examples", "ci", name)
    for text in scripts(path):
        for line in re.sub(r"\\\n", " ", text).splitlines():
            for command in re.findall(r"tokmark (run|compare) ([^|&;]*)", line):
                known = subprocess.run([TOKMARK, command[0], "--help"], capture_output=True, text=True, check=True).stdout
                assert all(f"{flag} " in known or f"{flag}\n" in known for flag in re.findall(r"--[a-z][a-z-]+", command[1])), command

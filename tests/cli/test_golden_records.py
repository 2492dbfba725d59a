"""Records stay as they were, byte by byte: names, order, types, values and reasons for nulls.

tests/golden/records holds what an earlier program wrote for sandbox sweeps and for workers that
replay transcripts (NAME.jsonl). What the machine or the moment decides is masked where it is known.
Fields that came later stand behind and are looked at only for that.

`python3 tests/cli/test_golden_records.py BINARY` writes the golden files anew.
"""
import json
import os
import subprocess
import sys
import tempfile

from waiting import TIMEOUT_S

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
GOLDEN = os.path.join(ROOT, "tests", "golden", "records")
MASK = "*"
# Clocks, the machine, the build, the folder.
MASKED = set(
    "run_id started_at environment_id environment harness command start_ms harness_ms maxrss_mb "
    "cpu_user_s cpu_system_s context_switches harness_outside_ms harness_percent "
    "harness_cpu_percent pace_ms pace_percent cpu_throttles foreign_cpu_percent history_id "
    "log_tail cell_id policy_id".split())
MACHINE = set("pace_ms pace_percent cpu_throttles foreign_cpu_percent context_switches harness_ms".split())
REPLAYED = ("full synthetic silent zeros gaps not_opened other_precision").split()
SWEEPS = {
    "sandbox_steps": "--engine sandbox --model superintelligence-tiny --device cpu --mode train infer decode"
                     " --precision fp32 bf16 --seq 32 64 --batch 2 --trials 2 --steps 40 --warmup 3",
    "sandbox_auto": "--engine sandbox --model superintelligence-190m --device cpu --sync block --seq 128",
    "sandbox_device": "--engine sandbox --device cuda:0 --mode train --precision tf32 --seq 128 --batch 1 2048",
}


def call(binary, arguments, folder):
    env = {**os.environ, "HOME": folder, "XDG_DATA_HOME": os.path.join(folder, "data")}
    out = os.path.join(folder, "out")
    run = subprocess.run([binary, "run", *arguments, "--out", out], cwd=folder, env=env, text=True,
                         capture_output=True, check=False, timeout=TIMEOUT_S)
    path = os.path.join(out, "bench_results.jsonl")
    assert os.path.exists(path), run.stderr
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def masked(record):
    reasons = record["null_reasons"]
    for name in MASKED & set(record):
        if record[name] is not None or (name in MACHINE and reasons[name] != "synthetic"):
            record[name] = MASK
            reasons.pop(name, None)
    return record


def records(binary, name):
    with tempfile.TemporaryDirectory() as folder:
        if name in SWEEPS:
            return [masked(r) for r in call(binary, SWEEPS[name].split(), folder)]
        worker = os.path.join(GOLDEN, "replay_worker.py")
        transcript = os.path.join(GOLDEN, name + ".transcript.json")
        engine = f"exec:{sys.executable} {worker} {transcript}"
        arguments = "--model superintelligence-tiny --device cpu --mode train --precision fp32 --seq 32 --batch 1" \
                    " --steps 20 --warmup 2 --pace off --history off --foreign-load off".split()
        found = [masked(r) for r in call(binary, ["--engine", engine, *arguments], folder)]
        for record in found:
            record["framework"] = MASK  # the worker's path
            record["notes"] = record["notes"].replace(GOLDEN, "")
        return found


def text_of(record):
    return json.dumps(record, indent=0)


def compare(name, binary):
    with open(os.path.join(GOLDEN, name + ".jsonl"), encoding="utf-8") as file:
        wanted = [json.loads(line) for line in file]
    got = records(binary, name)
    assert len(got) == len(wanted)
    for old, new in zip(wanted, got):
        names = [key for key in new if key in old]
        assert list(new)[: len(old) - 1] == list(old)[:-1], "a field is gone, or not behind the others"
        new["null_reasons"] = {k: v for k, v in new["null_reasons"].items() if k in old}
        assert text_of({key: new[key] for key in names}) == text_of(old)


VERDICTS = {"ok", "unsteady", "invalid", "unsupported", "oom", "timeout", "crashed", "protocol_error", "interrupted"}


def test_every_null_is_for_a_reason_that_the_table_of_facts_lists(golden):
    """And what is never null there is never null."""
    binary = os.environ["TOKMARK_BINARY"]
    run = subprocess.run([binary, "fields", "--format", "json"], text=True, capture_output=True, check=True)
    facts = {fact["name"]: fact for fact in map(json.loads, run.stdout.splitlines())}
    for record in records(binary, golden):
        assert list(record) == [*facts, "null_reasons"]
        for name, reason in record["null_reasons"].items():
            listed = facts[name]["null_reasons"]
            assert reason in {"not_measured", *listed} or ("verdict" in listed and reason in VERDICTS), name
            assert facts[name]["null_when"] != "never" or reason in {"no_sweep"}, name


def pytest_generate_tests(metafunc):
    if "golden" in metafunc.fixturenames:
        metafunc.parametrize("golden", [*SWEEPS, *REPLAYED])


def test_records_are_as_they_were(golden):
    compare(golden, os.environ["TOKMARK_BINARY"])


if __name__ == "__main__":
    for each in [*SWEEPS, *REPLAYED]:
        with open(os.path.join(GOLDEN, each + ".jsonl"), "w", encoding="utf-8") as file:
            for one in records(os.path.abspath(sys.argv[1]), each):
                file.write(json.dumps(one) + "\n")

"""`tokmark registry bridge`: entries in YAML registries, where every byte that is not an entry's stays.

python tests/cli/test_registry_bridge.py FIRST COUNT tries that many generated registries more.
"""
import json
import os
import subprocess
import sys

import pytest
import yaml

from registry_generator import Registry

TOKMARK = os.environ.get("TOKMARK_BINARY", "build/tokmark")
RELEASE = os.environ.get("TOKMARK_RELEASE_BINARY", TOKMARK)
ENTRY = b"""- id: metric:fp_train_tps
  name: Tokens/sec (train)
  compare: higher_is_better
  source: benchmarks/bench_pytorch.py
  tags: [fuzzy-parakeet, v24.x, pytorch]
"""
VALUE = {"id": "metric:fp_train_tps", "name": "Tokens/sec (train)", "compare": "higher_is_better",
         "source": "benchmarks/bench_pytorch.py", "tags": ["fuzzy-parakeet", "v24.x", "pytorch"]}
RECORD = {"framework": "pytorch", "device": "cpu", "precision": "fp32", "mode": "train", "seq_len": 128, "batch_size": 1, "steps": 30,
          "tokens_per_step": 128, "ms_per_step": 2.5, "tokens_per_sec": 51200.0, "mem_alloc_mb": None, "mem_reserved_mb": None,
          "peak_mem_mb": None, "params_millions": 1.5, "notes": "", "schema": 1, "run_id": "r0000000000000001",
          "cell_id": "h0123456789abcdef", "policy_id": "hfedcba9876543210", "trial": 0, "started_at": "2026-01-02T03:04:05.678Z",
          "verdict": "ok", "synthetic": False}


def bridge(into, *words, code=0, records=None):
    text = None if records is None else "".join(json.dumps(record) + "\n" for record in records)
    run = subprocess.run([TOKMARK, "registry", "bridge", *(["-"] if records is not None else []), "--into", str(into), *words],
                         input=text, capture_output=True, text=True, check=False)
    assert run.returncode == code, (run.stdout, run.stderr)
    return run


def load(content):
    return list(yaml.load_all(content.decode("utf-8-sig"), Loader=yaml.BaseLoader))


def state(path):
    """What a writer would change; the time of the last reading is not."""
    info = path.stat()
    return info.st_ino, info.st_size, info.st_mtime_ns, info.st_mode


@pytest.fixture
def registry(tmp_path):
    return tmp_path / "registry.yaml"


def change(registry, content, *words, records=None):
    """The content afterwards; a second time nothing is touched."""
    registry.write_bytes(content)
    bridge(registry, *words, records=records)
    after, seen = registry.read_bytes(), state(registry)
    bridge(registry, *words, records=records)
    assert state(registry) == seen
    return after


def test_the_published_entry_is_the_default(registry):
    bridge(registry)
    assert registry.read_bytes() == ENTRY
    assert change(registry, b"# metrics of ours\n\n") == b"# metrics of ours\n\n" + ENTRY
    assert change(registry, b"# metrics of ours") == b"# metrics of ours\n" + ENTRY
    assert change(registry, b"") == ENTRY


def test_it_goes_in_behind_what_is_there_byte_for_byte(registry):
    before = (b"# ours\r\n- id: a  # first\r\n  tags: [x,   'y']\r\n\r\n- id: \"b\"\r\n  text: >-\r\n    folded\r\n    on\r\n"
              b"  # of b\r\n# the end\r\n")
    at = before.index(b"# the end")
    assert change(registry, before) == before[:at] + ENTRY.replace(b"\n", b"\r\n") + before[at:]


@pytest.mark.parametrize("before, after", [
    (b"metrics: []\n", b"metrics:\n"), (b"metrics: [ ] # none yet\nz: 1\n", b"metrics:  # none yet\n@z: 1\n"), (b"a: 1\nmetrics:\n", None),
    (b"metrics: ~\nb: 2", b"metrics:\n@b: 2"), (b"metrics:", b"metrics:\n@"), (b"a:\n  metrics: []\n", b"a:\n  metrics:\n"),
    (b"metrics: &all []\n", b"metrics: &all\n")])
def test_an_empty_list_gets_its_first_entry(registry, before, after):
    key = "a.metrics" if before.startswith(b"a:\n") else "metrics"
    indent = b"    " if key == "a.metrics" else b"  "
    entry = b"".join(indent + line for line in ENTRY.splitlines(keepends=True))
    after = before if after is None else after
    got = change(registry, before, "--key", key)
    assert got == (after.replace(b"@", entry) if b"@" in after else after + entry)


def test_an_empty_document_that_is_a_list(registry):
    assert change(registry, b"[]\n") == ENTRY
    assert change(registry, b"--- []\n") == b"---\n" + ENTRY


def test_a_list_in_brackets_gets_an_entry_in_braces(registry):
    got = change(registry, b"metrics: [{id: a}, {id: b} # last\n  ]\n")
    assert load(got) == [{"metrics": [{"id": "a"}, {"id": "b"}, VALUE]}]
    got = change(registry, b'{"metrics": [\n  {"id": "a"},\n  {"id": "b"}\n]}\n')
    assert json.loads(got) == {"metrics": [{"id": "a"}, {"id": "b"}, VALUE]}
    got = change(registry, b'{"metrics": []}', "--key", "metrics")
    assert json.loads(got) == {"metrics": [VALUE]}


@pytest.mark.parametrize("start", range(0, 400, 100))
def test_generated_registries_keep_every_byte(tmp_path, start):
    counts = try_generated(tmp_path / "registry.yaml", start, 100)
    assert counts["changed"] >= 85, "few may be refused"


def try_generated(registry, first, count):
    """Each is its old bytes with one piece put in, and its old values with one more; or refused, untouched."""
    counts = {"changed": 0, "refused": 0}
    for seed in range(first, first + count):
        one = Registry(seed)
        try:
            before = load(one.text)
        except yaml.YAMLError:
            continue
        registry.write_bytes(one.text)
        run = subprocess.run([TOKMARK, "registry", "bridge", "--into", str(registry)], capture_output=True, text=True, check=False)
        after = registry.read_bytes()
        if run.returncode != 0:
            assert run.returncode == 2 and after == one.text and "stays as it is" in run.stderr, (seed, run.stderr)
            counts["refused"] += 1
            continue
        same = next((i for i, pair in enumerate(zip(one.text, after)) if pair[0] != pair[1]), len(one.text))
        assert any(after.endswith(one.text[i:]) and after.startswith(one.text[:i]) for i in range(same, -1, -1)), seed
        entry = ENTRY.replace(b"\n", one.line_end.encode())
        assert entry in after.replace(b"\n      ", b"\n").replace(b"\n    ", b"\n") or b"  name: Tokens/sec (train)" in after, seed
        found = before[one.document]
        for key in one.path:
            found = found[key]
        found.append(VALUE)
        assert load(after) == before, seed
        # With sanitizers this would be half the time of the test; change() has them look at such calls.
        seen = state(registry)
        subprocess.run([RELEASE, "registry", "bridge", "--into", str(registry)], capture_output=True, check=True)
        assert state(registry) == seen, seed
        counts["changed"] += 1
    return counts


@pytest.mark.parametrize("before, after", [
    ("- id: metric:fp_train_tps # it\n  name: Old name   # said\n  owner: me\n# end\n",
     "- id: metric:fp_train_tps # it\n  name: Tokens/sec (train)   # said\n  owner: me\n  compare: higher_is_better\n"
     "  source: benchmarks/bench_pytorch.py\n  tags: [fuzzy-parakeet, v24.x, pytorch]\n# end\n"),
    ("- {id: metric:fp_train_tps, name: 'Old', tags: [mine]}\n",
     "- {id: metric:fp_train_tps, name: 'Tokens/sec (train)', tags: [mine, fuzzy-parakeet, v24.x, pytorch], compare: higher_is_better, "
     "source: benchmarks/bench_pytorch.py}\n"),
    ("- name: >\n    Old\n    name\n\n  tags:\n  - pytorch # kept\n  - v24.x\n  id: metric:fp_train_tps\n  source: \"old\"\n  compare:\n",
     "- name: Tokens/sec (train)\n\n  tags:\n  - pytorch # kept\n  - v24.x\n  - fuzzy-parakeet\n  id: metric:fp_train_tps\n"
     "  source: \"benchmarks/bench_pytorch.py\"\n  compare: higher_is_better\n"),
    ("- other: &s x\n- source: *s\n  tags: []\n  id: metric:fp_train_tps\n",
     "- other: &s x\n- source: benchmarks/bench_pytorch.py\n  tags: [fuzzy-parakeet, v24.x, pytorch]\n  id: metric:fp_train_tps\n"
     "  name: Tokens/sec (train)\n  compare: higher_is_better\n")])
def test_an_entry_that_is_there_is_updated_in_place(registry, before, after):
    assert change(registry, before.encode()).decode() == after


@pytest.mark.parametrize("content, says", [
    (b"a: [1\nb: 2\n", "line 2"), (b"- id: a\n\tname: b\n", "line 2"), (b"- id: \xff\n", "UTF-8"), (b"\xff\xfe-\0", "UTF-16"),
    (b"a:\n- id: x\nb:\n- id: y\n", "--key"), (b"a: 1\n", "--key"), (b"just text\n", "--key"), (b"- 1\n- 2\n", "--key"),
    (b"- id: metric:fp_train_tps\n- id: metric:fp_train_tps\n", "lines 1 and 2"),
    (b"- id: metric:fp_train_tps\n  name: a\n  name: b\n", "2 times"),
    (b"a: &all\n- id: x\nb: *all\n", "alias"), (b"- &x\n  id: metric:fp_train_tps\n- *x\n", "metric:fp_train_tps"),
    (b"- id: metric:fp_train_tps\n  name: &n old\n- id: b\n  name: *n\n", "alias"),
    (b"- id: metric:fp_train_tps\n  name: !!str old\n", "tag"), (b"- id: metric:fp_train_tps\n  name: [a]\n", "no text"),
    (b"- id: metric:fp_train_tps\n  tags: a, b\n", "no list"), (b"- id: metric:fp_train_tps\n  name: | # why\n    a\n", "comment"),
    (b"- id: a\n  text: |\n    last", "without a line end"), (b"- id: a\n---\n- id: b\n", "--key"),
    (b"- source: *s\n  id: metric:fp_train_tps\n- other: &s x\n", "anchor"), (b"&s x\n---\n- id: *s\n", "anchor"),
    (b"[" * 200 + b"]" * 200, "nested")])
def test_what_cannot_be_changed_safely_is_refused_untouched(registry, content, says):
    registry.write_bytes(content)
    before = state(registry)
    run = bridge(registry, code=2)
    assert says in run.stderr and "stays as it is" in run.stderr, run.stderr
    assert registry.read_bytes() == content and state(registry) == before


@pytest.mark.parametrize("key, says", [("metrisc", "'metrics'"), ("version", "no list"), ("metrics.x", "no key")])
def test_a_key_that_leads_to_no_list(registry, key, says):
    registry.write_text("version: 1\nmetrics:\n- id: a\n")
    assert says in bridge(registry, "--key", key, code=2).stderr


def test_templates_name_entries(registry):
    records = [RECORD, {**RECORD, "mode": "infer", "precision": "bf16", "framework": "jax"}]
    bridge(registry, "--id-template", "{engine}/{mode}/{field}/{precision}/s{seq_len}", "--name-template", "{{x}} {title}: {unit}",
           "--source-template", "ci", "--metric", "tokens_per_sec", "ms_per_step", "--tags", "yes", "a b", "{device}, {mode}", records=records)
    got = yaml.safe_load(registry.read_text())
    assert [entry["id"] for entry in got] == ["pytorch/train/tokens_per_sec/fp32/s128", "pytorch/train/ms_per_step/fp32/s128",
                                              "jax/infer/tokens_per_sec/bf16/s128", "jax/infer/ms_per_step/bf16/s128"]
    assert [entry["compare"] for entry in got] == ["higher_is_better", "lower_is_better"] * 2
    assert got[0] == {"id": "pytorch/train/tokens_per_sec/fp32/s128", "name": "{x} Tokens/sec: tokens/s", "compare": "higher_is_better",
                      "source": "ci", "tags": ["yes", "a b", "cpu, train"]}


def test_results_decide_the_entries(registry):
    records = [RECORD, {**RECORD, "mode": "decode", "verdict": "oom", "tokens_per_sec": None}, {**RECORD, "framework": "jax"},
               {**RECORD, "mode": "infer", "verdict": "unsteady"}, {**RECORD, "framework": "native-sandbox", "synthetic": True}]
    run = bridge(registry, records=records)
    assert "1 stayed out: sandbox (--include sandbox); 1 stayed out: unsteady" in run.stdout
    got = yaml.safe_load(registry.read_text())
    assert registry.read_bytes().startswith(ENTRY) and [entry["id"] for entry in got] == ["metric:fp_train_tps", "metric:fp_train_tps_jax"]
    assert got[1]["source"] == "benchmarks/bench_jax.py"
    bridge(registry, "--include", "unsteady", "sandbox", "--engine", "pytorch", "native", records=records)
    assert [entry["id"] for entry in yaml.safe_load(registry.read_text())[2:]] == ["metric:fp_infer_tps", "metric:fp_train_tps_native"]
    bridge(registry, "--metric", "all", "--mode", "infer", "--include", "unsteady", records=records)
    assert "metric:fp_infer_ms_per_step" in registry.read_text()


def test_a_source_without_records_is_no_error_and_one_without_any_that_can_be_read_is(registry):
    assert "0 entries added" in bridge(registry, records=[]).stdout
    (registry.parent / "words.jsonl").write_text("no record\n")
    assert "words.jsonl" in bridge(registry, str(registry.parent / "words.jsonl"), code=4).stderr
    assert not registry.exists()


def test_the_newest_value_is_written(registry):
    old = {**RECORD, "started_at": "2026-01-01T00:00:00.000Z", "tokens_per_sec": 1.0}
    new = {**RECORD, "started_at": "2026-02-01T00:00:00.000Z", "tokens_per_sec": 60000.5, "run_id": "r0000000000000002"}
    registry.write_bytes(b"# ours\n" + ENTRY)
    bridge(registry, "--value", records=[new, old])
    assert registry.read_bytes() == b"# ours\n" + ENTRY + (b"  value: 60000.5\n  unit: tokens/s\n  measured_at: \"2026-02-01T00:00:00.000Z\"\n"
                                                         b"  run_id: r0000000000000002\n  cell_id: h0123456789abcdef\n")
    seen = state(registry)
    bridge(registry, "--value", records=[old])
    assert state(registry) == seen, "an older result does not replace a newer one"
    newest = {**new, "started_at": "2026-03-01T00:00:00.000Z", "tokens_per_sec": 2.0, "cell_id": "h0000000000000000"}
    run = bridge(registry, "--value", records=[new, newest])
    assert "one of several cells" in run.stderr and "{seq_len}" in run.stderr
    assert yaml.safe_load(registry.read_text())[0]["value"] == 2.0


def test_a_dry_run_shows_the_difference(registry):
    registry.write_bytes(b"- id: a\n- id: b\n")
    seen = state(registry)
    lines = bridge(registry, "--dry-run").stdout.splitlines()
    assert lines[2:] == ["@@ -1,2 +1,7 @@", " - id: a", " - id: b", *("+" + line for line in ENTRY.decode().splitlines()),
                         f"{registry}: 1 entry would be added, 0 updated, 0 already there"]
    assert state(registry) == seen
    registry.unlink()
    bridge(registry, "--dry-run")
    assert not registry.exists()


@pytest.mark.parametrize("words, says", [
    (["--value"], "needs results"), (["--metric", "tokens_per_sek"], "tokens_per_sec"), (["--metric", "seq_len"], "no metric"),
    (["--id-template", "{metrik}"], "metric"), (["--id-template", "{metric"], "brace"), (["--name-template", "{precision}"], "results"),
    (["--id-template", ""], "empty")])
def test_what_cannot_be_asked_for_is_told(registry, words, says):
    assert says in bridge(registry, *words, code=2).stderr
    assert not registry.exists()


if __name__ == "__main__":
    from pathlib import Path
    from tempfile import TemporaryDirectory
    with TemporaryDirectory() as folder:
        print(try_generated(Path(folder) / "registry.yaml", int(sys.argv[1]), int(sys.argv[2])))

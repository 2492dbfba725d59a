"""`tokmark export`: which records go into a form of another program, how it is written, and the forms that are files."""
import contextlib
import json
import re
import sqlite3
import struct
import subprocess

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_prometheus
from tensorboard.backend.event_processing import event_accumulator
from tensorboard.compat.proto import event_pb2
from tensorboard.util import tensor_util

import export_sources
from export_sources import HOSTILE, RECORD, TOKMARK, cell, export, hostile, line
from ports import free_port

STREAMS = [name for name in export_sources.NAMES if "standard output" in export_sources.FORMATS.split(f"{name}\n", 1)[1].split("to: ", 1)[1].split("\n", 1)[0]]


def text_args(form):
    """github-action-benchmark has one direction a file."""
    return ["--fields", "tokens_per_sec"] if form == "github-action-benchmark" else []


def samples(text, read=read_prometheus):
    """{name: {labels as sorted pairs: value}}"""
    found = {}
    for family in read(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def rates(stdin, *more, **options):
    """tokens/s of a stream of records by cell and trial, as Prometheus would read them."""
    found = samples(export("prometheus", "-", *more, stdin=stdin, **options).stdout).get("tokmark_tokens_per_second", {})
    return {(dict(labels)["cell_id"][-1], dict(labels)["trial"]): value for labels, value in found.items()}


# --- which records ---

def test_what_stays_out_is_said_and_comes_in_when_asked(tmp_path):
    source = tmp_path / "r.jsonl"
    source.write_text(cell(1) + cell(2, verdict="unsteady") + cell(3, synthetic=True, framework="native-sandbox") + cell(4, verdict="invalid")
                      + cell(5, verdict="oom", tokens_per_sec=None, ms_per_step=None, ms_p50=None, peak_mem_mb=None))
    run = export("bmf", source)
    assert len(json.loads(run.stdout)) == 1
    for text in ("1 stayed out: sandbox (--include sandbox)", "1 stayed out: invalid (--include invalid)",
                 "1 stayed out: unsteady (--include unsteady)", "1 without a result"):
        assert text in run.stderr
    run = export("bmf", source, "--include", "unsteady,sandbox", "invalid")
    assert len(json.loads(run.stdout)) == 4
    assert "stayed out" not in run.stderr


def test_nothing_to_export_changes_nothing(tmp_path):
    target = tmp_path / "old.prom"
    target.write_text("old\n")
    run = export("prometheus", "-", "--to", target, stdin=cell(1, verdict="unsteady"), code=4)
    assert "nothing was changed there" in run.stderr and "--include unsteady" in run.stderr
    assert target.read_text() == "old\n"
    assert export("bmf", "-", stdin="", code=4).stdout == ""
    # Cells that failed are news for a form that shows them, and none for one that holds values.
    failed = cell(1, verdict="crashed", tokens_per_sec=None)
    assert 'verdict="crashed"' in export("prometheus", "-", stdin=failed).stdout
    assert export("bmf", "-", stdin=failed, code=4).stdout == ""
    assert list(tmp_path.iterdir()) == [target]


def test_a_source_that_is_not_there_is_an_error(tmp_path):
    for to in ([], ["--to", tmp_path / "out"]):
        run = export("bmf", tmp_path / "no.jsonl", *to, code=5)
        assert "cannot read" in run.stderr and "nothing to export" not in run.stderr
    assert "cannot write" in export("bmf", "-", "--to", tmp_path / "no" / "out", stdin=line(), code=5).stderr


def test_the_newest_run_of_a_cell_counts_with_its_trials():
    old = cell(1, tokens_per_sec=1.0) + cell(1, tokens_per_sec=2.0, trial=1) + cell(2, tokens_per_sec=9.0)
    new = cell(1, tokens_per_sec=3.0, run_id="r2")
    assert rates(old) == {("1", "0"): 1.0, ("1", "1"): 2.0, ("2", "0"): 9.0}
    assert rates(old + new) == {("1", "0"): 3.0, ("2", "0"): 9.0}
    assert rates(old + new + cell(1, tokens_per_sec=4.0, run_id="r2", trial=1)) == {("1", "0"): 3.0, ("1", "1"): 4.0, ("2", "0"): 9.0}
    # A newer run that failed is what is known of the cell now.
    failed = cell(1, verdict="oom", run_id="r3", tokens_per_sec=None, ms_p50=None)
    assert rates(old + failed) == {("2", "0"): 9.0}


def test_several_sources_and_a_record_only_once(tmp_path):
    (tmp_path / "a.jsonl").write_text(cell(1) + cell(2))
    (tmp_path / "b.jsonl").write_text(cell(2) + cell(3))
    run = export("gobench", tmp_path / "a.jsonl", tmp_path / "b.jsonl", "-", stdin=cell(3) + cell(4))
    assert len(re.findall("^Benchmark", run.stdout, re.M)) == 4
    published = {key: RECORD[key] for key in list(RECORD)[:15]}
    (tmp_path / "c.csv").write_text(",".join(published) + "\n" + ",".join("" if v is None else str(v) for v in published.values()) + "\n")
    assert list(json.loads(export("bmf", tmp_path / "c.csv").stdout)) == ["native/-/cpu/fp32/train/s128/b4"]


def test_fields_are_numbers_of_the_table(tmp_path):
    source = tmp_path / "r.jsonl"
    source.write_text(line())
    assert set(json.loads(export("bmf", source, "--fields", "ms_p90,trial").stdout).popitem()[1]) == {"ms-p90", "trial"}
    for fields, text in (("ms_p51", "did you mean 'ms_p50'"), ("model", "'model' is a string; numbers are exported"),
                         ("ms_p50,ms_p50", "names 'ms_p50' twice"), ("ms_p50,", "no field is named ''")):
        assert text in export("bmf", source, "--fields", fields, code=2).stderr
    assert "takes no --fields" in export("gobench", source, "--fields", "ms_p50", code=2).stderr
    assert "neither more nor less" in export("github-action-benchmark", source, "--fields", "steps", code=2).stderr
    assert "two files" in export("github-action-benchmark", source, code=2).stderr
    assert "did you mean 'gobench'" in export("gobensh", source, code=2).stderr
    assert "needs a FORMAT" in export("bmf", code=2).stderr


# --- how it is written ---

@pytest.mark.parametrize("form", STREAMS)
def test_two_exports_are_the_same_bytes(form, tmp_path):
    source = tmp_path / "r.jsonl"
    source.write_text(hostile() + line(mode="infer"))
    first = export(form, source, *text_args(form)).stdout
    export(form, source, "--to", tmp_path / "out", *text_args(form))
    assert first == (tmp_path / "out").read_bytes().decode() == export(form, source, *text_args(form)).stdout
    assert first.endswith("\n") and "\r\n" not in first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "r.jsonl"]


@pytest.mark.parametrize("form", STREAMS)
def test_a_kill_in_the_middle_leaves_the_old_file(form, tmp_path):
    target = tmp_path / "out"
    target.write_text("old\n")
    with subprocess.Popen([TOKMARK, "export", form, "-", "--to", target, *text_args(form)], stdin=subprocess.PIPE,
                          stdout=subprocess.DEVNULL) as process:
        # More than is buffered anywhere: the first of it is written by now, and the rest never comes.
        process.stdin.write("".join(cell(number, mode="infer") for number in range(3000)).encode())
        process.stdin.flush()
        process.kill()
    assert target.read_text() == "old\n"


def test_a_full_disk_leaves_the_old_file(tmp_path):
    source, target = tmp_path / "r.jsonl", tmp_path / "out"
    source.write_text("".join(cell(number) for number in range(1000)))
    target.write_text("old\n")
    run = subprocess.run(["prlimit", "--fsize=50000:50000", TOKMARK, "export", "bmf", source, "--to", target], capture_output=True, check=False)
    assert run.returncode == 5, run
    assert target.read_text() == "old\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "r.jsonl"]


# --- Prometheus and OpenMetrics ---

def test_promtool_takes_every_field(tmp_path):
    table = subprocess.run([TOKMARK, "fields", "--format", "json"], capture_output=True, text=True, check=True).stdout
    names = [json.loads(row) for row in table.splitlines()]
    numbers = {field["name"]: 1.5 if field["type"] == "number" else 3 for field in names if field["type"] in ("number", "integer")}
    source = tmp_path / "r.jsonl"
    source.write_text(line(**{**numbers, "schema": 1}))
    text = export("prometheus", source, "--fields", ",".join(numbers)).stdout
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
    families = [name for name in samples(text) if name not in ("tokmark_cell_info", "tokmark_measured_timestamp_seconds")]
    assert len(families) == len(numbers), "two fields have one name"
    assert {"tokmark_step_p50_seconds", "tokmark_tokens_per_second", "tokmark_peak_mem_bytes", "tokmark_step_seconds"} <= set(families)


def test_values_are_in_base_units_and_labels_survive():
    text = export("prometheus", "-", stdin=hostile()).stdout
    found = samples(text)
    models = {dict(labels)["model"] for labels in found["tokmark_tokens_per_second"]}
    assert models == set(HOSTILE)
    assert set(found["tokmark_step_p50_seconds"].values()) == {0.0024}
    assert set(found["tokmark_peak_mem_bytes"].values()) == {12.5 * 2**20}
    assert set(found["tokmark_measured_timestamp_seconds"].values()) == {1767323045.678}
    labels = dict(next(iter(found["tokmark_cell_info"])))
    assert (labels["verdict"], labels["engine_version"], labels["harness"]) == ("ok", "1.2.3", "tokmark 0.1.0 (abc123def456)")
    # What readers of text files refuse: time stamps, another line end, a missing one.
    assert all(re.fullmatch(r"(#.*|.*\} [-0-9.e]+)", row) for row in text.split("\n")[:-1] if "\r" not in row)


def test_openmetrics_has_units_times_and_an_end(tmp_path):
    text = export("openmetrics", "-", stdin=hostile()).stdout
    assert {dict(labels)["model"] for labels in samples(text, read_openmetrics)["tokmark_tokens_per_second"]} == set(HOSTILE)
    families = {family.name: family for family in read_openmetrics(text)}
    assert families["tokmark_step_p50_seconds"].unit == "seconds"
    assert families["tokmark_cell"].type == "info"
    assert {float(sample.timestamp) for sample in families["tokmark_step_p50_seconds"].samples} == {1767323045.678}
    assert text.endswith("\n# EOF\n")
    # promtool takes it into a data base of Prometheus.
    (tmp_path / "om.txt").write_text(export("openmetrics", "-", stdin=cell(1) + cell(2)).stdout)
    done = subprocess.run(["promtool", "tsdb", "create-blocks-from", "openmetrics", tmp_path / "om.txt", tmp_path / "tsdb"], capture_output=True,
                          text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "tsdb").iterdir())) == 1


def test_node_exporter_reads_the_file(tmp_path):
    folder = tmp_path / "textfiles"
    folder.mkdir()
    export("prometheus", "-", "--to", folder / "tokmark.prom", stdin=hostile())
    port = free_port()
    with subprocess.Popen(["prometheus-node-exporter", f"--web.listen-address=127.0.0.1:{port}", "--collector.disable-defaults",
                           "--collector.textfile", f"--collector.textfile.directory={folder}"], stderr=subprocess.DEVNULL) as server:
        try:
            export_sources.await_answer(server, f"http://127.0.0.1:{port}/metrics")
            found = samples(export_sources.get(f"http://127.0.0.1:{port}/metrics"))
        finally:
            server.kill()
    assert list(found["node_textfile_scrape_error"].values()) == [0.0]
    assert {dict(labels)["model"] for labels in found["tokmark_tokens_per_second"]} == set(HOSTILE)


# --- files of other trackers ---

def test_github_action_benchmark_in_both_directions(tmp_path):
    export("github-action-benchmark", "-", "--to", f"{tmp_path}/data/", stdin=hostile())
    for name, metrics in (("customBiggerIsBetter", {"tokens_per_sec"}), ("customSmallerIsBetter", {"ms_p50", "peak_mem_mb"})):
        entries = json.loads((tmp_path / "data" / f"{name}.json").read_text())
        assert len({entry["name"] for entry in entries}) == len(entries) == len(HOSTILE) * len(metrics)
        for entry in entries:
            # The types that the action checks.
            assert set(entry) <= {"name", "value", "unit", "range", "extra"}
            assert isinstance(entry["value"], float) and all(isinstance(entry[key], str) for key in entry if key != "value")
            assert entry["name"].rsplit("/", 1)[1] in metrics and "\n" not in entry["name"]
    entry = json.loads(export("github-action-benchmark", "-", "--fields", "tokens_per_sec", stdin=line()).stdout)[0]
    assert entry == {"name": "native/gpt2-124m/cpu/fp32/train/s128/b4/h0123456789abcdef/tokens_per_sec", "unit": "tokens/s", "value": 204800.0,
                     "range": "± 5200", "extra": "95 % interval: 200000 to 210000\nengine_version: 1.2.3\nenvironment_id: h00000000000000e1"}


def test_bencher_metric_format():
    benchmarks = json.loads(export("bmf", "-", stdin=hostile()).stdout)
    assert len(benchmarks) == len(HOSTILE)
    for name, measures in benchmarks.items():
        assert 0 < len(name) <= 1024
        for slug, metric in measures.items():
            assert re.fullmatch("[a-z0-9]+(-[a-z0-9]+)*", slug) and len(slug) <= 64
            assert {"value"} <= set(metric) <= {"value", "lower_value", "upper_value"}
    long_names = "".join(cell(number, model="漢" * 2000) for number in range(3))
    names = list(json.loads(export("bmf", "-", stdin=long_names).stdout))
    assert len(names) == 3 and {len(name) for name in names} == {1024}
    assert json.loads(export("bmf", "-", stdin=line()).stdout).popitem()[1]["ms-p50"] == {"value": 2.4, "lower_value": 2.3, "upper_value": 2.6}


def read_gobench(text):
    """By the format's documentation: https://go.dev/design/14313-benchmark-format, and benchfmt's rules for names and units."""
    results, units = [], {}
    for row in text.split("\n"):
        if row.startswith("Unit "):
            _, unit, *pairs = row.split()
            units[unit] = dict(pair.split("=") for pair in pairs)
        elif row.startswith("Benchmark") and (len(row) == 9 or not row[9].islower()):
            name, iterations, *pairs = row.split()
            assert int(iterations) > 0 and pairs and len(pairs) % 2 == 0
            keys = dict(part.split("=", 1) for part in name.split("/")[1:])
            results.append((name.split("/")[0], keys, {unit: float(value) for value, unit in zip(pairs[::2], pairs[1::2])}))
        else:
            assert row == "" or re.match("[a-z][^A-Z ]*: ", row), row
    return results, units


def test_benchstat_reads_names_units_and_samples(tmp_path):
    results, units = read_gobench(export("gobench", "-", stdin=hostile()).stdout)
    assert units == {"tokens/s": {"better": "higher"}, "ns/op": {"better": "lower"}}
    assert [keys["seq"] for _, keys, _ in results] == [str(i + 1) for i in range(len(HOSTILE))]
    assert all(set(keys) == {"engine", "model", "device", "precision", "seq", "batch", "cell"} for _, keys, _ in results)
    assert results[0][2] == {"ns/op": 2500000.0, "tokens/s": 204800.0}
    # With raw samples beside the results, each is a line.
    folder = tmp_path / "results"
    (folder / "samples").mkdir(parents=True)
    values = [2000000 + 1000 * i for i in range(30)]
    (folder / "bench_results.jsonl").write_text(line(ms_p50=2.0145))
    (folder / "samples" / "h0123456789abcdef.0.jsonl").write_text(json.dumps(
        {"run_id": RECORD["run_id"], "phase": "steady", "block": 0, "set_aside": None, "sync": "step", "steps": 30, "window_ns": sum(values),
         "ns": values}, separators=(",", ":")) + "\n")
    results, _ = read_gobench(export("gobench", folder).stdout)
    assert [(name, value["ns/op"]) for name, _, value in results] == [("BenchmarkTrain", float(value)) for value in values]
    assert results[0][2]["tokens/s"] == 256000.0


# --- TensorBoard ---

def crc32c(data):
    """Bit by bit, from the polynomial."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def read_events(path):
    """Events of a file, by TensorBoard's own messages; every check sum must be right."""
    data, at, events = path.read_bytes(), 0, []
    while at < len(data):
        length, = struct.unpack_from("<Q", data, at)
        body = data[at + 12:at + 12 + length]
        for part, check in ((data[at:at + 8], data[at + 8:at + 12]), (body, data[at + 12 + length:at + 16 + length])):
            crc = crc32c(part)
            assert struct.unpack("<I", check)[0] == ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
        events.append(event_pb2.Event.FromString(body))
        at += 16 + length
    return events


def test_tensorboard_reads_each_cell(tmp_path):
    assert crc32c(b"123456789") == 0xE3069283
    board = tmp_path / "board"
    export("tensorboard", "-", "--to", board, stdin=hostile() + cell(1, model=HOSTILE[0], seq_len=1, run_id="r2", ms_p50=3.5,
                                                                     started_at="2026-01-03T00:00:00.000Z"))
    folders = sorted(board.iterdir())
    assert len(folders) == len(HOSTILE)
    assert all(re.fullmatch(r"[\w=-][\w.=-]*", folder.name, re.ASCII) for folder in folders)
    first, = [folder for folder in folders if folder.name.endswith("h0000000000000001")]
    path, = first.iterdir()
    assert "tfevents" in path.name
    events = read_events(path)
    assert events[0].file_version == "brain.Event:2"
    assert "Median step (ms)" in [value for event in events[1:] for value in event.summary.value if value.tag == "ms_p50"][0].metadata.summary_description
    found = event_accumulator.EventAccumulator(str(first)).Reload()
    assert "tokens_per_sec" in found.Tags()["scalars"] + found.Tags()["tensors"]
    points = [(event.step, event.wall_time, event.value) for event in found.Scalars("ms_p50")] if "ms_p50" in found.Tags()["scalars"] else [
        (event.step, event.wall_time, tensor_util.make_ndarray(event.tensor_proto).item()) for event in found.Tensors("ms_p50")]
    assert points == [(0, 1767323045.678, pytest.approx(2.4)), (1, 1767398400.0, 3.5)]
    # The same again replaces each file by the same bytes.
    before = {file: file.read_bytes() for folder in folders for file in folder.iterdir()}
    export("tensorboard", "-", "--to", board, stdin=hostile() + cell(1, model=HOSTILE[0], seq_len=1, run_id="r2", ms_p50=3.5,
                                                                     started_at="2026-01-03T00:00:00.000Z"))
    assert {file: file.read_bytes() for folder in board.iterdir() for file in folder.iterdir()} == before
    assert "needs --to DIR/" in export("tensorboard", "-", stdin=line(), code=2).stderr


# --- llama.cpp and PyTorch ---

# What compare-llama-bench.py joins two files by (LLAMA_BENCH_KEY_PROPERTIES): in SQL, where null is equal to nothing.
LLAMA_KEYS = """cpu_info gpu_info backends n_gpu_layers tensor_buft_overrides model_filename model_type n_batch n_ubatch embeddings cpu_mask
    cpu_strict poll n_threads type_k type_v use_mmap no_kv_offload split_mode main_gpu tensor_split flash_attn n_prompt n_gen n_depth""".split()


def test_llama_bench_has_the_keys_that_its_script_joins_by():
    run = export("llama-bench", "-", stdin=line() + "".join(cell(i, mode="infer", model=name) for i, name in enumerate(HOSTILE))
                 + cell(50, mode="decode", tokens_per_step=4))
    assert "1 of a kind that the form has no place for" in run.stderr
    entries = json.loads(run.stdout)
    assert len(entries) == len(HOSTILE) + 1
    for entry in entries:
        assert all(isinstance(entry[key], (str, int, float)) for key in LLAMA_KEYS + ["build_commit", "test_time", "avg_ts"])
    assert [entry["model_type"] for entry in entries[:-1]] == [f"{name} fp32" for name in HOSTILE]
    infer, decode = entries[0], entries[-1]
    assert [infer[key] for key in ("n_prompt", "n_gen", "n_depth", "n_batch", "avg_ts", "avg_ns", "test_time", "cpu_info")] == [
        128, 0, 0, 512, 204800.0, 2500000.0, "2026-01-02T03:04:05Z", "Some CPU"]
    assert [decode[key] for key in ("n_prompt", "n_gen", "n_depth", "n_batch")] == [0, 1, 127, 4]
    # The script's question, asked as it does: the same tests of two builds, tokens/s side by side.
    second = json.loads(export("llama-bench", "-", stdin=cell(50, mode="decode", tokens_per_step=4, run_id="r2", tokens_per_sec=409600.0)).stdout)
    columns = list(decode)
    with contextlib.closing(sqlite3.connect(":memory:")) as base:
        base.execute(f"CREATE TABLE llama_bench({', '.join(columns)})")
        base.executemany(f"INSERT INTO llama_bench VALUES({', '.join('?' * len(columns))})", [
            [entry.get(key) for key in columns] for entry in entries + second])
        same = " AND ".join(f"tb.{key} = tc.{key}" for key in LLAMA_KEYS)
        rows = base.execute(f"SELECT tb.n_gen, tb.n_depth, AVG(tb.avg_ts), AVG(tc.avg_ts) FROM llama_bench tb JOIN llama_bench tc ON {same} "
                            "AND tb.build_commit = ? AND tc.build_commit = ? GROUP BY tb.n_gen, tb.n_prompt, tb.n_depth", [RECORD["run_id"], "r2"])
        assert rows.fetchall() == [(1, 127, 204800.0, 409600.0)]


# The published table, oss_ci_benchmark_v3: {} is a map of texts, [x] a list of x.
TEXTS = {str: str}
PYTORCH = {"timestamp": int, "schema_version": str, "name": str, "repo": str, "head_branch": str, "head_sha": str, "workflow_id": int,
           "run_attempt": int, "job_id": int,
           "runners": [{"name": str, "type": str, "cpu_info": str, "cpu_count": int, "mem_info": str, "avail_mem_in_gb": int, "gpu_info": str,
                        "gpu_count": int, "gpu_mem_info": str, "avail_gpu_mem_in_gb": int, "extra_info": TEXTS}],
           "benchmark": {"name": str, "mode": str, "dtype": str, "extra_info": TEXTS},
           "model": {"name": str, "type": str, "backend": str, "origins": [str], "extra_info": TEXTS},
           "dependencies": {str: {"repo": str, "branch": str, "sha": str, "version": str, "extra_info": TEXTS}},
           "metric": {"name": str, "benchmark_values": [float], "target_value": float, "extra_info": TEXTS}}


def fits(value, kind):
    if isinstance(kind, list):
        return isinstance(value, list) and all(fits(item, kind[0]) for item in value)
    if isinstance(kind, dict):
        return isinstance(value, dict) and all(str in kind or key in kind for key in value) and all(
            fits(item, kind[str] if str in kind else kind[key]) for key, item in value.items())
    return isinstance(value, kind) and not isinstance(value, bool)


def test_pytorch_record_has_the_published_types():
    entries = json.loads(export("pytorch-benchmark", "-", stdin=hostile() + cell(50, mode="decode", device="cuda:0", device_name="Some GPU")).stdout)
    assert len(entries) == 3 * (len(HOSTILE) + 1)
    for entry in entries:
        assert {"schema_version", "benchmark", "model", "metric"} <= set(entry)
        for key, value in entry.items():
            assert fits(value, PYTORCH[key]), (key, value)
    entry = entries[0]
    assert entry["metric"] == {"name": "tokens_per_sec", "benchmark_values": [204800.0], "extra_info": {"unit": "tokens/s", "better": "higher"}}
    assert (entry["benchmark"]["mode"], entry["model"]["name"], entry["timestamp"]) == ("training", HOSTILE[0], 1767323045)
    assert entry["benchmark"]["extra_info"]["seq_len"] == "1"
    assert entry["dependencies"] == {"native": {"version": "1.2.3"}}
    last = entries[-1]
    assert (last["benchmark"]["mode"], last["benchmark"]["extra_info"]["mode"], last["runners"][0]["gpu_info"]) == ("inference", "decode", "Some GPU")

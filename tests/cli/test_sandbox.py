"""--sandbox: the published command lines, made-up results, the same on every call."""
import csv
import io
import json
import zipfile

import pytest

PUBLISHED = ("framework device precision mode seq_len batch_size steps tokens_per_step ms_per_step "
             "tokens_per_sec mem_alloc_mb mem_reserved_mb peak_mem_mb params_millions notes").split()
# What differs from call to call and from machine to machine.
MASKED = {"started_at", "run_id", "environment", "environment_id", "harness", "command", "start_ms",
          "harness_ms", "rss_peak_mb", "maxrss_mb", "cpu_user_s", "cpu_system_s", "context_switches"}
SMALL = ["--sandbox", "--device", "cpu", "--seq", "128", "--batch", "4", "--steps", "10"]


def masked(record):
    return {key: value for key, value in record.items() if key not in MASKED | {"null_reasons"}}


def csv_rows(folder, out):
    return list(csv.DictReader(io.StringIO((folder / out / "bench_results.csv").read_text())))


def test_two_calls_make_the_same_files(call):
    for out in ("one", "two"):
        call(*SMALL, "--out", out, name="bench_pytorch", code=0)
    one, two = (call.records(out) for out in ("one", "two"))
    assert [masked(record) for record in one] == [masked(record) for record in two]
    assert one != two  # another run id at least
    rows = [[masked(row) for row in csv_rows(call.folder, out)] for out in ("one", "two")]
    assert rows[0] == rows[1]


def test_another_seed_makes_other_figures(call):
    results = []
    for seed in ("0", "1"):
        call(*SMALL, "--out", seed, "--seed", seed, name="bench_pytorch", code=0)
        results.append([record["ms_per_step"] for record in call.records(seed)])
    assert results[0] != results[1]


def test_the_published_fields_come_first_and_in_order(call):
    call(*SMALL, name="bench_pytorch", code=0)
    text = (call.folder / "_bench" / "bench_results.jsonl").read_text()
    for line in text.splitlines():
        assert list(json.loads(line))[:15] == PUBLISHED
    header = (call.folder / "_bench" / "bench_results.csv").read_text().splitlines()[0]
    assert header.split(",")[:15] == PUBLISHED


def test_the_published_values(call):
    call(*SMALL, name="bench_pytorch", code=0)
    records = call.records()
    assert [record["mode"] for record in records] == ["train", "infer"]
    for record in records:
        assert record["framework"] == "pytorch-sandbox"
        assert record["device"] == "cpu"
        assert record["precision"] == "bf16"
        assert (record["seq_len"], record["batch_size"], record["steps"]) == (128, 4, 10)
        assert record["tokens_per_step"] == 512
        assert record["synthetic"] is True
        assert record["verdict"] == "ok"
        assert round(record["params_millions"]) == 10333
        assert record["warmup_steps"] == 20
        assert record["tokens_per_sec"] == pytest.approx(512 / (record["ms_per_step"] / 1000), rel=1e-9)
    assert csv_rows(call.folder, "_bench")[0]["framework"] == "pytorch-sandbox"


def test_bench_jax_writes_its_own_folder_and_platform(call):
    call("--sandbox", "--seq", "128", "--batch", "4", "--steps", "5", name="bench_jax", code=0)
    records = call.records("_bench_jax")
    assert {record["framework"] for record in records} == {"jax-sandbox"}
    assert {record["device"] for record in records} == {"gpu"}
    call("--sandbox", "--platform", "tpu", "--seq", "128", "--batch", "4", "--steps", "5", "--out", "t",
         name="bench_jax", code=0)
    assert {record["device"] for record in call.records("t")} == {"tpu"}


@pytest.mark.parametrize("name, out", [("bench_pytorch", "_bench"), ("bench_jax", "_bench_jax")])
def test_the_bare_published_call_sweeps_twelve_cells(call, name, out):
    done = call("--sandbox", name=name, code=0)
    records = call.records(out)
    shapes = [(r["seq_len"], r["batch_size"], r["mode"]) for r in records]
    assert shapes == [(seq, batch, mode) for seq in (128, 512, 2048) for batch in (8, 32)
                      for mode in ("train", "infer")]
    assert {record["steps"] for record in records} == {400}
    assert "SYNTHETIC" in done.stdout
    assert f"{out}/bench_results.jsonl" in done.stdout


def test_zip_holds_the_folder(call):
    done = call(*SMALL, "--zip", "--out", "results/", name="bench_pytorch", code=0)
    assert done.stdout.rstrip().endswith("results.zip")
    names = zipfile.ZipFile(call.folder / "results.zip").namelist()
    assert any(name.endswith("bench_results.jsonl") for name in names)
    assert any(name.endswith("bench_results.csv") for name in names)
    assert not any(".lock" in name for name in names)
    with zipfile.ZipFile(call.folder / "results.zip") as archive:
        name = next(n for n in names if n.endswith("bench_results.jsonl"))
        assert archive.read(name) == (call.folder / "results" / "bench_results.jsonl").read_bytes()


def test_sandbox_takes_the_name_of_any_engine(call):
    call("run", *SMALL, "--engine", "native", "--out", "n", code=0)
    assert {r["framework"] for r in call.records("n")} == {"native-sandbox"}
    call("run", "--engine", "sandbox", "--steps", "5", "--out", "s", code=0)
    assert {r["framework"] for r in call.records("s")} == {"sandbox"}
    call("run", "--engine", "exec:no/such/program --with a long list of words", "--sandbox", "--steps",
         "5", "--out", "e", code=0)
    frameworks = {r["framework"] for r in call.records("e")}
    assert all(name.startswith("exec:no/such") and name.endswith("-sandbox") for name in frameworks)


def test_nothing_is_written_by_a_dry_run(call):
    done = call("--sandbox", "--dry-run", "--zip", name="bench_pytorch", code=0)
    assert "12 cells" in done.stdout
    assert done.stdout.count("pytorch-sandbox") == 12
    assert call.files() == []

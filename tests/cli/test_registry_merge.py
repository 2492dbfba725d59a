"""`tokmark registry merge`: what goes into a registry of JSON lines, and what it does not do to it."""
import json
import os
import stat
import subprocess
import threading
import zipfile

import pytest

TOKMARK = os.environ["TOKMARK_BINARY"]
PUBLISHED = {"framework": "pytorch", "device": "cpu", "precision": "fp32", "mode": "train", "seq_len": 128, "batch_size": 1,
             "steps": 30, "tokens_per_step": 128, "ms_per_step": 2.5, "tokens_per_sec": 51200.0, "mem_alloc_mb": None,
             "mem_reserved_mb": None, "peak_mem_mb": None, "params_millions": 1.5, "notes": ""}
OWN = {**PUBLISHED, "schema": 1, "run_id": "r0000000000000001", "cell_id": "h0123456789abcdef", "policy_id": "hfedcba9876543210",
       "trial": 0, "started_at": "2026-01-02T03:04:05.678Z", "verdict": "ok", "synthetic": False}


def line(base, **changes):
    return json.dumps({**base, **changes}) + "\n"


def merge(into, *sources, stdin=None, code=0, more=()):
    run = subprocess.run([TOKMARK, "registry", "merge", "--into", str(into), *map(str, sources), *more], input=stdin,
                         capture_output=True, text=True, check=False)
    assert run.returncode == code, (run.stdout, run.stderr)
    return run


def state(path):
    """What a writer would change; the time of the last reading is not."""
    info = path.stat()
    return info.st_ino, info.st_size, info.st_mtime_ns, info.st_mode


@pytest.fixture
def registry(tmp_path):
    return tmp_path / "registry.jsonl"


def test_lines_come_in_as_they_stand_and_once(tmp_path, registry):
    # Spaces, unknown fields and the order of keys are the writer's.
    lines = line(OWN, extra={"of": "another tool"}) + line(OWN, trial=1) + line(PUBLISHED)
    (tmp_path / "given.jsonl").write_text(lines)
    registry.write_text("not json\n\n{\"other\": 1}")
    merge(registry, tmp_path / "given.jsonl")
    assert registry.read_text() == "not json\n\n{\"other\": 1}\n" + lines
    before = state(registry)
    assert "0 records added, 3 already there" in merge(registry, tmp_path / "given.jsonl").stdout
    assert "6 already there" in merge(registry, registry, "-", stdin=lines).stdout
    assert state(registry) == before


def test_the_same_record_in_other_words_is_there_already(tmp_path, registry):
    merge(registry, "-", stdin=line(OWN) + line(PUBLISHED))
    other = {key: OWN[key] for key in reversed(OWN)}
    # Ids of earlier versions have no letter; a later version knows more fields.
    other.update(cell_id=OWN["cell_id"][1:], policy_id=OWN["policy_id"][1:], later="value")
    columns = ",".join(PUBLISHED) + "\n" + ",".join("" if value is None else str(value) for value in PUBLISHED.values()) + "\n"
    (tmp_path / "published.csv").write_text(columns)
    before = state(registry)
    assert "0 records added" in merge(registry, "-", stdin=json.dumps(other, separators=(",", ":")) + "\r\n").stdout
    assert "0 records added" in merge(registry, tmp_path / "published.csv").stdout
    assert state(registry) == before
    for change in ({"run_id": "r0000000000000002"}, {"cell_id": "h0000000000000000"}, {"trial": 7}, {"policy_id": "h1"},
                   {"started_at": "2026-01-02T03:04:05.679Z"}):
        assert "1 record added" in merge(registry, "-", stdin=line(OWN, **change)).stdout
    for change in ({"tokens_per_sec": 51200.5}, {"notes": "x"}, {"framework": "jax"}, {"peak_mem_mb": 0.0}):
        assert "1 record added" in merge(registry, "-", stdin=line(PUBLISHED, **change)).stdout
    assert len(registry.read_text().splitlines()) == 11


def test_rows_of_csv_become_lines(tmp_path, registry):
    header = ",".join(PUBLISHED) + "\r\n"
    (tmp_path / "published.csv").write_text(header + "pytorch,cpu,fp32,train,128,1,30,128,2.5,51200.0,,,,1.5,\"a \"\"b\"\", c\"\r\n")
    merge(registry, tmp_path / "published.csv")
    assert json.loads(registry.read_text()) == {**PUBLISHED, "notes": 'a "b", c'}
    subprocess.run([TOKMARK, "run", "--sandbox", "--mode", "train", "--seq", "128", "--batch", "1", "2", "--steps", "30", "--out",
                    tmp_path / "out", "--zip"], capture_output=True, check=False)
    own = tmp_path / "own.jsonl"
    merge(own, tmp_path / "out" / "bench_results.csv", more=["--include", "sandbox"])
    written = [json.loads(text) for text in (tmp_path / "out" / "bench_results.jsonl").read_text().splitlines()]
    got = [json.loads(text) for text in own.read_text().splitlines()]
    for one, other in zip(written, got, strict=True):
        assert {key: value for key, value in one.items() if key != "null_reasons"} == \
            {key: value for key, value in other.items() if key != "null_reasons"}
    assert "0 records added, 4 already there" in merge(own, tmp_path / "out", tmp_path / "out.zip", more=["--include", "sandbox"]).stdout


@pytest.mark.parametrize("record, kind", [
    (line(OWN, synthetic=True), "sandbox"), (line(PUBLISHED, framework="pytorch-sandbox"), "sandbox"),
    (line(OWN, verdict="invalid"), "invalid"), (line(OWN, verdict="unsteady"), "unsteady")])
def test_what_is_no_result_to_rely_on_stays_out_unless_asked(registry, record, kind):
    run = merge(registry, "-", stdin=record)
    assert f"1 stayed out: {kind} (--include {kind})" in run.stdout
    assert not registry.exists(), "nothing was added, so no file is made"
    others = [other for other in ("sandbox", "invalid", "unsteady") if other != kind]
    merge(registry, "-", stdin=record, more=["--include", *others])
    assert not registry.exists()
    merge(registry, "-", stdin=record, more=["--include", kind])
    assert registry.read_text() == record


def test_failed_cells_are_records_too(registry):
    records = "".join(line(OWN, verdict=verdict, trial=i) for i, verdict in enumerate(["oom", "crashed", "timeout"]))
    merge(registry, "-", stdin=records)
    assert registry.read_text() == records


def test_what_is_no_record_is_told_and_left_out(registry):
    run = merge(registry, "-", stdin="nonsense\n" + line(OWN) + line(OWN, schema=99, trial=3))
    assert registry.read_text() == line(OWN)
    assert "2 lines were no records; the first: standard input, line 1" in run.stderr
    merge(registry, "-", stdin="nonsense\n", code=4)
    before = state(registry)
    merge(registry, "-", "/nonexistent/results", stdin=line(OWN, trial=9), code=5)
    assert state(registry) == before, "all sources or none"


@pytest.mark.parametrize("content, word", [
    (b"[\n  {\"a\": 1}\n]\n", "JSON array"), (b"{\n  \"a\": 1\n}\n", "several lines"), (b"\x1f\x8b\x08\0", "compressed"),
    (b"f\0r\0", "UTF-8"), (",".join(PUBLISHED).encode() + b"\n", "CSV")])
def test_a_file_of_another_kind_is_refused_untouched(registry, content, word):
    registry.write_bytes(content)
    before = state(registry)
    assert word in merge(registry, "-", stdin=line(OWN), code=2).stderr
    assert registry.read_bytes() == content and state(registry) == before


def test_archives_folders_pipes_and_links_are_no_registries(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("bench_results.jsonl", line(OWN))
    assert "zip" in merge(tmp_path / "a.zip", "-", stdin=line(OWN), code=2).stderr
    os.mkfifo(tmp_path / "pipe")
    assert "plain file" in merge(tmp_path / "pipe", "-", stdin=line(OWN), code=2).stderr
    merge(tmp_path, "-", stdin=line(OWN), code=5)
    (tmp_path / "one").write_text(line(OWN))
    os.link(tmp_path / "one", tmp_path / "two")
    assert "hard links" in merge(tmp_path / "one", "-", stdin=line(OWN, trial=1), code=2).stderr
    assert (tmp_path / "two").read_text() == line(OWN)


def test_links_are_followed_and_permissions_kept(tmp_path):
    (tmp_path / "there").mkdir()
    real = tmp_path / "there" / "real.jsonl"
    real.write_text("")
    real.chmod(0o640)
    (tmp_path / "link.jsonl").symlink_to("there/real.jsonl")
    (tmp_path / "new.jsonl").symlink_to("there/new.jsonl")
    for link in ("link.jsonl", "new.jsonl"):
        merge(tmp_path / link, "-", stdin=line(OWN))
        assert (tmp_path / link).is_symlink()
    assert real.read_text() == (tmp_path / "there" / "new.jsonl").read_text() == line(OWN)
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert sorted(os.listdir(tmp_path / "there")) == ["new.jsonl", "real.jsonl"]


def test_merges_at_once_into_a_new_file_lose_nothing(registry):
    threads = [threading.Thread(target=merge, args=(registry, "-"), kwargs={"stdin": "".join(line(OWN, trial=i) for i in range(n, n + 40))})
               for n in range(0, 160, 20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    trials = [json.loads(text)["trial"] for text in registry.read_text().splitlines()]
    assert sorted(trials) == list(range(180))


def test_a_dry_run_writes_nothing(registry):
    assert "1 record would be added" in merge(registry, "-", stdin=line(OWN), more=["--dry-run"]).stdout
    assert not registry.exists()


@pytest.mark.parametrize("words, says", [
    ([], "needs merge"), (["murge"], "'merge'"), (["merge", "x"], "--into"), (["merge", "--into", "r.jsonl"], "what is to be merged"),
    (["merge", "--into", "-", "x"], "no file"), (["merge", "--into", "r", "x", "--include", "sandbx"], "sandbox")])
def test_what_cannot_be_asked_for_is_told(tmp_path, words, says):
    run = subprocess.run([TOKMARK, "registry", *words], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert run.returncode == 2 and says in run.stderr, run.stderr
    assert os.listdir(tmp_path) == []

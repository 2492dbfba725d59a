"""`tokmark history`: a metric's course over many runs, its steps, and what has changed there."""
import json
import os
import random
import subprocess

import pytest

TOKMARK = os.environ["TOKMARK_BINARY"]
OWN = {"framework": "native", "device": "cpu", "precision": "fp32", "mode": "train", "seq_len": 128, "batch_size": 1,
       "steps": 30, "tokens_per_step": 128, "ms_per_step": 2.5, "tokens_per_sec": 51200.0, "mem_alloc_mb": None,
       "mem_reserved_mb": None, "peak_mem_mb": 100.0, "params_millions": 1.5, "notes": "",
       "schema": 1, "cell_id": "h0123456789abcdef", "policy_id": "hfedcba9876543210", "trial": 0,
       "verdict": "ok", "synthetic": False, "environment_id": "h00000000000000aa",
       "samples": 100, "ms_p50": 2.5, "ms_p50_low": 2.49, "ms_p50_high": 2.51, "model": "tiny", "mem_predicted_mb": 90.5}


def run(count, start=0, **changes):
    """A record; `count` numbers the runs, a minute apart."""
    return {**OWN, "run_id": f"r{count}", "started_at": f"2026-01-02T{3 + count // 60:02}:{count % 60:02}:05.678Z", **changes}


def noisy(counts, level, sd=0.002, seed=1, **changes):
    generator = random.Random(f"{seed} {level}")
    return [run(count, ms_p50=level * (1 + generator.gauss(0, sd)), **changes) for count in counts]


@pytest.fixture(name="history")
def make_history(tmp_path):
    def call(records, *more, code=0, name="registry.jsonl", environment=None):
        path = tmp_path / name
        path.write_text("".join(record if isinstance(record, str) else json.dumps(record) + "\n" for record in records))
        done = subprocess.run([TOKMARK, "history", str(path), *more], capture_output=True, text=True, check=False,
                              env={**os.environ, "LC_ALL": "C.UTF-8", **(environment or {})})
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        return done
    return call


def course_of(done, metric="ms_p50"):
    courses = [course for course in json.loads(done.stdout)["courses"] if course["metric"] == metric]
    assert len(courses) == 1
    return courses[0]


def test_a_step_is_found_where_it_is_with_what_changed_there(history):
    before = noisy(range(12), 2.5, harness="tokmark 0.3.0 (aaaa)", environment={"cpu": {"model": "A"}, "memory": 8})
    after = noisy(range(12, 24), 2.7, harness="tokmark 0.3.0 (bbbb)", environment={"cpu": {"model": "B"}, "memory": 8})
    course = course_of(history(before + after, "--format", "json"))
    assert [point[0] for point in course["points"]] == [record["started_at"] for record in before + after]
    assert len(course["steps"]) == 1
    step = course["steps"][0]
    assert (step["at"], step["started_at"], step["verdict"]) == (12, after[0]["started_at"], "worse")
    assert abs(step["change_percent"] - 8) < 0.5
    assert {(change["name"], change["before"], change["after"]) for change in step["changed"]} == {
        ("harness", "tokmark 0.3.0 (aaaa)", "tokmark 0.3.0 (bbbb)"), ("cpu.model", '"A"', '"B"')}


def test_the_order_is_that_of_time_whatever_the_order_of_lines(history):
    records = noisy(range(10), 2.5) + noisy(range(10, 20), 2.0)
    random.Random(3).shuffle(records)
    course = course_of(history(records, "--format", "json"))
    assert [(step["at"], step["verdict"]) for step in course["steps"]] == [(10, "better")]


def test_direction_is_the_metric_s_own(history):
    records = [run(i, tokens_per_sec=(50000 if i < 10 else 40000) * (1 + 0.001 * (i % 3))) for i in range(20)]
    course = course_of(history(records, "--metric", "tokens_per_sec", "--format", "json"), "tokens_per_sec")
    assert [step["verdict"] for step in course["steps"]] == ["worse"]


def test_what_is_counted_changes_at_once(history):
    records = [run(0), run(1), run(2, params_millions=1.6), run(3, params_millions=1.6)]
    course = course_of(history(records, "--format", "json"), "params_millions")
    assert [(step["at"], step["before"], step["after"]) for step in course["steps"]] == [(2, 1.5, 1.6)]
    assert not course["too_few_runs"]
    assert course_of(history(records, "--format", "json"))["too_few_runs"]


def test_records_of_one_run_are_one_point_and_a_record_twice_counts_once(history):
    records = [run(0, trial=0, ms_p50=2.0), run(0, trial=1, ms_p50=8.0), run(0, trial=1, ms_p50=8.0), run(1), run(1)]
    course = course_of(history(records, "--format", "json"))
    assert [round(point[1], 9) for point in course["points"]] == [4.0, 2.5]


def test_cells_are_apart_unless_told_otherwise(history):
    records = [run(0), run(1, cell_id="h1111111111111111", framework="jax")]
    done = history(records, "--metric", "ms_p50", "--format", "json")
    assert [course["engine"] for course in json.loads(done.stdout)["courses"]] == ["native", "jax"]
    done = history(records, "--metric", "ms_p50", "--format", "json", "--by", "mode")
    assert [len(course["points"]) for course in json.loads(done.stdout)["courses"]] == [2]


@pytest.mark.parametrize("kind, changes", [("sandbox", {"synthetic": True}), ("invalid", {"verdict": "invalid"}),
                                           ("unsteady", {"verdict": "unsteady"})])
def test_what_is_no_plain_result_stays_out_unless_asked_for(history, kind, changes):
    records = [run(0), run(1, **changes)]
    done = history(records, "--format", "json")
    assert len(course_of(done)["points"]) == 1
    assert f"1 {kind} record stayed out; --include {kind} takes them in" in done.stderr
    course = course_of(history(records, "--format", "json", "--include", kind))
    assert len(course["points"]) == 2
    assert course["synthetic"] == (kind == "sandbox")


def test_cells_that_failed_and_foreign_lines_are_told(history):
    done = history([run(0), run(1, verdict="oom", ms_p50=None), "no record\n"], "--format", "json")
    assert "1 record without a result" in done.stderr
    assert "1 line was no record" in done.stderr and "line 3" in done.stderr
    assert len(course_of(done)["points"]) == 1


def test_text_shows_the_course_and_steps_in_words(history):
    records = noisy(range(12), 2.5) + noisy(range(12, 24), 2.7)
    text = history(records, "--metric", "ms_p50").stdout
    assert "native tiny cpu train fp32 seq 128 batch 1" in text
    assert "▁" in text and "█" in text
    assert "2026-01-02 03:12  +7.9 %  2.502 -> 2.700" in text and "worse  (12 runs before, 12 from here)" in text
    assert "nothing that records hold has changed here" in text
    plain = history(records, "--metric", "ms_p50", environment={"LC_ALL": "C"}).stdout
    assert plain.isascii()


def test_steps_only_leaves_out_the_rest(history):
    steady = noisy(range(20), 2.5, cell_id="h1111111111111111", mode="infer")
    stepped = noisy(range(10), 2.5) + noisy(range(10, 20), 2.9)
    text = history(steady + stepped, "--steps-only").stdout
    assert "train" in text and "infer" not in text
    assert history(steady, "--steps-only").stdout == "no step in 1 cell\n"


def test_hostile_names_are_inert(history):
    done = history([run(0, model="x\x1b[2J\ny")], "--metric", "ms_p50")
    assert "\x1b" not in done.stdout and "x [2J y" in done.stdout


def test_several_sources_and_a_pipe(tmp_path):
    for name, records in (("a", noisy(range(5), 2.5)), ("b", noisy(range(5, 10), 2.5))):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    done = subprocess.run([TOKMARK, "history", str(tmp_path / "b.jsonl"), "-", "--format", "json"], capture_output=True, text=True,
                          check=True, input=(tmp_path / "a.jsonl").read_text())
    assert [point[0][14:16] for point in course_of(done)["points"]] == [f"{i:02}" for i in range(10)]


@pytest.mark.parametrize("words, says", [(["--metric", "ms_p5"], "ms_p50"), (["--by", "sequence"], "no field is named"),
                                         (["--metric", "model"], "no metric")])
def test_wrong_words_are_refused(history, words, says):
    assert says in history([run(0)], *words, code=2).stderr


def test_a_file_that_is_not_there_and_one_without_results(history, tmp_path):
    done = subprocess.run([TOKMARK, "history", str(tmp_path / "none")], capture_output=True, text=True, check=False)
    assert done.returncode == 5 and "none" in done.stderr
    history([run(0, verdict="oom", ms_p50=None)], code=3)


def test_records_name_the_commit_of_the_source(tmp_path):
    """Of the current folder, or of the model's file; where there is no repository, nothing."""
    def git(*words):
        subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@t.example", *words], cwd=tmp_path / "mine", check=True, capture_output=True)
        return subprocess.run(["git", "rev-parse", "HEAD"], cwd=tmp_path / "mine", capture_output=True, text=True, check=False).stdout[:12]

    def measure(folder, *more):
        subprocess.run([TOKMARK, "run", "--sandbox", "--mode", "infer", "--seq", "8", "--batch", "1", "--out", tmp_path / "out", *more], cwd=folder,
                       capture_output=True, check=False)
        record = json.loads((tmp_path / "out" / "bench_results.jsonl").read_text().splitlines()[-1])
        return record["source_commit"] or record["null_reasons"]["source_commit"]
    (tmp_path / "mine" / "deep").mkdir(parents=True)
    (tmp_path / "mine" / "deep" / "model.py").write_text("one = 1\n")
    assert measure(tmp_path) == "not_in_git"
    git("init", "-q")
    assert measure(tmp_path / "mine") == "not_in_git", "no commit yet"
    git("add", ".")
    first = git("commit", "-qm", "first")
    assert len(first) == 12 and measure(tmp_path / "mine" / "deep") == first
    git("tag", "-a", "v1", "-m", "a tag is no commit")
    (tmp_path / "mine" / "untracked").write_text("")
    assert measure(tmp_path / "mine") == first
    (tmp_path / "mine" / "deep" / "model.py").write_text("two = 2\n")
    assert measure(tmp_path / "mine") == f"{first}-dirty"
    assert measure(tmp_path, "--engine", "pytorch", "--model", f"{tmp_path}/mine/deep/model.py:one") == f"{first}-dirty"


def test_a_step_names_the_commit_of_the_source(history):
    before = noisy(range(12), 2.5, source_commit="aaaaaaaaaaaa")
    after = noisy(range(12, 24), 2.7, source_commit="bbbbbbbbbbbb-dirty")
    step = course_of(history(before + after, "--format", "json"))["steps"][0]
    assert step["changed"] == [{"name": "source_commit", "before": "aaaaaaaaaaaa", "after": "bbbbbbbbbbbb-dirty"}]
    assert "source_commit: aaaaaaaaaaaa -> bbbbbbbbbbbb-dirty" in history(before + after).stdout

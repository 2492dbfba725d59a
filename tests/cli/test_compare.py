"""`tokmark compare`: what has changed between two sets of results, and what a gate makes of it."""
import csv
import io
import json
import math
import os
import random
import shutil
import statistics
import subprocess
import xml.etree.ElementTree as xml
import zipfile

import pytest

TOKMARK = os.environ["TOKMARK_BINARY"]
PUBLISHED = {"framework": "pytorch", "device": "cpu", "precision": "fp32", "mode": "train", "seq_len": 128, "batch_size": 1,
             "steps": 30, "tokens_per_step": 128, "ms_per_step": 2.5, "tokens_per_sec": 51200.0, "mem_alloc_mb": None,
             "mem_reserved_mb": None, "peak_mem_mb": 100.0, "params_millions": 1.5, "notes": ""}
OWN = {**PUBLISHED, "schema": 1, "run_id": "r1", "cell_id": "h0123456789abcdef", "policy_id": "hfedcba9876543210", "trial": 0,
       "started_at": "2026-01-02T03:04:05.678Z", "verdict": "ok", "synthetic": False, "environment_id": "h00000000000000aa",
       "samples": 100, "ms_p50": 2.5, "ms_p50_low": 2.49, "ms_p50_high": 2.51, "model": "tiny", "mem_predicted_mb": 90.5,
       "between_run_percent": 0.3, "next_run_ms_low": 2.465, "next_run_ms_high": 2.535, "next_run_basis": "kind"}


def line(base=None, **changes):
    return json.dumps({**(base or OWN), **changes}) + "\n"


NO_NOISE = {"between_run_percent": None, "next_run_ms_low": None, "next_run_ms_high": None, "next_run_basis": "this_run"}


def timed(median, half=0.004, **changes):
    """A record with that median, its interval +-half of it, of a machine whose runs are known to be 0.3 % apart (4 degrees of freedom)."""
    width = math.exp(2.776 * math.sqrt(2) * math.hypot(0.003, math.log1p(half) / 1.96))
    return line(**{"ms_p50": median, "ms_p50_low": median / (1 + half), "ms_p50_high": median * (1 + half), "between_run_percent": 0.3,
                   "next_run_ms_low": median / width, "next_run_ms_high": median * width, "next_run_basis": "kind", **changes})


@pytest.fixture(name="compare")
def make_compare(tmp_path):
    def run(base, now, *more, code=0, name="jsonl"):
        for side, text in (("base", base), ("new", now)):
            if isinstance(text, str):
                (tmp_path / f"{side}.{name}").write_text(text)
        sides = [str(tmp_path / f"{side}.{name}") if isinstance(text, str) else str(text)
                 for side, text in (("base", base), ("new", now))]
        done = subprocess.run([TOKMARK, "compare", *sides, *map(str, more)], capture_output=True, text=True, check=False, cwd=tmp_path)
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        return done.stdout + done.stderr
    return run


@pytest.fixture(name="parsed")
def make_parsed(compare):
    def run(base, now, *more, code=0):
        return json.loads(compare(base, now, "--format", "json", *more, code=code))
    return run


def only(result):
    """The one cell's verdict and those of its metrics."""
    assert len(result["cells"]) == 1
    cell = result["cells"][0]
    return cell["verdict"], {metric["metric"]: metric["verdict"] for metric in cell["metrics"]}


@pytest.mark.parametrize("factor, verdict, code", [(1, "same", 0), (1.05, "worse", 1), (1 / 1.05, "better", 0), (1.008, "same", 0),
                                                   (1.019, "undecided", 3)])
def test_a_gate_by_the_size_of_a_change(parsed, factor, verdict, code):
    got = parsed(timed(2.5), timed(2.5 * factor), "--gate", "2", code=code)
    assert only(got)[0] == verdict and only(got)[1]["ms_p50"] == verdict
    assert got["gate"] == {0: "passed", 1: "failed", 3: "undecided"}[code]
    metric = got["cells"][0]["metrics"][0]
    assert metric["change_percent"] == pytest.approx(100 * (factor - 1), abs=1e-6)
    assert metric["change_percent_low"] < metric["change_percent"] + 1e-9 and metric["base"]["value"] == 2.5
    # Without a gate the answer is the same and the exit code says only that something was compared.
    assert only(parsed(timed(2.5), timed(2.5 * factor)))[0] == verdict


@pytest.mark.parametrize("factor, verdict", [(1, "undecided"), (1.05, "undecided"), (1 / 1.05, "undecided"), (1.12, "worse"), (1 / 1.12, "better")])
def test_one_run_a_side_of_a_machine_nothing_is_known_of(compare, parsed, factor, verdict):
    """Such a machine's runs may be 3 % apart, so that a run a side tells apart only what is further than that."""
    base, now = timed(2.5, **NO_NOISE), timed(2.5 * factor, **NO_NOISE)
    assert only(parsed(base, now))[0] == verdict
    assert "only changes over some 10 % can be told; measure with --trials 5" in compare(base, now)
    # By trials the same difference is certain.
    base, now = ("".join(timed(median * (1 + trial / 1000), trial=trial, **NO_NOISE) for trial in range(5)) for median in (2.5, 2.5 * factor))
    assert only(parsed(base, now))[0] == {1: "same", 1.05: "worse", 1.12: "worse"}.get(factor, "better")


def test_five_samples_or_fewer_say_nothing(parsed, compare):
    few = timed(2.5, samples=5)
    assert only(parsed(few, timed(5, samples=100), "--gate", "3", code=3))[0] == "undecided"
    assert only(parsed(timed(2.5), timed(2.5, samples=5, ms_p50_low=None, ms_p50_high=None), "--gate", "3", code=3))[0] == "undecided"
    assert "five samples or fewer" in compare(few, few)
    compare(few, few, "--gate", "3", "--lenient")


def test_what_is_not_measured_is_no_pass(parsed, compare):
    other = {"cell_id": "h00000000000000ff", "seq_len": 256}
    both = timed(2.5) + timed(2.5, **other)
    got = parsed(both, timed(2.5), "--gate", "3", code=3)
    assert got["cells_by_verdict"]["missing"] == 1 and got["cells_by_verdict"]["same"] == 1
    assert parsed(timed(2.5), both, "--gate", "3")["cells_by_verdict"]["new"] == 1
    # Nothing matched: also without a gate.
    for more in ((), ("--gate", "3"), ("--gate", "3", "--lenient")):
        assert "1 missing, 1 new" in compare(timed(2.5), timed(2.5, **other), *more, code=3)
    assert "nothing was compared" in compare("", "", "--gate", "3", code=3)


@pytest.mark.parametrize("changes, base_verdict, verdict, code", [
    ({"verdict": "invalid"}, "ok", "not_comparable", 3), ({"synthetic": True}, "ok", "not_comparable", 3),
    ({"verdict": "interrupted"}, "ok", "not_comparable", 3), ({"framework": "pytorch-sandbox"}, "ok", "not_comparable", 3),
    ({"verdict": "oom", "ms_p50": None}, "ok", "worse", 1), ({"verdict": "crashed", "ms_p50": None}, "ok", "worse", 1),
    ({"verdict": "oom"}, "oom", "same", 3), ({"verdict": "crashed"}, "crashed", "not_comparable", 3),
    ({"verdict": "ok"}, "oom", "better", 3), ({"verdict": "ok"}, "invalid", "not_comparable", 3)])
def test_records_that_are_no_result(parsed, changes, base_verdict, verdict, code):
    got = parsed(timed(2.5, verdict=base_verdict), timed(2.5, **changes), "--gate", "3", code=code)
    assert only(got)[0] == verdict
    # Beside a cell that is the same, what is no worse passes.
    other = timed(7, cell_id="h00000000000000ff", seq_len=256)
    got = parsed(timed(2.5, verdict=base_verdict) + other, timed(2.5, **changes) + other, "--gate", "3",
                 code={"worse": 1, "not_comparable": 3, "same": 0, "better": 0}[verdict])
    assert got["cells_by_verdict"][verdict] >= 1


def test_the_sandbox_is_compared_when_asked(parsed):
    made_up = {"synthetic": True}
    assert only(parsed(timed(2.5, **made_up), timed(2.5, **made_up), "--gate", "2", "--include", "sandbox"))[0] == "same"
    assert only(parsed(timed(2.5, **made_up), timed(2.625, **made_up), "--gate", "2", "--include", "sandbox", code=1))[0] == "worse"


def test_counted_metrics_by_any_change(parsed):
    got = parsed(line(), line(mem_predicted_mb=90.500001), "--gate", "50", code=1)
    assert only(got)[1]["mem_predicted_mb"] == "worse"
    assert only(parsed(line(), line(mem_predicted_mb=90.4), "--gate", "50"))[1]["mem_predicted_mb"] == "better"
    # Other parameters are other work.
    got = parsed(line(), line(params_millions=1.500001), "--gate", "50", code=3)
    assert only(got) == ("not_comparable", {**only(got)[1], "params_millions": "not_comparable"})
    assert only(parsed(line(params_total=10), line(params_total=11), "--metric", "params_total"))[0] == "not_comparable"


def test_readings_by_their_size(parsed):
    assert only(parsed(line(), line(peak_mem_mb=104)))[1]["peak_mem_mb"] == "same"
    assert only(parsed(line(), line(peak_mem_mb=106), "--gate", "5", code=1))[1]["peak_mem_mb"] == "worse"
    # What a run no longer knows is not passed over; what a script could not know, and wrote as 0, is no reading.
    assert only(parsed(line(), line(peak_mem_mb=None), "--gate", "5", code=3))[1]["peak_mem_mb"] == "missing"
    assert "peak_mem_mb" not in only(parsed(line(PUBLISHED), line(PUBLISHED, peak_mem_mb=0.0)))[1]


def test_direction_is_that_of_the_table_of_facts(parsed):
    more = ["--metric", "tokens_per_sec", "ms_per_step"]
    means = {"ms_mean_low": 2.49, "ms_mean_high": 2.51}
    slower = {"ms_per_step": 2.7, "tokens_per_sec": 128e3 / 2.7, "ms_mean_low": 2.69, "ms_mean_high": 2.71}
    assert only(parsed(line(**means), line(**slower), *more))[1] == {"tokens_per_sec": "worse", "ms_per_step": "worse"}
    assert only(parsed(line(**slower), line(**means), *more))[1] == {"tokens_per_sec": "better", "ms_per_step": "better"}


def runs(medians, **changes):
    """One record a run, with no interval of its own."""
    return "".join(line(run_id=f"r{i}", started_at=f"2026-01-02T03:04:{i:02d}.000Z", ms_p50=median, ms_p50_low=None, ms_p50_high=None,
                        **changes) for i, median in enumerate(medians))


def test_several_runs_are_a_test_between_runs(parsed):
    got = parsed(runs([2.50, 2.51, 2.49]), runs([2.60, 2.61, 2.59]))
    metric = got["cells"][0]["metrics"][0]
    assert only(got)[1]["ms_p50"] == "worse" and metric["base"]["runs"] == 3
    # scipy.stats.ttest_ind of the logarithms
    assert metric["p"] == pytest.approx(2.556607e-4, rel=1e-5)
    assert metric["change_percent"] == pytest.approx(4.0, abs=0.01)
    assert only(parsed(runs([2.3, 2.6, 2.9]), runs([2.5, 2.8, 3.1])))[1]["ms_p50"] == "undecided"
    trials = "".join(timed(2.5 + 0.001 * i, trial=i) for i in range(3))
    assert parsed(trials, trials)["cells"][0]["metrics"][0]["new"]["runs"] == 3


def test_published_scripts_append_runs_that_nothing_tells_apart(parsed):
    def script(values):
        return "".join(line(PUBLISHED, ms_per_step=value, tokens_per_sec=128e3 / value) for value in values)
    one = parsed(script([2.5]), script([2.6]), "--gate", "3", code=3)
    assert only(one)[1]["tokens_per_sec"] == "undecided"
    assert only(parsed(script([2.50, 2.51, 2.49]), script([2.60, 2.61, 2.59]), "--gate", "3", code=1))[1]["tokens_per_sec"] == "worse"


def test_a_record_counts_once_and_the_newest_environment_counts(parsed):
    def count(now, *more):
        metric = parsed(timed(2.5), now, *more)["cells"][0]["metrics"][0]
        return metric["new"]["runs"], round(metric["new"]["value"], 6)
    assert count(timed(2.5) * 3) == (1, 2.5)
    first, second, third = (timed(value, run_id=run) for value, run in ((2.4, "r1"), (2.5, "r2"), (2.6, "r3")))
    assert count(first + second + first + third + second)[0] == 3
    assert count(first + second + third, "--newest") == (1, 2.6)
    other = {"environment_id": "h00000000000000bb"}
    assert count(first + second + timed(3, run_id="r4", **other)) == (1, 3.0)
    assert count(first + timed(3, run_id="r4", engine_version="9")) == (1, 3.0)
    # A failed run, and then a good one: the good one. A good one and then a failed one: failed.
    failed = line(run_id="r2", verdict="crashed", ms_p50=None)
    assert count(first + failed + third) == (1, 2.6)
    assert only(parsed(timed(2.5), first + failed, "--gate", "3", code=1))[0] == "worse"
    # One trial of several that failed is a failure of the run, first or last.
    for trials in ([failed, timed(2.5, run_id="r2", trial=1)], [timed(2.5, run_id="r2", trial=1), failed]):
        assert only(parsed(timed(2.5), "".join(trials), "--gate", "3", code=1))[0] == "worse"


def test_holms_method_over_all_metrics_of_a_call(parsed):
    random.seed(3)
    def cells(extra):
        return "".join(timed(2.5 * math.exp(random.gauss(0, 0.0001)) * (extra if i == 0 else 1), half=0.0098, cell_id=f"h{i:016x}", seq_len=i + 1)
                       for i in range(200))
    # p of the one changed cell is some 0.001: significant alone, not among 200.
    got = parsed(cells(1), cells(1.028))
    changed = got["cells"][0]["metrics"][0]
    assert got["tests"] == 200 and 0.05 / 200 < changed["p"] < 0.01 and changed["verdict"] == "undecided"
    alone = parsed(cells(1).splitlines(keepends=True)[0], cells(1.028).splitlines(keepends=True)[0])
    assert alone["cells"][0]["metrics"][0]["verdict"] == "worse"


def test_work_that_differs_is_not_comparable_and_settings_are_named(parsed, compare):
    got = parsed(line(dtype_compute="fp32"), line(dtype_compute="tf32"), "--gate", "3", code=3)
    assert only(got)[0] == "not_comparable" and "dtype_compute: fp32, now tf32" in got["cells"][0]["why"]
    # Not known on a side is no difference.
    assert only(parsed(line(dtype_compute=None), line(dtype_compute="tf32")))[0] == "same"
    environments = [json.dumps({"cpu": {"model": cpu}, "build": {"commit": "same"}}) for cpu in ("A", "B")]
    sides = [line(engine_version=version, environment=json.loads(environment), environment_id=f"h{version}")
             for version, environment in zip("12", environments)]
    got = parsed(*sides, "--gate", "3")
    assert {one["name"]: (one["base"], one["new"]) for one in got["differences"]} == {"engine_version": ("1", "2"), "cpu.model": ('"A"', '"B"')}
    assert 'differs: cpu.model: "A", now "B"' in compare(*sides)


def test_cells_without_a_partner_are_matched_by_shape(parsed):
    # Of a published script, by the fields that it has.
    assert only(parsed(line(PUBLISHED), line(OWN, ms_mean_low=2.49, ms_mean_high=2.51)))[0] == "undecided"
    other = {"cell_id": "h00000000000000ff", "seed": 2}
    got = parsed(line(seed=1), line(**other), "--gate", "3", code=3)
    assert only(got)[0] == "not_comparable" and "seed: 1, now 2" in got["cells"][0]["why"]
    assert only(parsed(line(threads=2), line(cell_id="h00000000000000ff", threads=4)))[0] == "same"
    # Where several have the shape, none is guessed.
    two = line(seed=1) + line(cell_id="h00000000000000ee", seed=3)
    assert parsed(two, line(**other), code=3)["cells_by_verdict"]["missing"] == 2


def test_cells_told_by_other_fields(parsed, compare):
    native = timed(2.0, framework="native", cell_id="h00000000000000ff", model="other")
    got = parsed(timed(2.5), native, "--by", "mode", "seq_len", "batch_size")
    assert only(got)[1]["ms_p50"] == "better"
    assert {one["name"] for one in got["differences"]} >= {"framework", "model"}
    assert "no field is named 'sequence'" in compare(line(), line(), "--by", "sequence", code=2)


def test_a_clock_that_was_another_explains_a_change(parsed):
    slow = timed(2.5 * 1.1, pace_ms=0.55)
    assert only(parsed(timed(2.5, pace_ms=0.5), slow, "--gate", "3", code=3))[1]["ms_p50"] == "undecided"
    assert only(parsed(timed(2.5, pace_ms=0.5), timed(2.75, pace_ms=0.505), "--gate", "3", code=1))[1]["ms_p50"] == "worse"
    # A GPU has a clock of its own.
    gpu = {"device": "cuda:0"}
    assert only(parsed(timed(2.5, pace_ms=0.5, **gpu), timed(2.75, pace_ms=0.55, **gpu), "--gate", "3", code=1))[0] == "worse"


def as_csv(lines):
    rows = [json.loads(text) for text in lines.splitlines()]
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def test_folders_files_archives_and_standard_input(tmp_path, compare):
    base, now = timed(2.5), timed(2.625)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "bench_results.jsonl").write_text(base)
    (tmp_path / "new.csv").write_text(as_csv(now))
    with zipfile.ZipFile(tmp_path / "new.zip", "w") as archive:
        archive.writestr("x/bench_results.jsonl", now)
    (tmp_path / "new.jsonl").write_text(now)
    for name in ("new.csv", "new.zip", "new.jsonl"):
        assert "WORSE" in compare(tmp_path / "folder", tmp_path / name, "--gate", "2", code=1)
    done = subprocess.run([TOKMARK, "compare", tmp_path / "folder", "-", "--gate", "2"], input=now, capture_output=True, text=True,
                          check=False)
    assert done.returncode == 1 and "WORSE" in done.stdout


def test_no_base_cannot_be_decided_and_no_new_results_are_a_fault(tmp_path, compare):
    assert "no base to compare with" in compare(tmp_path / "nowhere", timed(2.5), "--gate", "3", code=3)
    compare(timed(2.5), tmp_path / "nowhere", "--gate", "3", code=5)


def test_wrong_words(compare):
    for more, word in ([["--metric", "ms_p51"], "ms_p50"], [["--metric", "notes"], "no metric"], [["--format", "xml"], "no form"],
                       [["--format", "json", "text"], "only one form"], [["--format", "json:"], "names no file"],
                       [["--lenient"], "--gate"], [["--force"], "--save-baseline"], [["--save-baseline", "../x"], "no name"],
                       [["--gate", "0"], "0.01"]):
        assert word in compare(line(), line(), *more, code=2)


def test_torn_foreign_and_hostile_lines_are_told_and_nothing_else_changes(parsed):
    huge = "x" * 900_000
    strange = "\x00\x01\u202e`|<script>@someone\n--> -->"
    bad = ["not json\n", "[1]\n", '{"schema": 99}\n', "{" * 3000 + "\n", "\n", line(schema="one"), json.dumps({"a": huge * 2}) + "\n"]
    nan = line(cell_id="h01", seq_len=1).replace("2.5,", "NaN,").replace("2.49", "-Infinity")
    zero = line(cell_id="h02", seq_len=2, ms_p50=0.0, ms_p50_low=-1.0, ms_p50_high=1e308, peak_mem_mb=-5.0)
    large = line(cell_id="h03", seq_len=2**62, batch_size=2**62, ms_p50=1e300, ms_p50_low=1e-300, ms_p50_high=1e300, samples=2**62)
    named = line(cell_id="h04", framework=huge[:200_000], model=strange, mode=strange)
    torn = timed(2.5)[:300]
    sides = "".join(bad) + nan + zero + large + named + timed(2.5)
    got = parsed(sides, sides + torn)
    assert got["base"]["no_records"] == 7 and got["new"]["no_records"] == 8 and got["new"]["records"] == 5
    by_seq = {cell["seq_len"]: cell for cell in got["cells"]}
    assert len(got["cells"]) == 5 and by_seq[128]["verdict"] in ("same", "undecided")
    assert "ms_p50" not in {metric["metric"] for metric in by_seq[2]["metrics"]}
    assert by_seq[2**32 - 1]["metrics"][0]["verdict"] == "undecided"


def test_each_change_in_the_text_has_its_evidence(compare):
    """Runs where there are several on a side, else samples; nothing where any change is one."""
    several = compare(runs([2.50, 2.51, 2.49]), runs([2.60, 2.61, 2.59]), "--metric", "ms_p50")
    assert "p 0.000, 3+3 runs" in several  # 2.6e-4 by scipy.stats.ttest_ind
    assert "n 40+60" in compare(timed(2.5, samples=40), timed(2.6, samples=60), "--metric", "ms_p50")
    (row,) = [row.split() for row in compare(line(), line(mem_predicted_mb=91), "--metric", "mem_predicted_mb").splitlines() if row.split()[-1:] == ["WORSE"]]
    assert row[-4:] == ["91", "+0.55", "%", "WORSE"]


STRANGE = {"framework": "x\x00\x1b[31m\u202e", "model": "`|<script>@someone\n--> ]]>", "mode": "\ufffe&\"'<"}


def test_text_is_printable(compare):
    text = compare(line(**STRANGE), timed(3, **STRANGE))
    assert "\x1b" not in text and all(ord(char) >= 32 for char in text.replace("\n", ""))


def test_json_of_a_folder_is_whole_and_counts(parsed):
    cells = "".join(timed(2 + i, cell_id=f"h{i:016x}", seq_len=i + 1) for i in range(500))
    got = parsed(cells, cells)
    assert len(got["cells"]) == 500 == got["cells_by_verdict"]["same"] and got["schema"] == "tokmark.compare/1"
    assert got["metrics"][0] == {"name": "ms_p50", "unit": "ms", "better": "lower", "compare": "sampled", "least_percent": 2.0}


def test_junit_is_xml_with_a_case_a_cell(compare):
    base = timed(2.5, **STRANGE) + timed(2.5, cell_id="h1", seq_len=1) + timed(2.5, cell_id="h2", seq_len=2) + timed(2.5, cell_id="h3", seq_len=3)
    now = timed(3.0, **STRANGE) + timed(2.5, cell_id="h1", seq_len=1) + timed(2.5, cell_id="h2", seq_len=2, samples=3)
    def suite(*more, code=0):
        return xml.fromstring(compare(base, now, "--format", "junit", *more, code=code)).find("testsuite")
    gated = suite("--gate", "3", code=1)
    assert (gated.get("tests"), gated.get("failures"), gated.get("errors"), gated.get("skipped")) == ("4", "1", "2", "0")
    kinds = [[child.tag for child in case] for case in gated]
    assert sorted(map(str, kinds)) == sorted(map(str, [["failure"], [], ["error"], ["error"]]))
    assert "ms_p50 2.500 -> 3.000 (+20.0 %" in gated[0][0].get("message")
    plain = suite()
    assert (plain.get("failures"), plain.get("errors"), plain.get("skipped")) == ("1", "0", "2")
    empty = xml.fromstring(compare("", "", "--format", "junit", "--gate", "3", code=3)).find("testsuite")
    assert empty.get("errors") == "1" and len(empty) == 1


def test_markdown_shows_changes_folds_the_rest_and_ends_in_its_marker(compare):
    base = timed(2.5, **STRANGE) + timed(2.5, cell_id="h1", seq_len=1)
    now = timed(3.0, **STRANGE) + timed(2.5, cell_id="h1", seq_len=1)
    text = compare(base, now, "--format", "markdown", "--gate", "3", "--comment-id", "cpu --> <x>", code=1)
    lines = text.splitlines()
    assert lines[0] == "### tokmark: 1 worse, 1 the same" and lines[-1] == "<!-- tokmark:cpu ___ _x_ -->"
    assert "gate 3 %: failed" in text and text.count("<details>") == text.count("</details>")
    worse = next(row for row in lines if "WORSE" in row)
    # What is from the records is in a code span: no markup, no mention, seven columns.
    assert "`" in worse and worse.replace("\\|", "").count("|") == 8 and "<script>" in worse.split("`")[1]
    assert "@someone" in worse.split("`")[1]


def test_markdown_is_cut_below_the_limit_of_a_comment(compare):
    def cells(factor):
        return "".join(timed(2.5 * factor, cell_id=f"h{i:016x}", seq_len=i + 1, model="m" * 100) for i in range(2000))
    text = compare(cells(1), cells(1.1), "--format", "markdown", "--gate", "3", code=1)
    assert 50_000 < len(text.encode()) < 65_536
    assert "more rows are not shown" in text and text.rstrip().endswith("-->") and text.count("<details>") == text.count("</details>")


def test_forms_go_to_files_whole_and_devices_are_written_to(tmp_path, compare):
    (tmp_path / "comment.md").write_text("old")
    text = compare(timed(2.5), timed(2.5), "--format", "text", "markdown:comment.md", "junit:gate.xml", "json:/dev/null", "--gate", "2")
    assert "gate 2 %: passed" in text and (tmp_path / "comment.md").read_text().startswith("### tokmark")
    xml.parse(tmp_path / "gate.xml")
    assert not os.path.isfile("/dev/null")
    compare(timed(2.5), timed(2.5), "--format", "text", "json:no/such/folder.json", code=5)


def test_baselines_are_never_overwritten_silently(tmp_path, compare, parsed, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    kept = tmp_path / "data" / "tokmark" / "baselines" / "main.jsonl"
    (tmp_path / "first.jsonl").write_text("foreign\n" + timed(2.5))
    (tmp_path / "second.csv").write_text(as_csv(timed(2.6)))

    def run(*words, code=0):
        done = subprocess.run([TOKMARK, "compare", *words], capture_output=True, text=True, check=False, cwd=tmp_path)
        assert done.returncode == code, (done.stdout, done.stderr)
        return done.stdout + done.stderr
    assert "kept as baseline:main" in run("first.jsonl", "--save-baseline", "main")
    assert kept.read_text() == timed(2.5)
    assert "--force replaces it" in run("second.csv", "--save-baseline", "main", code=2)
    assert kept.read_text() == timed(2.5) and os.listdir(kept.parent) == ["main.jsonl"]
    # What does not pass is not kept.
    assert "was not saved" in run("baseline:main", "second.csv", "--gate", "2", "--save-baseline", "main", "--force", code=1)
    assert kept.read_text() == timed(2.5)
    run("baseline:main", "second.csv", "--gate", "10", "--save-baseline", "main", "--force")
    assert json.loads(kept.read_text())["ms_p50"] == 2.6
    assert "no base to compare with" in run("baseline:other", "second.csv", "--gate", "2", code=3)
    assert "standard input" in run("baseline:main", "-", "--save-baseline", "x", code=2)
    (tmp_path / "none.jsonl").write_text("foreign\n")
    run("none.jsonl", "--save-baseline", "none", code=2)
    assert os.listdir(kept.parent) == ["main.jsonl"]


def test_unsteady_records_are_compared_and_told(compare):
    assert "1 cell is from records that are unsteady" in compare(timed(2.5, verdict="unsteady"), timed(2.5), "--gate", "2")


def test_results_of_real_sweeps(tmp_path, compare, parsed):
    for name in ("a", "b"):
        subprocess.run([TOKMARK, "run", "--sandbox", "--mode", "train", "infer", "--seq", "128", "--batch", "1", "2", "--steps", "60", "--trials", "2",
                        "--out", name, "--zip"], cwd=tmp_path, capture_output=True, check=False)
    got = parsed(tmp_path / "a", tmp_path / "b.zip", "--include", "sandbox", "--gate", "2")
    assert got["cells_by_verdict"]["same"] == 4 == len(got["cells"])
    # A slowdown of 5 % in one cell of the new ones.
    records = [json.loads(text) for text in (tmp_path / "b" / "bench_results.jsonl").read_text().splitlines()]
    for record in records:
        if (record["mode"], record["batch_size"]) == ("train", 2):
            record.update({name: record[name] * 1.05 for name in ("ms_p50", "ms_p50_low", "ms_p50_high")})
    slower = "".join(json.dumps(record) + "\n" for record in records)
    got = parsed(tmp_path / "a", slower, "--include", "sandbox", "--gate", "2", code=1)
    assert [(cell["mode"], cell["batch_size"]) for cell in got["cells"] if cell["verdict"] == "worse"] == [("train", 2)]
    assert got["cells_by_verdict"]["same"] == 3


def test_noise_between_runs_is_what_the_records_know(parsed):
    def known(median, percent, width, basis="kind", **changes):
        return timed(median, between_run_percent=percent, next_run_ms_low=median / width, next_run_ms_high=median * width, next_run_basis=basis,
                     **changes)

    def width(base, now):
        metric = parsed(base, now)["cells"][0]["metrics"][0]
        return metric["change_percent_high"] - metric["change_percent_low"], metric["verdict"]
    # 2 % of noise, known by so many degrees of freedom as make the next run's interval that wide: t = 2.78 for 4.
    wide = student(0.975, 4) * math.sqrt(2) * math.hypot(0.02, math.log(1.004) / 1.96)
    assert width(timed(2.5), timed(2.625))[1] == "worse"
    assert width(known(2.5, 2.0, math.exp(wide)), known(2.625, 2.0, math.exp(wide)))[1] == "undecided"
    # By hand: V = 2 (w + b), 4 degrees of freedom by Satterthwaite a little more.
    within, between = (math.log(1.004) / 1.96) ** 2, math.log1p(0.02**2)
    freedom = 4 * ((within + between) / between) ** 2
    half = student(0.975, freedom) * math.sqrt(2 * (within + between))
    got = width(known(2.5, 2.0, math.exp(wide)), known(2.5, 2.0, math.exp(wide)))[0]
    assert got == pytest.approx(100 * (math.exp(half) - math.exp(-half)), rel=1e-3)
    # Less noise than is assumed makes the interval narrower; what the trials of the call have shown counts once, as their spread.
    assert width(known(2.5, 0.05, 1.004), known(2.5, 0.05, 1.004))[0] < width(timed(2.5), timed(2.5))[0]
    assert width(known(2.5, 2.0, 1.2, basis="trials"), timed(2.5)) == width(timed(2.5), timed(2.5))
    # A later record of the cell knows of the earlier one, so the first one's counts.
    two = known(2.5, 0.05, 1.004) + known(2.5, 9.0, 1.5, run_id="r2", basis="cell", history_runs=2)
    assert width(two, two)[0] < 4


def student(p, freedom):
    """The quantile, by bisection of the incomplete beta function: SciPy is not needed for one number."""
    from scipy import stats
    return stats.t.ppf(p, freedom)


def test_warnings_are_told(compare):
    warned = timed(2.5, warnings=[{"code": "drift", "text": "the level moved"}])
    text = compare(timed(2.5), warned, "--gate", "3")
    assert "1 cell is from records with warnings" in text


def sweep(folder, *more):
    subprocess.run([TOKMARK, "run", "--sandbox", "--mode", "infer", "--seq", "64", "--batch", "1", "--steps", "2000", "--out", "out", "--zip", *more],
                   cwd=folder, capture_output=True, check=False)
    return folder / "out"


def slower(folder, factor):
    """A copy of a results folder whose raw samples, and what a record says of the tail, are that much slower."""
    other = folder.parent / f"slower{factor}"
    shutil.copytree(folder, other)
    record = json.loads((other / "bench_results.jsonl").read_text())
    for name in record:
        if name.startswith("ms_p") and record[name] is not None:
            record[name] *= factor
    steady = []
    for path in (other / "samples").iterdir():
        lines = [json.loads(text) for text in path.read_text().splitlines()]
        for block in lines:
            block["ns"] = [round(ns * factor) for ns in block["ns"]]
            steady += block["ns"] if block["phase"] == "steady" else []
        path.write_text("".join(json.dumps(block, separators=(",", ":")) + "\n" for block in lines))
    record["ms_p50"] = statistics.median(steady) / 1e6
    (other / "bench_results.jsonl").write_text(json.dumps(record) + "\n")
    return other


def test_tails_are_compared_by_raw_samples(tmp_path, parsed):
    out = sweep(tmp_path)
    tail = ["--metric", "ms_p99", "ms_p90", "--include", "sandbox"]
    same = parsed(out, tmp_path / "out.zip", *tail, "--gate", "10")
    assert only(same)[1] == {"ms_p99": "same", "ms_p90": "same"} and same["cells"][0]["metrics"][0]["new"]["half_width_percent"] > 0
    # In a copy everything is 20 % slower. ms_p50 is what shows that the samples are the record's.
    worse = slower(out, 1.2)
    got = parsed(out, worse / "bench_results.jsonl", *tail, "--gate", "10", code=1)
    assert only(got)[1] == {"ms_p99": "worse", "ms_p90": "worse"}
    values = [ns for line in (worse / "samples").iterdir() for block in map(json.loads, line.read_text().splitlines())
              if block["phase"] == "steady" for ns in block["ns"]]
    assert got["cells"][0]["metrics"][0]["new"]["value"] == pytest.approx(sorted(values)[math.ceil(0.99 * len(values)) - 1] / 1e6, rel=1e-12)


def test_where_every_block_was_disturbed_their_samples_are_the_record_s(tmp_path, parsed):
    out = sweep(tmp_path)
    for path in (out / "samples").iterdir():
        path.write_text(path.read_text().replace('"set_aside":null', '"set_aside":"cpu_wait"'))
    got = parsed(out, out / "bench_results.jsonl", "--metric", "ms_p90", "--include", "sandbox")
    assert got["cells"][0]["metrics"][0]["new"]["half_width_percent"] > 0


@pytest.mark.parametrize("damage", ["none", "other", "torn", "words", "huge", "set_aside"])
def test_raw_samples_that_are_not_the_records_are_not_used(tmp_path, parsed, damage):
    out = sweep(tmp_path)
    tail = ["--metric", "ms_p99", "--include", "sandbox"]
    path = next((out / "samples").iterdir())
    lines = path.read_text().splitlines(keepends=True)
    if damage == "none":
        path.unlink()
    elif damage == "other":
        path.write_text("".join(lines).replace('"run_id":"r', '"run_id":"x'))
    elif damage == "torn":
        path.write_text("".join(lines)[:-5000])
    elif damage == "words":
        path.write_text("".join(lines[:-1]) + lines[-1].replace('"ns":[', '"ns":["x",'))
    elif damage == "huge":
        path.write_text("".join(lines[:-1]) + lines[-1].replace('"ns":[', '"ns":[' + "9" * 400 + ","))
    else:
        path.write_text("".join(lines[:-1]) + lines[-1].replace('"set_aside":null', '"set_aside":"cpu_wait"'))
    metric = parsed(out, tmp_path / "out.zip", *tail, "--gate", "5", code=3)["cells"][0]["metrics"][0]
    assert metric["verdict"] == "undecided" and metric["base"]["half_width_percent"] is None

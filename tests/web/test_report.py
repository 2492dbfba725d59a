"""`tokmark report` as text: what a terminal, a markdown page and the data of the HTML page say."""
import html.parser
import json
import os
import pty
import re
import statistics
import subprocess

import pytest

import records

TOKMARK = os.environ["TOKMARK_BINARY"]


@pytest.fixture(name="report")
def make_report(tmp_path):
    def run(*args, code=0, locale="C.UTF-8", given=None):
        environment = {**os.environ, "LC_ALL": locale}
        done = subprocess.run([TOKMARK, "report", *map(str, args)], capture_output=True, text=True, check=False, cwd=tmp_path,
                              env=environment, input=given, encoding="utf-8")
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        return done.stdout + done.stderr
    return run


class Page(html.parser.HTMLParser):
    """Tags, their attributes, and what stands in scripts."""
    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.scripts, self.title = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data):
        if self.tags and self.tags[-1][0] == "script":
            self.scripts[-1] += data
        if self.tags and self.tags[-1][0] == "title":
            self.title += data.strip()


def data_of(text):
    return json.loads(Page(text).scripts[0])["blocks"]


def table(blocks, name):
    """Rows of a table as lists of texts."""
    found = next(block for block in blocks if block["kind"] == "table" and block.get("id", block["title"]) == name)
    titles = [column["title"] for column in found["columns"]]
    return [dict(zip(titles, (cell if isinstance(cell, str) else cell["t"] for cell in row))) for row in found["rows"]]


def numbers(row, *keys):
    """Of a row, to the four digits that are shown; None: not known."""
    return [None if row[key] == "-" else float(row[key].replace(",", "")) for key in keys]


def charts(blocks):
    return {chart["title"]: chart for block in blocks if block["kind"] == "charts" for chart in block["charts"]}


def test_answers_in_order(report, tmp_path):
    records.write(tmp_path / "base", records.sweep())
    text = report("base")
    questions = ["At a glance", "What is fast?", "What fits?", "Can I trust it?", "How far from the machine's limit?",
                 "What has changed?", "All results"]
    places = [text.index(f"\n{question}\n") for question in questions]
    assert places == sorted(places)
    assert "Verdicts: 34 of 36 ok; 2 oom" in text
    assert "Fastest infer: 4,000 tokens/s; infer bf16 seq 128 batch 4" in text
    assert "Machine: Test CPU; 2 CPUs, 8.00 GiB of memory" in text
    assert "\x1b" not in text


def test_bars_are_to_scale(report, tmp_path):
    records.write(tmp_path / "base", records.sweep())
    plot = report("base").split("infer: throughput by sequence length, tokens/s\n")[1].split("\n\n")[0]
    bars = dict.fromkeys(("bf16 batch 1", "bf16 batch 4", "fp32 batch 1", "fp32 batch 4"))
    series = None
    for line in plot.splitlines():
        series = line.strip() if line.strip() in bars else series
        if "█" in line:
            bars[series] = line.count("█")
            assert re.search(r"█.? ?[\d,.]+ \([\d,.]+ to [\d,.]+\)$", line)
    assert bars["bf16 batch 4"] == 2 * bars["fp32 batch 4"] == 2 * bars["bf16 batch 1"] == 4 * bars["fp32 batch 1"] > 0


def test_plain_terminals_get_ascii(report, tmp_path):
    records.write(tmp_path / "base", records.sweep(models=("größe",)))
    records.write(tmp_path / "now", records.sweep(models=("größe",), speed=0.5))
    text = report("base", "now", locale="C")
    assert text.isascii()
    assert "####" in text
    assert "gr??e" in text or "gr?" in text


@pytest.mark.parametrize("has_color", [True, False])
def test_terminal_has_colour_and_width(tmp_path, has_color):
    records.write(tmp_path / "base", records.sweep())
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "TERM": "xterm", "COLUMNS": "80", "NO_COLOR": "" if has_color else "1"}
    ours, theirs = pty.openpty()
    with subprocess.Popen([TOKMARK, "report", "base"], stdout=theirs, cwd=tmp_path, env=environment) as process:
        os.close(theirs)
        seen = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:
                break
            if not part:
                break
            seen += part
        assert process.wait() == 0
    os.close(ours)
    text = seen.decode()
    assert ("\x1b[" in text) == has_color
    lines = re.sub(r"\x1b\[\d*m", "", text).splitlines()
    assert max(len(line.rstrip("\r")) for line in lines) <= 80


def test_what_fits(report, tmp_path):
    records.write(tmp_path / "base", records.sweep())
    rows = table(data_of(report("base", "--format", "html")), "train native bf16")
    assert rows == [{"batch": "1", "seq 128": "116 MiB", "seq 256": "132 MiB", "seq 512": "164 MiB"},
                    {"batch": "4", "seq 128": "164 MiB", "seq 256": "228 MiB", "seq 512": "oom: needs 12.0 GiB"},
                    {"batch": "largest that fits", "seq 128": "4 or more", "seq 256": "4 or more", "seq 512": "1 (4 does not)"}]


def test_charts_hold_the_records(report, tmp_path):
    made = records.sweep()
    records.write(tmp_path / "base", made)
    drawn = charts(data_of(report("base", "--format", "html")))
    chart = drawn["train: throughput by sequence length"]
    assert [series["name"] for series in chart["series"]] == ["bf16 batch 1", "bf16 batch 4", "fp32 batch 1", "fp32 batch 4"]
    for series in chart["series"]:
        precision, batch = series["name"].split(" batch ")
        cells = [one for one in made if one["mode"] == "train" and one["precision"] == precision and one["batch_size"] == int(batch)]
        assert [point["x"] for point in series["points"]] == [one["seq_len"] for one in cells]
        for point, one in zip(series["points"], cells):
            if one["verdict"] == "oom":
                assert point["failed"] == "oom" and "y" not in point
            else:
                assert [point[key] for key in ("y", "low", "high")] == pytest.approx(
                    [one[key] for key in ("tokens_per_sec", "tokens_per_sec_low", "tokens_per_sec_high")], rel=1e-5)
    parts = drawn["train: memory by part"]
    assert [series["name"] for series in parts["series"]] == ["weights", "gradients", "optimizer", "activations", "workspace"]
    front = [point for point in drawn["infer: throughput against latency"]["series"][0]["points"] if point.get("front")]
    assert all(a["x"] < b["x"] and a["y"] < b["y"] for a, b in zip(front, front[1:]))
    assert len(front) == 2  # of three lengths and two batches each has a best one: the shortest


def test_too_many_series_are_split(report, tmp_path):
    records.write(tmp_path / "base", records.sweep(engines=("a", "b", "c"), batches=(1, 2, 4, 8, 16)))
    drawn = charts(data_of(report("base", "--format", "html")))
    assert max(len(chart["series"]) for chart in drawn.values()) <= 8
    points = sum(len(series["points"]) for title, chart in drawn.items() if "throughput by sequence" in title
                 for series in chart["series"])
    assert points == 3 * 3 * 2 * 3 * 5


def test_one_shape_is_bars(report, tmp_path):
    records.write(tmp_path / "base", records.sweep(engines=("native", "pytorch"), seqs=(128,), batches=(1,)))
    drawn = charts(data_of(report("base", "--format", "html")))
    assert [point["x"] for point in drawn["infer: throughput"]["series"][0]["points"]] == [
        "native bf16", "native fp32", "pytorch bf16", "pytorch fp32"]


def test_memory_is_what_was_measured_and_predicted_only_where_it_was_not(report, tmp_path):
    made = [records.record(seq_len=128, peak_mem_mb=100.0, mem_predicted_mb=90.5),
            records.record(seq_len=256, peak_mem_mb=None, mem_predicted_mb=181.0)]
    records.write(tmp_path / "base", made)
    drawn = charts(data_of(report("base", "--format", "html")))
    memory, = [chart for title, chart in drawn.items() if "memory" in title and "by sequence" in title]
    assert [(point["x"], point["y"]) for point in memory["series"][0]["points"]] == [(128, 100.0), (256, 181.0)]


def test_share_of_the_peak_and_energy(report, tmp_path):
    records.write(tmp_path / "base", records.metered_sweep())
    blocks = data_of(report("base", "--format", "html"))
    shares = table(blocks, "shares")
    assert [row["cell"] for row in shares] == ["train seq 512 batch 1", "decode seq 256 batch 1"]
    assert [numbers(row, "MFU", "MFU of datasheet", "bandwidth", "bandwidth of datasheet") for row in shares] == [[32, 16, None, None], [0.5, 0.4, 62, 50]]
    energy = table(blocks, "energy")
    assert [row["cell"] for row in energy] == ["train seq 128 batch 1", "decode seq 128 batch 1"]
    assert [numbers(row, "energy", "power", "per joule") for row in energy] == [pytest.approx([1.28, 600, 781.25], rel=1e-4), [250, 600, 4]]
    drawn = charts(blocks)
    assert [point["y"] for point in drawn["train: share of the peak"]["series"][0]["points"]] == [8, 16, 32]
    assert [point["y"] for point in drawn["decode: share of the peak"]["series"][0]["points"]] == [61, 62]
    assert [point["y"] for point in drawn["train: energy a token"]["series"][0]["points"]] == pytest.approx([1.28, 2.56, 5.12])
    every = table(blocks, "all")
    assert [numbers(row, "MFU", "bandwidth", "energy") for row in every] == [
        [8, None, 1.28], [16, None, 2.56], [32, None, 5.12], [0.5, 61, 250], [0.5, 62, 250]]
    assert "hold no measured peak" not in report("base")


def test_what_nobody_measured_has_no_column(report, tmp_path):
    records.write(tmp_path / "base", records.sweep())
    blocks = data_of(report("base", "--format", "html"))
    assert not {"MFU", "bandwidth", "energy"} & set(table(blocks, "all")[0])
    assert not [block["id"] for block in blocks if block.get("id") in ("shares", "energy", "meters")]
    assert "hold no measured peak" in " ".join(report("base").split())
    # the datasheet's peak is one, too
    records.write(tmp_path / "card", [records.metered(mfu_percent=None, seq_len=seq) for seq in (128, 256)])
    blocks = data_of(report("card", "--format", "html"))
    assert {row["MFU"] for row in table(blocks, "all")} == {"28"} and table(blocks, "shares")[0]["MFU"] == "-"


def test_memory_by_who_tells_it(report, tmp_path):
    records.write(tmp_path / "base", [records.metered(), records.metered(seq_len=256, gpu_process_mb=None), records.failed("oom", "x", "y", seq_len=512)])
    rows = table(data_of(report("base", "--format", "html")), "meters")
    assert [numbers(row, "peak", "allocated", "reserved", "process on card", "whole card") for row in rows] == [
        [100, 80, 110, 150, 160], [100, 80, 110, None, 160]]
    assert "process" not in rows[0], "nobody told how much the process grew"


def test_courses_of_the_loss_that_were_kept(report, tmp_path):
    folder = records.write(tmp_path / "base", [records.record()])
    records.trained(folder, "old", {("native", "fp32"): [9.0, 8.0]})
    falling = [10 / (1 + step / 100) for step in range(1000)]
    records.trained(folder, "new", {("native", "fp32"): falling, ("pytorch", "bf16"): [9.5, None, 7.5]})
    with open(folder / "stability.jsonl", "a", encoding="utf-8") as out:
        out.write("{broken\n[1]\n")
    text = report("base", "--format", "html")
    chart = charts(data_of(text))["loss at each step"]
    first, second = chart["series"]
    assert (first["name"], second["name"]) == ("native fp32", "pytorch bf16")
    steps = [point["x"] for point in first["points"]]
    assert steps == [*range(1, 1001, 3)] and [point["y"] for point in first["points"]] == pytest.approx([falling[step - 1] for step in steps], rel=1e-5)
    assert [(point["x"], point["y"]) for point in second["points"]] == [(1, 9.5), (3, 7.5)]
    records.write(tmp_path / "bare", [records.record()])
    assert "loss at each step" not in charts(data_of(report("bare", "--format", "html")))
    assert "base: loss at each step" in charts(data_of(report("bare", "base", "--format", "html")))


def test_middle_trial_stands_for_its_cell(report, tmp_path):
    times = [2.0, 2.6, 2.2]
    trials = [records.record(trial=i, ms_p50=ms, ms_p50_low=ms - 0.1, ms_p50_high=ms + 0.3,
                             started_at=f"2026-01-02T03:0{i}:05.678Z") for i, ms in enumerate(times)]
    records.write(tmp_path / "base", trials)
    row, = table(data_of(report("base", "--format", "html")), "all")
    middle = statistics.median(times)
    assert row["median"] == f"{middle:.3f} ({min(times) - 0.1:.3f} to {max(times) + 0.3:.3f})"
    assert row["records"] == "3"


def test_sets_side_by_side(report, tmp_path):
    records.write(tmp_path / "base", records.sweep())
    records.write(tmp_path / "now", records.sweep(speed=0.8, run_id="r2"))
    blocks = data_of(report("base", "now", "--format", "html"))
    assert "now against base: 34 worse" in "\n".join(block.get("text", "") for block in blocks)
    rows = table(blocks, "What differs in now")
    worse = [row for row in rows if row["metric"].startswith("ms_p50")]
    assert len(worse) == 34
    assert {row["change"] for row in worse} == {"+25.0 %"} and {row["verdict"] for row in worse} == {"▲ WORSE"}
    assert any("base" in series["name"] for chart in charts(blocks).values() for series in chart["series"])


def test_synthetic_is_said_large(report, tmp_path):
    records.write(tmp_path / "base", records.sweep(synthetic=True))
    assert "S  Y  N  T  H  E  T  I  C" in report("base")
    assert "# ⚠ SYNTHETIC" in report("base", "--format", "markdown")
    assert data_of(report("base", "--format", "html"))[0]["kind"] == "alarm"
    records.write(tmp_path / "real", records.sweep())
    assert "SYNTHETIC" not in report("real")


def test_issues_and_hints(report, tmp_path):
    drift = [{"code": "drift", "text": "the last half was 3 % slower"}]
    records.write(tmp_path / "base", [records.record(warnings=drift), records.record(seq_len=256, warnings=drift),
                                      records.failed("crashed", "worker_died", "signal 11", seq_len=512)])
    rows = table(data_of(report("base", "--format", "html")), "issues")
    assert [(row["verdict"], row["why"], row["cells"]) for row in rows] == [("crashed", "worker_died", "1"), ("warning", "drift", "2")]
    assert rows[1]["it says"] == "the last half was 3 % slower" and rows[1]["what helps"]


def test_hostile_names_are_inert(report, tmp_path):
    name = records.HOSTILE
    records.write(tmp_path / "base", records.sweep(models=(name, "tiny"), engines=(name,)))
    text = report("base", "--format", "html")
    page = Page(text)
    assert len(page.scripts) == 3 and len([tag for tag, _ in page.tags if tag == "b"]) == 0
    assert any(name in row["model"] for row in table(data_of(text), "all"))
    assert not [attrs for _, attrs in page.tags for key in attrs if key.startswith("on")]
    policy = next(attrs["content"] for tag, attrs in page.tags if attrs.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy and "unsafe" not in policy
    markdown = report("base", "--format", "markdown")
    outside = re.sub(r"``````.*?``````", "", markdown, flags=re.S)
    assert not re.search(r"(?<!\\)<(?!/?(details|summary)>)", outside)
    assert not re.search(r"(?<!\\)\[[^\]]*\]\(javascript", outside)


def test_title_is_escaped(report, tmp_path):
    folder = "a <b> & \"c\" d"
    records.write(tmp_path / folder, records.sweep())
    page = Page(report(folder, "--format", "html"))
    assert page.title == f"tokmark report: {folder}"


def test_page_refers_to_nothing_else(report, tmp_path):
    records.write(tmp_path / "base", records.sweep())
    page = Page(report("base", "--format", "html"))
    assert not [attrs for _, attrs in page.tags if "src" in attrs]
    assert [attrs["href"] for tag, attrs in page.tags if tag == "link"] == ["data:,"]


@pytest.mark.parametrize("place, expected", [("report.html", "my%20base/samples/"), ("my base/report.html", "samples/"),
                                             ("other/deep/report.html", "../../my%20base/samples/")])
def test_links_go_from_the_page(report, tmp_path, place, expected):
    made = records.record()
    folder = records.write(tmp_path / "my base", [made, records.record(seq_len=256)])
    (folder / "samples").mkdir()
    (folder / "samples" / f"{made['cell_id']}.0.jsonl").write_text("")
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    report("my base", "--format", f"html:{place}", f"markdown:{place}.md")
    rows = next(block for block in data_of((tmp_path / place).read_text()) if block.get("id") == "all")["rows"]
    links = [row[-1].get("h") if isinstance(row[-1], dict) else None for row in rows]
    assert links == [expected + f"{made['cell_id']}.0.jsonl", None]
    assert f"[samples]({expected}{made['cell_id']}.0.jsonl)" in (tmp_path / f"{place}.md").read_text()


def test_published_records_are_enough(report, tmp_path):
    keys = ("framework", "device", "precision", "mode", "seq_len", "batch_size", "steps", "tokens_per_step", "ms_per_step",
            "tokens_per_sec", "mem_alloc_mb", "mem_reserved_mb", "peak_mem_mb", "params_millions", "notes")
    made = [{key: one[key] for key in keys} for one in records.sweep() if one["verdict"] == "ok"]
    records.write(tmp_path / "base", made)
    blocks = data_of(report("base", "--format", "html"))
    rows = table(blocks, "all")
    assert len(rows) == 34 and {row["verdict"] for row in rows} == {"ok"}
    assert rows[0]["throughput"] == "2,000"


def test_damaged_lines_are_told(report, tmp_path):
    folder = records.write(tmp_path / "base", records.sweep())
    with open(folder / "bench_results.jsonl", "a", encoding="utf-8") as file:
        file.write("{broken\n")
    assert "1 line was no record: base/bench_results.jsonl, line 37: " in " ".join(report("base").split())


def test_forms_and_calls(report, tmp_path):
    folder = records.write(tmp_path / "base", records.sweep())
    text = (folder / "bench_results.jsonl").read_text()
    assert "At a glance" in report("-", given=text)
    report("base", "--format", "text:t.txt", "markdown:m.md", "html:h.html")
    assert "At a glance" in (tmp_path / "t.txt").read_text()
    assert (tmp_path / "m.md").read_text().startswith("# tokmark report: base\n")
    assert "did you mean 'html'?" in report("base", "--format", "htm", code=2)
    assert "only one form" in report("base", "--format", "text", "html", code=2)
    assert "alone" in report("base", "-", code=2, given=text)
    assert "not there" in report("not there", code=5)
    (tmp_path / "empty.jsonl").write_text("")
    assert "no record was found" in report("empty.jsonl", code=4)

"""report.html in a browser: no error, no request, no overflow, no barrier; charts that a keyboard reads."""
import itertools
import os
import re
import subprocess

import pytest

import browser as web
import records

TOKMARK = os.environ["TOKMARK_BINARY"]


def page_of(folder, *sets):
    """The URL of a report of these folders."""
    subprocess.run([TOKMARK, "report", *map(str, sets), "--format", f"html:{folder / 'report.html'}"], check=True, cwd=folder)
    return (folder / "report.html").as_uri()


@pytest.fixture(name="browser", scope="module")
def make_browser():
    with web.chromium() as browser:
        yield browser


@pytest.fixture(name="url", scope="module")
def make_url(tmp_path_factory):
    """Two sets of several engines, with failures, warnings, and an engine whose name is an attack."""
    folder = tmp_path_factory.mktemp("report")
    made = records.sweep(engines=("native", records.HOSTILE))
    made[0]["warnings"] = [{"code": "drift", "text": records.HOSTILE}]
    records.write(folder / "base", made)
    records.write(folder / "now", records.sweep(speed=0.8, run_id="r2"))
    return page_of(folder, "base", "now")


@pytest.fixture(name="small_url", scope="module")
def make_small_url(tmp_path_factory):
    """One of each thing that a report has: axe-core looks at every element's colours."""
    folder = tmp_path_factory.mktemp("small")
    made = [one for one in records.sweep(synthetic=True) if one["mode"] == "train"]
    made[0]["warnings"] = [{"code": "drift", "text": records.HOSTILE}]
    records.write(folder / "base", made)
    records.write(folder / "now", [one for one in records.sweep(speed=0.8, run_id="r2") if one["mode"] == "train"])
    return page_of(folder, "base", "now")


@pytest.fixture(name="card_url", scope="module")
def make_card_url(tmp_path_factory):
    """Cells on a card, and courses of a loss."""
    folder = tmp_path_factory.mktemp("card")
    records.write(folder / "base", records.metered_sweep())
    records.trained(folder / "base", "r1", {("native", "fp32"): [10 / (1 + step / 50) for step in range(200)],
                                            ("pytorch", "bf16"): [10 / (1 + step / 48) for step in range(200)]})
    return page_of(folder, "base")


@pytest.mark.parametrize("width, scheme", list(itertools.product(web.WIDTHS, web.SCHEMES)))
def test_limits_open_whole(browser, card_url, width, scheme):
    with web.opened(browser, card_url, width, scheme) as page:
        page.evaluate("window.dispatchEvent(new Event('beforeprint'))")  # charts are drawn as they come into sight
        assert page.faults == [] and web.overflow(page) <= 0
        for title in ("share of the peak", "energy a token", "loss at each step"):
            assert page.locator("figure.chart").filter(has_text=title).count() > 0, title
        assert page.locator("#shares").count() == page.locator("#meters").count() == 1


@pytest.mark.parametrize("width, scheme", list(itertools.product(web.WIDTHS, web.SCHEMES)))
def test_opens_whole(browser, url, width, scheme):
    with web.opened(browser, url, width, scheme) as page:
        assert page.locator("html").get_attribute("data-ready") == "yes"
        assert page.faults == []
        assert web.overflow(page) <= 0
        assert page.locator("svg.plot").count() > 10


@pytest.mark.parametrize("scheme", web.SCHEMES)
def test_axe_finds_nothing(browser, small_url, scheme):
    with web.opened(browser, small_url, scheme=scheme) as page:
        page.evaluate("document.querySelectorAll('details').forEach((one, i) => { if (i < 3) one.open = true; })")
        page.locator("details").last.evaluate("one => { one.open = true; }")
        assert web.violations(page) == []


@pytest.mark.parametrize("scheme", web.SCHEMES)
def test_axe_finds_nothing_among_limits(browser, card_url, scheme):
    with web.opened(browser, card_url, scheme=scheme) as page:
        page.locator("details").first.evaluate("one => { one.open = true; }")
        assert web.violations(page) == []


def test_hostile_names_are_text(browser, url):
    with web.opened(browser, url) as page:
        assert page.evaluate("window.pwned") is None
        assert page.get_by_text(records.HOSTILE).count() > 0
        assert page.locator("a[href^='javascript']").count() == 0
        assert page.locator("td b, th b").count() == 0


def test_keyboard_reads_points(browser, url):
    with web.opened(browser, url) as page:
        chart = page.locator("figure.chart").filter(has_text="throughput by sequence length").first
        chart.locator("svg.plot").focus()
        said = chart.locator(".readout")
        heard = []
        for key in ("ArrowRight", "ArrowRight", "End", "Home", "ArrowDown"):
            page.keyboard.press(key)
            heard.append(said.inner_text())
        places = [re.search(r"sequence length ([\d,]+): ", text).group(1) for text in heard]
        assert places == ["128", "256", "512", "128", "128"]
        assert heard[-1].split(",")[0] != heard[0].split(",")[0]
        assert "tokens/s (" in heard[0]
        page.keyboard.press("Escape")
        assert said.inner_text() == ""


def test_each_chart_has_its_table(browser, url):
    with web.opened(browser, url) as page:
        charts = page.locator("figure.chart")
        assert charts.count() == charts.locator("details").count()
        chart = charts.first
        chart.locator("summary").click()
        cells = chart.locator("tbody tr").first.locator("th, td").all_inner_texts()
        assert cells[1] == "128" and re.fullmatch(r"[\d,]+(\.\d+)?", cells[2])


def test_series_can_be_hidden(browser, url):
    with web.opened(browser, url) as page:
        chart = page.locator("figure.chart").first
        button = chart.locator(".legend button").first
        before = chart.locator("svg.plot .marker").count()
        button.click()
        assert chart.locator(".legend button").first.get_attribute("aria-pressed") == "false"
        assert chart.locator("svg.plot .marker").count() < before


def test_table_sorts_and_filters(browser, url):
    with web.opened(browser, url) as page:
        place = page.locator(".table-block").filter(has=page.locator("#all"))
        place.get_by_role("button", name="throughput").click()
        assert place.locator("th[aria-sort=descending]").inner_text().startswith("throughput")
        titles = [text.split("\n")[0] for text in place.locator("thead th").all_inner_texts()]
        at = titles.index("throughput")
        shown = [row.locator("th, td").nth(at).inner_text() for row in place.locator("tbody tr").all()[:20]]
        values = [float(text.split(" ")[0].replace(",", "")) for text in shown]
        assert values == sorted(values, reverse=True) and len(set(values)) > 1
        place.locator("input").fill("decode bf16 native")
        rows = place.locator("tbody tr").all_inner_texts()
        assert rows and all("decode" in row and "bf16" in row and "native" in row for row in rows)


def test_verdicts_have_a_word(browser, url):
    with web.opened(browser, url) as page:
        for text in page.locator(".verdict").all_inner_texts():
            assert re.search(r"[A-Za-z]{2}", text)
        assert page.locator("text.failed").first.inner_html() == "oom"


@pytest.mark.parametrize("scheme", web.SCHEMES)
def test_series_stand_out(browser, url, scheme):
    """3:1 against the page for lines (WCAG 1.4.11)."""
    def luminance(color):
        parts = [int(color[i:i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    with web.opened(browser, url, scheme=scheme) as page:
        def value(name):
            return page.evaluate("name => getComputedStyle(document.documentElement).getPropertyValue(name).trim()", name)
        back = luminance(value("--page"))
        for i in range(8):
            line = luminance(value(f"--series-{i}"))
            assert (max(line, back) + 0.05) / (min(line, back) + 0.05) >= 3, (i, scheme)


def test_prints_whole(browser, url):
    with web.opened(browser, url, scheme="dark") as page:
        page.emulate_media(media="print", color_scheme="dark")
        page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
        assert page.locator(".chart.waiting").count() == 0
        assert not page.locator("nav").is_visible()
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_ten_thousand_records(browser, tmp_path):
    """A page that can be used: its size and the time it took are printed, and not judged."""
    made = records.sweep(models=[f"model-{i}" for i in range(21)], engines=("native", "pytorch"), seqs=(64, 128, 256, 512, 1024),
                         batches=(1, 2, 4, 8, 16, 32, 64, 128))[:10000]
    assert len(made) == 10000
    records.write(tmp_path / "base", made)
    url = page_of(tmp_path, "base")
    with web.opened(browser, url) as page:
        times = page.evaluate("(() => { const at = performance.getEntriesByType('navigation')[0]; return [at.domInteractive, at.loadEventEnd]; })()")
        print(f"{(tmp_path / 'report.html').stat().st_size / 2**20:.1f} MiB, parsed after {times[0]:.0f} ms, loaded after {times[1]:.0f} ms")
        assert page.faults == []
        assert page.locator("svg.plot").count() >= 12
        place = page.locator(".table-block").filter(has=page.locator("#all"))
        assert place.locator("tbody tr").count() == 100
        assert place.get_by_text("Show all 10,000 rows").is_visible()
        assert page.get_by_text("Left out: ").is_visible()


def test_larger_sets_are_thinned(browser, tmp_path):
    made = [records.record(seq_len=16 + i, cell_id=f"h{i:016x}", mem_parts_mb=None) for i in range(20100)]
    records.write(tmp_path / "base", made)
    with web.opened(browser, page_of(tmp_path, "base")) as page:
        assert page.get_by_text("the table has the first 20000 of 20100 cells").is_visible()
        assert page.get_by_text("charts leave out").is_visible()

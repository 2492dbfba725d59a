"""The live page in a browser: keys, views that a link holds, what comes late or again, barriers, hostile names."""
import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

import browser as web

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "cli"))
from caller import CALM, worker
from serving import TOKMARK, Server, append, line
from waiting import TIMEOUT_S

HOSTILE = "<img src=x onerror=document.title='run'><script>document.title='run'</script>\"'&"


@pytest.fixture(name="browser", scope="module")
def make_browser():
    with web.chromium() as browser:
        yield browser


@pytest.fixture(name="server", scope="module")
def make_server(tmp_path_factory):
    """Two engines, a failed cell, and an engine whose name is an attack. Tests only look."""
    folder = tmp_path_factory.mktemp("live") / "results"
    cells = [line(framework=engine, precision=precision, seq_len=seq, batch_size=batch, tokens_per_sec=1000.0 * seq * batch, ms_per_step=seq / 10)
             for engine in ("pytorch", "jax") for precision in ("fp32", "bf16") for seq in (128, 512) for batch in (1, 8)]
    append(folder, "".join(cells) + "not a record\n" + line(framework=HOSTILE, notes=HOSTILE, tokens_per_sec=None))
    server = Server(folder)
    yield server
    server.end()


def await_page(page, expression):
    """Until it is true: looked at whenever the page changes. Playwright's own way to wait is an eval() in the page, which
    its policy forbids."""
    page.evaluate(f"""() => new Promise((resolve, reject) => {{
        const observer = new MutationObserver(look);
        function look() {{
            if ({expression}) {{
                observer.disconnect();
                resolve();
            }}
        }}
        observer.observe(document, {{subtree: true, childList: true, attributes: true, characterData: true}});
        setTimeout(() => reject(new Error("it never came")), {1000 * TIMEOUT_S});
        look();
    }})""")


@pytest.fixture(name="serve")
def make_serve():
    servers = []

    def start(*args, **options):
        servers.append(Server(*args, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.end()


class Page:
    """A page that has drawn; on leaving there must have been no error and no request to elsewhere."""

    def __init__(self, browser, url, width=1000, scheme="light", may_lose=False, **options):
        self.faults, self.url, self.may_lose = [], url, may_lose
        self.lent = web.lent(browser, web.listeners_of(self.faults, self.is_ours), width, scheme, **options)

    def is_ours(self, url):
        return url.startswith((self.url.split("?")[0], "data:,"))

    def __enter__(self):
        self.page = self.lent.__enter__()
        self.go(self.url)
        return self

    def go(self, url):
        """To another of the server's addresses. Nothing is kept for it, and a new page takes four times as long."""
        self.page.goto(url)
        self.until("document.getElementById('active').textContent.includes('cells shown')")

    def __exit__(self, kind, *_):
        self.lent.__exit__(None, None, None)
        assert kind or [fault for fault in self.faults if not (self.may_lose and "net::ERR_" in fault)] == []

    def __getattr__(self, name):
        return getattr(self.page, name)

    def press(self, *keys):
        for key in keys:
            self.page.keyboard.press(key)

    def text(self, name):
        return self.page.locator(f"#{name}").inner_text()

    def value(self, name):
        return self.page.evaluate(f"document.getElementById('{name}').value")

    def query(self):
        return self.page.evaluate("location.search")

    def until(self, expression):
        await_page(self.page, expression)


# --- keys and views ---


@pytest.mark.parametrize(("key", "name", "values"), [
    ("b", "batch", ["1", "4", "8", ""]), ("s", "seq", ["128", "512", ""]), ("p", "precision", ["bf16", "fp32", ""]),
    ("e", "engine", [HOSTILE, "jax", "pytorch", ""])])
def test_a_key_goes_through_an_axis_and_with_shift_back(browser, server, key, name, values):
    with Page(browser, server.url) as page:
        for value in values:
            page.press(key)
            assert page.value(name) == value and (value in page.text("active")) and (f"{name}=" in page.query()) == (value != "")
        for value in values[-2::-1] + [""]:
            page.press(f"Shift+{key.upper()}")
            assert page.value(name) == value


def test_the_filters_decide_what_is_shown(browser, server):
    with Page(browser, server.url) as page:
        assert page.text("active").startswith("17 of 17 cells shown · no filters")
        page.press("p", "s")
        assert page.text("active").startswith("4 of 17 cells shown · filters: precision bf16, seq 128")
        assert page.locator(".cell b").count() == 4 and page.locator("thead th").count() == 3
        page.press("/")
        page.keyboard.type("jax batch=1")  # letters are text in a field, not keys
        assert page.text("active").startswith("1 of 17") and page.value("text") == "jax batch=1"
        page.press("Escape", "0")
        assert page.query() == "" and page.text("active").startswith("17 of 17")


def test_the_metric_goes_round(browser, server):
    with Page(browser, server.url) as page:
        names = page.evaluate("Object.keys(tokmarkView.METRICS)")
        assert page.value("metric") == names[0] == "tokens_per_sec"
        for name in names[1:] + names[:1]:
            page.press("m")
            assert page.value("metric") == name and page.text("caption").startswith(name)
        page.press("Shift+M")
        assert page.value("metric") == names[-1]


def test_a_baseline_is_what_others_are_compared_with(browser, server):
    with Page(browser, server.url + "?engine=pytorch&precision=fp32") as page:
        page.locator(".cell").first.focus()
        page.press("c")
        cells = page.locator(".cell small").all_inner_texts()
        assert cells == ["baseline", "▲ 8.00× better", "▲ 4.00× better", "▲ 32.00× better"]
        assert "baseline=" in page.query() and "baseline: pytorch train fp32 seq 128 batch 1" in page.text("active")
        link = page.evaluate("location.href")
        page.press("m", "m")  # mean time of a step: less is better
        assert page.locator(".cell small").all_inner_texts()[-1] == "▼ 4.00× worse"
        page.press("c")
        assert "baseline" not in page.query()
    with Page(browser, link) as page:
        assert page.locator(".cell small").all_inner_texts() == cells


def test_table_plot_pause_and_help(browser, server):
    with Page(browser, server.url) as page:
        page.press("t")
        assert page.locator("#chart svg.plot").is_visible() and not page.locator("#matrix").is_visible() and "view=plot" in page.query()
        page.press("t")
        assert page.locator("#matrix").is_visible() and not page.locator("#chart").is_visible()
        page.press(" ")
        assert "paused" in page.text("link")
        page.press(" ")
        assert page.text("link") == "live"
        page.press("?")
        assert page.locator("#keys").is_visible()
        page.press("b")  # nothing behind a window
        page.press("Escape")
        assert not page.locator("#keys").is_visible() and page.query() == ""


def test_every_key_of_the_help_does_what_it_says_while_a_sweep_runs(browser, serve, tmp_path):
    run = [TOKMARK, "run", *CALM, "--mode", "train", "--batch", "1", "2", "--out", str(tmp_path / "r")]
    subprocess.run([*run, "--engine", "null", "--seq", "8", "16", "--steps", "20", "--warmup", "2"], check=True, capture_output=True, timeout=TIMEOUT_S)
    process = subprocess.Popen([*run, "--engine", worker("--step-ms 4"), "--seq", "8", "--steps", "100000"],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    server = serve(tmp_path / "r")
    try:
        with Page(browser, server.url) as page:
            page.until("document.getElementById('now-state').textContent === 'now: measuring'")
            shown = {"batch": lambda: page.value("batch"), "seq": lambda: page.value("seq"), "precision": lambda: page.value("precision"),
                     "engine": lambda: page.value("engine"), "metric": lambda: page.value("metric"), "focus": lambda: page.evaluate("document.activeElement.id"),
                     "text": lambda: page.value("text"), "pinned": lambda: page.locator(".cell.is-pinned").count(), "link": lambda: page.text("link"),
                     "plot": lambda: page.locator("#chart svg.plot").count() and page.locator("#chart").is_visible(),
                     "keys": lambda: page.locator("#keys").is_visible()}
            steps = [("b", "b", "batch", "1"), ("b", "Shift+B", "batch", ""), ("s", "s", "seq", "8"), ("s", "Shift+S", "seq", ""),
                     ("p", "p", "precision", "fp32"), ("p", "Shift+P", "precision", ""), ("m", "m", "metric", "ms_p50"),
                     ("m", "Shift+M", "metric", "tokens_per_sec"), ("/", "/", "focus", "text"), ("/", "n", "text", "n"), ("Esc", "Escape", "focus", ""),
                     ("0", "0", "text", ""), ("c", "c", "pinned", 1), ("c", "c", "pinned", 0), ("c", "c", "pinned", 1), ("0", "0", "pinned", 0),
                     ("space", " ", "link", "paused, 0 new"), ("space", " ", "link", "live"), ("t", "t", "plot", True), ("t", "t", "plot", False),
                     ("?", "?", "keys", True), ("Esc", "Escape", "keys", False), ("e", "e", "engine", worker("--step-ms 4")), ("e", "Shift+E", "engine", "")]
            page.press("?")
            assert set(page.locator("#keys-list dt").all_inner_texts()) == {step[0] for step in steps}
            page.press("Escape")
            for _, key, what, wanted in steps:
                page.press(key)
                assert (key, shown[what]()) == (key, wanted)
            assert page.text("now-state") == "now: measuring" and page.query() == ""
    finally:
        process.kill()
        process.wait()


def test_single_keys_can_be_switched_off(browser, server):
    with Page(browser, server.url) as page:
        page.press("?")
        page.locator("#keys-on").uncheck()
        page.press("Escape", "b", "m", "t")
        assert page.query() == "?keys=off" and not page.locator(".filters kbd").first.is_visible()
        page.locator("#help").click()
        page.locator("#keys-on").check()
        page.press("Escape", "b")
        assert page.query() == "?batch=1"


def test_a_link_holds_the_view(browser, server):
    query = "?engine=jax&precision=bf16&seq=512&batch=8&filter=train&metric=ms_per_step"
    with Page(browser, server.url + query) as page:
        assert page.query() == query and page.text("active").startswith("1 of 17") and page.locator(".cell b").all_inner_texts() == ["51.20"]
        for query in ("?view=plot", "?batch=x&metric=x&view=x", "?filter=%3Cscript%3E", "?engine=" + "a" * 2000, "?__proto__=1&metric=constructor"):
            page.go(server.url + query)
            assert "cells shown" in page.text("active")


def test_the_keyboard_alone_is_enough(browser, server):
    with Page(browser, server.url) as page:
        seen = []
        for _ in range(45):
            page.press("Tab")
            seen.append(page.evaluate("document.activeElement.id || document.activeElement.className"))
        for name in ("skip", "engine", "mode", "precision", "seq", "batch", "metric", "text", "clear", "pin", "pause", "plot", "help", "cell"):
            assert name in seen, (name, seen)
        page.locator(".cell", has_text="128,000").first.focus()
        page.press("Enter")
        assert page.locator("#details").is_visible() and "128,000 tokens/s" in page.text("details")
        page.press("Escape")
        assert page.evaluate("document.activeElement.className").startswith("cell")


# --- what comes ---


def test_a_record_is_shown_as_it_comes_and_one_that_is_paused_later(browser, serve, tmp_path):
    append(tmp_path / "r", line())
    server = serve(tmp_path / "r")
    with Page(browser, server.url) as page:
        append(tmp_path / "r", line(seq_len=1, tokens_per_sec=123456.0))
        page.until("document.getElementById('matrix').innerText.includes('123,456')")
        assert "2 records, 2 cells" in page.text("counts") and page.text("now-label") == "pytorch train fp32 seq 1 batch 4"
        page.press(" ")
        append(tmp_path / "r", line(seq_len=2, tokens_per_sec=222222.0))
        page.until("document.getElementById('link').textContent === 'paused, 1 new'")
        assert "222,222" not in page.text("matrix")
        page.press(" ")
        assert "222,222" in page.text("matrix")


def test_a_server_that_is_killed_and_comes_back(browser, serve, tmp_path):
    append(tmp_path / "r", line())
    first = serve(tmp_path / "r")
    with Page(browser, first.url, may_lose=True) as page:
        first.kill()
        page.until("document.getElementById('link').textContent === 'no connection'")
        append(tmp_path / "r", line(seq_len=1) + line(seq_len=2))
        serve(tmp_path / "r", port=first.port)
        page.until("document.getElementById('counts').textContent === '3 records, 3 cells'")
        assert page.locator(".cell b").count() == 3 and page.text("link") == "live"
        os.replace(tmp_path / "r" / "bench_results.jsonl", tmp_path / "r" / "old")
        append(tmp_path / "r", line(seq_len=9))
        page.until("document.getElementById('counts').textContent === '1 records, 1 cells'")
        assert page.locator(".cell b").count() == 1


def test_a_sweep_while_it_runs(browser, serve, tmp_path):
    server = serve(tmp_path / "r")
    with Page(browser, server.url + "?metric=ms_p50") as page:
        run = [TOKMARK, "run", "--engine", "null", "--mode", "train", "--seq", "8", "16", "--batch", "1", "2", "--steps", "20", "--out", str(tmp_path / "r")]
        process = subprocess.Popen(run, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            page.until("document.querySelectorAll('.cell.is-now').length === 1")
            process.send_signal(signal.SIGSTOP)  # whatever it is at, it stays at
            page.until("/^cell [1-4] of 4/.test(document.getElementById('now-sweep').textContent)")
            page.until("[...document.querySelectorAll('.cell.empty')].some((cell) => cell.textContent === 'waiting')")
            assert re.match("null superintelligence-tiny train fp32 seq [0-9]+ batch [12]$", page.text("now-label"))
            process.send_signal(signal.SIGCONT)
            page.until("document.getElementById('age').textContent.startsWith('finished')")
            assert process.wait() in (0, 3)
        finally:
            process.kill()
            process.wait()
        page.until("document.getElementById('counts').textContent === '4 records, 4 cells'")
        assert page.locator(".cell .verdict").count() == 4 and page.locator(".cell.is-now").count() == 0


def test_a_sweep_that_is_killed_and_resumed_and_a_page_that_comes_late(browser, serve, tmp_path):
    run = [TOKMARK, "run", "--engine", worker("--step-ms 4"), "--mode", "infer", "--seq", "8", "16", "--batch", "1", "2", "--warmup", "2",
           *CALM, "--out", str(tmp_path / "r")]
    server = serve(tmp_path / "r")
    process = subprocess.Popen([*run, "--steps", "300"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with Page(browser, server.url) as page:
            page.until("/^cell 2 of 4/.test(document.getElementById('now-sweep').textContent)")
            page.until("document.getElementById('now-facts').textContent.includes('power')")
            with Page(browser, server.url) as late:  # has the same, also how long it will take
                late.until("/^cell [23] of 4, about .* left/.test(document.getElementById('now-sweep').textContent)")
                assert late.evaluate("document.getElementById('now-progress').value") in (1, 2)
            process.kill()
            process.wait()
            page.until("document.getElementById('age').textContent.startsWith('STALE')")
            page.until("document.getElementById('now-state').textContent === 'cut off: the run was killed'")
            assert page.locator(".cell.is-now").all_inner_texts() == ["? cut off"]
            page.reload()
            page.until("document.getElementById('age').textContent.startsWith('STALE')")
            page.until("document.getElementById('now-state').textContent === 'cut off: the run was killed'")
            subprocess.run([*run, "--steps", "300", "--resume"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
            page.until("document.getElementById('counts').textContent === '4 records, 4 cells'")
            page.until("document.getElementById('age').textContent.startsWith('finished')")
            assert page.locator(".cell b").count() == 4 and page.locator(".cell.is-now").count() == 0
            page.reload()
            page.until("document.getElementById('counts').textContent === '4 records, 4 cells'")
            assert page.locator(".cell b").count() == 4
    finally:
        process.kill()
        process.wait()


# --- what must not happen ---


def test_a_name_is_text_whatever_it_says(browser, server):
    with Page(browser, server.url) as page:
        for query in ("?view=plot", "?overlay", "?metric=ms_per_step&only", ""):
            page.go(server.url + query)
            assert page.title() == "results · tokmark live"
            assert page.evaluate("document.querySelectorAll('img, main script, h1 script').length") == 0
        assert HOSTILE in page.text("matrix") and "1 bad line" in page.text("bad") and "line 17" in page.text("note")


@pytest.mark.parametrize("scheme", web.SCHEMES)
@pytest.mark.parametrize("query", ["", "?view=plot", "?baseline=pytorch/cpu/fp32/train/128/1&batch=8"])
def test_no_barriers(browser, server, scheme, query):
    with Page(browser, server.url + query, scheme=scheme, bypass_csp=True) as page:
        if query == "":
            page.press("?")
            assert web.violations(page.page) == []
            page.press("Escape")
        assert web.violations(page.page) == []


LONG = "a-model-with-a-name-that-is-very-long-" * 4


def live_folder(folder):
    """What a run leaves that is at its second cell, of a model with a long name."""
    cells = [{"cell_id": f"h{batch}", "framework": "native", "device": "cuda:0", "model": LONG, "precision": "fp32", "mode": "train", "seq_len": 128,
              "batch_size": batch, "tokens_per_step": 128 * batch} for batch in (1, 2, 4)]
    begun = int(1000 * time.time())

    def event(name, **fields):
        append(folder, json.dumps({"event": name, "time_ms": begun, "run_id": "r1", "cell_id": "h2", "trial": 0, **fields}) + "\n", "events.jsonl")

    append(folder, line(framework="native", device="cuda:0", model=LONG))
    event("run", pid=os.getpid(), cells_count=3, trials=1, first_cell=0, cells=cells)
    event("cell", cell_id="h1", position=0, state="started", is_sentinel=False)
    begun += 60000
    event("cell", position=1, state="started", is_sentinel=False)
    event("phase", phase="measure")
    for ms in (4.0, 5.0, 4.5):
        event("block", phase="measure", ms_per_step=ms, samples=30, ms_p50=4.5, ms_p50_low=4.2, ms_p50_high=4.9, remaining_ms=30000, loss=2.5)
    event("telemetry", rss_mb=100.5, gpu_sm_mhz=1755, gpu_temperature_c=61, gpu_used_mb=2048, power_w=None, null_reasons={"power_w": "not_supported"})


@pytest.mark.parametrize("scheme", web.SCHEMES)
def test_what_is_measured_now_has_no_barriers_and_fits(browser, serve, tmp_path, scheme):
    live_folder(tmp_path / "r")
    server = serve(tmp_path / "r")
    with Page(browser, server.url, scheme=scheme, bypass_csp=True) as page:
        for query in ("", "?overlay"):
            page.go(server.url + query)
            page.until("document.getElementById('now-interval').textContent.startsWith('95 % interval 4.200 to 4.900 ms')")
            assert page.text("now-sweep").startswith("cell 2 of 3, about ")
            facts = re.sub(r"\s+", " ", page.evaluate("document.getElementById('now-facts').innerText"))
            for text in ("memory 100.5 MiB", "clock 1,755 MHz", "power n/a (not supported)", "heat 61 °C", "card 2,048 MiB", "loss 2.5"):
                assert text in facts or query, (text, facts)
            if not query:
                assert web.violations(page.page) == []
            for width in web.WIDTHS:
                page.page.set_viewport_size({"width": width, "height": 700})
                assert web.overflow(page.page) <= 0, (query, width)


@pytest.mark.parametrize("width", web.WIDTHS)
def test_no_width_overflows(browser, server, width):
    with Page(browser, server.url, width=width) as page:
        assert web.overflow(page.page) <= 0
        page.press("t")
        assert web.overflow(page.page) <= 0
        page.go(server.url + "?overlay")
        assert web.overflow(page.page) <= 0


def test_the_overlay_is_transparent_and_has_no_controls(browser, server):
    with Page(browser, server.url + "?overlay&engine=jax&batch=8") as page:
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgba(0, 0, 0, 0)"
        assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgba(0, 0, 0, 0)"
        assert not page.locator(".filters").is_visible() and not page.locator("#matrix").is_visible()
        assert page.text("now-label").startswith("jax train bf16 seq 512 batch 8") and "4,096,000" in page.text("now-value")
        page.go(server.url + "?metric=ms_per_step&only&engine=jax")
        assert re.sub(r"\s+", " ", page.inner_text("body")).strip() == "51.20 ms"


def test_motion_is_left_out_where_it_is_not_wanted(browser, server):
    for motion, wanted in (("reduce", "none"), ("no-preference", "fresh")):
        with Page(browser, server.url, reduced_motion=motion) as page:
            page.evaluate("document.querySelector('.cell').classList.add('is-new')")
            assert page.evaluate("getComputedStyle(document.querySelector('.cell')).animationName") == wanted


def test_the_token_leaves_the_address(browser, serve, tmp_path):
    append(tmp_path / "r", line())
    server = serve(tmp_path / "r", "--listen", "0.0.0.0")
    url = f"http://127.0.0.1:{server.port}/?" + server.url.split("?")[1]
    context = browser.new_context()
    page = context.new_page()
    page.goto(url)
    await_page(page, "document.getElementById('counts').textContent === '1 records, 1 cells'")
    assert page.evaluate("location.href") == url.split("?")[0] and page.evaluate("document.cookie") == ""
    page.reload()
    await_page(page, "document.getElementById('counts').textContent === '1 records, 1 cells'")
    context.close()

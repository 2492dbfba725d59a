"""How `tokmark serve` does with many records, and how soon a record is told.

    python3 bench/serve.py [--records N] [--cells N] [--browser]

It makes a folder of N records of so many cells, serves it, and prints: time until a page that comes at once has rows, until
all is read, and until a page that comes later has rows and all of them; the server's memory; its processor time while idle,
with and without clients; and how long after its write a record is told. With --browser (needs playwright and chromium)
the same of a real page: first paint, and a record on the screen. Nothing is judged: the numbers are the result.
"""
import argparse
import contextlib
import json
import os
import pathlib
import statistics
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "cli"))
os.environ.setdefault("TOKMARK_BINARY", str(ROOT / "build" / "tokmark"))
from serving import Server, append, line  # the binary is named first


def make(folder, records, cells):
    folder.mkdir()
    with open(folder / "bench_results.jsonl", "w", encoding="utf-8") as file:
        for i in range(records):
            cell = i % cells
            file.write(line(seq_len=cell // 100, batch_size=cell % 100, tokens_per_sec=1000.0 + i % 997, ms_per_step=1 + i % 89))


def cpu_s(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return next(int(text.split()[1]) for text in file if text.startswith("VmRSS")) / 1024


def say(name, value, unit):
    print(f"{name:58} {value:10.2f} {unit}", flush=True)


def since(begun):
    return 1000 * (time.monotonic() - begun)


def idle(pids, seconds=10):
    """Percent of a core that these processes take while nothing is written."""
    before = sum(map(cpu_s, pids))
    time.sleep(seconds)
    return 100 * (sum(map(cpu_s, pids)) - before) / seconds


def descendants(pid):
    found = [pid]
    for parent in found:
        for task in os.listdir(f"/proc/{parent}/task"):
            with open(f"/proc/{parent}/task/{task}/children", encoding="ascii") as file:
                found += map(int, file.read().split())
    return found


def browser_processes():
    """Those of the browser that this script has started."""
    return [pid for pid in descendants(os.getpid()) if "chrom" in os.path.basename(os.readlink(f"/proc/{pid}/exe"))]


def streams(folder, records, cells):
    begun = time.monotonic()
    server = Server(folder)
    stream = server.stream()
    stream.until(lambda event, data: event == "rows")
    say("started just now: first rows of a stream after", since(begun), "ms")
    stream.until_records(records)
    say("all records read and told after", since(begun), "ms")
    begun = time.monotonic()
    late = server.stream()
    late.until(lambda event, data: event == "rows")
    say("later: first rows after", since(begun), "ms")
    assert len(late.dicts(late.until_records(records))) + 50 >= min(cells, records)
    say("all rows after", since(begun), "ms")
    say("memory of the server", rss_mib(server.process.pid), "MiB")
    say("idle, 2 clients: of a core", idle([server.process.pid]), "%")
    waits = []
    for i in range(100):
        append(folder, line(tokens_per_sec=time.time() + i))
        begun = time.monotonic()
        stream.until_records(records + i + 1)
        waits.append(since(begun))
        time.sleep(0.037)
    say("a record is told after, median of 100", statistics.median(waits), "ms")
    say("the slowest", max(waits), "ms")
    say("memory of the server, after that", rss_mib(server.process.pid), "MiB")
    server.end()
    return records + 100


# Of the page itself: when it was asked for, and when the first rows had been painted.
WATCH = """
new MutationObserver((_, watch) => {
    if (!document.querySelector('#matrix tbody tr')) return;
    watch.disconnect();
    requestAnimationFrame(() => setTimeout(() => { window.paintedMs = performance.now(); }, 0));
}).observe(document, {childList: true, subtree: true});
"""


def page(folder, records):
    from playwright.sync_api import sync_playwright
    from shutil import which
    begun = time.monotonic()
    server = Server(folder)
    say("the server answers after", since(begun), "ms")
    with sync_playwright() as playwright, contextlib.closing(playwright.chromium.launch(executable_path=which("chromium"), args=["--no-sandbox"])) as browser:
        tab = browser.new_page()
        tab.add_init_script(WATCH)
        for name in ("first", "again"):
            begun = time.monotonic()
            tab.goto(server.url)
            while not (painted := tab.evaluate("window.paintedMs")):
                time.sleep(0.01)
            say(f"page, opened {name}: first rows painted after", painted, "ms")
            while f"{records:,} records" not in tab.evaluate("document.getElementById('counts').textContent"):
                time.sleep(0.02)
            say("all of them after", since(begun), "ms")
        heap = [tab.evaluate("performance.memory.usedJSHeapSize") / 2**20]
        waits = []
        value = 1000000 + int(time.time()) % 1000000 * 50  # a record that was there already is none
        for i in range(30):
            append(folder, line(seq_len=5, tokens_per_sec=float(value + i)))
            begun = time.monotonic()
            while f"{value + i:,}" not in tab.evaluate("document.getElementById('now-value').textContent"):
                time.sleep(0.001)
            waits.append(since(begun))
            time.sleep(0.041)
        say("page: a record is on the screen after, median of 30", statistics.median(waits), "ms")
        say("the slowest", max(waits), "ms")
        time.sleep(2)
        say("idle, with the page: the server, of a core", idle([server.process.pid]), "%")
        say("the whole browser, of a core", idle(browser_processes()), "%")
        heap.append(tab.evaluate("performance.memory.usedJSHeapSize") / 2**20)
        say("memory of the page's script, before", heap[0], "MiB")
        say("after", heap[1], "MiB")
    server.end()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--cells", type=int, default=10_000)
    parser.add_argument("--browser", action="store_true")
    parser.add_argument("--folder", type=pathlib.Path, help="made before, by this script: is used, and records are added")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as top:
        folder = options.folder or pathlib.Path(top) / "results"
        if not folder.exists():
            make(folder, options.records, options.cells)
        with open(folder / "bench_results.jsonl", "rb") as file:
            records = sum(1 for _ in file)
        print(json.dumps({"records": records, "cells": options.cells, "MiB": (folder / "bench_results.jsonl").stat().st_size >> 20}))
        records = streams(folder, records, options.cells)
        if options.browser:
            page(folder, records)


if __name__ == "__main__":
    main()

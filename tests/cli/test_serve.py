"""`tokmark serve`: its stream, its data and its refusals. The page itself: test_serve_page.py."""
import contextlib
import gzip
import json
import os
import re
import signal
import socket
import subprocess

import pytest

from caller import TOKMARK
from serving import Server, append, line, published
from waiting import TIMEOUT_S

CELLS = [{"seq_len": seq, "batch_size": batch, "precision": precision}
         for precision in ("fp32", "bf16") for seq in (128, 256) for batch in (1, 4)]


@pytest.fixture(name="server", scope="module")
def make_server(tmp_path_factory):
    """One that tests share, which only ask."""
    folder = tmp_path_factory.mktemp("shared") / "results"
    append(folder, "".join(line(**cell) for cell in CELLS))
    server = Server(folder)
    server.stream().until_records(len(CELLS))
    yield server
    assert server.end()[0] == 143


@pytest.fixture(name="serve")
def make_serve(tmp_path):
    servers = []

    def start(folder=tmp_path / "results", *args, **options):
        servers.append(Server(folder, *args, **options))
        return servers[-1]

    start.folder = tmp_path / "results"
    yield start
    for server in servers:
        server.end()


# --- the stream ---


def test_a_stream_opened_late_tells_all(server):
    stream = server.stream()
    events = stream.until_records(len(CELLS))
    rows = stream.dicts(events)
    assert [event for event, _ in events] == ["live-reset", "reset", "rows", "state"]
    assert [{key: row[key] for key in CELLS[0]} for row in rows] == CELLS[::-1]  # newest first
    assert all(row["tokens_per_sec"] == 102400.0 and row["ms_p50"] is None and row["verdict"] == "" for row in rows)
    columns = {column["name"]: column for column in events[1][1]["columns"]}
    assert columns["ms_p50"]["unit"] == "ms" and columns["tokens_per_sec"]["better"] == "higher"


def test_each_record_comes_once_with_its_place(serve):
    append(serve.folder, line())
    stream = serve().stream()
    stream.until_records(1)
    for i in range(5):  # of one cell: none is passed over for a later one
        append(serve.folder, line(tokens_per_sec=float(i)))
        rows = stream.dicts(stream.until_records(i + 2))
        assert [row["tokens_per_sec"] for row in rows] == [i] and rows[0]["count"] == i + 2
        assert stream.last_id.endswith(f"-{(serve.folder / 'bench_results.jsonl').stat().st_size}")


def test_many_records_at_once_all_come(serve):
    append(serve.folder, line())
    stream = serve().stream()
    stream.until_records(1)
    append(serve.folder, "".join(line(tokens_per_sec=float(i), seq_len=i % 7) for i in range(2000)))
    rows = stream.dicts(stream.until_records(2001))
    assert [row["tokens_per_sec"] for row in rows] == list(range(2000))


def test_a_stream_resumes_at_any_record_also_of_another_server(serve):
    append(serve.folder, line())
    first = serve()
    stream = first.stream()
    stream.until_records(1)
    ids = []
    for i in range(6):
        append(serve.folder, line(tokens_per_sec=float(i)))
        stream.until_records(i + 2)
        ids.append(stream.last_id)
    first.kill()
    append(serve.folder, line(tokens_per_sec=6.0))
    second = serve()
    for i, last_id in enumerate(ids):
        again = second.stream(last_id)
        again.columns = stream.columns
        events = again.until_records(8)
        assert "reset" not in [event for event, _ in events]
        assert [row["tokens_per_sec"] for row in again.dicts(events)] == [float(n) for n in range(i + 1, 7)]


def test_a_place_too_long_ago_is_told_as_changed_cells(serve):
    append(serve.folder, line() + line(seq_len=1))
    server = serve()
    stream = server.stream()
    stream.until_records(2)
    append(serve.folder, "".join(line(tokens_per_sec=float(i)) for i in range(5000)))  # more than are kept one by one
    late = server.stream(stream.last_id)
    late.columns = stream.columns
    rows = late.dicts(late.until_records(5002))
    assert rows[-1]["tokens_per_sec"] == 4999 and all(row["seq_len"] == 128 for row in rows)


@pytest.mark.parametrize("last_id", ["", "x", "-1", "0123456789abcdef-1", "0123456789abcdef-99999999999999999999", "\u00e9" * 9])
def test_a_place_of_nothing_begins_anew(server, last_id):
    stream = server.stream(last_id.encode().decode("latin-1"))
    events = stream.until_records(len(CELLS))
    assert "reset" in [event for event, _ in events] and len(stream.dicts(events)) == len(CELLS)


@pytest.mark.parametrize("how", ["replaced", "emptied", "shortened"])
def test_a_file_that_begins_anew_is_told_anew(serve, how):
    path = serve.folder / "bench_results.jsonl"
    append(serve.folder, line() + line(seq_len=1))
    server = serve()
    stream = server.stream()
    stream.until_records(2)
    old_id = stream.last_id
    if how == "replaced":
        append(serve.folder, line(seq_len=7, mode="infer"), "new")
        os.replace(serve.folder / "new", path)
    elif how == "emptied":
        os.truncate(path, 0)
        append(serve.folder, line(seq_len=7, mode="infer"))
    else:
        os.truncate(path, len(line()) // 2)  # inside of its first line, which is then written again
        os.truncate(path, 0)
        append(serve.folder, line(seq_len=7))
    events = stream.until_records(1)
    assert "reset" in [event for event, _ in events] and [row["seq_len"] for row in stream.dicts(events)] == [7]
    again = server.stream(old_id)
    assert [row["seq_len"] for row in again.dicts(again.until_records(1))] == [7]


def test_a_half_line_waits_for_its_end_and_bad_lines_are_counted(serve):
    append(serve.folder, line())
    server = serve()
    stream = server.stream()
    stream.until_records(1)
    append(serve.folder, "not a record\n" + line(seq_len=2)[:40])
    bad = stream.until(lambda event, data: event == "state" and data["bad"] == 1)[-1][1]
    assert "line 2" in bad["note"] and bad["records"] == 1
    append(serve.folder, line(seq_len=2)[40:])
    assert [row["seq_len"] for row in stream.dicts(stream.until_records(2))] == [2]


def test_a_record_that_was_there_counts_once(serve):
    append(serve.folder, line())
    stream = serve().stream()
    stream.until_records(1)
    append(serve.folder, line())
    events = stream.until_records(2)
    assert stream.dicts(events) == [] and events[-1][1]["known"] == 1 and events[-1][1]["cells"] == 1


def test_a_folder_may_come_later(serve):
    server = serve()
    stream = server.stream()
    assert stream.until(lambda event, data: event == "state")[-1][1]["there"] is False
    append(serve.folder, line())
    assert len(stream.dicts(stream.until_records(1))) == 1
    code, errors = server.end(signal.SIGINT)
    assert code == 130 and "not there yet" in errors


@pytest.mark.parametrize("folder, name", [("later", "later"), ("a/later", "later"), (".", "here"), ("/", "/")])
def test_the_page_is_told_the_folders_name(serve, tmp_path, folder, name):
    (tmp_path / "here").mkdir()
    stream = serve(folder, cwd=tmp_path / "here").stream()
    assert stream.until(lambda event, data: event == "reset")[-1][1]["folder"] == name


def test_records_of_tokmark_itself(serve):
    subprocess.run([TOKMARK, "run", "--sandbox", "--mode", "train", "--seq", "128", "256", "--batch", "2", "--steps", "20", "--out", str(serve.folder)],
                   check=True, capture_output=True, timeout=TIMEOUT_S)
    stream = serve().stream()
    rows = stream.dicts(stream.until_records(2))
    written = {record["cell_id"]: record for record in map(json.loads, (serve.folder / "bench_results.jsonl").open())}
    for row in rows:
        record = written[row["cell_id"]]
        for name in ("framework", "model", "verdict", "ms_p50", "ms_p50_low", "tokens_per_sec", "samples", "started_at", "peak_mem_mb"):
            assert row[name] == (record[name] if record[name] is not None or name != "model" else ""), name
        assert row["warnings"].split() == [warning["code"] for warning in record["warnings"]]


def test_events_of_a_run_are_handed_on_and_kept_for_who_comes_late(serve):
    def event(**fields):
        append(serve.folder, json.dumps({"run_id": "r1", "time_ms": 1, **fields}) + "\n", "events.jsonl")

    event(event="run", cells_count=2, cells=[])
    event(event="cell", cell_id="a", position=0)
    event(event="block", ms_per_step=1)
    server = serve()
    stream = server.stream()
    stream.until(lambda event, data: event == "live" and data["event"] == "block")
    event(event="cell", cell_id="b", position=1)
    told = []
    for i in range(400):
        event(event="block", ms_per_step=i)
        if i == 199:
            told += stream.until(lambda event, data: event == "live" and data.get("ms_per_step") == 199)
    append(serve.folder, 'no JSON\n{"event": "bl', "events.jsonl")  # the second is half a line
    told += stream.until(lambda event, data: event == "live" and data.get("ms_per_step") == 399)
    assert [data["ms_per_step"] for event, data in told if event == "live" and data["event"] == "block"] == list(range(400))
    late = server.stream()
    told = [data for event, data in late.until(lambda event, data: event == "live" and data.get("ms_per_step") == 399) if event == "live"]
    assert [data["event"] for data in told[:3]] == ["run", "cell", "cell"]
    assert [data["cell_id"] for data in told[1:3]] == ["a", "b"]  # the first, for the run's speed, and the present one
    assert [data["ms_per_step"] for data in told[3:]] == list(range(100, 400))
    append(serve.folder, 'ock", "run_id": "r2", "ms_per_step":\r7}\n', "events.jsonl")
    assert stream.until(lambda event, data: event == "live")[-1][1]["ms_per_step"] == 7


def test_a_run_whose_process_is_gone_is_told(serve):
    process = subprocess.Popen(["sleep", "1000"])
    text = json.dumps({"event": "run", "run_id": "r1", "time_ms": 1, "pid": process.pid, "cells_count": 2, "cells": []}) + "\n"
    append(serve.folder, text, "events.jsonl")
    stream = serve().stream()
    stream.until(lambda event, data: event == "live" and data["event"] == "run")
    process.kill()
    process.wait()
    assert stream.until(lambda event, data: event == "live")[-1][1] == {"event": "gone"}


def test_a_hundred_clients_at_once(serve):
    append(serve.folder, "".join(line(seq_len=i) for i in range(200)))
    server = serve()
    streams = [server.stream() for _ in range(100)]
    for stream in streams:
        assert len(stream.dicts(stream.until_records(200))) == 200
    append(serve.folder, line(mode="infer"))
    for stream in streams:
        assert [row["mode"] for row in stream.dicts(stream.until_records(201))] == ["infer"]


# --- files, metrics, records ---


@pytest.mark.parametrize(("path", "kind"), [("/", "text/html"), ("/live.js", "text/javascript"), ("/feed.js", "text/javascript"), ("/view.js", "text/javascript"),
                                            ("/charts.js", "text/javascript"), ("/style.css", "text/css"), ("/live.css", "text/css")])
def test_files_of_the_page(server, path, kind):
    status, headers, body = server.get(path + "?overlay")
    assert status == 200 and headers["content-type"].startswith(kind) and int(headers["content-length"]) == len(body) > 500
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';") and "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff" and "access-control-allow-origin" not in headers
    packed = server.get(path, headers={"Accept-Encoding": "br, gzip;q=0.5"})
    assert packed[1]["content-encoding"] == "gzip" and gzip.decompress(packed[2]) == body and len(packed[2]) < len(body)
    assert "content-encoding" not in server.get(path, headers={"Accept-Encoding": "gzip;q=0, br"})[1]
    for tags in (headers["etag"], f'"a", W/{headers["etag"]} , "b"', "*"):
        known = server.get(path, headers={"If-None-Match": tags})
        assert known[0] == 304 and known[2] == b"" and known[1]["etag"] == headers["etag"]
    assert server.get(path, headers={"If-None-Match": '"other"'})[0] == 200
    head = server.get(path, method="HEAD")
    assert head[0] == 200 and head[2] == b"" and int(head[1]["content-length"]) == len(body)


def test_the_page_has_nothing_from_elsewhere_and_nothing_inline(server):
    text = server.get("/")[2].decode()
    assert not re.search(r"https?://|style=|\son\w+=|<style|<script>", text)
    for name in ("live.js", "feed.js", "view.js", "charts.js"):
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", server.get("/" + name)[2].decode())


def test_metrics_are_of_the_form_that_prometheus_reads(serve):
    append(serve.folder, line(framework='a"b\\c') + line(seq_len=1, peak_mem_mb=None) + "bad\n")
    server = serve()
    server.stream().until_records(2)
    status, headers, body = server.get("/metrics")
    assert status == 200 and headers["content-type"].startswith("text/plain; version=0.0.4") and body.endswith(b"\n")
    families, samples = [], {}
    for text in body.decode().splitlines():
        if text.startswith("# "):
            word, name = text.split()[1:3]
            families += [name] if word == "HELP" else []
            assert families[-1] == name
            continue
        match = re.fullmatch(r'(\w+)(\{(?:\w+="(?:[^"\\\n]|\\["\\n])*",?)*\})? (\S+)', text)
        assert match and match[1] == families[-1] and match[1] + (match[2] or "") not in samples, text
        samples[match[1] + (match[2] or "")] = float(match[3])
    assert len(families) == len(set(families))
    assert samples["tokmark_records_total"] == 2 and samples["tokmark_bad_lines_total"] == 1
    assert [value for name, value in samples.items() if name.startswith("tokmark_peak_memory_bytes")] == [3 * 2 ** 20]
    assert any('framework="a\\"b\\\\c"' in name for name in samples)


def test_records_as_they_stand(server):
    status, headers, body = server.get("/api/records")
    assert status == 200 and headers["content-type"].startswith("application/x-ndjson")
    assert body == (server.folder / "bench_results.jsonl").read_bytes()
    assert json.loads(server.get("/api/records?format=json")[2]) == [published(**cell) for cell in CELLS]


@pytest.mark.parametrize(("query", "count"), [
    ("precision=bf16", 4), ("precision=bf16&seq_len=128", 2), ("seq_len=1e2", 0), ("batch_size=4.0", 4), ("loss_last=null", 8),
    ("limit=3", 3), ("limit=0", 0), ("precision=%62f16&limit=1", 1), ("token=x", 8)])
def test_records_by_query(server, query, count):
    assert len(json.loads(server.get(f"/api/records?format=json&{query}")[2])) == count


def test_records_with_some_fields(server):
    body = server.get("/api/records?fields=seq_len,mode&limit=1")[2]
    assert json.loads(body) == {"seq_len": 128, "mode": "train"}


@pytest.mark.parametrize(("query", "word"), [("mod=train", "'mode'"), ("seq_len=long", "whole number"), ("fields=x", "x"),
                                             ("format=xml", "jsonl"), ("limit=-1", "-1"), ("&".join(["mode=a"] * 40), "more than"),
                                             ("fields=" + ",".join(["mode"] * 400), "more than")])
def test_a_query_that_is_wrong_says_why(server, query, word):
    status, _, body = server.get(f"/api/records?{query}")
    assert status == 400 and word in body.decode()


def test_records_of_nothing(serve):
    status, _, body = serve().get("/api/records")
    assert status == 404 and b"cannot read" in body


# --- who is refused ---


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example:{port}", "localhost:1", "localhost", "127.0.0.1", "10.0.0.1:{port}",
                                  "[::1", "[]:{port}", ":{port}", "localhost:{port}0", "localhost:+{port}", "0.0.0.0:{port}", "", "a" * 3000])
def test_a_host_that_is_not_ours(server, host):
    for path in ("/", "/events", "/metrics", "/api/records"):
        assert server.get(path, host=host.format(port=server.port))[0] in ((421,) if host else (400, 421))


@pytest.mark.parametrize("host", ["localhost:{port}", "LOCALHOST:{port}", "127.0.0.1:{port}", "[::1]:{port}"])
def test_a_host_that_is_ours(server, host):
    assert server.get("/", host=host.format(port=server.port))[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW"])
def test_only_reading(server, method):
    status, headers, _ = server.get("/", method=method, body=b"x" * 100)
    assert status == 405 and headers["allow"] == "GET, HEAD"


def test_a_body_is_not_read(server):
    assert server.get("/", body=b"x" * 100000)[0] == 200
    both = f"GET /view.js HTTP/1.1\r\nHost: localhost:{server.port}\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
    answer = server.raw(both.encode())  # ends: what follows is not taken for a request
    assert answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 400")) and b"Connection: close" in answer and answer.count(b"HTTP/1.") == 1


@pytest.mark.parametrize("path", ["/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/..%2f..%2fetc/passwd", "//etc/passwd", "/live.js/", "/live%00",
                                  "/LIVE.JS", "/bench_results.jsonl", "/logs/", "/api", "/api/records/", "/%", "/%zz", "/\\..\\x"])
def test_no_path_leads_to_files(server, path):
    status, headers, body = server.get(path)
    assert status == 404 and b"root:" not in body and headers["content-type"].startswith("text/plain")


def test_other_sites_are_refused(server):
    def status(**headers):
        return server.get("/events" if "mode" not in headers else "/",
                          headers={f"Sec-Fetch-{name.title()}": value for name, value in headers.items()}, method="HEAD")[0]

    assert status(site="cross-site") == 403 and status(site="cross-site", mode="no-cors") == 403
    assert status(site="cross-site", mode="navigate") == 200 and status(site="same-origin") == 200 and status(site="none") == 200


@pytest.mark.parametrize("data", [
    b"GET / HTTP/1.1\r\nHost: localhost:{port}\r\nX: " + b"a" * 100000 + b"\r\n\r\n",
    b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost:{port}\r\n" + b"A: b\r\n" * 20000 + b"\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 500 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
    b"\r\n\r\n\r\nnonsense\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost:{port}\r\nContent-Length: -5\r\n\r\n",
], ids=["header", "line", "headers", "tls", "no-host", "version", "nonsense", "length"])
def test_what_is_no_request(server, data):
    connection = server.raw(data.replace(b"{port}", str(server.port).encode()), reads=False)
    answer = b""
    with contextlib.closing(connection), contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_WR)
        while more := connection.recv(65536):
            answer += more
    assert answer == b"" or answer.startswith(b"HTTP/1."), answer[:100]
    assert b" 200 " not in answer
    assert server.get("/")[0] == 200


def test_half_open_and_silent_clients_hold_nobody_up(serve):
    append(serve.folder, line())
    server = serve()
    open_ones = [server.raw(b"GET /events HTTP/1.1\r\nHost: loc", reads=False) for _ in range(60)]
    silent = [server.raw(f"GET /events HTTP/1.1\r\nHost: localhost:{server.port}\r\n\r\n".encode(), reads=False) for _ in range(20)]
    stream = server.stream()
    stream.until_records(1)
    append(serve.folder, "".join(line(tokens_per_sec=float(i), notes="x" * 500) for i in range(3000)))
    assert len(stream.dicts(stream.until_records(3001))) == 3000
    for connection in open_ones + silent:
        connection.close()
    assert server.records() == 3001


# --- other machines ---


TOKEN = "0123456789abcdefXYZ-._~"


@pytest.fixture(name="open_server", scope="module")
def make_open_server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("open")
    append(folder / "results", line())
    (folder / "token").write_text(TOKEN + "\n")
    (folder / "token").chmod(0o600)
    server = Server(folder / "results", "--listen", "0.0.0.0", "--token-file", str(folder / "token"))
    yield server
    server.end()


def test_others_need_the_token(open_server):
    assert open_server.url.endswith(f"/?token={TOKEN}")
    cookie = f"tokmark_{open_server.port}"
    for path in ("/", "/live.js", "/events", "/metrics", "/api/records", "/nothing"):
        status, headers, _ = open_server.get(path, method="HEAD")
        assert status == 401 and headers["www-authenticate"] == "Bearer" and "set-cookie" not in headers
    wrong = ["", "x", TOKEN[:-1], TOKEN + "x", TOKEN.lower(), TOKEN * 2, "x" * len(TOKEN)]
    for token in wrong:
        assert open_server.get(f"/?token={token}")[0] == 401
        assert open_server.get("/", headers={"Authorization": f"Bearer {token}"})[0] == 401
        assert open_server.get("/", headers={"Cookie": f"{cookie}={token}"})[0] == 401
    assert open_server.get("/", headers={"Authorization": f"Basic {TOKEN}"})[0] == 401
    assert open_server.get("/", headers={"Cookie": f"x{cookie}={TOKEN}; {cookie}x={TOKEN}"})[0] == 401
    assert open_server.get("/", headers={"Authorization": f"Bearer {TOKEN}"})[0] == 200
    assert open_server.get("/metrics", headers={"Cookie": f"a=b; {cookie}={TOKEN};c=d"})[0] == 200
    headers = open_server.get(f"/?token={TOKEN}")[1]
    assert headers["set-cookie"] == f"{cookie}={TOKEN}; Path=/; HttpOnly; SameSite=Strict"


def test_others_ask_by_an_address_or_our_name(open_server):
    def status(host):
        return open_server.get("/", host=host.format(port=open_server.port), headers={"Authorization": f"Bearer {TOKEN}"})[0]

    assert status("10.1.2.3:{port}") == status("[fe80::1]:{port}") == status(socket.gethostname() + ":{port}") == 200
    assert status("evil.example:{port}") == status("10.1.2.3") == status("1.2.3.4.evil.example:{port}") == 421


def test_a_token_is_made_up_where_none_is_given(serve):
    append(serve.folder, line())
    tokens = {serve(serve.folder, "--listen", "0.0.0.0").url.split("?token=")[1] for _ in range(2)}
    assert len(tokens) == 2 and all(re.fullmatch("[0-9a-f]{32}", token) for token in tokens)


@pytest.mark.parametrize(("args", "word"), [
    (["--token-file", "token"], "--listen"), (["--listen", "0.0.0.0", "--token-file", "others"], "chmod 600"),
    (["--listen", "0.0.0.0", "--token-file", "short"], "no token"), (["--listen", "example.org"], "no address"),
    (["--listen", "0.0.0.0", "--token-file", "none"], "none")])
def test_a_call_that_is_wrong(call, args, word):
    for name, text, mode in [("token", TOKEN, 0o600), ("others", TOKEN, 0o644), ("short", "abc", 0o600)]:
        (call.folder / name).write_text(text)
        (call.folder / name).chmod(mode)
    done = call("serve", "_bench", "--port", "0", *args)
    assert done.returncode == (5 if "none" in args else 2) and word in done.stderr and done.stdout == ""


def test_a_port_that_is_taken(server, call):
    done = call("serve", "_bench", "--port", str(server.port), code=5)
    assert "--port 0" in done.stderr


def test_without_the_library_it_says_what_to_install(call):
    (call.folder / "libmicrohttpd.so.12").write_bytes(b"no library")
    done = call("serve", "_bench", "--port", "0", code=5, env={"LD_LIBRARY_PATH": str(call.folder)})
    assert "apt install libmicrohttpd12" in done.stderr

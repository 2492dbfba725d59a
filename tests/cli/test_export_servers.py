"""`tokmark export --to URL`: servers started here take what it sends, and say no in the ways that servers do."""
import base64
import http.server
import json
import os
import subprocess
import sys
import threading

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from prometheus_client.parser import text_string_to_metric_families

import export_sources
from export_sources import HOSTILE, cell, export, hostile, line
from ports import free_port
from waiting import TIMEOUT_S

# The tracking server itself: `mlflow server` starts it beside services that nobody here asks for.
MLFLOW = """
import os, sys
os.environ["_MLFLOW_SERVER_FILE_STORE"], os.environ["_MLFLOW_SERVER_ARTIFACT_ROOT"] = sys.argv[2:4]
from mlflow.server import app
from werkzeug.serving import make_server
make_server("127.0.0.1", int(sys.argv[1]), app, threaded=True).serve_forever()
"""


@pytest.fixture(scope="module", name="mlflow")
def start_mlflow(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mlflow")
    port = free_port()
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    with subprocess.Popen([sys.executable, "-c", MLFLOW, str(port), f"sqlite:///{folder}/db", str(folder / "artifacts")], cwd=folder,
                          env=environment, stderr=subprocess.DEVNULL) as server:
        try:
            url = f"http://127.0.0.1:{port}"
            export_sources.await_answer(server, f"{url}/health")
            yield url
        finally:
            server.kill()


@pytest.fixture(scope="module", name="pushgateway")
def start_pushgateway():
    port = free_port()
    with subprocess.Popen(["prometheus-pushgateway", f"--web.listen-address=127.0.0.1:{port}"], stderr=subprocess.DEVNULL) as server:
        try:
            url = f"http://127.0.0.1:{port}"
            export_sources.await_answer(server, f"{url}/-/ready")
            yield url
        finally:
            server.kill()


class Recorder(http.server.ThreadingHTTPServer):
    """Answers what it was told to, one after the other, then 200; keeps what it was asked."""

    def __init__(self, answers=()):
        self.answers, self.asked = list(answers), []
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.thread = threading.Thread(target=self.serve_forever)
        self.thread.start()

    def __exit__(self, *_):
        self.shutdown()
        self.thread.join()
        self.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.asked.append((self.command, self.path, self.headers, body))
        code, text, headers = self.server.answers.pop(0) if self.server.answers else (200, "{}", {})
        if code is None:  # neither yes nor no
            self.close_connection = True
            return
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    do_GET = do_POST = do_PUT = answer

    def log_message(self, *_):
        pass


# --- Pushgateway ---

def pushed(url):
    found = {}
    for family in text_string_to_metric_families(export_sources.get(f"{url}/metrics")):
        for sample in family.samples:
            if sample.name.startswith("tokmark_"):
                found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def test_pushgateway_takes_it_and_a_second_push_replaces_the_first(pushgateway):
    run = export("prometheus", "-", "--to", pushgateway, stdin=hostile())
    assert run.stdout == f"{pushgateway}: {len(HOSTILE)} records\n"
    found = pushed(pushgateway)["tokmark_tokens_per_second"]
    assert {labels["model"] for labels, _ in found} == set(HOSTILE)
    assert {labels["job"] for labels, _ in found} == {"tokmark"}
    export("prometheus", "-", "--to", f"{pushgateway}/", stdin=cell(1, tokens_per_sec=7.0))
    assert [value for _, value in pushed(pushgateway)["tokmark_tokens_per_second"]] == [7.0]
    export("prometheus", "-", "--to", f"{pushgateway}/metrics/job/other/instance/x", stdin=cell(2))
    assert {labels["job"] for labels, _ in pushed(pushgateway)["tokmark_tokens_per_second"]} == {"tokmark", "other"}


def test_a_refusal_comes_in_the_servers_words(pushgateway):
    run = export("prometheus", "-", "--to", f"{pushgateway}/metrics/nonsense", stdin=line(), code=5)
    assert f"{pushgateway}/metrics/nonsense answered 40" in run.stderr
    with Recorder([(413, "<html>\n  too\tlarge\x1b[31m\n</html>", {})]) as server:
        run = export("prometheus", "-", "--to", server.url.replace("//", "//me:secret@"), stdin=line(), code=5)
    assert f"{server.url}/metrics/job/tokmark answered 413: <html> too large [31m </html>" in run.stderr
    assert "secret" not in run.stderr + run.stdout
    assert server.asked[0][2]["Authorization"] == "Basic " + base64.b64encode(b"me:secret").decode()


# --- any server ---

def test_only_what_may_be_sent_twice_is_sent_again():
    busy = (503, "later", {"Retry-After": "1"})
    with Recorder([busy]) as server:
        export("prometheus", "-", "--to", server.url, stdin=line())
    assert [asked[:2] for asked in server.asked] == [("PUT", "/metrics/job/tokmark")] * 2
    assert server.asked[0][3] == server.asked[1][3]
    with Recorder([(None, "", {})]) as server:
        export("otlp", "-", "--to", server.url, stdin=line())
    assert len(server.asked) == 2
    found = (200, json.dumps({"experiment": {"experiment_id": "1"}}), {})
    with Recorder([found, (200, "{}", {}), busy]) as server:
        run = export("mlflow", "-", "--to", server.url, stdin=line(), code=5)
    assert [asked[1] for asked in server.asked][1:] == ["/api/2.0/mlflow/runs/search", "/api/2.0/mlflow/runs/create"]
    assert "answered 503: later" in run.stderr
    with Recorder([(500, "broken", {})]) as server:
        assert "answered 500: broken" in export("otlp", "-", "--to", server.url, stdin=line(), code=5).stderr
    assert len(server.asked) == 1


def test_nobody_there_a_server_that_hangs_and_no_proxy_for_this_machine():
    port = free_port()
    assert f"no answer from http://127.0.0.1:{port}" in export("prometheus", "-", "--to", f"http://127.0.0.1:{port}", stdin=line(), code=5).stderr
    with subprocess.Popen([sys.executable, "-c", "import socket\ns = socket.socket()\ns.bind(('127.0.0.1', 0))\ns.listen()\n"
                           "print(s.getsockname()[1], flush=True)\ninput()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as silent:
        url = f"http://127.0.0.1:{silent.stdout.readline().strip()}"
        assert "no answer from" in export("prometheus", "-", "--to", url, "--timeout", "0.2s", stdin=line(), code=5).stderr
        silent.communicate("\n")
    with Recorder() as server:
        proxies = {name: f"http://127.0.0.1:{port}" for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")}
        export("otlp", "-", "--to", server.url, stdin=line(), env={**proxies, "no_proxy": "", "NO_PROXY": ""})
    assert len(server.asked) == 1


def test_without_libcurl_it_says_what_to_install(tmp_path):
    for name in ("libcurl.so.4", "libcurl-gnutls.so.4"):
        (tmp_path / name).touch()  # found first, and no library
    run = export("prometheus", "-", "--to", "http://127.0.0.1:9", stdin=line(), code=5, env={"LD_LIBRARY_PATH": str(tmp_path)})
    assert "install libcurl4" in run.stderr


# --- OpenTelemetry ---

def test_otlp_is_what_its_protocol_says():
    with Recorder() as server:
        export("otlp", "-", "--to", server.url, "--fields", "ms_p50,tokens_per_sec,steps", stdin=hostile() + line(mode="infer"),
               env={"OTEL_EXPORTER_OTLP_HEADERS": "x-key=one,authorization=Bearer two=2"})
    (method, path, headers, body), = server.asked
    assert (method, path, headers["Content-Type"]) == ("POST", "/v1/metrics", "application/json")
    assert (headers["x-key"], headers["authorization"]) == ("one", "Bearer two=2")
    text = export("otlp", "-", "--fields", "ms_p50,tokens_per_sec,steps", stdin=hostile() + line(mode="infer")).stdout
    assert text.encode() == body + b"\n"
    request = json_format.Parse(body, ExportMetricsServiceRequest())
    metrics = {metric.name: metric for metric in request.resource_metrics[0].scope_metrics[0].metrics}
    assert {name: metric.unit for name, metric in metrics.items()} == {"tokmark.ms_p50": "ms", "tokmark.tokens_per_sec": "{token}/s",
                                                                      "tokmark.steps": "1"}
    points = metrics["tokmark.steps"].gauge.data_points
    assert {point.as_int for point in points} == {30} and len(points) == len(HOSTILE) + 1
    point = metrics["tokmark.ms_p50"].gauge.data_points[0]
    assert (point.as_double, point.time_unix_nano) == (2.4, 1767323045678000000)
    attributes = {item.key: item.value for item in point.attributes}
    assert (attributes["model"].string_value, attributes["seq_len"].int_value, attributes["cell_id"].string_value) == (HOSTILE[0], 1,
                                                                                                                    "h0000000000000001")
    with Recorder([(200, json.dumps({"partialSuccess": {"rejectedDataPoints": "3", "errorMessage": "too old"}}), {})]) as server:
        assert "refused some results: too old" in export("otlp", "-", "--to", server.url, stdin=line(), code=5).stderr


@pytest.mark.parametrize("rejected, code", [(3, 5), ("3", 5), (0, 0), ("0", 0), (None, 0)])
def test_otlp_rejects_what_is_counted(rejected, code):
    """int64 is a text in protobuf's JSON; servers write a number, too, and a message beside none that is rejected is a warning."""
    with Recorder([(200, json.dumps({"partialSuccess": {"rejectedDataPoints": rejected, "errorMessage": "old names"}}), {})]) as server:
        run = export("otlp", "-", "--to", server.url, stdin=line(), code=code)
    assert ("refused some results: old names" in run.stderr) == (code == 5)


def test_otlp_sends_many_records_in_requests_of_some_size():
    many = "".join(cell(number, model="m" * 200) for number in range(1500))
    with Recorder() as server:
        export("otlp", "-", "--to", f"{server.url}/otlp/v1/metrics", "--fields", "ms_p50", stdin=many)
    assert len(server.asked) > 1 and {asked[1] for asked in server.asked} == {"/otlp/v1/metrics"}
    assert max(len(asked[3]) for asked in server.asked) < 2**20
    points = [point for asked in server.asked for point in json.loads(asked[3])["resourceMetrics"][0]["scopeMetrics"][0]["metrics"][0]["gauge"]
              ["dataPoints"]]
    assert len(points) == 1500


# --- TensorBoard ---

def test_tensorboard_serves_what_is_exported(tmp_path):
    export("tensorboard", "-", "--to", tmp_path / "board", stdin=hostile())
    port = free_port()
    url = f"http://127.0.0.1:{port}/data/plugin/scalars"
    with subprocess.Popen([sys.executable, "-m", "tensorboard.main", "--logdir", tmp_path / "board", "--host", "127.0.0.1", "--port", str(port),
                           "--load_fast=false"], stderr=subprocess.DEVNULL) as server:
        try:
            export_sources.await_answer(server, f"{url}/tags", lambda text: len(json.loads(text)) == len(HOSTILE))
            tags = json.loads(export_sources.get(f"{url}/tags"))
            run = next(name for name in tags if name.endswith("h0000000000000001"))
            points = json.loads(export_sources.get(f"{url}/scalars?tag=tokens_per_sec&run={run}"))
        finally:
            server.kill()
    assert tags[run]["ms_p50"]["description"] == "<p>Median step (ms)</p>"
    assert points == [[1767323045.678, 0, 204800.0]]


# --- MLflow ---

def ask(url, path, body):
    """Another client of the server."""
    data = json.dumps(body).encode()
    request = export_sources.urllib.request.Request(f"{url}/api/2.0/mlflow/{path}", data, {"Content-Type": "application/json"})
    opener = export_sources.urllib.request.build_opener(export_sources.urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=TIMEOUT_S) as answer:
        return json.loads(answer.read())


def runs_of(url, name):
    experiments = ask(url, "experiments/search", {"max_results": 100})["experiments"]
    number = next(item["experiment_id"] for item in experiments if item["name"] == name)
    return number, ask(url, "runs/search", {"experiment_ids": [number], "max_results": 1000}).get("runs", [])


def pairs(items):
    return {item["key"]: item["value"] for item in items}


def test_mlflow_has_a_run_for_each_record_once(mlflow):
    environment = {"MLFLOW_EXPERIMENT_NAME": "näme / \"with\" & all"}
    source = hostile() + cell(99, verdict="oom", tokens_per_sec=None, ms_per_step=None)
    run = export("mlflow", "-", "--to", f"{mlflow}/", stdin=source, env=environment)
    assert run.stdout == f"{mlflow}/: {len(HOSTILE)} records\n"
    _, runs = runs_of(mlflow, environment["MLFLOW_EXPERIMENT_NAME"])
    assert len(runs) == len(HOSTILE) + 1
    by_cell = {pairs(run["data"]["params"])["cell_id"]: run for run in runs}
    for number, name in enumerate(HOSTILE):
        data = by_cell[f"h{number + 1:016x}"]["data"]
        assert pairs(data["params"])["model"] == name[:500]
        assert pairs(data["metrics"])["ms_p50"] == 2.4
        assert pairs(data["tags"])["tokmark.verdict"] == "ok"
    info = by_cell["h0000000000000001"]["info"]
    assert (info["status"], info["start_time"], info["end_time"]) == ("FINISHED", 1767323045678, 1767323045678 + 75)
    assert by_cell[f"h{99:016x}"]["info"]["status"] == "FAILED"
    # Again, with one more: the address comes from the environment this time.
    run = export("mlflow", "-", stdin=source + cell(100), env={**environment, "MLFLOW_TRACKING_URI": mlflow})
    assert run.stdout == f"{mlflow}: {len(HOSTILE) + 1} records; {len(HOSTILE) + 1} already there\n"
    assert len(runs_of(mlflow, environment["MLFLOW_EXPERIMENT_NAME"])[1]) == len(HOSTILE) + 2


def test_mlflow_run_that_was_left_half_is_finished(mlflow):
    environment = {"MLFLOW_EXPERIMENT_NAME": "half"}
    export("mlflow", "-", "--to", mlflow, stdin=cell(1), env=environment)
    number, (run,) = runs_of(mlflow, "half")
    tags = pairs(run["data"]["tags"])
    ask(mlflow, "runs/delete", {"run_id": run["info"]["run_id"]})
    # What a kill between two requests leaves.
    ask(mlflow, "runs/create", {"experiment_id": number, "start_time": 1, "tags": [{"key": "tokmark.record", "value": tags["tokmark.record"]}]})
    export("mlflow", "-", "--to", mlflow, stdin=cell(1), env=environment)
    _, (run,) = runs_of(mlflow, "half")
    assert run["info"]["status"] == "FINISHED" and pairs(run["data"]["metrics"])["tokens_per_sec"] == 204800.0


def test_mlflow_credentials_come_from_the_environment():
    answer = (200, json.dumps({"experiment": {"experiment_id": "1"}}), {})
    with Recorder([answer, (401, "no", {})]) as server:
        export("mlflow", "-", "--to", server.url, stdin=line(), env={"MLFLOW_TRACKING_TOKEN": "abc"}, code=5)
    assert server.asked[0][2]["Authorization"] == "Bearer abc"
    with Recorder([answer, (401, "no", {})]) as server:
        export("mlflow", "-", "--to", server.url, stdin=line(), env={"MLFLOW_TRACKING_USERNAME": "a", "MLFLOW_TRACKING_PASSWORD": "b"}, code=5)
    assert server.asked[0][2]["Authorization"] == "Basic " + base64.b64encode(b"a:b").decode()
    assert "needs --to http://" in export("mlflow", "-", stdin=line(), code=2, env={"MLFLOW_TRACKING_URI": ""}).stderr

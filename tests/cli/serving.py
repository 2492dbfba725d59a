"""A server of `tokmark serve` under test, and a client of its stream."""
import contextlib
import http.client
import json
import os
import select
import signal
import socket
import subprocess

from caller import TOKMARK
from waiting import TIMEOUT_S

def published(**fields):
    """A record as the published scripts write it."""
    record = {"framework": "pytorch", "device": "cpu", "precision": "fp32", "mode": "train", "seq_len": 128, "batch_size": 4,
              "steps": 10, "tokens_per_step": 512, "ms_per_step": 5.0, "tokens_per_sec": 102400.0, "mem_alloc_mb": 1.0,
              "mem_reserved_mb": 2.0, "peak_mem_mb": 3.0, "params_millions": 1.5, "notes": ""}
    return {**record, **fields}


def line(**fields):
    return json.dumps(published(**fields)) + "\n"


def append(folder, text, name="bench_results.jsonl"):
    folder.mkdir(exist_ok=True)
    with open(folder / name, "a", encoding="utf-8", newline="") as file:
        file.write(text)


class Stream:
    """Events as they come."""

    def __init__(self, server, last_id=None, path="/events", headers=None):
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=TIMEOUT_S)
        lines = [f"GET {path} HTTP/1.1", f"Host: localhost:{server.port}"]
        lines += [f"Last-Event-ID: {last_id}"] if last_id else []
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode())
        self.file = self.socket.makefile("rb")
        self.status = int(self.file.readline().split()[1])
        while self.file.readline() not in (b"\r\n", b""):
            pass
        self.text, self.columns, self.last_id = b"", [], last_id

    def _more(self):
        size = int(self.file.readline() or b"0", 16)
        if size == 0:
            raise EOFError
        self.text += self.file.read(size)
        self.file.readline()

    def next(self):
        """(event, data) of the next event."""
        while True:
            while b"\n\n" not in self.text:
                self._more()
            block, self.text = self.text.split(b"\n\n", 1)
            fields = dict((part.split(": ", 1) + [""])[:2] for part in block.decode().split("\n"))
            if "id" in fields:
                self.last_id = fields["id"]
            if "event" in fields:
                data = json.loads(fields["data"])
                if fields["event"] == "reset":
                    self.columns = [column["name"] for column in data["columns"]]
                return fields["event"], data

    def until(self, is_last):
        """The events up to the first for which is_last(event, data)."""
        found = []
        while not found or not is_last(*found[-1]):
            found.append(self.next())
        return found

    def until_records(self, count):
        """The events up to the state in which so many records are read."""
        return self.until(lambda event, data: event == "state" and data["at_end"] and data["records"] == count)

    def dicts(self, events):
        """The rows of events, single ones and those in slices, as dicts."""
        rows = []
        for event, data in events:
            rows += [data] if event == "row" else data if event == "rows" else []
        return [dict(zip(self.columns, row)) for row in rows]

    def close(self):
        self.file.close()
        self.socket.close()


class Server:
    def __init__(self, folder, *args, env=None, port=0, cwd=None):
        self.folder = folder
        self.process = subprocess.Popen([TOKMARK, "serve", str(folder), "--port", str(port), *args], text=True, cwd=cwd,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        env={**os.environ, **(env or {})})
        assert select.select([self.process.stdout], [], [], TIMEOUT_S)[0]
        self.url = self.process.stdout.readline().strip()
        assert self.url, self.process.stderr.read()
        self.port = int(self.url.split("?")[0].rstrip("/").rsplit(":", 1)[1])
        self.streams = []

    def stream(self, *args, **options):
        stream = Stream(self, *args, **options)
        self.streams.append(stream)
        return stream

    def get(self, path, method="GET", host=None, headers=None, body=None):
        """(status, headers, body)"""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_S)) as connection:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            if host is not False:
                connection.putheader("Host", f"localhost:{self.port}" if host is None else host)
            for name, value in (headers or {}).items():
                connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            response = connection.getresponse()
            return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()

    def raw(self, data, reads=True):
        """What comes back for these bytes until the server ends the connection."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT_S)
        with contextlib.suppress(ConnectionError):
            connection.sendall(data)
        if not reads:
            return connection
        found = b""
        with contextlib.closing(connection), contextlib.suppress(ConnectionError):
            while more := connection.recv(65536):
                found += more
        return found

    def records(self):
        """How many the server has read."""
        text = self.get("/metrics")[2].decode()
        return int(text.split("\ntokmark_records_total ")[1].split("\n")[0])

    def kill(self):
        self.process.kill()
        self.process.wait()

    def end(self, number=signal.SIGTERM):
        """(exit code, stderr); what the sanitizers find makes it fail."""
        for stream in self.streams:
            stream.close()
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            _, errors = self.process.communicate(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        assert "Sanitizer" not in errors, errors
        return self.process.returncode, errors

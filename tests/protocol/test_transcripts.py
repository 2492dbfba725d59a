#!/usr/bin/env python3
"""Holds workers against transcripts of the worker protocol (docs/protocol.md).

    TOKMARK_WORKER='my-worker --flag' python3 tests/protocol/test_transcripts.py [NAME...]

Without TOKMARK_WORKER: `worker null` of TOKMARK_BINARY (default build/tokmark), and the example
worker. Runs by itself or under pytest; needs the standard library only.

A transcript is a text file, one item a line:

    # comment
    > LINE              the host writes LINE
    > @open [k=JSON] [-k]   the host writes the request of open.json with keys set or taken away
    > @oversize         the host writes a line of 2 MiB
    > @half TEXT        the host writes TEXT without an end of line
    > @if-ready LINE    skipped, with its reply, if the last reply was not `ready`
    < PATTERN           one line must come; every key of PATTERN must match
    eof                 the host closes the worker's input
    exit N              the worker must end with code N and have written nothing more

In a PATTERN `"$text"` matches a string that is not empty, `"$count"` a whole number, 0 or more,
`"$positive"` one over 0, `"$counts N"` a list of N counts, `"$absent"` a key that is not there or
null, `"$either A B"` one of those words. Every reply is also checked against the rules that hold
for all: one JSON object, no key twice, a known type, `step_ns` within `window_ns`.
"""
import json
import os
import selectors
import shlex
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
TRANSCRIPTS = os.path.join(HERE, "transcripts")
TIMEOUT_S = 300  # only what hangs meets it, however busy the machine
LINE_BYTES_MAX = 1 << 20
REPLIES = {"hello", "ready", "block", "memory", "check", "bye", "error"}


class Broken(AssertionError):
    """The worker did something else than the transcript says."""


def workers():
    """name -> words of the command."""
    given = os.environ.get("TOKMARK_WORKER")
    if given:
        return {"given": shlex.split(given)}
    binary = os.environ.get("TOKMARK_BINARY", os.path.join(ROOT, "build", "tokmark"))
    example = os.path.join(ROOT, "examples", "exec_worker.py")
    return {"null": [binary, "worker", "null"], "example": [sys.executable, example]}


class Worker:
    """Of the words that start it, or of its process."""

    def __init__(self, words):
        self.process = words if hasattr(words, "poll") else subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        self.pending = b""
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.process.stdout, selectors.EVENT_READ)

    def write(self, data):
        try:
            while data:
                data = data[self.process.stdin.write(data):]
        except BrokenPipeError:
            pass  # it has ended already: what it answered is still to be read

    def end_input(self):
        if not self.process.stdin.closed:
            self.process.stdin.close()

    def _more(self, deadline):
        """More bytes; b"" at the end of the stream."""
        if not self.selector.select(max(0.0, deadline - time.monotonic())):
            raise Broken(f"no answer within {TIMEOUT_S} s")
        return self.process.stdout.read(65536)

    def line(self):
        deadline = time.monotonic() + TIMEOUT_S
        while b"\n" not in self.pending:
            data = self._more(deadline)
            if not data:
                raise Broken(f"the stream ended; left over: {self.pending!r}")
            self.pending += data
            if len(self.pending) > 2 * LINE_BYTES_MAX:
                raise Broken("a line over the limit")
        line, self.pending = self.pending.split(b"\n", 1)
        if len(line) > LINE_BYTES_MAX:
            raise Broken("a line over the limit")
        return line

    def rest(self):
        deadline = time.monotonic() + TIMEOUT_S
        rest = self.pending
        while data := self._more(deadline):
            rest += data
        return rest

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
        self.end_input()
        self.process.stdout.close()
        self.selector.close()
        self.process.wait()


def is_count(value):
    return type(value) is int and value >= 0


def matches(pattern, value):
    if not (isinstance(pattern, str) and pattern.startswith("$")):
        return pattern == value and type(pattern) is type(value)
    word, *arguments = pattern.split()
    if word == "$text":
        return isinstance(value, str) and value != ""
    if word == "$count":
        return is_count(value)
    if word == "$positive":
        return is_count(value) and value > 0
    if word == "$counts":
        return (isinstance(value, list) and len(value) == int(arguments[0])
                and all(map(is_count, value)))
    if word == "$absent":
        return value is None
    if word == "$either":
        return value in arguments
    raise ValueError(f"no matcher {word}")


def no_twice(pairs):
    keys = [key for key, _ in pairs]
    if len(keys) != len(set(keys)):
        raise Broken(f"a key twice: {keys}")
    return dict(pairs)


def no_constant(name):
    raise Broken(f"{name} is no JSON")


def check_reply(line):
    """The rules that hold for every reply."""
    try:
        reply = json.loads(line.decode(), object_pairs_hook=no_twice, parse_constant=no_constant)
    except ValueError as why:
        raise Broken(f"no JSON: {why}: {line[:200]!r}") from None
    if not isinstance(reply, dict) or reply.get("type") not in REPLIES:
        raise Broken(f"no reply of a known type: {line[:200]!r}")
    if reply["type"] == "block" and sum(reply.get("step_ns") or []) > reply["window_ns"]:
        raise Broken("step_ns adds up to more than window_ns")
    return reply


def open_request(words):
    with open(os.path.join(HERE, "open.json"), encoding="utf-8") as file:
        request = json.load(file)
    for word in words:
        if word.startswith("-"):
            del request[word[1:]]
        else:
            key, value = word.split("=", 1)
            request[key] = json.loads(value)
    return json.dumps(request)


def host_line(text):
    """(bytes to write, is it only for a worker that is ready?)"""
    word, _, rest = text.partition(" ")
    if word == "@open":
        return (open_request(rest.split()) + "\n").encode(), False
    if word == "@oversize":
        return b'{"type":"memory","x":"' + b"x" * (2 * LINE_BYTES_MAX) + b'"}\n', False
    if word == "@half":
        return rest.encode(), False
    if word == "@if-ready":
        return (rest + "\n").encode(), True
    return (text + "\n").encode(), False


def play(items, worker):
    last = None
    is_skipping = False
    for item in items:
        word, _, rest = item.partition(" ")
        if word == ">":
            data, needs_ready = host_line(rest)
            is_skipping = needs_ready and last != "ready"
            if not is_skipping:
                worker.write(data)
        elif word == "<" and not is_skipping:
            reply = check_reply(worker.line())
            last = reply["type"]
            for key, pattern in json.loads(rest).items():
                if not matches(pattern, reply.get(key)):
                    raise Broken(f"'{key}' does not match {pattern!r}: {json.dumps(reply)[:300]}")
        elif word == "eof":
            worker.end_input()
        elif word == "exit":
            rest_bytes = worker.rest()
            if rest_bytes:
                raise Broken(f"more than was asked for: {rest_bytes[:200]!r}")
            code = worker.process.wait(TIMEOUT_S)
            if code != int(rest):
                raise Broken(f"ended with code {code}, not {rest}")
        elif word not in ("<", ">"):
            raise ValueError(f"what is '{item}'?")


def run_transcript(name, words):
    with open(os.path.join(TRANSCRIPTS, name + ".txt"), encoding="utf-8") as file:
        items = [line.rstrip("\n") for line in file if line.strip() and not line.startswith("#")]
    worker = Worker(words)
    done = []
    try:
        play(((done.append(item), item)[1] for item in items), worker)
    except Broken as why:
        raise Broken(f"{name}: at '{done[-1]}': {why}") from None
    finally:
        worker.stop()


def names():
    return sorted(name[:-4] for name in os.listdir(TRANSCRIPTS) if name.endswith(".txt"))


def make_test(worker, name):
    def test():
        run_transcript(name, workers()[worker])

    return test


for _worker in workers():
    for _name in names():
        globals()[f"test_{_worker}_{_name}"] = make_test(_worker, _name)


def main(wanted):
    failed = 0
    for worker, words in workers().items():
        for name in wanted or names():
            try:
                run_transcript(name, words)
            except Broken as why:
                failed += 1
                print(f"FAIL {worker}: {why}")
    total = len(workers()) * len(wanted or names())
    print(f"{total - failed} of {total} transcripts passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

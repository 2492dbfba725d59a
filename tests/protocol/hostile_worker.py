#!/usr/bin/env python3
"""A worker that breaks one rule, for the tests of the supervisor. Otherwise it is well-behaved.

usage: hostile_worker.py FAULT PHASE [ARGUMENT] [MARKER]

PHASE is the request at which the fault happens: hello, open, run, memory or close; `run` means the
first block, `run3` the third. MARKER is ignored: tests look for it in the process list.
Before a FAULT that is spelled `alarm-FAULT` the one that started the worker gets SIGALRM.
"""
import json
import os
import signal
import subprocess
import sys
import time

IS_ALARMING = sys.argv[1].startswith("alarm-")
FAULT, PHASE = sys.argv[1].removeprefix("alarm-"), sys.argv[2]
ARGUMENT = sys.argv[3] if len(sys.argv) > 3 else ""
MARKER = sys.argv[4] if len(sys.argv) > 4 else ""

out = os.fdopen(os.dup(1), "wb", buffering=0)
os.dup2(2, 1)


def send(message):
    out.write(json.dumps(message).encode() + b"\n")


step_ns = 100
leaked = []


def hang():
    while True:
        time.sleep(3600)


def reply_to(request):
    kind = request["type"]
    if kind == "hello":
        return {"type": "hello", "version": 1, "engine": "hostile", "engine_version": "9",
                "pid": os.getpid(), "synthetic": FAULT == "synthetic"}
    if kind == "open":
        return {"type": "ready", "load_ns": 1000, "threads": 1, "backend": "none",
                "notes": "hostile"}
    if kind == "run":
        steps = request["steps"]
        block = {"type": "block", "steps": steps, "sync": request["sync"], "window_ns": step_ns * steps,
                 "loss": 2.5, "nonfinite": 0}
        if request["sync"] == "step":
            block["step_ns"] = [step_ns] * steps
        if FAULT == "prepare":  # no fault: takes its time for the data, and says so
            before = time.monotonic_ns()
            time.sleep(0.1)
            block.update(prepare_ns=time.monotonic_ns() - before, observe_ns=1000)
        if FAULT == "leak":  # never so long at a block that anybody would look at its memory meanwhile
            time.sleep(0.02)
            leaked.append(bytearray(os.urandom(1)) * (4 << 20))
        return block
    if kind == "memory":
        return {"type": "memory", "rss_bytes": 5 << 20, "rss_baseline_bytes": 1 << 20,
                "rss_peak_bytes": 7 << 20, "allocated_bytes": 3 << 20}
    return {"type": "bye"}


def eat_memory():
    held = []
    while True:
        held.append(bytearray(os.urandom(1)) * (8 << 20))
        time.sleep(0.01)


def misbehave(reply):
    """Does the fault. Returns the reply to send, if any."""
    global step_ns
    if IS_ALARMING:
        os.kill(os.getppid(), signal.SIGALRM)
    if FAULT == "creep":  # from the next block on
        step_ns = int(ARGUMENT)
    elif FAULT == "hang":
        hang()
    elif FAULT == "ignore-term":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        hang()
    elif FAULT == "slow":
        time.sleep(float(ARGUMENT))
        return reply
    elif FAULT == "exit":
        sys.stderr.write("last words\n")
        sys.stderr.flush()
        os._exit(int(ARGUMENT))
    elif FAULT == "signal":
        os.kill(os.getpid(), int(ARGUMENT))
        hang()
    elif FAULT == "garbage":
        out.write(b"\x00\xff\xfe not json\n" if ARGUMENT == "binary" else b"Hello, world\n")
        hang()
    elif FAULT == "nul":
        out.write(b'{"type":"by\x00e"}\n')
        hang()
    elif FAULT == "half":
        out.write(b'{"type":"blo')
        os._exit(0)
    elif FAULT == "half-killed":
        out.write(b'{"type":"blo')
        os.kill(os.getpid(), signal.SIGSEGV)
    elif FAULT == "half-grandchild":
        out.write(b'{"type":"blo')
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)", MARKER],
                         stdout=out.fileno())
        os._exit(0)
    elif FAULT == "oversize":
        out.write(b'{"type":"bye","x":"' + b"x" * (2 << 20) + b'"}\n')
        hang()
    elif FAULT == "drip":
        while True:
            out.write(b"x")
            time.sleep(0.002)
    elif FAULT == "version":
        return dict(reply, version=2)
    elif FAULT == "unknown":
        return {"type": "greetings"}
    elif FAULT == "flood":
        while True:
            out.write(b'{"type":"bye"}\n' * 1000)
    elif FAULT == "flood-stderr":
        line = b"noise " * 1000 + b"\n"
        for _ in range(int(ARGUMENT) * 1024 // 6):
            os.write(2, line)
        return reply
    elif FAULT == "eat":
        eat_memory()
    elif FAULT == "close-stdout":
        out.close()
        hang()
    elif FAULT == "grandchild":
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)", MARKER],
                         stdout=out.fileno())
        os._exit(int(ARGUMENT))
    elif FAULT == "twice":
        out.write((json.dumps(reply) + "\n").encode() * 2)
        return None
    elif FAULT == "late-twice":  # the second copy takes the place of the next reply
        send(reply)
        time.sleep(0.2)
        return reply
    elif FAULT == "wrong-reply":
        return {"type": ARGUMENT, "steps": 1, "sync": "block", "window_ns": 1}
    elif FAULT == "error":
        return {"type": "error", "kind": ARGUMENT, "text": "as asked"}
    elif FAULT == "error-oom-bytes":
        return {"type": "error", "kind": "oom", "text": "too big", "needed_bytes": 2000,
                "available_bytes": 1000, "scope": "device"}
    elif FAULT == "with":
        return dict(reply, **json.loads(ARGUMENT))
    return reply


def main():
    runs = 0
    for line in sys.stdin:
        request = json.loads(line)
        phase = request["type"]
        if phase == "run":
            runs += 1
        reply = reply_to(request)
        if PHASE in (phase, phase + str(runs)) and (runs <= 1 or PHASE != "run"):
            reply = misbehave(reply)
        if reply is not None:
            send(reply)
        if phase == "close":
            if FAULT == "linger":  # after its last word
                hang()
            return


main()

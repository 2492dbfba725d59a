#!/usr/bin/env python3
"""A worker for the command line's tests: steps of a chosen length, cells that fail on purpose.

usage: worker.py [--step-ms MS] [--oom-seq N] [--crash-seq N] [--device-ns NS] [--stubborn]
                 [--starts FILE] [--open-s S] [--ready FILE] [--uneven] [--nonfinite] [--verify WHAT] [--die-at N] [--slower-after N]

--starts FILE: a line for each worker that is started, the last for all that follow: the ns that it
says each of its steps took (give or take 0.1 %), or the word crash.
"""
import argparse
import json
import os
import signal
import sys
import time

# of a width that it need not ask the terminal for: that imports what takes a sixth of a start
parser = argparse.ArgumentParser(formatter_class=lambda prog: argparse.HelpFormatter(prog, width=100))
parser.add_argument("--step-ms", type=float, default=1.0)
parser.add_argument("--oom-seq", type=int, default=0)
parser.add_argument("--room", type=int, default=0, help="tokens of a step, on one device, over which it says oom")
parser.add_argument("--slow-over", type=int, default=0, help="rows over which a step's time grows with their square")
parser.add_argument("--crash-seq", type=int, default=0)
parser.add_argument("--device-ns", type=int, default=0, help="per step, by a device of its own")
parser.add_argument("--stubborn", action="store_true", help="does not end on SIGTERM")
parser.add_argument("--starts", help="what each worker started says")
parser.add_argument("--open-s", type=float, default=0, help="time that opening the model takes, for rows over 32")
parser.add_argument("--hold", help="where this file is there, the sequence length in it is never opened")
parser.add_argument("--ready", help="JSON file: more that it says of its model, by sequence length or for all")
parser.add_argument("--uneven", action="store_true", help="says steps of 1 to 3 ms, in no order")
parser.add_argument("--verify", choices=["same", "differs", "no"], help="what it says a step must give")
parser.add_argument("--slower-after", type=int, default=0, help="steps after which they take 3 ms more")
parser.add_argument("--die-at", type=int, default=0, help="the block in which it dies")
parser.add_argument("--nonfinite", action="store_true", help="its losses are no numbers")
options = parser.parse_args()
if options.uneven:  # importing it takes a quarter of a start
    import random

    random.seed(1)


def devices_of(message):
    """Of "cpu:4" 4, each with its own rows."""
    return int(message["device"].partition(":")[2] or 1) if "parallel" in message else 1


def take_start(path):
    """This worker's line of the file; the next worker finds the next one first."""
    with open(path, encoding="utf-8") as file:
        lines = file.read().split()
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(lines[1:] or lines) + "\n")
    return lines[0]


def is_held(seq_len):
    if options.hold is None or not os.path.exists(options.hold):
        return False
    with open(options.hold, encoding="utf-8") as file:
        return int(file.read()) == seq_len


start = take_start(options.starts) if options.starts else None

out = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)
if options.stubborn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


blocks_count = steps_count = rows = 0


def send(message_type, **fields):
    out.write(json.dumps({"type": message_type, **fields}) + "\n")


def run(request):
    global blocks_count, steps_count
    blocks_count += 1
    if blocks_count == options.die_at:
        os.kill(os.getpid(), signal.SIGKILL)
    begin = time.monotonic_ns()
    step_ns = []
    is_said = start or options.uneven or options.slow_over
    for i in range(request["steps"] if is_said else 0):
        steps_count += 1
        more_ns = 3000000 if 0 < options.slower_after < steps_count else 0
        if options.slow_over:
            step_ns.append(int(1e6 * max(1, (rows / options.slow_over) ** 2)))
            continue
        step_ns.append(random.randint(1000000, 3000000) + more_ns if options.uneven
                       else int(start) + (i % 3 - 1) * int(start) // 1000)
    time.sleep(sum(step_ns) / 1e9)
    for _ in range(0 if is_said else request["steps"]):
        before = time.monotonic_ns()
        time.sleep(options.step_ms / 1000)
        step_ns.append(time.monotonic_ns() - before)
    fields = {"step_ns": step_ns} if request["sync"] == "step" else {}
    if options.device_ns:
        fields["device_ns"] = options.device_ns * request["steps"]
    if options.nonfinite:
        fields["nonfinite"] = 1
    send("block", steps=request["steps"], sync=request["sync"],
         window_ns=sum(step_ns) if is_said else time.monotonic_ns() - begin, loss=2.5, **fields)


for line in sys.stdin:
    message = json.loads(line)
    kind = message["type"]
    rows = message.get("batch_size", rows)
    if kind == "hello":
        send("hello", version=1, engine="test", engine_version="1", pid=os.getpid(), synthetic=False,
             verifies=options.verify is not None)
    elif kind == "open" and 0 < options.room < message["seq_len"] * message["batch_size"] / devices_of(message):
        send("error", kind="oom", text="there is no room", needed_bytes=2000, available_bytes=1000, scope="device")
    elif kind == "open" and message["seq_len"] == options.oom_seq:
        send("error", kind="oom", text="does not fit", needed_bytes=2000, available_bytes=1000,
             scope="host")
    elif kind == "open" and (message["seq_len"] == options.crash_seq or start == "crash"):
        sys.stderr.write("last words of the worker\n")
        sys.stderr.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    elif kind == "open":
        time.sleep(options.open_s if message["seq_len"] > 32 else 0)
        if is_held(message["seq_len"]):
            signal.pause()
        more = json.load(open(options.ready, encoding="utf-8")) if options.ready else {}
        send("ready", tokens_data="text novel.txt (1234 tokens)", backend="python",
             **more.get(str(message["seq_len"]), more.get("all", {})))
    elif kind == "run":
        run(message)
    elif kind == "memory":
        device = {"device_used_bytes": 3 << 20, "device_total_bytes": 8 << 20}
        send("memory", **(device if options.device_ns else {}))
    elif kind == "verify":
        assert options.verify, "the host asks only whoever offers it"
        send("verify", **{"same": {"loss": 2.5}, "differs": {"loss": 2.6}, "no": {"why_not": "no way"}}[options.verify])
    elif kind == "close":
        send("bye")
        break

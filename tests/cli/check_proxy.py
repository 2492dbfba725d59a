"""The native worker behind a proxy that spoils its answer to `check`, for test_check.py.

    python3 check_proxy.py FAULT [ARGUMENT]

With no fault it is the native engine under another name. Needs the standard library only.
"""
import json
import os
import struct
import subprocess
import sys
import time

PROXY = os.path.abspath(__file__)
FAULT = sys.argv[1] if len(sys.argv) > 1 else "none"
ARGUMENT = sys.argv[2] if len(sys.argv) > 2 else ""


class Tensors:
    """A safetensors file taken apart: name -> (dtype, shape, bytes)."""

    def __init__(self, path):
        with open(path, "rb") as file:
            data = file.read()
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8:8 + length])
        header.pop("__metadata__", None)
        self.items = {}
        for name, entry in header.items():
            begin, end = entry["data_offsets"]
            content = bytearray(data[8 + length + begin:8 + length + end])
            self.items[name] = [entry["dtype"], entry["shape"], content]

    def write(self, path):
        header, offset = {}, 0
        for name, (dtype, shape, content) in self.items.items():
            header[name] = {"dtype": dtype, "shape": shape,
                            "data_offsets": [offset, offset + len(content)]}
            offset += len(content)
        text = json.dumps(header).encode()
        with open(path, "wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            for _, _, content in self.items.values():
                file.write(content)


def put_float(content, index, value):
    content[4 * index:4 * index + 4] = struct.pack("<f", value)


def read_float(content, index):
    return struct.unpack_from("<f", content, 4 * index)[0]


def spoil(path):
    if FAULT == "no-output":
        os.unlink(path)
        return
    if FAULT == "garbage-output":
        with open(path, "wb") as file:
            file.write(os.urandom(4096))
        return
    if FAULT == "cut-output":
        os.truncate(path, os.path.getsize(path) - 100)
        return
    if FAULT == "fifo":
        os.unlink(path)
        os.mkfifo(path)
        return
    tensors = Tensors(path)
    entry = tensors.items.get(ARGUMENT)
    if FAULT == "nan":
        put_float(entry[2], 0, float("nan"))
    elif FAULT == "inf":
        put_float(entry[2], 0, float("inf"))
    elif FAULT == "shape":
        entry[1] = [len(entry[2]) // 4]
    elif FAULT == "dtype":
        entry[0] = "I32"
    elif FAULT == "drop":
        del tensors.items[ARGUMENT]
    elif FAULT == "no-weights":
        for name in [name for name in tensors.items if name.startswith("weight.")]:
            del tensors.items[name]
    elif FAULT == "zero":
        entry[2][:] = bytes(len(entry[2]))
    tensors.write(path)


def misbehave(reply):
    """In place of the reply to `check`."""
    if FAULT == "hang":
        time.sleep(1000)
    if FAULT == "exit":
        print("last words", file=sys.stderr, flush=True)
        os._exit(3)
    if FAULT == "garbage":
        return "Hello, world"
    if FAULT == "error":
        return json.dumps({"type": "error", "kind": ARGUMENT, "text": "as asked"})
    return json.dumps(reply)


def main():
    native = subprocess.Popen([os.environ["TOKMARK"], "worker", "native"], text=True,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    for line in sys.stdin:
        request = json.loads(line)
        native.stdin.write(line)
        native.stdin.flush()
        reply = json.loads(native.stdout.readline())
        if reply["type"] == "hello":
            reply["engine"] = "proxy"
            reply["pid"] = os.getpid()
            reply["synthetic"] = FAULT == "synthetic"
        if reply["type"] == "ready" and FAULT == "params":
            reply["params_total"] += 1
        answer = json.dumps(reply)
        if reply["type"] == "check":
            spoil(request["output"])
            answer = misbehave(reply)
        print(answer, flush=True)
        if request["type"] == "close":
            break


if __name__ == "__main__":
    main()

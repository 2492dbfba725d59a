"""The least that a server of forked workers does (docs/protocol.md, "Forked workers"), for the tests of who asks it.

usage: fork_server.py FILE ...: each start of it adds a byte to FILE, each request its own to FILE.asked. Its workers do
nothing.
"""
import json
import os
import socket
import sys


def say(kind, **fields):
    os.write(1, json.dumps({"type": kind, **fields}).encode() + b"\n")


def fork_worker():
    """Forked twice, so that it becomes the host's; its process id."""
    pid_read, pid_write = os.pipe()
    middle = os.fork()
    if middle == 0:
        if os.fork() != 0:
            os._exit(0)
        os.setpgid(0, 0)
        os.write(pid_write, str(os.getpid()).encode())  # it leads its group by now
        os.execlp("sleep", "sleep", "1000")
    os.close(pid_write)
    os.waitpid(middle, 0)
    pid = int(os.read(pid_read, 20))
    os.close(pid_read)
    return pid


with open(sys.argv[1], "a", encoding="ascii") as starts:
    starts.write(".")
requests = socket.socket(fileno=0)
say("serving")
while True:
    byte, fds, _, _ = socket.recv_fds(requests, 1, 3)
    if not byte:
        break
    with open(sys.argv[1] + ".asked", "ab") as asked:
        asked.write(byte)
    say("forked", pid=fork_worker())
    for fd in fds:
        os.close(fd)

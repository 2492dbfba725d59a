"""Ranks: a process a device, forked from the worker when a cell of several devices opens. (Those that a launcher has
started: rank_meeting.py.)

Rank 0 is the worker and speaks to the host; the others do what it does, with their own part of the rows.
They are in its process group and are killed with it. What they print goes to the log.
"""
import os
import signal
import sys
import threading

from . import protocol
from .worker import die_with_parent


class Followers:
    """The other ranks, as rank 0 sees them: processes, and one pipe each that closes when it ends."""

    local_ranks = None  # as the ranks

    def __init__(self):
        self.hosts = []
        self._pids = {}  # rank -> pid
        self._pipes = {}
        self._is_ending = False

    def fork(self, count):
        """The rank of the process that returns: 0 in the worker, 1 to `count` in the followers."""
        _flush()
        self.hosts = ["here"] * (count + 1)
        for rank in range(1, count + 1):
            read_fd, write_fd = os.pipe()
            pid = os.fork()
            if pid == 0:
                self._become_follower(read_fd)
                return rank
            os.close(write_fd)
            self._pids[rank], self._pipes[rank] = pid, read_fd
        return 0

    def _become_follower(self, read_fd):
        """The write end of the pipe stays open as long as this process lives; nothing of the host's does."""
        if not die_with_parent():
            os._exit(0)
        for fd in (read_fd, *self._pipes.values()):
            os.close(fd)
        protocol.close_streams()
        self._pids, self._pipes = {}, {}

    def name(self, rank):
        return f"rank {rank}"

    def any_end(self):
        """Of a connection: these have none."""
        return None

    def watch(self, on_end):
        """Calls on_end(rank, how it ended) in a thread of its own when one ends before end() is called."""
        for rank, fd in self._pipes.items():
            threading.Thread(target=self._wait, args=(rank, fd, on_end), daemon=True).start()

    def _wait(self, rank, fd, on_end):
        os.read(fd, 1)  # nothing is ever written
        if not self._is_ending:
            on_end(rank, _how_it_ended(self._pids[rank]))

    def end(self):
        """Kills what is left: whatever these processes hold is theirs alone."""
        self._is_ending = True
        for pid in self._pids.values():
            try:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            except (ProcessLookupError, ChildProcessError):
                pass
        self._pids = {}


def _flush():
    """What is buffered would come out once for every process."""
    for file in (sys.stdout, sys.stderr):
        file.flush()


def _how_it_ended(pid):
    try:
        _, status = os.waitpid(pid, 0)
    except ChildProcessError:
        return "its process ended"
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        return f"its process was killed by {signal.Signals(-code).name}"
    return f"its process exited with code {code}"

"""Where ranks that a launcher has started (launcher.py) meet, on one host or several, and see each other end.

Rank 0 listens. Every other one connects, says who it is, and hears who the others are, each in a line of JSON. Then
the connection lies still. It ends with either process, and where a host does not answer any more, which the kernel
finds out (TCP keepalive): no thread of ours is woken while steps are timed.
"""
import contextlib
import errno
import fcntl
import json
import os
import select
import selectors
import signal
import socket
import struct
import sys
import threading
import time

from .errors import WorkerError, describe_error

_LINE_BYTES_MAX = 1 << 20
_BACKLOG = 1024
_HELLO_S = 10.0  # for a line, once connected
_RETRY_S = 0.1
# A host that has not answered for so long is gone: its kernel answers, however busy its processes are.
_SILENT_S = 4
_PROBE_S = 2
_PROBES = 3
_LEAVE_S = 2.0  # for ranks that are let go
_SIOCGIFADDR = 0x8915


def _failed(text):
    return WorkerError("internal", text)


def host_name():
    return socket.gethostname()


class Joined:
    """The other ranks, as rank 0 sees them: a connection each."""

    address = "127.0.0.1"  # of rank 0, to this one

    def __init__(self, place):
        self.place = place
        self.hosts = [host_name()] + [None] * (place.count - 1)
        self.local_ranks = [place.local_rank] + [None] * (place.count - 1)
        self._ends = {}  # rank -> connection
        self._is_ending = False

    def name(self, rank):
        return f"rank {rank} on {self.hosts[rank]}"

    # --- meeting ---

    def gather(self, publish=None):
        """Waits until all have come. `publish` tells them of the port, where they cannot know it."""
        try:
            with self._listen(0 if publish else self.place.port) as listener:
                if publish:
                    publish(listener.getsockname()[1])
                self._gather(listener)
        except WorkerError as error:
            self.refuse(error.text)
            raise
        self.local_ranks = _local_ranks(self.hosts, self.local_ranks)
        where = ", ".join(f"{rank} on {host}" for rank, host in enumerate(self.hosts))
        print(f"tokmark: ranks {where}", file=sys.stderr, flush=True)

    def _listen(self, port):
        try:
            return open_listener(port)
        except OSError as error:
            raise _failed(
                f"rank 0 on {self.hosts[0]} cannot listen at port {port}, where the others look for it "
                f"({error.strerror or error}); MASTER_PORT chooses another"
            ) from None

    def _gather(self, listener):
        until = time.monotonic() + self.place.join_s
        while len(self._ends) < self.place.count - 1:
            left = until - time.monotonic()
            if left <= 0:
                raise _failed(self._missing_text())
            listener.settimeout(left)
            with contextlib.suppress(TimeoutError):
                end, _ = listener.accept()
                self._take(end)

    def _missing_text(self):
        missing = [rank for rank in range(1, self.place.count) if rank not in self._ends]
        shown = ", ".join(map(str, missing[:8])) + (f" and {len(missing) - 8} more" if len(missing) > 8 else "")
        return (
            f"rank{'s' if len(missing) > 1 else ''} {shown} of {self.place.count_text()} did not come to rank 0 on {self.hosts[0]} "
            f"within {self.place.join_s:g} s: does the launcher start as many, and does each reach that host?"
        )

    def _take(self, end):
        """One that connected; whoever does not speak as a rank is none."""
        try:
            hello = _read_line(end)
            rank, count, host, failure = (hello[key] for key in ("rank", "count", "host", "failure"))
            is_rank = type(rank) is type(count) is int and isinstance(host, str)
        except (OSError, ValueError, KeyError, RecursionError):
            is_rank = False
        if not is_rank:
            end.close()
            return
        is_other = count != self.place.count or not 0 < rank < count
        if is_other or rank in self._ends:
            known = f"rank 0 on {self.hosts[0]} sees {self.place.count}" if is_other else f"so does one on {self.hosts[rank]}"
            text = f"a process on {host} says that it is rank {rank} of {count}, and {known}"
            _send_line(end, {"refused": text})
            end.close()
            raise _failed(text)
        self._ends[rank], self.hosts[rank], self.local_ranks[rank] = end, host, hello.get("local_rank")
        if failure is not None:
            raise WorkerError("unsupported", f"{self.name(rank)}: {failure}")

    def any_end(self):
        return self._ends[1]

    def welcome(self, words):
        """Tells all who they are among; from here on an end is a failure."""
        for end in self._ends.values():
            _keep_alive(end)
            _send_line(end, {"hosts": self.hosts, "local_ranks": self.local_ranks, **words})

    def refuse(self, text):
        for end in self._ends.values():
            _send_line(end, {"refused": text})
            end.close()
        self._ends = {}

    # --- afterwards ---

    def watch(self, on_end):
        """Calls on_end(rank, how it ended), in the order in which they do, in a thread."""
        threading.Thread(target=self._watch, args=(on_end,), daemon=True).start()

    def _watch(self, on_end):
        with selectors.DefaultSelector() as selector:
            for rank, end in self._ends.items():
                selector.register(end, selectors.EVENT_READ, rank)
            while selector.get_map():
                for key, _ in selector.select():
                    selector.unregister(key.fileobj)
                    how = _how_it_ended(key.fileobj)
                    if self._is_ending:
                        return
                    on_end(key.data, how)

    def end(self):
        """Lets the others go, and waits until they are gone: frameworks take fright when rank 0 is gone first."""
        self._is_ending = True
        for end in self._ends.values():
            with contextlib.suppress(OSError):
                end.sendall(b"bye\n")
        until = time.monotonic() + _LEAVE_S
        for end in self._ends.values():
            with contextlib.suppress(OSError):
                end.settimeout(max(0.001, until - time.monotonic()))
                end.recv(1)


class Seat:
    """What another rank knows of all: by its connection to rank 0."""

    def __init__(self, address, end, words):
        self.address = address  # of rank 0
        self.end = end
        self.words = words
        self.hosts, self.local_ranks = words["hosts"], words["local_ranks"]

    def any_end(self):
        return self.end


def join(place, port, failure=None):
    """Another rank's way to rank 0, which it waits for."""
    until = time.monotonic() + place.join_s
    while True:
        try:
            end = connect_to(place.address, port)
            break
        except OSError as error:
            if time.monotonic() > until:
                raise _failed(f"no rank 0 at {place.address} port {port}: {describe_error(error)}") from None
            time.sleep(_RETRY_S)
    hello = {
        "rank": place.rank, "count": place.count, "local_rank": place.local_rank, "host": host_name(), "failure": failure
    }
    _keep_alive(end)
    _send_line(end, hello)
    try:
        words = _read_line(end, timeout_s=place.join_s + _HELLO_S)  # rank 0 has the same deadline for the others
    except (OSError, ValueError):
        raise _failed("rank 0 is gone") from None
    if "refused" in words:
        raise _failed(words["refused"])
    return Seat(place.address, end, words)


def complain(place, failure):
    """Of a rank that can do nothing, to rank 0, which ends the cell with it."""
    if place.address is not None and not place.has_agent_store:
        with contextlib.suppress(WorkerError):
            join(place, place.port, failure)


def leave_with(end):
    """In a thread: ends this process when rank 0 lets it go, or is gone."""

    def wait():
        said = b""
        with contextlib.suppress(OSError):
            said = end.recv(1)
        if not said:
            print("tokmark: rank 0 is gone", file=sys.stderr, flush=True)
        os._exit(0 if said else 1)

    threading.Thread(target=wait, daemon=True).start()


# --- rank 0 and those who started it --------------------------------------------------------------


def leave_with_host(in_fd, is_done):
    """Behind a launcher the end of its input is all that says that the host is gone; it may come in the middle of a step
    that never ends."""

    def wait():
        poll = select.poll()
        poll.register(in_fd, select.POLLHUP | select.POLLRDHUP)
        poll.poll()
        if not is_done():
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def on_terminate(call):
    """Calls it in a thread when SIGTERM comes, whatever the main thread is in: a launcher ends all ranks when it has lost
    one, and rank 0 is to say which."""
    read_fd, write_fd = os.pipe()
    os.set_blocking(write_fd, False)
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False)

    def wait():
        while os.read(read_fd, 1)[0] != signal.SIGTERM:
            pass
        call()

    threading.Thread(target=wait, daemon=True).start()


# --- connections ----------------------------------------------------------------------------------


def open_listener(port):
    """By both versions of the protocol, where there are both."""
    if socket.has_dualstack_ipv6():
        try:
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=_BACKLOG)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise
    return socket.create_server(("", port), backlog=_BACKLOG)


def connect_to(address, port):
    end = socket.create_connection((address, port), timeout=_HELLO_S)
    if end.getsockname() == end.getpeername():  # where nobody listens TCP may connect an end to itself
        end.close()
        raise ConnectionRefusedError(errno.ECONNREFUSED, "nobody listens")
    return end


def _keep_alive(end):
    end.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _SILENT_S)
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _PROBE_S)
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _PROBES)
    # the same for what was sent and not acknowledged
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * (_SILENT_S + _PROBES * _PROBE_S))


def _how_it_ended(end):
    try:
        end.recv(1)
    except ConnectionResetError:
        pass
    except OSError as error:
        return f"its host does not answer ({error.strerror or error})"
    return "its process has ended"


def _send_line(end, words):
    with contextlib.suppress(OSError):  # one that is gone is seen to be
        end.sendall(json.dumps(words).encode() + b"\n")


def _read_line(end, timeout_s=_HELLO_S):
    """Byte by byte: what comes after it is not touched."""
    end.settimeout(timeout_s)
    line = bytearray()
    while not line.endswith(b"\n"):
        byte = end.recv(1)
        if not byte or len(line) > _LINE_BYTES_MAX:
            raise ValueError("a connection that says nothing")
        line += byte
    end.settimeout(None)
    words = json.loads(line)
    if not isinstance(words, dict):
        raise ValueError("no object")
    return words


def _address_of(end):
    """This end's own address."""
    return end.getsockname()[0].removeprefix("::ffff:")


def interface_of(end):
    """The network interface of this end, by its address; None where it cannot be told."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        for _, name in socket.if_nameindex():
            request = struct.pack("256s", name.encode()[:15])
            try:
                found = fcntl.ioctl(asked, _SIOCGIFADDR, request)
            except OSError:
                continue
            if socket.inet_ntoa(found[20:24]) == _address_of(end):
                return name
    return None


def _local_ranks(hosts, said):
    """Of each rank among those of its host: as the launcher says, else in their order."""
    return [said[rank] if said[rank] is not None else hosts[:rank].count(host) for rank, host in enumerate(hosts)]

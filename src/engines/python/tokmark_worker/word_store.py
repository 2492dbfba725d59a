"""Words between ranks, for frameworks that have no store of their own: rank 0 keeps them, the others ask for them over a
connection each. set(key, bytes), get(key), which waits until the key is there, and check([key]), as PyTorch's TCPStore.

Whoever connects says first what rank 0 has told the ranks alone.
"""
import hmac
import os
import socket
import struct
import threading

from .rank_meeting import connect_to, open_listener

_SECRET_BYTES = 16
_HEAD = struct.Struct("!cHI")  # what is asked, bytes of the key, bytes of the value
_LENGTH = struct.Struct("!I")
_SET, _GET = b"s", b"g"


class WordStore:
    """Rank 0's."""

    def __init__(self):
        self._values = {}
        self._changed = threading.Condition()
        self._secret = os.urandom(_SECRET_BYTES)
        self._listener = open_listener(0)
        threading.Thread(target=self._accept, daemon=True).start()

    def words(self):
        """For WordStoreAt."""
        return {"port": self._listener.getsockname()[1], "secret": self._secret.hex()}

    def set(self, key, value):
        with self._changed:
            self._values[key] = value
            self._changed.notify_all()

    def get(self, key):
        with self._changed:
            self._changed.wait_for(lambda: key in self._values)
            return self._values[key]

    def check(self, keys):
        with self._changed:
            return all(key in self._values for key in keys)

    def _accept(self):
        while True:
            end, _ = self._listener.accept()
            threading.Thread(target=self._serve, args=(end,), daemon=True).start()

    def _serve(self, end):
        with end:
            try:
                if not hmac.compare_digest(_read(end, _SECRET_BYTES), self._secret):
                    return
                while True:
                    self._answer(end)
            except OSError:
                pass  # a rank that is gone is seen to be by others

    def _answer(self, end):
        what, key_bytes, value_bytes = _HEAD.unpack(_read(end, _HEAD.size))
        key, value = _read(end, key_bytes).decode(), _read(end, value_bytes)
        if what == _SET:
            self.set(key, value)
        else:
            found = self.get(key)
            end.sendall(_LENGTH.pack(len(found)) + found)


class WordStoreAt:
    """Another rank's: of one thread."""

    def __init__(self, address, words):
        self._end = connect_to(address, words["port"])
        self._end.settimeout(None)
        self._end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._end.sendall(bytes.fromhex(words["secret"]))

    def set(self, key, value):
        self._ask(_SET, key, value)

    def get(self, key):
        self._ask(_GET, key, b"")
        (length,) = _LENGTH.unpack(_read(self._end, _LENGTH.size))
        return _read(self._end, length)

    def _ask(self, what, key, value):
        name = key.encode()
        self._end.sendall(_HEAD.pack(what, len(name), len(value)) + name + value)


def _read(end, count):
    """Raises OSError where the other end is gone."""
    parts = bytearray()
    while len(parts) < count:
        part = end.recv(min(count - len(parts), 1 << 16))
        if not part:
            raise ConnectionResetError("the connection has ended")
        parts += part
    return bytes(parts)

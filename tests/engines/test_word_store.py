"""Words between ranks, where the framework has no store of its own."""
import contextlib
import socket
import threading

import pytest

import pytorch_worker  # noqa: F401  (finds the worker's modules)
from tokmark_worker.word_store import WordStore, WordStoreAt
from waiting import TIMEOUT_S


def test_what_one_rank_sets_another_gets():
    store = WordStore()
    first, second = (WordStoreAt("127.0.0.1", store.words()) for _ in range(2))
    large = bytes(range(256)) * 4096
    first.set("large", large)
    assert second.get("large") == store.get("large") == large
    store.set("empty", b"")
    assert second.get("empty") == b""
    assert store.check(["large", "empty"]) and not store.check(["large", "other"])


def test_a_word_that_is_not_there_yet_is_waited_for():
    store = WordStore()
    other = WordStoreAt("127.0.0.1", store.words())
    found = []
    waiting = threading.Thread(target=lambda: found.append(other.get("late")))
    waiting.start()
    WordStoreAt("127.0.0.1", store.words()).set("late", b"here")
    waiting.join(TIMEOUT_S)
    assert found == [b"here"]


@pytest.mark.parametrize("words", [bytes(16), b"GET / HTTP/1.0\r\n\r\n", b"short"])
def test_strangers_are_hung_up_on(words):
    store = WordStore()
    with socket.create_connection(("127.0.0.1", store.words()["port"])) as end:
        end.settimeout(TIMEOUT_S)
        with contextlib.suppress(OSError):  # it may hang up before all is said
            end.sendall(words + b"s\0\1\0\0\0\1kv")
            end.shutdown(socket.SHUT_WR)
            assert end.recv(1) == b""
    assert not store.check(["k"])

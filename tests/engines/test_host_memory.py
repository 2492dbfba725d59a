"""What a worker in Python takes the host's memory for is what tokmark takes it for: the trees of tests/unit/test_base_sysmem.c,
which has the same figures."""
import os
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "src", "engines", "python"))

from tokmark_worker import host_memory  # noqa: E402

MIB, GIB = 1 << 20, 1 << 30


@pytest.fixture(name="machine")
def machine_of(monkeypatch):
    """Which tree the machine's files are of."""
    real = host_memory._read

    def choose(name):
        root = os.path.join(ROOT, "tests", "golden", "sysmem", name)
        monkeypatch.setattr(host_memory, "_read", lambda path: real(root + path))
    return choose


@pytest.mark.parametrize("name, total, available", [
    ("bare", 16 * GIB, 8 * GIB), ("v2_parent", 4 * GIB, 3 * GIB + GIB // 4), ("v2_high_full", GIB, 0),
    ("v1_container", 2 * GIB, GIB), ("v1_outside", 3 * GIB, 3 * GIB),
])
def test_every_limit_counts_and_a_reserve_is_left(machine, name, total, available):
    machine(name)
    assert host_memory._limits() == (total, available)
    assert host_memory.usable_bytes() == max(0, available - min(total // 20, 512 * MIB))


@pytest.mark.parametrize("name", ["broken", "no_such_tree"])
def test_what_cannot_be_read_is_not_known(machine, name):
    machine(name)
    assert host_memory.usable_bytes() is None


def test_the_peak_of_a_process_can_be_reset():
    before = host_memory.process_rss()
    memory = bytearray(b"x" * (64 * MIB))
    now, peak = host_memory.process_rss()
    assert now >= before[0] + 60 * MIB and peak >= now
    del memory
    host_memory.reset_peak()
    assert host_memory.process_rss()[1] < peak - 32 * MIB

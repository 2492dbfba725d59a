"""The memory of a forked worker as if it had been started by itself.

After a fork, pages of files are no longer mapped and all others are shared until one side writes. A worker
would then have less resident memory than one that has imported by itself, and would pay for copies in the
middle of a step. So every page that was resident in the server is made resident, and the worker's own.
"""
import ctypes
import os
import re

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_ENTRY_BYTES = 8
# The highest byte of an entry of /proc/self/pagemap: bit 63 is "present", bit 61 "of a file".
_RUNS = re.compile(rb"[\xa0-\xbf\xe0-\xff]+|[\x80-\x9f\xc0-\xdf]+")
_OF_A_FILE = 0x20
_POPULATE_READ, _POPULATE_WRITE = 22, 23  # madvise(2), Linux 5.14


def resident():
    """(address, bytes, advice) of what is resident now."""
    found = []
    with open("/proc/self/maps", encoding="ascii", errors="replace") as file:
        lines = file.read().splitlines()
    with open("/proc/self/pagemap", "rb", buffering=0) as pages:
        for line in lines:
            addresses, permissions = line.split(maxsplit=2)[:2]
            begin, end = (int(text, 16) for text in addresses.split("-"))
            if "[v" in line:  # of the kernel's own
                continue
            count = (end - begin) // _PAGE_BYTES
            highest = os.pread(
                pages.fileno(), count * _ENTRY_BYTES, begin // _PAGE_BYTES * _ENTRY_BYTES
            )[_ENTRY_BYTES - 1 :: _ENTRY_BYTES]
            for run in _RUNS.finditer(highest):
                first, behind = run.span()
                is_of_a_file = highest[first] & _OF_A_FILE
                if is_of_a_file or "w" in permissions:
                    advice = _POPULATE_READ if is_of_a_file else _POPULATE_WRITE
                    address = begin + first * _PAGE_BYTES
                    found.append((address, (behind - first) * _PAGE_BYTES, advice))
    return found


def take(pages):
    """Older kernels know neither advice: there, pages come as they are touched."""
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    for address, size, advice in pages:
        madvise(address, size, advice)

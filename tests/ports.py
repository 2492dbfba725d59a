"""Ports for what is told where to listen, and cannot take whichever is free by itself."""
import random
import socket
from pathlib import Path

_LOWEST = 10_000
_TOKMARKS_OWN = range(20_000, 30_000)  # where ranks meet with Slurm


def free_port():
    """A port at which nobody listens. Not one that the kernel gives to whoever connects or asks for any: until the one it is for
    listens, which can take seconds, another process would now and then have it."""
    first_given = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0])
    choice = random.SystemRandom()  # whatever seeds a test has set
    while True:
        port = choice.randrange(_LOWEST, max(first_given, _LOWEST + 10_000))
        if port in _TOKMARKS_OWN:
            continue
        try:
            with socket.create_server(("", port)):
                return port
        except OSError:
            continue

"""What a launcher that starts one process a rank (torchrun, mpirun, srun) says of this process in its environment.

The first of _FAMILIES that says both numbers counts: Slurm often starts one of the others, never the other way
round, so that what is nearest to this process comes first. `tokmark run` takes away what its own launcher said.
"""
import dataclasses
import os
import re
import socket
import subprocess

from .errors import WorkerError

# Name; variables of the rank, of the number of ranks, of the rank within its host, and of the ranks of its host.
_FAMILIES = (
    ("torchrun", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"),
    ("Open MPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"),
    ("PMI", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"),
    ("Slurm", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", None),
)
_PORT = 29500  # as PyTorch's own
_SLURM_PORTS = range(20000, 30000)  # one for each step of each job
_JOIN_S = 120.0
_ASK_S = 10.0


@dataclasses.dataclass(frozen=True)
class Place:
    """Of this process among those that a launcher has started."""

    said_by: str  # "Slurm: SLURM_NTASKS"
    rank: int
    count: int
    local_rank: int | None = None
    address: str | None = None  # where rank 0 is; None where the launcher does not say
    port: int = _PORT
    has_agent_store: bool = False  # torchrun keeps a store of its own there
    join_s: float = _JOIN_S  # how much later than this one another rank may come

    def count_text(self):
        return f"{self.count} rank{'s' if self.count > 1 else ''} ({self.said_by}={self.count})"


def find_place(environ=None):
    """None where no launcher has started several."""
    environ = os.environ if environ is None else environ
    for name, rank_key, count_key, local_key, local_count_key in _FAMILIES:
        rank, count = _whole(environ, rank_key), _whole(environ, count_key)
        if rank is None or count is None or rank >= count:
            continue
        if count == 1:
            return None
        is_one_host = local_count_key is not None and _whole(environ, local_count_key) == count
        return Place(
            said_by=f"{name}: {count_key}",
            rank=rank,
            count=count,
            local_rank=_whole(environ, local_key),
            address=_address(environ, name == "Slurm") or ("127.0.0.1" if is_one_host else None),
            port=_port(environ),
            has_agent_store=environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True",
            join_s=float(_whole(environ, "TOKMARK_JOIN_S") or _JOIN_S),
        )
    return None


def _whole(environ, key):
    text = environ.get(key) or ""
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else None


def _address(environ, is_step):
    """Slurm starts rank 0 on the first host of the step; what was started within a job's script is at its first."""
    hosts = environ.get("MASTER_ADDR") or (environ.get("SLURM_STEP_NODELIST") if is_step else None)
    return first_host(hosts or environ.get("SLURM_JOB_NODELIST") or environ.get("SLURM_LAUNCH_NODE_IPADDR") or "") or None


def with_known_host(place):
    """Slurm's name of a node need not be one that the network knows; Slurm itself knows what is."""
    if place.address is None or _is_known(place.address):
        return place
    try:
        asked = ["scontrol", "show", "node", "--oneliner", place.address]
        said = subprocess.run(asked, capture_output=True, text=True, timeout=_ASK_S, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return place
    found = re.search(r"\bNodeAddr=(\S+)", said)
    return dataclasses.replace(place, address=found[1]) if found else place


def _is_known(host):
    try:
        socket.getaddrinfo(host, None)
        return True
    except OSError:
        return False


def first_host(hosts):
    """"gpu[03-07,12],cpu1" -> "gpu03"."""
    return re.sub(r"\[(\w+)[^\]]*\]", r"\1", hosts).split(",")[0]


def _port(environ):
    port, job = _whole(environ, "MASTER_PORT"), _whole(environ, "SLURM_JOB_ID")
    if port is not None or job is None:
        return port or _PORT
    return _SLURM_PORTS[(job * 31 + (_whole(environ, "SLURM_STEP_ID") or 0)) % len(_SLURM_PORTS)]


def refusal(place, engine):
    """Of an engine that is one process."""
    return WorkerError(
        "unsupported", f"{engine} is one process, and the launcher started {place.count_text()}; the nearest is a launcher of one"
    )

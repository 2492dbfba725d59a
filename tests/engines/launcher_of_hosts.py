"""Stands for srun: starts one process a host, each a network namespace, and says to each what Slurm would.

    python launcher_of_hosts.py kill|leave HOST... -- INSTEAD... -- COMMAND...

Standard input goes to rank 0 alone. When one fails, the others are ended (as `srun -K` does, mpirun, torchrun), or
are left as they are. INSTEAD: a worker that need not import its framework (forked_worker.py), which enters the network
by itself, in place of COMMAND where that is no question (--probe).
"""
import os
import signal
import subprocess
import sys

# A host's name of its own, and a link that an earlier cell may have cut. As a worker does, it dies with its parent.
START = 'hostname "$1"; ip -n "$2" link set eth0 up; shift 2; exec setpriv --pdeathsig KILL "$@"'


def start(hosts, rank, command):
    net = hosts[rank]
    words = {
        "SLURM_PROCID": str(rank),
        "SLURM_NTASKS": os.environ.get("TOKMARK_TEST_NTASKS", str(len(hosts))),
        "SLURM_LOCALID": "0",
        "SLURM_STEP_NODELIST": "10.77.0.[1-3]",
        "SLURM_JOB_ID": str(os.getppid()),
        "SLURM_STEP_ID": str(os.getpid()),
        "TOKMARK_TEST_LAUNCHER": str(os.getpid()),
        "TOKMARK_TEST_NET": f"/run/netns/{net}",
    }
    return subprocess.Popen(
        ["unshare", "--uts", "sh", "-c", START, "sh", f"host{rank}", net, *command],
        env={**os.environ, **words}, stdin=None if rank == 0 else subprocess.DEVNULL,
    )


def split_at(words, mark):
    at = words.index(mark)
    return words[:at], words[at + 1 :]


def main():
    (how, *hosts), rest = split_at(sys.argv[1:], "--")
    instead, command = split_at(rest, "--")
    is_question = "--probe" in command
    ranks = [
        start(hosts, rank, ["ip", "netns", "exec", hosts[rank], *command] if is_question else instead) for rank in range(len(hosts))
    ]
    alive = {process.pid: rank for rank, process in enumerate(ranks)}
    worst = 0
    while alive:
        pid, status = os.wait()
        rank = alive.pop(pid)
        code = os.waitstatus_to_exitcode(status)
        if code != 0:
            print(f"launcher: host{rank}: rank {rank}: ended with {code}", file=sys.stderr, flush=True)
            worst = 1
            for other in alive if how == "kill" else ():
                os.kill(other, signal.SIGTERM)
    return worst


if __name__ == "__main__":
    sys.exit(main())

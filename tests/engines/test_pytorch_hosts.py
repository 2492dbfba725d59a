"""One sweep over several hosts, which a launcher starts the ranks on: network namespaces stand for hosts, and
launcher_of_hosts.py for srun; and torchrun itself on one host."""
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pytorch_worker import SERVER
from test_pytorch_parallel import FAULTY
from test_pytorch_run import read, start
from waiting import wait_until

LAUNCHER = Path(__file__).with_name("launcher_of_hosts.py")
HOSTS_COUNT = 3

CUT = 'import subprocess; subprocess.run(["ip", "link", "set", "eth0", "down"], check=True); signal.pause()'
KILLED = "os.kill(os.getpid(), signal.SIGKILL)"
LAUNCHER_KILLED = 'os.kill(int(os.environ["TOKMARK_TEST_LAUNCHER"]), signal.SIGKILL); signal.pause()'


def in_root(*words):
    return subprocess.run(words, capture_output=True, text=True, check=False)


def why_no_hosts():
    """None where network namespaces can be made."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    for program in ("ip", "unshare", "setpriv"):
        if shutil.which(program) is None:
            return f"no {program} here (Debian: iproute2, util-linux)"
    name = f"tokmark{os.getpid()}t"
    made = in_root("ip", "netns", "add", name)
    bridged = in_root("ip", "-n", name, "link", "add", "bridge0", "type", "bridge")
    in_root("ip", "netns", "del", name)
    failed = made if made.returncode else bridged
    return f"no network namespaces here: {failed.stderr.strip()}" if failed.returncode else None


@pytest.fixture(scope="module")
def hosts():
    """Their names. They are joined by a bridge in a namespace of its own: 10.77.0.1, .2 and .3."""
    why = why_no_hosts()
    if why is not None:
        pytest.skip(why)
    names = [f"tokmark{os.getpid()}h{number}" for number in range(HOSTS_COUNT)]
    switch = f"tokmark{os.getpid()}s"
    try:
        for name in (switch, *names):
            make(name, "ip", "netns", "add", name)
        make(switch, "link", "add", "bridge0", "type", "bridge")
        make(switch, "link", "set", "bridge0", "up")
        for number, name in enumerate(names):
            make(switch, "link", "add", f"port{number}", "type", "veth", "peer", "name", "eth0", "netns", name)
            make(switch, "link", "set", f"port{number}", "master", "bridge0", "up")
            make(name, "addr", "add", f"10.77.0.{number + 1}/24", "dev", "eth0")
            for link in ("eth0", "lo"):
                make(name, "link", "set", link, "up")
        yield names
    finally:
        for name in (*names, switch):
            in_root("ip", "netns", "del", name)


def make(where, *words):
    done = in_root(*words) if words[0] == "ip" else in_root("ip", "-n", where, *words)
    assert done.returncode == 0, (words, done.stderr)


def processes_of(hosts):
    """Ids of all that is alive on the hosts."""
    return [pid for name in hosts for pid in in_root("ip", "netns", "pids", name).stdout.split()]


def sweep(folder, faults, launch, *words, engine="pytorch", model=FAULTY, code=3, python=sys.executable):
    """faults: what is done on the last rank in a step of so many tokens, once. What a launcher sends its ranks, they get."""
    fault = f'exec({faults}.get(tokens.shape[1], "pass"))'
    (folder / "model.py").write_text(model.format(fault=fault))
    start(
        folder, "run", "--engine", engine, "--mode", "train", "--batch", "12", "--steps", "4", "--warmup", "1", "--model",
        f"{folder}/model.py:Model", "--launch", launch, *words, code=code, python=python,
    )
    return read(folder)


def sweep_hosts(folder, hosts, faults, how, *words, devices="cpu:3", environ="", server=SERVER, **more):
    instead = server.command(more.get("engine", "pytorch"), folder)
    launch = shlex.join([*environ.split(), sys.executable, str(LAUNCHER), how, *hosts, "--", *instead, "--"])
    records = sweep(folder, faults, launch, "--devices", devices, "--parallel", "ddp", *words, **more)
    wait_until(lambda: processes_of(hosts) == [])
    return records


def text_of(record):
    assert record["verdict"] == "crashed", (record["verdict"], record["reasons"])
    return record["reasons"][0]["text"]


def require_good(record):
    assert record["verdict"] in ("ok", "unsteady"), record["reasons"]
    assert (record["devices_count"], record["hosts_count"], record["parallel"]) == (3, 3, "ddp")
    assert record["rank_skew_ms"] >= 0


def test_what_is_lost_is_a_record_and_the_sweep_goes_on(hosts, tmp_path):
    """The launcher does nothing about it. Of a host that disappears not even its end is heard."""
    faults = {16: CUT, 17: KILLED, 18: LAUNCHER_KILLED}
    cut, killed, unlaunched, good = sweep_hosts(tmp_path, hosts, faults, "leave", "--seq", "16", "17", "18", "19")
    assert "rank 2 on host2: its host does not answer" in text_of(cut)
    assert "rank 2 on host2: its process has ended" in text_of(killed)
    assert "the worker died during" in text_of(unlaunched) and "signal 9" in text_of(unlaunched)
    require_good(good)


def test_a_launcher_that_kills_all_for_one_says_which_in_the_log(hosts, tmp_path):
    """Rank 0 has no time to."""
    killed, good = sweep_hosts(tmp_path, hosts, {17: KILLED}, "kill", "--seq", "17", "19")
    log = "".join(path.read_text() for path in (tmp_path / "_bench" / "logs").iterdir())
    assert re.search(r"rank 2 on host2: its process has ended|launcher: host2: rank 2: ended with", text_of(killed) + log)
    require_good(good)


def test_a_launcher_that_starts_too_few(hosts, tmp_path):
    """It says that there are four."""
    environ = "env TOKMARK_TEST_NTASKS=4 TOKMARK_JOIN_S=3"
    (record,) = sweep_hosts(tmp_path, hosts, {}, "kill", "--seq", "16", devices="cpu:4", environ=environ, code=4)
    assert re.search(r"ranks? (\d, )*3 of 4 ranks \(Slurm: SLURM_NTASKS=4\) did not come to rank 0 on host0", text_of(record))


# --- torchrun -------------------------------------------------------------------------------------


def test_torchrun_starts_the_ranks(tmp_path):
    """Of one that is lost it ends the other, rank 0, by SIGTERM."""
    launch = shlex.join(SERVER.module("torch.distributed.run")) + " --standalone --nproc-per-node 2 --no-python"
    killed, good = sweep(tmp_path, {17: KILLED}, launch, "--devices", "cpu:2", "--parallel", "fsdp", "--seq", "17", "19",
                         python=SERVER.python("pytorch"))
    assert f"rank 1 on {os.uname().nodename}: its process has ended" in text_of(killed)
    assert good["verdict"] in ("ok", "unsteady"), good["reasons"]
    assert (good["devices_count"], good["hosts_count"], good["parallel"]) == (2, 1, "fsdp")

"""Ranks that a launcher has started: each is a worker of its own, which finds the others by what its launcher says."""
import json
import socket
import subprocess

import pytest

from ports import free_port
from pytorch_worker import MOE, SERVER, TorchWorker
from test_pytorch_parallel import FAULTY, TWO, run_three, wait_until_gone
from worker_client import Worker, WorkerError, keys_of, open_message, tokmark_binary
from tokmark_worker.launcher import find_place, first_host, with_known_host
from waiting import TIMEOUT_S, wait_until

HERE = socket.gethostname()
# What each launcher says to rank R of N; MASTER_ADDR and MASTER_PORT beside it.
FAMILIES = {
    "torchrun": {"RANK": "R", "WORLD_SIZE": "N", "LOCAL_RANK": "R", "LOCAL_WORLD_SIZE": "N", "MASTER_ADDR": "127.0.0.1"},
    "Open MPI": {"OMPI_COMM_WORLD_RANK": "R", "OMPI_COMM_WORLD_SIZE": "N", "OMPI_COMM_WORLD_LOCAL_SIZE": "N"},
    "PMI": {"PMI_RANK": "R", "PMI_SIZE": "N", "MPI_LOCALNRANKS": "N"},
    "Slurm": {"SLURM_PROCID": "R", "SLURM_NTASKS": "N", "SLURM_STEP_NODELIST": "127.0.0.[1-2]"},
}


# --- what launchers say ---------------------------------------------------------------------------


def said(family, rank, count):
    return {key: value.replace("R", str(rank)).replace("N", str(count)) for key, value in FAMILIES[family].items()}


@pytest.mark.parametrize("family", FAMILIES)
def test_each_launcher_says_rank_and_ranks(family):
    place = find_place(said(family, 1, 3))
    assert (place.rank, place.count, place.address) == (1, 3, "127.0.0.1")
    assert place.said_by.startswith(f"{family}: ") and place.count_text().startswith("3 ranks (")
    assert find_place(said(family, 0, 1)) is None


def test_the_launcher_that_is_nearest_counts():
    order = ("torchrun", "Open MPI", "PMI", "Slurm")
    for at, nearest in enumerate(order):
        environ = {}
        for number, family in enumerate(order[at:]):
            environ.update(said(family, number, number + 2))
        place = find_place(environ)
        assert (place.said_by.split(":")[0], place.rank, place.count) == (nearest, 0, 2)


@pytest.mark.parametrize("environ", [
    {},
    {"RANK": "1"},
    {"WORLD_SIZE": "4"},
    {"RANK": "4", "WORLD_SIZE": "4"},
    {"RANK": "-1", "WORLD_SIZE": "4"},
    {"RANK": "one", "WORLD_SIZE": "4"},
    {"SLURM_PROCID": "", "SLURM_NTASKS": "4"},
])
def test_half_of_it_is_nothing(environ):
    assert find_place(environ) is None


@pytest.mark.parametrize("more, address, port", [
    ({}, None, 29500),
    ({"SLURM_LAUNCH_NODE_IPADDR": "10.0.0.9"}, "10.0.0.9", 29500),
    ({"SLURM_JOB_NODELIST": "b[02-04]", "SLURM_LAUNCH_NODE_IPADDR": "10.0.0.9"}, "b02", 29500),
    ({"SLURM_JOB_NODELIST": "b[02-04]", "SLURM_STEP_NODELIST": "b[03-04]"}, "b03", 29500),
    ({"SLURM_JOB_NODELIST": "b[02-04]", "MASTER_ADDR": "head", "MASTER_PORT": "1234", "SLURM_JOB_ID": "77"}, "head", 1234),
    ({"SLURM_JOB_ID": "77", "SLURM_STEP_ID": "5"}, None, 22392),
])
def test_where_ranks_meet(more, address, port):
    place = find_place({"SLURM_PROCID": "0", "SLURM_NTASKS": "4", **more})
    assert (place.address, place.port) == (address, port)


@pytest.mark.parametrize("hosts, first", [
    ("gpu1", "gpu1"), ("gpu1,gpu2", "gpu1"), ("gpu[03-07,12],cpu1", "gpu03"), ("r[1-2]n[5-8]-ib", "r1n5-ib"), ("", ""),
])
def test_the_first_of_slurms_hosts(hosts, first):
    assert first_host(hosts) == first


SCONTROL = """#!/bin/sh
test "$4" = no-such-host.invalid && echo "NodeName=$4 Arch=x86_64 NodeAddr=10.0.0.7 NodeHostName=vm Version=22.05"
"""


def test_a_node_whose_name_the_network_does_not_know(tmp_path, monkeypatch):
    """Slurm has its address."""
    (tmp_path / "scontrol").write_text(SCONTROL)
    (tmp_path / "scontrol").chmod(0o755)

    def address(node):
        return with_known_host(find_place({"SLURM_PROCID": "1", "SLURM_NTASKS": "2", "SLURM_STEP_NODELIST": node})).address

    assert address("no-such-host.invalid") == "no-such-host.invalid"
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert address("no-such-host.invalid") == "10.0.0.7"
    assert address("other-host.invalid") == "other-host.invalid"
    assert address("127.0.0.[1-2]") == "127.0.0.1"


# --- ranks as processes ---------------------------------------------------------------------------


class Launched:
    """`with Launched(...) as ranks:` rank 0 is `ranks.worker`. `places`: what each is told, rank 0 first. `is_held`: the
    others are started later."""

    engine, server, layout = "pytorch", SERVER, "ddp"

    def __init__(self, tmp_path, places, is_held=False, **environ):
        port = str(free_port())
        self.logs = [open(tmp_path / f"rank{number}.log", "w+", encoding="utf-8") for number in range(len(places))]
        commands = []
        for place in places:
            words = {"MASTER_PORT": port, **place, **environ}
            commands.append(["env", *(f"{key}={value}" for key, value in words.items()), *self.server.command(self.engine, tmp_path)])
        self.commands = commands
        self.others = []
        if not is_held:
            self.start_others()
        self.worker = Worker(self.engine, command=commands[0])

    def start_others(self):
        self.others = [
            subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True)
            for command, log in zip(self.commands[1:], self.logs[1:])
        ]

    def open(self, **changes):
        return self.worker.open(MOE, "train", 40, changes.pop("batch_size", 4), parallel=self.layout, **{**TWO, **changes})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.worker.__exit__()
        for other in self.others:
            assert other.communicate(timeout=TIMEOUT_S)[0] == "", "what a rank prints is no reply"
        for log in self.logs:
            log.close()

    def codes(self):
        return [other.wait(timeout=TIMEOUT_S) for other in self.others]

    def log(self, rank):
        with open(self.logs[rank].name, encoding="utf-8") as file:
            return file.read()


def launched(tmp_path, count=2, family="Slurm", **environ):
    return Launched(tmp_path, [said(family, rank, count) for rank in range(count)], **environ)


@pytest.fixture(scope="module")
def forked():
    return run_three({"parallel": "ddp", **TWO})


@pytest.mark.parametrize("family", FAMILIES)
def test_they_do_what_forked_ranks_do(family, forked, tmp_path):
    with launched(tmp_path, family=family) as ranks:
        ready = ranks.worker.open({**MOE, "dropout": 0.0}, "train", 40, 4, parallel="ddp", **TWO)
        blocks = [ranks.worker.run(1) for _ in range(3)]
    ready_forked, blocks_forked, _ = forked
    assert ready["hosts_count"] == ready_forked["hosts_count"] == 1
    for block, other in zip(blocks, blocks_forked):
        assert block["loss"] == pytest.approx(other["loss"], rel=1e-6)
        assert block["grad_norm"] == pytest.approx(other["grad_norm"], rel=1e-5)
        assert block["rank_skew_ns"] >= 0
    assert ranks.codes() == [0]


def open_fails(ranks, **changes):
    with pytest.raises(WorkerError) as found:
        ranks.open(**changes)
    return found.value.reply["kind"], found.value.reply["text"]


@pytest.mark.parametrize("changes, cell", [
    ({"device": "cpu:3", "batch_size": 3}, "the cell is for 3 devices"),
    ({"device": "cpu", "parallel": "none"}, "the cell is for 1 device "),
])
def test_another_number_than_the_cell_has_is_refused_with_both(changes, cell, tmp_path):
    with launched(tmp_path) as ranks:
        with pytest.raises(WorkerError) as found:
            ranks.worker.open(MOE, "train", 40, changes.pop("batch_size", 4), **{"parallel": "ddp", "threads": 1, **changes})
    assert found.value.reply["kind"] == "unsupported"
    assert cell in str(found.value) and "the launcher started 2 ranks (Slurm: SLURM_NTASKS=2)" in str(found.value)
    assert ranks.codes() == [1]
    assert cell in ranks.log(1)


def test_ranks_that_do_not_come_are_named(tmp_path):
    """Three are said to be there, and two are."""
    places = [said("PMI", rank, 3) for rank in range(2)]
    with Launched(tmp_path, places, TOKMARK_JOIN_S="2") as ranks:
        kind, text = open_fails(ranks, device="cpu:3", batch_size=3)
    assert kind == "internal"
    assert " 2 of 3 ranks (PMI: PMI_SIZE=3) did not come to rank 0 on " + HERE in text
    assert ranks.codes() == [1]


@pytest.mark.parametrize("rank, count, wanted", [
    (1, 3, "says that it is rank 1 of 3, and rank 0 on {host} sees 2"),
    (2, 3, "says that it is rank 2 of 3, and rank 0 on {host} sees 2"),
])
def test_a_rank_that_sees_another_number_of_ranks(rank, count, wanted, tmp_path):
    with Launched(tmp_path, [said("torchrun", 0, 2), said("torchrun", rank, count)]) as ranks:
        kind, text = open_fails(ranks)
    assert kind == "internal" and wanted.format(host=HERE) in text
    assert ranks.codes() == [1]


def test_two_of_one_rank(tmp_path):
    with Launched(tmp_path, [said("torchrun", 0, 3), *[said("torchrun", 1, 3)] * 2]) as ranks:
        kind, text = open_fails(ranks, device="cpu:3", batch_size=3)
    assert kind == "internal" and f"a process on {HERE} says that it is rank 1 of 3, and so does one on {HERE}" in text
    assert ranks.codes() == [1, 1]


def test_a_port_that_is_taken(tmp_path):
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        with launched(tmp_path, MASTER_PORT=port, TOKMARK_JOIN_S="2") as ranks:
            kind, text = open_fails(ranks)
            assert kind == "internal"
            assert text.startswith(f"rank 0 on {HERE} cannot listen at port {port}") and "MASTER_PORT" in text
            taken.close()  # the other rank may have found somebody there, who says nothing
    assert ranks.codes() == [1]


def test_a_host_of_rank_0_that_nobody_names(tmp_path):
    places = [{"PMI_RANK": str(rank), "PMI_SIZE": "2"} for rank in range(2)]
    with Launched(tmp_path, places) as ranks:
        kind, text = open_fails(ranks)
    assert kind == "internal" and "MASTER_ADDR must name it" in text
    assert ranks.codes() == [1]
    assert "MASTER_ADDR must name it" in ranks.log(1)


def test_strangers_at_the_port_are_passed_over(tmp_path):
    port = free_port()
    with Launched(tmp_path, [said("Slurm", rank, 2) for rank in range(2)], is_held=True, MASTER_PORT=port) as ranks:
        message = open_message("pytorch", MOE, "train", 40, 4, parallel="ddp", **TWO)
        ranks.worker.process.stdin.write(json.dumps(message) + "\n")
        ranks.worker.process.stdin.flush()
        wrong_types = b'{"rank": "1", "count": 2, "host": "here", "failure": null}\n'
        for words in (b"GET / HTTP/1.0\r\n\r\n", b"[1]\n", b'{"rank": 1}\n', wrong_types, b"[" * 100_000 + b"\n", b""):
            speak_at(port, words)
        ranks.start_others()
        assert json.loads(ranks.worker.process.stdout.readline())["type"] == "ready"
    assert ranks.codes() == [0]


def speak_at(port, words):
    """As soon as somebody listens there; until that one hangs up."""

    def is_heard():
        try:
            with socket.create_connection(("127.0.0.1", port)) as end:
                end.sendall(words)
                end.shutdown(socket.SHUT_WR)
                assert end.recv(1) == b""
        except ConnectionRefusedError:
            return False
        except OSError:  # hung up already
            pass
        return True

    wait_until(is_heard)


def test_an_engine_that_is_one_process_says_so():
    engine, words = "native", [tokmark_binary(), "worker", "native"]
    environ = [f"{key}={value}" for key, value in said("torchrun", 0, 2).items()]
    worker = Worker(engine, command=["env", *environ, *words])
    with worker, pytest.raises(WorkerError) as found:
        worker.open(MOE, "infer", 8, 1)
    assert found.value.reply["kind"] == "unsupported"
    assert f"{engine} is one process, and the launcher started 2 ranks (torchrun: WORLD_SIZE=2)" in str(found.value)
    other = [f"{key}={value}" for key, value in said("torchrun", 1, 2).items()]
    done = subprocess.run(["env", *other, *words], stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_S, check=False)
    assert (done.returncode, done.stdout) == (0, b"")


# --- ranks that fail ------------------------------------------------------------------------------


def run_faulty(tmp_path, fault, **environ):
    (tmp_path / "faulty.py").write_text(FAULTY.format(fault=fault))
    ranks = launched(tmp_path, **environ)
    ranks.open(model_ref=f"{tmp_path}/faulty.py:Model", model_source="factory")
    return ranks


def block_fails(ranks):
    with pytest.raises(WorkerError) as found:
        ranks.worker.run(8)
    return found.value.reply["kind"], found.value.reply["text"]


def test_what_it_prints_goes_to_its_log(tmp_path):
    with run_faulty(tmp_path, "pass") as ranks:
        assert ranks.worker.run(8)["steps"] == 8
    assert ranks.codes() == [0]
    assert "rank 1 speaks" in ranks.log(1)


@pytest.mark.parametrize("fault, wanted", [
    ('raise ValueError("no such expert")', ("model", "no such expert")),
    ("torch.empty(1 << 60)", ("oom", "")),
    ("os._exit(7)", ("internal", "its process has ended")),
    ("os.kill(os.getpid(), signal.SIGKILL)", ("internal", "its process has ended")),
])
def test_a_rank_that_fails_is_told_with_its_host(fault, wanted, tmp_path):
    with run_faulty(tmp_path, fault) as ranks:
        kind, text = block_fails(ranks)
    assert kind == wanted[0]
    assert text.startswith(f"rank 1 on {HERE}: ") and wanted[1] in text
    assert ranks.codes()[0] != 0


def test_rank_0_says_that_its_launcher_ends_it(tmp_path):
    """In the middle of a step that never ends."""
    fault = "os.kill(int(open('pid').read()), signal.SIGTERM); signal.pause()"
    with run_faulty(tmp_path, fault) as ranks:
        (tmp_path / "pid").write_text(str(ranks.worker.hello["pid"]))
        assert block_fails(ranks) == ("internal", f"rank 0 on {HERE}: its launcher ended it (SIGTERM)")
    assert ranks.codes() == [0]


def test_a_host_that_is_gone_in_the_middle_of_an_endless_step(tmp_path):
    ranks = run_faulty(tmp_path, "signal.pause()")
    worker = ranks.worker.process
    worker.stdin.write('{"type":"run","steps":8,"sync":"step"}\n')
    worker.stdin.flush()
    wait_until(lambda: "rank 1 speaks" in ranks.log(1), ranks.others[0])
    worker.stdin.close()
    assert worker.wait(timeout=TIMEOUT_S) == 1
    assert ranks.codes() == [1]
    wait_until_gone([ranks.worker.hello["pid"]])
    worker.stdout.close()


def test_forked_ranks_stay_what_they_were_inside_of_a_launcher(tmp_path):
    """One rank of a launcher's, which has several devices, starts its own."""
    assert "hosts_count" in keys_of("ready")
    environ = [f"{key}={value}" for key, value in said("Slurm", 0, 1).items()]
    with Worker("pytorch", command=["env", *environ, *SERVER.command("pytorch", tmp_path)]) as worker:
        assert worker.open(MOE, "train", 40, 4, parallel="ddp", **TWO)["hosts_count"] == 1
        assert worker.run(1)["steps"] == 1
    with TorchWorker() as worker:
        assert "hosts_count" not in worker.open(MOE, "train", batch_size=4, threads=1)

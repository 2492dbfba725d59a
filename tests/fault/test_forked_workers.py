"""Workers that are forked from a process which has imported the framework, beside workers that have imported it
themselves: what they find is the same, what they hold is the same, and what goes wrong in one reaches no other.
"""
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "cli"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "engines"))
from caller import calm  # noqa: E402
from pytorch_worker import SERVER  # noqa: E402
from worker_client import release_binary  # noqa: E402
from waiting import TIMEOUT_S, is_alive, is_wanted, wait_until

BINARY = str(Path(release_binary()).resolve())
WAYS = {"forked": [], "fresh": ["--fresh"]}
TRIALS = {"forked": 2, "fresh": 1}
SHORT = ["--device", "cpu", "--batch", "1", "--steps", "2", "--warmup", "1", "--threads", "1"]

# What a model's code can see of the process it is in.
FACTS = """
import atexit, ctypes, gc, json, os, random, re, resource, signal, sys, warnings
import numpy, torch

IMPORTED_BY = os.getpid()
SERVERS_COUNT = os.path.getsize("servers") if os.path.exists("servers") else 0

def kinds_of_descriptors():
    kinds = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:
            continue  # the listing's own
        kinds.append((int(fd) if int(fd) < 3 else "private", re.sub(r"h[0-9a-f]{16}|[0-9]+", "N", os.path.basename(target))))
    return sorted(map(str, kinds))

def facts():
    status = open("/proc/self/status").read()
    deadly = ctypes.c_int()
    ctypes.CDLL(None).prctl(2, ctypes.byref(deadly), 0, 0, 0)
    package = sys.argv[0]
    return {
        "argv": sys.argv[1:], "path": [part.replace(package, "PACKAGE") for part in sys.path],
        "cwd": os.getcwd(), "environ": dict(os.environ), "executable": sys.executable, "flags": str(sys.flags),
        "umask": os.umask(0o22), "affinity": sorted(os.sched_getaffinity(0)), "nice": os.nice(0),
        "limits": [resource.getrlimit(kind) for kind in range(16)],
        "signals": [str(signal.getsignal(number)) for number in range(1, signal.NSIG)],
        "masks": re.findall("Sig(?:Blk|Ign|Cgt).*", status), "oom": open("/proc/self/oom_score_adj").read(),
        "wakeup": signal.set_wakeup_fd(-1), "deadly": deadly.value, "descriptors": kinds_of_descriptors(),
        "warnings": repr(warnings.filters), "atexit": atexit._ncallbacks(), "gc": [gc.get_threshold(), gc.isenabled()],
        "streams": [repr((s.fileno(), s.encoding, s.errors, s.line_buffering)) for s in (sys.stdin, sys.stdout, sys.stderr)],
        "torch": [str(torch.get_default_dtype()), torch.get_num_threads(), torch.get_num_interop_threads(),
                  torch.are_deterministic_algorithms_enabled(), torch.is_grad_enabled(), torch.cuda.is_initialized()],
        "main": sys.modules["__main__"].__name__, "leads_group": os.getpgrp() == os.getpid(),
        "session": os.getsid(0), "parent": os.getppid(), "imported_by_itself": IMPORTED_BY == os.getpid(),
    }, {"modules": sorted(sys.modules), "random": [random.random(), float(numpy.random.random())],
        "printed": "of sitecustomize", "servers": SERVERS_COUNT}

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        seen = json.dumps(facts())
        self.table = torch.nn.Embedding(32, 32)
        with open(f"facts.{os.getpid()}", "w") as file:
            file.write(seen)
        print("the model is made", file=sys.stderr)

    def forward(self, tokens):
        return self.table(tokens % 32)
"""


def environ(**more):
    return {**os.environ, "TOKMARK_PYTHON": sys.executable, **more}


BEGUN = []


def end(processes):
    for process in processes:
        if process.poll() is None:
            process.kill()
            process.communicate()


@pytest.fixture(autouse=True)
def end_what_a_failed_test_began():
    yield
    end(BEGUN)
    BEGUN.clear()


def begin(folder, model, *args, modes=("infer",), begun=BEGUN, **more):
    (folder / "net.py").write_text(model)
    words = calm(["run", "--engine", "pytorch", "--model", "./net.py:Net", "--mode", *modes, *SHORT, *args])
    begun.append(subprocess.Popen([BINARY, *words], cwd=folder, env=environ(**more), text=True, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE))
    return begun[-1]


def sweep(folder, model, *args, code=0, **more):
    folder.mkdir(exist_ok=True)
    process = begin(folder, model, *args, **more)
    out, said = process.communicate(timeout=TIMEOUT_S)
    assert code in (None, process.returncode), (process.returncode, out, said)
    return records(folder), said


def records(folder):
    path = folder / "_bench" / "bench_results.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def children_of(pid):
    """The oldest first, whatever numbers they have: a server's workers have its command line."""
    found = subprocess.run(["ps", "-o", "pid=,args=", "--sort=start_time", "--ppid", str(pid)], text=True, capture_output=True, check=False)
    return [(int(line.split()[0]), line) for line in found.stdout.splitlines()]


def server_of(pid):
    return next((child for child, line in children_of(pid) if " serve pytorch" in line), None)


def trainer_of(server):
    """The process that forks its workers that train."""
    return children_of(server)[0][0]


# In a sitecustomize: servers that are started in its folder.
COUNTS = """
if b"serve" in open("/proc/self/cmdline", "rb").read().split(b"\\0"):
    open(__file__.replace("sitecustomize.py", "servers"), "a").write(".")
"""


def servers_count(folder):
    return (folder / "servers").stat().st_size if (folder / "servers").exists() else 0


@pytest.fixture(scope="module", name="seen")
def make_seen(tmp_path_factory):
    """Of each way: records, and what a worker for inference and one for training saw; of forked ones in two trials."""
    found = {}
    for way, flags in WAYS.items():
        folder = tmp_path_factory.mktemp(way)
        # what is said while Python starts belongs into every log
        (folder / "sitecustomize.py").write_text("import sys\nprint('sitecustomize is here', file=sys.stderr)\n" + COUNTS)
        lines, said = sweep(folder, FACTS, "--seq", "8", "--trials", str(TRIALS[way]), *flags, modes=("infer", "train"),
                            PYTHONPATH=str(folder), MINE="kept")
        logs = [path.read_text() for path in sorted((folder / "_bench" / "logs").iterdir())]
        facts = [json.loads(path.read_text()) for path in sorted(folder.glob("facts.*"))]
        found[way] = {"servers": servers_count(folder), "records": lines, "said": said, "logs": logs, "facts": facts, "folder": str(folder)}
    return found


def test_a_record_says_how_its_worker_was_started(seen, tmp_path):
    for way in WAYS:
        assert [line["start"] for line in seen[way]["records"]] == [way] * 2 * TRIALS[way]
        assert all(line["worker_exit"] == "exit 0" for line in seen[way]["records"])
    # the import is in what a fresh one takes, and in what the first forked one waits for
    assert all(line["cpu_user_s"] > 0 for line in seen["forked"]["records"])
    # where one is asked for and not to be had, that is said
    alone, said = sweep(tmp_path, FACTS, "--seq", "8", TOKMARK_PYTHON=SERVER.python("pytorch"))
    assert alone[0]["start"] == "fresh" and "one by one" not in said, "there is nobody to share an import with"


def test_the_framework_is_imported_once_for_all_cells_of_a_trial(seen):
    assert [seen[way]["servers"] for way in WAYS] == [2, 0]
    begun = {way: sorted(rest["servers"] for _, rest in seen[way]["facts"]) for way in WAYS}
    assert begun == {"forked": [1, 1, 2, 2], "fresh": [0, 0]}


def has_compiler(rest):
    return "torch._dynamo" in rest["modules"]


def test_who_trains_is_forked_with_what_training_imports(seen):
    assert sorted(has_compiler(rest) for _, rest in seen["forked"]["facts"]) == [False, False, True, True]
    assert not any(has_compiler(rest) for _, rest in seen["fresh"]["facts"]), "when its model is made"


def test_a_forked_worker_finds_what_a_fresh_one_finds(seen):
    (forked, rest), (fresh, other) = [next(facts for facts in seen[way]["facts"] if not has_compiler(facts[1])) for way in WAYS]
    for facts, way in ((forked, "forked"), (fresh, "fresh")):
        for name in ("environ", "path"):
            text = json.dumps(facts[name]).replace(seen[way]["folder"], "FOLDER")
            facts[name] = json.loads(text)
        facts["cwd"] = facts["cwd"].replace(seen[way]["folder"], "FOLDER")
    assert forked.pop("parent") != fresh.pop("parent")  # two calls of tokmark
    assert forked == fresh
    assert forked["leads_group"] and forked["deadly"] == signal.SIGKILL and forked["imported_by_itself"]
    assert forked["environ"]["MINE"] == "kept" and forked["descriptors"].count("('private', 'pipe:[N]')") == 2
    more = set(rest["modules"]) - set(other["modules"])
    assert {"tokmark_worker.serve", "tokmark_worker.own_pages"} <= more
    assert all(name.split(".")[0] in ("tokmark_worker", *sys.stdlib_module_names) for name in more), more


def test_random_numbers_are_not_shared(seen):
    drawn = [value for way in WAYS for _, rest in seen[way]["facts"] for value in rest["random"]]
    assert len(set(drawn)) == len(drawn) == 12


def test_both_ways_hold_the_same_memory(seen):
    fresh_mb = {line["mode"]: line["maxrss_mb"] for line in seen["fresh"]["records"]}
    # those of the first trial may have compiled modules, and hold what that took
    warm = [line for line in seen["forked"]["records"] if line["trial"] == TRIALS["forked"] - 1]
    assert {line["mode"] for line in warm} == fresh_mb.keys()
    for forked in warm:
        assert forked["maxrss_mb"] == pytest.approx(fresh_mb[forked["mode"]], rel=0.01)


def test_what_starting_prints_is_in_every_log(seen):
    for way in WAYS:
        for log in seen[way]["logs"]:
            found = [part.count("sitecustomize is here") for part in log.split("the model is made")]
            assert found == [1] * TRIALS[way] + [0], log


# --- the server ------------------------------------------------------------------------------------

WAITING = """
import os, time, torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.table = torch.nn.Embedding(32, 32)
        open(f"started.{os.getpid()}", "w").close()
        while not os.path.exists("go") and os.path.getsize("_bench/bench_results.jsonl") > 0:
            time.sleep(0.01)

    def forward(self, tokens):
        return self.table(tokens % 32)
"""


def second_worker(folder):
    """Of a sweep that waits in its second cell."""
    wait_until(lambda: len(list(folder.glob("started.*"))) == 2)
    return int(max(folder.glob("started.*"), key=os.path.getmtime).suffix[1:])


@pytest.mark.parametrize("mode, why", [
    ("infer", "the process that had imported the framework ended: signal 9 (KILL)"),
    ("train", "the process that had imported what training needs ended"),
])
def test_without_its_server_a_worker_goes_on_and_the_next_is_fresh(mode, why, tmp_path):
    process = begin(tmp_path, WAITING, "--seq", "8", "16", "24", modes=[mode], TOKMARK_PYTHON=SERVER.python("pytorch", has_server=True))
    second_worker(tmp_path)
    server = server_of(process.pid)
    os.kill(server if mode == "infer" else trainer_of(server), signal.SIGKILL)
    (tmp_path / "go").touch()
    _, said = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, said
    assert [line["start"] for line in records(tmp_path)] == ["forked", "forked", "fresh"]
    assert f"workers were started one by one, as with --fresh: {why}" in said


@pytest.mark.parametrize("number, code", [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)])
def test_no_process_outlives_the_call(number, code, tmp_path):
    process = begin(tmp_path, WAITING, "--seq", "8", "16", "24", modes=["train"])
    worker = second_worker(tmp_path)
    server = server_of(process.pid)
    pids = [worker, server, trainer_of(server)]
    assert all(map(is_alive, pids))
    process.send_signal(number)
    process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == code
    wait_until(lambda: not any(map(is_alive, pids)))


def test_interrupted_while_the_framework_is_imported(tmp_path):
    (tmp_path / "torch.py").write_text("import time\ntime.sleep(600)\n")
    process = begin(tmp_path, WAITING, "--seq", "8", "16", PYTHONPATH=str(tmp_path))
    wait_until(lambda: (tmp_path / "_bench").exists() and server_of(process.pid))
    server = server_of(process.pid)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 130, said
    assert not is_alive(server)


@pytest.mark.parametrize("site, why", [
    ("import threading, time\nthreading.Thread(target=time.sleep, args=(3600,), daemon=True).start()\n", "1 threads run"),
    ("import sys\nif 'serve' in sys.argv: raise SystemExit('no servers here')\n", "ended: exit 1: SystemExit: no servers here"),
])
def test_where_no_worker_can_be_forked_each_is_fresh(site, why, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(site)
    found, said = sweep(tmp_path, FACTS, "--seq", "8", "16", PYTHONPATH=str(tmp_path),
                        TOKMARK_PYTHON=SERVER.python("pytorch", has_server=True))
    assert [(line["start"], line["verdict"]) for line in found] == [("fresh", "ok")] * 2
    assert re.search("as with --fresh: .*" + re.escape(why), said), said


def test_behind_a_launcher_workers_are_fresh(tmp_path):
    # where a server is asked for and not to be had, that is said
    found, said = sweep(tmp_path, FACTS, "--seq", "8", "16", "--launch", "env", TOKMARK_PYTHON=SERVER.python("pytorch"))
    assert [line["start"] for line in found] == ["fresh"] * 2
    assert "one by one" not in said


# --- faults ----------------------------------------------------------------------------------------

FAULTS = """
import ctypes, os, signal, subprocess, sys
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.table = torch.nn.Embedding(32, 32)
        self.is_clean = (os.environ.get("MINE") is None and torch.get_default_dtype() == torch.float32
                         and "/poison" not in sys.path and not hasattr(torch, "poison")
                         and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL and os.getcwd() == os.environ["PWD"])
        assert self.is_clean, "another cell was here"

    def forward(self, tokens):
        what = {16: "crash", 32: "kill", 40: "leak", 48: "raise", 56: "exit", 64: "flood", 72: "poison",
                80: "deaf"}.get(tokens.shape[1])
        if what == "crash":
            ctypes.string_at(0)
        elif what == "kill":
            os.killpg(0, signal.SIGKILL)
        elif what == "leak":
            self.held = [torch.ones(1 << 22) for _ in range(1 << 12)]
        elif what == "raise":
            raise RuntimeError("not today")
        elif what == "exit":
            os._exit(3)
        elif what == "flood":
            for fd in range(3, 100):
                try:
                    os.write(fd, b"garbage\\n")
                except OSError:
                    pass
        elif what == "poison":
            os.environ["MINE"] = "1"
            os.chdir("/")
            sys.path.insert(0, "/poison")
            torch.poison = True
            torch.set_default_dtype(torch.float64)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            for fd in range(3, 100):
                if os.path.exists(f"/proc/self/fd/{fd}") and not os.readlink(f"/proc/self/fd/{fd}").startswith(("pipe", "/memfd")):
                    os.close(fd)
            subprocess.Popen(["sleep", os.environ["SLEEP"]])
        elif what == "deaf":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            os.fork()
            open(f"deaf.{os.getpid()}", "w").close()
            signal.pause()
        return self.table(tokens % 32)
"""
EXPECTED = {8: "ok", 16: "crashed", 32: "crashed", 40: "oom", 48: "invalid", 56: "crashed", 64: "protocol_error",
            72: "ok", 80: "timeout", 88: "ok"}
EXITS = {16: "signal 11 (SEGV)", 32: "signal 9 (KILL)", 56: "exit 3", 80: "signal 9 (KILL)", 88: "exit 0"}
# Each fresh one imports torch: those that differ in whose child and which memory it is, and what it has open. How
# processes of their own end is what the workers of test_faults.py are for.
OF_WAY = {"forked": list(EXPECTED), "fresh": [16, 40, 64, 72, 80, 88]}
# They hold for importing, too, which takes as long as this machine lets it: then there is a longer one.
LIMITS_S = (30, 240)


class FaultSweep:
    """Of all the lengths of a way, in the background: one of them is waited for as long as the limit."""

    def __init__(self, way, parent):
        self.way, self.parent = way, parent
        self.sleep = f"600.{os.getpid()}{list(WAYS).index(way)}"
        self.begun = []
        self.result = None
        self._begin(LIMITS_S[0])

    def _begin(self, limit_s):
        self.folder = self.parent / f"{self.way}-{limit_s}"
        self.folder.mkdir()
        begin(self.folder, FAULTS, "--seq", *map(str, OF_WAY[self.way]), "--try-all", "--memory-limit", "1G", "--timeout", f"{limit_s}s",
              *WAYS[self.way], begun=self.begun, PWD=str(self.folder), SLEEP=self.sleep)

    def _end(self):
        _, said = self.begun[-1].communicate(timeout=TIMEOUT_S)
        return records(self.folder), said, [int(path.suffix[1:]) for path in self.folder.glob("deaf.*")]

    def end(self):
        """Records, what was said, and who hung."""
        if self.result is None:
            self.result = self._end()
            found, _, hung = self.result
            if not hung or [line["seq_len"] for line in found if line["verdict"] == "timeout"] != [80]:
                self._begin(LIMITS_S[1])
                self.result = self._end()
        return self.result


@pytest.fixture(autouse=True, scope="module", name="begun_faults")
def begin_faults(request, tmp_path_factory):
    """Before the file's other tests: it is needed after them."""
    sweeps = {way: FaultSweep(way, tmp_path_factory.mktemp("faults")) for way in WAYS if is_wanted("of_faults", request)}
    yield sweeps
    for sweep_of_way in sweeps.values():
        end(sweep_of_way.begun)


@pytest.fixture(name="of_faults")
def make_of_faults(begun_faults):
    return begun_faults


@pytest.mark.parametrize("way", WAYS)
def test_what_goes_wrong_in_one_cell_reaches_no_other(way, of_faults):
    lengths = OF_WAY[way]
    found, said, _ = of_faults[way].end()
    assert of_faults[way].begun[-1].returncode == 3, said
    assert {line["seq_len"]: line["verdict"] for line in found} == {length: EXPECTED[length] for length in lengths}, said
    assert [line["start"] for line in found] == [way] * len(lengths)
    assert all(line["worker_exit"] == EXITS[line["seq_len"]] for line in found if line["seq_len"] in EXITS)
    left = subprocess.run(["pgrep", "-f", f"sleep {of_faults[way].sleep}"], capture_output=True, text=True, check=False).stdout
    assert left == ""
    assert "one by one" not in said


@pytest.mark.parametrize("way", WAYS)
def test_a_worker_that_hangs_and_its_children_are_ended(way, of_faults):
    found, said, left = of_faults[way].end()
    last = [(line["seq_len"], line["verdict"], line["worker_exit"]) for line in found[-2:]]
    assert last == [(80, "timeout", "signal 9 (KILL)"), (88, "ok", "exit 0")], said
    assert len(left) == 2
    wait_until(lambda: not any(map(is_alive, left)))

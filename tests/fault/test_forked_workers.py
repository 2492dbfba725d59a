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
from caller import calm  # pylint: disable=wrong-import-position
from worker_client import release_binary  # pylint: disable=wrong-import-position
from waiting import TIMEOUT_S, is_alive, wait_until

BINARY = str(Path(release_binary()).resolve())
WAYS = {"forked": [], "fresh": ["--fresh"]}
SHORT = ["--device", "cpu", "--mode", "infer", "--batch", "1", "--steps", "2", "--warmup", "1", "--threads", "1"]

# What a model's code can see of the process it is in.
FACTS = """
import atexit, ctypes, gc, json, os, random, re, resource, signal, sys, warnings
import numpy, torch

IMPORTED_BY = os.getpid()

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
        "printed": "of sitecustomize"}

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        seen = json.dumps(facts())
        self.table = torch.nn.Embedding(32, 32)
        with open(f"facts.{os.getpid()}", "w") as file:
            file.write(seen)

    def forward(self, tokens):
        return self.table(tokens % 32)
"""


def environ(**more):
    return {**os.environ, "TOKMARK_PYTHON": sys.executable, **more}


BEGUN = []


@pytest.fixture(autouse=True)
def end_what_a_failed_test_began():
    yield
    for process in BEGUN:
        if process.poll() is None:
            process.kill()
            process.communicate()
    BEGUN.clear()


def begin(folder, model, *args, **more):
    (folder / "net.py").write_text(model)
    words = calm(["run", "--engine", "pytorch", "--model", "./net.py:Net", *SHORT, *args])
    BEGUN.append(subprocess.Popen([BINARY, *words], cwd=folder, env=environ(**more), text=True, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE))
    return BEGUN[-1]


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
    found = subprocess.run(["ps", "-o", "pid=,args=", "--ppid", str(pid)], text=True, capture_output=True, check=False)
    return [(int(line.split()[0]), line) for line in found.stdout.splitlines()]


def server_of(pid):
    return next((child for child, line in children_of(pid) if " serve pytorch" in line), None)


# In a sitecustomize: servers that are started in its folder.
COUNTS = """
if b"serve" in open("/proc/self/cmdline", "rb").read().split(b"\\0"):
    open(__file__.replace("sitecustomize.py", "servers"), "a").write(".")
"""


def servers_count(folder):
    return (folder / "servers").stat().st_size if (folder / "servers").exists() else 0


@pytest.fixture(scope="module", name="seen")
def make_seen(tmp_path_factory):
    """Of each way: records, and what two workers saw."""
    found = {}
    for way, flags in WAYS.items():
        folder = tmp_path_factory.mktemp(way)
        # what is said while Python starts belongs into every log
        (folder / "sitecustomize.py").write_text("import sys\nprint('sitecustomize is here', file=sys.stderr)\n" + COUNTS)
        lines, said = sweep(folder, FACTS, "--seq", "8", "16", *flags, PYTHONPATH=str(folder), MINE="kept")
        logs = [path.read_text() for path in sorted((folder / "_bench" / "logs").iterdir())]
        facts = [json.loads(path.read_text()) for path in sorted(folder.glob("facts.*"))]
        found[way] = {"servers": servers_count(folder), "records": lines, "said": said, "logs": logs, "facts": facts, "folder": str(folder)}
    return found


def test_a_record_says_how_its_worker_was_started(seen, tmp_path):
    for way in WAYS:
        assert [line["start"] for line in seen[way]["records"]] == [way] * 2
        assert all(line["worker_exit"] == "exit 0" for line in seen[way]["records"])
    # the import is in what a fresh one takes, and in what the first forked one waits for
    assert all(line["cpu_user_s"] > 0 for line in seen["forked"]["records"])
    alone, _ = sweep(tmp_path, FACTS, "--seq", "8")
    assert alone[0]["start"] == "fresh", "there is nobody to share an import with"


def test_the_framework_is_imported_once_for_all_cells(seen):
    assert [seen[way]["servers"] for way in WAYS] == [1, 0]


def test_each_trial_has_a_server_of_its_own(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(COUNTS)
    found, _ = sweep(tmp_path, FACTS, "--seq", "8", "16", "--trials", "2", PYTHONPATH=str(tmp_path))
    assert [line["start"] for line in found] == ["forked"] * 4
    assert servers_count(tmp_path) == 2


def test_a_forked_worker_finds_what_a_fresh_one_finds(seen):
    (forked, rest), (fresh, other) = seen["forked"]["facts"][0], seen["fresh"]["facts"][0]
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
    assert len(set(drawn)) == len(drawn) == 8


def test_both_ways_hold_the_same_memory(seen):
    for forked, fresh in zip(seen["forked"]["records"], seen["fresh"]["records"]):
        assert forked["maxrss_mb"] == pytest.approx(fresh["maxrss_mb"], rel=0.01)


def test_what_starting_prints_is_in_every_log(seen):
    for way in WAYS:
        assert [log.count("sitecustomize is here") for log in seen[way]["logs"]] == [1, 1]


# --- faults ----------------------------------------------------------------------------------------

FAULTS = """
import ctypes, os, signal, subprocess, sys, time
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
            subprocess.Popen(["sleep", "600.25"])
        elif what == "deaf":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            os.fork()
            open(f"deaf.{os.getpid()}", "w").close()
            time.sleep(3600)
        return self.table(tokens % 32)
"""
EXPECTED = {8: "ok", 16: "crashed", 32: "crashed", 40: "oom", 48: "invalid", 56: "crashed", 64: "protocol_error",
            72: "ok", 88: "ok"}
EXITS = {16: "signal 11 (SEGV)", 32: "signal 9 (KILL)", 56: "exit 3"}
# Each fresh one imports torch: those that differ in whose child and which memory it is, and what it has open. How
# processes of their own end is what the workers of test_faults.py are for.
OF_WAY = {"forked": list(EXPECTED), "fresh": [16, 40, 64, 72, 88]}


@pytest.mark.parametrize("way", WAYS)
def test_what_goes_wrong_in_one_cell_reaches_no_other(way, tmp_path):
    lengths = OF_WAY[way]
    found, said = sweep(tmp_path, FAULTS, "--seq", *map(str, lengths), "--try-all", "--memory-limit", "1G",
                        *WAYS[way], code=3, PWD=str(tmp_path))
    assert {line["seq_len"]: line["verdict"] for line in found} == {length: EXPECTED[length] for length in lengths}, said
    assert [line["start"] for line in found] == [way] * len(lengths)
    assert all(line["worker_exit"] == EXITS[line["seq_len"]] for line in found if line["seq_len"] in EXITS)
    left = subprocess.run(["pgrep", "-f", "sleep 600.25"], capture_output=True, text=True, check=False).stdout
    assert left == ""
    assert "one by one" not in said


@pytest.mark.parametrize("way", WAYS)
def test_a_worker_that_hangs_and_its_children_are_ended(way, tmp_path):
    # the limit holds for importing, too, which takes as long as this machine lets it: then there is a longer one
    for limit_s in (10, 40, 160):
        folder = tmp_path / str(limit_s)
        found, said = sweep(folder, FAULTS, "--seq", "80", "88", "--try-all", "--timeout", f"{limit_s}s", *WAYS[way],
                            code=None, PWD=str(folder))
        left = [int(path.suffix[1:]) for path in folder.glob("deaf.*")]
        if left and found[1]["verdict"] == "ok":
            break
    assert [(line["verdict"], line["worker_exit"]) for line in found] == [("timeout", "signal 9 (KILL)"), ("ok", "exit 0")], said
    assert len(left) == 2
    wait_until(lambda: not any(map(is_alive, left)))


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


def test_without_its_server_a_worker_goes_on_and_the_next_is_fresh(tmp_path):
    process = begin(tmp_path, WAITING, "--seq", "8", "16", "24")
    second_worker(tmp_path)
    os.kill(server_of(process.pid), signal.SIGKILL)
    (tmp_path / "go").touch()
    _, said = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, said
    assert [line["start"] for line in records(tmp_path)] == ["forked", "forked", "fresh"]
    assert "workers were started one by one, as with --fresh: the process that had imported the framework ended: signal 9 (KILL)" in said


@pytest.mark.parametrize("number, code", [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)])
def test_no_process_outlives_the_call(number, code, tmp_path):
    process = begin(tmp_path, WAITING, "--seq", "8", "16", "24")
    pids = [second_worker(tmp_path), server_of(process.pid)]
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
    found, said = sweep(tmp_path, FACTS, "--seq", "8", "16", PYTHONPATH=str(tmp_path))
    assert [(line["start"], line["verdict"]) for line in found] == [("fresh", "ok")] * 2
    assert re.search("as with --fresh: .*" + re.escape(why), said), said


def test_behind_a_launcher_workers_are_fresh(tmp_path):
    found, said = sweep(tmp_path, FACTS, "--seq", "8", "16", "--launch", "env")
    assert [line["start"] for line in found] == ["fresh"] * 2
    assert "one by one" not in said

"""A forked worker is as a started one would be: folder, environment, its end."""
import json
import os
import signal
import subprocess

import pytest

from pytorch_worker import MOE, SERVER, TorchWorker
from worker_client import Worker, open_message
from waiting import TIMEOUT_S, is_alive, wait_until

MODEL = """
import json, os, sys
with open("seen.json", "w") as file:
    json.dump([os.getcwd(), sys.path[0], os.environ.get("OF_THE_TEST"), sys.argv], file)
raise RuntimeError("seen")
"""


def by_a_program(folder=None):
    return Worker("pytorch", command=SERVER.command("pytorch", folder))


WAYS = {"forked": TorchWorker, "by a program": by_a_program}


@pytest.mark.parametrize("way", [*WAYS.values(), lambda folder: TorchWorker(folder, is_started=True)], ids=[*WAYS, "started"])
def test_folder_environment_and_arguments(way, tmp_path, monkeypatch):
    monkeypatch.setenv("OF_THE_TEST", "yes")
    (tmp_path / "mine.py").write_text(MODEL)
    with way(tmp_path) as worker:
        with pytest.raises(Exception, match="seen"):
            worker.open({**MOE, "max_seq_len": 8}, "infer", 8, 2, model_source="factory", model_ref="mine:make")
    folder, first, text, argv = json.loads((tmp_path / "seen.json").read_text())
    assert os.path.samefile(folder, tmp_path) and os.path.samefile(first, tmp_path)
    # the worker's own words are not for a user's code that reads its command line
    assert text == "yes" and argv[1:] == [] and argv[0].endswith("tokmark_worker/__main__.py")
    assert worker.process.returncode == 0


@pytest.mark.parametrize("way", WAYS)
def test_it_ends_as_its_worker_ends(way):
    worker = WAYS[way]()
    assert worker.process.poll() is None
    os.kill(worker.hello["pid"], signal.SIGSEGV)
    assert worker.process.wait(TIMEOUT_S) == -signal.SIGSEGV
    worker.process.stdin.close()
    worker.process.stdout.close()


@pytest.mark.parametrize("way", WAYS)
def test_the_worker_ends_with_it(way):
    worker = WAYS[way]()
    pid = worker.hello["pid"]
    assert is_alive(pid)
    worker.process.kill()
    worker.process.wait(TIMEOUT_S)
    wait_until(lambda: not is_alive(pid))
    worker.process.stdin.close()
    worker.process.stdout.close()


WAITING = """
import os, signal
signal.signal(signal.SIGTERM, lambda *_: os._exit(7))
open("waits", "w").close()
signal.pause()
"""


def test_the_worker_is_told_that_it_is_to_end(tmp_path):
    """It may have something to say first."""
    (tmp_path / "mine.py").write_text(WAITING)
    worker = by_a_program(tmp_path)
    message = open_message("pytorch", {**MOE, "max_seq_len": 8}, "infer", 8, 2, model_source="factory", model_ref="mine:make")
    worker.process.stdin.write(json.dumps(message) + "\n")
    worker.process.stdin.flush()
    wait_until((tmp_path / "waits").exists, worker.process)
    worker.process.terminate()
    assert worker.process.wait(TIMEOUT_S) == 7
    worker.process.stdin.close()
    worker.process.stdout.close()


def test_two_at_once_and_another_after():
    with TorchWorker() as one, TorchWorker() as two:
        assert one.hello["pid"] != two.hello["pid"]
        assert two.memory()["type"] == one.memory()["type"] == "memory"
    with TorchWorker() as three:
        assert three.hello["engine_version"] == one.hello["engine_version"]


def test_a_launcher_s_module_has_its_words_streams_and_end(tmp_path):
    (tmp_path / "mine.py").write_text("import sys\nprint(sys.argv[1:], __name__, sys.stdin.read(), 'torch' in sys.modules)\nsys.exit(7)\n")
    done = subprocess.run([*SERVER.module("mine"), "--one", "two words"], cwd=tmp_path, input="heard", capture_output=True,
                          text=True, timeout=TIMEOUT_S, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (7, "['--one', 'two words'] __main__ heard True\n", "")

"""benchmarks/ copied alone into another's repository, and the wheel that puts the program into an environment."""
import ast
import csv
import importlib.util
import json
import math
import os
import shutil
import subprocess
import sys
import zipfile

import pytest

from caller import CALM, NULL, ROOT, calm, program
from waiting import TIMEOUT_S

FOLDER = os.path.join(ROOT, "benchmarks")
FIFTEEN = ("framework device precision mode seq_len batch_size steps tokens_per_step ms_per_step tokens_per_sec "
           "mem_alloc_mb mem_reserved_mb peak_mem_mb params_millions notes").split()
NO_CHOICE = {name: "" for name in ("TOKMARK", "TOKMARK_PYTHON", "TOKMARK_CALLER", "VIRTUAL_ENV", "CONDA_PREFIX")}
QUIET = [*CALM, "--pace", "off", "--history", "off"]


def load(path, name):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


utils = load(os.path.join(FOLDER, "utils.py"), "published_utils")


def call(folder, *words, **env):
    env = {**os.environ, **NO_CHOICE, "PATH": "/usr/bin:/bin", **env}
    return subprocess.run(list(map(str, words)), cwd=folder, env=env, text=True, capture_output=True, check=False, timeout=TIMEOUT_S)


@pytest.fixture(scope="module")
def venv(tmp_path_factory):
    """A fresh environment with the wheel in it, that sees the tests' own packages."""
    backend = load(os.path.join(ROOT, "tools", "wheel", "wheel_backend.py"), "wheel_backend")
    folder = tmp_path_factory.mktemp("wheel")
    name = backend.make_wheel(program("tokmark"), "py3-none-linux_x86_64", str(folder))
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True)
    python = str(folder / "venv" / "bin" / "python")
    subprocess.run([sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-index", "--no-deps",
                    str(folder / name)], check=True, timeout=TIMEOUT_S)
    packages, = (folder / "venv").glob("lib/python*/site-packages")
    ours, = (path for path in sys.path if path.endswith("site-packages") and path.startswith(sys.prefix))
    (packages / "more.pth").write_text(ours + "\n")
    return folder / "venv"


@pytest.fixture
def alone(tmp_path):
    """Somebody's repository, with the folder in it and nothing else of ours."""
    shutil.copytree(FOLDER, tmp_path / "repo" / "benchmarks", ignore=shutil.ignore_patterns("__pycache__"))
    assert sorted(os.listdir(tmp_path / "repo" / "benchmarks")) == ["README.md", "bench_jax.py", "bench_pytorch.py", "utils.py"]
    return tmp_path / "repo"


def results(folder, out="_bench"):
    return [json.loads(line) for line in (folder / out / "bench_results.jsonl").read_text().splitlines()]


# --- the program from the wheel ---

def test_the_published_command_lines(alone, venv):
    sandbox = "--sandbox --device cpu --seq 128 --batch 4 --steps 10 --zip".split()
    done = call(alone, venv / "bin" / "python", "benchmarks/bench_pytorch.py", *sandbox)
    assert done.returncode == 0, done.stderr
    assert [record["framework"] for record in results(alone)] == ["pytorch-sandbox"] * 2
    assert (alone / "_bench.zip").exists()
    done = call(alone, venv / "bin" / "bench_jax", "--sandbox", "--platform", "cpu", "--seq", "64", "--batch", "2",
                "--steps", "5")
    assert done.returncode == 0, done.stderr
    assert results(alone, "_bench_jax")[0]["framework"] == "jax-sandbox"
    for name in ("tokmark", "bench_pytorch", "bench_jax"):
        assert call(alone, venv / "bin" / name, "--version").stdout.startswith("tokmark ")
    assert call(alone, venv / "bin" / "python", "-m", "tokmark", "models").returncode == 0
    done = call(alone, venv / "bin" / "bench_pytorch", "--dry-run")
    assert "cuda:0" in done.stdout and "bf16" in done.stdout, "the published defaults"


def test_the_environments_own_python_is_measured(alone, venv):
    python = str(venv / "bin" / "python")
    done = call(alone, venv / "bin" / "tokmark", "worker", "pytorch", "--probe")
    found = json.loads(done.stdout)
    assert (found["executable"], found["chosen_by"], found["missing"]) == (python, "the Python that called", [])
    elsewhere = call(alone, venv / "bin" / "tokmark", "worker", "pytorch", "--probe", VIRTUAL_ENV="/nowhere")
    assert json.loads(elsewhere.stdout)["executable"] == python
    asked = call(alone, venv / "bin" / "tokmark", "worker", "pytorch", "--probe", "--python", sys.executable)
    assert json.loads(asked.stdout)["chosen_by"] == "--python"
    done = call(alone, python, "benchmarks/bench_pytorch.py", "--device", "cpu", "--model", "superintelligence-tiny",
                "--precision", "fp32", "--seq", "8", "--batch", "1", "--steps", "3", "--warmup", "1", "--mode", "infer", *QUIET)
    assert done.returncode == 0, done.stderr
    for record in results(alone):
        assert record["verdict"] == "ok" and record["environment"]["worker"]["executable"] == python


def test_the_wheel_is_a_wheel(venv):
    dist, = venv.glob("lib/python*/site-packages/tokmark-*.dist-info")
    rows = list(csv.reader((dist / "RECORD").read_text().splitlines()))
    assert {os.path.basename(row[0]) for row in rows} >= {"tokmark", "bench_pytorch", "bench_jax", "METADATA", "WHEEL"}
    assert os.access(dist.parent / "tokmark" / "bin" / "tokmark", os.X_OK)
    text = (dist / "METADATA").read_text()
    assert "\nName: tokmark\n" in text and "\nVersion: " in text
    assert (dist / "licenses" / "LICENSE").exists()


def test_a_clone_is_installed_without_a_network(tmp_path):
    done = subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target",
                           str(tmp_path / "here"), ROOT], capture_output=True, text=True, check=False, timeout=TIMEOUT_S,
                          env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"})
    assert done.returncode == 0, done.stderr
    done = call(tmp_path, tmp_path / "here" / "bin" / "bench_pytorch", "--version", PYTHONPATH=str(tmp_path / "here"))
    assert done.stdout.startswith("tokmark "), done.stderr


# --- where the scripts look ---

def says(folder, name, **env):
    """A stand-in program that says which it is."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\necho {folder.parent.name} \"$TOKMARK_CALLER\" \"$@\"\n")
    (folder / name).chmod(0o755)


def test_where_the_scripts_look(alone, tmp_path):
    script = "benchmarks/bench_pytorch.py"
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True)
    python = bare / "bin" / "python"
    env = {"VIRTUAL_ENV": str(tmp_path / "active"), "CONDA_PREFIX": str(tmp_path / "conda"),
           "PATH": f"{tmp_path / 'path' / 'bin'}:/usr/bin:/bin"}
    done = call(alone, python, script, **env)
    assert done.returncode == 4 and done.stderr.count("\n") == 1
    assert f"{python} -m pip install" in done.stderr and "make" not in done.stderr
    for place, name in (("path", "tokmark"), ("conda", "bench_pytorch"), ("active", "tokmark"), ("bare", "bench_pytorch")):
        says(tmp_path / place / "bin", name)
        assert call(alone, python, script, "--x", **env).stdout == f"{place} :{python} --x\n"
    says(alone / "build", "tokmark")
    assert call(alone, python, script, "--x", **env).stdout.startswith("repo ")
    named = tmp_path / "named" / "bin"
    says(named, "anything")
    assert call(alone, python, script, TOKMARK=str(named / "anything"), **env).stdout.startswith("named ")
    done = call(alone, python, script, TOKMARK=str(named / "nothing"), **env)
    assert done.returncode == 4 and "$TOKMARK" in done.stderr
    # found under its own name in PATH it does not call itself
    (tmp_path / "loop").mkdir()
    os.symlink(alone / script, tmp_path / "loop" / "bench_pytorch")
    os.chmod(alone / script, 0o755)
    shutil.rmtree(alone / "build")
    done = call(alone, "/usr/bin/env", "python3", alone / script, PATH=f"{tmp_path / 'loop'}:/usr/bin:/bin")
    assert done.returncode == 4


def test_in_a_clone_that_is_not_built(tmp_path):
    shutil.copytree(FOLDER, tmp_path / "benchmarks")
    (tmp_path / "src" / "engines").mkdir(parents=True)
    (tmp_path / "src" / "engines" / "engine.h").touch()
    done = call(tmp_path, "/usr/bin/env", "python3", "benchmarks/bench_jax.py")
    assert done.returncode == 4 and f"make -C {tmp_path} build" in done.stderr


def test_the_folder_is_python_3_8():
    for name in ("bench_pytorch.py", "bench_jax.py", "utils.py"):
        with open(os.path.join(FOLDER, name), encoding="utf-8") as file:
            ast.parse(file.read(), feature_version=(3, 8))
    with open(os.path.join(FOLDER, "bench_pytorch.py"), "rb") as one, open(os.path.join(FOLDER, "bench_jax.py"), "rb") as two:
        assert one.read() == two.read()


# --- scripts of one's own ---

OWN = """
import sys
from utils import BenchRecord, Logger, gpu_mem_mb

logger = Logger(sys.argv[1])
allocated, reserved, peak = gpu_mem_mb()
for notes in ("first", 'a, "quoted" one\\nof two lines'):
    logger.log(BenchRecord(framework="pytorch", device="cpu", precision="fp32", mode="train", seq_len=128, batch_size=4,
                           steps=10, tokens_per_step=512, ms_per_step=1.5, tokens_per_sec=341333.3, mem_alloc_mb=allocated,
                           mem_reserved_mb=reserved, peak_mem_mb=peak, params_millions=1.0, notes=notes))
logger.close()
print(logger.archive())
"""


def rows_of(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_script_in_the_published_style(alone):
    (alone / "benchmarks" / "mine.py").write_text(OWN)
    for _ in range(2):
        done = call(alone, "/usr/bin/env", "python3", "benchmarks/mine.py", "_bench")
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == str(alone / "_bench.zip")
    found = results(alone)
    rows = rows_of(alone / "_bench" / "bench_results.csv")
    assert [list(record)[:15] for record in found] == [FIFTEEN] * 4 and list(rows[0])[:15] == FIFTEEN
    assert [row["notes"] for row in rows] == [record["notes"] for record in found]
    assert found[1]["notes"] == 'a, "quoted" one\nof two lines'
    assert found[0]["mem_alloc_mb"] is None and rows[0]["mem_alloc_mb"] == ""
    ids = [record["run_id"] for record in found]
    assert ids[0] == ids[1] != ids[2] == ids[3], "two runs are told apart"
    assert sorted(zipfile.ZipFile(alone / "_bench.zip").namelist()) == ["_bench/bench_results.csv", "_bench/bench_results.jsonl"]


def test_tokmark_takes_such_a_folder(alone):
    (alone / "benchmarks" / "mine.py").write_text(OWN)
    call(alone, "/usr/bin/env", "python3", "benchmarks/mine.py", "_bench")
    jsonl = alone / "_bench" / "bench_results.jsonl"
    theirs, table = jsonl.read_bytes(), (alone / "_bench" / "bench_results.csv").read_bytes()
    sweep = [program("tokmark"), *calm(NULL), "--mode", "infer", "--zip", "--resume"]
    done = call(alone, *sweep)
    assert done.returncode == 0
    assert "bench_results.csv.orig" in done.stderr and "2 lines" in done.stderr
    assert jsonl.read_bytes().startswith(theirs) and len(results(alone)) == 3
    assert (alone / "_bench" / "bench_results.csv.orig").read_bytes() == table
    assert len(rows_of(alone / "_bench" / "bench_results.csv")) == 1
    done = call(alone, *sweep)
    assert "Skipped 1 of 1" in done.stdout and len(results(alone)) == 3
    # and theirs goes on in ours: every line of both is in its table
    call(alone, "/usr/bin/env", "python3", "benchmarks/mine.py", "_bench")
    rows = rows_of(alone / "_bench" / "bench_results.csv")
    assert [row["framework"] for row in rows] == ["pytorch", "pytorch", "null", "pytorch", "pytorch"]
    assert len({row["run_id"] for row in rows}) == 3
    assert call(alone, *sweep).returncode == 0 and len(results(alone)) == 5


def record(**fields):
    return utils.BenchRecord(**{"framework": "own", **fields})


def test_the_record_has_the_published_fields():
    assert list(utils.FIELDS) == FIFTEEN
    assert list(vars(utils.BenchRecord(*range(15))).values()) == list(range(15)), "in the published order"


def test_values_that_json_has_no_word_for(tmp_path):
    import numpy

    with utils.Logger(tmp_path / "o") as logger:
        logger.log(record(ms_per_step=math.nan, tokens_per_sec=math.inf, seq_len=numpy.int64(3), peak_mem_mb=numpy.float32(1.5),
                          device=numpy.str_("cpu"), notes="half \ud800 a pair\r"))
        logger.log({"framework": "own", "notes": 7})
        with pytest.raises(TypeError, match="no field 'speed'"):
            logger.log({"speed": 1})
    first, second = results(tmp_path, "o")
    assert (first["ms_per_step"], first["tokens_per_sec"], first["seq_len"], first["peak_mem_mb"]) == (None, None, 3, 1.5)
    assert first["notes"] == "half ? a pair\r" and second["notes"] == 7 and second["device"] is None
    assert rows_of(tmp_path / "o" / "bench_results.csv")[0]["notes"] == "half ? a pair\r"
    with pytest.raises(ValueError, match="closed"):
        logger.log(record())
    logger.close()


@pytest.mark.parametrize("header", ["framework,ms\n1,2\n", ",".join(FIFTEEN) + "\nx,cpu\n"])
def test_a_table_of_another_make_is_moved_aside(tmp_path, header):
    path = tmp_path / "bench_results.csv"
    for number in range(2):
        path.write_text(header)
        with utils.Logger(tmp_path) as logger:
            logger.log(record(notes=str(number)))
    assert (tmp_path / "bench_results.csv.orig").read_text() == header
    assert (tmp_path / "bench_results.csv.orig.1").read_text() == header
    assert [row["notes"] for row in rows_of(path)] == ["0", "1"], "made from all that was logged"
    assert path.read_text().count("framework,") == 1


def test_a_script_that_dies(tmp_path):
    program_text = f"import sys, os; sys.path.insert(0, {FOLDER!r}); from utils import *\n" \
                   "logger = Logger('o'); logger.log(BenchRecord(framework='own', notes='kept')); os._exit(1)\n"
    call(tmp_path, sys.executable, "-c", program_text)
    assert [found["notes"] for found in results(tmp_path, "o")] == ["kept"]
    with open(tmp_path / "o" / "bench_results.jsonl", "a") as torn, open(tmp_path / "o" / "bench_results.csv", "a") as table:
        torn.write('{"framework": "ow')
        table.write('own,"half a')
    with utils.Logger(tmp_path / "o") as logger:
        logger.log(record(notes="next"))
    lines = (tmp_path / "o" / "bench_results.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["notes"] == "next" and len(lines) == 3
    assert [row["notes"] for row in rows_of(tmp_path / "o" / "bench_results.csv")] == ["kept", "next"]


def test_memory_that_nobody_could_ask_for_is_not_known(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert utils.gpu_mem_mb() == (None, None, None) and "torch" not in sys.modules

    class Cuda:
        is_available = staticmethod(lambda: True)
        memory_allocated = staticmethod(lambda: 2 << 20)
        memory_reserved = staticmethod(lambda: 3 << 20)
        max_memory_allocated = staticmethod(lambda: 5 << 19)

    monkeypatch.setitem(sys.modules, "torch", type("torch", (), {"cuda": Cuda}))
    assert utils.gpu_mem_mb() == (2.0, 3.0, 2.5)
    Cuda.is_available = staticmethod(lambda: False)
    assert utils.gpu_mem_mb() == (None, None, None)

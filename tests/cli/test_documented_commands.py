"""Every command that README.md, docs/ and --help show works as it is written.

COMMANDS says for each how it is tried; a command that is not in it, or that no text shows any more, fails. Where a
command would take long or needs a device, it is tried with fewer steps or with --dry-run, and the table says so.
"""
import glob
import json
import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest

from caller import CALM, ROOT, program, records
from waiting import TIMEOUT_S

sys.path.insert(0, os.path.join(ROOT, "tests", "engines"))
from pytorch_worker import SERVER

QUIET = [*CALM, "--pace", "off", "--history", "off"]
FEW = ["--steps", "3", "--warmup", "1"]
SMALL = ["--seq", "8", "--batch", "1", "--mode", "infer"]
THIN = ["--set", "layers_count=1", "dim=64", "heads_count=2", "ffn_hidden=64", "vocab_size=512", "rotary_dim=16"]
START = re.compile(r"(build/|tokmark\b|bench_\w+\b|make\b|python3? |pip )")


class Run:
    """Runs it, with `more` words at the end (a flag that is there already gets the new values), and expects that exit code and,
    of what was recorded, only the verdict ok."""

    def __init__(self, *more, code=0, has_records=None):
        self.more, self.code, self.has_records = more, code, has_records


class Dry(Run):
    """Only what would be measured."""

    def __init__(self, is_gpu=False):
        super().__init__("--dry-run")
        self.is_gpu = is_gpu


class Parsed(Run):
    """A command without --dry-run, with no Python to go on with: it is understood, and ends before it starts anything."""

    def __init__(self):
        super().__init__(code=4)


class Reads(Run):
    """A command that reads results: on those of a small sandbox sweep, and without --follow, which does not end."""


class Compares(Run):
    """A command that compares results: on those of a small sandbox sweep, under all the names that commands use. One run a side of the
    sandbox, whose runs nothing is known of, passes no narrow gate: 3."""


class Serves(Run):
    """A command that prints an address, and goes on: on any free port, until it is ended."""

    def __init__(self):
        super().__init__("--port", "0", code=143)


class Target(Run):
    """A target of the Makefile."""


SANDBOX = Run("--steps", "3", has_records=True)
COMMANDS = {
    "make bench": Target(),
    "make test": Target(),
    # README.md
    "build/tokmark run --dry-run": Run(),
    "build/tokmark run --mode train infer decode --seq 128-1024*2 --batch 1 4 --data corpus.txt --out results": Dry(),
    "build/tokmark run --model superintelligence-190m --steps 50 --trials 3 --resume --zip": Dry(),
    "build/tokmark run --mode train --seq 128 512 --batch max": Dry(),
    "build/tokmark peak": Run("--show"),
    "build/tokmark run --engine 'exec:python3 examples/exec_worker.py'": Run(*FEW, *QUIET, has_records=True),
    "build/tokmark setup pytorch": Run(),
    "build/bench_pytorch --device cpu --model superintelligence-tiny --seq 128 --batch 4 --steps 200 --precision fp32 bf16":
        Run(*FEW, *SMALL, *QUIET, *THIN, "--precision", "bf16", has_records=True),
    "build/tokmark stability --engines native pytorch": Parsed(),
    "build/tokmark run --engine pytorch --model superintelligence --mode train --precision bf16 --devices cuda:0-1 --parallel ddp fsdp tp ep": Dry(),
    "build/tokmark run --engine pytorch --devices cpu:2 --parallel fsdp --mode train --steps 10": Dry(),
    "build/tokmark run --engine jax --devices cpu:2 --parallel fsdp --mode train --steps 10": Dry(),
    "tokmark run --engine pytorch --mode train --precision bf16 --devices min --parallel fsdp tp": Dry(),
    "build/tokmark run --engine pytorch --mode train --devices cpu:4 --parallel fsdp ddp:2,fsdp:2 fsdp:2,tp:2 --batch 4 --steps 10": Dry(),
    "build/tokmark run --engine pytorch --mode train --precision bf16 --devices 8 --parallel fsdp --launch 'srun --nodes=2 --ntasks=8 --gpus-per-node=4'": Dry(),
    "build/tokmark run --engine pytorch --mode train --precision bf16 --devices 8 --parallel fsdp --launch 'mpirun -n 8 --host node1:4,node2:4 -x MASTER_ADDR=node1'": Dry(),
    "build/tokmark run --engine pytorch --mode train --steps 10 --devices cpu:2 --parallel fsdp --launch 'torchrun --standalone --nproc-per-node 2 --no-python'": Dry(),
    "build/tokmark run --engine pytorch --mode train --precision bf16 --devices 8 --parallel fsdp --launch 'srun --nodes=2 --ntasks-per-node=1 torchrun --nnodes 2 --nproc-per-node 4 --rdzv-backend c10d --rdzv-endpoint node1:29400 --no-python'": Dry(),
    "build/tokmark run --engine pytorch --model mymodel.model:MyModel --set n_layer=4 --seq 256":
        Run(*FEW, *SMALL, *QUIET, "--model-source", "auto", has_records=True),
    "build/bench_pytorch --sandbox --device cpu --seq 128 --batch 4 --steps 10 --zip": Run(has_records=True),
    "build/tokmark explain --engine pytorch --model ./model.py:MyModel": Run("--mode", "infer", "--seq", "8", "--batch", "1"),
    "build/tokmark profile --mode train --seq 128 --batch 4": Run("--steps", "1", *SMALL[:4], *THIN),
    "build/tokmark check --engines native,pytorch": Parsed(),
    "build/tokmark ab --a '--threads 1' --b '--threads 2' --mode infer": Dry(),
    "build/tokmark compare base _bench --gate 3": Compares("--include", "sandbox", code=3),
    "build/tokmark serve _bench": Serves(),
    "build/tokmark report _bench --format text html:_bench/report.html": Compares(),
    "build/tokmark registry merge --into metrics.jsonl _bench": Reads(),
    "build/tokmark registry bridge --into metrics.yaml": Run(),
    "build/tokmark run --resume -o md": Run(*FEW, *SMALL, *QUIET, "--engine", "sandbox", has_records=True),
    "build/tokmark export prometheus _bench --to tokmark.prom": Reads("--include", "sandbox"),
    "build/tokmark run --help": Run(),
    # benchmarks/README.md
    "python benchmarks/bench_pytorch.py --device cuda:0 --seq 128 512 2048 --batch 8 32 --precision bf16 --steps 400": Dry(is_gpu=True),
    "python benchmarks/bench_jax.py --platform gpu --seq 128 512 --batch 8 --precision bf16 --steps 400": Dry(is_gpu=True),
    "python benchmarks/bench_pytorch.py --sandbox --device cpu --seq 128 --batch 4 --steps 10 --zip": Run(has_records=True),
    # docs/
    "tokmark ab --a '--engine native' --b '--engine pytorch' --mode infer": Dry(),
    "tokmark ab --engine pytorch --b '--compile default' --mode train": Dry(),
    "tokmark ab --engine pytorch --a '--rev main' --gate --threshold 2": Dry(),
    "tokmark ab --a '--binary ../before/tokmark' --b '--binary ./tokmark'": Dry(),
    "tokmark ab --engine pytorch --a '--python env1' --b '--python env2'": Dry(),
    "tokmark profile --mode train --seq 128 --batch 4": Run("--steps", "1", *SMALL[:4], *THIN),
    "tokmark profile --engine pytorch --device cuda --precision bf16 --mode train": Parsed(),
    "tokmark profile --mode decode --seq 512 --batch 1 --format json": Run("--steps", "1", *SMALL[:4], *THIN),
    "tokmark check --engines native,pytorch": Parsed(),
    "tokmark check --engines native,pytorch --precision fp32 bf16 --train-steps 3": Parsed(),
    "bench_jax --platform gpu --seq 128 512 --batch 8 --precision bf16 --steps 50": Dry(is_gpu=True),
    "tokmark run --engine jax --model mymodel:MyModel --set width=64 --seq 128": Dry(),
    "tokmark run --engine \"exec:python3 examples/exec_worker.py\" --model superintelligence-tiny --device cpu":
        Run(*FEW, *QUIET, has_records=True),
    "bench_pytorch --device cuda:0 --seq 128 512 --batch 8 --precision bf16 --steps 50": Dry(is_gpu=True),
    "tokmark run --engine pytorch --model mymodel.model:MyModel --set n_layer=12 --seq 1024 --batch 8": Dry(),
    "tokmark run --engine pytorch --model hf:DIR --mode train infer decode": Dry(),
    "tokmark explain --engine pytorch --model mymodel.model:MyModel --set n_layer=4": Run("--mode", "infer", "--seq", "8", "--batch", "1"),
    "tokmark explain --engine pytorch --model ./model.py:MyModel --format json": Run("--mode", "infer", "--seq", "8"),
    "tokmark explain --model gpt2-124m --mode infer": Run("--model", "superintelligence-tiny"),
    # tokmark help, and --help of each command
    "tokmark run": Dry(),
    "tokmark run --help": Run(),
    "tokmark help COMMAND": Run("run"),
    "tokmark run --dry-run": Run(),
    "tokmark run --seq 128 512 2048 --batch 4 8 --mode train infer decode": Dry(),
    "tokmark run --model gpt2-124m --data input.txt --steps 200 --out gpt2": Dry(),
    "tokmark run --resume --trials 3 --target-ci 0.5 --max-time 2m": Dry(),
    "tokmark run --sandbox --zip": SANDBOX,
    "tokmark ab --a '--threads 1' --b '--threads 2' --mode infer --max-time 20s": Dry(),
    "tokmark noise --mode train infer": Dry(),
    "tokmark noise --engine pytorch --mode infer --seq 512 --repeats 10": Dry(),
    "tokmark noise": Run(),
    "tokmark noise --show": Run(),
    "tokmark check --engines native pytorch --precision fp32 bf16 --train-steps 3": Parsed(),
    # docs/fit.md
    "tokmark run --batch max --mode train --seq 128 512": Dry(),
    "tokmark run --seq max --batch 1": Dry(),
    "tokmark run --batch best": Dry(),
    # docs/stability.md, and --help
    "tokmark stability": Run("--steps", "2", *THIN),
    "tokmark stability --engines native pytorch jax": Parsed(),
    "tokmark stability --engines pytorch --device cuda --precision fp32 bf16": Parsed(),
    "tokmark stability --engines pytorch --model ./model.py:MyModel --lr 1e-3": Parsed(),
    "tokmark stability --base earlier": Run("--steps", "2", code=2), # there is none
    "tokmark check --engines pytorch --precision bf16": Parsed(),
    "tokmark check --engines native,pytorch --weights model.safetensors --seq 128": Parsed(),
    "tokmark check --engines native,pytorch --device cpu pytorch=cuda:0": Parsed(),
    "tokmark check --engines native,pytorch --device pytorch=cpu:2 --parallel fsdp": Parsed(),
    "tokmark models": Run(),
    "tokmark models --json": Run(),
    "tokmark env": Run(),
    "tokmark env --json": Run(),
    "tokmark peak": Run("--show"),
    "tokmark peak --device cuda:0": Run("--show"),
    "tokmark peak --device cpu --engine pytorch": Run("--show"),
    "tokmark peak --show": Run(),
    "tokmark env --format json": Run(),
    "tokmark env --matrix environment_matrix.yaml": Run(),
    "tokmark setup pytorch": Run(),
    "tokmark setup jax --python python3.12": Run("--python", sys.executable),
    "tokmark completion bash": Run(), "tokmark completion zsh": Run(), "tokmark completion fish": Run(),
    "tokmark fields": Run(),
    "tokmark fields --of open": Run(),
    "tokmark fields --group latency": Run(),
    "tokmark fields --from ready --format json": Run(),
    "tokmark cat _bench --fields mode,seq_len,batch_size,ms_p50,verdict": Reads(),
    "tokmark cat _bench.zip --where mode=train --where verdict=ok --format csv": Reads(),
    "tokmark cat _bench --fields started_at,verdict,ms_p50 --follow": Reads(),
    "build/tokmark serve _bench --port 0": Serves(),
    "tokmark serve _bench": Serves(),
    "tokmark serve _bench --port 0": Serves(),
    "tokmark serve _bench --listen 0.0.0.0 --token-file token": Serves(),
    "tokmark hud _bench": Reads(),
    "tokmark hud _bench --once --format json": Reads(),
    "tokmark run --hud --seq 128 512": Run("--sandbox", "--steps", "3", has_records=True),
    "tokmark registry merge --into metrics.jsonl _bench": Reads(),
    "tokmark registry bridge --into metrics.yaml": Run(),
    "tokmark registry bridge _bench --into all.yaml --value --metric ms_p50": Reads(),
    "tokmark registry merge --into all.jsonl _bench.zip --include unsteady": Reads(),
    "tokmark export prometheus _bench --to tokmark.prom": Reads("--include", "sandbox"),
    "tokmark export openmetrics _bench --to openmetrics.txt": Reads("--include", "sandbox"),
    "tokmark export github-action-benchmark _bench --to bench-data/": Reads("--include", "sandbox"),
    "tokmark export bmf _bench --to results.json": Reads("--include", "sandbox"),
    "tokmark export bmf _bench --fields tokens_per_sec --to results.json": Reads("--include", "sandbox"),
    "tokmark export gobench _bench --to new.txt": Reads("--include", "sandbox"),
    "tokmark export tensorboard _bench --to board": Reads("--include", "sandbox"),
    "tokmark export llama-bench _bench --to new.json": Reads("--include", "sandbox"),
    "tokmark export pytorch-benchmark _bench --to benchmark.json": Reads("--include", "sandbox"),
    # to a server: tests/cli/test_export_servers.py runs such; here to a file, and MLflow, which has none, to no end
    "tokmark export prometheus _bench --to http://localhost:9091": Reads("--include", "sandbox", "--to", "pushed.prom"),
    "tokmark export mlflow _bench --to http://localhost:5000": Reads("--help"),
    "tokmark export otlp _bench --to http://localhost:4318": Reads("--include", "sandbox", "--to", "otlp.jsonl"),
    "tokmark export --list": Run(),
    "tokmark report _bench": Compares(),
    "tokmark report _bench --format html:_bench/report.html": Compares(),
    "tokmark report base _bench --format text html:report.html markdown:report.md": Compares(),
    "tokmark compare base _bench": Compares("--include", "sandbox"),
    "tokmark compare base.jsonl _bench.zip --gate 3 --format text markdown:comment.md junit:gate.xml": Compares("--include", "sandbox", code=3),
    "tokmark compare base _bench --gate 3 --format text junit:gate.xml": Compares("--include", "sandbox", code=3),
    "tokmark compare _bench --save-baseline main": Compares(),
    "tokmark compare baseline:main _bench --gate 5": Compares("--include", "sandbox", code=3),
    "tokmark compare _bench _bench_jax --by mode seq_len batch_size": Compares("--include", "sandbox"),
    "tokmark compare _bench _bench_jax --by mode precision seq_len batch_size": Compares("--include", "sandbox"),
    "tokmark history _bench": Compares("--include", "sandbox"),
    "tokmark history registry.jsonl --metric tokens_per_sec --steps-only": Compares("--include", "sandbox"),
    "tokmark history base _bench --format json": Compares("--include", "sandbox"),
    # under the published names
    "bench_pytorch --dry-run": Run(),
    "bench_pytorch --seq 128 512 2048 --batch 4 8 --mode train infer decode": Dry(),
    "bench_pytorch --model gpt2-124m --data input.txt --steps 200 --out gpt2": Dry(),
    "bench_pytorch --resume --trials 3 --target-ci 0.5 --max-time 2m": Dry(),
    "bench_pytorch --sandbox --zip": SANDBOX,
    "bench_jax --dry-run": Run(),
    "bench_jax --seq 128 512 2048 --batch 4 8 --mode train infer decode": Dry(),
    "bench_jax --model gpt2-124m --data input.txt --steps 200 --out gpt2": Dry(),
    "bench_jax --resume --trials 3 --target-ci 0.5 --max-time 2m": Dry(),
    "bench_jax --sandbox --zip": SANDBOX,
}


def without_remark(line):
    """A remark is behind a #, or two or more spaces away."""
    return re.split(r"\s+#|\s{2,}", line.strip())[0]


def of_document(text):
    """Commands of the blocks of code, fenced or indented."""
    is_fenced = False
    for line in text.splitlines():
        if line.startswith("```"):
            is_fenced = not is_fenced
        elif (is_fenced or line.startswith("    ")) and START.match(line.strip()):
            yield without_remark(line), line


def of_help():
    """The examples of every command, and the first steps."""
    text = subprocess.run([program("tokmark"), "help"], capture_output=True, text=True, check=True).stdout
    commands = re.findall(r"^  ([a-z]+) +[A-Z]", text, re.M)
    assert len(commands) >= 13
    pages = [text] + [subprocess.run([program(words[0]), *words[1:], "--help"], capture_output=True, text=True, check=True).stdout
                      for words in [["tokmark", name] for name in commands] + [["bench_pytorch"], ["bench_jax"]]]
    for page in pages:
        for block in re.findall(r"^(?:Examples|First steps):\n((?:  .*\n)+)", page, re.M):
            for line in block.splitlines():
                assert START.match(line.strip()), line
                yield without_remark(line), line


def documented():
    """command -> the lines that show it."""
    found = {}
    paths = [os.path.join(ROOT, name) for name in ("README.md", "benchmarks/README.md")]
    for path in paths + sorted(glob.glob(os.path.join(ROOT, "docs", "*.md"))):
        with open(path, encoding="utf-8") as file:
            for command, line in of_document(file.read()):
                found.setdefault(command, []).append(line)
    for command, line in of_help():
        found.setdefault(command, []).append(line)
    return found


@pytest.fixture(scope="module")
def shown():
    return documented()


def test_every_command_shown_is_in_the_table_and_every_one_of_the_table_is_shown(shown):
    assert sorted(shown) == sorted(COMMANDS)


MODEL = """import torch


class MyModel(torch.nn.Module):
    def __init__(self, vocab_size, n_layer=1, dim=16):
        super().__init__()
        self.embedding = torch.nn.Embedding(vocab_size, dim)
        self.layers = torch.nn.Sequential(*(torch.nn.Linear(dim, dim) for _ in range(n_layer)))
        self.head = torch.nn.Linear(dim, vocab_size)

    def forward(self, tokens):
        return self.head(self.layers(self.embedding(tokens)))
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with what the commands name: the program, a text, a model, a checkpoint's folder."""
    top = tmp_path_factory.mktemp("documented")
    folder = top / "here"
    (folder / "build").mkdir(parents=True)
    for name in ("tokmark", "bench_pytorch", "bench_jax"):
        os.symlink(program("tokmark"), folder / "build" / name)
    os.symlink(program("tokmark"), folder / "tokmark")
    (top / "before").mkdir()
    os.symlink(program("tokmark"), top / "before" / "tokmark")
    for name in ("examples", "benchmarks"):
        shutil.copytree(os.path.join(ROOT, name), folder / name)
    for name in ("corpus.txt", "input.txt"):
        (folder / name).write_text("to be measured or not to be measured\n" * 2000)
    (folder / "environment_matrix.yaml").write_text("software:\n  python: '>=3.8'\n")
    (folder / "mymodel").mkdir()
    (folder / "mymodel" / "__init__.py").touch()
    (folder / "mymodel" / "model.py").write_text(MODEL)
    (folder / "model.py").write_text(MODEL)
    (folder / "DIR").mkdir()
    (folder / "DIR" / "config.json").write_text(json.dumps(
        {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "vocab_size": 100, "n_positions": 4096}))
    header = b"{}      "
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    for name in ("env1", "env2"):
        (folder / name / "bin").mkdir(parents=True)
        os.symlink(sys.executable, folder / name / "bin" / "python")
    (folder / "bin").mkdir()
    os.symlink(sys.executable, folder / "bin" / "python")
    (folder / "token").write_text("0123456789abcdef")
    (folder / "token").chmod(0o600)
    for engine in ("pytorch", "jax"):
        (folder / "data" / "tokmark" / engine).mkdir(parents=True)
        (folder / "data" / "tokmark" / engine / ".complete").touch()
    git = ["git", "-c", "user.name=me", "-c", "user.email=me@example.org"]
    subprocess.run([*git, "init", "-q", "-b", "main"], cwd=folder, check=True)
    subprocess.run([*git, "add", "mymodel"], cwd=folder, check=True)
    subprocess.run([*git, "commit", "-q", "-m", "A model"], cwd=folder, check=True)
    return folder


def replaced(words, more):
    """`more` at the end; the values that a flag of it had before are gone."""
    flags = {word for word in more if word.startswith("--")}
    kept, is_dropped = [], False
    for word in words:
        is_dropped = word in flags if word.startswith("--") else is_dropped
        if not is_dropped:
            kept.append(word)
    return kept + list(more)


def words_of(command, how):
    words = shlex.split(command.replace(" COMMAND", ""))
    name = os.path.basename(words[0])
    words = [word for word in replaced(words[1:], how.more) if not isinstance(how, Reads) or word != "--follow"]
    return ["bin/python", *words] if name == "python" else [f"build/{name}", *words]


def environment(how):
    """`tokmark setup` has been called before; only what Parsed is for finds no Python. PyTorch's workers are forked, as elsewhere."""
    python = "/nowhere" if isinstance(how, Parsed) else SERVER.python("pytorch")
    return {**os.environ, "XDG_DATA_HOME": "data", "TOKMARK_PYTHON": python, "TOKMARK_CALLER": "", "TOKMARK": "", "COLUMNS": "120"}


@pytest.fixture(scope="module")
def measured(place):
    """measured(steps): a copy of what a small sandbox sweep of so many steps leaves, as if it had just run. It runs once."""
    env = {**environment(Run()), "XDG_DATA_HOME": str(place / "data")}

    def put(steps):
        kept = place.parent / f"of-{steps}-steps"
        if not kept.exists():
            kept.mkdir()
            subprocess.run([place / "build" / "tokmark", "run", "--sandbox", "--zip", "--steps", steps, *SMALL], cwd=kept, env=env,
                           capture_output=True, check=True)
        shutil.copytree(kept, place, dirs_exist_ok=True)

    return put


def make_sides(place, env, has_baseline):
    """The same results under the names that examples of `compare` use."""
    for name in ("base", "_bench_jax"):
        shutil.rmtree(place / name, ignore_errors=True)
        shutil.copytree(place / "_bench", place / name)
    shutil.copy(place / "_bench" / "bench_results.jsonl", place / "base.jsonl")
    shutil.copy(place / "base.jsonl", place / "registry.jsonl")
    shutil.rmtree(place / "data" / "tokmark" / "baselines", ignore_errors=True)
    if has_baseline:
        subprocess.run(["build/tokmark", "compare", "_bench", "--save-baseline", "main"], cwd=place, env=env, capture_output=True, check=True)


def serve(place, command, how):
    """(exit code, the first line that it prints)"""
    with subprocess.Popen(words_of(command, how), cwd=place, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        line = process.stdout.readline()
        process.terminate()
        return process.wait(timeout=TIMEOUT_S), line


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_works(place, shown, measured, command):
    how = COMMANDS[command]
    if isinstance(how, Target):
        with open(os.path.join(ROOT, "Makefile"), encoding="utf-8") as file:
            assert re.search(rf"^{command.split()[1]}:", file.read(), re.M)
        return
    if isinstance(how, Dry) and how.is_gpu:
        assert all(re.search("gpu|cuda", line, re.I) for line in shown[command]), "the text says that it needs one"
    for path in glob.glob(str(place / "_bench*")):
        shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
    env = environment(how)
    env["XDG_DATA_HOME"] = str(place / "data")
    if isinstance(how, Serves):
        code, line = serve(place, command, how)
        assert code == how.code and line.startswith("http://")
        return
    if isinstance(how, Reads):
        measured("3")
    if isinstance(how, Compares):
        measured("40")
        make_sides(place, env, has_baseline="baseline:" in command)
    done = subprocess.run(words_of(command, how), cwd=place, env=env, text=True, stdin=subprocess.DEVNULL,
                          capture_output=True, check=False, timeout=TIMEOUT_S)
    assert done.returncode == how.code, (done.stdout, done.stderr)
    if isinstance(how, Reads):
        assert done.stdout.count("\n") > 0 and done.stderr == ""
    if isinstance(how, Parsed):
        assert "is no Python that can be run" in done.stderr
    if isinstance(how, Dry):
        assert not (place / "_bench").exists() and done.stdout != ""
    if how.has_records:
        name = "_bench_jax" if "bench_jax" in command else "_bench"
        found = records(place, name)
        assert found and {record["verdict"] for record in found} == {"ok"}, [record["reasons"] for record in found]

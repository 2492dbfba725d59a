"""Wrong command lines: exit 2, one line on stderr that names the nearest valid thing, nothing written."""
import os
import re
import shutil
import subprocess

import pytest

from caller import ROOT, program

BIG = "1" + "0" * 12
HUGE = "9" * 30

# command line, what the line on stderr must hold
WRONG = [
    # commands
    ("", "tokmark help"),
    ("rnu", "'run'"),
    ("RUN2", "'run'"),
    ("modles", "'models'"),
    ("--versoin", "'version'"),
    ("help runn", "'run'"),
    ("help run env", "unexpected"),
    ("completion", "SHELL"),
    ("completion bsah", "'bash'"),
    ("completion fihs", "'fish'"),
    ("completion tcsh", "there are bash, zsh, fish"),
    ("worker", "ENGINE"),
    ("worker nul", "'null'"),
    ("env --jsn", "'--json'"),
    ("models --json=1", "--json"),
    ("version now", "--help"),
    ("setup", "ENGINE"),
    ("setup pytroch", "'pytorch'"),
    ("setup native", "there are pytorch, jax"),
    ("setup pytorch --pip 'a", "not closed"),
    # flags
    ("run --sequence 128", "'--seq'"),
    ("run --se 128", "'--set'"),
    ("run --batchsize 4", "'--batch'"),
    ("run -z", "unknown flag"),
    ("run -qq", "unknown flag"),
    ("run --resume=1", "--resume"),
    ("run --zip yes", "unexpected word 'yes'"),
    ("run superintelligence", "unexpected word"),
    ("run -- --seq", "unexpected word '--seq'"),
    ("run --platform gpu", "unknown flag '--platform'"),
    # a value is missing
    *((f"run --{flag}", f"--{flag} needs a value") for flag in
      "engine model set device mode precision seq batch steps target-ci max-time warmup trials sync "
      "data data-format weights seed threads timeout pace history memory-limit launch out progress color moe "
      "compile model-source python".split()),
    ("run --seq --batch 4", "--seq needs a value"),
    # engines, models, devices
    ("run --engine nul", "'null'"),
    ("run --engine Pytorhc", "'pytorch'"),
    ("run --engine exec:", "exec:./my_worker"),
    ("run --engine exec:'a", "not closed"),
    ("run --model superinteligence", "'superintelligence'"),
    ("run --model gpt2", "'gpt2-124m'"),
    ("run --model missing.json", "missing.json"),
    ("run --set layer_count=2", "layers_count"),
    ("run --set layers_count", "layers_count=2"),
    ("run --set layers_count=1 dropout", "'dropout' is not KEY=VALUE"),
    ("run --set max_seq_len=64", "less than the sequence length 128"),
    ("run --set layers_count=", "layers_count=2"),
    ("run --set layers_count=0", "smallest is 1"),
    ("run --set heads_count=7", "divide"),
    ("run --set norm=rmss", "rms"),
    ("run --set is_causal=ture", "'true'"),
    # a model of one's own, and what only engines in Python have
    ("run --model mine.model:Mine", "--engine pytorch"),
    ("run --model hf:.", "--engine pytorch"),
    ("run --engine pytorch --model hf:missing", "missing"),
    ("run --engine pytorch --model hf:.", "config.json"),
    ("run --engine pytorch --model mine.model:", "'mymodel.model:MyModel'"),
    ("run --engine pytorch --model :Mine", "'mymodel.model:MyModel'"),
    ("run --engine pytorch --model mine..model:Mine", "'mymodel.model:MyModel'"),
    ("run --engine pytorch --model 2mine:Mine", "'mymodel.model:MyModel'"),
    ("run --engine pytorch --model gpt2-124m --set layer_count=2", "layers_count"),
    ("run --engine pytorch --model-source builtin --set layer_count=2", "layers_count"),
    ("run --moe published", "--engine pytorch"),
    ("run --engine pytorch --moe rooted", "'routed'"),
    ("run --compile default", "--engine pytorch"),
    ("run --engine pytorch --compile on", "there are off, default"),
    ("run --engine pytorch --model-source built", "'builtin'"),
    ("run --python python3", "--engine pytorch"),
    ("run --trust-remote-code", "--model hf:DIR"),
    ("run --engine pytorch --model gpt2-124m --trust-remote-code", "--model hf:DIR"),
    ("run --device cup", "'cpu'"),
    ("run --device cuda:", "'cuda'"),
    ("run --device cuda:-1", "'cuda'"),
    ("run --device cuda:99999", "largest is 1023"),
    ("run --device cuda:007", "'cuda:7'"),
    ("run --device CPU", "'cpu'"),
    # words
    ("run --mode trian", "'train'"),
    ("run --mode train infre", "'infer'"),
    ("run --mode train,decod", "'decode'"),
    ("run --mode train,", "there are train, infer, decode"),
    ("run --precision fp23", "'fp32'"),
    ("run --precision bfloat61", "'bfloat16'"),
    ("run --precision fp8", "there are fp32, tf32, bf16,"),
    ("run --model Llama-3-8B", "there are gpt2-124m, "),
    ("run --frobnicate", "--help lists them"),
    ("run --sync blocks", "'block'"),
    ("run --data-format uint8 --data x", "'uint16'"),
    ("run --data-format text", "--data FILE"),
    ("run --progress allways", "'always'"),
    ("run --color nevr", "'never'"),
    # axes
    ("run --seq 0", "smallest is 1"),
    ("run --seq -1", "smallest is 1"),
    ("run --seq 128 -5", "smallest is 1"),
    ("run --seq 1.5", "whole number"),
    ("run --seq abc", "there is max, or a number"),
    ("run --seq 128,", "try 128"),
    (f"run --seq {BIG}", "largest is 1048576"),
    (f"run --seq {HUGE}", "largest is 1048576"),
    ("run --seq 512-128", "512"),
    ("run --seq 128-", "1"),
    ("run --seq 1-1000000", "1024"),
    ("run --seq 128-2048*1", "2"),
    ("run --seq 128-2048*0", "2"),
    ("run --seq 128-2048+0", "1"),
    ("run --batch 0", "smallest is 1"),
    ("run --batch -8", "smallest is 1"),
    (f"run --batch {BIG}", "largest is 1048576"),
    # numbers
    ("run --steps 0", "smallest is 1"),
    ("run --steps -1", "smallest is 1"),
    ("run --steps 1e3", "whole number"),
    ("run --steps 0x10", "whole number"),
    (f"run --steps {BIG}", "largest is 1000000000"),
    (f"run --steps {HUGE}", "largest is 1000000000"),
    ("run --warmup -1", "smallest is 0"),
    ("run --warmup atuo", "'auto'"),
    (f"run --warmup {BIG}", "largest is 1000000"),
    ("run --trials 0", "smallest is 1"),
    ("run --trials 1001", "largest is 1000"),
    ("run --threads 0", "smallest is 1"),
    (f"run --threads {BIG}", "largest is 1024"),
    ("run --seed -1", "smallest is 0"),
    (f"run --seed {HUGE}", "largest is 9223372036854775807"),
    ("run --target-ci 0", "smallest is 0.01"),
    ("run --target-ci 51", "largest is 50"),
    ("run --target-ci nan", "not a number"),
    ("run --target-ci inf", "not a number"),
    ("run --target-ci -1", "smallest is 0.01"),
    # durations and bytes
    ("run --max-time 0", "more than 0"),
    ("run --max-time -1s", "30s"),
    ("run --max-time 5 parsecs", "unexpected word"),
    ("run --max-time 5w", "30s"),
    (f"run --max-time {HUGE}", "30s"),
    ("run --timeout 0s", "more than 0"),
    (f"run --timeout {BIG}h", "30s"),
    ("run --memory-limit 0", "more than 0"),
    ("run --memory-limit 5GP", "20GiB"),
    ("run --memory-limit lots", "there is auto, or a number"),
    (f"run --memory-limit {HUGE}", "20GiB"),
    # files
    ("run --data missing.bin", "missing.bin"),
    ("run --data .", "a folder"),
    ("run --weights missing.safetensors", "missing.safetensors"),
    ("run --out .", "_bench"),
    ("run --out ..", "_bench"),
    ("run --out /", "_bench"),
    ("run --launch 'a", "not closed"),
    # contradictions
    ("run --steps 10 --target-ci 1", "--target-ci"),
    ("run --steps 10 --max-time 1s", "--max-time"),
    # too much
    ("run --seq 1-1000 --batch 1-1000", "100000"),
]


def words(text):
    return text.split(" ") if text else []


def check_refused(call, done, wanted, title="tokmark"):
    assert done.returncode == 2, (done.returncode, done.stdout, done.stderr)
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1 and done.stderr.endswith("\n"), done.stderr
    assert done.stderr.startswith(title)
    assert wanted in done.stderr
    assert call.files() == []


@pytest.mark.parametrize("line, wanted", WRONG, ids=[line or "nothing" for line, _ in WRONG])
def test_wrong_usage(call, line, wanted):
    check_refused(call, call(*words(line)), wanted)


@pytest.mark.parametrize("flag", "engine model set device mode precision seq batch steps target-ci max-time "
                         "warmup trials sync data data-format weights seed threads timeout memory-limit "
                         "launch out progress color".split())
@pytest.mark.parametrize("form", ["two words", "equals"])
def test_empty_values(call, flag, form):
    args = [f"--{flag}", ""] if form == "two words" else [f"--{flag}="]
    check_refused(call, call("run", *args), f"--{flag}: ")


@pytest.mark.parametrize("name, line, wanted", [
    ("bench_pytorch", "--sandbox --mode trian", "'train'"),
    ("bench_pytorch", "--platform gpu", "unknown flag"),
    ("bench_pytorch", "run", "unexpected word 'run'"),
    ("bench_jax", "--platform gup", "'gpu'"),
    ("bench_jax", "--platform cuda:0", "'cuda'"),
    ("bench_jax", "--platform gpu --device cpu", "--device"),
    ("bench_jax", "--steps 10 --max-time 5s", "--max-time"),
])
def test_wrong_usage_under_the_published_names(call, name, line, wanted):
    check_refused(call, call(*words(line), name=name), wanted, title=name)


def planned(call, *args, name="tokmark"):
    """The cells of a dry run: (mode, precision, sequence length) of each."""
    lines = call(*([] if name != "tokmark" else ["run"]), "--dry-run", *args, name=name, code=0).stdout.splitlines()
    return [tuple(line.split()[3:6]) for line in lines if line.split()[:1] and line.split()[0].isdigit()
            and len(line.split()) > 6]


@pytest.mark.parametrize("other, own", [
    ("--precision half float bfloat16 --mode inference", "--precision fp16 fp32 bf16 --mode infer"),
    ("--precision full float32 single --mode prefill generate", "--precision fp32 --mode infer decode"),
    ("--mode training,generation --seq 4k,1K-2k*2", "--mode train,decode --seq 4096,1024-2048*2"),
    ("--memory-limit 2gb --set layers_count=2 dropout=0", "--memory-limit 2GiB --set layers_count=2 --set dropout=0"),
])
def test_other_words_mean_the_same_cells(call, other, own):
    first = planned(call, *words(other))
    assert first and first == planned(call, *words(own))
    ids = [call("run", "--dry-run", *words(line), code=0).stdout for line in (other, own)]
    assert ids[0].splitlines()[2:5] == ids[1].splitlines()[2:5]
    # other words are taken and not listed: one value, one name in help
    assert "prefill," not in call("run", "--help", code=0).stdout


def test_gpu_is_the_first_cuda_device_to_pytorch(call):
    lines = [call("--dry-run", "--device", device, name="bench_pytorch", code=0).stdout.split(", memory available")[0].splitlines()
             for device in ("gpu", "cuda", "cuda:0")]
    assert "on cuda:0" in lines[0][0] and lines[0] == lines[1] == lines[2]


def test_more_positions_than_tokens(call):
    """--set max_seq_len was dropped: positions followed the sequence length whatever it said."""
    assert "max_seq_len=4096" in call("run", "--dry-run", "--set", "max_seq_len=4096", code=0).stdout
    call("run", "--engine", "native", "--set", "max_seq_len=4096", "layers_count=1", "--mode", "infer", "--batch", "1",
         "--seq", "8", "--steps", "1", "--warmup", "0")
    record = call.records()[0]
    dim, vocab, hidden = 256, 8192, 1024
    expert = 2 * (hidden * dim + hidden) + dim * hidden + dim
    layer = 2 * dim + 4 * (dim * dim + dim) + 8 * dim + 8 * expert
    assert record["params_total"] == (2 * vocab + 4096 + 1) * dim + layer


def test_an_out_that_is_a_file_is_left_alone(call):
    (call.folder / "taken").write_text("mine")
    done = call("run", "--sandbox", "--out", "taken", code=2)
    assert "taken_bench" in done.stderr
    assert (call.folder / "taken").read_text() == "mine"
    assert call.files() == ["taken"]


def test_control_characters_stay_on_the_one_line(call):
    check_refused(call, call("run", "--model", "a\nb\x1b[31m"), "\\x0a")


def test_very_long_words_are_refused(call):
    for flag in ("--model", "--out", "--engine", "--data", "--seq", "--mode", "--set", "--launch"):
        done = call("run", flag, "a=" + "x" * 100000)
        check_refused(call, done, flag)
        assert len(done.stderr) < 2200


def test_last_scalar_counts_and_lists_add(call):
    done = call("run", "--sandbox", "--dry-run", "--seed", "1", "--steps", "5", "--steps", "7",
                "--seq", "32", "--seq", "64", "--mode", "infer", code=0)
    assert "exactly 7 steps" in done.stdout
    assert "2 cells" in done.stdout


# --- help, manual, completion ---

COMMANDS = ["run", "check", "models", "engines", "env", "help", "version", "completion", "man", "worker"]


@pytest.mark.parametrize("args", [["help"], ["--help"], ["-h"]] + [[c, "--help"] for c in COMMANDS])
def test_help_is_80_columns_on_stdout(call, args):
    done = call(*args, code=0)
    assert done.stderr == ""
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
    assert call.files() == []


def test_help_of_the_published_names_shows_their_defaults(call):
    text = call("--help", name="bench_pytorch", code=0).stdout
    assert "Usage: bench_pytorch [FLAGS]" in text
    text = " ".join(text.split())  # lines are wrapped
    assert "default: 128 512 2048" in text and "default: cuda:0" in text
    assert "--platform" not in text
    text = call("--help", name="bench_jax", code=0).stdout
    assert "--platform NAME" in text and "default: _bench_jax" in text


def test_help_names_every_exit_code(call):
    text = call("run", "--help", code=0).stdout
    table = text[text.index("Exit codes:"):]
    assert re.findall(r"^  (\d+) ", table, re.M) == ["0", "1", "2", "3", "4", "5", "129", "130", "143"]


def test_examples_in_help_are_valid(call):
    text = call("run", "--help", code=0).stdout
    examples = text[text.index("Examples:"):text.index("Exit codes:")].splitlines()[1:]
    examples = [line.split() for line in examples if line.strip()]
    assert len(examples) >= 4
    (call.folder / "input.txt").write_text("to be or not to be, " * 100)
    for example in examples:
        assert example[:2] == ["tokmark", "run"]
        engine = [] if "--sandbox" in example else ["--sandbox"]
        call(*example[1:], *engine, "--dry-run", code=0)


def test_version(call):
    for args in (["version"], ["--version"]):
        assert re.match(r"tokmark \d+\.\d+\.\d+ \(", call(*args, code=0).stdout)
    assert call("--version", name="bench_jax", code=0).stdout.startswith("tokmark ")


@pytest.mark.skipif(shutil.which("mandoc") is None, reason="mandoc is not installed")
def test_the_manual_page_is_clean(call):
    page = call("man", code=0).stdout
    lint = subprocess.run(["mandoc", "-T", "lint", "-W", "warning"], input=page, text=True,
                          capture_output=True, check=False)
    assert (lint.returncode, lint.stdout) == (0, "")
    flags = set(re.findall(r"(--[a-z-]+)", call("run", "--help", code=0).stdout))
    shown = subprocess.run(["mandoc", "-T", "ascii"], input=page, text=True, capture_output=True,
                           check=True).stdout
    plain = re.sub(".\x08", "", shown)
    assert [flag for flag in flags if flag not in plain and flag != "--help"] == []


# --- the published scripts' names in benchmarks/ ---

@pytest.mark.parametrize("name", ["bench_pytorch", "bench_jax"])
def test_the_scripts_hand_over_from_any_folder(call, name, tmp_path_factory):
    tree = tmp_path_factory.mktemp("tree")
    (tree / "benchmarks").mkdir()
    (tree / "build").mkdir()
    script = tree / "benchmarks" / f"{name}.py"
    shutil.copy(os.path.join(ROOT, "benchmarks", f"{name}.py"), script)
    command = ["python3", str(script), "--help"]
    empty = {**os.environ, "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, cwd=call.folder, env=empty, text=True, capture_output=True, check=False)
    assert done.returncode == 4
    assert done.stderr.count("\n") == 1 and "-m pip install" in done.stderr
    # beside the script's repository
    os.symlink(program("tokmark"), tree / "build" / "tokmark")
    done = subprocess.run(command, cwd=call.folder, env=empty, text=True, capture_output=True, check=True)
    assert f"Usage: {name} " in done.stdout
    # on PATH
    os.unlink(tree / "build" / "tokmark")
    (tree / "elsewhere").mkdir()
    os.symlink(program("tokmark"), tree / "elsewhere" / name)
    found = {**os.environ, "PATH": f"/usr/bin:/bin:{tree / 'elsewhere'}"}
    done = subprocess.run(command, cwd=call.folder, env=found, text=True, capture_output=True, check=True)
    assert f"Usage: {name} " in done.stdout


# --- where a model of one's own is ----------------------------------------------------------------

PYTORCH = ("run", "--engine", "pytorch", "--dry-run", "--model")


def test_files_folders_and_modules_as_a_model(call):
    where = call.folder.resolve()
    for name in ("my-net.v2.py", "pkg/__init__.py", "pkg/part.py", "llama/config.json"):
        (where / name).parent.mkdir(exist_ok=True)
        (where / name).write_text("{}")
    for text, ref in (
        ("./my-net.v2.py:Net", f"{where}/my-net.v2.py:Net"),
        ("my-net.v2.py:Net.Inner", f"{where}/my-net.v2.py:Net.Inner"),
        (f"{where}/my-net.v2:Net", f"{where}/my-net.v2.py:Net"),
        ("pkg/part:make", f"{where}/pkg/part.py:make"),
        ("./pkg.part:make", f"{where}/pkg.part:make"),
        ("pkg.part:make", "pkg.part:make"),
        ("hf:llama", f"hf:{where}/llama"),
        ("./llama/", f"hf:{where}/llama"),
    ):
        first = call(*PYTORCH, text, code=0).stdout.splitlines()[0]
        assert first.startswith(f"{ref[-127:]} on cpu;"), (text, first)


@pytest.mark.parametrize("text, wanted", [
    ("missing.py:Net", "there is no file 'missing.py'"),
    ("./no/pkg.module:Net", "there is no folder './no/'"),
    ("./taken.py", "try './taken.py:MyModel'"),
    ("my-net:Net", "try 'mymodel.model:MyModel', './file.py:MyModel'"),
    ("./taken.py:2x", "names no class or function"),
    ("./", "no config.json"),
    ("hf:lora", "an adapter without its base model: merge the two"),
    ("./notes.ipynb:Net", "is a notebook: `jupyter nbconvert --to script`"),
    ("net.pt", "give what makes the model (a preset, file.py:MyModel or hf:DIR), and safetensors as --weights"),
    ("./q4.gguf", "is a file of weights or of a saved program"),
    ("a/b/c", "cannot read 'a/b/c'"),
    ("meta-llama/Llama-3-8B", "nothing is downloaded"),
    ("hf:gpt2", "`hf download gpt2`"),
    ("org/half", "no such model in the Hub's cache"),
])
def test_models_that_are_not_there_are_told_in_a_sentence(call, text, wanted):
    (call.folder / "taken.py").write_text("")
    (call.folder / "lora").mkdir()
    (call.folder / "lora" / "adapter_config.json").write_text("{}")
    refs = call.folder / "cache" / "models--org--half" / "refs"
    refs.mkdir(parents=True)
    (refs / "main").write_text("0123456789abcdef")  # downloaded in part: its snapshot is not there
    done = call(*PYTORCH, text, code=2, env={"HF_HUB_CACHE": str(call.folder / "cache")})
    assert wanted in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("names, wanted", [
    (["model-q4.gguf"], "holds GGUF"),
    (["consolidated.00.pth", "params.json"], "convert_llama_weights_to_hf.py"),
    (["consolidated.safetensors", "params.json"], "convert_llama_weights_to_hf.py"),
    (["model_index.json", "unet/config.json"], "a pipeline of diffusers"),
    (["model-00001-of-00002.safetensors", "model.safetensors.index.json"], "holds weights and no config.json: put the model's"),
    (["ckpt.pt"], "save them as safetensors, and give what makes the model"),
    (["__0_0.distcp", ".metadata"], "a distributed checkpoint"),
    (["last/x", "checkpoint-200/config.json", "checkpoint-100/config.json"], "but its folder 'checkpoint-100' has: give that"),
    (["tokenizer.json"], "has no config.json of a transformers model"),
])
def test_a_folder_without_a_config_is_told_what_it_is(call, names, wanted):
    for name in names:
        (call.folder / "odd" / name).parent.mkdir(parents=True, exist_ok=True)
        (call.folder / "odd" / name).write_text("{}")
    done = call(*PYTORCH, "hf:odd", code=2)
    assert wanted in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("variable, below", [("HF_HUB_CACHE", ""), ("HF_HOME", "hub"), ("XDG_CACHE_HOME", "huggingface/hub"),
                                             ("HOME", ".cache/huggingface/hub")])
def test_the_hub_s_cache_is_searched(call, variable, below):
    for model in ("models--gpt2", "models--meta-llama--Llama-3-8B"):
        folder = call.folder / "place" / below / model
        for revision in ("0123456789abcdef", "fedcba9876543210"):
            (folder / "snapshots" / revision).mkdir(parents=True)
            (folder / "snapshots" / revision / "config.json").write_text("{}")
        (folder / "refs").mkdir()
        (folder / "refs" / "main").write_text("fedcba9876543210\n")
    env = {name: "" for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME")}
    for text, name in (("hf:gpt2", "gpt2"), ("meta-llama/Llama-3-8B", "meta-llama/Llama-3-8B")):
        done = call(*PYTORCH, text, code=0, env={**env, variable: str(call.folder / "place")})
        assert done.stdout.startswith(f"hf:{name} (Hub cache, fedcba9) on cpu;"), done.stdout

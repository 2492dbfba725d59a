"""tokmark env: the machine, its cards by a library that stands for NVIDIA's, variables that change speed, and the
environment matrix; the same in records."""
import json
import os

import pytest

from caller import NULL, TOKMARK

PUBLISHED = """hardware:
  gpu: ["A100 80GB", "RTX 4090 24GB", "T4 16GB", "CPU-only"]
software:
  torch: ">=2.2"
  cuda: ">=12.1"
  jax: ">=0.4.30"
  python: ">=3.10"
"""
H100 = """driver 550.54.15
nvml 12.550.54.15
cuda 12040
count 1
0.name NVIDIA H100 80GB HBM3
0.bus_id 00000000:1B:00.0
0.memory_total 85520809984
0.capability 9.0
0.sm_max_mhz 1980
0.memory_max_mhz 2619
0.power_limit_mw 700000
0.pcie_generation 5
0.pcie_width 16
0.nvlinks 18
0.mig 0
"""


@pytest.fixture(name="card")
def make_card(tmp_path):
    """What a driver says: text -> the variables of a call on such a machine."""

    def make(text, kind="new"):
        (tmp_path / "card.txt").write_text(text, encoding="utf-8")
        return {"LD_LIBRARY_PATH": os.path.join(os.path.dirname(TOKMARK), "fake_nvml", kind),
                "TOKMARK_FAKE_NVML": str(tmp_path / "card.txt")}

    return make


def env_of(call, *args, env=None, code=0):
    return json.loads(call("env", "--format", "json", *args, env=env, code=code).stdout)


def lines_of(matrix):
    return {line["line"].split(":")[0]: (line["answer"], line["why"]) for line in matrix["lines"]}


def test_text_and_json_hold_the_same(call):
    machine = env_of(call)
    assert machine["engines"]["native"] == "available"
    assert set(machine) >= {"cpu", "memory", "limits", "system", "gpu", "build", "variables", "engines", "warnings"}
    text = call("env", code=0).stdout
    assert machine["cpu"]["model"] in text
    assert "engines.native                  available" in text
    assert call("env", "--json", code=0).stdout == call("env", "--format", "json", code=0).stdout


def test_a_machine_without_the_library_says_so(call):
    gpu = env_of(call)["gpu"]
    if gpu["why_none"] is None:
        pytest.skip("this machine has a card")
    assert gpu["why_none"] in ("no_nvml", "no_driver", "driver_failed", "no_card")
    assert (gpu["driver"], gpu["cuda"], gpu["cards"]) == (None, None, [])


def test_cards_are_described(call, card):
    gpu = env_of(call, env=card(H100))["gpu"]
    assert (gpu["driver"], gpu["nvml"], gpu["cuda"], gpu["why_none"]) == ("550.54.15", "12.550.54.15", "12.4", None)
    assert gpu["cards"] == [{
        "name": "NVIDIA H100 80GB HBM3", "memory_bytes": 85520809984, "compute_capability": "9.0", "sm_max_mhz": 1980,
        "memory_max_mhz": 2619, "power_limit_w": 700.0, "pcie_generation": 5, "pcie_width": 16, "nvlinks": 18,
        "mig": False}]


@pytest.mark.parametrize("kind", ["new", "old"])
def test_what_a_driver_does_not_say_is_null(call, card, kind):
    gpu = env_of(call, env=card("count 1\n0.name Tesla T4\n0.power_limit_mw !4\n0.nvlinks !3\n", kind))["gpu"]
    values = gpu["cards"][0]
    assert values.pop("name") == "Tesla T4"
    assert set(values.values()) == {None}
    assert (gpu["driver"], gpu["cuda"]) == (None, None)


def test_a_driver_that_does_not_start_is_a_reason(call, card):
    assert env_of(call, env=card("init !9\n"))["gpu"]["why_none"] == "no_driver"
    assert env_of(call, env=card("init !999\n"))["gpu"]["why_none"] == "driver_failed"
    assert env_of(call, env=card("count 0\n"))["gpu"]["why_none"] == "no_card"


def fingerprint(call, env):
    return call("env", env=env, code=0).stdout.rsplit("fingerprint", 1)[1].strip()


def test_another_card_or_driver_is_another_environment(call, card):
    ids = {fingerprint(call, card(text)) for text in (
        "count 0\n", H100, H100.replace("550.54.15", "560.1"), H100.replace("700000", "350000"),
        H100.replace("1980", "1755"))}
    assert len(ids) == 5
    assert fingerprint(call, card(H100)) == fingerprint(call, card(H100 + "0.sm_mhz 345\n0.memory_used 5\n"))


# --- variables ---

def test_variables_that_change_speed_are_recorded(call):
    call(*NULL, env={"OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2", "EDITOR": "vi"}, code=0)
    variables = call.records()[0]["environment"]["variables"]
    assert variables["OMP_NUM_THREADS"] == "1"
    assert variables["MALLOC_ARENA_MAX"] == "2"
    assert "EDITOR" not in variables


def test_a_harmful_variable_is_a_warning_in_env_and_in_records(call):
    env = {"MALLOC_PERTURB_": "7", "JAX_DISABLE_JIT": "1"}
    done = call("env", "--json", env=env, code=0)
    assert [text.split(":")[0] for text in json.loads(done.stdout)["warnings"]] == [
        "MALLOC_PERTURB_=7", "JAX_DISABLE_JIT=1"]
    assert "warning: MALLOC_PERTURB_=7" in done.stderr
    call(*NULL, env=env, code=0)
    warnings = [warning for warning in call.records()[0]["warnings"] if warning["code"] == "harmful_variable"]
    assert len(warnings) == 1
    assert "MALLOC_PERTURB_=7" in warnings[0]["text"]
    assert "JAX" not in warnings[0]["text"], "an engine in C does not read it"


# --- the matrix ---

def test_the_published_matrix_is_answered_on_a_card_that_it_names(call, card):
    (call.folder / "matrix.yaml").write_text(PUBLISHED, encoding="utf-8")
    text = H100.replace("H100 80GB HBM3", "A100-SXM4-80GB").replace("85520809984", "85899345920")
    done = call("env", "--json", "--matrix", "matrix.yaml", env=card(text))
    lines = lines_of(json.loads(done.stdout)["matrix"])
    assert lines["hardware.gpu"] == ("met", "A100 80GB: NVIDIA A100-SXM4-80GB")
    assert lines["software.cuda"] == ("met", "the newest CUDA that the driver runs is 12.4")
    assert lines["software.python"][0] == "met"
    assert done.returncode == (1 if "not met" in {answer for answer, _ in lines.values()} else 0)


@pytest.mark.parametrize("name, gib, asked, answer", [
    ("NVIDIA H100 80GB HBM3", 79.6, "A100 80GB", "not met"),
    ("NVIDIA A100-PCIE-40GB", 40, "A100 80GB", "not met"),
    ("Tesla T4", 15, "T4 16GB", "met"),
    ("NVIDIA GeForce RTX 4090", 23.99, "RTX 4090 24GB", "met"),
    ("NVIDIA GeForce RTX 4090 D", 23.99, "RTX 4080", "not met"),
    ("NVIDIA H200", 139.8, "H200 141GB", "met"),
    ("Tesla T4", 15, "CPU-only", "not met"),
])
def test_a_card_is_known_by_name_and_memory(call, card, name, gib, asked, answer):
    (call.folder / "m.yaml").write_text(f"hardware:\n  gpu: ['{asked}']\n", encoding="utf-8")
    env = card(f"count 1\n0.name {name}\n0.memory_total {int(gib * 2**30)}\n")
    done = call("env", "--json", "--matrix", "m.yaml", env=env, code=0 if answer == "met" else 1)
    assert json.loads(done.stdout)["matrix"]["answer"] == answer


def test_lines_that_nobody_can_answer_are_no_failure(call):
    (call.folder / "m.yaml").write_text("hardware:\n  memory: 64GB\nsoftware:\n  triton: '>=3'\n", encoding="utf-8")
    matrix = env_of(call, "--matrix", "m.yaml")["matrix"]
    assert {answer for answer, _ in lines_of(matrix).values()} == {"cannot tell"}
    text = call("env", "--matrix", "m.yaml", code=0).stdout
    assert "cannot tell  software.triton: '>=3'" in text


@pytest.mark.parametrize("text", ["[1, 2]\n", "hardware: none\n", "{}\n", "a: [\n", "hardware: {}\n"])
def test_what_is_no_matrix_is_refused_before_anything_starts(call, text):
    (call.folder / "m.yaml").write_text(text, encoding="utf-8")
    for command in (["env"], NULL):
        done = call(*command, "--matrix", "m.yaml", code=2)
        assert "m.yaml" in done.stderr
    assert not (call.folder / "_bench").exists()
    call("env", "--matrix", "absent.yaml", code=2)


def test_records_hold_the_answer(call):
    (call.folder / "m.yaml").write_text("software:\n  python: '>=99'\n  cuda: '>=1'\n", encoding="utf-8")
    done = call(*NULL, "--matrix", "m.yaml", code=0)
    assert "m.yaml: cannot tell" in done.stderr
    assert lines_of(call.records()[0]["environment"]["matrix"])["software.python"] == ("cannot tell", "no Python was found")

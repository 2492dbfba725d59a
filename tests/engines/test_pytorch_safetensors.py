"""Our small reader and writer against the safetensors package."""
import json

import pytest
import torch
from safetensors.torch import load_file, save_file

import pytorch_worker  # noqa: F401  puts the worker on the path
from tokmark_worker import torch_tensors as ours
from tokmark_worker.errors import WorkerError


def some_tensors():
    torch.manual_seed(3)
    return {
        "matrix": torch.randn(5, 7),
        "half": torch.randn(3, 2, 4).half(),
        "brain": torch.randn(9).bfloat16(),
        "whole": torch.arange(-6, 6, dtype=torch.int32).reshape(3, 4),
        "long": torch.tensor([2**40, -1]),
        "scalar": torch.tensor(2.5),
        "empty": torch.empty(0, 4),
    }


def test_what_we_write_the_package_reads(tmp_path):
    path = tmp_path / "a.safetensors"
    wanted = some_tensors()
    ours.write(str(path), [*wanted.items(), ("turned", wanted["matrix"].t())])
    found = load_file(path)
    assert set(found) == {*wanted, "turned"}
    for name, tensor in wanted.items():
        assert found[name].dtype == tensor.dtype and torch.equal(found[name], tensor)
    assert torch.equal(found["turned"], wanted["matrix"].t())
    assert [item.name for item in tmp_path.iterdir()] == ["a.safetensors"]


def test_what_the_package_writes_we_read(tmp_path):
    path = tmp_path / "a.safetensors"
    wanted = some_tensors()
    save_file(wanted, path, metadata={"format": "pt"})
    file = ours.SafetensorsFile(str(path))
    assert set(file.names()) == set(wanted)
    for name, tensor in wanted.items():
        found = file.tensor(name)
        assert found.dtype == tensor.dtype and found.shape == tensor.shape
        assert torch.equal(found, tensor)


def test_a_header_of_odd_length(tmp_path):
    path = tmp_path / "a.safetensors"
    header = b'{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
    header += b" " * (1 - len(header) % 2)
    assert (8 + len(header)) % 4 != 0
    path.write_bytes(
        len(header).to_bytes(8, "little") + header + b"\0\0\x80\x3f" + b"\0\0\0\x40"
    )
    assert ours.SafetensorsFile(str(path)).tensor("x").tolist() == [1.0, 2.0]


def entry(**changes):
    return {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **changes}


@pytest.mark.parametrize(
    "value",
    [
        entry(dtype="F33"),
        entry(shape=[3]),
        entry(shape=[-2]),
        entry(shape=[2.0]),
        entry(shape=None),
        entry(data_offsets=[0, 12]),
        entry(data_offsets=[4, 12]),
        entry(data_offsets=[-8, 0]),
        entry(data_offsets=[0]),
        entry(data_offsets=[True, 8]),
        {},
        [],
    ],
)
def test_broken_entries_are_refused(tmp_path, value):
    path = tmp_path / "a.safetensors"
    header = json.dumps({"x": value}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 8)
    with pytest.raises(WorkerError, match="tensor 'x'"):
        ours.SafetensorsFile(str(path))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 7,
        b"\xff" * 8 + b"{}",
        (100).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"[]",
        (2).to_bytes(8, "little") + b"{x",
        (2).to_bytes(8, "little") + b"\xff\xff",
    ],
)
def test_broken_files_are_refused(tmp_path, content):
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(WorkerError) as found:
        ours.SafetensorsFile(str(path))
    assert found.value.kind == "model" and str(path) in found.value.text


def test_missing_files_and_tensors_are_named(tmp_path):
    with pytest.raises(WorkerError, match="cannot read"):
        ours.SafetensorsFile(str(tmp_path / "none"))
    path = tmp_path / "a.safetensors"
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(WorkerError, match="no tensor 'y'"):
        ours.SafetensorsFile(str(path)).tensor("y")
    with pytest.raises(WorkerError, match="cannot write"):
        ours.write(str(tmp_path / "no" / "where"), [("x", torch.zeros(1))])

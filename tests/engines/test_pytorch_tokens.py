"""The Python workers' tokens against the formulas, in Python's unlimited integers, and against the
constants that the C tests hold."""
import struct
from types import SimpleNamespace

import numpy
import pytest
import torch

import pytorch_worker  # noqa: F401  puts the worker on the path
from tokmark_worker.errors import WorkerError
from tokmark_worker.tokens import NumpyArrays, Tokens, TorchArrays

MASK = 2**64 - 1


def at(key, n):
    z = (key + (n + 1) * 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ z >> 27) * 0x94D049BB133111EB) & MASK
    return z ^ z >> 31


def key(parent, n):
    return at(parent ^ 0xD1B54A32D192ED03, n)


def make(vocab_size=64000, data="synthetic", path="", seed=1234, rows=2, length=4):
    cell = SimpleNamespace(
        seed=seed, seq_len=length, batch_size=rows, data=data, data_path=str(path)
    )
    return Tokens(cell, vocab_size, TorchArrays(torch))


def rows_of(tokens, step, steps=1):
    inputs, targets = tokens.batches(step, steps)
    assert inputs.dtype == torch.int64 and inputs.shape == targets.shape
    assert torch.equal(inputs[:, :, 1:], targets[:, :, :-1])
    return [[*row, target[-1]] for row, target in zip(inputs[0].tolist(), targets[0].tolist())]


def test_synthetic_is_what_the_c_tests_hold():
    tokens = make()
    first = [[10484, 5753, 57573, 61531, 45099], [24083, 19242, 25911, 62826, 61601]]
    assert rows_of(tokens, 0) == first
    assert rows_of(tokens, 7)[0] == [63750, 7992, 12012, 32287, 37511]
    large = make(vocab_size=50257, seed=2**64 - 1, rows=3)
    assert rows_of(large, 2**40)[2] == [46415, 43810, 9674, 12050, 13900]


@pytest.mark.parametrize("seed", [0, 1, 2**63, 2**64 - 1])
@pytest.mark.parametrize("vocab_size", [2, 211, 64000, 2**24])
def test_synthetic_is_the_formula(seed, vocab_size):
    tokens = make(vocab_size=vocab_size, seed=seed, rows=3, length=9)
    for step in (0, 5, 2**33):
        wanted = [
            [at(key(key(seed, step), row), i) % vocab_size for i in range(10)] for row in range(3)
        ]
        assert rows_of(tokens, step) == wanted


def test_a_block_holds_the_steps_of_its_own():
    tokens = make(length=16)
    inputs, targets = tokens.batches(3, 5)
    for index in range(5):
        one = tokens.batches(3 + index, 1)
        assert torch.equal(inputs[index], one[0][0]) and torch.equal(targets[index], one[1][0])


@pytest.mark.parametrize("seed", [0, 2**64 - 1])
@pytest.mark.parametrize("data", ["synthetic", "uint16", "uint32"])
def test_numpy_gives_the_same_tokens(tmp_path, seed, data):
    path = tmp_path / "data"
    numpy.random.default_rng(1).integers(0, 2**16, 900).astype(data if data != "synthetic" else
                                                              "uint16").tofile(path)
    cell = SimpleNamespace(seed=seed, seq_len=9, batch_size=3, data=data, data_path=str(path))
    both = [Tokens(cell, 65536, arrays) for arrays in (TorchArrays(torch), NumpyArrays(numpy))]
    assert both[0].text == both[1].text
    for step in (0, 2**33):
        wanted, found = (tokens.batches(step, 2) for tokens in both)
        for one, other in zip(wanted, found):
            assert other.dtype == numpy.int64 and (one.numpy() == other).all()


VALUES = [3 * i for i in range(100)]


def file_of(folder, name, width, header=None):
    path = folder / name
    words = {1: "B", 2: "H", 4: "I"}[width]
    data = struct.pack(f"<100{words}", *(value % 256**width for value in VALUES))
    if header is not None:
        data = struct.pack("<3I", *header).ljust(1024, b"\0") + data
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    "name, width, header, asked, form",
    [
        ("a.bin", 2, None, "auto", "uint16"),
        ("a.dat", 2, None, "uint16", "uint16"),
        ("a.dat", 4, None, "uint32", "uint32"),
        ("a.txt", 1, None, "auto", "text"),
        ("a.bin", 1, None, "text", "text"),
        ("a.bin", 2, (20240520, 1, 100), "auto", "uint16"),
        ("a.txt", 4, (20240520, 7, 100), "auto", "uint32"),
    ],
)
def test_file_forms(tmp_path, name, width, header, asked, form):
    tokens = make(1024, asked, file_of(tmp_path, name, width, header))
    assert tokens.form == form and tokens.count == 100
    assert f"{form} " in tokens.text and "(100 tokens)" in tokens.text
    for step in range(3):
        for row, found in enumerate(rows_of(tokens, step)):
            offset = at(key(key(1234, step), row), 0) % (100 - 4)
            wanted = [value % 256**width for value in VALUES[offset : offset + 5]]
            assert found == wanted
    # the offsets that the C tests hold
    assert rows_of(tokens, 0)[0][0] == 3 * 84 and rows_of(tokens, 1)[0][0] == 3 * 55


def test_values_over_the_signed_range_stay_positive(tmp_path):
    path = tmp_path / "high.bin"
    path.write_bytes(struct.pack("<10H", *[65535] * 10))
    assert rows_of(make(65536, "auto", path), 0) == [[65535] * 5] * 2
    path.write_bytes(struct.pack("<10I", *[2**24 - 1] * 10))
    assert rows_of(make(2**24, "uint32", path), 0) == [[2**24 - 1] * 5] * 2


def refuse(folder, content, words, vocab_size=1024, asked="auto", name="a.bin"):
    path = folder / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WorkerError) as found:
        make(vocab_size, asked, path)
    assert found.value.kind == "model"
    assert words in found.value.text and str(path) in found.value.text


def test_bad_files_are_refused_with_words(tmp_path):
    refuse(tmp_path, None, "No such file", name="missing.bin")
    refuse(tmp_path, b"", "empty")
    refuse(tmp_path, b"abc", "not a whole number of uint16 tokens")
    refuse(tmp_path, b"\0\0" * 4, "needs at least 5")
    header = struct.pack("<3I", 20240520, 1, 100).ljust(1024, b"\0")
    refuse(tmp_path, header[:100], "ends inside its llm.c header")
    refuse(tmp_path, header + b"\0\0" * 99, "says it has 100")
    refuse(tmp_path, header + b"\0\0" * 100, "not uint32", asked="uint32")
    wrong = struct.pack("<3I", 20240520, 3, 100).ljust(1024, b"\0")
    refuse(tmp_path, wrong, "version 3")
    values = struct.pack("<6H", 1, 2, 3, 1024, 5, 6)
    refuse(tmp_path, values, "token 3 is 1024, but the model's vocabulary has 1024")
    refuse(tmp_path, None, "not a regular file", name=".")

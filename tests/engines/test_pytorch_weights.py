"""Weights files as people have them: names of tied tensors, prefixes of wrappers, shards, and files that
are something else. In this process: the worker's functions on small modules."""
import json

import pytest
import torch
from safetensors.torch import save_file, save_model
from torch import nn

import pytorch_worker  # noqa: F401  (puts the worker's package on the path)
from tokmark_worker.errors import WorkerError
from tokmark_worker.torch_weights import load_weights


class Small(nn.Module):
    """Embedding and head are one tensor; a buffer is saved with it."""

    def __init__(self, is_tied=True):
        super().__init__()
        self.embed, self.mix = nn.Embedding(7, 3), nn.Linear(3, 3)
        self.head = nn.Linear(3, 7, bias=False)
        if is_tied:
            self.head.weight = self.embed.weight
        self.register_buffer("scale", torch.rand(3))

    def forward(self, x):
        return self.head(self.mix(self.embed(x)) * self.scale)


TOKENS = torch.arange(6).reshape(2, 3)


def given():
    torch.manual_seed(1)
    return Small()


def saved(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def loads(path, model=None):
    """The notes, once the model is shown to compute what the given one does."""
    torch.manual_seed(2)
    model = model or Small()
    notes = load_weights(str(path), model)
    assert torch.equal(model(TOKENS), given()(TOKENS))
    return notes


def refused(path, model=None):
    with pytest.raises(WorkerError) as found:
        load_weights(str(path), model or Small())
    assert found.value.kind == "model"
    return found.value.text


@pytest.mark.parametrize("name", ["embed.weight", "head.weight"])
def test_a_tied_tensor_by_either_name(tmp_path, name):
    state = saved(given())
    tied = {"embed.weight", "head.weight"}
    save_file({key: value for key, value in state.items() if key not in tied - {name}}, tmp_path / "a")
    assert loads(tmp_path / "a") == []
    save_model(given(), tmp_path / "b")  # chooses itself
    assert loads(tmp_path / "b") == []


def test_tied_tensors_that_differ_are_no_weights_of_this_model(tmp_path):
    state = saved(given())
    state["head.weight"] += 1
    save_file(state, tmp_path / "a")
    assert "'embed.weight' and 'head.weight' differ" in refused(tmp_path / "a")
    assert load_weights(str(tmp_path / "a"), Small(is_tied=False)) == []


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module.", "model.", "module._orig_mod.", "model.module."])
def test_prefixes_of_wrappers_are_understood_and_said(tmp_path, prefix):
    save_file({prefix + name: value for name, value in saved(given()).items()}, tmp_path / "a")
    notes = loads(tmp_path / "a")
    assert len(notes) == 1 and f"{prefix}embed.weight is embed.weight" in notes[0]


def test_prefixes_inside_and_on_the_models_side(tmp_path):
    state = saved(given())
    save_file({name.replace("mix.", "mix._orig_mod."): state[name] for name in state}, tmp_path / "a")
    assert "mix._orig_mod.weight is mix.weight" in loads(tmp_path / "a")[0]
    save_file(state, tmp_path / "b")
    wrapped = nn.Sequential()
    wrapped.add_module("module", Small())
    assert "embed.weight is module.embed.weight" in loads(tmp_path / "b", wrapped)[0]


def test_prefixes_that_leave_two_candidates_are_named(tmp_path):
    state = saved(given())
    both = {**{f"model.{name}": state[name] for name in state},
            **{f"module.{name}": state[name].clone() for name in state}}
    save_file(both, tmp_path / "a")
    assert "differ in a prefix only" in refused(tmp_path / "a")
    # beside the model's own names a second set is no part of the model
    save_file({**state, **{f"module.{name}": state[name].clone() for name in state}}, tmp_path / "b")
    assert "tensors that the model has not: 'module." in refused(tmp_path / "b")


def test_all_that_is_missing_and_all_that_is_unknown_is_named(tmp_path):
    state = saved(given())
    save_file({f"module.{name}": state[name] for name in ("embed.weight", "scale")}, tmp_path / "a")
    text = refused(tmp_path / "a")
    assert "no tensor 'mix.weight', 'mix.bias' (2 of the model's 3)" in text
    save_file({**state, "mix.other": torch.zeros(1)}, tmp_path / "b")
    assert "1 tensors that the model has not: 'mix.other'" in refused(tmp_path / "b")
    save_file({**state, "rotary.inv_freq": torch.zeros(1)}, tmp_path / "c")  # a table, made anyway
    assert loads(tmp_path / "c") == []
    save_file({**state, "mix.weight": torch.zeros(3, 4)}, tmp_path / "d")
    assert "tensor 'mix.weight' has shape (3, 4), the model's is (3, 3)" in refused(tmp_path / "d")


def test_buffers_come_from_the_file_where_it_has_them(tmp_path):
    state = saved(given())
    del state["scale"]
    save_file(state, tmp_path / "a")
    model = Small()
    load_weights(str(tmp_path / "a"), model)
    model.scale.copy_(given().scale)
    assert torch.equal(model(TOKENS), given()(TOKENS))


def put_shards(folder, names=("one.safetensors", "two.safetensors")):
    state = saved(given())
    del state["head.weight"]
    parts = [dict(list(state.items())[:2]), dict(list(state.items())[2:])]
    weight_map = {}
    for name, part in zip(names, parts):
        save_file(part, folder / name)
        weight_map.update(dict.fromkeys(part, name))
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return index


def test_shards_by_their_index_or_folder(tmp_path):
    index = put_shards(tmp_path)
    assert loads(index) == [] and loads(tmp_path) == []
    (tmp_path / "two.safetensors").unlink()
    text = refused(tmp_path)
    assert "names 2 files of weights, of which 1 are not in its folder: 'two.safetensors'" in text
    save_file({"x": torch.zeros(1)}, tmp_path / "two.safetensors")
    assert "says that two.safetensors has 'mix.weight', 'mix.bias', which it has not" in refused(index)


@pytest.mark.parametrize("text", ["{", "[]", '{"weight_map": {}}', '{"weight_map": {"a": "../b"}}', '{"a": 1}'])
def test_what_is_no_index_is_named(tmp_path, text):
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(text)
    assert str(path) in refused(path)


def test_a_folder_without_weights_says_what_it_has(tmp_path):
    assert "no .safetensors file" in refused(tmp_path)
    for name in ("ema.safetensors", "raw.safetensors"):
        save_file(saved(given()), tmp_path / name)
    assert "'ema.safetensors', 'raw.safetensors'; give one" in refused(tmp_path)
    (tmp_path / "raw.safetensors").unlink()
    assert loads(tmp_path) == []


def test_files_that_are_something_else_are_named_with_what_to_do(tmp_path):
    state = saved(given())
    path = tmp_path / "ckpt.pt"
    for is_new, words in ((True, "(torch.save);"), (False, "(torch.save, old format);")):
        torch.save(state, path, _use_new_zipfile_serialization=is_new)
        text = refused(path)
        assert f"is a PyTorch pickle {words}" in text and "'ckpt.safetensors')" in text
    # the line that it gives is one that works
    line = text.partition('python -c "')[2].partition('"')[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        exec(compile(line, "the advice", "exec"), {})
    assert loads(tmp_path / "ckpt.safetensors") == []
    for content, words in (
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "git lfs pull"),
        (b"GGUF\x03\0\0\0\0\0\0\0", "a GGUF file"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"PK\x03\x04\x14\0\0\0\x08\0 a.txt", "a zip archive"),
        (json.dumps(dict(weight_map={})).encode(), "a JSON text"),
        (b"\x10" * 40, "no header's length"),
    ):
        path.write_bytes(content)
        assert words in refused(path) and "578" not in refused(path)


def test_a_file_that_was_cut_short_says_so(tmp_path):
    save_file(saved(given()), tmp_path / "a")
    data = (tmp_path / "a").read_bytes()
    for size in (len(data) - 1, 40):
        (tmp_path / "b").write_bytes(data[:size])
        assert "is cut short" in refused(tmp_path / "b")


def test_types_that_are_no_weights_are_named(tmp_path):
    state = saved(given())
    save_file({**state, "mix.weight": state["mix.weight"].to(torch.float8_e4m3fn)}, tmp_path / "a")
    assert "tensor 'mix.weight' is F8_E4M3, which is not read as weights" in refused(tmp_path / "a")
    save_file({**state, "mix.weight": state["mix.weight"].int()}, tmp_path / "b")
    assert "tensor 'mix.weight' is torch.int32" in refused(tmp_path / "b")

"""What a record says of an exception: the sentence that names the fault, and the user's own line."""
import builtins
import importlib
import sys
import textwrap

import pytest
import torch

import pytorch_worker  # noqa: F401  (puts the worker's package on the path)
from tokmark_worker import protocol
from tokmark_worker.errors import DESCRIBED_BYTES_MAX, describe_error, model_error
from tokmark_worker.user_code import call_user

# A user's module; `thrown` runs one of its functions.
MINE = """
    import importlib
    import torch
    from torch import nn


    class Model(nn.Module):
        def __init__(self, inner=4):
            super().__init__()
            self.table, self.head = nn.Embedding(9, 4), nn.Linear(inner, 9)

        def forward(self, x):
            return self.head(self.table(x))  # the line of shapes


    def shapes():
        Model(5)(torch.zeros(1, 2, dtype=torch.long))


    def missing_keys():
        Model().load_state_dict({"table.weight": torch.zeros(9, 4), "tail.weight": torch.zeros(1)})


    def item_in_vmap():
        torch.vmap(lambda row: row * row.max().item())(torch.zeros(2, 3))


    def graph_break():
        def body(x):
            torch._dynamo.graph_break()  # the line of the break
            return x

        torch.compile(body, fullgraph=True, backend="eager")(torch.zeros(2))


    def caused():
        try:
            {}["width"]  # the line of the cause
        except KeyError as error:
            raise ValueError("the config is not whole") from error


    def silent_assert():
        T = 3
        assert T == 4


    def imports():
        importlib.import_module("broken_import")
"""
BROKEN = {"broken_syntax": "import os\n\ndef f(:\n", "broken_import": "import os\nimport no_such.thing\n",
          "broken_words": "import argparse\np = argparse.ArgumentParser()\np.add_argument('--data', required=True)\n"
                          "p.parse_args([])\n"}


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mine")
    (folder / "errors_of_mine.py").write_text(textwrap.dedent(MINE))
    for name, text in BROKEN.items():
        (folder / f"{name}.py").write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield importlib.import_module("errors_of_mine")


def thrown(function, *args):
    with pytest.raises(BaseException) as found:
        function(*args)
    return describe_error(found.value)


def line_of(module, words):
    with open(module.__file__, encoding="utf-8") as file:
        return 1 + next(at for at, line in enumerate(file) if words in line)


def test_the_frame_is_the_users_and_the_sentence_the_fault(mine):
    text = thrown(mine.shapes)
    assert text.startswith("RuntimeError: mat1 and mat2 shapes cannot be multiplied (2x4 and 5x9) (")
    assert text.endswith(f"errors_of_mine.py:{line_of(mine, 'line of shapes')} in forward)")
    text = thrown(mine.item_in_vmap)
    assert "calling .item() on a Tensor" in text and text.endswith("in <lambda>)")


def test_all_keys_that_do_not_fit_are_named(mine):
    text = thrown(mine.missing_keys)
    for words in ('"head.weight", "head.bias"', 'Unexpected key(s) in state_dict: "tail.weight"'):
        assert words in text
    assert text.endswith("in missing_keys)")


def test_a_frame_that_dynamo_only_quotes(mine):
    text = thrown(mine.graph_break)
    assert text.startswith("Unsupported: ") and "graph_break" in text and "TORCHDYNAMO" not in text
    assert text.endswith(f"errors_of_mine.py:{line_of(mine, 'line of the break')} in body)")


def test_causes_groups_and_empty_messages(mine):
    text = thrown(mine.caused)
    assert text.startswith("ValueError: the config is not whole, caused by KeyError: 'width' (")
    assert f":{line_of(mine, 'line of the cause')} in caused)" in text
    assert thrown(mine.silent_assert).startswith("AssertionError: assert T == 4 (")
    if sys.version_info >= (3, 11):
        kind = builtins.ExceptionGroup
        group = kind("several", [kind("", [OSError("the disk")]), KeyError(1)])
        assert describe_error(group) == "ExceptionGroup of 2, the first: OSError: the disk"


def test_files_that_cannot_be_imported_are_named_with_the_line(mine):
    assert thrown(importlib.import_module, "broken_syntax").startswith("SyntaxError: invalid syntax (")
    assert thrown(importlib.import_module, "broken_syntax").endswith("broken_syntax.py:3)")
    text = thrown(mine.imports)
    assert text.startswith("ModuleNotFoundError: No module named 'no_such' (")
    assert text.endswith("broken_import.py:2)")
    text = thrown(importlib.import_module, "broken_words")
    assert text.startswith("SystemExit: 2, the following arguments are required: --data: a model's file gets no arguments")
    assert text.endswith("broken_words.py:4)")


class Unsayable(Exception):
    def __str__(self):
        raise ValueError


class Twice(Exception):
    pass


@pytest.mark.parametrize(
    "error, text",
    [
        (RuntimeError("first\nstill first\n\nadvice\nSet THIS=1"), "RuntimeError: first still first"),
        (RuntimeError("\n\n  Title:\n\n  what is wrong\n\nmore"), "RuntimeError: Title: what is wrong"),
        (RuntimeError("bad\x1b[31m red\x1b[0m\x00\r\n\tend"), "RuntimeError: bad red end"),
        (RuntimeError("wrong\nSee https://example.com\n"), "RuntimeError: wrong"),
        (RuntimeError("no\nException raised from f at x.cpp:1\nframe #0: g"), "RuntimeError: no"),
        (RuntimeError(""), "RuntimeError"),
        (Twice("Twice: said"), "Twice: said"),
        (Unsayable(), "Unsayable: (its message cannot be made: ValueError)"),
        (RuntimeError("\udcff"), "RuntimeError: ?"),
        (
            RuntimeError(
                "Caught OSError in replica 0.\nOriginal Traceback (most recent call last):\n"
                '  File "/home/me/model.py", line 7, in forward\n    x()\nOSError: gone\n'
            ),
            "RuntimeError: Caught OSError in replica 0. OSError: gone (/home/me/model.py:7 in forward)",
        ),
    ],
)
def test_one_line_of_the_first_paragraph(error, text):
    assert describe_error(error) == text


def test_long_messages_are_cut_line_by_line():
    names = [", ".join(f"{part}.{i}" for i in range(9000)) for part in ("missing", "unexpected")]
    text = describe_error(RuntimeError(f"It failed:\n{names[0]}\n{names[1]}\nat the end"))
    assert len(text.encode()) <= DESCRIBED_BYTES_MAX
    assert "missing.0," in text and "unexpected.0," in text and text.endswith("at the end")
    assert text.count(" more") == 2
    assert len(describe_error(RuntimeError("y" * 5_000_000)).encode()) <= DESCRIBED_BYTES_MAX


def raised_in_a_file_with_a_long_name(mine):
    exec(compile("def fails():\n    raise type('Long' * 200, (ValueError,), {})('z' * 900)", "/m" * 400 + ".py", "exec"), vars(mine))
    try:
        mine.fails()
    except ValueError as error:
        raise RuntimeError("w" * 900) from error


def test_the_place_is_there_however_long_the_message_is(mine):
    """A record's reason is cut at its end, which is where the place stands."""
    def fails():
        exec(compile("raise ValueError('long ' * 500)", "/home/me/model.py", "exec"))

    assert thrown(fails).endswith(" (/home/me/model.py:1)")
    text = thrown(raised_in_a_file_with_a_long_name, mine)
    assert text.endswith(".py:2 in fails)") and ", caused by Long" in text
    assert len(f"opening the model: {text}".encode()) <= protocol.TEXT_BYTES_MAX


def test_what_is_clear_already_is_passed_on():
    def refuses():
        raise model_error("no such file")

    with pytest.raises(Exception) as found:
        call_user("--weights", refuses)
    assert found.value.text == "no such file"


def test_inductor_without_a_compiler(mine, tmp_path, monkeypatch):
    from torch._inductor import config

    monkeypatch.setattr(config.cpp, "cxx", (None, str(tmp_path / "none")))
    monkeypatch.setattr(config, "force_disable_caches", True)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    text = thrown(torch.compile(lambda x: x.sin() + 1), torch.zeros(3))
    assert "C++ compiler" in text and "TORCHDYNAMO" not in text

"""The look at a call: what it sees, by an independent count, and that it leaves nothing behind."""
import subprocess
import sys
import textwrap

import pytest

from pytorch_worker import PYTHON_SOURCES

from waiting import TIMEOUT_S

LOOK = """
    import math, sys
    sys.path.insert(0, {sources!r})
    import torch

    def refuse(*args, **kwargs):
        raise AssertionError("a profiler slows every later launch on a GPU")

    torch.profiler.profile.__init__ = torch.autograd.profiler.profile.__init__ = refuse
    torch.utils._python_dispatch.TorchDispatchMode.__enter__ = refuse
    from tokmark_worker.torch_observe import Observer

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.wide, self.narrow = torch.nn.Linear(8, 24), torch.nn.Linear(24, 8)

        def forward(self, x):
            h = self.wide(x)
            # values that are no numbers of JSON stand among the arguments
            h = h.masked_fill(h > 9, -math.inf).masked_fill(h < -9, math.nan)
            with torch.autocast("cpu", enabled=False):
                return self.narrow(h.float())

    model = Model()
    for is_mixed in (False, True):
        observer = Observer()
        with torch.autocast("cpu", torch.bfloat16, enabled=is_mixed), observer:
            model(torch.ones(5, 8))
        print(observer.compute_name(False), "|", observer.attention_name())
    query = torch.ones(1, 2, 6, 16)
    observer = Observer()
    with observer:
        torch.nn.functional.scaled_dot_product_attention(query, query, query)
    print(observer.compute_name(False), "|", observer.attention_name())
    assert not observer.looks_at_values
    for look in (lambda: query.sum().item(), lambda: bool(query.any()), lambda: torch.where(query > 0)):
        observer = Observer()
        with observer:
            look()
        assert observer.looks_at_values
"""


def test_a_look_sees_types_below_autocast_and_leaves_nothing_behind():
    code = textwrap.dedent(LOOK).format(sources=str(PYTHON_SOURCES))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=TIMEOUT_S)
    assert done.returncode == 0, done.stderr
    # (5 x 8) (8 x 24) and (5 x 24) (24 x 8): half of the work each
    assert done.stdout.splitlines() == ["fp32 | no sdpa call", "bf16 50 %, fp32 50 % | no sdpa call", "fp32 | sdpa flash"]


@pytest.mark.parametrize("name, shapes, work", [
    ("mm", [[5, 8], [8, 24]], 5 * 8 * 24), ("addmm", [[24], [5, 8], [8, 24]], 5 * 8 * 24), ("baddbmm", [[1], [3, 5, 8], [3, 8, 24]], 3 * 5 * 8 * 24),
    # packed weights lie the other way
    ("_linear_pointwise", [[2, 5, 8], [24, 8]], 2 * 5 * 8 * 24), ("mkldnn_linear", [[2, 5, 8], [24, 8]], 2 * 5 * 8 * 24),
    ("_scaled_dot_product_flash_attention", [[2, 3, 6, 16], [2, 3, 7, 16]], 2 * (2 * 3 * 6 * 16) * 7),
    ("_scaled_dot_product_flash_attention_backward", [[2, 3, 6, 16], [2, 3, 6, 16], [2, 3, 7, 16]], 5 * (2 * 3 * 6 * 16) * 7),
    ("_scaled_dot_product_attention_math", [[2, 3, 6, 16], [2, 3, 7, 16]], None), ("relu", [[5, 8]], None),
])
def test_the_work_of_an_operator_is_by_its_shapes(name, shapes, work):
    from tokmark_worker.torch_observe import operator_work

    assert operator_work(name, shapes) == work

"""tokmark in an environment of Python's: the three commands hand over to the program in this folder."""
import importlib.util
import os
import sys

PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bin", "tokmark")


def _caller():
    """This Python, and the engines whose framework it has: what they measure runs in it
    (src/engines/python/interpreter.h)."""
    has = [engine for engine, module in (("pytorch", "torch"), ("jax", "jax"))
           if sys.version_info >= (3, 10) and importlib.util.find_spec(module)]
    return " ".join(has) + ":" + (sys.executable or "")


def _become(name):
    os.environ["TOKMARK_CALLER"] = _caller()
    os.execv(PROGRAM, [name] + sys.argv[1:])


def main():
    _become("tokmark")


def bench_pytorch():
    _become("bench_pytorch")


def bench_jax():
    _become("bench_jax")

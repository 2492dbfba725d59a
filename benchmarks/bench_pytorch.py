#!/usr/bin/env python3
"""The published command line, now tokmark: hands over to the program of the same name.

Works where it is put. In a clone of tokmark or in its archive it takes the program of that tree, anywhere
else the one of the active environment or of PATH; $TOKMARK names another.
"""
import importlib.util
import os
import sys


def can_run(file):
    is_own = os.path.realpath(file) == os.path.realpath(__file__)
    return os.path.isfile(file) and os.access(file, os.X_OK) and not is_own


ABOVE = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))


def folders():
    """Where a program may be, best first."""
    yield os.path.join(ABOVE, "build")
    yield os.path.join(ABOVE, "bin")
    yield os.path.dirname(sys.executable or "")
    yield os.path.join(sys.prefix, "bin")
    for variable in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        if os.environ.get(variable):
            yield os.path.join(os.environ[variable], "bin")
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        yield folder


def find(name):
    """The program; None when there is none. One of the program's two names will do: it is told by
    the name it is called by which defaults are meant."""
    for folder in filter(None, folders()):
        for file in (os.path.join(folder, name), os.path.join(folder, "tokmark")):
            if can_run(file):
                return file
    return None


def caller():
    """Which Python this is and the engines whose framework it has: that one is measured, as ever."""
    has = [engine for engine, module in (("pytorch", "torch"), ("jax", "jax"))
           if sys.version_info >= (3, 10) and importlib.util.find_spec(module)]
    return " ".join(has) + ":" + (sys.executable or "")


def how_to_get():
    if os.path.isfile(os.path.join(ABOVE, "src", "engines", "engine.h")):  # a clone of tokmark
        return "make -C %s build" % ABOVE
    return "%s -m pip install CLONE_OR_WHEEL_OF_TOKMARK" % (sys.executable or "python3")


def main():
    name = os.path.basename(__file__)[:-len(".py")]
    named = os.environ.get("TOKMARK")
    if named and not can_run(named):
        sys.stderr.write("%s.py: $TOKMARK: %r is no program that can be run\n" % (name, named))
        return 4
    file = named or find(name)
    if file is None:
        sys.stderr.write("%s.py: no tokmark here, in the active environment or in PATH: `%s`; or set $TOKMARK to the "
                         "program\n" % (name, how_to_get()))
        return 4
    os.environ["TOKMARK_CALLER"] = caller()
    os.execv(file, [name] + sys.argv[1:])


sys.exit(main())

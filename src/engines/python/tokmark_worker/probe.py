"""Says in one line of JSON which interpreter this is and what it has, without importing any of it:
`tokmark run` asks before a sweep, `tokmark env` shows it."""
import importlib.metadata
import importlib.util
import json
import os
import platform
import sys

from .protocol import path_text

# What each engine cannot do without: (module, distribution).
NEEDS = {
    "pytorch": (("torch", "torch"),),
    "jax": (("jax", "jax"), ("optax", "optax")),
}


def _version(module, distribution):
    """None when it is not installed; "unknown" when it does not say."""
    try:
        if importlib.util.find_spec(module) is None:
            return None
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
    except (ImportError, ValueError):
        return None


def main(out_fd):
    engine = sys.argv[2]
    versions = {module: _version(module, name) for module, name in NEEDS[engine]}
    facts = {
        "executable": path_text(sys.executable),
        "chosen_by": sys.argv[3] if len(sys.argv) > 3 else "",
        "python": platform.python_version(),
        "packages": {name: version for name, version in versions.items() if version is not None},
        "missing": [name for name, version in versions.items() if version is None],
    }
    os.write(out_fd, (json.dumps(facts) + "\n").encode("ascii"))

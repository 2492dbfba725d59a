"""`tokmark setup ENGINE`: a virtual environment that has what the engine needs.

Prefers a CPU build of PyTorch where the machine has no NVIDIA driver and pip knows a place with
such a build: the ordinary one brings gigabytes of CUDA libraries.
"""
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from .probe import NEEDS

COMPLETE = ".complete"
_PYTHON_LEAST = (3, 10)


def say(text):
    print(f"tokmark setup: {text}", file=sys.stderr, flush=True)


def fail(text):
    say(text)
    sys.exit(4)


def requirements(engine, has_nvidia, cpu_torch):
    """What pip is asked for."""
    if engine == "pytorch":
        torch = f"torch=={cpu_torch}" if cpu_torch and not has_nvidia else "torch>=2.2"
        return [torch, "numpy"]
    return ["jax[cuda12]>=0.4.30" if has_nvidia else "jax>=0.4.30", "optax"]


def newest_cpu_build(names, tag):
    """The highest version among wheel file names torch-VERSION+cpu-TAG-...; None without one."""
    pattern = re.compile(rf"torch-(\d+(?:\.\d+)*)\+cpu-{re.escape(tag)}-.*\.whl")
    found = [match.group(1) for match in map(pattern.fullmatch, names) if match]
    return max(found, key=lambda text: tuple(map(int, text.split("."))), default=None)


def _places(python):
    """The folders that pip is configured to find wheels in."""
    asked = subprocess.run(
        [python, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    )
    texts = re.findall(r"find-links=(.*)", asked.stdout)
    texts.append(os.environ.get("PIP_FIND_LINKS", ""))
    words = re.findall(r"[^\s'\"\[\],]+", " ".join(texts).replace("\\n", " "))
    return [Path(word) for word in words if Path(word).is_dir()]


def _cpu_torch(python):
    tag = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    names = [name.name for place in _places(python) for name in place.glob("torch-*.whl")]
    return newest_cpu_build(names, tag)


def _run(what, words):
    if subprocess.run(words, stdout=sys.stderr.fileno(), check=False).returncode != 0:
        fail(f"{what} failed; what is above says why, and calling this again goes on")


def _make(engine, folder, pip_words):
    if sys.version_info < _PYTHON_LEAST:
        fail(f"{sys.executable} is Python {sys.version.split()[0]}; 3.10 or newer is needed")
    say(f"making {folder}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    words = [sys.executable, "-m", "venv", "--clear", str(folder)]
    _run("making a virtual environment (Debian and Ubuntu: install python3-venv)", words)
    python = str(folder / "bin" / "python")
    has_nvidia = os.path.exists("/proc/driver/nvidia") or shutil.which("nvidia-smi") is not None
    wanted = requirements(engine, has_nvidia, _cpu_torch(python))
    say(f"installing {', '.join(wanted)}")
    _run("installing", [python, "-m", "pip", "install", "--disable-pip-version-check", *pip_words,
                        *wanted])
    _run("importing", [python, "-c", "".join(f"import {name}\n" for name, _ in NEEDS[engine])])
    (folder / COMPLETE).touch()


def main(out_fd):
    engine, folder = sys.argv[2], Path(sys.argv[3])
    if (folder / COMPLETE).exists():
        say(f"{folder} is there already; remove it to have it made anew")
    else:
        _make(engine, folder, sys.argv[4:])
    os.write(out_fd, os.fsencode(folder / "bin" / "python") + b"\n")

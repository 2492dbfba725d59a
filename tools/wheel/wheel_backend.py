#!/usr/bin/env python3
"""Puts the program into a wheel: a zip file of the program, three commands and a description (PEP 427).

As the build backend of pyproject.toml (PEP 517), so that `pip install .` works; as a program for `make wheel`:

    python3 tools/wheel/wheel_backend.py PROGRAM TAG OUT_DIR
"""
import base64
import hashlib
import os
import platform
import re
import subprocess
import sys
import tarfile
import zipfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
SUMMARY = "A benchmark suite for transformer language models: C, PyTorch, JAX, or any engine"
COMMANDS = """[console_scripts]
tokmark = tokmark:main
bench_pytorch = tokmark:bench_pytorch
bench_jax = tokmark:bench_jax
"""
NEEDS = "cmake, ninja, a C compiler, and the development files of jansson, xxhash, minizip, zlib, libyaml, ncurses and libmicrohttpd"
TIME = (1980, 1, 1, 0, 0, 0)  # equal programs make equal wheels


def version():
    with open(os.path.join(ROOT, "CMakeLists.txt"), encoding="utf-8") as file:
        return re.search(r"project\(\s*tokmark\s+VERSION\s+([\d.]+)", file.read()).group(1)


def metadata():
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        readme = file.read()
    return (f"Metadata-Version: 2.1\nName: tokmark\nVersion: {version()}\nSummary: {SUMMARY}\nLicense: MIT\n"
            f"License-File: LICENSE\nRequires-Python: >=3.8\nDescription-Content-Type: text/markdown\n\n{readme}")


def _licences():
    """Ours, and those of what is linked in."""
    yield "LICENSE", os.path.join(ROOT, "LICENSE")
    for package in ("libjansson-dev", "libxxhash-dev", "libminizip-dev", "zlib1g-dev", "libyaml-dev", "libncurses-dev"):
        path = f"/usr/share/doc/{package}/copyright"
        if os.path.isfile(path):
            yield f"third_party/{package}", path


def _content(program, tag):
    """(name in the wheel, bytes, may it be run), the record not yet among them."""
    package = os.path.join(HERE, "tokmark")
    info = f"tokmark-{version()}.dist-info"
    for name in sorted(os.listdir(package)):
        if name.endswith(".py"):
            yield f"tokmark/{name}", _bytes(os.path.join(package, name)), False
    yield "tokmark/bin/tokmark", _bytes(program), True
    for name, path in _licences():
        yield f"{info}/licenses/{name}", _bytes(path), False
    yield f"{info}/entry_points.txt", COMMANDS.encode(), False
    yield f"{info}/METADATA", metadata().encode(), False
    wheel = f"Wheel-Version: 1.0\nGenerator: tokmark\nRoot-Is-Purelib: false\nTag: {tag}\n"
    yield f"{info}/WHEEL", wheel.encode(), False


def _bytes(path):
    with open(path, "rb") as file:
        return file.read()


def make_wheel(program, tag, folder):
    """The wheel's name in `folder`."""
    name = f"tokmark-{version()}-{tag}.whl"
    path = os.path.join(folder, name)
    record = []
    with zipfile.ZipFile(path + ".tmp", "w", zipfile.ZIP_DEFLATED) as file:
        def put(inside, data, is_program):
            entry = zipfile.ZipInfo(inside, TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o100755 if is_program else 0o100644) << 16
            file.writestr(entry, data)

        for inside, data, is_program in _content(program, tag):
            put(inside, data, is_program)
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            record.append(f"{inside},sha256={digest},{len(data)}\n")
        inside = f"tokmark-{version()}.dist-info/RECORD"
        put(inside, ("".join(record) + f"{inside},,\n").encode(), False)
    os.replace(path + ".tmp", path)
    return name


# --- PEP 517 ---

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    """Of the program as it is built for this machine."""
    done = subprocess.run([os.path.join(ROOT, "tools", "build.sh"), "release"], check=False)
    if done.returncode != 0:
        sys.exit(f"tokmark: the program could not be built; it needs {NEEDS} (`make build` in {ROOT} installs "
                 "them on Debian and Ubuntu)")
    program = os.path.join(ROOT, "build", "tokmark")
    return make_wheel(program, f"py3-none-linux_{platform.machine()}", wheel_directory)


def build_sdist(sdist_directory, config_settings=None):
    """What git knows of the tree."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
    base = f"tokmark-{version()}"
    with tarfile.open(os.path.join(sdist_directory, base + ".tar.gz"), "w:gz", format=tarfile.PAX_FORMAT) as file:
        for name in filter(None, map(os.fsdecode, names.split(b"\0"))):
            file.add(os.path.join(ROOT, name), f"{base}/{name}", recursive=False)
    return base + ".tar.gz"


if __name__ == "__main__":
    print(os.path.join(sys.argv[3], make_wheel(*sys.argv[1:4])))

"""Names are bytes: of data, weights and results, whatever the locale takes names for; and in archives."""
import json
import os
import struct
import subprocess
import sys
import zipfile
import zlib

import pytest

from caller import CALM, NULL, THIN, TOKMARK, calm, records
from waiting import TIMEOUT_S

STRANGE = b"caf\xe9 \xff%41?#.txt"  # no UTF-8, and what a URL takes for something else
# Python then takes names for ASCII.
C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
NATIVE = ["run", "--model", "superintelligence-tiny", *THIN, "--mode", "infer", "--seq", "8", "--batch", "1", "--steps", "3",
          "--warmup", "1", "--pace", "off", "--history", "off", *CALM]


def tokmark(folder, *words, env=None):
    return subprocess.run([TOKMARK, *words], cwd=folder, capture_output=True, check=False, timeout=TIMEOUT_S,
                          env={**os.environ, **(env or {})})


def only_record(folder, done):
    found = records(folder, "_bench")
    assert len(found) == 1, done.stderr
    return found[0]


@pytest.mark.parametrize("name", [STRANGE, "dät 文.txt".encode(), b"file:.txt"])
def test_data_of_any_name(tmp_path, name):
    (tmp_path / os.fsdecode(name)).write_bytes(b"some words " * 200)
    done = tokmark(tmp_path, *NATIVE, b"--data", name, env={"LC_ALL": "C"})
    record = only_record(tmp_path, done)
    assert record["verdict"] == "ok", record["reasons"]
    assert name.decode(errors="replace") in record["tokens_data"]


def test_data_of_any_name_in_python_that_knows_only_ascii(tmp_path):
    """Two names in one process would need two workers; the decoding is tested below, without a framework."""
    (tmp_path / os.fsdecode(STRANGE)).write_bytes(b"some words " * 200)
    done = tokmark(tmp_path, *NATIVE, "--engine", "pytorch", "--python", sys.executable, b"--data", STRANGE, env=C_LOCALE)
    record = only_record(tmp_path, done)
    assert record["verdict"] == "ok", record["reasons"]
    assert STRANGE.decode(errors="replace") in record["tokens_data"]


@pytest.mark.parametrize("locale", [C_LOCALE, {"PYTHONUTF8": "1"}])
def test_paths_as_the_worker_in_python_reads_them(locale):
    program = (
        "import sys; from tokmark_worker.protocol import path, shown\n"
        "import os\n"
        "for text in ('/t/d\\u00e4t \\u6587', 'file:///t/caf%E9%20%FF%2541', '/t/100%25', 'file:///t/d%C3%A4t', ''):\n"
        "    print(os.fsencode(path(text)).hex(), ascii(shown(path(text))))\n")
    sources = os.path.join(os.path.dirname(TOKMARK), "..", "src", "engines", "python")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True,
                          env={**os.environ, **locale, "PYTHONPATH": sources})
    wanted = ["/t/dät 文".encode(), b"/t/caf\xe9 \xff%41", b"/t/100%25", "/t/dät".encode(), b""]
    assert done.stdout.splitlines() == [f"{name.hex()} {ascii(name.decode(errors='replace'))}" for name in wanted]


def test_an_interpreter_in_a_folder_of_any_name(tmp_path):
    folder = os.fsencode(tmp_path) + b"/py\xffthon"
    os.mkdir(folder)
    with open(folder + b"/python", "w") as file:  # a link would be followed by Python itself
        file.write(f"#!/bin/bash\nexec -a \"$0\" {sys.executable} \"$@\"\n")
    os.chmod(folder + b"/python", 0o755)
    done = tokmark(tmp_path, "worker", "pytorch", "--probe", b"--python", folder + b"/python")
    assert json.loads(done.stdout)["executable"] == f"file://{tmp_path}/py%FFthon/python", done.stderr
    # `ab` asks once and then goes on with that one
    done = tokmark(tmp_path, "ab", "--engine", "pytorch", b"--python", folder + b"/python", "--b", "--compile default",
                   "--mode", "infer", "--seq", "8", "--dry-run")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("folder", [b"ch\xe9ck\xff", "chéck 文".encode()])
def test_check_in_a_folder_of_any_name(tmp_path, folder):
    """Its weights, inputs and outputs travel as paths, too."""
    done = tokmark(tmp_path, "check", "--engines", "native", "null", "--model", "superintelligence-tiny", *THIN, "--mode", "infer",
                   "--seq", "8", "--batch", "1", b"--out", folder)
    rows = [line.split() for line in done.stdout.decode("utf-8", "replace").splitlines()]
    assert ["native", "fp32", "-", "reference"] in rows, done


def test_results_in_a_folder_of_any_name_are_archived(tmp_path):
    for name in (b"r\xe9sults\xff", "résults 文".encode(), b"plain"):
        done = tokmark(tmp_path, *calm(NULL), "--mode", "infer", b"--out", name, "--zip")
        assert done.returncode == 0, done.stderr
        path = os.path.join(os.fsencode(tmp_path), name + b".zip")
        raw = open(path, "rb").read()
        entries = zipfile.ZipFile(path.decode("utf-8", "surrogateescape")).infolist()
        assert len(entries) == 4
        is_utf8 = name != b"r\xe9sults\xff"
        for entry in entries:
            assert bool(entry.flag_bits & 1 << 11) == is_utf8, "only what is UTF-8 is called so"
            tail = entry.orig_filename.split("/", 1)[1].encode()
            assert raw.count(name + b"/" + tail) == 2, "the bytes as they are, in both headers"
            if is_utf8:
                assert entry.extra == b"" and entry.filename.encode() == name + b"/" + tail
                continue
            kind, size, version, crc = struct.unpack_from("<HHBL", entry.extra)
            assert (kind, size, version) == (0x7075, len(entry.extra) - 4, 1)
            assert crc == zlib.crc32(name + b"/" + tail)
            assert entry.extra[9:] == b"r%E9sults%FF/" + tail

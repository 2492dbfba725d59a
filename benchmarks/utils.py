"""Results of one's own benchmark scripts, in the published form: `BenchRecord`, `Logger`, `gpu_mem_mb`.

    from utils import BenchRecord, Logger, gpu_mem_mb

    logger = Logger("_bench")
    logger.log(BenchRecord(framework="pytorch", device="cuda:0", precision="bf16", mode="train", seq_len=512, ...))
    logger.close()
    logger.archive()          # _bench.zip, beside the folder

A folder has bench_results.jsonl, one record a line, and bench_results.csv, made from it. Both begin with the
fifteen published fields, in their order and units; `run_id` follows them and tells one Logger's records from
another's. tokmark leaves such lines as they are when it writes into the same folder. Python 3.8, standard
library only.
"""
import csv
import dataclasses
import datetime
import fcntl
import io
import json
import math
import os
import sys
import typing
import uuid
import zipfile

JSONL_NAME = "bench_results.jsonl"
CSV_NAME = "bench_results.csv"
LOCK_NAME = ".tokmark.lock"  # held by tokmark while it writes to a folder
_MIB = 1024 * 1024


@dataclasses.dataclass
class BenchRecord:
    """One measurement. What is not known is None, never 0: null in JSON, nothing in CSV."""

    framework: typing.Optional[str] = None
    device: typing.Optional[str] = None
    precision: typing.Optional[str] = None
    mode: typing.Optional[str] = None  # train, infer, decode
    seq_len: typing.Optional[int] = None
    batch_size: typing.Optional[int] = None
    steps: typing.Optional[int] = None
    tokens_per_step: typing.Optional[int] = None
    ms_per_step: typing.Optional[float] = None
    tokens_per_sec: typing.Optional[float] = None
    mem_alloc_mb: typing.Optional[float] = None  # MiB, as gpu_mem_mb() says it
    mem_reserved_mb: typing.Optional[float] = None
    peak_mem_mb: typing.Optional[float] = None
    params_millions: typing.Optional[float] = None
    notes: typing.Optional[str] = None


FIELDS = tuple(field.name for field in dataclasses.fields(BenchRecord))
COLUMNS = FIELDS + ("run_id",)


class GpuMemory(typing.NamedTuple):
    """MiB of PyTorch's allocator on the current device; None = not known."""

    allocated: typing.Optional[float]
    reserved: typing.Optional[float]
    peak: typing.Optional[float]


def gpu_mem_mb():
    """(allocated, reserved, peak) of the current CUDA device. All None where PyTorch has not been
    imported or has no CUDA: memory that nobody could ask for is not 0."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return GpuMemory(None, None, None)
    return GpuMemory(torch.cuda.memory_allocated() / _MIB, torch.cuda.memory_reserved() / _MIB,
                     torch.cuda.max_memory_allocated() / _MIB)


def _plain(value):
    """What JSON can hold: scalars of NumPy and PyTorch as numbers, NaN and infinity as None, other
    things as text."""
    if hasattr(value, "item") and not isinstance(value, (str, bytes)):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int)):
        return value
    return str(value).encode("utf-8", "replace").decode("utf-8")


def _fields_of(record):
    """The fifteen fields of a BenchRecord, or of a mapping that has no others."""
    if dataclasses.is_dataclass(record):
        record = dataclasses.asdict(record)
    unknown = [name for name in record if name not in FIELDS]
    if unknown:
        raise TypeError("a record has no field %r; the fields are %s" % (unknown[0], ", ".join(FIELDS)))
    return {name: _plain(record.get(name)) for name in FIELDS}


def _row(fields):
    """One line of CSV, quoted as RFC 4180 says."""
    text = io.StringIO()
    values = ("" if fields.get(name) is None else fields[name] for name in COLUMNS)
    csv.writer(text, lineterminator="\r\n").writerow(values)
    return text.getvalue()[:-2] + "\n"


def _write(fd, text):
    """At the end of the file, in one write: what is there is whole lines, whenever a script ends."""
    data = text.encode("utf-8")
    if os.write(fd, data) != len(data):
        raise OSError("a record was not written whole: the disk is full, or a limit of file size")


def _read(path):
    try:
        with open(path, encoding="utf-8", errors="replace", newline="") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def _is_made_from_jsonl(text):
    """The header of ours, or of tokmark, which makes its file anew too."""
    header = text.split("\n", 1)[0]
    return header == ",".join(COLUMNS) or header.startswith(",".join(FIELDS) + ",schema,")


def _free_name(path):
    number = 0
    while True:
        name = path + ".orig" + (".%d" % number if number else "")
        if not os.path.lexists(name):
            return name
        number += 1


def _is_held(path):
    """Is tokmark writing to this folder?"""
    try:
        fd = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except OSError:
        return True
    finally:
        os.close(fd)


class Logger:
    """Appends records to DIR/bench_results.jsonl and DIR/bench_results.csv.

    Opening repairs: a last line that was never finished is ended, so that the next one is whole, and the CSV
    is made from the JSONL where it differs. A CSV file with another header is moved aside to
    bench_results.csv.orig (.orig.1, ...); no data of others is overwritten."""

    def __init__(self, out_dir):
        self.out_dir = os.fspath(out_dir)
        now = datetime.datetime.now(datetime.timezone.utc)
        self.run_id = "r%s-%s" % (now.strftime("%Y%m%dT%H%M%SZ"), uuid.uuid4().hex[:6])
        os.makedirs(self.out_dir, exist_ok=True)
        self._jsonl = self._open(JSONL_NAME)
        self._csv = None
        if os.path.getsize(self._path(JSONL_NAME)) and not _read(self._path(JSONL_NAME)).endswith("\n"):
            _write(self._jsonl, "\n")
        # While tokmark writes here the CSV is its own; ours is made from the JSONL the next time.
        if not _is_held(self._path(LOCK_NAME)):
            self._mend_csv()
            self._csv = self._open(CSV_NAME)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _path(self, name):
        return os.path.join(self.out_dir, name)

    def _open(self, name):
        return os.open(self._path(name), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)

    def _mend_csv(self):
        path = self._path(CSV_NAME)
        wanted = ",".join(COLUMNS) + "\n"
        for line in _read(self._path(JSONL_NAME)).split("\n"):
            try:
                fields = json.loads(line)
            except ValueError:
                continue
            if isinstance(fields, dict) and "framework" in fields:
                wanted += _row({name: _plain(fields.get(name)) for name in COLUMNS})
        found = _read(path)
        if found == wanted:
            return
        if found and not _is_made_from_jsonl(found):
            os.rename(path, _free_name(path))
        temporary = "%s.tmp.%d" % (path, os.getpid())
        with open(temporary, "w", encoding="utf-8", newline="") as file:
            file.write(wanted)
        os.replace(temporary, path)

    def log(self, record):
        """Appends a BenchRecord, or a mapping of its fields, to both files."""
        if self._jsonl is None:
            raise ValueError("this Logger is closed")
        fields = _fields_of(record)
        fields["run_id"] = self.run_id
        _write(self._jsonl, json.dumps(fields, allow_nan=False, ensure_ascii=False) + "\n")
        if self._csv is not None:
            _write(self._csv, _row(fields))

    def close(self):
        """The records are on the disk when it returns. Calling it again does no harm."""
        for fd in (self._jsonl, self._csv):
            if fd is not None:
                os.fsync(fd)
                os.close(fd)
        self._jsonl = self._csv = None

    def archive(self):
        """Makes OUT_DIR.zip beside the folder, whole or not at all; its path. Before or after close()."""
        folder = os.path.abspath(self.out_dir)
        path = folder + ".zip"
        names = [JSONL_NAME, CSV_NAME]
        for below in ("logs", "samples"):
            if os.path.isdir(os.path.join(folder, below)):
                names += [os.path.join(below, name) for name in sorted(os.listdir(os.path.join(folder, below)))]
        base = os.fsencode(os.path.basename(folder)).decode("utf-8", "replace")
        temporary = "%s.tmp.%d" % (path, os.getpid())
        try:
            with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as file:
                for name in filter(lambda name: os.path.isfile(os.path.join(folder, name)), names):
                    file.write(os.path.join(folder, name), "%s/%s" % (base, name))
            os.replace(temporary, path)
        finally:
            if os.path.exists(temporary):
                os.unlink(temporary)
        return path

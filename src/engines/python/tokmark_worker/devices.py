"""The devices of a cell by their names, and the rows of its steps among them."""
import re

from .errors import unsupported


def devices_of(cell):
    """The devices' names, in their order: "cuda:0-1" is cuda:0 and cuda:1, and "cpu:2" two times cpu; of a cell
    with no layout the one that it names."""
    name = cell.device
    if cell.parallel == "none":
        return [name]
    span = re.fullmatch(r"(\w+):(\d+)-(\d+)", name)
    if span:
        first, last = int(span[2]), int(span[3])
        return [f"{span[1]}:{index}" for index in range(first, last + 1)]
    several = re.fullmatch(r"cpu:(\d+)", name)
    return ["cpu"] * int(several[1]) if several else [name]


def require_rows(cell, devices_count):
    """The same number of rows on every device and in every part of --accumulate."""
    parts = cell.options.accumulate
    share = devices_count * parts
    if cell.batch_size % share == 0:
        return
    over = f" over {devices_count} devices" if devices_count > 1 else ""
    over += f" into {parts} parts" if parts > 1 else ""
    least = max(1, round(cell.batch_size / share)) * share
    raise unsupported(f"{cell.batch_size} rows do not divide{over}; the nearest is --batch {least}")

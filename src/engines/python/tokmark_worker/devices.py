"""The devices of a cell by their names, and what divides over them: rows, heads, columns, experts."""
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


def device_of_rank(devices, local_rank):
    """Of a rank that a launcher has started: the cards are those of its own host, counted from the cell's first."""
    kind, _, first = devices[0].partition(":")
    return f"{kind}:{int(first) + local_rank}" if first else kind


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


def require_parts(count, what, total):
    """`total` of something over `count` devices, as many on each."""
    if total % count == 0:
        return
    least = max(size for size in range(1, count) if total % size == 0)
    nearest = f"--devices {least}" if least > 1 else "one device"
    raise unsupported(f"{total} {what} do not divide over {count} devices; the nearest is {nearest}")


def require_own_model(cell, devices_count, spec):
    """Of tokmark's own model: whether it can be laid out so."""
    if cell.parallel == "tp":
        require_parts(devices_count, "heads", spec.heads_count)
        require_parts(devices_count, "columns of a feed-forward", spec.ffn_hidden)
    if cell.parallel == "ep":
        if spec.ffn != "moe_swiglu" or cell.options.moe == "published":
            raise unsupported(
                "--parallel ep spreads experts that tokens are routed to, and here are none; the nearest is --parallel ddp"
            )
        require_parts(devices_count, "experts", spec.experts_count)


def require_any_model(cell):
    """Of a user's model: nothing is known of its matrices and experts."""
    if cell.parallel in ("tp", "ep"):
        raise unsupported(
            f"--parallel {cell.parallel} is for tokmark's own models, whose matrices and experts are known; the nearest is "
            f"--parallel fsdp"
        )

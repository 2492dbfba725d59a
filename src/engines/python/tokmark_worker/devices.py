"""The devices of a cell by their names, and what divides over them: rows, heads, columns, experts."""
import math
import re

from .errors import unsupported


def devices_of(cell):
    """The devices' names, in their order: "cuda:0-1" is cuda:0 and cuda:1, and "cpu:2" two times cpu; of a cell
    with no layout the one that it names."""
    name = cell.device
    if cell.parallel in ("", "none"):
        return [name]
    span = re.fullmatch(r"(\w+):(\d+)-(\d+)", name)
    if span:
        first, last = int(span[2]), int(span[3])
        return [f"{span[1]}:{index}" for index in range(first, last + 1)]
    several = re.fullmatch(r"cpu:(\d+)", name)
    return ["cpu"] * int(several[1]) if several else [name]


def listed(bus_ids):
    """Of all devices, with commas; None where one is not known."""
    return None if None in bus_ids else ",".join(bus_ids)


# What a layout may divide, from the outside in: devices that exchange most are next to each other.
KINDS = ("ddp", "fsdp", "ep", "tp")


def factors_of(cell, devices_count):
    """{"fsdp": 2, "tp": 2}: over how many devices each kind divides, in the order of KINDS; {} on one device."""
    if cell.parallel in ("", "none"):
        return {}
    given = dict(word.partition(":")[::2] for word in cell.parallel.split(","))
    counts = {kind: int(given[kind] or devices_count) for kind in KINDS if kind in given}
    if len(counts) < len(given) or math.prod(counts.values()) != devices_count:
        raise unsupported(f"'{cell.parallel}' is no layout over {devices_count} devices; the nearest is --parallel fsdp")
    return counts


def row_shares_of(factors):
    """How many devices have rows of their own: all others have the same rows as one of these."""
    return math.prod(count for kind, count in factors.items() if kind != "tp")


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


def require_parts(factors, kind, what, total):
    """`total` of something over the devices that `kind` divides it over, as many on each."""
    count = factors[kind]
    if total % count == 0:
        return
    least = max(size for size in range(1, count) if total % size == 0 and count % size == 0)
    others = {other: size for other, size in factors.items() if other != kind}
    if others:  # as many devices: the outermost of the others takes what is left
        outer = next(iter(others))
        nearest = f"--parallel {layout_text({**others, outer: others[outer] * count // least, kind: least})}"
    else:
        least = max(size for size in range(1, count) if total % size == 0)
        nearest = f"--devices {least}" if least > 1 else "one device"
    raise unsupported(f"{total} {what} do not divide over {count} devices; the nearest is {nearest}")


def layout_text(factors):
    """As --parallel spells it."""
    there = {kind: factors[kind] for kind in KINDS if factors.get(kind, 1) > 1}
    return ",".join(f"{kind}:{count}" for kind, count in there.items()) if len(there) > 1 else "".join(there)


def without(factors, *kinds):
    """The nearest layout of as many devices that divides nothing of these kinds, as --parallel spells it."""
    others = {kind: count for kind, count in factors.items() if kind not in kinds}
    freed = math.prod(count for kind, count in factors.items() if kind in kinds)
    outer = next(iter(others), "ddp")
    return layout_text({**others, outer: others.get(outer, 1) * freed})


def require_own_model(cell, factors, spec):
    """Of tokmark's own model: whether it can be laid out so."""
    if "tp" in factors:
        require_parts(factors, "tp", "heads", spec.heads_count)
        require_parts(factors, "tp", "columns of a feed-forward", spec.ffn_hidden)
    if "ep" in factors:
        if spec.ffn != "moe_swiglu" or cell.options.moe == "published":
            raise unsupported(
                f"--parallel ep spreads experts that tokens are routed to, and here are none; the nearest is --parallel "
                f"{without(factors, 'ep')}"
            )
        require_parts(factors, "ep", "experts", spec.experts_count)


def require_any_model(cell, factors, is_package=False):
    """Of a user's model: nothing is known of its matrices and experts. A package that is found in the place of a
    preset of tokmark's own can be left alone."""
    if "tp" in factors or "ep" in factors:
        others = without({"fsdp": 1, **factors}, "tp", "ep")
        nearest = f"--model-source builtin, or --parallel {others}" if is_package else f"--parallel {others}"
        raise unsupported(
            f"--parallel {cell.parallel} is for tokmark's own models, whose matrices and experts are known; the nearest is "
            f"{nearest}"
        )

"""Host memory from procfs and cgroups, by the same reckoning as src/base/sysmem.c and cgroup.c."""
import os
import re

_NO_LIMIT = 1 << 60
_RESERVE_BYTES_MAX = 512 << 20


def _read(path):
    try:
        with open(path, encoding="ascii", errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return ""


def _find(text, key):
    """The number behind that word at the beginning of a line; None where there is none."""
    for line in text.splitlines():
        words = line.split()
        if words[:1] == [key]:
            return int(words[1]) if len(words) > 1 and words[1].isdigit() else None
    return None


def _find_kib(text, key):
    number = _find(text, key)
    return None if number is None else number * 1024


def process_rss():
    """(now, highest since start or the last reset) in bytes; None when unreadable."""
    text = _read("/proc/self/status")
    now = _find_kib(text, "VmRSS:")
    peak = _find_kib(text, "VmHWM:")
    return None if now is None or peak is None else (now, peak)


def reset_peak():
    """Sets the peak back to the present use."""
    try:
        with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
            file.write("5")
    except OSError:
        pass


def _number(path):
    text = _read(path).strip()
    return int(text) if text.isdigit() else None


def _own_group(is_v2):
    for line in _read("/proc/self/cgroup").splitlines():
        number, controllers, path = (line.split(":", 2) + ["", ""])[:3]
        if path and (number == "0" and not controllers if is_v2 else "memory" in controllers.split(",")):
            return path
    return None


def _mounts(is_v2):
    """(the group that is mounted, where) of the hierarchy that limits memory."""
    for line in _read("/proc/self/mountinfo").splitlines():
        fields = line.split(" ")
        dash = fields.index("-", 5) if "-" in fields[5:] else len(fields)
        if len(fields) <= dash + 3 or fields[dash + 1] != ("cgroup2" if is_v2 else "cgroup"):
            continue
        if is_v2 or "memory" in fields[dash + 3].split(","):
            yield tuple(re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), fields[at]) for at in (3, 4))


def _own_folder(is_v2):
    """(folder, mount point above it) of this process's group; None where there is none. A group outside of what is mounted (a
    container without a namespace of its own) leaves the mount point, whose limits are the container's."""
    group = _own_group(is_v2)
    outside = None
    for top, point in _mounts(is_v2) if group else ():
        top = top.rstrip("/")
        if "/.." not in group and f"{group}/".startswith(f"{top}/"):
            return point + group[len(top):].rstrip("/"), point
        outside = outside or (point, point)
    return outside


def _group_folders():
    """(folder, is_v2) of this process's memory groups, from its own up to the mount point."""
    for is_v2 in (False, True):
        folder, point = _own_folder(is_v2) or ("", "")
        while folder:
            yield folder, is_v2
            folder = os.path.dirname(folder) if len(folder) > len(point) else ""


def _limits():
    """(total, available) bytes under every limit; None when not even meminfo can be read."""
    meminfo = _read("/proc/meminfo")
    total = _find_kib(meminfo, "MemTotal:")
    available = _find_kib(meminfo, "MemAvailable:")
    if total is None or available is None:
        return None
    for folder, is_v2 in _group_folders():
        names = ("memory.max", "memory.high") if is_v2 else ("memory.limit_in_bytes",)
        limits = [_number(os.path.join(folder, name)) for name in names]
        limit = min((known for known in limits if known is not None), default=_NO_LIMIT)
        if limit >= _NO_LIMIT:
            continue
        total = min(total, limit)
        held = _number(
            os.path.join(folder, "memory.current" if is_v2 else "memory.usage_in_bytes")
        )
        if held is not None:
            # inactive file pages are given back before anything is killed
            droppable = "inactive_file" if is_v2 else "total_inactive_file"
            held -= _find(_read(os.path.join(folder, "memory.stat")), droppable) or 0
            available = min(available, max(0, limit - max(0, held)))
    return total, available


def usable_bytes():
    """What a cell may take: what is available less a reserve for the rest of the machine; None when
    unknown."""
    limits = _limits()
    if limits is None:
        return None
    total, available = limits
    return max(0, available - min(total // 20, _RESERVE_BYTES_MAX))

"""Host memory from procfs and cgroups, by the same reckoning as src/base/sysmem.c."""
import os

_NO_LIMIT = 1 << 60
_RESERVE_BYTES_MAX = 512 << 20


def _read(path):
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _find_kib(text, key):
    for line in text.splitlines():
        if line.startswith(key):
            return int(line.split()[1]) * 1024
    return None


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


def _stat(folder, key):
    for line in _read(os.path.join(folder, "memory.stat")).splitlines():
        words = line.split()
        if len(words) == 2 and words[0] == key:
            return int(words[1])
    return 0


def _group_folders():
    """(folder, is_v2) of this process's memory groups, from its own up to the root."""
    for line in _read("/proc/self/cgroup").splitlines():
        number, controllers, path = (line.split(":", 2) + ["", ""])[:3]
        is_v2 = number == "0"
        if not is_v2 and "memory" not in controllers.split(","):
            continue
        root = "/sys/fs/cgroup" if is_v2 else "/sys/fs/cgroup/memory"
        folder = os.path.normpath(root + path)
        while folder.startswith(root):
            yield folder, is_v2
            if folder == root:
                break
            folder = os.path.dirname(folder)


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
            held -= _stat(folder, "inactive_file" if is_v2 else "total_inactive_file")
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

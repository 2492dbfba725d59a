"""What a profiler saw, summed by operator, as the fields of `profile` (docs/protocol.md)."""
from .protocol import cut

OPERATORS_MAX = 64
NAME_BYTES_MAX = 127


class Operators:
    """Calls, time and work by name."""

    def __init__(self):
        self._by_name = {}

    def add(self, name, calls, self_ns, flops=None):
        """flops: of these calls; one call of which it is not known makes it unknown for all of that name."""
        name = cut(name, NAME_BYTES_MAX) or "?"
        known = self._by_name.get(name)
        if known is not None:
            flops = None if flops is None or known[2] is None else flops + known[2]
            calls, self_ns = calls + known[0], self_ns + known[1]
        self._by_name[name] = (calls, self_ns, flops)

    def __len__(self):
        return len(self._by_name)

    def fields(self, profiler, window_ns):
        longest = sorted(self._by_name.items(), key=lambda item: (-item[1][1], item[0]))
        return {
            "profiler": profiler,
            "window_ns": window_ns,
            "operators_ns": round(sum(self_ns for _, (_, self_ns, _) in longest)),
            "names": len(longest),
            "operators": [
                {"name": name, "calls": calls, "self_ns": round(self_ns), "flops": flops}
                for name, (calls, self_ns, flops) in longest[:OPERATORS_MAX]
            ],
        }

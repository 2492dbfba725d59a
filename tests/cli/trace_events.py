"""What a file of Chrome's trace events must be, so that Perfetto and chrome://tracing show it as it was."""
import json
import numbers


def trace_of(path):
    """{(pid, tid): [(begin, end, name)]} of its complete events, in us, after every event was looked at."""
    events = json.loads(open(path, encoding="utf-8").read())["traceEvents"]
    assert isinstance(events, list) and events
    threads = {}
    for event in events:
        assert isinstance(event["ph"], str) and len(event["ph"]) == 1, event
        if event["ph"] == "M":  # names of processes and threads: at no time
            assert event["name"] and "pid" in event and event["args"], event
        elif event["ph"] == "X":
            assert {"name", "ts", "dur", "pid", "tid"} <= set(event), event
            assert event["name"] and isinstance(event["name"], str), event
            for key in ("ts", "dur"):
                assert isinstance(event[key], numbers.Real) and event[key] >= 0, event
            span = event["ts"], event["ts"] + event["dur"], event["name"]
            threads.setdefault((event["pid"], event["tid"]), []).append(span)
        else:  # marks and flows
            assert "ts" in event and "pid" in event, event
    for spans in threads.values():
        require_nested(spans)
    return threads


def require_nested(spans, slack_us=0.01):
    """On one thread what begins within another event ends within it, but for what times are rounded by."""
    open_ends = []
    for begin, end, name in sorted(spans, key=lambda span: (span[0], -span[1])):
        while open_ends and open_ends[-1] <= begin + slack_us:
            open_ends.pop()
        assert not open_ends or end <= open_ends[-1] + slack_us, (name, begin, end, open_ends[-1])
        open_ends.append(end)

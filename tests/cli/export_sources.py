"""Records for the tests of `tokmark export`, and how they call it."""
import json
import os
import subprocess
import urllib.request

from waiting import TIMEOUT_S, wait_until

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TOKMARK = os.environ["TOKMARK_BINARY"]
FORMATS = subprocess.run([TOKMARK, "export", "--list"], capture_output=True, text=True, check=True).stdout
NAMES = [line for line in FORMATS.splitlines() if not line.startswith(" ")]
RECORD = {"framework": "native", "device": "cpu", "precision": "fp32", "mode": "train", "seq_len": 128, "batch_size": 4, "steps": 30,
          "tokens_per_step": 512, "ms_per_step": 2.5, "tokens_per_sec": 204800.0, "mem_alloc_mb": None, "mem_reserved_mb": None,
          "peak_mem_mb": 12.5, "params_millions": 1.5, "notes": "", "schema": 1, "run_id": "r20260102T030405Z-000001",
          "cell_id": "h0123456789abcdef", "policy_id": "hfedcba9876543210", "trial": 0, "started_at": "2026-01-02T03:04:05.678Z",
          "verdict": "ok", "reasons": [], "synthetic": False, "engine_version": "1.2.3", "samples": 30, "ms_p50": 2.4, "ms_p50_low": 2.3,
          "ms_p50_high": 2.6, "ms_p90": 2.9, "ms_stddev": 0.25, "tokens_per_sec_low": 200000.0, "tokens_per_sec_high": 210000.0,
          "model": "gpt2-124m", "params_total": 1500000, "environment_id": "h00000000000000e1", "threads": 2,
          "environment": {"cpu": {"model": "Some CPU"}}, "harness": "tokmark 0.1.0 (abc123def456)", "device_name": None}
# Names that would end a string, a line, a label, a name, a script or a row somewhere.
HOSTILE = ['quote " and \\" more', "two\nlines\r\nthree", "a,b;c{d}=e/f", "naïve 漢字 \U0001F600", "</script><b>", "tab\tand\x1bescape", "back\\slash\\n",
           "no\u00A0break\u2028line", " ", "# EOF", "-x", "x" * 3000]


def line(**changes):
    return json.dumps({**RECORD, **changes}) + "\n"


def cell(number, **changes):
    """A record of another cell."""
    return line(cell_id=f"h{number:016x}", **changes)


def hostile():
    """A cell for each bad name."""
    return "".join(cell(i + 1, model=name, seq_len=i + 1) for i, name in enumerate(HOSTILE))


def export(form, *args, stdin=None, code=0, env=None):
    run = subprocess.run([TOKMARK, "export", form, *map(str, args)], input=None if stdin is None else stdin.encode(), capture_output=True,
                         check=False, timeout=TIMEOUT_S, env=None if env is None else {**os.environ, **env})
    run.stdout, run.stderr = run.stdout.decode(), run.stderr.decode()  # with every carriage return
    assert run.returncode == code, (run.returncode, run.stdout, run.stderr)
    return run


def get(url):
    """The body; None while nobody answers."""
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=TIMEOUT_S) as answer:
            return answer.read().decode()
    except OSError:
        return None


def await_answer(process, url, is_it=bool):
    """Until the server that was started answers as it should."""
    def answers():
        text = get(url)
        return text is not None and is_it(text)

    wait_until(answers, process, pause_s=0.05)

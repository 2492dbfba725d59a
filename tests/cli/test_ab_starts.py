"""`tokmark ab` over several starts: fresh workers each time, and looks that share the error."""
import json
import math
import statistics

import pytest
from scipy import stats

from ab_sides import CELL, ONE_START, WORKER, no_known_noise, results, side  # noqa: F401


def test_every_start_has_workers_of_its_own(call):
    log = call.folder / "log"
    flags = side("--made-up", "--step-ms 1", f"--log {log}")
    call("ab", "--a", flags, "--b", flags, *CELL, "--starts", "5", "--rounds", "3", code=0)
    (line,) = results(call)
    lines = [text.split() for text in log.read_text().splitlines()]
    hellos = [pid for pid, kind, _ in lines if kind == "hello"]
    assert line["starts"] == 5 and len(set(hellos)) == 10 and line["rounds"] == 15
    # two alive at a time, all closed before the next two begin
    kinds = [kind for _, kind, _ in lines if kind in ("hello", "close")]
    assert kinds == ["hello", "hello", "close", "close"] * 5
    assert line["a"]["blocks"] == 30 and line["lead_in_steps_dropped"] == 60
    path = call.folder / "_bench" / "samples" / line["samples_file"]
    rounds = [json.loads(text) for text in path.read_text().splitlines()]
    assert [each["start"] for each in rounds] == [start for start in range(5) for _ in range(3)]
    assert line["start_log_ratios"] == [0] * 5 and line["start_spread_percent"] == 0


def test_who_is_opened_first_alternates(call):
    log = call.folder / "log"
    sides = [side("--made-up", "--step-ms 1", f"--log {log}", f"--name {name}") for name in "ab"]
    call("ab", "--a", sides[0], "--b", sides[1], *CELL, "--starts", "3", "--rounds", "1")
    lines = [text.split() for text in log.read_text().splitlines()]
    assert "".join(name for name, kind, _ in lines if kind == "open") == "abbaab"


def test_processes_that_differ_are_not_taken_for_sides_that_do(call):
    """Every process is slower by a share of its own: nothing is known of the sides."""
    uneven = side("--made-up", "--step-ms 0.1", "--uneven")
    said = []
    for _ in range(8):
        call("ab", "--a", uneven, "--b", uneven, *CELL, "--starts", "5", "--rounds", "10", "--threshold", "0.1")
        line = results(call)[-1]
        said.append(line["outcome"])
        ratios = line["start_log_ratios"]
        assert len(set(ratios)) == 5 and line["log_ratio"] == pytest.approx(sum(ratios) / 5)
        half = 2.7764451052 * statistics.stdev(ratios) / math.sqrt(5)
        assert line["log_ratio_low"] == pytest.approx(line["log_ratio"] - half, rel=1e-6)
        assert line["log_ratio_high"] == pytest.approx(line["log_ratio"] + half, rel=1e-6)
        assert line["start_spread_percent"] == pytest.approx(100 * math.expm1(statistics.stdev(ratios)))
        # blocks of about 4 ms, in every start as many steps as in the first
        text = (call.folder / "_bench" / "samples" / line["samples_file"]).read_text()
        steps = [json.loads(each)["steps"] for each in text.splitlines()]
        assert set(steps) == {line["steps_per_block"]} and line["a"]["samples"] == 2 * sum(steps)
    # a 95 % interval beyond 0.1 % has a probability of at most 5 %: 4 of 8 of 0.04 %
    assert said.count("undecided") > 4, said
    done = call("ab", "--a", uneven, "--b", uneven, *ONE_START, "--rounds", "10", "--threshold", "0.1")
    line = results(call)[-1]
    assert line["outcome"] != "undecided", "one start is certain of its own two processes"
    assert line["starts"] == 1 and line["start_spread_percent"] is None and "without --starts 1" in done.stdout
    assert line["spread_from"] == "rounds"


def sequential(call, factors, code, starts="10"):
    """B's workers take their factors from the list in turn, A's steps are all alike, and time is no matter: nothing is left to chance."""
    (call.folder / "factors").write_text("\n".join(map(repr, factors)))
    done = call("ab", "--a", side("--made-up", "--step-ms 1"), "--b", side("--made-up", f"--each {call.folder}/factors"), *CELL,
                "--starts", starts, "--max-time", "1h", code=code)
    return done, results(call)[-1]


def spread_about(difference, count=10, apart=0.01):
    """Starts that are on average `difference` apart, alternately 1 % more and less."""
    return [math.exp(math.log1p(difference) + (apart if i % 2 else -apart)) for i in range(count)]


@pytest.mark.parametrize("difference, outcome, starts, rounds", [
    (0.2, "slower", 1, 12), (-0.367, "faster", 1, 12), (0.08, "slower", 2, 26), (0.03, "slower", 6, 78)])
def test_a_larger_difference_is_decided_sooner(call, difference, outcome, starts, rounds):
    """20 % within the first start, in its first 12 rounds; 3 % takes many, of 13 rounds each."""
    done, line = sequential(call, spread_about(difference), code=0)
    assert (line["outcome"], line["starts"], line["rounds"]) == (outcome, starts, rounds), line["looks"]
    assert line["starts_planned"] == 10 and line["reasons"] == []
    assert line["spread_from"] == ("built_in" if starts < 5 else "starts")
    assert ("two processes of a program differ" in done.stdout) == (starts < 5)
    assert (line["looks"][-1]["outcome"], line["looks"][-1]["ratio_percent"]) == (outcome, line["ratio_percent"])
    assert {look["outcome"] for look in line["looks"][:-1]} <= {"undecided"}
    # 0.1 % within the first start; 0.044 (1 / 10)^2 after it
    assert [look["error"] for look in line["looks"][:2]] == pytest.approx([0.001, 0.00044][:len(line["looks"])])
    assert [look["starts"] for look in line["looks"]] == list(range(len(line["looks"])))


def test_looks_have_the_interval_of_their_error(call):
    """From five starts on Student's t and the starts' own spread; before, 1.5 % known with 4 degrees of freedom as well."""
    factors = spread_about(0.012, apart=0.03)
    _, line = sequential(call, factors, code=3)
    logs = [math.log(round(1e6 * factor) / 1e6) for factor in factors]
    assert [look["starts"] for look in line["looks"]] == list(range(11)) and line["starts"] == 10
    assert line["start_log_ratios"] == pytest.approx(logs, abs=1e-9)
    for look in line["looks"][1:]:
        seen = logs[:look["starts"]]
        freedom, squares = len(seen) - 1, sum((x - statistics.mean(seen))**2 for x in seen)
        if len(seen) < 5:
            freedom, squares = freedom + 4, squares + 4 * 0.015**2
        half = stats.t.isf(look["error"] / 2, freedom) * math.sqrt(squares / freedom / len(seen))
        middle = statistics.mean(seen)
        assert look["ratio_percent_low"] == pytest.approx(100 * math.expm1(middle - half), abs=1e-6)
        assert look["ratio_percent_high"] == pytest.approx(100 * math.expm1(middle + half), abs=1e-6)
    reasons = line["reasons"]
    assert [reason["code"] for reason in reasons] == ["precision_not_met", "straddles_threshold"]
    assert "10 starts" in reasons[0]["text"] and "--starts" in reasons[0]["text"]
    assert (line["ratio_percent_low"], line["ratio_percent_high"]) == (line["looks"][-1]["ratio_percent_low"], line["looks"][-1]["ratio_percent_high"])


def test_equal_sides_are_the_same_once_five_starts_are_alike(call):
    _, line = sequential(call, [1], code=0)
    assert (line["outcome"], line["starts"], line["rounds"], line["reasons"]) == ("same", 5, 65, [])


def test_at_most_so_many_starts(call):
    _, line = sequential(call, spread_about(0.012), starts="3", code=3)
    assert line["starts"] == line["starts_planned"] == 3 and line["looks"][-1]["error"] > 0.03


def test_fewer_starts_where_starting_is_dear(call):
    """Each worker takes 600 ms to open: two are more than the second start may take. A slower machine only adds to that."""
    slow = side("--made-up", "--open-ms 600")
    done = call("ab", "--a", slow, "--b", slow, *CELL, "--max-time", "1s", code=3)
    line, = results(call)
    assert line["starts"] == line["starts_planned"] == 1 and line["prepare_ms"] >= 1200
    assert line["reasons"][0]["code"] == "precision_not_met" and "preparing one takes" in line["reasons"][0]["text"]
    first, second = done.stderr.splitlines()[:2]
    assert "started: at most 20 starts, 1.0s of rounds" in first and "preparing took" in second and "1 start, at most 1.0s" in second
    # and a large difference is decided all the same
    call("ab", "--a", slow, "--b", side("--made-up", "--open-ms 600", "--step-ms 0.63"), *CELL, "--max-time", "1s", code=0)
    line = results(call)[-1]
    assert (line["outcome"], line["starts"], line["starts_planned"]) == ("faster", 1, 1)


@pytest.mark.parametrize("is_b", [False, True])
def test_a_side_that_fails_in_a_later_start(call, is_b, tmp_path):
    """The third worker of that side dies in its rounds; the first starts' results stay."""
    count = tmp_path / "count"
    script = tmp_path / "dies.sh"
    script.write_text(f"""#!/bin/sh
echo x >>'{count}'
[ $(wc -l <'{count}') -lt 3 ] || exec python3 '{WORKER}' --made-up --exit-at 5
exec python3 '{WORKER}' --made-up
""")
    bad, good = f"--engine \"exec:sh '{script}'\"", side("--made-up")
    call("ab", "--a", good if is_b else bad, "--b", bad if is_b else good, *CELL, "--starts", "5", "--rounds", "4", code=3)
    (line,) = results(call)
    name = "b" if is_b else "a"
    assert line["starts"] == 2 and line["rounds"] >= 8 and line["outcome"] == "undecided"
    assert line["reasons"][0]["code"] == f"{name}_failed" and line[name]["verdict"] == "crashed"
    assert line["a" if is_b else "b"]["verdict"] == "ok"

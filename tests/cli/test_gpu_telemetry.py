"""What records of GPU cells say of the card, by a library that stands for NVIDIA's; and that every field that a machine
cannot give is null with its reason."""
import json
import os

import pytest

from caller import TOKMARK, Caller, worker

CARD = """driver 550.54.15
cuda 12040
count 1
0.name NVIDIA H100 80GB HBM3
0.bus_id 00000000:1B:00.0
0.memory_total 85520809984
0.memory_used 2147483648
0.sm_max_mhz 1980
0.sm_mhz 1755
0.memory_mhz 2619
0.temperature_c 61
0.power_mw 400000
0.power_average_mw 111000
0.throttle 0x4
0.process0 1 1073741824
"""
SECONDS, STEP_MS = 3.0, 20
RUN = ["run", "--engine", worker(f"--step-ms {STEP_MS}"), "--device", "cuda:0", "--mode", "infer", "--seq", "16", "--batch", "2",
       "--steps", str(int(SECONDS * 1000 / STEP_MS)), "--warmup", "2"]
CLOCKS = ("gpu_sm_mhz", "gpu_sm_mhz_min", "gpu_memory_mhz", "gpu_temperature_c", "gpu_throttle", "gpu_samples", "gpu_sample_gap_ms",
          "gpu_used_mb", "gpu_process_mb", "gpu_other_processes")
ENERGY = ("energy_j", "energy_source", "energy_counter_j", "energy_integrated_j", "energy_above_idle_j", "power_w", "power_max_w",
          "power_idle_w", "joules_per_token", "tokens_per_joule")


def environment(folder, text, kind="new"):
    (folder / "card.txt").write_text(text, encoding="utf-8")
    return {"LD_LIBRARY_PATH": os.path.join(os.path.dirname(TOKMARK), "fake_nvml", kind),
            "TOKMARK_FAKE_NVML": str(folder / "card.txt")}


def events_of(folder, name):
    with open(folder / "_bench/events.jsonl", encoding="utf-8") as lines:
        return [event for event in map(json.loads, lines) if event["event"] == name]


def record_of(folder, text, *more, kind="new", run=None):
    call = Caller(folder)
    call(*(run or RUN), *more, env=environment(folder, text, kind), code=0)
    return call.records()[-1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("card")


@pytest.fixture(scope="module")
def record(folder):
    return record_of(folder, CARD, "--price-per-kwh", "0.36", "--price-per-hour", "7.2")


def test_clocks_and_memory_are_those_of_the_card(record):
    assert record["environment"]["gpu"]["cards"][0]["name"] == "NVIDIA H100 80GB HBM3"
    assert (record["gpu_sm_mhz"], record["gpu_sm_mhz_min"], record["gpu_memory_mhz"]) == (1755, 1755, 2619)
    assert record["gpu_temperature_c"] == 61
    assert record["gpu_throttle"] == {"sw_power_cap": 100.0}
    assert record["gpu_used_mb"] == 2048
    assert not [warning for warning in record["warnings"] if warning["code"] == "throttled"], "a limit on power is no fault"


def test_who_looks_on_is_told_of_the_card(record, folder):
    assert record["verdict"] == "ok"
    told = [event for event in events_of(folder, "telemetry") if "power_w" in event]
    assert 1 <= len(told) <= SECONDS * 2 + 1
    for event in told:
        gauges = {key: event[key] for key in ("gpu_sm_mhz", "gpu_temperature_c", "gpu_used_mb", "power_w")}
        assert (gauges, event["null_reasons"]) == ({"gpu_sm_mhz": 1755, "gpu_temperature_c": 61, "gpu_used_mb": 2048, "power_w": 400}, {})


def test_it_is_looked_at_ten_times_a_second_at_most(record):
    assert 5 <= record["gpu_samples"] <= 10 * SECONDS * 2 + 2  # the machine may be slow, never fast
    assert record["gpu_sample_gap_ms"] >= 90


def test_a_process_that_the_driver_does_not_list_is_not_known(record):
    for field in ("gpu_process_mb", "gpu_other_processes"):
        assert record[field] is None
        assert record["null_reasons"][field] == "not_listed"


def test_energy_is_power_times_time(record):
    assert record["energy_source"] == "nvml_counter"
    assert record["power_max_w"] == record["power_idle_w"] == 400
    assert record["power_w"] == pytest.approx(400, rel=0.05)
    assert record["energy_counter_j"] == pytest.approx(record["energy_integrated_j"], rel=0.05)
    assert record["energy_j"] >= 0.95 * 400 * SECONDS
    assert abs(record["energy_above_idle_j"]) < 0.05 * record["energy_j"], "it does as much when idle"


def test_tokens_of_the_whole_span_are_behind_a_token_s_energy(record):
    tokens = (record["steps"] + record["steps_set_aside"]) * record["tokens_per_step"]
    assert record["joules_per_token"] == pytest.approx(record["energy_j"] / tokens)
    assert record["tokens_per_joule"] == pytest.approx(1 / record["joules_per_token"])
    energy = record["joules_per_token"] / 3.6e6 * 0.36
    assert record["price_per_million_tokens"] == pytest.approx(1e6 * (energy + 7.2 / 3600 / record["tokens_per_sec"]))


SHORT = [word if word != RUN[-3] else "5" for word in RUN]


def test_a_short_span_says_nothing_of_energy(tmp_path):
    record = record_of(tmp_path, CARD, "--price-per-kwh", "1", run=SHORT)
    for field in ("energy_j", "energy_counter_j", "energy_integrated_j", "joules_per_token", "price_per_million_tokens"):
        assert (field, record[field], record["null_reasons"][field]) == (field, None, "too_short")
    assert record["gpu_sm_mhz"] == 1755


def test_heat_is_a_warning(tmp_path):
    record = record_of(tmp_path, CARD.replace("0x4", "0x44"), run=SHORT)
    assert set(record["gpu_throttle"]) == {"sw_power_cap", "hw_thermal"}
    assert "hw_thermal" in next(warning["text"] for warning in record["warnings"] if warning["code"] == "throttled")


@pytest.mark.parametrize("kind", ["new", "old"])
def test_what_a_card_does_not_tell_is_null_with_its_reason(tmp_path, kind):
    record = record_of(tmp_path, "count 1\n0.name Tesla K80\n0.sm_mhz !4\n0.temperature_c !15\n", kind=kind, run=SHORT)
    reasons = {field: record["null_reasons"].get(field) for field in CLOCKS + ENERGY if record[field] is None}
    assert set(reasons) == set(CLOCKS + ENERGY) - {"gpu_samples", "gpu_sample_gap_ms", "gpu_used_mb"} | {"gpu_used_mb"}
    assert reasons["gpu_sm_mhz"] == "no_permission"
    assert reasons["gpu_temperature_c"] == "driver_failed"
    assert reasons["gpu_throttle"] == reasons["energy_j"] == "not_supported"


def test_who_looks_on_is_told_what_a_card_does_not_tell(tmp_path):
    run = [word if word != RUN[-3] else "150" for word in RUN]  # three seconds: lines of the machine come a second apart
    record_of(tmp_path, "count 1\n0.name Tesla K80\n0.sm_mhz !4\n0.temperature_c !15\n", run=run)
    told = [event for event in events_of(tmp_path, "telemetry") if "power_w" in event]
    assert told and told[-1]["gpu_sm_mhz"] is None and told[-1]["power_w"] is None
    reasons = told[-1]["null_reasons"]
    assert (reasons["gpu_sm_mhz"], reasons["gpu_temperature_c"], reasons["power_w"]) == ("no_permission", "driver_failed", "not_supported")
    shown = Caller(tmp_path)("hud", "_bench", "--once", code=0)
    assert "ENDED" in shown.stdout


@pytest.mark.parametrize("text, reason", [("init !9\n", "no_driver"), ("init !999\n", "driver_failed"), ("count 0\n", "device_not_known"),
                                          ("count 2\n", "device_not_known")])
def test_a_card_that_cannot_be_asked_is_a_reason(tmp_path, text, reason):
    record = record_of(tmp_path, text, run=SHORT)
    assert {record["null_reasons"][field] for field in CLOCKS + ENERGY} == {reason}


def test_of_several_cards_the_worker_says_which(tmp_path):
    (tmp_path / "ready.json").write_text('{"all": {"device_bus": "0000:3b:00.0"}}', encoding="utf-8")
    run = [word if not word.startswith("exec:") else worker("--step-ms 5 --ready ready.json") for word in SHORT]
    text = CARD.replace("count 1", "count 2") + "1.name B\n1.bus_id 00000000:3B:00.0\n1.sm_mhz 1234\n"
    assert record_of(tmp_path, text, run=run)["gpu_sm_mhz"] == 1234


def test_cells_on_the_cpu_have_no_card(tmp_path):
    record = record_of(tmp_path, CARD, "--mode", "infer", run=["run", "--engine", "null", "--steps", "20", "--warmup", "2"])
    assert {record["null_reasons"][field] for field in CLOCKS} == {"on_cpu"}
    if record["energy_j"] is None:
        assert record["null_reasons"]["energy_j"] in ("no_rapl", "no_permission", "too_short")
    assert record["null_reasons"]["price_per_million_tokens"] == "no_price"


def test_an_hour_s_price_needs_no_energy(tmp_path):
    record = record_of(tmp_path, CARD, "--mode", "infer", "--price-per-hour", "3.6", run=["run", "--engine", worker("--step-ms 2"), "--steps", "20",
                                                                                          "--warmup", "2"])
    assert record["price_per_million_tokens"] == pytest.approx(1e6 * 0.001 / record["tokens_per_sec"])


# --- several cards --------------------------------------------------------------------------------

SECOND = CARD.split("count 1\n")[1].replace("0.", "1.", 1).replace("\n0.", "\n1.")
TWO = CARD.replace("count 1", "count 2") + (
    SECOND.replace(":1B:", ":3B:").replace("1.power_mw 400000", "1.power_mw 150000").replace("1755", "1200").replace("1.temperature_c 61", "1.temperature_c 77")
    .replace("2147483648", "4294967296").replace("1.throttle 0x4", "1.throttle 0x0")
)
ON_TWO = ["--devices", "cuda:0-1", "--parallel", "ddp"]


def run_two(folder, text, ready, run=None):
    """ready: what the worker says of its devices."""
    (folder / "ready.json").write_text(json.dumps({"all": ready}), encoding="utf-8")
    words = [word if not word.startswith("exec:") else worker(f"--step-ms {STEP_MS} --ready ready.json") for word in run or RUN]
    at = words.index("--device")
    return record_of(folder, text, run=words[:at] + ON_TWO + words[at + 2 :])


BUSES = {"device_bus": "0000:3b:00.0,0000:1b:00.0"}


def test_energy_of_two_cards_is_that_of_both(tmp_path):
    record = run_two(tmp_path, TWO, BUSES)
    assert record["devices_count"] == 2 and record["device_bus"] == BUSES["device_bus"]
    assert record["power_idle_w"] == 550
    assert record["power_w"] == pytest.approx(550, rel=0.05)
    assert record["energy_counter_j"] == pytest.approx(record["energy_integrated_j"], rel=0.05)
    assert record["energy_source"] == "nvml_counter"
    assert abs(record["energy_above_idle_j"]) < 0.05 * record["energy_j"]
    assert record["joules_per_token"] * record["tokens_per_joule"] == pytest.approx(1)
    assert record["gpu_sm_mhz"] == pytest.approx((1755 + 1200) / 2, rel=0.05)
    assert (record["gpu_sm_mhz_min"], record["gpu_temperature_c"], record["gpu_used_mb"]) == (1200, 77, 4096)
    assert record["gpu_throttle"] == {"sw_power_cap": pytest.approx(50, abs=5)}
    for field in ("gpu_process_mb", "gpu_other_processes", "power_max_w"):
        assert (record[field], record["null_reasons"][field]) == (None, "several_devices")
    told = [event for event in events_of(tmp_path, "telemetry") if event.get("power_w")]
    assert {key: told[-1][key] for key in ("gpu_sm_mhz", "gpu_temperature_c", "gpu_used_mb", "power_w")} == {
        "gpu_sm_mhz": 1200, "gpu_temperature_c": 77, "gpu_used_mb": 4096, "power_w": 550}


@pytest.mark.parametrize("mute", ["0", "1"])
def test_what_one_of_two_cards_does_not_tell_is_told_of_none(mute, tmp_path):
    text = "".join(line for line in TWO.splitlines(True) if not line.startswith((f"{mute}.power", f"{mute}.throttle"))) + f"{mute}.sm_mhz !4\n"
    record = run_two(tmp_path, text, BUSES, SHORT)
    for field in ("energy_j", "energy_counter_j", "power_idle_w", "energy_above_idle_j", "gpu_throttle", "power_w"):
        assert (field, record[field]) == (field, None)
    assert record["null_reasons"]["power_idle_w"] == record["null_reasons"]["gpu_throttle"] == "not_supported"
    assert record["null_reasons"]["gpu_sm_mhz"] == record["null_reasons"]["gpu_sm_mhz_min"] == "no_permission"
    assert record["gpu_memory_mhz"] == 2619


@pytest.mark.parametrize("ready, reason", [
    ({"device_bus": "0000:3b:00.0"}, "device_not_known"), ({"device_bus": "0000:3b:00.0,0000:99:00.0"}, "device_not_known"),
    ({**BUSES, "hosts_count": 2}, "other_hosts"),
])
def test_cards_that_are_not_all_known_say_nothing(ready, reason, tmp_path):
    record = run_two(tmp_path, TWO, ready, SHORT)
    assert {record["null_reasons"][field] for field in CLOCKS + ENERGY} == {reason}

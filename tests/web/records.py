"""Records of a sweep that never was, for reports: made here, so that the tests know every number."""
import hashlib
import json

HOSTILE = "</script><script>window.pwned=1</script>\"'<b>&amp;`|*_[x](javascript:alert(1))"
PARTS = {"weights": 40.0, "gradients": 40.0, "optimizer": 80.0, "activations": 20.0, "kv_cache": 0.0, "workspace": 5.0,
         "other": None}


def record(**changes):
    """One record; ids follow from what was measured."""
    made = {"framework": "native", "device": "cpu", "precision": "fp32", "mode": "train", "seq_len": 128, "batch_size": 1,
            "steps": 30, "tokens_per_step": 128, "ms_per_step": 2.5, "tokens_per_sec": 51200.0, "mem_alloc_mb": None,
            "mem_reserved_mb": None, "peak_mem_mb": 100.0, "params_millions": 1.5, "notes": "", "schema": 1, "run_id": "r1",
            "policy_id": "hfedcba9876543210", "trial": 0, "started_at": "2026-01-02T03:04:05.678Z", "verdict": "ok",
            "reasons": [], "warnings": [], "synthetic": False, "environment_id": "h00000000000000aa",
            "environment": {"cpu": {"model": "Test CPU", "cpus_usable": 2}, "memory": {"total_bytes": 8589934592}},
            "engine_version": "1", "samples": 100, "ms_p50": 2.5, "ms_p50_low": 2.49, "ms_p50_high": 2.51,
            "tokens_per_sec_low": 51000.0, "tokens_per_sec_high": 51400.0, "model": "tiny", "mem_predicted_mb": 90.5,
            "mem_parts_mb": PARTS, "step_flops": 1e9, "loss_first": 8.5, "loss_last": 7.25}
    made.update(changes)
    what = [made[key] for key in ("framework", "device", "precision", "mode", "seq_len", "batch_size", "model")]
    made.setdefault("cell_id", "h" + hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16])
    return made


def failed(verdict, code, text, **changes):
    nothing = ("tokens_per_sec", "tokens_per_sec_low", "tokens_per_sec_high", "ms_p50", "ms_p50_low", "ms_p50_high", "ms_per_step",
               "peak_mem_mb", "loss_first", "loss_last")
    return record(verdict=verdict, reasons=[{"code": code, "text": text}], **dict.fromkeys(nothing), **changes)


def sweep(models=("tiny",), engines=("native",), seqs=(128, 256, 512), batches=(1, 4), speed=1.0, **changes):
    """Modes, precisions and shapes; the largest training cells do not fit."""
    made = []
    for model in models:
        for engine in engines:
            for mode in ("train", "infer", "decode"):
                for precision in ("fp32", "bf16"):
                    for seq in seqs:
                        for batch in batches:
                            what = {"model": model, "framework": engine, "mode": mode, "precision": precision, "seq_len": seq,
                                    "batch_size": batch, **changes}
                            if mode == "train" and seq == max(seqs) and batch == max(batches):
                                made.append(failed("oom", "memory_does_not_fit", "it needs 12 GiB, and 8 GiB are there",
                                                   mem_needed_bytes=12 * 2**30, mem_available_bytes=8 * 2**30, **what))
                                continue
                            rate = speed * 1000 * batch**0.5 * (2 if precision == "bf16" else 1)
                            ms = 1000 * batch * (1 if mode == "decode" else seq) / rate
                            made.append(record(tokens_per_sec=rate, tokens_per_sec_low=rate * 0.99, tokens_per_sec_high=rate * 1.01,
                                               ms_p50=ms, ms_p50_low=ms * 0.99, ms_p50_high=ms * 1.01, ms_per_step=ms,
                                               peak_mem_mb=100.0 + seq * batch / 8, **what))
    return made


def metered(**changes):
    """A cell on a card, of which utilization, energy and memory are known by all who tell them."""
    return record(device="cuda:0", **{"mfu_percent": 40.0, "mfu_datasheet_percent": 28.0, "bandwidth_percent": None, "bandwidth_datasheet_percent": None,
                                      "power_w": 600.0, "joules_per_token": 0.005, "mem_alloc_mb": 80.0, "mem_reserved_mb": 110.0, "rss_peak_mb": None,
                                      "gpu_process_mb": 150.0, "gpu_used_mb": 160.0, **changes})


def metered_sweep():
    """The longer, the nearer to the peak, and the more energy a token; of decode the bandwidth is known."""
    made = [metered(seq_len=seq, mfu_percent=seq / 16, mfu_datasheet_percent=seq / 32, joules_per_token=seq / 1e5) for seq in (128, 256, 512)]
    return made + [metered(mode="decode", seq_len=seq, mfu_percent=0.5, mfu_datasheet_percent=0.4, bandwidth_percent=60.0 + seq / 128,
                           bandwidth_datasheet_percent=50.0, joules_per_token=0.25, loss_first=None, loss_last=None) for seq in (128, 256)]


def trained(folder, run_id, curves):
    """Lines of `tokmark stability`, with the keys that a report looks at."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "stability.jsonl", "a", encoding="utf-8") as out:
        for (engine, precision), losses in curves.items():
            out.write(json.dumps({"schema": 1, "run_id": run_id, "engine": engine, "precision": precision, "losses": losses}) + "\n")


def write(folder, records):
    folder.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(one) + "\n" for one in records)
    (folder / "bench_results.jsonl").write_text(text, encoding="utf-8")
    return folder

#!/usr/bin/env python3
"""Writes many results records to read: those of a real results file again and again, with other values.

    bench/reader_data.py RESULTS.jsonl OUT.jsonl --records 1000000

Every number that a measurement gives, every id and every time of start differs from line to line; words, the machine's
description and the reasons of nulls stay those of the record that the line is made from, as in a sweep.
"""
import argparse
import json
import random

IDS = {"run_id", "cell_id", "policy_id", "environment_id", "history_id", "data_hash"}
CHUNK = 2000


def slots(record):
    """The record's line in pieces: texts that stay, and functions that give what changes."""
    pieces = []
    text = "{"
    for number, (name, value) in enumerate(record.items()):
        text += f"{',' if number else ''}{json.dumps(name)}:"
        make = maker(name, value)
        if make is None:
            text += json.dumps(value, separators=(",", ":"), ensure_ascii=False)
        else:
            pieces.append(text)
            pieces.append(make)
            text = ""
    pieces.append(text + "}\n")
    return pieces


def maker(name, value):
    if isinstance(value, bool):
        return None
    if name in IDS and isinstance(value, str):
        return lambda: f'"{random.getrandbits(64):016x}"'
    if name == "started_at":
        return lambda: (f'"2026-{random.randint(1, 12):02d}-{random.randint(1, 28):02d}T{random.randint(0, 23):02d}:'
                        f'{random.randint(0, 59):02d}:{random.randint(0, 59):02d}.{random.randint(0, 999):03d}Z"')
    if isinstance(value, float) and value != 0:
        return lambda: repr(value * (0.5 + random.random()))
    if isinstance(value, int) and name not in ("schema", "seq_len", "batch_size", "params_total", "params_active"):
        return lambda: str(random.randint(0, 2 * value + 1))
    if name == "expert_tokens" and value:
        return lambda: "[" + ",".join(str(random.randint(0, 2 * n + 1)) for n in value) + "]"
    return None


def write(source, path, count):
    with open(source, encoding="utf-8") as lines:
        templates = [slots(json.loads(line)) for line in lines]
    random.seed(12)
    with open(path, "w", encoding="utf-8") as out:
        while count > 0:
            # A sweep has many records of one kind behind each other.
            template = random.choice(templates)
            part = min(count, CHUNK // len(templates) + 1)
            for _ in range(part):
                out.write("".join([piece if isinstance(piece, str) else piece() for piece in template]))
            count -= part


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("out")
    parser.add_argument("--records", type=int, default=1_000_000)
    options = parser.parse_args()
    write(options.source, options.out, options.records)


if __name__ == "__main__":
    main()

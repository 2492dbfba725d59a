#!/bin/sh
# What `tokmark` says of an NVIDIA card, beside nvidia-smi and bare PyTorch, from the archive of `make dist`; under 4 minutes.
# Results go to $OUT; the exit code is the number of checks that failed.
#   bench/gpu_telemetry.sh [SECONDS]     how long the cell is measured whose energy is compared; 60
set -u
cd "$(dirname "$0")/.."
: "${OUT:?a folder for results}"
python=${PYTHON:-python3}
program=${TOKMARK_BINARY:-$(ls -d "$PWD"/dist/tokmark-*-linux-*/bin | tail -n 1)/tokmark}
export TOKMARK_PYTHON="$python" XDG_DATA_HOME="$OUT/data"
seconds=${1:-60}
matrix="$OUT/environment_matrix.yaml"
cat >"$matrix" <<'YAML'
hardware:
  gpu: ["A100 80GB", "RTX 4090 24GB", "T4 16GB", "CPU-only"]
software:
  torch: ">=2.2"
  cuda: ">=12.1"
  jax: ">=0.4.30"
  python: ">=3.10"
YAML
"$program" env --matrix "$matrix" | tee "$OUT/env.txt"
"$program" env --format json >"$OUT/env.json"
if "$program" peak --help >/dev/null 2>&1; then
    "$program" peak --engine pytorch --device cuda:0 --format json | tee "$OUT/peak.json"
    "$program" peak --device cpu
fi
nvidia-smi --query-gpu=power.draw.instant,clocks.sm,clocks.mem,temperature.gpu,memory.used --format=csv,noheader,nounits -i 0 -lms 100 \
    >"$OUT/smi.csv" &
smi=$!
"$program" run --engine pytorch --device cuda:0 --model superintelligence-1b --mode infer --precision bf16 --seq 2048 --batch 8 \
    --target-ci 0.01 --max-time "${seconds}s" --price-per-kwh 0.30 --price-per-hour 3 --matrix "$matrix" --out "$OUT/_telemetry"
kill $smi
"$program" run --engine pytorch --device cuda:0 --model bench/matmul_model.py:Product --mode infer --precision bf16-pure --seq 2048 --batch 8 \
    --steps 200 --out "$OUT/_telemetry"
cp "$OUT/_telemetry/bench_results.jsonl" "$OUT/telemetry.jsonl"
rm -rf "$OUT/_telemetry"
"$python" bench/gpu_telemetry.py "$OUT"

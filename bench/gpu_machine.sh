#!/bin/sh
# What is measured on a machine with an NVIDIA GPU and PyTorch, from the archive of `make dist`; results go to $OUT.
#   bench/gpu_machine.sh sweep    the published sweep with the 10,333 M model: ok where it fits, oom where not
#   bench/gpu_machine.sh bare     the worker beside a bare loop; routed beside published experts
#   bench/gpu_machine.sh check    engines against each other on the same weights and tokens
set -u
cd "$(dirname "$0")/.."
: "${OUT:?a folder for results}"
python=${PYTHON:-python3}
program=$(ls -d "$PWD"/dist/tokmark-*-linux-*/bin | tail -n 1)
export TOKMARK_PYTHON="$python"
for part in "$@"; do
    case $part in
    sweep)
        date -u +"%T sweep begins"
        "$program/bench_pytorch" --device cuda:0 --seq 128 512 2048 --batch 8 32 --precision bf16 --steps 50 --out "$OUT/_bench"
        echo "exit code $?"
        date -u +"%T sweep ends"
        cp "$OUT/_bench/bench_results.jsonl" "$OUT/sweep.jsonl"
        rm -rf "$OUT/_bench"
        ;;
    bare)
        "$python" bench/pytorch_bare.py --no-moe --steps "${STEPS:-40}" --rounds "${ROUNDS:-6}" --json "$OUT/bare.json"
        "$python" bench/pytorch_bare.py --no-moe --steps "${STEPS:-40}" --rounds 3 --bare-gc off --json "$OUT/bare_gc_off.json"
        ;;
    experts)
        "$python" bench/pytorch_bare.py --cells superintelligence-1b:8x512 --steps 20 --rounds 3 --json "$OUT/experts.json"
        ;;
    check)
        "$program/tokmark" check --engines native,pytorch --device cuda:0 --precision fp32 bf16 --out "$OUT/check"
        ;;
    *)
        echo "gpu_machine.sh: no part '$part'; there are sweep, bare, experts, check" >&2
        exit 2
        ;;
    esac
done

#!/bin/sh
# Several cards of one machine, from the archive of `make dist`; results go to $OUT (docs/parallel.md, docs/results.md).
#   bench/gpu_parallel.sh small    gpt2-124m over all layouts: do they run?
#   bench/gpu_parallel.sh default  the published default model, trained over two cards
#   bench/gpu_parallel.sh scaling  one card and two, weak and strong, and the share of communication (MODELS, LAYOUTS)
#   bench/gpu_parallel.sh jax      JAX over all layouts: the same numbers as on one card, and times (PYTHON: one with jax and optax)
#   bench/gpu_parallel.sh products four cards: products of layouts, the same numbers as on one device, times and memory (DEVICES=cuda:0-3)
#   bench/gpu_parallel.sh variants ways to lay the default model out with fully_shard, and where a step's time goes
#   bench/gpu_parallel.sh train    how it is trained: recomputed, in parts, moments in bf16
#   bench/gpu_parallel.sh bare     beside a bare torchrun loop
#   bench/gpu_parallel.sh together  the worker's steps and a bare loop's in the same processes, in turns
#   bench/gpu_parallel.sh package  the same of a package in the published form, of the default sizes
#   bench/gpu_parallel.sh published  a package in the published form, of the default sizes, beside a bare fully_shard loop
#   bench/gpu_parallel.sh jaxbare  JAX beside a bare loop over the same mesh
set -u
cd "$(dirname "$0")/.."
: "${OUT:?a folder for results}"
python=${PYTHON:-python3}
program=$(ls -d "$PWD"/dist/tokmark-*-linux-*/bin | tail -n 1)
export TOKMARK_PYTHON="$python"
devices=${DEVICES:-cuda:0-1}
for part in "$@"; do
    date -u +"%T $part"
    case $part in
    small)
        timeout 150 "$program/tokmark" run --engine pytorch --model gpt2-124m --model-source builtin --devices "$devices" --parallel ddp fsdp --mode train infer \
            --precision bf16 --seq 512 --batch 16 --steps 20 --out "$OUT/small" --progress never
        ;;
    default)
        timeout 300 "$program/bench_pytorch" --model superintelligence --model-source builtin --devices "$devices" --parallel fsdp --mode train --seq 128 512 --batch 8 \
            --precision bf16 --steps 20 --out "$OUT/default" --progress never
        ;;
    jax)
        for layout in ddp fsdp tp ep; do
            timeout 200 "$program/tokmark" check --engines native,jax --model superintelligence-tiny --device "jax=$devices" --parallel $layout \
                --precision fp32 bf16 --train-steps 2 --out "$OUT/jax-check"
        done
        timeout 300 "$program/tokmark" run --engine jax --model superintelligence-1b --devices "$devices" --parallel ddp fsdp tp ep --mode train infer \
            --precision bf16 --seq 512 --batch 16 --steps 20 --out "$OUT/jax" --progress never
        timeout 200 "$program/tokmark" run --engine jax --model gpt2-124m --devices "$devices" --parallel ddp fsdp tp --mode train \
            --precision bf16 --seq 512 --batch 16 --steps 20 --out "$OUT/jax" --progress never
        ;;
    products)
        for layout in ddp:2,fsdp:2 ddp:2,tp:2 ddp:2,ep:2 fsdp:2,tp:2 fsdp:2,ep:2; do
            timeout 120 "$program/tokmark" check --engines native,pytorch --model superintelligence-tiny --device "pytorch=$devices" \
                --parallel $layout --batch 4 --precision fp32 bf16 --train-steps 2 --out "$OUT/products-check"
        done
        timeout 400 "$program/tokmark" run --engine pytorch --model superintelligence-1b --model-source builtin --devices "$devices" --parallel ddp fsdp tp ep \
            ddp:2,fsdp:2 ddp:2,tp:2 ddp:2,ep:2 fsdp:2,tp:2 fsdp:2,ep:2 --mode train --precision bf16 --seq 512 --batch 16 --steps 20 --out "$OUT/products" --progress never
        ;;
    variants)
        timeout 400 "$python" -m torch.distributed.run --standalone --nproc-per-node 2 bench/fsdp_variants.py --model superintelligence --cells 8x128 --steps 8 \
            --profile ahead
        timeout 180 "$python" -m torch.distributed.run --standalone --nproc-per-node 2 bench/fsdp_variants.py --model superintelligence --cells 8x512 --steps 8 \
            --variants ahead kept
        ;;
    train)
        for words in "--recompute full" "--accumulate 4" "--recompute full --optimizer-dtype bf16"; do
            # shellcheck disable=SC2086 # words
            timeout 200 "$program/bench_pytorch" --model superintelligence --model-source builtin --devices "$devices" --parallel fsdp --mode train --seq 512 --batch 32 \
                --precision bf16 --steps 10 $words --out "$OUT/train" --progress never
        done
        timeout 200 "$program/bench_pytorch" --model superintelligence --model-source builtin --devices "$devices" --parallel fsdp --mode train --seq 2048 --batch 32 \
            --precision bf16 --steps 5 --recompute full --accumulate 4 --out "$OUT/train" --progress never
        ;;
    scaling)
        for model in ${MODELS:-gpt2-124m superintelligence-1b}; do
            layouts="ddp fsdp tp"
            [ "$model" = gpt2-124m ] || layouts="$layouts ep"
            layouts=${LAYOUTS:-$layouts}
            echo "$model"
            # shellcheck disable=SC2086 # words
            timeout 400 "$python" bench/parallel_bare.py --program "$program/tokmark" --devices "$devices" --precision bf16 --model "$model" --cells 16x512 --steps 15 \
                --layouts $layouts --scaling
        done
        ;;
    bare)
        # so much work that no host is the limit: the same start then gives the same step
        timeout 500 "$python" bench/parallel_bare.py --program "$program/tokmark" --devices "$devices" --precision bf16 --model superintelligence-1b --cells 32x1024 \
            --steps 15 --rounds "${ROUNDS:-2}"
        ;;
    together)
        # shellcheck disable=SC2086 # words
        timeout 300 "$python" bench/parallel_together.py --devices "$devices" --precision bf16 --model superintelligence-1b --cells 32x1024 --layouts ${LAYOUTS:-ddp fsdp} \
            --rounds "${ROUNDS:-30}"
        ;;
    package)
        timeout 500 "$python" bench/parallel_together.py --devices "$devices" --precision bf16 --published 10b --layouts fsdp --cells 8x128 8x512 --steps 2 --rounds "${ROUNDS:-30}"
        ;;
    published)
        timeout 500 "$python" bench/parallel_bare.py --program "$program/tokmark" --devices "$devices" --precision bf16 --published 10b --cells ${CELLS:-8x512 8x128} \
            --layouts fsdp --steps 6 --rounds "${ROUNDS:-2}"
        ;;
    jaxbare)
        for layout in ${LAYOUTS:-ddp fsdp}; do
            timeout 240 "$python" bench/jax_bare.py --no-moe --device "$devices" --parallel $layout --modes train --cells gpt2-124m:32x1024 --steps 15 --rounds "${ROUNDS:-4}"
        done
        ;;
    esac
    echo "exit code $?"
done

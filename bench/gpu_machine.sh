#!/bin/sh
# What is measured on a machine with an NVIDIA GPU and PyTorch, from the archive of `make dist`; results go to $OUT.
#   bench/gpu_machine.sh sweep    the published sweep with the 10,333 M model: ok where it fits, oom where not
#   bench/gpu_machine.sh bare     the worker beside a bare loop; routed beside published experts
#   bench/gpu_machine.sh published  the published command, whole, beside a script in the published form
#   bench/gpu_machine.sh compiled a model whose layers their author compiled, the worker beside a bare loop
#   bench/gpu_machine.sh peak     training's peak of memory beside a bare loop's
#   bench/gpu_machine.sh jax jaxbare   the same for JAX: a sweep of the 971 M model; the worker beside a bare loop
#   bench/gpu_machine.sh table    PyTorch (eager, compiled) and JAX on the same cells, interleaved
#   bench/gpu_machine.sh answer   time to answer: 2000 steps beside stopping by precision
#   bench/gpu_machine.sh ab_compile   torch.compile off against default in one `tokmark ab` of 20 s: decided in its time?
#   bench/gpu_machine.sh results  the card's peak, then the published sweep with the 971 M model: a table in Markdown with clocks, power, energy,
#                                 utilization and memory by source; under 10 minutes
#   bench/gpu_machine.sh fit      the largest batch of the 971 M model at 2048 tokens, train, bf16: found in under 3 minutes, and the next one fails
#   bench/gpu_machine.sh stability   200 steps of the 190 M model in fp32 and bf16, PyTorch and JAX, the same weights and text
#   bench/gpu_machine.sh profile  where a training step's time goes, PyTorch and JAX
#   bench/gpu_machine.sh repeats  twelve repeats of three cells: does the interval that a run prints hold the next run's median? About 12 minutes;
#                                 REPEATS names the folder where they are gathered: the same call goes on where one was cut off
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
    published)
        "$python" bench/published_wall.py --program "$program" --rounds "${ROUNDS:-2}"
        ;;
    compiled)
        "$python" bench/pytorch_bare.py --cells compiled-layers:8x512 --precision bf16 --steps "${STEPS:-60}" --rounds "${ROUNDS:-8}" --json "$OUT/compiled.json"
        ;;
    results)
        fields=mode,seq_len,batch_size,verdict,ms_p50,tokens_per_sec,mfu_causal_percent,mfu_datasheet_percent
        fields=$fields,gpu_sm_mhz,gpu_memory_mhz,gpu_temperature_c,power_w,power_idle_w,energy_j,energy_source,joules_per_token
        fields=$fields,mem_predicted_mb,mem_alloc_mb,mem_reserved_mb,peak_mem_mb,gpu_process_mb,gpu_used_mb,device_name
        "$program/tokmark" peak --engine pytorch --device cuda:0
        "$program/bench_pytorch" --device cuda:0 --model superintelligence-1b --seq 128 512 2048 --batch 8 32 --precision bf16 --steps 40 \
            --warmup 5 --out "$OUT/_results"
        echo "exit code $?"
        "$program/tokmark" cat "$OUT/_results" --fields "$fields" |
            awk -F'\t' '{ n = NF; gsub(/\t/, " | "); print "| " $0 " |" } NR == 1 { for (i = 0; i < n; i++) printf "| --- "; print "|" }' |
            tee "$OUT/results.md"
        cp "$OUT/_results/bench_results.jsonl" "$OUT/results.jsonl"
        rm -rf "$OUT/_results"
        ;;
    fit)
        date -u +"%T fit begins"
        "$program/tokmark" run --engine pytorch --device cuda:0 --model superintelligence-1b --mode train --precision bf16 --seq 2048 --batch max \
            --steps 10 --warmup 2 --out "$OUT/_fit"
        echo "exit code $?"
        date -u +"%T fit ends"
        cp "$OUT/_fit/frontier.jsonl" "$OUT/_fit/bench_results.jsonl" "$OUT"
        rm -rf "$OUT/_fit"
        ;;
    stability)
        "$program/tokmark" stability --engines pytorch jax --device cuda:0 --model superintelligence-190m --precision fp32 bf16 --out "$OUT/_stability"
        echo "exit code $?"
        cp "$OUT/_stability/stability.jsonl" "$OUT/_stability/stability.csv" "$OUT"
        rm -rf "$OUT/_stability"
        ;;
    jax)
        date -u +"%T sweep begins"
        "$program/bench_jax" --model superintelligence-1b --seq 128 512 2048 --batch 8 32 --precision bf16 --steps 30 --warmup 5 --out "$OUT/_jax"
        echo "exit code $?"
        date -u +"%T sweep ends"
        cp "$OUT/_jax/bench_results.jsonl" "$OUT/jax.jsonl"
        rm -rf "$OUT/_jax"
        ;;
    jaxbare)
        "$python" bench/jax_bare.py --no-moe --cells superintelligence-1b:8x512 --steps 40 --rounds "${ROUNDS:-6}" --json "$OUT/jax_bare.json"
        ;;
    table)
        "$python" bench/engines_table.py --program "$program/tokmark" --device cuda:0 --model superintelligence-1b --precision bf16 --seq 512 \
            --batch 8 --rounds "${ROUNDS:-2}" --max-time 4s --out "$OUT/_table"
        cp "$OUT/_table/bench_results.jsonl" "$OUT/table.jsonl"
        rm -rf "$OUT/_table"
        ;;
    answer)
        rm -rf "$OUT/_answer"
        "$python" bench/time_to_answer.py --program "$program/tokmark" --device cuda:0 --engines pytorch --model "${MODEL:-superintelligence-1b}" \
            --precision bf16 --cells ${CELLS:-infer:32x512 infer:8x2048 train:8x512} --steps 2000 --order precise fixed precise --out "$OUT/_answer"
        cat "$OUT"/_answer/*/bench_results.jsonl >"$OUT/answer.jsonl"
        rm -rf "$OUT/_answer"
        ;;
    ab_compile)
        # The whole may take the first start's preparing (compiling twice the model's layers) and 40 s.
        begin=$(date +%s)
        "$program/tokmark" ab --engine pytorch --b '--compile default' --model "${MODEL:-superintelligence-1b}" --device cuda:0 --precision bf16 \
            --mode "${MODE:-infer}" --seq 512 --batch 8 --max-time 20s --out "$OUT/_ab"
        echo "exit code $?, $(($(date +%s) - begin)) s"
        cp "$OUT/_ab/ab_results.jsonl" "$OUT/ab_compile.jsonl"
        "$python" -c "
import json, sys
for line in map(json.loads, open(sys.argv[1])):
    print(*[line[key] for key in 'outcome ratio_percent ratio_percent_low ratio_percent_high starts starts_planned rounds measured_ms prepare_ms total_ms'.split()])
" "$OUT/ab_compile.jsonl"
        rm -rf "$OUT/_ab"
        ;;
    peak)
        "$python" bench/pytorch_bare.py --no-moe --steps 5 --rounds 1 --modes train
        ;;
    experts)
        "$python" bench/pytorch_bare.py --cells superintelligence-1b:8x512 --steps 20 --rounds 3 --json "$OUT/experts.json"
        ;;
    profile)
        "$program/tokmark" peak --engine pytorch --device cuda:0
        "$program/tokmark" peak --engine jax --device cuda:0
        for engine in pytorch jax; do
            "$program/tokmark" profile --engine $engine --device cuda:0 --model superintelligence-1b --mode train --precision bf16 --seq 512 --batch 8 --out "$OUT/_profile"
            echo "exit code $?"
        done
        rm -rf "$OUT/_profile"
        ;;
    repeats)
        gathered=${REPEATS:-$OUT/repeats}
        mkdir -p "$gathered"
        "$python" bench/repeats.py collect --program "$program/tokmark" --python "$python" --cells pytorch:infer pytorch:train jax:infer --device cuda:0 \
            --model superintelligence-1b --precision bf16 --seq 512 --batch 8 --max-time 4s --slots 12 --every 0 --out "$gathered/repeats.jsonl" --data "$gathered/data"
        cp "$gathered/repeats.jsonl" "$OUT"
        ;;
    check)
        "$program/tokmark" check --engines native,pytorch,jax --device pytorch=cuda:0 jax=cuda:0 --precision fp32 bf16 --out "$OUT/check"
        ;;
    *)
        echo "gpu_machine.sh: no part '$part'; the head of this file lists them" >&2
        exit 2
        ;;
    esac
done

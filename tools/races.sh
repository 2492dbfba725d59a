#!/bin/sh
# Data races (ThreadSanitizer): the native engine's pool over every mode and kernel, awake and asleep between loops, and the
# threads of the server and of the card's watch under their own tests. Anything that is told fails.
set -eu
cd "$(dirname "$0")/.."
tools/build.sh races
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export TSAN_OPTIONS="log_path=$work/race exitcode=66 suppressions=$PWD/tests/races.supp"
# The sanitizer wants addresses where older kernels put them.
fixed=
setarch -R true 2>/dev/null && fixed="setarch -R"
echo "== the engine's threads"
for threads in 2 5; do
    # shellcheck disable=SC2086
    $fixed build-races/tokmark run --engine native --device cpu --model superintelligence-tiny --mode infer train decode \
        --seq 16 --batch 2 --threads "$threads" --steps 3 --warmup 1 --quiet --history off --out "$work/bench$threads" || [ $? = 3 ]
done
echo "== the server's, and the one that watches a card"
# shellcheck disable=SC2086
TOKMARK_BINARY="$PWD/build-races/tokmark" TOKMARK_RELEASE_BINARY="$PWD/build-races/tokmark" \
    $fixed build/venv/bin/python -m pytest -q -p no:cacheprovider tests/cli/test_serve.py tests/cli/test_gpu_telemetry.py || failed=1
if ls "$work"/race.* >/dev/null 2>&1; then
    cat "$work"/race.* >&2
    echo "races: found" >&2
    exit 1
fi
[ -z "${failed:-}" ] || exit 1
echo "races: none"

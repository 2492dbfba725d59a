#!/bin/sh
# A short run of every fuzz target from its seeds. Usage: tools/fuzz_smoke.sh [SECONDS_EACH]
# FUZZ_INPUT_S: the longest that one input may take.
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-5}
# For xargs: one target.
if [ $# = 2 ]; then
    target=$2
    name=${target##*/}
    corpus=$(mktemp -d)
    log="$corpus.log"
    trap 'rm -rf "$corpus" "$log"' EXIT
    seeds=tests/fuzz/corpus/$name
    [ -d "$seeds" ] || seeds=
    # shellcheck disable=SC2086
    if ! "$target" -max_total_time="$seconds" -rss_limit_mb=2048 -timeout="${FUZZ_INPUT_S:-10}" \
        -artifact_prefix="$corpus/" "$corpus" $seeds >"$log" 2>&1; then
        tail -n 40 "$log" >&2
        echo "fuzz: $name failed" >&2
        exit 1
    fi
    echo "fuzz: $name: $(sed -n 's/^Done \([0-9]* runs in [0-9]* second(s)\)/\1/p' "$log")"
    exit 0
fi
targets=$(for target in build-clang/tests/fuzz_*; do
    [ ! -x "$target" ] || [ ! -f "$target" ] || echo "$target"
done)
# Without any, xargs would call this script as it was called, for ever.
[ -n "$targets" ] || { echo "fuzz: no target is built; tools/build.sh clang builds them" >&2; exit 1; }
echo "$targets" | xargs -P "$(nproc)" -n 1 "$0" "$seconds"

#!/bin/sh
# A short run of every fuzz target from its seeds. Usage: tools/fuzz_smoke.sh [SECONDS_EACH]
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
    if ! "$target" -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=60 \
        -artifact_prefix="$corpus/" "$corpus" $seeds >"$log" 2>&1; then
        tail -n 40 "$log" >&2
        echo "fuzz: $name failed" >&2
        exit 1
    fi
    echo "fuzz: $name: $(sed -n 's/^Done \([0-9]* runs in [0-9]* second(s)\)/\1/p' "$log")"
    exit 0
fi
for target in build-clang/tests/fuzz_*; do
    [ ! -x "$target" ] || [ ! -f "$target" ] || echo "$target"
done | xargs -P "$(nproc)" -n 1 "$0" "$seconds"

#!/bin/sh
# Every check and every test. C tests run under ASan and UBSan.
set -eu
cd "$(dirname "$0")/.."
python=build/venv/bin/python
# Many tests wait for a worker or a clock: two more at a time than there are processors. Each holds a framework in memory.
jobs=$(($(nproc) + 2))
[ "$jobs" -le 8 ] || jobs=8
# Python packages come meanwhile: on a new machine that keeps one processor for two minutes.
setsid tools/setup.sh test &
setup=$!
groups="-$setup" # of processes, to be ended with this one
log=$(mktemp)
trap 'rm -f "$log"; [ -z "$groups" ] || kill -- $groups 2>/dev/null || true' EXIT
trap 'exit 130' INT TERM
tools/check.sh quick
echo "== build: release, sanitizers"
tools/build.sh release
tools/build.sh asan
# clang-tidy and the fuzz targets take what the waiting tests leave of the processors; there one input may take longer,
# as a process that starves does.
setsid nice -n 19 sh -ec 'tools/check.sh tidy; echo "== fuzz smoke"; FUZZ_INPUT_S=60 tools/fuzz_smoke.sh' >"$log" 2>&1 &
background=$!
groups="$groups -$background"
echo "== unit tests (ASan, UBSan)"
ctest --test-dir build-asan --output-on-failure -j "$jobs" --no-tests=error
wait "$setup"
groups="-$background"
tools/check.sh python
# Else each process would compile the tests and the worker anew.
unset PYTHONDONTWRITEBYTECODE
echo "== command line, protocol, faults, engines"
TOKMARK_BINARY="$PWD/build-asan/tokmark" TOKMARK_RELEASE_BINARY="$PWD/build/tokmark" \
    "$python" -m pytest tests -q -p no:cacheprovider --durations=25 -n "$jobs" --dist loadfile \
    --no-loadscope-reorder
# They are waited for now, and beside other work a nice process takes long; only root may undo it.
renice -n 0 -g "$background" >/dev/null 2>&1 || true
found=0
wait "$background" || found=$?
groups=
cat "$log"
exit "$found"

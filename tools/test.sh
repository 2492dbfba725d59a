#!/bin/sh
# Every check and every test. C tests run under ASan and UBSan.
set -eu
cd "$(dirname "$0")/.."
python=build/venv/bin/python
tools/check.sh
echo "== build: release, sanitizers"
tools/build.sh release
tools/build.sh asan
echo "== unit tests (ASan, UBSan)"
ctest --test-dir build-asan --output-on-failure -j "$(nproc)" --no-tests=error
echo "== command line, protocol, faults, engines"
TOKMARK_BINARY="$PWD/build-asan/tokmark" TOKMARK_RELEASE_BINARY="$PWD/build/tokmark" \
    "$python" -m pytest tests -q -p no:cacheprovider --durations=5
echo "== fuzz smoke"
tools/fuzz_smoke.sh

#!/bin/sh
# Format, style and lint: everything that needs no test run. Usage: tools/check.sh [quick|python|tidy]
# quick: all but the other two. python: ruff. tidy: clang-tidy and clang's own warnings, which need quick's build. There, as a part of
# `make test`, clang's analyzer may look at an eighth of the states of a function that it looks at otherwise: by far the
# most of its time goes into the few functions that have more.
set -eu
cd "$(dirname "$0")/.."
part=${1:-all}
case $part in all | quick | python | tidy) ;; *) echo "usage: tools/check.sh [quick|python|tidy]" >&2; exit 2 ;; esac
wants() { [ "$part" = all ] || [ "$part" = "$1" ]; }
if wants quick; then
    echo "== format, style"
    python3 tests/style/check_style.py &
    style=$!
    git ls-files -- '*.c' '*.h' | xargs -P "$(nproc)" -n 64 clang-format --dry-run -Werror
    wait "$style"
    echo "== fuzz targets"
    tools/build.sh clang
fi
if wants python; then
    echo "== lint of Python"
    build/venv/bin/ruff check --quiet --no-cache --output-format concise
fi
if wants tidy; then
    echo "== clang-tidy, clang warnings"
    states=${TOKMARK_ANALYZER_STATES:-225000}
    [ "$part" != tidy ] || states=${TOKMARK_ANALYZER_STATES:-30000}
    tools/tidy.py "$states"
fi

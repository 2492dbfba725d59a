#!/bin/sh
# Format, style and lint: everything that needs no test run. Usage: tools/check.sh [quick|tidy]
# quick: all but clang-tidy. tidy: clang-tidy and clang's own warnings, which is as long as all the rest; needs quick's build.
set -eu
cd "$(dirname "$0")/.."
part=${1:-all}
if [ "$part" != tidy ]; then
    echo "== format"
    git ls-files -- '*.c' '*.h' | xargs clang-format --dry-run -Werror
    echo "== style"
    python3 tests/style/check_style.py
    echo "== fuzz targets"
    tools/build.sh clang
fi
if [ "$part" != quick ]; then
    echo "== clang-tidy, clang warnings"
    git ls-files -- 'src/*.c' 'tests/*.c' ':!tests/fault' |
        xargs -P "$(nproc)" -n 4 clang-tidy -p build-clang --quiet 2>/dev/null
    echo "clang-tidy: clean"
fi

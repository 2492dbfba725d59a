#!/bin/sh
# Format, style and lint: everything that needs no test run.
set -eu
cd "$(dirname "$0")/.."
echo "== format"
git ls-files -- '*.c' '*.h' | xargs clang-format --dry-run -Werror
echo "== style"
python3 tests/style/check_style.py
echo "== clang warnings"
tools/build.sh clang
echo "== clang-tidy"
git ls-files -- 'src/*.c' | xargs -P "$(nproc)" -n 4 clang-tidy -p build-clang --quiet 2>/dev/null
echo "check: all clean"

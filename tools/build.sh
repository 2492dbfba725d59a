#!/bin/sh
# Configures and builds one preset. Usage: tools/build.sh release|asan|clang|races|dist
set -eu
preset=${1:?usage: tools/build.sh PRESET}
cd "$(dirname "$0")/.."
cmake --preset "$preset" >/dev/null
cmake --build --preset "$preset" -- --quiet

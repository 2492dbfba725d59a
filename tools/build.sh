#!/bin/sh
# Configures and builds one preset. Usage: tools/build.sh release|asan|clang|races|dist
set -eu
preset=${1:?usage: tools/build.sh PRESET}
cd "$(dirname "$0")/.."
# What another clone has compiled on this machine is not compiled again, wherever that clone is.
if command -v ccache >/dev/null 2>&1; then
    export CMAKE_C_COMPILER_LAUNCHER=ccache CCACHE_BASEDIR="$PWD" CCACHE_NOHASHDIR=1
fi
cmake --preset "$preset" >/dev/null
cmake --build --preset "$preset" -- --quiet

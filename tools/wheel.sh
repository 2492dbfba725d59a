#!/bin/sh
# Makes dist/tokmark-VERSION-py3-none-manylinux_2_36_ARCH.whl of the program in the archive of `make dist`, which is
# linked statically and needs nothing but glibc >= 2.36 (tools/dist.sh checks that).
set -eu
cd "$(dirname "$0")/.."
tools/dist.sh
arch=$(uname -m)
program=$(ls -d dist/tokmark-*-linux-"$arch"/bin/tokmark | tail -n 1)
python3 tools/wheel/wheel_backend.py "$program" "py3-none-manylinux_2_36_$arch" dist

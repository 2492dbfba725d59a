#!/bin/sh
# Runs the archive in a bare Debian 12 root (debootstrap, minbase), from an empty folder, with nothing else
# installed. Needs root or sudo, and debootstrap. Usage: tools/dist_check.sh [ROOT_TO_KEEP]
set -eu
cd "$(dirname "$0")/.."
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }
command -v debootstrap >/dev/null || as_root apt-get install -y -q debootstrap
archive=$(ls dist/tokmark-*.tar.gz | tail -n 1)
bare=${1:-$(mktemp -d)/bare}
[ -e "$bare/bin/sh" ] || as_root debootstrap --variant=minbase bookworm "$bare" >"$bare.log" 2>&1 || {
    tail -n 20 "$bare.log" >&2
    exit 1
}
as_root rm -rf "$bare/try"
as_root mkdir -p "$bare/try/empty"
as_root tar -C "$bare/try" --strip-components=1 -xzf "$archive"
echo "== $(basename "$archive") in a bare Debian $(cat "$bare/etc/debian_version")"
as_root chroot "$bare" /usr/bin/env -i PATH=/usr/bin:/bin HOME=/try /bin/sh -ec '
    cd /try/empty
    /try/bin/tokmark --version
    /try/bin/tokmark run --engine native --model superintelligence-tiny --mode train infer decode \
        --seq 64 --batch 2 --steps 5 --warmup 2 --data /usr/share/common-licenses/GPL-3 --zip
    /try/bin/bench_pytorch --sandbox --device cpu --seq 128 --batch 4 --steps 10 --zip
    ls -la /try/empty /try/empty/_bench'
[ $# -gt 0 ] || as_root rm -rf "$(dirname "$bare")"
echo "dist-check: the archive runs on a bare machine"

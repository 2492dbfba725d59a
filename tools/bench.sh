#!/bin/sh
# The main job on the embedded engine: train, infer and decode on real text. Flags given are added.
set -eu
cd "$(dirname "$0")/.."
# A text that every Debian and Ubuntu system ships (base-files); the repository's own text elsewhere.
data=/usr/share/common-licenses/GPL-3
[ -r "$data" ] || data=STYLE.md
exec build/tokmark run --engine native --model superintelligence-tiny --device cpu --precision fp32 \
    --mode train infer decode --seq 128 512 --batch 4 --data "$data" --data-format text \
    --max-time 10s --out _bench "$@"

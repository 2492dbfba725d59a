#!/bin/sh
# Makes dist/tokmark-VERSION-linux-ARCH.tar.gz: runs with nothing installed but glibc >= 2.36.
set -eu
cd "$(dirname "$0")/.."
tools/build.sh dist
version=$(sed -n 's/^#define TOKMARK_VERSION "\(.*\)"/\1/p' build-dist/generated/version_generated.h)
name=tokmark-$version-linux-$(uname -m)
stage=dist/$name
rm -rf "dist/$name" "dist/$name.tar.gz"
mkdir -p "$stage/bin" "$stage/benchmarks" "$stage/share/man/man1" \
    "$stage/share/bash-completion/completions" "$stage/share/zsh/site-functions" \
    "$stage/share/fish/vendor_completions.d" "$stage/share/doc/tokmark/third_party"

cp build-dist/tokmark "$stage/bin/tokmark"
strip --strip-debug "$stage/bin/tokmark"
ln -s tokmark "$stage/bin/bench_pytorch"
ln -s tokmark "$stage/bin/bench_jax"
cp benchmarks/*.py benchmarks/README.md "$stage/benchmarks/"
build-dist/tokmark man >"$stage/share/man/man1/tokmark.1"
build-dist/tokmark completion bash >"$stage/share/bash-completion/completions/tokmark"
build-dist/tokmark completion zsh >"$stage/share/zsh/site-functions/_tokmark"
build-dist/tokmark completion fish >"$stage/share/fish/vendor_completions.d/tokmark.fish"
cp -r README.md CHANGELOG.md LICENSE docs examples "$stage/share/doc/tokmark/"
for package in libjansson-dev libxxhash-dev libminizip-dev zlib1g-dev libyaml-dev libncurses-dev; do
    [ ! -r "/usr/share/doc/$package/copyright" ] ||
        cp "/usr/share/doc/$package/copyright" "$stage/share/doc/tokmark/third_party/$package"
done

# What it may need from the machine: the C library alone, and none of its newer symbols.
needed=$(objdump -p "$stage/bin/tokmark" | sed -n 's/^ *NEEDED *//p')
for library in $needed; do
    case $library in
    libc.so.6 | libm.so.6 | ld-linux-*) ;;
    *)
        echo "dist: the program needs $library, which a bare machine does not have" >&2
        exit 1
        ;;
    esac
done
newest=$(objdump -T "$stage/bin/tokmark" | sed -n 's/.*(GLIBC_\([0-9.]*\)).*/\1/p' | sort -uV | tail -n 1)
if [ "$(printf '%s\n2.36\n' "$newest" | sort -V | tail -n 1)" != 2.36 ]; then
    echo "dist: the program needs glibc $newest; the archive promises 2.36 (build it on Debian 12)" >&2
    exit 1
fi
tar -C dist --sort=name --owner=0 --group=0 --numeric-owner -czf "dist/$name.tar.gz" "$name"
echo "dist/$name.tar.gz ($(wc -c <"dist/$name.tar.gz") bytes, glibc >= $newest)"

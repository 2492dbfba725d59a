#!/bin/sh
# Installs what is missing. Usage: tools/setup.sh build|programs|test
# programs: what test needs, but for Python packages.
# Debian and Ubuntu, as root or with sudo; elsewhere it says what is needed. Quick when nothing is.
set -eu
want=${1:-}
case $want in build | programs | test) ;; *) echo "usage: tools/setup.sh build|programs|test" >&2; exit 2 ;; esac
root=$(cd "$(dirname "$0")/.." && pwd)

packages="gcc libc6-dev cmake ninja-build libjansson-dev libxxhash-dev libminizip-dev zlib1g-dev libyaml-dev libncurses-dev libmicrohttpd-dev"
if [ "$want" != build ]; then
    packages="$packages ccache clang clang-format clang-tidy libcriterion-dev tmux iproute2 mandoc bash-completion zsh fish python3 python3-venv curl chromium"
fi

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif command -v sudo >/dev/null 2>&1; then sudo "$@"
    else
        echo "tokmark: need root or sudo to run: $*" >&2
        exit 1
    fi
}

# Ubuntu has the browser as a snap only: there the tests of pages are skipped.
is_not_to_be_had() {
    [ "$1" = chromium ] && ls /var/lib/apt/lists/*_Packages* >/dev/null 2>&1 && ! apt-cache show "$1" >/dev/null 2>&1
}

if ! command -v dpkg-query >/dev/null 2>&1; then
    echo "tokmark: not a Debian or Ubuntu machine; make sure these are installed: $packages" >&2
else
    missing=
    for package in $packages; do
        state=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
        [ "$state" = installed ] || is_not_to_be_had "$package" || missing="$missing $package"
    done
    if [ -n "$missing" ]; then
        echo "tokmark: installing$missing"
        as_root env DEBIAN_FRONTEND=noninteractive apt-get update -q
        if is_not_to_be_had chromium; then missing=$(echo "$missing " | sed 's/ chromium / /'); fi
        # shellcheck disable=SC2086
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing
    fi
    # Newer releases ship clang's sanitizer and fuzzer runtimes apart.
    if [ "$want" != build ] && ! ls "$(clang -print-resource-dir)"/lib/linux/libclang_rt.fuzzer-* >/dev/null 2>&1; then
        version=$(clang -dumpversion)
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q "libclang-rt-${version%%.*}-dev"
    fi
fi

[ "$want" != build ] || exit 0

# Readers of what `tokmark export` writes: their programs only, because the packages would start services.
cache="${XDG_CACHE_HOME:-$HOME/.cache}/tokmark"
readers="prometheus prometheus-node-exporter prometheus-pushgateway"
mkdir -p "$cache" "$root/build"
exec 9>"$cache/readers.lock"
flock 9
if [ ! -e "$cache/readers/.complete" ] && command -v dpkg-deb >/dev/null 2>&1; then
    echo "tokmark: fetching $readers into $cache/readers"
    rm -rf "$cache/readers"
    mkdir -p "$cache/readers/packages"
    (
        cd "$cache/readers/packages"
        # shellcheck disable=SC2086
        apt-get download -q $readers || { as_root apt-get update -q && apt-get download -q $readers; }
        for package in *.deb; do dpkg-deb -x "$package" ..; done
    )
    rm -rf "$cache/readers/packages"
    touch "$cache/readers/.complete"
fi
exec 9>&-
ln -sfn "$cache/readers/usr/bin" "$root/build/readers"

[ "$want" = test ] || exit 0

# The tests' Python environment: outside the clone, keyed by what it holds.
requirements="$root/tests/requirements.txt"
python=$(command -v python3)
key=$({ cat "$requirements"; "$python" -c 'import sys; print(sys.version, sys.executable)'; } | sha256sum | cut -c1-16)
venv="${XDG_CACHE_HOME:-$HOME/.cache}/tokmark/venv-$key"
mkdir -p "$(dirname "$venv")"
# Two set-ups at once would wreck each other's environment: the second one waits, and finds it made.
exec 9>"$venv.lock"
flock -n 9 || {
    echo "tokmark: another set-up is at work on $venv; waiting for it"
    flock 9
}
if [ ! -e "$venv/.complete" ]; then
    echo "tokmark: making the tests' Python environment in $venv"
    rm -rf "$venv"
    "$python" -m venv "$venv"
    # A CPU build of PyTorch that lies on this machine beats gigabytes of CUDA packages.
    torch=$(sed -n 's/^torch.*/&/p' "$requirements")
    tag=$("$venv/bin/python" -c 'import sys; print("cp%d%d" % sys.version_info[:2])')
    places=$("$venv/bin/python" -m pip config list 2>/dev/null | sed -n "s/.*find-links='\(.*\)'/\1/p")
    for place in $places; do
        for wheel in "$place"/torch-*+cpu-"$tag"-*.whl; do
            [ -e "$wheel" ] || continue
            version=${wheel##*/torch-}
            torch="torch==${version%%+*}"
        done
    done
    sed '/^torch/d; /^#/d' "$requirements" >"$venv/requirements.txt"
    "$venv/bin/python" -m pip install -q --disable-pip-version-check "$torch" -r "$venv/requirements.txt"
    touch "$venv/.complete"
fi
exec 9>&-
mkdir -p "$root/build"
ln -sfn "$venv" "$root/build/venv"

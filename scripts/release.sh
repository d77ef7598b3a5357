#!/bin/sh
# Builds what is given to others, in target/dist: a static program (musl), an image archive that docker, containerd and
# `portolan image load` read, and their checksums. The same commit gives the same bytes: paths are cut out of the
# program, and everything in the archive has the commit's time.
set -eu
cd "$(dirname "$0")/.."

arch=$(uname -m)
target=$arch-unknown-linux-musl
case $arch in
    x86_64) platform=amd64 ;;
    aarch64) platform=arm64 ;;
    *) echo "portolan: releases are built for x86_64 and aarch64, not for $arch" >&2 && exit 1 ;;
esac
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || echo 0)
export SOURCE_DATE_EPOCH
build=target/release-build
dist=target/dist
rm -rf "$dist"
mkdir -p "$dist"

cargo_home=${CARGO_HOME:-$HOME/.cargo}
RUSTFLAGS="--remap-path-prefix=$PWD=/portolan --remap-path-prefix=$cargo_home=/cargo -Cstrip=symbols" \
    CC="musl-gcc" cargo build --release --locked --package portolan --target "$target" --target-dir "$build"
program=$dist/portolan-$version-$target
install -m 0755 "$build/$target/release/portolan" "$program"
if ldd "$program" 2>/dev/null | grep -q '=>'; then
    echo "portolan: $program needs libraries of the machine; it should be static" >&2
    exit 1
fi

# An archive whose bytes depend on names and contents alone.
pack() { # ARCHIVE FOLDER NAME...
    archive=$1 folder=$2
    shift 2
    tar --create --file "$archive" --directory "$folder" --sort=name --format=ustar --mtime="@$SOURCE_DATE_EPOCH" \
        --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX "$@"
}

digest() { sha256sum "$1" | cut -d' ' -f1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/root/usr/local/bin" "$work/image"
install -m 0755 "$program" "$work/root/usr/local/bin/portolan"
pack "$work/image/layer.tar" "$work/root" usr
created=$(date --utc --date="@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)
printf '{"architecture":"%s","os":"linux","created":"%s","config":{"Entrypoint":["/usr/local/bin/portolan"],"Env":["PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
    "$platform" "$created" "$(digest "$work/image/layer.tar")" > "$work/image/config.json"
printf '[{"Config":"config.json","RepoTags":["portolan:%s"],"Layers":["layer.tar"]}]' "$version" \
    > "$work/image/manifest.json"
pack "$dist/portolan-$version-$platform.image.tar" "$work/image" config.json layer.tar manifest.json

(cd "$dist" && sha256sum portolan-* > SHA256SUMS)
echo "in $dist:"
(cd "$dist" && for file in portolan-*; do
    echo "  $file  $(stat --format=%s "$file" | awk '{printf "%.1f MiB", $1 / 1048576}')  sha256 $(digest "$file")"
done)

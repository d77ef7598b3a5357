#!/bin/sh
# Checks what the words name and installs what is missing; says what it installs before it does,
# and what to do when it cannot.   usage: need.sh [root] [cargo] [tools] [tests] [resolvers] [vm] [bench]
#                [dns-bench] [fuzz] [audit] [release]
set -u

KUBECTL_VERSION=v1.36.0
CARGO_DENY_VERSION=0.20.2

fail() {
    echo "portolan: $*" >&2
    exit 1
}

is_root() { [ "$(id -u)" = 0 ]; }

# The package of a program, if it is missing.
missing_package() { # PROGRAM PACKAGE
    command -v "$1" >/dev/null 2>&1 || echo "$2"
}

# The stand-in images need a busybox that runs without libraries.
missing_static_busybox() {
    busybox=$(command -v busybox) && ldd "$busybox" 2>&1 | grep -q 'not a dynamic' || echo busybox-static
}

install_packages() { # PACKAGE...
    [ $# -eq 0 ] && return
    is_root || fail "these packages are missing: $*. Install them (apt-get install $*), or run this as root."
    command -v apt-get >/dev/null 2>&1 ||
        fail "these packages are missing: $*. This machine has no apt-get; install them in its own way."
    echo "installing Debian packages: $*"
    export DEBIAN_FRONTEND=noninteractive
    apt-get install --yes --quiet --no-install-recommends "$@" >/dev/null 2>&1 && return
    { apt-get update --quiet && apt-get install --yes --quiet --no-install-recommends "$@"; } >/dev/null ||
        fail "apt-get could not install $*. Is the network reachable? Try: apt-get update && apt-get install $*"
}

install_kubectl() {
    command -v kubectl >/dev/null 2>&1 && return
    is_root || fail "kubectl is missing. Install it (https://kubernetes.io/docs/tasks/tools), or run this as root."
    case $(uname -m) in
        x86_64) arch=amd64 ;;
        aarch64) arch=arm64 ;;
        *) fail "there is no kubectl for $(uname -m)" ;;
    esac
    url=https://dl.k8s.io/release/$KUBECTL_VERSION/bin/linux/$arch/kubectl
    echo "installing kubectl $KUBECTL_VERSION to /usr/local/bin"
    new=$(mktemp)
    if curl -fsSL --connect-timeout 10 -o "$new" "$url" 2>/dev/null &&
        echo "$(curl -fsSL --connect-timeout 10 "$url.sha256" 2>/dev/null)  $new" | sha256sum --check --status; then
        install -m 0755 "$new" /usr/local/bin/kubectl
        rm -f "$new"
        return
    fi
    rm -f "$new"
    echo "it cannot be downloaded; Debian's package has an older one"
    install_packages kubernetes-client
}

# systemd-resolved is unpacked beside the builds and not installed: its package would take over resolv.conf.
unpack_resolved() {
    for place in / target/resolved/ target/resolved/usr/; do
        [ -x "${place}lib/systemd/systemd-resolved" ] && return
    done
    command -v apt-get >/dev/null 2>&1 || return
    echo "unpacking Debian's systemd-resolved to target/resolved"
    new=$(mktemp -d)
    mkdir -p target/resolved
    (cd "$new" && { apt-get download systemd-resolved || { apt-get update && apt-get download systemd-resolved; }; }) \
        >/dev/null 2>&1 && dpkg --extract "$new"/*.deb target/resolved
    unpacked=$?
    rm -r "$new"
    return $unpacked
}

install_cargo_deny() {
    command -v cargo-deny >/dev/null 2>&1 && return
    echo "installing cargo-deny $CARGO_DENY_VERSION with cargo"
    cargo install --quiet --locked --version "$CARGO_DENY_VERSION" cargo-deny ||
        fail "cargo-deny could not be installed. Try: cargo install --locked cargo-deny"
}

# The standard library for programs without shared libraries.
install_musl_target() {
    target=$(uname -m)-unknown-linux-musl
    [ -d "$(rustc --print sysroot)/lib/rustlib/$target" ] && return
    command -v rustup >/dev/null 2>&1 ||
        fail "this compiler has no standard library for $target. Install Rust by rustup (https://rustup.rs)."
    echo "installing Rust's standard library for $target with rustup"
    rustup target add "$target" || fail "it could not be installed. Try: rustup target add $target"
}

# Under sudo the user's own cargo is not on the PATH.
no_cargo() {
    home=$(getent passwd "${SUDO_USER:-nobody}" | cut -d: -f6)
    if [ -x "$home/.cargo/bin/cargo" ]; then
        fail "cargo is not on root's PATH. Try: sudo --preserve-env=HOME env PATH=\"\$PATH\" make demo"
    fi
    fail "cargo was not found. Install Rust (https://rustup.rs), then open a new shell."
}

for word; do
    case $word in
        root)
            is_root || fail "network namespaces, containers and kernel rules need root. Try: sudo make demo" ;;
        cargo)
            command -v cargo >/dev/null 2>&1 || no_cargo ;;
        tools)
            install_packages $(missing_package curl curl; missing_package containerd containerd
                missing_package runc runc; missing_static_busybox
                missing_package ip iproute2; missing_package cc gcc)
            install_kubectl ;;
        tests)
            install_packages $(missing_package nft nftables; missing_package dig bind9-dnsutils
                missing_package script bsdutils; missing_package iptables-restore iptables) ;;
        resolvers)
            install_packages $(missing_package drill ldnsutils; missing_package musl-gcc musl-tools)
            unpack_resolved || fail "systemd-resolved could not be unpacked. Is the network reachable?" ;;
        vm)
            install_packages $(missing_package qemu-system-x86_64 qemu-system-x86; missing_static_busybox
                missing_package cpio cpio; missing_package modprobe kmod; missing_package ipvsadm ipvsadm
                missing_package ipset ipset; missing_package iptables iptables) ;;
        fuzz)
            install_packages $(missing_package c++ g++) ;;
        bench)
            install_packages $(missing_package etcd etcd-server) ;;
        dns-bench)
            install_packages $(missing_package dnsperf dnsperf; missing_package nsd nsd
                missing_package valgrind valgrind) ;;
        audit)
            install_cargo_deny ;;
        release)
            install_packages $(missing_package musl-gcc musl-tools; missing_package ldd libc-bin)
            install_musl_target ;;
        *)
            fail "need.sh does not know $word" ;;
    esac
done

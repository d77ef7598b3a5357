#!/bin/sh
# Builds and runs every bench, one after the other; called by `make bench`, which has installed what
# they need. `bench/run.sh demo ready` runs those two only; `bench/README.md` says what each measures.
set -eu

cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- demo memory ready store http hostile proxy dns

cargo build --release --package portolan --package bench
echo "$(nproc) processors, $(uname -sr), $(date -u +%Y-%m-%d), load $(cut -d' ' -f1-3 /proc/loadavg)"
for bench; do
    echo
    echo "== $bench"
    case $bench in
        dns)
            target/release/bench dns $([ -x target/peers/coredns ] && echo "--coredns target/peers/coredns")
            target/release/bench dns --instructions ;;
        *) target/release/bench "$bench" ;;
    esac
done

#!/bin/sh
# Fuzzes each target, or one, for so many seconds: fuzz/run.sh [SECONDS] [TARGET]. What was found lies in target/fuzz.
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-60}
work=target/fuzz
host=$(rustc -vV | sed -n 's/^host: //p')
cargo run --quiet --package fuzz -- seeds "$work/corpus"
# What cargo-fuzz passes, of which a stable compiler takes all but the sanitizers.
coverage="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1"
RUSTFLAGS="--cfg fuzzing -Cdebug-assertions -Coverflow-checks $coverage" CARGO_PROFILE_RELEASE_LTO=off \
    cargo build --quiet --release --package fuzz --target "$host" --target-dir "$work/build"
for target in ${2:-query reply records corefile manifest object patch archive volume-name log-line spdy head seconds}; do
    echo "== $target"
    mkdir -p "$work/found/$target"
    FUZZ_TARGET=$target "$work/build/$host/release/fuzz" -max_total_time="$seconds" -max_len=4096 -timeout=10 \
        -rss_limit_mb=2048 -print_final_stats=1 -verbosity=0 -artifact_prefix="$work/found/$target/" \
        "$work/corpus/$target"
done

#!/usr/bin/env bash
# Fuzzes one target: fuzz/run.sh TARGET [SECONDS [LIBFUZZER-OPTION...]]. Needs cargo-fuzz and a C++ compiler.
# The corpus grows in fuzz/corpus/TARGET, findings are in fuzz/artifacts/TARGET.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

target=${1:?which target? one of: $(cd fuzz/fuzz_targets && ls | sed 's/[.]rs$//' | tr '\n' ' ')}
seconds=${2:-600}
shift $(($# < 2 ? $# : 2))

# What the fuzzer needs of the compiler is not stable; this lets the stable one do it too, and changes nothing for nightly.
export RUSTC_BOOTSTRAP=1
mkdir -p "fuzz/corpus/$target"
exec cargo fuzz run --sanitizer "${ENCKE_FUZZ_SANITIZER:-none}" "$target" \
    "fuzz/corpus/$target" "fuzz/seeds/$target" -- \
    "-dict=fuzz/dictionaries/$target.dict" "-max_total_time=$seconds" -timeout=10 -rss_limit_mb=1024 \
    -print_final_stats=1 "$@"

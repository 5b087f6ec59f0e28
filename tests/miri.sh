#!/bin/sh
# Runs the unit tests of the rooms without I/O (L1 to L3) under Miri, which finds undefined behaviour: ours is forbidden
# (`unsafe_code`), so this is about the libraries below. Needs a nightly toolchain with the component `miri`:
#   rustup toolchain install nightly --component miri,rust-src
# Miri is some hundred times slower: what is large or exhaustive is left out, and random cases are few.
# Usage: tests/miri.sh [ROOM...], by default all of them.
set -eu
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- arena wheel chunk http ws bayeux framing reply event conn broker
export PROPTEST_CASES="${PROPTEST_CASES:-2}" MIRIFLAGS="${MIRIFLAGS:--Zmiri-disable-isolation}"
left_out="--skip engine:: --skip sim:: --skip server:: --skip large --skip every --skip million --skip year
--skip boundar --skip limit --skip bound --skip depth --skip as_many --skip strict --skip
each_millisecond --skip conformance --skip oracle --skip starve --skip split --skip growth"
for room in "$@"; do
  echo "== $room"
  # Words on purpose.
  # shellcheck disable=SC2086
  cargo +nightly miri test --locked -p encke --lib --no-default-features --features deflate -- "$room::" $left_out
done

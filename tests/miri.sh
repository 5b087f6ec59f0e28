#!/bin/sh
# Runs the unit tests of the rooms without I/O (L1 to L3) under Miri, which finds undefined behaviour: ours is forbidden
# (`unsafe_code`), so this is about the libraries below. Needs a nightly toolchain with the component `miri`:
#   rustup toolchain install nightly --component miri,rust-src
# Miri is some hundred times slower: what is large or enumerates is left out, inputs are cut in fewer places (`cfg!(miri)`
# in the tests), and random cases are few. Tells the time of each test and of each room.
# Usage: tests/miri.sh [ROOM...], by default all of them; part of a room: tests/miri.sh http::head
set -eu
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- arena wheel chunk http ws bayeux framing reply event conn broker
export PROPTEST_CASES="${PROPTEST_CASES:-2}" MIRIFLAGS="${MIRIFLAGS:--Zmiri-disable-isolation}"
left_out="--skip engine:: --skip sim:: --skip server:: --skip large --skip every --skip million --skip year
--skip boundar --skip limit --skip bound --skip depth --skip as_many --skip strict --skip
each_millisecond --skip conformance --skip oracle --skip starve --skip split --skip growth --skip bombs
--skip round_trips --skip all_texts --skip long_lists --skip nothing_is_wanted"
for room in "$@"; do
  echo "== $room"
  begun=$(date +%s)
  # Words on purpose.
  # shellcheck disable=SC2086
  cargo +nightly miri test --locked -p encke --lib --no-default-features --features deflate -- \
    -Zunstable-options --report-time "$room::" $left_out
  echo "== $room: $(($(date +%s) - begun)) s"
done

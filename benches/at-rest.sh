#!/usr/bin/env bash
# What the daemon is before anybody has come: bytes of the binary, memory two seconds after the start, and the time from
# exec to the first answer. Medians of 11 starts without a configuration; where the machine has other work, the least time
# says more.
#
#     cargo build --release && benches/at-rest.sh [BINARY]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

binary=${1:-${CARGO_TARGET_DIR:-target}/release/encke}
starts=11
[ -x "$binary" ] || {
    echo "no $binary: cargo build --release makes it" >&2
    exit 1
}
# What is set would be part of what is measured.
for name in $(compgen -e ENCKE_ || true) RUST_LOG; do
    unset "$name"
done

folder=$(mktemp -d)
server=
tidy() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    rm -r "$folder"
}
trap tidy EXIT

median() { sort -n "$1" | sed -n "$((starts / 2 + 1))p"; }
least() { sort -n "$1" | sed -n 1p; }
mkfifo "$folder/said"
for ((at = 0; at < starts; at++)); do
    begin=${EPOCHREALTIME/[.,]/}
    "$binary" --listen 127.0.0.1:0 >"$folder/said" 2>/dev/null &
    server=$!
    # encke listening on http://127.0.0.1:PORT/cometd
    read -r line <"$folder/said"
    port=${line##*:}
    exec 3<>"/dev/tcp/127.0.0.1/${port%%/*}"
    printf 'GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n' >&3
    read -r status <&3
    end=${EPOCHREALTIME/[.,]/}
    exec 3>&-
    [[ $status == "HTTP/1.1 200 OK"* ]] || {
        echo "instead of a start: $line: $status" >&2
        exit 1
    }
    echo $((end - begin)) >>"$folder/microseconds"
    sleep 2
    sed -n 's/^Rss: *\([0-9]*\) kB$/\1/p' "/proc/$server/smaps_rollup" >>"$folder/kibibytes"
    kill "$server"
    wait "$server" || true
    server=
done

printf 'binary           %s bytes\n' "$(stat -Lc %s "$binary")"
printf 'RSS at rest      %s KiB\n' "$(median "$folder/kibibytes")"
printf 'to first answer  %s µs, at least %s; the shell that starts it included\n' \
    "$(median "$folder/microseconds")" "$(least "$folder/microseconds")"

#!/usr/bin/env bash
# Measures encke beside other servers, one after the other on this machine, and writes RESULTS.md. Each is one process
# on a free port of loopback, with its log off and its limits raised to the number of clients. How it is set up stands
# in `compare/servers.sh`, what is measured below, and what becomes of the figures in `compare/results.py`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD

usage() {
    cat <<'END'
Usage: loadtest/compare.sh [options]

  --quick            one run each, with 100 and 1,000 clients: shows that it works, not how fast
  --only NAME,…      these servers; floor and encke are always measured
  --clients N,…      sizes of the fan-out [100,1000,10000]
  --runs N           runs whose median counts [5]
  --install          fetch what is missing: npm packages, Maven artifacts, Debian's nginx and nchan; into target/compare
  --out FILE         where the results go [loadtest/RESULTS.md, but target/compare/RESULTS.md for a part of the whole]
  --help             print this

Servers: floor, encke, nchan, faye, cometd-nodejs, cometd-java. What cannot be had is left out and named in the
results. The figures of every run are kept as JSON in target/compare/runs.
END
}

say() { printf '%s\n' "$*" >&2; }
fail() {
    say "compare.sh: $*"
    exit 1
}

# What is measured: deliveries a second in all, seconds of publishing, bytes of a message.
deliveries=10000
seconds=3
size=100
idle_seconds=5
stream_clients=1000

runs=5 clients=100,1000,10000 only='' install='' out='' part=''
while [ $# -gt 0 ]; do
    case $1 in
    --quick) runs=1 clients=100,1000 seconds=1 idle_seconds=2 part=yes ;;
    --only | --clients | --runs | --out)
        [ $# -gt 1 ] || fail "$1 needs a value; see --help"
        printf -v "${1#--}" %s "$2"
        case $1 in --only | --clients) part=yes ;; esac
        shift
        ;;
    --install) install=yes ;;
    --help | -h) usage && exit ;;
    *) fail "unknown option $1; see --help" ;;
    esac
    shift
done
[[ $runs =~ ^[1-9][0-9]?$ ]] || fail "--runs takes a number from 1 to 99, not $runs"
[[ $clients =~ ^[1-9][0-9]{0,5}(,[1-9][0-9]{0,5})*$ ]] || fail "--clients takes numbers such as 100,1000, not $clients"
IFS=, read -ra sizes <<<"$clients"
largest=$(printf '%s\n' "${sizes[@]}" | sort -n | tail -1)

target=${CARGO_TARGET_DIR:-$root/target}
cache=$target/compare
out=${out:-$([ -z "$part" ] && echo "$root/loadtest/RESULTS.md" || echo "$cache/RESULTS.md")}
kept=$cache/runs
mkdir -p "$cache"
work=$(mktemp -d)
mkdir "$work/runs"
cut -d ' ' -f 1-3 /proc/loadavg >"$work/load"
# What bounds.py has put behind stays there.
touch "$out"
sed -n '/^## Against the floor/,$p' "$out" >"$work/bounds.md"

# shellcheck source=loadtest/compare/servers.sh
. loadtest/compare/servers.sh

runner=''
ended() {
    local code=$?
    trap - EXIT INT TERM
    [ -z "$runner" ] || kill "$runner" 2>/dev/null || true
    stop_server
    rm -rf "$work"
    exit "$code"
}
trap ended EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Every client is a file on both sides.
ulimit -n "$(ulimit -Hn)"
files=$(ulimit -n)
[ "$files" != unlimited ] && [ "$files" -le 1048576 ] || files=1048576
needed=$((largest + 300))
[ "$files" -ge "$needed" ] ||
    fail "$largest clients need $needed open files, and ulimit -Hn is $files; raise it or give fewer --clients"
for tool in cargo python3; do command -v "$tool" >/dev/null || fail "$tool is missing"; done

# The table anew, from all that there is.
write_results() {
    python3 loadtest/compare/results.py "$work" "$1" >"$work/results.md" &&
        cat "$work/results.md" "$work/bounds.md" >"$out"
}

# A run of the generator against the server that is up: its name for the file, then the scenario and its options.
measure() { # ROLE COUNT SCENARIO OPTION…
    local role=$1 count=$2 scenario=$3
    local file=$work/runs/$scenario.$transport.$count.$server.$role
    local floor=$work/runs/$scenario.$transport.$count.floor.$role.json
    shift 3
    local words=("$scenario" --url "$url" --transport "$transport" --clients "$count" --pid "$pid" --timeout 120
        "${options[@]}" "$@")
    # It is not to start a floor of its own: there is one among the servers.
    if [ "$server" != floor ] && [ -s "$floor" ]; then words+=(--floor-json "$floor"); else words+=(--no-floor); fi
    printf 'encke-loadtest %s\n' "${words[*]}" >"$file.command"
    # A run that fails is a result too; its words are kept.
    timeout 180 "$target/release/encke-loadtest" "${words[@]}" --json "$file.json" >"$file.log" 2>&1 &
    # Waited for in this way a signal is heard at once.
    runner=$!
    wait "$runner" || say "    run $role was not as expected: $(tail -n 1 "$file.log")"
    runner=''
    cp "$file".* "$kept/"
}

# So many messages that they last the time, at the rate that gives the same deliveries a second for every size.
paced() { # COUNT
    local rate=$((deliveries / $1))
    [ "$rate" -ge 1 ] || rate=1
    printf -- '--rate %s --messages %s --size %s' "$rate" "$((rate * seconds + 1))" "$size"
}

# Each run has a process of its own: the sessions that a run leaves behind would expire in the next. What compiles while
# it runs gets to do so before it counts, with as few clients as do not matter afterwards.
fanout_group() { # COUNT
    local count=$1 run pace few=$(($1 < 1000 ? $1 : 1000))
    read -ra pace <<<"$(paced "$count")"
    if [ "$count" -gt 1000 ] || [ "$count" = "$largest" ]; then
        start_server || return 0
        measure idle "$count" idle --seconds "$idle_seconds"
        stop_server
    fi
    for ((run = 1; run <= runs; run++)); do
        start_server || return 0
        if [ -n "${warms[$server]:-}" ]; then
            measure warm "$few" fanout --messages $((15000 / few)) --channel /warm --size "$size"
        fi
        measure "$run" "$count" fanout "${pace[@]}"
        if [ "$count" = "$stream_clients" ] && [ "$run" = 1 ]; then
            measure full "$count" fanout --messages 50 --channel /full --size "$size"
        fi
        stop_server
    done
}

rooms_group() {
    local run rate=$((deliveries / 100))
    # Others publish no batches.
    [ -z "${speaks[$server]:-}" ] || return 0
    for ((run = 1; run <= runs; run++)); do
        start_server || return 0
        if [ -n "${warms[$server]:-}" ]; then
            measure warm 1000 rooms --messages 150 --channel /warm
        fi
        # Each of 100 rooms has every tenth client.
        measure "$run" 1000 rooms --rate "$rate" --messages $((rate * seconds))
        stop_server
    done
}

# A page with curves for each table: the first run of every server side by side.
write_pages() {
    local pages=$cache/pages first group files
    rm -rf "$pages" && mkdir "$pages"
    for first in "$kept"/*.encke.1.json; do
        group=${first%.encke.1.json} files=()
        for server in "${servers[@]}"; do
            [ ! -s "$group.$server.1.json" ] || files+=("$server=$group.$server.1.json")
        done
        "$target/release/encke-loadtest" report "${files[@]}" --html "$pages/${group##*/}.html" >&2 ||
            say "no page for ${group##*/}"
    done
}

each_server() { # DO WORD…
    for server in "${servers[@]}"; do
        [[ " ${transports[$server]} " == *" $transport "* ]] || continue
        say "  $server"
        "$@"
        write_results "unfinished"
    done
}

awk '$1 > 0.5 { exit 1 }' "$work/load" || say "this machine is not quiet: its load is $(cat "$work/load")"
say "building"
cargo build --release --locked --quiet -p encke -p encke-loadtest
choose_servers "$only"
rm -rf "$kept" && mkdir -p "$kept"
minutes=$(python3 loadtest/compare/results.py --estimate "$work" "$runs" "$seconds" "${sizes[@]}")
say "measuring ${servers[*]}; about $minutes minutes"
for transport in long-polling websocket; do
    for count in "${sizes[@]}"; do
        say "fanout, $transport, $count clients"
        each_server fanout_group "$count"
    done
done
transport=eventsource
say "fanout, $transport, $stream_clients clients"
each_server fanout_group "$stream_clients"
for transport in long-polling websocket; do
    say "rooms, $transport"
    each_server rooms_group
done
write_results finished
write_pages
say "results: $out; pages with curves: $cache/pages; every run: $kept"

# shellcheck shell=bash disable=SC2016,SC2034,SC2154
# How each server is found, fetched if that is asked for, started with its limits raised, and stopped. Read by
# compare.sh, which has set root, target, cache, work, files and install.
#
# A server NAME has `find_NAME`, which sets `version` and `how`, or `reason` and gives 1, and `launch_NAME`, which
# becomes the server; the first URL that it prints is the endpoint.

here=$root/loadtest/compare
known=(floor encke nchan faye cometd-nodejs cometd-java centrifugo)
declare -A transports=(
    [floor]='long-polling websocket eventsource'
    [encke]='long-polling websocket eventsource'
    [nchan]='long-polling websocket eventsource'
    [faye]='long-polling websocket eventsource'
    [cometd-nodejs]='long-polling'
    [cometd-java]='long-polling'
)
# Those that compile their code while it runs.
declare -A warms=([faye]=yes [cometd-nodejs]=yes [cometd-java]=yes)
# What they speak, if it is not Bayeux.
declare -A speaks=([nchan]=nchan)

find_floor() {
    version=$("$target/release/encke-loadtest" --version)
    version=${version%%:*}
    how='what a server on one thread needs at least: it writes bytes made beforehand'
}
launch_floor() { exec "$target/release/encke-loadtest" floor --listen 127.0.0.1:0; }

find_encke() {
    version=$("$target/release/encke" --version)
    how='`encke --listen 127.0.0.1:0 --backlog 65535 --demo false`, `RUST_LOG=off`; polls are held for 30 s'
}
launch_encke() { RUST_LOG=off exec "$target/release/encke" --listen 127.0.0.1:0 --backlog 65535 --demo false; }

find_npm() { # PACKAGE
    command -v node >/dev/null && command -v npm >/dev/null || { reason='no Node.js with npm here' && return 1; }
    local place=$cache/npm
    if [ -n "$install" ] && ! cmp -s "$here/package-lock.json" "$place/package-lock.json"; then
        rm -rf "$place" && mkdir -p "$place"
        cp "$here/package.json" "$place"
        # npm wants the lock there from the start; it is the sign of success only at the end.
        cp "$here/package-lock.json" "$place"
        (cd "$place" && npm ci --ignore-scripts --silent --no-audit --no-fund) >&2 ||
            { rm -rf "$place" && reason='`npm ci` failed' && return 1; }
    fi
    [ -d "$place/node_modules/$1" ] || { reason='not installed: `--install` runs `npm ci`' && return 1; }
    # Its imports are looked for beside it.
    cp "$here"/*.mjs "$place"
    version="$1 $(node -p "require('$place/node_modules/$1/package.json').version"), Node.js $(node --version)"
}

find_faye() {
    find_npm faye || return 1
    how='`compare/faye.mjs`; its own memory engine, polls are held for 30 s, default heap'
}
launch_faye() { exec node "$cache/npm/faye.mjs"; }

find_cometd-nodejs() {
    find_npm cometd-nodejs-server || return 1
    how='`compare/cometd-nodejs.mjs`; polls are held for 30 s, default heap'
}
launch_cometd-nodejs() { exec node "$cache/npm/cometd-nodejs.mjs"; }

find_cometd-java() {
    local place=$cache/cometd-java
    command -v javac >/dev/null || { reason='no JDK here' && return 1; }
    if [ -n "$install" ] && ! cmp -s "$here/cometd-java/pom.xml" "$place/pom.xml"; then
        command -v mvn >/dev/null || { reason='no Maven here to fetch it with' && return 1; }
        rm -rf "$place" && mkdir -p "$place"
        (cd "$place" && mvn -q -B -f "$here/cometd-java/pom.xml" dependency:copy-dependencies \
            -DoutputDirectory="$place/jars") >&2 || { reason='Maven could not resolve it' && return 1; }
        cp "$here/cometd-java/pom.xml" "$place"
    fi
    [ -d "$place/jars" ] || { reason='not installed: `--install` fetches it with Maven' && return 1; }
    javac -cp "$place/jars/*" -d "$place/classes" "$here/cometd-java/CometdJetty.java" >&2 ||
        { reason='javac failed' && return 1; }
    local jar jetty
    jar=$(basename "$place"/jars/cometd-java-server-common-*.jar .jar)
    jetty=$(basename "$place"/jars/jetty-server-*.jar .jar)
    version="CometD ${jar##*-}, Jetty ${jetty##*-}, Java $(java -version 2>&1 | sed -n '1s/.*"\(.*\)".*/\1/p')"
    how='`compare/cometd-java/CometdJetty.java`; polls are held for 30 s, default heap and threads'
}
launch_cometd-java() { exec java -cp "$cache/cometd-java/classes:$cache/cometd-java/jars/*" CometdJetty; }

find_nchan() {
    local place=$cache/nchan
    nginx=$(PATH=$PATH:/usr/sbin command -v nginx || true) module=/usr/lib/nginx/modules/ngx_nchan_module.so
    if [ -z "$nginx" ] || [ ! -e "$module" ]; then
        if [ -n "$install" ] && [ ! -e "$place/$module" ]; then
            command -v apt-get >/dev/null || { reason='no nginx with nchan here, and no apt-get' && return 1; }
            # Unpacked, not installed: nothing is started, and the system stays as it is.
            mkdir -p "$place"
            (cd "$place" && apt-get download -qq nginx libnginx-mod-nchan &&
                dpkg-deb -f libnginx-mod-nchan*.deb Version >version &&
                for deb in *.deb; do dpkg -x "$deb" .; done && rm ./*.deb) >&2 ||
                { reason='Debian'"'"'s packages could not be fetched' && return 1; }
        fi
        nginx=$place/usr/sbin/nginx module=$place$module
    fi
    [ -x "$nginx" ] && [ -e "$module" ] ||
        { reason='not installed: Debian has it as `libnginx-mod-nchan`; `--install` fetches it' && return 1; }
    version="nchan $(cat "$place/version" 2>/dev/null || dpkg-query -W -f '${Version}' libnginx-mod-nchan)"
    version+=", $("$nginx" -v 2>&1 | sed 's/^nginx version: //')"
    how='`compare/nginx.conf.in`; one worker, which is what is measured, and no access log'
}
launch_nchan() {
    local port
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    sed -e "s|@MODULE@|$module|" -e "s|@FILES@|$files|" -e "s|@PORT@|$port|" "$here/nginx.conf.in" >nginx.conf
    case $transport in
    long-polling) echo "http://127.0.0.1:$port/poll" ;;
    *) echo "http://127.0.0.1:$port/stream" ;;
    esac
    exec "$nginx" -p "$PWD" -c "$PWD/nginx.conf"
}

# Where this was written Go's module proxy answered 403 for its modules, and the load generator was not taught a protocol
# that it could not be tried against.
find_centrifugo() {
    reason='the load generator does not speak its protocol: its Go modules could not be had where it was written'
    return 1
}

# Fills `servers` with what can be had among NAMES (all without), and writes down the rest with the reason.
choose_servers() { # NAMES
    local name wanted
    IFS=, read -ra wanted <<<"$1"
    for name in "${wanted[@]}"; do
        [[ " ${known[*]} " == *" $name "* ]] || fail "--only knows ${known[*]}, not $name"
    done
    servers=()
    for name in "${known[@]}"; do
        if [ -n "$1" ] && [[ " floor encke ${wanted[*]} " != *" $name "* ]]; then continue; fi
        version='' how='' reason=''
        if "find_$name"; then
            servers+=("$name")
        else
            say "without $name: $reason"
        fi
        printf '%s\t%s\t%s\t%s\n' "$name" "$version" "$how" "$reason" >>"$work/servers.tsv"
    done
}

main_pid='' pid='' url='' options=()

# Starts `server` for `transport`; sets `url`, `pid` and the `options` that the generator needs for it.
start_server() {
    local place=$work/$server.$transport waited=0
    rm -rf "$place" && mkdir "$place" && : >"$place/out"
    (cd "$place" && "launch_$server") >"$place/out" 2>"$place/err" &
    main_pid=$!
    until url=$(grep -m 1 -oE 'http://127\.0\.0\.1:[0-9]+[^[:space:]]*' "$place/out") && answers "$url"; do
        waited=$((waited + 1))
        if [ "$waited" -gt 300 ] || ! kill -0 "$main_pid" 2>/dev/null; then
            say "    did not start: $(tail -n 1 "$place/err")"
            stop_server
            return 1
        fi
        sleep 0.1
    done
    pid=$main_pid options=()
    [ -z "${speaks[$server]:-}" ] || "attach_$server"
}

attach_nchan() {
    # The first process only looks after the one that works.
    until pid=$(cut -d ' ' -f 1 "/proc/$main_pid/task/$main_pid/children") && [ -n "$pid" ]; do
        kill -0 "$main_pid" || return 1
        sleep 0.1
    done
    options=(--protocol nchan --publish-url "${url%/*}/pub")
}

answers() { # URL
    local port=${1#http://127.0.0.1:}
    (exec 3<>"/dev/tcp/127.0.0.1/${port%%/*}") 2>/dev/null
}

stop_server() {
    [ -n "$main_pid" ] || return 0
    local waited=0
    kill "$main_pid" 2>/dev/null || true
    # It may let its clients leave first, which takes time that nobody has.
    while kill -0 "$main_pid" 2>/dev/null && [ "$waited" -lt 20 ]; do
        waited=$((waited + 1))
        sleep 0.1
    done
    kill -9 "$main_pid" 2>/dev/null || true
    # One that works for another would go on by itself.
    [ -z "${pid:-}" ] || [ "$pid" = "$main_pid" ] || kill -9 "$pid" 2>/dev/null || true
    pid=''
    wait "$main_pid" 2>/dev/null || true
    main_pid=''
}

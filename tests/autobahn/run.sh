#!/usr/bin/env bash
# Drives the WebSocket room with Autobahn|Testsuite, by way of examples/ws_echo.rs, and prints a table of the results.
#
#   tests/autobahn/run.sh              all 517 cases; an hour or so on two slow cores
#   tests/autobahn/run.sh '1.*' '7.*'  some of them
#
# The suite is for Python 2.7. One that is there is used (PYTHON27, else the PATH, else pyenv's). Without one, Debian 11's
# packages are unpacked below target/autobahn, on a Debian or Ubuntu of amd64 or arm64; nothing is installed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

suite=25.10.1
address=127.0.0.1:${PORT:-9001}
here=$PWD/target/autobahn
mkdir -p "$here"

fail() {
    printf '%s\n' "$*" >&2
    exit 1
}

works() { "$1" -c 'import sys, ssl, zlib, ctypes; sys.exit(sys.version_info[:2] != (2, 7))' 2>/dev/null; }

# Sets `python`, and `with_pip`: what PYTHONPATH has to be for it to have pip.
find_python() {
    with_pip=
    for python in "${PYTHON27:-}" python2.7 "$HOME"/.pyenv/versions/2.7.*/bin/python; do
        if [ -n "$python" ] && works "$python" && "$python" -m pip --version >/dev/null 2>&1; then return; fi
    done
    unpack_python
    works "$python" || fail "Debian's Python 2.7 does not run here: give another one as PYTHON27"
}

# From the Debian mirror that this machine has set up anyway, else from Debian's own.
unpack_python() {
    local deb=$here/debian mirror apt
    mkdir -p "$deb/state/lists/partial" "$deb/cache/archives/partial" "$deb/unpacked"
    if ! [ -x "$deb/unpacked/usr/bin/python2.7" ]; then
        command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || fail "no Python 2.7: give one as PYTHON27"
        mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -m1 '/debian/*$' || true)
        mirror=${mirror:-http://deb.debian.org/debian}
        printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s bullseye main\n' "$mirror" >"$deb/list"
        apt=(apt-get -qq -o "Dir::Etc::sourcelist=$deb/list" -o Dir::Etc::sourceparts=- -o "Dir::State=$deb/state"
            -o "Dir::Cache=$deb/cache" -o APT::Sandbox::User="$(id -un)")
        "${apt[@]}" update
        (
            cd "$deb"
            "${apt[@]}" download python2.7 python2.7-minimal libpython2.7-minimal libpython2.7-stdlib libpython2.7 \
                libpython2.7-dev libssl1.1 libffi7 python-pip-whl
            for package in *.deb; do dpkg-deb -x "$package" unpacked; done
            # Not as the archives they are: pip starts some of its parts as programs.
            for wheel in unpacked/usr/share/python-wheels/*.whl; do unpacked/usr/bin/python2.7 -m zipfile -e "$wheel" pip; done
            rm -r unpacked/usr/share/python-wheels
        )
    fi
    python=$deb/unpacked/usr/bin/python2.7
    with_pip=:$deb/pip
    LD_LIBRARY_PATH=$(printf '%s:' "$deb"/unpacked/usr/lib/*-linux-gnu)
    export LD_LIBRARY_PATH C_INCLUDE_PATH=$deb/unpacked/usr/include/python2.7:$deb/unpacked/usr/include
}

# Two steps, for what is built on the way needs a setuptools that is installed.
install_suite() {
    [ -e "$here/$suite" ] && return
    export PIP_DISABLE_PIP_VERSION_CHECK=1
    PYTHONPATH=$with_pip "$python" -m pip install -q --upgrade --target "$here/tools" setuptools==44.0.0 wheel==0.37.1
    PYTHONPATH=$here/tools$with_pip "$python" -m pip install -q --upgrade --target "$here/site" \
        "autobahntestsuite==$suite"
    touch "$here/$suite"
}

cases=$(printf ', "%s"' "${@:-*}")
find_python
install_suite

cargo build --release --features deflate --example ws_echo
"${CARGO_TARGET_DIR:-target}"/release/examples/ws_echo "$address" &
server=$!
trap 'kill $server' EXIT
sleep 1
kill -0 $server

cat >"$here/spec.json" <<SPEC
{
  "outdir": "$here/reports",
  "servers": [{"agent": "encke", "url": "ws://$address"}],
  "cases": [${cases#, }],
  "exclude-cases": [],
  "exclude-agent-cases": {}
}
SPEC
rm -rf "$here/reports"
"$python" -c "import site; site.addsitedir('$here/site'); from autobahntestsuite.wstest import run; run()" \
    --mode fuzzingclient --spec "$here/spec.json"
"$python" tests/autobahn/summary.py "$here/reports/index.json"

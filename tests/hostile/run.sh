#!/usr/bin/env bash
# What many hostile or unlucky clients, and a machine in trouble, do to the daemon: each proof starts its own release
# build, measures, and writes its section of tests/README.md.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

fail() {
    printf '!! %s\n' "$*" >&2
    exit 2
}

case " $* " in *" --help "* | *" -h "*) exec python3 tests/hostile/proofs.py --help ;; esac
[ "$(uname)" = Linux ] || fail "these proofs need Linux: they read /proc"
command -v cargo >/dev/null || fail "cargo is missing: Rust 1.88+ is needed"
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "Python 3.11+ is needed, this is $(python3 --version)"
export PYTHONDONTWRITEBYTECODE=1
cargo build --quiet --locked --release --workspace
exec python3 tests/hostile/proofs.py "$@"

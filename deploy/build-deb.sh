#!/usr/bin/env bash
# Makes a Debian package in target/debian out of a program that is built: the program, its manual pages and
# completions, the units, the settings. It needs cargo-deb (cargo install cargo-deb).
#   deploy/build-deb.sh [PROFILE [CARGO-DEB-OPTION]...]     PROFILE is release unless it is said otherwise
set -euo pipefail
cd "$(dirname "$0")/.."

profile=${1:-release}
shift || true
directory=$profile
[[ $profile != dev ]] || directory=debug
program=target/$directory/sandbox-pool
made=target/deb

[[ -x $program ]] || {
    printf 'build-deb.sh: there is no %s; cargo build --locked --profile %s makes it\n' "$program" "$profile" >&2
    exit 1
}
rm -rf "$made"
mkdir -p "$made/man"
"$program" man --into "$made/man"
for shell in bash zsh fish; do
    "$program" completions "$shell" >"$made/completions.$shell"
done
# One is there to be installed, not each that was ever made.
rm -f target/debian/sandbox-pool_*.deb
cargo deb --no-build --profile "$profile" --locked "$@"

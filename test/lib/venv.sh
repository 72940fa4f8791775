#!/bin/bash
# venv.sh DIRECTORY REQUIREMENTS...: makes or refreshes a Python environment with what the files list, and prints its
# python. Exit status 3: the package index cannot be reached; 1: anything else, which is a fault.
set -euo pipefail
# shellcheck source=test/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

directory=$1
shift

pip_install() {
    "$directory/bin/python" -m pip --disable-pip-version-check --no-cache-dir install --quiet --only-binary :all: "$@" >&2
}

# After a failure: does the index serve any package at all?
index_answers() { pip_install --no-deps --target "$directory/probe" wheel; }

signature=$(cat "$@" | cksum)
if [ "$(cat "$directory/signature" 2>/dev/null || true)" != "$signature" ]; then
    python=/usr/bin/python3
    [ -x "$python" ] || python=$(command -v python3) ||
        fail "python3 not found" "run: bash test/install_dependencies.sh run"
    say "installing Python packages: $(cat "$@" | sed 's/#.*//; /^--/d' | xargs)"
    rm -rf "$directory"
    "$python" -m venv "$directory" ||
        fail "$python cannot make a virtual environment" "run: bash test/install_dependencies.sh run"
    arguments=()
    for file in "$@"; do arguments+=(-r "$file"); done
    if ! pip_install "${arguments[@]}"; then
        if index_answers; then fail "pip could not install the packages" "see its message above"; fi
        say "the Python package index cannot be reached (see pip's message above)"
        exit 3
    fi
    echo "$signature" >"$directory/signature"
fi
echo "$directory/bin/python"

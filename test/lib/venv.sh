#!/bin/bash
# venv.sh DIRECTORY REQUIREMENTS...: makes or refreshes a Python environment with what the files list, and prints its
# python. A package index that cannot be reached is exit status 3.
set -euo pipefail
# shellcheck source=test/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

directory=$1
shift
python=/usr/bin/python3
[ -x "$python" ] || python=$(command -v python3) || fail "python3 not found" "run: bash test/install_dependencies.sh run"

signature=$(cat "$@" | cksum)
if [ "$(cat "$directory/signature" 2>/dev/null || true)" != "$signature" ]; then
    say "installing Python packages: $(cat "$@" | sed 's/#.*//' | xargs)"
    rm -rf "$directory"
    mkdir -p "$CACHE"
    "$python" -m venv "$directory" ||
        fail "$python cannot make a virtual environment" "run: bash test/install_dependencies.sh run"
    arguments=()
    for file in "$@"; do arguments+=(-r "$file"); done
    PIP_CACHE_DIR=$CACHE/pip "$directory/bin/pip" --disable-pip-version-check install --quiet "${arguments[@]}" >&2 || {
        printf 'error: pip could not install the packages; is the package index within reach?\n' >&2
        rm -rf "$directory"
        exit 3
    }
    echo "$signature" >"$directory/signature"
fi
echo "$directory/bin/python"

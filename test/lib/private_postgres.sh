#!/bin/bash
# private_postgres.sh DIRECTORY: makes or refreshes a copy of the installed PostgreSQL there and prints its pg_config.
#
# The extension is installed into this copy, never into the system's PostgreSQL: that needs no root, and a cluster which
# somebody runs on this machine sees neither our files nor a half-built library. Debian's and Ubuntu's PostgreSQL finds
# its files relative to its own program (a "relocatable" installation), so copying two directories is enough.
set -euo pipefail
# shellcheck source=test/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

directory=$1
original=$(find_pg_config)
server=$(dirname "$(dirname "$(readlink -f "$original")")")
version=$(basename "$server")
[ "$server" = "/usr/lib/postgresql/$version" ] ||
    fail "$original does not belong to a PostgreSQL packaged by Debian, Ubuntu or PGDG" \
        "install into it yourself: make install PG_CONFIG=$original, then make installcheck pgtapcheck tapcheck"

# The copy is made anew when the original changed: a minor release, or a package such as pgTAP added to it.
signature=$(find "$server" "/usr/share/postgresql/$version" -type f -printf '%p %s %T@\n' | sort | cksum)
if [ "$(cat "$directory/signature" 2>/dev/null || true)" != "$signature" ]; then
    say "copying PostgreSQL $version to $directory"
    rm -rf "$directory"
    mkdir -p "$directory/lib/postgresql" "$directory/share/postgresql"
    cp -R --preserve=mode,timestamps,links "$server" "$directory/lib/postgresql/"
    cp -R --preserve=mode,timestamps,links "/usr/share/postgresql/$version" "$directory/share/postgresql/"
    ln -s /usr/include "$directory/include"
    echo "$signature" >"$directory/signature"
fi
echo "$directory/lib/postgresql/$version/bin/pg_config"

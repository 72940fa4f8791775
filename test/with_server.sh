#!/bin/bash
# with_server.sh COMMAND...: runs the command against a private PostgreSQL server which has llm_router preloaded.
#
# The server lives in a temporary directory, listens on a Unix socket there and nowhere else, and is gone when the
# command ends, however it ends. PGHOST, PGUSER and PGDATABASE lead to it. Environment:
#   PG_CONFIG        the PostgreSQL to run; the extension must be installed in it
#   SERVER_WRAPPER   words put before "postgres", such as "valgrind" and its options
#   SERVER_CONFIG    a file whose lines are added to postgresql.conf
#   SERVER_LOG       where to keep a copy of the server's log
set -euo pipefail
# shellcheck source=test/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

[ $# -gt 0 ] || fail "no command given" "usage: bash test/with_server.sh COMMAND..."
pg_config=$(find_pg_config)
require_installed "$pg_config"
bindir=$("$pg_config" --bindir)
server=$(scratch_dir server)
read -rd "" -a wrapper <<<"${SERVER_WRAPPER:-}" || true

# Fast shutdown, then immediate after 30 seconds, and no mercy for a server that hangs at its start; only ever the pid
# of this very server.
stop() {
    local status=$? pid=${server_pid:-} signal
    trap - EXIT
    for signal in INT QUIT KILL; do
        if [ -z "$pid" ] || ! kill -"$signal" "$pid" 2>/dev/null; then break; fi
        if timeout 30 tail --pid="$pid" -f /dev/null; then break; fi
    done
    if [ -n "${SERVER_LOG:-}" ]; then cp "$server/log" "$SERVER_LOG"; fi
    if [ "$status" -ne 0 ] && [ -s "$server/log" ]; then
        printf -- '--- end of the server log\n' >&2
        tail -n 80 "$server/log" >&2
    fi
    rm -rf "$server"
    exit "$status"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

as_server_user "$bindir/initdb" -D "$server/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync \
    >"$server/initdb.log" 2>&1 || { cat "$server/initdb.log" >&2; fail "initdb failed"; }
cat >>"$server/data/postgresql.conf" - "${SERVER_CONFIG:-/dev/null}" <<EOF
shared_preload_libraries = 'llm_router'
listen_addresses = ''
unix_socket_directories = '$server'
fsync = off
EOF

# Each of these commands becomes the next one, so server_pid is the postmaster's own pid. In a session of its own, so that
# an interrupt typed at the terminal reaches this script and not the server.
touch "$server/log"
"${server_user[@]}" setsid "${wrapper[@]}" "$bindir/postgres" -D "$server/data" >>"$server/log" 2>&1 &
server_pid=$!
export PGHOST=$server PGPORT=5432 PGUSER=postgres PGDATABASE=postgres PATH="$bindir:$PATH"
for _ in $(seq 600); do
    if pg_isready -q; then break; fi
    kill -0 "$server_pid" 2>/dev/null || fail "the server did not start"
    sleep 0.1
done
pg_isready -q || fail "the server did not accept connections within a minute"

cd "$PROJECT"
"$@"

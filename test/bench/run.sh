#!/bin/bash
# run.sh [--quick]: speed and memory of llm_chat against a mock provider on loopback, beside the floors that no design
# can go below: the same HTTP request from a C program, SELECT 1, and an INSERT that commits. Then each API format by
# itself, and streams beside curl.
#
# The server keeps its data in the project's cache directory, not in a temporary file system: a commit has to reach a
# disk. Nothing here passes or fails by its figures.
set -euo pipefail
# shellcheck source=test/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib/common.sh"

build=$(scratch_dir bench)
trap 'rm -rf "$build"' EXIT
pg_config=$(find_pg_config)
for program in mock floor_client stream_client; do
    cc -std=gnu11 -O2 -Wall -Wextra -Werror -I"$("$pg_config" --includedir)" -o "$build/$program" \
        "$PROJECT/test/bench/$program.c" -L"$("$pg_config" --libdir)" -lcurl -lpq
done

for module in routing formats keys circuits limits; do make -s -C "$PROJECT/test/modules/$module" PG_CONFIG="$pg_config"; done

config=$build/postgresql.conf
cat >"$config" <<'CONF'
fsync = on
max_connections = 200
shared_buffers = 512MB
max_wal_size = 4GB
checkpoint_timeout = 30min
autovacuum = off
log_min_messages = error
CONF
SERVER_CONFIG=$config bash "$PROJECT/test/with_server.sh" \
    python3 "$PROJECT/test/bench/bench.py" --programs "$build" "$@"

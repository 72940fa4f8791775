#!/bin/bash
# run.sh [--quick]: speed and memory of llm_chat against a mock provider on loopback, beside the floors that no design
# can go below: the same HTTP request from a C program, SELECT 1, and an INSERT that commits.
#
# The server keeps its data in the project's cache directory, not in a temporary file system: a commit has to reach a
# disk. Nothing here passes or fails by its figures.
set -euo pipefail
# shellcheck source=test/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib/common.sh"

build=$(scratch_dir bench)
trap 'rm -rf "$build"' EXIT
for program in mock floor_client; do
    cc -std=gnu11 -O2 -Wall -Wextra -Werror -o "$build/$program" "$PROJECT/test/bench/$program.c" -lcurl -lpthread
done

make -s -C "$PROJECT/test/modules/routing" PG_CONFIG="$(find_pg_config)"

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

#!/bin/bash
# run.sh [SECONDS]: fuzzes the events of streams, requests, each format's answers and streams, and the hiding of keys, for SECONDS in
# all (default 240), under ASAN and UBSAN in backends of a private server. Fails on any crash, finding of fuzz.c, or sanitizer
# report; the input that did it is then in /tmp, as printed.
#
# Environment: PG_CONFIG, the PostgreSQL to use (nothing is installed into it); CLANG, the compiler (default clang);
# FUZZ_TARGETS, a line each, instead of all.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
export PYTHONDONTWRITEBYTECODE=1

seconds=${1:-240}
pg_config=${PG_CONFIG:-pg_config}
clang=${CLANG:-clang}
bindir=$("$pg_config" --bindir)
runtime=$("$clang" -print-resource-dir)/lib/linux
arch=$(uname -m)
asan=$runtime/libclang_rt.asan-$arch.so
driver=$runtime/libclang_rt.fuzzer_no_main-$arch.a
for file in "$asan" "$driver"; do
    [ -e "$file" ] || { echo "fuzz: $file is missing; install the package libclang-rt-dev" >&2; exit 1; }
done

work=$(mktemp -d /tmp/llm_router_fuzz.XXXXXX)
as_server_user() { if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi; }
stop_server() {
    local pid
    pid=$(sed -n 1p "$work/data/postmaster.pid" 2>/dev/null || true)
    if [ -n "$pid" ]; then
        kill -QUIT "$pid" 2>/dev/null || true
        timeout 30 tail -s 0.1 --pid="$pid" -f /dev/null || true
    fi
}
leave() {
    local status=$?
    stop_server
    if [ "$status" -eq 0 ]; then rm -rf "$work"; else echo "fuzz: log and inputs are kept in $work" >&2; fi
}
trap leave EXIT

# -Bsymbolic: the sanitizer's library has empty versions of the hooks by which the fuzzer sees coverage.
echo "fuzz: building"
"$clang" -std=gnu11 -O1 -g -fPIC -shared -fno-omit-frame-pointer -fno-sanitize-recover=undefined \
    -fsanitize=address,undefined,fuzzer-no-link -shared-libasan -Wl,-Bsymbolic -Wno-ignored-attributes \
    -I../../src -I../modules/formats -isystem "$("$pg_config" --includedir-server)" -o "$work/fuzz.so" \
    fuzz.c ../../src/base/{encoding,errors}.c ../../src/chat/*.c ../../src/providers/*.c \
    ../../src/secrets/redaction_text.c \
    -Wl,--whole-archive "$driver" -Wl,--no-whole-archive -lstdc++ -lm

# The sanitizer starts itself with the first allocation, and asks the dynamic linker for a symbol then; inside gettext, as
# one of PostgreSQL's libraries calls it while loading, that waits for ever. So the first allocation comes before.
"$clang" -shared -fPIC -fno-builtin -Wl,-z,initfirst -o "$work/early.so" -x c - <<C
#include <stdlib.h>
__attribute__((constructor)) static void allocate(void) { free(malloc(1)); }
C

all_targets=$(python3 seeds.py "$work")
[ "$(id -u)" != 0 ] || chown -R postgres "$work"
as_server_user "$bindir/initdb" -D "$work/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync >/dev/null
cat >>"$work/data/postgresql.conf" <<CONF
listen_addresses = ''
unix_socket_directories = '$work'
fsync = off
max_stack_depth = 1MB
restart_after_crash = off
CONF

export PGHOST=$work PGUSER=postgres PGDATABASE=postgres
start_server() {
    : >"$work/log"
    as_server_user env LD_PRELOAD="$asan:$work/early.so" UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 \
        ASAN_OPTIONS=detect_leaks=0:detect_stack_use_after_return=0 \
        setsid "$bindir/postgres" -D "$work/data" >>"$work/log" 2>&1 &
    for _ in $(seq 300); do
        if "$bindir/pg_isready" -q; then return; fi
        kill -0 $! 2>/dev/null || break
        sleep 0.1
    done
    cat "$work/log" >&2
    echo "fuzz: the server did not start" >&2
    exit 1
}

# libFuzzer ends the backend by exit(), and the server with it: each target has a server of its own.
touch "$work/log"
chmod a+rw "$work/log"
mapfile -t targets <<<"${FUZZ_TARGETS:-$all_targets}"
each=$(((seconds + ${#targets[@]} - 1) / ${#targets[@]}))
echo "fuzz: ${#targets[@]} targets, $each s each"
for target in "${targets[@]}"; do
    start_server
    "$bindir/psql" -Xqc "CREATE OR REPLACE FUNCTION fuzz(text, text, text, int) RETURNS int LANGUAGE c AS '$work/fuzz.so'"
    "$bindir/psql" -XqAt -c "SELECT fuzz('$target', '$work/corpus/$target', '$work/dictionary/$target', $each)" \
        >/dev/null 2>"$work/psql.$target" || true
    stop_server
    executed=$(awk '/stat::number_of_executed_units/ { print $2 }' "$work/log")
    coverage=$(awk '/DONE *cov: / { print $4 }' "$work/log")
    if [ -z "$executed" ] || [ -z "$coverage" ] || grep -aqE 'ERROR: (Addr|libFuzzer)|runtime error:|FINDING:|SUMMARY:' "$work/log"; then
        grep -aE -A25 'ERROR: |runtime error:|FINDING:' "$work/log" | head -60 >&2
        echo "fuzz: $target failed" >&2
        exit 1
    fi
    echo "fuzz: $target, $executed executions, $coverage edges, no finding"
done

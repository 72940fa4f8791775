#!/bin/bash
# run.sh [SECONDS]: fuzzes the parsers of answers and of requests, each for SECONDS (default 60), under ASAN and UBSAN in a
# backend of a private server. Fails on any crash or sanitizer report; the input that did it is then in /tmp, as printed.
#
# Environment: PG_CONFIG, the PostgreSQL to use (nothing is installed into it); CLANG, the compiler (default clang).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

seconds=${1:-60}
pg_config=${PG_CONFIG:-pg_config}
clang=${CLANG:-clang}
bindir=$("$pg_config" --bindir)
runtime=$(dirname "$("$clang" -print-file-name=libclang_rt.asan-x86_64.so)")
runtime=${runtime:-.}
[ -e "$("$clang" -print-file-name=libclang_rt.asan-x86_64.so)" ] || runtime=$("$clang" -print-resource-dir)/lib/linux
arch=$(uname -m)
asan=$runtime/libclang_rt.asan-$arch.so
driver=$runtime/libclang_rt.fuzzer_no_main-$arch.a
for file in "$asan" "$driver"; do
    [ -e "$file" ] || { echo "fuzz: $file is missing; install clang's runtime libraries (libclang-rt-14-dev or clang)" >&2; exit 1; }
done

work=$(mktemp -d /tmp/llm_router_fuzz.XXXXXX)
as_server_user() { if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi; }
stop() {
    local status=$? pid
    pid=$(sed -n 1p "$work/data/postmaster.pid" 2>/dev/null || true)
    if [ -n "$pid" ]; then
        kill -QUIT "$pid" 2>/dev/null || true
        timeout 30 tail --pid="$pid" -f /dev/null || true
    fi
    if [ "$status" -eq 0 ]; then rm -rf "$work"; else echo "fuzz: log and inputs are kept in $work" >&2; fi
}
trap stop EXIT

echo "fuzz: building"
"$clang" -std=gnu11 -O1 -g -fPIC -shared -fno-omit-frame-pointer -fno-sanitize-recover=undefined \
    -fsanitize=address,undefined,fuzzer-no-link -shared-libasan -Wno-ignored-attributes \
    -I../../src -isystem "$("$pg_config" --includedir-server)" -o "$work/fuzz.so" \
    fuzz.c ../../src/base/errors.c ../../src/chat/*.c ../../src/providers/*.c \
    -Wl,--whole-archive "$driver" -Wl,--no-whole-archive -lstdc++ -lm

cp -r corpus "$work/corpus"
[ "$(id -u)" != 0 ] || chown -R postgres "$work"
as_server_user "$bindir/initdb" -D "$work/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync >/dev/null
cat >>"$work/data/postgresql.conf" <<CONF
listen_addresses = ''
unix_socket_directories = '$work'
fsync = off
max_stack_depth = 1MB
restart_after_crash = off
CONF

# ASAN's handlers stay out of PostgreSQL's own signals; a report ends the backend, and with it this run.
touch "$work/log"; chmod a+rw "$work/log"
as_server_user env LD_PRELOAD="$asan" UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 \
    ASAN_OPTIONS=detect_leaks=0:abort_on_error=0:exitcode=99:handle_segv=1:detect_stack_use_after_return=0 \
    setsid "$bindir/postgres" -D "$work/data" >>"$work/log" 2>&1 &
export PGHOST=$work PGUSER=postgres PGDATABASE=postgres
for _ in $(seq 300); do
    if "$bindir/pg_isready" -q; then break; fi
    sleep 0.1
done

for target in response request; do
    echo "fuzz: $target, $seconds s"
    "$bindir/psql" -Xqc "CREATE FUNCTION fuzz_$target(text, int) RETURNS int LANGUAGE c AS '$work/fuzz.so'" || true
    "$bindir/psql" -XqAt -c "SELECT fuzz_$target('$work/corpus/$target', $seconds)" >/dev/null 2>"$work/psql.$target" || true
    executed=$(grep -a 'stat::number_of_executed_units' "$work/log" | tail -1 | awk '{print $2}')
    if grep -aqE 'ERROR: (Addr|UndefinedB|libFuzzer)|runtime error:|FINDING:|SUMMARY:|^==.*(ABORT|deadly)' "$work/log" || [ -z "$executed" ]; then
        grep -aE -A25 'ERROR: |runtime error:|FINDING:' "$work/log" | head -60 >&2
        echo "fuzz: $target failed" >&2
        exit 1
    fi
    echo "fuzz: $target, $executed executions, no finding"
    sed -i '/stat::number_of_executed_units/d' "$work/log"
done

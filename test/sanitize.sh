#!/bin/bash
# sanitize.sh: pg_regress and pgTAP against a build with AddressSanitizer and UndefinedBehaviorSanitizer.
#
# The extension is built from a copy of the project and installed into a copy of PostgreSQL of its own, in
# .cache/sanitize. PostgreSQL itself is the distribution's build, so the sanitizer's library is preloaded into the
# server. Any finding ends the process, and so the test; the server's log, printed then, shows it.
set -euo pipefail
# shellcheck source=test/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

if is_root; then
    run_in_work_copy sanitize.sh
    exit
fi

directory=$CACHE/sanitize
pg_config=$(bash "$PROJECT/test/lib/private_postgres.sh" "$directory/postgres")
say "building with sanitizers"
copy_tree "$directory/project"
make -s -j2 -C "$directory/project" PG_CONFIG="$pg_config" \
    SANITIZE='-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -O1' install

# The sanitizer starts itself with the first allocation, and asks the dynamic linker for a symbol then. When that happens
# inside gettext (libgpg-error's constructor calls it), both want one lock for ever. So the first allocation is made
# before every other library's constructor.
early=$directory/early_allocation.so
gcc -shared -fPIC -fno-builtin -Wl,-z,initfirst -o "$early" -x c - <<'EOF'
#include <stdlib.h>
__attribute__((constructor)) static void allocate(void) { free(malloc(1)); }
EOF

# Leaks are no fault at a backend's exit, which frees nothing. PostgreSQL measures its stack depth by addresses of local
# variables, which use-after-return checking would move to the heap.
asan='detect_leaks=0:detect_stack_use_after_return=0:abort_on_error=1:disable_coredump=1'
preload="$(gcc -print-file-name=libasan.so):$early"
export PG_CONFIG=$pg_config
export SERVER_WRAPPER="env LD_PRELOAD=$preload ASAN_OPTIONS=$asan UBSAN_OPTIONS=print_stacktrace=1"

status=0
make -s -C "$directory/project" installcheck || status=1
make -s -C "$directory/project" pgtapcheck || status=1
exit "$status"

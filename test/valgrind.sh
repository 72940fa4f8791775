#!/bin/bash
# valgrind.sh [TEST...]: runs regression tests (default: all of sql/) on a server under valgrind's memcheck, and fails
# when memcheck finds an invalid access or the use of an undefined value below a function of llm_router.
#
# Slow: minutes, so it is not part of run.sh. A distribution's PostgreSQL does not tell memcheck about its memory
# contexts, so an access within a context's block that was freed passes; make sanitize has the same limit.
set -euo pipefail
# shellcheck source=test/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

if is_root; then
    run_in_work_copy valgrind.sh "$@"
    exit
fi
command -v valgrind >/dev/null || fail "valgrind is not installed" "run: apt-get install valgrind"

PG_CONFIG=$(build_and_install)
export PG_CONFIG
findings=$CACHE/valgrind
rm -rf "$findings"
mkdir -p "$findings"
export SERVER_WRAPPER="valgrind --quiet --trace-children=yes --leak-check=no --num-callers=30 --error-markers=BEGIN,END
 --suppressions=$PROJECT/test/valgrind.supp --log-file=$findings/%p.log"

status=0
make -s -C "$PROJECT" installcheck ${1:+REGRESS="$*"} || status=1

# One report stands between BEGIN and END; ours are those with a frame in our library, which memcheck names by source
# file and line, or by the library where it has no symbols.
files=$(find "$PROJECT/src" -name '*.c' -printf '%f|' | sed 's/|$//; s/[.]/[.]/g')
reports=$(awk -v ours="[(]($files):[0-9]+[)]|/llm_router[.]so[)]" \
    '/BEGIN/ { report = "" } { report = report $0 "\n" } /END/ { if (report ~ ours) print report }' "$findings"/*.log)
if [ -n "$reports" ]; then
    printf '%s\n' "$reports"
    fail "memcheck reports errors below functions of llm_router" "all reports are in $findings"
fi
[ "$status" -ne 0 ] || say "memcheck reports nothing below functions of llm_router"
exit "$status"

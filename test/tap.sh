#!/bin/bash
# tap.sh [PROVE OPTION...] FILE...: runs TAP tests, which start and stop servers of their own with PostgreSQL::Test.
#
# PG_CONFIG names the PostgreSQL, TAP_LOGS a directory to keep the servers' logs of a failed run in.
set -euo pipefail
# shellcheck source=test/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

pg_config=$(find_pg_config)
require_installed "$pg_config"
pgxs=$(dirname "$(dirname "$("$pg_config" --pgxs)")")
[ -e "$pgxs/test/perl/PostgreSQL/Test/Cluster.pm" ] ||
    fail "PostgreSQL::Test::Cluster is missing in $pgxs" "install the package postgresql-server-dev-NN"
as_server_user test -r "$PROJECT/test/tap.sh" ||
    fail "user postgres cannot read $PROJECT" "run: bash test/run.sh, which works on a copy"

# Everything that the tests write goes there: the checkout may belong to somebody else.
scratch=$(scratch_dir tap)
finish() {
    local status=$?
    if [ "$status" -ne 0 ] && [ -n "${TAP_LOGS:-}" ]; then
        mkdir -p "$TAP_LOGS"
        cp -R "$scratch/tmp_check/log/." "$TAP_LOGS/" 2>/dev/null || true
    fi
    rm -rf "$scratch"
}
trap finish EXIT

cd "$PROJECT"
as_server_user env PATH="$("$pg_config" --bindir):$PATH" PG_CONFIG="$pg_config" \
    PG_REGRESS="$pgxs/test/regress/pg_regress" TESTDIR="$scratch" TESTLOGDIR="$scratch/tmp_check/log" \
    TESTDATADIR="$scratch/tmp_check" PYTHONDONTWRITEBYTECODE=1 \
    prove -I "$pgxs/test/perl" -I test/t/lib "$@"

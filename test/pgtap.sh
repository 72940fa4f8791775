#!/bin/bash
# pgtap.sh [PG_PROVE OPTION...] FILE...: runs pgTAP tests against a private server, each in a fresh database that has
# llm_router and pgtap, so that no test sees what another left behind.
set -euo pipefail
# shellcheck source=test/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

if [ "${1:-}" != --inside ]; then
    exec bash "$PROJECT/test/with_server.sh" bash "${BASH_SOURCE[0]}" --inside "$@"
fi
shift

command -v pg_prove >/dev/null || fail "pg_prove not found" "run: bash test/install_dependencies.sh test"
options=() files=() status=0
for argument in "$@"; do
    case $argument in
        -*) options+=("$argument") ;;
        *) files+=("$argument") ;;
    esac
done

psql -qX -v ON_ERROR_STOP=1 -c 'CREATE DATABASE pgtap_template' -c '\c pgtap_template' \
    -c 'CREATE EXTENSION pgtap' -c 'CREATE EXTENSION llm_router'
# The extension's worker may be connected to the template for a moment, and CREATE DATABASE refuses one in use.
psql -qX -v ON_ERROR_STOP=1 -c 'ALTER DATABASE pgtap_template ALLOW_CONNECTIONS false' \
    -c "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = 'pgtap_template'" >/dev/null
for file in "${files[@]}"; do
    database=pgtap_$(basename "$file" .sql)
    psql -qX -v ON_ERROR_STOP=1 -c "CREATE DATABASE \"$database\" TEMPLATE pgtap_template"
    PGOPTIONS='-c client_min_messages=warning' pg_prove "${options[@]}" -d "$database" "$file" || status=1
    psql -qX -v ON_ERROR_STOP=1 -c "DROP DATABASE \"$database\""
done
exit "$status"

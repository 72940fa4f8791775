#!/bin/bash
# lint.sh: every static check, one line of TAP each; what a failed check says follows its line. All are run, whatever
# the earlier ones found.
set -euo pipefail
# shellcheck source=test/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib/common.sh"
cd "$PROJECT"

number=0 failures=0
check() {
    local description=$1 output
    shift
    number=$((number + 1))
    if output=$("$@" 2>&1); then
        echo "ok $number - $description"
    else
        failures=$((failures + 1))
        echo "not ok $number - $description"
        printf '%s\n' "$output" | sed 's/^/# /'
    fi
}

skip() {
    number=$((number + 1))
    echo "ok $number - $1 # SKIP $2"
}

pg_config=$(find_pg_config)
mapfile -t code < <(find src test/bench test/fuzz -name '*.[ch]' 2>/dev/null | sort)
mapfile -t sources < <(find src -name '*.c' | sort)

scripts_parse() { for file in test/*.sh test/*/*.sh .ci/run; do bash -n "$file" || return 1; done; }

# With the flags that the Makefile gives.
clang_accepts() {
    local flags
    flags=$(make --no-print-directory CC=clang PG_CONFIG="$pg_config" lint-flags) || return 1
    # shellcheck disable=SC2086 # a list of words
    clang $flags -fsyntax-only "${sources[@]}"
}

cppcheck_accepts() {
    cppcheck --quiet --error-exitcode=1 --std=c11 --enable=warning,portability,performance --inline-suppr \
        --suppressions-list=test/lint/cppcheck.txt -j 2 -I src --template=gcc "${sources[@]}"
}

top_level_is_agreed() {
    local agreed='src sql expected test doc llm_router.control Makefile META.json README.md CHANGELOG.md LICENSE CONTRIBUTING.md'
    local name extra=()
    while read -r name; do
        case $name in
            .*) ;;
            *) [[ " $agreed " == *" $name "* ]] || extra+=("$name") ;;
        esac
    done < <(tracked | cut -d/ -f1 | sort -u)
    [ ${#extra[@]} -eq 0 ] || { echo "not among the agreed names: ${extra[*]}"; return 1; }
}

# What git tracks; in a copy without git, what is there and not built.
tracked() {
    git ls-files 2>/dev/null ||
        find . -path ./.cache -prune -o -type f ! -name '*.o' ! -name '*.d' ! -name '*.so' \
            ! -name 'llm_router--*.sql' ! -path './results/*' ! -name 'regression.*' -printf '%P\n'
}

expected_match() {
    local sql out
    for sql in sql/*.sql; do
        [ -e "expected/$(basename "$sql" .sql).out" ] || { echo "$sql has no expected output"; return 1; }
    done
    for out in expected/*.out; do
        [ -e "sql/$(basename "$out" .out | sed 's/_[0-9]$//').sql" ] || { echo "$out has no sql"; return 1; }
    done
}

layout="C code is laid out by make format"
if python=$(bash test/lib/venv.sh "$CACHE/lint" test/lint/requirements.txt); then
    check "$layout" "$(dirname "$python")/clang-format" --dry-run -Werror "${code[@]}"
else
    skip "$layout" "the Python package index, which has the clang-format needed, cannot be reached"
fi
check "includes follow the layers" perl test/lint/layers.pl
check "no function is over 100 lines, no line over 110 columns" perl test/lint/size.pl "${code[@]}"
check "META.json agrees with the control file" perl test/lint/metadata.pl
check "only the agreed names at the top level" top_level_is_agreed
check "each regression test has its expected output" expected_match
check "shell scripts parse" scripts_parse
check "cppcheck finds nothing" cppcheck_accepts
check "clang accepts the code with every warning an error" clang_accepts
echo "1..$number"
[ "$failures" -eq 0 ]

#!/bin/bash
# run.sh: installs what is missing, builds, and runs every test; ends with one line "N passed, N failed".
#
# The exit status is 0 only when nothing failed. Every phase runs whatever became of the earlier ones (without a build
# there is nothing to test, though), and leaves its log in .cache/logs. No cluster of this machine is touched.
set -euo pipefail
# shellcheck source=test/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

if [ "${1:-}" != --dependencies-installed ]; then
    bash "$PROJECT/test/install_dependencies.sh" test
    if is_root; then
        run_in_work_copy run.sh --dependencies-installed
        exit
    fi
fi

logs=$CACHE/logs
rm -rf "$logs"
mkdir -p "$logs"
touch "$logs"/{pg_config,python,model}
total_passed=0 total_failed=0 total_skipped=0

# phase NAME COMMAND...: runs it, adds up the test items in its log, shows the end of a failing one's. A phase which
# fails without a failed item, or succeeds without any item, counts as one failed or one passed.
phase() {
    local name=$1 status=0 passed failed skipped started=$SECONDS
    shift
    say "$name"
    "$@" >"$logs/$name.log" 2>&1 || status=$?
    read -r passed failed skipped < <(awk -f "$PROJECT/test/lib/count_results.awk" "$logs/$name.log")
    if [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then failed=1; fi
    if [ "$status" -eq 0 ] && [ "$((passed + failed + skipped))" -eq 0 ]; then passed=1; fi
    total_passed=$((total_passed + passed))
    total_failed=$((total_failed + failed))
    total_skipped=$((total_skipped + skipped))
    say "$name: $passed passed, $failed failed, $skipped skipped ($((SECONDS - started)) s)"
    grep -i '# *skip' "$logs/$name.log" >&2 || true
    if [ "$failed" -gt 0 ]; then
        grep -E '^not ok|FAILED' "$logs/$name.log" | head -n 40 >&2 || true
        printf -- '--- the last lines of %s\n' "$logs/$name.log" >&2
        tail -n 40 "$logs/$name.log" >&2
    fi
    return "$status"
}

# shellcheck disable=SC2317 # called by phase
build() { build_and_install >"$logs/pg_config"; }

# Of an index which cannot be reached no fault is made here: the tests that need the packages say so.
# shellcheck disable=SC2317 # called by phase
python_packages() {
    local requirements
    mapfile -t requirements < <(find test -name requirements.txt ! -path 'test/model/*' ! -path 'test/lint/*' | sort)
    bash test/lib/venv.sh "$CACHE/python" "${requirements[@]}" >"$logs/python" || [ $? -eq 3 ] || return 1
    PIP_NO_DEPS=1 bash test/lib/venv.sh "$CACHE/model" test/model/requirements.txt >"$logs/model" || [ $? -eq 3 ]
}

finish() {
    [ "$total_skipped" -eq 0 ] || say "$total_skipped skipped: the reasons are above"
    echo "$total_passed passed, $total_failed failed"
    [ "$total_failed" -eq 0 ]
    exit
}

cd "$PROJECT"
if ! phase build build; then finish; fi
phase packages python_packages || true
PG_CONFIG=$(cat "$logs/pg_config")
LLM_ROUTER_PYTHON=$(cat "$logs/python")
LLM_ROUTER_MODEL_PYTHON=$(cat "$logs/model")
export PG_CONFIG LLM_ROUTER_PYTHON LLM_ROUTER_MODEL_PYTHON
export TAP_LOGS=$logs/tap PYTHONDONTWRITEBYTECODE=1

phase lint make -s lint || true
phase regress make -s installcheck || true
phase formats make -s formatcheck || true
phase pgtap make -s pgtapcheck PROVE_FLAGS=--verbose || true
phase processes make -s tapcheck PROVE_FLAGS=--verbose || true
phase provider "${LLM_ROUTER_PYTHON:-python3}" -m pytest -q -p no:cacheprovider test/provider test/bench || true
phase fuzz make -s fuzz FUZZ_SECONDS=36 || true
phase bench bash test/bench/run.sh --quick || true
finish

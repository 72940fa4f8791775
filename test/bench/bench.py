"""Benchmarks of llm_chat and llm_chat_stream, run by run.sh against a private server with the extension preloaded.

Prints one table a question. Every figure is the median of several rounds, and every ratio compares figures of the
same round, because the machines that this runs on are small and noisy.
"""

import argparse
import atexit
import glob
import json
import math
import os
import re
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import formats
import usage

MODULES = Path(__file__).resolve().parents[1] / "modules"
MESSAGES = '[{"role": "user", "content": "How many legs has a spider?"}]'
CHAT = f"SELECT llm_chat('{MESSAGES}', 'eco');\n"
STREAM = f"SELECT llm_chat_stream('{MESSAGES}', 'eco')"
TICKS = os.sysconf("SC_CLK_TCK")


def sql(statement):
    """Run SQL, of any length, and return its output as text."""
    return subprocess.run(["psql", "-XqAt", "-v", "ON_ERROR_STOP=1"], input=statement, check=True,
                          stdout=subprocess.PIPE, text=True).stdout.strip()


def literal(text):
    return "'" + text.replace("'", "''") + "'"


class Mock:
    """The mock provider, a single-threaded epoll server in C."""

    def __init__(self, programs, *options):
        self.port_file = tempfile.mktemp(prefix="mock", dir=programs)
        self.process = subprocess.Popen([f"{programs}/mock", "--port-file", self.port_file, *map(str, options)],
                                        stdout=subprocess.DEVNULL)
        atexit.register(self.stop)
        deadline = time.monotonic() + 10
        while not os.path.exists(self.port_file):
            if time.monotonic() > deadline:
                raise SystemExit("the mock provider did not start")
            time.sleep(0.01)
        self.port = int(re.search(r"^http=(\d+)", open(self.port_file).read(), re.M).group(1))
        self.url = f"http://127.0.0.1:{self.port}/v1"

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait()


def postmaster_pid():
    return int(open(sql("SHOW data_directory") + "/postmaster.pid").readline())


def cpu_seconds(postmaster):
    """CPU time of the postmaster, its children of now, and those that it has seen end."""
    total = 0
    for stat in glob.glob("/proc/[0-9]*/stat"):
        try:
            fields = open(stat).read().rpartition(")")[2].split()
        except OSError:
            continue
        pid = int(stat.split("/")[2])
        if pid == postmaster:
            total += sum(int(field) for field in fields[11:15])
        elif int(fields[1]) == postmaster:
            total += int(fields[11]) + int(fields[12])
    return total / TICKS


def calls_logged(directory, begun, ended):
    """The times in ms, in order, of the calls that ended between two moments, from pgbench's logs."""
    times = []
    for log in glob.glob(f"{directory}/log*"):
        for line in open(log):
            fields = line.split()
            if begun <= int(fields[4]) + int(fields[5]) / 1e6 < ended:
                times.append(int(fields[2]) / 1000)
    return sorted(times)


def pgbench(script, clients, seconds, user=""):
    """Run one pgbench script: calls a second, median and 99th percentile in ms, CPU of the server in us a call.

    The start is left out: a session's first call reads PostgreSQL's catalogs and the configuration, which takes it
    several ms. `user` is llm_router.user_id.
    """
    warm_up = 1 + clients / 50
    with tempfile.TemporaryDirectory() as directory:
        path = f"{directory}/script.sql"
        with open(path, "w") as file:
            file.write(script)
        postmaster = postmaster_pid()
        process = subprocess.Popen(
            ["pgbench", "-n", "-M", "prepared", "-f", path, "-c", str(clients), "-j", str(min(clients, 2)),
             "-T", str(math.ceil(warm_up + seconds + 0.5)), "--log", f"--log-prefix={directory}/log"],
            env={**os.environ, "PGOPTIONS": f"-c llm_router.user_id={user}"},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        time.sleep(warm_up)
        begun, spent = time.time(), -cpu_seconds(postmaster)
        time.sleep(seconds)
        ended, spent = time.time(), spent + cpu_seconds(postmaster)
        output, _ = process.communicate()
        times = calls_logged(directory, begun, ended)
    if process.returncode != 0 or "number of failed transactions: 0" not in output or not times:
        raise SystemExit(output)
    return {
        "rate": len(times) / (ended - begun),
        "p50": times[len(times) // 2],
        "p99": times[len(times) * 99 // 100],
        "cpu": spent / len(times) * 1e6,
    }


def floor_client(programs, mock, clients, seconds):
    """The C program that makes the same request over and over, a thread a client."""
    output = subprocess.run(
        [f"{programs}/floor_client", "--url", mock.url + "/chat/completions", "--clients", str(clients),
         "--seconds", str(seconds)], check=True, stdout=subprocess.PIPE, text=True).stdout
    fields = dict(pair.split("=") for pair in output.split())
    return {"rate": float(fields["rate"]), "p50": float(fields["p50_us"]) / 1000,
            "p99": float(fields["p99_us"]) / 1000, "cpu": float(fields["cpu_us"])}


def median_of(rounds):
    return {key: statistics.median(figures[key] for figures in rounds) for key in rounds[0]}


def print_table(title, header, rows):
    widths = [max(len(str(row[i])) for row in [header, *rows]) for i in range(len(header))]
    print(f"\n{title}")
    for row in [header, *rows]:
        print("  " + "  ".join(str(cell).rjust(width) for cell, width in zip(row, widths)), flush=True)


def throughput(programs, mock, numbers_of_clients, rounds, seconds):
    """llm_chat beside the three floors, at each number of clients."""
    insert = "INSERT INTO bench_floor (request_id, content) VALUES (gen_random_uuid(), repeat('x', 200));\n"
    kinds = {
        "libcurl in C": lambda clients: floor_client(programs, mock, clients, seconds),
        "SELECT 1": lambda clients: pgbench("SELECT 1;\n", clients, seconds),
        "INSERT": lambda clients: pgbench(insert, clients, seconds),
        "llm_chat": lambda clients: pgbench(CHAT, clients, seconds),
    }
    pgbench(CHAT, 8, 1)
    for clients in numbers_of_clients:
        measured = {kind: [] for kind in kinds}
        for _ in range(rounds):
            for kind, measure in kinds.items():
                measured[kind].append(measure(clients))
        rows = []
        for kind, figures in measured.items():
            m = median_of(figures)
            # pgbench reads the clock once a turn: what is sent and answered within one turn has no time.
            p50 = f"{m['p50']:.3f}" if m["p50"] > 0 else "-"
            rows.append((kind, f"{m['rate']:.0f}", p50, f"{m['p99']:.3f}", f"{m['cpu']:.0f}"))
        print_table(f"{clients} client(s)", ("", "calls/s", "p50 ms", "p99 ms", "CPU us/call"), rows)
        of_floor = statistics.median(chat["rate"] / floor["rate"]
                                     for chat, floor in zip(measured["llm_chat"], measured["INSERT"]))
        print(f"  llm_chat / INSERT throughput: {of_floor:.2f}")
        if clients == 1:
            floors = ("libcurl in C", "SELECT 1", "INSERT")
            of_sum = statistics.median(measured["llm_chat"][i]["p50"] / sum(measured[f][i]["p50"] for f in floors)
                                       for i in range(rounds))
            print(f"  llm_chat p50 / sum of the floors' p50: {of_sum:.2f}")


def delayed(programs, numbers_of_clients, seconds):
    """A provider that takes 50 ms: what the router adds."""
    mock = Mock(programs, "--delay-ms", 50)
    point_at(mock)
    rows = []
    for clients in numbers_of_clients:
        floor = floor_client(programs, mock, clients, seconds)
        chat = pgbench(CHAT, clients, seconds)
        rows.append((clients, f"{floor['p50']:.2f}", f"{chat['p50']:.2f}", f"{chat['p50'] - floor['p50']:.2f}",
                     f"{chat['rate']:.0f}"))
    print_table("Provider with a delay of 50 ms", ("clients", "libcurl p50 ms", "llm_chat p50 ms", "added ms", "calls/s"),
                rows)
    mock.stop()


def private_kib(pid):
    """Memory that only this process has, without the server's shared memory, whose pages count as private while nobody
    else has touched them."""
    total = 0
    for line in open(f"/proc/{pid}/smaps"):
        if re.match(r"[0-9a-f]+-", line):
            shared = line.split()[1].endswith("s")
        elif line.startswith("Private_") and not shared:
            total += int(line.split()[1])
    return total


def memory(calls):
    """Private memory of a session after its first call and after many, beside a session without any."""
    session = subprocess.Popen(["psql", "-XqAt"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def ask(statement):
        session.stdin.write(statement + "\n")
        session.stdin.flush()
        return session.stdout.readline().strip()

    chat = CHAT.strip().removeprefix("SELECT ").removesuffix(";")
    pid = ask("SELECT pg_backend_pid();")
    ask("SELECT count(*) FROM pg_class;")
    plain = private_kib(pid)
    rows = [("before the first", plain, 0)]
    done = 0
    for target in sorted({1, 100, 1000, calls // 4, calls // 2, calls}):
        while done < target:
            batch = min(1000, target - done)
            ask(f"DO $$ BEGIN FOR i IN 1..{batch} LOOP PERFORM {chat}; END LOOP; END $$; SELECT 1;")
            done += batch
        used = private_kib(pid)
        rows.append((target, used, used - plain))
    session.stdin.close()
    session.wait()
    print_table("Private memory of one session, KiB", ("calls", "private", "more than plain"), rows)


def routing():
    """The plan of one request by itself: no SQL, no configuration to load."""
    sql("CREATE FUNCTION test_plan_microseconds(int, int, int) RETURNS float8 LANGUAGE c AS "
        f"'{MODULES}/routing/llm_router_routing_test'")
    # 2,000 rules over the 12 pairs of tier and power level: a plan looks at 167.
    plan = float(sql("SELECT min(test_plan_microseconds(500, 167, 5000)) FROM generate_series(1, 5)"))
    print_table("Routing alone", ("models", "rules", "us/plan"), [(500, 2000, f"{plan:.1f}")])
    library = f"'{MODULES}/circuits/llm_router_circuits_test'"
    sql(f"CREATE FUNCTION test_circuits_microseconds(int, int) RETURNS float8 LANGUAGE c AS {library};"
        f"CREATE FUNCTION test_circuits_note(int, text) RETURNS void LANGUAGE c AS {library}")
    cost = "SELECT min(test_circuits_microseconds(10, 20000)) FROM generate_series(1, 5)"
    well = float(sql(cost))
    sql("SELECT test_circuits_note(i, 'unavailable') FROM generate_series(1, 100) AS i")
    ill = float(sql(cost))
    sql("SELECT test_circuits_note(i, 'ok') FROM generate_series(1, 100) AS i")
    print_table("Circuits alone, ten candidates", ("all is well, us/call", "something is ill"), [(f"{well:.3f}", f"{ill:.2f}")])


def compare(title, clients, rounds, measures):
    """Measures in turns, each a function; the median of the rounds' ratios of the second to the first."""
    measured = {kind: [] for kind in measures}
    for _ in range(rounds):
        for kind, measure in measures.items():
            measured[kind].append(measure(clients))
    figures = {kind: median_of(of_kind) for kind, of_kind in measured.items()}
    print_table(f"{title}, {clients} client(s)", ("", "calls/s", "p99 ms", "CPU us/call"),
                [(kind, f"{m['rate']:.0f}", f"{m['p99']:.3f}", f"{m['cpu']:.0f}") for kind, m in figures.items()])
    first, second = measures
    ratio = statistics.median(two["rate"] / one["rate"] for one, two in zip(*measured.values()))
    print(f"  {second} / {first} throughput: {ratio:.3f}")


def compare_keys(title, rounds, seconds):
    """llm_chat with a user's own key against the same call with the platform's."""
    for clients in (1, 8):
        compare(title, clients, rounds, {
            "platform's key": lambda n: pgbench(CHAT, n, seconds, "bench-platform"),
            "user's key": lambda n: pgbench(CHAT, n, seconds, "bench1")})


def guard(failures, interval, rate, budgets):
    """Sets circuits, health checks, rates and budgets."""
    sql(f"ALTER SYSTEM SET llm_router.circuit_failures = {failures}")
    sql(f"ALTER SYSTEM SET llm_router.health_check_interval = '{interval}'")
    sql(f"SELECT pg_reload_conf(); UPDATE llm_providers SET (requests_per_minute, tokens_per_minute) = ({rate}, {rate}) WHERE name = 'mock';"
        f" UPDATE llm_tiers SET (requests_per_minute, tokens_per_minute) = ({rate}, {rate}) WHERE subscription_tier = 'enterprise';"
        f" DELETE FROM llm_budgets; {budgets}")


def guards(rounds, seconds):
    """llm_chat with all that watches over it against the same call with none of it, and the checks by themselves."""
    budgets = ("INSERT INTO llm_budgets (scope, scope_value, period, limit_usd) VALUES ('total', NULL, 'month', 1e9),"
               " ('tier', 'enterprise', 'month', 1e9), ('each_user', NULL, 'day', 1e9), ('power_level', 'eco', 'week', 1e9)")

    def off(clients):
        guard(0, "0", "NULL", "")
        return pgbench(CHAT, clients, seconds)

    def on(clients):
        guard(5, "5min", 2_000_000_000, budgets)
        return pgbench(CHAT, clients, seconds)

    for clients in (1, 32):
        compare("Circuits, health checks, two rates and four budgets", clients, rounds, {"off": off, "on": on})
    guard(5, "5min", "NULL", "")
    sql(f"CREATE FUNCTION test_limits_microseconds(int) RETURNS float8 LANGUAGE c AS '{MODULES}/limits/llm_router_limits_test'")
    cost = float(sql("SELECT min(test_limits_microseconds(20000)) FROM generate_series(1, 5)"))
    print_table("Two rates and four budgets alone, checked and settled", ("us/call",), [(f"{cost:.2f}",)])


def user_keys(rounds, seconds, users):
    """Users' keys: warm calls with few and with many keys in the table, and a cold key by itself."""
    sql("INSERT INTO llm_users (user_id, subscription_tier) VALUES ('bench1', 'enterprise'), ('bench-platform', 'enterprise');"
        " SET llm_router.user_id = 'bench1'; SELECT llm_key_add('mock', 'sk-bench-user-0123456789', validate => false)")
    compare_keys("1 key in the table", rounds, seconds)
    # Ten keys a user: the mock's, and copies of it that nobody opens.
    sql(f"""
        INSERT INTO user_api_keys (user_id, provider_id, encrypted_api_key, base_url, masked_key, key_name)
        SELECT 'bench' || u, p.id, k.encrypted_api_key, p.base_url, k.masked_key, 'default'
        FROM user_api_keys k, generate_series(1, {users}) AS u, (SELECT * FROM llm_providers ORDER BY name = 'mock' DESC, name LIMIT 10) AS p
        ON CONFLICT DO NOTHING;
        ANALYZE user_api_keys""")
    keys = sql("SELECT count(*) FROM user_api_keys")
    compare_keys(f"{keys} keys of {users} users in the table", rounds, seconds)
    library = f"'{MODULES}/keys/llm_router_keys_test'"
    sql(f"CREATE FUNCTION test_key_open_microseconds(text, text, text, boolean, int) RETURNS float8 LANGUAGE c AS {library};"
        f"CREATE FUNCTION test_user_lookup_microseconds(text, int, int) RETURNS float8 LANGUAGE c AS {library}")
    opened = ("SELECT min(test_key_open_microseconds(k.encrypted_api_key, 'bench1', regexp_replace(k.base_url, '(//[^/]*).*', '\\1'), {}, 2000))"
              " FROM user_api_keys k JOIN llm_providers p ON p.id = k.provider_id, generate_series(1, 5)"
              " WHERE p.name = 'mock' AND k.user_id = 'bench1'")
    looked_up = "SELECT min(test_user_lookup_microseconds('bench', {}, {})) FROM generate_series(1, 3)"
    rows = [("look up a user with keys", sql(looked_up.format(users, min(users, 20000))), sql(looked_up.format(1, 20000))),
            ("open a key", sql(opened.format("true")), sql(opened.format("false")))]
    print_table("A user's key by itself, us", ("", "cold", "cached"),
                [(what, f"{float(cold):.1f}", f"{float(cached):.2f}") for what, cold, cached in rows])


def api_formats(rounds):
    """Each API format by itself: checking a request, writing it, and reading its answer, without SQL and network.

    The sizes take turns, so that what else the machine does meets all of them alike.
    """
    sizes = {"1 KB": (1000, 700, 200), "100 KB": (100_000, 700, 4), "answer": (1000, 100_000, 10)}
    sql(f"""
        CREATE FUNCTION test_format_microseconds(text, text, jsonb, jsonb, text, int) RETURNS float8[] LANGUAGE c AS
            '{MODULES}/formats/llm_router_test';
        CREATE TABLE bench_formats (format text, size text, model text, messages jsonb, options jsonb, body text, loops int)
    """)
    names = sql("SELECT DISTINCT api_format FROM llm_providers ORDER BY 1").split()
    for name in names:
        model, tools = formats.MODELS[name]
        options = json.dumps({"max_tokens": 500, "temperature": 0.2, **({"tools": formats.TOOLS} if tools else {})})
        for size, (asked, answered, loops) in sizes.items():
            values = (name, size, model, json.dumps(formats.conversation(asked, tools), ensure_ascii=False), options,
                      json.dumps(formats.answer(name, answered), ensure_ascii=False))
            sql(f"INSERT INTO bench_formats VALUES ({', '.join(map(literal, values))}, {loops})")
    measured = {}
    for _ in range(rounds):
        for line in sql("SELECT format, size, array_to_string(test_format_microseconds(format, model, messages, options,"
                        " body, loops), ' ') FROM bench_formats ORDER BY format, size").splitlines():
            name, size, figures = line.split("|")
            measured.setdefault((name, size), []).append([float(figure) for figure in figures.split()])
    rows = []
    for name in names:
        steps = {size: [statistics.median(step) for step in zip(*measured[name, size])] for size in sizes}
        whole = {size: statistics.median(write + read for _, write, read in measured[name, size]) for size in sizes}
        ratio = statistics.median((large[1] + large[2]) / (small[1] + small[2]) for large, small in
                                  zip(measured[name, "100 KB"], measured[name, "1 KB"]))
        rows.append((name, f"{whole['1 KB']:.1f}", f"{whole['100 KB']:.0f}", f"{ratio:.0f}", f"{whole['answer']:.0f}",
                     f"{steps['1 KB'][0]:.1f}", f"{steps['100 KB'][0]:.0f}"))
    print_table("API formats: writing the request and reading the answer, us a call; before it, checking the messages",
                ("", "1 KB", "100 KB", "ratio", "100 KB answer", "check 1 KB", "check 100 KB"), rows)


def read_by_curl(mock, chunks):
    """Chunks a second that curl reads, the start of its process not counted."""
    seconds = subprocess.run(
        ["curl", "-sfN", "--noproxy", "*", "-o", "/dev/null", "-w", "%{time_total}", "-H", "Content-Type: application/json",
         "-d", '{"stream":true}', mock.url + "/chat/completions"], check=True, stdout=subprocess.PIPE, text=True).stdout
    return {"rate": chunks / float(seconds)}


def read_by_sql(programs, chunks):
    """The same stream through llm_chat_stream, its rows read one at a time by a client of libpq."""
    output = subprocess.run([f"{programs}/stream_client", CHAT, STREAM], check=True, stdout=subprocess.PIPE,
                            text=True).stdout
    figures, _, last = output.partition(" last=")
    fields = {name: float(value) for name, value in (pair.split("=") for pair in figures.split())}
    if fields["rows"] != chunks or "llm_router" not in json.loads(last):
        raise SystemExit(f"not the whole stream: {output}")
    return {**fields, "rate": chunks / fields["seconds"]}


def streams(programs, chunks, paced_chunks, rounds):
    """Streams beside curl, which only reads; both in every round."""
    paces = {
        "as fast as it is read": (chunks, ()),
        "a write for each chunk": (chunks, ("--chunk-us", 0)),
        "a chunk each 100 us": (paced_chunks, ("--chunk-us", 100)),
    }
    rows = []
    for pace, (count, options) in paces.items():
        mock = Mock(programs, "--chunks", count, *options)
        point_at(mock)
        # The end mark is none, and the last two chunks are told in one row.
        pairs = [(read_by_curl(mock, count + 3), read_by_sql(programs, count + 3)) for _ in range(rounds)]
        mock.stop()
        curl, chat = (median_of(figures) for figures in zip(*pairs))
        ratio = statistics.median(ours["rate"] / theirs["rate"] for theirs, ours in pairs)
        rows.append((pace, f"{curl['rate']:.0f}", f"{chat['rate']:.0f}", f"{ratio:.2f}", f"{chat['cpu_us']:.1f}",
                     f"{chat['first_ms']:.1f}"))
    print_table("Streams: chunks a second by curl, and rows a second of llm_chat_stream read one at a time by libpq",
                ("provider sends", "curl", "llm_chat_stream", "ratio", "CPU us/chunk", "first ms"), rows)


def stream_memory(programs, chunks):
    """What a session has to itself in the course of a long stream."""
    mock = Mock(programs, "--chunks", chunks)
    point_at(mock)
    figures = read_by_sql(programs, chunks + 3)
    mock.stop()
    print_table("Anonymous memory of a session that streams, KiB", ("chunks", "before", "most"),
                [(chunks, f"{figures['kib_begun']:.0f}", f"{figures['kib_most']:.0f}")])


def point_at(mock):
    """Make the mock the provider of every eco call."""
    sql(f"""
        UPDATE llm_providers SET base_url = '{mock.url}' WHERE name = 'mock';
        INSERT INTO llm_providers (name, display_name, base_url, auth_type)
        SELECT 'mock', 'Mock', '{mock.url}', 'bearer' WHERE NOT EXISTS (SELECT FROM llm_providers WHERE name = 'mock');
        DELETE FROM llm_routing_rules WHERE power_level = 'eco';
        INSERT INTO llm_models (provider_id, model_name, display_name, power_level, cost_per_1k_input_tokens,
                                cost_per_1k_output_tokens)
        SELECT id, 'mock-model', 'Mock', 'eco', 0.00015, 0.0006 FROM llm_providers WHERE name = 'mock'
        ON CONFLICT DO NOTHING;
        INSERT INTO llm_routing_rules (power_level, subscription_tier, priority, model_id)
        SELECT 'eco', 'enterprise', 1, m.id FROM llm_models m WHERE model_name = 'mock-model';
    """)
    sql("SELECT llm_provider_set_key('mock', 'sk-bench-0123456789', validate => false)")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--programs", required=True, help="directory of the compiled mock and floor_client")
    parser.add_argument("--quick", action="store_true", help="one short round of each, to see that it works")
    options = parser.parse_args()
    quick = options.quick
    rounds, seconds, calls = (1, 1, 2000) if quick else (3, 4, 100_000)

    sql("CREATE EXTENSION IF NOT EXISTS llm_router; CREATE TABLE bench_floor (id bigserial PRIMARY KEY,"
        " request_id uuid, content text, created_at timestamptz DEFAULT now())")
    mock = Mock(options.programs)
    point_at(mock)
    throughput(options.programs, mock, (1, 32) if quick else (1, 8, 32, 100), rounds, seconds)
    routing()
    api_formats(3 if quick else 15)
    memory(calls)
    user_keys(rounds, seconds, 2000 if quick else 100_000)
    guards(rounds, seconds)
    mock.stop()
    delayed(options.programs, (32,) if quick else (1, 32, 100), seconds)
    streams(options.programs, 20_000, 2000 if quick else 20_000, 3 if quick else 9)
    stream_memory(options.programs, 20_000 if quick else 200_000)
    lost = sql("SELECT count(*) FROM llm_usage_logs WHERE status <> 'ok'")
    print(f"\nledger rows: {sql('SELECT count(*) FROM llm_usage_logs')}, of which not ok: {lost}")
    # Last, since it begins with new ledgers.
    usage.run((20_000, 100_000) if quick else (1_000_000, 10_000_000), sql, private_kib, print_table)


if __name__ == "__main__":
    main()

"""The usage functions on synthetic ledgers of a year: does their time grow with the ledger, and does an export's memory?"""

import statistics
import subprocess
import time

# As the ledger's writer makes partitions and rows: each call in a row of the rollup of its own when there are many users.
FILL = """
SET synchronous_commit = off;
SET maintenance_work_mem = '512MB';
SET max_parallel_maintenance_workers = 0;
DO $$
DECLARE
    month timestamptz;
    part text;
BEGIN
    FOR month IN SELECT generate_series(date_trunc('month', now() - interval '1 year', 'UTC'), now(), interval '1 month') LOOP
        part := 'bench_usage_' || to_char(month, 'YYYYMM');
        EXECUTE format('CREATE TABLE %I (LIKE llm_usage_logs)', part);
        EXECUTE format($sql$
            INSERT INTO %I (id, request_id, attempt, user_id, role_name, provider, model, provider_id, model_id, power_level,
                input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens, price_input, price_output,
                total_cost, cost_source, response_time_ms, used_byok, status, http_status, finish_reason, is_final, attempts, created_at)
            SELECT i, gen_random_uuid(), 1, 'user' || i * 7919 %% @users, 'app', (ARRAY['openai', 'anthropic', 'groq', 'mistral'])[1 + m %% 4],
                'model-' || m, 1 + m %% 4, m, (ARRAY['eco', 'balanced', 'precision'])[1 + m %% 3], 200 + i %% 800, i %% 200, 0,
                100 + i %% 300, 0, 0.00015, 0.0006, (200 + i %% 800) * 0.00000015 + (100 + i %% 300) * 0.0000006, 'prices',
                200 + 20 * (i * 31 %% 97), m = 5, CASE WHEN i %% 50 = 0 THEN 'error' ELSE 'ok' END, 200, 'stop', true, 1 + (i %% 40 = 0)::int,
                now() - interval '1 year' + i * (interval '1 year' / @rows)
            FROM (SELECT i, (i * 104729 %% 12)::int AS m FROM generate_series(1, @rows::bigint) AS i
                  WHERE now() - interval '1 year' + i * (interval '1 year' / @rows) >= %L
                    AND now() - interval '1 year' + i * (interval '1 year' / @rows) < %L) AS s$sql$,
            part, month, month + interval '1 month');
        EXECUTE format('ALTER TABLE %I ADD PRIMARY KEY (created_at, request_id, attempt, user_id)', part);
        EXECUTE format('CREATE INDEX ON %I (user_id, created_at)', part);
        EXECUTE format('CREATE INDEX ON %I (request_id)', part);
        EXECUTE format('ALTER TABLE llm_usage_logs ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', part, month, month + interval '1 month');
    END LOOP;
END $$;
INSERT INTO llm_usage_rollup (bucket, user_id, provider, model, power_level, used_byok, status, requests, attempts, fallbacks, errors,
    input_tokens, cached_input_tokens, output_tokens, total_cost, latency_sum_ms, latency_histogram)
SELECT date_bin('15 minutes', created_at, 'epoch'), user_id, provider, model, power_level, used_byok, status, count(*), sum(attempts),
    count(*) FILTER (WHERE attempts > 1), count(*) FILTER (WHERE status <> 'ok'), sum(input_tokens), sum(cached_input_tokens),
    sum(output_tokens), sum(total_cost), sum(response_time_ms), llm_latency_histogram(array_agg(response_time_ms))
FROM llm_usage_logs GROUP BY 1, 2, 3, 4, 5, 6, 7 ORDER BY 1, 2, 3, 4, 5, 6, 7;
"""
CLOSE = """
DO $$
DECLARE
    before timestamptz;
    horizon timestamptz;
BEGIN
    LOOP
        before := horizon;
        horizon := llm_usage_totals_close(date_bin('15 minutes', now() - interval '15 minutes', 'epoch'));
        EXIT WHEN horizon = before;
    END LOOP;
END $$;
"""

QUERIES = (
    ("summary, month", "UTC", "", "llm_usage_summary('month')"),
    ("summary, month, +5:30", "Asia/Kolkata", "", "llm_usage_summary('month')"),
    ("summary, year", "UTC", "", "llm_usage_summary('year')"),
    ("by model, month", "UTC", "", "llm_usage_by_model('month')"),
    ("by day, month", "UTC", "", "llm_usage_over_time('month')"),
    ("by day, month, +5:30", "Asia/Kolkata", "", "llm_usage_over_time('month')"),
    ("by month, year, +5:30", "Asia/Kolkata", "", "llm_usage_over_time('year')"),
    ("a user's summary, month", "UTC", "bench_user", "llm_usage_summary('month')"),
    ("last 100 rows", "UTC", "", "llm_usage_recent('month')"),
    ("recommendation, month", "UTC", "", "llm_recommend()"),
    ("counters for an exporter", "UTC", "", "llm_metrics_usage"),
    ("by user, month", "UTC", "", "llm_usage_by_user('month')"),
)


def session(statements):
    return subprocess.run(["psql", "-XqAt", "-v", "ON_ERROR_STOP=1"], input=statements, check=True, stdout=subprocess.PIPE,
                          text=True).stdout


def milliseconds(zone, user, query):
    """The median of five runs after a first one, planning included, of a session's own clock."""
    # The setting first: it takes a superuser.
    role = f"SET llm_router.user_id = 'user7'; SET ROLE {user};" if user else ""
    output = session(f"SET TimeZone = '{zone}'; {role}\n\\timing on\n" + f"SELECT count(*) FROM {query};\n" * 6)
    times = [float(line.split()[1]) for line in output.splitlines() if line.startswith("Time:")]
    return statistics.median(times[1:])


def export(private_kib, form):
    """Rows, seconds, and private memory of the backend before and at most."""
    psql = subprocess.Popen(["psql", "-XqAt"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def send(statement):
        psql.stdin.write(statement.encode() + b"\n")
        psql.stdin.flush()

    send("SELECT pg_backend_pid();")
    pid = int(psql.stdout.readline())
    send("SELECT count(*) FROM llm_usage_recent();")
    psql.stdout.readline()
    before = most = private_kib(pid)
    rows, begun = 0, time.monotonic()
    send(f"COPY (SELECT llm_usage_export('{form}', since => now() - interval '2 years')) TO STDOUT;\n\\echo the end")
    while psql.stdout.readline() != b"the end\n":
        rows += 1
        if rows % 20_000 == 0:
            most = max(most, private_kib(pid))
    seconds = time.monotonic() - begun
    psql.stdin.close()
    psql.wait()
    return rows, seconds, before, most


def run(numbers_of_rows, sql, private_kib, print_table):
    sql("CREATE ROLE bench_user; SELECT llm_grant('bench_user', 'user');")
    columns, sizes, exports = [], [], []
    for rows in numbers_of_rows:
        sql("DROP EXTENSION llm_router CASCADE; CREATE EXTENSION llm_router; SELECT llm_grant('bench_user', 'user');")
        session(FILL.replace("@rows", str(rows)).replace("@users", str(max(rows // 1000, 100))))
        begun = time.monotonic()
        sql(CLOSE)
        closed = time.monotonic() - begun
        sql("VACUUM (ANALYZE)")
        sizes.append((f"{rows:,}", sql("SELECT count(*) FROM llm_usage_rollup"), sql("SELECT count(*) FROM llm_usage_totals"), f"{closed:.1f}"))
        columns.append([milliseconds(*query[1:]) for query in QUERIES])
        if rows <= 1_000_000:
            for form in ("csv", "json"):
                lines, seconds, before, most = export(private_kib, form)
                exports.append((form, lines, f"{seconds:.1f}", before, most))
    print_table("Synthetic ledgers of a year", ("rows", "of the rollup", "of the totals", "s to sum up the year"), sizes)
    print_table("Usage functions, ms", ("", *(f"{rows:,} rows" for rows in numbers_of_rows)),
                [(QUERIES[i][0], *(f"{column[i]:.1f}" for column in columns)) for i in range(len(QUERIES))])
    print_table("An export, and what its backend has to itself, KiB", ("", "lines", "seconds", "before", "most"), exports)

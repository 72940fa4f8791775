# The usage functions on what the ledger's writer wrote: calls with fallbacks and
# failures, rows by the hundred and one by one, over months; and the export as a
# stream that gathers nothing up.
use strict;
use warnings;

use LedgerTest;
use LlmRouterTest;
use Test::More;

my $provider = LlmRouterTest::start_provider();
my $node = LedgerTest::start_node('main', conf => "work_mem = 64kB\nlog_temp_files = 0\ntrack_activities = on");
LlmRouterTest::add_sim($node, $provider);
sub sql { return LlmRouterTest::sql($node, shift) }

# Calls through the router.
sql(q(SET llm_router.user_id = 'ann'; SELECT llm_ask('Hello', 'eco') FROM generate_series(1, 3)));
sql(q(SET llm_router.user_id = 'bob'; SELECT llm_ask('Hello', 'eco')));
$provider->script({ status => 400 });
my (undef, undef, $refusal) = $node->psql('postgres', q(SET llm_router.user_id = 'bob'; SELECT llm_ask('Hello', 'eco')));
like($refusal, qr/ERROR/, 'a call that fails');
LedgerTest::wait_until_settled($node);
is(sql(q(SELECT s.calls = l.calls, s.cost_usd = l.cost, s.errors = l.errors, s.input_tokens = l.input, s.output_tokens = l.output, s.p50_ms > 0
	FROM llm_usage_summary('year') s, (SELECT count(*) FILTER (WHERE is_final) AS calls, sum(total_cost) AS cost, count(*) FILTER (WHERE is_final AND status <> 'ok') AS errors,
		sum(input_tokens) AS input, sum(output_tokens) AS output FROM llm_usage_logs) l)), 't|t|t|t|t|t', 'the summary is the sum of the ledger');
is(sql(q(SELECT user_id, calls, errors, lapsed FROM llm_usage_by_user('year') ORDER BY 1)), "ann|3|0|f\nbob|2|1|f", 'by user');
sql(q(CREATE ROLE ann; SELECT llm_grant('ann', 'user')));
is(sql(q(SET ROLE ann; SELECT calls FROM llm_usage_summary('year'))), 3, 'a user sees the own calls');
is(sql(q(SET ROLE ann; SELECT count(DISTINCT user_id), count(*) FROM llm_usage_recent('year'))), '1|3', '... and rows');

# Months of rows, in large batches.
sql('SET llm_router.ledger_wait = off; '
	  . "SELECT ledger_test_call('user' || i % 50, 0, '{\"i\": \"a,b\"}', now() - i * interval '10 minutes') FROM generate_series(1, 20000) AS i");
LedgerTest::wait_until_settled($node);
LedgerTest::rollup_is_sum_of_log($node, 'postgres', 'before the totals are made, the rollup is the sum of the log');
my $measures = q(SELECT string_agg(m::text, ' ') FROM (SELECT calls, cost_usd, errors, p50_ms, p95_ms FROM llm_usage_over_time('year', since => now() - interval '200 days')) AS m);
my $before = sql($measures);

# A writer closes the quarters that are over when it starts, and goes on as they end.
sub replace_writer
{
	my $pid = LedgerTest::writer_pid($node);
	sql("SELECT pg_terminate_backend($pid)");
	LlmRouterTest::wait_for_sql($node, "SELECT count(*) FROM pg_stat_activity WHERE pid = $pid", 0);
	sql(LedgerTest::call('closer'));
	LlmRouterTest::wait_for_sql($node, q(SELECT llm_usage_horizon() > now() - interval '1 hour'));
	LedgerTest::wait_until_settled($node);
	return;
}
replace_writer();
sql(q(DELETE FROM llm_usage_logs WHERE user_id = 'closer'; DELETE FROM llm_usage_rollup WHERE user_id = 'closer'));
LedgerTest::rollup_is_sum_of_log($node, 'postgres', 'the rollup is the sum of the log');
is(sql($measures), $before, 'the totals say what the rollup said');
cmp_ok(sql('SELECT count(*) FROM llm_usage_totals WHERE whole_day'), '>', 130, '... by day');

# What comes late reopens them.
sql(LedgerTest::call('late', at => sql(q(SELECT now() - interval '50 days'))));
LedgerTest::wait_until_settled($node);
is(sql(q(SELECT llm_usage_horizon() <= date_bin('15 minutes', now() - interval '50 days', 'epoch'))), 't', 'a late record moves the horizon back');
LedgerTest::rollup_is_sum_of_log($node, 'postgres', 'the totals are right then');
my $late = sql($measures);
replace_writer();
sql(q(DELETE FROM llm_usage_logs WHERE user_id IN ('closer', 'late'); DELETE FROM llm_usage_rollup WHERE user_id = 'closer'));
is(sql($measures), $late, '... and when they are closed again');
is(sql(q(SELECT sum(calls) FROM llm_usage_over_time('year', since => now() - interval '200 days'))), 20006, '... with the late one');
sql(q(DELETE FROM llm_usage_rollup WHERE user_id = 'late'; TRUNCATE llm_usage_totals));
is(sql(q(SELECT count(*) FROM llm_usage_logs)), 20005, 'a ledger of five months');
sql('VACUUM ANALYZE');
foreach my $zone ('UTC', 'Asia/Kolkata', 'America/St_Johns')
{
	is(sql(qq(SET TimeZone = '$zone'; SELECT s.calls = (SELECT count(*) FROM llm_usage_logs WHERE created_at >= s.begins AND created_at < s.ends)
		FROM llm_usage_summary('month', since => date_trunc('month', now()) - interval '2 months', until => date_trunc('month', now())) s)), 't', "two months of $zone");
}

my $log_position = -s $node->logfile;

# The export: every row once, in order, in any way of asking, and nothing set aside on disk for it.
my $all = q(since => '-200 days'::interval + now());
foreach my $format ('csv', 'json')
{
	my $lines = sql("SELECT llm_usage_export('$format', $all)");
	is(scalar(split /\n/, $lines), 20005 + ($format eq 'csv'), "$format: a line a row");
	is(sql("SELECT * FROM llm_usage_export('$format', $all)"), $lines, '... the same in FROM');
	is(sql("COPY (SELECT llm_usage_export('$format', $all)) TO STDOUT WITH (FORMAT csv, DELIMITER E'\\x01', QUOTE E'\\x02')"), $lines, '... and through COPY');
}
my @set_aside = grep { /temporary file/ } split /\n(?=\d{4}-)/, PostgreSQL::Test::Utils::slurp_file($node->logfile, $log_position);
is(scalar @set_aside, 0, 'no export wrote a temporary file, with 64 kB of work_mem') or diag($set_aside[0]);
is(sql(qq(SELECT array_agg(line::jsonb->>'id') = (SELECT array_agg(id::text ORDER BY created_at, request_id, attempt) FROM llm_usage_logs) FROM llm_usage_export('json', $all) AS line)),
	't', 'in the order of time');
my $plan = sql(q(EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) SELECT * FROM llm_usage_export('csv', since => now() - interval '1 hour')));
my @read = $plan =~ /Scan .*on (llm_usage_logs_p\w+) \w+ \(actual/g;
cmp_ok(scalar @read, '<=', 2, 'an hour reads the partitions that it touches only') or diag($plan);

$node->stop;
done_testing();

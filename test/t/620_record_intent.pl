# llm_router.record_intent: what was under way when the server crashed is in the ledger, is counted once, and counts
# against budgets, which therefore hold over crashes too.
use strict;
use warnings;

use LlmRouterTest;
use POSIX qw(WNOHANG);
use PostgreSQL::Test::Utils;
use Test::More;

my $provider = LlmRouterTest::start_provider();
my $node = LlmRouterTest::start_node('intent', conf => <<'CONF');
max_connections = 60
restart_after_crash = on
llm_router.record_intent = on
CONF
LlmRouterTest::add_sim($node, $provider);
# The answer to Hello has 4 tokens: with max_tokens 4 a call costs 0.10 USD, at worst too.
sql(q(SELECT llm_model_set_price('sim', 'sim-' || level, 0, 25000) FROM unnest('{eco,balanced,precision}'::text[]) AS level));

sub sql { return LlmRouterTest::sql($node, shift) }

sub ask
{
	my ($tag, $more) = @_;
	$more = $more ? ", $more" : '';
	return qq(SELECT llm_ask('Hello', options => '{"max_tokens": 4, "router": {"tags": {"test": "$tag"}$more}}'));
}

sub rows
{
	my ($tag) = @_;
	return sql("SELECT string_agg(concat_ws(' ', attempt, status, is_final, total_cost::float, estimated_cost::float), ', ' ORDER BY attempt) FROM llm_usage_logs WHERE tags->>'test' = '$tag'");
}

# A session that asks and hangs; its process and its pid on the server.
sub hang
{
	my ($tag) = @_;
	$provider->reset;
	$provider->script({ hang => 'before_headers' });
	my $process = LlmRouterTest::start_process($tag, 'psql', '-Xq', '-d', $node->connstr('postgres') . " application_name=$tag", '-c', ask($tag));
	$provider->wait_for_requests(1);
	return ($process, sql("SELECT pid FROM pg_stat_activity WHERE application_name = '$tag'"));
}

sub settled
{
	LlmRouterTest::wait_for_sql($node, 'SELECT sum(open_calls + queued) = 0 FROM llm_status');
	return;
}

sub wait_for_restart
{
	my ($pid) = @_;
	LlmRouterTest::wait_until('the server is back', sub { ($node->psql('postgres', "SELECT pid FROM pg_stat_activity WHERE pid = $pid"))[0] == 0 && ($node->psql('postgres', 'SELECT 1'))[0] == 0 });
	return;
}

subtest 'during and after an attempt' => sub {
	my ($process, $pid) = hang('cancelled');
	is(rows('cancelled'), '1 unknown 0.1', 'a row with status unknown, neither final nor not, and its worst case');
	is(sql('SELECT count(*) FROM llm_usage_rollup'), 0, 'the rollup does not count it');
	sql("SELECT pg_cancel_backend($pid)");
	LlmRouterTest::wait_for_exit($process);
	settled();
	is(rows('cancelled'), '1 cancelled t 0.1', 'the row of its end replaces it');
	is(sql('SELECT sum(requests) FROM llm_usage_rollup'), 1, 'which the rollup counts');

	$provider->reset;
	is(sql(ask('answer')), 'You said: Hello', 'an answer');
	is(rows('answer'), '1 ok t 0.1 0.1', 'has one row');
};

subtest 'retries' => sub {
	$provider->reset;
	$provider->script({ payload => 'garbage_json' }, { status => 503 });
	is(sql(ask('retries')), 'You said: Hello', 'an answer after an attempt that may have cost money and one that did not');
	is(rows('retries'), '1 error f 0.1, 3 ok t 0.1 0.1', 'no intent is left, and the second attempt has no row');
	is(sql('SELECT count(*) FROM llm_usage_logs WHERE is_final IS NULL'), 0, 'none at all');
};

subtest 'the writer leaves during an attempt' => sub {
	my ($process, $pid) = hang('writer');
	my ($writer) = LlmRouterTest::backend_pids($node, 'llm_router ledger writer');
	sql("SELECT pg_terminate_backend($writer)");
	sql("SELECT pg_cancel_backend($pid)");
	LlmRouterTest::wait_for_exit($process);
	LlmRouterTest::wait_until('the writer leaves', sub { !kill(0, $writer) });
	is(sql(ask('after')), 'You said: Hello', 'another writes');
	settled();
	is(rows('writer'), '1 cancelled t 0.1', 'the end is recorded');
};

subtest 'a caller is killed: a crash' => sub {
	is(sql(ask('crash')), 'You said: Hello', 'an answer before it');
	my ($process, $pid) = hang('crash');
	kill('KILL', $pid);
	LlmRouterTest::wait_for_exit($process);
	wait_for_restart($pid);
	$provider->reset;
	sql("INSERT INTO llm_budgets (scope, period, limit_usd) VALUES ('total', 'month', 100)");
	is(sql('SELECT used_usd, used_requests FROM llm_budget_status'),
		sql('SELECT trim_scale(sum(coalesce(total_cost, estimated_cost))), count(*) FILTER (WHERE is_final) FROM llm_usage_logs'),
		'a budget counts what the ledger has, with what was under way at its worst case');
	is(rows('crash'), '1 ok t 0.1 0.1, 1 unknown t 0.1', 'the orphan is marked: final, with status unknown');
	is(sql("SELECT requests, total_cost::float, unknown_cost_requests, unknown_cost_estimate::float FROM llm_usage_rollup WHERE status = 'unknown'"), '1|0|1|0.1',
		'and the rollup counts it once, its worst case apart');
	my ($writer) = LlmRouterTest::backend_pids($node, 'llm_router ledger writer');
	sql("SELECT pg_terminate_backend($writer)");
	LlmRouterTest::wait_until('the writer leaves', sub { !kill(0, $writer) });
	is(sql(ask('once')), 'You said: Hello', 'the next writer');
	is(sql("SELECT sum(requests) FROM llm_usage_rollup WHERE status = 'unknown'"), 1, '... does not count it again');
};

subtest 'immediate shutdown, and fast shutdown' => sub {
	my ($process) = hang('immediate');
	$node->stop('immediate');
	LlmRouterTest::wait_for_exit($process);
	$node->start;
	is(sql(ask('next')), 'You said: Hello', 'the first call after it');
	LlmRouterTest::wait_for_sql($node, 'SELECT count(*) FROM llm_usage_logs WHERE is_final IS NULL', 0);
	is(rows('immediate'), '1 unknown t 0.1', 'immediate: unknown');
	($process) = hang('fast');
	$node->stop('fast');
	LlmRouterTest::wait_for_exit($process);
	$node->start;
	is(sql(ask('next')), 'You said: Hello', 'the first call after it');
	settled();
	is(rows('fast'), '1 cancelled t 0.1', 'fast: its end is known');
	is(sql('SELECT count(*) FROM llm_usage_logs WHERE is_final IS NULL'), 0, 'no intent is left');
};

subtest 'a writer that cannot commit' => sub {
	my $session = $node->background_psql('postgres');
	$session->query('BEGIN; LOCK TABLE llm_usage_logs IN ACCESS EXCLUSIVE MODE');
	$provider->reset;
	my ($state, $message) = LlmRouterTest::sql_error($node, ask('blocked', '"timeout_ms": 500'));
	is($state, 'LR007', "LR007: $message");
	is(scalar($provider->requests), 0, 'nothing was sent');
	$session->query('COMMIT');
	$session->quit;
	settled();
	is(rows('blocked'), '1 cancelled t 0 0.1', 'and nothing was spent');
};

subtest '5 USD, 0.10 USD a call, and callers killed in between' => sub {
	sql('DELETE FROM llm_budgets; TRUNCATE llm_usage_rollup; TRUNCATE llm_usage_logs');
	sql("INSERT INTO llm_budgets (scope, period, limit_usd) VALUES ('total', 'month', 5)");
	my $script = "$PostgreSQL::Test::Utils::tmp_check/killed.sql";
	append_to_file($script, ask('killed', '"on_error": "return"') . ";\n");
	my ($sent, $crashes) = (0, 0);
	for my $round (1 .. 20)
	{
		# Three answers, and then none until one of those who wait is killed.
		$provider->reset;
		$provider->script({ times => 3 }, { hang => 'before_headers', times => 1000 });
		my $load = LlmRouterTest::start_process("killed$round", 'pgbench', '-n', '-h', $node->host, '-p', $node->port, '-c', 6, '-t', 50,
			'-f', $script, 'postgres');
		LlmRouterTest::wait_until('calls hang, or all are refused', sub { scalar($provider->requests) > 3 || !kill(0, $load) || waitpid($load, WNOHANG) == $load });
		my $pid = sql("SELECT pid FROM pg_stat_activity WHERE query LIKE 'SELECT llm_ask%' AND state = 'active' LIMIT 1");
		$crashes += kill('KILL', $pid) if $pid;
		LlmRouterTest::wait_until('the load ends', sub { !kill(0, $load) || waitpid($load, WNOHANG) == $load });
		LlmRouterTest::wait_until('the server is there', sub { ($node->psql('postgres', 'SELECT 1'))[0] == 0 });
		$sent += scalar($provider->requests);
		last unless $pid;
	}
	cmp_ok($crashes, '>=', 5, "$crashes crashes");
	cmp_ok($sent, '<=', 50, "$sent calls were sent");
	settled();
	my ($ok, $unknown, $spent) = split /\|/, sql("SELECT count(*) FILTER (WHERE status = 'ok'), count(*) FILTER (WHERE status <> 'ok'), sum(coalesce(total_cost, estimated_cost))::float FROM llm_usage_logs");
	is($ok + $unknown, 50, "$ok answers and $unknown attempts of unknown end are what 5 USD admit");
	is($spent, 5, 'and no more');
	is(sql('SELECT used_usd, reserved_usd FROM llm_budget_status'), '5|0', 'the counter says so');
};

$node->stop;
done_testing();

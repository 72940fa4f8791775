# A call that hangs gives way at once, and still leaves its record.
use strict;
use warnings;

use LlmRouterTest;
use Test::More;
use Time::HiRes qw(time);

# Far above what an interrupt takes, far below what the hanging provider would.
my $SOON = 5;

my $provider = LlmRouterTest::start_provider();
my $node = LlmRouterTest::start_node('interrupts');
LlmRouterTest::add_sim($node, $provider);

sub sql { return LlmRouterTest::sql($node, shift) }

# Starts a call that hangs where the script says; returns its session and pid.
sub hanging_call
{
	my ($where, $prelude) = @_;
	$provider->reset;
	$provider->script({ hang => $where, times => undef });
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	my $pid = $session->query('SELECT pg_backend_pid()');
	$session->query($prelude) if $prelude;
	$session->query_until(qr/started/, "\\echo started\nSELECT llm_ask('Hi');\n");
	$provider->wait_for_requests(1);
	return ($session, $pid);
}

sub last_status
{
	return sql("SELECT status, is_final, total_cost IS NULL FROM llm_usage_logs ORDER BY created_at DESC LIMIT 1");
}

foreach my $where (qw(before_headers after_headers mid_body))
{
	subtest "pg_cancel_backend ends a call that hangs $where" => sub {
		my ($session, $pid) = hanging_call($where);
		my $count = sql('SELECT count(*) FROM llm_usage_logs');
		my $begun = time();
		sql("SELECT pg_cancel_backend($pid)");
		LlmRouterTest::wait_for_sql($node, "SELECT state = 'idle' FROM pg_stat_activity WHERE pid = $pid");
		my $took = time() - $begun;
		cmp_ok($took, '<', $SOON, sprintf('after %.0f ms', 1000 * $took));
		LlmRouterTest::wait_for_sql($node, 'SELECT count(*) FROM llm_usage_logs', $count + 1);
		is(last_status(), 'cancelled|t|t', 'and it is in the ledger, its cost unknown');
		$session->{run}->kill_kill;
	};
}

subtest 'statement_timeout ends a call that hangs' => sub {
	$provider->reset;
	$provider->script({ hang => 'before_headers' });
	my $begun = time();
	my ($state) = LlmRouterTest::sql_error($node, "SET statement_timeout = '300ms'; SELECT llm_ask('Hi')");
	my $took = time() - $begun;
	is($state, '57014', 'with 57014');
	cmp_ok($took, '<', $SOON, sprintf('after %.0f ms', 1000 * $took));
};

subtest 'a failed transaction block gives its place and its record back before ROLLBACK' => sub {
	$provider->reset;
	$provider->script({ hang => 'before_headers' });
	my $count = sql('SELECT count(*) FROM llm_usage_logs');
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	$session->query("SET statement_timeout = '300ms'");
	$session->query_until(qr/done/, "BEGIN;\nSELECT llm_ask('Hi');\n\\echo done\n");
	LlmRouterTest::wait_for_sql($node, 'SELECT count(*) FROM llm_usage_logs', $count + 1);
	is(last_status(), 'cancelled|t|t', 'while the block is still open');
	is($provider->stats->{open_requests} // 0, 0, 'and the request is gone');
	$session->{run}->kill_kill;
};

subtest 'an exception block in PL/pgSQL ends the call that it catches' => sub {
	$provider->reset;
	$provider->script({ hang => 'before_headers' });
	my $count = sql('SELECT count(*) FROM llm_usage_logs');
	is(sql(q(SET statement_timeout = '300ms';
		DO $$ BEGIN PERFORM llm_ask('Hi'); EXCEPTION WHEN query_canceled THEN NULL; END $$;
		SELECT 'lives')), 'lives', 'the session goes on');
	LlmRouterTest::wait_for_sql($node, 'SELECT count(*) FROM llm_usage_logs', $count + 1);
	is(last_status(), 'cancelled|t|t', 'the record is there');
};

subtest 'pg_terminate_backend ends a call that hangs' => sub {
	my ($session, $pid) = hanging_call('before_headers');
	my $count = sql('SELECT count(*) FROM llm_usage_logs');
	my $begun = time();
	sql("SELECT pg_terminate_backend($pid)");
	LlmRouterTest::wait_for_sql($node, "SELECT count(*) FROM pg_stat_activity WHERE pid = $pid", 0);
	cmp_ok(time() - $begun, '<', $SOON, 'soon');
	LlmRouterTest::wait_for_sql($node, 'SELECT count(*) FROM llm_usage_logs', $count + 1);
	is(last_status(), 'cancelled|t|t', 'and it is in the ledger');
	$session->{run}->kill_kill;
};

subtest 'a client that dies ends its call' => sub {
	my ($session, $pid) = hanging_call('before_headers');
	my $count = sql('SELECT count(*) FROM llm_usage_logs');
	my $begun = time();
	$session->{run}->signal('KILL');
	LlmRouterTest::wait_for_sql($node, "SELECT count(*) FROM pg_stat_activity WHERE pid = $pid", 0);
	my $took = time() - $begun;
	cmp_ok($took, '<', $SOON, sprintf('after %.0f ms', 1000 * $took));
	LlmRouterTest::wait_for_sql($node, 'SELECT count(*) FROM llm_usage_logs', $count + 1);
	is(last_status(), 'cancelled|t|t', 'and it is in the ledger');
};

subtest 'DROP DATABASE of another database does not wait for a call' => sub {
	my ($session, $pid) = hanging_call('before_headers');
	sql('CREATE DATABASE other');
	my $begun = time();
	sql('DROP DATABASE other');
	my $took = time() - $begun;
	cmp_ok($took, '<', $SOON, sprintf('after %.0f ms', 1000 * $took));
	sql("SELECT pg_terminate_backend($pid)");
	$session->{run}->kill_kill;
};

subtest 'the session is usable after a cancelled call, over a fresh connection' => sub {
	$provider->reset;
	$provider->script({ hang => 'mid_body' });
	my ($status, $out, $err) = $node->psql('postgres',
		"SET statement_timeout = '300ms'; SELECT llm_ask('Hi'); RESET statement_timeout; SELECT llm_ask('Again')",
		on_error_stop => 0);
	like($err, qr/canceling statement/, 'the first is cancelled');
	is($out, 'You said: Again', 'the second is answered');
};

$node->stop;
done_testing();

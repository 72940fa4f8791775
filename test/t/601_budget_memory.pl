# The memory for counters of budgets: bounded, for any number of users, exact when it is too small, and refusing rather
# than overspending when it is full.
use strict;
use warnings;

use LlmRouterTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $provider = LlmRouterTest::start_provider();
# Room for 80 counters.
my $node = LlmRouterTest::start_node('memory', conf => "llm_router.limits_size = 64kB");
LlmRouterTest::add_sim($node, $provider);

sub sql { return LlmRouterTest::sql($node, shift) }

sub ask
{
	my ($user) = @_;
	return qq{SELECT llm_ask('Hello', 'eco', options => '{"max_tokens": 4, "router": {"user_id": "$user", "on_error": "return"}}')};
}

subtest 'more users than counters' => sub {
	sql("INSERT INTO llm_budgets (scope, period, limit_requests) VALUES ('each_user', 'month', 2)");
	my $calls = q{SELECT llm_ask('Hello', 'eco', options => format('{"max_tokens": 4, "router": {"user_id": "u%s", "on_error": "return"}}', n)::jsonb) FROM generate_series(1, 200) AS n};
	sql($calls) foreach 1 .. 3;
	LlmRouterTest::wait_for_sql($node, 'SELECT sum(open_calls + queued) = 0 FROM llm_status');
	is(sql("SELECT count(*), min(n), max(n) FROM (SELECT count(*) AS n FROM llm_usage_logs GROUP BY user_id) AS users"), '200|2|2',
		'200 users, of whom each makes two of three calls');
	cmp_ok(sql('SELECT count(*) FROM llm_budget_status'), '<=', 80, 'there are counters for some of them');
};

subtest 'full of calls under way' => sub {
	sql('DELETE FROM llm_budgets');
	sql("INSERT INTO llm_budgets (scope, period, limit_requests) SELECT 'each_user', 'month', 1000 + n FROM generate_series(1, 30) AS n");
	$provider->reset;
	$provider->script({ hang => 'before_headers', times => 2 });
	my @sessions = map { LlmRouterTest::start_process("hang$_", 'psql', '-Xq', '-d', $node->connstr('postgres') . ' application_name=hang', '-c', ask("h$_")) } 1 .. 2;
	$provider->wait_for_requests(2);
	my ($state, $message) = LlmRouterTest::sql_error($node, ask('h3') =~ s/, "on_error": "return"//r);
	is($state, 'LR003', 'LR003 for want of memory');
	like($message, qr/^budget \d+ cannot be counted: all memory for counters is taken by calls under way/, $message);
	is(scalar($provider->requests), 2, 'nothing was sent');
	is(sql(ask('h2') =~ s/h2/h1/r), 'You said: Hello', 'a user whose counters are there can call');
	sql("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = 'hang'");
	LlmRouterTest::wait_for_exit($_) foreach @sessions;
	is(sql(ask('h3')), 'You said: Hello', 'and so can the other when they have ended');
};

$node->stop;
done_testing();

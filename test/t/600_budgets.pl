# Budgets: what they admit, whom they concern, what comes after, and that they are
# never overshot, by many sessions at once, by large answers, by crashes.
use strict;
use warnings;

use LlmRouterTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $provider = LlmRouterTest::start_provider();
my $node = LlmRouterTest::start_node('budgets', conf => "max_connections = 120\nrestart_after_crash = on");
LlmRouterTest::add_sim($node, $provider);

sub sql { return LlmRouterTest::sql($node, shift) }

# The answer to Hello has 4 tokens, so that a call with max_tokens 4 costs just what
# it may cost: 0.10 USD at each level but eco, where it is 0.01 USD.
sql(q(SELECT llm_model_set_price('sim', 'sim-' || level, 0, 25000) FROM unnest('{balanced,precision}'::text[]) AS level));
sql(q(SELECT llm_model_set_price('sim', 'sim-eco', 0, 2500)));

# A statement that asks. Options: level, model, max_tokens (default 4; 0: none), user, router (more of its options).
sub ask
{
	my (%option) = @_;
	my $level = $option{level} ? "'$option{level}'" : 'NULL';
	my $model = $option{model} ? "'$option{model}'" : 'NULL';
	my $tokens = $option{max_tokens} // 4;
	my @router = $option{router} // ();
	push @router, qq("user_id": "$option{user}") if $option{user};
	my @options = $tokens ? qq("max_tokens": $tokens) : ();
	push @options, '"router": {' . join(', ', @router) . '}' if @router;
	return "SELECT llm_ask('Hello', $level, $model, '{" . join(', ', @options) . "}')";
}

# The text of the answer, or the SQLSTATE and message of the error.
sub outcome
{
	my ($state, $message) = LlmRouterTest::sql_error($node, ask(@_));
	return $state ? "$state $message" : 'answer';
}

# Only these budgets, and an empty ledger.
sub start_anew
{
	my (@budgets) = @_;
	LlmRouterTest::wait_for_sql($node, 'SELECT sum(open_calls + queued) = 0 FROM llm_status');
	sql('DELETE FROM llm_budgets; TRUNCATE llm_usage_rollup; TRUNCATE llm_usage_logs; ' . join('; ', map { "INSERT INTO llm_budgets $_" } @budgets));
	$provider->reset;
	return;
}

sub used
{
	my ($columns) = @_;
	return sql("SELECT $columns FROM llm_budget_status");
}

subtest 'dollars: the last cent that fits, and what the refusal says' => sub {
	start_anew("(scope, period, limit_usd) VALUES ('total', 'month', 0.25)");
	is(outcome(), 'answer', 'the first of three');
	is(outcome(), 'answer', 'the second');
	my ($status, $out, $err) = $node->psql('postgres', ask(), extra_params => [ '-v', 'VERBOSITY=verbose' ]);
	like($err, qr/ERROR:  LR003: budget \d+ \(total, month\) is used up: 0\.2 USD of 0\.25 USD used, and 0 USD reserved/, 'LR003: budget, limit and use');
	like($err, qr/DETAIL:  This request may use up to 0\.1 USD/, '... what the request may use');
	my $next = sql("SELECT date_trunc('month', now(), 'UTC') + interval '1 month'");
	like($err, qr/HINT:  The next month begins at \Q$next\E/, '... and when the period ends');
	is(outcome(max_tokens => 2), 'answer', 'a smaller request fits');
	is(used('used_usd, reserved_usd, limit_usd, used_requests, percent'), '0.25|0|0.25|3|100.00', 'llm_budget_status');
	is(scalar($provider->requests), 3, 'nothing was sent for what was refused');
	is(sql("SELECT status, detail FROM llm_doctor() WHERE check_name = 'budgets'") =~ s/budget \d+/budget N/r,
		'warning|near their end: budget N total month (100.00%)', 'llm_doctor');
};

subtest 'requests and tokens' => sub {
	start_anew("(scope, period, limit_requests) VALUES ('total', 'day', 2)");
	is(outcome(), 'answer', "request $_") foreach 1 .. 2;
	like(outcome(), qr/^LR003 .*2 requests of 2 requests used/, 'the third is refused');
	$provider->script({ status => 400 });
	sql('UPDATE llm_budgets SET limit_requests = 3');
	like(outcome(), qr/^LR006/, 'a request that fails');
	is(outcome(), 'answer', '... does not count');
	like(outcome(), qr/^LR003/, '... and the next is refused');

	start_anew("(scope, period, limit_tokens) VALUES ('total', 'day', 60)");
	is(outcome(), 'answer', 'tokens: an answer');
	is(used('used_tokens, reserved_tokens'), '12|0', '... counts as the provider counted it, 8 and 4');
	like(outcome(max_tokens => 60), qr/^LR003 .*12 tokens of 60 tokens used/, 'what might be too long is refused');
};

subtest 'answers larger than the estimate count in full' => sub {
	start_anew("(scope, period, limit_usd) VALUES ('total', 'month', 0.25)");
	$provider->script({ usage => { completion_tokens => 40 } });
	is(outcome(), 'answer', 'ten times what was asked for');
	is(used('used_usd, percent'), '1|400.00', '1 USD is used');
	like(outcome(), qr/^LR003 .*1 USD of 0\.25 USD used/, 'and the budget is used up');
	sql(q(SELECT llm_model_set_price('sim', 'sim-eco', 0, 0)));
	is(outcome(level => 'eco'), 'answer', 'what is free fits all the same');
	sql(q(SELECT llm_model_set_price('sim', 'sim-eco', 0, 2500)));
};

subtest 'scopes' => sub {
	sql("INSERT INTO llm_users (user_id, subscription_tier) VALUES ('ann', 'starter'), ('bob', 'starter'), ('cy', 'professional')");
	my @starter = (level => 'balanced');
	start_anew("(scope, scope_value, period, limit_requests) VALUES ('tier', 'starter', 'week', 2)");
	is(outcome(@starter, user => 'ann'), 'answer', 'tier: ann');
	is(outcome(@starter, user => 'bob'), 'answer', 'tier: bob');
	like(outcome(@starter, user => 'ann'), qr/^LR003 budget \d+ \(tier starter, week\)/, 'tier: used up by both');
	is(outcome(user => 'cy'), 'answer', 'tier: another is not concerned');

	start_anew("(scope, scope_value, period, limit_requests) VALUES ('user', 'ann', 'day', 1)");
	is(outcome(@starter, user => 'ann'), 'answer', 'user: ann');
	like(outcome(@starter, user => 'ann'), qr/^LR003 budget \d+ \(user ann, day\)/, 'user: once');
	is(outcome(@starter, user => 'bob'), 'answer', 'user: bob');

	start_anew("(scope, scope_value, period, limit_requests) VALUES ('each_user', 'starter', 'day', 1)");
	is(outcome(@starter, user => 'ann'), 'answer', 'each_user: ann');
	is(outcome(@starter, user => 'bob'), 'answer', 'each_user: bob has his own');
	like(outcome(@starter, user => 'bob'), qr/^LR003 budget \d+ \(each_user bob, day\)/, 'each_user: once');
	is(outcome(user => 'cy'), 'answer', 'each_user of a tier: not of another') foreach 1 .. 2;
	is(used('string_agg(scope_value, $$,$$)'), 'ann,bob', 'each has a counter');

	start_anew("(scope, scope_value, period, limit_requests) VALUES ('power_level', 'precision', 'day', 1)");
	is(outcome(level => 'precision'), 'answer', 'power_level: precision');
	like(outcome(level => 'precision'), qr/^LR003 budget \d+ \(power_level precision, day\)/, 'power_level: once');
	is(outcome(level => 'balanced'), 'answer', 'power_level: balanced');

	start_anew("(scope, period, limit_requests, enabled) VALUES ('total', 'day', 0, false)");
	is(outcome(), 'answer', 'a disabled budget does nothing');
	is(used('count(*)'), 0, '... and is not shown');
};

subtest 'several budgets: all or none' => sub {
	start_anew("(scope, period, limit_requests) VALUES ('total', 'day', 10)", "(scope, scope_value, period, limit_requests) VALUES ('user', 'ann', 'day', 0)");
	like(outcome(user => 'ann'), qr/^LR003 budget \d+ \(user ann, day\)/, 'the second refuses');
	is(sql("SELECT used_requests, reserved_usd FROM llm_budget_status WHERE scope = 'total'"), '0|0', 'the first keeps nothing');
};

subtest 'downgrade' => sub {
	start_anew("(scope, scope_value, period, limit_usd, action) VALUES ('power_level', 'precision', 'month', 0.1, 'downgrade'), ('power_level', 'balanced', 'month', 0.1, 'downgrade')");
	my @levels = map { sql(ask(level => 'precision') . '; SELECT power_level FROM llm_last_call()') =~ s/.*\n//r } 1 .. 4;
	is("@levels", 'precision balanced eco eco', 'precision, then balanced, then eco, which has no budget');
	like(outcome(model => 'sim/sim-precision'), qr/^LR003/, 'a model that was named is not replaced');

	sql("INSERT INTO llm_budgets (scope, scope_value, period, limit_usd, action) VALUES ('power_level', 'eco', 'month', 0.02, 'downgrade')");
	like(outcome(level => 'precision'), qr/^LR003 budget \d+ \(power_level eco, month\)/, 'nothing is lower than eco');

	start_anew("(scope, period, limit_usd, action) VALUES ('total', 'month', 0.12, 'downgrade')");
	@levels = map { sql(ask(level => 'precision') . '; SELECT power_level FROM llm_last_call()') =~ s/.*\n//r } 1 .. 3;
	is("@levels", 'precision eco eco', 'what is left of a budget for all goes to the cheaper level');
	like(outcome(level => 'precision'), qr/^LR003/, 'and nothing goes beyond it');

	sql("INSERT INTO llm_tiers (subscription_tier, power_levels) VALUES ('fine', '{precision}')");
	sql("INSERT INTO llm_routing_rules (power_level, subscription_tier, priority, model_id) VALUES ('precision', 'fine', 1, llm_model_id('sim', 'sim-precision'))");
	sql("INSERT INTO llm_users (user_id, subscription_tier) VALUES ('dee', 'fine')");
	like(outcome(level => 'precision', user => 'dee'), qr/^LR003/, 'no level that the tier lacks');
};

subtest 'max_tokens, and prices' => sub {
	start_anew("(scope, period, limit_usd) VALUES ('total', 'month', 100)");
	is(sql('SET llm_router.budget_max_tokens = 7; ' . ask(max_tokens => 0)), 'You said: Hello', 'no max_tokens');
	is(($provider->requests)[-1]{body}{max_tokens}, 7, 'under a budget, budget_max_tokens is sent');
	is(sql("SELECT estimated_cost::float, estimated_tokens - 7 BETWEEN input_tokens AND 10 * input_tokens FROM llm_usage_logs"), '0.175|t', '... and reserved');
	is(outcome(max_tokens => 5), 'answer', 'a max_tokens of its own');
	is(($provider->requests)[-1]{body}{max_tokens}, 5, '... is left alone');

	sql(q(UPDATE llm_models SET cost_per_1k_output_tokens = NULL WHERE model_name = 'sim-balanced'));
	like(outcome(level => 'balanced'), qr{^LR003 budget \d+ limits USD, and sim/sim-balanced has no price}, 'without a price there is no worst case');
	start_anew("(scope, period, limit_requests) VALUES ('total', 'month', 100)");
	is(outcome(level => 'balanced', max_tokens => 0), 'answer', '... which a limit of requests does not need');
	is(($provider->requests)[-1]{body}{max_tokens}, undef, '... nor max_tokens');
	sql(q(SELECT llm_model_set_price('sim', 'sim-balanced', 0, 25000)));
};

subtest 'keys of users' => sub {
	start_anew("(scope, period, limit_requests) VALUES ('total', 'month', 0)");
	my $url = $provider->url('/v1');
	sql("SELECT llm_provider_add('own', '$url'); SELECT llm_model_add('own', 'own-balanced', 'balanced', 0, 25000)");
	sql("SELECT llm_key_add('own', 'sk-test-ours', validate => false)");
	is(sql(ask() . '; SELECT provider FROM llm_last_call()'), "You said: Hello\nown", 'a key of one\'s own goes when the budget is used up');
	is(used('used_requests'), 0, '... and does not count');
	is($provider->requests, 1, 'one request');
	$provider->script({ status => 500 }, { status => 500 }, { status => 500 });
	like(outcome(), qr/^LR002/, 'what it cannot answer is not answered by the platform');
	like(outcome(router => '"byok": "never"'), qr/^LR003/, 'nor without it');
	sql('DELETE FROM llm_providers WHERE name = $$own$$');
};

subtest 'a warning, once a period' => sub {
	start_anew("(scope, period, limit_usd, warn_at) VALUES ('total', 'month', 1, 15)");
	my $session = $node->background_psql('postgres');
	$session->query('LISTEN llm_router');
	is(outcome(), 'answer', "call $_") foreach 1 .. 3;
	LlmRouterTest::wait_for_sql($node, "SELECT count(*) FROM llm_audit_logs WHERE action = 'budget.warning'", 1);
	is(sql("SELECT object, detail->>'percent' FROM llm_audit_logs WHERE action = 'budget.warning'"), 'total, month|20.00', 'an audit entry at the second');
	my $told = LlmRouterTest::wait_until('a notification', sub { $session->query('SELECT 1') =~ /("event": "budget_warning".*)/ ? $1 : undef });
	like($told, qr/"percent": 20.00/, "notified: $told");
	$session->quit;

	$node->restart;
	is(outcome(), 'answer', 'after a restart');
	is(used('used_usd'), '0.4', '... counted from the ledger');
	LlmRouterTest::wait_for_sql($node, 'SELECT sum(open_calls + queued) = 0 FROM llm_status');
	is(sql("SELECT count(*) FROM llm_audit_logs WHERE action = 'budget.warning'"), 1, '... nobody is told again');
};

subtest 'an attempt that may have cost money' => sub {
	start_anew("(scope, period, limit_usd) VALUES ('total', 'month', 0.25)");
	$provider->script({ hang => 'before_headers' });
	my ($state) = LlmRouterTest::sql_error($node, ask(router => '"timeout_ms": 500'));
	is($state, 'LR007', 'a timeout');
	is(used('used_usd, reserved_usd, used_requests'), '0.1|0|0', 'counts at its worst case');
	is(sql('SELECT total_cost, unknown_cost_estimate::float FROM llm_usage_rollup'), '0|0.1', '... which the rollup tells apart');
	is(outcome(), 'answer', 'one more fits');
	like(outcome(), qr/^LR003/, '... and no other');
	is(outcome(max_tokens => 2), 'answer', 'but a smaller one');

	# Answers that cannot be read may have been paid for: a retry needs room of its own.
	start_anew("(scope, period, limit_usd) VALUES ('total', 'month', 0.15)");
	$provider->script({ payload => 'garbage_json' });
	like(outcome(), qr/^LR002/, 'no retry without room');
	is(scalar($provider->requests), 1, 'one request');
	start_anew("(scope, period, limit_usd) VALUES ('total', 'month', 0.25)");
	$provider->script({ payload => 'garbage_json' });
	is(outcome(), 'answer', 'a retry with room');
	is(used('used_usd, reserved_usd, used_requests'), '0.2|0|1', 'both attempts count, as one request');
};

subtest 'cancelled, rolled back, terminated: nothing stays reserved' => sub {
	start_anew("(scope, period, limit_usd) VALUES ('total', 'month', 100)");
	is(sql('BEGIN; ' . ask() . '; ROLLBACK; SELECT used_usd FROM llm_budget_status'), "You said: Hello\n0.1", 'ROLLBACK gives nothing back');
	foreach my $end ('pg_cancel_backend', 'pg_terminate_backend')
	{
		$provider->reset;
		$provider->script({ hang => 'before_headers' });
		my $session = LlmRouterTest::start_process($end, 'psql', '-Xq', '-d', $node->connstr('postgres') . " application_name=$end",
			'-c', 'BEGIN', '-c', ask());
		$provider->wait_for_requests(1);
		is(used('reserved_usd'), '0.1', "$end: reserved while it waits");
		sql("SELECT $end(pid) FROM pg_stat_activity WHERE application_name = '$end'");
		LlmRouterTest::wait_for_sql($node, 'SELECT reserved_usd FROM llm_budget_status', 0);
		LlmRouterTest::wait_for_exit($session);
	}
	is(used('used_usd'), '0.3', 'what was sent counts at its worst case');
};

subtest 'counters are made from the ledger' => sub {
	start_anew();
	is(outcome(), 'answer', 'a call without a budget');
	is(outcome(user => 'ann', level => 'balanced'), 'answer', 'and one of ann');
	sql("INSERT INTO llm_budgets (scope, scope_value, period, limit_usd) VALUES ('total', NULL, 'month', 1), ('user', 'ann', 'week', 1), ('tier', 'starter', 'day', 1),
		('power_level', 'eco', 'day', 1)");
	is(sql('SELECT string_agg(used_usd || $$ $$ || used_requests || $$ $$ || used_tokens, $$, $$ ORDER BY budget_id) FROM llm_budget_status'),
		'0.2 2 24, 0.1 1 12, 0.1 1 12, 0 0 0', 'a new budget knows what was used before');
	sql("UPDATE llm_budgets SET scope_value = 'balanced' WHERE scope = 'power_level'");
	is(sql("SELECT used_usd FROM llm_budget_status WHERE scope = 'power_level'"), '0.2', 'a changed one as well');

	# In flight: sent, but neither answered nor in the tables.
	$provider->script({ hang => 'before_headers' });
	my $session = LlmRouterTest::start_process('flight', 'psql', '-Xq', '-d', $node->connstr('postgres') . ' application_name=flight', '-c', ask());
	LlmRouterTest::wait_for_sql($node, 'SELECT sum(open_calls) FROM llm_status', 1);
	$provider->wait_for_requests(3);
	sql("UPDATE llm_budgets SET limit_usd = 2 WHERE scope = 'total'");
	is(sql("SELECT used_usd, used_requests FROM llm_budget_status WHERE scope = 'total'"), '0.3|3', 'with calls under way at their worst case');
	sql("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = 'flight'");
	LlmRouterTest::wait_for_exit($session);

	my $session2 = $node->background_psql('postgres');
	$session2->query('BEGIN; LOCK TABLE llm_usage_rollup IN ACCESS EXCLUSIVE MODE');
	sql("UPDATE llm_budgets SET limit_usd = 3 WHERE scope = 'total'");
	my @processes = map { LlmRouterTest::start_process("wait$_", 'psql', '-Xq', '-d', $node->connstr('postgres') . " application_name=wait$_", '-c', ask()) } 1 .. 4;
	LlmRouterTest::wait_for_sql($node, "SELECT count(*) FROM pg_locks WHERE relation = 'llm_usage_rollup'::regclass AND NOT granted AND mode = 'AccessShareLock'", 1);
	sql("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE relation = 'llm_usage_rollup'::regclass AND NOT granted AND mode = 'AccessShareLock'");
	LlmRouterTest::wait_for_sql($node, "SELECT count(*) FROM pg_locks WHERE relation = 'llm_usage_rollup'::regclass AND NOT granted AND mode = 'AccessShareLock'", 1);
	pass('one counts, and when it is terminated, another');
	$session2->query('COMMIT');
	$session2->quit;
	LlmRouterTest::wait_for_exit($_) foreach @processes;
	is(sql("SELECT used_usd FROM llm_budget_status WHERE scope = 'total'"), '0.6', 'the others went on');
};

subtest 'nonsense, and time zones' => sub {
	my %nonsense = (
		"INSERT INTO llm_budgets (scope, period, limit_usd) VALUES ('everything', 'day', 1)"          => 'unknown budget scope "everything"',
		"INSERT INTO llm_budgets (scope, period, limit_usd) VALUES ('total', 'fortnight', 1)"         => 'unknown budget period "fortnight"',
		"INSERT INTO llm_budgets (scope, period) VALUES ('total', 'day')"                             => 'a budget needs at least one limit, and none below 0',
		"INSERT INTO llm_budgets (scope, period, limit_tokens) VALUES ('total', 'day', -1)"           => 'a budget needs at least one limit, and none below 0',
		"INSERT INTO llm_budgets (scope, period, limit_usd, action) VALUES ('total', 'day', 1, 'cry')" => 'unknown budget action "cry"',
		"INSERT INTO llm_budgets (scope, period, limit_usd, warn_at) VALUES ('total', 'day', 1, 101)" => 'warn_at is not a percentage',
		q(ALTER SYSTEM SET llm_router.budget_timezone = 'Mars/Olympus')                              => 'invalid value for parameter "llm_router.budget_timezone": "Mars/Olympus"',
		q(SET llm_router.budget_max_tokens = 0)                                                      => '0 is outside the valid range for parameter "llm_router.budget_max_tokens" (1 .. 2147483647)');
	is((LlmRouterTest::sql_error($node, $_))[1], $nonsense{$_}, $nonsense{$_}) foreach sort keys %nonsense;

	start_anew("(scope, period, limit_usd) VALUES ('total', 'day', 1)");
	sql(q(ALTER SYSTEM SET llm_router.budget_timezone = 'Asia/Kathmandu'));
	sql('SELECT pg_reload_conf()');
	LlmRouterTest::wait_for_sql($node, q(SELECT current_setting('llm_router.budget_timezone')), 'Asia/Kathmandu');
	is(sql("SET timezone = 'America/New_York'; SELECT period_start = date_trunc('day', now(), 'Asia/Kathmandu'), period_end - period_start FROM llm_budget_status"), 't|1 day',
		'days begin in budget_timezone, whatever the session has');
	sql('ALTER SYSTEM RESET llm_router.budget_timezone');
	sql('SELECT pg_reload_conf()');
};

subtest '1,000 concurrent calls of 0.10 USD on a budget of 5 USD' => sub {
	start_anew("(scope, period, limit_usd) VALUES ('total', 'month', 5)", "(scope, period, limit_usd) VALUES ('each_user', 'month', 1000)");
	my $script = "$PostgreSQL::Test::Utils::tmp_check/thousand.sql";
	append_to_file($script, ask(router => '"on_error": "return"') . ";\n");
	my $load = LlmRouterTest::start_process('thousand', 'pgbench', '-n', '-h', $node->host, '-p', $node->port, '-c', 100, '-j', 2, '-t', 10, '-f', $script, 'postgres');
	waitpid($load, 0);
	is($?, 0, '1,000 calls were made');
	like(slurp_file("$PostgreSQL::Test::Utils::log_path/thousand.log"), qr{number of transactions actually processed: 1000/1000}, '... by 100 sessions');
	is(sql("SELECT count(*), sum(total_cost)::float FROM llm_usage_logs WHERE status = 'ok'"), '50|5', 'exactly 50 were answered');
	is(scalar($provider->requests), 50, '... and sent');
	is(sql("SELECT used_usd, reserved_usd FROM llm_budget_status WHERE scope = 'total'"), '5|0', 'the counter says so');
};

$node->stop;
done_testing();

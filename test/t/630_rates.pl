# Requests and tokens a minute, of users and providers: exact for all sessions, settled with real use.
use strict;
use warnings;

use LlmRouterTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $provider = LlmRouterTest::start_provider();
my $node = LlmRouterTest::start_node('rates', conf => "max_connections = 120\nllm_router.limits_size = 64kB");
LlmRouterTest::add_sim($node, $provider);

sub sql { return LlmRouterTest::sql($node, shift) }

sub ask
{
	my ($user, %option) = @_;
	my $tokens = $option{max_tokens} // 4;
	my $router = $option{router} ? ", $option{router}" : '';
	my @options = ($tokens ? qq("max_tokens": $tokens) : (), qq("router": {"user_id": "$user"$router}));
	return "SELECT llm_ask('Hello', 'eco', options => '{" . join(', ', @options) . "}')";
}

sub outcome
{
	my ($state, $message) = LlmRouterTest::sql_error($node, ask(@_));
	return $state ? "$state $message" : 'answer';
}

subtest 'a tier gives each of its users so many requests' => sub {
	sql("UPDATE llm_tiers SET requests_per_minute = 2 WHERE subscription_tier = 'free'");
	is(outcome('ann'), 'answer', "ann's call $_") foreach 1 .. 2;
	my ($status, $out, $err) = $node->psql('postgres', ask('ann'), extra_params => [ '-v', 'VERBOSITY=verbose' ]);
	like($err, qr/ERROR:  LR004: user "ann" has reached the limit of 2 requests a minute/, 'LR004 says whose limit');
	my ($seconds) = $err =~ /HINT:  Try again in (\d+) seconds\./;
	cmp_ok($seconds, '>', 50, "the hint says how long to wait: $seconds s");
	cmp_ok($seconds, '<=', 65, '... at most a minute and a slot');
	is(outcome('bob'), 'answer', 'bob has his own');
	is(scalar($provider->requests), 3, 'what is refused is not sent');
	sql("UPDATE llm_tiers SET requests_per_minute = 3 WHERE subscription_tier = 'free'");
	is(outcome('ann'), 'answer', 'a limit that is raised applies at once, to what was counted before');
	like(outcome('ann'), qr/^LR004/, '... and no further');
};

subtest "a user's own limit" => sub {
	sql("INSERT INTO llm_users (user_id, requests_per_minute) VALUES ('cy', 1)");
	is(outcome('cy'), 'answer', 'cy calls');
	like(outcome('cy'), qr/^LR004 user "cy" has reached the limit of 1 requests/, '... once');
	sql("UPDATE llm_users SET requests_per_minute = 5 WHERE user_id = 'cy'");
	is(outcome('cy'), 'answer', 'and more often than the tier allows') foreach 1 .. 4;
	like(outcome('cy'), qr/^LR004/, '... to the end');
	my ($state, $message) = LlmRouterTest::sql_error($node, 'UPDATE llm_users SET tokens_per_minute = -1');
	is("$state $message", '23514 a rate of user "cy" is negative', 'nonsense is refused');
	($state, $message) = LlmRouterTest::sql_error($node, "UPDATE llm_providers SET requests_per_minute = -1 WHERE name = 'sim'");
	is("$state $message", '23514 a rate of provider "sim" is negative', '... of providers too');
	sql("UPDATE llm_tiers SET requests_per_minute = NULL");
};

subtest 'tokens' => sub {
	sql("INSERT INTO llm_users (user_id, tokens_per_minute) VALUES ('dee', 100)");
	is(outcome('dee', max_tokens => 40), 'answer', 'a call that may use 40 tokens and more');
	is(outcome('dee', max_tokens => 40), 'answer', '... used 12, so another fits') foreach 1 .. 2;
	like(outcome('dee', max_tokens => 60), qr/^LR004 user "dee" has reached the limit of 100 tokens a minute/, '... until too little is left');
	$provider->script({ usage => { completion_tokens => 5000 } });
	is(outcome('dee'), 'answer', 'a smaller one fits, and is answered at length');
	like(outcome('dee'), qr/^LR004/, 'which counts in full');
	sql("INSERT INTO llm_users (user_id, tokens_per_minute) VALUES ('eve', 100)");
	my ($status, $out, $err) = $node->psql('postgres', ask('eve', max_tokens => 101));
	like($err, qr/HINT:  The request may use more than that; give a lower max_tokens\./, 'what never fits is told');
	$provider->reset;
	sql("UPDATE llm_users SET tokens_per_minute = 100000 WHERE user_id = 'eve'");
	is(outcome('eve', max_tokens => 0), 'answer', 'without max_tokens');
	is(($provider->requests)[0]{body}{max_tokens}, 4096, '... budget_max_tokens is sent');
};

subtest 'a provider' => sub {
	sql("SELECT llm_provider_add('other', '" . $provider->url('/local/v1') . "', auth_type => 'none'); SELECT llm_model_add('other', 'other-eco', 'eco', 1, 2)");
	sql("UPDATE llm_routing_rules SET fallback_model_id = llm_model_id('other', 'other-eco') WHERE power_level = 'eco'");
	sql("UPDATE llm_providers SET requests_per_minute = 2 WHERE name IN ('sim', 'other')");
	$provider->reset;
	my @asked = map { sql(ask('fay') . '; SELECT provider FROM llm_last_call()') =~ s/.*\n//r } 1 .. 4;
	is("@asked", 'sim sim other other', 'one that has reached its limit is passed over');
	my ($status, $out, $err) = $node->psql('postgres', ask('fay'), extra_params => [ '-v', 'VERBOSITY=verbose' ]);
	like($err, qr/ERROR:  LR004: provider sim has reached the limit of 2 requests a minute\n.*every other candidate.*\n.*HINT:  Try again in \d+ seconds/s, 'LR004 when all have');
	is(sql("SELECT count(*) FROM llm_usage_logs WHERE user_id = 'fay'"), 4, 'what is refused has no row');

	# Retries count too, and fall back.
	sql("UPDATE llm_providers SET requests_per_minute = CASE name WHEN 'sim' THEN 4 ELSE 3 END WHERE name IN ('sim', 'other')");
	$provider->reset;
	$provider->script({ for_model => 'sim-eco', status => 503, times => 9 });
	is(sql(ask('fay') . '; SELECT provider, attempts FROM llm_last_call()'), "You said: Hello\nother|3", 'two attempts at the one, then the other');
	$provider->script({ for_model => 'other-eco', status => 503, times => 9 });
	sql("UPDATE llm_providers SET requests_per_minute = CASE name WHEN 'sim' THEN 5 ELSE 3 END WHERE name IN ('sim', 'other')");
	like(outcome('fay'), qr/^LR002 sim\/sim-eco: unavailable/, 'a call whose other candidates have no room fails with what it met');
	sql("UPDATE llm_providers SET requests_per_minute = NULL, tokens_per_minute = CASE name WHEN 'other' THEN 0 END");
	$provider->reset;
	is(sql(ask('fay') . '; SELECT provider FROM llm_last_call()'), "You said: Hello\nsim", 'no limits');
	sql("UPDATE llm_providers SET tokens_per_minute = NULL");
};

subtest 'what is not sent does not count' => sub {
	sql("INSERT INTO llm_users (user_id, requests_per_minute) VALUES ('gus', 2)");
	sql("INSERT INTO llm_budgets (scope, scope_value, period, limit_requests) VALUES ('user', 'gus', 'day', 0)");
	like(outcome('gus'), qr/^LR003/, 'refused by a budget') foreach 1 .. 3;
	sql('DELETE FROM llm_budgets');
	is(outcome('gus'), 'answer', "then call $_") foreach 1 .. 2;
	like(outcome('gus'), qr/^LR004/, 'and no other');
};

subtest 'keys of users' => sub {
	my $url = $provider->url('/v1');
	sql("SELECT llm_provider_add('own', '$url'); SELECT llm_model_add('own', 'own-eco', 'eco', 1, 2); UPDATE llm_providers SET requests_per_minute = 0 WHERE name = 'own'");
	sql("INSERT INTO llm_users (user_id, requests_per_minute) VALUES ('hal', 2); SET llm_router.user_id = 'hal'; SELECT llm_key_add('own', 'sk-test-hal', validate => false)");
	is(sql(ask('hal') . '; SELECT provider FROM llm_last_call()'), "You said: Hello\nown", "a provider's limit is not that of users' keys") foreach 1 .. 2;
	like(outcome('hal'), qr/^LR004 user "hal"/, 'but the limit of the user is the user\'s');
};

subtest 'exact for all sessions' => sub {
	sql("INSERT INTO llm_users (user_id, requests_per_minute) VALUES ('ida', 37)");
	my $script = "$PostgreSQL::Test::Utils::tmp_check/rates.sql";
	append_to_file($script, ask('ida', router => '"on_error": "return"') . ";\n");
	my $before = scalar($provider->requests);
	my $load = LlmRouterTest::start_process('rates', 'pgbench', '-n', '-h', $node->host, '-p', $node->port, '-c', 50, '-j', 2, '-t', 4, '-f', $script, 'postgres');
	waitpid($load, 0);
	is($?, 0, '200 calls of 50 sessions');
	is(scalar($provider->requests) - $before, 37, '37 of them were sent');
};

subtest 'a call that circuits send to another provider counts there' => sub {
	sql("ALTER SYSTEM SET $_") foreach 'llm_router.circuit_failures = 5', 'llm_router.max_concurrency = 1';
	$node->reload;
	LlmRouterTest::wait_for_sql($node, q(SELECT current_setting('llm_router.max_concurrency') = '1'));
	my $other = LlmRouterTest::start_provider();
	sql("SELECT llm_provider_add('standby', '@{[ $other->url('/local/v1') ]}', auth_type => 'none'); SELECT llm_model_add('standby', 'sim-eco', 'eco', 1, 2);"
		. " UPDATE llm_routing_rules SET fallback_model_id = llm_model_id('standby', 'sim-eco') WHERE power_level = 'eco';"
		. " UPDATE llm_providers SET requests_per_minute = 2 WHERE name = 'standby'");
	# The others have their plans, and wait for their turn, when the first is told to pause.
	$provider->script({ status => 429, delay_ms => 2000, headers => { 'Retry-After' => '50' } });
	my @sessions = map { LlmRouterTest::start_process("moved$_", 'psql', '-XAtq', '-d', $node->connstr('postgres') . ' application_name=moved', '-c', ask('jo')) } 1 .. 4;
	LlmRouterTest::wait_for_sql($node, q(SELECT count(*) FROM pg_stat_activity WHERE application_name = 'moved' AND state = 'active'), 4);
	LlmRouterTest::wait_for_exit($_) foreach @sessions;
	is(scalar($other->requests), 2, 'and no more than that one\'s limit are sent there');
	sql($_) foreach 'UPDATE llm_routing_rules SET fallback_model_id = NULL', map { "ALTER SYSTEM RESET llm_router.$_" } qw(circuit_failures max_concurrency);
	$node->restart;
	$other->stop;
};

subtest 'memory' => sub {
	sql("UPDATE llm_tiers SET requests_per_minute = 10 WHERE subscription_tier = 'free'");
	my $calls = q{SELECT count(*) FROM (SELECT llm_chat('[{"role": "user", "content": "Hello"}]', 'eco', options => format('{"max_tokens": 4, "router": {"user_id": "m%s", "on_error": "return"}}', n)::jsonb) AS a FROM generate_series(1, 200) AS n) AS s WHERE a ? 'choices'};
	my $answered = sql($calls);
	cmp_ok($answered, '>', 50, "$answered users of a minute fit");
	cmp_ok($answered, '<', 150, '... but not all of 200');
	like(outcome('m200'), qr/^LR004 the rate of user "m200" cannot be counted: all memory for it is in use/, 'the others are refused');
	is(outcome('m1'), 'answer', 'those that fit go on');
	sql("UPDATE llm_tiers SET requests_per_minute = NULL");
	is(outcome('m200'), 'answer', 'without a limit nothing is counted');
};

$node->stop;
done_testing();

# Circuits: who fails is left alone for a while, by all sessions, and nobody is
# refused for it. Requests are counted where they arrive.
use strict;
use warnings;

use JSON::PP;
use LlmRouterTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $provider = LlmRouterTest::start_provider(tls => 1);
my $node = LlmRouterTest::start_node('circuits', conf => <<'CONF');
llm_router.circuit_failures = 3
CONF
LlmRouterTest::add_sim($node, $provider);

# stand-in for eco; one model for balanced: nobody else can answer that.
my $url = $provider->url('/local/v1');
LlmRouterTest::sql($node, <<"SQL");
SELECT llm_provider_add('stand-in', '$url', auth_type => 'none');
SELECT llm_model_add('stand-in', 'stand-in-eco', 'eco', 10, 20);
UPDATE llm_routing_rules SET fallback_model_id = llm_model_id('stand-in', 'stand-in-eco') WHERE power_level = 'eco';
SQL

sub sql { return LlmRouterTest::sql($node, shift) }

# One call in a new session without retries; the model that answered, or the error's code.
sub ask
{
	my ($level, $router) = @_;
	$router //= '';
	my $answer = decode_json(sql("SELECT llm_chat('[{\"role\": \"user\", \"content\": \"Hello\"}]', '$level',
		options => '{\"router\": {\"on_error\": \"return\"$router}}')"));
	return $answer->{error} ? $answer->{error}{code} : $answer->{llm_router}{model};
}

# How often each model was asked since the last reset.
sub asked
{
	my %n;
	$n{ $_->{body}{model} }++ foreach $provider->requests;
	return join(' ', map { "$_=$n{$_}" } sort keys %n);
}

sub circuits { return sql("SELECT string_agg(concat_ws(' ', kind, provider, model, state), ', ' ORDER BY kind, provider, model) FROM llm_circuits") }

# How long circuits that open from now on stay so: a minute where that is looked
# at, next to nothing where its end is waited for.
sub set_cooldown
{
	my ($cooldown) = @_;
	sql("ALTER SYSTEM SET llm_router.circuit_cooldown = '$cooldown'");
	$node->reload;
	LlmRouterTest::wait_for_sql($node, "SELECT current_setting('llm_router.circuit_cooldown') = '$cooldown'");
	return;
}

sub wait_for_half_open
{
	my ($model) = @_;
	LlmRouterTest::wait_for_sql($node, "SELECT count(*) FROM llm_circuits WHERE state IN ('open', 'probed') AND coalesce(model, '') ~ '" . ($model // '') . "'", 0);
	return;
}

# The models answer again, and are known to: they are asked by name.
sub heal
{
	$provider->reset;
	sql("SELECT llm_ask('Hi', model => name) FROM unnest('{sim/sim-eco,sim/sim-balanced,stand-in/stand-in-eco}'::text[]) AS name");
	is(circuits(), '', 'all is well again');
	$provider->reset;
	return;
}
my $once = ', "max_attempts": 1';

subtest 'a model that fails is left alone by all sessions' => sub {
	set_cooldown('1min');
	$provider->script({ for_model => 'sim-eco', times => undef, status => 500 });
	is(ask('eco', ', "max_attempts": 4'), 'stand-in-eco', 'the fallback answers');
	is(asked(), 'sim-eco=3 stand-in-eco=1', 'after three failures');
	is(circuits(), 'model sim sim-eco open, provider sim closed', 'the circuit is open, not that of the provider');
	is(ask('eco'), 'stand-in-eco', 'another session') foreach 1 .. 3;
	is(asked(), 'sim-eco=3 stand-in-eco=4', '... does not ask the model');
	like(sql(q(SELECT string_agg(model || ': ' || reason, ' | ' ORDER BY "position") FROM llm_route('[{"role": "user", "content": "Hi"}]', 'eco'))),
		qr/^stand-in-eco: rule 1 fallback \| sim-eco: rule 1 primary; circuit open for \d\d s more after 3 failures$/, 'llm_route says so');
	is(sql("SELECT open_circuits, providers_down, circuits_used FROM llm_status WHERE database = 'postgres'"), '1|0|2', 'llm_status counts it');
	heal();
};

subtest 'after the cool-down a model is tried once' => sub {
	set_cooldown('100ms');
	$provider->script({ for_model => 'sim-eco', times => undef, status => 500 });
	is(ask('eco'), 'stand-in-eco', 'it fails');
	wait_for_half_open();
	$provider->reset;
	$provider->script({ for_model => 'sim-eco', times => undef, status => 500 });
	is(ask('eco'), 'stand-in-eco', 'and again');
	is(asked(), 'sim-eco=1 stand-in-eco=1', '... without a retry');
	$provider->reset;
	wait_for_half_open();
	is(ask('eco'), 'sim-eco', 'when it answers it is back');
	is(circuits(), '', 'and its circuit closed');
};

subtest 'a flapping provider: failures that are not in a row do not open' => sub {
	$provider->reset;
	foreach (1 .. 6)
	{
		$provider->script({ for_model => 'sim-eco', times => 2, status => 503 });
		ask('eco', ', "max_attempts": 3');
	}
	is(asked(), 'sim-eco=18', 'each call gets its answer at the third attempt, from the same model');
	is(circuits(), '', 'nothing is open');
};

subtest 'several models of a provider that fail open its circuit' => sub {
	set_cooldown('1min');
	$provider->reset;
	$provider->script({ times => undef, for_model => $_, status => 503 }) foreach 'sim-eco', 'sim-balanced';
	is(ask('eco'), 'stand-in-eco', 'eco falls back');
	is(ask('balanced', $once), 'LR002', 'balanced fails');
	is(circuits(), 'model sim sim-balanced closed, model sim sim-eco open, provider sim open', 'the provider is left alone');
	is(sql(q(SELECT string_agg(split_part(reason, ';', 2), ',') FROM llm_route('[{"role": "user", "content": "Hi"}]', 'precision'))) =~ s/\d+/N/gr,
		' circuit open for N s more after N failures', 'also at its third model');
	heal();
};

subtest 'everybody fails: the best is tried, and the error says why' => sub {
	$provider->script({ times => undef, status => 500 });
	ask('eco', ', "max_attempts": 8');
	is(sql("SELECT count(*) FROM llm_circuits WHERE state <> 'closed' AND kind = 'model'"), 2, 'the circuits of both models opened');
	$provider->reset;
	$provider->script({ times => undef, error => { status => 500, message => 'Out of order.' } });
	my ($state, $message) = LlmRouterTest::sql_error($node, q(SELECT llm_ask('Hi', 'eco', options => '{"router": {"max_attempts": 2}}')));
	is($state, 'LR002', 'the call fails after trying');
	like($message, qr/Out of order/, $message);
	is(asked(), 'sim-eco=1 stand-in-eco=1', 'the best first, then the other, once each');
	heal();
};

subtest 'a storm of 429: Retry-After is honoured across sessions' => sub {
	my $limited = { status => 429, headers => { 'Retry-After' => '2' } };
	$provider->script({ %$limited, for_model => 'sim-eco', headers => { 'Retry-After' => '40' } });
	is(ask('eco'), 'stand-in-eco', 'the first session meets it and falls back');
	is(ask('eco'), 'stand-in-eco', 'another') foreach 1 .. 10;
	is(asked(), 'sim-eco=1 stand-in-eco=11', '... does not ask before the time has come');
	is(circuits(), 'account sim sim-eco open', 'it is the account that is open');

	# ... and does afterwards, where there is somebody else too.
	sql("UPDATE llm_routing_rules SET fallback_model_id = llm_model_id('stand-in', 'stand-in-eco') WHERE power_level = 'precision'");
	$provider->script({ %$limited, for_model => 'sim-precision' });
	is(ask('precision'), 'stand-in-eco', 'a shorter pause');
	wait_for_half_open('precision');
	is(ask('precision'), 'sim-precision', 'afterwards it is asked');

	# Nobody else can answer: the second session waits instead of asking in vain.
	$provider->reset;
	$provider->script({ %$limited, for_model => 'sim-balanced' });
	is(ask('balanced', $once), 'LR002', 'with a single candidate the first session fails');
	my ($limited_at) = map { $_->{received_at} } $provider->requests;
	is(ask('balanced', $once), 'sim-balanced', 'the second waits and is answered');
	my @times = map { $_->{received_at} } $provider->requests;
	is(scalar(@times), 2, 'there were two requests');
	cmp_ok($times[1] - $times[0], '>=', 1.9, sprintf('%.2f s apart', $times[1] - $times[0]));
	is(sql("SELECT count(*) FROM llm_circuits WHERE model = 'sim-balanced'"), 0, 'and the answer closes the circuit');

	# So do many at once.
	$provider->reset;
	$provider->script({ %$limited, for_model => 'sim-balanced' });
	is(ask('balanced', $once), 'LR002', 'once more');
	my @sessions = map { LlmRouterTest::start_process("storm$_", 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', "SELECT llm_ask('Hi', 'balanced')") } 1 .. 6;
	LlmRouterTest::wait_for_exit($_) foreach @sessions;
	@times = map { $_->{received_at} } $provider->requests;
	is(scalar(@times), 7, 'six sessions ask once each');
	cmp_ok((sort { $a <=> $b } @times[1 .. $#times])[0] - $times[0], '>=', 1.9, 'all after the pause');

	# A long pause is not waited for where somebody else may be tried, though he failed.
	$provider->reset;
	sql("UPDATE llm_routing_rules SET fallback_model_id = llm_model_id('stand-in', 'stand-in-eco') WHERE power_level = 'balanced'");
	$provider->script({ for_model => 'stand-in-eco', times => 3, status => 500 });
	sql(q(SELECT llm_ask('Hi', model => 'stand-in/stand-in-eco', options => '{"router": {"on_error": "return", "max_attempts": 3}}')));
	$provider->script({ %$limited, for_model => 'sim-balanced', headers => { 'Retry-After' => '40' } });
	is(ask('balanced'), 'stand-in-eco', 'the fallback, though its circuit is open');
	is(asked(), 'sim-balanced=1 stand-in-eco=4', 'after the pause was asked for');
	$provider->reset;
	$provider->script({ for_model => 'stand-in-eco', times => 3, status => 500 });
	sql(q(SELECT llm_ask('Hi', model => 'stand-in/stand-in-eco', options => '{"router": {"on_error": "return", "max_attempts": 3}}')));
	$provider->reset;
	is(ask('balanced'), 'stand-in-eco', 'again');
	is(asked(), 'stand-in-eco=1', '... without asking the one that asked for a pause');
	sql("UPDATE llm_routing_rules SET fallback_model_id = NULL WHERE power_level = 'balanced'");
	$node->restart;

	# A pause beyond the deadline is not waited for, and nobody is refused.
	$provider->reset;
	$provider->script({ %$limited, headers => { 'Retry-After' => '50' }, for_model => 'sim-balanced' });
	is(ask('balanced', $once), 'LR002', 'with a long pause');
	is(ask('balanced', ', "timeout_ms": 5000'), 'sim-balanced', '... a call that cannot wait for it tries');
	is(sql("SELECT state FROM llm_circuits WHERE model = 'sim-balanced'"), 'open', 'which does not end the pause');
	$node->restart;
	is(circuits(), '', 'a restart forgets');
};

subtest 'what is not the fault of model or provider opens nothing' => sub {
	$provider->reset;
	foreach my $fault ({ error => { status => 400, message => 'Bad temperature.' } }, { error => { status => 400, code => 'content_policy_violation' } })
	{
		$provider->script({ times => 4, for_model => 'sim-eco', %$fault });
		is(ask('eco'), 'LR006', 'a request that is refused') foreach 1 .. 4;
	}
	$provider->script({ times => 4, for_model => 'sim-eco', hang => 'before_headers' });
	is(ask('eco', ', "timeout_ms": 100'), 'LR007', 'a call that gave little time') foreach 1 .. 4;
	is(sql("SELECT count(*) FROM llm_circuits WHERE state <> 'closed' AND model = 'sim-eco'"), 0, 'no circuit is open');
	$provider->reset;
};

subtest "a user's refused key opens nothing" => sub {
	my $keyed = $provider->url('/v1');
	sql(<<"SQL");
SELECT llm_provider_add('keyed', '$keyed');
SELECT llm_model_add('keyed', 'keyed-eco', 'eco', 1, 1);
SET llm_router.user_id = 'ann';
SELECT llm_key_add('keyed', 'sk-wrong-0123456789', validate => false);
INSERT INTO llm_users (user_id, subscription_tier) VALUES ('ann', 'enterprise');
SQL
	$provider->script({ times => 4, for_model => 'keyed-eco', status => 403 });
	$provider->script({ times => 4, for_model => 'keyed-eco', status => 429, headers => { 'Retry-After' => '60' } });
	sql("SET llm_router.user_id = 'ann'; SELECT llm_ask('Hi', 'eco')") foreach 1 .. 8;
	like(asked(), qr/keyed-eco=8/, 'eight calls were refused');
	is(sql("SELECT count(*) FROM llm_circuits WHERE provider = 'keyed'"), 0, 'no circuit');
	$provider->reset;
};

subtest 'a probe that is cancelled makes way for another' => sub {
	set_cooldown('100ms');
	$provider->script({ for_model => 'sim-eco', times => 3, status => 500 });
	ask('eco');
	wait_for_half_open('sim-eco');
	$provider->script({ for_model => 'sim-eco', hang => 'before_headers' });
	my ($state) = LlmRouterTest::sql_error($node, "SET statement_timeout = '300ms'; SELECT llm_ask('Hi', 'eco')");
	is($state, '57014', 'the call that tries it is cancelled');
	is(sql("SELECT state FROM llm_circuits WHERE kind = 'model' AND model = 'sim-eco'"), 'half-open', 'the next may try');
	$provider->reset;
	is(ask('eco'), 'sim-eco', '... and does');
};

subtest 'no name and no TLS: fallback first, then nobody waits for them' => sub {
	my $tls = $provider->url('/local/v1', 'https_expired');
	sql(<<"SQL");
SELECT llm_provider_add('nameless', 'https://no-such-host.invalid/v1', auth_type => 'none');
SELECT llm_provider_add('expired', '$tls', auth_type => 'none');
SELECT llm_model_add(provider, provider || '-model', 'precision', 1, 1) FROM unnest('{nameless,expired}'::text[]) AS provider;
DELETE FROM llm_routing_rules WHERE power_level = 'precision';
INSERT INTO llm_routing_rules (power_level, subscription_tier, priority, model_id, fallback_model_id)
	VALUES ('precision', 'enterprise', 1, llm_model_id('nameless', 'nameless-model'), llm_model_id('expired', 'expired-model')),
		('precision', 'enterprise', 2, llm_model_id('sim', 'sim-precision'), NULL);
SQL
	set_cooldown('1min');
	is(ask('precision', ', "max_attempts": 8'), 'sim-precision', 'the third candidate answers') foreach 1 .. 3;
	is(sql("SELECT string_agg(provider || ' ' || state, ', ' ORDER BY provider) FROM llm_circuits WHERE kind = 'model' AND provider IN ('nameless', 'expired')"),
		'expired open, nameless open', 'the others are left alone');
	is(sql(q(SELECT string_agg(model, ' ' ORDER BY "position") FROM llm_route('[{"role": "user", "content": "Hi"}]', 'precision'))),
		'sim-precision nameless-model expired-model', 'and stand behind');
	my $attempts = decode_json(sql("SELECT llm_chat('[{\"role\": \"user\", \"content\": \"Hello\"}]', 'precision')"))->{llm_router}{attempts};
	is(scalar(@$attempts), 1, 'the next call has one attempt');
};

subtest 'a slow provider among fast ones takes no time of theirs' => sub {
	$provider->reset;
	sub p95 { return sql(qq(
		SELECT round(percentile_cont(0.95) WITHIN GROUP (ORDER BY (llm_chat('[{"role": "user", "content": "Hi"}]', model => 'stand-in/stand-in-eco')
			#>> '{llm_router,response_time_ms}')::numeric)) FROM generate_series(1, 40))) }
	my $alone = p95();
	$provider->script({ for_model => 'sim-precision', times => undef, delay_ms => 1500 });
	my @slow = map { LlmRouterTest::start_process("slow$_", 'psql', '-XAtq', '-d', $node->connstr('postgres'),
		'-c', q(SELECT llm_ask('Hi', model => 'sim/sim-precision') FROM generate_series(1, 2))) } 1 .. 3;
	LlmRouterTest::wait_until('slow calls are under way', sub { $provider->stats->{open_requests} >= 3 });
	my $beside = p95();
	LlmRouterTest::wait_for_exit($_) foreach @slow;
	note("p95 of the fast one: $alone ms alone, $beside ms beside three slow calls");
	cmp_ok($beside, '<', $alone + 500, 'its p95 does not grow by the delay');
	is(sql("SELECT count(*) FROM llm_circuits WHERE model IN ('sim-precision', 'stand-in-eco')"), 0, 'being slow opens nothing');
};

subtest 'a dropped database leaves no circuits' => sub {
	$node->safe_psql('postgres', 'CREATE DATABASE other');
	$node->safe_psql('other', "CREATE EXTENSION llm_router; SELECT llm_provider_add('gone', 'http://localhost:1/v1', auth_type => 'none');
		SELECT llm_model_add('gone', 'gone', 'eco', 1, 1)");
	my $before = sql("SELECT circuits_used FROM llm_status WHERE database = 'postgres'");
	$node->psql('other', "SELECT llm_ask('Hi', model => 'gone')");
	cmp_ok(sql("SELECT circuits_used FROM llm_status WHERE database = 'postgres'"), '>', $before, 'it has some');
	$node->safe_psql('postgres', 'DROP DATABASE other');
	is(sql("SELECT circuits_used FROM llm_status WHERE database = 'postgres'"), $before, 'and then none');
};

done_testing();

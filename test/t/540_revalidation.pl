# Users' keys are checked again by a worker: what a provider refuses is marked and
# reported, and used again when the provider accepts it again. The worker is in
# nobody's way.
use strict;
use warnings;

use JSON::PP;
use LlmRouterTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $provider = LlmRouterTest::start_provider();	# accepts keys that begin with sk-test-
my $node = LlmRouterTest::start_node('rounds', conf => <<'CONF');
llm_router.key_revalidation_interval = 0
llm_router.worker_idle_timeout = '500ms'
max_worker_processes = 12
CONF
LlmRouterTest::add_sim($node, $provider, path => '/v1', auth_type => 'bearer');

sub sql { return LlmRouterTest::sql($node, shift) }
sub wait_for { return LlmRouterTest::wait_for_sql($node, @_) }

sub set_interval
{
	my ($interval) = @_;
	sql("ALTER SYSTEM SET llm_router.key_revalidation_interval = '$interval'");
	$node->reload;
	return;
}

# The user is the key's name; unchecked.
sub add_key
{
	my ($user, $key, $database) = @_;
	return $node->safe_psql($database // 'postgres',
		"SET llm_router.user_id = '$user'; SELECT llm_key_add('sim', '$key', validate => false)");
}

sub status
{
	my ($user) = @_;
	return sql("SET llm_router.user_id = '$user'; SELECT status FROM llm_keys");
}

sub checked { my ($user) = @_; return "SELECT checked_at IS NOT NULL FROM user_api_keys WHERE user_id = '$user'" }
sub refused { my ($user) = @_; return "SELECT refused_at IS NOT NULL FROM user_api_keys WHERE user_id = '$user'" }

# Until a round that began after now has looked at a key.
sub wait_for_check
{
	my ($user) = @_;
	my $now = sql('SELECT clock_timestamp()');
	wait_for("SELECT checked_at > '$now' FROM user_api_keys WHERE user_id = '$user'");
	return;
}

sub forget_keys { return sql('DELETE FROM user_api_keys') }

my $refusal =
  'HTTP status 401 (bad_key): Incorrect API key provided: ***********. You can find your API key at https://platform.openai.com/account/api-keys.';
my $workers = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'llm_router rounds'";

# The keys of the requests since the last reset.
sub keys_sent
{
	my %sent;
	foreach my $request ($provider->requests)
	{
		my ($header) = grep { lc $_->[0] eq 'authorization' } @{ $request->{headers} };
		$sent{ $header->[1] =~ s/^Bearer //r }++;
	}
	return \%sent;
}

subtest 'with an interval of 0 nobody is asked' => sub {
	add_key('ann', 'sk-test-ann');
	add_key('bob', 'sk-wrong-bob-0123456789');
	wait_for($workers, 0);
	is(scalar($provider->requests), 0, 'no request');
	is(sql('SELECT count(*) FROM user_api_keys WHERE checked_at IS NOT NULL'), 0, 'no check');
};

subtest 'a key that its provider refuses is marked and reported, not deleted' => sub {
	my $listener = LlmRouterTest::start_process('listener', 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', 'LISTEN llm_router',
		'-c', q(DO $$ BEGIN WHILE NOT EXISTS (SELECT FROM llm_audit_logs WHERE action = 'byok.key.refused') LOOP PERFORM pg_sleep(0.02); END LOOP; END $$),
		'-c', 'SELECT 1');
	wait_for("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'DO%byok%' AND pid <> pg_backend_pid()", 1);
	set_interval('1s');
	wait_for(refused('bob'));
	is(status('bob'), 'refused', 'its user sees it');
	is(sql("SELECT refusal FROM user_api_keys WHERE user_id = 'bob'"), $refusal,
		'with what the provider said');
	LlmRouterTest::wait_for_exit($listener);
	my $heard = slurp_file("$PostgreSQL::Test::Utils::log_path/listener.log");
	like($heard, qr/notification "llm_router" with payload "\{.*\}"/, 'who listens hears of it');
	my ($payload) = $heard =~ /payload "(\{.*\})"/;
	my $id = sql("SELECT id FROM user_api_keys WHERE user_id = 'bob'");
	is_deeply(decode_json($payload), { event => 'key_refused', key_id => $id }, 'which key, and nothing of whom');
	is(sql("SELECT status, detail FROM llm_doctor() WHERE check_name = 'user keys'"),
		"warning|keys of users that are not used: 1 refused by their provider", 'so does an administrator');
	wait_for(checked('ann'));
	is(status('ann'), 'usable', 'the good key stays usable');

	my $refused_at = sql("SELECT refused_at FROM user_api_keys WHERE user_id = 'bob'");
	wait_for_check('bob');
	is(sql("SELECT refused_at FROM user_api_keys WHERE user_id = 'bob'"), $refused_at, 'a later check leaves the time of the refusal');
	is(sql(q(SELECT actor, user_id, action, object, detail - 'key_id' FROM llm_audit_logs WHERE action = 'byok.key.refused')),
		qq(llm_router|bob|byok.key.refused|sim|{"refusal": "$refusal", "key_name": "default"}),
		'and adds nothing to the one entry of the audit');
};

subtest 'a refused key comes back when the provider accepts it again' => sub {
	$provider->script({ error => { status => 401, message => 'The key sk-test-ann is suspended', code => 'invalid_api_key' }, times => undef });
	wait_for(refused('ann'));
	like(sql("SELECT refusal FROM user_api_keys WHERE user_id = 'ann'"), qr/^HTTP status 401 \(bad_key\): The key \*+ is suspended$/,
		'the key is not repeated');
	$provider->reset;
	wait_for(refused('ann'), 'f');
	is(status('ann'), 'usable', 'usable again');
	is(sql(q(SELECT actor, user_id, object, detail - 'key_id', (detail ->> 'key_id')::bigint = (SELECT id FROM user_api_keys WHERE user_id = 'ann')
		FROM llm_audit_logs WHERE action = 'byok.key.accepted')), 'llm_router|ann|sim|{"key_name": "default"}|t', 'and the audit log says since when');
	wait_for_check('ann');
	is(sql(q(SELECT count(*) FROM llm_audit_logs WHERE action = 'byok.key.accepted')), 1, '... once');
	is(sql("SET llm_router.user_id = 'ann'; SELECT llm_chat('[{\"role\": \"user\", \"content\": \"Hi\"}]', 'eco') #>> '{llm_router,used_byok}'"), 'true', 'and used');
};

subtest 'a provider that says neither changes nothing' => sub {
	forget_keys();
	$provider->reset;
	add_key('ann', 'sk-test-ann');
	foreach my $behaviour ({ status => 503 }, { status => 429 }, { status => 403 }, { close => 'after_request' }, { payload => 'html' })
	{
		$provider->script({ %$behaviour, times => undef });
		my $what = join ',', %$behaviour;
		wait_for_check('ann');
		wait_for_check('ann');
		is(status('ann'), 'usable', $what);
		$provider->reset;
	}
};

subtest 'no more than four requests at once to a provider' => sub {
	forget_keys();
	set_interval('1h');
	$provider->reset;
	$provider->script({ delay_ms => 100, times => undef });
	add_key("user$_", "sk-test-$_") for 1 .. 40;
	sql("UPDATE user_api_keys SET created_at = created_at - interval '2 hours'");
	set_interval('1min');
	wait_for('SELECT count(*) FROM user_api_keys WHERE checked_at IS NOT NULL', 40);
	is($provider->stats->{peak_requests}, 4, 'four');
	is(scalar(keys %{ keys_sent() }), 40, 'and every key is asked about');
	is(scalar($provider->requests), 40, '… once');
};

subtest 'what may not be sent is not' => sub {
	forget_keys();
	$provider->reset;
	add_key($_, "sk-test-$_") foreach qw(moved inactive twisted good);
	sql("UPDATE user_api_keys SET base_url = base_url || '/elsewhere' WHERE user_id = 'moved'");
	sql("UPDATE user_api_keys SET is_active = false WHERE user_id = 'inactive'");
	sql("UPDATE user_api_keys SET user_id = 'thief' WHERE user_id = 'twisted'");
	my $log_start = -s $node->logfile;
	set_interval('1s');
	wait_for(checked('good'));
	wait_for_check('good');
	is_deeply([ keys %{ keys_sent() } ], ['sk-test-good'], 'another address, inactive, of another user');
	is(sql('SELECT count(*) FROM user_api_keys WHERE checked_at IS NOT NULL'), 1, 'and not noted as asked');
	like(slurp_file($node->logfile, $log_start), qr/LOG:  llm_router: 1 keys of users could not be opened to be checked/, 'a key that does not open is a line of the log');

	sql(q(UPDATE llm_providers SET enabled = false WHERE name = 'sim'));
	wait_for("SELECT checked_at < now() - interval '1.5 s' FROM user_api_keys WHERE user_id = 'good'");
	wait_for($workers, 0);
	my $before = scalar $provider->requests;
	add_key('late', 'sk-test-late');
	wait_for("SELECT clock_timestamp() > created_at + interval '2.5 s' FROM user_api_keys WHERE user_id = 'late'");
	is(scalar($provider->requests), $before, 'a disabled provider is not asked');
	sql(q(UPDATE llm_providers SET enabled = true WHERE name = 'sim'));
	wait_for(checked('late'));
	pass('until it is enabled again');
};

subtest 'a locked row does not hold the others up' => sub {
	forget_keys();
	set_interval('1h');
	add_key($_, "sk-test-$_") foreach qw(locked free);
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	$session->query("BEGIN; UPDATE user_api_keys SET last_used_at = now() WHERE user_id = 'locked'");
	set_interval('1s');
	wait_for(checked('free'));
	is(sql(checked('locked')), 'f', 'it is passed over');
	$session->query('COMMIT');
	wait_for(checked('locked'));
	pass('and checked later');
	$session->quit;
};

# Until a round waits for an answer that does not come.
sub start_hanging_round
{
	my ($database) = @_;
	forget_keys();
	set_interval('1h');
	wait_for($workers, 0);
	$provider->reset;
	$provider->script({ hang => 'before_headers', for_path => '/v1/models', times => undef });
	add_key('ann', 'sk-test-ann', $database);
	set_interval('1s');
	$provider->wait_for_requests(1);
	return;
}

subtest 'a key that is replaced during its check is not judged by it' => sub {
	forget_keys();
	set_interval('1h');
	wait_for($workers, 0);
	$provider->reset;
	$provider->script({ error => { status => 401, message => 'no', code => 'invalid_api_key' }, delay_ms => 1500 });
	my $id = add_key('ann', 'sk-test-old');
	set_interval('1s');
	$provider->wait_for_requests(1);
	sql("SET llm_router.user_id = 'ann'; SELECT llm_key_update($id, 'sk-test-new', validate => false)");
	wait_for(checked('ann'));
	is(status('ann'), 'usable', 'the answer was for another key');
	is(sql("SELECT count(*) FROM llm_audit_logs WHERE action = 'byok.key.refused' AND detail ->> 'key_id' = '$id'"), 0, 'and is not reported');
};

subtest 'no transaction is open while a provider is waited for, and SIGTERM ends it at once' => sub {
	start_hanging_round();
	is(sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'llm_router rounds' AND xact_start IS NULL AND backend_xmin IS NULL"), 1, 'no transaction');
	my ($pid) = LlmRouterTest::backend_pids($node, 'llm_router rounds');
	my $started = time;
	sql("SELECT pg_terminate_backend($pid)");
	wait_for("SELECT count(*) FROM pg_stat_activity WHERE pid = $pid", 0);
	cmp_ok(time - $started, '<', 5, 'it ends');
	$provider->reset;
	wait_for(checked('ann'));
	pass('and another makes the round');
};

subtest 'a ledger writer gets the place that it needs' => sub {
	sql('ALTER SYSTEM SET llm_router.max_workers = 1');
	start_hanging_round();
	wait_for("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'llm_router ledger writer'", 0);
	my $started = time;
	is(sql(q(SELECT llm_ask('Hi', options => '{"router": {"byok": "never"}}') FROM llm_provider_set_key('sim', 'sk-test-platform', false))), 'You said: Hi', 'a call is answered during the round');
	cmp_ok(time - $started, '<', 5, 'soon');
	$provider->reset;
	wait_for(checked('ann'));
	pass('and the round is made when the place is free again');
	sql('ALTER SYSTEM RESET llm_router.max_workers; SELECT pg_reload_conf()');
};

subtest 'statements that need the database to themselves' => sub {
	sql('CREATE DATABASE other');
	my $sim = $provider->url('/v1');
	$node->safe_psql('other', "CREATE EXTENSION llm_router; SELECT llm_provider_add('sim', '$sim')");
	start_hanging_round('other');
	my $started = time;
	sql('ALTER DATABASE other RENAME TO another');
	cmp_ok(time - $started, '<', 4, 'RENAME does not wait for the provider');
	$provider->reset;
	LlmRouterTest::wait_until('the round goes on', sub { $node->safe_psql('another', 'SELECT checked_at IS NOT NULL FROM user_api_keys') eq 't' });
	pass('the round is made afterwards');
	$provider->script({ hang => 'before_headers', for_path => '/v1/models', times => undef });
	$provider->wait_for_requests(scalar($provider->requests) + 1);
	$started = time;
	sql('DROP DATABASE another');
	cmp_ok(time - $started, '<', 4, 'nor does DROP DATABASE');
	wait_for($workers, 0);
	$provider->reset;
};

subtest 'every database has its rounds, after a restart too' => sub {
	forget_keys();
	my $sim = $provider->url('/v1');
	foreach my $database ('one', 'two')
	{
		sql("CREATE DATABASE $database");
		$node->safe_psql($database, "CREATE EXTENSION llm_router; SELECT llm_provider_add('sim', '$sim')");
		add_key('ann', "sk-wrong-$database", $database);
	}
	foreach my $database ('one', 'two')
	{
		LlmRouterTest::wait_until("a check in $database", sub { $node->safe_psql($database, refused('ann')) eq 't' });
		pass($database);
	}
	set_interval('1h');
	$node->safe_psql($_, "UPDATE user_api_keys SET checked_at = now() - interval '2 hours'") foreach 'one', 'two';
	$node->restart;
	foreach my $database ('one', 'two')
	{
		LlmRouterTest::wait_until("a check in $database",
			sub { $node->safe_psql($database, "SELECT checked_at > now() - interval '1 hour' FROM user_api_keys") eq 't' });
		pass("$database, after a restart");
	}
};

subtest 'DROP EXTENSION, and idle at nothing' => sub {
	set_interval('1s');
	$provider->reset;
	$provider->script({ hang => 'before_headers', for_path => '/v1/models', times => undef });
	$provider->wait_for_requests(1);
	my $log_start = -s $node->logfile;
	$node->safe_psql($_, "SET lock_timeout = '1s'; DROP EXTENSION llm_router CASCADE") foreach 'one', 'two';
	$provider->reset;
	add_key('ann', 'sk-test-ann');
	wait_for(checked('ann'));
	set_interval('0');
	wait_for($workers, 0);
	my $requests = scalar $provider->requests;
	wait_for("SELECT checked_at < now() - interval '2 s' FROM user_api_keys");
	is(sql($workers), 0, 'no worker stays');
	is(sql("SELECT wait_event_type, wait_event FROM pg_stat_activity WHERE backend_type = 'llm_router launcher'"), $node->pg_version >= 17 ? 'Extension|LlmRouterLauncher' : 'Extension|Extension', 'the launcher sleeps');
	is(scalar($provider->requests), $requests, 'and nobody is asked');
	unlike(slurp_file($node->logfile, $log_start), qr/^(?!.*statement: ).*(?:ERROR|FATAL|WARNING): /m, 'and no error is in the log');
};

is(scalar(grep { /sk-(?:test|wrong)-/ && !/statement: / } split /\n/, slurp_file($node->logfile)), 0, 'no key is in the log but in the statements');
$node->stop;
done_testing();

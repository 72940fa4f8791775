# Health checks: who is asked, and how; what a provider becomes; that one which is
# down leaves the plan and returns; and that checks are in nobody's way.
use strict;
use warnings;

use JSON::PP;
use LlmRouterTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $provider = LlmRouterTest::start_provider();
my $second = LlmRouterTest::start_provider();
my $node = LlmRouterTest::start_node('health', conf => <<'CONF');
llm_router.health_check_interval = '1s'
llm_router.first_token_timeout = '6s'
max_worker_processes = 12
CONF

sub sql { return LlmRouterTest::sql($node, shift) }
sub wait_for { return LlmRouterTest::wait_for_sql($node, @_) }
sub status { return sql("SELECT health_status FROM llm_providers WHERE name = '$_[0]'") }
sub wait_for_status { return wait_for("SELECT health_status FROM llm_providers WHERE name = '$_[0]'", $_[1]) }
sub order
{
	return sql(q(SELECT string_agg(concat_ws(' ', model, CASE WHEN NOT eligible THEN 'not' END), ', ' ORDER BY "position")
		FROM llm_route('[{"role": "user", "content": "Hi"}]', 'eco')));
}
# Checks of a provider from now on, so many of them.
sub wait_for_checks
{
	my ($name, $n) = @_;
	my $now = sql('SELECT clock_timestamp()');
	wait_for("SELECT count(*) >= $n FROM llm_provider_health_checks c JOIN llm_providers p ON p.id = c.provider_id
		WHERE p.name = '$name' AND c.checked_at BETWEEN '$now' AND now()");
	return;
}
sub paths { my %n; $n{"$_->{method} $_->{path}"}++ foreach $_[0]->requests; return join(', ', sort keys %n) }
my $check = '/local/v1/models';

subtest 'what has neither a key nor auth_type none is not asked' => sub {
	is(sql("SELECT count(*) FROM llm_providers WHERE enabled AND check_path IS NOT NULL") > 5, 1, 'there are providers');
	LlmRouterTest::add_sim($node, $provider);
	wait_for_status('sim', 'healthy');
	is(sql('SELECT count(DISTINCT provider_id) FROM llm_provider_health_checks'), 1, 'only the one that needs no key was');
	is(paths($provider), "GET $check", 'by the cheapest request');
	is(sql("SELECT response_time_ms IS NOT NULL, uptime_percentage, error_rate, last_success_at > now() - interval '1 min', updated_at < last_success_at
		FROM llm_providers WHERE name = 'sim'"), 't|100.00||t|t', 'its row says so');
};

my $url = $second->url('/local/v1');
sql(<<"SQL");
SELECT llm_provider_add('stand-in', '$url', auth_type => 'none');
SELECT llm_model_add('stand-in', 'stand-in-eco', 'eco', 10, 20);
UPDATE llm_routing_rules SET fallback_model_id = llm_model_id('stand-in', 'stand-in-eco') WHERE power_level = 'eco';
SQL
wait_for_status('stand-in', 'healthy');

subtest 'a provider that fails is degraded, then down, leaves the plan, and returns' => sub {
	my $listener = LlmRouterTest::start_process('health_listener', 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', 'LISTEN llm_router',
		'-c', q(DO $$ BEGIN WHILE (SELECT health_status FROM llm_providers WHERE name = 'sim') <> 'down' LOOP PERFORM pg_sleep(0.02); END LOOP; END $$),
		'-c', 'SELECT 1');
	wait_for("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'DO%down%' AND pid <> pg_backend_pid()", 1);
	is(order(), 'sim-eco, stand-in-eco', 'the plan before');
	$provider->script({ for_path => $check, status => 503, times => undef });
	wait_for_status('sim', 'down');
	LlmRouterTest::wait_for_exit($listener);
	my @heard = map { decode_json($_) } slurp_file("$PostgreSQL::Test::Utils::log_path/health_listener.log") =~ /payload "(\{.*\})"/g;
	is_deeply(\@heard, [
		{ event => 'provider.health', provider => 'sim', from => 'healthy', to => 'degraded' },
		{ event => 'provider.health', provider => 'sim', from => 'degraded', to => 'down' } ], 'who listens hears of the changes');
	is(sql("SELECT DISTINCT error FROM llm_provider_health_checks WHERE NOT reachable"), 'HTTP status 503 (unavailable)', 'why');
	is(order(), 'stand-in-eco, sim-eco not', 'it has left the plan');
	like(sql(q(SELECT reason FROM llm_route('[{"role": "user", "content": "Hi"}]', 'eco') WHERE NOT eligible)),
		qr/^provider sim is down since \d{4}-\d\d-\d\d /, 'which says since when');
	is(sql("SELECT providers_down FROM llm_status WHERE database = 'postgres'"), 1, 'so does llm_status');
	is(sql("SELECT llm_ask('Hi', 'eco'); SELECT model FROM llm_last_call()"), "You said: Hi\nstand-in-eco", 'calls go elsewhere');
	unlike(paths($provider), qr/chat/, 'none reached it');

	# Down since the first of the checks that failed.
	my $since = "SELECT substring(reason FROM 'since (.*)')::timestamptz FROM llm_route('[{\"role\": \"user\", \"content\": \"Hi\"}]', 'eco') WHERE NOT eligible";
	is(sql("SELECT ($since) = min(checked_at) FROM llm_provider_health_checks WHERE NOT reachable"), 't', 'since the first failure');

	# Nobody is well: the best is tried, and the error is clear.
	sql("UPDATE llm_routing_rules SET fallback_model_id = NULL WHERE power_level = 'eco'");
	is(sql("SELECT llm_ask('Hi', 'eco'); SELECT model FROM llm_last_call()"), "You said: Hi\nsim-eco", 'with nobody else it is tried');
	$provider->script({ status => 500, times => undef });
	my ($state, $message) = LlmRouterTest::sql_error($node, "SELECT llm_ask('Hi', 'eco', options => '{\"router\": {\"max_attempts\": 1}}')");
	is($state, 'LR002', "and its error is the call's: $message");
	sql("UPDATE llm_routing_rules SET fallback_model_id = llm_model_id('stand-in', 'stand-in-eco') WHERE power_level = 'eco'");

	# The word of the checks outlives a restart, without asking first.
	sql("ALTER SYSTEM SET llm_router.health_check_interval = '1h'");
	$node->restart;
	my $asked = sql('SELECT count(*) FROM llm_provider_health_checks');
	wait_for(q(SELECT providers_down FROM llm_status WHERE database = 'postgres'), 1);
	is(order(), 'stand-in-eco, sim-eco not', 'after a restart it is down still');
	is(sql('SELECT count(*) FROM llm_provider_health_checks'), $asked, 'as the last checks said');
	sql("ALTER SYSTEM SET llm_router.health_check_interval = '1s'");
	$node->reload;

	$provider->reset;
	wait_for("SELECT providers_down FROM llm_status WHERE database = 'postgres'", 0);
	is(order(), 'sim-eco, stand-in-eco', 'its first answer brings it back');
	wait_for_status('sim', 'healthy');
};

subtest 'a refused key and a slow answer are degraded, not down' => sub {
	my $master_key = $node->data_dir . '/master.key';
	append_to_file($master_key, "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n");
	chmod 0600, $master_key;
	sql("ALTER SYSTEM SET llm_router.master_key_file = '$master_key'");
	$node->reload;
	wait_for("SELECT current_setting('llm_router.master_key_file')", $master_key);
	my $keyed = $provider->url('/v1');
	sql("SELECT llm_provider_add('keyed', '$keyed')");
	my ($state, $message) = LlmRouterTest::sql_error($node, "SELECT llm_provider_check('keyed')");
	is("$state $message", 'LR005 no key for provider keyed', 'without a key it cannot be checked');
	sql("SELECT llm_provider_set_key('keyed', 'sk-wrong-0123456789', validate => false)");
	wait_for_checks('keyed', 4);
	is(status('keyed'), 'degraded', 'a key that is refused');
	is(sql("SELECT uptime_percentage FROM llm_providers WHERE name = 'keyed'"), '100.00', '... is not downtime');
	sql("SELECT llm_provider_set_key('keyed', 'sk-test-0123456789')");
	wait_for_status('keyed', 'healthy');
	$provider->script({ for_path => '/v1/models', delay_ms => 5200, times => undef });
	wait_for_status('keyed', 'degraded');
	$provider->reset;
	is(sql("SELECT max(response_time_ms) BETWEEN 5200 AND 6000 FROM llm_provider_health_checks"), 't', 'an answer that takes more than five seconds');
	wait_for_status('keyed', 'healthy');
};

subtest 'llm_provider_check checks now, and keeps the result' => sub {
	my $before = sql('SELECT count(*) FROM llm_provider_health_checks');
	sql("UPDATE llm_providers SET health_check_interval = '0'");
	wait_for("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'llm_router rounds'", 0);
	is(sql("SELECT status, http_status, response_time_ms >= 0, message FROM llm_provider_check('sim')"), 'healthy|200|t|', 'a good answer');
	$provider->script({ for_path => $check, status => 500 });
	is(sql("SELECT status, http_status, message FROM llm_provider_check('sim')"), 'degraded|500|HTTP status 500 (unavailable)', 'a bad one');
	$provider->script({ for_path => $check, reset => 'after_request', times => 2 });
	is(sql("SELECT status, http_status FROM llm_provider_check('sim')"), 'degraded|', 'none');
	is(sql("SELECT status FROM llm_provider_check('sim')"), 'down', 'three in a row are down');
	is(order(), 'stand-in-eco, sim-eco not', 'also for the plan');
	is(sql("SELECT status FROM llm_provider_check('sim')"), 'degraded', 'an answer');
	is(order(), 'sim-eco, stand-in-eco', '... and it is back');
	sql("CREATE ROLE administrator; SELECT llm_grant('administrator', 'administrator'); CREATE ROLE nobody; SELECT llm_grant('nobody', 'user')");
	is(sql("SET ROLE administrator; SELECT http_status FROM llm_provider_check('sim'); SELECT count(*) > 0 FROM llm_status; SELECT count(*) FROM llm_circuits"),
		"200\nt\n0", 'an administrator may');
	is((LlmRouterTest::sql_error($node, "SET ROLE nobody; SELECT llm_provider_check('sim')"))[0], '42501', 'a user may not');
	my ($state, $message) = LlmRouterTest::sql_error($node, "SELECT llm_provider_check('simm')");
	is("$state $message", '22023 unknown provider "simm"', 'an unknown one');
	sql("SELECT llm_provider_add('pathless', '$url', auth_type => 'none'); UPDATE llm_providers SET check_path = NULL WHERE name = 'pathless'");
	($state, $message) = LlmRouterTest::sql_error($node, "SELECT llm_provider_check('pathless')");
	is("$state $message", '55000 provider "pathless" has no request that checks it', 'one that cannot be checked');
	($state) = LlmRouterTest::sql_error($node, "BEGIN READ ONLY; SELECT llm_provider_check('sim')");
	is($state, '25006', 'not in a READ ONLY transaction');
};

subtest 'an interval of 0 is never, a wrong one is refused' => sub {
	my $checks = sql("SELECT count(*) FROM llm_provider_health_checks c JOIN llm_providers p ON p.id = c.provider_id WHERE p.name = 'sim'");
	sql("UPDATE llm_providers SET health_check_interval = NULL WHERE name = 'stand-in'");
	wait_for_checks('stand-in', 3);
	is(sql("SELECT count(*) FROM llm_provider_health_checks c JOIN llm_providers p ON p.id = c.provider_id WHERE p.name = 'sim'"), $checks, 'sim is left alone');
	foreach my $interval ('-1s', '0.5s', '31 days')
	{
		my ($state, $message) = LlmRouterTest::sql_error($node, "UPDATE llm_providers SET health_check_interval = '$interval' WHERE name = 'sim'");
		is("$state $message", '23514 health_check_interval of provider "sim" is not valid', $interval);
	}
	sql("UPDATE llm_providers SET health_check_interval = NULL");
};

subtest 'checks go on after the clock was set back' => sub {
	sql("INSERT INTO llm_provider_health_checks (provider_id, checked_at, reachable, failed)
		SELECT id, now() + interval '1 day', false, 1 FROM llm_providers, generate_series(1, 3) WHERE name = 'sim'");
	wait_for_checks('sim', 5);
	is(status('sim'), 'healthy', 'and what is from the future does not count');
	sql("DELETE FROM llm_provider_health_checks WHERE checked_at > now()");
};

subtest 'who locks a row holds up no other check' => sub {
	my $session = $node->background_psql('postgres');
	$session->query_safe("BEGIN; SELECT FROM llm_providers WHERE name = 'sim' FOR UPDATE");
	wait_for_checks('stand-in', 3);
	$session->query_safe('ROLLBACK');
	wait_for_checks('sim', 1);
	$session->quit;
	pass('the others are checked meanwhile, and afterwards it is');
};

subtest 'ten providers that hang are asked at once, and other databases have their turn' => sub {
	$node->safe_psql('postgres', 'CREATE DATABASE other');
	my $hanging = $second->url('/v1');
	sql("UPDATE llm_providers SET health_check_interval = '0' WHERE name = 'stand-in'");
	$second->script({ for_path => '/v1/models', hang => 'before_headers', times => undef });
	$node->safe_psql('other', "CREATE EXTENSION llm_router;
		BEGIN; SELECT llm_provider_add('hang-' || i, '$hanging', auth_type => 'none') FROM generate_series(1, 10) AS i; COMMIT");
	LlmRouterTest::wait_until('all are asked', sub { $second->stats->{peak_requests} >= 10 });
	my ($first) = map { $_->{received_at} } grep { $_->{path} eq '/v1/models' } $second->requests;
	LlmRouterTest::wait_until('all are written', sub { $node->safe_psql('other', 'SELECT count(DISTINCT provider_id) FROM llm_provider_health_checks') == 10 });
	my $took = $node->safe_psql('other', "SELECT extract(epoch FROM min(checked_at)) - $first FROM llm_provider_health_checks");
	note("ten providers that all hang for 6 s were checked in $took s");
	cmp_ok($took, '<', 12, 'the round took less than two of them');
	my $since = sql('SELECT clock_timestamp()');
	LlmRouterTest::wait_until('all are down', sub { $node->safe_psql('other', "SELECT count(*) FROM llm_providers WHERE health_status = 'down'") == 10 });
	cmp_ok(sql("SELECT count(*) FROM llm_provider_health_checks c JOIN llm_providers p ON p.id = c.provider_id WHERE p.name = 'sim' AND c.checked_at > '$since'"),
		'>=', 1, 'between these rounds the other database had its own');
	$node->safe_psql('postgres', 'DROP DATABASE other');
	$second->reset;
};

subtest 'the table of checks stays small, and uptime is exact' => sub {
	sql("UPDATE llm_providers SET health_check_interval = '0'; TRUNCATE llm_provider_health_checks");
	sql(<<'SQL');
INSERT INTO llm_provider_health_checks (provider_id, checked_at, reachable, failed, response_time_ms)
SELECT (SELECT id FROM llm_providers WHERE name = 'sim'), at, extract(hour FROM at AT TIME ZONE 'UTC') <> 3, (extract(hour FROM at AT TIME ZONE 'UTC') = 3)::integer, 100
FROM generate_series(date_trunc('day', now(), 'UTC') - interval '40 days' + interval '150 seconds', now() - interval '1 hour', interval '5 minutes') AS at;
SQL
	my $expected = sql("SELECT round(100.0 * (count(*) FILTER (WHERE reachable) + 1) / (count(*) + 1), 2) FROM llm_provider_health_checks WHERE checked_at >= now() - interval '30 days'");
	sql("UPDATE llm_providers SET health_check_interval = '1s' WHERE name = 'sim'");
	wait_for('SELECT count(*) < 1000 FROM llm_provider_health_checks');
	wait_for_checks('sim', 1);
	is(sql("SELECT max(checks), count(*) FILTER (WHERE checks > 1) BETWEEN 27 AND 29, min(failed) FILTER (WHERE checks > 1), min(checked_at) >= date_trunc('day', now(), 'UTC') - interval '30 days'
		FROM llm_provider_health_checks"), '288|t|12|t', 'one row a day');
	cmp_ok(abs(sql("SELECT uptime_percentage FROM llm_providers WHERE name = 'sim'") - $expected), '<=', 0.2, "uptime is $expected %, to within a day at its edge");
};

subtest 'the worker takes little of a core' => sub {
	sub children { my @stat = split / /, slurp_file("/proc/$_[0]/stat") =~ s/^.*\) //r; return ($stat[13] + $stat[14]) / POSIX::sysconf(POSIX::_SC_CLK_TCK()) }
	my ($postmaster) = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;
	sql("UPDATE llm_providers SET health_check_interval = '1s' WHERE name = 'sim'");
	wait_for_checks('sim', 1);
	sql("SELECT llm_provider_add('more-' || i, '" . $provider->url('/local/v1') . "', auth_type => 'none') FROM generate_series(1, 9) AS i");
	my $round = sub { return sql('SELECT count(DISTINCT checked_at) FROM llm_provider_health_checks WHERE checks = 1') };
	wait_for("SELECT count(*) FROM llm_providers WHERE health_status = 'healthy' AND name LIKE 'more-%'", 9);
	my $session = $node->background_psql('postgres');	# so that polling costs no process
	my ($from, $cpu) = ($session->query_safe('SELECT count(DISTINCT checked_at) FROM llm_provider_health_checks WHERE checks = 1'), children($postmaster));
	my $to = $from;
	LlmRouterTest::wait_until('ten rounds', sub {
		$to = $session->query_safe('SELECT count(DISTINCT checked_at) FROM llm_provider_health_checks WHERE checks = 1');
		$to >= $from + 10;
	});
	my $each = (children($postmaster) - $cpu) / ($to - $from);
	$session->quit;
	note(sprintf('a round of ten providers takes %.0f ms of CPU: %.5f of a core at 5 min', 1000 * $each, $each / 300));
	cmp_ok($each / 300, '<', 0.01, 'at the default interval under 0.01 of a core');
};

done_testing();

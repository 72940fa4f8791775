# Preloading, concurrency, proxies, the network policy, and what llm_doctor
# makes of it.
use strict;
use warnings;

use IO::Socket::INET;
use LlmRouterTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $provider = LlmRouterTest::start_provider();
my $node = LlmRouterTest::start_node('operations');
LlmRouterTest::add_sim($node, $provider);

sub sql { return LlmRouterTest::sql($node, shift) }

sub reload_with
{
	my ($setting, $value) = @_;
	sql("ALTER SYSTEM SET $setting = '$value'");
	sql('SELECT pg_reload_conf()');
	LlmRouterTest::wait_for_sql($node, "SELECT current_setting('$setting')", $value);
	return;
}

subtest 'not preloaded' => sub {
	my $bare = PostgreSQL::Test::Cluster->new('bare');
	$bare->init;
	$bare->start;
	LlmRouterTest::sql($bare, 'CREATE EXTENSION llm_router');
	my ($state, $message) = LlmRouterTest::sql_error($bare, "SELECT llm_ask('Hi')");
	is($state, 'LR010', "LR010: $message");
	is(LlmRouterTest::sql($bare, "SELECT status FROM llm_doctor() WHERE check_name = 'preload'"), 'error',
		'llm_doctor says so');
	$bare->stop;
};

subtest 'calls above max_concurrency wait, and fail with LR004 after concurrency_timeout' => sub {
	my $url = $provider->url('/v1');
	sql("SELECT llm_provider_add('checked', '$url')");
	reload_with('llm_router.max_concurrency', 1);
	is(sql(q(SELECT valid FROM llm_key_test('checked', 'sk-test-x'), generate_series(1, 3))), "t\nt\nt", 'checks of keys give their places back');
	$provider->reset;
	$provider->script({ hang => 'before_headers' });
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	my $pid = $session->query('SELECT pg_backend_pid()');
	$session->query_until(qr/started/, "\\echo started\nSELECT llm_ask('Hi');\n");
	$provider->wait_for_requests(1);

	my ($state, $message) =
	  LlmRouterTest::sql_error($node, "SET llm_router.concurrency_timeout = '200ms'; SELECT llm_ask('Hi')");
	is($state, 'LR004', "LR004: $message");
	is(scalar($provider->requests), 1, 'it sent nothing');
	($state, $message) = LlmRouterTest::sql_error($node, "SET llm_router.concurrency_timeout = '200ms'; SELECT llm_key_test('checked', 'sk-test-x')");
	is($state, 'LR004', "a check of a key, too: $message");
	is(scalar($provider->requests), 1, 'nor was that sent');

	my $waiting = $node->background_psql('postgres', on_error_stop => 0);
	$waiting->query_until(qr/started/, "\\echo started\nSELECT llm_ask('Waited');\n");
	sql("SELECT pg_cancel_backend($pid)");
	$provider->wait_for_requests(2);
	is($waiting->query('SELECT model FROM llm_last_call()') =~ s/.*\n//sr, 'sim-balanced',
		'a call that waits goes on when the other ends');
	$waiting->quit;
	$session->{run}->kill_kill;
	reload_with('llm_router.max_concurrency', -1);
};

subtest 'calls that wait enter in the order of their coming' => sub {
	reload_with('llm_router.max_concurrency', 1);
	$provider->reset;
	$provider->script({ hang => 'before_headers' });
	my @sessions;
	my @pids;
	foreach my $prompt (qw(first second third fourth))
	{
		my $session = $node->background_psql('postgres', on_error_stop => 0);
		push @pids, scalar $session->query('SELECT pg_backend_pid()');
		push @sessions, $session;
		$session->query_until(qr/started/, "\\echo started\nSELECT llm_ask('$prompt');\n");
		LlmRouterTest::wait_for_sql($node, "SELECT wait_event_type = 'Extension' FROM pg_stat_activity WHERE pid = $pids[-1]");
	}
	$provider->wait_for_requests(1);
	sql("SELECT pg_cancel_backend($pids[2]), pg_cancel_backend($pids[0])");
	$provider->wait_for_requests(3);
	is(join(' ', map { $_->{body}{messages}[0]{content} } $provider->requests), 'first second fourth',
		'without the one that was cancelled');
	$_->{run}->kill_kill foreach @sessions;
	reload_with('llm_router.max_concurrency', -1);
};

subtest 'a real forward proxy' => sub {
	my $tinyproxy = (grep { -x $_ } '/usr/bin/tinyproxy', '/usr/sbin/tinyproxy')[0]
	  or plan skip_all => 'tinyproxy is not installed';
	my $port = PostgreSQL::Test::Cluster::get_free_port();
	my $directory = PostgreSQL::Test::Utils::tempdir_short();
	append_to_file("$directory/tinyproxy.conf",
		"Port $port\nListen 127.0.0.1\nTimeout 60\nMaxClients 10\nAllow 127.0.0.1\nLogFile \"$directory/log\"\nLogLevel Connect\n");
	LlmRouterTest::start_process('tinyproxy', $tinyproxy, '-d', '-c', "$directory/tinyproxy.conf");
	LlmRouterTest::wait_until('tinyproxy listens',
		sub { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) });

	reload_with('llm_router.proxy', "http://127.0.0.1:$port");
	is(sql("SELECT llm_ask('Through a proxy')"), 'You said: Through a proxy', 'answers');
	like(slurp_file("$directory/log"), qr{POST http://127\.0\.0\.1|Request.*POST}, 'the request went through it');
	reload_with('llm_router.proxy', '');
};

subtest 'http is refused but for loopback and allowed_hosts' => sub {
	sql("SELECT llm_provider_add('plain', 'http://plain.example/v1', auth_type => 'none');
		 SELECT llm_model_add('plain', 'plain-eco', 'eco', 0, 0)");
	my ($state, $message) = LlmRouterTest::sql_error($node, "SELECT llm_ask('Hi', model => 'plain-eco')");
	like($message, qr/blocked_address/, $message);
	# 10.0.0.0/8 is refused before any packet is sent.
	sql("UPDATE llm_providers SET base_url = 'https://10.255.255.1/v1' WHERE name = 'plain'");
	($state, $message) = LlmRouterTest::sql_error($node, "SELECT llm_ask('Hi', model => 'plain-eco')");
	like($message, qr/blocked_address/, $message);
};

subtest 'a standby says that it cannot record' => sub {
	my $primary = LlmRouterTest::start_node('primary', streaming => 1);
	LlmRouterTest::add_sim($primary, $provider);
	$primary->backup('base');
	my $standby = PostgreSQL::Test::Cluster->new('standby');
	$standby->init_from_backup($primary, 'base', has_streaming => 1);
	$standby->start;
	$primary->wait_for_catchup($standby);
	$provider->reset;
	my ($state, $message) = LlmRouterTest::sql_error($standby, "SELECT llm_ask('Hi')");
	is($state, 'LR010', "LR010: $message");
	is(scalar($provider->requests), 0, 'nothing was sent');
	is(LlmRouterTest::sql($standby, "SELECT count(*) FROM llm_route('[{\"role\": \"user\", \"content\": \"Hi\"}]') WHERE eligible"), 1,
		'llm_route works there');
	is(LlmRouterTest::sql($standby, "SELECT status FROM llm_doctor() WHERE check_name = 'launcher'"), 'ok',
		'llm_doctor does not miss the launcher');
	$standby->promote;
	is(LlmRouterTest::sql($standby, "SELECT llm_ask('Promoted')"), 'You said: Promoted', 'after promotion it calls');
	is(LlmRouterTest::sql($standby, "SELECT count(*) FROM llm_usage_logs"), 1, 'and records');
	$standby->stop;
	$primary->stop;
};

subtest 'llm_doctor finds what is wrong' => sub {
	is(sql("SELECT string_agg(check_name, ',') FROM llm_doctor() WHERE status = 'error'") // '', '', 'no error in a sane installation');
	sql("UPDATE llm_models SET retires_on = current_date + 30 WHERE model_name = 'sim-eco';
		 UPDATE llm_models SET retires_on = current_date WHERE model_name = 'sim-balanced';
		 UPDATE llm_models SET cost_per_1k_input_tokens = NULL WHERE model_name = 'sim-precision'");
	like(sql("SELECT detail FROM llm_doctor() WHERE check_name = 'retiring models'"), qr{sim/sim-eco}, 'a model that retires soon');
	like(sql("SELECT detail FROM llm_doctor() WHERE check_name = 'retired models'"), qr{sim/sim-balanced}, 'one that has');
	like(sql("SELECT detail FROM llm_doctor() WHERE check_name = 'prices'"), qr{sim/sim-precision}, 'one without a price');
	is(sql("SELECT count(*) FROM llm_doctor() WHERE status <> 'ok' AND hint IS NULL"), 0, 'each finding has a hint');
};

subtest 'every setting stands in doc/settings.md' => sub {
	my $page = slurp_file(LlmRouterTest::project() . '/doc/settings.md');
	foreach my $name (split /\n/, sql("SELECT name FROM pg_settings WHERE name LIKE 'llm\\_router.%'"))
	{
		like($page, qr/^\| `\Q$name\E` \|/m, $name);
	}
};

$node->stop;
done_testing();

# Connections are kept and bounded; memory is flat; settings decide which way requests go.
use strict;
use warnings;

use HttpTest;
use LlmRouterTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $provider = LlmRouterTest::start_provider();
my $node = HttpTest::start_node('connections', conf => "max_files_per_process = 150\n");
my $url = $provider->url('/local/v1/chat/completions');
my $body = '{"model": "m", "messages": [{"role": "user", "content": "Hi"}]}';
my $call = 'SELECT failure FROM ' . HttpTest::call('POST', $url, $body);

sub repeat_call
{
	my ($rounds, $at_once) = @_;
	return "SELECT repeat_transfer('POST', '$url', '$body', 'Content-Type: application/json', $rounds, $at_once)";
}

# Descriptors and resident memory (kB) of the session's backend.
my $descriptors = "SELECT count(*) FROM pg_ls_dir('/proc/self/fd')";
my $resident = q(SELECT substring(pg_read_file('/proc/self/status') FROM 'VmRSS:\s+(\d+)'));

subtest 'one session uses one connection' => sub {
	$provider->reset;
	my $session = $node->background_psql('postgres');
	is($session->query(repeat_call(20, 1)), 20, '20 requests, one after the other');
	is($session->query($call), 'ok', 'and one of another statement');
	is($provider->stats->{connections}, 1, 'on one connection');
	$session->quit;
};

subtest 'requests at once use a connection each, and all are kept' => sub {
	$provider->reset;
	my $session = $node->background_psql('postgres');
	is($session->query(repeat_call(3, 8)), 24, 'three rounds of eight');
	is($provider->stats->{connections}, 8, 'on eight connections');
	cmp_ok($provider->stats->{peak_requests}, '>', 1, 'at the same time');
	$session->quit;
};

subtest 'idle connections are bounded' => sub {
	$provider->reset;
	my $session = $node->background_psql('postgres');
	$session->query($call);
	my $with_one = $session->query($descriptors);
	is($session->query(repeat_call(1, 24)), 24, '24 at once');
	cmp_ok($session->query($descriptors) - $with_one, '<=', 15, 'at most 16 are kept');
	$session->quit;
};

subtest 'no request is lost in silence when descriptors run out' => sub {
	$provider->reset;
	my $session = $node->background_psql('postgres');
	my $answered = $session->query(repeat_call(1, 60));
	cmp_ok($answered, '>', 5, "$answered of 60 are answered");
	cmp_ok($answered, '<', 60, 'the others fail');
	is($session->query($call), 'ok', 'and the session goes on');
	$session->quit;
};

subtest 'a kept connection that the server closed in the meantime' => sub {
	$provider->reset;
	$provider->script({ close => 'after_answer' });
	my $session = $node->background_psql('postgres');
	is($session->query($call), 'ok', 'first');
	LlmRouterTest::wait_until('the connection is closed', sub { $provider->stats->{open_connections} == 0 });
	is($session->query($call), 'ok', 'is replaced');
	is(scalar $provider->requests, 2, 'and the request sent once');
	$session->quit;
};

subtest 'a POST that may have been worked on is not repeated' => sub {
	$provider->reset;
	$provider->script({}, { close => 'after_request' });
	my $session = $node->background_psql('postgres');
	is($session->query($call), 'ok', 'the first is answered');
	is($session->query($call =~ s/failure/failure, sent, message/r) =~ s/:\d+:/:N:/r,
		'broken|t|127.0.0.1:N: the connection was lost before an answer came',
		'the second, on the same connection, fails when that is closed before an answer');
	is(scalar $provider->requests, 2, 'and was sent once');
	$session->quit;
};

subtest 'a GET is repeated' => sub {
	$provider->reset;
	$provider->script({}, { close => 'after_request' });
	my $session = $node->background_psql('postgres');
	my $get = 'SELECT failure FROM ' . HttpTest::call('GET', $provider->url('/local/v1/models'));
	is($session->query($get), 'ok', "request $_") foreach 1 .. 2;
	is(scalar $provider->requests, 3, 'three were sent');
	$session->quit;
};

subtest 'memory is flat' => sub {
	my $session = $node->background_psql('postgres');
	$session->query(repeat_call(500, 1));
	my $before = $session->query($resident);
	is($session->query(repeat_call(2000, 1)), 2000, '2000 requests');
	my $after = $session->query($resident);
	cmp_ok($after - $before, '<=', 256, sprintf('%d kB more', $after - $before));
	$session->quit;
};

subtest 'what was cancelled is given back' => sub {
	$provider->reset;
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	$session->query($call);
	my $before = $session->query($descriptors);
	$provider->script({ hang => 'before_headers', times => 20 });
	$session->query("SET statement_timeout = '50ms'");
	$session->query($call) foreach 1 .. 20;
	$session->query('RESET statement_timeout');
	cmp_ok($session->query($descriptors), '<=', $before, 'no descriptor is left');
	$provider->reset;
	is($session->query($call), 'ok', 'the session goes on');
	$session->quit;
};

subtest 'proxy variables of the environment do not count' => sub {
	local $ENV{http_proxy} = 'http://127.0.0.1:1';
	local $ENV{https_proxy} = 'http://127.0.0.1:1';
	local $ENV{all_proxy} = 'http://127.0.0.1:1';
	$node->restart;
	is(LlmRouterTest::sql($node, $call), 'ok', 'the request goes straight to its server');
};

SKIP:
{
	my ($tinyproxy) = grep { -x } map { "$_/tinyproxy" } split(/:/, $ENV{PATH}), '/usr/sbin', '/usr/bin';
	skip 'tinyproxy is not installed', 1 unless $tinyproxy;
	subtest 'llm_router.proxy' => sub {
		my $port = PostgreSQL::Test::Cluster::get_free_port();
		my $directory = $PostgreSQL::Test::Utils::tmp_check;
		append_to_file("$directory/tinyproxy.conf",
			"Port $port\nListen 127.0.0.1\nAllow 127.0.0.1\nLogFile \"$directory/tinyproxy.log\"\nLogLevel Connect\n");
		LlmRouterTest::start_process('tinyproxy', $tinyproxy, '-d', '-c', "$directory/tinyproxy.conf");
		LlmRouterTest::wait_until('tinyproxy listens', sub { IO::Socket::INET->new("127.0.0.1:$port") });
		$node->append_conf('postgresql.conf', "llm_router.proxy = 'http://127.0.0.1:$port'");
		$node->restart;
		$provider->reset;
		is(LlmRouterTest::sql($node, $call), 'ok', 'the request is answered');
		my ($received) = $provider->requests;
		ok((grep { lc $_->[0] eq 'via' } @{ $received->{headers} }), 'through the proxy');
	};
}

$node->stop;
done_testing();

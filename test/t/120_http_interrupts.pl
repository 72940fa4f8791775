# Wherever a transfer hangs, PostgreSQL stays in charge: cancel, statement_timeout, pg_terminate_backend, a client that
# dies and DROP DATABASE of another database take effect at once.
use strict;
use warnings;

use Cwd qw(abs_path);
use File::Temp qw(tempdir);
use HttpTest;
use IO::Socket::INET;
use LlmRouterTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

# The transfers would hang for 300 seconds; what ends them takes far less than this.
my $SOON = 5;
my %longest;

# Runs $act and then waits for the query to be true; how long that took.
sub takes_effect
{
	my ($node, $what, $act, $query) = @_;
	my $begun = time();
	$act->();
	LlmRouterTest::wait_for_sql($node, $query) if $query;
	my $took = time() - $begun;
	$longest{$what} = $took if $took > ($longest{$what} // 0);
	cmp_ok($took, '<', $SOON, sprintf('%s: after %.0f ms', $what, 1000 * $took));
	return;
}

# All of it while a transfer to $url hangs. $arrived->(), if given, waits until it does.
sub gives_way
{
	my ($node, $where, $url, $arrived) = @_;
	my $hang = sub {
		my ($session, $pid) = HttpTest::start_transfer($node, 'POST', $url, '{"model": "m", "messages": []}');
		LlmRouterTest::wait_for_sql($node,
			"SELECT wait_event_type = 'Extension' FROM pg_stat_activity WHERE pid = $pid");
		$arrived->() if $arrived;
		return ($session, $pid);
	};
	subtest "a transfer that hangs $where" => sub {
		my ($session, $pid) = $hang->();
		takes_effect($node, 'DROP DATABASE of another', sub {
			LlmRouterTest::sql($node, 'CREATE DATABASE other STRATEGY file_copy');
			LlmRouterTest::sql($node, 'DROP DATABASE other'); });
		takes_effect($node, 'pg_cancel_backend',
			sub { LlmRouterTest::sql($node, "SELECT pg_cancel_backend($pid)") },
			"SELECT state = 'idle' FROM pg_stat_activity WHERE pid = $pid");
		$session->query_until(qr/again/, "\\echo again\n");
		is($session->query('SELECT 1'), 1, 'the session goes on');
		$session->quit;

		($session, $pid) = $hang->();
		takes_effect($node, 'pg_terminate_backend',
			sub { LlmRouterTest::sql($node, "SELECT pg_terminate_backend($pid)") },
			"SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $pid");
		$session->{run}->kill_kill;

		($session, $pid) = $hang->();
		takes_effect($node, 'a client that dies',
			sub { $session->{run}->signal('KILL') },
			"SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $pid");
		$session->{run}->kill_kill;

		my $call = HttpTest::call('POST', $url, '{"model": "m", "messages": []}');
		my $state;
		takes_effect($node, 'statement_timeout',
			sub { ($state) = LlmRouterTest::sql_error($node, "SET statement_timeout = '200ms'; SELECT $call") });
		is($state, '57014', 'statement_timeout is a query_canceled');
	};
	return;
}

my $conf = "llm_router.connect_timeout = '300s'\nllm_router.first_token_timeout = '300s'\n";
my $provider = LlmRouterTest::start_provider();
my $node = HttpTest::start_node('interrupts', conf => $conf);
my $chat = $provider->url('/local/v1/chat/completions');

foreach my $hang (qw(before_headers after_headers mid_body))
{
	$provider->reset;
	$provider->script({ hang => $hang, times => undef });
	gives_way($node, $hang, $chat, sub { $provider->wait_for_requests(1) });
}
LlmRouterTest::wait_until('the provider sees no request any more', sub { $provider->stats->{open_requests} == 0 });
pass('the provider sees that its clients have gone');

$provider->reset;
$provider->script({ drip => { bytes => 1, every_ms => 50 }, huge_mb => 1, times => undef });
gives_way($node, 'in a body that drips', $chat, sub { $provider->wait_for_requests(1) });

my $silent = HttpTest::silent_listener();
gives_way($node, 'in the TLS handshake', 'https://127.0.0.1:' . $silent->sockport . '/');

# A queue of one, which is full: further connections wait for an answer to their SYN.
my $full = HttpTest::silent_listener(0);
my @filling = map { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $full->sockport, Blocking => 0) } 1 .. 3;
gives_way($node, 'in connect', 'http://127.0.0.1:' . $full->sockport . '/');
$node->stop;

# A name server that never answers: the server runs in namespaces of its own, where one listens.
my $directory = tempdir('llm_router_dns_XXXXXX', TMPDIR => 1, CLEANUP => 1);
append_to_file("$directory/resolv.conf", "nameserver 127.0.0.1\noptions timeout:30 attempts:5\n");
append_to_file("$directory/name_server.pl", <<'PERL');
use IO::Socket::INET;
my $directory = shift;
socket(my $socket, AF_INET, SOCK_DGRAM, 0) or die;
my $up = pack('a16 S x22', 'lo', 1);    # struct ifreq with IFF_UP
ioctl($socket, 0x8914, $up) or die "lo: $!";    # SIOCSIFFLAGS
my $dns = IO::Socket::INET->new(Proto => 'udp', LocalAddr => '127.0.0.1', LocalPort => 53) or die $!;
open(my $ready, '>', "$directory/ready") or die $!;
close($ready);
while (defined $dns->recv(my $query, 512))
{
	open(my $asked, '>>', "$directory/asked") or die $!;
}
PERL
chmod(0755, $directory);
my $namespace = LlmRouterTest::start_process('name_server', 'unshare', '--map-root-user', '--mount', '--net', 'sh', '-c',
	"mount --bind $directory/resolv.conf /etc/resolv.conf && exec $^X $directory/name_server.pl $directory");
my $ready = eval { LlmRouterTest::wait_until('the name server', sub { -e "$directory/ready" }, 5) };
SKIP:
{
	skip 'no user namespaces here, so no name server that hangs (see name_server.log)', 1 unless $ready;

	# pg_ctl, first in PATH, starts the server in there.
	mkdir("$directory/bin");
	my ($pg_ctl) = grep { -x } map { "$_/pg_ctl" } split /:/, $ENV{PATH};
	append_to_file("$directory/bin/pg_ctl", "#!/bin/sh\nexec nsenter --target $namespace --user --mount --net --preserve-credentials " .
		"unshare --map-user=$> --map-group=" . (split ' ', $))[0] . ' ' . abs_path($pg_ctl) . " \"\$@\"\n");
	chmod(0755, "$directory/bin/pg_ctl");
	local $ENV{PATH} = "$directory/bin:$ENV{PATH}";
	my $deaf = HttpTest::start_node('deaf', conf => $conf);
	gives_way($deaf, 'in a name look-up', 'https://api.example.com/',
		sub { LlmRouterTest::wait_until('a query to the name server', sub { -e "$directory/asked" }) });

	my $answer = HttpTest::transfer_after($deaf, "SET llm_router.connect_timeout = '300ms';", 'POST', 'https://api.example.com/', '{}');
	is($answer->{message}, 'api.example.com:443: could not connect within 300 ms', 'the connect timeout covers the name look-up');
	$deaf->stop;
}

note(sprintf('%s took at most %.0f ms', $_, 1000 * $longest{$_})) foreach sort keys %longest;
done_testing();

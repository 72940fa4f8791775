# An opened key leaves a process's memory when its time is over, after a reload, and
# after an error, which turns off a session's timers; also where the process does
# nothing, and when it was sent over TLS.
use strict;
use warnings;

use File::Copy qw(copy);
use LlmRouterTest;
use PostgreSQL::Test::Utils;
use Test::More;

# As long as some providers' keys are. Looked for is its beginning.
my $sentinel = 'sk-test-memory-sentinel-0123456789';
my $key = $sentinel . 'abcdef' x 24;
my $provider = LlmRouterTest::start_provider(tls => 1);
my $node = LlmRouterTest::start_node('memory', conf => "llm_router.key_cache_ttl = '1s'\nllm_router.ca_file = 'ca.pem'\n");
copy("$provider->{certificates}/ca.pem", $node->data_dir . '/ca.pem') or die $!;
LlmRouterTest::add_sim($node, $provider, path => '/v1', auth_type => 'bearer');

my $call = q(SELECT llm_chat('[{"role": "user", "content": "Hi"}]', 'eco') -> 'llm_router' ->> 'used_byok');

# Where a process has the text, by what its memory is mapped from; undef where the
# system does not let us look. Shared memory is not this process's.
sub places_of
{
	my ($pid, $text) = @_;
	my @places;
	open my $maps, '<', "/proc/$pid/maps" or return;
	open my $memory, '<:raw', "/proc/$pid/mem" or return;
	while (my $line = <$maps>)
	{
		my ($from, $to, $mode, $name) = $line =~ /^([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \S+\s*(.*)/ or next;
		next if $mode !~ /^rw.p/;
		no warnings 'portable';
		my ($start, $size) = (hex $from, hex($to) - hex($from));
		sysseek($memory, $start, 0) or next;
		my $read = sysread($memory, my $bytes, $size);
		push @places, $name || 'anonymous' if $read && index($bytes, $text) >= 0;
	}
	return \@places;
}

sub set_ttl
{
	my ($ttl) = @_;
	LlmRouterTest::sql($node, "ALTER SYSTEM SET llm_router.key_cache_ttl = '$ttl'");
	$node->reload;
	LlmRouterTest::wait_for_sql($node, 'SHOW llm_router.key_cache_ttl', $ttl);
	return;
}

# Has a session use the key, then do something, and waits until the key is gone.
sub is_wiped
{
	my ($session, $name, $then) = @_;
	my $pid = $session->query('SELECT pg_backend_pid()');
	is($session->query($call), 'true', "$name: the key is used");
	ok(scalar @{ places_of($pid, $sentinel) }, "$name: it is in memory then");
	$then->();
	my $wiped = eval { LlmRouterTest::wait_until("$name: the key is wiped", sub { @{ places_of($pid, $sentinel) } == 0 }, 20) };
	ok($wiped, "$name: it is wiped by itself") or diag("still in @{ places_of($pid, $sentinel) }");
	return;
}

sub start_session { return $node->background_psql('postgres', on_error_stop => 0) }

# The lowest number that a file of a process may have next.
sub next_descriptor
{
	my ($pid) = @_;
	my $fd = 0;
	$fd++ while -l "/proc/$pid/fd/$fd";
	return $fd;
}

# Not by this session: its memory would have the statement.
LlmRouterTest::sql($node, "SELECT llm_key_add('sim', '$key')");

# Nor one that has to wait first, for the ledger's writer: libcurl is used in another order then.
LlmRouterTest::sql($node, "SELECT llm_ask('Hi', 'eco')");

my $session = start_session();
my $pid = $session->query('SELECT pg_backend_pid()');
plan skip_all => 'this system does not let a user look into the memory of its processes' if !defined places_of($pid, $sentinel);

is_wiped($session, 'an idle session', sub { });
is_wiped($session, 'a session idle in a transaction', sub { $session->query('BEGIN; SELECT 1') });
is_wiped($session, 'a session idle after an error in a savepoint',
	sub { $session->query('ROLLBACK; BEGIN; SAVEPOINT s; SELECT 1/0; ROLLBACK TO s') });
is_wiped($session, 'an idle session after an error', sub { $session->query('ROLLBACK; SELECT 1/0') });
$session->query('BEGIN');
is_wiped($session, 'a failed transaction after more errors', sub { $session->query($_) for 'SELECT 1/0', 'SELECT 1', 'SELEC' });
$session->query('ROLLBACK');

# Nothing expires in the rest of this test.
set_ttl('1h');
$session->query('SELECT 1');
is_wiped($session, 'an idle session and a reload', sub { $node->reload });
is_wiped($session, 'an idle session and a shorter time to live', sub { set_ttl('30min') });
$session->quit;

# A transfer that cannot be started: libcurl's loop gets no file. The session has read
# what it needs before.
$session = start_session();
$pid = $session->query('SELECT pg_backend_pid()');
$session->query($_) for q(SELECT * FROM llm_doctor()), q(SELECT llm_route('[{"role": "user", "content": "Hi"}]', 'eco'));
system('prlimit', "--pid=$pid", '--nofile=' . next_descriptor($pid) . ':') == 0 or die 'prlimit';
$session->query($call);
like($session->{stderr}, qr/Too many open files|out of memory/, 'an error at the start of a transfer');
ok(@{ places_of($pid, $sentinel) } == 0, 'leaves no key');
$session->quit;

# Over TLS, the records that OpenSSL encrypts hold what is sent.
LlmRouterTest::sql($node, q(UPDATE llm_providers SET base_url = ') . $provider->url('/v1', 'https') . q(' WHERE name = 'sim'));
LlmRouterTest::sql($node, q(SELECT llm_provider_confirm_keys('sim')));
$session = start_session();
set_ttl('1s');
$session->query('SELECT 1');
is_wiped($session, 'over TLS, an idle session', sub { });
is_wiped($session, 'over TLS, an idle session after an error', sub { $session->query('SELECT 1/0') });
$session->quit;
done_testing();

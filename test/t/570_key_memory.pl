# An opened key leaves a process's memory when its time is over, also where the
# process does nothing, and after an error, which turns off a session's timers.
use strict;
use warnings;

use LlmRouterTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $key = 'sk-test-memory-sentinel-0123456789';
my $provider = LlmRouterTest::start_provider();
my $node = LlmRouterTest::start_node('memory', conf => "llm_router.key_cache_ttl = '1s'\n");
LlmRouterTest::add_sim($node, $provider, path => '/v1', auth_type => 'bearer');

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

# Not by this session: its memory would have the statement.
LlmRouterTest::sql($node, "SELECT llm_key_add('sim', '$key')");

# Nor one that has to wait first, for the ledger's writer: libcurl is used in another order then.
LlmRouterTest::sql($node, "SELECT llm_ask('Hi', 'eco')");

my $session = $node->background_psql('postgres', on_error_stop => 0);
my $pid = $session->query_safe('SELECT pg_backend_pid()');
plan skip_all => 'this system does not let a user look into the memory of its processes' if !defined places_of($pid, $key);

foreach my $case ([ 'an idle session', sub { } ],
	[ 'a session idle in a transaction', sub { $session->query_safe('BEGIN; SELECT 1') } ],
	[ 'a session idle after an error in a savepoint', sub { $session->query('ROLLBACK; BEGIN; SAVEPOINT s; SELECT 1/0; ROLLBACK TO s') } ],
	[ 'an idle session after an error', sub { $session->query('ROLLBACK; SELECT 1/0') } ])
{
	my ($name, $then) = @$case;
	is($session->query("SELECT llm_chat('[{\"role\": \"user\", \"content\": \"Hi\"}]', 'eco') -> 'llm_router' ->> 'used_byok'"), 'true', "$name: the key is used");
	ok(scalar @{ places_of($pid, $key) }, "$name: it is in memory then");
	$then->();
	ok(LlmRouterTest::wait_until("$name: the key is wiped", sub { @{ places_of($pid, $key) } == 0 }), "$name: it is wiped by itself");
}
$session->quit;
done_testing();

# A full disk: calls are answered, with a warning, as long as shared memory has room
# for their records, and refused with a clear error after that, before any money is
# spent. Nothing hangs, and all records are written when there is room again.
use strict;
use warnings;

use LedgerTest;
use LlmRouterTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $library = "$PostgreSQL::Test::Utils::tmp_check/disk_full.so";
system_or_bail($ENV{CC} // 'cc', '-shared', '-fPIC', '-Wall', '-Werror', '-o', $library, LlmRouterTest::project() . '/test/modules/disk_full/disk_full.c', '-ldl');
my $flag = "$PostgreSQL::Test::Utils::tmp_check/disk_is_full";

my $provider = LlmRouterTest::start_provider();
my $node = LlmRouterTest::start_node('disk_full', start => 0, conf => <<'CONF');
llm_router.ledger_size = 256kB
llm_router.ledger_wait_timeout = 200ms
CONF
{
	local $ENV{LD_PRELOAD} = $library;
	local $ENV{DISK_FULL_FLAG} = $flag;
	$node->start;
}
sql('CREATE EXTENSION llm_router');
LlmRouterTest::add_sim($node, $provider);

sub sql { return LlmRouterTest::sql($node, shift) }

# Each row has a text of incompressible bytes, so that a page holds few of them.
sub call
{
	my ($tag, $timeout) = @_;
	my $timeout_ms = $timeout // 20000;
	return qq{SELECT llm_ask('Hi', options => jsonb_build_object('router', jsonb_build_object('timeout_ms', $timeout_ms, 'tags',
		jsonb_build_object('test', '$tag', 'text', (SELECT string_agg(md5(random()::text || i), '') FROM generate_series(1, 50) AS i)))))};
}

sub rows_of
{
	my ($tag) = @_;
	return sql("SELECT count(*) FROM llm_usage_logs WHERE tags->>'test' = '$tag'");
}

is(sql(call('before')), 'You said: Hi', 'a call is answered while there is room');
is(rows_of('before'), 1, 'and has its row');

append_to_file($flag, '');
my $log_position = -s $node->logfile;
my $given = 0;
my $refused;
foreach (1 .. 1000)
{
	my ($status, $out, $err) = $node->psql('postgres', '\set VERBOSITY verbose' . "\n" . call('full', 2000));
	if ($status != 0)
	{
		$refused = $err;
		last;
	}
	$given++ if $out eq 'You said: Hi';
}
cmp_ok($given, '>', 10, "$given calls are answered while the disk is full");
like($refused, qr/ERROR:  LR007: the ledger had no room for the record of this call before its deadline/, 'then one is refused');
like($refused, qr/HINT:  Look at llm_status/, 'with a hint where to look');
my $asked = $provider->requests;
sql_fails(call('full', 500));
is(scalar($provider->requests), $asked, 'what is refused is not sent to the provider');
cmp_ok(sql('SELECT queued FROM llm_status'), '>', 0, 'llm_status has the records that wait');
like(slurp_file($node->logfile, $log_position), qr/No space left on device/, 'the log has the reason');
is(sql('SELECT 1'), 1, 'the server goes on');

unlink $flag;
LedgerTest::wait_until_settled($node);
is(rows_of('full'), $given, 'with room again, every answer has its row, and no call more than that');
is(sql('SELECT count(*) FROM llm_usage_quarantine'), 0, 'none is in quarantine');
is(sql(call('after')), 'You said: Hi', 'and calls are answered');

sub sql_fails
{
	my ($statement) = @_;
	my ($state) = LlmRouterTest::sql_error($node, $statement);
	is($state, 'LR007', 'another one is refused, too');
	return;
}

$node->stop;
done_testing();

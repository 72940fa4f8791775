# Databases and extensions come and go under the ledger.
use strict;
use warnings;

use LedgerTest;
use LlmRouterTest;
use PostgreSQL::Test::Utils;
use Test::More;

# The default max_worker_processes, 8, which PostgreSQL::Test::Cluster leaves.
my $node = LedgerTest::start_node('main');

# DROP EXTENSION and CREATE EXTENSION.
LlmRouterTest::sql($node, LedgerTest::call('before'));
LlmRouterTest::sql($node, 'DROP FUNCTION ledger_test_call; DROP FUNCTION ledger_test_settle_twice; DROP FUNCTION ledger_test_release; DROP EXTENSION llm_router CASCADE');
LedgerTest::create_functions($node, 'postgres');
LlmRouterTest::sql($node, LedgerTest::call('after'));
LedgerTest::has_rows($node, 'after', 'ok', 1, 'after DROP and CREATE EXTENSION the same writer goes on');
LedgerTest::has_rows($node, 'before', 'ok', 0, 'with a new ledger');

my ($busy) = LedgerTest::start_session($node, 'busy', LedgerTest::call('busy', duration => 600000));
LedgerTest::wait_for_open_calls($node, 1);
LlmRouterTest::sql($node, 'DROP EXTENSION llm_router CASCADE');
LlmRouterTest::stop_process($busy, 'KILL');
LlmRouterTest::sql($node, q(SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'busy'));
LlmRouterTest::wait_until('the record in the server log',
	sub { slurp_file($node->logfile) =~ /ledger record of database \d+ not written \(the extension is not installed any more\): \{.*"user_id":"busy"/ });
pass('a record whose ledger was dropped is a line of the server log');

# Schema renamed under the writer.
LlmRouterTest::sql($node, 'CREATE SCHEMA one; CREATE EXTENSION llm_router SCHEMA one');
LlmRouterTest::sql($node, LedgerTest::call('renamed'));
LlmRouterTest::sql($node, 'ALTER SCHEMA one RENAME TO two');
LlmRouterTest::sql($node, LedgerTest::call('renamed'));
LlmRouterTest::wait_for_sql($node, q(SELECT count(*) FROM two.llm_usage_logs WHERE user_id = 'renamed'), 2);
pass('ALTER SCHEMA RENAME does not stop the writer');
LlmRouterTest::sql($node, 'DROP EXTENSION llm_router CASCADE; CREATE EXTENSION llm_router');

# Statements that need a database to themselves.
sub new_database
{
	my ($name) = @_;
	LlmRouterTest::sql($node, "CREATE DATABASE $name");
	LedgerTest::create_functions($node, $name);
	$node->safe_psql($name, LedgerTest::call('ann'));
	LedgerTest::writer_pid($node, $name);
	return;
}

new_database('rename_me');
LlmRouterTest::sql($node, 'ALTER DATABASE rename_me RENAME TO renamed');
is($node->safe_psql('renamed', LedgerTest::call('bob') . ' IS NOT NULL'), 't', 'a database with a writer can be renamed, and goes on');
LlmRouterTest::sql($node, 'CREATE DATABASE copied TEMPLATE renamed');
is($node->safe_psql('copied', LedgerTest::call('bob') . ' IS NOT NULL'), 't', 'copied, and the copy has a ledger of its own');
is($node->safe_psql('copied', 'SELECT count(*) FROM llm_usage_logs'), 3, 'beside what it was copied with');
is($node->safe_psql('renamed', LedgerTest::call('eve') . ' IS NOT NULL'), 't', 'and the template goes on');
my $started = time;
LlmRouterTest::sql($node, 'DROP DATABASE renamed');
LlmRouterTest::sql($node, 'DROP DATABASE copied');
cmp_ok(time - $started, '<', 4, 'a database with a writer can be dropped at once');
my ($state) = LlmRouterTest::sql_error($node, 'DROP DATABASE missing');
is($state, '3D000', 'a statement that fails');
new_database('held');
($state) = LlmRouterTest::sql_error($node, 'BEGIN; DROP DATABASE held');
is($state, '25001', 'or that is refused');
is($node->safe_psql('held', LedgerTest::call('ann') . ' IS NOT NULL'), 't', 'lets workers in again');

# A call under way: DROP DATABASE WITH (FORCE) ends it, and its writer.
my $forced = LlmRouterTest::start_process('forced', 'psql', '-XAtq', '-d', $node->connstr('held'), '-c', LedgerTest::call('forced', duration => 600000));
LedgerTest::wait_for_open_calls($node, 1);
LlmRouterTest::sql($node, 'DROP DATABASE held WITH (FORCE)');
LlmRouterTest::wait_for_exit($forced);
is(LlmRouterTest::sql($node, q(SELECT count(*) FROM pg_database WHERE datname = 'held')), 0, 'DROP DATABASE WITH (FORCE) works during a call');

# Ten databases, more than there are worker slots.
my @databases = map { "db$_" } 1 .. 10;
foreach my $database (@databases)
{
	LlmRouterTest::sql($node, "CREATE DATABASE $database");
	LedgerTest::create_functions($node, $database);
}
is($node->safe_psql($_, LedgerTest::call('one') . ' IS NOT NULL'), 't', "a call in $_") foreach @databases;
my @processes = map { LlmRouterTest::start_process("many-$_", 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr($_), '-c', LedgerTest::call('two')) } @databases;
LedgerTest::wait_for_end(\@processes);
my $rows = 0;
$rows += $node->safe_psql($_, q(SELECT count(*) FROM llm_usage_logs WHERE user_id = 'two')) foreach @databases;
is($rows, 10, 'ten databases that call at once all get their answers and rows');
cmp_ok(LlmRouterTest::sql($node, q(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'llm_router ledger writer')), '<=', 4, 'within llm_router.max_workers');

# Long calls keep their writers; the idle ones make way.
@processes = map { LlmRouterTest::start_process("slow-$_", 'psql', '-XAtq', '-d', $node->connstr($_), '-c', LedgerTest::call('slow', duration => 600000)) } @databases[0 .. 2];
LedgerTest::wait_for_open_calls($node, 3);
is(scalar(grep { $node->safe_psql($_, LedgerTest::call('beside') . ' IS NOT NULL') eq 't' } @databases[3 .. 9]), 7, 'beside long calls in three databases, seven others share the fourth writer');
LlmRouterTest::stop_process($_, 'KILL') foreach @processes;
LlmRouterTest::sql($node, q(SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%600000%' AND pid <> pg_backend_pid()));
LedgerTest::wait_for_open_calls($node, 0);

# No place at all.
LlmRouterTest::sql($node, q(ALTER SYSTEM SET llm_router.max_workers = 1));
$node->reload;
my $holder = LlmRouterTest::start_process('holder', 'psql', '-XAtq', '-d', $node->connstr('db1'), '-c', LedgerTest::call('holder', duration => 600000));
LedgerTest::wait_for_open_calls($node, 1);
LlmRouterTest::sql($node, q(SELECT pg_terminate_backend(writer_pid) FROM llm_status WHERE database <> 'db1'));
LlmRouterTest::wait_for_sql($node, q(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'llm_router ledger writer'), 1);
my ($code, $out, $err) = $node->psql('db2', LedgerTest::call('starved'), extra_params => [ '-v', 'VERBOSITY=verbose' ]);
like($err, qr/LR010.*HINT:  Raise llm_router.max_workers, and max_worker_processes with it/s, 'without a place for a writer a call is refused, with a hint');
LlmRouterTest::stop_process($holder, 'KILL');

$node->stop;
done_testing();

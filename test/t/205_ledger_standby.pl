# A standby refuses calls, and takes them once it is promoted.
use strict;
use warnings;

use LedgerTest;
use LlmRouterTest;
use PostgreSQL::Test::Cluster;
use Test::More;

my $primary = LedgerTest::start_node('main', streaming => 1);
LlmRouterTest::sql($primary, LedgerTest::call('primary'));
$primary->backup('backup');

my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->start;
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));

my ($state, $message) = LlmRouterTest::sql_error($standby, LedgerTest::call('standby'));
is($state, 'LR010', 'a call on a standby is refused');
like($message, qr/standby/, 'and says why');
is(LlmRouterTest::sql($standby, q(SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'llm_router%')), 0, 'no worker runs there');
is(LlmRouterTest::sql($standby, q(SELECT calls, (SELECT count(*) FROM llm_usage_recent('year')), (SELECT count(*) FROM llm_usage_export('csv', 'year')) FROM llm_usage_summary('year'))),
	'1|1|2', 'but the usage can be read there');

$standby->promote;
LlmRouterTest::wait_for_sql($standby, q(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'llm_router launcher'), 1);
LlmRouterTest::sql($standby, LedgerTest::call('promoted'));
LedgerTest::has_rows($standby, 'promoted', 'ok', 1, 'once promoted it has its own ledger writer');
LedgerTest::has_rows($standby, 'primary', 'ok', 1, 'beside the rows that it received');

$standby->stop;
$primary->stop;
done_testing();

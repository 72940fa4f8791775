# Partitions: made when needed and ahead, whatever the DBA has made, and retired.
use strict;
use warnings;

use LedgerTest;
use LlmRouterTest;
use Test::More;

my $node = LedgerTest::start_node('main');

sub partitions
{
	return LlmRouterTest::sql($node, q(SELECT string_agg(inhrelid::regclass::text, ' ' ORDER BY inhrelid::regclass::text) FROM pg_inherits WHERE inhparent = 'llm_usage_logs'::regclass));
}

sub wait_for_partitions
{
	my ($expected, $what) = @_;
	eval { LlmRouterTest::wait_until($what, sub { partitions() eq $expected }, 20) };
	is(partitions(), $expected, $what);
	return;
}

my $this = LlmRouterTest::sql($node, q(SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYYMM')));
my $next = LlmRouterTest::sql($node, q(SELECT to_char(now() AT TIME ZONE 'UTC' + interval '1 month', 'YYYYMM')));

is(partitions(), '', 'nothing is made before the first record');
is(LlmRouterTest::sql($node, q(SELECT to_regclass('llm_usage_guard') IS NULL)), 't', 'nor the guard');
LlmRouterTest::sql($node, LedgerTest::call('first'));
wait_for_partitions("llm_usage_logs_p$this llm_usage_logs_p$next", 'the first record makes this month and the next');

is(LlmRouterTest::sql($node, q(SELECT count(*) FROM pg_depend WHERE deptype = 'e' AND objid IN (SELECT oid FROM pg_class WHERE relname ~ '^llm_usage_(guard|logs_p)'))),
	0, 'partitions and guard are not members of the extension');
my ($state, $message) = LlmRouterTest::sql_error($node, 'DROP EXTENSION llm_router');
is($state, '2BP01', 'DROP EXTENSION without CASCADE is refused');
is(LlmRouterTest::sql($node, q(SELECT bool_and(relrowsecurity AND relacl::text !~ '(^|[{,])=') FROM pg_class WHERE relname LIKE 'llm_usage_logs_p______')),
	't', 'partitions have row-level security and nothing for PUBLIC');

# Both sides of a month's end, in UTC, seen from any time zone.
LlmRouterTest::sql($node, q(SET TimeZone = 'Pacific/Auckland'; ) . LedgerTest::call('june', at => '2025-06-30 23:59:59.999999+00'));
LlmRouterTest::sql($node, LedgerTest::call('july', at => '2025-07-01 00:00:00+00'));
is(LlmRouterTest::sql($node, q(SELECT string_agg(tableoid::regclass::text, ' ' ORDER BY created_at) FROM llm_usage_logs WHERE user_id IN ('june', 'july'))),
	'llm_usage_logs_p202506 llm_usage_logs_p202507', 'a record goes to its month');
LlmRouterTest::sql($node, LedgerTest::call('future', at => '2031-12-31 12:00+00'));
LedgerTest::has_rows($node, 'future', 'ok', 1, 'a record of the future has its row');

# The DBA's own partitions: the gaps around them are filled.
LlmRouterTest::sql($node, q(CREATE TABLE mine PARTITION OF llm_usage_logs FOR VALUES FROM ('2025-09-10+00') TO ('2025-09-20+00')));
LlmRouterTest::sql($node, LedgerTest::call("day$_", at => "2025-09-$_ 12:00+00")) foreach '05', '15', '25';
is(LlmRouterTest::sql($node, q(SELECT string_agg(tableoid::regclass::text, ' ' ORDER BY created_at) FROM llm_usage_logs WHERE user_id LIKE 'day%')),
	'llm_usage_logs_p202509 mine llm_usage_logs_p2025091', 'partitions of other sizes are respected');

# A detached partition keeps its name; the month gets another.
LlmRouterTest::sql($node, "ALTER TABLE llm_usage_logs DETACH PARTITION llm_usage_logs_p$this");
LlmRouterTest::sql($node, LedgerTest::call('detached'));
LedgerTest::has_rows($node, 'detached', 'ok', 1, 'a detached partition is not in the way');

# A default partition takes everything.
LlmRouterTest::sql($node, 'CREATE TABLE rest PARTITION OF llm_usage_logs DEFAULT');
LlmRouterTest::sql($node, LedgerTest::call('default', at => '2024-01-01 12:00+00'));
is(LlmRouterTest::sql($node, q(SELECT tableoid::regclass FROM llm_usage_logs WHERE user_id = 'default')), 'rest', 'with a default partition none is made');
LlmRouterTest::sql($node, 'DROP TABLE rest');

# Retention: the writer looks after its first batch.
LlmRouterTest::sql($node, q(ALTER SYSTEM SET llm_router.usage_retention = 40));
$node->restart;
LlmRouterTest::sql($node, LedgerTest::call('last'));
LlmRouterTest::wait_for_sql($node, q(SELECT count(*) FROM llm_usage_logs WHERE created_at < now() - interval '75 days'), 0);
is(LlmRouterTest::sql($node, q(SELECT count(*) FROM llm_usage_logs WHERE user_id IN ('detached', 'future', 'last'))), 3, 'usage_retention drops old partitions and keeps the others');
isnt(LlmRouterTest::sql($node, q(SELECT count(*) FROM llm_usage_rollup WHERE user_id = 'june')), 0, 'the rollup stays');

$node->stop;
done_testing();

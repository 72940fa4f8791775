# The arithmetic of limits, as tables: calendar periods, what a budget admits.
use strict;
use warnings;

use Cwd qw(getcwd);
use File::Copy qw(copy);
use LlmRouterTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = LlmRouterTest::start_node('arithmetic', conf => "timezone = 'UTC'", extension => 0);
my $project = getcwd();

sub sql { return LlmRouterTest::sql($node, shift) }

# The test module, built of the extension's sources.
my $directory = PostgreSQL::Test::Utils::tempdir();
copy("test/modules/limits/$_", $directory) or die "$_: $!" foreach 'Makefile', 'limits_test.c';
system_or_bail('make', '-s', '-C', $directory, 'PG_CONFIG=' . ($ENV{PG_CONFIG} // 'pg_config'), "LLM_ROUTER_SRC=$project/src");
my $module = "$directory/llm_router_limits_test";
sql(<<"SQL");
CREATE FUNCTION test_budget_range(text, timestamptz, text) RETURNS text LANGUAGE c AS '$module';
CREATE FUNCTION test_budget_admits(bigint[], bigint[], bigint[]) RETURNS text LANGUAGE c AS '$module';
CREATE FUNCTION test_budget_share(bigint[], bigint[]) RETURNS int LANGUAGE c AS '$module';
SQL

# period, at, zone, start and end
my @ranges = (
	[ 'day',   '2026-11-24 12:00+00',           'UTC',              '2026-11-24 00:00:00+00 to 2026-11-25 00:00:00+00' ],
	[ 'day',   '2026-11-24 00:00+00',           'UTC',              '2026-11-24 00:00:00+00 to 2026-11-25 00:00:00+00' ],
	[ 'day',   '2026-11-23 23:59:59.999999+00', 'UTC',              '2026-11-23 00:00:00+00 to 2026-11-24 00:00:00+00' ],
	[ 'day',   '2026-11-24 12:00+00',           'Asia/Kathmandu',   '2026-11-23 18:15:00+00 to 2026-11-24 18:15:00+00' ],
	[ 'day',   '2026-03-29 12:00+00',           'Europe/Berlin',    '2026-03-28 23:00:00+00 to 2026-03-29 22:00:00+00' ],    # 23 hours
	[ 'day',   '2026-10-25 12:00+00',           'Europe/Berlin',    '2026-10-24 22:00:00+00 to 2026-10-25 23:00:00+00' ],    # 25 hours
	[ 'day',   '2018-11-04 12:00+00',           'America/Sao_Paulo', '2018-11-04 03:00:00+00 to 2018-11-05 02:00:00+00' ],   # without a midnight
	[ 'week',  '2026-11-24 12:00+00',           'UTC',              '2026-11-23 00:00:00+00 to 2026-11-30 00:00:00+00' ],    # Tuesday
	[ 'week',  '2026-11-29 23:59+00',           'UTC',              '2026-11-23 00:00:00+00 to 2026-11-30 00:00:00+00' ],    # Sunday
	[ 'week',  '2026-11-30 00:00+00',           'UTC',              '2026-11-30 00:00:00+00 to 2026-12-07 00:00:00+00' ],    # Monday
	[ 'week',  '2027-01-01 12:00+00',           'UTC',              '2026-12-28 00:00:00+00 to 2027-01-04 00:00:00+00' ],
	[ 'month', '2026-12-31 23:59:59+00',        'UTC',              '2026-12-01 00:00:00+00 to 2027-01-01 00:00:00+00' ],
	[ 'month', '2026-12-31 23:59:59+00',        'Pacific/Auckland', '2026-12-31 11:00:00+00 to 2027-01-31 11:00:00+00' ],
	[ 'month', '2028-02-29 12:00+00',           'UTC',              '2028-02-01 00:00:00+00 to 2028-03-01 00:00:00+00' ],
	[ 'month', '1999-12-31 23:59:59.5+00',      'UTC',              '1999-12-01 00:00:00+00 to 2000-01-01 00:00:00+00' ],    # before PostgreSQL's epoch
	[ 'day',   'infinity',                      'UTC',              'none' ],
	[ 'day',   '-infinity',                     'UTC',              'none' ]);
foreach my $row (@ranges)
{
	my ($period, $at, $zone, $expected) = @$row;
	is(sql("SELECT test_budget_range('$period', '$at', '$zone')"), $expected, "the $period of $at in $zone");
}

# Every period ends where the next one begins, for four years of quarters of an hour.
is(sql(<<'SQL'), 0, 'periods follow each other, and hold their times');
SELECT count(*) FROM (
	SELECT period, zone, at, (r.range[1])::timestamptz AS s, (r.range[2])::timestamptz AS e,
		lead((r.range[1])::timestamptz) OVER (PARTITION BY period, zone ORDER BY at) AS next_start
	FROM unnest('{day,week,month}'::text[]) AS period, unnest('{UTC,Europe/Berlin,America/St_Johns,Australia/Lord_Howe}'::text[]) AS zone,
		generate_series('2025-01-01'::timestamptz, '2026-12-31', '45 minutes') AS at,
		LATERAL (SELECT regexp_split_to_array(test_budget_range(period, at, zone), ' to ')) AS r (range)) AS all_ranges
WHERE at < s OR at >= e OR (next_start <> s AND next_start <> e) OR extract(epoch FROM s)::bigint % 900 <> 0
SQL

# limit, used, asked, what is in the way: USD, requests, tokens
my @admissions = (
	[ '-1,-1,-1', '9,9,9', '9,9,9', 'admits',   'no limits' ],
	[ '10,-1,-1', '9,0,0', '1,1,0', 'admits',   'to the last unit' ],
	[ '10,-1,-1', '9,0,0', '2,1,0', 'usd',      'not beyond' ],
	[ '10,-1,-1', '12,0,0', '0,1,0', 'admits',  'what is free fits what is overdrawn' ],
	[ '0,-1,-1',  '0,0,0', '1,1,0', 'usd',      'a limit of nothing' ],
	[ '0,-1,-1',  '0,0,0', '0,1,0', 'admits',   '... but for what is free' ],
	[ '-1,3,-1',  '0,2,0', '5,1,5', 'admits',   'requests' ],
	[ '-1,3,-1',  '0,3,0', '5,1,5', 'requests', '... and no more' ],
	[ '-1,-1,50', '0,9,40', '5,1,10', 'admits', 'tokens' ],
	[ '-1,-1,50', '0,9,40', '5,1,11', 'tokens', '... and no more' ],
	[ '10,3,50',  '10,3,50', '1,1,1', 'usd',    'the first in the way is named' ],
	[ '9223372036854775807,-1,-1', '9223372036854775807,0,0', '9223372036854775807,1,0', 'usd', 'sums do not overflow' ]);
foreach my $row (@admissions)
{
	my ($limit, $used, $asked, $expected, $what) = @$row;
	is(sql("SELECT test_budget_admits('{$limit}', '{$used}', '{$asked}')"), $expected, "admits: $what");
}

my @shares = (
	[ '10,-1,-1', '5,9,9', 5000, 'half' ],
	[ '10,4,-1', '5,3,9', 7500, 'of the limit that is nearest to its end' ],
	[ '3,-1,-1', '2,0,0', 6666, 'rounded down' ],
	[ '10,-1,-1', '25,0,0', 25000, 'beyond the limit' ],
	[ '0,-1,-1', '0,0,0', 10000, 'a limit of nothing is used up' ],
	[ '1,-1,-1', '9223372036854775807,0,0', 2147483647, 'no overflow' ]);
foreach my $row (@shares)
{
	my ($limit, $used, $expected, $what) = @$row;
	is(sql("SELECT test_budget_share('{$limit}', '{$used}')"), $expected, "share: $what");
}

$node->stop;
done_testing();

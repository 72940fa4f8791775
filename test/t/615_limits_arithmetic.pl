# The arithmetic of limits, as tables: calendar periods, what a budget admits, windows of rates.
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
CREATE FUNCTION test_rate(bigint, bigint, bigint[], bigint[], bigint[]) RETURNS text LANGUAGE c AS '$module';
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

# requests and tokens a minute; requests as time in ms, tokens asked, tokens used; what becomes of each
my @rates = (
	[ 2, -1, [ [ 0, 1, 1 ], [ 1, 1, 1 ], [ 2, 1, 1 ] ], 'ok ok requests:64998', 'two a minute, and when the third may come' ],
	[ 2, -1, [ [ 0, 1, 1 ], [ 1, 1, 1 ], [ 64999, 1, 1 ], [ 65000, 1, 1 ], [ 65000, 1, 1 ], [ 65000, 1, 1 ] ], 'ok ok requests:1 ok ok requests:65000',
		'the edge: a slot of 5 s leaves 60 s after its end' ],
	[ 1, -1, [ [ 4999, 1, 1 ], [ 64998, 1, 1 ], [ 65000, 1, 1 ] ], 'ok requests:2 ok', 'no minute has more than the limit' ],
	[ 2, -1, [ [ 0, 1, 1 ], [ 10000, 1, 1 ], [ 65000, 1, 1 ], [ 65001, 1, 1 ] ], 'ok ok ok requests:9999', 'the window slides: each makes room by itself' ],
	[ 0, -1, [ [ 0, 1, 1 ] ], 'requests:-1', 'a limit of nothing' ],
	[ -1, 100, [ [ 0, 60, 60 ], [ 0, 40, 40 ], [ 0, 1, 1 ] ], 'ok ok tokens:65000', 'tokens' ],
	[ -1, 100, [ [ 0, 60, 10 ], [ 0, 90, 90 ], [ 0, 1, 1 ] ], 'ok ok tokens:65000', 'settled with real use: what was not used is free' ],
	[ -1, 100, [ [ 0, 60, 160 ], [ 0, 1, 1 ], [ 65000, 100, 100 ] ], 'ok tokens:65000 ok', '... and what was used beyond counts' ],
	[ -1, 100, [ [ 0, 101, 1 ], [ 0, 100, 1 ] ], 'tokens:-1 ok', 'more than the limit never fits' ],
	[ -1, 100, [ [ 0, 50, 50 ], [ 20000, 40, 40 ], [ 30000, 60, 60 ] ], 'ok ok tokens:35000', 'as long as it takes for enough to leave' ],
	[ 3, 100, [ [ 0, 10, 10 ], [ 0, 95, 95 ], [ 0, 10, 10 ], [ 0, 10, 10 ], [ 0, 10, 10 ] ], 'ok tokens:65000 ok ok requests:65000',
		'what is refused counts for neither' ],
	[ 1, -1, [ [ 1000000, 1, 1 ], [ 999000, 1, 1 ], [ 950000, 1, 1 ] ], 'ok requests:66000 requests:115000', 'a process that is a little late counts in the same window' ],
	[ 1, -1, [ [ 1000000, 1, 1 ], [ 1000, 1, 1 ], [ 1000, 1, 1 ] ], 'ok ok requests:64000', 'a clock that jumps back stops nobody' ],
	[ 1, -1, [ [ 1000, 1, 1 ], [ 9000000000000, 1, 1 ], [ 9000000000000, 1, 1 ] ], 'ok ok requests:65000', 'nor one that jumps ahead' ]);
foreach my $row (@rates)
{
	my ($requests, $tokens, $events, $expected, $what) = @$row;
	my @columns = map { my $i = $_; '{' . join(',', map { $_->[$i] } @$events) . '}' } 0 .. 2;
	is(sql("SELECT test_rate($requests, $tokens, '$columns[0]', '$columns[1]', '$columns[2]')"), $expected, "rate: $what");
}

# A hundred thousand requests at random times: in no 60 s are more than the limit let in.
sql('SELECT setseed(0.5); CREATE TABLE times AS SELECT row_number() OVER (ORDER BY at) AS n, at FROM (SELECT (random() * 3600000)::bigint AS at FROM generate_series(1, 100000)) AS r');
is(sql(<<'SQL'), 't', 'rate: never more than 7 in any minute, and no fewer than the slots cost');
SELECT bool_and(eighth - at >= 60000) AND count(*) BETWEEN 7 * 55 AND 7 * 61 FROM (
	SELECT at, lead(at, 7) OVER (ORDER BY n) AS eighth
	FROM (SELECT array_agg(at ORDER BY n) AS all_times FROM times) AS a,
		regexp_split_to_table(test_rate(7, -1, all_times, all_times, all_times), ' ') WITH ORDINALITY AS r (result, n) JOIN times USING (n) WHERE result = 'ok') AS admitted
SQL

$node->stop;
done_testing();

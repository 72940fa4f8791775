# LedgerTest.pm
#		What the tests of the ledger share: the test module (test/modules/ledger),
#		which does the caller's side of the ledger without a provider, and ways to
#		see what the ledger has.
#
#	my $node = LedgerTest::start_node('main', conf => '...');
#	my $id = $node->safe_psql('postgres', LedgerTest::call('ann'));
#	LedgerTest::is_settled($node);
package LedgerTest;

use strict;
use warnings;

use File::Basename qw(dirname);
use File::Copy qw(copy);
use File::Temp qw(tempdir);
use LlmRouterTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More ();

my $project = dirname(dirname(dirname(dirname(__FILE__))));
my $module;

# Builds the test module once; the path to name in CREATE FUNCTION.
sub module
{
	return $module if $module;
	my $directory = tempdir('llm_router_ledger_XXXXXX', TMPDIR => 1, CLEANUP => 1);
	copy("$project/test/modules/ledger/$_", $directory) or die "$_: $!" foreach 'Makefile', 'ledger_test.c';
	system_or_bail('make', '-s', '-C', $directory, "PG_CONFIG=" . ($ENV{PG_CONFIG} // 'pg_config'),
		"LLM_ROUTER_SRC=$project/src");
	return $module = "$directory/llm_router_ledger_test";
}

# The extension and the test's functions in a database.
sub create_functions
{
	my ($node, $database) = @_;
	my $path = module();
	$node->safe_psql($database, <<"SQL");
CREATE EXTENSION IF NOT EXISTS llm_router;
CREATE FUNCTION ledger_test_call(user_id text, duration_ms int, tags text, started_at timestamptz)
	RETURNS uuid LANGUAGE c VOLATILE AS '$path';
CREATE FUNCTION ledger_test_settle_twice() RETURNS void LANGUAGE c VOLATILE AS '$path';
CREATE FUNCTION ledger_test_release() RETURNS void LANGUAGE c VOLATILE AS '$path';
SQL
	return;
}

# A running node with the functions in database postgres; options of
# LlmRouterTest::start_node.
sub start_node
{
	my ($name, %option) = @_;
	my $node = LlmRouterTest::start_node($name, %option);
	create_functions($node, 'postgres');
	return $node;
}

# The statement of one call. Options: duration (ms), tags (JSON), at (timestamp).
sub call
{
	my ($user, %option) = @_;
	my $duration = $option{duration} // 0;
	my $tags = $option{tags} ? "'$option{tags}'" : 'NULL';
	my $at = $option{at} ? "'$option{at}'" : 'NULL';
	return "SELECT ledger_test_call('$user', $duration, $tags, $at)";
}

# Waits until user $user has $count rows of status $status, and checks that.
sub has_rows
{
	my ($node, $user, $status, $count, $what) = @_;
	my $query = "SELECT count(*) FROM llm_usage_logs WHERE user_id = '$user' AND status = '$status'";
	my $ok = eval { LlmRouterTest::wait_for_sql($node, $query, $count, 20); 1 };
	Test::More::is(LlmRouterTest::sql($node, $query), $count, $what);
	return;
}

# Waits until nothing is open or queued in any database.
sub wait_until_settled
{
	my ($node) = @_;
	LlmRouterTest::wait_for_sql($node, 'SELECT sum(open_calls + queued) = 0 FROM llm_status');
	return;
}

# Checks that the rollup is the sum of the log, and the totals that of the rollup
# up to their horizon.
sub rollup_is_sum_of_log
{
	my ($node, $database, $what) = @_;
	Test::More::is($node->safe_psql($database, <<'SQL'), 0, $what);
SELECT count(*) FROM (
	SELECT date_bin('15 minutes', created_at, 'epoch') AS bucket, user_id, status, count(*) FILTER (WHERE is_final) AS requests,
		coalesce(sum(input_tokens), 0) AS input_tokens, coalesce(sum(total_cost), 0) AS cost,
		count(*) FILTER (WHERE is_final) AS counted
	FROM llm_usage_logs GROUP BY 1, 2, 3) l
FULL JOIN (
	SELECT bucket, user_id, status, requests, input_tokens, total_cost AS cost,
		(SELECT sum(n) FROM unnest(latency_histogram) AS n) AS counted
	FROM llm_usage_rollup) r USING (bucket, user_id, status)
WHERE (l.requests, l.input_tokens, l.cost, l.counted) IS DISTINCT FROM (r.requests, r.input_tokens, r.cost, r.counted)
SQL
	my $counters = join ', ', map { "sum($_)" } qw(requests attempts fallbacks errors input_tokens cached_input_tokens cache_write_tokens
		output_tokens reasoning_tokens total_cost unknown_cost_requests latency_sum_ms);
	Test::More::is($node->safe_psql($database, <<"SQL"), 0, "$what, with its totals");
SELECT count(*) FROM (
	SELECT whole_day, CASE WHEN whole_day THEN date_bin('1 day', bucket, 'epoch') ELSE bucket END AS bucket, provider, model, power_level, used_byok, status,
		ROW($counters, llm_latency_histogram_sum(latency_histogram)) AS counters
	FROM llm_usage_rollup, (VALUES (false), (true)) AS grain (whole_day)
	WHERE bucket < llm_usage_horizon() GROUP BY 1, 2, 3, 4, 5, 6, 7) r
FULL JOIN (
	SELECT whole_day, bucket, provider, model, power_level, used_byok, status,
		ROW($counters, llm_latency_histogram_sum(latency_histogram)) AS counters
	FROM llm_usage_totals GROUP BY 1, 2, 3, 4, 5, 6, 7) t USING (whole_day, bucket, provider, model, power_level, used_byok, status)
WHERE r.counters IS DISTINCT FROM t.counters
SQL
	return;
}

# A session in the background that runs a statement; its pid on the server.
# Its output goes to $name.log of the test's log directory.
sub start_session
{
	my ($node, $name, @statements) = @_;
	my $process = LlmRouterTest::start_process($name, 'psql', '-XAtq', '-d',
		$node->connstr('postgres') . " application_name=$name",
		map { ('-c', $_) } @statements);
	my $pid = LlmRouterTest::wait_until("session $name",
		sub { LlmRouterTest::sql($node, "SELECT pid FROM pg_stat_activity WHERE application_name = '$name' AND state = 'active'") });
	return ($process, $pid);
}

# Waits until so many calls are under way in the whole server.
sub wait_for_open_calls
{
	my ($node, $count) = @_;
	LlmRouterTest::wait_for_sql($node, 'SELECT sum(open_calls) FROM llm_status', $count);
	return;
}

# The pid of a database's writer; waits for one.
sub writer_pid
{
	my ($node, $database) = @_;
	$database //= 'postgres';
	return LlmRouterTest::wait_until("a writer of $database",
		sub { LlmRouterTest::sql($node, "SELECT writer_pid FROM llm_status WHERE database = '$database' AND writer_state = 'running'") });
}

# $clients sessions in the background, each $calls calls by itself, one
# statement each, with options of call(); returns the processes and the files
# with the answers.
sub start_load
{
	my ($node, $name, $clients, $calls, $user, %option) = @_;
	my @files;
	my @processes;
	my $script = "$PostgreSQL::Test::Utils::tmp_check/$name.sql";
	append_to_file($script, join('', (call($user, %option) . ";\n") x $calls));
	foreach my $i (1 .. $clients)
	{
		my $file = "$PostgreSQL::Test::Utils::log_path/$name-$i.log";
		unlink $file;
		push @files, $file;
		push @processes,
		  LlmRouterTest::start_process("$name-$i", 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d',
			$node->connstr('postgres'), '-f', $script);
	}
	return (\@processes, \@files);
}

# Waits for the ends of processes.
sub wait_for_end
{
	my ($processes) = @_;
	LlmRouterTest::wait_for_exit($_) foreach @$processes;
	return;
}

# The answers (request ids) in the files of start_load.
sub answers
{
	my ($files) = @_;
	return map { grep { /^[0-9a-f-]{36}$/ } split /\n/, slurp_file($_) } @$files;
}

# How many of the answers have no row.
sub missing_rows
{
	my ($node, @ids) = @_;
	my $list = join ',', @ids;
	return $node->safe_psql('postgres',
		"SELECT count(*) FROM unnest('{$list}'::uuid[]) AS answer WHERE NOT EXISTS (SELECT FROM llm_usage_logs WHERE request_id = answer)");
}

1;

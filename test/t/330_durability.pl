# What was paid for stays in the ledger, whatever becomes of the caller's
# transaction, session or server.
use strict;
use warnings;

use LlmRouterTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $provider = LlmRouterTest::start_provider();
my $node = LlmRouterTest::start_node('durability', conf => "max_prepared_transactions = 5\nrestart_after_crash = on");
LlmRouterTest::add_sim($node, $provider);

sub sql { return LlmRouterTest::sql($node, shift) }

sub rows_of
{
	my ($tag) = @_;
	return sql("SELECT count(*) FROM llm_usage_logs WHERE tags->>'test' = '$tag'");
}

sub call
{
	my ($tag) = @_;
	return qq{SELECT llm_ask('Hi', options => '{"router": {"tags": {"test": "$tag"}}}')};
}

subtest 'ROLLBACK' => sub {
	is(sql('BEGIN; ' . call('rollback') . '; ROLLBACK'), 'You said: Hi', 'the answer was given');
	is(rows_of('rollback'), 1, 'its row stays');
};

subtest 'ROLLBACK TO SAVEPOINT' => sub {
	sql('BEGIN; SAVEPOINT s; ' . call('savepoint') . '; ROLLBACK TO s; COMMIT');
	is(rows_of('savepoint'), 1, 'its row stays');
};

subtest 'READ ONLY' => sub {
	sql('BEGIN READ ONLY; ' . call('read only') . '; COMMIT');
	is(rows_of('read only'), 1, 'a read-only transaction can call');
};

subtest 'PREPARE TRANSACTION' => sub {
	sql('BEGIN; ' . call('prepared') . q(; PREPARE TRANSACTION 'p'));
	is(rows_of('prepared'), 1, 'the row does not wait for COMMIT PREPARED');
	sql(q(ROLLBACK PREPARED 'p'));
	is(rows_of('prepared'), 1, 'nor goes with ROLLBACK PREPARED');
};

subtest 'ledger_wait = off' => sub {
	sql('SET llm_router.ledger_wait = off; BEGIN; ' . call('no wait') . '; ROLLBACK');
	LlmRouterTest::wait_for_sql($node, "SELECT count(*) FROM llm_usage_logs WHERE tags->>'test' = 'no wait'", 1);
	pass('the row comes later, also after ROLLBACK');
};

subtest 'a caller that holds an exclusive lock on the ledger' => sub {
	my ($status, $out, $err) = $node->psql('postgres',
		"SET llm_router.ledger_wait_timeout = '300ms'; BEGIN; LOCK TABLE llm_usage_logs IN ACCESS EXCLUSIVE MODE; "
		. call('lock') . '; COMMIT');
	is($out, 'You said: Hi', 'gets its answer');
	like($err, qr/WARNING:  the ledger row of this call is not committed yet/, 'with a WARNING');
	LlmRouterTest::wait_for_sql($node, "SELECT count(*) FROM llm_usage_logs WHERE tags->>'test' = 'lock'", 1);
	pass('the row comes when the lock is gone');
};

subtest 'another session cannot be blocked by a caller in a long transaction' => sub {
	my $session = $node->background_psql('postgres');
	$session->query('BEGIN ISOLATION LEVEL SERIALIZABLE');
	is($session->query(call('serializable')), 'You said: Hi', 'a serializable transaction calls');
	is(sql(call('beside it')), 'You said: Hi', 'another session calls meanwhile');
	$session->query('COMMIT');
	$session->quit;
	is(rows_of('serializable') + rows_of('beside it'), 2, 'both rows are there');
};

subtest 'the writer is terminated 20 times under load' => sub {
	my $script = load_script('writer');
	my $terminated = 0;
	for my $round (1 .. 20)
	{
		my $load = LlmRouterTest::start_process("load$round",
			'pgbench', '-n', '-h', $node->host, '-p', $node->port, '-c', 4, '-t', 50, '-f', $script, 'postgres');
		my $pid = LlmRouterTest::wait_until('the writer works', sub {
			rows_of('writer') > 200 * ($round - 1) && (LlmRouterTest::backend_pids($node, 'llm_router ledger writer'))[0] });
		$terminated += kill('TERM', $pid);
		LlmRouterTest::wait_until("writer $pid leaves", sub { !kill(0, $pid) });
		waitpid($load, 0);
		is($?, 0, "round $round: every call was answered");
	}
	is($terminated, 20, '20 writers were terminated');
	is(rows_of('writer'), 4000, '4000 answers have 4000 rows');
	is(sql("SELECT count(DISTINCT request_id) FROM llm_usage_logs WHERE tags->>'test' = 'writer'"), 4000, 'each its own');
};

# Has something happen to the server under load, and looks for every answer once it is
# up again. Each session notes the request ids that it was given, outside the server.
sub answers_survive
{
	my ($name, $disaster) = @_;
	my @sessions = map { answers_log("$name$_") } 1 .. 4;
	LlmRouterTest::wait_until('answers arrive', sub { answered(@sessions) >= 40 });
	$disaster->();
	waitpid($_->{pid}, 0) foreach @sessions;
	$node->poll_query_until('postgres', 'SELECT true');
	my @given = map { request_ids($_) } @sessions;
	my $list = join(',', map { "'$_'" } @given);
	is(sql("SELECT count(*) FROM llm_usage_logs WHERE request_id IN ($list)"), scalar(@given),
		scalar(@given) . ' answers were given before, and all have their rows');
	return;
}

subtest 'a backend is killed with SIGKILL under load' => sub {
	answers_survive('backend', sub { kill('KILL', sql("SELECT pid FROM pg_stat_activity WHERE application_name = 'backend1'")) });
};

subtest 'the ledger writer is killed with SIGKILL under load' => sub {
	answers_survive('killed_writer', sub { kill('KILL', LlmRouterTest::backend_pids($node, 'llm_router ledger writer')) == 1 or die 'no writer' });
};

foreach my $mode ('fast', 'immediate')
{
	subtest "$mode shutdown under load" => sub {
		answers_survive($mode, sub { $node->stop($mode); $node->start });
	};
}

subtest 'the postmaster is killed with SIGKILL under load' => sub {
	answers_survive('postmaster', sub {
		my @children = LlmRouterTest::backend_pids($node, '%');
		$node->kill9;
		# They end by themselves, and have to be gone before the next start.
		foreach my $pid (@children)
		{
			LlmRouterTest::wait_until("process $pid ends", sub { !kill(0, $pid) });
		}
		$node->start;
	});
};

subtest 'the rollup says what the log says' => sub {
	is(sql("SELECT (SELECT count(*) FROM llm_usage_logs WHERE is_final) = sum(requests),
				   (SELECT sum(total_cost) FROM llm_usage_logs) = sum(total_cost),
				   (SELECT sum(input_tokens) FROM llm_usage_logs) = sum(input_tokens)
			FROM llm_usage_rollup"), 't|t|t', 'requests, cost, tokens');
};

sub load_script
{
	my ($tag) = @_;
	my $file = "$PostgreSQL::Test::Utils::tmp_check/$tag.sql";
	append_to_file($file, call($tag) . ";\n");
	return $file;
}

# A session that calls until it is cut off and logs each request id it was given.
sub answers_log
{
	my ($name) = @_;
	my $script = "$PostgreSQL::Test::Utils::tmp_check/$name.sql";
	append_to_file($script,
		qq{SELECT llm_chat('[{"role": "user", "content": "Hi"}]')->'llm_router'->>'request_id';\n} x 20000);
	return {
		log => "$PostgreSQL::Test::Utils::log_path/$name.log",
		pid => LlmRouterTest::start_process($name, 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d',
			$node->connstr('postgres') . " application_name=$name", '-f', $script) };
}

sub request_ids
{
	my ($session) = @_;
	return slurp_file($session->{log}) =~ /^([0-9a-f]{8}-[0-9a-f-]{27})$/mg;
}

sub answered
{
	my $count = 0;
	$count += () = request_ids($_) foreach grep { -e $_->{log} } @_;
	return $count;
}

$node->stop;
done_testing();

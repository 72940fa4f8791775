# Changing the master key: llm_keys_reencrypt in batches that other sessions do not
# notice, and what is said where the right master key is missing.
use strict;
use warnings;

use LlmRouterTest;
use MIME::Base64 qw(encode_base64url);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

# A master key that depends on $seed only.
sub master_key { my ($seed) = @_; return encode_base64url(chr($seed) x 32) . '=' }

my @master = map { master_key($_) } 0 .. 9;
my $directory = PostgreSQL::Test::Utils::tempdir();
my $file = "$directory/master.key";

sub write_keys
{
	unlink $file;
	append_to_file($file, join('', map { "$_\n" } @_));
	chmod 0600, $file;
	return;
}

write_keys($master[1]);
my $provider = LlmRouterTest::start_provider();
my $node = LlmRouterTest::start_node('rotation', conf => "llm_router.master_key_file = '$file'\nllm_router.worker_idle_timeout = '500ms'\n", streaming => 1);
LlmRouterTest::add_sim($node, $provider, path => '/v1', auth_type => 'bearer');

sub sql { return LlmRouterTest::sql($node, shift) }
sub sql_error { return LlmRouterTest::sql_error($node, shift) }
sub reencrypt { return sql('SELECT llm_keys_reencrypt()') }

sub fingerprint { return sql('SELECT master_key_fingerprint FROM llm_install') }
sub last_audit { return sql(q(SELECT actor, action, detail FROM llm_audit_logs WHERE action = 'keys.reencrypt' ORDER BY id DESC LIMIT 1)) }

# The error as psql shows it.
sub whole_error
{
	my ($query) = @_;
	my ($status, $out, $err) = $node->psql('postgres', $query, extra_params => [ '-v', 'VERBOSITY=verbose' ]);
	return $err;
}

sql("SELECT llm_provider_set_key('sim', 'sk-test-platform', validate => false)");
sql("SELECT set_config('llm_router.user_id', 'user' || i, false), llm_key_add('sim', 'sk-test-' || i, validate => false) FROM generate_series(1, 5000) AS i");
my $first_fingerprint = fingerprint();

subtest 'storing a key does not wait for others who do' => sub {
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	$session->query("BEGIN; SET LOCAL llm_router.user_id = 'ann'; SELECT llm_key_add('sim', 'sk-test-ann', validate => false)");
	is(sql("SET lock_timeout = '5s'; SET llm_router.user_id = 'bob'; SELECT llm_key_add('sim', 'sk-test-bob', validate => false) > 0"), 't', 'beside an open transaction');
	$session->query('ROLLBACK');
	$session->quit;
};

subtest 'five thousand keys, and nobody notices' => sub {
	write_keys($master[2], $master[1]);
	my $end = q(EXISTS (SELECT FROM llm_audit_logs WHERE action = 'keys.reencrypt'));
	# Another session updates rows of the table all the time and notes its longest wait.
	sql(<<"SQL");
CREATE TABLE longest (ms float);
CREATE PROCEDURE update_all_the_time() LANGUAGE plpgsql AS \$\$
DECLARE
	longest float := 0;
	began timestamptz;
BEGIN
	WHILE NOT $end LOOP
		began := clock_timestamp();
		UPDATE user_api_keys SET last_used_at = now() WHERE user_id = 'user' || (1 + floor(random() * 5000));
		longest := greatest(longest, 1000 * extract(epoch FROM clock_timestamp() - began));
		COMMIT;
	END LOOP;
	INSERT INTO longest VALUES (longest);
END
\$\$;
SQL
	my $updates = LlmRouterTest::start_process('updates', 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', 'CALL update_all_the_time()');
	my $chats = LlmRouterTest::start_process('chats', 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'), '-c', <<"SQL");
DO \$\$ BEGIN
	WHILE NOT $end LOOP
		PERFORM llm_ask('Hi', 'eco', options => '{"router": {"user_id": "user7"}}');
	END LOOP;
END \$\$;
SQL
	LlmRouterTest::wait_for_sql($node, q(SELECT count(*) FROM pg_stat_activity WHERE (query LIKE 'CALL%' OR query LIKE 'DO%user7%') AND state = 'active'), 2);
	my $began = time;
	is(reencrypt(), 5002, 'all are re-encrypted');
	my $seconds = time - $began;
	LlmRouterTest::wait_for_exit($_) foreach $updates, $chats;
	my $longest = sql('SELECT round(ms::numeric, 1) FROM longest');
	note(sprintf 'took %.2f s; the longest wait for a row: %s ms', $seconds, $longest);
	like($longest, qr/^\d/, 'another session updated rows all the time');
	cmp_ok($longest, '<', 1000, 'nobody waited long for a row');
	cmp_ok(sql(q(SELECT count(*) FROM llm_usage_logs WHERE user_id = 'user7' AND status = 'ok' AND used_byok)), '>', 0, 'and a third called with its key');
	isnt(fingerprint(), $first_fingerprint, 'the new master key is recorded');
	like(last_audit(), qr/^\w+\|keys\.reencrypt\|\{"changed": 5002, "complete": true\}$/, 'who asked for it is in the audit');
	is(reencrypt(), 0, 'a second time there is nothing to do');

	write_keys($master[2]);
	is(sql(q(SELECT llm_ask('Hi', 'eco', options => '{"router": {"user_id": "user4999", "byok": "only"}}'))), 'You said: Hi', 'without the old key all goes on');
	is(reencrypt(), 0, 'which nothing needs');
};

subtest 'a row that stays locked is named, and done the next time' => sub {
	write_keys($master[3], $master[2]);
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	$session->query("BEGIN; UPDATE user_api_keys SET last_used_at = now() WHERE user_id IN ('user5', 'user6')");
	my $err = whole_error('SELECT llm_keys_reencrypt()');
	like($err, qr/ERROR:  55P03: 2 stored keys are locked by other transactions\nHINT:  All others are done/, 'two are left');
	like(last_audit(), qr/\{"changed": 5000, "complete": false\}$/, 'the others are done');
	$session->query('COMMIT');
	is(reencrypt(), 2, 'the next run does them');

	# One that lets go in time.
	write_keys($master[4], $master[3]);
	$session->query("BEGIN; UPDATE user_api_keys SET last_used_at = now() WHERE user_id = 'user5'");
	my $other = LlmRouterTest::start_process('reencrypt', 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', 'SELECT llm_keys_reencrypt()');
	LlmRouterTest::wait_for_sql($node, q(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'llm_router rounds'), 1);
	$session->query('COMMIT');
	LlmRouterTest::wait_for_exit($other);
	is(slurp_file("$PostgreSQL::Test::Utils::log_path/reencrypt.log"), "5002\n", 'a lock that ends in time is waited for');
	$session->quit;
};

subtest 'two at once, and a cancel' => sub {
	write_keys($master[5], $master[4]);
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	$session->query("BEGIN; UPDATE user_api_keys SET last_used_at = now() WHERE user_id = 'user5'");
	my @both = map { LlmRouterTest::start_process("both$_", 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', 'SELECT llm_keys_reencrypt()') } 1 .. 2;
	LlmRouterTest::wait_for_sql($node, q(SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT llm_keys_reencrypt()' AND state = 'active'), 2);
	$session->query('COMMIT');
	LlmRouterTest::wait_for_exit($_) foreach @both;
	is(join('', sort map { slurp_file("$PostgreSQL::Test::Utils::log_path/both$_.log") } 1 .. 2), "0\n5002\n", 'the second waits for the first');

	write_keys($master[6], $master[5]);
	$session->query("BEGIN; UPDATE user_api_keys SET last_used_at = now() WHERE user_id = 'user5'");
	my ($state) = sql_error("SET statement_timeout = '2s'; SELECT llm_keys_reencrypt()");
	is($state, '57014', 'it can be cancelled');
	$session->query('COMMIT');
	is(reencrypt(), 1, 'what it had done stays done');

	write_keys($master[7], $master[6]);
	$session->query("BEGIN; UPDATE user_api_keys SET last_used_at = now() WHERE user_id = 'user5'");
	my $killed = LlmRouterTest::start_process('killed', 'psql', '-XAtq', '-v', 'VERBOSITY=verbose', '-d', $node->connstr('postgres'), '-c', 'SELECT llm_keys_reencrypt()');
	LlmRouterTest::wait_for_sql($node, q(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'llm_router rounds' AND wait_event_type = 'Extension'), 1);
	sql(q(SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'llm_router rounds'));
	LlmRouterTest::wait_for_exit($killed);
	like(slurp_file("$PostgreSQL::Test::Utils::log_path/killed.log"), qr/ERROR:  57P01: the worker that re-encrypted the keys was terminated/, 'a worker that is terminated is told of');
	$session->query('COMMIT');
	$session->quit;
	is(reencrypt(), 1, 'and the next run goes on');
};

subtest 'a key that no master key opens is named' => sub {
	write_keys($master[8], $master[7]);
	sql(q(UPDATE user_api_keys SET encrypted_api_key = left(encrypted_api_key, 60) || 'AAAA' || substr(encrypted_api_key, 65) WHERE user_id = 'user3000'));
	my $id = sql(q(SELECT id FROM user_api_keys WHERE user_id = 'user3000'));
	like(whole_error('SELECT llm_keys_reencrypt()'), qr/ERROR:  LR009: .*\nDETAIL:  The key with id $id of user_api_keys cannot be opened\.\nHINT:  .*stays changed/, 'LR009 says which');
	sql(q(DELETE FROM user_api_keys WHERE user_id = 'user3000'));
	my $left = reencrypt();
	cmp_ok($left, '>', 0, 'without it the next run goes on');
	cmp_ok($left, '<', 5001, 'where the first ended');
	is(reencrypt(), 0, 'to the end');
	write_keys($master[8]);
};

subtest 'no worker' => sub {
	is((sql_error('BEGIN READ ONLY; SELECT llm_keys_reencrypt()'))[0], '25006', 'not in a read-only transaction');
	sql('ALTER SYSTEM SET llm_router.max_workers = 1');
	$node->reload;
	$provider->script({ delay_ms => 14000, for_path => '/v1/chat' });
	my $before = scalar $provider->requests;
	my $call = LlmRouterTest::start_process('call', 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', q(SELECT llm_ask('Hi', 'eco')));
	$provider->wait_for_requests($before + 1);
	like(whole_error('SELECT llm_keys_reencrypt()'), qr/ERROR:  LR010: no worker could be started to re-encrypt the keys\nHINT:  Raise llm_router.max_workers/, 'LR010 beside a long call, with one place');
	LlmRouterTest::wait_for_exit($call);
	is(reencrypt(), 0, 'it comes when the place is free');
	sql('ALTER SYSTEM RESET llm_router.max_workers');
	$node->reload;
};

subtest 'a restored database without its master key' => sub {
	$node->backup('restored');
	write_keys($master[9]);
	my $restored = PostgreSQL::Test::Cluster->new('restored');
	$restored->init_from_backup($node, 'restored');
	$restored->start;
	my $needed = LlmRouterTest::sql($restored, 'SELECT master_key_fingerprint FROM llm_install');
	LlmRouterTest::wait_until('a line of the log', sub { slurp_file($restored->logfile) =~
		/WARNING:  llm_router: the stored keys of database "postgres" cannot be opened: the configured master keys are not those of this database.*DETAIL:  Its keys were sealed with the master key of fingerprint $needed\.\n.*HINT:  Bring that master key back/s });
	pass('is told of in the log, at start');
	like(LlmRouterTest::sql($restored, q(SELECT status, detail FROM llm_doctor() WHERE check_name = 'master key')),
		qr/^error\|.*fingerprint $needed/, 'by llm_doctor');
	is((LlmRouterTest::sql_error($restored, q(SELECT llm_ask('Hi', 'eco'))))[0], 'LR009', 'by a call');
	is((LlmRouterTest::sql_error($restored, q(SELECT llm_key_add('sim', 'sk-test-new', validate => false))))[0], 'LR009', 'and when another key is stored');
	is((LlmRouterTest::sql_error($restored, 'SELECT llm_keys_reencrypt()'))[0], 'LR009', 'or to be re-encrypted');
	write_keys($master[8]);
	is(LlmRouterTest::sql($restored, q(SELECT llm_ask('Hi', 'eco'))), 'You said: Hi', 'with the master key all is well');
	my $log_start = -s $restored->logfile;
	$restored->restart;
	LlmRouterTest::wait_for_sql($restored, q(SELECT llm_keys_reencrypt()), 0);
	unlike(slurp_file($restored->logfile, $log_start), qr/cannot be opened/, 'and nothing is said at start');
	$restored->stop;
};

my $log = slurp_file($node->logfile);
is(scalar(grep { $log =~ /\Q$_\E/ } @master), 0, 'no master key is in the server log');
$node->stop;
done_testing();

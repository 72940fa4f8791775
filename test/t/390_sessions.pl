# Calls in awkward sessions: processes that end during a call, transactions that
# create the extension, roles without rights on its tables, hostile settings.
use strict;
use warnings;

use LlmRouterTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $provider = LlmRouterTest::start_provider();
my $node = LlmRouterTest::start_node('sessions', conf => "max_prepared_transactions = 2\n");
LlmRouterTest::add_sim($node, $provider);

sub sql { return LlmRouterTest::sql($node, shift) }

# A call that hangs, in a session of its own; the session and its pid.
sub hanging_call
{
	$provider->reset;
	$provider->script({ hang => 'before_headers' });
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	my $pid = $session->query('SELECT pg_backend_pid()');
	$session->query_until(qr/started/, "\\echo started\nSELECT llm_ask('Hi');\n");
	$provider->wait_for_requests(1);
	return ($session, $pid);
}

sub wait_for_exit_of
{
	my ($pid) = @_;
	LlmRouterTest::wait_for_sql($node, "SELECT count(*) FROM pg_stat_activity WHERE pid = $pid", 0);
	return;
}

subtest 'a process that ends during its call gives its place back once' => sub {
	my ($session, $pid) = hanging_call();
	is(sql("SELECT detail LIKE '1 of %' FROM llm_doctor() WHERE check_name = 'concurrency'"), 't', 'one place is taken');
	sql("SELECT pg_terminate_backend($pid)");
	wait_for_exit_of($pid);
	is(sql("SELECT detail FROM llm_doctor() WHERE check_name = 'concurrency'") =~ s/ of .*//r, '0', 'and none afterwards');
	$session->{run}->kill_kill;
};

subtest 'a call that is cancelled between two attempts has its row' => sub {
	$provider->reset;
	$provider->script({ error => { status => 429, message => 'Slow down.' }, headers => { 'Retry-After' => '20' }, times => undef });
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	my $pid = $session->query('SELECT pg_backend_pid()');
	$session->query_until(qr/started/, "\\echo started\nSELECT llm_ask('Hi');\n");
	$provider->wait_for_requests(1);
	my $count = sql('SELECT count(*) FROM llm_usage_logs');
	LlmRouterTest::wait_for_sql($node, "SELECT pg_cancel_backend($pid) AND count(*) = $count + 1 FROM llm_usage_logs");
	is(sql('SELECT status, is_final, attempts, total_cost FROM llm_usage_logs ORDER BY created_at DESC LIMIT 1'),
		'cancelled|t|1|0.000000000000000', 'which cost nothing');
	$session->{run}->kill_kill;
	$provider->reset;
};

subtest 'a call in the transaction that creates the extension' => sub {
	sql('CREATE DATABASE fresh');
	my $url = $provider->url('/local/v1');
	my ($status, $out, $err) = $node->psql('fresh', <<"SQL", on_error_stop => 0);
\\set VERBOSITY verbose
BEGIN;
CREATE EXTENSION llm_router;
SELECT FROM llm_provider_add('sim', '$url', auth_type => 'none');
SELECT FROM llm_model_add('sim', 'sim-eco', 'eco', 1, 2);
SELECT llm_ask('Hi', model => 'sim-eco');
COMMIT;
SQL
	like($err, qr/LR010: .*transaction/, 'is refused: its row could not be written');
	($status, $out, $err) = $node->psql('fresh', <<"SQL", on_error_stop => 0);
BEGIN;
CREATE EXTENSION llm_router;
SELECT FROM llm_provider_add('sim', '$url', auth_type => 'none');
SELECT FROM llm_model_add('sim', 'sim-eco', 'eco', 1, 2);
ROLLBACK;
SELECT llm_ask('Hi', model => 'sim-eco');
CREATE SCHEMA elsewhere;
CREATE EXTENSION llm_router SCHEMA elsewhere;
SET search_path = elsewhere;
SELECT FROM llm_provider_add('sim', '$url', auth_type => 'none');
SELECT FROM llm_model_add('sim', 'sim-eco', 'eco', 1, 2);
SELECT llm_ask('Hi', model => 'sim-eco');
ALTER SCHEMA elsewhere RENAME TO "Some Where";
SET search_path = "Some Where";
SELECT llm_ask('Ho', model => 'sim-eco');
DROP EXTENSION llm_router CASCADE;
SET search_path = public;
CREATE EXTENSION llm_router;
SELECT FROM llm_provider_add('sim', '$url', auth_type => 'none');
SELECT FROM llm_model_add('sim', 'sim-eco', 'eco', 1, 2);
SELECT llm_ask('He', model => 'sim-eco');
SELECT count(*) FROM llm_usage_logs;
SQL
	is($out, "You said: Hi\nYou said: Ho\nYou said: He\n1", 'rolled back, in another schema, renamed and created anew it works');
	like($err, qr/function llm_ask.*does not exist/, 'and not at all after the rollback');
	is($node->safe_psql('fresh', "SELECT sum(logged) FROM llm_status WHERE database = 'fresh'"), 0, 'no record went to the log');
	sql('ALTER DATABASE fresh RENAME TO stale');
	is($node->safe_psql('stale', "SELECT llm_ask('Hi', model => 'sim-eco'); SELECT count(*) FROM llm_usage_logs"), "You said: Hi\n2", 'in a renamed database');
	sql('DROP DATABASE stale');
};

subtest 'a role with access "user" and nothing else' => sub {
	sql(q(CREATE ROLE ann LOGIN; SELECT llm_grant('ann', 'user')));
	is(sql(q(SET ROLE ann; SET row_security = off; SET search_path = pg_temp, public; CREATE TEMP TABLE llm_users (a int);
		SELECT llm_ask('Hi'); SELECT model FROM llm_last_call(); SELECT count(*) > 0 FROM llm_route('[{"role":"user","content":"x"}]');
		SELECT llm_estimate_cost('[{"role":"user","content":"x"}]') > 0; SELECT llm_count_tokens('x') > 0; SELECT count(*) FROM llm_power_levels;
		SELECT llm_text(llm_chat('[{"role":"user","content":"x"}]')))), "You said: Hi\nsim-balanced\nt\nt\nt\n3\nYou said: x", 'can call every function');
	is(sql(q(SELECT user_id, role_name FROM llm_usage_logs ORDER BY created_at DESC LIMIT 1)), 'ann|ann', 'is in the ledger');
	is(sql(q(SET ROLE ann; SELECT DISTINCT user_id FROM llm_usage_logs)), 'ann', 'sees its own usage alone');
	foreach my $refused ('SELECT FROM llm_providers', 'SELECT FROM user_api_keys', 'SELECT FROM llm_provider_keys', 'SELECT FROM llm_status',
		'SELECT llm_doctor()', "SELECT llm_provider_set_key('openai', 'x')", 'SELECT llm_keys_reencrypt()', "SET llm_router.user_id = 'bob'")
	{
		is((LlmRouterTest::sql_error($node, "SET ROLE ann; $refused"))[0], '42501', "cannot $refused");
	}
	is((LlmRouterTest::sql_error($node, q(SET ROLE ann; SELECT llm_ask('x', options => '{"router": {"user_id": "bob"}}'))))[0], '42501', 'cannot speak for others');
};

subtest 'an administrator' => sub {
	sql(q(CREATE ROLE adm LOGIN; SELECT llm_grant('adm', 'administrator')));
	is(sql(q(SET ROLE adm; SELECT count(*) > 5 FROM llm_doctor(); SELECT count(*) > 0 FROM llm_status; SELECT count(*) > 0 FROM llm_usage_logs;
		SELECT llm_provider_set_key('openai', 'sk-1234567890abcdefghij', false))), "t\nt\nt\n", 'can operate it');
	is(sql(q(SET ROLE adm; SELECT string_agg(check_name, ',') FROM llm_doctor() WHERE status = 'error')), '', 'sees no error where there is none');
	is((LlmRouterTest::sql_error($node, 'SET ROLE adm; TABLE llm_provider_keys'))[0], '42501', 'cannot read the keys');
};

subtest 'an owner of the extension who is no superuser any more' => sub {
	my $url = $provider->url('/local/v1');
	sql('CREATE ROLE dba SUPERUSER LOGIN');
	sql('CREATE DATABASE owned OWNER dba');
	$node->safe_psql('owned', <<"SQL");
SET ROLE dba;
CREATE SCHEMA llm;
CREATE EXTENSION llm_router SCHEMA llm;
SET search_path = llm;
SELECT FROM llm_provider_add('sim', '$url', auth_type => 'none');
SELECT FROM llm_model_add('sim', 'sim-eco', 'eco', 1, 2);
RESET ROLE;
ALTER ROLE dba NOSUPERUSER;
SQL
	is($node->safe_psql('owned', q(SET ROLE dba; SET search_path = llm; SELECT llm_ask('x', model => 'sim-eco'); SELECT count(*) FROM llm_usage_logs)),
		"You said: x\n1", 'has calls and a ledger');
	is($node->safe_psql('owned', q(SET ROLE dba; SELECT string_agg(check_name, ',') FROM llm.llm_doctor() WHERE status = 'error')), '',
		'sees no error where there is none');
	is($node->safe_psql('owned', q(SET ROLE dba; SELECT llm.llm_provider_set_key('openai', 'sk-1234567890abcdefghij', false); SELECT llm.llm_keys_reencrypt())), "\n0", 'can store keys');
};

subtest 'isolation levels' => sub {
	is(sql("BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE; SELECT llm_ask('Hi'); COMMIT"), 'You said: Hi', 'serializable');
	is(sql("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT llm_ask('Hi'); COMMIT"), 'You said: Hi', 'repeatable read');
};

subtest 'nested and odd callers' => sub {
	is(sql(q(CREATE TABLE t (a text, b text);
		CREATE FUNCTION ask() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.b := llm_ask(llm_ask(NEW.a)); RETURN NEW; END $$;
		CREATE TRIGGER t BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION ask();
		INSERT INTO t VALUES (llm_ask('x')) RETURNING b;
		CREATE FUNCTION ask_sql(text) RETURNS text LANGUAGE sql AS 'SELECT llm_ask($1)';
		SELECT llm_ask(ask_sql('y'));)), "You said: You said: You said: x\nYou said: You said: y", 'triggers, SQL functions, arguments');
	is(sql(q(BEGIN; DECLARE c CURSOR FOR SELECT llm_ask(i::text) FROM generate_series(1, 9) i; FETCH 2 FROM c; CLOSE c; COMMIT)), "You said: 1\nYou said: 2", 'a cursor closed early');
	foreach my $bad ("CREATE TABLE v (a text, b text GENERATED ALWAYS AS (llm_ask(a)) STORED)", "CREATE INDEX ON t (llm_ask(a))")
	{
		is((LlmRouterTest::sql_error($node, $bad))[0], '42P17', $bad);
	}
	is(sql(q(CREATE FUNCTION cheat() RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT public.llm_ask('z') $$; CREATE INDEX ON t (cheat()); SELECT 'ok')), 'ok', 'an index that lies');
};

subtest 'a writer whose start fails' => sub {
	sql('CREATE DATABASE broken');
	$node->safe_psql('broken', 'CREATE EXTENSION llm_router');
	my $oid = sql("SELECT oid FROM pg_database WHERE datname = 'broken'");
	my $url = $provider->url('/local/v1');
	$node->safe_psql('broken', "SELECT llm_provider_add('sim', '$url', auth_type => 'none'); SELECT llm_model_add('sim', 'sim-eco', 'eco', 1, 2)");
	my $path = $node->data_dir . '/llm_router';
	mkdir $path; mkdir "$path/$oid.spill";
	my $offset = -s $node->logfile;
	my ($status, $out, $err) = $node->psql('broken', "SELECT llm_ask('x', model => 'sim-eco')");
	like($err, qr/does not start/, 'is told');
	my $log = slurp_file($node->logfile, $offset);
	my $n = () = $log =~ /could not read file/g;
	cmp_ok($n, '<=', 6, "and the writer is started once a second at most ($n times in 5 s)");
	rmdir "$path/$oid.spill";
	is($node->safe_psql('broken', "SELECT llm_ask('x', model => 'sim-eco')"), 'You said: x', 'works when mended');
};

subtest 'a database that takes no more connections' => sub {
	my $url = $provider->url('/local/v1');
	sql('CREATE DATABASE closed');
	$node->safe_psql('closed', "CREATE EXTENSION llm_router; SELECT llm_provider_add('sim', '$url', auth_type => 'none'); SELECT llm_model_add('sim', 'sim-eco', 'eco', 1, 2)");
	my $session = $node->background_psql('closed', on_error_stop => 0);
	$session->query('SELECT 1');
	sql("ALTER DATABASE closed ALLOW_CONNECTIONS false");
	like($session->query("SELECT llm_ask('x', model => 'sim-eco')"), qr/You said: x/, 'a session that is there can call');
	$session->quit;
};

subtest 'synchronous_commit = off' => sub {
	sql("ALTER SYSTEM SET synchronous_commit = off; ");
	sql("ALTER SYSTEM SET wal_writer_delay = '10s'");
	$node->restart;
	my $count = sql('SELECT count(*) FROM llm_usage_logs');
	sql("SELECT llm_ask('Hi')") for 1 .. 3;
	$node->stop('immediate');
	$node->start;
	is(sql('SELECT count(*) FROM llm_usage_logs'), $count + 3, 'answers that were returned have their rows after a crash');
};

$node->stop;
done_testing();

# The audit log: refused attempts are in it although their transactions were rolled
# back, whatever the state of its table and its writer; and it comes through a
# restart, a restore and its retention.
use strict;
use warnings;

use LedgerTest;
use LlmRouterTest;
use PostgreSQL::Test::Utils;
use Test::More;

# 256 kB are room for 16 notes.
my $node = LedgerTest::start_node('main', streaming => 1, conf => <<'CONF');
llm_router.ledger_size = 256kB
llm_router.worker_idle_timeout = 300ms
max_prepared_transactions = 2
CONF
my $oid = sql(q(SELECT oid FROM pg_database WHERE datname = 'postgres'));
my $spill = $node->data_dir . "/llm_router/$oid.spill";
sql(q(CREATE ROLE teller LOGIN; SELECT llm_grant('teller', 'user'); CREATE ROLE pool LOGIN; SELECT llm_grant('pool', 'application')));

sub sql { return LlmRouterTest::sql($node, shift) }

# Statements of a role, each by itself; what psql says of its error.
sub as
{
	my ($role, $query) = @_;
	my (undef, undef, $error) = $node->psql('postgres', $query, on_error_stop => 0,
		extra_params => [ '-U', $role, '-v', 'VERBOSITY=verbose' ]);
	return $error;
}

sub wait_for_no_writer
{
	LlmRouterTest::wait_for_sql($node, q(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'llm_router ledger writer'), 0);
	return;
}

# The entries about a user, once there is one.
sub entries
{
	my ($user) = @_;
	LlmRouterTest::wait_for_sql($node, "SELECT count(*) > 0 FROM llm_audit_logs WHERE user_id = '$user'");
	return sql("SELECT actor, action, object FROM llm_audit_logs WHERE user_id = '$user' ORDER BY id");
}

sub lock_audit { return sql(q(BEGIN; LOCK llm_audit_logs IN ACCESS EXCLUSIVE MODE; PREPARE TRANSACTION 'audit')) }
sub unlock_audit { return sql(q(ROLLBACK PREPARED 'audit')) }

# A record is taken off the queue after its commit, so a moment after it is seen.
sub has_queued
{
	my ($count, $what) = @_;
	my $query = q(SELECT queued FROM llm_status WHERE database = 'postgres');
	eval { LlmRouterTest::wait_for_sql($node, $query, $count, 20) };
	is(sql($query), $count, $what);
	return;
}

sub wait_for_log
{
	my ($position, $pattern) = @_;
	return LlmRouterTest::wait_until("$pattern in the server log", sub { slurp_file($node->logfile, $position) =~ $pattern });
}

subtest 'a refused SET' => sub {
	wait_for_no_writer();
	like(as('teller', "BEGIN; SET LOCAL llm_router.user_id = 'ann'; ROLLBACK"), qr/42501: permission denied to set parameter/, 'is refused');
	is(entries('ann'), 'teller|access.refused|llm_router.user_id', 'and audited, with a writer that it brings: who, and for whom');
	like(as('teller', "BEGIN READ ONLY; SET \"LLM_Router\".user_id TO 'bo''b'; COMMIT"), qr/42501/, 'in a READ ONLY transaction, by another spelling');
	is(entries(q(bo''b)), 'teller|access.refused|llm_router.user_id', 'as well');
	like(as('teller', "SET llm_router.user_id = '" . 'x' x 1000 . "'"), qr/42501/, 'with a very long name');
	is(entries('x' x 255), 'teller|access.refused|llm_router.user_id', 'of which the beginning is kept');
	is(as('teller', "SET llm_router.default_power_level = 'eco'; RESET ALL"), '', 'what may be set');
	is(as('pool', "SET llm_router.user_id = 'carl'; SELECT llm_user_id()"), '', 'and who may act for others');
	is(sql(q(SELECT count(*) FROM llm_audit_logs WHERE action = 'access.refused')), 3, 'leave no entry');
};

subtest 'a refused call' => sub {
	my $call = q(SELECT llm_chat('[{"role": "user", "content": "a very private prompt"}]', options => '{"router": {"user_id": "dora"}}'));
	like(as('teller', "BEGIN; $call; ROLLBACK"), qr/42501: options.router.user_id: role "teller" may not speak for other users/, 'is refused');
	is(entries('dora'), 'teller|access.refused|options.router.user_id', 'and audited, though rolled back');
	like(as('teller', "BEGIN READ ONLY; $call"), qr/42501/, 'a READ ONLY transaction');
	LlmRouterTest::wait_for_sql($node, q(SELECT count(*) FROM llm_audit_logs WHERE user_id = 'dora'), 2);
	pass('makes no difference');
	is(sql(q(SELECT count(*) FROM llm_audit_logs AS l WHERE l::text LIKE '%private%')), 0, 'the prompt is in no entry');
	is(sql(q(SELECT count(*) FROM llm_usage_logs)), 0, 'and no partition was made for what called nobody');
	is(sql(q(SELECT to_regclass('llm_usage_guard') IS NULL)), 't', 'nor the guard against DROP EXTENSION');
};

subtest 'a locked audit log' => sub {
	lock_audit();
	as('teller', "SET llm_router.user_id = 'emil'");
	my (undef, undef, $error) = $node->psql('postgres',
		"SET llm_router.ledger_wait_timeout = '1s'; SELECT count(*) FROM generate_series(1, 200) AS i, LATERAL ("
		  . LedgerTest::call('busy') . " WHERE i > 0) AS c");
	is($error, '', 'does not hold up calls');
	LedgerTest::has_rows($node, 'busy', 'ok', 200, 'which have their rows');
	has_queued(1, 'while the entry waits');
	like(slurp_file($node->logfile), qr/LOG:  llm_router: the audit log cannot be written now: 55P03/, 'as the server log says');
	unlock_audit();
	is(entries('emil'), 'teller|access.refused|llm_router.user_id', 'and is there when the lock is gone');
};

subtest 'a locked ledger' => sub {
	sql(q(BEGIN; LOCK llm_usage_logs IN ACCESS EXCLUSIVE MODE; PREPARE TRANSACTION 'ledger'));
	sql('SET llm_router.ledger_wait = off; ' . LedgerTest::call('held'));
	as('teller', "SET llm_router.user_id = 'fred'");
	is(entries('fred'), 'teller|access.refused|llm_router.user_id', 'does not hold up entries');
	has_queued(1, 'while the record waits');
	sql(q(ROLLBACK PREPARED 'ledger'));
	LedgerTest::has_rows($node, 'held', 'ok', 1, 'and is written afterwards');
};

subtest 'no room' => sub {
	lock_audit();
	my $position = -s $node->logfile;
	as('teller', join('', map { "SET llm_router.user_id = 'many$_';" } 1 .. 20));
	like(slurp_file($node->logfile, $position),
		qr/LOG:  llm_router: audit entry that could not be queued: \{"action":"access.refused","actor":"teller","user_id":"many17",/,
		'what finds no room is a line of the server log');
	has_queued(16, 'one database queues no more than a sixteenth');
	sql(LedgerTest::call('roomy'));
	LedgerTest::has_rows($node, 'roomy', 'ok', 1, 'and calls have theirs');
	unlock_audit();
	LlmRouterTest::wait_for_sql($node, q(SELECT count(*) FROM llm_audit_logs WHERE user_id LIKE 'many%'), 16);
	pass('the others are written');
};

subtest 'a refused entry' => sub {
	my $position = -s $node->logfile;
	sql(q(ALTER TABLE llm_audit_logs ADD CONSTRAINT nobody CHECK (user_id <> 'gina') NOT VALID));
	as('teller', "SET llm_router.user_id = 'gina'; SET llm_router.user_id = 'hans'");
	is(entries('hans'), 'teller|access.refused|llm_router.user_id', 'does not take others with it');
	wait_for_log($position, qr/LOG:  llm_router: audit entry of database $oid not written \(23514: .*nobody.*\): \{"action":"access.refused",.*"gina"/);
	is(sql('SELECT count(*) FROM llm_usage_quarantine'), 0, 'it is a line of the server log, and not in the ledger\'s quarantine');
	sql('ALTER TABLE llm_audit_logs DROP CONSTRAINT nobody');
};

subtest 'a restart' => sub {
	lock_audit();
	sql(q(BEGIN; LOCK llm_usage_logs IN ACCESS EXCLUSIVE MODE; PREPARE TRANSACTION 'ledger'));
	sql('SET llm_router.ledger_wait = off; ' . LedgerTest::call('kept'));
	as('teller', "SET llm_router.user_id = 'ines'");
	$node->stop('fast');
	my ($line) = slurp_file($spill) =~ /^([0-9A-F]{8} \{"action".*\})$/m;
	like($line, qr/"ines"/, 'an entry that could not be written is kept in the file');
	like(slurp_file($spill), qr/^[0-9A-F]{8} \{"request_id"/m, 'beside a record of the ledger');
	append_to_file($spill, "\n$line\n");
	$node->start;
	sql(q(ROLLBACK PREPARED 'ledger'));
	LedgerTest::has_rows($node, 'kept', 'ok', 1, 'of which the one does not wait for the other');
	ok(-e $spill, 'the file stays until all is written');
	unlock_audit();
	is(entries('ines'), 'teller|access.refused|llm_router.user_id', 'then the entry is there');
	LlmRouterTest::wait_until('no spill file', sub { !-e $spill });
	is(sql(q(SELECT count(*) FROM llm_audit_logs WHERE user_id = 'ines')), 1, 'once, though it was there twice');
};

subtest 'where there is no ledger' => sub {
	$node->backup('backup');
	my $standby = PostgreSQL::Test::Cluster->new('standby');
	$standby->init_from_backup($node, 'backup', has_streaming => 1);
	$standby->start;
	$standby->psql('postgres', "SET llm_router.user_id = 'jack'", extra_params => [ '-U', 'teller' ]);
	like(slurp_file($standby->logfile), qr/LOG:  llm_router: audit entry that could not be queued: .*"user_id":"jack"/, 'on a standby: a line of the server log');
	$standby->stop;
	sql('CREATE DATABASE plain');
	my $position = -s $node->logfile;
	$node->psql('plain', "SET llm_router.user_id = 'kate'", extra_params => [ '-U', 'teller' ]);
	like(slurp_file($node->logfile, $position), qr/LOG:  llm_router: audit entry that could not be queued: .*"user_id":"kate"/, 'in a database without the extension, too');
	is(sql(q(SELECT count(*) FROM llm_status WHERE database = 'plain')), 0, 'which gets no writer');
};

subtest 'a restore' => sub {
	my $dump = $node->backup_dir . '/audit.sql';
	sql(q(CREATE DATABASE used));
	$node->safe_psql('used', q(CREATE EXTENSION llm_router));
	$node->safe_psql('used', q(
		SELECT llm_provider_add('local', 'http://localhost:8080/v1');
		INSERT INTO llm_users (user_id) VALUES ('ann');
		INSERT INTO llm_budgets (scope, period, limit_usd) VALUES ('total', 'month', 5)));
	$node->command_ok([ 'pg_dump', '-f', $dump, 'used' ], 'a dump');
	sql('CREATE DATABASE restored');
	$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', 'restored', '-f', $dump ], 'restores');
	my $all = q(SELECT * FROM llm_audit_logs ORDER BY id);
	is($node->safe_psql('restored', 'SELECT count(*) FROM llm_audit_logs'), 3, 'with the entries that there were');
	is($node->safe_psql('restored', $all), $node->safe_psql('used', $all), 'as they were, and no other');
	$node->safe_psql('restored', q(DELETE FROM llm_providers WHERE name = 'local'));
	is($node->safe_psql('restored', q(SELECT action FROM llm_audit_logs ORDER BY id DESC LIMIT 1)), 'provider.delete', 'and goes on from there');
};

subtest 'retention' => sub {
	sql(q(INSERT INTO llm_audit_logs (actor, action, created_at) SELECT 'x', 'old', now() - interval '31 days' FROM generate_series(1, 2500)));
	sql(q(INSERT INTO llm_audit_logs (actor, action, created_at) VALUES ('x', 'newer', now() - interval '29 days')));
	wait_for_no_writer();
	sql(LedgerTest::call('idle'));
	is(sql(q(SELECT count(*) FROM llm_audit_logs WHERE action = 'old')), 2500, 'unless it is set, entries are kept');
	sql(q(ALTER SYSTEM SET llm_router.audit_retention = 30));
	$node->reload;
	LlmRouterTest::wait_for_sql($node, 'SHOW llm_router.audit_retention', 30);
	wait_for_no_writer();
	sql(LedgerTest::call('idle'));
	LlmRouterTest::wait_for_sql($node, q(SELECT count(*) FROM llm_audit_logs WHERE action = 'old'), 0);
	pass('what is older is deleted, more than one batch of it');
	is(sql(q(SELECT count(*) FROM llm_audit_logs WHERE action = 'newer')), 1, 'what is not stays');
};

LedgerTest::wait_until_settled($node);
$node->stop;
done_testing();

# The ledger writer: stopped, blocked, refused, starved and killed, it loses nothing.
use strict;
use warnings;

use LedgerTest;
use LlmRouterTest;
use Test::More;

my $node = LedgerTest::start_node('main', conf => <<'CONF');
llm_router.ledger_size = 256kB
llm_router.worker_idle_timeout = 300ms
CONF

# Idle.
LlmRouterTest::sql($node, LedgerTest::call('idle'));
ok(LedgerTest::writer_pid($node), 'a call brings a writer');
LlmRouterTest::wait_for_sql($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'llm_router ledger writer'", 0);
pass('an idle writer leaves');
LlmRouterTest::sql($node, LedgerTest::call('idle'));
LedgerTest::has_rows($node, 'idle', 'ok', 2, 'and the next call brings another');

# SIGTERM, twenty times, while calls go on.
my ($processes, $files) = LedgerTest::start_load($node, 'term', 4, 500, 'term', duration => 10);
my %terminated;
while (keys %terminated < 20)
{
	LlmRouterTest::sql($node, LedgerTest::call('other'));
	my $pid = LedgerTest::writer_pid($node);
	next if $terminated{$pid};
	LlmRouterTest::sql($node, "SELECT pg_terminate_backend($pid)");
	$terminated{$pid} = 1;
	LlmRouterTest::wait_until("the end of writer $pid", sub { LlmRouterTest::sql($node, "SELECT count(*) FROM pg_stat_activity WHERE pid = $pid") eq '0' });
}
LedgerTest::wait_for_end($processes);
my @ids = LedgerTest::answers($files);
is(scalar @ids, 2000, 'SIGTERM of the writer 20 times: every call was answered');
is(LedgerTest::missing_rows($node, @ids), 0, 'and every answer has its row');
LedgerTest::has_rows($node, 'term', 'ok', 2000, 'and no more rows than answers');

# A caller that holds the ledger's table.
my ($code, $out, $err) = $node->psql('postgres',
	"SET llm_router.ledger_wait_timeout = '1500ms'; BEGIN; LOCK llm_usage_logs IN ACCESS EXCLUSIVE MODE; "
	  . LedgerTest::call('lock') . '; COMMIT');
is($code, 0, 'a caller that locks the ledger gets its answer');
like($err, qr/WARNING/, 'with a warning');
LedgerTest::has_rows($node, 'lock', 'ok', 1, 'and its row comes after the lock is gone');

# A full ring: calls wait, and go on.
my ($locker) = LedgerTest::start_session($node, 'locker',
	'BEGIN; LOCK llm_usage_logs IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(600)');
my $many = 'SET llm_router.ledger_wait = off; ' . LedgerTest::call('full') . ' FROM generate_series(1, 500)';
my ($filler) = LedgerTest::start_session($node, 'filler', split /(?<=;) /, $many);
LlmRouterTest::wait_for_sql($node, "SELECT used_bytes >= 0.7 * ring_size_bytes FROM llm_status WHERE database = 'postgres'");
is(LlmRouterTest::sql($node, "SELECT state FROM pg_stat_activity WHERE application_name = 'filler'"), 'active', 'with the ring full, calls wait');
LlmRouterTest::sql($node, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'locker'");
LlmRouterTest::wait_for_exit($_) foreach $filler, $locker;
LedgerTest::has_rows($node, 'full', 'ok', 500, 'and go on when there is room again');

# A record that the DBA's constraint refuses.
LlmRouterTest::sql($node, q(ALTER TABLE llm_usage_logs ADD CONSTRAINT known CHECK (user_id NOT LIKE 'refused%')));
LlmRouterTest::sql($node, 'SET llm_router.ledger_wait = off; ' . LedgerTest::call('good') . ' FROM generate_series(1, 5); ' . LedgerTest::call('refused')
	  . '; ' . LedgerTest::call('good') . ' FROM generate_series(1, 5)');
LedgerTest::has_rows($node, 'good', 'ok', 10, 'a refused record does not take others with it');
LlmRouterTest::wait_for_sql($node, 'SELECT count(*) FROM llm_usage_quarantine', 1);
is(LlmRouterTest::sql($node, q(SELECT record->>'user_id', record->>'total_cost', reason LIKE '%23514%known%' FROM llm_usage_quarantine)),
	'refused|1.000000000000000|t', 'it is in quarantine, whole, with the reason');
is(LlmRouterTest::sql($node, 'SELECT quarantined FROM llm_status'), 1, 'and counted');

# Refused by the quarantine as well: the server log.
LlmRouterTest::sql($node, q(ALTER TABLE llm_usage_quarantine ADD CONSTRAINT nothing CHECK (id < 0) NOT VALID));
my $log_position = -s $node->logfile;
LlmRouterTest::sql($node, LedgerTest::call('refused-twice'));
LlmRouterTest::wait_until('the record in the server log',
	sub { PostgreSQL::Test::Utils::slurp_file($node->logfile, $log_position) =~ /LOG:  llm_router: ledger record of database \d+ not written .*\{.*"user_id":"refused-twice"/ });
pass('what the quarantine refuses is a line of the server log');
is(LlmRouterTest::sql($node, 'SELECT logged FROM llm_status'), 1, 'and counted');
LlmRouterTest::sql($node, 'ALTER TABLE llm_usage_logs DROP CONSTRAINT known; ALTER TABLE llm_usage_quarantine DROP CONSTRAINT nothing');

LedgerTest::wait_until_settled($node);
LedgerTest::rollup_is_sum_of_log($node, 'postgres', 'the rollup is the sum of the log');
is(LlmRouterTest::sql($node, 'SELECT ring_used_bytes FROM llm_status LIMIT 1'), 0, 'no room is left taken');

# kill -9 of a backend: everything starts anew, and every answer has its row.
($processes, $files) = LedgerTest::start_load($node, 'crash', 4, 2000, 'crash', duration => 2);
LlmRouterTest::wait_for_sql($node, q(SELECT count(*) > 200 FROM llm_usage_logs WHERE user_id = 'crash'));
my (undef, $victim) = LedgerTest::start_session($node, 'victim', 'SELECT pg_sleep(600)');
kill 'KILL', $victim;
LedgerTest::wait_for_end($processes);
LlmRouterTest::wait_until('the restart', sub { eval { LlmRouterTest::sql($node, 'SELECT 1'); 1 } });
@ids = LedgerTest::answers($files);
cmp_ok(scalar @ids, '>', 100, 'kill -9 of a backend under load');
is(LedgerTest::missing_rows($node, @ids), 0, 'every answer that was given has its row');
LlmRouterTest::sql($node, LedgerTest::call('again'));
LedgerTest::has_rows($node, 'again', 'ok', 1, 'and calls go on');
LedgerTest::rollup_is_sum_of_log($node, 'postgres', 'the rollup is still the sum of the log');

$node->stop;
done_testing();

# What cannot be written before the server stops is kept in a file, and is there after the start.
use strict;
use warnings;

use LedgerTest;
use LlmRouterTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = LedgerTest::start_node('main');
my $oid = LlmRouterTest::sql($node, q(SELECT oid FROM pg_database WHERE datname = 'postgres'));
my $spill = $node->data_dir . "/llm_router/$oid.spill";

# Fast shutdown while calls are under way.
my ($processes, $files) = LedgerTest::start_load($node, 'load', 4, 3000, 'load', duration => 2);
my ($long) = LedgerTest::start_session($node, 'long', LedgerTest::call('long', duration => 600000));
LlmRouterTest::wait_for_sql($node, q(SELECT count(*) > 100 FROM llm_usage_logs WHERE user_id = 'load'));
$node->stop('fast');
LedgerTest::wait_for_end([ @$processes, $long ]);
$node->start;
my @ids = LedgerTest::answers($files);
cmp_ok(scalar @ids, '>', 50, 'fast shutdown under load');
is(LedgerTest::missing_rows($node, @ids), 0, 'every answer that was given has its row');
LedgerTest::has_rows($node, 'long', 'cancelled', 1, 'a call that the shutdown cut off has a cancelled row');
LlmRouterTest::wait_until('no spill file', sub { !-e $spill });
LedgerTest::rollup_is_sum_of_log($node, 'postgres', 'the rollup is the sum of the log');

# A ledger that cannot be written until the end: a prepared transaction keeps its lock.
$node->append_conf('postgresql.conf', "max_prepared_transactions = 2\nllm_router.ledger_wait = off\n");
$node->restart;
LlmRouterTest::sql($node, q(BEGIN; LOCK llm_usage_logs IN ACCESS EXCLUSIVE MODE; PREPARE TRANSACTION 'lock'));
LlmRouterTest::sql($node, LedgerTest::call('kept', tags => '{"a": "ä\\"\\n"}') . ' FROM generate_series(1, 300)');
is(LlmRouterTest::sql($node, q(SELECT queued FROM llm_status WHERE database = 'postgres')), 300, 'records wait for a lock on the ledger');
$node->stop('fast');
ok(-e $spill, 'at the shutdown they are kept in a file');
is(() = slurp_file($spill) =~ /^[0-9A-F]{8} \{/mg, 300, 'one line each');
is((stat $spill)[2] & 077, 0, 'which nobody else can read');

# A line that a crash has cut, and a record that is there twice.
my ($line) = slurp_file($spill) =~ /^([0-9A-F]{8} \{.*\})$/m;
append_to_file($spill, "\n$line\n\n" . substr($line, 0, 100));
$node->start;
LlmRouterTest::sql($node, q(ROLLBACK PREPARED 'lock'));
LedgerTest::has_rows($node, 'kept', 'ok', 300, 'after the start they are written, each once');
LlmRouterTest::wait_until('no spill file', sub { !-e $spill });
is(LlmRouterTest::sql($node, q(SELECT DISTINCT tags->>'a' FROM llm_usage_logs WHERE user_id = 'kept')), "ä\"\n", 'as they were');
like(slurp_file($node->logfile), qr/LOG:  llm_router: damaged line in "llm_router\/$oid.spill"/, 'a damaged line is logged');
LedgerTest::rollup_is_sum_of_log($node, 'postgres', 'the rollup is the sum of the log');

# One that is refused goes to quarantine from there, too.
LlmRouterTest::sql($node, q(ALTER TABLE llm_usage_logs ADD CONSTRAINT known CHECK (user_id <> 'refused')));
LlmRouterTest::sql($node, q(BEGIN; LOCK llm_usage_logs IN ACCESS EXCLUSIVE MODE; PREPARE TRANSACTION 'lock'));
LlmRouterTest::sql($node, LedgerTest::call('later') . '; ' . LedgerTest::call('refused'));
$node->stop('fast');
$node->start;
LlmRouterTest::sql($node, q(ROLLBACK PREPARED 'lock'));
LedgerTest::has_rows($node, 'later', 'ok', 1, 'a good record of the file becomes a row');
LlmRouterTest::wait_for_sql($node, q(SELECT string_agg(record->>'user_id', ',') FROM llm_usage_quarantine), 'refused');
pass('a refused one goes to quarantine');

$node->stop;
done_testing();

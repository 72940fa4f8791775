# The spend of a call outlives whatever happens to its transaction.
use strict;
use warnings;

use LedgerTest;
use LlmRouterTest;
use Test::More;

my $node = LedgerTest::start_node('main', conf => "max_prepared_transactions = 2\n");

# A call with its row.
my $id = LlmRouterTest::sql($node, LedgerTest::call('plain', tags => '{"team": "a"}'));
is(LlmRouterTest::sql($node, "SELECT total_cost, price_input, input_tokens, output_tokens, cost_source, status, tags->>'team', attempts, is_final FROM llm_usage_logs WHERE request_id = '$id'"),
	'1.000000000000000|1.000000000000|1000|7|prices|ok|a|1|t', 'an answer has its row when it is given');

# Ends of transactions.
LlmRouterTest::sql($node, 'BEGIN; ' . LedgerTest::call('rollback') . '; ROLLBACK');
LedgerTest::has_rows($node, 'rollback', 'ok', 1, 'ROLLBACK keeps the row');

LlmRouterTest::sql($node, 'BEGIN READ ONLY; ' . LedgerTest::call('readonly') . '; COMMIT');
LedgerTest::has_rows($node, 'readonly', 'ok', 1, 'a READ ONLY transaction has its row');

LlmRouterTest::sql($node, 'BEGIN; ' . LedgerTest::call('prepared') . q(; PREPARE TRANSACTION 'p'));
LedgerTest::has_rows($node, 'prepared', 'ok', 1, 'PREPARE TRANSACTION works and the row is there');
LlmRouterTest::sql($node, q(ROLLBACK PREPARED 'p'));
LedgerTest::has_rows($node, 'prepared', 'ok', 1, 'ROLLBACK PREPARED keeps the row');

LlmRouterTest::sql($node, 'BEGIN ISOLATION LEVEL SERIALIZABLE; ' . LedgerTest::call('serializable') . '; COMMIT');
LedgerTest::has_rows($node, 'serializable', 'ok', 1, 'a SERIALIZABLE transaction has its row');

LlmRouterTest::sql($node, 'DO $$ BEGIN PERFORM ledger_test_call(\'savepoint\', 0, NULL, NULL); PERFORM 1/0; EXCEPTION WHEN division_by_zero THEN NULL; END $$');
LedgerTest::has_rows($node, 'savepoint', 'ok', 1, 'a rolled back subtransaction keeps the row');

# The database's own settings do not reach the writer.
LlmRouterTest::sql($node, 'ALTER DATABASE postgres SET default_transaction_read_only = on; ALTER DATABASE postgres SET statement_timeout = 1');
LlmRouterTest::sql($node, "SET statement_timeout = 0; SELECT pg_terminate_backend(writer_pid) FROM llm_status WHERE database = 'postgres'");
LlmRouterTest::sql($node, 'SET statement_timeout = 0; ' . LedgerTest::call('settings'));
LlmRouterTest::sql($node, 'SET default_transaction_read_only = off; SET statement_timeout = 0; ALTER DATABASE postgres RESET ALL');
LedgerTest::has_rows($node, 'settings', 'ok', 1, 'a database that is read only by default has its row');

# Calls that are cut off.
my ($state) = LlmRouterTest::sql_error($node, q(SET statement_timeout = '200ms'; ) . LedgerTest::call('timeout', duration => 60000));
is($state, '57014', 'statement_timeout ends the call');
LedgerTest::has_rows($node, 'timeout', 'cancelled', 1, 'statement_timeout leaves a cancelled row');

my ($process, $pid) = LedgerTest::start_session($node, 'cancel', LedgerTest::call('cancel', duration => 60000));
LedgerTest::wait_for_open_calls($node, 1);
LlmRouterTest::sql($node, "SELECT pg_cancel_backend($pid)");
LedgerTest::has_rows($node, 'cancel', 'cancelled', 1, 'a cancelled call leaves a cancelled row');
LlmRouterTest::wait_for_exit($process);

($process, $pid) = LedgerTest::start_session($node, 'terminate', LedgerTest::call('terminate', duration => 60000));
LedgerTest::wait_for_open_calls($node, 1);
LlmRouterTest::sql($node, "SELECT pg_terminate_backend($pid)");
LedgerTest::has_rows($node, 'terminate', 'cancelled', 1, 'a terminated session leaves a cancelled row');
LlmRouterTest::wait_for_exit($process);
is(LlmRouterTest::sql($node, "SELECT total_cost IS NULL AND cost_source = 'unknown' FROM llm_usage_logs WHERE user_id = 'terminate'"),
	't', 'whose cost is unknown');

LlmRouterTest::sql($node, q(ALTER SYSTEM SET client_connection_check_interval = '50ms'));
$node->reload;
($process, $pid) = LedgerTest::start_session($node, 'gone', LedgerTest::call('gone', duration => 60000));
LedgerTest::wait_for_open_calls($node, 1);
LlmRouterTest::stop_process($process, 'KILL');
LedgerTest::has_rows($node, 'gone', 'cancelled', 1, 'a client that dies leaves a cancelled row');

# Tickets.
LlmRouterTest::sql($node, 'SELECT ledger_test_settle_twice()');
LedgerTest::has_rows($node, 'twice', 'ok', 1, 'a ticket that is settled twice makes one row');
LlmRouterTest::sql($node, 'SELECT ledger_test_release()');
LlmRouterTest::sql($node, LedgerTest::call('after'));
LedgerTest::has_rows($node, 'released', 'ok', 0, 'a ticket without an attempt makes none');

LlmRouterTest::sql($node, 'SET llm_router.ledger_wait = off; ' . LedgerTest::call('nowait') . ' FROM generate_series(1, 100)');
LedgerTest::has_rows($node, 'nowait', 'ok', 100, 'without ledger_wait the rows come as well');

my $long = '{"a": "' . ('x' x 8000) . '"}';
LlmRouterTest::sql($node, LedgerTest::call('long', tags => $long));
is(LlmRouterTest::sql($node, "SELECT length(tags->>'a') FROM llm_usage_logs WHERE user_id = 'long'"), 8000, 'long tags arrive whole');

LedgerTest::wait_until_settled($node);
is(LlmRouterTest::sql($node, 'SELECT ring_used_bytes FROM llm_status LIMIT 1'), 0, 'no room is left taken');
LedgerTest::rollup_is_sum_of_log($node, 'postgres', 'the rollup is the sum of the log');

$node->stop;
done_testing();

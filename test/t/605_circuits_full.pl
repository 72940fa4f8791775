# The table of circuits: what happens when it is full, and what it costs.
use strict;
use warnings;

use File::Copy qw(copy);
use LlmRouterTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = LlmRouterTest::start_node('circuits_full', conf => "llm_router.circuit_failures = 5\n");
my $project = LlmRouterTest::project();
sub sql { return LlmRouterTest::sql($node, shift) }

my $directory = PostgreSQL::Test::Utils::tempdir();
copy("test/modules/circuits/$_", $directory) or die "$_: $!" foreach 'Makefile', 'circuits_test.c';
system_or_bail('make', '-s', '-C', $directory, 'PG_CONFIG=' . ($ENV{PG_CONFIG} // 'pg_config'), "LLM_ROUTER_SRC=$project/src");
my $module = "$directory/llm_router_circuits_test";
sql(<<"SQL");
CREATE FUNCTION test_circuits_note(int, text) RETURNS void LANGUAGE c AS '$module';
CREATE FUNCTION test_circuits_state(int) RETURNS text LANGUAGE c AS '$module';
SQL
my $used = "SELECT circuits_used FROM llm_status WHERE database = 'postgres'";

sql("SELECT test_circuits_note(i, 'ok') FROM generate_series(1, 600) AS i");
is(sql($used), 0, 'answers leave no trace');

# 600 models fail once, then others ask for a pause, until the table is full.
sql("SELECT test_circuits_note(i, 'unavailable') FROM generate_series(1, 600) AS i");
is(sql($used), 601, 'a model that failed takes an entry, and its provider one');
is(sql('SELECT test_circuits_state(1)'), 'open, 600 failures', 'several models that fail open their provider');
sql("SELECT test_circuits_note(1, 'ok')");
is(sql('SELECT test_circuits_state(1)'), 'closed, 0 failures', 'an answer closes it');

sql("SELECT test_circuits_note(i, 'rate_limited') FROM generate_series(1001, 2023) AS i");
is(sql($used), 1024, 'the table is full');
is(sql('SELECT test_circuits_state(2)'), 'closed, 0 failures', 'who only failed has given way');
is(sql("SELECT count(*) FROM generate_series(1001, 2023) AS i WHERE test_circuits_state(i) ~ 'open'"), 1023, 'to who is open');
sql("SELECT test_circuits_note(2024, 'rate_limited')");
is(sql('SELECT test_circuits_state(2024)'), 'open, 1 failures', 'the last place');
sql("SELECT test_circuits_note(2025, 'rate_limited')");
is(sql('SELECT test_circuits_state(2025)'), 'closed, 0 failures', 'where all are open a newcomer counts as closed');
is(sql($used), 1024, 'and takes no room');
is(sql("SELECT count(*) FROM generate_series(1001, 2024) AS i WHERE test_circuits_state(i) ~ 'open'"), 1024, 'nobody else is forgotten');

# A restart forgets all.
$node->restart;
is(sql($used), 0, 'after a restart there is none');
done_testing();

# The extension loads, is created and dropped, and the server stays well.
use strict;
use warnings;

use LlmRouterTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = LlmRouterTest::start_node('smoke');

is( LlmRouterTest::sql($node, 'SHOW shared_preload_libraries'),
	'llm_router', 'the library is preloaded');
my ($version) = slurp_file('llm_router.control') =~ /^default_version = '(.*)'/m;
is( LlmRouterTest::sql($node, "SELECT extversion FROM pg_extension WHERE extname = 'llm_router'"),
	$version, 'CREATE EXTENSION installs the version of the control file');
is( LlmRouterTest::sql($node, "SELECT count(*) > 0 FROM pg_proc WHERE proname LIKE 'llm\\_%'"),
	't', 'its functions are there');

LlmRouterTest::sql($node, 'DROP EXTENSION llm_router');
LlmRouterTest::sql($node, 'CREATE EXTENSION llm_router');
pass('the extension can be dropped and created again');

$node->restart;
is(LlmRouterTest::sql($node, 'SELECT 1'), '1', 'the server answers after a restart');

$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|FATAL:  (?!terminating)|was terminated by signal/, 'the log shows no crash');

done_testing();

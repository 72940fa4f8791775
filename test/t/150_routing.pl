# Routing: the table of doc/routing.md against the code, the order of a plan
# with users' keys, the time that a plan takes, and how processes hear of a
# changed configuration.
use strict;
use warnings;

use LlmRouterTest;
use PostgreSQL::Test::Utils;
use Test::More;

use Cwd qw(getcwd);
use File::Copy qw(copy);
use IPC::Run;

my $node = LlmRouterTest::start_node('routing');
my $project = getcwd();

sub sql { return LlmRouterTest::sql($node, shift) }

# The test module, built of the extension's sources.
my $directory = PostgreSQL::Test::Utils::tempdir();
copy("test/modules/routing/$_", $directory) or die "$_: $!" foreach 'Makefile', 'routing_test.c';
system_or_bail('make', '-s', '-C', $directory, 'PG_CONFIG=' . ($ENV{PG_CONFIG} // 'pg_config'), "LLM_ROUTER_SRC=$project/src");
my $module = "$directory/llm_router_routing_test";
sql(<<"SQL");
CREATE FUNCTION test_plan(int, int, byok text, user_keys int[], model text DEFAULT NULL) RETURNS text[] LANGUAGE c AS '$module';
CREATE FUNCTION test_plan_microseconds(int, int, int) RETURNS float8 LANGUAGE c AS '$module';
CREATE FUNCTION test_retry(outcome text, entries text[], tries int DEFAULT 1, retry_after_ms int DEFAULT -1,
	remaining_ms int DEFAULT 600000, attempts int DEFAULT 1, do_not_retry bool DEFAULT false, random float8 DEFAULT 0)
	RETURNS text LANGUAGE c AS '$module';
CREATE FUNCTION test_retry_walk(text[], text[]) RETURNS int[] LANGUAGE c AS '$module';
CREATE FUNCTION test_retry_sqlstate(text) RETURNS text LANGUAGE c AS '$module';
SQL

sub plan_is
{
	my ($arguments, $expected, $what) = @_;
	is(sql("SELECT array_to_string(test_plan($arguments), E'\\n')"), join("\n", @$expected), $what);
	return;
}

# Nine models at p0, p1, p2 in turn, three of them (m0, m1, m2) eco; p2 has no platform key.
plan_is("9, 2, 'prefer', '{}'",
	[ 'p0/m0 platform: rule 1 primary', 'p1/m1 platform: rule 1 fallback', 'p2/m2 not: no key for provider p2' ],
	'rule 1 primary, rule 1 fallback, then the excluded');
plan_is("9, 1, 'prefer', '{1}'",
	[ 'p1/m1 user: your own key at p1, rule 1 fallback', 'p0/m0 platform: rule 1 primary', 'p1/m1 platform: rule 1 fallback' ],
	'a user key comes first, with the platform key of the same model behind it');
plan_is("9, 1, 'prefer', '{2}'",
	[ 'p2/m2 user: your own key at p2', 'p0/m0 platform: rule 1 primary', 'p1/m1 platform: rule 1 fallback' ],
	'a user key brings in models that no rule names');
plan_is("9, 1, 'prefer', '{-1}'",
	[ 'p0/m0 platform: rule 1 primary', 'p1/m1 platform: rule 1 fallback' ],
	'a key that was stored for another address of the provider is not used');
plan_is("9, 1, 'prefer', '{-1,1}'",
	[ 'p1/m1 user: your own key at p1, rule 1 fallback', 'p0/m0 platform: rule 1 primary', 'p1/m1 platform: rule 1 fallback' ],
	'… and does not stand in the way of one that is');
plan_is("9, 1, 'only', '{1}'",
	[ 'p1/m1 user: your own key at p1, rule 1 fallback', 'p0/m0 not: no key of your own at p0, and byok is only' ],
	'byok only excludes what has no user key');
plan_is("9, 2, 'never', '{1,2}'",
	[ 'p0/m0 platform: rule 1 primary', 'p1/m1 platform: rule 1 fallback', 'p2/m2 not: no key for provider p2' ],
	'byok never ignores user keys');
plan_is("9, 0, 'prefer', '{}'",
	[ 'p0/m0 platform: other eco model, by price', 'p1/m1 platform: other eco model, by price', 'p2/m2 not: no key for provider p2' ],
	'without a rule all models of the level, by price');
plan_is("9, 1, 'prefer', '{1}', 'm4'",
	[ 'p1/m4 user: your own key at p1, named by the caller', 'p1/m4 platform: named by the caller' ],
	'a named model with both keys');

# doc/routing.md: one row an outcome.
my @rows = slurp_file('doc/routing.md') =~ /^\| (\w+) \| (\d(?:, if last)?) \| (any|other key|other key first|larger|none) \| (LR\d+) \|$/mg;
is(scalar @rows, 4 * 16, 'the table has every outcome but ok');
my %next = (any => 'next 1', 'other key' => 'next 2', 'other key first' => 'next 2', larger => 'next 3', none => 'give up');
while (my ($outcome, $retries, $next, $sqlstate) = splice(@rows, 0, 4))
{
	my ($count) = $retries =~ /^(\d)/;
	my $last = $retries =~ /if last/;
	my $others = "'{a 8000,a 8000,b 4000,c 9000}'";
	my $tries = $last ? 1 : $count + 1;
	if ($count > 0)
	{
		my $entries = $last ? "'{a 8000}'" : $others;
		like(sql("SELECT test_retry('$outcome', $entries, tries => $count)"), qr/^again after/,
			"$outcome: retried $count times");
		is(sql("SELECT test_retry('$outcome', '{a 8000}', tries => $count + 1)"), 'give up',
			"$outcome: not more often, and given up after the last candidate");
	}
	is(sql("SELECT test_retry('$outcome', $others, tries => $tries)"), $next{$next}, "$outcome: then $next");
	is(sql("SELECT test_retry('$outcome', '{a 8000}', tries => 3)"), 'give up', "$outcome: nothing left");
	is(sql("SELECT test_retry_sqlstate('$outcome')"), $sqlstate, "$outcome: $sqlstate");
}

# The rules around the table.
sub retry_is
{
	my ($arguments, $expected, $what) = @_;
	is(sql("SELECT test_retry($arguments)"), $expected, $what);
	return;
}
my $two = "'{a 1,b 1}'";
retry_is("'unavailable', $two, random => 0", 'again after 250', 'the first backoff is half fixed');
retry_is("'unavailable', $two, random => 0.999", 'again after 499', '... and half random');
retry_is("'unavailable', $two, tries => 2, random => 0", 'again after 500', 'the second is twice as long');
retry_is("'unavailable', $two, retry_after_ms => 8000", 'again after 8000', 'Retry-After counts instead');
retry_is("'unavailable', $two, retry_after_ms => 8001", 'next 1', 'a long Retry-After is not waited for while others are left');
retry_is("'rate_limited', $two, retry_after_ms => 10", 'next 1', 'a rate limit sends to the next candidate at once');
retry_is("'rate_limited', '{a 1}', retry_after_ms => 60000", 'again after 60000', 'the last candidate is waited for up to a minute');
retry_is("'rate_limited', '{a 1}', retry_after_ms => 60001", 'give up', '... and no longer');
retry_is("'rate_limited', '{a 1}', retry_after_ms => 5000, remaining_ms => 5000", 'give up', 'no wait beyond the deadline');
retry_is("'unavailable', $two, remaining_ms => 100", 'next 1', 'a backoff that does not fit: the next candidate');
retry_is("'unavailable', $two, remaining_ms => 0", 'give up', 'nothing after the deadline');
retry_is("'unavailable', $two, attempts => 10", 'give up', 'no more than max_attempts');
retry_is("'unavailable', $two, do_not_retry => true", 'next 1', 'x-should-retry: false means no retry');
retry_is("'not_permitted', '{a 1,a 1}'", 'next 1', 'without another key the next candidate is tried, if the key is good');
retry_is("'context_too_long', '{a 8000,b 0,c 8000,d 4000}'", 'give up', 'no window known to be larger');

# Which entries a call tries; a capital letter is the user's key at a provider, a small one the platform's.
sub walk_is
{
	my ($outcomes, $entries, $expected, $what) = @_;
	is(sql("SELECT test_retry_walk('{$outcomes}', '{$entries}')"), "{$expected}", $what);
	return;
}
walk_is('bad_key', 'A 1,A 1', '0', 'a refused key is not sent again, for another model either');
walk_is('bad_key,bad_key', 'A 1,A 1,a 1,a 1,b 1', '0,2,4', "the platform's key of the same provider is another");
walk_is('bad_key,unavailable,bad_key', 'A 1,B 1,A 1,B 1,a 1', '0,1,3,4', 'nor after something else went wrong');
walk_is('unusable_key,timeout', 'A 1,B 1,A 1', '0,1', 'a key that does not open is not tried again either');
walk_is('not_permitted,unavailable', 'A 1,A 1,a 1,A 1', '0,2,3', 'a key that may not do this may do something else');

# 500 models and 2,000 rules over 12 pairs of tier and level. The bound is for
# this test on a busy machine; the figure is printed.
my $microseconds = sql('SELECT min(test_plan_microseconds(500, 167, 2000)) FROM generate_series(1, 5)');
note("one plan with 500 models and 167 rules of its tier and level: $microseconds µs");
cmp_ok($microseconds, '<', 50, 'a plan over a large configuration takes microseconds');

# Changes of the configuration.
LlmRouterTest::sql($node, <<'SQL');
SELECT llm_provider_add('here', 'http://localhost:1/v1', auth_type => 'none');
SELECT llm_model_add('here', 'small', 'eco', 1, 1);
UPDATE llm_routing_rules SET model_id = llm_model_id('here', 'small'), fallback_model_id = NULL;
SQL
my $first = "SELECT provider || '/' || model FROM llm_route('[{\"role\":\"user\",\"content\":\"hi\"}]', 'eco') WHERE eligible";
my ($in, $out, $err) = ('', '', '');
my $handle = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres') ],
	'<', \$in, '>', \$out, '2>', \$err, IPC::Run::timeout(180));
my $number = 0;

# One statement in the long session; its output.
sub session
{
	my ($statement) = @_;
	my $mark = 'done ' . ++$number;
	$out = '';
	$in = "$statement;\n\\echo $mark\n";
	$handle->pump until $out =~ /\Q$mark\E\n/;
	my ($answer) = $out =~ /^(.*?)\n?\Q$mark\E\n/s;
	return $answer;
}

is(session($first), 'here/small', 'a session routes by the configuration');
sql("UPDATE llm_models SET model_name = 'tiny' WHERE model_name = 'small'");
is(session($first), 'here/tiny', 'a committed change counts with the next statement of another session');

session('BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY');
session('SELECT count(*) FROM llm_models');
sql("UPDATE llm_models SET model_name = 'wee' WHERE model_name = 'tiny'");
is(session($first), 'here/wee', 'also within a READ ONLY, REPEATABLE READ transaction that began before it');
session('COMMIT');

session('BEGIN; SAVEPOINT s');
session("UPDATE llm_models SET model_name = 'mine' WHERE model_name = 'wee'");
is(session($first), 'here/mine', 'a transaction sees its own change');
is(sql($first), 'here/wee', '... which others do not');
session('ROLLBACK TO s');
is(session($first), 'here/wee', '... and which is gone with its savepoint');
session('COMMIT');

session('SET client_min_messages = debug1');
session($first);
$err = '';
sql("UPDATE llm_providers SET health_status = 'healthy', response_time_ms = 5, last_success_at = now()");
session($first);
unlike($err, qr/loaded its configuration/, 'the result of a health check does not load it again');
sql("UPDATE llm_providers SET base_url = base_url || '/x' WHERE name = 'here'");
session($first);
like($err, qr/loaded its configuration/, 'a new base_url does');
session('RESET client_min_messages');

sql("INSERT INTO llm_users (user_id, subscription_tier, default_power_level) VALUES ('ann', 'professional', 'precision')");
session("SET llm_router.user_id = 'ann'");
my $any = $first =~ s/, 'eco'//r;
is(session("SELECT count(*) FROM ($any) AS x"), '1', "a user's default level");
sql("UPDATE llm_users SET subscription_tier = 'starter' WHERE user_id = 'ann'");
$err = '';
session($first =~ s/'eco'/'precision'/r);
like($err, qr/tier starter of user "ann" does not include power level precision; it includes eco, balanced/,
	'a change of a user counts with the next statement');
session('RESET llm_router.user_id');

sql('ALTER SCHEMA public RENAME TO renamed; CREATE SCHEMA public');
is(session("SET search_path = renamed; $first"), 'here/wee', 'a renamed schema changes nothing');
sql("UPDATE renamed.llm_models SET model_name = 'last' WHERE model_name = 'wee'");
is(session($first), 'here/last', '... and changes are heard of there');

session('DROP EXTENSION llm_router; CREATE EXTENSION llm_router SCHEMA public; SET search_path = public');
$err = '';
session($first);
is($err, '', 'the session goes on after DROP and CREATE EXTENSION');
like(session("SELECT count(*) > 0 FROM llm_route('[{\"role\":\"user\",\"content\":\"hi\"}]', 'eco')"),
	qr/t/, '... with the shipped configuration');
$in = "\\q\n";
$handle->finish;

done_testing();

# Who a session acts for, and what each identity sees. A role or a setting is
# the user; functions, savepoints, plans, parallel workers and poolers' resets
# change it when PostgreSQL's own rules do, and nothing else does.
use strict;
use warnings;

use LlmRouterTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $provider = LlmRouterTest::start_provider();
my $node = LlmRouterTest::start_node('identity');
LlmRouterTest::add_sim($node, $provider);

# Lines of all results of one session.
sub sql { return LlmRouterTest::sql($node, shift) }

sub refused
{
	my ($statements, $state, $message, $what) = @_;
	my ($got, $text) = LlmRouterTest::sql_error($node, $statements);
	is($got, $state, $what);
	like($text, $message, "... and says so") if defined $message;
	return;
}

# Roles: an end user's, an application's, and PostgREST's pair, of which "web"
# may do what a user may, and has no privilege to speak for anybody.
sql(<<'SQL');
CREATE ROLE ann LOGIN;
CREATE ROLE bob LOGIN;
CREATE ROLE app LOGIN;
CREATE ROLE web;
CREATE ROLE adm LOGIN;
CREATE ROLE nobody LOGIN;
SELECT llm_grant('ann', 'user'), llm_grant('bob', 'user'), llm_grant('web', 'user'), llm_grant('app', 'application'), llm_grant('adm', 'administrator');
GRANT web TO app;
SQL

subtest 'the user is the current role, else the setting' => sub {
	is(sql('SELECT llm_user_id(); SET ROLE ann; SELECT llm_user_id(); RESET ROLE; SELECT llm_user_id()'), "postgres\nann\npostgres", 'SET ROLE');
	is(sql('SET SESSION AUTHORIZATION bob; SELECT llm_user_id(); RESET SESSION AUTHORIZATION; SELECT llm_user_id()'), "bob\npostgres", 'SET SESSION AUTHORIZATION');
	is(sql(q(SET ROLE app; SET llm_router.user_id = 'u1'; SELECT llm_user_id(); SET ROLE web; SELECT llm_user_id())), "u1\nu1", 'the setting outlives SET ROLE');
	is(sql(q(SET ROLE app; SET llm_router.user_id = ''; SELECT llm_user_id())), 'app', 'an empty setting is the role');
	is(sql(q(SET ROLE app; SET llm_router.user_id = 'u1'; SET ROLE ann; RESET ALL; SELECT llm_user_id())), 'ann', 'RESET ALL makes it the role, whoever says it');
	is(sql(q(SET ROLE app; SET llm_router.user_id = 'u1'; DISCARD ALL; SELECT llm_user_id(), current_setting('llm_router.user_id') = '')), 'postgres|t', 'DISCARD ALL leaves nothing');
};

subtest 'SET LOCAL ends with its transaction, and its savepoint' => sub {
	foreach my $end ('COMMIT', 'ROLLBACK')
	{
		is(sql("SET ROLE app; BEGIN; SET LOCAL llm_router.user_id = 'u1'; SELECT llm_user_id(); $end; SELECT llm_user_id()"), "u1\napp", $end);
	}
	foreach my $set (q(SET LOCAL llm_router.user_id = 'u2'), q(SELECT FROM llm_set_user('u2')))
	{
		is(sql("SET ROLE app; BEGIN; SET LOCAL llm_router.user_id = 'u1'; SAVEPOINT s; $set; SELECT llm_user_id(); ROLLBACK TO s; SELECT llm_user_id(); COMMIT"),
			"u2\nu1", "ROLLBACK TO after $set");
		is(sql("SET ROLE app; BEGIN; SAVEPOINT s; $set; RELEASE s; SELECT llm_user_id(); COMMIT; SELECT llm_user_id()"),
			"u2\napp", "RELEASE after $set");
	}
};

subtest 'who may set it' => sub {
	refused(q(SET ROLE ann; SET llm_router.user_id = 'bob'), '42501', undef, 'a user may not SET');
	refused(q(SET ROLE ann; SELECT set_config('llm_router.user_id', 'bob', true)), '42501', undef, '... nor set_config');
	refused(q(SET ROLE ann; SELECT llm_set_user('bob')), '42501', qr/llm_set_user/, '... nor llm_set_user');
	refused(q(SET ROLE ann; SELECT llm_ask('x', options => '{"router": {"user_id": "bob"}}')), '42501', qr/may not speak/, '... nor options.router.user_id');
	refused(q(SET ROLE ann; ALTER ROLE ann SET llm_router.user_id = 'bob'), '42501', undef, '... nor ALTER ROLE');
	refused(q(SET ROLE ann; RESET llm_router.user_id), '42501', undef, '... nor RESET of it alone');
	refused(q(SET ROLE adm; SET llm_router.user_id = 'bob'), '42501', undef, 'an administrator may not either');
	refused(q(GRANT EXECUTE ON FUNCTION llm_set_user TO ann; SET ROLE ann; SELECT llm_set_user('bob')), '42501', qr/role "ann" may not speak for other users/,
		'EXECUTE on llm_set_user alone is not enough');
	sql('REVOKE EXECUTE ON FUNCTION llm_set_user FROM ann');
	foreach my $setting ('default_subscription_tier', 'default_end_user_tier')
	{
		refused("SET ROLE ann; SET llm_router.$setting = 'enterprise'", '42501', undef, "a user cannot SET $setting");
		refused("SET ROLE app; SET llm_router.$setting = 'enterprise'", '42501', undef, '... nor can an application');
	}
};

subtest 'llm_set_user' => sub {
	is(sql(q(SET ROLE app; BEGIN; SELECT FROM llm_set_user('u1'); SET LOCAL ROLE web; SELECT llm_user_id(), current_user; COMMIT; SELECT llm_user_id(), current_user)),
		"u1|web\napp|app", 'then SET LOCAL ROLE: to the end of the transaction');
	is(sql(q(SET ROLE app; SELECT FROM llm_set_user('u1'); SELECT llm_user_id())), "app", 'alone it lasts for its own statement only');
	is(sql(q(SET ROLE app; BEGIN; SELECT FROM llm_set_user('u1'); SELECT FROM llm_set_user(NULL); SELECT llm_user_id(); SELECT FROM llm_set_user('u2'); SELECT FROM llm_set_user('');
		SELECT llm_user_id())), "app\napp", 'NULL and empty are the role again');
	refused(q(SET ROLE app; BEGIN; SELECT llm_set_user('u1'); SET LOCAL ROLE web; SELECT llm_set_user('u2')), '42501', undef, 'not after SET LOCAL ROLE');
	refused(q(SET ROLE app; SELECT llm_set_user(repeat('x', 300))), '22023', qr/llm_router\.user_id/, 'a name that is too long');
	refused(q(SET ROLE app; SELECT llm_set_user(E'a\nb')), '22023', qr/llm_router\.user_id/, 'control characters');
	is(sql(q(SET ROLE app; BEGIN; SELECT FROM llm_set_user($$o'neill; "x" \ ü$$); SELECT llm_user_id())), qq(o'neill; "x" \\ ü), 'any other text, as it is');
};

# doc/access.md shows this function: PostgREST sets the role first, and then
# calls db-pre-request.
sql(<<'SQL');
CREATE SCHEMA api;
GRANT USAGE ON SCHEMA api TO web;
CREATE FUNCTION api.pre_request() RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
AS $$ SELECT llm_set_user(current_setting('request.jwt.claims', true)::pg_catalog.json ->> 'sub') $$;
ALTER FUNCTION api.pre_request() OWNER TO app;
REVOKE ALL ON FUNCTION api.pre_request() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION api.pre_request() TO web;
SQL

subtest 'PostgREST: the role first, then a function with its owner\'s rights' => sub {
	my $request = sub {
		my ($sub, $query) = @_;
		return qq(BEGIN; SET LOCAL ROLE web; SELECT FROM set_config('request.jwt.claims', '{"sub": $sub}', true); SELECT FROM api.pre_request(); $query; COMMIT;);
	};
	is(sql('SET SESSION AUTHORIZATION app; ' . $request->('"u1"', 'SELECT llm_user_id(), current_user') . $request->('"u2"', 'SELECT llm_user_id()')
		. $request->('null', 'SELECT llm_user_id()') . 'SELECT llm_user_id()'), "u1|web\nu2\nweb\napp", 'each request has its user, and none the one before');
	is(sql('SET SESSION AUTHORIZATION app; ' . $request->('"u1"', q(SELECT llm_ask('Hi', 'eco'))) . 'SELECT user_id, role_name FROM llm_usage_logs'),
		"You said: Hi", 'a call in a request; the application itself does not see it');
	is(sql('SELECT user_id, role_name FROM llm_usage_logs ORDER BY created_at DESC LIMIT 1'), 'u1|web', '... and its row in the ledger');
};

subtest 'in a SECURITY DEFINER function the role is its owner' => sub {
	sql(<<'SQL');
CREATE FUNCTION owned_user() RETURNS text LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS 'SELECT llm_user_id()';
CREATE FUNCTION owned_ask(text) RETURNS text LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS 'SELECT llm_ask($1, ''eco'')';
ALTER FUNCTION owned_user() OWNER TO bob;
ALTER FUNCTION owned_ask(text) OWNER TO bob;
SQL
	is(sql('SET ROLE ann; SELECT owned_user(), llm_user_id()'), 'bob|ann', 'without the setting it is the user');
	is(sql(q(SET llm_router.user_id = 'u1'; SET ROLE ann; SELECT owned_user(), llm_user_id())), 'u1|u1', 'with it the setting is');
	sql(q(SET ROLE ann; SELECT owned_ask('1')));
	is(sql('SELECT user_id, role_name FROM llm_usage_logs ORDER BY created_at DESC LIMIT 1'), 'bob|bob', 'the ledger names the owner');
	sql(q(SET llm_router.user_id = 'u1'; SET ROLE ann; SELECT owned_ask('2')));
	is(sql('SELECT user_id, role_name FROM llm_usage_logs ORDER BY created_at DESC LIMIT 1'), 'u1|bob', '... and the setting\'s user, if there is one');
	refused(q(SET ROLE ann; SET llm_router.user_id = 'u1'; SELECT owned_user()), '42501', undef, 'which the caller still cannot set');
};

subtest 'the ledger by row level security' => sub {
	sql(q(SET ROLE ann; SELECT llm_ask('1', 'eco'); SELECT llm_ask('2', 'eco')));
	sql(q(SET ROLE app; SELECT llm_ask('3', 'eco', options => '{"router": {"user_id": "u7"}}')));
	is(sql(q(SET ROLE ann; SELECT DISTINCT user_id FROM llm_usage_logs; SELECT count(*) FROM llm_usage_logs; SELECT user_id, sum(requests) FROM llm_usage_rollup GROUP BY 1)),
		"ann\n2\nann|2", 'a user sees the own rows');
	is(sql(q(SET ROLE ann; SELECT count(*) FROM llm_usage_logs WHERE user_id <> 'ann')), 0, '... and asked for others, none');
	is(sql(q(SET ROLE app; BEGIN; SET LOCAL llm_router.user_id = 'u7'; SELECT user_id, role_name FROM llm_usage_logs; COMMIT; SELECT count(*) FROM llm_usage_logs)),
		"u7|app\n0", 'an application that of whom it speaks for, and not all that it caused');
	is(sql('SET ROLE adm; SELECT count(DISTINCT user_id) > 3 FROM llm_usage_logs; SELECT count(DISTINCT user_id) > 3 FROM llm_usage_rollup'), "t\nt", 'an administrator sees all');
	refused(q(SET ROLE nobody; SELECT FROM llm_usage_logs), '42501', undef, 'without access nothing');
	# A function that the planner could be made to call before the policy.
	is(sql(<<'SQL'), 'ann', 'a leaky condition sees no row of others');
CREATE FUNCTION leak(text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS $$ BEGIN RAISE LOG 'leaked %', $1; RETURN true; END $$;
SET ROLE ann; SELECT DISTINCT user_id FROM llm_usage_logs WHERE leak(user_id);
SQL
	unlike(slurp_file($node->logfile), qr/LOG:  leaked (?!ann)/, '... not even in passing');
	foreach my $write ("INSERT INTO llm_usage_logs (user_id) VALUES ('ann')", 'UPDATE llm_usage_logs SET total_cost = 0', 'DELETE FROM llm_usage_logs', 'TRUNCATE llm_usage_rollup')
	{
		refused("SET ROLE $_; $write", '42501', undef, "$_ cannot $write") foreach 'ann', 'adm';
	}

	my @partitions = split /\n/, sql(q(SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'llm_usage_logs'::regclass));
	ok(@partitions > 0, 'there are partitions');
	is(sql(q(SELECT count(*) FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid WHERE inhparent = 'llm_usage_logs'::regclass
		AND (NOT relrowsecurity OR EXISTS (SELECT FROM aclexplode(relacl) x WHERE x.grantee <> relowner)))), 0, 'all with row level security and without a grant');
	foreach my $partition (@partitions)
	{
		refused("SET ROLE $_; SELECT FROM $partition", '42501', undef, "$_ cannot read $partition past its parent") foreach 'ann', 'app', 'adm';
		is(sql("GRANT SELECT ON $partition TO ann; SET ROLE ann; SELECT count(*) FROM $partition; RESET ROLE; REVOKE ALL ON $partition FROM ann"), 0, '... and sees nothing when it was granted');
	}
	refused("SET ROLE $_; SELECT FROM llm_usage_guard", '42501', undef, "$_ has no right on the guard") foreach 'ann', 'adm';
};

subtest 'keys and jobs by row level security' => sub {
	sql(<<'SQL');
INSERT INTO user_api_keys (user_id, provider_id, encrypted_api_key, base_url, masked_key)
  SELECT u, llm_provider_id('openai'), 'gAAAAAtest', 'https://api.openai.com/v1', '…' FROM unnest('{ann,bob,u1}'::text[]) AS u;
INSERT INTO llm_provider_keys (provider_id, encrypted_api_key, base_url) VALUES (llm_provider_id('openai'), 'gAAAAAtest', 'https://api.openai.com/v1');
INSERT INTO llm_jobs (user_id, role_name, messages) SELECT u, u, '[]' FROM unnest('{ann,bob,u1}'::text[]) AS u;
SQL
	my @tables = ('user_api_keys', 'llm_jobs', 'llm_provider_keys');
	foreach my $table (@tables)
	{
		refused("SET ROLE $_; SELECT FROM $table", '42501', undef, "$_ has no right on $table") foreach 'ann', 'app', 'adm';
		sql("GRANT ALL ON $table TO ann, app, adm");
	}
	foreach my $table ('user_api_keys', 'llm_jobs')
	{
		is(sql("SET ROLE ann; SELECT user_id FROM $table; SET ROLE adm; SELECT user_id FROM $table"), 'ann', "with a careless GRANT: own rows of $table, and of an administrator none");
		is(sql("SET ROLE app; SET llm_router.user_id = 'u1'; SELECT user_id FROM $table"), 'u1', '... or of the user spoken for');
		is(sql("SET ROLE ann; UPDATE $table SET user_id = 'ann'; DELETE FROM $table; RESET ROLE; SELECT count(*) FROM $table WHERE user_id = 'ann'"), 1, '... none to change');
	}
	refused(q(GRANT EXECUTE ON FUNCTION llm_require, llm_reject TO ann; SET ROLE ann; INSERT INTO llm_jobs (user_id, role_name, messages) VALUES ('ann', 'ann', '[]')),
		'42501', qr/row-level security/, '... none to add');
	is(sql('SET ROLE adm; SELECT count(*) FROM llm_provider_keys'), 0, 'and of the keys of providers nothing at all');
	sql("REVOKE ALL ON $_ FROM ann, app, adm") foreach @tables;
	sql('DELETE FROM llm_provider_keys; DELETE FROM user_api_keys');
};

subtest 'a prepared statement follows the identity' => sub {
	foreach my $mode ('force_generic_plan', 'force_custom_plan')
	{
		is(sql(<<"SQL"), "ann|2\nbob|1\nu7|1\nann|2", $mode);
SET plan_cache_mode = $mode;
PREPARE mine AS SELECT llm_user_id(), count(*) FROM llm_usage_logs WHERE role_name <> 'none' AND tags IS NULL AND (llm_user_id() <> 'bob' OR user_id = 'bob' AND llm_user_id() = role_name);
SET ROLE ann; EXECUTE mine; RESET ROLE;
SET ROLE bob; EXECUTE mine; RESET ROLE;
SET ROLE web; RESET ROLE; SET llm_router.user_id = 'u7'; SET ROLE web; EXECUTE mine; RESET ROLE; RESET llm_router.user_id;
SET ROLE ann; EXECUTE mine;
SQL
		is(sql(<<"SQL"), "u1\nu2\nweb", "... in a function, $mode");
SET plan_cache_mode = $mode;
CREATE OR REPLACE FUNCTION who() RETURNS text LANGUAGE plpgsql AS 'BEGIN RETURN llm_user_id(); END';
GRANT EXECUTE ON FUNCTION who TO web;
SET llm_router.user_id = 'u1'; SELECT who(); SET llm_router.user_id = 'u2'; SELECT who(); RESET llm_router.user_id; SET ROLE web; SELECT who();
SQL
	}
};

subtest 'parallel workers see the same rows' => sub {
	my $parallel = 'SET max_parallel_workers_per_gather = 2; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET enable_indexscan = off; SET enable_bitmapscan = off; ';
	is(sql("$parallel SET ROLE ann; SELECT count(*) FROM llm_usage_logs; SELECT count(*) FROM llm_usage_logs WHERE llm_user_id() = user_id"), "2\n2", 'of a role');
	is(sql("$parallel SET llm_router.user_id = 'u7'; SET ROLE ann; SELECT count(*) FROM llm_usage_logs; SELECT count(*) FROM llm_usage_logs WHERE llm_user_id() = user_id"), "1\n1", 'of the setting');
};

subtest 'llm_grant and llm_revoke' => sub {
	refused(q(SELECT llm_grant('no_such_role', 'user')), '42704', qr/role "no_such_role" does not exist/, 'an unknown role');
	is(sql(q(CREATE ROLE "Quoted, role"; SELECT llm_grant('"Quoted, role"', 'application'); SELECT llm_grant('"Quoted, role"', 'application');
		SET ROLE "Quoted, role"; SELECT llm_user_id())), "\n\nQuoted, role", 'twice, and to a name that needs quotes');
	is(sql(q(SELECT llm_revoke('"Quoted, role"', 'application'); SELECT llm_revoke('"Quoted, role"', 'application'))), "\n", 'revoked twice');
	refused(q(SET ROLE "Quoted, role"; SELECT llm_user_id()), '42501', undef, 'and gone');
	refused(q(SET ROLE adm; SELECT llm_grant('adm', 'application')), '42501', undef, 'an administrator cannot grant');

	sql('CREATE DATABASE elsewhere');
	is($node->safe_psql('elsewhere', q(CREATE SCHEMA "The router"; CREATE EXTENSION llm_router SCHEMA "The router"; SELECT "The router".llm_grant('bob', 'application');
		SET ROLE bob; SELECT "The router".llm_user_id(); SELECT count(*) FROM "The router".llm_usage_logs; BEGIN; SELECT FROM "The router".llm_set_user('u1'); SELECT "The router".llm_user_id())),
		"\nbob\n0\nu1", 'in a schema that is not in the search_path');
	sql('DROP DATABASE elsewhere');
	sql('REVOKE SET ON PARAMETER llm_router.user_id FROM bob');
};

subtest 'tiers' => sub {
	sql(q(SET llm_router.user_id = ''; INSERT INTO llm_users (user_id, subscription_tier, default_power_level) VALUES ('rich', 'enterprise', 'precision'), ('modest', 'starter', 'eco')));
	my $plan = q(SELECT DISTINCT model FROM llm_route('[{"role": "user", "content": "x"}]') WHERE eligible);
	is(sql("SET llm_router.user_id = 'rich'; $plan; SET llm_router.user_id = 'modest'; $plan"), "sim-precision\nsim-eco", 'each user has a default level');
	is(sql(q(SET ROLE app; SELECT llm_text(llm_chat('[{"role": "user", "content": "x"}]', 'precision', options => '{"router": {"user_id": "rich"}}')))), 'You said: x', 'options.router.user_id brings its tier');
	refused(q(SET ROLE app; SELECT llm_ask('x', 'precision', options => '{"router": {"user_id": "modest"}}')), 'LR008',
		qr/tier starter of user "modest" does not include power level precision; it includes eco, balanced/, '... and its limits');
	refused(q(SET ROLE app; SELECT llm_ask('x', 'precision', options => '{"router": {"user_id": "unknown"}}')), 'LR008', qr/tier free of user "unknown".*it includes eco/, 'an unknown end user is free');
	is(sql(q(SET ROLE app; SELECT llm_ask('x', 'precision'))), 'You said: x', 'a role without a row has default_subscription_tier');
	refused(q(SET llm_router.default_end_user_tier = 'starter'; SET llm_router.user_id = 'unknown'; SELECT llm_ask('x', 'precision')), 'LR008', qr/tier starter of user "unknown"/, 'default_end_user_tier');
	refused(q(SET llm_router.default_subscription_tier = 'free'; SET ROLE ann; SELECT llm_ask('x', 'precision')), 'LR008', qr/tier free of user "ann"/, 'default_subscription_tier');
};

subtest 'without preloading nobody is anybody' => sub {
	my $bare = LlmRouterTest::start_node('bare', conf => "shared_preload_libraries = ''\n", extension => 0);
	LlmRouterTest::sql($bare, q(CREATE EXTENSION llm_router; CREATE ROLE ann LOGIN; SELECT llm_grant('ann', 'user');
		CREATE TABLE llm_usage_all PARTITION OF llm_usage_logs DEFAULT; INSERT INTO llm_usage_logs (user_id, request_id, created_at) VALUES ('bob', gen_random_uuid(), now())));
	foreach my $query ('SELECT llm_user_id()', 'SELECT count(*) FROM llm_usage_logs', "SELECT llm_ask('x')")
	{
		my ($state) = LlmRouterTest::sql_error($bare, "SET SESSION AUTHORIZATION ann; SET llm_router.user_id = 'bob'; $query");
		is($state, 'LR010', "a forged setting has no effect on $query");
	}
	is((LlmRouterTest::sql_error($bare, "SELECT llm_set_user('bob')"))[0], 'LR010', 'llm_set_user neither');
	$bare->stop;
};

done_testing();

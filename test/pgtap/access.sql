-- llm_grant and llm_revoke: what each kind of access allows, and what none does.

BEGIN;
SELECT plan(37);

CREATE ROLE llm_test_nobody;
CREATE ROLE llm_test_user;
CREATE ROLE llm_test_application;
CREATE ROLE llm_test_administrator;
GRANT USAGE ON SCHEMA public TO llm_test_nobody;

SELECT lives_ok($$ SELECT llm_grant('llm_test_user', 'user') $$, 'user can be granted');
SELECT lives_ok($$ SELECT llm_grant('llm_test_application', 'application') $$, 'application can be granted');
SELECT lives_ok($$ SELECT llm_grant('llm_test_administrator', 'administrator') $$, 'administrator can be granted');
SELECT throws_ok($$ SELECT llm_grant('llm_test_user', 'superuser') $$, '22023', 'unknown access "superuser"', 'other kinds are refused');
SELECT throws_ok($$ SELECT llm_revoke('llm_test_user', 'superuser') $$, '22023', 'unknown access "superuser"', '… also to revoke');

SELECT ok(has_parameter_privilege('llm_test_application', 'llm_router.user_id', 'SET'), 'an application may speak for users');
SELECT ok(NOT has_parameter_privilege('llm_test_user', 'llm_router.user_id', 'SET'), '… a user may not');

SET LOCAL ROLE llm_test_nobody;
SELECT throws_ok('SELECT * FROM llm_power_levels', '42501', NULL, 'without access not even the power levels show');
SELECT throws_ok($$ SELECT llm_provider_add('x', 'https://example.com') $$, '42501', NULL, '… and no function may be called');

SET LOCAL ROLE llm_test_user;
SELECT lives_ok('SELECT * FROM llm_power_levels', 'a user sees the power levels');
SELECT throws_ok('SELECT * FROM llm_providers', '42501', NULL, '… but no configuration');
SELECT throws_ok($$ SELECT llm_grant('llm_test_user', 'administrator') $$, '42501', NULL, '… and cannot grant');

SET LOCAL ROLE llm_test_administrator;
SELECT lives_ok($$
	SELECT llm_provider_add('x', 'https://example.com', auth_type => 'none');
	SELECT llm_model_add('x', 'y', 'eco', 1, 2);
	SELECT llm_model_set_price('x', 'y', 3, 4);
	INSERT INTO llm_routing_rules (power_level, subscription_tier, priority, model_id) VALUES ('eco', 'free', 99, llm_model_id('x', 'y'));
	INSERT INTO llm_users (user_id) VALUES ('ann');
	INSERT INTO llm_budgets (scope, period, limit_usd) VALUES ('total', 'day', 1);
	UPDATE llm_tiers SET requests_per_minute = 1;
	DELETE FROM llm_providers WHERE name = 'x';
$$, 'an administrator manages the configuration');
SELECT throws_ok($$ SELECT llm_model_set_price('openai', 'gpt-9', 1, 2) $$, '22023', NULL, '… and sees the helpers'' messages');
SELECT throws_ok('SELECT * FROM llm_provider_keys', '42501', NULL, '… but never the keys of providers');
SELECT throws_ok('SELECT * FROM user_api_keys', '42501', NULL, '… nor those of users');
SELECT throws_ok('SELECT * FROM llm_jobs', '42501', NULL, '… nor prompts');
SELECT throws_ok('INSERT INTO llm_install DEFAULT VALUES', '42501', NULL, '… and cannot start a restore');
RESET ROLE;

-- Row level security of the ledger
CREATE TABLE llm_test_partition PARTITION OF llm_usage_logs DEFAULT;
INSERT INTO llm_usage_logs (request_id, user_id, created_at) VALUES (gen_random_uuid(), 'ann', now());
SET LOCAL ROLE llm_test_administrator;
SELECT is((SELECT count(*) FROM llm_usage_logs), 1::bigint, 'an administrator sees all usage');
RESET ROLE;
GRANT SELECT ON llm_usage_logs, user_api_keys TO llm_test_user;
INSERT INTO user_api_keys (user_id, provider_id, encrypted_api_key, base_url, masked_key)
VALUES ('ann', llm_provider_id('openai'), 'gAAAAAtest', 'https://api.openai.com/v1', '…');
SET LOCAL ROLE llm_test_user;
SELECT is((SELECT count(*) FROM llm_usage_logs) + (SELECT count(*) FROM user_api_keys), 0::bigint,
	'row level security hides the ledger and keys even after a careless GRANT');
RESET ROLE;

SELECT llm_revoke('llm_test_administrator', 'administrator');
SELECT llm_revoke('llm_test_application', 'application');
SELECT is_empty($$
	SELECT c.relname FROM pg_class c, aclexplode(c.relacl) x WHERE x.grantee IN ('llm_test_administrator'::regrole, 'llm_test_application'::regrole)
	UNION ALL
	SELECT p.proname FROM pg_proc p, aclexplode(p.proacl) x WHERE x.grantee IN ('llm_test_administrator'::regrole, 'llm_test_application'::regrole)
$$, 'llm_revoke takes back every object');
SELECT ok(NOT has_parameter_privilege('llm_test_application', 'llm_router.user_id', 'SET'), '… and speaking for users');

-- Two kinds of access at once: what one leaves is what the other alone would give.
CREATE ROLE llm_test_both;
CREATE ROLE llm_test_alone;
CREATE FUNCTION pg_temp.privileges(role regrole) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT concat_ws(' ', c.relname, x.privilege_type) FROM pg_class c, aclexplode(c.relacl) x WHERE x.grantee = role
	UNION ALL
	SELECT concat_ws(' ', p.oid::regprocedure, x.privilege_type) FROM pg_proc p, aclexplode(p.proacl) x WHERE x.grantee = role
	UNION ALL
	SELECT 'SET' WHERE has_parameter_privilege(role, 'llm_router.user_id', 'SET')
$$;
CREATE FUNCTION pg_temp.left_is(one text, other text, remaining text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM llm_grant('llm_test_both', one), llm_grant('llm_test_both', other), llm_grant('llm_test_alone', remaining);
	PERFORM llm_revoke('llm_test_both', one);
	RETURN NEXT set_eq($q$ SELECT pg_temp.privileges('llm_test_both') $q$, $q$ SELECT pg_temp.privileges('llm_test_alone') $q$,
		format('%s without %s', other, one));
	PERFORM llm_revoke('llm_test_both', other);
	RETURN NEXT is_empty($q$ SELECT pg_temp.privileges('llm_test_both') $q$, format('%s, then %s, taken back leave nothing', one, other));
	PERFORM llm_revoke('llm_test_alone', remaining);
END $$;
SELECT pg_temp.left_is('user', 'administrator', 'administrator');
SELECT pg_temp.left_is('administrator', 'user', 'user');
SELECT pg_temp.left_is('application', 'administrator', 'administrator');
SELECT pg_temp.left_is('administrator', 'application', 'application');
SELECT pg_temp.left_is('user', 'application', 'application');
-- Nobody can tell whether it was given user apart from application.
SELECT llm_grant('llm_test_both', 'user'), llm_grant('llm_test_both', 'application');
SELECT llm_revoke('llm_test_both', 'application');
SELECT is_empty($$ SELECT pg_temp.privileges('llm_test_both') $$, 'application includes user');
SELECT lives_ok($$ SELECT llm_revoke('llm_test_both', 'user') $$, 'what a role does not have can be taken back');
SELECT llm_grant('llm_test_both', kind), llm_grant('llm_test_alone', kind) FROM unnest('{user,administrator}'::text[]) AS kind;
SELECT llm_grant('llm_test_both', 'application');
SELECT llm_revoke('llm_test_both', 'user');
SELECT set_eq($$ SELECT llm_access_kinds('llm_test_both') $$, '{user,application,administrator}'::text[], 'user stays where there is application');
SELECT llm_revoke('llm_test_both', 'administrator'), llm_revoke('llm_test_alone', 'administrator');
SELECT ok(has_function_privilege('llm_test_both', 'llm_set_user(text)', 'EXECUTE'), 'the last of three kinds stays');
SELECT set_eq($$ SELECT llm_access_kinds('llm_test_alone') $$, '{user}'::text[], '… and the last of two');

SELECT * FROM finish();
ROLLBACK;

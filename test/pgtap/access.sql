-- llm_grant and llm_revoke: what each kind of access allows, and what none does.

BEGIN;
SELECT plan(22);

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

SELECT * FROM finish();
ROLLBACK;

-- llm_audit_logs: an entry for every change of the configuration and of access, by
-- whom and for whom, and nobody changes an entry.

BEGIN;
SELECT plan(38);

CREATE ROLE llm_test_administrator;
CREATE ROLE llm_test_careless;
SELECT llm_grant('llm_test_administrator', 'administrator');

-- The entries since the last look, in the order of their writing.
CREATE TEMP TABLE seen (id bigint);
INSERT INTO seen VALUES (0);
CREATE FUNCTION pg_temp.news() RETURNS TABLE (action text, object text, detail jsonb)
LANGUAGE sql AS $$
	WITH old AS (SELECT max(id) AS id FROM seen),
		 note AS (INSERT INTO seen SELECT coalesce(max(l.id), 0) FROM llm_audit_logs l)
	SELECT l.action, l.object, l.detail FROM llm_audit_logs l, old WHERE l.id > old.id ORDER BY l.id
$$;
CREATE FUNCTION pg_temp.brief() RETURNS text
LANGUAGE sql AS $$ SELECT string_agg(action || ' ' || coalesce(object, '-'), ', ') FROM pg_temp.news() $$;

SELECT is(pg_temp.brief(), 'access.grant llm_test_administrator',
	'nothing but the grant: the seed rows of CREATE EXTENSION are no change of an operator''s');

-- Who
SELECT set_eq($$ SELECT actor = current_user::text, user_id FROM llm_audit_logs $$, $$ VALUES (true, NULL::text) $$, 'actor is the role; no user');
SET LOCAL llm_router.user_id = 'ann';
SET LOCAL ROLE llm_test_administrator;
INSERT INTO llm_tiers (subscription_tier, power_levels, requests_per_minute) VALUES ('gold', '{eco}', 5);
RESET ROLE;
SELECT results_eq($$ SELECT actor, user_id, detail ->> 'session_user' = session_user FROM llm_audit_logs ORDER BY id DESC LIMIT 1 $$,
	$$ VALUES ('llm_test_administrator', 'ann', true) $$, 'actor is the role chosen with SET ROLE, with the session''s beside it, and the user that it acts for');
RESET llm_router.user_id;

-- Tiers
SELECT results_eq('SELECT action, object, detail - ''session_user'' FROM pg_temp.news()',
	$$ VALUES ('tier.add', 'gold', '{"subscription_tier": "gold", "power_levels": ["eco"], "requests_per_minute": 5}'::jsonb) $$, 'tier.add has the new values');
UPDATE llm_tiers SET power_levels = '{eco,balanced}', requests_per_minute = NULL WHERE subscription_tier = 'gold';
SELECT results_eq('SELECT * FROM pg_temp.news()',
	$$ VALUES ('tier.update', 'gold', '{"changed": {"power_levels": [["eco"], ["eco", "balanced"]], "requests_per_minute": [5, null]}}'::jsonb) $$,
	'tier.update has the old and the new value of what changed');
UPDATE llm_tiers SET power_levels = power_levels;
SELECT is_empty('SELECT * FROM pg_temp.news()', 'an UPDATE that changes nothing is none');

-- Providers
SELECT llm_provider_add('local', 'http://localhost:8080/v1');
SELECT results_eq('SELECT action, object, detail ->> ''base_url'', detail ? ''created_at'', detail ? ''health_status'' FROM pg_temp.news()',
	$$ VALUES ('provider.add', 'local', 'http://localhost:8080/v1', false, false) $$, 'provider.add');
UPDATE llm_providers SET base_url = 'http://localhost:8081/v1' WHERE name = 'local';
SELECT results_eq('SELECT * FROM pg_temp.news()',
	$$ VALUES ('provider.update', 'local', '{"changed": {"base_url": ["http://localhost:8080/v1", "http://localhost:8081/v1"]}}'::jsonb) $$, 'provider.update');
UPDATE llm_providers SET health_status = 'down', response_time_ms = 7, uptime_percentage = 1, error_rate = 2, last_success_at = now();
SELECT is_empty('SELECT * FROM pg_temp.news()', 'what health checks write is not audited');
UPDATE llm_providers SET health_status = 'healthy', enabled = false WHERE name = 'local';
SELECT results_eq('SELECT * FROM pg_temp.news()',
	$$ VALUES ('provider.update', 'local', '{"changed": {"enabled": [true, false]}}'::jsonb) $$, '… nor told beside a change');
UPDATE llm_providers SET request_rules = '{"max_n": 1, "headers": {"X-Gateway": "secret-1"}, "query": {"code": "secret-2"}}' WHERE name = 'local';
SELECT results_eq('SELECT * FROM pg_temp.news()',
	$$ VALUES ('provider.update', 'local', '{"changed": {"request_rules": [{}, {"max_n": 1, "headers": ["X-Gateway"], "query": ["code"]}]}}'::jsonb) $$,
	'headers and parameters are told by name only');
UPDATE llm_providers SET request_rules = '{"max_n": 1, "headers": {"X-Gateway": "secret-3"}}' WHERE name = 'local';
SELECT is((SELECT detail #>> '{changed,request_rules,1,headers,0}' FROM pg_temp.news()), 'X-Gateway', '… also when only a value changed');

-- Models, rules, users, budgets
SELECT llm_model_add('local', 'tiny', 'eco', 1, 2);
SELECT llm_model_set_price('local', 'tiny', 3, 4);
SELECT results_eq('SELECT action, object, detail #> ''{changed,cost_per_1k_input_tokens}'' FROM pg_temp.news()',
	$$ VALUES ('model.add', 'local/tiny', NULL), ('model.update', 'local/tiny', '[0.001, 0.003]'::jsonb) $$, 'model.add and model.update');
INSERT INTO llm_routing_rules (power_level, subscription_tier, priority, model_id) VALUES ('eco', 'gold', 3, llm_model_id('local', 'tiny'));
UPDATE llm_routing_rules SET priority = 4 WHERE subscription_tier = 'gold';
DELETE FROM llm_routing_rules WHERE subscription_tier = 'gold';
SELECT is(pg_temp.brief(), 'rule.add eco/gold/3, rule.update eco/gold/4, rule.delete eco/gold/4', 'rule.add, rule.update, rule.delete');
INSERT INTO llm_users (user_id, subscription_tier) VALUES ('ben', 'gold');
UPDATE llm_users SET byok = 'only' WHERE user_id = 'ben';
DELETE FROM llm_users WHERE user_id = 'ben';
SELECT is(pg_temp.brief(), 'user.add ben, user.update ben, user.delete ben', 'user.add, user.update, user.delete');
INSERT INTO llm_budgets (scope, period, limit_usd) VALUES ('total', 'month', 5);
INSERT INTO llm_budgets (scope, scope_value, period, limit_usd) VALUES ('user', 'ben', 'day', 1);
UPDATE llm_budgets SET limit_usd = 6 WHERE scope = 'total';
DELETE FROM llm_budgets;
SELECT is(pg_temp.brief(), 'budget.add total/month, budget.add user/ben/day, budget.update total/month, budget.delete user/ben/day, budget.delete total/month',
	'budget.add, budget.update, budget.delete');
DELETE FROM llm_models WHERE model_name = 'tiny';
DELETE FROM llm_tiers WHERE subscription_tier = 'gold';
SELECT is(pg_temp.brief(), 'model.delete local/tiny, tier.delete gold', 'model.delete and tier.delete');

-- A provider with all that goes with it
SELECT llm_model_add('local', 'small', 'eco', 1, 2);
INSERT INTO llm_provider_keys (provider_id, encrypted_api_key, base_url) VALUES (llm_provider_id('local'), 'gAAAAAtest', 'http://localhost:8081/v1');
INSERT INTO user_api_keys (user_id, provider_id, encrypted_api_key, base_url, masked_key, key_name)
SELECT 'ann', llm_provider_id('local'), 'gAAAAAtest' || i, 'http://localhost:8081/v1', '…', i::text FROM generate_series(1, 3) AS i;
SELECT pg_temp.brief() \g /dev/null
SET LOCAL ROLE llm_test_administrator;
DELETE FROM llm_providers WHERE name = 'local';
RESET ROLE;
SELECT set_eq('SELECT DISTINCT actor FROM llm_audit_logs WHERE id > (SELECT max(id) FROM seen)', ARRAY['llm_test_administrator'],
	'the cascade is told of who deleted the provider');
SELECT results_eq('SELECT action, regexp_replace(object, ''\d+'', ''N''), detail -> ''models'', detail -> ''provider_keys'', detail -> ''user_keys'' FROM pg_temp.news()',
	$$ VALUES ('provider.delete', 'local', '1'::jsonb, '1'::jsonb, '3'::jsonb), ('model.delete', '#N/small', NULL, NULL, NULL) $$,
	'provider.delete counts the models and keys that went with it');

-- A function that is somebody else's does not hide who acts.
CREATE FUNCTION pg_temp.change() RETURNS void LANGUAGE sql SECURITY DEFINER
AS $$ UPDATE public.llm_tiers SET requests_per_minute = 77 WHERE subscription_tier = 'free' $$;
GRANT EXECUTE ON FUNCTION pg_temp.change() TO llm_test_careless;
SET LOCAL ROLE llm_test_careless;
SELECT pg_temp.change();
RESET ROLE;
SELECT is((SELECT actor FROM llm_audit_logs ORDER BY id DESC LIMIT 1), 'llm_test_careless', 'a SECURITY DEFINER function does not hide who acts');

SAVEPOINT truncated;
SELECT pg_temp.brief() \g /dev/null
TRUNCATE llm_budgets;
SELECT results_eq('SELECT * FROM pg_temp.news()', $$ VALUES ('budget.delete', NULL::text, '{"all": true}'::jsonb) $$, 'TRUNCATE is a deletion of all');
ROLLBACK TO truncated;

-- Grants
SELECT pg_temp.brief() \g /dev/null
SELECT llm_grant('llm_test_careless', 'user');
SELECT llm_revoke('llm_test_careless', 'user');
SELECT results_eq('SELECT * FROM pg_temp.news()',
	$$ VALUES ('access.grant', 'llm_test_careless', '{"access": "user"}'::jsonb), ('access.revoke', 'llm_test_careless', '{"access": "user"}'::jsonb) $$,
	'access.grant and access.revoke');
SELECT throws_ok($$ SELECT llm_grant('llm_test_careless', 'everything') $$, '22023', NULL, 'a grant that fails');
SELECT is_empty('SELECT * FROM pg_temp.news()', '… leaves no entry');

-- Neither key nor secret
SELECT is_empty($$ SELECT * FROM llm_audit_logs l WHERE l::text ~ 'gAAAAA|secret-' $$, 'no entry holds a key or the value of a header');

-- Append-only
GRANT ALL ON llm_audit_logs, llm_audit_logs_id_seq TO llm_test_careless;
SET LOCAL ROLE llm_test_careless;
SELECT throws_ok($$ UPDATE llm_audit_logs SET actor = 'nobody' $$, '42501', 'role "llm_test_careless" may not change llm_audit_logs',
	'after a careless GRANT ALL there is no UPDATE');
SELECT throws_ok('DELETE FROM llm_audit_logs', '42501', 'role "llm_test_careless" may not change llm_audit_logs', '… no DELETE');
SELECT throws_ok('TRUNCATE llm_audit_logs', '42501', 'role "llm_test_careless" may not change llm_audit_logs', '… no TRUNCATE');
SELECT throws_ok($$ INSERT INTO llm_audit_logs (actor, action) VALUES ('somebody', 'tier.delete') $$, '42501',
	'role "llm_test_careless" may not change llm_audit_logs', '… and no forged entry');
SELECT throws_ok($$ MERGE INTO llm_audit_logs l USING (VALUES (1)) AS v (i) ON true WHEN MATCHED THEN DELETE $$, '42501',
	'role "llm_test_careless" may not change llm_audit_logs', '… by no statement');
RESET ROLE;
SET LOCAL ROLE llm_test_administrator;
SELECT lives_ok('SELECT * FROM llm_audit_logs', 'an administrator reads the entries');
SELECT throws_ok('DELETE FROM llm_audit_logs', '42501', NULL, '… and changes none');
SELECT throws_ok($$ SELECT llm_audit_write('tier.delete', 'free', '{}') $$, '42501', NULL, '… writes none');
SELECT throws_ok($$ SELECT llm_note_write('{}') $$, '42501', NULL, '… by no function');
SELECT throws_ok($$ SELECT llm_restore_session(true) $$, '42501', NULL, '… and does not keep changes out');
RESET ROLE;
SELECT lives_ok('DELETE FROM llm_audit_logs', 'the owner may delete');

-- Notes
SELECT llm_note_write('{"action": "access.refused", "actor": "x", "user_id": "ann", "object": "SET", "created_at": "2026-11-24T12:00:00.000001+00:00"}')
FROM generate_series(1, 2);
SELECT results_eq('SELECT action, actor, user_id, object, created_at FROM llm_audit_logs',
	$$ VALUES ('access.refused', 'x', 'ann', 'SET', '2026-11-24 12:00:00.000001+00'::timestamptz) $$, 'a note that comes twice is written once');
INSERT INTO user_api_keys (id, user_id, provider_id, encrypted_api_key, base_url, masked_key, key_name, checked_at)
SELECT i, 'ann', llm_provider_id('openai'), 'gAAAAAtoken' || i, 'https://api.openai.com/v1', '…', i::text, CASE i WHEN 903 THEN now() END
FROM generate_series(901, 903) AS i;
UPDATE user_api_keys SET encrypted_api_key = 'gAAAAAagain901' WHERE id = 901; -- encrypted again
SELECT llm_note_write(jsonb_build_object('action', 'byok.key.refused', 'actor', 'x', 'key_id', n.id, 'key_version', n.version,
	'detail', jsonb_build_object('refusal', 'HTTP status 401'), 'created_at', now() - interval '1 minute'))
FROM (VALUES (901, 1), (902, 0), (903, 1)) AS n (id, version);
SELECT results_eq('SELECT id, refusal, refused_at = now() - interval ''1 minute'', refused_at = checked_at FROM user_api_keys WHERE id > 900 AND refused_at IS NOT NULL',
	$$ VALUES (901::bigint, 'HTTP status 401', true, true) $$, 'a refused key is marked, but neither one that was replaced nor one that was checked since');

SELECT * FROM finish();
ROLLBACK;

-- Users' keys: adding, replacing, switching and deleting them, what is refused,
-- and that nobody sees or reaches another user's.

BEGIN;
SELECT plan(79);

SELECT llm_provider_add('dead', 'http://127.0.0.1:1/v1');
SELECT llm_provider_add('keyless', 'http://127.0.0.1:1/v1', auth_type => 'none');
SELECT llm_model_add('dead', 'model', 'eco', 1, 1);
CREATE ROLE llm_test_application;
SELECT llm_grant('llm_test_application', 'application');
SET ROLE llm_test_application;
SET LOCAL llm_router.user_id = 'ann';

-- What is refused, before anything is stored
SELECT throws_ok($$ SELECT llm_key_add('dead', 'sk one', validate => false) $$, '22023',
	'the API key has a space or a character that no key has', 'a space in a key is refused, and the key is not shown');
SELECT throws_ok($$ SELECT llm_key_add('dead', E'sk-\x01one', validate => false) $$, '22023',
	'the API key has a space or a character that no key has', 'so is a control character');
SELECT throws_ok($$ SELECT llm_key_add('dead', repeat('x', 1048576), validate => false) $$, '22023',
	'the API key is longer than 4096 bytes', 'a key of 1 MB too');
SELECT throws_ok($$ SELECT llm_key_add('dead', '', validate => false) $$, '22023', 'the API key is empty', 'an empty key too');
SELECT throws_ok($$ SELECT llm_key_add('dead', NULL, validate => false) $$, '22023', 'the API key is NULL', 'and none');
SELECT throws_ok($$ SELECT llm_key_add('deat', 'sk-one', validate => false) $$, '22023',
	'unknown provider "deat"', 'an unknown provider is refused');
SELECT throws_ok($$ SELECT llm_key_add(NULL, 'sk-one') $$, '22023', 'the provider is NULL', 'so is none');
SELECT throws_ok($$ SELECT llm_key_add('keyless', 'sk-one') $$, '22023', 'provider "keyless" takes no key',
	'a provider without authentication takes no key');
SELECT throws_ok($$ SELECT llm_key_add('dead', 'sk-one', '', false) $$, '23514',
	'the name of the key is empty, too long, or has control characters', 'an empty name is refused');
SELECT throws_ok($$ SELECT llm_key_add('dead', 'sk-one', repeat('n', 101), false) $$, '23514',
	'the name of the key is empty, too long, or has control characters', 'a long one too');
SELECT throws_ok($$ SELECT llm_key_add('dead', 'work', 'sk-ant-api03-0123456789abcdef', false) $$, '22023',
	'the name of the key looks like an API key', 'a key in the place of the name is not stored as a name');
SELECT throws_ok($$ SELECT llm_key_add('dead', 'work', 'work', false) $$, '22023',
	'the name of the key looks like an API key', '… nor is the key itself');
SELECT throws_ok($$ SELECT llm_key_add('dead', 'sk-one') $$, 'LR002',
	'provider "dead" cannot be asked about the key now', 'a provider that cannot be asked is an error of its own');
SELECT is_empty('SELECT * FROM llm_keys', 'nothing of that was stored');

-- What is stored
SELECT lives_ok($$ SELECT llm_key_add('dead', 'sk-ann-0123456789-wxyz', validate => false) $$, 'a key is stored');
SELECT throws_ok($$ SELECT llm_key_add('dead', 'sk-ann-two', validate => false) $$, '23505',
	'you have a key named "default" for provider "dead" already', 'a second one needs another name');
SELECT lives_ok($$ SELECT llm_key_add('dead', 'sk-short', 'second', false) $$, '… and may have one');
SELECT results_eq('SELECT provider, key_name, masked_key, is_active, status FROM llm_keys ORDER BY id',
	$$ VALUES ('dead', 'default', 'sk-...wxyz', true, 'usable'), ('dead', 'second', '...', true, 'usable') $$,
	'llm_keys shows first three and last four characters at most, and of a short key nothing');
SELECT throws_ok('SELECT * FROM user_api_keys', '42501', NULL, 'the table itself is closed');

-- Use
SELECT is((SELECT array_agg(used_byok ORDER BY position) FROM llm_route('[{"role": "user", "content": "Hi"}]', 'eco') WHERE provider = 'dead'),
	ARRAY[true], 'the key brings its provider''s models in');
SELECT is((SELECT used_byok FROM llm_route('[{"role": "user", "content": "Hi"}]', 'eco') WHERE position = 1), true, '… before others');
SELECT is_empty($$ SELECT FROM llm_route('[{"role": "user", "content": "Hi"}]', 'eco', options => '{"router": {"byok": "never"}}') WHERE used_byok $$,
	'byok never leaves it out');
SELECT is_empty($$ SELECT FROM llm_route('[{"role": "user", "content": "Hi"}]', 'eco', options => '{"router": {"byok": "only"}}') WHERE eligible AND NOT used_byok $$,
	'byok only leaves the platform''s out');

-- Changing
CREATE TEMP TABLE ids AS SELECT key_name, id FROM llm_keys;
SELECT lives_ok($$ SELECT llm_key_set_active(id, false) FROM ids $$, 'keys can be set aside');
SELECT results_eq('SELECT DISTINCT status FROM llm_keys', ARRAY['inactive'], '… and show it');
SELECT is_empty($$ SELECT FROM llm_route('[{"role": "user", "content": "Hi"}]', 'eco') WHERE used_byok $$, '… and are not used');
SELECT lives_ok($$ SELECT llm_key_set_active(id, true) FROM ids WHERE key_name = 'default' $$, 'and taken up again');
SELECT lives_ok($$ SELECT llm_key_update(id, 'sk-new-0123456789-abcd', false) FROM ids WHERE key_name = 'default' $$, 'a key can be replaced');
SELECT results_eq($$ SELECT masked_key FROM llm_keys WHERE key_name = 'default' $$, ARRAY['sk-...abcd'], '… by another');
SELECT throws_ok($$ SELECT llm_key_update(id, 'sk-x') FROM ids WHERE key_name = 'default' $$, 'LR002', NULL,
	'a key that cannot be checked does not replace it');
SELECT throws_ok($$ SELECT llm_key_update(NULL, 'sk-x') $$, '22023', 'the id of the key is NULL', 'an id is needed');
SELECT throws_ok($$ SELECT llm_key_set_active(id, NULL) FROM ids $$, '22023', 'active is NULL', '… and a state');
SELECT is((SELECT valid FROM llm_key_test('dead', 'sk-x')), NULL::boolean, 'llm_key_test does not know without an answer');

-- Somebody else's
SET LOCAL llm_router.user_id = 'bob';
SELECT is_empty('SELECT * FROM llm_keys', 'another user sees no key');
SELECT is_empty($$ SELECT FROM llm_route('[{"role": "user", "content": "Hi"}]', 'eco') WHERE used_byok $$, '… and uses none');
CREATE FUNCTION pg_temp.message(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE statement;
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	RETURN regexp_replace(SQLSTATE || ' ' || SQLERRM, '[0-9]+$', 'N');
END $$;
SELECT is(pg_temp.message(format(call, (SELECT min(id) FROM ids))), pg_temp.message(format(call, 9223372036854775807)),
	'somebody else''s key is as unknown as none: ' || call)
FROM unnest(ARRAY['SELECT llm_key_update(%s, ''sk-x'', false)', 'SELECT llm_key_update(%s, ''sk-x'')',
	'SELECT llm_key_set_active(%s, false)', 'SELECT llm_key_delete(%s)']) AS call;
SELECT is(pg_temp.message(format('SELECT llm_key_update(%s, ''sk-x'')', (SELECT min(id) FROM ids))),
	'22023 you have no key with id N', '… and the error says that');
SELECT is(llm_key_delete(min(id)), false, 'llm_key_delete returns false') FROM ids;
SET LOCAL llm_router.user_id = 'ann';
SELECT is((SELECT count(*) FROM llm_keys), 2::bigint, 'nothing of that did anything');

-- A repointed provider
RESET ROLE;
UPDATE llm_providers SET base_url = 'http://127.0.0.1:1/elsewhere' WHERE name = 'dead';
SET ROLE llm_test_application;
SELECT is((SELECT status FROM llm_keys WHERE key_name = 'default'), 'address changed', 'another base_url sets the provider''s keys aside');
SELECT is_empty($$ SELECT FROM llm_route('[{"role": "user", "content": "Hi"}]', 'eco') WHERE used_byok $$, '… also on the same host');
SELECT throws_ok($$ SELECT llm_provider_confirm_keys('dead') $$, '42501', NULL, '… until somebody confirms it, but not the user');
RESET ROLE;
UPDATE llm_providers SET base_url = 'http://127.0.0.1:2/v1' WHERE name = 'dead';
SELECT is(llm_provider_confirm_keys('dead'), 2::bigint, 'the owner can, also for another host');
SET ROLE llm_test_application;
SELECT is((SELECT status FROM llm_keys WHERE key_name = 'default'), 'usable', '… and the key is used again');
SELECT throws_ok($$ SELECT llm_ask('Hi', 'eco', options => '{"router": {"byok": "only"}}') $$, 'LR002', NULL, '… and opens');

-- An address that an administrator chose
RESET ROLE;
CREATE ROLE llm_test_administrator;
SELECT llm_grant('llm_test_administrator', 'administrator');
SET ROLE llm_test_administrator;
SELECT llm_provider_add('theirs', 'http://127.0.0.1:1/v1');
INSERT INTO llm_providers (name, display_name, base_url, confirmed_base_url)
VALUES ('forged', 'Forged', 'http://127.0.0.1:1/v1', 'http://127.0.0.1:1/v1');
UPDATE llm_providers SET base_url = 'http://127.0.0.1:3/v1', confirmed_base_url = 'http://127.0.0.1:3/v1' WHERE name = 'dead';
SET ROLE llm_test_application;
SELECT throws_ok(format('SELECT llm_key_add(%L, %L, %L, false)', provider, 'sk-one', 'new'), 'LR005',
	format('provider "%s" may not be sent keys of users yet', provider), 'no key is stored for it: ' || what)
FROM (VALUES ('theirs', 'a new provider'), ('forged', 'one that calls itself confirmed'), ('dead', 'another base_url')) AS v (provider, what);
SELECT throws_ok($$ SELECT llm_key_add('dead', 'sk-one', 'new') $$, 'LR005', NULL, '… nor is a key sent there to check it');
SELECT throws_ok($$ SELECT * FROM llm_key_test('dead', 'sk-one') $$, 'LR005', NULL, '… nor to test it');
SELECT throws_ok($$ SELECT llm_key_update(id, 'sk-one', false) FROM ids WHERE key_name = 'default' $$, 'LR005', NULL,
	'… nor is one replaced there');
SELECT is((SELECT base_url FROM llm_keys WHERE key_name = 'default'), 'http://127.0.0.1:2/v1', 'llm_keys shows where the key is sent');
RESET ROLE;
SELECT is(llm_provider_confirm_keys('dead'), 2::bigint, 'the owner confirms the address');
SELECT is(llm_provider_confirm_keys('theirs'), 0::bigint, '… also where there are no keys yet');
SET ROLE llm_test_application;
SELECT is((SELECT base_url FROM llm_keys WHERE key_name = 'default'), 'http://127.0.0.1:3/v1', '… for the keys that are there');
SELECT lives_ok($$ SELECT llm_key_delete(llm_key_add('theirs', 'sk-one', validate => false)) $$, '… and for new ones');
SET ROLE llm_test_administrator;
UPDATE llm_providers SET base_url = 'http://127.0.0.1:2/v1' WHERE name = 'dead';
UPDATE llm_providers SET base_url = 'http://127.0.0.1:3/v1', enabled = true WHERE name = 'dead';
SET ROLE llm_test_application;
SELECT lives_ok($$ SELECT llm_key_delete(llm_key_add('dead', 'sk-one', 'new', false)) $$, 'a confirmed address that comes back is still confirmed');
SET ROLE llm_test_administrator;
UPDATE llm_providers SET name = 'old' WHERE name = 'dead';
UPDATE llm_providers SET name = 'dead' WHERE name = 'theirs';
SET ROLE llm_test_application;
SELECT throws_ok($$ SELECT llm_key_add('dead', 'sk-one', 'new', false) $$, 'LR005', NULL, 'a confirmed address under another name is not');
SELECT is((SELECT status FROM llm_keys WHERE key_name = 'default'), 'usable', '… but keys stay where they were sent');
RESET ROLE;
UPDATE llm_providers SET name = 'theirs' WHERE name = 'dead';
SELECT throws_ok($$ SELECT llm_key_add('theirs', 'sk-one', 'new', false) $$, 'LR005', NULL, 'a name that the owner gives confirms nothing');
UPDATE llm_providers SET name = 'dead' WHERE name = 'old';
UPDATE llm_providers SET base_url = 'http://127.0.0.1:4/v1' WHERE name = 'theirs';
SELECT lives_ok($$ SELECT llm_key_delete(llm_key_add('theirs', 'sk-one', 'new', false)) $$, 'an address that the owner sets is confirmed');
SET ROLE llm_test_application;

-- A provider without a request that checks keys
RESET ROLE;
SELECT llm_provider_confirm_keys('dead');
UPDATE llm_providers SET check_path = NULL WHERE name = 'dead';
CREATE FUNCTION pg_temp.hint(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	hint	text;
BEGIN
	EXECUTE statement;
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
	RETURN hint;
END $$;
SET ROLE llm_test_application;
SELECT throws_ok($$ SELECT llm_key_add('dead', 'sk-one', 'new') $$, 'LR002', 'provider "dead" has no request that checks keys',
	'a provider without check_path cannot be asked, now or later');
SELECT is(pg_temp.hint($$ SELECT llm_key_add('dead', 'sk-one', 'new') $$),
	'Nothing was stored. Store it unchecked with validate => false; an administrator can set check_path in llm_providers.', '… and the hint says what to do');
SELECT unalike(pg_temp.hint($$ SELECT llm_key_add('theirs', 'sk-one', 'new') $$), '%check_path%', '… and only there');

-- How many
SELECT lives_ok($$ SELECT llm_key_add('dead', 'sk-one', 'number ' || i, false) FROM generate_series(3, 100) AS i $$, 'a user can have 100 keys');
SELECT throws_ok(format('SELECT llm_key_add(%L, %L, %L, false)', provider, 'sk-one', 'one more'), '22023',
	'you have 100 keys already, which is the most that a user can have', '… and no more, at ' || provider)
FROM (VALUES ('dead'), ('theirs')) AS v (provider);
SET LOCAL llm_router.user_id = 'bob';
SELECT lives_ok($$ SELECT llm_key_delete(llm_key_add('dead', 'sk-one', validate => false)) $$, '… which is nothing to others');
SET LOCAL llm_router.user_id = 'ann';
SELECT llm_key_delete(id) FROM llm_keys WHERE key_name LIKE 'number %';

-- What llm_doctor says where there are keys of users alone
RESET ROLE;
CREATE FUNCTION pg_temp.doctor() RETURNS text LANGUAGE sql AS $$ SELECT status || ': ' || detail FROM llm_doctor() WHERE check_name = 'providers' $$;
DELETE FROM llm_providers WHERE name = 'keyless';
SELECT is(pg_temp.doctor(), 'ok: at least one provider can be called', 'keys of users will do');
UPDATE user_api_keys SET refused_at = now();
SELECT is(pg_temp.doctor(), 'error: no enabled provider has a key', '… but not keys that are refused');
SELECT llm_provider_set_key('dead', 'sk-platform', false);
SELECT is(pg_temp.doctor(), 'ok: at least one provider can be called', 'so will a key of the platform');
UPDATE llm_providers SET base_url = 'http://127.0.0.1:5/v1' WHERE name = 'dead';
UPDATE user_api_keys SET refused_at = NULL;
SELECT is(pg_temp.doctor(), 'error: no enabled provider has a key', '… but no key for another address');
UPDATE llm_providers SET base_url = 'http://127.0.0.1:3/v1' WHERE name = 'dead';
SET ROLE llm_test_application;

-- Deleting
SELECT is(llm_key_delete(id), true, 'a key can be deleted') FROM ids WHERE key_name = 'default';
SELECT is((SELECT array_agg(key_name) FROM llm_keys), ARRAY['second'], '… and is gone');

RESET ROLE;
SELECT is((SELECT array_agg(action || ' ' || user_id || ' ' || object || ' ' || (detail ->> 'key_name') ORDER BY id) FROM llm_audit_logs
		   WHERE actor = 'llm_test_application' AND action LIKE 'byok.%' AND object = 'dead' AND user_id = 'ann' AND detail ->> 'key_name' IN ('default', 'second')),
	ARRAY['byok.key.add ann dead default', 'byok.key.add ann dead second', 'byok.key.deactivate ann dead default',
		'byok.key.deactivate ann dead second', 'byok.key.activate ann dead default', 'byok.key.update ann dead default',
		'byok.key.delete ann dead default'], 'every change is audited, with actor and user');

SELECT results_eq($$ SELECT object, detail FROM llm_audit_logs WHERE action = 'provider.keys.confirm' ORDER BY id LIMIT 2 $$,
	$$ VALUES ('dead', '{"keys": 2, "left": 0, "base_url": "http://127.0.0.1:2/v1"}'::jsonb), ('dead', '{"keys": 2, "left": 0, "base_url": "http://127.0.0.1:3/v1"}'::jsonb) $$,
	'so is each address that was confirmed');

SELECT * FROM finish();
ROLLBACK;

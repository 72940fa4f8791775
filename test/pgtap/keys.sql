-- Platform keys: storing, refusing, binding to the provider, and the recipe of
-- doc/keys.md for opening one with pgcrypto alone.

BEGIN;
SELECT plan(24);
CREATE EXTENSION IF NOT EXISTS pgcrypto;

SELECT llm_provider_add('dead', 'http://127.0.0.1:1/v1');
SELECT llm_provider_add('twin', 'http://127.0.0.1:1/v1');
SELECT llm_provider_add('elsewhere', 'http://127.0.0.1:2/v1');
SELECT llm_provider_add('keyless', 'http://127.0.0.1:1/v1', auth_type => 'none');
SELECT llm_model_add(p, 'model', 'eco', 1, 1) FROM unnest(ARRAY['dead', 'twin', 'elsewhere']) AS p;

CREATE FUNCTION token(provider text) RETURNS text LANGUAGE sql
RETURN (SELECT encrypted_api_key FROM llm_provider_keys WHERE provider_id = llm_provider_id(provider));

-- What is refused
SELECT throws_ok($$ SELECT llm_provider_set_key('dead', 'sk one', false) $$, '22023',
	'the API key has a space or a character that no key has', 'a space is refused, and the key is not shown');
SELECT throws_ok($$ SELECT llm_provider_set_key('dead', E'sk-one\n', false) $$, '22023',
	'the API key has a space or a character that no key has', 'so is a line end');
SELECT throws_ok($$ SELECT llm_provider_set_key('dead', 'schlüssel', false) $$, '22023',
	'the API key has a space or a character that no key has', 'so are letters beyond ASCII');
SELECT throws_ok($$ SELECT llm_provider_set_key('dead', '', false) $$, '22023', 'the API key is empty', 'an empty key is refused');
SELECT throws_ok($$ SELECT llm_provider_set_key('dead', repeat('x', 4097), false) $$, '22023',
	'the API key is longer than 4096 bytes', 'a very long one too');
SELECT throws_ok($$ SELECT llm_provider_set_key('deat', 'sk-one', false) $$, '22023',
	'unknown provider "deat"', 'an unknown provider is refused');
SELECT throws_ok($$ SELECT llm_provider_set_key(NULL, 'sk-one', false) $$, '22023', 'the provider is NULL', 'so is none');
SELECT throws_ok($$ SELECT llm_provider_set_key('keyless', 'sk-one', false) $$, '22023',
	'provider "keyless" takes no key', 'a provider without authentication takes no key');
SELECT is_empty('SELECT FROM llm_provider_keys', 'nothing of that was stored');

-- What is stored
SELECT lives_ok($$ SELECT llm_provider_set_key('dead', repeat('x', 4096), false) $$, 'a key of 4096 bytes is stored');
SELECT lives_ok($$ SELECT llm_provider_set_key('dead', 'sk-Aa0!~+/=.,:;', false) $$, 'a key of any printable characters replaces it');
SELECT is((SELECT count(*) FROM llm_provider_keys), 1::bigint, 'there is one row');
SELECT unalike(token('dead'), '%sk-Aa0%', 'which does not show the key');
SELECT is((SELECT array_agg(action || ' ' || object ORDER BY id) FROM llm_audit_logs WHERE action LIKE '%key%'),
	ARRAY['provider.key.set dead', 'provider.key.set dead'], 'both changes are audited');
SELECT lives_ok($$ SELECT llm_provider_set_key('twin', 'sk-twin', true) $$, 'an unreachable provider does not keep a key from being stored');

-- Opening without the router
CREATE FUNCTION opened(provider text) RETURNS TABLE (authentic boolean, payload jsonb)
LANGUAGE sql
BEGIN ATOMIC
	WITH master AS (
		SELECT decode(translate(line, '-_', '+/'), 'base64') AS key
		FROM regexp_split_to_table(pg_read_file('llm_router_master.key'), '\n') AS line
		WHERE line !~ '^(#|$)' LIMIT 1
	), parts AS (
		SELECT decode(translate(token(provider), '-_', '+/'), 'base64') AS bytes
	)
	SELECT hmac(substr(bytes, 1, length(bytes) - 32), substr(key, 1, 16), 'sha256') = substr(bytes, length(bytes) - 31),
		   convert_from(decrypt_iv(substr(bytes, 26, length(bytes) - 57), substr(key, 17, 16), substr(bytes, 10, 16),
								   'aes-cbc/pad:pkcs'), 'UTF8')::jsonb
	FROM master, parts;
END;
SELECT ok((SELECT authentic FROM opened('dead')), 'pgcrypto alone verifies a stored key');
SELECT is((SELECT payload FROM opened('dead')),
	'{"v": 1, "user": null, "origin": "http://127.0.0.1:1", "key": "sk-Aa0!~+/=.,:;"}'::jsonb, '… and opens it');

-- What it is bound to. A call opens the key before it connects.
SELECT throws_ok($$ SELECT llm_ask('Hi', model => 'dead/model') $$, 'LR002', NULL, 'the key opens; the dead provider fails the call');
INSERT INTO llm_provider_keys (provider_id, encrypted_api_key, base_url) VALUES (llm_provider_id('elsewhere'), token('dead'), 'http://127.0.0.1:2/v1');
SELECT throws_ok($$ SELECT llm_ask('Hi', model => 'elsewhere/model') $$, 'LR005', NULL, 'a token copied to another provider does not open');
UPDATE llm_providers SET base_url = 'http://127.0.0.1:3/v1' WHERE name = 'dead';
SELECT throws_ok($$ SELECT llm_ask('Hi', model => 'dead/model') $$, 'LR005', NULL, 'nor does the key of a repointed provider');
UPDATE llm_provider_keys SET encrypted_api_key = left(encrypted_api_key, 60) || 'AAAA' || substr(encrypted_api_key, 65)
WHERE provider_id = llm_provider_id('twin');
SELECT throws_ok($$ SELECT llm_keys_reencrypt() $$, 'LR009', NULL, 'nor an altered token');

-- Removing, and who may
SELECT lives_ok($$ SELECT llm_provider_set_key(p, NULL) FROM unnest(ARRAY['dead', 'twin', 'elsewhere']) AS p $$, 'NULL removes keys');
SELECT is_empty('SELECT FROM llm_provider_keys', '… all of them');
CREATE ROLE llm_test_keys_nobody;
GRANT USAGE ON SCHEMA public TO llm_test_keys_nobody;
SET LOCAL ROLE llm_test_keys_nobody;
SELECT throws_ok($$ SELECT llm_provider_set_key('dead', 'sk-one', false) $$, '42501', NULL, 'only those with EXECUTE may store a key');
RESET ROLE;

SELECT * FROM finish();
ROLLBACK;

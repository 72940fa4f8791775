-- Keys of users, and of the platform. No function shows a key.

CREATE FUNCTION llm_key_add(provider text, api_key text, key_name text DEFAULT 'default', validate boolean DEFAULT true)
RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'llm_key_add';
COMMENT ON FUNCTION llm_key_add(text, text, text, boolean) IS
	'Stores a key of your own for a provider, encrypted, and returns its id. validate asks the provider first: a refused key is error LR005, a provider that cannot be asked LR002; nothing is stored then. LR005 also where the owner of the extension has not confirmed the provider''s base_url.';

CREATE FUNCTION llm_key_test(provider text, api_key text,
	OUT valid boolean, OUT http_status integer, OUT message text, OUT response_time_ms integer)
RETURNS SETOF record LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 1
AS 'MODULE_PATHNAME', 'llm_key_test';
COMMENT ON FUNCTION llm_key_test(text, text) IS
	'Asks a provider about a key without storing it: valid is true or false as the provider says, NULL when it cannot be asked.';

CREATE FUNCTION llm_key_update(key_id bigint, api_key text, validate boolean DEFAULT true)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'llm_key_update';
COMMENT ON FUNCTION llm_key_update(bigint, text, boolean) IS
	'Replaces one of your own keys; the key before stays when the new one is refused.';

CREATE FUNCTION llm_key_set_active(key_id bigint, active boolean)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'llm_key_set_active';
COMMENT ON FUNCTION llm_key_set_active(bigint, boolean) IS
	'Has one of your own keys used, or not. Activating a key that its provider refused has it tried again.';

CREATE FUNCTION llm_key_delete(key_id bigint)
RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'llm_key_delete';
COMMENT ON FUNCTION llm_key_delete(bigint) IS 'Deletes one of your own keys; false when you have none of that id.';

-- As the owner, whatever the caller may do; the barrier keeps a caller's own
-- functions from seeing other users' rows first.
CREATE VIEW llm_keys WITH (security_barrier) AS
	SELECT k.id, p.name AS provider, k.base_url, k.key_name, k.masked_key, k.is_active,
		CASE WHEN k.base_url <> p.base_url THEN 'address changed'
			 WHEN k.refused_at IS NOT NULL THEN 'refused'
			 WHEN NOT k.is_active THEN 'inactive'
			 WHEN NOT p.enabled THEN 'provider disabled'
			 ELSE 'usable' END AS status,
		k.refused_at, k.refusal, k.checked_at, k.last_used_at, k.created_at, k.updated_at
	FROM user_api_keys k JOIN llm_providers p ON p.id = k.provider_id
	WHERE k.user_id = llm_user_id();
COMMENT ON VIEW llm_keys IS 'Your own keys, masked.';
COMMENT ON COLUMN llm_keys.id IS 'Number of the key, which the llm_key functions take.';
COMMENT ON COLUMN llm_keys.provider IS 'The provider that the key is for.';
COMMENT ON COLUMN llm_keys.base_url IS 'Where it is sent, and nowhere else: the provider''s base_url when you stored it, or as the owner of the extension confirmed since.';
COMMENT ON COLUMN llm_keys.key_name IS 'Your name for the key.';
COMMENT ON COLUMN llm_keys.masked_key IS 'At most its first 3 and last 4 characters.';
COMMENT ON COLUMN llm_keys.is_active IS 'Whether you want it used; see llm_key_set_active.';
COMMENT ON COLUMN llm_keys.status IS
	'usable, inactive, refused (by the provider), provider disabled, or address changed (the provider has another base_url since: store the key again with llm_key_update).';
COMMENT ON COLUMN llm_keys.refused_at IS 'When the provider refused it; NULL: not refused.';
COMMENT ON COLUMN llm_keys.refusal IS 'How the provider refused it.';
COMMENT ON COLUMN llm_keys.checked_at IS 'When the provider was last asked about it; NULL: never.';
COMMENT ON COLUMN llm_keys.last_used_at IS 'When a request last used it, to a minute.';
COMMENT ON COLUMN llm_keys.created_at IS 'When it was added.';
COMMENT ON COLUMN llm_keys.updated_at IS 'When it was last changed; its use and checks do not count.';

-- The platform's: llm_grant gives administrators all of these but the last.

CREATE FUNCTION llm_provider_set_key(provider text, api_key text, validate boolean DEFAULT true)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'llm_provider_set_key';
COMMENT ON FUNCTION llm_provider_set_key(text, text, boolean) IS
	'Stores the operator''s key for a provider, encrypted; NULL removes it. validate asks the provider first: a refused key is error LR005 and nothing is stored, one that cannot be checked now is stored with a WARNING.';

CREATE FUNCTION llm_provider_confirm_keys(provider text)
RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'llm_provider_confirm_keys';
COMMENT ON FUNCTION llm_provider_confirm_keys(text) IS
	'After a provider really moved, or an administrator added it: lets users store keys for its base_url, has the keys stored before, the platform''s and users'', used there, and returns how many those are; those that cannot be opened stay set aside, with a WARNING. For the extension''s owner and superusers, since it decides where users'' keys are sent.';

CREATE FUNCTION llm_keys_reencrypt()
RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'llm_keys_reencrypt';
COMMENT ON FUNCTION llm_keys_reencrypt() IS
	'Encrypts every stored key that the first master key did not make with that key, by a worker in batches, whatever becomes of the caller''s transaction. Returns how many were changed: 0 means that older master keys are no longer needed.';

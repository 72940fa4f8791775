-- Keys of the platform. PUBLIC has no right to these; llm_grant gives it to
-- administrators. No function shows a key.

CREATE FUNCTION llm_provider_set_key(provider text, api_key text, validate boolean DEFAULT true)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'llm_provider_set_key';
COMMENT ON FUNCTION llm_provider_set_key(text, text, boolean) IS
	'Stores the operator''s key for a provider, encrypted; NULL removes it. validate asks the provider first: a refused key is error LR005 and nothing is stored, one that cannot be checked now is stored with a WARNING.';

CREATE FUNCTION llm_keys_reencrypt()
RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'llm_keys_reencrypt';
COMMENT ON FUNCTION llm_keys_reencrypt() IS
	'Encrypts every stored key that the first master key did not make with that key. Returns how many were changed: 0 means that older master keys are no longer needed.';

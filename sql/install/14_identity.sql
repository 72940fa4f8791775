-- Who a session acts for. Before the tables whose policies ask.

-- C, because without preloading anybody could set a setting of that name: then it
-- raises LR010.
CREATE FUNCTION llm_user_id()
RETURNS text LANGUAGE c STABLE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'llm_user_id';
COMMENT ON FUNCTION llm_user_id() IS
	'The user whose keys, usage and tier count: llm_router.user_id, else the name of the current role (in a SECURITY DEFINER function its owner).';

-- A function, because PostgREST and the like can call one before a request and
-- cannot SET.
CREATE FUNCTION llm_set_user(user_id text)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'llm_set_user';
COMMENT ON FUNCTION llm_set_user(text) IS
	'Sets llm_router.user_id to the end of the transaction, like SET LOCAL; NULL is the role itself. Takes the privilege to set it: llm_grant(role, ''application'').';

-- For entries of the audit log, which have to do without preloading.
CREATE FUNCTION llm_audit_user_id()
RETURNS text LANGUAGE c STABLE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'llm_audit_user_id';
COMMENT ON FUNCTION llm_audit_user_id() IS
	'Used by llm_audit_write(): llm_router.user_id; NULL when it is empty, or when llm_router is not preloaded and anybody could set it.';

-- Who a session acts for. Before the tables whose policies ask.

-- C, because without preloading anybody could set a setting of that name: then it
-- raises LR010.
CREATE FUNCTION llm_user_id()
RETURNS text LANGUAGE c STABLE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'llm_user_id';
COMMENT ON FUNCTION llm_user_id() IS
	'The user whose keys, usage and tier count: llm_router.user_id, else the name of the current role (in a SECURITY DEFINER function its owner).';

-- For entries of the audit log, which have to do without preloading.
CREATE FUNCTION llm_audit_user_id()
RETURNS text LANGUAGE c STABLE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'llm_audit_user_id';
COMMENT ON FUNCTION llm_audit_user_id() IS
	'Used by llm_audit_write(): llm_router.user_id; NULL when it is empty, or when llm_router is not preloaded and anybody could set it.';

-- Who may use what. PUBLIC gets nothing; llm_grant() gives a role one of three
-- kinds of access, of which this file holds the lists.

-- The privileges of one kind of access on the objects that exist.
CREATE FUNCTION llm_access_privileges(access text)
RETURNS TABLE (privileges text, object text)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
WITH lists (access, privileges, names) AS (VALUES
	('user', 'EXECUTE', ARRAY[
		'llm_chat', 'llm_ask', 'llm_chat_stream', 'llm_chat_many', 'llm_chat_submit', 'llm_chat_result', 'llm_chat_cancel',
		'llm_route', 'llm_estimate_cost', 'llm_count_tokens', 'llm_text', 'llm_last_call', 'llm_user_id',
		'llm_key_add', 'llm_key_test', 'llm_key_update', 'llm_key_set_active', 'llm_key_delete',
		'llm_usage_summary', 'llm_usage_by_provider', 'llm_usage_by_model', 'llm_usage_by_power_level',
		'llm_usage_over_time', 'llm_usage_recent', 'llm_usage_export', 'llm_usage_quota', 'llm_latency_percentile',
		-- what these call, as their callers
		'llm_reject', 'llm_usage_horizon', 'llm_usage_range', 'llm_usage_steps', 'llm_usage_cells', 'llm_usage_grouped', 'llm_usage_csv',
		'llm_latency_histogram_sum']),
	-- of the ledger their own rows: see its policies
	('user', 'SELECT', ARRAY['llm_keys', 'llm_power_levels', 'llm_provider_names', 'llm_usage_logs', 'llm_usage_rollup',
		'llm_usage_totals']),
	('application', 'EXECUTE', ARRAY['llm_set_user']),
	('administrator', 'EXECUTE', ARRAY[
		'llm_provider_add', 'llm_model_add', 'llm_model_set_price', 'llm_provider_id', 'llm_model_id',
		-- what the constraints of the tables below call
		'llm_require', 'llm_reject', 'llm_request_rules_valid', 'llm_check_path_valid',
		'llm_seed_tiers', 'llm_seed_providers', 'llm_seed_models', 'llm_seed_rules', 'llm_import_prices',
		'llm_provider_set_key', 'llm_keys_reencrypt', 'llm_provider_check', 'llm_doctor', 'llm_ledger_status',
		'llm_circuit_status', 'llm_database_health', 'llm_budget_counters', 'llm_user_id',
		'llm_route', 'llm_estimate_cost', 'llm_count_tokens',
		'llm_usage_summary', 'llm_usage_by_provider', 'llm_usage_by_model', 'llm_usage_by_power_level',
		'llm_usage_over_time', 'llm_usage_recent', 'llm_usage_export', 'llm_usage_by_user', 'llm_usage_quota', 'llm_recommend',
		'llm_usage_horizon', 'llm_usage_range', 'llm_usage_steps', 'llm_usage_cells', 'llm_usage_grouped', 'llm_usage_csv',
		'llm_latency_histogram_sum', 'llm_latency_percentile']),
	('administrator', 'SELECT, INSERT, UPDATE, DELETE', ARRAY[
		'llm_providers', 'llm_models', 'llm_routing_rules', 'llm_tiers', 'llm_users', 'llm_budgets']),
	('administrator', 'SELECT', ARRAY[
		'llm_power_levels', 'llm_provider_names', 'llm_status', 'llm_circuits', 'llm_budget_status', 'llm_usage_logs', 'llm_usage_rollup', 'llm_usage_totals',
		'llm_usage_quarantine', 'llm_metrics_usage', 'llm_metrics_latency', 'llm_metrics_providers',
		'llm_audit_logs', 'llm_provider_health_checks', 'llm_seeds'])
)
SELECT l.privileges,
	   CASE WHEN p.oid IS NULL THEN 'TABLE ' || c.oid::regclass ELSE 'FUNCTION ' || p.oid::regprocedure END
FROM pg_extension e
JOIN pg_depend d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'
LEFT JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
LEFT JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
JOIN lists l ON COALESCE(p.proname, c.relname) = ANY (l.names)
WHERE e.extname = 'llm_router'
  AND (l.access = $1 OR (l.access = 'user' AND $1 = 'application'))
ORDER BY 2
$$;
COMMENT ON FUNCTION llm_access_privileges(text) IS
	'The privileges that llm_grant gives: user (chat, own keys, own usage), application (user, and speaking for users) or administrator (configuration, platform keys, all usage).';

-- Told by a privilege that it alone needs; a user's stand in application as well.
CREATE FUNCTION llm_access_kinds(role regrole)
RETURNS SETOF text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT DISTINCT k.access
FROM (VALUES ('user', 'llm_chat'), ('application', 'llm_set_user'), ('administrator', 'llm_provider_set_key')) AS k (access, name)
JOIN pg_extension e ON e.extname = 'llm_router'
JOIN pg_proc p ON p.pronamespace = e.extnamespace AND p.proname = k.name
CROSS JOIN LATERAL aclexplode(p.proacl) AS a
WHERE a.grantee = $1
$$;
COMMENT ON FUNCTION llm_access_kinds(regrole) IS 'The kinds of access that a role itself was granted; application is user as well.';

CREATE FUNCTION llm_access_change(access text, statements text[])
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	statement	text;
BEGIN
	IF access NOT IN ('user', 'application', 'administrator') THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('unknown access "%s"', access),
			HINT = 'Access is user, application or administrator.';
	END IF;
	FOREACH statement IN ARRAY COALESCE(statements, '{}') LOOP
		EXECUTE statement;
	END LOOP;
END
$$;
COMMENT ON FUNCTION llm_access_change(text, text[]) IS
	'Used by llm_grant and llm_revoke: checks the kind of access, then runs the statements, NULL for none, as the caller.';

CREATE FUNCTION llm_grant(role regrole, access text)
RETURNS void
LANGUAGE sql VOLATILE STRICT
BEGIN ATOMIC
	SELECT llm_access_change(access,
		array_agg(format('GRANT %s ON %s TO %s', p.privileges, p.object, role))
		|| (SELECT array_agg(format('GRANT USAGE ON SCHEMA %s TO %s', e.extnamespace::regnamespace, role))
			FROM pg_extension e WHERE e.extname = 'llm_router')
		|| CASE access WHEN 'application' THEN ARRAY[format('GRANT SET ON PARAMETER llm_router.user_id TO %s', role)] END)
	FROM llm_access_privileges(access) AS p;
	SELECT llm_audit_write('access.grant', role::text, jsonb_build_object('access', access));
END;
COMMENT ON FUNCTION llm_grant(regrole, text) IS
	'Gives a role access: user (chat, own keys, own usage), application (user, and speaking for users through llm_router.user_id) or administrator (configuration, platform keys, all usage). For superusers.';

CREATE FUNCTION llm_revoke(role regrole, access text)
RETURNS void
LANGUAGE sql VOLATILE STRICT
BEGIN ATOMIC
	SELECT llm_access_change(access,
		array_agg(format('REVOKE %s ON %s FROM %s', p.privileges, p.object, role))
		|| CASE access WHEN 'application' THEN ARRAY[format('REVOKE SET ON PARAMETER llm_router.user_id FROM %s', role)] END)
	FROM (
		SELECT * FROM llm_access_privileges(access)
		EXCEPT
		SELECT s.*
		FROM llm_access_kinds(role) AS other (access) CROSS JOIN LATERAL llm_access_privileges(other.access) AS s
		WHERE other.access <> llm_revoke.access AND (other.access, llm_revoke.access) <> ('user', 'application')
	) AS p;
	SELECT llm_audit_write('access.revoke', role::text, jsonb_build_object('access', access));
END;
COMMENT ON FUNCTION llm_revoke(regrole, text) IS
	'Takes back what llm_grant gave, except USAGE of the schema and what another kind of access of the role needs as well. Of application, which includes user, it takes back both. For superusers.';

-- Also for upgrade scripts, whose new functions everybody may execute until
-- this has run.
CREATE FUNCTION llm_hide_from_public()
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	object	text;
BEGIN
	FOR object IN
		SELECT CASE d.classid
				WHEN 'pg_proc'::regclass THEN 'ROUTINE ' || d.objid::regprocedure
				WHEN 'pg_type'::regclass THEN 'TYPE ' || d.objid::regtype
				ELSE CASE c.relkind WHEN 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END || d.objid::regclass END
		FROM pg_extension e
		JOIN pg_depend d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'
		LEFT JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
		LEFT JOIN pg_type t ON d.classid = 'pg_type'::regclass AND t.oid = d.objid
		WHERE e.extname = 'llm_router'
		  AND (d.classid = 'pg_proc'::regclass OR c.relkind IN ('r', 'p', 'v', 'm', 'S') OR t.typtype IN ('d', 'e', 'r'))
	LOOP
		EXECUTE format('REVOKE ALL ON %s FROM PUBLIC', object);
	END LOOP;
END
$$;
COMMENT ON FUNCTION llm_hide_from_public() IS 'Takes every privilege on the extension''s objects from PUBLIC; run at the end of install and upgrade scripts.';

SELECT llm_hide_from_public();

-- Every object of the extension, one by one: what PUBLIC, and each kind of
-- access, may do with it. A new object needs a row below.

BEGIN;
SELECT plan(14);

CREATE ROLE llm_test_user;
CREATE ROLE llm_test_application;
CREATE ROLE llm_test_administrator;
SELECT llm_grant('llm_test_user', 'user');
SELECT llm_grant('llm_test_application', 'application');
SELECT llm_grant('llm_test_administrator', 'administrator');

CREATE TEMP VIEW members AS
SELECT d.classid, d.objid, c.relkind, c.relrowsecurity, p.prosecdef,
	   COALESCE(p.proname, c.relname, t.typname)::text COLLATE "default" AS object,
	   COALESCE(p.proacl, c.relacl, t.typacl, acldefault(
			CASE WHEN p.oid IS NOT NULL THEN 'f' WHEN t.oid IS NOT NULL THEN 'T' WHEN c.relkind = 'S' THEN 's' ELSE 'r' END::"char",
			COALESCE(p.proowner, c.relowner, t.typowner))) AS acl
FROM pg_extension e
JOIN pg_depend d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'
LEFT JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
LEFT JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
LEFT JOIN pg_type t ON d.classid = 'pg_type'::regclass AND t.oid = d.objid
WHERE e.extname = 'llm_router'
  -- From PostgreSQL 18 on the types of rows and arrays are members, too. They go with their tables and elements.
  AND (t.oid IS NULL OR (t.typrelid = 0 AND t.typelem = 0));

CREATE TEMP VIEW privileges AS
SELECT m.object, r.kind, string_agg(x.privilege_type, ' ' ORDER BY x.privilege_type) AS privileges
FROM members m
CROSS JOIN (SELECT oid, substr(rolname, 10) FROM pg_roles WHERE rolname LIKE 'llm\_test\_%') AS r (role, kind)
LEFT JOIN LATERAL aclexplode(m.acl) AS x ON x.grantee = r.role
GROUP BY m.object, r.kind;

SELECT diag('objects walked: ' || string_agg(n || ' ' || kind, ', ' ORDER BY kind)) FROM (
	SELECT count(*) AS n, CASE WHEN classid = 'pg_proc'::regclass THEN 'functions' WHEN classid = 'pg_type'::regclass THEN 'types'
			WHEN relkind = 'S' THEN 'sequences' WHEN relkind = 'v' THEN 'views' ELSE 'tables' END AS kind
	FROM members GROUP BY kind) AS walked;

-- The walk itself
SELECT is_empty($$ SELECT classid::regclass, objid FROM members WHERE object IS NULL $$, 'every member is a function, a relation or a type');
SELECT is_empty($$ SELECT object FROM members GROUP BY object HAVING count(*) > 1 $$, 'names are unique');
SELECT ok(count(*) FILTER (WHERE classid = 'pg_proc'::regclass) >= 30 AND count(*) FILTER (WHERE relkind IN ('r', 'p')) >= 16,
	'there are functions and tables') FROM members;

-- PUBLIC
SELECT is_empty($$ SELECT object, x.privilege_type FROM members, aclexplode(acl) AS x WHERE x.grantee = 0 $$,
	'PUBLIC has no privilege on any object');
SELECT is_empty($$
	SELECT m.object, a.attname FROM members m JOIN pg_attribute a ON m.classid = 'pg_class'::regclass AND a.attrelid = m.objid
	WHERE a.attacl IS NOT NULL
$$, 'no privilege is hidden in a column');
SELECT is_empty($$
	SELECT object, x.grantee::regrole, x.privilege_type FROM members, aclexplode(acl) AS x
	WHERE x.is_grantable AND x.grantee <> (SELECT extowner FROM pg_extension WHERE extname = 'llm_router')
$$, 'nobody may grant on');

-- Functions
SELECT is_empty($$
	SELECT object FROM members JOIN pg_proc p ON classid = 'pg_proc'::regclass AND p.oid = objid
	JOIN pg_language l ON l.oid = p.prolang
	WHERE l.lanname <> 'c' AND p.prokind <> 'a' AND prosqlbody IS NULL AND NOT EXISTS (SELECT FROM unnest(proconfig) c WHERE c LIKE 'search_path=%')
$$, 'every function is C or an aggregate, or has an atomic body or a pinned search_path');
SELECT is_empty($$
	SELECT object, c FROM members JOIN pg_proc p ON classid = 'pg_proc'::regclass AND p.oid = objid, unnest(p.proconfig) AS c
	WHERE c LIKE 'search_path=%' AND c <> 'search_path=pg_catalog, pg_temp'
$$, 'a pinned search_path is pg_catalog, with pg_temp last');
-- Each with what it needs its owner for.
SELECT set_eq('SELECT object FROM members WHERE prosecdef', ARRAY[
	'llm_audit_change',	-- the trigger that writes to the audit log, which nobody else may
	'llm_doctor'	-- which providers lack a key: administrators cannot read the tables of keys
], 'no other function runs as its owner');

-- Row level security
SELECT set_eq('SELECT object FROM members WHERE relrowsecurity', ARRAY[
	'llm_provider_keys', 'user_api_keys', 'llm_usage_logs', 'llm_usage_rollup', 'llm_usage_totals', 'llm_jobs'
], 'tables with rows of users, or with keys, have row level security');
SELECT is_empty($$
	SELECT object FROM members m
	JOIN pg_attribute a ON m.classid = 'pg_class'::regclass AND a.attrelid = m.objid AND a.attname IN ('user_id', 'encrypted_api_key')
	WHERE m.relkind IN ('r', 'p') AND NOT m.relrowsecurity
	  AND EXISTS (SELECT FROM privileges p WHERE p.object = m.object AND p.kind <> 'administrator' AND p.privileges IS NOT NULL)
$$, 'whatever users may read of tables that name users has row level security');
SELECT set_eq($$
	SELECT c.relname::text, p.polname::text, p.polcmd::text FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
	JOIN members m ON m.classid = 'pg_class'::regclass AND m.objid = c.oid
$$, $$ VALUES
	('user_api_keys', 'user_api_keys_own', 'r'),
	('llm_jobs', 'llm_jobs_own', 'r'),
	('llm_usage_logs', 'llm_usage_logs_own', 'r'),
	('llm_usage_logs', 'llm_usage_logs_administrators', 'r'),
	('llm_usage_rollup', 'llm_usage_rollup_own', 'r'),
	('llm_usage_rollup', 'llm_usage_rollup_administrators', 'r'),
	('llm_usage_totals', 'llm_usage_totals_administrators', 'r')
$$, 'policies let rows be read, and none be written');

-- What each kind of access may do; NULL is nothing. Application is user and
-- llm_set_user.
CREATE TEMP TABLE expected (object text, "user" text, administrator text);
INSERT INTO expected VALUES
	('llm_access_change', NULL, NULL),
	('llm_access_kinds', NULL, NULL),
	('llm_access_privileges', NULL, NULL),
	('llm_ask', 'EXECUTE', NULL),
	('llm_audit_change', NULL, NULL),
	('llm_audit_change_write', NULL, NULL),
	('llm_audit_guard', NULL, NULL),
	('llm_audit_logs', NULL, 'SELECT'),
	('llm_audit_logs_id_seq', NULL, NULL),
	('llm_audit_object', NULL, NULL),
	('llm_audit_shown', NULL, NULL),
	('llm_audit_user_id', NULL, NULL),
	('llm_audit_write', NULL, NULL),
	('llm_budget_counters', NULL, 'EXECUTE'),
	('llm_budget_status', NULL, 'SELECT'),
	('llm_budgets', NULL, 'DELETE INSERT SELECT UPDATE'),
	('llm_budgets_id_seq', NULL, NULL),
	('llm_chat', 'EXECUTE', NULL),
	('llm_chat_stream', 'EXECUTE', NULL),
	('llm_check_path_valid', NULL, 'EXECUTE'),
	('llm_config_changed', NULL, NULL),
	('llm_count_tokens', 'EXECUTE', 'EXECUTE'),
	('llm_doctor', NULL, 'EXECUTE'),
	('llm_estimate_cost', 'EXECUTE', 'EXECUTE'),
	('llm_grant', NULL, NULL),
	('llm_hide_from_public', NULL, NULL),
	('llm_install', NULL, NULL),
	('llm_install_restore', NULL, NULL),
	('llm_jobs', NULL, NULL),
	('llm_key_add', 'EXECUTE', NULL),
	('llm_key_delete', 'EXECUTE', NULL),
	('llm_key_set_active', 'EXECUTE', NULL),
	('llm_key_test', 'EXECUTE', NULL),
	('llm_key_update', 'EXECUTE', NULL),
	('llm_keys', 'SELECT', NULL),
	('llm_keys_reencrypt', NULL, 'EXECUTE'),
	('llm_last_call', 'EXECUTE', NULL),
	('llm_latency_histogram', NULL, NULL),
	('llm_latency_histogram_add', NULL, NULL),
	('llm_latency_histogram_sum', 'EXECUTE', 'EXECUTE'),
	('llm_latency_percentile', 'EXECUTE', 'EXECUTE'),
	('llm_ledger_status', NULL, 'EXECUTE'),
	('llm_circuit_status', NULL, 'EXECUTE'),
	('llm_provider_check', NULL, 'EXECUTE'),
	('llm_database_health', NULL, 'EXECUTE'),
	('llm_metrics_latency', NULL, 'SELECT'),
	('llm_metrics_providers', NULL, 'SELECT'),
	('llm_metrics_usage', NULL, 'SELECT'),
	('llm_model_add', NULL, 'EXECUTE'),
	('llm_model_id', NULL, 'EXECUTE'),
	('llm_model_set_price', NULL, 'EXECUTE'),
	('llm_models', NULL, 'DELETE INSERT SELECT UPDATE'),
	('llm_models_id_seq', NULL, NULL),
	('llm_note_write', NULL, NULL),
	('llm_power_level', NULL, NULL),
	('llm_power_levels', 'SELECT', 'SELECT'),
	('llm_provider_add', NULL, 'EXECUTE'),
	('llm_provider_address', NULL, NULL),
	('llm_provider_confirm_keys', NULL, NULL),
	('llm_provider_health_checks', NULL, 'SELECT'),
	('llm_provider_health_checks_id_seq', NULL, NULL),
	('llm_provider_id', NULL, 'EXECUTE'),
	('llm_provider_keys', NULL, NULL),
	('llm_provider_names', 'SELECT', 'SELECT'),
	('llm_provider_set_key', NULL, 'EXECUTE'),
	('llm_providers', NULL, 'DELETE INSERT SELECT UPDATE'),
	('llm_providers_id_seq', NULL, NULL),
	('llm_recommend', NULL, 'EXECUTE'),
	('llm_reject', 'EXECUTE', 'EXECUTE'),
	('llm_request_rules_valid', NULL, 'EXECUTE'),
	('llm_require', NULL, 'EXECUTE'),
	('llm_restore_session', NULL, NULL),
	('llm_revoke', NULL, NULL),
	('llm_route', 'EXECUTE', 'EXECUTE'),
	('llm_routing_rules', NULL, 'DELETE INSERT SELECT UPDATE'),
	('llm_routing_rules_id_seq', NULL, NULL),
	('llm_seed', NULL, NULL),
	('llm_seed_models', NULL, 'EXECUTE'),
	('llm_seed_one', NULL, NULL),
	('llm_seed_providers', NULL, 'EXECUTE'),
	('llm_seed_row', NULL, NULL),
	('llm_seed_rules', NULL, 'EXECUTE'),
	('llm_seed_tiers', NULL, 'EXECUTE'),
	('llm_seeds', NULL, 'SELECT'),
	('llm_server_checks', NULL, NULL),
	('llm_set_user', NULL, NULL),
	('llm_status', NULL, 'SELECT'),
	('llm_circuits', NULL, 'SELECT'),
	('llm_text', 'EXECUTE', NULL),
	('llm_tiers', NULL, 'DELETE INSERT SELECT UPDATE'),
	('llm_touch', NULL, NULL),
	('llm_usage_budgets', NULL, NULL),
	('llm_usage_by_model', 'EXECUTE', 'EXECUTE'),
	('llm_usage_by_power_level', 'EXECUTE', 'EXECUTE'),
	('llm_usage_by_provider', 'EXECUTE', 'EXECUTE'),
	('llm_usage_by_user', NULL, 'EXECUTE'),
	('llm_usage_cells', 'EXECUTE', 'EXECUTE'),
	('llm_usage_csv', 'EXECUTE', 'EXECUTE'),
	('llm_usage_export', 'EXECUTE', 'EXECUTE'),
	('llm_usage_grouped', 'EXECUTE', 'EXECUTE'),
	('llm_usage_horizon', 'EXECUTE', 'EXECUTE'),
	('llm_usage_logs', 'SELECT', 'SELECT'),
	('llm_usage_logs_id_seq', NULL, NULL),
	('llm_usage_over_time', 'EXECUTE', 'EXECUTE'),
	('llm_usage_quarantine', NULL, 'SELECT'),
	('llm_usage_quarantine_id_seq', NULL, NULL),
	('llm_usage_quota', 'EXECUTE', 'EXECUTE'),
	('llm_usage_range', 'EXECUTE', 'EXECUTE'),
	('llm_usage_recent', 'EXECUTE', 'EXECUTE'),
	('llm_usage_rollup', 'SELECT', 'SELECT'),
	('llm_usage_steps', 'EXECUTE', 'EXECUTE'),
	('llm_usage_summary', 'EXECUTE', 'EXECUTE'),
	('llm_usage_sums', NULL, NULL),
	('llm_usage_totals', 'SELECT', 'SELECT'),
	('llm_usage_totals_close', NULL, NULL),
	('llm_usage_totals_make_days', NULL, NULL),
	('llm_usage_totals_reopen', NULL, NULL),
	('llm_user_id', 'EXECUTE', 'EXECUTE'),
	('llm_users', NULL, 'DELETE INSERT SELECT UPDATE'),
	('user_api_keys', NULL, NULL),
	('user_api_keys_id_seq', NULL, NULL);
SELECT set_eq($$
	SELECT object, max(privileges) FILTER (WHERE kind = 'user') AS "user", max(privileges) FILTER (WHERE kind = 'administrator') AS administrator
	FROM privileges GROUP BY object
$$, 'TABLE expected', 'every object gives users and administrators what is written here');
SELECT set_eq($$ SELECT object, privileges FROM privileges WHERE kind = 'application' $$, $$
	SELECT object, CASE object WHEN 'llm_set_user' THEN 'EXECUTE' ELSE "user" END FROM expected
$$, '… and applications the same as users, and llm_set_user');

SELECT * FROM finish();
ROLLBACK;

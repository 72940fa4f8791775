-- The shape of the schema: what every object must have, and what keeps a dump,
-- a restore and a removal safe.

BEGIN;
SELECT plan(19);

CREATE TEMP VIEW members AS
SELECT d.classid, d.objid, c.relkind, p.proname, COALESCE(p.oid::regprocedure::text, c.oid::regclass::text, t.oid::regtype::text) AS object
FROM pg_extension e
JOIN pg_depend d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'
LEFT JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
LEFT JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
LEFT JOIN pg_type t ON d.classid = 'pg_type'::regclass AND t.oid = d.objid AND t.typtype = 'd'
WHERE e.extname = 'llm_router' AND COALESCE(p.oid, c.oid, t.oid) IS NOT NULL;

SELECT cmp_ok((SELECT count(*)::int FROM members WHERE relkind IN ('r', 'p')), '>=', 16, 'all tables are members');

-- Comments
SELECT is_empty($$
	SELECT object FROM members m
	WHERE relkind IS DISTINCT FROM 'S' AND obj_description(objid, classid::regclass::name) IS NULL
$$, 'every table, view, function and type has a comment');
SELECT is_empty($$
	SELECT object, attname FROM members
	JOIN pg_attribute a ON classid = 'pg_class'::regclass AND attrelid = objid AND attnum > 0 AND NOT attisdropped
	WHERE relkind IN ('r', 'p', 'v') AND col_description(attrelid, attnum) IS NULL
$$, 'every column has a comment');

-- What depends on a row being found by its foreign key
SELECT is_empty($$
	SELECT conrelid::regclass, conname FROM pg_constraint k
	JOIN members ON conrelid = objid
	WHERE contype = 'f' AND confrelid <> 'llm_install'::regclass
	  AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = k.conrelid AND i.indkey[0] = k.conkey[1])
$$, 'every foreign key has an index that serves its cascade');

-- Dump
SELECT is_empty($$
	SELECT object FROM members
	WHERE relkind IN ('r', 'S') AND objid <> ALL ((SELECT extconfig FROM pg_extension WHERE extname = 'llm_router')::oid[])
$$, 'every table and sequence is dumped');
SELECT set_eq($$
	SELECT conrelid::regclass::text FROM pg_constraint WHERE contype = 'f' AND confrelid = 'llm_install'::regclass
$$, ARRAY['llm_providers', 'llm_tiers', 'llm_budgets', 'llm_seeds'], 'tables with seed rows or audited changes that refer to no other one are restored after llm_install');
SELECT results_eq('SELECT installation FROM llm_install', ARRAY[true], 'one row stands for the installation');

-- The ledger's parent
SELECT is_empty($$ SELECT conname FROM pg_constraint WHERE conrelid = 'llm_usage_logs'::regclass $$,
	'the parent of the ledger has no constraint');
SELECT is_empty($$ SELECT indexrelid::regclass FROM pg_index WHERE indrelid = 'llm_usage_logs'::regclass $$,
	'the parent of the ledger has no index');
SELECT is((SELECT pg_get_partkeydef('llm_usage_logs'::regclass)), 'RANGE (created_at)', 'the ledger is partitioned by time');

-- Triggers that tell processes to load the configuration anew
SELECT set_eq($$
	SELECT tgrelid::regclass::text, (tgtype & 1)::boolean, tgenabled::text FROM pg_trigger WHERE tgfoid = 'llm_config_changed'::regproc
$$, $$
	SELECT t, r, 'A' FROM unnest('{llm_providers,llm_models,llm_routing_rules,llm_tiers,llm_budgets,llm_provider_keys,llm_users,user_api_keys}'::text[]) t, unnest('{t,f}'::boolean[]) r
$$, 'rows and TRUNCATE of every routing table and of users are watched, also in replica mode');
SELECT is_empty($$
	SELECT a.attname FROM pg_trigger t, unnest(t.tgattr) AS n JOIN pg_attribute a ON a.attnum = n AND a.attrelid = 'llm_providers'::regclass
	WHERE t.tgrelid = 'llm_providers'::regclass
	  AND a.attname IN ('health_status', 'response_time_ms', 'uptime_percentage', 'error_rate', 'last_success_at')
$$, 'the results of health checks fire no trigger');

-- updated_at
UPDATE llm_providers SET updated_at = '2000-01-01';
UPDATE llm_providers SET health_status = 'down', response_time_ms = 5, uptime_percentage = 1, error_rate = 99;
SELECT is((SELECT count(*) FROM llm_providers WHERE updated_at > '2000-01-01'), 0::bigint, 'health leaves updated_at alone');
UPDATE llm_providers SET enabled = false WHERE name = 'openai';
SELECT results_eq($$ SELECT name FROM llm_providers WHERE updated_at > '2000-01-01' $$, ARRAY['openai'], 'an edit sets updated_at');
UPDATE llm_models SET enabled = false WHERE model_name = 'gpt-5.5';
SELECT is((SELECT updated_at FROM llm_models WHERE model_name = 'gpt-5.5'), now(), '… also of a model');

-- Renumbering
SELECT lives_ok('UPDATE llm_routing_rules SET priority = priority + 1', 'one UPDATE moves all rules down');
SELECT throws_ok('UPDATE llm_routing_rules SET priority = 2', '23505', NULL, '… but two rules never share a priority');
UPDATE llm_routing_rules SET priority = priority - 1;

-- Deleting
DELETE FROM llm_models WHERE model_name = 'gpt-6-luna';
SELECT is((SELECT count(*) FROM llm_routing_rules WHERE power_level = 'eco' AND priority = 1 AND fallback_model_id IS NULL), 4::bigint,
	'deleting a fallback keeps its rules');
DELETE FROM llm_providers WHERE name = 'groq';
SELECT is((SELECT count(*) FROM llm_routing_rules WHERE power_level = 'eco' AND priority = 1)
		+ (SELECT count(*) FROM llm_models m WHERE NOT EXISTS (SELECT FROM llm_providers p WHERE p.id = m.provider_id)), 0::bigint,
	'deleting a provider deletes its models and their rules');

SELECT * FROM finish();
ROLLBACK;

-- llm_doctor(): one look at everything that can be wrong with an installation.

CREATE FUNCTION llm_server_checks(IN needed_master_key text, OUT check_name text, OUT status text, OUT detail text, OUT hint text)
RETURNS SETOF record LANGUAGE c VOLATILE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'llm_server_checks';
COMMENT ON FUNCTION llm_server_checks(text) IS
	'The checks of llm_doctor that only the server process can answer: libraries, preload, launcher, master key (given the fingerprint of the one that stored keys need, or NULL), concurrency.';

-- SECURITY DEFINER: an administrator may not read the tables of keys, but may
-- know which providers lack one.
CREATE FUNCTION llm_doctor(OUT check_name text, OUT status text, OUT detail text, OUT hint text)
RETURNS SETOF record LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	WITH
	-- Models that a rule may pick.
	ruled AS (
		SELECT DISTINCT m.id, m.model_name, m.retires_on, m.cost_per_1k_input_tokens, m.cost_per_1k_output_tokens,
			p.id AS provider_id, p.name AS provider
		FROM llm_routing_rules r
		JOIN llm_models m ON m.id IN (r.model_id, r.fallback_model_id)
		JOIN llm_providers p ON p.id = m.provider_id
		WHERE m.enabled AND p.enabled
	),
	usable AS (
		SELECT p.id, p.name FROM llm_providers p
		WHERE p.enabled
		  AND (p.auth_type = 'none' OR EXISTS (SELECT FROM llm_provider_keys k WHERE k.provider_id = p.id AND k.base_url = p.base_url))
	),
	checks (place, check_name, problem, fine, wrong, names, hint) AS (
		SELECT 1, 'version', 'warning', 'the newest installed version is in use', 'this database uses an older version',
			(SELECT array_agg(format('%s instead of %s', installed_version, default_version))
			 FROM pg_available_extensions WHERE name = 'llm_router' AND installed_version <> default_version),
			'ALTER EXTENSION llm_router UPDATE;'
		UNION ALL
		-- Keys of users alone will do, as where everybody brings their own.
		SELECT 2, 'providers', 'error', 'at least one provider can be called', 'no enabled provider has a key',
			CASE WHEN NOT EXISTS (SELECT FROM usable)
				AND NOT EXISTS (SELECT FROM user_api_keys k JOIN llm_providers p ON p.id = k.provider_id
								WHERE p.enabled AND k.base_url = p.base_url AND k.is_active AND k.refused_at IS NULL)
				THEN ARRAY[''] END,
			'SELECT llm_provider_set_key(''openai'', ''…''); or add a provider with auth_type none.'
		UNION ALL
		SELECT 3, 'provider keys', 'warning', 'every provider that a rule names has a key', 'named by rules, but without a key',
			(SELECT array_agg(DISTINCT provider ORDER BY provider) FROM ruled WHERE provider_id NOT IN (SELECT id FROM usable)),
			'SELECT llm_provider_set_key(''NAME'', ''…''); or disable the provider. Its models are passed over.'
		UNION ALL
		SELECT 4, 'user keys', 'warning', 'every active key of a user may be used', 'keys of users that are not used',
			(SELECT array_agg(format('%s %s', n, why) ORDER BY why)
			 FROM (SELECT count(*) AS n, CASE WHEN k.base_url <> p.base_url THEN 'since their provider has another base_url'
											  ELSE 'refused by their provider' END AS why
				   FROM user_api_keys k JOIN llm_providers p ON p.id = k.provider_id
				   WHERE k.is_active AND (k.base_url <> p.base_url OR k.refused_at IS NOT NULL)
				   GROUP BY why) AS counted),
			'Their users see them in llm_keys and replace them with llm_key_update; after a provider really moved, llm_provider_confirm_keys moves its keys.'
		UNION ALL
		SELECT 5, 'provider health', 'warning', 'no provider is known to be ill', 'not healthy',
			(SELECT array_agg(format('%s (%s)', name, health_status) ORDER BY name)
			 FROM llm_providers WHERE enabled AND health_status IN ('degraded', 'down')),
			'See the provider''s status page.'
		UNION ALL
		SELECT 6, 'retired models', 'warning', 'no rule names a retired model', 'named by rules, but retired',
			(SELECT array_agg(format('%s/%s (%s)', provider, model_name, retires_on) ORDER BY retires_on, provider, model_name)
			 FROM ruled WHERE retires_on <= current_date),
			'Change llm_routing_rules: retired models are passed over.'
		UNION ALL
		SELECT 7, 'retiring models', 'warning', 'no model in use retires within 60 days', 'retire within 60 days',
			(SELECT array_agg(format('%s/%s (%s)', p.name, m.model_name, m.retires_on) ORDER BY m.retires_on, p.name, m.model_name)
			 FROM llm_models m JOIN llm_providers p ON p.id = m.provider_id
			 WHERE m.enabled AND p.enabled AND m.retires_on > current_date AND m.retires_on <= current_date + 60),
			'Choose successors and change llm_routing_rules in time.'
		UNION ALL
		SELECT 8, 'prices', 'warning', 'every model that a rule names has prices', 'named by rules, but without prices',
			(SELECT array_agg(format('%s/%s', provider, model_name) ORDER BY provider, model_name)
			 FROM ruled WHERE cost_per_1k_input_tokens IS NULL OR cost_per_1k_output_tokens IS NULL),
			'SELECT llm_model_set_price(''PROVIDER'', ''MODEL'', input_usd_per_1m, output_usd_per_1m); until then the cost of its calls is unknown.'
		UNION ALL
		SELECT 9, 'rules', 'warning', 'every tier has rules for its power levels', 'without a rule',
			(SELECT array_agg(format('%s/%s', t.subscription_tier, l.level) ORDER BY t.subscription_tier, l.level)
			 FROM llm_tiers t CROSS JOIN LATERAL unnest(t.power_levels) AS l (level)
			 WHERE NOT EXISTS (SELECT FROM llm_routing_rules r
							   WHERE r.subscription_tier = t.subscription_tier AND r.power_level = l.level)),
			'INSERT INTO llm_routing_rules; without a rule all models of the level may be used, the cheapest first.'
		UNION ALL
		SELECT 10, 'partitions', 'error', 'the ledger has its partitions', 'the ledger has no partition for the next 7 days',
			CASE WHEN EXISTS (SELECT FROM pg_inherits WHERE inhparent = 'llm_usage_logs'::regclass)
				AND NOT EXISTS (SELECT FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
								WHERE i.inhparent = 'llm_usage_logs'::regclass
								  AND c.relname >= 'llm_usage_logs_p' || to_char((now() + interval '7 days') AT TIME ZONE 'UTC', 'YYYYMM'))
				THEN ARRAY[''] END,
			'The ledger writer makes them; the server log says why it could not.'
		UNION ALL
		SELECT 11, 'quarantine', 'error', 'no ledger record was refused', 'ledger records that could not be written as rows',
			(SELECT ARRAY[count(*)::text] FROM llm_usage_quarantine HAVING count(*) > 0),
			'See llm_usage_quarantine for the reasons; insert the rows by hand and delete them there.'
		UNION ALL
		SELECT 12, 'budgets', 'warning', 'no budget is near its end', 'near their end',
			(SELECT array_agg(format('%s (%s%%)', concat_ws(' ', 'budget', b.id, b.scope, s.scope_value, b.period), s.percent)
							  ORDER BY s.percent DESC, b.id, s.scope_value)
			 FROM llm_budget_counters() s JOIN llm_budgets b ON b.id = s.budget_id
			 WHERE s.percent >= coalesce(b.warn_at, 90)),
			'See llm_budget_status. Calls that have no room are refused with LR003, or downgraded.'
	)
	SELECT s.check_name, s.status, s.detail, s.hint FROM llm_install AS i CROSS JOIN LATERAL llm_server_checks(i.master_key_fingerprint) AS s
	UNION ALL
	(SELECT c.check_name,
		CASE WHEN c.names IS NULL THEN 'ok' ELSE c.problem END,
		CASE WHEN c.names IS NULL THEN c.fine
			 ELSE c.wrong || COALESCE(': ' || NULLIF(array_to_string(c.names, ', '), ''), '') END,
		CASE WHEN c.names IS NOT NULL THEN c.hint END
	 FROM checks c ORDER BY c.place);
END;
COMMENT ON FUNCTION llm_doctor() IS
	'Checks the installation: one row a check, with status ok, warning or error, what was found, and what to do.';

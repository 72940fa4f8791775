-- Writing the shipped catalogue into the tables, now and at upgrades.
--
-- A seed row is written when it is new to this installation, and written again
-- only while it is still as the extension last wrote it (llm_seeds.content). A
-- row that an operator edited keeps every column, and a deleted one stays
-- deleted. Columns that the extension does not ship, such as health, do not count.

-- Brings one row of target into line with content and returns what llm_seeds is
-- to remember. applied is what it remembers so far, NULL for a new seed row.
CREATE FUNCTION llm_seed_row(target regclass, key_columns text[], content jsonb, applied jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	-- the columns of content, ready for a column list
	columns	text := (SELECT string_agg(quote_ident(k), ', ') FROM jsonb_object_keys(content) AS k);
	row_key	jsonb := (SELECT jsonb_object_agg(k, content -> k) FROM unnest(key_columns) AS k);
	present	jsonb;
BEGIN
	EXECUTE format('SELECT to_jsonb(t) FROM %s AS t WHERE to_jsonb(t) @> $1', target) INTO present USING row_key;

	IF applied IS NULL THEN
		IF present IS NULL THEN
			EXECUTE format('INSERT INTO %1$s (%2$s) SELECT %2$s FROM jsonb_populate_record(NULL::%1$s, $1)', target, columns)
				USING content;
		END IF;
		RETURN content;
	END IF;

	IF content <> applied
		AND applied = (SELECT jsonb_object_agg(k, present -> k) FROM jsonb_object_keys(applied) AS k)
	THEN
		EXECUTE format('UPDATE %1$s AS t SET (%2$s) = (SELECT %2$s FROM jsonb_populate_record(NULL::%1$s, $1)) WHERE to_jsonb(t) @> $2',
					   target, columns)
			USING content, row_key;
		RETURN content;
	END IF;
	RETURN applied;
END
$$;
COMMENT ON FUNCTION llm_seed_row(regclass, text[], jsonb, jsonb) IS
	'Used by llm_seed(): writes one shipped row unless an operator edited or deleted it.';

CREATE FUNCTION llm_seed_one(target regclass, seed_name text, key_columns text[], content jsonb)
RETURNS void
LANGUAGE sql
BEGIN ATOMIC
	INSERT INTO llm_seeds (table_name, seed_name, content)
	SELECT c.relname, llm_seed_one.seed_name,
		   llm_seed_row(target, key_columns, llm_seed_one.content,
						(SELECT s.content FROM llm_seeds s WHERE s.table_name = c.relname AND s.seed_name = llm_seed_one.seed_name))
	FROM pg_class c
	WHERE c.oid = target
	ON CONFLICT (table_name, seed_name) DO UPDATE SET content = excluded.content;
END;
COMMENT ON FUNCTION llm_seed_one(regclass, text, text[], jsonb) IS 'Used by llm_seed(): writes one shipped row and remembers it.';

CREATE FUNCTION llm_seed()
RETURNS void
LANGUAGE sql
BEGIN ATOMIC
	SELECT llm_seed_one('llm_tiers'::regclass, s.subscription_tier, '{subscription_tier}', to_jsonb(s))
	FROM llm_seed_tiers() AS s;

	SELECT llm_seed_one('llm_providers'::regclass, s.name, '{name}', to_jsonb(s))
	FROM llm_seed_providers() AS s;

	SELECT llm_seed_one('llm_models'::regclass, s.provider || '/' || s.model_name, '{provider_id,model_name}',
		jsonb_build_object(
			'provider_id', p.id,
			'model_name', s.model_name,
			'display_name', s.display_name,
			'power_level', s.power_level,
			'cost_per_1k_input_tokens', s.input_usd_per_1m * 0.001,
			'cost_per_1k_cached_input_tokens', s.cached_input_usd_per_1m * 0.001,
			'cost_per_1k_cache_write_tokens', s.cache_write_usd_per_1m * 0.001,
			'cost_per_1k_output_tokens', s.output_usd_per_1m * 0.001,
			'long_prompt_above', s.long_prompt_above,
			'cost_per_1k_long_input_tokens', s.long_input_usd_per_1m * 0.001,
			'cost_per_1k_long_cached_input_tokens', s.long_cached_input_usd_per_1m * 0.001,
			'cost_per_1k_long_output_tokens', s.long_output_usd_per_1m * 0.001,
			'max_tokens', s.max_tokens,
			'max_output_tokens', s.max_output_tokens,
			'supports_functions', s.supports_functions,
			'supports_vision', s.supports_vision,
			'supports_json_schema', s.supports_json_schema,
			'retires_on', s.retires_on))
	FROM llm_seed_models() AS s
	JOIN llm_providers p ON p.name = s.provider;

	SELECT llm_seed_one('llm_routing_rules'::regclass, s.power_level || '/' || t.subscription_tier || '/' || s.priority,
		'{power_level,subscription_tier,priority}',
		jsonb_build_object(
			'power_level', s.power_level,
			'subscription_tier', t.subscription_tier,
			'priority', s.priority,
			'model_id', m.id,
			'fallback_model_id', f.id))
	FROM llm_seed_rules() AS s
	CROSS JOIN llm_seed_tiers() AS t
	JOIN llm_tiers ON llm_tiers.subscription_tier = t.subscription_tier
	JOIN llm_providers p ON p.name = s.provider
	JOIN llm_models m ON m.provider_id = p.id AND m.model_name = s.model_name
	LEFT JOIN (llm_providers fp JOIN llm_models f ON f.provider_id = fp.id)
		ON fp.name = s.fallback_provider AND f.model_name = s.fallback_model_name;
END;
COMMENT ON FUNCTION llm_seed() IS
	'Writes the shipped catalogue: adds what is new to this installation, improves rows that nobody touched, leaves edited and deleted ones alone.';

SELECT llm_seed();

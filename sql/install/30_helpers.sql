-- Helpers for DBAs, in the units people think in: USD per 1,000,000 tokens.
--
-- Bodies are BEGIN ATOMIC: they find their tables by OID, whatever the
-- search_path and whatever the schema is renamed to.

CREATE FUNCTION llm_provider_id(provider text)
RETURNS integer
LANGUAGE sql VOLATILE STRICT
BEGIN ATOMIC
	SELECT COALESCE(
		(SELECT p.id FROM llm_providers p WHERE p.name = provider),
		llm_reject('unknown provider "' || provider || '"',
				   'Providers are ' || (SELECT string_agg(p.name, ', ' ORDER BY p.name) FROM llm_providers p) || '.'));
END;
COMMENT ON FUNCTION llm_provider_id(text) IS 'The number of the provider of this name; 22023 naming the providers if there is none.';

CREATE FUNCTION llm_model_id(provider text, model_name text)
RETURNS integer
LANGUAGE sql VOLATILE STRICT
BEGIN ATOMIC
	SELECT COALESCE(
		(SELECT m.id FROM llm_models m WHERE m.provider_id = p.id AND m.model_name = llm_model_id.model_name),
		llm_reject('unknown model "' || llm_model_id.model_name || '" of provider "' || provider || '"',
				   COALESCE('Its models are ' || (SELECT string_agg(m.model_name, ', ' ORDER BY m.model_name)
												   FROM llm_models m WHERE m.provider_id = p.id) || '.',
							'It has no models yet: add one with llm_model_add.')))
	FROM llm_provider_id(provider) AS p (id);
END;
COMMENT ON FUNCTION llm_model_id(text, text) IS 'The number of a provider''s model; 22023 naming the provider''s models if there is none.';

CREATE FUNCTION llm_provider_add(name text, base_url text, api_format text DEFAULT 'openai', auth_type text DEFAULT 'bearer')
RETURNS integer
LANGUAGE sql VOLATILE
BEGIN ATOMIC
	INSERT INTO llm_providers (name, display_name, base_url, check_path, api_format, auth_type)
	VALUES (name, name, base_url,
			CASE api_format
				WHEN 'openai' THEN '/models'
				WHEN 'anthropic' THEN '/v1/models?limit=1'
				WHEN 'google' THEN '/v1beta/models?pageSize=1'
				WHEN 'cohere' THEN '/v1/models?page_size=1'
				WHEN 'replicate' THEN '/account'
			END, api_format, auth_type)
	RETURNING id;
END;
COMMENT ON FUNCTION llm_provider_add(text, text, text, text) IS
	'Adds a provider and returns its number. base_url is what the vendor''s SDK takes; api_format openai serves every compatible server; auth_type none needs no key.';

CREATE FUNCTION llm_model_add(
	provider text,
	model_name text,
	power_level text,
	input_usd_per_1m numeric DEFAULT NULL,
	output_usd_per_1m numeric DEFAULT NULL,
	cached_input_usd_per_1m numeric DEFAULT NULL,
	cache_write_usd_per_1m numeric DEFAULT NULL,
	max_tokens integer DEFAULT NULL,
	max_output_tokens integer DEFAULT NULL,
	supports_functions boolean DEFAULT NULL,
	supports_vision boolean DEFAULT NULL,
	supports_json_schema boolean DEFAULT NULL,
	display_name text DEFAULT NULL,
	retires_on date DEFAULT NULL)
RETURNS integer
LANGUAGE sql VOLATILE
BEGIN ATOMIC
	INSERT INTO llm_models (
		provider_id, model_name, display_name, power_level,
		cost_per_1k_input_tokens, cost_per_1k_output_tokens,
		cost_per_1k_cached_input_tokens, cost_per_1k_cache_write_tokens,
		max_tokens, max_output_tokens, supports_functions, supports_vision, supports_json_schema, retires_on)
	VALUES (
		llm_provider_id(provider), model_name, COALESCE(display_name, model_name), power_level,
		-- exact, which a division by 1000 need not be
		input_usd_per_1m * 0.001, output_usd_per_1m * 0.001,
		cached_input_usd_per_1m * 0.001, cache_write_usd_per_1m * 0.001,
		max_tokens, max_output_tokens, supports_functions, supports_vision, supports_json_schema, retires_on)
	RETURNING id;
END;
COMMENT ON FUNCTION llm_model_add(text, text, text, numeric, numeric, numeric, numeric, integer, integer, boolean, boolean, boolean, text, date) IS
	'Adds a model to a provider and returns its number. Prices are USD per 1,000,000 tokens: 0 is free, NULL unknown. max_tokens is the context window.';

CREATE FUNCTION llm_model_set_price(
	provider text,
	model_name text,
	input_usd_per_1m numeric,
	output_usd_per_1m numeric,
	cached_input_usd_per_1m numeric DEFAULT NULL,
	cache_write_usd_per_1m numeric DEFAULT NULL,
	long_prompt_above integer DEFAULT NULL,
	long_input_usd_per_1m numeric DEFAULT NULL,
	long_cached_input_usd_per_1m numeric DEFAULT NULL,
	long_output_usd_per_1m numeric DEFAULT NULL)
RETURNS void
LANGUAGE sql VOLATILE
BEGIN ATOMIC
	UPDATE llm_models AS m
	SET cost_per_1k_input_tokens = input_usd_per_1m * 0.001,
		cost_per_1k_output_tokens = output_usd_per_1m * 0.001,
		cost_per_1k_cached_input_tokens = cached_input_usd_per_1m * 0.001,
		cost_per_1k_cache_write_tokens = cache_write_usd_per_1m * 0.001,
		long_prompt_above = llm_model_set_price.long_prompt_above,
		cost_per_1k_long_input_tokens = long_input_usd_per_1m * 0.001,
		cost_per_1k_long_cached_input_tokens = long_cached_input_usd_per_1m * 0.001,
		cost_per_1k_long_output_tokens = long_output_usd_per_1m * 0.001
	FROM llm_model_id(provider, llm_model_set_price.model_name) AS priced (id)
	WHERE m.id = priced.id;
END;
COMMENT ON FUNCTION llm_model_set_price(text, text, numeric, numeric, numeric, numeric, integer, numeric, numeric, numeric) IS
	'Replaces all prices of a model, in USD per 1,000,000 tokens: 0 is free, NULL unknown. Prices that are left out become NULL.';

-- Medians are the price of a model that exists: percentile_cont would return
-- floating point.
CREATE VIEW llm_power_levels AS
SELECT l.level,
	   m.models,
	   m.input_usd_per_1m,
	   m.output_usd_per_1m,
	   r.response_time_ms
FROM unnest('{eco,balanced,precision}'::text[]) WITH ORDINALITY AS l (level, place)
CROSS JOIN LATERAL (
	SELECT count(*)::integer AS models,
		   trim_scale(1000 * percentile_disc(0.5) WITHIN GROUP (ORDER BY m.cost_per_1k_input_tokens)) AS input_usd_per_1m,
		   trim_scale(1000 * percentile_disc(0.5) WITHIN GROUP (ORDER BY m.cost_per_1k_output_tokens)) AS output_usd_per_1m
	FROM llm_models m
	JOIN llm_providers p ON p.id = m.provider_id
	WHERE m.power_level = l.level
	  AND m.enabled AND p.enabled
	  AND (m.retires_on > CURRENT_DATE) IS NOT FALSE
) AS m
CROSS JOIN LATERAL (
	SELECT round(sum(r.latency_sum_ms) / sum(r.requests))::integer AS response_time_ms
	FROM llm_usage_rollup r
	WHERE r.bucket >= now() - interval '7 days'
	  AND r.power_level = l.level
	  AND r.status = 'ok'
) AS r
ORDER BY l.place;
COMMENT ON VIEW llm_power_levels IS 'The power levels with what they typically cost and take, for a selector.';
COMMENT ON COLUMN llm_power_levels.level IS 'eco, balanced or precision, the cheapest first.';
COMMENT ON COLUMN llm_power_levels.models IS 'Number of models in use at this level.';
COMMENT ON COLUMN llm_power_levels.input_usd_per_1m IS 'Median price of their prompts, USD per 1,000,000 tokens.';
COMMENT ON COLUMN llm_power_levels.output_usd_per_1m IS 'Median price of their answers, USD per 1,000,000 tokens.';
COMMENT ON COLUMN llm_power_levels.response_time_ms IS 'Mean response time of the last seven days, in milliseconds; NULL until measured.';

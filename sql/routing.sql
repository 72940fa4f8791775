-- Which models serve a request, in which order, and why others do not: llm_route
-- over a small configuration. Users' keys and retries are in test/t/150_routing.pl.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS llm_router;
RESET client_min_messages;
\set ON_ERROR_ROLLBACK on
\set VERBOSITY default
\set SHOW_CONTEXT never
BEGIN;

DELETE FROM llm_providers;
SELECT llm_provider_add('alpha', 'http://localhost:1/v1', auth_type => 'none') > 0
   AND llm_provider_add('beta', 'http://localhost:2/v1', auth_type => 'none') > 0
   AND llm_provider_add('gamma', 'https://gamma.example/v1') > 0
   AND llm_provider_add('delta', 'https://delta.example', 'anthropic', 'x-api-key') > 0 AS added;
SELECT llm_model_add('alpha', 'a-small', 'eco', 1, 2, max_tokens => 8000, max_output_tokens => 1000,
			supports_functions => false, supports_vision => false, supports_json_schema => false) > 0
   AND llm_model_add('alpha', 'shared', 'balanced', 2, 4) > 0
   AND llm_model_add('beta', 'shared', 'balanced', 1, 4) > 0
   AND llm_model_add('beta', 'b-free', 'eco', 0, 0) > 0
   AND llm_model_add('beta', 'b-unpriced', 'eco') > 0
   AND llm_model_add('gamma', 'alpha/a-small', 'eco', 9, 9) > 0
   AND llm_model_add('delta', 'd-large', 'precision', 20, 80) > 0
   AND llm_model_add('alpha', 'a-large', 'precision', 10, 40, cached_input_usd_per_1m => 1, cache_write_usd_per_1m => 12.5) > 0 AS added;
CREATE FUNCTION rule(tier text, level text, priority int, model text, fallback text DEFAULT NULL) RETURNS void LANGUAGE sql AS $$
	INSERT INTO llm_routing_rules (subscription_tier, power_level, priority, model_id, fallback_model_id)
	SELECT tier, level, priority, llm_model_id(split_part(model, ' ', 1), split_part(model, ' ', 2)),
		llm_model_id(split_part(fallback, ' ', 1), split_part(fallback, ' ', 2))
$$;
SELECT rule('enterprise', 'eco', 1, 'beta b-unpriced', 'alpha a-small'),
	   rule('enterprise', 'eco', 2, 'gamma alpha/a-small', 'beta b-unpriced'),
	   rule('enterprise', 'precision', 1, 'delta d-large', 'alpha a-large');
CREATE FUNCTION plan(level text DEFAULT NULL, model text DEFAULT NULL, options jsonb DEFAULT '{}', content text DEFAULT 'hi')
RETURNS TABLE (candidate text, eligible boolean, reason text) LANGUAGE sql AS $$
	SELECT "position" || ' ' || provider || ' ' || r.model, eligible, reason
	FROM llm_route(jsonb_build_array(jsonb_build_object('role', 'user', 'content', content)), level, plan.model, options) AS r
	ORDER BY "position"
$$;

-- Rule 1 primary, rule 1 fallback, rule 2 primary, ...; a model at its best place; the excluded behind
SELECT * FROM plan('eco');
-- Other models of the level, by price, only with fallback_scope level
SELECT * FROM plan('eco', options => '{"router": {"fallback_scope": "level"}}');
SET LOCAL llm_router.fallback_scope = 'level';
SELECT candidate FROM plan('eco') WHERE eligible;
SELECT candidate FROM plan('eco', options => '{"router": {"fallback_scope": "rules"}}') WHERE eligible;
RESET llm_router.fallback_scope;
-- ... or where no rule covers the tier and level
SELECT * FROM plan('balanced');

-- The level: the setting's, the user's, lowered to what the tier includes; by name it must be included
SELECT DISTINCT split_part(reason, ',', 1) AS level FROM plan();
SET LOCAL llm_router.default_power_level = 'precision';
SELECT candidate FROM plan();
INSERT INTO llm_users (user_id, subscription_tier, default_power_level) VALUES ('ann', 'starter', 'precision'), ('bob', 'enterprise', 'eco');
SET LOCAL llm_router.user_id = 'ann';
SELECT candidate, reason FROM plan() WHERE eligible;
SELECT * FROM plan('precision');
SELECT candidate FROM plan(options => '{"router": {"user_id": "bob"}}') WHERE eligible;
SET LOCAL llm_router.user_id = 'nobody';
SELECT * FROM plan('balanced');
SET LOCAL llm_router.default_end_user_tier = 'gold';
SELECT * FROM plan();
RESET llm_router.default_end_user_tier;
RESET llm_router.user_id;
RESET llm_router.default_power_level;
SELECT * FROM plan('best');
SELECT * FROM plan('b-free');

-- A named model: in full, or bare at every provider that has it, the cheapest first
SELECT * FROM plan(model => 'alpha/shared');
SELECT * FROM plan(model => 'shared');
SELECT * FROM plan(model => 'alpha/a-small');
SELECT * FROM plan(options => '{"model": "b-free"}');
SELECT * FROM plan(model => 'b-fre');
SELECT * FROM plan(model => 'alpha/something-else');
SELECT * FROM plan(model => 'something-else');
SET LOCAL llm_router.user_id = 'nobody';
SELECT * FROM plan(model => 'a-large');
RESET llm_router.user_id;

-- Exclusions
SELECT reason FROM plan(model => 'alpha/a-small', options => '{"tools": [{"type": "function", "function": {"name": "f"}}]}');
SELECT reason FROM plan(model => 'alpha/a-small', options => '{"response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {}}}}');
SELECT reason FROM llm_route('[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.com/x.png", "detail": "low"}}]}]', model => 'alpha/a-small');
SELECT reason FROM plan(model => 'alpha/a-small', options => '{"max_tokens": 1001}');
SELECT reason FROM plan(model => 'alpha/a-small', options => '{"max_tokens": 1000}');
SELECT reason ~ '^about \d+ prompt tokens do not fit into its context window of 8000$' AS too_long FROM plan(model => 'alpha/a-small', content => repeat('word ', 8000));
SELECT reason ~ '^about \d+ prompt tokens and an answer of up to 900 do not fit into its context window of 8000$' AS too_long FROM plan(model => 'alpha/a-small', options => '{"max_tokens": 900}', content => repeat('word ', 7500));
SELECT reason FROM plan(model => 'gamma/alpha/a-small');
SELECT reason FROM plan(model => 'a-large', options => '{"router": {"byok": "only"}}');
SELECT reason FROM plan(model => 'd-large');
SAVEPOINT before;
UPDATE llm_models SET retires_on = current_date + 1 WHERE model_name = 'b-free';
SELECT eligible FROM plan(model => 'b-free');
UPDATE llm_models SET retires_on = '2026-01-31' WHERE model_name = 'b-free';
SELECT reason FROM plan(model => 'b-free');
UPDATE llm_models SET enabled = false WHERE model_name = 'b-free';
SELECT reason FROM plan(model => 'b-free');
UPDATE llm_providers SET enabled = false WHERE name = 'beta';
SELECT reason FROM plan(model => 'b-free');
ROLLBACK TO before;

-- The most that it can cost: all of the prompt (24 tokens more than the text), and an answer as long as the model's limit, 4,096 or max_tokens
SELECT provider, model, estimated_cost_usd = answer * output_price + (llm_count_tokens('hi') + 24) * input_price AS as_expected
FROM llm_route('[{"role": "user", "content": "hi"}]', 'eco', options => '{"router": {"fallback_scope": "level"}}')
LEFT JOIN (VALUES ('a-small', 1000, 2e-6, 1e-6), ('b-free', 4096, 0, 0), ('alpha/a-small', 4096, 9e-6, 9e-6)) AS m (model, answer, output_price, input_price) USING (model)
ORDER BY "position";
SELECT llm_estimate_cost('[{"role": "user", "content": "hi"}]', model => 'a-large', options => '{"max_tokens": 10, "n": 3}')
	 = 3 * 10 * 40e-6 + (llm_count_tokens('hi') + 24) * 12.5e-6 AS cache_write_is_dearer;
CREATE FUNCTION prompt_tokens(content jsonb, options jsonb DEFAULT '{}') RETURNS numeric LANGUAGE sql AS $$
	SELECT trim_scale(llm_estimate_cost(jsonb_build_array(jsonb_build_object('role', 'user', 'content', content)), model => 'a-large',
		options => options || '{"max_tokens": 1}') / 12.5e-6 - 40 / 12.5)
$$;
SELECT prompt_tokens('"hi"') = llm_count_tokens('hi') + 24 AS text,
	prompt_tokens('[{"type": "text", "text": "hi"}, {"type": "text", "text": "you"}]') = llm_count_tokens('hi') + llm_count_tokens('you') + 24 AS parts,
	prompt_tokens('[{"type": "image_url", "image_url": {"url": "https://example.com/x.png"}}]') - 24 AS image,
	prompt_tokens('[{"type": "image_url", "image_url": {"url": "https://example.com/x.png", "detail": "low"}}]') - 24 AS image_low,
	prompt_tokens(jsonb_build_array(jsonb_build_object('type', 'input_audio', 'input_audio', jsonb_build_object('format', 'mp3', 'data', repeat('A', 1280))))) - 24 AS audio,
	prompt_tokens('"hi"', '{"tools": [{"type": "function", "function": {"name": "f"}}]}') - prompt_tokens('"hi"')
		= llm_count_tokens('[{"type": "function", "function": {"name": "f"}}]') AS tools;
SELECT llm_estimate_cost('[{"role": "user", "content": "hi"}]', 'eco') IS NULL AS unknown_price;
SELECT llm_estimate_cost(NULL) IS NULL AS nothing, (SELECT count(*) FROM llm_route(NULL)) AS rows;

-- Nothing eligible: LR005 with the line to run where a key is all that is missing, else LR001
SELECT llm_estimate_cost('[{"role": "user", "content": "hi"}]', model => 'gamma/alpha/a-small');
\echo :LAST_ERROR_SQLSTATE
SELECT llm_estimate_cost('[{"role": "user", "content": "hi"}]', model => 'd-large');
\echo :LAST_ERROR_SQLSTATE
DELETE FROM llm_models;
SELECT llm_estimate_cost('[{"role": "user", "content": "hi"}]', 'eco');
ROLLBACK;

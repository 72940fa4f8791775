-- The shipped catalogue, against the rules that it has to keep.

BEGIN;
SELECT plan(22);

SELECT set_eq('SELECT name FROM llm_providers',
	ARRAY['openai', 'anthropic', 'google', 'cohere', 'together', 'openrouter', 'replicate', 'groq', 'mistral', 'huggingface'],
	'ten providers');
SELECT is((SELECT count(*) FROM llm_models), 53::bigint, 'all models');
SELECT results_eq('SELECT subscription_tier, power_levels FROM llm_tiers ORDER BY cardinality(power_levels), 1',
	$$ VALUES ('free', '{eco}'::text[]), ('starter', '{eco,balanced}'),
			  ('enterprise', '{eco,balanced,precision}'), ('professional', '{eco,balanced,precision}') $$,
	'four tiers and their power levels');
SELECT set_eq('SELECT DISTINCT name, level FROM llm_providers, unnest(ARRAY[''eco'']) level',
	$$ SELECT DISTINCT p.name, 'eco' FROM llm_models m JOIN llm_providers p ON p.id = m.provider_id
	   WHERE m.power_level = 'eco' AND m.retires_on IS NULL $$,
	'every provider has an eco model that stays');

-- Prices: USD per 1,000 tokens in the table, per 1,000,000 in the price lists
SELECT is((SELECT m.cost_per_1k_input_tokens FROM llm_models m WHERE model_name = 'command-r7b-12-2024'), 0.0000375,
	'prices are exact');
SELECT results_eq($$
	SELECT cost_per_1k_input_tokens, cost_per_1k_cached_input_tokens, cost_per_1k_output_tokens, long_prompt_above,
		   cost_per_1k_long_input_tokens, cost_per_1k_long_cached_input_tokens, cost_per_1k_long_output_tokens
	FROM llm_models WHERE model_name = 'gpt-5.4'
$$, $$ VALUES (0.0025, 0.00025, 0.015, 272000, 0.005, 0.0005, 0.0225) $$, 'prices for long prompts');
SELECT is((SELECT cost_per_1k_cache_write_tokens FROM llm_models WHERE model_name = 'claude-haiku-4-5'), 0.00125, 'prices of cache writes');
SELECT is((SELECT count(*) FROM llm_models WHERE cost_per_1k_input_tokens IS NULL OR cost_per_1k_output_tokens IS NULL), 0::bigint,
	'every model has prices');
SELECT is((SELECT sum(cost_per_1k_input_tokens) FROM llm_models) * 1000, 117.1775,
	'prices of prompts add up to those of the list');
SELECT is((SELECT sum(cost_per_1k_output_tokens) FROM llm_models) * 1000, 473.03,
	'prices of answers add up to those of the list');
SELECT is((SELECT retires_on FROM llm_models WHERE model_name = 'gpt-4o'), '2027-01-14'::date, 'retirement dates');
SELECT is((SELECT count(*) FROM llm_models WHERE retires_on IS NOT NULL), 10::bigint, '… for all that have one');

-- Rules
SELECT set_eq('SELECT DISTINCT power_level::text, subscription_tier FROM llm_routing_rules WHERE priority = 1',
	$$ SELECT l, t FROM unnest('{eco,balanced,precision}'::text[]) l, unnest('{free,starter,professional,enterprise}'::text[]) t $$,
	'every power level has a rule 1 for every tier');

CREATE TEMP VIEW rules AS
SELECT r.*, m.model_name, m.power_level AS model_level, m.retires_on, p.name AS provider, p.api_format,
	   f.model_name AS fallback_name, f.power_level AS fallback_level, f.retires_on AS fallback_retires_on,
	   fp.name AS fallback_provider, fp.api_format AS fallback_format
FROM llm_routing_rules r
JOIN llm_models m ON m.id = r.model_id JOIN llm_providers p ON p.id = m.provider_id
LEFT JOIN llm_models f ON f.id = r.fallback_model_id LEFT JOIN llm_providers fp ON fp.id = f.provider_id;
SELECT is_empty('SELECT * FROM rules WHERE fallback_provider IS NULL OR provider = fallback_provider',
	'primary and fallback are at different providers');
SELECT is_empty('SELECT * FROM rules WHERE model_level <> power_level OR fallback_level <> power_level',
	'rules name models of their own level');
-- 90 days after the release of this catalogue
SELECT is_empty($$ SELECT * FROM rules WHERE retires_on < '2027-02-21' OR fallback_retires_on < '2027-02-21' $$,
	'no rule names a model that is retired or retires within 90 days');
SELECT is_empty($$ SELECT * FROM rules WHERE priority = 1 AND (api_format <> 'openai' OR fallback_format <> 'openai') $$,
	'rule 1 and its fallback are of the openai format');

-- Writing the catalogue again
DELETE FROM llm_models WHERE model_name = 'gpt-6-astra';
UPDATE llm_models SET display_name = 'Ours' WHERE model_name = 'gpt-6-sol';
CREATE TEMP TABLE before AS SELECT to_jsonb(m) AS row FROM llm_models m UNION ALL SELECT to_jsonb(r) FROM llm_routing_rules r;
SELECT lives_ok('SELECT llm_seed()', 'the catalogue can be written again');
SELECT set_eq('SELECT to_jsonb(m) FROM llm_models m UNION ALL SELECT to_jsonb(r) FROM llm_routing_rules r', 'SELECT row FROM before',
	'… which leaves edited rows edited and deleted ones deleted');

SELECT results_eq('SELECT level, models > 0, input_usd_per_1m > 0, output_usd_per_1m > 0, response_time_ms FROM llm_power_levels',
	$$ VALUES ('eco', true, true, true, NULL::integer), ('balanced', true, true, true, NULL), ('precision', true, true, true, NULL) $$,
	'llm_power_levels: three levels in order, with prices, and no latency before it is measured');
INSERT INTO llm_usage_rollup (bucket, user_id, provider, model, power_level, used_byok, status, requests, latency_sum_ms)
VALUES (date_bin('15 minutes', now(), 'epoch'), 'ann', 'groq', 'a', 'eco', false, 'ok', 3, 900),
	   (date_bin('15 minutes', now(), 'epoch'), 'bob', 'groq', 'a', 'eco', false, 'ok', 1, 500),
	   (date_bin('15 minutes', now(), 'epoch'), 'bob', 'groq', 'a', 'eco', false, 'error', 1, 90000),
	   (date_bin('15 minutes', now() - interval '8 days', 'epoch'), 'bob', 'groq', 'a', 'eco', false, 'ok', 1, 90000);
SELECT is((SELECT response_time_ms FROM llm_power_levels WHERE level = 'eco'), 350,
	'… then the mean of a week''s answers');
SELECT throws_ok($$
	INSERT INTO llm_usage_rollup (bucket, user_id, provider, model, power_level, used_byok, status)
	VALUES ('2026-11-23 12:16+00', 'ann', 'groq', 'a', 'eco', false, 'ok')
$$, '23514', NULL, 'the rollup takes quarters of an hour only');

SELECT * FROM finish();
ROLLBACK;

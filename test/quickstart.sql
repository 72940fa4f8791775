\set QUIET on
\pset footer off
\set ON_ERROR_STOP on
-- A provider is a row. This one is the server that the quickstart started: OpenAI's API, and no key.
\set ECHO queries

UPDATE llm_providers SET base_url = :'base_url' WHERE name = 'local';
SELECT llm_provider_add('local', :'base_url', auth_type => 'none') AS provider
 WHERE NOT EXISTS (SELECT FROM llm_providers WHERE name = 'local');

SELECT llm_model_add('local', :'model', 'eco', input_usd_per_1m => 0, output_usd_per_1m => 0, max_tokens => 4096) AS model
 WHERE NOT EXISTS (SELECT FROM llm_models WHERE model_name = :'model');

-- Rule 1 of every power level and tier; the rules that came with the extension follow.
BEGIN;
DELETE FROM llm_routing_rules WHERE model_id = llm_model_id('local', :'model');
UPDATE llm_routing_rules SET priority = priority + 10 WHERE NOT EXISTS (SELECT FROM llm_routing_rules WHERE priority > 10);
INSERT INTO llm_routing_rules (power_level, subscription_tier, priority, model_id)
SELECT DISTINCT power_level, subscription_tier, 1, llm_model_id('local', :'model') FROM llm_routing_rules;
COMMIT;

SELECT llm_ask('Explain in one sentence what a database is.') AS answer;

SELECT provider, model, power_level, input_tokens, output_tokens, cost_usd, response_time_ms FROM llm_last_call();

\x on
SELECT * FROM llm_usage_logs WHERE request_id = (SELECT request_id FROM llm_last_call());

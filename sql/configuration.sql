-- What a DBA sees when managing providers, models, rules, tiers and budgets:
-- the helpers, and the messages for what the tables refuse.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS llm_router;
RESET client_min_messages;
\set ON_ERROR_ROLLBACK on
\set VERBOSITY default
\set SHOW_CONTEXT never
BEGIN;

-- A provider, its models and their prices
SELECT llm_provider_add('local', 'http://localhost:8080/v1', auth_type => 'none') > 0 AS added;
SELECT name, display_name, base_url, check_path, api_format, auth_type, request_rules, enabled, health_status
FROM llm_providers WHERE name = 'local';
SELECT llm_model_add('local', 'tiny', 'eco', 0.15, 0.6, max_tokens => 8192) > 0 AS added;
SELECT llm_model_add('local', 'free', 'balanced', input_usd_per_1m => 0, output_usd_per_1m => 0) > 0 AS added;
SELECT llm_model_add('local', 'unknown', 'precision') > 0 AS added;
SELECT model_name, power_level, cost_per_1k_input_tokens, cost_per_1k_output_tokens, max_tokens
FROM llm_models WHERE provider_id = llm_provider_id('local') ORDER BY model_name;
SELECT llm_model_set_price('local', 'tiny', 0.2, 0.8, cached_input_usd_per_1m => 0.05,
	long_prompt_above => 4096, long_input_usd_per_1m => 0.4, long_output_usd_per_1m => 1.6);
SELECT cost_per_1k_input_tokens, cost_per_1k_cached_input_tokens, cost_per_1k_output_tokens, long_prompt_above,
	cost_per_1k_long_input_tokens, cost_per_1k_long_output_tokens
FROM llm_models WHERE id = llm_model_id('local', 'tiny');

-- Helpers name what is valid
SELECT llm_model_add('opnai', 'gpt-5.4', 'eco');
SELECT llm_model_add('local', 'big', 'premium');
SELECT llm_model_set_price('local', 'tiniest', 1, 2);

-- Providers
SELECT llm_provider_add('Local LLM', 'http://localhost:8080/v1');
SELECT llm_provider_add('slash', 'http://localhost:8080/v1/');
SELECT llm_provider_add('scheme', 'localhost:8080');
SELECT llm_provider_add('secret', 'https://user:password@api.example.com/v1');
SELECT llm_provider_add('query', 'https://api.example.com/v1?key=1');
SELECT llm_provider_add('format', 'https://api.example.com/v1', api_format => 'soap');
SELECT llm_provider_add('auth', 'https://api.example.com/v1', auth_type => 'basic');
UPDATE llm_providers SET check_path = 'https://keys.example.com/v1/check' WHERE name = 'groq';
UPDATE llm_providers SET health_status = 'fine' WHERE name = 'groq';
UPDATE llm_providers SET request_rules = '{"max_tokens": 5}' WHERE name = 'groq';
UPDATE llm_providers SET request_rules = '{"drop": "seed"}' WHERE name = 'groq';

-- Models
UPDATE llm_models SET cost_per_1k_input_tokens = -1 WHERE model_name = 'tiny';
UPDATE llm_models SET long_prompt_above = NULL WHERE model_name = 'tiny';
UPDATE llm_models SET max_tokens = 0 WHERE model_name = 'tiny';
UPDATE llm_models SET model_name = 'tiny model' WHERE model_name = 'tiny';

-- Rules
INSERT INTO llm_routing_rules (power_level, subscription_tier, priority, model_id, fallback_model_id)
	VALUES ('eco', 'free', 100, llm_model_id('local', 'tiny'), llm_model_id('local', 'tiny'));
INSERT INTO llm_routing_rules (power_level, subscription_tier, priority, model_id)
	VALUES ('eco', 'free', 0, llm_model_id('local', 'tiny'));
INSERT INTO llm_routing_rules (power_level, subscription_tier, priority, model_id)
	VALUES ('eco', 'platinum', 1, llm_model_id('local', 'tiny'));
INSERT INTO llm_routing_rules (power_level, subscription_tier, priority, model_id)
	VALUES ('cheap', 'free', 100, llm_model_id('local', 'tiny'));

-- Tiers, users and budgets
INSERT INTO llm_tiers (subscription_tier, power_levels) VALUES ('gold', '{eco,best}');
INSERT INTO llm_tiers (subscription_tier, power_levels, requests_per_minute) VALUES ('gold', '{eco}', -1);
INSERT INTO llm_users (user_id, subscription_tier) VALUES ('', 'free');
INSERT INTO llm_budgets (scope, period, limit_usd) VALUES ('everyone', 'month', 5);
INSERT INTO llm_budgets (scope, scope_value, period, limit_usd) VALUES ('power_level', 'premium', 'month', 5);
INSERT INTO llm_budgets (scope, period, limit_usd) VALUES ('total', 'year', 5);
INSERT INTO llm_budgets (scope, period) VALUES ('total', 'month');
INSERT INTO llm_budgets (scope, period, limit_usd, action) VALUES ('total', 'month', 5, 'warn');
INSERT INTO llm_budgets (scope, scope_value, period, limit_usd, warn_at) VALUES ('each_user', 'free', 'day', 1, 80) RETURNING action, enabled;

-- A key in plain text is refused, and not repeated
INSERT INTO llm_provider_keys VALUES (llm_provider_id('groq'), 'gsk_secret', 'https://api.groq.com/openai/v1');

ROLLBACK;

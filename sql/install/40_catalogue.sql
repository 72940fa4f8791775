-- The catalogue that the extension ships: tiers, providers, models and rules.
--
-- Functions rather than INSERTs, for three reasons: an upgrade replaces a
-- function and calls llm_seed() again, a DBA can compare the shipped catalogue
-- with the tables, and functions without tables survive a renamed schema.

-- Rates are for the operator to set.
CREATE FUNCTION llm_seed_tiers()
RETURNS TABLE (subscription_tier text, power_levels text[], requests_per_minute integer, tokens_per_minute bigint)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
VALUES
	('free',         '{eco}'::text[],                    NULL::integer, NULL::bigint),
	('starter',      '{eco,balanced}'::text[],           NULL,          NULL),
	('professional', '{eco,balanced,precision}'::text[], NULL,          NULL),
	('enterprise',   '{eco,balanced,precision}'::text[], NULL,          NULL)
$$;
COMMENT ON FUNCTION llm_seed_tiers() IS 'The subscription tiers that this version of the extension ships.';

-- base_url is what the vendor's SDK takes; check_path its cheapest request that
-- fails with a bad key (the public model lists of OpenRouter and Hugging Face
-- do not). request_rules follow the vendors' API references as of November 2026:
-- OpenAI applies its own rules to reasoning models; Mistral answers 422 to a
-- member that it does not know, and Groq 400, so their members are listed, as are
-- Together's and Hugging Face's, where the server behind the router decides. Groq's
-- service tiers are not OpenAI's. Where n is not in a provider's schema, one answer
-- is all it gives.
CREATE FUNCTION llm_seed_providers()
RETURNS TABLE (name text, display_name text, base_url text, check_path text, api_format text, auth_type text, request_rules jsonb)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
VALUES
	('openai', 'OpenAI', 'https://api.openai.com/v1', '/models', 'openai', 'bearer',
	 '{"max_tokens_field": "max_completion_tokens", "developer_role": "keep", "reasoning_models": true,
	   "drop": ["top_k", "min_p", "repetition_penalty", "reasoning"]}'::jsonb),
	('anthropic', 'Anthropic', 'https://api.anthropic.com', '/v1/models?limit=1', 'anthropic', 'x-api-key', '{}'),
	('google', 'Google AI', 'https://generativelanguage.googleapis.com', '/v1beta/models?pageSize=1', 'google', 'x-goog-api-key', '{}'),
	('cohere', 'Cohere', 'https://api.cohere.com', '/v1/models?page_size=1', 'cohere', 'bearer', '{}'),
	('together', 'Together AI', 'https://api.together.xyz/v1', '/models', 'openai', 'bearer',
	 '{"only": ["model", "messages", "max_tokens", "temperature", "top_p", "top_k", "min_p", "repetition_penalty",
				"frequency_penalty", "presence_penalty", "logit_bias", "logprobs", "seed", "stop", "n", "stream",
				"stream_options", "tools", "tool_choice", "response_format", "reasoning_effort"],
	   "logprobs_as_integer": true, "stop_as_array": true, "reasoning_efforts": ["low", "medium", "high"]}'),
	('openrouter', 'OpenRouter', 'https://openrouter.ai/api/v1', '/key', 'openai', 'bearer',
	 '{"developer_role": "keep",
	   "drop": ["n", "store", "audio", "function_call", "functions", "moderation", "prediction", "prompt_cache_key",
				"prompt_cache_options", "prompt_cache_retention", "safety_identifier", "web_search_options"],
	   "keep_message_fields": ["reasoning", "reasoning_details"],
	   "reasoning_efforts": ["none", "minimal", "low", "medium", "high", "xhigh", "max"], "stream_usage": false,
	   "headers": {"X-OpenRouter-Title": "llm_router"}}'),
	('replicate', 'Replicate', 'https://api.replicate.com/v1', '/account', 'replicate', 'bearer', '{}'),
	('groq', 'Groq', 'https://api.groq.com/openai/v1', '/models', 'openai', 'bearer',
	 '{"max_tokens_field": "max_completion_tokens",
	   "only": ["model", "messages", "max_completion_tokens", "temperature", "top_p", "seed", "stop", "stream",
				"stream_options", "tools", "tool_choice", "parallel_tool_calls", "response_format", "reasoning_effort", "user"],
	   "drop_message_fields": ["name", "refusal"], "reasoning_efforts": ["low", "medium", "high"], "stream_usage": false}'),
	('mistral', 'Mistral AI', 'https://api.mistral.ai/v1', '/models', 'openai', 'bearer',
	 '{"rename": {"seed": "random_seed"},
	   "only": ["model", "messages", "temperature", "top_p", "max_tokens", "stream", "stop", "random_seed", "metadata",
				"response_format", "tools", "tool_choice", "presence_penalty", "frequency_penalty", "n", "prediction",
				"parallel_tool_calls", "prompt_mode", "reasoning_effort", "guardrails", "prompt_cache_key", "safe_prompt"],
	   "drop_message_fields": ["name", "refusal", "audio", "function_call"],
	   "max_temperature": 1.5, "tool_call_id_length": 9, "reasoning_efforts": ["none", "high"], "stream_usage": false,
	   "mark_prefix": true}'),
	('huggingface', 'Hugging Face', 'https://router.huggingface.co/v1', 'https://huggingface.co/api/whoami-v2', 'openai', 'bearer',
	 '{"only": ["model", "messages", "max_tokens", "temperature", "top_p", "stop", "seed", "stream", "stream_options", "tools",
				"tool_choice", "response_format", "frequency_penalty", "presence_penalty", "logprobs", "top_logprobs",
				"reasoning_effort"],
	   "stop_as_array": true, "image_detail": false, "max_top_logprobs": 5}')
$$;
COMMENT ON FUNCTION llm_seed_providers() IS 'The providers that this version of the extension ships.';

-- Models that are retired, or soon will be, are shipped for their prices; no
-- rule names them.
CREATE FUNCTION llm_seed_models()
RETURNS TABLE (
	provider text, model_name text, display_name text, power_level text,
	input_usd_per_1m numeric, cached_input_usd_per_1m numeric, cache_write_usd_per_1m numeric, output_usd_per_1m numeric,
	long_prompt_above integer, long_input_usd_per_1m numeric, long_cached_input_usd_per_1m numeric, long_output_usd_per_1m numeric,
	max_tokens integer, max_output_tokens integer,
	supports_functions boolean, supports_vision boolean, supports_json_schema boolean,
	retires_on date)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
VALUES
	('openai',      'gpt-3.5-turbo',                           'GPT-3.5 Turbo',                    'eco',       0.5, NULL, NULL, 1.5, NULL, NULL, NULL, NULL, 16385, 4096, true, false, false, date '2026-10-23'),
	('openai',      'gpt-4o-mini',                             'GPT-4o mini',                      'eco',       0.15, 0.075, NULL, 0.6, NULL, NULL, NULL, NULL, 128000, 16384, true, true, true, date '2027-01-14'),
	('openai',      'gpt-4.1-mini',                            'GPT-4.1 mini',                     'eco',       0.4, 0.1, NULL, 1.6, NULL, NULL, NULL, NULL, 1047576, 32768, true, true, true, date '2027-01-14'),
	('openai',      'gpt-5-mini',                              'GPT-5 mini',                       'eco',       0.25, 0.025, NULL, 2, NULL, NULL, NULL, NULL, 272000, 128000, true, true, true, date '2026-12-11'),
	('openai',      'gpt-5.4-mini',                            'GPT-5.4 mini',                     'balanced',  0.75, 0.075, NULL, 4.5, NULL, NULL, NULL, NULL, 1050000, 128000, true, true, true, NULL),
	('openai',      'gpt-4',                                   'GPT-4',                            'balanced',  30, NULL, NULL, 60, NULL, NULL, NULL, NULL, 8192, 4096, true, false, false, date '2026-10-23'),
	('openai',      'gpt-4o',                                  'GPT-4o',                           'balanced',  2.5, 1.25, NULL, 10, NULL, NULL, NULL, NULL, 128000, 16384, true, true, true, date '2027-01-14'),
	('openai',      'gpt-4.1',                                 'GPT-4.1',                          'balanced',  2, 0.5, NULL, 8, NULL, NULL, NULL, NULL, 1047576, 32768, true, true, true, date '2027-01-14'),
	('openai',      'gpt-4-turbo',                             'GPT-4 Turbo',                      'precision', 10, NULL, NULL, 30, NULL, NULL, NULL, NULL, 128000, 4096, true, true, false, date '2026-10-23'),
	('openai',      'gpt-5.4',                                 'GPT-5.4',                          'precision', 2.5, 0.25, NULL, 15, 272000, 5, 0.5, 22.5, 1050000, 128000, true, true, true, NULL),
	('openai',      'gpt-5.5',                                 'GPT-5.5',                          'precision', 5, 0.5, NULL, 30, 272000, 10, 1, 45, 1050000, 128000, true, true, true, NULL),
	('anthropic',   'claude-haiku-4-5',                        'Claude Haiku 4.5',                 'eco',       1, 0.1, 1.25, 5, NULL, NULL, NULL, NULL, 200000, 64000, true, true, true, NULL),
	('anthropic',   'claude-sonnet-4-6',                       'Claude Sonnet 4.6',                'balanced',  3, 0.3, 3.75, 15, NULL, NULL, NULL, NULL, 1000000, 64000, true, true, true, NULL),
	('anthropic',   'claude-sonnet-5',                         'Claude Sonnet 5',                  'balanced',  2, 0.2, 2.5, 10, NULL, NULL, NULL, NULL, 1000000, 128000, true, true, true, NULL),
	('anthropic',   'claude-opus-4-8',                         'Claude Opus 4.8',                  'precision', 5, 0.5, 6.25, 25, NULL, NULL, NULL, NULL, 1000000, 128000, true, true, true, NULL),
	('anthropic',   'claude-opus-5',                           'Claude Opus 5',                    'precision', 5, 0.5, 6.25, 25, NULL, NULL, NULL, NULL, 1000000, 128000, true, true, true, NULL),
	('google',      'gemini-2.5-flash-lite',                   'Gemini 2.5 Flash-Lite',            'eco',       0.1, 0.01, NULL, 0.4, NULL, NULL, NULL, NULL, 1048576, 65535, true, true, true, NULL),
	('google',      'gemini-2.5-flash',                        'Gemini 2.5 Flash',                 'eco',       0.3, 0.03, NULL, 2.5, NULL, NULL, NULL, NULL, 1048576, 65535, true, true, true, date '2026-12-01'),
	('google',      'gemini-3.5-flash-lite',                   'Gemini 3.5 Flash-Lite',            'eco',       0.3, 0.03, NULL, 2.5, NULL, NULL, NULL, NULL, 1048576, 65536, true, true, true, NULL),
	('google',      'gemini-3.6-flash',                        'Gemini 3.6 Flash',                 'balanced',  1.5, 0.15, NULL, 7.5, NULL, NULL, NULL, NULL, 1048576, 65536, true, true, true, NULL),
	('google',      'gemini-2.5-pro',                          'Gemini 2.5 Pro',                   'balanced',  1.25, 0.125, NULL, 10, 200000, 2.5, 0.25, 15, 1048576, 65535, true, true, true, date '2026-12-01'),
	('google',      'gemini-3.1-pro-preview',                  'Gemini 3.1 Pro (preview)',         'precision', 2, 0.2, NULL, 12, 200000, 4, 0.4, 18, 1048576, 65536, true, true, true, NULL),
	('cohere',      'command-r7b-12-2024',                     'Command R7B',                      'eco',       0.0375, NULL, NULL, 0.15, NULL, NULL, NULL, NULL, 128000, 4096, true, false, true, NULL),
	('cohere',      'command-r-08-2024',                       'Command R 08-2024',                'eco',       0.15, NULL, NULL, 0.6, NULL, NULL, NULL, NULL, 128000, 4096, true, false, true, NULL),
	('cohere',      'command-a-03-2025',                       'Command A',                        'balanced',  2.5, NULL, NULL, 10, NULL, NULL, NULL, NULL, 256000, 8000, true, false, true, NULL),
	('together',    'openai/gpt-oss-20b',                      'GPT-OSS 20B (Together)',           'eco',       0.05, NULL, NULL, 0.2, NULL, NULL, NULL, NULL, 128000, NULL, true, false, true, NULL),
	('together',    'meta-llama/Llama-3.3-70B-Instruct-Turbo', 'Llama 3.3 70B Turbo (Together)',   'balanced',  0.88, NULL, NULL, 0.88, NULL, NULL, NULL, NULL, 131072, NULL, true, false, true, NULL),
	('together',    'openai/gpt-oss-120b',                     'GPT-OSS 120B (Together)',          'balanced',  0.15, NULL, NULL, 0.6, NULL, NULL, NULL, NULL, 131072, 131072, true, false, true, NULL),
	('together',    'moonshotai/Kimi-K2.5',                    'Kimi K2.5 (Together)',             'precision', 0.5, NULL, NULL, 2.8, NULL, NULL, NULL, NULL, 256000, 256000, true, true, false, NULL),
	('openrouter',  'deepseek/deepseek-v3.2',                  'DeepSeek V3.2 (OpenRouter)',       'eco',       0.28, 0.028, NULL, 0.4, NULL, NULL, NULL, NULL, 163840, 163840, true, false, false, NULL),
	('openrouter',  'anthropic/claude-haiku-4.5',              'Claude Haiku 4.5 (OpenRouter)',    'eco',       1, 0.1, NULL, 5, NULL, NULL, NULL, NULL, 200000, 64000, true, true, false, NULL),
	('openrouter',  'anthropic/claude-sonnet-4.6',             'Claude Sonnet 4.6 (OpenRouter)',   'balanced',  3, 0.3, NULL, 15, 200000, 6, 0.6, 22.5, 1000000, 128000, true, true, false, NULL),
	('openrouter',  'anthropic/claude-opus-4.7',               'Claude Opus 4.7 (OpenRouter)',     'precision', 5, 0.5, NULL, 25, NULL, NULL, NULL, NULL, 1000000, 128000, true, true, true, NULL),
	('replicate',   'meta/meta-llama-3-8b-instruct',           'Llama 3 8B Instruct (Replicate)',  'eco',       0.05, NULL, NULL, 0.25, NULL, NULL, NULL, NULL, 8192, 8192, false, false, false, NULL),
	('replicate',   'meta/meta-llama-3-70b-instruct',          'Llama 3 70B Instruct (Replicate)', 'balanced',  0.65, NULL, NULL, 2.75, NULL, NULL, NULL, NULL, 8192, 8192, false, false, false, NULL),
	('replicate',   'anthropic/claude-4.5-sonnet',             'Claude Sonnet 4.5 (Replicate)',    'balanced',  3, NULL, NULL, 15, NULL, NULL, NULL, NULL, 200000, NULL, false, true, false, NULL),
	('replicate',   'openai/gpt-5',                            'GPT-5 (Replicate)',                'precision', 1.25, NULL, NULL, 10, NULL, NULL, NULL, NULL, 272000, NULL, false, true, false, NULL),
	('groq',        'llama-3.1-8b-instant',                    'Llama 3.1 8B Instant (Groq)',      'eco',       0.05, NULL, NULL, 0.08, NULL, NULL, NULL, NULL, 128000, 8192, true, false, false, NULL),
	('groq',        'openai/gpt-oss-20b',                      'GPT-OSS 20B (Groq)',               'eco',       0.075, 0.0375, NULL, 0.3, NULL, NULL, NULL, NULL, 131072, 32768, true, false, true, NULL),
	('groq',        'llama-3.3-70b-versatile',                 'Llama 3.3 70B Versatile (Groq)',   'balanced',  0.59, NULL, NULL, 0.79, NULL, NULL, NULL, NULL, 128000, 32768, true, false, false, NULL),
	('groq',        'openai/gpt-oss-120b',                     'GPT-OSS 120B (Groq)',              'balanced',  0.15, 0.075, NULL, 0.6, NULL, NULL, NULL, NULL, 131072, 32766, true, false, true, NULL),
	('mistral',     'ministral-8b-2512',                       'Ministral 3 8B',                   'eco',       0.15, NULL, NULL, 0.15, NULL, NULL, NULL, NULL, 262144, 262144, true, true, true, NULL),
	('mistral',     'mistral-small-2603',                      'Mistral Small 4',                  'eco',       0.15, NULL, NULL, 0.6, NULL, NULL, NULL, NULL, 256000, NULL, true, true, true, NULL),
	('mistral',     'mistral-large-2512',                      'Mistral Large 3',                  'balanced',  0.5, NULL, NULL, 1.5, NULL, NULL, NULL, NULL, 262144, 262144, true, true, true, NULL),
	('mistral',     'mistral-medium-3-5',                      'Mistral Medium 3.5',               'precision', 1.5, NULL, NULL, 7.5, NULL, NULL, NULL, NULL, 262144, 262144, true, true, true, NULL),
	('huggingface', 'openai/gpt-oss-20b:groq',                 'GPT-OSS 20B (HF via Groq)',        'eco',       0.075, NULL, NULL, 0.3, NULL, NULL, NULL, NULL, 131072, 32768, true, false, true, NULL),
	('huggingface', 'openai/gpt-oss-120b:groq',                'GPT-OSS 120B (HF via Groq)',       'balanced',  0.15, NULL, NULL, 0.6, NULL, NULL, NULL, NULL, 131072, 32766, true, false, true, NULL),
	('huggingface', 'deepseek-ai/DeepSeek-V4-Pro:novita',      'DeepSeek V4 Pro (HF via Novita)',  'precision', 1.69, NULL, NULL, 3.38, NULL, NULL, NULL, NULL, 1048576, NULL, true, false, false, NULL),
	('openai',      'gpt-6-luna',                              'GPT-6 Luna',                       'eco',       0.1, 0.01, 0.125, 0.5, NULL, NULL, NULL, NULL, NULL, NULL, true, NULL, NULL, NULL),
	('openai',      'gpt-6-sol',                               'GPT-6 Sol',                        'balanced',  2, 0.2, NULL, 10, NULL, NULL, NULL, NULL, NULL, NULL, true, NULL, NULL, NULL),
	('openai',      'gpt-6-astra',                             'GPT-6 Astra',                      'precision', 10, 1, 12.5, 50, NULL, NULL, NULL, NULL, NULL, NULL, true, NULL, NULL, NULL),
	('anthropic',   'claude-sonnet-5-5',                       'Claude Sonnet 5.5',                'balanced',  2, 0.2, 2.5, 10, NULL, NULL, NULL, NULL, NULL, NULL, true, NULL, NULL, NULL),
	('anthropic',   'claude-opus-5-5',                         'Claude Opus 5.5',                  'precision', 4, 0.2, 5, 20, NULL, NULL, NULL, NULL, NULL, NULL, true, NULL, NULL, NULL)
$$;
COMMENT ON FUNCTION llm_seed_models() IS
	'The models that this version of the extension ships. Prices are USD per 1,000,000 tokens, from vendors'' price lists of July to November 2026.';

-- Every tier gets the rules of every level, so that a tier which is given
-- another level needs no new rules: llm_tiers decides what it may use. All ten
-- providers take part, since a provider without a key is passed over: whichever
-- key is set, each level that the provider serves works. Primary and fallback
-- are at different providers, the first of each level at one of the openai
-- format.
CREATE FUNCTION llm_seed_rules()
RETURNS TABLE (power_level text, priority integer, provider text, model_name text, fallback_provider text, fallback_model_name text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
VALUES
	('eco',       1, 'groq',        'openai/gpt-oss-20b',                'openai',      'gpt-6-luna'),
	('eco',       2, 'google',      'gemini-2.5-flash-lite',             'mistral',     'mistral-small-2603'),
	('eco',       3, 'anthropic',   'claude-haiku-4-5',                  'openrouter',  'anthropic/claude-haiku-4.5'),
	('eco',       4, 'together',    'openai/gpt-oss-20b',                'huggingface', 'openai/gpt-oss-20b:groq'),
	('eco',       5, 'cohere',      'command-r7b-12-2024',               'replicate',   'meta/meta-llama-3-8b-instruct'),
	('balanced',  1, 'openai',      'gpt-5.4-mini',                      'mistral',     'mistral-large-2512'),
	('balanced',  2, 'anthropic',   'claude-sonnet-5',                   'openrouter',  'anthropic/claude-sonnet-4.6'),
	('balanced',  3, 'google',      'gemini-3.6-flash',                  'groq',        'openai/gpt-oss-120b'),
	('balanced',  4, 'together',    'openai/gpt-oss-120b',               'huggingface', 'openai/gpt-oss-120b:groq'),
	('balanced',  5, 'cohere',      'command-a-03-2025',                 'replicate',   'meta/meta-llama-3-70b-instruct'),
	('precision', 1, 'openai',      'gpt-5.5',                           'openrouter',  'anthropic/claude-opus-4.7'),
	('precision', 2, 'anthropic',   'claude-opus-5',                     'google',      'gemini-3.1-pro-preview'),
	('precision', 3, 'mistral',     'mistral-medium-3-5',                'together',    'moonshotai/Kimi-K2.5'),
	('precision', 4, 'huggingface', 'deepseek-ai/DeepSeek-V4-Pro:novita', 'replicate',  'openai/gpt-5')
$$;
COMMENT ON FUNCTION llm_seed_rules() IS
	'The routing rules that this version of the extension ships, each for every tier.';

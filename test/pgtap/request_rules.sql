-- llm_providers.request_rules and check_path: every member, right and wrong.

BEGIN;
SELECT plan(105);

SELECT lives_ok(format('SELECT llm_request_rules_valid(%L)', rules), 'accepts ' || rules)
FROM unnest(ARRAY[
	'{}',
	'{"max_tokens_field": "max_completion_tokens"}',
	'{"developer_role": "keep", "reasoning_models": true}',
	'{"rename": {"seed": "random_seed"}}',
	'{"drop": ["n", "user"], "only": ["model", "messages"], "drop_message_fields": []}',
	'{"keep_message_fields": ["reasoning_content"], "max_top_logprobs": 20}',
	'{"max_temperature": 1.5, "max_n": 128, "tool_call_id_length": 9}',
	'{"stop_as_array": true, "logprobs_as_integer": false, "image_detail": false, "stream_usage": true}',
	'{"reasoning_efforts": ["low", "high"]}',
	'{"query": {"api-version": "2024-10-21"}}',
	'{"headers": {"HTTP-Referer": "https://example.com/", "X-Title": "Our app"}}']) AS rules;

SELECT throws_ok(format('SELECT llm_request_rules_valid(%L)', rules), '23514', NULL, 'refuses ' || rules)
FROM unnest(ARRAY[
	'[]', '"drop"', 'null', '{"max_token_field": "max_tokens"}',
	'{"max_tokens_field": "tokens"}', '{"max_tokens_field": null}',
	'{"developer_role": "user"}', '{"reasoning_models": "yes"}',
	'{"rename": ["seed"]}', '{"rename": {"seed": 1}}', '{"rename": {"seed": ""}}',
	'{"drop": "n"}', '{"drop": [1]}', '{"only": [""]}', '{"drop_message_fields": {}}',
	'{"max_temperature": "1.5"}', '{"max_temperature": -1}',
	'{"keep_message_fields": true}', '{"max_top_logprobs": 0}', '{"max_top_logprobs": 21}',
	'{"max_n": 0}', '{"max_n": 1.5}', '{"tool_call_id_length": 3}', '{"tool_call_id_length": 65}',
	'{"reasoning_efforts": "low"}', '{"image_detail": 0}',
	'{"headers": ["a"]}', '{"headers": {"A B": "c"}}', '{"headers": {"a": "b\r\nc: d"}}', '{"headers": {"a": 1}}', '{"headers": {"a": ""}}',
	'{"query": "a=b"}', '{"query": {"a&b": "c"}}', '{"query": {"a": "b c"}}', '{"query": {"a": 1}}', '{"query": {"a": ""}}',
	'{"headers": {"Authorization": "Bearer x"}}', '{"headers": {"content-length": "1"}}']) AS rules;

SELECT throws_ok($$ SELECT llm_request_rules_valid('{"drop": ["n"], "max_n": "one"}') $$, '23514',
	'member "max_n" of request_rules must be a whole number from 1 to 999', 'the message names the member');

SELECT throws_ok(format('SELECT llm_request_rules_valid(%L)', jsonb_build_object('headers', jsonb_build_object(name, 'x'))), '23514',
	'member "headers" of request_rules must be an object of header names and their values, without those for keys, framing and routing',
	'refuses the header ' || name)
FROM unnest('{Authorization,Proxy-Authorization,X-API-Key,x-goog-api-key,api-key,Cookie,Accept,Accept-Encoding,Connection,Content-Type,
	Content-Encoding,Content-Length,Expect,Keep-Alive,Range,TE,Trailer,Transfer-Encoding,Upgrade,Proxy-Connection,Host,X-Host,Forwarded,
	X-Forwarded-Host,X-Forwarded-For,X-Forwarded-Proto,X-Forwarded,X-Original-URL,X-Original-Host,X-Rewrite-URL,Via,
	X-HTTP-Method-Override,X-Real-IP,X-Client-IP,True-Client-IP,CF-Connecting-IP}'::text[]) AS name;
SELECT ok(llm_request_rules_valid(jsonb_build_object('headers', jsonb_build_object(name, 'x'))), 'allows the header ' || name)
FROM unnest('{anthropic-version,anthropic-beta,HTTP-Referer,X-Title,OpenAI-Organization,OpenAI-Project,Prefer,User-Agent,X-Gateway-Token}'::text[]) AS name;

-- Keys go to the provider's own host, or to its parent domain, only.
SELECT is(llm_check_path_valid(check_path, base_url), valid, format('%s of %s', check_path, base_url))
FROM (VALUES
	('/models', 'https://api.example.com/v1', true),
	('https://api.example.com/check', 'https://api.example.com/v1', true),
	('https://example.com/check', 'https://api.example.com', true),
	('https://ample.com/check', 'https://api.example.com/v1', false),
	('https://evil.com/api.example.com', 'https://api.example.com/v1', false),
	('http://api.example.com/check', 'https://api.example.com/v1', false),
	('https://com/check', 'https://api.example.com/v1', false),
	('https://203.0.113.9/check', 'https://203.0.113.9/v1', true),
	('https://113.9/check', 'https://203.0.113.9/v1', false),
	('models', 'https://api.example.com/v1', false)) AS v (check_path, base_url, valid);

SELECT * FROM finish();
ROLLBACK;

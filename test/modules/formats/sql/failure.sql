-- Errors: status, headers and body in; outcome, code, message and wait out.
\pset format unaligned
\pset tuples_only on

SELECT status, body, test_parse(status, '{}', convert_to(body, 'UTF8'))
FROM (VALUES
	-- OpenAI
	(401, '{"error":{"message":"Incorrect API key provided: sk-abcd********wxyz. You can find it at https://x.","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}'),
	(400, '{"error":{"message":"This model''s maximum context length is 8192 tokens. However, you sent more.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}'),
	(400, '{"error":{"message":"Unsupported parameter: ''max_tokens''","type":"invalid_request_error","param":"max_tokens","code":"unsupported_parameter"}}'),
	(400, '{"error":{"message":"Invalid prompt: your prompt was flagged as potentially violating our usage policy.","code":"invalid_prompt"}}'),
	(400, '{"error":{"message":"rejected","code":"content_policy_violation"}}'),
	(403, '{"error":{"message":"Country, region, or territory not supported","code":"unsupported_country_region_territory"}}'),
	(404, '{"error":{"message":"The model `x` does not exist","code":"model_not_found"}}'),
	(429, '{"error":{"message":"Rate limit reached. Please try again in 1.2s.","type":"tokens","code":"rate_limit_exceeded"}}'),
	(429, '{"error":{"message":"Request too large for gpt-4 on tokens per min (TPM): Limit 10, Requested 20.","type":"tokens","code":"rate_limit_exceeded"}}'),
	(429, '{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","code":"insufficient_quota"}}'),
	(500, '{"error":{"message":"The server had an error","type":"server_error"}}'),
	(503, '{"error":{"message":"overloaded","code":"server_is_overloaded"}}'),
	-- Together
	(403, '{"error":{"message":"Input and max_tokens exceed the context length"}}'),
	(400, '{"error":{"message":"Input validation error: `inputs` tokens + `max_new_tokens` must be <= 8193"}}'),
	(402, '{"error":{"message":"Spending limit reached"}}'),
	(504, ''),
	-- OpenRouter
	(401, '{"error":{"message":"User not found.","code":401}}'),
	(402, '{"error":{"code":402,"message":"Insufficient credits"}}'),
	(402, '{"error":{"code":402,"message":"Busy","metadata":{"limit_source":"openrouter_in_flight_budget"}}}'),
	(403, '{"error":{"code":403,"message":"Flagged","metadata":{"reasons":["violence"],"flagged_input":"…"}}}'),
	(403, '{"error":{"code":403,"message":"No.","metadata":{"error_type":"content_policy_violation"}}}'),
	(403, '{"error":{"code":403,"message":"No.","metadata":{"error_type":"refusal"}}}'),
	(403, '{"error":{"code":403,"message":"Not allowed","metadata":{"error_type":"permission_denied"}}}'),
	(403, '{"error":{"code":403,"message":"Not allowed"}}'),
	(200, '{"error":{"code":429,"message":"Upstream is busy","metadata":{"error_type":"rate_limit_exceeded"}}}'),
	(200, '{"error":{"code":502,"message":"Upstream failed"}}'),
	(200, '{"id":"x","choices":[{"error":{"code":500,"message":"broke off"},"finish_reason":"error","message":{"content":"Hel"}}],"usage":{"prompt_tokens":3,"completion_tokens":1}}'),
	(502, '{"error":{"code":502,"message":"Upstream failed","metadata":{"error_type":"provider_unavailable"}}}'),
	(529, '{"error":{"code":529,"message":"Overloaded"}}'),
	-- Groq
	(400, '{"error":{"message":"Failed to validate JSON","type":"invalid_request_error","code":"json_validate_failed","failed_generation":"{"}}'),
	(400, '{"error":{"message":"Please reduce the length of the messages or completion.","code":"context_length_exceeded"}}'),
	(400, '{"error":{"message":"gone","code":"model_decommissioned"}}'),
	(413, '{"error":{"message":"Request too large for model `x` on tokens per minute (TPM): Limit 6000, Requested 7000","code":"rate_limit_exceeded"}}'),
	(498, '{"error":{"message":"capacity","code":"capacity_exceeded"}}'),
	-- Mistral
	(401, '{"detail":"Unauthorized"}'),
	(422, '{"object":"error","message":{"detail":[{"loc":["body","n"],"msg":"Extra inputs are not permitted","type":"extra_forbidden"}]},"type":"invalid_request_error"}'),
	(422, '{"detail":[{"msg":"a"},{"msg":"b"}]}'),
	(403, '{"message":"Content blocked","guardrails":[{}]}'),
	(429, '{"object":"error","message":"Service tier capacity exceeded for this model.","type":"service_tier_capacity_exceeded","code":"3505"}'),
	-- Hugging Face
	(401, '{"error":"Invalid username or password."}'),
	(400, '{"error":{"message":"The requested model ''x'' is not supported by any provider you have enabled.","code":"model_not_supported"}}'),
	(402, '{"error":"You have exceeded your monthly included credits for Inference Providers."}'),
	(200, '{"error":"inputs must be text","error_type":"validation"}'),
	(200, '{"error":"Model is overloaded","error_type":"overloaded"}'),
	-- Google's compatible endpoint, llama.cpp, and what is hardly an answer
	(400, '[{"error":{"code":400,"message":"API key not valid.","status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}]'),
	(400, '{"error":{"code":400,"message":"the request exceeds the available context size","type":"exceed_context_size_error"}}'),
	(503, '{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}'),
	(409, '{}'), (408, ''), (405, 'Method Not Allowed'), (301, ''), (520, '<html>cloudflare</html>'), (599, '{"error":5}'), (400, '{"error":{"message":5,"code":{}}}')
) AS v (status, body);

-- The prompt, echoed, decides nothing: only the error's own members are looked at.
SELECT test_parse(400, '{}', '{"error":{"message":"bad"},"input":"429 rate limit, maximum context length"}')->>'outcome';

-- When to try again.
SELECT headers, test_parse(429, headers, '{"error":{"message":"slow down, try again in 20ms"}}')->'retry_after_ms'
FROM unnest(ARRAY[
	'{}',
	'{"retry-after":"7"}', '{"retry-after":"1.5"}', '{"retry-after-ms":"250","retry-after":"9"}', '{"retry-after":"0"}', '{"retry-after":"-3"}',
	'{"retry-after":"Mon, 23 Nov 2026 12:01:00 GMT"}', '{"retry-after":"Mon, 23 Nov 2026 11:01:00 GMT"}', '{"retry-after":"Mon, 99 Abc 2026 11:01:00 GMT"}',
	'{"retry-after":"99999999999999999999999"}', '{"retry-after":"soon"}',
	'{"x-ratelimit-remaining-tokens":"0","x-ratelimit-reset-tokens":"6m0s"}',
	'{"x-ratelimit-remaining-requests":"0","x-ratelimit-reset-requests":"2m59.56s","x-ratelimit-remaining-tokens":"5","x-ratelimit-reset-tokens":"1h"}',
	'{"x-ratelimit-remaining":"0","x-ratelimit-reset":"1795435230000"}', '{"x-ratelimit-remaining":"0","x-ratelimit-reset":"30"}',
	'{"ratelimit":"\"api\";r=0;t=55"}'
]::jsonb[]) AS headers;
SELECT test_parse(503, '{"x-should-retry":"false"}', '{}');

-- Messages: cut at 500 bytes between characters, without controls and keys.
SELECT octet_length(message), right(message, 3) FROM test_parse(400, '{}', convert_to('{"error":{"message":"' || repeat('é', 400) || '"}}', 'UTF8')) AS r, LATERAL (SELECT r->>'message') AS m (message);
SELECT test_parse(400, '{}', '{"error":{"message":"a\\nb\\tc\\u0001d\\u001b[31m"}}')->>'message';
SELECT test_parse(400, '{}', '{"error":{"message":"keys sk-proj-abcdef123456, gsk_0123456789abcdef, hf_abcdefgh, 0123456789abcdef0123456789abcdef, task-oriented risk-free req_0123456789abcdef0123456789abcdef"}}')->>'message';
SELECT test_parse(502, '{}', 'upstream connect error, key AIzaSyA0123456789')->>'message';

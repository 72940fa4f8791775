-- Google's format: requests in, wire out; answers and events in, OpenAI's form out.
\pset format unaligned
\pset tuples_only on
\set hi '[{"role":"user","content":"hi"}]'
\set tools '{"tools":[{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object","properties":{"a":{"type":"integer"}}}}},{"type":"function","function":{"name":"g"}}]}'
CREATE FUNCTION pg_temp.body(messages jsonb, options jsonb DEFAULT NULL, model text DEFAULT 'gemini-2.5-flash', max_output int DEFAULT 0) RETURNS jsonb LANGUAGE sql
RETURN (SELECT COALESCE(w -> 'body', '{}') || (w - 'body' - 'request') FROM test_wire('google', model, messages, options, false, max_output) AS w);

-- The model stands in the path, encoded, without "models/"; a stream has its own verb.
SELECT test_wire('google', 'gemini-2.5-flash', :'hi');
SELECT test_wire('google', 'models/tuned/a b', :'hi', streams => true) - 'body';

-- System and developer messages, early and late, are one instruction; Gemma has none; alone they are what the user says.
SELECT pg_temp.body('[{"role":"system","content":"a"},{"role":"user","content":"u"},{"role":"developer","content":[{"type":"text","text":"b"}]},{"role":"system","content":" "}]');
SELECT pg_temp.body('[{"role":"system","content":"a"},{"role":"user","content":"u"}]', NULL, 'gemma-3-27b-it');
SELECT pg_temp.body('[{"role":"system","content":"a"}]');

-- Messages of one role in a row are one turn; empty ones say nothing; the user begins.
SELECT pg_temp.body('[{"role":"user","content":"a"},{"role":"user","content":[{"type":"text","text":"b"},{"type":"text","text":""}]},{"role":"assistant","content":"c"},{"role":"assistant","content":""},{"role":"user","content":"d"}]') -> 'contents';
SELECT pg_temp.body('[{"role":"assistant","content":"c"},{"role":"user","content":"d"}]') -> 'contents';
SELECT pg_temp.body('[{"role":"user","content":""}]') -> 'contents';
SELECT pg_temp.body('[{"role":"assistant","content":null,"refusal":"No."},{"role":"user","content":"d"}]') -> 'contents';

-- Images, audio and files by their data; of URLs only what the API fetches itself.
SELECT pg_temp.body('[{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AA=="}},{"type":"input_audio","input_audio":{"data":"BB==","format":"wav"}},{"type":"file","file":{"filename":"x.pdf","file_data":"data:application/pdf;base64,CC=="}}]}]') -> 'contents';
SELECT pg_temp.body('[{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://generativelanguage.googleapis.com/v1beta/files/x"}}]}]') -> 'contents';
SELECT pg_temp.body('[{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://example.com/a.png"}}]}]');
SELECT pg_temp.body('[{"role":"user","content":[{"type":"file","file":{"file_id":"file-1"}}]}]');

-- Tool calls and their results: arguments are objects, results find the name by the id, those of one turn stand together.
SELECT pg_temp.body('[{"role":"user","content":"u"},
	{"role":"assistant","content":"","tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}},{"id":"2","type":"function","function":{"name":"g","arguments":""}},{"id":"3","type":"function","function":{"name":"g","arguments":"oops"}}]},
	{"role":"tool","tool_call_id":"1","content":"{\"b\":2}"},{"role":"tool","tool_call_id":"2","content":"plain"},{"role":"tool","tool_call_id":"3","content":"[1]"},
	{"role":"user","content":"and?"}]') -> 'contents';

-- From Gemini 3 on a turn's first call needs a signature: the one that the answer brought, else the documented stand-in.
SELECT pg_temp.body('[{"role":"user","content":"u"},
	{"role":"assistant","tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{}"},"extra_content":{"google":{"thought_signature":"c2ln"}}},{"id":"2","type":"function","function":{"name":"g","arguments":"{}"}}]},
	{"role":"tool","tool_call_id":"1","content":"1"},{"role":"tool","tool_call_id":"2","content":"2"},
	{"role":"assistant","tool_calls":[{"id":"3","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"3","content":"3"}]', NULL, 'gemini-3.1-pro-preview') -> 'contents';

-- Tools as JSON Schema, without one for a function without parameters.
SELECT pg_temp.body(:'hi', :'tools') - 'contents';
SELECT choice, pg_temp.body(:'hi', :'tools'::jsonb || jsonb_build_object('tool_choice', choice)) -> 'toolConfig'
FROM unnest(ARRAY['"auto"', '"none"', '"required"', '{"type":"function","function":{"name":"g"}}']::jsonb[]) AS choice;
SELECT pg_temp.body(:'hi', :'tools'::jsonb || '{"tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"required","tools":[{"type":"function","function":{"name":"g"}}]}}}') - 'contents';
SELECT pg_temp.body(:'hi', :'tools'::jsonb || '{"parallel_tool_calls":false}') -> 'dropped';
SELECT pg_temp.body(:'hi', '{"tools":[{"type":"custom","custom":{"name":"f"}}]}');

-- Parameters under their names, within their ranges.
SELECT pg_temp.body(:'hi', '{"temperature":0.5,"top_p":0.9,"top_k":40,"max_tokens":100,"n":2,"stop":["a","b","c","d"],"seed":7}') -> 'generationConfig';
SELECT pg_temp.body(:'hi', '{"n":9,"seed":99999999999,"max_tokens":70000}', 'gemini-2.5-flash', 65535) - 'contents';
SELECT pg_temp.body(:'hi', '{"top_k":-1,"stop":"x"}') - 'contents';
SELECT model, pg_temp.body(:'hi', '{"presence_penalty":1,"frequency_penalty":0}', model) - 'contents' FROM unnest(ARRAY['gemini-2.0-flash', 'gemini-2.5-flash']) AS model;
SELECT pg_temp.body(:'hi', '{"user":"u","metadata":{"a":"b"},"logit_bias":{"1":1},"logprobs":true,"store":false}') - 'contents';

-- JSON, with a schema as it is; beside functions only from Gemini 3 on.
SELECT pg_temp.body(:'hi', '{"response_format":{"type":"json_object"}}') -> 'generationConfig';
SELECT pg_temp.body(:'hi', '{"response_format":{"type":"json_schema","json_schema":{"name":"s","schema":{"type":"object","additionalProperties":false}}}}') -> 'generationConfig';
SELECT model, pg_temp.body(:'hi', :'tools'::jsonb || '{"response_format":{"type":"json_object"}}', model) - 'contents' - 'tools' FROM unnest(ARRAY['gemini-2.5-flash', 'gemini-3-flash-preview']) AS model;

-- Reasoning: a budget for 2.5, a level from 3 on, nothing for those that do not think.
SELECT model, effort, b -> 'generationConfig' -> 'thinkingConfig' AS thinking, b -> 'adjusted' AS adjusted, b -> 'dropped' AS dropped
FROM unnest(ARRAY['gemini-2.0-flash', 'gemini-2.5-flash', 'gemini-2.5-pro', 'gemini-3-flash-preview', 'gemini-3.1-pro-preview', 'gemini-3.7-flash', 'gemini-flash-latest']) AS model,
	unnest(ARRAY['none', 'minimal', 'low', 'high', 'max']) AS effort,
	pg_temp.body(:'hi', jsonb_build_object('reasoning_effort', effort), model) AS b;

-- extra: top-level members replace ours, those of generationConfig one by one.
SELECT pg_temp.body(:'hi', '{"temperature":0.5,"top_p":0.5,"router":{"extra":{"safetySettings":[],"generationConfig":{"temperature":1,"topK":3}}}}') - 'contents';

-- Answers: several texts, thoughts, usage whose thoughts come beside the candidates' tokens.
SELECT test_good('google', '{"candidates":[{"content":{"role":"model","parts":[{"text":"Hm.","thought":true},{"text":"Hello"},{"text":" you","thoughtSignature":"c2ln"}]},"finishReason":"STOP","index":0}],
	"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":28,"thoughtsTokenCount":244,"cachedContentTokenCount":4,"toolUsePromptTokenCount":1,"totalTokenCount":282},"modelVersion":"gemini-3-pro","responseId":"r1"}');

-- Function calls: ids where there are any, arguments where there are any, the signature kept.
SELECT test_good('google', '{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":{"a":1},"id":"x"},"thoughtSignature":"c2ln"},{"functionCall":{"name":"g"}}]},"finishReason":"STOP"}]}') -> 'completion' -> 'choices';

-- Ends, each in OpenAI's word; a failure of the model is none, unless it said something.
SELECT reason, a ->> 'outcome' AS outcome, a ->> 'finish_reason' AS finish_reason, a ->> 'message' AS message
FROM unnest(ARRAY['STOP', 'MAX_TOKENS', 'SAFETY', 'RECITATION', 'SPII', 'OTHER', 'MALFORMED_FUNCTION_CALL', 'NEW_REASON']) AS reason,
	test_good('google', jsonb_build_object('candidates', jsonb_build_array(jsonb_build_object('finishReason', reason)))) AS a;
SELECT test_good('google', '{"candidates":[{"content":{"parts":[{"text":"a"}]},"finishReason":"UNEXPECTED_TOOL_CALL"}]}') ->> 'finish_reason';

-- No parts, no candidates, a blocked prompt.
SELECT test_good('google', '{"candidates":[{"content":{"role":"model"},"finishReason":"MAX_TOKENS","index":0}],"usageMetadata":{"promptTokenCount":9,"thoughtsTokenCount":100}}');
SELECT test_good('google', '{"candidates":[]}');
SELECT test_good('google', '{"promptFeedback":{"blockReason":"PROHIBITED_CONTENT"},"usageMetadata":{"promptTokenCount":9}}');

-- Several candidates.
SELECT test_good('google', '{"candidates":[{"content":{"parts":[{"text":"a"}]},"finishReason":"STOP","index":0},{"content":{"parts":[{"text":"b"}]},"finishReason":"MAX_TOKENS","index":1}]}') -> 'completion' -> 'choices';
-- A number that is left out makes no choice.
SELECT jsonb_path_query_array(test_good('google', '{"candidates":[{"content":{"parts":[{"text":"a"}]},"finishReason":"STOP","index":0},{"content":{"parts":[{"text":"b"}]},"finishReason":"STOP","index":2}]}'), '$.completion.choices[*].index');

-- Nonsense: counts that cannot be are unknown, odd members are passed over.
SELECT test_good('google', '{"candidates":[{"content":{"parts":[{"text":"a"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":-1}}') ? 'usage';
SELECT test_good('google', '{"candidates":[{"content":{"parts":[{"text":"a"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":1,"cachedContentTokenCount":5}}') ? 'usage';
SELECT test_good('google', '{"candidates":[5,{"index":-1},{"index":99999},{"content":7},{"content":{"parts":[1,{"text":2},{"functionCall":3},{"functionCall":{"name":""}}]}}]}');

-- Errors: a bad key is 400, quotas by the day and by the minute, the wait in the body, an array around all.
SELECT name, test_answer('google', 'm', status, '{}', body::bytea, :'hi', NULL)
FROM (VALUES
	('bad key', 400, '{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID"}]}}'),
	('too long', 400, '{"error":{"code":400,"message":"The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).","status":"INVALID_ARGUMENT"}}'),
	('bad request', 400, '{"error":{"code":400,"message":"Invalid value","status":"INVALID_ARGUMENT"}}'),
	('permission', 403, '{"error":{"code":403,"message":"Permission denied","status":"PERMISSION_DENIED"}}'),
	('not found', 404, '{"error":{"code":404,"message":"models/x is not found","status":"NOT_FOUND"}}'),
	('by the minute', 429, '[{"error":{"code":429,"message":"You exceeded your current quota","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"quotaId":"GenerateRequestsPerMinutePerProjectPerModel"}]},{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"34.4s"}]}}]'),
	('by the day', 429, '{"error":{"code":429,"message":"You exceeded your current quota","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"quotaId":"GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]}]}}'),
	('overloaded', 503, '{"error":{"code":503,"message":"The model is overloaded.","status":"UNAVAILABLE"}}'),
	('timeout', 504, '{"error":{"code":504,"message":"Deadline expired","status":"DEADLINE_EXCEEDED"}}'),
	('odd', 200, '[]'), ('odd', 200, '"x"'), ('odd', 200, '{"error":"x"}')) AS v (name, status, body);

-- A stream: parts come piece by piece, calls whole, usage is a sum so far; it ends with the bytes.
SELECT * FROM test_events('google', $$data: {"candidates":[{"content":{"role":"model","parts":[{"text":"Hm.","thought":true}]},"index":0}],"usageMetadata":{"promptTokenCount":9,"thoughtsTokenCount":3},"modelVersion":"gemini-3-pro","responseId":"r1"}

data: {"candidates":[{"content":{"role":"model","parts":[{"text":"Hé"}]},"index":0}],"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":2,"thoughtsTokenCount":3},"modelVersion":"gemini-3-pro","responseId":"r1"}

data: {"candidates":[{"content":{"role":"model","parts":[{"functionCall":{"name":"f","args":{"a":1}},"thoughtSignature":"c2ln"},{"functionCall":{"name":"g"}}]},"index":0}],"responseId":"r1"}

data: {"candidates":[{"content":{"role":"model","parts":[{"text":""}]},"finishReason":"STOP","index":0}],"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":12,"thoughtsTokenCount":3},"responseId":"r1"}

$$);
-- Cut off, blocked, failed, an error inside, nonsense.
SELECT * FROM test_events('google', $$data: {"candidates":[{"content":{"parts":[{"text":"Hi"}]},"index":0}]}

$$);
SELECT * FROM test_events('google', $$data: {"promptFeedback":{"blockReason":"SAFETY"}}

$$);
SELECT * FROM test_events('google', $$data: {"candidates":[{"finishReason":"MALFORMED_FUNCTION_CALL","index":0}]}

$$);
SELECT * FROM test_events('google', $$data: {"error":{"code":503,"message":"The model is overloaded.","status":"UNAVAILABLE"}}

$$);
SELECT * FROM test_events('google', $$data: [1]

$$);

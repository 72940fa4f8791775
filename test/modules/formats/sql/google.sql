-- Google's format: requests in, wire out; answers and events in, OpenAI's form out.
\pset format unaligned
\pset tuples_only on
\set hi '[{"role":"user","content":"hi"}]'
\set tools '{"tools":[{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object","properties":{"a":{"type":"integer"}}}}},{"type":"function","function":{"name":"g"}}]}'
CREATE FUNCTION pg_temp.body(messages jsonb, options jsonb DEFAULT NULL, model text DEFAULT 'gemini-2.5-flash', max_output int DEFAULT 0) RETURNS jsonb LANGUAGE sql
RETURN (SELECT COALESCE(w -> 'body', '{}') || (w - 'body' - 'request') FROM test_wire('google', model, messages, options, false, max_output) AS w);

-- The model stands in the path, encoded, without "models/"; a stream has its own verb.
SELECT test_wire('google', 'gemini-2.5-flash', :'hi');
SELECT test_wire('google', model, :'hi', streams => true) - 'body' FROM unnest(ARRAY['models/gemini-2.5-pro', 'tunedModels/mine-1', 'a b/c:d?é']) AS model;

-- System and developer messages, early and late, are one instruction; Gemma has none; alone they are what the user says.
SELECT pg_temp.body('[{"role":"system","content":"a"},{"role":"user","content":"u"},{"role":"developer","content":[{"type":"text","text":"b"}]},{"role":"system","content":" "}]');
SELECT pg_temp.body('[{"role":"system","content":"a"},{"role":"user","content":"u"}]', NULL, 'gemma-3-27b-it');
SELECT pg_temp.body('[{"role":"system","content":"a"}]');

-- Messages of one role in a row are one turn; empty ones say nothing; the user begins.
SELECT pg_temp.body('[{"role":"user","content":"a"},{"role":"user","content":[{"type":"text","text":"b"},{"type":"text","text":""}]},{"role":"assistant","content":"c"},{"role":"assistant","content":""},{"role":"user","content":"d"}]') -> 'contents';
SELECT pg_temp.body('[{"role":"assistant","content":"c"},{"role":"user","content":"d"}]') -> 'contents';
SELECT pg_temp.body('[{"role":"user","content":""}]') -> 'contents';
SELECT pg_temp.body('[{"role":"assistant","content":null,"refusal":"No."},{"role":"user","content":"d"}]') -> 'contents';
SELECT pg_temp.body('[{"role":"system","content":"s"},{"role":"assistant","content":"c"}]', NULL, 'gemma-3-27b-it') -> 'contents';

-- Images, audio and files by their data; of URLs only what the API fetches itself.
SELECT pg_temp.body('[{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AA=="}},{"type":"input_audio","input_audio":{"data":"BB==","format":"wav"}},{"type":"file","file":{"filename":"x.pdf","file_data":"data:application/pdf;base64,CC=="}}]}]') -> 'contents';
SELECT url, COALESCE(b #> '{contents,0,parts,0}', b) FROM unnest(ARRAY['https://generativelanguage.googleapis.com/v1beta/files/x', 'https://www.youtube.com/watch?v=a.png', 'https://youtu.be/x',
	'https://example.com/a.png', 'http://generativelanguage.googleapis.com/v1beta/files/x', 'data:image/jpg;base64,AA==']) AS url,
	pg_temp.body(jsonb_build_array(jsonb_build_object('role', 'user', 'content', jsonb_build_array(jsonb_build_object('type', 'image_url', 'image_url', jsonb_build_object('url', url)))))) AS b;
SELECT format, COALESCE(b #> '{contents,0,parts,0}', b) FROM unnest(ARRAY['mp3', 'flac', 'pcm16', 'png']) AS format,
	pg_temp.body(jsonb_build_array(jsonb_build_object('role', 'user', 'content', jsonb_build_array(jsonb_build_object('type', 'input_audio', 'input_audio', jsonb_build_object('data', 'BB==', 'format', format)))))) AS b;
-- A file's type is in its data URL, or its name tells it; a file by its id has to be one of the Files API or of Cloud Storage.
SELECT file, COALESCE(b #> '{contents,0,parts,0}', b) FROM unnest(ARRAY['{"file_data":"CC=="}', '{"file_data":"CC==","filename":"a.b/x.CSV"}', '{"file_data":"CC==","filename":"x.exe"}', '{"file_data":"CC==","filename":"pdf"}',
	'{"file_id":"files/x","filename":"x.pdf"}', '{"file_id":"gs://bucket/x.mp4"}', '{"file_data":"https://youtu.be/x"}', '{"file_id":"file-1"}']::jsonb[]) AS file,
	pg_temp.body(jsonb_build_array(jsonb_build_object('role', 'user', 'content', jsonb_build_array(jsonb_build_object('type', 'file', 'file', file))))) AS b;

-- Tool calls and their results: arguments are objects, results find the name by the id, those of one turn stand together.
SELECT pg_temp.body('[{"role":"user","content":"u"},
	{"role":"assistant","content":"","tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}},{"id":"2","type":"function","function":{"name":"g","arguments":""}},{"id":"3","type":"function","function":{"name":"g","arguments":"oops"}}]},
	{"role":"tool","tool_call_id":"1","content":"{\"b\":2}"},{"role":"tool","tool_call_id":"2","content":"plain"},{"role":"tool","tool_call_id":"3","content":"[1]"},
	{"role":"user","content":"and?"}]') -> 'contents';

-- The older form; blanks beside calls; the user's part before a conversation that begins with a call; a custom tool's call.
SELECT pg_temp.body('[{"role":"assistant","content":" \n","function_call":{"name":"f","arguments":"{}"}},{"role":"function","name":"f","content":""}]') -> 'contents';
SELECT pg_temp.body('[{"role":"user","content":"u"},{"role":"assistant","tool_calls":[{"id":"1","type":"custom","custom":{"name":"f","input":"x"}}]},{"role":"tool","tool_call_id":"1","content":"1"}]');

-- From Gemini 3 on a turn's first call needs a signature: the one that the answer brought, else the documented stand-in.
SELECT pg_temp.body('[{"role":"user","content":"u"},
	{"role":"assistant","tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{}"},"extra_content":{"google":{"thought_signature":"c2ln"}}},{"id":"2","type":"function","function":{"name":"g","arguments":"{}"}}]},
	{"role":"tool","tool_call_id":"1","content":"1"},{"role":"tool","tool_call_id":"2","content":"2"},
	{"role":"assistant","tool_calls":[{"id":"3","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"3","content":"3"}]', NULL, 'gemini-3.1-pro-preview') -> 'contents';

SELECT model, pg_temp.body('[{"role":"user","content":"u"},{"role":"assistant","tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{}"}}]},
	{"role":"assistant","tool_calls":[{"id":"2","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"1","content":"1"},{"role":"tool","tool_call_id":"2","content":"2"}]', NULL, model) #> '{contents,1,parts}'
FROM unnest(ARRAY['gemini-2.5-flash', 'gemini-3.6-flash', 'gemini-flash-latest', 'gemma-3-27b-it', 'other']) AS model;

-- Tools as JSON Schema, without one for a function without parameters.
SELECT pg_temp.body(:'hi', :'tools') - 'contents';
SELECT choice, pg_temp.body(:'hi', :'tools'::jsonb || jsonb_build_object('tool_choice', choice)) -> 'toolConfig'
FROM unnest(ARRAY['"auto"', '"none"', '"required"', '{"type":"function","function":{"name":"g"}}']::jsonb[]) AS choice;
SELECT pg_temp.body(:'hi', :'tools'::jsonb || '{"tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"required","tools":[{"type":"function","function":{"name":"g"}}]}}}') - 'contents';
SELECT pg_temp.body(:'hi', :'tools'::jsonb || '{"parallel_tool_calls":false}') -> 'dropped';
SELECT pg_temp.body(:'hi', '{"tools":[{"type":"custom","custom":{"name":"f"}}]}');
SELECT parameters, pg_temp.body(:'hi', jsonb_build_object('tools', jsonb_build_array(jsonb_build_object('type', 'function', 'function', jsonb_build_object('name', 'f', 'parameters', parameters))))) #> '{tools,0,functionDeclarations,0}'
FROM unnest(ARRAY['{}', '{"type":"object","properties":{},"required":[],"additionalProperties":false}', '{"type":"object","additionalProperties":true}', '{"properties":{"a":{}}}', '{"$ref":"#/$defs/a","$defs":{"a":{"type":"object"}}}']::jsonb[]) AS parameters;
-- Tools that are strict are validated, unless they have to be called anyway.
SELECT choice, pg_temp.body(:'hi', jsonb_build_object('tool_choice', choice, 'tools', '[{"type":"function","function":{"name":"f","strict":true}}]'::jsonb)) -> 'toolConfig'
FROM unnest(ARRAY['auto', 'required', 'none']) AS choice;
-- Names that the API does not take are changed wherever they stand, and changed back in answers.
SELECT jsonb_pretty(pg_temp.body('[{"role":"user","content":"u"},{"role":"assistant","tool_calls":[{"id":"1","type":"function","function":{"name":"1 b","arguments":"{}"}}]},{"role":"tool","tool_call_id":"1","content":"1"}]',
	'{"tools":[{"type":"function","function":{"name":"1 b"}}],"tool_choice":{"type":"function","function":{"name":"1 b"}}}'));
SELECT test_good('google', '{"candidates":[{"content":{"parts":[{"functionCall":{"name":"_1_b"}},{"functionCall":{"name":"c"}}]},"finishReason":"STOP"}]}', 'm', '{"tools":[{"type":"function","function":{"name":"c"}},{"type":"function","function":{"name":"1 b"}}]}') #> '{completion,choices,0,message,tool_calls}';

-- Parameters under their names, within their ranges.
SELECT pg_temp.body(:'hi', '{"temperature":0.5,"top_p":0.9,"top_k":40,"max_tokens":100,"n":2,"stop":["a","b","c","d"],"seed":7}') -> 'generationConfig';
SELECT pg_temp.body(:'hi', '{"n":9,"seed":99999999999,"max_tokens":70000}', 'gemini-2.5-flash', 65535) - 'contents';
SELECT pg_temp.body(:'hi', '{"top_k":-1,"stop":"x"}') - 'contents';
SELECT pg_temp.body(:'hi', '{"stop":["","\n"],"seed":-7}') - 'contents';
SELECT pg_temp.body(:'hi', '{"stop":""}') - 'contents';
-- Only models before 2.5 are known to take penalties.
SELECT model, pg_temp.body(:'hi', '{"presence_penalty":1,"frequency_penalty":0}', model) - 'contents' FROM unnest(ARRAY['gemini-2.0-flash', 'gemini-2.5-flash', 'gemma-3-27b-it', 'other']) AS model;
SELECT pg_temp.body(:'hi', '{"user":"u","metadata":{"a":"b"},"logit_bias":{"1":1},"logprobs":true,"store":false}') - 'contents';

-- JSON, with a schema as it is; beside functions only from Gemini 3 on, before it is asked for in words, as of Gemma.
SELECT pg_temp.body(:'hi', '{"response_format":{"type":"json_object"}}') -> 'generationConfig';
SELECT pg_temp.body(:'hi', '{"response_format":{"type":"json_schema","json_schema":{"name":"s","schema":{"type":"object","additionalProperties":false}}}}') -> 'generationConfig';
SELECT model, pg_temp.body(:'hi', :'tools'::jsonb || '{"response_format":{"type":"json_object"}}', model) - 'contents' - 'tools' FROM unnest(ARRAY['gemini-2.5-flash', 'gemini-3-flash-preview']) AS model;
SELECT pg_temp.body(:'hi', :'tools'::jsonb || '{"response_format":{"type":"json_schema","json_schema":{"name":"s","schema":{"type":"object"}}}}') - 'contents' - 'tools';
SELECT pg_temp.body('[{"role":"system","content":"s"},{"role":"user","content":"hi"}]', '{"response_format":{"type":"json_object"}}', 'gemma-3-27b-it');

-- Reasoning: a budget for 2.5, a level from 3 on, nothing for those that do not think.
SELECT model, effort, b -> 'generationConfig' -> 'thinkingConfig' AS thinking, b -> 'adjusted' AS adjusted, b -> 'dropped' AS dropped
FROM unnest(ARRAY['gemini-2.0-flash', 'gemini-2.5-flash', 'gemini-2.5-flash-lite', 'gemini-2.5-pro', 'gemini-2.5-flash-image', 'gemini-3-pro-preview', 'gemini-3-flash-preview', 'gemini-3.1-pro-preview',
		'gemini-3.1-flash-image', 'gemini-3-pro-image', 'gemini-3.6-flash', 'gemini-3.7-flash', 'gemini-flash-latest', 'gemma-3-27b-it', 'other']) AS model,
	unnest(ARRAY['none', 'minimal', 'low', 'medium', 'high', 'xhigh', 'max', 'odd']) AS effort,
	pg_temp.body(:'hi', jsonb_build_object('reasoning_effort', effort), model) AS b;
SELECT reasoning, pg_temp.body(:'hi', jsonb_build_object('reasoning', reasoning)) - 'contents' FROM unnest(ARRAY['{"effort":"low","exclude":true}', '{"max_tokens":500}']::jsonb[]) AS reasoning;

-- extra: top-level members replace ours, those of generationConfig one by one.
SELECT pg_temp.body(:'hi', '{"temperature":0.5,"top_p":0.5,"router":{"extra":{"safetySettings":[],"generationConfig":{"temperature":1,"topK":3}}}}') - 'contents';
SELECT pg_temp.body('[{"role":"system","content":"s"},{"role":"user","content":"hi"}]', :'tools'::jsonb || '{"tool_choice":"required","presence_penalty":1,"reasoning_effort":"low","router":{"extra":{"contents":[],"systemInstruction":{},"tools":[],"toolConfig":{},"generationConfig":{"presencePenalty":0,"thinkingConfig":{}}}}}');

-- Answers: several texts, thoughts, usage whose thoughts come beside the candidates' tokens.
SELECT test_good('google', '{"candidates":[{"content":{"role":"model","parts":[{"text":"Hm.","thought":true},{"text":"Hello"},{"text":" you","thoughtSignature":"c2ln"}]},"finishReason":"STOP","index":0}],
	"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":28,"thoughtsTokenCount":244,"cachedContentTokenCount":4,"toolUsePromptTokenCount":1,"totalTokenCount":282},"modelVersion":"gemini-3-pro","responseId":"r1"}');

-- Function calls: ids where there are any, arguments where there are any, the signature kept.
SELECT test_good('google', '{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":{"a":1},"id":"x"},"thoughtSignature":"c2ln"},{"functionCall":{"name":"g"}}]},"finishReason":"STOP"}]}') -> 'completion' -> 'choices';

-- Where calls have no ids, they get some that no other answer has.
SELECT test_good('google', '{"responseId":"r1","candidates":[{"content":{"parts":[{"functionCall":{"name":"f"}},{"functionCall":{"name":"f","id":"x"}},{"functionCall":{"name":"f","id":""}}]},"finishReason":"STOP"}]}') #> '{completion,choices,0,message,tool_calls}';

-- Ends, each in OpenAI's word; a failure of the model is none, unless it said something, and no end is "stop" without.
SELECT reason, a ->> 'outcome' AS outcome, a ->> 'finish_reason' AS finish_reason, a ->> 'message' AS message
FROM unnest(ARRAY['STOP', 'MAX_TOKENS', 'SAFETY', 'RECITATION', 'SPII', 'OTHER', 'MALFORMED_FUNCTION_CALL', 'NEW_REASON']) AS reason,
	test_good('google', jsonb_build_object('candidates', jsonb_build_array(jsonb_build_object('finishReason', reason)))) AS a;
SELECT reason, part, a ->> 'outcome' AS outcome, a ->> 'finish_reason' AS finish_reason, a ->> 'code' AS code
FROM unnest(ARRAY['MAX_TOKENS', 'SAFETY', 'OTHER', 'UNEXPECTED_TOOL_CALL', 'TOO_MANY_TOOL_CALLS', NULL]) AS reason, unnest(ARRAY['{"text":"a"}', '{"functionCall":{"name":"f"}}', '{"thought":true,"text":"a"}']::jsonb[]) AS part,
	test_good('google', jsonb_build_object('candidates', jsonb_build_array(jsonb_build_object('finishReason', reason, 'content', jsonb_build_object('parts', jsonb_build_array(part)))))) AS a;

-- No parts, no candidates, a blocked prompt.
SELECT test_good('google', '{"candidates":[{"content":{"role":"model"},"finishReason":"MAX_TOKENS","index":0}],"usageMetadata":{"promptTokenCount":9,"thoughtsTokenCount":100}}');
SELECT test_good('google', '{"candidates":[]}');
SELECT test_good('google', '{"promptFeedback":{"blockReason":"PROHIBITED_CONTENT"},"usageMetadata":{"promptTokenCount":9}}');

-- Several candidates.
SELECT test_good('google', '{"candidates":[{"content":{"parts":[{"text":"a"}]},"finishReason":"STOP","index":0},{"content":{"parts":[{"text":"b"}]},"finishReason":"MAX_TOKENS","index":1}]}') -> 'completion' -> 'choices';
-- A number that is left out makes no choice.
SELECT jsonb_path_query_array(test_good('google', '{"candidates":[{"content":{"parts":[{"text":"a"}]},"finishReason":"STOP","index":0},{"content":{"parts":[{"text":"b"}]},"finishReason":"STOP","index":2}]}'), '$.completion.choices[*].index');

-- The first has to be there; one that failed or was cut off is missed. An array has what a stream would have had.
SELECT test_good('google', '{"candidates":[{"content":{"parts":[{"text":"a"}]},"finishReason":"STOP","index":1}]}') ->> 'message';
SELECT test_good('google', '{"candidates":[{"content":{"parts":[{"text":"a"}]},"finishReason":"STOP"},{"finishReason":"MALFORMED_FUNCTION_CALL"}]}') ->> 'message';
SELECT test_good('google', '[{"candidates":[{"content":{"parts":[{"text":"a"}]}}]},{"candidates":[{"content":{"parts":[{"text":"b"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":1,"candidatesTokenCount":2}}]') - 'completion';
SELECT test_good('google', '[{"candidates":[{"content":{"parts":[{"text":"a"}]}}]},{"candidates":[{"content":{"parts":[{"text":"b"}]}}]}]') ->> 'message';

-- Nonsense: counts that cannot be are unknown, odd members are passed over.
SELECT test_good('google', '{"candidates":[{"content":{"parts":[{"text":"a"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":-1}}') ? 'usage';
SELECT test_good('google', '{"candidates":[{"content":{"parts":[{"text":"a"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":1,"cachedContentTokenCount":5}}') ? 'usage';
SELECT body, test_good('google', body) ->> 'message' FROM unnest(ARRAY['{"candidates":[5]}', '{"candidates":[{"index":-1}]}', '{"candidates":[{"index":128}]}', '{"candidates":[{"content":7}]}', '{"candidates":7}',
	'{"candidates":[{"content":{"parts":[{"functionCall":{"name":""}}]}}]}', '[5]', '[]']::jsonb[]) AS body;
SELECT test_good('google', jsonb_build_object('candidates', jsonb_build_array(jsonb_build_object('content', jsonb_build_object('parts', (SELECT jsonb_agg('{"functionCall":{"name":"f"}}'::jsonb) FROM generate_series(1, 1025))))))) ->> 'message';
SELECT test_good('google', '{"candidates":[{"content":{"parts":[1,{},{"text":2},{"functionCall":3},{"inlineData":{}},{"text":"a","thought":"yes"},{"functionCall":{"name":"f","args":"x"},"thoughtSignature":5}]},"finishReason":5,"index":"x"}],"responseId":5,"modelVersion":{},"usageMetadata":[]}') #> '{completion,choices}';

-- Errors: a bad key is 400, quotas by the day and by the minute, the wait in the body, an array around all.
SELECT name, test_answer('google', 'm', status, '{}', body::bytea, :'hi', NULL)
FROM (VALUES
	('bad key', 400, '{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID"}]}}'),
	('too long', 400, '{"error":{"code":400,"message":"The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).","status":"INVALID_ARGUMENT"}}'),
	('bad request', 400, '{"error":{"code":400,"message":"Invalid value","status":"INVALID_ARGUMENT"}}'),
	('too long', 200, '{"error":{"code":400,"message":"The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).","status":"INVALID_ARGUMENT"}}'),
	('not there', 400, '{"error":{"code":400,"message":"User location is not supported for the API use.","status":"FAILED_PRECONDITION"}}'),
	('file', 400, '{"error":{"code":400,"message":"The File x is not in an ACTIVE state and usage is not allowed.","status":"FAILED_PRECONDITION"}}'),
	('leaked', 403, '{"error":{"code":403,"message":"Your API key was reported as leaked. Please use another API key.","status":"PERMISSION_DENIED"}}'),
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
-- A reason with every part ends nothing before the last; a candidate without one was cut off.
SELECT * FROM test_events('google', $$data: {"candidates":[{"content":{"parts":[{"text":"a"}]},"finishReason":"STOP"}]}

data: {"candidates":[{"content":{"parts":[{"text":"b"}]},"finishReason":"MAX_TOKENS"}]}

$$);
SELECT * FROM test_events('google', $$data: {"candidates":[{"content":{"parts":[{"text":"a"}]},"finishReason":"STOP"},{"content":{"parts":[{"text":"b"}]}}]}

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

-- Linear in the size of the conversation.
SELECT length(test_wire('google', 'gemini-2.5-flash', (SELECT jsonb_agg(message ORDER BY n) FROM generate_series(1, 500) AS n,
	LATERAL (VALUES ('{"role":"user","content":"u"}'::jsonb), (jsonb_build_object('role', 'assistant', 'tool_calls', jsonb_build_array(jsonb_build_object('id', n::text, 'type', 'function', 'function', '{"name":"f","arguments":"{}"}'::jsonb)))),
		(jsonb_build_object('role', 'tool', 'tool_call_id', n::text, 'content', repeat('x', 100)))) AS turn (message)))::text) > 50000 AS all_there;

-- Cohere's chat API, version 2: requests in and wire out, wire in and answers out.
\pset format unaligned
\pset tuples_only on
\set hi '[{"role":"user","content":"hi"}]'
-- The body alone, and what was dropped or adjusted.
CREATE FUNCTION cohere_body(messages jsonb, options jsonb DEFAULT NULL, model text DEFAULT 'command-a-03-2025') RETURNS jsonb LANGUAGE sql AS
$$ SELECT CASE WHEN wire ? 'body' THEN wire - 'request' - 'body' || (wire->'body') - 'model' ELSE wire END FROM test_wire('cohere', model, messages, options) AS wire $$;

-- The whole request; as a stream; with a limit of the output.
SELECT jsonb_pretty(test_wire('cohere', 'command-a-03-2025', '[{"role":"system","content":"Be brief."},{"role":"user","content":"hi"}]'));
SELECT test_wire('cohere', 'command-a-03-2025', :'hi', '{"max_completion_tokens":50}', true);

-- All system and developer texts become one message, which is first; blank ones say nothing.
SELECT cohere_body('[{"role":"user","content":"a"},{"role":"developer","content":"D"},{"role":"assistant","content":"b"},{"role":"system","content":[{"type":"text","text":"S"},{"type":"text","text":"T"}]},{"role":"system","content":" "},{"role":"user","content":"c"}]');
-- Turns of one role may follow each other; empty turns are left out.
SELECT cohere_body('[{"role":"user","content":"a"},{"role":"user","content":"b"},{"role":"assistant","content":" \n"},{"role":"user","content":""},{"role":"user","content":[{"type":"text","text":"c"},{"type":"text","text":"d"}]},{"role":"assistant","content":null,"refusal":"No."}]');
SELECT cohere_body('[{"role":"system","content":"Say hello."}]');
SELECT cohere_body('[{"role":"user","content":" "}]');

-- Images: URLs and data URLs, with their detail; blank texts beside them are refused.
SELECT cohere_body('[{"role":"user","content":[{"type":"text","text":"What?"},{"type":"text","text":""},{"type":"image_url","image_url":{"url":"https://a/b.png","detail":"low"}},{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0K","detail":"odd"}}]}]');
-- What cannot be said: audio, files, custom tools.
SELECT cohere_body(('[{"role":"user","content":[' || part || ']}]')::jsonb)
FROM unnest(ARRAY['{"type":"input_audio","input_audio":{"data":"AA==","format":"wav"}}', '{"type":"file","file":{"file_data":"data:application/pdf;base64,AA==","filename":"a.pdf"}}', '{"type":"file","file":{"file_id":"f"}}']) AS part;
SELECT cohere_body(:'hi', '{"tools":[{"type":"custom","custom":{"name":"c"}}]}');

-- Tool calls and results: text beside calls is the plan, arguments are always an object.
SELECT jsonb_pretty(cohere_body('[{"role":"user","content":"a"},
	{"role":"assistant","content":"I look.","tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{\"x\":1}"}},{"id":"c2","type":"function","function":{"name":"get-it","arguments":""}}]},
	{"role":"tool","tool_call_id":"c2","content":"two"},{"role":"tool","tool_call_id":"c1","content":[{"type":"text","text":"one"}]},
	{"role":"assistant","content":" ","tool_calls":[{"id":"c3","type":"function","function":{"name":"f","arguments":"nonsense"}}]},{"role":"tool","tool_call_id":"c3","content":""},
	{"role":"assistant","content":"Done."},{"role":"user","content":"b"}]')->'messages');
-- An id is sent once only: callers use them again, and the older form has none.
SELECT cohere_body('[{"role":"assistant","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"c","content":"1"},
	{"role":"assistant","tool_calls":[{"id":"c_2","type":"function","function":{"name":"f","arguments":"{}"}},{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"c","content":"3"},{"role":"tool","tool_call_id":"c_2","content":"2"}]')->'messages';
SELECT cohere_body('[{"role":"assistant","function_call":{"name":"f","arguments":"{}"}},{"role":"function","name":"f","content":"1"}]')->'messages';
SELECT cohere_body('[{"role":"assistant","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"c","content":"1"},{"role":"tool","tool_call_id":"c","content":"2"}]');
SELECT cohere_body('[{"role":"user","content":"a"},{"role":"function","name":"f","content":"1"}]');

-- Tools: parameters are required, names have only letters, digits and underscores.
SELECT cohere_body(:'hi', '{"tools":[{"type":"function","function":{"name":"get-it","description":"Gets."}},{"type":"function","function":{"name":"2nd","parameters":{"type":"object","properties":{"a":{"type":"integer","minimum":1}},"additionalProperties":false}}}]}');
SELECT cohere_body(:'hi', '{"tools":[{"type":"function","function":{"name":"get-it"}},{"type":"function","function":{"name":"get_it"}}]}');
SELECT cohere_body(:'hi', '{"functions":[{"name":"f","parameters":{}}],"function_call":{"name":"f"}}');
-- strict is for all tools; then keywords that cannot be enforced are left out; it needs a required member.
SELECT cohere_body(:'hi', '{"tools":[{"type":"function","function":{"name":"f","strict":true,"parameters":{"type":"object","required":["minimum"],"properties":{"minimum":{"type":"integer","minimum":1,"enum":[{"minimum":1}]},"l":{"type":"array","items":{"type":"string","maxLength":3}}},"additionalProperties":false}}}]}');
SELECT cohere_body(:'hi', '{"tools":[{"type":"function","function":{"name":"f","strict":true,"parameters":{"type":"object","properties":{"a":{"type":"integer"}}}}}]}');
-- tool_choice in all its forms; models before Command R7B do not know it.
SELECT model, choice, body - 'messages' - 'tools', jsonb_path_query_array(body, '$.tools[*].function.name')
FROM unnest(ARRAY['command-a-03-2025', 'command-r7b-12-2024', 'command-r-08-2024', 'command-r-plus', 'command-nightly']) AS model,
	unnest(ARRAY['"auto"', '"none"', '"required"', '{"type":"function","function":{"name":"g"}}', '{"type":"allowed_tools","allowed_tools":{"mode":"required","tools":[{"type":"function","function":{"name":"f"}}]}}']) AS choice,
	LATERAL cohere_body(:'hi', jsonb_build_object('tools', '[{"type":"function","function":{"name":"f"}},{"type":"function","function":{"name":"g"}}]'::jsonb, 'tool_choice', choice::jsonb), model) AS body;
SELECT cohere_body(:'hi', '{"tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":{"type":"function","function":{"name":"g"}}}');
SELECT cohere_body(:'hi', '{"tools":[],"tool_choice":"auto","parallel_tool_calls":false}');
SELECT cohere_body(:'hi', '{"tools":[{"type":"function","function":{"name":"f"}}],"parallel_tool_calls":false}') - 'tools';

-- Ranges: what is beyond is brought into them, and noted.
SELECT options, cohere_body(:'hi', options::jsonb) - 'messages'
FROM unnest(ARRAY['{"temperature":0.3,"top_p":0.5,"top_k":40,"seed":7,"stop":"x"}', '{"temperature":1.5}', '{"top_p":1}', '{"top_p":0}', '{"top_k":-1}', '{"top_k":501}', '{"seed":-7}', '{"stop":["a","b","c","d"]}',
	'{"frequency_penalty":0.5}', '{"presence_penalty":1.5}', '{"frequency_penalty":-0.5}', '{"frequency_penalty":0.5,"presence_penalty":0.5}', '{"frequency_penalty":-1,"presence_penalty":0.5}', '{"frequency_penalty":0,"presence_penalty":0}',
	'{"logprobs":true,"top_logprobs":3}', '{"logprobs":false}', '{"n":2,"logit_bias":{"5":1},"user":"u","metadata":{"a":"b"},"store":true}', '{"n":1,"logit_bias":{},"verbosity":"low","min_p":0.1}']) AS options;

-- JSON: not with tools; the conversation has to ask for it, and of the schema some keywords are refused.
SELECT cohere_body(:'hi', '{"response_format":{"type":"json_object"}}');
SELECT cohere_body('[{"role":"system","content":"Be brief."},{"role":"user","content":"hi"}]', '{"response_format":{"type":"json_object"}}');
SELECT cohere_body('[{"role":"user","content":"Give me Json"}]', '{"response_format":{"type":"json_object"}}');
SELECT cohere_body(:'hi', '{"response_format":{"type":"json_schema","json_schema":{"name":"n","strict":true,"schema":{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false}}}}');
SELECT cohere_body(:'hi', '{"response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{"type":"object","properties":{"a":{"type":"array","minItems":1,"items":{"anyOf":[{"type":"string","minLength":1},{"type":"null"}]}}},"required":["a"]}}}}')->'response_format';
SELECT cohere_body(:'hi', '{"response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{"type":"array"}}}}');
SELECT cohere_body(:'hi', '{"response_format":{"type":"json_object"},"tools":[{"type":"function","function":{"name":"f"}}]}') - 'tools';
SELECT cohere_body(:'hi', '{"response_format":{"type":"text"}}');

-- Thinking: only of models that can; a limit of the output leaves a quarter for the answer.
SELECT model, options, cohere_body(:'hi', options::jsonb, model) - 'messages'
FROM unnest(ARRAY['command-a-reasoning-08-2025', 'command-a-03-2025']) AS model,
	unnest(ARRAY['{}', '{"reasoning_effort":"none"}', '{"reasoning_effort":"minimal"}', '{"reasoning_effort":"medium"}', '{"reasoning_effort":"high"}', '{"reasoning_effort":"high","max_tokens":1000}', '{"reasoning":{"effort":"max"}}', '{"reasoning_effort":"odd"}']) AS options;

-- extra comes last and wins.
SELECT cohere_body(:'hi', '{"temperature":1,"response_format":{"type":"json_object"},"frequency_penalty":1,"max_tokens":9,"router":{"extra":{"temperature":0.5,"documents":[],"presence_penalty":0.1,"safety_mode":"OFF","max_tokens":5}}}');

-- Linear in the size of the conversation, with tool calls.
SELECT jsonb_array_length(cohere_body((SELECT jsonb_agg(message) FROM generate_series(1, 2000) AS i, LATERAL (VALUES
	(jsonb_build_object('role', 'assistant', 'tool_calls', jsonb_build_array(jsonb_build_object('id', 'c', 'type', 'function', 'function', '{"name":"f","arguments":"{}"}'::jsonb)))),
	('{"role":"tool","tool_call_id":"c","content":"1"}')) AS m (message)))->'messages');

-- A whole answer.
SELECT jsonb_pretty(test_good('cohere', '{"id":"5b1","message":{"role":"assistant","content":[{"type":"thinking","thinking":"Hm."},{"type":"text","text":"Hel"},{"type":"text","text":"lo"}],"citations":[{"start":0,"end":5}]},
 "finish_reason":"COMPLETE","usage":{"billed_units":{"input_tokens":12.0,"output_tokens":7},"tokens":{"input_tokens":507,"output_tokens":10},"cached_tokens":5}}', 'command-a-03-2025'));
-- Tool calls: arguments may be null; the plan is content where there is no text; names are the request's.
SELECT jsonb_pretty(test_good('cohere', '{"id":"5b1","message":{"role":"assistant","tool_plan":"I look.","tool_calls":[{"id":"f_1","type":"function","function":{"name":"get_it","arguments":"{\"a\":1}"}},{"id":"f_2","type":"function","function":{"name":"f","arguments":null}},{"type":"function","function":{"name":"f","arguments":"null"}}]},"finish_reason":"TOOL_CALL"}',
	'm', '{"tools":[{"type":"function","function":{"name":"get-it"}},{"type":"function","function":{"name":"f"}}]}')->'completion'->'choices'->0);
SELECT test_good('cohere', '{"message":{"content":[{"type":"text","text":"T"}],"tool_plan":"P"}}')->'completion'->'choices'->0;
-- Answers without parts, and with content that is a text.
SELECT test_good('cohere', message)->'completion'->'choices'->0->'message'
FROM unnest(ARRAY['{"message":{"role":"assistant"},"finish_reason":"MAX_TOKENS"}', '{"message":{"content":[]}}', '{"message":{"content":null}}', '{"message":{"content":"x"}}', '{"message":{"content":[5,{"type":"odd"},{"type":"text","text":7}]}}']::jsonb[]) AS message;
-- Reasons.
SELECT reason, reply->>'outcome', reply->>'finish_reason', reply->>'code'
FROM unnest(ARRAY['COMPLETE', 'STOP_SEQUENCE', 'MAX_TOKENS', 'TOOL_CALL', 'ERROR', 'TIMEOUT', 'ERROR_TOXIC', 'ERROR_LIMIT', 'USER_CANCEL', 'NEW', NULL]) AS reason,
	LATERAL test_good('cohere', jsonb_build_object('message', '{"content":"x"}'::jsonb, 'finish_reason', reason)) AS reply;
SELECT test_good('cohere', '{"message":{"tool_calls":[{"function":{"name":"f"}}]},"finish_reason":"COMPLETE"}')->>'finish_reason';
-- Usage: what is billed, else all tokens; unknown for nonsense. A failed answer has it, too.
SELECT usage, test_good('cohere', jsonb_build_object('message', '{"content":"x"}'::jsonb, 'usage', usage))->'usage'
FROM unnest(ARRAY['{"billed_units":{"input_tokens":12,"output_tokens":7},"tokens":{"input_tokens":507,"output_tokens":10},"cached_tokens":448}', '{"tokens":{"input_tokens":507,"output_tokens":10},"cached_tokens":448}',
	'{"billed_units":{"input_tokens":12},"tokens":{"input_tokens":507,"output_tokens":10}}', '{"billed_units":{"input_tokens":12}}', '{"billed_units":{"input_tokens":-12,"output_tokens":7}}', '{"billed_units":{"input_tokens":1.5,"output_tokens":7}}',
	'{"billed_units":{"input_tokens":1e30,"output_tokens":7}}', '{"billed_units":{"input_tokens":"12","output_tokens":7}}', '{"billed_units":{"input_tokens":12,"output_tokens":7},"cached_tokens":-1}', '{"billed_units":5,"tokens":[]}', '{}', '5', 'null']::jsonb[]) AS usage;
SELECT test_good('cohere', '{"id":"x","message":{"content":"x"},"finish_reason":"TIMEOUT","usage":{"billed_units":{"input_tokens":12,"output_tokens":7}}}');
-- Probabilities: of several tokens that share a text, their product.
SELECT test_good('cohere', '{"message":{"content":"Hello you"},"logprobs":[{"text":"Hello","token_ids":[1],"logprobs":[-0.5]},{"text":" you","token_ids":[2,3],"logprobs":[-0.25,-0.5]},{"text":5},7,{"text":"x","logprobs":["y"]}]}')->'completion'->'choices'->0->'logprobs';
-- What is no answer.
SELECT body, test_answer('cohere', 'm', 200, '{}', convert_to(body, 'UTF8'), :'hi', NULL)
FROM unnest(ARRAY['', '<html>', '[]', '5', '{}', '{"message":5}', '{"message":"broke off"}', '{"error":"x"}', '{"message":{"content":5}}', '{"message":{"tool_calls":[5]}}', '{"message":{"tool_calls":[{"function":{"name":""}}]}}', '{"message":{"tool_calls":[{"function":"f"}]}}']) AS body;
SELECT test_good('cohere', jsonb_build_object('message', jsonb_build_object('tool_calls', (SELECT jsonb_agg('{"function":{"name":"f"}}'::jsonb) FROM generate_series(1, 2000)))));

-- Errors.
SELECT status, body, test_answer('cohere', 'm', status, '{}', convert_to(body, 'UTF8'), :'hi', NULL)
FROM (VALUES (400, '{"message":"too many tokens: size limit exceeded by 10 tokens. Try using shorter or fewer inputs."}'), (400, '{"message":"too many tokens: max tokens must be less than or equal to 4096, the maximum output for this model - received 5000."}'),
	(400, '{"id":"x","message":"invalid request: system turn must be the first in the list"}'), (401, '{"id":"x","message":"invalid api token"}'), (402, '{"message":"Please add or update your payment method"}'), (403, '{"message":"no"}'),
	(404, '{"message":"model ''x'' not found, make sure the correct model ID was used"}'), (422, '{"message":"unknown field"}'), (429, '{"message":"You are past the per minute request limit, please wait and try again later."}'),
	(429, '{"message":"You are using a Trial key, which is limited to 20 API calls / minute."}'), (429, '{"message":"You are using a Trial key, which is limited to 1000 API calls / month."}'), (429, '{"message":"trial token rate limit exceeded, limit is 100000 tokens per minute"}'),
	(498, '{"message":"blocked output"}'), (499, '{"message":"request cancelled"}'), (500, '{"message":"internal server error"}'), (501, '{"message":"not implemented"}'), (503, ''), (504, '{"message":"timed out"}')) AS v (status, body);

-- A stream of thoughts and text. Every type that is not known is skipped.
SELECT test_events('cohere', 'event: message-start
data: {"type":"message-start","id":"29f1","delta":{"message":{"role":"assistant","content":[],"tool_plan":"","tool_calls":[],"citations":[]}}}

event: content-start
data: {"type":"content-start","index":0,"delta":{"message":{"content":{"type":"thinking","thinking":""}}}}

event: content-delta
data: {"type":"content-delta","index":0,"delta":{"message":{"content":{"thinking":"Hm."}}}}

event: content-end
data: {"type":"content-end","index":0}

event: content-start
data: {"type":"content-start","index":1,"delta":{"message":{"content":{"type":"text","text":"Hé"}}}}

event: debug
data: {"type":"debug","prompt":"x"}

event: content-delta
data: {"type":"content-delta","index":1,"delta":{"message":{"content":{"text":"llo"}}},"logprobs":{"text":"llo","token_ids":[1],"logprobs":[-0.5]}}

event: citation-start
data: {"type":"citation-start","index":0,"delta":{"message":{"citations":{"start":0,"end":5}}}}

event: citation-end
data: {"type":"citation-end","index":0}

event: content-end
data: {"type":"content-end","index":1}

event: message-end
data: {"type":"message-end","id":"29f1","delta":{"finish_reason":"COMPLETE","usage":{"billed_units":{"input_tokens":12,"output_tokens":7},"tokens":{"input_tokens":507,"output_tokens":10},"cached_tokens":448}}}

data: [DONE]

', 'command-a-reasoning-08-2025');
-- A stream of tool calls: tool_calls is one object, and their numbers are their own.
SELECT test_events('cohere', 'data: {"type":"message-start","id":"29f1"}

data: {"type":"tool-plan-delta","delta":{"message":{"tool_plan":"I "}}}

data: {"type":"tool-plan-delta","delta":{"message":{"tool_plan":"look."}}}

data: {"type":"tool-call-start","index":1,"delta":{"message":{"tool_calls":{"id":"f_1","type":"function","function":{"name":"get_it","arguments":""}}}}}

data: {"type":"tool-call-delta","index":1,"delta":{"message":{"tool_calls":{"function":{"arguments":"{\"a\":"}}}}}

data: {"type":"tool-call-start","index":2,"delta":{"message":{"tool_calls":{"id":"f_2","type":"function","function":{"name":"f","arguments":"null"}}}}}

data: {"type":"tool-call-delta","index":1,"delta":{"message":{"tool_calls":{"function":{"arguments":"1}"}}}}}

data: {"type":"tool-call-end","index":1}

data: {"type":"message-end","delta":{"finish_reason":"TOOL_CALL"}}

', 'm', '{"tools":[{"type":"function","function":{"name":"get-it"}}]}');
-- Ends that are none: errors of the provider, in all their places, and streams that break off.
SELECT stream, test_events('cohere', E'data: {"type":"content-delta","delta":{"message":{"content":{"text":"x"}}}}\n\ndata: ' || stream || E'\n\n')->'outcome' AS outcome, (SELECT max(e::text) FROM test_events('cohere', 'data: ' || stream) AS e)
FROM unnest(ARRAY['{"type":"message-end","delta":{"finish_reason":"ERROR","error":"broke off","usage":{"billed_units":{"input_tokens":12,"output_tokens":7}}}}', '{"type":"message-end","delta":{"finish_reason":"TIMEOUT"}}', '{"type":"message-end","delta":{"error":"broke off"}}',
	'{"message":"internal error","id":"x"}', '{"type":"error","message":"no"}', '[DONE]', '{"type":"content-end"}', '5', 'nonsense', '{"type":"tool-call-delta","index":7,"delta":{"message":{"tool_calls":{"function":{"arguments":"1}"}}}}}',
	'{"type":"tool-call-start","delta":{"message":{"tool_calls":5}}}', '{"type":"tool-call-start","delta":{"message":{"tool_calls":{"function":{"name":7}}}}}']) AS stream;
-- An end without anything before it, and events of wrong kinds.
SELECT test_events('cohere', 'data: {"type":"message-end"}');
SELECT test_events('cohere', 'data: {"type":"message-end","delta":{"finish_reason":"COMPLETE"}}');
SELECT test_events('cohere', 'data: {"type":"content-delta","delta":5}

data: {"type":"content-delta","delta":{"message":[]}}

data: {"type":"content-delta","delta":{"message":{"content":{"text":5,"thinking":{}}}},"logprobs":[5]}

data: {"type":7}

data: {"type":"tool-plan-delta"}

data: {"type":"message-end","delta":{"finish_reason":"MAX_TOKENS","usage":{"billed_units":{"input_tokens":-1}}}}

');
-- A stream was asked for, and one document came.
SELECT test_exchange('cohere', 'm', :'hi', NULL, true, '[{"status":200,"body":{"id":"5b1","message":{"content":[{"type":"thinking","thinking":"Hm."},{"type":"text","text":"Hi"}],"tool_calls":[{"id":"f_1","function":{"name":"f","arguments":"{}"}}]},"finish_reason":"TOOL_CALL"}}]');
DROP FUNCTION cohere_body;

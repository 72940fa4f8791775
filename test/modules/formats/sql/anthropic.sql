-- The anthropic format: requests in and wire out, then answers, streams and errors.
\pset format unaligned
\pset tuples_only on
\pset null 'none'
\set hi '[{"role":"user","content":"hi"}]'

-- A whole request with its headers.
SELECT jsonb_pretty(test_wire('anthropic', 'claude-sonnet-4-5', '[{"role":"system","content":"Be brief."},{"role":"user","content":"Hello"}]',
	'{"max_tokens":100,"temperature":0.5,"stop":"END"}', true));
SELECT test_key_check('anthropic');

-- What the other groups look at: the body without its model, and notes.
CREATE FUNCTION body(messages jsonb, options jsonb DEFAULT NULL, model text DEFAULT 'claude-sonnet-4-5', max_output_tokens int DEFAULT 0) RETURNS jsonb LANGUAGE sql
RETURN (test_wire('anthropic', model, messages, options, false, max_output_tokens) #- '{body,model}') - 'request' - 'header anthropic-version';
CREATE FUNCTION body_messages(messages jsonb, model text DEFAULT 'claude-sonnet-4-5', options jsonb DEFAULT NULL) RETURNS SETOF jsonb LANGUAGE sql
RETURN jsonb_array_elements(body(messages, options, model) -> 'body' -> 'messages');

-- System and developer messages are hoisted, late ones too; blank ones are left out.
SELECT body('[{"role":"developer","content":"A"},{"role":"user","content":"u"},{"role":"system","content":" "},
			  {"role":"system","content":[{"type":"text","text":"B"},{"type":"text","text":"C"}]}]')->'body'->'system';

-- Messages of one role in a row become one turn.
SELECT body_messages('[{"role":"user","content":"a"},{"role":"user","name":"n","content":[{"type":"text","text":"b"}]},{"role":"assistant","content":"c"},
	{"role":"assistant","content":null,"refusal":"d"},{"role":"user","content":"e"}]');

-- The user begins; blank texts are refused, so that a message may vanish, and the turns beside it become one.
SELECT body_messages('[{"role":"assistant","content":"Welcome!"},{"role":"user","content":"hi"}]');
SELECT body_messages('[{"role":"user","content":"a"},{"role":"assistant","content":" \n"},{"role":"user","content":[{"type":"text","text":""},{"type":"text","text":"b"}]}]');
SELECT body_messages('[{"role":"user","content":""}]');
SELECT body('[{"role":"system","content":"Write a poem."}]')->'body';

-- A last message of the assistant is continued by older models, without white space at its end; the others are told to go on.
SELECT model, body_messages('[{"role":"user","content":"a"},{"role":"assistant","content":"The answer is \n"}]', model)
FROM unnest(ARRAY['claude-opus-4-5', 'claude-sonnet-4-6']) AS model;
-- Also where the beginning would have to be thoughts or JSON.
SELECT body_messages('[{"role":"user","content":"a"},{"role":"assistant","content":"The"}]', 'claude-opus-4-5', options)
FROM unnest(ARRAY['{"reasoning_effort":"low"}', '{"response_format":{"type":"json_schema","json_schema":{"name":"s","schema":{"type":"object"}}}}']::jsonb[]) AS options;

-- A part is of the type that it says; a call or a tool without a function's name is a custom one.
SELECT body('[{"role":"user","content":[{"type":"text","text":"a","file":{"filename":"x"},"image_url":{}}]}]')->'body'->'messages';
SELECT body('[{"role":"user","content":"a"},{"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"custom","function":{"arguments":"{}"}}]}]'),
	   body(:'hi', '{"tools":[{"type":"custom","function":{}}]}');

-- Images and files.
SELECT body_messages('[{"role":"user","content":[{"type":"text","text":"See"},
	{"type":"image_url","image_url":{"url":"data:image/jpg;base64,AAAA","detail":"low"}},{"type":"image_url","image_url":{"url":"https://example.com/a.png"}},
	{"type":"file","file":{"filename":"a.pdf","file_data":"data:application/pdf;base64,JVBE"}},{"type":"file","file":{"file_data":"JVBE"}},
	{"type":"file","file":{"file_data":"https://example.com/a.pdf"}},{"type":"file","file":{"file_data":"data:image/PNG;base64,BBBB"}}]}]');
SELECT body(jsonb_build_array(jsonb_build_object('role', 'user', 'content', jsonb_build_array(part))))
FROM unnest(ARRAY['{"type":"image_url","image_url":{"url":"data:image/svg+xml;base64,AAAA"}}', '{"type":"file","file":{"file_data":"data:text/csv;base64,AAAA"}}',
	'{"type":"file","file":{"file_id":"file-1"}}', '{"type":"input_audio","input_audio":{"data":"AAAA","format":"wav"}}']::jsonb[]) AS part;

-- Tool calls and results: empty arguments, results first in the user's turn, tools that the request no longer has.
SELECT jsonb_pretty(body('[{"role":"user","content":"Weather?"},
	{"role":"assistant","content":"","tool_calls":[{"id":"c1","type":"function","function":{"name":"weather","arguments":"{\"city\":\"Paris\"}"}},{"id":"c2","type":"function","function":{"name":"time","arguments":""}}]},
	{"role":"user","content":"Quick!"},{"role":"tool","tool_call_id":"c1","content":"sunny"},{"role":"tool","tool_call_id":"c2","content":[{"type":"text","text":"no"},{"type":"text","text":"on"}]}]')->'body');
-- Arguments that are no object, results that are empty or failed.
SELECT body_messages('[{"role":"assistant","content":"Look:","tool_calls":[{"id":"a","function":{"name":"f","arguments":"[1]"}},{"id":"b","function":{"name":"f","arguments":"{oops"}}]},
	{"role":"tool","tool_call_id":"a","content":""},{"role":"tool","tool_call_id":"b","content":"no","is_error":true}]');
-- Ids in the form that is accepted, each for one call: a result is that of the last call of its id.
SELECT body_messages('[{"role":"assistant","tool_calls":[{"id":"f:1/é","function":{"name":"f","arguments":"{}"}},{"id":"f_1___","function":{"name":"f","arguments":"{}"}}]},
	{"role":"tool","tool_call_id":"f:1/é","content":"1"},{"role":"tool","tool_call_id":"f_1___","content":"2"},
	{"role":"assistant","tool_calls":[{"id":"f:1/é","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"f:1/é","content":"3"}]');
-- OpenAI's older functions; a result without a call is text.
SELECT body_messages('[{"role":"user","content":"a"},{"role":"function","name":"g","content":"0"},{"role":"assistant","content":null,"function_call":{"name":"f","arguments":"{}"}},
	{"role":"function","name":"f","content":"1"},{"role":"assistant","content":null,"function_call":{"name":"f","arguments":"{}"}},{"role":"function","name":"f","content":"2"}]');

-- Tools: an input that is an object, whatever the parameters are.
SELECT jsonb_array_elements(body(:'hi', '{"tools":[{"type":"function","function":{"name":"a"}},
	{"type":"function","function":{"name":"b","description":"Does b.","parameters":{"type":"object","properties":{"x":{"type":"integer","minimum":1}},"required":["x"]}}},
	{"type":"function","function":{"name":"c","parameters":{}}},
	{"type":"function","function":{"name":"d","parameters":{"description":"One of two.","anyOf":[{"required":["x"]},{"required":["y"]}],"properties":{"x":{},"y":{}}}}}]}')->'body'->'tools');
-- "strict" where schemas are kept; noted where they are not.
SELECT model, t.body->'body'->'tools', t.body->'adjusted' FROM unnest(ARRAY['claude-opus-4-1', 'claude-sonnet-4']) AS model,
	body(:'hi', '{"tools":[{"type":"function","function":{"name":"f","strict":true,"parameters":{"type":"object","properties":{"x":{"type":"string","minLength":2}}}}}]}', model) AS t (body);
SELECT body(:'hi', '{"functions":[{"name":"f"}],"function_call":{"name":"f"}}')->'body'->'tool_choice';
SELECT body(:'hi', '{"tools":[{"type":"custom","custom":{"name":"f"}}]}');

-- tool_choice in all its forms, alone and without parallel calls.
SELECT choice, body(:'hi', o)->'body'->'tool_choice', body(:'hi', o || '{"parallel_tool_calls":false}')->'body'->'tool_choice'
FROM unnest(ARRAY['null', '"auto"', '"none"', '"required"', '{"type":"function","function":{"name":"f"}}', '{"type":"allowed_tools","allowed_tools":{"mode":"required","tools":[{"type":"function","function":{"name":"g"}}]}}']::jsonb[]) AS choice,
	jsonb_build_object('tool_choice', choice, 'tools', '[{"type":"function","function":{"name":"f"}},{"type":"function","function":{"name":"g"}}]'::jsonb) AS o;
SELECT body(:'hi', '{"tool_choice":"required","parallel_tool_calls":false}');

-- max_tokens has to be said: the caller's, else the model's, else 4096; never more than the model's. Long answers are streamed.
SELECT asked, maximum, body(:'hi', jsonb_build_object('max_tokens', asked), 'claude-opus-4-5', maximum)
FROM (VALUES (NULL, 0), (NULL, 8000), (NULL, 64000), (100, 0), (100, 8000), (9000, 8000), (30000, 0)) AS v (asked, maximum);

-- Sampling: clamped, one of two from 4.1 on, refused from 4.7 on; what changes nothing is not noted.
SELECT model, body(:'hi', '{"temperature":1.5,"top_p":0.9,"top_k":40}', model)
FROM unnest(ARRAY['claude-3-opus-20240229', 'claude-sonnet-4-20250514', 'claude-opus-4-1-20250805', 'claude-sonnet-4-6', 'claude-opus-4-7', 'claude-sonnet-5', 'claude-opus-5-5', 'claude-fable-5', 'claude-sonnet-11', 'sonnet']) AS model;
SELECT body(:'hi', '{"temperature":1,"top_p":0.9,"top_k":-1}'), body(:'hi', '{"temperature":1,"top_p":1,"top_k":0}', 'claude-opus-5');

-- stop, the user, service tiers, and what the provider does not know.
SELECT body(:'hi', options) FROM unnest(ARRAY['{"stop":["a"," ","b"]}', '{"stop":" "}', '{"user":"u1"}', '{"user":"u1","safety_identifier":"s1"}', '{"metadata":{"user_id":"m1"},"user":"u1"}', '{"metadata":{"user_id":"m1","x":"y"}}',
	'{"metadata":{"x":"y"}}', '{"service_tier":"auto"}', '{"service_tier":"default"}', '{"service_tier":"flex"}',
	'{"n":2,"seed":1,"presence_penalty":0.5,"frequency_penalty":0,"logit_bias":{"1":5},"logprobs":true,"verbosity":"low","store":false,"prompt_cache_key":"k"}']::jsonb[]) AS options;
SELECT body(:'hi', jsonb_build_object('user', repeat('u', 257)))->'dropped';

-- Efforts: from 4.6 on a model is told them, before it gets a budget, which is added to the answer's length.
SELECT effort, body(:'hi', o, 'claude-opus-5'), body(:'hi', o, 'claude-opus-4-6'), body(:'hi', o, 'claude-haiku-4-5'), body(:'hi', o, 'claude-3-5-haiku-latest')
FROM unnest(ARRAY['none', 'minimal', 'low', 'medium', 'high', 'xhigh', 'max', 'extreme']) AS effort, jsonb_build_object('max_tokens', 500, 'temperature', 0.5, 'reasoning_effort', effort) AS o;
-- OpenRouter's object.
SELECT model, body(:'hi', options, model) FROM unnest(ARRAY['claude-opus-4-6', 'claude-haiku-4-5']) AS model,
	unnest(ARRAY['{"reasoning":{"effort":"low"}}', '{"reasoning":{"max_tokens":3000}}', '{"reasoning":{"max_tokens":5}}', '{"reasoning":{"exclude":true}}']::jsonb[]) AS options;
-- The model's maximum bounds answer and budget together.
SELECT asked, maximum, body(:'hi', jsonb_build_object('reasoning_effort', 'high', 'max_tokens', asked), 'claude-haiku-4-5', maximum)
FROM (VALUES (NULL, 64000), (NULL, 10000), (1000, 64000), (9000, 10000), (10000, 10000), (NULL, 1000)) AS v (asked, maximum);
-- Who has to call a tool may not think.
SELECT model, body(:'hi', '{"reasoning_effort":"low","tool_choice":"required","tools":[{"type":"function","function":{"name":"f"}}]}', model) #- '{body,tools}'
FROM unnest(ARRAY['claude-haiku-4-5', 'claude-opus-4-8', 'claude-opus-5']) AS model;

-- Thoughts go back, unchanged and first, where the model thinks; only those that have what the provider made of them.
SELECT model, body_messages('[{"role":"user","content":"a"},{"role":"assistant","content":"Let me see.","reasoning_content":"hm","thinking_blocks":[{"type":"thinking","thinking":"hm","signature":"c2ln"},
	{"type":"redacted_thinking","data":"ZGF0YQ=="},{"type":"thinking","thinking":"unsigned"},5],"tool_calls":[{"id":"c","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"c","content":"1"}]', model, options)->'content'
FROM (VALUES ('claude-opus-4-6', '{"reasoning_effort":"low"}'), ('claude-haiku-4-5', '{"reasoning_effort":"low"}'), ('claude-opus-4-6', NULL), ('claude-sonnet-5', NULL), ('claude-sonnet-5', '{"reasoning_effort":"none"}')) AS v (model, options_text),
	LATERAL (SELECT options_text::jsonb) AS o (options);
-- Within a budget, a model cannot think on after calls without thoughts.
SELECT model, body('[{"role":"assistant","content":null,"tool_calls":[{"id":"c","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"c","content":"1"}]', '{"reasoning_effort":"low"}', model) #- '{body,messages}'
FROM unnest(ARRAY['claude-opus-4-6', 'claude-haiku-4-5']) AS model;

-- Blank messages make no turn.
SELECT body('[{"role":"assistant","content":"a"},{"role":"user","content":""},{"role":"assistant","content":null,"thinking_blocks":[{"type":"thinking","thinking":"hm","signature":"c2ln"}],"tool_calls":[{"id":"c","function":{"name":"f","arguments":"{}"}}]},
	{"role":"tool","tool_call_id":"c","content":"1"},{"role":"assistant","content":" "}]', '{"reasoning_effort":"low"}', 'claude-haiku-4-5')->'dropped';

-- JSON: an instruction where no schema is given; a schema as the provider takes it; a tool on older models.
SELECT body(:'hi', '{"response_format":{"type":"json_object"}}'),
	   body('[{"role":"system","content":"Be brief."},{"role":"user","content":"hi"}]', '{"response_format":{"type":"json_schema","json_schema":{"name":"x"}}}')->'body'->'system';
SELECT jsonb_pretty(body(:'hi', '{"reasoning_effort":"low","response_format":{"type":"json_schema","json_schema":{"name":"person","strict":true,"schema":{"$schema":"https://json-schema.org/draft/2020-12/schema",
	"type":"object","required":["age"],"additionalProperties":{"type":"string"},"properties":{
	"age":{"type":"integer","description":"In years.","minimum":0,"maximum":150},"minimum":{"type":["object","null"]},"mail":{"type":"string","format":"email"},"phone":{"type":"string","format":"phone","pattern":"^[0-9]+$"},
	"tags":{"type":"array","items":{"oneOf":[{"type":"string","minLength":1},{"$ref":"#/$defs/tag"}]},"uniqueItems":true},"kind":{"enum":[{"minimum":1},"b"]},"any":true},
	"$defs":{"tag":{"type":"object","not":{"required":["b"]},"properties":{"a":{"anyOf":[{"type":"null"}],"oneOf":[]}}}}}}}}', 'claude-opus-4-8')->'body'->'output_config');
SELECT model, body(:'hi', '{"reasoning_effort":"low","response_format":{"type":"json_schema","json_schema":{"name":"a person","schema":{"type":"object","properties":{"age":{"type":"integer","minimum":0}}}}}}', model)
FROM unnest(ARRAY['claude-opus-4-1-20250805', 'claude-sonnet-4-20250514']) AS model;
-- With tools of the caller's own, the model may call these as well, unless it has to.
SELECT choice, body(:'hi', jsonb_build_object('tool_choice', choice, 'response_format', '{"type":"json_schema","json_schema":{"name":"f","schema":{"type":"object"}}}'::jsonb,
	'tools', '[{"type":"function","function":{"name":"f"}}]'::jsonb), 'claude-sonnet-4') #- '{body,messages}'
FROM unnest(ARRAY['auto', 'none', 'required']) AS choice;

-- cache_control of parts, messages and tools is passed on.
SELECT jsonb_pretty(body('[{"role":"system","content":[{"type":"text","text":"Long.","cache_control":{"type":"ephemeral","ttl":"1h"}},{"type":"text","text":"Short."}]},
	{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"https://example.com/a.png"},"cache_control":{"type":"ephemeral"}}]},
	{"role":"assistant","content":"b","cache_control":{"type":"ephemeral"},"tool_calls":[{"id":"c","function":{"name":"f","arguments":"{}"}}]},
	{"role":"tool","tool_call_id":"c","content":[{"type":"text","text":"d","cache_control":{"type":"ephemeral"}}]},{"role":"user","content":"","cache_control":{"type":"ephemeral"}},{"role":"assistant","content":"e ","cache_control":{"type":"ephemeral"}}]',
	'{"response_format":{"type":"json_object"},"tools":[{"type":"function","cache_control":{"type":"ephemeral"},"function":{"name":"f"}},{"type":"function","function":{"name":"g","cache_control":{"type":"ephemeral"}}}]}', 'claude-sonnet-4')->'body');

-- extra wins, and what the rest depends on in it is heeded.
SELECT model, body(:'hi', jsonb_build_object('temperature', 0.5, 'reasoning_effort', 'low', 'router', jsonb_build_object('extra', extra)), model)
FROM (VALUES ('claude-opus-4-6', '{"output_config":{"effort":"max","x":1},"top_k":5}'), ('claude-haiku-4-5', '{"max_tokens":7,"temperature":0.1}'), ('claude-haiku-4-5', '{"thinking":{"type":"enabled","budget_tokens":2000}}'),
	('claude-opus-4-6', '{"thinking":{"type":"disabled"},"system":"s","container":"c"}')) AS v (model, extra_text), LATERAL (SELECT extra_text::jsonb) AS e (extra);
SELECT body('[{"role":"user","content":"a"},{"role":"assistant","tool_calls":[{"id":"c","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"c","content":"1"}]',
	'{"router":{"extra":{"tools":[{"type":"web_search_20250305","name":"web_search"}]}}}') #- '{body,messages}';
SELECT body(:'hi', '{"tool_choice":"required","tools":[{"type":"function","function":{"name":"f"}}],"router":{"extra":{"thinking":{"type":"adaptive"}}}}', 'claude-opus-4-6') #- '{body,tools}';
SELECT body(:'hi', '{"response_format":{"type":"json_schema","json_schema":{"name":"f","schema":{"type":"object"}}},"router":{"extra":{"tools":[]}}}', 'claude-sonnet-4');

-- Whole answers.
CREATE FUNCTION answered(body jsonb, model text DEFAULT 'claude-opus-4-6', options jsonb DEFAULT NULL) RETURNS jsonb LANGUAGE sql
RETURN (SELECT answer - 'completion' - 'outcome' || jsonb_build_object('message', answer->'completion'->'choices'->0->'message') FROM test_good('anthropic', body, model, options) AS answer);
SELECT jsonb_pretty(test_answer('anthropic', 'm', 200, '{"request-id":"req_1"}', '{"id":"msg_1","type":"message","role":"assistant","model":"claude-opus-4-6","content":[{"type":"text","text":"Hello, "},{"type":"text","text":"world","citations":[]}],
	"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":12,"cache_creation_input_tokens":3,"cache_read_input_tokens":5,"output_tokens":7,"output_tokens_details":{"thinking_tokens":2},"service_tier":"standard"}}', :'hi', NULL));
-- Thoughts, tool calls, tools of the provider's own, blocks that nobody knows.
SELECT jsonb_pretty(answered('{"content":[{"type":"thinking","thinking":"Hm.","signature":"c2ln"},{"type":"redacted_thinking","data":"ZGF0YQ=="},{"type":"server_tool_use","id":"s","name":"web_search","input":{}},{"type":"web_search_tool_result","content":[]},
	{"type":"text","text":"I look."},{"type":"tool_use","id":"toolu_1","name":"f","input":{"a":[1,"x"]}},{"type":"tool_use","name":"g","input":{}},{"type":"new"},5],"stop_reason":"tool_use"}'));
-- Reasons; calls are calls, but those of the provider's own tools are not.
SELECT said, answered(jsonb_build_object('stop_reason', said, 'content', '[{"type":"text","text":"x"}]'::jsonb))->'finish_reason',
	answered(jsonb_build_object('stop_reason', said, 'content', '[{"type":"tool_use","name":"f"}]'::jsonb))->'finish_reason'
FROM unnest(ARRAY['end_turn', 'stop_sequence', 'pause_turn', 'max_tokens', 'model_context_window_exceeded', 'tool_use', 'refusal', 'something new', NULL]) AS said;
-- Refusals, and answers that say nothing.
SELECT answered('{"content":[],"stop_reason":"refusal","stop_details":{"type":"refusal","category":"x","explanation":"I will not."}}');
SELECT answered('{"content":[{"type":"text","text":"Well"}],"stop_reason":"refusal","stop_details":null}');
SELECT answered('{"content":[],"stop_reason":"end_turn"}');
-- The tool that is the answer: its input is the content, once, whatever was said beside it; without it, the text is.
\set schema '{"response_format":{"type":"json_schema","json_schema":{"name":"person","schema":{"type":"object"}}}}'
SELECT answered(jsonb_build_object('content', content, 'stop_reason', stop_reason), 'claude-sonnet-4', :'schema'::jsonb || options)
FROM (VALUES ('[{"type":"text","text":"Here:"},{"type":"tool_use","id":"t","name":"person","input":{"age":5}},{"type":"tool_use","id":"u","name":"person","input":{"age":6}}]'::jsonb, 'tool_use', '{}'::jsonb), ('[{"type":"tool_use","id":"t","name":"person","input":{}}]', 'max_tokens', '{}'),
	('[{"type":"text","text":"No."}]', 'refusal', '{}'), ('[{"type":"text","text":"I look."},{"type":"tool_use","id":"t","name":"f","input":{}}]', 'tool_use', '{"tools":[{"type":"function","function":{"name":"f"}}]}')) AS v (content, stop_reason, options);
SELECT answered('{"content":[{"type":"tool_use","id":"t","name":"person","input":{"age":5}}],"stop_reason":"tool_use"}', 'claude-sonnet-4-5', :'schema');

-- Usage: the sums are OpenAI's; unknown rather than guessed when it is nonsense.
SELECT usage, answered(jsonb_build_object('content', '[]'::jsonb, 'usage', usage))->'usage'
FROM unnest(ARRAY['{"input_tokens":5,"output_tokens":7}', '{"input_tokens":5,"output_tokens":7,"cache_creation_input_tokens":null,"cache_read_input_tokens":null}', '{"input_tokens":5,"output_tokens":7,"cache_creation":{"ephemeral_5m_input_tokens":2,"ephemeral_1h_input_tokens":3}}',
	'{"input_tokens":5,"output_tokens":7,"cache_creation_input_tokens":4,"cache_creation":{"ephemeral_5m_input_tokens":1,"ephemeral_1h_input_tokens":3}}', '{"input_tokens":5,"output_tokens":7,"output_tokens_details":{"thinking_tokens":7}}', '{"input_tokens":5,"output_tokens":7,"output_tokens_details":{"thinking_tokens":8}}',
	'{"input_tokens":5}', '{"output_tokens":7}', '{"input_tokens":-5,"output_tokens":7}', '{"input_tokens":5.5,"output_tokens":7}', '{"input_tokens":"5","output_tokens":7}', '{"input_tokens":1e30,"output_tokens":7}',
	'{"input_tokens":5,"output_tokens":7,"cache_read_input_tokens":[]}', '{"input_tokens":2000000000,"cache_read_input_tokens":2000000000,"output_tokens":7}', '{}', 'null', '"many"']::jsonb[]) AS usage;

-- What is no answer, though the status was good; what is one, though nothing in it is of the right type.
SELECT body, test_answer('anthropic', 'm', 200, '{}', convert_to(body, 'UTF8'), :'hi', NULL) - 'completion'
FROM unnest(ARRAY['', 'nonsense', '<html>', '[]', '5', '{}', '{"content":{}}', '{"content":"x"}', '{"content":[{"type":"tool_use"}]}', '{"content":[{"type":"tool_use","name":5}]}',
	'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}', '{"content":[{"type":"text","text":5},{"type":"thinking","thinking":[],"signature":{}},{"type":"tool_use","name":"f","id":7,"input":"x"},null,[],{"type":{}}],"stop_reason":8,"stop_details":9,"usage":[],"id":1,"model":{}}']) AS body;
SELECT test_good('anthropic', jsonb_build_object('content', (SELECT jsonb_agg('{"type":"tool_use","name":"f"}'::jsonb) FROM generate_series(1, n))))->'outcome' FROM unnest('{1024,1025}'::int[]) AS n;

-- A stream with everything: thoughts, text, two calls, of which one has no arguments, and usage of both ends.
CREATE FUNCTION sse(VARIADIC events jsonb[]) RETURNS text LANGUAGE sql
RETURN (SELECT string_agg(format(E'event: %s\ndata: %s\n\n', event->>'type', event), '' ORDER BY number) FROM unnest(events) WITH ORDINALITY AS e (event, number));
SELECT test_events('anthropic', sse('{"type":"message_start","message":{"id":"msg_1","model":"claude-opus-4-6","content":[],"stop_reason":null,"usage":{"input_tokens":12,"cache_creation_input_tokens":0,"cache_read_input_tokens":3,"output_tokens":1}}}',
	'{"type":"ping"}', '{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":"","x":1}}', '{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"H"}}',
	'{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"m."}}', '{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"c2ln"}}', '{"type":"content_block_stop","index":0}',
	'{"type":"content_block_start","index":1,"content_block":{"type":"redacted_thinking","data":"ZGF0YQ=="}}', '{"type":"content_block_stop","index":1}',
	'{"type":"content_block_start","index":2,"content_block":{"type":"text","text":""}}', '{"type":"content_block_delta","index":2,"delta":{"type":"text_delta","text":"Hello é 😀"}}', '{"type":"content_block_delta","index":2,"delta":{"type":"citations_delta","citation":{}}}', '{"type":"content_block_stop","index":2}',
	'{"type":"content_block_start","index":3,"content_block":{"type":"tool_use","id":"toolu_1","name":"f","input":{}}}', '{"type":"content_block_delta","index":3,"delta":{"type":"input_json_delta","partial_json":""}}', '{"type":"content_block_delta","index":3,"delta":{"type":"input_json_delta","partial_json":"{\"a\":"}}',
	'{"type":"content_block_delta","index":3,"delta":{"type":"input_json_delta","partial_json":"1}"}}', '{"type":"content_block_stop","index":3}', '{"type":"content_block_start","index":4,"content_block":{"type":"server_tool_use","id":"s","name":"web_search","input":{}}}', '{"type":"content_block_delta","index":4,"delta":{"type":"input_json_delta","partial_json":"{}"}}', '{"type":"content_block_stop","index":4}',
	'{"type":"content_block_start","index":5,"content_block":{"type":"tool_use","id":"toolu_2","name":"g","input":{}}}', '{"type":"content_block_stop","index":5}', '{"type":"something_new"}',
	'{"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"output_tokens":29,"output_tokens_details":{"thinking_tokens":9}}}', '{"type":"message_stop"}'));

-- Further forms: input that is there at the start; usage that is said again; a refusal; pieces without their block.
SELECT test_events('anthropic', sse('{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"t","name":"f","input":{"a":1}}}', '{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{}"}}', '{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"input_tokens":4,"output_tokens":5}}', '{"type":"message_stop"}'));
SELECT test_events('anthropic', sse('{"type":"message_start","message":{"usage":{"input_tokens":4,"output_tokens":1}}}', '{"type":"message_delta","delta":{},"usage":{"output_tokens":2}}', '{"type":"message_delta","delta":{"stop_reason":"refusal","stop_details":{"type":"refusal","explanation":"I will not."}},"usage":{"input_tokens":3,"cache_read_input_tokens":1,"output_tokens":3}}', '{"type":"message_stop"}'));
SELECT test_events('anthropic', sse('{"type":"content_block_delta","index":7,"delta":{"type":"text_delta","text":"a"}}', '{"type":"content_block_delta","delta":{"type":"input_json_delta","partial_json":"{}"}}', '{"type":"content_block_stop","index":9}', '{"type":"message_stop"}'));
-- The tool that is the answer.
SELECT test_events('anthropic', sse('{"type":"content_block_start","index":0,"content_block":{"type":"text","text":"Here:"}}', '{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"t","name":"person","input":{}}}', '{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"age\""}}',
	'{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":":5}"}}', '{"type":"content_block_stop","index":1}', '{"type":"message_delta","delta":{"stop_reason":"tool_use"}}', '{"type":"message_stop"}'), 'claude-sonnet-4', :'schema');
SELECT test_events('anthropic', sse('{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"No, "}}', '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"sorry."}}', '{"type":"message_delta","delta":{"stop_reason":"end_turn"}}', '{"type":"message_stop"}'), 'claude-sonnet-4', :'schema');

-- A whole answer that came as a stream; one that is cut off, whose prompt has to be paid.
SELECT test_gathered('anthropic', model, convert_to(sse('{"type":"message_start","message":{"id":"msg_1","model":"x","usage":{"input_tokens":12,"cache_read_input_tokens":3,"output_tokens":1}}}',
	'{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"Hm.","signature":"c2ln"}}', '{"type":"content_block_stop","index":0}', '{"type":"content_block_start","index":1,"content_block":{"type":"redacted_thinking","data":"ZGF0YQ=="}}', '{"type":"content_block_stop","index":1}',
	'{"type":"content_block_start","index":2,"content_block":{"type":"text","text":"Here:"}}', '{"type":"content_block_stop","index":2}', '{"type":"content_block_start","index":3,"content_block":{"type":"tool_use","id":"t","name":"person","input":{}}}', '{"type":"content_block_delta","index":3,"delta":{"type":"input_json_delta","partial_json":"{\"age\":5}"}}', '{"type":"content_block_stop","index":3}',
	'{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":9}}', '{"type":"message_stop"}'), 'UTF8'), :'hi', :'schema')
FROM unnest(ARRAY['claude-opus-4-8', 'claude-sonnet-4']) AS model;
SELECT test_gathered('anthropic', 'claude-opus-4-8', convert_to(sse('{"type":"message_start","message":{"usage":{"input_tokens":12,"cache_read_input_tokens":3,"output_tokens":1}}}', '{"type":"ping"}'), 'UTF8'), :'hi', NULL);

-- Errors after a good status, streams that are cut off or nonsense.
SELECT test_events('anthropic', sse('{"type":"message_start","message":{}}', jsonb_build_object('type', 'error', 'request_id', 'req_9', 'error', jsonb_build_object('type', kind, 'message', message))))
FROM (VALUES ('overloaded_error', 'Overloaded'), ('api_error', 'Internal server error'), ('rate_limit_error', 'Slow down'), ('timeout_error', 'Too slow'), ('authentication_error', 'invalid x-api-key'), ('permission_error', 'No'), ('not_found_error', 'model: x'),
	('invalid_request_error', 'messages: wrong'), ('invalid_request_error', 'prompt is too long: 9 tokens > 8 maximum'), ('invalid_request_error', 'Your credit balance is too low to access the Anthropic API.'), ('something_new', 'Oops')) AS v (kind, message);
SELECT events, test_events('anthropic', events) FROM unnest(ARRAY[sse('{"type":"message_start","message":{}}', '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hel"}}'), sse('{"type":"message_stop"}'), E'data: {"type":\n\n', E'data: [1]\n\n',
	sse('{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"t"}}')]) AS events;
SELECT test_events('anthropic', sse('{"type":"message_start","message":[]}', '{"type":"content_block_start"}', '{"type":"content_block_start","index":"x","content_block":{"type":"thinking","thinking":5,"signature":6}}', '{"type":"content_block_delta","index":0,"delta":[]}', '{"type":"content_block_delta","index":-1,"delta":{"type":"text_delta","text":{}}}',
	'{"type":7}', '{}', '{"type":"message_delta","delta":"x","usage":{"output_tokens":-1}}', '{"type":"message_stop"}'));
SELECT test_events('anthropic', sse(VARIADIC (SELECT array_agg(jsonb_build_object('type', 'content_block_start', 'index', i, 'content_block', '{"type":"tool_use","name":"f","id":"t"}'::jsonb)) FROM generate_series(1, 17) AS i))) -> 'message' OFFSET 16;

-- Errors with their status, and when to try again.
SELECT status, headers, t.message, test_answer('anthropic', 'm', status, headers::jsonb, convert_to(jsonb_build_object('type', 'error', 'error', jsonb_build_object('type', kind, 'message', t.message), 'request_id', 'req_1')::text, 'UTF8'), :'hi', NULL) - 'message'
FROM (VALUES (400, '{}', 'invalid_request_error', 'max_tokens: Field required'), (400, '{}', 'invalid_request_error', 'prompt is too long: 210000 tokens > 200000 maximum'),
	(400, '{}', 'invalid_request_error', 'input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000'), (400, '{}', 'invalid_request_error', 'Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing.'),
	(400, '{}', 'invalid_request_error', 'You have reached your specified API usage limits. You will regain access on 2026-12-01 at 00:00 UTC.'), (401, '{}', 'authentication_error', 'invalid x-api-key'), (402, '{}', 'billing_error', 'Pay.'),
	(403, '{}', 'permission_error', 'No.'), (404, '{}', 'not_found_error', 'model: claude-9'), (409, '{}', 'conflict_error', 'Conflict'), (413, '{}', 'request_too_large', 'Request exceeds the maximum size'),
	(429, '{"retry-after":"30"}', 'rate_limit_error', 'This request would exceed your rate limit'), (429, '{"x-should-retry":"false"}', 'rate_limit_error', 'Limit'),
	(429, '{"anthropic-ratelimit-requests-remaining":"0","anthropic-ratelimit-requests-reset":"2026-11-23T12:00:30Z","anthropic-ratelimit-tokens-remaining":"0","anthropic-ratelimit-tokens-reset":"2026-11-23T12:01:00.5Z","anthropic-ratelimit-output-tokens-remaining":"5","anthropic-ratelimit-output-tokens-reset":"2026-11-23T13:00:00Z"}', 'rate_limit_error', 'Limit'),
	(429, '{"anthropic-ratelimit-input-tokens-remaining":"0","anthropic-ratelimit-input-tokens-reset":"2026-11-23T14:00:10+02:00"}', 'rate_limit_error', 'Limit'), (429, '{"anthropic-ratelimit-tokens-remaining":"0","anthropic-ratelimit-tokens-reset":"2026-13-23T14:00:10"}', 'rate_limit_error', 'Limit'),
	(500, '{}', 'api_error', 'Internal server error'), (504, '{}', 'timeout_error', 'Timeout'), (529, '{}', 'overloaded_error', 'Overloaded')) AS t (status, headers, kind, message);

-- Linear in the size of the conversation, its calls, and a schema.
SELECT length(body(jsonb_agg(message ORDER BY n, m))::text) AS bytes FROM generate_series(1, 1000) AS n, LATERAL (VALUES
	(1, jsonb_build_object('role', 'assistant', 'content', 'x', 'tool_calls', jsonb_build_array(jsonb_build_object('id', 'same', 'function', '{"name":"f","arguments":"{}"}'::jsonb)))),
	(2, '{"role":"tool","tool_call_id":"same","content":"y"}')) AS v (m, message);
DROP FUNCTION body_messages, body, answered, sse;

-- What goes over the wire: rules of the provider, the model, messages, options -> body.
\pset format unaligned
\pset tuples_only on
\set hi '[{"role":"user","content":"hi"}]'

-- No rules: what was given, as it was given, with max_tokens.
SELECT test_build('{}', 'm', :'hi', '{"temperature":0.7,"max_completion_tokens":5,"seed":1,"stop":"x","stream":false,"router":{"timeout_ms":5}}');

-- Strings are UTF-8 JSON.
SELECT test_build('{}', 'a"b', '[{"role":"user","content":"quote \" slash \\ line\nbell\u0007 é 😀"}]');

-- OpenAI: the output limit's newer name; sampling is refused by reasoning models, efforts by the others.
SELECT model, test_build('{"max_tokens_field":"max_completion_tokens","developer_role":"keep","reasoning_models":true}', model,
	'[{"role":"developer","content":"d"}]',
	'{"temperature":0.5,"top_p":0.5,"stop":"x","logprobs":true,"presence_penalty":1,"reasoning_effort":"low","verbosity":"low","max_tokens":9}')
FROM unnest(ARRAY['gpt-4o', 'o1', 'o3-mini', 'o10-x', 'gpt-5', 'gpt-5-chat-latest', 'gpt-5.1-chat', 'gpt-4.1', 'gpt-oss', 'omni', 'gpt-5x']) AS model;
SELECT model, test_build('{"reasoning_models":true}', model, :'hi', '{"temperature":0.5,"logprobs":true,"top_logprobs":2,"frequency_penalty":1,"reasoning_effort":"none"}')
FROM unnest(ARRAY['gpt-5', 'gpt-5.1', 'gpt-6']) AS model;

-- Lists: drop, only (names as sent), rename.
SELECT test_build('{"drop":["user","store"]}', 'm', :'hi', '{"user":"u","store":true,"seed":1}');
SELECT test_build('{"only":["temperature","random_seed"],"rename":{"seed":"random_seed"}}', 'm', :'hi', '{"user":"u","temperature":1,"seed":1,"max_tokens":3}');

-- Limits and shapes.
SELECT test_build('{"max_temperature":1.5}', 'm', :'hi', '{"temperature":2}');
SELECT test_build('{"max_temperature":1.5}', 'm', :'hi', '{"temperature":1.25}');
SELECT test_build('{"max_n":1}', 'm', :'hi', '{"n":3}');
SELECT test_build('{"max_n":4}', 'm', :'hi', '{"n":8}');
SELECT test_build('{"stop_as_array":true}', 'm', :'hi', '{"stop":"x"}');
SELECT test_build('{"stop_as_array":true}', 'm', :'hi', '{"stop":["x","y"]}');
SELECT test_build('{"max_top_logprobs":5}', 'm', :'hi', '{"logprobs":true,"top_logprobs":20}');
SELECT test_build('{"max_top_logprobs":5}', 'm', :'hi', '{"logprobs":true,"top_logprobs":3}');
SELECT test_build('{"logprobs_as_integer":true}', 'm', :'hi', '{"logprobs":true,"top_logprobs":5}');
SELECT test_build('{"logprobs_as_integer":true}', 'm', :'hi', '{"logprobs":true}');
SELECT test_build('{"logprobs_as_integer":true}', 'm', :'hi', '{"logprobs":false}');
SELECT effort, test_build('{"reasoning_efforts":["low","medium","high"]}', 'm', :'hi', jsonb_build_object('reasoning_effort', effort))
FROM unnest(ARRAY['none', 'minimal', 'medium', 'max', 'default']) AS effort;
SELECT test_build('{"reasoning_efforts":["none","high"]}', 'm', :'hi', '{"reasoning_effort":"low"}');

-- Without tools, what speaks of them is left out.
SELECT test_build('{}', 'm', :'hi', '{"tools":[],"tool_choice":"auto","parallel_tool_calls":false}');
SELECT test_build('{"reasoning_models":true}', 'o3', :'hi', '{"tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":"auto","parallel_tool_calls":false}');

-- Messages: the developer role, fields that are dropped, nulls and empty tool_calls, image detail.
SELECT test_build('{}', 'm', '[{"role":"developer","content":"d"},{"role":"user","content":"u"}]');
SELECT test_build('{"developer_role":"keep"}', 'm', '[{"role":"developer","content":"d"}]');
SELECT test_build('{"drop_message_fields":["name","refusal"]}', 'm', '[{"role":"user","name":"n","content":"u"},{"role":"assistant","content":"a","refusal":null,"tool_calls":[],"audio":null}]');
SELECT test_build('{"drop_message_fields":["refusal"]}', 'm', '[{"role":"assistant","content":null,"refusal":"No."},{"role":"assistant","content":"a","refusal":"No."}]');
SELECT test_build('{"image_detail":false}', 'm', '[{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"https://a/b.png","detail":"low"}}]}]');
SELECT test_build('{}', 'm', '[{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://a/b.png","detail":"low"}}]}]');

-- What answers have more than requests: out, unless a provider takes it back; the position of a tool call.
SELECT test_build('{}', 'm', '[{"role":"assistant","content":"a","annotations":[],"reasoning":"r","reasoning_content":"r","reasoning_details":[{"text":"r"}]}]');
SELECT test_build('{"keep_message_fields":["reasoning","reasoning_details"]}', 'm', '[{"role":"assistant","content":"a","annotations":[],"reasoning":"r","reasoning_content":"r","reasoning_details":[{"text":"r"}]}]');
SELECT test_build('{}', 'm', '[{"role":"assistant","tool_calls":[{"index":0,"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]}]');

-- Tool call ids of a fixed length: call and result keep matching, ids that fit stay.
SELECT test_build('{"tool_call_id_length":9}', 'm',
	'[{"role":"assistant","tool_calls":[{"id":"call_1","type":"function","function":{"name":"f","arguments":"{}"}},{"id":"abcDEF123","type":"function","function":{"name":"g","arguments":"{}"}}]},
	  {"role":"tool","tool_call_id":"call_1","content":"1"},{"role":"tool","tool_call_id":"abcDEF123","content":"2"}]');

-- extra comes last and wins over parameters.
SELECT test_build('{"only":["seed"]}', 'm', :'hi', '{"seed":1,"max_tokens":5,"router":{"extra":{"seed":2,"max_tokens":7,"provider":{"order":["a"]}}}}');
SELECT test_build('{"rename":{"seed":"random_seed"}}', 'm', :'hi', '{"seed":1,"router":{"extra":{"random_seed":2}}}');

-- The check of a key, and constant headers.
SELECT test_check('{"headers":{"HTTP-Referer":"https://example.com"}}');

-- What a key is bound to.
\pset null 'none'
SELECT url, test_origin(url) FROM unnest(ARRAY['https://API.example.com/v1', 'http://localhost:8080', 'https://a:443/x?y', 'http://[::1]:80/',
	'https://user@host/', 'https://host:0', 'https://host:99999', 'https://', 'ftp://host', 'https://a b', 'http://host:80x']) AS url;

-- Linear in the size of the conversation.
SELECT length(test_build('{}', 'm', (SELECT jsonb_agg(jsonb_build_object('role', 'user', 'content', repeat('x', 100))) FROM generate_series(1, 1000)))) AS bytes;

-- A last message of the assistant begins the answer; a function without parameters has none.
SELECT test_build('{"mark_prefix":true}', 'm', '[{"role":"assistant","content":"a"},{"role":"user","content":"u"},{"role":"assistant","content":"b"}]');
SELECT test_build('{}', 'm', :'hi', '{"tools":[{"type":"function","function":{"name":"f"}}]}');

-- What the provider cannot honour is noted, except what says nothing.
SELECT test_wire('openai', 'm', :'hi', '{"n":1,"logprobs":false,"tools":[]}');

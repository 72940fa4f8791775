-- What is understood of messages and options, and what is refused with the path of the field.
\set VERBOSITY default

-- An array of messages, or one whole request object; options win, null is as if absent.
SELECT test_request('[{"role":"user","content":"hi"}]');
SELECT test_request('{"model":"m","messages":[{"role":"user","content":"hi"}],"temperature":1,"max_tokens":5,"seed":7}',
					'{"temperature":0.5,"seed":null,"max_completion_tokens":9,"n":2}');
SELECT test_request('[{"role":"user","content":"hi"}]',
					'{"router":{"timeout_ms":1000,"max_attempts":2,"byok":"only","user_id":"u","fallback_scope":"level",
					  "on_error":"return","tags":{"a":1},"extra":{"top_a":1}}}');

-- What a model has to be able to do.
SELECT r->'tools' AS tools, r->'vision' AS vision, r->'json_schema' AS json_schema
FROM (VALUES
	('[{"role":"user","content":"a"}]'::jsonb, '{"tools":[{"type":"function","function":{"name":"f"}}]}'::jsonb),
	('[{"role":"user","content":"a"}]', '{"tools":[]}'),
	('[{"role":"user","content":"a"},{"role":"assistant","tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{}"}}]},
	   {"role":"tool","tool_call_id":"1","content":"b"}]', NULL),
	('[{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AA=="}}]}]', NULL),
	('[{"role":"user","content":"a"}]', '{"response_format":{"type":"json_schema","json_schema":{"name":"s","schema":{}}}}')
) AS v (messages, options), test_request(messages, options) AS r;

-- Messages.
SELECT test_request('"hi"');
SELECT test_request('[]');
SELECT test_request('{}');
SELECT test_request('{"role":"user","content":"hi"}');
SELECT test_request('["hi"]');
SELECT test_request('[{"content":"hi"}]');
SELECT test_request('[{"role":1,"content":"hi"}]');
SELECT test_request('[{"role":"robot","content":"hi"}]');
SELECT test_request('[{"role":"user"}]');
SELECT test_request('[{"role":"user","content":null}]');
SELECT test_request('[{"role":"user","content":5}]');
SELECT test_request('[{"role":"user","content":[]}]');
SELECT test_request('[{"role":"user","content":["hi"]}]');
SELECT test_request('[{"role":"user","content":[{"type":"text"}]}]');
SELECT test_request('[{"role":"user","content":[{"type":"text","text":1}]}]');
SELECT test_request('[{"role":"user","content":[{"type":"video","text":"a"}]}]');
SELECT test_request('[{"role":"system","content":[{"type":"image_url","image_url":{"url":"https://a/b.png"}}]}]');
SELECT test_request('[{"role":"user","content":"a"},{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"ftp://a"}}]}]');
SELECT test_request('[{"role":"user","content":[{"type":"image_url","image_url":"https://a/b.png"}]}]');
SELECT test_request('[{"role":"user","content":[{"type":"input_audio","input_audio":{"data":"AA=="}}]}]');
SELECT test_request('[{"role":"user","content":[{"type":"file","file":{}}]}]');
SELECT test_request('[{"role":"user","content":"a","name":""}]');
SELECT test_request('[{"role":"assistant","content":null}]');
SELECT test_request('[{"role":"assistant","refusal":"no"}]') IS NOT NULL AS refusal_alone;
SELECT test_request('[{"role":"user","content":"a","tool_calls":[]}]');
SELECT test_request('[{"role":"assistant","tool_calls":{}}]');
SELECT test_request('[{"role":"assistant","tool_calls":[{"type":"function","function":{"name":"f","arguments":"{}"}}]}]');
SELECT test_request('[{"role":"assistant","tool_calls":[{"id":"1","type":"function","function":{"arguments":"{}"}}]}]');
SELECT test_request('[{"role":"assistant","tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":{}}}]}]');
SELECT test_request('[{"role":"tool","content":"a"}]');
SELECT test_request('[{"role":"user","content":"a"},{"role":"tool","tool_call_id":"1","content":"a"}]');
SELECT test_request('[{"role":"function","content":"a"}]');

-- Options.
SELECT test_request('[{"role":"user","content":"a"}]', '[]');
SELECT test_request('[{"role":"user","content":"a"}]', '"x"');
SELECT test_request('[{"role":"user","content":"a"}]', '{"temprature":1}');
SELECT test_request('[{"role":"user","content":"a"}]', '{"completely_different":1}');
SELECT test_request('{"messages":[{"role":"user","content":"a"}],"temprature":1}');
SELECT test_request('[{"role":"user","content":"a"}]', '{"messages":[]}');
SELECT test_request('[{"role":"user","content":"a"}]', '{"temperature":"hot"}');
SELECT test_request('[{"role":"user","content":"a"}]', '{"temperature":2.0000000000000000000001}');
SELECT test_request('[{"role":"user","content":"a"}]', '{"n":1.5}');
SELECT test_request('[{"role":"user","content":"a"}]', '{"n":0}');
SELECT test_request('[{"role":"user","content":"a"}]', '{"max_tokens":1e300}');
SELECT test_request('[{"role":"user","content":"a"}]', '{"stop":["a","b","c","d","e"]}');
SELECT test_request('[{"role":"user","content":"a"}]', '{"stop":["a",null]}');
SELECT test_request('[{"role":"user","content":"a"}]', '{"stop":1}');
SELECT test_request('[{"role":"user","content":"a"}]', '{"tools":[{"type":"function","function":{}}]}');
SELECT test_request('[{"role":"user","content":"a"}]', '{"tools":["f"]}');
SELECT test_request('[{"role":"user","content":"a"}]', '{"tool_choice":"always"}');
SELECT test_request('[{"role":"user","content":"a"}]', '{"response_format":{"type":"xml"}}');
SELECT test_request('[{"role":"user","content":"a"}]', '{"response_format":{"type":"json_schema"}}');
SELECT test_request('[{"role":"user","content":"a"}]', '{"logit_bias":{"50256":-101}}');
SELECT test_request('[{"role":"user","content":"a"}]', '{"stream":true}');
SELECT test_request('[{"role":"user","content":"a"}]', '{"stream":false}')->'params' AS params;
SELECT test_request('[{"role":"user","content":"a"}]', '{"router":{"byok":"sometimes"}}');
SELECT test_request('[{"role":"user","content":"a"}]', '{"router":{"timeout":5}}');
SELECT test_request('[{"role":"user","content":"a"}]', '{"router":{"timeout_ms":0}}');
SELECT test_request('[{"role":"user","content":"a"}]', '{"router":{"user_id":"a\nb"}}');
SELECT test_request('[{"role":"user","content":"a"}]', '{"router":{"extra":{"model":"other"}}}');
SELECT test_request('[{"role":"user","content":"a"}]', jsonb_build_object('router', jsonb_build_object('tags', jsonb_build_object('a', repeat('x', 8192)))));

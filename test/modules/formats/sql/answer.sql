-- Good answers, in the dialects they come in, and the chat.completion that is made of them.
\pset format unaligned
\pset tuples_only on

-- OpenAI's own, complete: it stays as it is, with members nobody knows.
SELECT jsonb_pretty(test_parse(200, '{"x-request-id":"req_1"}', '{"id":"c1","object":"chat.completion","created":1764000000,"model":"gpt-4o-mini","system_fingerprint":"fp",
 "choices":[{"index":0,"message":{"role":"assistant","content":"Hello","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop"}],
 "usage":{"prompt_tokens":8,"completion_tokens":2,"total_tokens":10,"prompt_tokens_details":{"cached_tokens":3,"cache_write_tokens":1},"completion_tokens_details":{"reasoning_tokens":1}}}'));

-- The least that is an answer: the rest is filled in.
SELECT jsonb_pretty(test_parse(200, '{}', '{"choices":[{"message":{"content":"Hi"}}]}'));

-- Tool calls without type and id, arguments as an object (Mistral).
SELECT jsonb_pretty(test_parse(200, '{}', '{"id":"a","model":"m","created":1,"choices":[{"message":{"content":null,"tool_calls":[{"function":{"name":"f","arguments":{"a":[1,"x"]}}},{"id":"k","index":1,"function":{"name":"g"}}]}}]}')->'completion'->'choices'->0);

-- Content in parts, with thinking (Mistral).
SELECT test_parse(200, '{}', '{"choices":[{"message":{"content":[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]},{"type":"text","text":"A"},{"type":"text","text":"B"}]}}]}')->'completion'->'choices'->0->'message';

-- Finish reasons.
SELECT said, test_parse(200, '{}', convert_to(json_build_object('choices', json_build_array(json_build_object('finish_reason', said, 'message', json_build_object('content', 'x'))))::text, 'UTF8'))->'finish_reason'
FROM unnest(ARRAY['stop', 'length', 'content_filter', 'eos', 'eos_token', 'model_length', 'something new', NULL]) AS said;

-- Usage in every spelling; unknown rather than guessed when it is nonsense.
SELECT usage, test_parse(200, '{}', convert_to('{"choices":[{"message":{"content":"x"}}],"usage":' || usage || '}', 'UTF8')) - 'completion' - 'outcome' - 'finish_reason'
FROM unnest(ARRAY[
	'{"prompt_tokens":5,"completion_tokens":7}',
	'{"prompt_tokens":5,"total_tokens":12}',
	'{"prompt_tokens":5,"completion_tokens":7,"num_cached_tokens":2}',
	'{"prompt_tokens":5,"completion_tokens":7,"prompt_token_details":{"cached_tokens":2}}',
	'{"prompt_tokens":5,"completion_tokens":7,"cached_tokens":1}',
	'{"prompt_tokens":5,"completion_tokens":7,"total_tokens":16,"completion_tokens_details":{"reasoning_tokens":4}}',
	'{"input_tokens":5,"output_tokens":7,"output_tokens_details":{"reasoning_tokens":4}}',
	'{"prompt_tokens":5,"completion_tokens":7,"cost":0.0000451,"is_byok":false}',
	'{"prompt_tokens":5,"completion_tokens":7,"prompt_tokens_details":null}',
	'{"prompt_tokens":5.0,"completion_tokens":7}',
	'{"prompt_tokens":-5,"completion_tokens":7}',
	'{"prompt_tokens":5.5,"completion_tokens":7}',
	'{"prompt_tokens":5,"completion_tokens":1e30}',
	'{"prompt_tokens":"5","completion_tokens":7}',
	'{"prompt_tokens":5,"completion_tokens":7,"prompt_tokens_details":{"cached_tokens":6}}',
	'{"prompt_tokens":5,"completion_tokens":7,"cost":-1}',
	'{}', 'null', '"many"']) AS usage;
SELECT test_parse(200, '{}', '{"choices":[{"message":{"content":"x"}}],"x_groq":{"usage":{"prompt_tokens":5,"completion_tokens":7}}}')->'usage';

-- What is no answer, though the status was good.
SELECT body, test_parse(200, '{}', convert_to(body, 'UTF8'))
FROM unnest(ARRAY['', 'nonsense', '<html>', '[]', '5', '{}', '{"choices":[]}', '{"choices":{}}', '{"choices":[5]}', '{"choices":[{}]}', '{"choices":[{"message":{"content":5}}]}',
	'{"choices":[{"message":{"content":"x","tool_calls":[{"function":{}}]}}]}', '{"choices":[{"message":{"content":"x","tool_calls":["f"]}}],"usage":{"prompt_tokens":1,"completion_tokens":2}}']) AS body;

-- The text of an answer, and the router's own member.
\pset null 'none'
SELECT test_text('{"choices":[{"message":{"content":"a"}},{"message":{"content":"b"}}]}'),
	   test_text('{"choices":[{"message":{"content":[{"type":"text","text":"a"},{"type":"x"},{"type":"text","text":"b"}]}}]}'),
	   test_text('{"choices":[{"message":{"content":null,"refusal":"no"}}]}'),
	   test_text('{"choices":[{"message":{"content":null}}]}'), test_text('{"error":{}}'), test_text('5'), test_text('{"choices":[5]}');
-- The member that the router adds cannot be forged.
SELECT test_parse(200, '{}', '{"llm_router":"fake","choices":[{"message":{"content":"x"}}]}')->'completion' ? 'llm_router';

-- Replicate's predictions: requests in and wire out, answers in and what follows.
\pset format unaligned
\pset tuples_only on
\set hi '[{"role":"user","content":"hi"}]'
\set llama '\'meta/meta-llama-3-8b-instruct\''
-- The input alone, and what was dropped or adjusted.
CREATE FUNCTION replicate_input(model text, messages jsonb, options jsonb DEFAULT NULL, max_output_tokens int DEFAULT 0) RETURNS jsonb LANGUAGE sql AS
$$ SELECT CASE WHEN wire ? 'body' THEN wire - 'request' - 'body' - 'header Prefer' || (wire->'body'->'input') ELSE wire END FROM test_wire('replicate', model, messages, options, false, max_output_tokens) AS wire $$;

-- The three endpoints; short predictions are waited for, streams are not.
SELECT jsonb_pretty(test_wire('replicate', :llama, '[{"role":"system","content":"Be brief."},{"role":"user","content":"hi"}]'));
SELECT test_wire('replicate', :llama, :'hi', NULL, true);
SELECT name, test_wire('replicate', name, :'hi')
FROM unnest(ARRAY['acme/llm:' || repeat('0123456789abcdef', 4), repeat('0123456789abcdef', 4), 'deployments/acme/llm', 'acme/llm:latest', 'llm', 'a/b/c', 'deployments/llm', 'acme/llm?x', '../llm', 'acme/']) AS name;

-- One prompt: the user's only message, or the conversation written out; all system texts have a member of their own.
SELECT replicate_input('acme/llm', '[{"role":"developer","content":"D"},{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]},{"role":"system","content":"S"},{"role":"assistant","content":" "}]');
SELECT replicate_input('acme/llm', '[{"role":"system","content":"S"},{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"user","content":""},{"role":"user","content":"<|eot_id|>"}]');
SELECT replicate_input('acme/llm', '[{"role":"user","content":"a"},{"role":"user","content":"b"}]');
SELECT replicate_input('acme/llm', '[{"role":"system","content":"Say hello."}]');
SELECT replicate_input('acme/llm', '[{"role":"user","content":" "}]');
-- Llama 3 has marks for turns; a text cannot bring its own.
SELECT replicate_input(:llama, '[{"role":"system","content":"S"},{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"user","content":"<|eot_id|>"}]');
-- OpenAI's models take the messages as they are, images included.
SELECT replicate_input('openai/gpt-4o-mini', '[{"role":"developer","content":"D"},{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"https://a/b.png"}}]},{"role":"assistant","content":"b","reasoning_content":"r"},{"role":"user","content":"c"}]');
-- Other families have members for images, or take none.
SELECT model, images, replicate_input(model, jsonb_build_array(jsonb_build_object('role', 'user', 'content', '[{"type":"text","text":"What?"}]'::jsonb || images)))
FROM unnest(ARRAY['anthropic/claude-4.5-sonnet', 'anthropic/claude-4.5-haiku', 'google/gemini-2.5-flash', 'acme/llm']) AS model,
	unnest(ARRAY['[{"type":"image_url","image_url":{"url":"https://a/b.png"}}]', '[{"type":"image_url","image_url":{"url":"https://a/b.png"}},{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0K"}}]']::jsonb[]) AS images;
SELECT replicate_input('anthropic/claude-4.5-sonnet', '[{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://a/b.png"}}]}]');
-- What cannot be said.
SELECT replicate_input(model, ('[{"role":"user","content":[' || part || ']}]')::jsonb)
FROM unnest(ARRAY['openai/gpt-4o-mini', 'acme/llm']) AS model, unnest(ARRAY['{"type":"input_audio","input_audio":{"data":"AA==","format":"wav"}}', '{"type":"file","file":{"file_data":"data:application/pdf;base64,AA=="}}']) AS part;
SELECT replicate_input('openai/gpt-4o-mini', '[{"role":"assistant","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"c","content":"1"}]');
SELECT choice, replicate_input('acme/llm', :'hi', jsonb_build_object('tools', '[{"type":"function","function":{"name":"f"}}]'::jsonb, 'tool_choice', choice)) FROM unnest(ARRAY['auto', 'none', 'required']) AS choice;
SELECT replicate_input('acme/llm', :'hi', '{"tools":[],"tool_choice":"auto"}');

-- Parameters of each family, in its ranges; others are dropped.
SELECT model, replicate_input(model, :'hi', '{"temperature":1.5,"top_p":0.5,"top_k":40,"presence_penalty":0.5,"frequency_penalty":-0.5,"seed":7,"stop":["a","b"],"n":2,"logprobs":true,"user":"u","metadata":{"a":"b"},"logit_bias":{"5":1},"verbosity":"low","max_tokens":2000}')
FROM unnest(ARRAY[:llama, 'meta/llama-2-70b-chat', 'openai/gpt-4.1-mini', 'openai/gpt-5', 'openai/o4-mini', 'anthropic/claude-4.5-sonnet', 'google/gemini-2.5-flash', 'deployments/acme/llm']) AS model;
-- Stops are one string with commas between: one that has a comma cannot be said.
SELECT stop, replicate_input('acme/llm', :'hi', jsonb_build_object('stop', stop)) FROM unnest(ARRAY['"x"', '["a","b,c",""]', '","', '[]']::jsonb[]) AS stop;
SELECT replicate_input('acme/llm', :'hi', '{"top_k":-1,"temperature":0}');

-- The output limit: open models get half of their window, where the prompt leaves it; Claude's has bounds.
SELECT limits, replicate_input('acme/llm', :'hi', NULL, limits) - 'prompt' FROM unnest(ARRAY[0, 1000, 8192, 128000]) AS limits;
SELECT replicate_input('acme/llm', jsonb_build_array(jsonb_build_object('role', 'user', 'content', repeat('word ', 5000))), NULL, 8192) - 'prompt';
SELECT model, limits, replicate_input(model, :'hi', jsonb_build_object('max_tokens', limits)) - 'prompt'
FROM unnest(ARRAY['anthropic/claude-4.5-sonnet', 'anthropic/claude-3.5-haiku']) AS model, unnest(ARRAY[100, 2000, 100000]) AS limits;

-- Efforts, in the words of each family.
SELECT model, jsonb_object_agg(effort, replicate_input(model, :'hi', jsonb_build_object('reasoning_effort', effort)) - 'prompt' - 'messages')
FROM unnest(ARRAY['openai/o4-mini', 'openai/gpt-5', 'openai/gpt-5.1', 'openai/gpt-4.1', 'anthropic/claude-4.5-sonnet', 'anthropic/claude-3.5-haiku', 'google/gemini-2.5-flash', 'google/gemini-2.5-pro', 'google/gemini-3-pro', 'acme/llm']) AS model,
	unnest(ARRAY['none', 'minimal', 'low', 'medium', 'high', 'max', 'odd']) AS effort GROUP BY model ORDER BY model;
SELECT replicate_input('anthropic/claude-4.5-sonnet', :'hi', '{"reasoning":{"effort":"high"},"max_tokens":1100}');

-- JSON is asked for in words.
SELECT replicate_input('acme/llm', '[{"role":"system","content":"S"},{"role":"user","content":"hi"}]', '{"response_format":{"type":"json_object"}}');
SELECT replicate_input('acme/llm', :'hi', '{"response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{"type":"object"}}}}');
SELECT replicate_input('openai/gpt-5', :'hi', '{"response_format":{"type":"json_object"}}');
SELECT replicate_input('acme/llm', :'hi', '{"response_format":{"type":"text"}}');

-- extra is input of the model, and wins; webhooks stand beside it.
SELECT test_wire('replicate', :llama, :'hi', '{"temperature":1,"max_tokens":9,"router":{"extra":{"temperature":0.5,"min_tokens":2,"max_tokens":5,"webhook":"https://a/b"}}}');

-- Linear in the size of the conversation.
SELECT length(replicate_input('acme/llm', (SELECT jsonb_agg(jsonb_build_object('role', 'user', 'content', repeat('x', 100))) FROM generate_series(1, 1000)))->>'prompt');

-- A prediction that is done at once; output is a text or the pieces of one.
\set urls '"urls":{"get":"https://api.example.com/v1/predictions/p1","cancel":"https://api.example.com/v1/predictions/p1/cancel","stream":"https://stream.example.com/p1"}'
SELECT jsonb_pretty(test_good('replicate', ('{"id":"p1","model":"acme/llm","status":"succeeded","input":{"prompt":"hi"},"output":["Hel","lo",""],"error":null,"metrics":{"predict_time":1.2,"input_token_count":12,"output_token_count":40},' || :'urls' || '}')::jsonb, 'acme/llm'));
SELECT output, test_good('replicate', jsonb_build_object('status', 'succeeded', 'output', output)) - 'outcome' #- '{completion,created}' #- '{completion,id}' #- '{completion,object}'
FROM unnest(ARRAY['"x"', '[]', '""', '["a",5]', '{"text":"x"}', '5', 'null']::jsonb[]) AS output;
-- The limit that was asked for is reached: the output is cut.
SELECT counts, options, test_answer('replicate', 'acme/llm', 201, '{}', convert_to('{"status":"succeeded","output":"x","metrics":' || counts || '}', 'UTF8'), :'hi', options)->>'finish_reason'
FROM unnest(ARRAY['{"input_token_count":1,"output_token_count":40}', '{"input_token_count":1,"output_token_count":39}', '{"input_token_count":1,"output_token_count":512}', '{}']) AS counts, unnest(ARRAY['{"max_tokens":40}', '{"router":{"extra":{"max_tokens":39}}}', '{}']::jsonb[]) AS options;
-- Usage: unknown for nonsense, and where the model does not count.
SELECT metrics, test_good('replicate', jsonb_build_object('status', 'succeeded', 'output', 'x', 'metrics', metrics))->'usage'
FROM unnest(ARRAY['{"input_token_count":12,"output_token_count":40}', '{"input_token_count":12}', '{"input_token_count":-12,"output_token_count":40}', '{"input_token_count":1e30,"output_token_count":40}', '{"input_token_count":1.5,"output_token_count":40}', '{"input_token_count":"12","output_token_count":40}', '{"predict_time":1}', '[]', 'null']::jsonb[]) AS metrics;

-- It is not done: it is looked at, and less and less often; cancelling is possible from then on.
SELECT test_exchange('replicate', 'acme/llm', :'hi', NULL, false, ('[{"status":201,"body":{"id":"p1","status":"starting",' || :'urls' || '}}' || repeat(',{"body":{"id":"p1","status":"processing"}}', 11)
	|| ',{"status":503,"body":{"title":"Busy","detail":"Try later","status":503}},{"body":{"id":"p1","status":"new word"}},{"body":{"id":"p1","status":"succeeded","output":["Hi"],"metrics":{"input_token_count":1,"output_token_count":2}}}]')::jsonb);
-- Only the origin of the base URL is asked, because the key goes there.
SELECT urls, test_good('replicate', jsonb_build_object('id', 'p1', 'status', 'starting', 'urls', urls))
FROM unnest(ARRAY['{"get":"https://api.example.com:443/v1/p/p1"}', '{"get":"https://API.example.com/v1/p/p1","cancel":"https://evil.example/cancel"}', '{"get":"https://api.example.com/p1","cancel":5}', '{"get":"http://api.example.com/v1/p/p1"}', '{"get":"https://api.example.com.evil.example/p1"}',
	'{"get":"https://api.example.com@evil.example/p1"}', '{"get":"https://api.example.com:8443/p1"}', '{"get":"/v1/p/p1"}', '{"get":"https://api.example.com/a b"}', '{"get":"https://api.example.com/\r\nX: y"}', '{"get":5}', '{}', '[]', 'null']::jsonb[]) AS urls;
SELECT test_good('replicate', jsonb_build_object('status', 'starting', 'urls', jsonb_build_object('get', 'https://api.example.com/' || repeat('x', 3000))))->'message';

-- Predictions that fail, with a good status.
SELECT status, error, test_good('replicate', jsonb_build_object('id', 'p1', 'status', status, 'error', error, 'output', 'x', 'metrics', '{"input_token_count":1,"output_token_count":2}'::jsonb))
FROM (VALUES ('failed', 'CUDA out of memory, 0x7fe005'), ('failed', 'The input or output was flagged as sensitive. Please try again with different inputs. (E005) (abc)'), ('failed', 'Prediction failed. (code: E005)'), ('failed', 'Prediction interrupted; please retry (code: PA)'),
	('failed', 'E1002 PromptTooLong: Prompt length exceeds maximum input length'), ('failed', 'Prompt length (1251) exceeds maximum input length (1024).'), ('failed', 'This model''s maximum context length is 8192 tokens.'), ('failed', NULL), ('canceled', NULL), ('aborted', NULL)) AS v (status, error);
-- What is no prediction, and errors of the API.
SELECT body, test_answer('replicate', 'acme/llm', 200, '{}', convert_to(body, 'UTF8'), :'hi', NULL) FROM unnest(ARRAY['', '<html>', '5', '[]', '{}', '{"status":""}', '{"status":5}', '{"status":"starting"}', '{"error":"x"}']) AS body;
SELECT status, body, test_answer('replicate', 'acme/llm', status, '{}', convert_to(body, 'UTF8'), :'hi', NULL)
FROM (VALUES (401, '{"title":"Unauthenticated","detail":"You did not pass a valid authentication token","status":401}'), (402, '{"title":"Insufficient credit","detail":"You have insufficient credit to run this model.","status":402}'), (403, '{"detail":"no"}'), (404, '{"detail":"The requested resource could not be found.","status":404}'),
	(422, '{"title":"Input validation failed","detail":"- input.top_p: Must be less than or equal to 1\n","status":422,"invalid_fields":[{"type":"number_lte","field":"input.top_p","description":"Must be less than or equal to 1"}]}'), (400, '{"detail":"bad"}'),
	(429, '{"detail":"Request was throttled. Your rate limit resets in ~30s."}'), (500, ''), (502, '<html>')) AS v (status, body);

-- A stream: the prediction, its output as it is made, and the prediction once more for what it used.
SELECT test_exchange('replicate', 'acme/llm', :'hi', NULL, true, jsonb_build_array(('{"status":201,"body":{"id":"p1","status":"starting",' || :'urls' || '}}')::jsonb, jsonb_build_object('events', 'event: logs
data: starting

event: output
id: 1690212292:0
data: Once upon

event: output
data:  a
data:
data: time, é

event: output
data: 

event: new
data: x

event: done
data: {}

'), '{"body":{"id":"p1","status":"processing"}}'::jsonb, '{"body":{"id":"p1","status":"succeeded","output":["Once upon"],"metrics":{"input_token_count":1,"output_token_count":2}}}'::jsonb));
-- The prediction is done before the stream could begin, or there is no stream of the provider's: its output makes the chunks.
SELECT test_exchange('replicate', 'acme/llm', :'hi', NULL, true, '[{"status":201,"body":{"id":"p1","status":"succeeded","output":["Hel","lo"],"metrics":{"input_token_count":1,"output_token_count":2}}}]');
SELECT test_exchange('replicate', 'acme/llm', :'hi', NULL, true, '[{"status":201,"body":{"id":"p1","status":"starting","urls":{"get":"https://api.example.com/p1"}}},{"body":{"id":"p1","status":"succeeded","output":["Hel","lo"]}}]');
SELECT url, (test_exchange('replicate', 'acme/llm', :'hi', NULL, true, jsonb_build_array(jsonb_build_object('status', 201, 'body', jsonb_build_object('id', 'p1', 'status', 'starting', 'urls', jsonb_build_object('get', 'https://api.example.com/p1', 'stream', url)))))->'follow_up') - 'header Accept' - 'streams'
FROM unnest(ARRAY['https://stream.example.com/p1', 'https://a.b.example.com:8443/p1', 'https://example.com/p1', 'https://api.example.com/p1/stream', 'http://stream.example.com/p1', 'https://stream.example.com.evil.example/p1', 'https://evilexample.com/p1', 'https://10.0.0.1/p1', 'https://stream.example.com@evil.example/p1', 'ftp://x', '']) AS url;
-- The stream is not there, or says nothing: the prediction goes on, and is looked at.
SELECT test_exchange('replicate', 'acme/llm', :'hi', NULL, true, jsonb_build_array(('{"status":201,"body":{"id":"p1","status":"starting",' || :'urls' || '}}')::jsonb, '{"status":404,"body":{"detail":"gone"}}'::jsonb, '{"body":{"id":"p1","status":"succeeded","output":["Hi"]}}'::jsonb));
SELECT test_exchange('replicate', 'acme/llm', :'hi', NULL, true, jsonb_build_array(('{"status":201,"body":{"id":"p1","status":"starting",' || :'urls' || '}}')::jsonb, jsonb_build_object('events', E'event: logs\ndata: x\n\n'), '{"body":{"id":"p1","status":"processing"}}'::jsonb, '{"body":{"id":"p1","status":"succeeded","output":["Hi"]}}'::jsonb));
-- Streams that fail.
SELECT to_json(events), (SELECT (array_agg(said ORDER BY n DESC))[1] FROM test_exchange('replicate', 'acme/llm', :'hi', NULL, true, jsonb_build_array(('{"status":201,"body":{"id":"p1","status":"starting",' || :'urls' || '}}')::jsonb, jsonb_build_object('events', E'event: output\ndata: x\n\n' || events))) WITH ORDINALITY AS t (said, n))
FROM unnest(ARRAY[E'event: error\ndata: {"detail":"broke off"}\n\n', E'event: error\ndata: broke off\n\n', E'event: error\ndata: The input or output was flagged as sensitive. (E005)\n\n', E'event: error\ndata: {"detail":"E1002 PromptTooLong: Prompt length exceeds maximum input length"}\n\n',
	E'event: done\ndata: {"reason":"canceled"}\n\n', E'event: done\ndata: {"reason":"error"}\n\n', '', E'event: done\n\n']) AS events;
-- An end whose data says nothing is an end. All was said: the counts are not waited for for ever.
SELECT count(*), (array_agg(said ORDER BY n DESC))[1] FROM test_exchange('replicate', 'acme/llm', :'hi', NULL, true, jsonb_build_array(('{"status":201,"body":{"id":"p1","status":"starting",' || :'urls' || '}}')::jsonb, jsonb_build_object('events', E'event: output\ndata: x\n\nevent: done\ndata: [\n\n'))
	|| (SELECT jsonb_agg('{"body":{"id":"p1","status":"processing"}}'::jsonb) FROM generate_series(1, 9))) WITH ORDINALITY AS t (said, n);
SELECT test_exchange('replicate', 'acme/llm', :'hi', NULL, true, jsonb_build_array(('{"status":201,"body":{"id":"p1","status":"starting",' || :'urls' || '}}')::jsonb, jsonb_build_object('events', E'event: output\ndata: x\n\nevent: done\ndata: {}\n\n'), '{"body":{"id":"p1","status":"failed","error":"late"}}'::jsonb))->>'outcome';
SELECT test_exchange('replicate', 'acme/llm', :'hi', NULL, true, jsonb_build_array(('{"status":201,"body":{"id":"p1","status":"starting",' || :'urls' || '}}')::jsonb, jsonb_build_object('events', E'event: done\ndata: {}\n\n'), '{"body":{"id":"p1","status":"succeeded","output":"Hi"}}'::jsonb))->'choices'->0->'delta';
SELECT looks, (SELECT (array_agg(said->>'outcome' ORDER BY n DESC))[1] FROM test_exchange('replicate', 'acme/llm', :'hi', NULL, true, jsonb_build_array(('{"status":201,"body":{"id":"p1","status":"starting",' || :'urls' || '}}')::jsonb, jsonb_build_object('events', E'event: output\ndata: x\n\nevent: done\ndata: {}\n\n'))
	|| looks) WITH ORDINALITY AS t (said, n))
FROM unnest(ARRAY['[{"status":404,"body":{"detail":"gone"}}]', '[{"body":5}]', '[{"status":503}]', '[{"status":503},{"status":503},{"status":503},{"status":503},{"status":503}]']::jsonb[]) AS looks;
-- Bytes that are no text, characters that events cut, and a stream that came instead of the prediction.
SELECT test_stream('replicate', 'acme/llm', E'event: output\\012data: x\\012\\012', 100, :'hi', NULL)->'end';
SELECT stream, jsonb_path_query_array(jsonb_agg(said), '$[*].choices[*].delta.content') AS text, jsonb_agg(said)->-1->>'message' AS message FROM unnest(ARRAY[E'event: output\\012data: a\\303\\012\\012event: output\\012data: \\251b\\012\\012', E'event: output\\012data: \\360\\237\\012\\012event: output\\012data: \\230\\012\\012event: output\\012data: \\200\\012\\012',
	E'event: output\\012data: a\\000b\\377\\303(\\012\\012', E'event: output\\012data: \\342\\202\\012\\012event: done\\012data: {}\\012\\012', E'event: output\\012data: \\342\\012\\012event: output\\012data: \\342\\012\\012event: output\\012data: x\\012\\012']::bytea[]) AS stream,
	LATERAL test_exchange('replicate', 'acme/llm', :'hi', NULL, true, jsonb_build_array(('{"status":201,"body":{"id":"p1","status":"starting",' || :'urls' || '}}')::jsonb, jsonb_build_object('bytes', stream))) AS said GROUP BY stream ORDER BY stream;
DROP FUNCTION replicate_input;

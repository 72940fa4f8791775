-- Streams of the openai format: events in, chunks out, and what the end means. The last row of each is the end.
\pset format unaligned
\pset tuples_only on

-- What is asked for: usage is, unless a provider's rules say that it comes unasked.
SELECT test_wire('openai', 'm', '[{"role":"user","content":"hi"}]', streams => true)->'body';

-- OpenAI: chunks pass as they are; the chunk with usage becomes the last one.
SELECT * FROM test_events('openai', $$data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"gpt","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}

data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"gpt","choices":[{"index":0,"delta":{"content":"Hé"},"finish_reason":null}],"usage":null}

data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"gpt","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}

data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"gpt","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11,"prompt_tokens_details":{"cached_tokens":4}}}

data: [DONE]

$$);

-- Tool calls in fragments.
SELECT * FROM test_events('openai', $$data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"gpt","choices":[{"index":0,"delta":{"role":"assistant","content":null,"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"f","arguments":""}}]},"finish_reason":null}]}

data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"gpt","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"a\":1}"}}]},"finish_reason":null}]}

data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"gpt","choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}

data: [DONE]

$$);

-- Groq: usage in x_groq, a whole tool call without a number; no [DONE] is needed after a finish_reason.
SELECT * FROM test_events('openai', $$data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"q","x_groq":{"id":"req_1"},"choices":[{"index":0,"delta":{"role":"assistant","tool_calls":[{"id":"tk85n1k4m","type":"function","function":{"name":"f","arguments":"{}"}},{"id":"tk85n1k4n","function":{"name":"g","arguments":"{}"}}]},"finish_reason":null}]}

data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"q","choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}],"x_groq":{"usage":{"prompt_tokens":3,"completion_tokens":5,"total_tokens":8}}}$$);

-- Groq: an error in a place of its own.
SELECT * FROM test_events('openai', $$data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"q","x_groq":{"id":"req_1","error":"over capacity"},"choices":[]}

$$);

-- Mistral: content in parts, thinking among them; arguments as an object; usage and finish in one chunk.
SELECT * FROM test_events('openai', $$data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"mi","choices":[{"index":0,"delta":{"role":"assistant","content":[{"type":"thinking","thinking":[{"type":"text","text":"Hm."}]},{"type":"text","text":"Yes"}]},"finish_reason":null}]}

data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"mi","choices":[{"index":0,"delta":{"tool_calls":[{"id":"abcdefghi","function":{"name":"f","arguments":{"a":1}}}]},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":3,"completion_tokens":5,"total_tokens":8}}

data: [DONE]

$$);

-- OpenRouter: comments, reasoning, its cost; a failure after the start.
SELECT * FROM test_events('openai', $$: OPENROUTER PROCESSING

data: {"id":"gen-1","object":"chat.completion.chunk","created":1,"model":"a/b","choices":[{"index":0,"delta":{"role":"assistant","content":"","reasoning":"Let me see."},"finish_reason":null}]}

data: {"id":"gen-1","object":"chat.completion.chunk","created":1,"model":"a/b","choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":"stop","native_finish_reason":"end_turn"}]}

data: {"id":"gen-1","object":"chat.completion.chunk","created":1,"model":"a/b","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],"usage":{"prompt_tokens":3,"completion_tokens":5,"total_tokens":8,"cost":0.00014}}

data: [DONE]

$$);
SELECT * FROM test_events('openai', $$data: {"id":"gen-1","object":"chat.completion.chunk","created":1,"model":"a/b","choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]}

data: {"id":"gen-1","object":"chat.completion.chunk","created":1,"model":"a/b","error":{"code":502,"message":"Upstream broke","metadata":{"error_type":"provider_unavailable"}},"choices":[{"index":0,"delta":{"content":""},"finish_reason":"error"}]}

$$);

-- Hugging Face: the provider's own word for the end, errors as text.
SELECT * FROM test_events('openai', $$data:{"object":"chat.completion.chunk","id":"","created":1,"model":"hf","choices":[{"index":0,"delta":{"role":"assistant","content":"Hi"},"finish_reason":"eos_token"}]}

data: [DONE]

$$);
SELECT * FROM test_events('openai', $$data: {"error":"Model is overloaded","error_type":"overloaded"}

$$);

-- Azure begins with its filters' results; DeepSeek names an interruption; unknown events and members are passed over.
SELECT * FROM test_events('openai', $$data: {"choices":[],"created":0,"id":"","model":"","object":"","prompt_filter_results":[]}

event: odd
data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"gpt","choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":"stop"}],"extra":1}

data: [DONE]

$$);
SELECT * FROM test_events('openai', $$data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"ds","choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":"insufficient_system_resource"}]}

$$);

-- Several choices.
SELECT * FROM test_events('openai', $$data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"gpt","choices":[{"index":1,"delta":{"content":"b"},"finish_reason":"length"},{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}

data: [DONE]

$$);

-- Cut off, empty, or no stream at all.
SELECT * FROM test_events('openai', $$data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"gpt","choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]}

$$);
SELECT * FROM test_events('openai', E'data: [DONE]\n\n');
SELECT * FROM test_events('openai', E': nothing\n\n');
SELECT * FROM test_events('openai', E'data: {"id":\n\n');

-- CRLF, no space after the colon, several data lines of one event, a byte order mark, no blank line at the end.
SELECT * FROM test_events('openai', E'\uFEFFdata:{"id":"c","object":"chat.completion.chunk","created":1,"model":"gpt",\r\nid: 7\r\ndata: "choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":"stop"}]}\r\n\r\ndata: [DONE]\r\n');

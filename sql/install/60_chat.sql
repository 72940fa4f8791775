-- Chat: the calling functions.
--
-- VOLATILE and PARALLEL UNSAFE, so that neither planning nor a parallel worker
-- makes a call; not STRICT, because most arguments are NULL by default.

CREATE FUNCTION llm_chat(messages jsonb, power_level text DEFAULT NULL,
                         model text DEFAULT NULL, options jsonb DEFAULT '{}')
RETURNS jsonb LANGUAGE c VOLATILE PARALLEL UNSAFE COST 1000000
AS 'MODULE_PATHNAME', 'llm_chat';
COMMENT ON FUNCTION llm_chat(jsonb, text, text, jsonb) IS
'Chat with a model that the router picks by power level (eco, balanced, precision) and tier, or with the model named. Takes OpenAI''s messages array (or a whole request object) and options; returns OpenAI''s chat.completion with the member llm_router.';

CREATE FUNCTION llm_ask(prompt text, power_level text DEFAULT NULL,
                        model text DEFAULT NULL, options jsonb DEFAULT '{}')
RETURNS text LANGUAGE c VOLATILE PARALLEL UNSAFE COST 1000000
AS 'MODULE_PATHNAME', 'llm_ask';
COMMENT ON FUNCTION llm_ask(text, text, text, jsonb) IS
'Ask one question and get the text of the answer: llm_chat for a single user message.';

-- A value at a time, in the target list; in FROM the executor collects all rows
-- before it gives the first.
CREATE FUNCTION llm_chat_stream(messages jsonb, power_level text DEFAULT NULL,
                                model text DEFAULT NULL, options jsonb DEFAULT '{}')
RETURNS SETOF jsonb LANGUAGE c VOLATILE PARALLEL UNSAFE COST 1000000 ROWS 100
AS 'MODULE_PATHNAME', 'llm_chat_stream';
COMMENT ON FUNCTION llm_chat_stream(jsonb, text, text, jsonb) IS
'llm_chat as it is made: SELECT llm_chat_stream(…) gives OpenAI''s chat.completion.chunk objects, one a row, each as it arrives; the last has usage and the member llm_router. SELECT * FROM llm_chat_stream(…) shows nothing before the end.';

CREATE FUNCTION llm_text(response jsonb)
RETURNS text LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'llm_text';
COMMENT ON FUNCTION llm_text(jsonb) IS
'The text of an answer of llm_chat; NULL when it has none (only tool calls, or an error).';

CREATE FUNCTION llm_last_call(
    OUT request_id uuid, OUT provider text, OUT model text, OUT power_level text,
    OUT input_tokens bigint, OUT output_tokens bigint, OUT cost_usd numeric,
    OUT response_time_ms bigint, OUT attempts integer)
RETURNS SETOF record LANGUAGE c VOLATILE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'llm_last_call';
COMMENT ON FUNCTION llm_last_call() IS
'The last call of this session that got an answer: who answered, tokens, exact cost in USD, milliseconds, attempts.';

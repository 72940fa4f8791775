-- The functions that the other files call; the module is read from where it was built.
\getenv libdir PG_LIBDIR
\set module :libdir '/llm_router_test'
CREATE FUNCTION test_json(bytea) RETURNS jsonb LANGUAGE c STRICT AS :'module';
CREATE FUNCTION test_request(messages jsonb, options jsonb DEFAULT NULL) RETURNS jsonb LANGUAGE c AS :'module';
CREATE FUNCTION test_build(rules jsonb, model text, messages jsonb, options jsonb DEFAULT NULL) RETURNS text LANGUAGE c AS :'module';
CREATE FUNCTION test_check(rules jsonb) RETURNS text LANGUAGE c AS :'module';
CREATE FUNCTION test_key_check(format text, rules jsonb DEFAULT '{}') RETURNS text LANGUAGE c AS :'module';
CREATE FUNCTION test_wire(format text, model text, messages jsonb, options jsonb DEFAULT NULL, streams boolean DEFAULT false, max_output_tokens int DEFAULT 0) RETURNS jsonb LANGUAGE c AS :'module';
CREATE FUNCTION test_answer(format text, model text, status int, headers jsonb, body bytea, messages jsonb, options jsonb) RETURNS jsonb LANGUAGE c AS :'module';
CREATE FUNCTION test_stream(format text, model text, stream bytea, piece int, messages jsonb, options jsonb) RETURNS jsonb LANGUAGE c AS :'module';
CREATE FUNCTION test_exchange(format text, model text, messages jsonb, options jsonb, streams boolean, answers jsonb) RETURNS SETOF jsonb LANGUAGE c AS :'module';
CREATE FUNCTION test_gathered(format text, model text, stream bytea, messages jsonb, options jsonb) RETURNS jsonb LANGUAGE c AS :'module';

-- An answer in OpenAI's format.
CREATE FUNCTION test_parse(status int, headers jsonb, body bytea) RETURNS jsonb LANGUAGE sql
RETURN test_answer('openai', 'm', status, headers, body, '[{"role":"user","content":"hi"}]', NULL);

-- A good answer in any format; the request that it answers matters only where the format says so.
CREATE FUNCTION test_good(format text, body jsonb, model text DEFAULT 'm', options jsonb DEFAULT NULL) RETURNS jsonb LANGUAGE sql
RETURN test_answer(format, model, 200, '{}', convert_to(body::text, 'UTF8'), '[{"role":"user","content":"hi"}]', options);

-- The chunks of a stream, one a row, and its end in the last row; the same for pieces of every size.
CREATE FUNCTION test_events(format text, stream text, model text DEFAULT 'm', options jsonb DEFAULT NULL) RETURNS SETOF jsonb LANGUAGE plpgsql AS $$
DECLARE
	piece int;
	read jsonb := test_stream(format, model, convert_to(stream, 'UTF8'), 1000000, '[{"role":"user","content":"hi"}]', options);
BEGIN
	FOREACH piece IN ARRAY '{1,2,3,7,64}'::int[] LOOP
		ASSERT read = test_stream(format, model, convert_to(stream, 'UTF8'), piece, '[{"role":"user","content":"hi"}]', options),
			'the pieces matter';
	END LOOP;
	RETURN QUERY SELECT * FROM jsonb_array_elements(read -> 'chunks');
	RETURN NEXT read -> 'end';
END
$$;
CREATE FUNCTION test_cost(numeric, numeric, numeric, numeric, numeric, numeric, bigint, bigint, bigint, bigint) RETURNS numeric LANGUAGE c AS :'module';
CREATE FUNCTION test_reported_cost(numeric) RETURNS text LANGUAGE c STRICT AS :'module';
CREATE FUNCTION test_origin(text) RETURNS text LANGUAGE c STRICT AS :'module';
CREATE FUNCTION test_text(jsonb) RETURNS text LANGUAGE c STRICT AS :'module';

-- The functions that the other files call; the module is read from where it was built.
\getenv libdir PG_LIBDIR
\set module :libdir '/llm_router_test'
CREATE FUNCTION test_json(bytea) RETURNS jsonb LANGUAGE c STRICT AS :'module';
CREATE FUNCTION test_request(messages jsonb, options jsonb DEFAULT NULL) RETURNS jsonb LANGUAGE c AS :'module';
CREATE FUNCTION test_build(rules jsonb, model text, messages jsonb, options jsonb DEFAULT NULL) RETURNS text LANGUAGE c AS :'module';
CREATE FUNCTION test_check(rules jsonb) RETURNS text LANGUAGE c AS :'module';
CREATE FUNCTION test_parse(status int, headers jsonb, body bytea) RETURNS jsonb LANGUAGE c AS :'module';
CREATE FUNCTION test_cost(numeric, numeric, numeric, numeric, numeric, numeric, bigint, bigint, bigint, bigint) RETURNS numeric LANGUAGE c AS :'module';
CREATE FUNCTION test_reported_cost(numeric) RETURNS text LANGUAGE c STRICT AS :'module';
CREATE FUNCTION test_origin(text) RETURNS text LANGUAGE c STRICT AS :'module';
CREATE FUNCTION test_text(jsonb) RETURNS text LANGUAGE c STRICT AS :'module';

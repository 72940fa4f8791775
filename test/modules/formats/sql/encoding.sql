-- Databases in other encodings: '?' stands for what they lack, SQL_ASCII keeps the UTF-8 bytes, and providers always get
-- UTF-8.
\pset format unaligned
\pset tuples_only on
CREATE DATABASE llm_router_test_latin1 TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C';
CREATE DATABASE llm_router_test_ascii TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C';

\connect llm_router_test_latin1
\getenv libdir PG_LIBDIR
\set module :libdir '/llm_router_test'
CREATE FUNCTION test_json(bytea) RETURNS jsonb LANGUAGE c STRICT AS :'module';
CREATE FUNCTION test_build(rules jsonb, model text, messages jsonb, options jsonb DEFAULT NULL) RETURNS text LANGUAGE c AS :'module';
CREATE FUNCTION test_answer(format text, model text, status int, headers jsonb, body bytea, messages jsonb, options jsonb) RETURNS jsonb LANGUAGE c AS :'module';
SELECT encode(textsend(test_json('\x22c3a9e282acf09f988022') #>> '{}'), 'hex') AS raw;
SELECT encode(textsend(test_json('"\\u00e9\\u20ac\\ud83d\\ude00\\u0000"') #>> '{}'), 'hex') AS escaped;
SELECT encode(textsend(test_answer('openai', 'm', 400, '{}', '{"error":{"message":"\\u00e9\\u20ac"}}', '[{"role":"user","content":"hi"}]', NULL)->>'message'), 'hex') AS message;
SELECT length(test_json(('"' || repeat('x', 9000))::bytea || '\xc3a9e282ac'::bytea || repeat('y', 3000)::bytea || '"') #>> '{}') AS long_text;
SELECT position('\xc3a9'::bytea IN textsend(test_build('{}', 'm', jsonb_build_array(jsonb_build_object('role', 'user', 'content', chr(233)))))) > 0 AS sent_as_utf8;

\connect llm_router_test_ascii
\getenv libdir PG_LIBDIR
\set module :libdir '/llm_router_test'
CREATE FUNCTION test_json(bytea) RETURNS jsonb LANGUAGE c STRICT AS :'module';
CREATE FUNCTION test_build(rules jsonb, model text, messages jsonb, options jsonb DEFAULT NULL) RETURNS text LANGUAGE c AS :'module';
SELECT encode(textsend(test_json('\x22c3a9e282ac22') #>> '{}'), 'hex') AS raw;
SELECT encode(textsend(test_json('"\\u20ac\\u0000\\ud800"') #>> '{}'), 'hex') AS escaped;
SELECT position('\xefbfbd22'::bytea IN textsend(test_build('{}', 'm', ('[{"role":"user","content":"' || E'\xff' || '"}]')::jsonb))) > 0 AS sent_as_utf8;

\connect postgres
DROP DATABASE llm_router_test_latin1;
DROP DATABASE llm_router_test_ascii;

-- Hiding keys in the texts of statements (which have to keep their tokens: test_hide_in_sql checks that with PostgreSQL's
-- scanner) and of the server log.
\pset format unaligned
\pset tuples_only on
\getenv libdir PG_LIBDIR
\set module :libdir '/llm_router_test'
CREATE FUNCTION test_hide_in_sql(statement text, backslash_quotes boolean DEFAULT false) RETURNS text LANGUAGE c STRICT AS :'module';
CREATE FUNCTION test_hide_in_line(line text, about_keys boolean DEFAULT NULL, cut boolean DEFAULT false) RETURNS text LANGUAGE c AS :'module';

-- Each vendor's prefix, in any statement.
SELECT statement, test_hide_in_sql(statement) FROM unnest(ARRAY[
	$q$SELECT 'sk-proj-Abc123_x-y'$q$,
	$q$SELECT 'sk-ant-api03-Abc123', 'plain', 'sk-or-v1-0123abcdef'$q$,
	$q$SELECT 'gsk_0123456789abcdef', 'hf_AbcdefghijkLmnop', 'r8_0123456789abcdef', 'AIzaSyA0123456789', 'xai-0123456789', 'pplx-0123456789', 'tgp_v1_0123456', 'nvapi-012345'$q$,
	$q$SELECT 'key_0123456789abcdef', 'sk_0123456789abcdef'$q$,
	$q$SELECT 'Bearer sk-abcdefgh', 'https://user:sk-abcdefgh@host/?key=AIzaSyA0123456789&x=1'$q$,
	$q$SELECT '{"key": "sk-abcdefgh"}', E'\nsk-abcdefgh\n', 'Ключ sk-abcdefgh', 'ésk-abcdefgh'$q$,
	$q$SELECT 1 AS "sk-abcdefgh", U&"hf_AbcdefghijkLmnop" FROM t$q$,
	$q$SELECT $$sk-abcdefgh$$, $a$ $$sk-abcdefgh$$ $a$$q$,
	$q$SELECT 1 -- sk-abcdefgh$q$,
	$q$SELECT 1 /* sk-abcdefgh */ + /*sk-abcdefgh*/ 1 /* a/sk-abcdefgh/b /* sk-abcdefgh*/ sk-abcdefgh*/$q$,
	$q$SELECT sk-abcdefgh FROM t$q$,
	-- Not keys.
	$q$SELECT key_name, sk_customer_id, hf_models_by_month, key_partition_2024_01 FROM llm_keys$q$,
	$q$SELECT key_distribution, gsk_orders, r8_monthly, sk_customerdimension, hf_transformermodels$q$,
	$q$SELECT a COLLATE "sk-x-icu", b COLLATE "sk-SK-x-icu"$q$,
	$q$SELECT 'task-oriented', 'disk-usage-report', 'sk-1', sk-1, 'half_0123456789abcdef'$q$,
	$q$SELECT llm_key_delete(1), llm_ask('Which llm_key is it?')$q$
]) AS statement;

-- A key function's name: all literals.
SELECT statement, test_hide_in_sql(statement) FROM unnest(ARRAY[
	$q$SELECT llm_key_add('cohere', 'Secret', validate => false)$q$,
	$q$SELECT * FROM router . LLM_KEY_TEST ( 'cohere' , $$Secret$$)$q$,
	$q$SELECT "llm_key_update"(17, E'Sec\'ret\\'), 'it''s', 1.5, NULL$q$,
	$q$SELECT 1-llm_provider_set_key('', N'Secret')$q$,
	$q$SELECT llm_key_add('co'
		'here', E'Sec\'' -- a comment, isn't it
		'r\'et')$q$,
	$q$SELECT llm_key_add(U&'\0063ohere' UESCAPE '!', B'01' || X'1f', text'Secret', date '2026-01-01')$q$,
	$q$SELECT llm_key_add($1, $2) -- 'Secret'$q$,
	$q$SELECT a$b$, llm_key_add($t$Sec$$ret$tt$ $t$, $_1$Secret$_1$) FROM b$b$q$,
	$q$SELECT llm_key_add('Ключ', 'Schlüssel', '鍵') /* it's ' */ , 'x'$q$,
	$q$DO $do$ BEGIN PERFORM llm_key_add('cohere', $$Secret$$); END $do$$q$,
	$q$CREATE FUNCTION f() RETURNS void LANGUAGE sql AS 'SELECT llm_key_add(''cohere'', ''Secret'')'$q$,
	$q$SELECT "it's", llm_key_add('cohere', 'Secret'), "a""b'", '"'$q$,
	$q$SELECT 'a' /*'*/, llm_key_add('b' --'
		, 'Secret')$q$,
	$q$SELECT x->>'a' - -1 */*'*/ 2, llm_key_add('cohere','Secret')$q$,
	$q$SELECT 'C:\', llm_key_add('cohere', 'Secret\')$q$
]) AS statement;
-- With standard_conforming_strings off a backslash escapes.
SELECT test_hide_in_sql($q$SELECT 'C:\'', llm_key_add('cohere', 'Secret\\')$q$, true);

-- Lines of the server log.
SELECT line, test_hide_in_line(line) FROM unnest(ARRAY[
	$q$statement: SELECT llm_key_add('cohere', 'Secret', validate => false)$q$,
	$q$duration: 1.234 ms  statement: DO $$ BEGIN PERFORM llm_key_add('cohere', 'Secret'); END $$$q$,
	$q$instruction de l'utilisateur : SELECT llm_key_add(text'cohere', 'Secret')$q$,
	$q$SELECT llm_key_add('cohere', Secret')$q$,
	$q$SELECT llm_key_add('cohere', AbCdEfGhIjKl0123456789)$q$,
	$q$SQL statement "SELECT llm_key_add('cohere', 'Secret')"
PL/pgSQL function f() line 3 at PERFORM$q$,
	$q$AUDIT: SESSION,1,1,READ,SELECT,,,"SELECT ""a"", llm_key_add($1, $2)","cohere,Secret"$q$,
	$q$AUDIT: SESSION,1,1,READ,SELECT,,,SELECT llm_key_add($1),Secret,1$q$,
	$q$AUDIT: SESSION,1,1,READ,SELECT,,,"SELECT llm_key_add('cohere', 'Secret')",<none>$q$,
	$q$key sk-proj-Abc123, 'plain'$q$,
	$q$nothing, 'plain'$q$
]) AS line;
-- What stands beside a statement about keys.
SELECT line, test_hide_in_line(line, true) FROM unnest(ARRAY[
	$q$parameters: $1 = 'cohere', $2 = 'Sec''ret', $3 = NULL$q$,
	$q$extended query with parameters: $1 = 'cohere', $2 = 'Sec...'$q$,
	$q$the provider's base_url is not the user's$q$,
	$q$column "AbCdEfGhIjKl0123456789" does not exist$q$,
	$q$provider "sim" refused the key$q$
]) AS line;
-- Cut off, as pg_stat_activity does.
SELECT test_hide_in_line($q$SELECT llm_key_add('cohere', 'Sec$q$, NULL, true);
SELECT test_hide_in_line($q$SELECT 'a', llm_key_add('b'), Sec$q$, NULL, true);

-- The time is linear: a megabyte of what would be the worst takes no seconds.
SELECT count(*), clock_timestamp() - statement_timestamp() < '30 s'
FROM unnest(ARRAY[
	repeat($q$'sk-abcdefgh',$q$, 80000), repeat($q$''$q$, 500000), repeat('sk_a-', 200000), repeat('hf_', 300000), repeat('$a', 500000),
	repeat('$a$', 333333), repeat('/*', 500000), repeat('--', 500000), repeat('_llm_key_add', 80000), repeat($q$'a'-- $q$ || E'\n', 140000),
	repeat('a', 1000000), repeat('-A_', 333333), repeat('"', 1000000), repeat(E'\\', 1000000), repeat('tgp_v1_', 140000)
]) AS part
CROSS JOIN LATERAL test_hide_in_line(part || 'llm_key_add') AS line
CROSS JOIN LATERAL test_hide_in_line('AUDIT: ' || part, true) AS other;
SELECT length(test_hide_in_sql(statement)) FROM unnest(ARRAY[
	'SELECT llm_key_add(' || repeat($q$'sk-abcdefgh',$q$, 80000) || 'NULL)',
	'SELECT ' || repeat($q$'a','sk-abcdefgh',$q$, 60000) || 'NULL',
	'SELECT llm_key_add(' || repeat($q$'a', E'b\'', $$c$$, "d", /*e*/ $q$, 30000) || 'NULL)'
]) AS statement;

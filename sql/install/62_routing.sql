-- Routing: what a request would meet and cost, without making it.
--
-- VOLATILE, because the plan follows committed changes of the configuration
-- whatever the snapshot of the statement; not STRICT, because most arguments
-- are NULL by default.

CREATE FUNCTION llm_route(
	messages jsonb, power_level text DEFAULT NULL, model text DEFAULT NULL, options jsonb DEFAULT '{}',
	OUT "position" integer, OUT provider text, OUT model text, OUT used_byok boolean, OUT eligible boolean,
	OUT reason text, OUT estimated_cost_usd numeric)
RETURNS SETOF record LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'llm_route';
COMMENT ON FUNCTION llm_route(jsonb, text, text, jsonb) IS
	'The plan of llm_chat with the same arguments, without the call: candidates in the order in which they would be tried, then the excluded ones, each with the reason and an upper bound of its cost in USD.';

CREATE FUNCTION llm_estimate_cost(
	messages jsonb, power_level text DEFAULT NULL, model text DEFAULT NULL, options jsonb DEFAULT '{}')
RETURNS numeric LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'llm_estimate_cost';
COMMENT ON FUNCTION llm_estimate_cost(jsonb, text, text, jsonb) IS
	'The most, in USD, that llm_chat with the same arguments can cost at the model that it would try first; NULL when a price of that model is unknown.';

CREATE FUNCTION llm_count_tokens(content text, model text DEFAULT NULL)
RETURNS integer LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'llm_count_tokens';
COMMENT ON FUNCTION llm_count_tokens(text, text) IS
	'An upper estimate of the tokens of a text, which holds for every model.';

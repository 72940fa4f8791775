-- Budgets from inside: what has been used of them.

CREATE FUNCTION llm_budget_counters(
	OUT budget_id bigint, OUT scope_value text, OUT period_start timestamptz, OUT period_end timestamptz,
	OUT used_usd numeric, OUT used_requests bigint, OUT used_tokens bigint,
	OUT reserved_usd numeric, OUT reserved_tokens bigint, OUT percent numeric)
RETURNS SETOF record LANGUAGE c VOLATILE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'llm_budget_counters';
COMMENT ON FUNCTION llm_budget_counters() IS
	'What llm_budget_status shows of counters in shared memory; counts the budgets that have not been counted yet.';

CREATE VIEW llm_budget_status AS
	SELECT c.budget_id, b.scope, c.scope_value, b.period, b.action, c.period_start, c.period_end,
		trim_scale(c.used_usd) AS used_usd, trim_scale(c.reserved_usd) AS reserved_usd, trim_scale(b.limit_usd) AS limit_usd,
		c.used_requests, b.limit_requests, c.used_tokens, c.reserved_tokens, b.limit_tokens, c.percent
	FROM llm_budget_counters() c
	JOIN llm_budgets b ON b.id = c.budget_id
	ORDER BY c.budget_id, c.scope_value;
COMMENT ON VIEW llm_budget_status IS
	'What has been used of each enabled budget in the current period; of each_user, for the users whose counters are in memory.';
COMMENT ON COLUMN llm_budget_status.budget_id IS 'The budget, as in llm_budgets.';
COMMENT ON COLUMN llm_budget_status.scope IS 'Its scope.';
COMMENT ON COLUMN llm_budget_status.scope_value IS 'Whose use is counted: the tier, the user (also of each_user) or the power level; NULL: everybody''s.';
COMMENT ON COLUMN llm_budget_status.period IS 'day, week or month.';
COMMENT ON COLUMN llm_budget_status.action IS 'block or downgrade.';
COMMENT ON COLUMN llm_budget_status.period_start IS 'When the current period began, in llm_router.budget_timezone.';
COMMENT ON COLUMN llm_budget_status.period_end IS 'When it ends, and the next begins.';
COMMENT ON COLUMN llm_budget_status.used_usd IS 'USD used.';
COMMENT ON COLUMN llm_budget_status.reserved_usd IS 'USD that calls under way may still use.';
COMMENT ON COLUMN llm_budget_status.limit_usd IS 'The limit in USD; NULL: none.';
COMMENT ON COLUMN llm_budget_status.used_requests IS 'Requests made, without those that failed.';
COMMENT ON COLUMN llm_budget_status.limit_requests IS 'The limit in requests; NULL: none.';
COMMENT ON COLUMN llm_budget_status.used_tokens IS 'Tokens used, of prompts and answers.';
COMMENT ON COLUMN llm_budget_status.reserved_tokens IS 'Tokens that calls under way may still use.';
COMMENT ON COLUMN llm_budget_status.limit_tokens IS 'The limit in tokens; NULL: none.';
COMMENT ON COLUMN llm_budget_status.percent IS 'Used of the limit that is nearest to its end, in percent.';

-- Usage: what was called, how it went and what it cost. doc/usage.md describes
-- the functions and their columns.
--
-- They are the caller's (SECURITY INVOKER): the policies of the tables decide who
-- sees what. An administrator's figures come from llm_usage_totals, everybody
-- else's from their own rows of llm_usage_rollup, so their cost does not grow
-- with the ledger. Only llm_usage_recent and llm_usage_export read the ledger.
--
-- The planner does not know the ranges of time and takes them for wide: compiling
-- the plans would take longer, many times over, than running them.

CREATE AGGREGATE llm_latency_histogram_sum(bigint[]) (
	SFUNC = llm_latency_histogram_add, STYPE = bigint[], COMBINEFUNC = llm_latency_histogram_add, PARALLEL = SAFE
);
COMMENT ON AGGREGATE llm_latency_histogram_sum(bigint[]) IS 'Latency histograms added element by element.';

CREATE FUNCTION llm_latency_percentile(histogram bigint[], fraction double precision)
RETURNS double precision LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'llm_latency_percentile';
COMMENT ON FUNCTION llm_latency_percentile(bigint[], double precision) IS
	'The milliseconds within which that share (0 to 1) of the calls of a latency histogram ended, interpolated; NULL without calls.';

-- ----------------------------------------------------------------------------
-- The totals
-- ----------------------------------------------------------------------------

-- The writer calls close and reopen; what it relies on stands at the head of
-- src/workers/usage_totals.c.

CREATE FUNCTION llm_usage_horizon()
RETURNS timestamptz LANGUAGE sql STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
	SELECT COALESCE((SELECT max(bucket) + interval '15 minutes' FROM llm_usage_totals WHERE NOT whole_day), '-infinity');
END;
COMMENT ON FUNCTION llm_usage_horizon() IS
	'Up to when llm_usage_totals holds what llm_usage_rollup holds; what came later stands in the rollup alone.';

CREATE FUNCTION llm_usage_totals_make_days()
RETURNS void LANGUAGE sql VOLATILE
BEGIN ATOMIC
	INSERT INTO llm_usage_totals (whole_day, bucket, provider, model, power_level, used_byok, status,
		requests, attempts, fallbacks, errors, input_tokens, cached_input_tokens, cache_write_tokens, output_tokens,
		reasoning_tokens, total_cost, unknown_cost_requests, latency_sum_ms, latency_histogram)
	SELECT true, date_bin('1 day', bucket, 'epoch'), provider, model, power_level, used_byok, status,
		   sum(requests), sum(attempts), sum(fallbacks), sum(errors), sum(input_tokens), sum(cached_input_tokens),
		   sum(cache_write_tokens), sum(output_tokens), sum(reasoning_tokens), sum(total_cost),
		   sum(unknown_cost_requests), sum(latency_sum_ms), llm_latency_histogram_sum(latency_histogram)
	FROM llm_usage_totals
	WHERE NOT whole_day
	  AND bucket >= COALESCE((SELECT max(bucket) + interval '1 day' FROM llm_usage_totals WHERE whole_day), '-infinity')
	GROUP BY 2, provider, model, power_level, used_byok, status;
END;
COMMENT ON FUNCTION llm_usage_totals_make_days() IS
	'Used by llm_usage_totals_close and llm_usage_totals_reopen: makes the days after the last day that is there.';

-- Some ten thousand rows of the rollup at once, or a quarter of an hour, so that
-- calls do not wait long for the writer. The last day is made anew, since quarters of
-- it may have come.
CREATE FUNCTION llm_usage_totals_close(until timestamptz)
RETURNS timestamptz LANGUAGE sql VOLATILE STRICT
BEGIN ATOMIC
	INSERT INTO llm_usage_totals (whole_day, bucket, provider, model, power_level, used_byok, status,
		requests, attempts, fallbacks, errors, input_tokens, cached_input_tokens, cache_write_tokens, output_tokens,
		reasoning_tokens, total_cost, unknown_cost_requests, latency_sum_ms, latency_histogram)
	SELECT false, bucket, provider, model, power_level, used_byok, status,
		   sum(requests), sum(attempts), sum(fallbacks), sum(errors), sum(input_tokens), sum(cached_input_tokens),
		   sum(cache_write_tokens), sum(output_tokens), sum(reasoning_tokens), sum(total_cost),
		   sum(unknown_cost_requests), sum(latency_sum_ms), llm_latency_histogram_sum(latency_histogram)
	FROM llm_usage_rollup
	WHERE bucket >= (SELECT llm_usage_horizon())
	  AND bucket < LEAST(until, (
		SELECT GREATEST(r.bucket, (SELECT min(bucket) FROM llm_usage_rollup WHERE bucket >= (SELECT llm_usage_horizon())) + interval '15 minutes')
		FROM llm_usage_rollup r
		WHERE r.bucket >= (SELECT llm_usage_horizon())
		ORDER BY r.bucket OFFSET 10000 LIMIT 1))
	GROUP BY bucket, provider, model, power_level, used_byok, status;
	DELETE FROM llm_usage_totals
	WHERE whole_day AND bucket >= (SELECT max(bucket) FROM llm_usage_totals WHERE whole_day);
	SELECT llm_usage_totals_make_days();
	SELECT llm_usage_horizon();
END;
COMMENT ON FUNCTION llm_usage_totals_close(timestamptz) IS
	'Used by the ledger''s writer: brings llm_usage_totals some way towards a quarter of an hour; returns its horizon.';

CREATE FUNCTION llm_usage_totals_reopen(since timestamptz)
RETURNS timestamptz LANGUAGE sql VOLATILE STRICT
BEGIN ATOMIC
	DELETE FROM llm_usage_totals
	WHERE since < (SELECT llm_usage_horizon())
	  AND ((NOT whole_day AND bucket >= date_bin('15 minutes', since, 'epoch'))
		   OR (whole_day AND bucket >= date_bin('1 day', since, 'epoch')));
	SELECT llm_usage_totals_make_days();
	SELECT llm_usage_horizon();
END;
COMMENT ON FUNCTION llm_usage_totals_reopen(timestamptz) IS
	'Used by the ledger''s writer before it writes of a time that is closed: takes it and what came later out of llm_usage_totals, to be summed up again; returns their horizon.';

CREATE VIEW llm_usage_sums WITH (security_barrier) AS
	SELECT provider, model, power_level, used_byok, status,
		   requests, attempts, fallbacks, errors, input_tokens, cached_input_tokens, cache_write_tokens,
		   output_tokens, reasoning_tokens, total_cost, unknown_cost_requests, latency_sum_ms, latency_histogram
	FROM llm_usage_totals
	WHERE whole_day
	UNION ALL
	SELECT provider, model, power_level, used_byok, status,
		   requests, attempts, fallbacks, errors, input_tokens, cached_input_tokens, cache_write_tokens,
		   output_tokens, reasoning_tokens, total_cost, unknown_cost_requests, latency_sum_ms, latency_histogram
	FROM llm_usage_rollup
	-- the upper bound has the planner take it for a small part
	WHERE bucket >= COALESCE((SELECT max(bucket) + interval '15 minutes' FROM llm_usage_totals WHERE NOT whole_day), '-infinity')
	  AND bucket < 'infinity';
COMMENT ON VIEW llm_usage_sums IS 'Used by other views: rows that sum up all that was ever used.';
COMMENT ON COLUMN llm_usage_sums.provider IS 'As in llm_usage_totals.';
COMMENT ON COLUMN llm_usage_sums.model IS 'As in llm_usage_totals.';
COMMENT ON COLUMN llm_usage_sums.power_level IS 'As in llm_usage_totals.';
COMMENT ON COLUMN llm_usage_sums.used_byok IS 'As in llm_usage_totals.';
COMMENT ON COLUMN llm_usage_sums.status IS 'As in llm_usage_totals.';
COMMENT ON COLUMN llm_usage_sums.requests IS 'As in llm_usage_totals.';
COMMENT ON COLUMN llm_usage_sums.attempts IS 'As in llm_usage_totals.';
COMMENT ON COLUMN llm_usage_sums.fallbacks IS 'As in llm_usage_totals.';
COMMENT ON COLUMN llm_usage_sums.errors IS 'As in llm_usage_totals.';
COMMENT ON COLUMN llm_usage_sums.input_tokens IS 'As in llm_usage_totals.';
COMMENT ON COLUMN llm_usage_sums.cached_input_tokens IS 'As in llm_usage_totals.';
COMMENT ON COLUMN llm_usage_sums.cache_write_tokens IS 'As in llm_usage_totals.';
COMMENT ON COLUMN llm_usage_sums.output_tokens IS 'As in llm_usage_totals.';
COMMENT ON COLUMN llm_usage_sums.reasoning_tokens IS 'As in llm_usage_totals.';
COMMENT ON COLUMN llm_usage_sums.total_cost IS 'As in llm_usage_totals.';
COMMENT ON COLUMN llm_usage_sums.unknown_cost_requests IS 'As in llm_usage_totals.';
COMMENT ON COLUMN llm_usage_sums.latency_sum_ms IS 'As in llm_usage_totals.';
COMMENT ON COLUMN llm_usage_sums.latency_histogram IS 'As in llm_usage_totals.';

-- Users name providers as they do in llm_chat, without reading the configuration.
CREATE VIEW llm_provider_names WITH (security_barrier) AS
	SELECT name AS provider FROM llm_providers
	UNION ALL
	SELECT provider FROM llm_usage_sums;
COMMENT ON VIEW llm_provider_names IS 'Names that the argument provider of the usage functions may have: providers of today, and of the ledger.';
COMMENT ON COLUMN llm_provider_names.provider IS 'The provider''s name, once or more.';

-- ----------------------------------------------------------------------------
-- From and to
-- ----------------------------------------------------------------------------

-- The checks stand in the WHERE, which is evaluated whatever columns are used. A
-- function with a setting is not put into the query that calls it: so what comes
-- out is plain values, which row level security lets indexes serve.
CREATE FUNCTION llm_usage_range(
	period text, provider text, power_level text, since timestamptz, until timestamptz,
	OUT begins timestamptz, OUT ends timestamptz)
RETURNS SETOF record LANGUAGE sql STABLE ROWS 1 PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT r.begins, r.ends
	FROM (SELECT COALESCE(since, date_trunc(CASE WHEN period IN ('week', 'month', 'quarter') THEN period ELSE 'year' END, COALESCE(until - interval '1 microsecond', now()))) AS begins,
				 COALESCE(until, now()) AS ends) AS r
	WHERE CASE
		WHEN (period IN ('week', 'month', 'quarter', 'year')) IS NOT TRUE
			THEN llm_reject('unknown period "' || COALESCE(period, 'NULL') || '"', 'Periods are week, month, quarter and year.') IS NULL
		WHEN power_level NOT IN ('eco', 'balanced', 'precision')
			THEN llm_reject('unknown power level "' || power_level || '"', 'Power levels are eco, balanced and precision; NULL is all.') IS NULL
		-- an infinite one never does
		WHEN since NOT BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 00:00+00' OR until NOT BETWEEN '0001-01-01 00:00+00' AND '9999-12-31 00:00+00'
			THEN llm_reject('since and until have to lie in the years 1 to 9999', 'Leave one out, or give NULL, for the calendar period to date.') IS NULL
		WHEN provider IS NOT NULL AND NOT EXISTS (SELECT FROM llm_provider_names n WHERE n.provider = llm_usage_range.provider)
			THEN llm_reject('unknown provider "' || provider || '"',
				'Providers are ' || (SELECT string_agg(DISTINCT n.provider, ', ' ORDER BY n.provider) FROM llm_provider_names n) || '; NULL is all.') IS NULL
		WHEN COALESCE(since, '-infinity') > COALESCE(until, now())
			THEN llm_reject('since is after until', 'Give times of which since is the earlier; until is now by default.') IS NULL
		ELSE true END;
END;
COMMENT ON FUNCTION llm_usage_range(text, text, text, timestamptz, timestamptz) IS
	'Used by the usage functions: the time that their arguments mean, since the start of the calendar period in the session''s time zone by default; 22023 for arguments that mean nothing.';

-- Boundaries of local time: an hour that a change of the clocks doubles counts
-- twice, and one that it leaves out is not there.
CREATE FUNCTION llm_usage_steps(period text, begins timestamptz, ends timestamptz, OUT starts timestamptz, OUT stops timestamptz)
RETURNS SETOF record LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT s.starts, lead(s.starts, 1, s.ends) OVER (ORDER BY s.starts)
	FROM (
		SELECT r.begins AS starts, r.ends
		FROM (SELECT date_bin('15 minutes', llm_usage_steps.begins, 'epoch') AS begins,
					 date_bin('15 minutes', llm_usage_steps.ends + interval '15 minutes' - interval '1 microsecond', 'epoch') AS ends) AS r
		UNION
		SELECT date_bin('15 minutes', b.boundary, 'epoch'), r.ends
		FROM (SELECT date_bin('15 minutes', llm_usage_steps.begins, 'epoch') AS begins,
					 date_bin('15 minutes', llm_usage_steps.ends + interval '15 minutes' - interval '1 microsecond', 'epoch') AS ends) AS r,
		LATERAL (
			SELECT q.boundary
			FROM generate_series(r.begins, r.ends, interval '15 minutes') AS q (boundary)
			WHERE period = 'week'
			  AND (extract(minute FROM q.boundary) = 0
				   OR q.boundary::timestamp - (q.boundary - interval '15 minutes')::timestamp <> interval '15 minutes')
			UNION ALL
			SELECT d.boundary::timestamptz
			FROM (VALUES ('month', 'day'), ('quarter', 'week'), ('year', 'month')) AS p (period, step),
				 generate_series(date_trunc(p.step, r.begins::timestamp), r.ends::timestamp, ('1 ' || p.step)::interval) AS d (boundary)
			WHERE p.period = llm_usage_steps.period
		) AS b
		WHERE date_bin('15 minutes', b.boundary, 'epoch') > r.begins AND date_bin('15 minutes', b.boundary, 'epoch') < r.ends
	) AS s
	WHERE s.starts < s.ends;
END;
COMMENT ON FUNCTION llm_usage_steps(text, timestamptz, timestamptz) IS
	'Used by llm_usage_over_time: the hours (period week), days (month), weeks (quarter) or months (year) of a time, in the session''s time zone.';

-- ----------------------------------------------------------------------------
-- Reading the sums
-- ----------------------------------------------------------------------------

-- For administrators quarters of an hour, whole days and quarters again of the
-- totals, and what is not in them yet; for others one range of the rollup, where the
-- user is named beside the policy, which by itself no index serves.

CREATE FUNCTION llm_usage_cells(begins timestamptz, ends timestamptz, provider text, power_level text,
	OUT cell_provider text, OUT model text, OUT cell_power_level text, OUT used_byok boolean, OUT status text,
	OUT requests bigint, OUT fallbacks bigint, OUT errors bigint, OUT input_tokens bigint,
	OUT cached_input_tokens bigint, OUT cache_write_tokens bigint, OUT output_tokens bigint,
	OUT reasoning_tokens bigint, OUT total_cost numeric, OUT unknown_cost_requests bigint,
	OUT latency_histogram bigint[])
RETURNS SETOF record LANGUAGE sql STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
	SELECT c.*
	FROM (
		SELECT date_bin('15 minutes', begins, 'epoch') AS begins,
			   LEAST(ends, date_bin('1 day', begins + interval '1 day' - interval '1 microsecond', 'epoch')) AS first_day,
			   GREATEST(date_bin('1 day', ends, 'epoch'), date_bin('1 day', begins + interval '1 day' - interval '1 microsecond', 'epoch')) AS last_day,
			   ends AS ends,
			   -- who sees none of the totals would look through all of them for it
			   CASE WHEN (SELECT has_table_privilege('llm_providers'::regclass, 'UPDATE'))
					THEN GREATEST(date_bin('15 minutes', begins, 'epoch'), (SELECT llm_usage_horizon())) END AS open
		OFFSET 0	-- values for the indexes, not expressions
	) AS r,
	LATERAL (
		SELECT t.provider, t.model, t.power_level, t.used_byok, t.status, t.requests, t.fallbacks, t.errors,
		   t.input_tokens, t.cached_input_tokens, t.cache_write_tokens, t.output_tokens, t.reasoning_tokens,
		   t.total_cost, t.unknown_cost_requests, t.latency_histogram
		FROM llm_usage_totals t
		WHERE (SELECT has_table_privilege('llm_providers'::regclass, 'UPDATE'))
		  AND NOT t.whole_day AND t.bucket >= r.begins AND t.bucket < r.first_day
		UNION ALL
		SELECT t.provider, t.model, t.power_level, t.used_byok, t.status, t.requests, t.fallbacks, t.errors,
		   t.input_tokens, t.cached_input_tokens, t.cache_write_tokens, t.output_tokens, t.reasoning_tokens,
		   t.total_cost, t.unknown_cost_requests, t.latency_histogram
		FROM llm_usage_totals t
		WHERE (SELECT has_table_privilege('llm_providers'::regclass, 'UPDATE'))
		  AND t.whole_day AND t.bucket >= r.first_day AND t.bucket < r.last_day
		UNION ALL
		SELECT t.provider, t.model, t.power_level, t.used_byok, t.status, t.requests, t.fallbacks, t.errors,
		   t.input_tokens, t.cached_input_tokens, t.cache_write_tokens, t.output_tokens, t.reasoning_tokens,
		   t.total_cost, t.unknown_cost_requests, t.latency_histogram
		FROM llm_usage_totals t
		WHERE (SELECT has_table_privilege('llm_providers'::regclass, 'UPDATE'))
		  AND NOT t.whole_day AND t.bucket >= r.last_day AND t.bucket < r.ends
		UNION ALL
		SELECT t.provider, t.model, t.power_level, t.used_byok, t.status, t.requests, t.fallbacks, t.errors,
		   t.input_tokens, t.cached_input_tokens, t.cache_write_tokens, t.output_tokens, t.reasoning_tokens,
		   t.total_cost, t.unknown_cost_requests, t.latency_histogram
		FROM llm_usage_rollup t
		WHERE (SELECT has_table_privilege('llm_providers'::regclass, 'UPDATE'))
		  AND t.bucket >= r.open AND t.bucket < r.ends
		UNION ALL
		SELECT t.provider, t.model, t.power_level, t.used_byok, t.status, t.requests, t.fallbacks, t.errors,
		   t.input_tokens, t.cached_input_tokens, t.cache_write_tokens, t.output_tokens, t.reasoning_tokens,
		   t.total_cost, t.unknown_cost_requests, t.latency_histogram
		FROM llm_usage_rollup t
		WHERE NOT (SELECT has_table_privilege('llm_providers'::regclass, 'UPDATE'))
		  AND t.user_id = (SELECT llm_user_id()) AND t.bucket >= r.begins AND t.bucket < r.ends
	) AS c
	WHERE (llm_usage_cells.provider IS NULL OR c.provider = llm_usage_cells.provider)
	  AND (llm_usage_cells.power_level IS NULL OR c.power_level = llm_usage_cells.power_level);
END;
COMMENT ON FUNCTION llm_usage_cells(timestamptz, timestamptz, text, text) IS
	'Used by the usage functions: the rows that sum up a time, to whole quarters of an hour: everybody''s for administrators, else the caller''s.';

-- Every measure of every usage function is defined here. dimension is provider,
-- model (of its provider), power_level, or total: one row, also without calls.
CREATE FUNCTION llm_usage_grouped(dimension text, begins timestamptz, ends timestamptz, provider text, power_level text,
	OUT group_provider text, OUT group_model text, OUT group_power_level text, OUT calls bigint,
	OUT cost_usd numeric, OUT byok_cost_usd numeric, OUT average_cost_usd numeric, OUT cost_per_1k_tokens numeric,
	OUT unknown_cost_calls bigint, OUT errors bigint, OUT error_rate numeric, OUT fallbacks bigint,
	OUT fallback_rate numeric, OUT input_tokens bigint, OUT cached_input_tokens bigint,
	OUT cache_write_tokens bigint, OUT output_tokens bigint, OUT reasoning_tokens bigint, OUT cache_rate numeric,
	OUT p50_ms integer, OUT p95_ms integer)
RETURNS SETOF record LANGUAGE sql STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
	SELECT g.group_provider, g.group_model, g.group_power_level,
		   g.calls, g.cost_usd, g.byok_cost_usd,
		   round(g.cost_usd / nullif(g.calls, 0), 9),
		   round(1000 * g.cost_usd / nullif(g.input_tokens + g.output_tokens, 0), 9),
		   g.unknown_cost_calls,
		   g.errors, round(100.0 * g.errors / nullif(g.calls, 0), 2),
		   g.fallbacks, round(100.0 * g.fallbacks / nullif(g.calls, 0), 2),
		   g.input_tokens, g.cached_input_tokens, g.cache_write_tokens, g.output_tokens, g.reasoning_tokens,
		   round(100.0 * g.cached_input_tokens / nullif(g.input_tokens, 0), 2),
		   round(llm_latency_percentile(g.histogram, 0.5))::integer, round(llm_latency_percentile(g.histogram, 0.95))::integer
	FROM (
		SELECT CASE WHEN dimension IN ('provider', 'model') THEN c.cell_provider END AS group_provider,
			   CASE dimension WHEN 'model' THEN c.model END AS group_model,
			   CASE dimension WHEN 'power_level' THEN c.cell_power_level END AS group_power_level,
			   sum(c.requests)::bigint AS calls,
			   sum(c.total_cost) AS cost_usd,
			   sum(CASE WHEN c.used_byok THEN c.total_cost ELSE 0 END) AS byok_cost_usd,
			   sum(c.unknown_cost_requests)::bigint AS unknown_cost_calls,
			   sum(c.errors)::bigint AS errors,
			   sum(c.fallbacks)::bigint AS fallbacks,
			   sum(c.input_tokens)::bigint AS input_tokens,
			   sum(c.cached_input_tokens)::bigint AS cached_input_tokens,
			   sum(c.cache_write_tokens)::bigint AS cache_write_tokens,
			   sum(c.output_tokens)::bigint AS output_tokens,
			   sum(c.reasoning_tokens)::bigint AS reasoning_tokens,
			   llm_latency_histogram_sum(c.latency_histogram) FILTER (WHERE c.status = 'ok') AS histogram
		FROM (
			SELECT * FROM llm_usage_cells(begins, ends, provider, power_level)
			UNION ALL
			SELECT NULL, NULL, NULL, false, 'ok', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, '{}'::bigint[]
			WHERE dimension = 'total'
		) AS c
		GROUP BY 1, 2, 3
	) AS g;
END;
COMMENT ON FUNCTION llm_usage_grouped(text, timestamptz, timestamptz, text, text) IS
	'Used by the usage functions: their measures, by provider, model or power_level, or in total.';

-- ----------------------------------------------------------------------------
-- How much of the budgets
-- ----------------------------------------------------------------------------

CREATE FUNCTION llm_usage_budgets(user_id text, subscription_tier text, OUT budget_id bigint, OUT used_percent numeric)
RETURNS SETOF record LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT b.id, round(GREATEST(
			100 * u.cost / nullif(b.limit_usd, 0),
			100.0 * u.requests / nullif(b.limit_requests, 0),
			100.0 * u.tokens / nullif(b.limit_tokens, 0),
			CASE WHEN 0 IN (b.limit_usd, b.limit_requests, b.limit_tokens) THEN 100 END), 2)
	FROM llm_budgets b,
	LATERAL (SELECT date_bin('15 minutes', date_trunc(b.period, now(), COALESCE(
			nullif(current_setting('llm_router.budget_timezone', true), ''), current_setting('TimeZone'))), 'epoch') AS begins) AS p,
	LATERAL (
		SELECT COALESCE(sum(t.total_cost), 0) AS cost, COALESCE(sum(t.requests), 0) AS requests,
			   COALESCE(sum(t.input_tokens + t.output_tokens), 0) AS tokens
		FROM llm_usage_rollup t
		WHERE t.user_id = llm_usage_budgets.user_id AND t.bucket >= p.begins AND NOT t.used_byok
	) AS u
	WHERE b.enabled
	  AND ((b.scope = 'user' AND b.scope_value = llm_usage_budgets.user_id)
		   OR (b.scope = 'each_user' AND COALESCE(b.scope_value, llm_usage_budgets.subscription_tier) = llm_usage_budgets.subscription_tier));
END;
COMMENT ON FUNCTION llm_usage_budgets(text, text) IS
	'Used by llm_usage_quota: how much of each budget on a user''s own use (scopes user and each_user) is used in its period to date, in percent of its tightest limit.';

CREATE FUNCTION llm_usage_quota()
RETURNS numeric LANGUAGE c STABLE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'llm_usage_quota';
COMMENT ON FUNCTION llm_usage_quota() IS
	'How much of the tightest budget on the caller''s own use is used, in percent; NULL without such a budget.';

-- ----------------------------------------------------------------------------
-- Summaries
-- ----------------------------------------------------------------------------

CREATE FUNCTION llm_usage_summary(
	period text DEFAULT 'month', provider text DEFAULT NULL, power_level text DEFAULT NULL,
	since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL,
	OUT begins timestamptz, OUT ends timestamptz, OUT calls bigint, OUT cost_usd numeric, OUT byok_cost_usd numeric,
	OUT average_cost_usd numeric, OUT cost_per_1k_tokens numeric, OUT unknown_cost_calls bigint, OUT errors bigint,
	OUT error_rate numeric, OUT fallbacks bigint, OUT fallback_rate numeric, OUT input_tokens bigint,
	OUT cached_input_tokens bigint, OUT cache_write_tokens bigint, OUT output_tokens bigint,
	OUT reasoning_tokens bigint, OUT cache_rate numeric, OUT p50_ms integer, OUT p95_ms integer,
	OUT quota_used numeric)
RETURNS SETOF record LANGUAGE sql STABLE PARALLEL UNSAFE ROWS 1 SET jit = off
BEGIN ATOMIC
	SELECT r.begins, r.ends,
		   g.calls, g.cost_usd, g.byok_cost_usd, g.average_cost_usd, g.cost_per_1k_tokens,
		   g.unknown_cost_calls, g.errors, g.error_rate, g.fallbacks, g.fallback_rate, g.input_tokens,
		   g.cached_input_tokens, g.cache_write_tokens, g.output_tokens, g.reasoning_tokens, g.cache_rate,
		   g.p50_ms, g.p95_ms,
		   llm_usage_quota()
	FROM llm_usage_range(period, provider, power_level, since, until) AS r,
		 llm_usage_grouped('total', r.begins, r.ends, provider, power_level) AS g;
END;
COMMENT ON FUNCTION llm_usage_summary(text, text, text, timestamptz, timestamptz) IS
	'Calls, cost, errors, tokens and latency of a calendar period to date (week, month, quarter, year), or from since to until; everybody''s for administrators, else the caller''s.';

CREATE FUNCTION llm_usage_by_provider(
	period text DEFAULT 'month', provider text DEFAULT NULL, power_level text DEFAULT NULL,
	since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL,
	OUT provider_name text, OUT calls bigint, OUT cost_usd numeric, OUT byok_cost_usd numeric,
	OUT average_cost_usd numeric, OUT cost_per_1k_tokens numeric, OUT unknown_cost_calls bigint, OUT errors bigint,
	OUT error_rate numeric, OUT fallbacks bigint, OUT fallback_rate numeric, OUT input_tokens bigint,
	OUT cached_input_tokens bigint, OUT cache_write_tokens bigint, OUT output_tokens bigint,
	OUT reasoning_tokens bigint, OUT cache_rate numeric, OUT p50_ms integer, OUT p95_ms integer,
	OUT cost_share numeric)
RETURNS SETOF record LANGUAGE sql STABLE PARALLEL RESTRICTED SET jit = off
BEGIN ATOMIC
	SELECT g.group_provider,
		   g.calls, g.cost_usd, g.byok_cost_usd, g.average_cost_usd, g.cost_per_1k_tokens,
		   g.unknown_cost_calls, g.errors, g.error_rate, g.fallbacks, g.fallback_rate, g.input_tokens,
		   g.cached_input_tokens, g.cache_write_tokens, g.output_tokens, g.reasoning_tokens, g.cache_rate,
		   g.p50_ms, g.p95_ms,
		   round(100 * g.cost_usd / nullif(sum(g.cost_usd) OVER (), 0), 2)
	FROM llm_usage_range(period, provider, power_level, since, until) AS r,
		 llm_usage_grouped('provider', r.begins, r.ends, provider, power_level) AS g
	ORDER BY g.cost_usd DESC, g.calls DESC, g.group_provider;
END;
COMMENT ON FUNCTION llm_usage_by_provider(text, text, text, timestamptz, timestamptz) IS
	'As llm_usage_summary, by provider, the dearest first.';

CREATE FUNCTION llm_usage_by_model(
	period text DEFAULT 'month', provider text DEFAULT NULL, power_level text DEFAULT NULL,
	since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL,
	OUT provider_name text, OUT model text, OUT calls bigint, OUT cost_usd numeric, OUT byok_cost_usd numeric,
	OUT average_cost_usd numeric, OUT cost_per_1k_tokens numeric, OUT unknown_cost_calls bigint, OUT errors bigint,
	OUT error_rate numeric, OUT fallbacks bigint, OUT fallback_rate numeric, OUT input_tokens bigint,
	OUT cached_input_tokens bigint, OUT cache_write_tokens bigint, OUT output_tokens bigint,
	OUT reasoning_tokens bigint, OUT cache_rate numeric, OUT p50_ms integer, OUT p95_ms integer,
	OUT cost_share numeric)
RETURNS SETOF record LANGUAGE sql STABLE PARALLEL RESTRICTED SET jit = off
BEGIN ATOMIC
	SELECT g.group_provider, g.group_model,
		   g.calls, g.cost_usd, g.byok_cost_usd, g.average_cost_usd, g.cost_per_1k_tokens,
		   g.unknown_cost_calls, g.errors, g.error_rate, g.fallbacks, g.fallback_rate, g.input_tokens,
		   g.cached_input_tokens, g.cache_write_tokens, g.output_tokens, g.reasoning_tokens, g.cache_rate,
		   g.p50_ms, g.p95_ms,
		   round(100 * g.cost_usd / nullif(sum(g.cost_usd) OVER (), 0), 2)
	FROM llm_usage_range(period, provider, power_level, since, until) AS r,
		 llm_usage_grouped('model', r.begins, r.ends, provider, power_level) AS g
	ORDER BY g.cost_usd DESC, g.calls DESC, g.group_provider, g.group_model;
END;
COMMENT ON FUNCTION llm_usage_by_model(text, text, text, timestamptz, timestamptz) IS
	'As llm_usage_summary, by model, the dearest first.';

CREATE FUNCTION llm_usage_by_power_level(
	period text DEFAULT 'month', provider text DEFAULT NULL, power_level text DEFAULT NULL,
	since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL,
	OUT level text, OUT calls bigint, OUT cost_usd numeric, OUT byok_cost_usd numeric, OUT average_cost_usd numeric,
	OUT cost_per_1k_tokens numeric, OUT unknown_cost_calls bigint, OUT errors bigint, OUT error_rate numeric,
	OUT fallbacks bigint, OUT fallback_rate numeric, OUT input_tokens bigint, OUT cached_input_tokens bigint,
	OUT cache_write_tokens bigint, OUT output_tokens bigint, OUT reasoning_tokens bigint, OUT cache_rate numeric,
	OUT p50_ms integer, OUT p95_ms integer, OUT cost_share numeric)
RETURNS SETOF record LANGUAGE sql STABLE PARALLEL RESTRICTED SET jit = off
BEGIN ATOMIC
	SELECT g.group_power_level,
		   g.calls, g.cost_usd, g.byok_cost_usd, g.average_cost_usd, g.cost_per_1k_tokens,
		   g.unknown_cost_calls, g.errors, g.error_rate, g.fallbacks, g.fallback_rate, g.input_tokens,
		   g.cached_input_tokens, g.cache_write_tokens, g.output_tokens, g.reasoning_tokens, g.cache_rate,
		   g.p50_ms, g.p95_ms,
		   round(100 * g.cost_usd / nullif(sum(g.cost_usd) OVER (), 0), 2)
	FROM llm_usage_range(period, provider, power_level, since, until) AS r,
		 llm_usage_grouped('power_level', r.begins, r.ends, provider, power_level) AS g
	ORDER BY g.cost_usd DESC, g.calls DESC, g.group_power_level;
END;
COMMENT ON FUNCTION llm_usage_by_power_level(text, text, text, timestamptz, timestamptz) IS
	'As llm_usage_summary, by power level, the dearest first.';

CREATE FUNCTION llm_usage_over_time(
	period text DEFAULT 'month', provider text DEFAULT NULL, power_level text DEFAULT NULL,
	since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL,
	OUT starts timestamptz, OUT stops timestamptz, OUT calls bigint, OUT cost_usd numeric, OUT byok_cost_usd numeric,
	OUT average_cost_usd numeric, OUT cost_per_1k_tokens numeric, OUT unknown_cost_calls bigint, OUT errors bigint,
	OUT error_rate numeric, OUT fallbacks bigint, OUT fallback_rate numeric, OUT input_tokens bigint,
	OUT cached_input_tokens bigint, OUT cache_write_tokens bigint, OUT output_tokens bigint,
	OUT reasoning_tokens bigint, OUT cache_rate numeric, OUT p50_ms integer, OUT p95_ms integer)
RETURNS SETOF record LANGUAGE sql STABLE PARALLEL RESTRICTED SET jit = off
BEGIN ATOMIC
	SELECT s.starts, s.stops,
		   g.calls, g.cost_usd, g.byok_cost_usd, g.average_cost_usd, g.cost_per_1k_tokens,
		   g.unknown_cost_calls, g.errors, g.error_rate, g.fallbacks, g.fallback_rate, g.input_tokens,
		   g.cached_input_tokens, g.cache_write_tokens, g.output_tokens, g.reasoning_tokens, g.cache_rate,
		   g.p50_ms, g.p95_ms
	FROM (SELECT * FROM llm_usage_range(period, provider, power_level, since, until) AS r
		  WHERE CASE WHEN extract(epoch FROM r.ends - r.begins) > 10000.0 *
					CASE period WHEN 'week' THEN 3600 WHEN 'month' THEN 86400 WHEN 'quarter' THEN 604800 ELSE 2419200 END
				THEN llm_reject('the series would have more than 10,000 points', 'Give a longer period, which has longer steps, or a later since.') IS NULL
				ELSE true END) AS r,
		 LATERAL llm_usage_steps(period, r.begins, r.ends) AS s,
		 LATERAL llm_usage_grouped('total', s.starts, s.stops, provider, power_level) AS g
	ORDER BY s.starts;
END;
COMMENT ON FUNCTION llm_usage_over_time(text, text, text, timestamptz, timestamptz) IS
	'As llm_usage_summary, by hour (period week), day (month), week (quarter) or month (year) of the session''s time zone; without gaps.';

-- ----------------------------------------------------------------------------
-- Rows of the ledger
-- ----------------------------------------------------------------------------

-- In both functions the first half is for administrators, the second for others;
-- there the user is named beside the policy, for the sake of its index. Each half
-- is ordered by an index of the partitions, of which only those of the time are
-- touched; one of the halves is empty.


CREATE FUNCTION llm_usage_recent(
	period text DEFAULT 'month', provider text DEFAULT NULL, power_level text DEFAULT NULL,
	since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL,
	OUT created_at timestamptz, OUT request_id uuid, OUT attempt integer, OUT user_id text, OUT provider_name text,
	OUT model text, OUT level text, OUT status text, OUT error_code text, OUT is_final boolean, OUT attempts integer,
	OUT input_tokens integer, OUT cached_input_tokens integer, OUT output_tokens integer, OUT total_cost numeric,
	OUT response_time_ms integer, OUT used_byok boolean, OUT tags jsonb)
RETURNS SETOF record LANGUAGE sql STABLE PARALLEL RESTRICTED SET jit = off
BEGIN ATOMIC
	SELECT l.created_at, l.request_id, l.attempt, l.user_id, l.provider, l.model, l.power_level, l.status,
		   l.error_code, l.is_final, l.attempts, l.input_tokens, l.cached_input_tokens, l.output_tokens,
		   l.total_cost, l.response_time_ms, l.used_byok, l.tags
	FROM llm_usage_range(period, provider, power_level, since, until) AS r,
	LATERAL (
		(SELECT l.*
		 FROM llm_usage_logs l
		 WHERE (SELECT has_table_privilege('llm_providers'::regclass, 'UPDATE'))
		  AND l.created_at >= r.begins AND l.created_at < r.ends
		  AND (llm_usage_recent.provider IS NULL OR l.provider = llm_usage_recent.provider)
		  AND (llm_usage_recent.power_level IS NULL OR l.power_level = llm_usage_recent.power_level)
		 ORDER BY l.created_at DESC, l.request_id DESC, l.attempt DESC LIMIT 100)
		UNION ALL
		(SELECT l.*
		 FROM llm_usage_logs l
		 WHERE NOT (SELECT has_table_privilege('llm_providers'::regclass, 'UPDATE'))
		  AND l.user_id = (SELECT llm_user_id())
		  AND l.created_at >= r.begins AND l.created_at < r.ends
		  AND (llm_usage_recent.provider IS NULL OR l.provider = llm_usage_recent.provider)
		  AND (llm_usage_recent.power_level IS NULL OR l.power_level = llm_usage_recent.power_level)
		 ORDER BY l.created_at DESC, l.request_id DESC, l.attempt DESC LIMIT 100)
	) AS l
	ORDER BY l.created_at DESC, l.request_id DESC, l.attempt DESC;
END;
COMMENT ON FUNCTION llm_usage_recent(text, text, text, timestamptz, timestamptz) IS
	'The last 100 rows of the ledger in a period, the newest first.';

CREATE FUNCTION llm_usage_csv(log llm_usage_logs)
RETURNS text LANGUAGE c STABLE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'llm_usage_csv';
COMMENT ON FUNCTION llm_usage_csv(llm_usage_logs) IS
	'Used by llm_usage_export: a row of the ledger as a line of CSV; for NULL the names of the columns.';

-- One query, which PostgreSQL puts in the place of the call (or runs row by row
-- where it stands in a target list), so that nothing is gathered up. The lines come
-- in the order of its parts, since llm_usage_csv keeps it out of parallel workers.
-- A limit that is not known when the query is planned, and is none, has the planner
-- take the plan that begins soonest: the index, rather than a sort of everything.
CREATE FUNCTION llm_usage_export(
	format text,
	period text DEFAULT 'month', provider text DEFAULT NULL, power_level text DEFAULT NULL,
	since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL)
RETURNS SETOF text LANGUAGE sql STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
	SELECT x.line
	FROM (SELECT * FROM llm_usage_range(period, provider, power_level, since, until) AS r
		  WHERE CASE WHEN (format IN ('csv', 'json')) IS NOT TRUE
				THEN llm_reject('unknown format "' || COALESCE(format, 'NULL') || '"', 'Formats are csv and json.') IS NULL
				ELSE true END) AS r,
	LATERAL (
		SELECT llm_usage_csv(NULL) AS line WHERE format = 'csv'
		UNION ALL
		(SELECT CASE format WHEN 'csv' THEN llm_usage_csv(l) ELSE row_to_json(l)::text END
		 FROM llm_usage_logs l
		 WHERE (SELECT has_table_privilege('llm_providers'::regclass, 'UPDATE'))
		  AND l.created_at >= r.begins AND l.created_at < r.ends
		  AND (llm_usage_export.provider IS NULL OR l.provider = llm_usage_export.provider)
		  AND (llm_usage_export.power_level IS NULL OR l.power_level = llm_usage_export.power_level)
		 ORDER BY l.created_at, l.request_id, l.attempt LIMIT (SELECT NULL::bigint))
		UNION ALL
		(SELECT CASE format WHEN 'csv' THEN llm_usage_csv(l) ELSE row_to_json(l)::text END
		 FROM llm_usage_logs l
		 WHERE NOT (SELECT has_table_privilege('llm_providers'::regclass, 'UPDATE'))
		  AND l.user_id = (SELECT llm_user_id())
		  AND l.created_at >= r.begins AND l.created_at < r.ends
		  AND (llm_usage_export.provider IS NULL OR l.provider = llm_usage_export.provider)
		  AND (llm_usage_export.power_level IS NULL OR l.power_level = llm_usage_export.power_level)
		 ORDER BY l.created_at, l.request_id, l.attempt LIMIT (SELECT NULL::bigint))
	) AS x;
END;
COMMENT ON FUNCTION llm_usage_export(text, text, text, text, timestamptz, timestamptz) IS
	'The rows of the ledger in a period, the oldest first, as lines of csv (after a line of names) or json; a stream, whatever their number.';

-- ----------------------------------------------------------------------------
-- Users
-- ----------------------------------------------------------------------------

-- Everybody who called in the period or in the one before it.
CREATE FUNCTION llm_usage_by_user(
	period text DEFAULT 'month', provider text DEFAULT NULL, power_level text DEFAULT NULL,
	since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL,
	OUT user_id text, OUT subscription_tier text, OUT calls bigint, OUT active_days bigint, OUT cost_usd numeric, OUT byok_cost_usd numeric,
	OUT input_tokens bigint, OUT output_tokens bigint, OUT errors bigint, OUT error_rate numeric,
	OUT previous_calls bigint, OUT trend numeric, OUT last_seen timestamptz, OUT lapsed boolean)
RETURNS SETOF record LANGUAGE sql STABLE PARALLEL RESTRICTED SET jit = off
BEGIN ATOMIC
	SELECT u.user_id, s.subscription_tier, u.calls, u.active_days, u.cost_usd, u.byok_cost_usd, u.input_tokens, u.output_tokens,
		   u.errors, round(100.0 * u.errors / nullif(u.calls, 0), 2),
		   u.previous_calls, round(100.0 * (u.calls - u.previous_calls) / nullif(u.previous_calls, 0), 2),
		   COALESCE(u.last_seen, (SELECT max(t.bucket) FROM llm_usage_rollup t WHERE t.user_id = u.user_id)),
		   u.calls = 0
	FROM (
		SELECT t.user_id,
			   COALESCE(sum(t.requests) FILTER (WHERE t.bucket >= r.begins), 0)::bigint AS calls,
			   count(DISTINCT date_trunc('day', t.bucket)) FILTER (WHERE t.bucket >= r.begins) AS active_days,
			   COALESCE(sum(t.total_cost) FILTER (WHERE t.bucket >= r.begins), 0) AS cost_usd,
			   COALESCE(sum(t.total_cost) FILTER (WHERE t.bucket >= r.begins AND t.used_byok), 0) AS byok_cost_usd,
			   COALESCE(sum(t.input_tokens) FILTER (WHERE t.bucket >= r.begins), 0)::bigint AS input_tokens,
			   COALESCE(sum(t.output_tokens) FILTER (WHERE t.bucket >= r.begins), 0)::bigint AS output_tokens,
			   COALESCE(sum(t.errors) FILTER (WHERE t.bucket >= r.begins), 0)::bigint AS errors,
			   COALESCE(sum(t.requests) FILTER (WHERE t.bucket < r.previous_ends), 0)::bigint AS previous_calls,
			   max(t.bucket) FILTER (WHERE t.bucket >= r.begins) AS last_seen
		FROM (
			SELECT date_bin('15 minutes', b.begins, 'epoch') AS begins, b.ends, b.previous,
				   LEAST(b.previous + (b.ends - b.begins), b.begins) AS previous_ends
			FROM (SELECT r.begins, r.ends, r.begins - CASE
						WHEN llm_usage_by_user.since IS NOT NULL THEN r.ends - r.begins
						WHEN period = 'week' THEN interval '7 days' WHEN period = 'month' THEN interval '1 month'
						WHEN period = 'quarter' THEN interval '3 months' ELSE interval '1 year' END AS previous
				  FROM llm_usage_range(period, provider, power_level, since, until) AS r) AS b
		) AS r
		JOIN llm_usage_rollup t ON t.bucket >= r.previous AND t.bucket < r.ends
		WHERE (SELECT has_table_privilege('llm_providers'::regclass, 'UPDATE'))
		  AND (llm_usage_by_user.provider IS NULL OR t.provider = llm_usage_by_user.provider)
		  AND (llm_usage_by_user.power_level IS NULL OR t.power_level = llm_usage_by_user.power_level)
		GROUP BY t.user_id, r.begins
	) AS u
	LEFT JOIN llm_users s ON s.user_id = u.user_id
	ORDER BY u.cost_usd DESC, u.calls DESC, u.user_id;
END;
COMMENT ON FUNCTION llm_usage_by_user(text, text, text, timestamptz, timestamptz) IS
	'The users of a period and of the one before it: what they did, how that compares, when they were last seen, and whether they have lapsed. For administrators.';

-- ----------------------------------------------------------------------------
-- Recommendation
-- ----------------------------------------------------------------------------

-- The platform's keys only, since rules do not decide what users' keys cost. A
-- failed attempt that cost nothing has no row in the ledger; that it happened shows
-- in the request's final row, as a fallback. So the fallbacks of models that come
-- later in a tier's rules may be failures of every one before them, and count
-- against it where it is to be suggested, but not where it is to be replaced.
-- Prices are the suggested model's of today, the higher ones where it has prices for
-- long prompts, and none for cached tokens: rather too little saved than too much.
CREATE FUNCTION llm_recommend(
	power_level text DEFAULT NULL, period text DEFAULT 'month',
	OUT level text, OUT provider text, OUT model text, OUT calls bigint, OUT success_rate numeric, OUT p50_ms integer, OUT p95_ms integer,
	OUT cost_per_1k_tokens numeric, OUT fallbacks bigint, OUT taken_over bigint, OUT cost_usd numeric, OUT rules text[],
	OUT suggested_model text, OUT saving_usd numeric, OUT advice text)
RETURNS SETOF record LANGUAGE sql STABLE PARALLEL RESTRICTED SET jit = off
BEGIN ATOMIC
	WITH limits AS (
		SELECT 100 AS least_calls, 1.0 AS success_margin, 5.0 AS least_saving_percent, 30 AS days_to_retirement
	),
	called AS (
		SELECT c.cell_power_level AS level, c.cell_provider AS provider, c.model, r.begins, r.ends,
			   sum(c.requests)::bigint AS calls,
			   sum(c.requests) FILTER (WHERE c.status = 'ok') AS answered,
			   sum(c.requests) FILTER (WHERE c.status NOT IN ('ok', 'cancelled')) AS failed,
			   sum(c.fallbacks)::bigint AS fallbacks,
			   sum(c.input_tokens) AS input_tokens, sum(c.output_tokens) AS output_tokens, sum(c.total_cost) AS cost,
			   llm_latency_histogram_sum(c.latency_histogram) FILTER (WHERE c.status = 'ok') AS histogram
		FROM llm_usage_range(period, NULL, llm_recommend.power_level, NULL, NULL) AS r,
			 llm_usage_cells(r.begins, r.ends, NULL, llm_recommend.power_level) AS c
		WHERE NOT c.used_byok
		GROUP BY 1, 2, 3, 4, 5
	),
	-- The models of each tier's rules in the order in which they are tried.
	chain AS (
		SELECT c.power_level AS level, c.subscription_tier, p.name AS provider, m.model_name AS model, c.place
		FROM (SELECT r.power_level, r.subscription_tier, r.model_id, 2 * r.priority::bigint AS place FROM llm_routing_rules r
			  UNION ALL
			  SELECT r.power_level, r.subscription_tier, r.fallback_model_id, 2 * r.priority::bigint + 1 FROM llm_routing_rules r) AS c
		JOIN llm_models m ON m.id = c.model_id
		JOIN llm_providers p ON p.id = m.provider_id
	),
	counted AS (
		SELECT c.*, COALESCE((
				SELECT sum(x.fallbacks) FROM called x
				WHERE x.level = c.level AND (x.provider, x.model) <> (c.provider, c.model)
				  AND EXISTS (SELECT FROM chain a JOIN chain b ON b.level = a.level AND b.subscription_tier = a.subscription_tier AND b.place > a.place
							  WHERE a.level = c.level AND (a.provider, a.model) = (c.provider, c.model)
								AND (b.provider, b.model) = (x.provider, x.model))), 0)::bigint AS taken_over
		FROM called c
	),
	judged AS (
		SELECT c.*, c.provider || '/' || c.model AS full_name, m.id AS model_id,
			   round(100 * c.answered / nullif(c.answered + COALESCE(c.failed, 0), 0), 2) AS success_rate,
			   round(100 * c.answered / nullif(c.answered + COALESCE(c.failed, 0) + c.taken_over, 0), 2) AS least_success_rate,
			   round(llm_latency_percentile(c.histogram, 0.5))::integer AS p50_ms,
			   round(llm_latency_percentile(c.histogram, 0.95))::integer AS p95_ms,
			   round(1000 * c.cost / nullif(c.input_tokens + c.output_tokens, 0), 9) AS cost_per_1k_tokens,
			   GREATEST(m.cost_per_1k_input_tokens, m.cost_per_1k_long_input_tokens) AS price_input,
			   GREATEST(m.cost_per_1k_output_tokens, m.cost_per_1k_long_output_tokens) AS price_output,
			   m.supports_functions, m.supports_vision, m.supports_json_schema, m.max_tokens, m.max_output_tokens,
			   m.enabled AND p.enabled AND (m.retires_on > current_date + l.days_to_retirement) IS NOT FALSE AS usable,
			   (SELECT array_agg(concat_ws('/', r.power_level, r.subscription_tier, r.priority) ORDER BY r.subscription_tier, r.priority)
				FROM llm_routing_rules r WHERE r.model_id = m.id AND r.power_level = c.level) AS rules
		FROM limits l, counted c
		LEFT JOIN llm_providers p ON p.name = c.provider
		LEFT JOIN llm_models m ON m.provider_id = p.id AND m.model_name = c.model
	),
	-- For each model the one that would have saved most.
	best AS (
		SELECT DISTINCT ON (o.level, o.model_id) o.level, o.model_id, s.full_name, s.calls, s.least_success_rate, s.p95_ms, s.cost_per_1k_tokens,
			   w.cost, o.cost - w.cost AS saving, s.model_id AS suggested_id
		FROM limits l, judged o
		JOIN judged s ON s.level = o.level AND s.model_id <> o.model_id,
		LATERAL (SELECT (o.input_tokens * s.price_input + o.output_tokens * s.price_output) / 1000 AS cost) AS w
		WHERE o.calls >= l.least_calls AND s.calls >= l.least_calls AND o.rules IS NOT NULL AND s.usable
		  AND s.least_success_rate >= o.success_rate - l.success_margin
		  AND 100 * (o.cost - w.cost) >= l.least_saving_percent * o.cost AND o.cost > 0
		  -- what it is not known to be able to do, it has to do only where the other cannot
		  AND (s.supports_functions OR o.supports_functions IS FALSE OR (o.supports_functions IS NULL AND s.supports_functions IS NULL))
		  AND (s.supports_vision OR o.supports_vision IS FALSE OR (o.supports_vision IS NULL AND s.supports_vision IS NULL))
		  AND (s.supports_json_schema OR o.supports_json_schema IS FALSE OR (o.supports_json_schema IS NULL AND s.supports_json_schema IS NULL))
		  AND (s.max_tokens >= o.max_tokens OR o.max_tokens IS NULL)
		  AND (s.max_output_tokens >= o.max_output_tokens OR o.max_output_tokens IS NULL)
		ORDER BY o.level, o.model_id, o.cost - w.cost DESC, s.full_name
	)
	SELECT j.level, j.provider, j.model, j.calls, j.success_rate, j.p50_ms, j.p95_ms, j.cost_per_1k_tokens, j.fallbacks, j.taken_over, j.cost, j.rules,
		   b.full_name, round(b.saving, 6),
		   CASE
			WHEN j.calls < l.least_calls THEN format('Too few calls to judge: %s, of %s.', j.calls, l.least_calls)
			WHEN j.rules IS NULL THEN 'No rule of this level has it as its model.'
			WHEN b.full_name IS NULL THEN format(
				'Keep it: no other model with %s calls at this level can do as much, succeeds as often (within %s points) and costs %s %% less.',
				l.least_calls, trim_scale(l.success_margin), trim_scale(l.least_saving_percent))
			ELSE format(
				'In %s %s (level/tier/priority), change the model from %s to %s: the tokens of these %s calls would have cost $%s instead of $%s, $%s (%s %%) less, from %s to %s. '
				'It succeeded in %s %% of %s calls instead of %s %%, with a p95 of %s ms instead of %s ms, at $%s per 1,000 tokens instead of $%s.%s',
				CASE cardinality(j.rules) WHEN 1 THEN 'rule' ELSE 'rules' END, array_to_string(j.rules, ', '), j.full_name, b.full_name,
				j.calls, round(b.cost, 2), round(j.cost, 2), round(b.saving, 2), round(100 * b.saving / j.cost, 1),
				to_char(j.begins, 'YYYY-MM-DD'), to_char(j.ends, 'YYYY-MM-DD'),
				b.least_success_rate, b.calls, j.success_rate, b.p95_ms, j.p95_ms, round(b.cost_per_1k_tokens, 6), round(j.cost_per_1k_tokens, 6),
				' It is the fallback of ' || (
					SELECT string_agg(concat_ws('/', r.power_level, r.subscription_tier, r.priority), ', ' ORDER BY r.subscription_tier, r.priority)
					FROM llm_routing_rules r
					WHERE r.model_id = j.model_id AND r.power_level = j.level AND r.fallback_model_id = b.suggested_id) || ' now: let the two change places.')
		   END
	FROM limits l, judged j
	LEFT JOIN best b ON b.level = j.level AND b.model_id = j.model_id
	ORDER BY b.saving DESC NULLS LAST, j.cost DESC, j.full_name, j.level;
END;
COMMENT ON FUNCTION llm_recommend(text, text) IS
	'The models that were called in a calendar period to date with the platform''s keys, compared at each power level, and which routing rule to change to which model, with what that would have saved. For administrators.';

-- ----------------------------------------------------------------------------
-- Metrics
-- ----------------------------------------------------------------------------

-- For an exporter, by their owner's rights: whoever may read them needs no other
-- privilege. Counters since the ledger began; doc/usage.md has their names.

CREATE VIEW llm_metrics_usage WITH (security_barrier) AS
	SELECT provider, model, power_level, used_byok, status,
		   sum(requests)::bigint AS requests_total, sum(fallbacks)::bigint AS fallbacks_total,
		   sum(input_tokens)::bigint AS input_tokens_total, sum(cached_input_tokens)::bigint AS cached_input_tokens_total,
		   sum(cache_write_tokens)::bigint AS cache_write_tokens_total,
		   sum(output_tokens)::bigint AS output_tokens_total, sum(reasoning_tokens)::bigint AS reasoning_tokens_total,
		   sum(total_cost)::double precision AS cost_usd_total, sum(unknown_cost_requests)::bigint AS unknown_cost_requests_total,
		   sum(latency_sum_ms) / 1000.0::double precision AS request_duration_seconds_total
	FROM llm_usage_sums
	GROUP BY provider, model, power_level, used_byok, status;

CREATE VIEW llm_metrics_latency WITH (security_barrier) AS
	SELECT h.provider, h.model, h.power_level, b.le,
		   (SELECT COALESCE(sum(e.n), 0)::bigint FROM unnest(h.histogram) WITH ORDINALITY AS e (n, i) WHERE e.i <= b.elements) AS request_duration_seconds_bucket
	FROM (
		SELECT provider, model, power_level, llm_latency_histogram_sum(latency_histogram) AS histogram
		FROM llm_usage_sums
		WHERE status = 'ok'
		GROUP BY provider, model, power_level
	) AS h,
	-- 16 ms to 524 s in powers of two
	(SELECT (0.001 * 2 ^ k)::double precision::text, 4 * k FROM generate_series(4, 19) AS k UNION ALL SELECT '+Inf', 80) AS b (le, elements);

CREATE VIEW llm_metrics_providers WITH (security_barrier) AS
	SELECT name AS provider, health_status,
		   CASE health_status WHEN 'unknown' THEN NULL WHEN 'down' THEN 0 ELSE 1 END AS up,
		   enabled::integer AS enabled,
		   response_time_ms / 1000.0::double precision AS check_duration_seconds,
		   (uptime_percentage / 100)::double precision AS uptime_ratio,
		   extract(epoch FROM last_success_at)::double precision AS last_success_timestamp_seconds
	FROM llm_providers;

COMMENT ON VIEW llm_metrics_usage IS 'Counters of use and cost for an exporter.';
COMMENT ON COLUMN llm_metrics_usage.provider IS 'Label: the provider''s name.';
COMMENT ON COLUMN llm_metrics_usage.model IS 'Label: the model''s name.';
COMMENT ON COLUMN llm_metrics_usage.power_level IS 'Label: the power level.';
COMMENT ON COLUMN llm_metrics_usage.used_byok IS 'Label: whether the users'' own keys were used.';
COMMENT ON COLUMN llm_metrics_usage.status IS 'Label: status as in llm_usage_logs.';
COMMENT ON COLUMN llm_metrics_usage.requests_total IS 'Requests that ended here.';
COMMENT ON COLUMN llm_metrics_usage.fallbacks_total IS 'Of these, not answered by their first attempt.';
COMMENT ON COLUMN llm_metrics_usage.input_tokens_total IS 'Tokens of prompts.';
COMMENT ON COLUMN llm_metrics_usage.cached_input_tokens_total IS 'Of these, read from caches.';
COMMENT ON COLUMN llm_metrics_usage.cache_write_tokens_total IS 'Of these, written to caches.';
COMMENT ON COLUMN llm_metrics_usage.output_tokens_total IS 'Tokens of answers.';
COMMENT ON COLUMN llm_metrics_usage.reasoning_tokens_total IS 'Of these, spent on reasoning.';
COMMENT ON COLUMN llm_metrics_usage.cost_usd_total IS 'Known cost in USD.';
COMMENT ON COLUMN llm_metrics_usage.unknown_cost_requests_total IS 'Rows of the ledger whose cost is unknown.';
COMMENT ON COLUMN llm_metrics_usage.request_duration_seconds_total IS 'Sum of response times in seconds.';
COMMENT ON VIEW llm_metrics_latency IS 'A histogram of the response times of answers, for an exporter.';
COMMENT ON COLUMN llm_metrics_latency.provider IS 'Label: the provider''s name.';
COMMENT ON COLUMN llm_metrics_latency.model IS 'Label: the model''s name.';
COMMENT ON COLUMN llm_metrics_latency.power_level IS 'Label: the power level.';
COMMENT ON COLUMN llm_metrics_latency.le IS 'Label: upper bound in seconds.';
COMMENT ON COLUMN llm_metrics_latency.request_duration_seconds_bucket IS 'Counter: answers within le.';
COMMENT ON VIEW llm_metrics_providers IS 'Gauges of the health of providers, for an exporter.';
COMMENT ON COLUMN llm_metrics_providers.provider IS 'Label: the provider''s name.';
COMMENT ON COLUMN llm_metrics_providers.health_status IS 'Label: unknown, healthy, degraded or down.';
COMMENT ON COLUMN llm_metrics_providers.up IS '1, or 0 when it is down; NULL: not known.';
COMMENT ON COLUMN llm_metrics_providers.enabled IS '1 when requests may be sent to it, else 0.';
COMMENT ON COLUMN llm_metrics_providers.check_duration_seconds IS 'Response time of the latest check.';
COMMENT ON COLUMN llm_metrics_providers.uptime_ratio IS 'Share of recent checks that it answered, 0 to 1.';
COMMENT ON COLUMN llm_metrics_providers.last_success_timestamp_seconds IS 'When a check or a request last succeeded, in seconds since 1970.';

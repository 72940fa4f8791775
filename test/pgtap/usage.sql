-- The usage functions: their columns, calendars, rights and arithmetic, what they
-- refuse, the recommendation, and the views for exporters. That the writer keeps
-- what they read is tested with it, in test/t/580_usage.pl.

BEGIN;
SELECT plan(85);
SET TimeZone = 'UTC';

-- What the functions return
SELECT set_eq($$
	SELECT p.proname::text COLLATE "default", string_agg(a.name || ' ' || format_type(a.type, NULL), ', ' ORDER BY a.i)
	FROM pg_proc p, unnest(p.proargnames, p.proallargtypes, p.proargmodes) WITH ORDINALITY AS a (name, type, mode, i)
	WHERE p.proname ~ '^llm_(usage_(summary|by_|over_time|recent)|recommend)' AND a.mode = 'o'
	GROUP BY p.proname
$$, $$
	WITH measures (list) AS (VALUES (
		'calls bigint, cost_usd numeric, byok_cost_usd numeric, average_cost_usd numeric, cost_per_1k_tokens numeric, '
		'unknown_cost_calls bigint, errors bigint, error_rate numeric, fallbacks bigint, fallback_rate numeric, '
		'input_tokens bigint, cached_input_tokens bigint, cache_write_tokens bigint, output_tokens bigint, reasoning_tokens bigint, '
		'cache_rate numeric, p50_ms integer, p95_ms integer'))
	SELECT name, format(columns, list) FROM measures, (VALUES
		('llm_recommend', 'level text, provider text, model text, calls bigint, success_rate numeric, p50_ms integer, p95_ms integer, '
			'cost_per_1k_tokens numeric, fallbacks bigint, taken_over bigint, cost_usd numeric, rules text[], '
			'suggested_model text, saving_usd numeric, advice text'),
		('llm_usage_by_model', 'provider_name text, model text, %s, cost_share numeric'),
		('llm_usage_by_power_level', 'level text, %s, cost_share numeric'),
		('llm_usage_by_provider', 'provider_name text, %s, cost_share numeric'),
		('llm_usage_by_user', 'user_id text, subscription_tier text, calls bigint, active_days bigint, cost_usd numeric, byok_cost_usd numeric, '
			'input_tokens bigint, output_tokens bigint, errors bigint, error_rate numeric, previous_calls bigint, trend numeric, '
			'last_seen timestamp with time zone, lapsed boolean'),
		('llm_usage_over_time', 'starts timestamp with time zone, stops timestamp with time zone, %s'),
		('llm_usage_recent', 'created_at timestamp with time zone, request_id uuid, attempt integer, user_id text, provider_name text, model text, '
			'level text, status text, error_code text, is_final boolean, attempts integer, input_tokens integer, cached_input_tokens integer, '
			'output_tokens integer, total_cost numeric, response_time_ms integer, used_byok boolean, tags jsonb'),
		('llm_usage_summary', 'begins timestamp with time zone, ends timestamp with time zone, %s, quota_used numeric')
	) AS f (name, columns)
$$, 'the functions return the documented columns');

-- Percentiles
SELECT is(llm_latency_percentile('{}', 0.5), NULL, 'no calls have no percentile');
SELECT is(round(llm_latency_percentile(llm_latency_histogram('{1000,1000,1000,1000}'), 0.5)), 939::float8,
	'a percentile lies within its element, half way on the scale of logarithms');
SELECT ok(llm_latency_percentile(h, 0.5) BETWEEN 500 / 1.19 AND 500 * 1.19 AND llm_latency_percentile(h, 0.95) BETWEEN 950 / 1.19 AND 950 * 1.19
	AND llm_latency_percentile(h, 0) <= llm_latency_percentile(h, 1), 'percentiles are right to a factor of 2^(1/4)')
FROM llm_latency_histogram((SELECT array_agg(i) FROM generate_series(1, 1000) AS i)) AS h;
SELECT throws_ok('SELECT llm_latency_percentile(''{1}'', ''NaN'')', '22023', 'percentile NaN is not between 0 and 1', 'NaN is refused as a share');
SELECT throws_ok('SELECT llm_latency_percentile(''{1}'', 95)', '22023', 'percentile 95 is not between 0 and 1', '… and a percentage');
SELECT is((SELECT llm_latency_histogram_sum(h) FROM (VALUES ('{1,2}'::bigint[]), ('{0,0,3}'), (NULL), ('{}'), ('{4,NULL,5}')) AS v (h)), '{5,2,8}'::bigint[],
	'histograms add up, whatever their lengths');

-- Ledger rows, with what the writer adds to the sums for them.
CREATE FUNCTION pg_temp.seed(at timestamptz, user_id text, provider text, model text, power_level text DEFAULT 'eco', status text DEFAULT 'ok',
	n integer DEFAULT 1, cost numeric DEFAULT 0.001, ms integer DEFAULT 100, input integer DEFAULT 100, output integer DEFAULT 10, cached integer DEFAULT 0,
	byok boolean DEFAULT false, fallbacks integer DEFAULT 0)
RETURNS void LANGUAGE sql AS $$
	INSERT INTO llm_usage_rollup AS r (bucket, user_id, provider, model, power_level, used_byok, status, requests, attempts, fallbacks, errors,
		input_tokens, cached_input_tokens, output_tokens, total_cost, latency_sum_ms, latency_histogram)
	SELECT date_bin('15 minutes', $1, 'epoch'), $2, $3, $4, $5, byok, $6, n, n, $14, CASE WHEN $6 = 'ok' THEN 0 ELSE n END,
		input * n, cached * n, output * n, cost * n, ms * n, llm_latency_histogram(array_fill(ms, ARRAY[n]))
	ON CONFLICT (bucket, user_id, provider, model, power_level, used_byok, status, subscription_tier) DO UPDATE SET requests = r.requests + excluded.requests;
	INSERT INTO llm_usage_totals AS r (whole_day, bucket, provider, model, power_level, used_byok, status, requests, attempts, fallbacks, errors,
		input_tokens, cached_input_tokens, output_tokens, total_cost, latency_sum_ms, latency_histogram)
	SELECT d, date_bin(CASE WHEN d THEN '1 day' ELSE '15 minutes' END::interval, $1, 'epoch'), $3, $4, $5, byok, $6, n, n, $14, CASE WHEN $6 = 'ok' THEN 0 ELSE n END,
		input * n, cached * n, output * n, cost * n, ms * n, llm_latency_histogram(array_fill(ms, ARRAY[n]))
	FROM (VALUES (false), (true)) AS g (d)
	ON CONFLICT (whole_day, bucket, provider, model, power_level, used_byok, status) DO UPDATE SET (requests, attempts, fallbacks, errors, input_tokens,
		cached_input_tokens, output_tokens, total_cost, latency_sum_ms, latency_histogram) = (r.requests + excluded.requests, r.attempts + excluded.attempts,
		r.fallbacks + excluded.fallbacks, r.errors + excluded.errors, r.input_tokens + excluded.input_tokens,
		r.cached_input_tokens + excluded.cached_input_tokens, r.output_tokens + excluded.output_tokens, r.total_cost + excluded.total_cost,
		r.latency_sum_ms + excluded.latency_sum_ms, llm_latency_histogram_add(r.latency_histogram, excluded.latency_histogram));
$$;

-- Without any calls
SELECT results_eq('SELECT calls, cost_usd, error_rate, p95_ms, quota_used FROM llm_usage_summary()', $$ VALUES (0::bigint, 0::numeric, NULL::numeric, NULL::integer, NULL::numeric) $$,
	'an empty ledger has a summary');
SELECT is_empty('SELECT * FROM llm_usage_by_model()', '… and no models');
SELECT ok(count(*) >= 1 AND sum(calls) = 0, '… and a series of zeros') FROM llm_usage_over_time('year', since => '2025-01-01');
SELECT is((SELECT count(*) FROM llm_usage_recent()), 0::bigint, '… and nothing recent');
SELECT is((SELECT count(*) FROM llm_usage_export('csv')), 1::bigint, '… and an export of one line, the names');
SELECT is((SELECT count(*) FROM llm_usage_export('json')), 0::bigint, '… or none');

-- Calendar periods to date, in any time zone: a call in each quarter of an hour of
-- 500 days.
SELECT pg_temp.seed(t, 'clock', 'groq', 'each-quarter') FROM generate_series(date_bin('15 minutes', now(), 'epoch') - interval '500 days', now(), interval '15 minutes') AS t;
ANALYZE llm_usage_totals, llm_usage_rollup;
CREATE FUNCTION pg_temp.differs(zone text, period text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('TimeZone', zone, true);
	RETURN (SELECT (begins, ends, calls) IS DISTINCT FROM (date_trunc(period, now()), now(),
			(SELECT count(*) FROM llm_usage_rollup WHERE bucket >= date_trunc(period, now()) AND bucket < now()))
		FROM llm_usage_summary(period));
END $$;
SELECT is_empty($$
	SELECT zone, period FROM unnest('{UTC,Europe/Berlin,Asia/Kolkata,Asia/Kathmandu,America/St_Johns,Pacific/Kiritimati,Pacific/Pago_Pago,Australia/Lord_Howe}'::text[]) AS zone,
		unnest('{week,month,quarter,year}'::text[]) AS period
	WHERE pg_temp.differs(zone, period)
$$, 'a period begins where the calendar of the session''s time zone has it, and ends now');
SET TimeZone = 'UTC';
SELECT is_empty($$
	SELECT a, b FROM (SELECT now() - i * interval '7 hours 15 minutes' AS a, now() - j * interval '9 hours 45 minutes' AS b FROM generate_series(0, 12) AS i, generate_series(0, 12) AS j) AS r
	WHERE a < b AND (SELECT calls FROM llm_usage_summary(since => a, until => b)) <> (
		SELECT count(*) FROM llm_usage_rollup WHERE bucket >= date_bin('15 minutes', a, 'epoch') AND bucket < b)
$$, 'any other time counts whole quarters of an hour, with days in its middle or without');
SELECT results_eq($$ SELECT begins, ends FROM llm_usage_summary('month', until => '2026-03-01 00:00+00') $$,
	$$ VALUES ('2026-02-01 00:00+00'::timestamptz, '2026-03-01 00:00+00'::timestamptz) $$, 'until alone: the period that ends there');
SELECT results_eq($$ SELECT begins, ends, calls FROM llm_usage_summary(since => '2026-03-01 00:00+00', until => '2026-03-01 00:00+00') $$,
	$$ VALUES ('2026-03-01 00:00+00'::timestamptz, '2026-03-01 00:00+00'::timestamptz, 0::bigint) $$, 'no time at all is an empty period');

-- Series
SELECT pg_temp.seed(t, 'dst', 'groq', 'dst') FROM generate_series('2024-03-30 00:00+00'::timestamptz, '2024-04-08 00:00+00', interval '15 minutes') AS t;
SELECT pg_temp.seed(t, 'dst', 'groq', 'dst') FROM generate_series('2024-10-24 00:00+00'::timestamptz, '2024-11-05 00:00+00', interval '15 minutes') AS t;
-- What a day's hours add up to, and whether its series has no gap and no overlap.
CREATE FUNCTION pg_temp.day(zone text, day text, OUT hours bigint, OUT lasts interval, OUT calls numeric, OUT gaps bigint) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('TimeZone', zone, true);
	SELECT count(*), sum(stops - starts), sum(t.calls), count(*) FILTER (WHERE starts <> previous)
	INTO hours, lasts, calls, gaps
	FROM (SELECT s.*, lag(stops) OVER (ORDER BY starts) AS previous FROM llm_usage_over_time('week', since => day::timestamptz, until => (day::date + 1)::timestamptz) AS s) AS t;
END $$;
SELECT results_eq($$ SELECT zone, d.* FROM (VALUES
		('Europe/Berlin', '2024-03-31'), ('Europe/Berlin', '2024-10-27'), ('America/New_York', '2024-11-03'), ('Australia/Lord_Howe', '2024-04-07'),
		('Asia/Kathmandu', '2024-04-01'), ('America/St_Johns', '2024-11-03')) AS v (zone, day), pg_temp.day(zone, day) AS d $$,
	$$ VALUES ('Europe/Berlin', 23::bigint, interval '23:00', 92::numeric, 0::bigint), ('Europe/Berlin', 25, '25:00', 100, 0), ('America/New_York', 25, '25:00', 100, 0),
		('Australia/Lord_Howe', 25, '24:30', 98, 0), ('Asia/Kathmandu', 24, '24:00', 96, 0), ('America/St_Johns', 25, '25:00', 100, 0) $$,
	'days of 23, 24, 24.5 and 25 hours, by hours of local time');
SET TimeZone = 'Pacific/Apia';
SELECT results_eq($$ SELECT starts::date FROM llm_usage_over_time('month', since => '2011-12-29', until => '2012-01-01') $$,
	$$ VALUES ('2011-12-29'::date), ('2011-12-31') $$, 'a day that a time zone left out is not in its series');
SET TimeZone = 'Africa/Cairo';
SELECT results_eq($$ SELECT starts, stops - starts FROM llm_usage_over_time('month', since => '2024-04-25', until => '2024-04-28') $$,
	$$ VALUES ('2024-04-25 00:00+02'::timestamptz, interval '1 day'), ('2024-04-26 01:00+03', '23:00'), ('2024-04-27 00:00+03', '1 day') $$,
	'a day that has no midnight begins with its first moment');
SET TimeZone = 'Europe/Berlin';
SELECT is_empty($$
	SELECT period FROM (VALUES ('week', '2024-10-24', '2024-11-01', 193), ('month', '2024-10-24', '2024-11-05', 12), ('quarter', '2024-10-07', '2024-11-04', 4), ('year', '2024-01-01', '2025-01-01', 12)) AS v (period, since, until, n),
	LATERAL (SELECT count(*) AS n, sum(calls) AS calls, min(starts) AS since, max(stops) AS until FROM llm_usage_over_time(period, since => v.since::timestamptz, until => v.until::timestamptz)) AS s
	WHERE (s.n, s.since, s.until) <> (v.n, v.since::timestamptz, v.until::timestamptz)
	   OR s.calls <> (SELECT calls FROM llm_usage_summary(period, since => v.since::timestamptz, until => v.until::timestamptz))
$$, 'hours, days, weeks and months, from since to until, add up to the summary');
SELECT results_eq($$ SELECT starts, stops FROM llm_usage_over_time('month', since => '2024-05-01 10:07', until => '2024-05-02 11:20') $$,
	$$ VALUES ('2024-05-01 10:00'::timestamptz, '2024-05-02 00:00'::timestamptz), ('2024-05-02 00:00', '2024-05-02 11:30') $$,
	'the ends of a series are whole quarters of an hour');
SET TimeZone = 'UTC';
SELECT throws_ok($$ SELECT * FROM llm_usage_over_time('week', since => '2020-01-01') $$, '22023', 'the series would have more than 10,000 points', 'a series has an end');

-- Measures
DELETE FROM llm_usage_rollup;
DELETE FROM llm_usage_totals;
SELECT pg_temp.seed(now(), 'ann', 'groq', 'a', 'eco', 'ok', 8, 0.5, 100, 1000, 500, 250);
SELECT pg_temp.seed(now(), 'ann', 'groq', 'a', 'eco', 'error', 2, 0, 9000, 0, 0);
SELECT pg_temp.seed(now(), 'bob', 'openai', 'b', 'balanced', 'ok', 10, 1, 400, 100, 100, byok => true, fallbacks => 5);
SELECT results_eq($$ SELECT calls, cost_usd, byok_cost_usd, average_cost_usd, cost_per_1k_tokens, errors, error_rate, fallbacks, fallback_rate,
		input_tokens, cached_input_tokens, output_tokens, cache_rate FROM llm_usage_summary() $$,
	$$ VALUES (20::bigint, 14::numeric, 10::numeric, 0.7::numeric, 1::numeric, 2::bigint, 10.00::numeric, 5::bigint, 25.00::numeric,
		9000::bigint, 2000::bigint, 5000::bigint, 22.22::numeric) $$, 'a summary');
SELECT ok(p50_ms BETWEEN 340 AND 480 AND p95_ms BETWEEN 340 AND 480, '… with the latency of answers, whatever failures took') FROM llm_usage_summary();
SELECT results_eq('SELECT provider_name, model, calls, cost_share FROM llm_usage_by_model()',
	$$ VALUES ('openai', 'b', 10::bigint, 71.43::numeric), ('groq', 'a', 10, 28.57) $$, 'by model, the dearest first');
SELECT results_eq('SELECT provider_name, calls, error_rate FROM llm_usage_by_provider()', $$ VALUES ('openai', 10::bigint, 0.00), ('groq', 10, 20.00) $$, 'by provider');
SELECT results_eq('SELECT level, calls FROM llm_usage_by_power_level()', $$ VALUES ('balanced', 10::bigint), ('eco', 10) $$, 'by power level');
SELECT results_eq($$ SELECT f.calls, t.calls FROM llm_usage_summary('week', 'groq') AS f, llm_usage_summary(power_level => 'balanced') AS t $$,
	$$ VALUES (10::bigint, 10::bigint) $$, 'of a provider, and of a level');
SELECT is((SELECT sum(calls) FROM llm_usage_over_time('week', 'groq', 'eco')), 10::numeric, '… as a series too');
SELECT is_empty($$ SELECT * FROM llm_usage_by_model('month', 'openai', 'eco') $$, 'both have to fit');

-- Users
SELECT pg_temp.seed(date_trunc('month', now()) - interval '1 month', 'ann', 'groq', 'a', n => 5);
SELECT pg_temp.seed(date_trunc('month', now()) - interval '1 month', 'lost', 'groq', 'a');
SELECT pg_temp.seed(date_trunc('month', now()) - interval '5 months', 'long-lost', 'groq', 'a');
INSERT INTO llm_users (user_id, subscription_tier) VALUES ('lost', 'professional');
SELECT results_eq('SELECT user_id, subscription_tier, calls, active_days, cost_usd, previous_calls, trend, last_seen, lapsed FROM llm_usage_by_user()',
	$$ VALUES ('bob', NULL, 10::bigint, 1::bigint, 10::numeric, 0::bigint, NULL::numeric, date_bin('15 minutes', now(), 'epoch'), false),
		('ann', NULL, 10, 1, 4, 5, 100.00, date_bin('15 minutes', now(), 'epoch'), false),
		('lost', 'professional', 0, 0, 0, 1, -100.00, date_trunc('month', now()) - interval '1 month', true) $$,
	'users of this month and the one before, with those who are lost');
SELECT is((SELECT calls FROM llm_usage_by_user('month', 'groq') WHERE user_id = 'ann'), 10::bigint, '… of a provider');

-- Budgets
CREATE ROLE ann;
CREATE ROLE bob;
CREATE ROLE adm;
SELECT llm_grant('ann', 'user'), llm_grant('bob', 'user'), llm_grant('adm', 'administrator');
INSERT INTO llm_budgets (scope, scope_value, period, limit_usd, limit_requests) VALUES ('user', 'ann', 'month', 10, 1000), ('user', 'bob', 'month', 1, NULL), ('total', NULL, 'day', 1, NULL);
INSERT INTO llm_budgets (scope, period, limit_tokens, enabled) VALUES ('each_user', 'month', 1, false);
SET ROLE ann;
SELECT is(llm_usage_quota(), 40.00, 'of several limits the tightest counts');
SET ROLE bob;
SELECT is(quota_used, 0.00, 'users'' own keys use no budget') FROM llm_usage_summary();
RESET ROLE;
INSERT INTO llm_budgets (scope, scope_value, period, limit_requests) VALUES ('each_user', 'enterprise', 'day', 0);
SET ROLE bob;
SELECT is(llm_usage_quota(), 100.00, 'a limit of nothing is used up; a budget of each user of a tier holds for a role of it');

-- Rights
SELECT results_eq('SELECT calls, cost_usd FROM llm_usage_summary()', $$ VALUES (10::bigint, 10::numeric) $$, 'a user''s summary is of the own calls');
SELECT results_eq('SELECT provider_name FROM llm_usage_by_provider()', $$ VALUES ('openai') $$, '… and so is all else');
SELECT is((SELECT sum(calls) FROM llm_usage_over_time()), 10::numeric, '… the series');
SELECT is((SELECT count(*) FROM llm_usage_totals), 0::bigint, 'the totals show a user nothing');
SELECT throws_ok('SELECT * FROM llm_usage_by_user()', '42501', NULL, 'other users are for administrators');
SELECT throws_ok('SELECT * FROM llm_recommend()', '42501', NULL, '… and recommendations');
SELECT throws_ok('SELECT * FROM llm_metrics_usage', '42501', NULL, '… and metrics');
SELECT throws_ok('SELECT * FROM llm_usage_budgets(''ann'', ''free'')', '42501', NULL, 'nobody asks for the budgets of others');
SET ROLE adm;
SELECT is((SELECT calls FROM llm_usage_summary()), 20::bigint, 'an administrator''s summary is everybody''s');
SELECT is((SELECT count(*) FROM llm_usage_by_user()), 3::bigint, '… who sees the users');
RESET ROLE;

-- Rows of the ledger
CREATE TABLE llm_usage_logs_test (LIKE llm_usage_logs);
ALTER TABLE llm_usage_logs_test ADD PRIMARY KEY (created_at, request_id, attempt, user_id);
ALTER TABLE llm_usage_logs ATTACH PARTITION llm_usage_logs_test FOR VALUES FROM (now() - interval '1 year') TO (now() + interval '1 day');
INSERT INTO llm_usage_logs (id, request_id, attempt, user_id, provider, model, power_level, total_cost, status, is_final, tags, created_at)
SELECT i, gen_random_uuid(), 1, (ARRAY['=HYPERLINK("x")', 'ann', E'two\nlines, "quoted"', '', '-1', 'ann'])[i], 'groq', '+model', 'eco', 0.5, 'ok', true,
	CASE i WHEN 2 THEN '{"a": "b,\"c"}'::jsonb END, date_trunc('month', now()) + i * interval '1 microsecond'
FROM generate_series(1, 6) AS i;
SELECT results_eq('SELECT created_at, user_id FROM llm_usage_recent() LIMIT 2',
	$$ VALUES (date_trunc('month', now()) + interval '6 microseconds', 'ann'), (date_trunc('month', now()) + interval '5 microseconds', '-1') $$, 'recent rows, the newest first');
SELECT is((SELECT count(*) FROM llm_usage_recent('week', 'groq', 'precision')), 0::bigint, '… of a level');
SELECT results_eq($$ SELECT (line::jsonb) - 'created_at' FROM llm_usage_export('json') AS line $$, $$ SELECT to_jsonb(l) - 'created_at' FROM llm_usage_logs l ORDER BY created_at $$,
	'an export as JSON holds every column of every row');
SELECT is((SELECT string_agg(split_part(line, ',', 4), '|') FROM llm_usage_export('csv') AS line), E'user_id|"\'=HYPERLINK(""x"")"|ann|"two\nlines|""|\'-1|ann',
	'CSV is quoted by RFC 4180, and nothing is a formula');
SELECT ok(strpos(line, ',groq,''+model,') > 0 AND strpos(line, ',"{""a"": ""b,\""c""}",') > 0
	AND right(line, 32) = to_char(date_trunc('month', now()), 'YYYY-MM-DD') || 'T00:00:00.000002+00:00', '… with tags and ISO times, in any DateStyle')
FROM (SELECT set_config('DateStyle', 'German', true)) AS s, llm_usage_export('csv') AS line WHERE line LIKE '2,%';
SET DateStyle = ISO;
SELECT is((SELECT array_length(regexp_split_to_array(line, ','), 1) FROM llm_usage_export('csv') AS line LIMIT 1),
	(SELECT count(*)::integer FROM pg_attribute WHERE attrelid = 'llm_usage_logs'::regclass AND attnum > 0 AND NOT attisdropped), 'the first line has a name for each column');
SELECT results_eq($$ SELECT llm_usage_export('csv') $$, $$ SELECT * FROM llm_usage_export('csv') $$, 'the same in a target list');
SET ROLE ann;
SELECT is((SELECT count(*) FROM llm_usage_export('json')), 2::bigint, 'a user exports the own rows');
SELECT is((SELECT array_agg(user_id) FROM llm_usage_recent()), '{ann,ann}'::text[], '… and sees the own recent ones');
RESET ROLE;

-- What is refused
SELECT throws_ok(format('SELECT * FROM %s', call), '22023', message, call) FROM (VALUES
	('llm_usage_summary(''decade'')', 'unknown period "decade"'),
	('llm_usage_summary(NULL)', 'unknown period "NULL"'),
	('llm_usage_by_model('''')', 'unknown period ""'),
	('llm_usage_by_provider(''month'', ''nobody'')', 'unknown provider "nobody"'),
	('llm_usage_by_power_level(power_level => ''fast'')', 'unknown power level "fast"'),
	('llm_usage_over_time(since => ''infinity'')', 'since and until have to lie in the years 1 to 9999'),
	('llm_usage_summary(until => ''294276-12-31'')', 'since and until have to lie in the years 1 to 9999'),
	('llm_usage_recent(until => ''-infinity'')', 'since and until have to lie in the years 1 to 9999'),
	('llm_usage_by_user(since => ''2026-01-02'', until => ''2026-01-01'')', 'since is after until'),
	('llm_usage_summary(since => now() + interval ''1 day'')', 'since is after until'),
	('llm_usage_export(''xml'')', 'unknown format "xml"'),
	('llm_usage_export(NULL)', 'unknown format "NULL"'),
	('llm_usage_export(''csv'', ''moth'')', 'unknown period "moth"'),
	('llm_recommend(''fast'')', 'unknown power level "fast"'),
	('llm_recommend(period => ''hour'')', 'unknown period "hour"')) AS v (call, message);
SELECT lives_ok($$ DELETE FROM llm_providers WHERE name = 'groq'; SELECT * FROM llm_usage_summary('month', 'groq') $$, 'a provider of the ledger may be asked for when it is gone');

-- Recommendation
DELETE FROM llm_usage_rollup;
DELETE FROM llm_usage_totals;
DELETE FROM llm_routing_rules;
SELECT llm_provider_add('sim', 'https://sim.example.com/v1');
SELECT llm_model_add('sim', 'dear', 'eco', 10, 20, max_tokens => 1000, supports_functions => true, supports_vision => false, supports_json_schema => false),
	llm_model_add('sim', 'cheap', 'eco', 1, 2, max_tokens => 1000, supports_functions => true),
	llm_model_add('sim', 'unable', 'eco', 0.1, 0.1, max_tokens => 1000, supports_functions => false),
	llm_model_add('sim', 'short', 'eco', 0.1, 0.1, max_tokens => 999, supports_functions => true),
	llm_model_add('sim', 'shaky', 'eco', 0.1, 0.1, max_tokens => 1000, supports_functions => true),
	llm_model_add('sim', 'rare', 'eco', 0.1, 0.1, max_tokens => 1000, supports_functions => true),
	llm_model_add('sim', 'off', 'eco', 0.1, 0.1, max_tokens => 1000, supports_functions => true);
UPDATE llm_models SET enabled = false WHERE model_name = 'off';
INSERT INTO llm_routing_rules (power_level, subscription_tier, priority, model_id, fallback_model_id) VALUES
	('eco', 'professional', 1, llm_model_id('sim', 'dear'), llm_model_id('sim', 'cheap')),
	('eco', 'free', 1, llm_model_id('sim', 'dear'), NULL);
-- 100 calls of 1,000 and 100 tokens: $1.20 of dear, $0.12 of cheap.
SELECT pg_temp.seed(now(), 'ann', 'sim', 'dear', n => 100, cost => 0.012, input => 1000, output => 100);
SELECT pg_temp.seed(now(), 'ann', 'sim', model, n => n, cost => 0.0012, input => 1000, output => 100)
FROM (VALUES ('cheap', 99), ('unable', 100), ('short', 100), ('shaky', 98), ('rare', 98), ('off', 100)) AS v (model, n);
SELECT pg_temp.seed(now(), 'ann', 'sim', 'shaky', status => 'error', n => 2, cost => 0);
SELECT is((SELECT count(*) FROM llm_recommend() WHERE suggested_model IS NOT NULL), 0::bigint, 'with fewer than 100 calls, abilities that lack, or more failures, nothing is suggested');
SELECT is((SELECT advice FROM llm_recommend('eco') WHERE model = 'cheap'), 'Too few calls to judge: 99, of 100.', '… and it says so');
SELECT is((SELECT advice FROM llm_recommend('eco') WHERE model = 'dear'),
	'Keep it: no other model with 100 calls at this level can do as much, succeeds as often (within 1 points) and costs 5 % less.', '… for each model');
SELECT pg_temp.seed(now(), 'ann', 'sim', 'cheap', status => 'error', n => 1, cost => 0.0012, input => 1000, output => 100);
SELECT results_eq($$ SELECT provider, model, calls, rules, suggested_model, saving_usd FROM llm_recommend('eco') WHERE suggested_model IS NOT NULL $$,
	$$ VALUES ('sim', 'dear', 100::bigint, '{eco/free/1,eco/professional/1}'::text[], 'sim/cheap', 1.08::numeric) $$, 'one failure more in a hundred is within the margin');
SELECT matches((SELECT advice FROM llm_recommend('eco') WHERE model = 'dear'),
	'^In rules eco/free/1, eco/professional/1 \(level/tier/priority\), change the model from sim/dear to sim/cheap: the tokens of these 100 calls would have cost \$0\.12 instead of \$1\.20, '
	'\$1\.08 \(90\.0 %\) less, from \d{4}-\d\d-01 to .* It succeeded in 99\.00 % of 100 calls instead of 100\.00 %, with a p95 of \d+ ms instead of \d+ ms, .* '
	'It is the fallback of eco/professional/1 now: let the two change places\.$', 'the advice has the rules, the models and the numbers');
-- A model after it in a tier's rules took over: its own failures, perhaps.
INSERT INTO llm_routing_rules (power_level, subscription_tier, priority, model_id) VALUES ('eco', 'professional', 2, llm_model_id('sim', 'rare'));
SELECT pg_temp.seed(now() - interval '0', 'zoe', 'sim', 'rare', n => 1, status => 'partial', cost => 0, fallbacks => 1);
SELECT results_eq($$ SELECT model, taken_over, suggested_model FROM llm_recommend('eco') WHERE model IN ('cheap', 'dear') ORDER BY model $$,
	$$ VALUES ('cheap', 1::bigint, NULL), ('dear', 1, NULL) $$, 'requests that a later model took over count against what is to be suggested');
SELECT pg_temp.seed(now(), 'ann', 'sim', 'free', 'balanced', byok => true, n => 500);
SELECT is((SELECT count(*) FROM llm_recommend('balanced')), 0::bigint, 'users'' own keys do not count');

-- Metrics
SELECT results_eq($$ SELECT status, requests_total, cost_usd_total, request_duration_seconds_total FROM llm_metrics_usage WHERE model = 'shaky' ORDER BY 1 $$,
	$$ VALUES ('error', 2::bigint, 0::float8, 0.2::float8), ('ok', 98, 0.1176, 9.8) $$, 'counters');
SELECT results_eq($$ SELECT le, request_duration_seconds_bucket FROM llm_metrics_latency WHERE model = 'shaky' AND le IN ('0.016', '0.064', '0.128', '524.288', '+Inf') ORDER BY 2, le COLLATE "C" $$,
	$$ VALUES ('0.016', 0::bigint), ('0.064', 0), ('+Inf', 98), ('0.128', 98), ('524.288', 98) $$, 'a histogram of answers, added up from below');
SELECT results_eq($$ SELECT up, enabled FROM llm_metrics_providers WHERE provider = 'sim' $$, $$ VALUES (NULL::integer, 1) $$, 'gauges of providers');
SELECT columns_are('llm_metrics_usage', '{provider,model,power_level,used_byok,status,requests_total,fallbacks_total,input_tokens_total,cached_input_tokens_total,cache_write_tokens_total,output_tokens_total,reasoning_tokens_total,cost_usd_total,unknown_cost_requests_total,request_duration_seconds_total}');
SELECT columns_are('llm_metrics_latency', '{provider,model,power_level,le,request_duration_seconds_bucket}');
SELECT columns_are('llm_metrics_providers', '{provider,health_status,up,enabled,check_duration_seconds,uptime_ratio,last_success_timestamp_seconds}');
CREATE ROLE exporter;
GRANT SELECT ON llm_metrics_usage, llm_metrics_latency, llm_metrics_providers TO exporter;
SET ROLE exporter;
SELECT ok((SELECT count(*) FROM llm_metrics_usage) > 0 AND (SELECT count(*) FROM llm_metrics_latency) > 0 AND (SELECT count(*) FROM llm_metrics_providers) > 0,
	'an exporter needs no other privilege');
RESET ROLE;

SELECT * FROM finish();
ROLLBACK;

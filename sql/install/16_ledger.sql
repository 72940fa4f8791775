-- The ledger: what every request used and cost.
--
-- The parent has no key, index, NOT NULL or other constraint and no foreign
-- keys: partitions, which the ledger writer makes with keys and indexes of their
-- own, are not members of the extension, and only to such a parent can a dump
-- attach them again. Names of provider and model stand in the row, so it outlives
-- both.

CREATE SEQUENCE llm_usage_logs_id_seq;
COMMENT ON SEQUENCE llm_usage_logs_id_seq IS 'Numbers of ledger rows.';

CREATE TABLE llm_usage_logs (
	id					bigint,
	request_id			uuid,
	attempt				integer,
	user_id				text,
	role_name			text,
	provider			text,
	model				text,
	provider_id			integer,
	model_id			integer,
	power_level			text,
	subscription_tier	text,
	input_tokens		integer,
	cached_input_tokens	integer,
	cache_write_tokens	integer,
	output_tokens		integer,
	reasoning_tokens	integer,
	price_input			numeric(20,12),
	price_cached_input	numeric(20,12),
	price_cache_write	numeric(20,12),
	price_output		numeric(20,12),
	total_cost			numeric(32,15),
	estimated_cost		numeric(32,15),
	estimated_tokens	bigint,
	cost_source			text,
	response_time_ms	integer,
	used_byok			boolean,
	status				text,
	http_status			integer,
	error_code			text,
	finish_reason		text,
	is_final			boolean,
	attempts			integer,
	tags				jsonb,
	provider_request_id	text,
	created_at			timestamptz
) PARTITION BY RANGE (created_at);
ALTER TABLE llm_usage_logs ENABLE ROW LEVEL SECURITY;
-- Administrators are the roles that may manage providers. Sub-selects are
-- evaluated once a query rather than once a row.
CREATE POLICY llm_usage_logs_administrators ON llm_usage_logs FOR SELECT
	USING ((SELECT has_table_privilege('llm_providers'::regclass, 'UPDATE')));
CREATE POLICY llm_usage_logs_own ON llm_usage_logs FOR SELECT
	USING (user_id = (SELECT llm_user_id()));
COMMENT ON TABLE llm_usage_logs IS
	'The ledger: one row a request (is_final), and one for each earlier attempt that cost money. Written by the ledger writer.';
COMMENT ON COLUMN llm_usage_logs.id IS 'Number of the row.';
COMMENT ON COLUMN llm_usage_logs.request_id IS 'The request, as in the answer.';
COMMENT ON COLUMN llm_usage_logs.attempt IS 'Which attempt of the request this row is for, from 1.';
COMMENT ON COLUMN llm_usage_logs.user_id IS 'The user for whom the request was made.';
COMMENT ON COLUMN llm_usage_logs.role_name IS 'The role that made it.';
COMMENT ON COLUMN llm_usage_logs.provider IS 'Name of the provider at the time.';
COMMENT ON COLUMN llm_usage_logs.model IS 'Name of the model at the time.';
COMMENT ON COLUMN llm_usage_logs.provider_id IS 'Number of the provider; it may be deleted by now.';
COMMENT ON COLUMN llm_usage_logs.model_id IS 'Number of the model; it may be deleted by now.';
COMMENT ON COLUMN llm_usage_logs.power_level IS 'Power level at which the request was served.';
COMMENT ON COLUMN llm_usage_logs.subscription_tier IS 'The user''s tier at the time.';
COMMENT ON COLUMN llm_usage_logs.input_tokens IS 'Tokens of the prompt, cached ones included; NULL: not known.';
COMMENT ON COLUMN llm_usage_logs.cached_input_tokens IS 'Of these, read from the provider''s cache.';
COMMENT ON COLUMN llm_usage_logs.cache_write_tokens IS 'Of these, written to the provider''s cache.';
COMMENT ON COLUMN llm_usage_logs.output_tokens IS 'Tokens of the answer, reasoning included; NULL: not known.';
COMMENT ON COLUMN llm_usage_logs.reasoning_tokens IS 'Of these, spent on reasoning.';
COMMENT ON COLUMN llm_usage_logs.price_input IS 'Price used, USD per 1,000 prompt tokens.';
COMMENT ON COLUMN llm_usage_logs.price_cached_input IS 'Price used, USD per 1,000 cached prompt tokens.';
COMMENT ON COLUMN llm_usage_logs.price_cache_write IS 'Price used, USD per 1,000 tokens written to the cache.';
COMMENT ON COLUMN llm_usage_logs.price_output IS 'Price used, USD per 1,000 tokens of the answer.';
COMMENT ON COLUMN llm_usage_logs.total_cost IS 'Cost in USD; NULL: unknown, 0: free.';
COMMENT ON COLUMN llm_usage_logs.estimated_cost IS 'The worst case in USD that was foreseen before the attempt.';
COMMENT ON COLUMN llm_usage_logs.estimated_tokens IS 'The most tokens, of prompt and answer, that were foreseen before the attempt.';
COMMENT ON COLUMN llm_usage_logs.cost_source IS
	'Where total_cost is from: prices (tokens and prices), provider (told by the provider), estimate (tokens estimated from what was received of a stream), free, or unknown.';
COMMENT ON COLUMN llm_usage_logs.response_time_ms IS 'Milliseconds from created_at to the end of the answer or the failure.';
COMMENT ON COLUMN llm_usage_logs.used_byok IS 'Whether the user''s own key was used.';
COMMENT ON COLUMN llm_usage_logs.status IS
	'ok, error (error_code says how), cancelled, partial (a stream that ended after a part of it was handed out; error_code says why), or unknown (the attempt was sent and its end was never recorded).';
COMMENT ON COLUMN llm_usage_logs.http_status IS 'HTTP status of the attempt; NULL: none was received.';
COMMENT ON COLUMN llm_usage_logs.error_code IS 'How a row with status error or partial failed; NULL for an answer.';
COMMENT ON COLUMN llm_usage_logs.finish_reason IS 'Why the answer ended: stop, length, tool_calls or content_filter.';
COMMENT ON COLUMN llm_usage_logs.is_final IS 'Whether the row closes the request; count requests by final rows, sum costs over all. NULL: under way, committed before it was sent (llm_router.record_intent).';
COMMENT ON COLUMN llm_usage_logs.attempts IS 'How many attempts had been made by then.';
COMMENT ON COLUMN llm_usage_logs.tags IS 'options.router.tags of the request.';
COMMENT ON COLUMN llm_usage_logs.provider_request_id IS 'The provider''s own number for the attempt, for its support.';
COMMENT ON COLUMN llm_usage_logs.created_at IS 'When the attempt began; the partition key.';

-- Kept in the transaction that writes the ledger. Updated in place, hence the
-- fillfactor.
CREATE TABLE llm_usage_rollup (
	bucket					timestamptz NOT NULL,
	user_id					text NOT NULL,
	provider				text NOT NULL,
	model					text NOT NULL,
	power_level				text NOT NULL,
	used_byok				boolean NOT NULL,
	status					text NOT NULL,
	subscription_tier		text NOT NULL DEFAULT '',
	requests				bigint NOT NULL DEFAULT 0,
	attempts				bigint NOT NULL DEFAULT 0,
	fallbacks				bigint NOT NULL DEFAULT 0,
	errors					bigint NOT NULL DEFAULT 0,
	input_tokens			bigint NOT NULL DEFAULT 0,
	cached_input_tokens		bigint NOT NULL DEFAULT 0,
	cache_write_tokens		bigint NOT NULL DEFAULT 0,
	output_tokens			bigint NOT NULL DEFAULT 0,
	reasoning_tokens		bigint NOT NULL DEFAULT 0,
	total_cost				numeric NOT NULL DEFAULT 0,
	unknown_cost_requests	bigint NOT NULL DEFAULT 0,
	unknown_cost_estimate	numeric NOT NULL DEFAULT 0,
	unknown_tokens_estimate	bigint NOT NULL DEFAULT 0,
	latency_sum_ms			bigint NOT NULL DEFAULT 0,
	latency_histogram		bigint[] NOT NULL DEFAULT '{}',

	PRIMARY KEY (bucket, user_id, provider, model, power_level, used_byok, status, subscription_tier),
	CONSTRAINT bucket_is_a_quarter_hour CHECK (date_bin('15 minutes', bucket, 'epoch') = bucket)
) WITH (fillfactor = 80);
CREATE INDEX llm_usage_rollup_user_id_bucket_idx ON llm_usage_rollup (user_id, bucket);
ALTER TABLE llm_usage_rollup ENABLE ROW LEVEL SECURITY;
CREATE POLICY llm_usage_rollup_administrators ON llm_usage_rollup FOR SELECT
	USING ((SELECT has_table_privilege('llm_providers'::regclass, 'UPDATE')));
CREATE POLICY llm_usage_rollup_own ON llm_usage_rollup FOR SELECT
	USING (user_id = (SELECT llm_user_id()));
COMMENT ON TABLE llm_usage_rollup IS
	'The ledger summed up by quarter of an hour, which serves calendar periods of every time zone.';
COMMENT ON COLUMN llm_usage_rollup.bucket IS 'Start of the quarter of an hour.';
COMMENT ON COLUMN llm_usage_rollup.user_id IS 'The user.';
COMMENT ON COLUMN llm_usage_rollup.provider IS 'The provider''s name.';
COMMENT ON COLUMN llm_usage_rollup.model IS 'The model''s name.';
COMMENT ON COLUMN llm_usage_rollup.power_level IS 'The power level.';
COMMENT ON COLUMN llm_usage_rollup.used_byok IS 'Whether the users'' own keys were used.';
COMMENT ON COLUMN llm_usage_rollup.status IS 'Status as in llm_usage_logs.';
COMMENT ON COLUMN llm_usage_rollup.subscription_tier IS 'The user''s tier at the time.';
COMMENT ON COLUMN llm_usage_rollup.requests IS 'Requests that ended here.';
COMMENT ON COLUMN llm_usage_rollup.attempts IS 'Attempts of these requests.';
COMMENT ON COLUMN llm_usage_rollup.fallbacks IS 'Requests that were not answered by their first candidate.';
COMMENT ON COLUMN llm_usage_rollup.errors IS 'Requests that ended without an answer.';
COMMENT ON COLUMN llm_usage_rollup.input_tokens IS 'Tokens of prompts.';
COMMENT ON COLUMN llm_usage_rollup.cached_input_tokens IS 'Of these, read from caches.';
COMMENT ON COLUMN llm_usage_rollup.cache_write_tokens IS 'Of these, written to caches.';
COMMENT ON COLUMN llm_usage_rollup.output_tokens IS 'Tokens of answers.';
COMMENT ON COLUMN llm_usage_rollup.reasoning_tokens IS 'Of these, spent on reasoning.';
COMMENT ON COLUMN llm_usage_rollup.total_cost IS 'Known cost in USD, earlier attempts included.';
COMMENT ON COLUMN llm_usage_rollup.unknown_cost_requests IS 'Requests whose cost is unknown.';
COMMENT ON COLUMN llm_usage_rollup.unknown_cost_estimate IS 'The worst case of what was not known, in USD: what budgets count for it.';
COMMENT ON COLUMN llm_usage_rollup.unknown_tokens_estimate IS 'The worst case of tokens that were not counted by anybody, though there may have been a cost.';
COMMENT ON COLUMN llm_usage_rollup.latency_sum_ms IS 'Sum of response times in milliseconds.';
COMMENT ON COLUMN llm_usage_rollup.latency_histogram IS
	'Requests by response time: element i counts those of 2^((i-1)/4) up to 2^(i/4) milliseconds; the first also takes 0, the 80th all longer ones. Missing elements are 0.';

-- The same without users, so that what everybody used in a year is summed up from
-- some thousand rows, however many calls there were: whole days for the middle
-- of a period, quarters of an hour for its ends, wherever a time zone puts them.
-- The writer makes them out of the rollup, see llm_usage_totals_close; what is
-- newer than llm_usage_horizon() is not in them yet.
CREATE TABLE llm_usage_totals (
	whole_day				boolean NOT NULL,
	bucket					timestamptz NOT NULL,
	provider				text NOT NULL,
	model					text NOT NULL,
	power_level				text NOT NULL,
	used_byok				boolean NOT NULL,
	status					text NOT NULL,
	requests				bigint NOT NULL DEFAULT 0,
	attempts				bigint NOT NULL DEFAULT 0,
	fallbacks				bigint NOT NULL DEFAULT 0,
	errors					bigint NOT NULL DEFAULT 0,
	input_tokens			bigint NOT NULL DEFAULT 0,
	cached_input_tokens		bigint NOT NULL DEFAULT 0,
	cache_write_tokens		bigint NOT NULL DEFAULT 0,
	output_tokens			bigint NOT NULL DEFAULT 0,
	reasoning_tokens		bigint NOT NULL DEFAULT 0,
	total_cost				numeric NOT NULL DEFAULT 0,
	unknown_cost_requests	bigint NOT NULL DEFAULT 0,
	latency_sum_ms			bigint NOT NULL DEFAULT 0,
	latency_histogram		bigint[] NOT NULL DEFAULT '{}',

	PRIMARY KEY (whole_day, bucket, provider, model, power_level, used_byok, status),
	CONSTRAINT bucket_is_a_day_or_a_quarter_hour
		CHECK (date_bin(CASE WHEN whole_day THEN '1 day' ELSE '15 minutes' END::interval, bucket, 'epoch') = bucket)
);
ALTER TABLE llm_usage_totals ENABLE ROW LEVEL SECURITY;
CREATE POLICY llm_usage_totals_administrators ON llm_usage_totals FOR SELECT
	USING ((SELECT has_table_privilege('llm_providers'::regclass, 'UPDATE')));
COMMENT ON TABLE llm_usage_totals IS
	'llm_usage_rollup without its users: everybody''s use by quarter of an hour, and again by day (UTC), up to llm_usage_horizon().';
COMMENT ON COLUMN llm_usage_totals.whole_day IS 'Whether the row is for a day of UTC; otherwise it is for a quarter of an hour. The two hold the same calls.';
COMMENT ON COLUMN llm_usage_totals.bucket IS 'Start of the quarter of an hour, or of the day in UTC.';
COMMENT ON COLUMN llm_usage_totals.provider IS 'The provider''s name.';
COMMENT ON COLUMN llm_usage_totals.model IS 'The model''s name.';
COMMENT ON COLUMN llm_usage_totals.power_level IS 'The power level.';
COMMENT ON COLUMN llm_usage_totals.used_byok IS 'Whether the users'' own keys were used.';
COMMENT ON COLUMN llm_usage_totals.status IS 'Status as in llm_usage_logs.';
COMMENT ON COLUMN llm_usage_totals.requests IS 'Requests that ended here.';
COMMENT ON COLUMN llm_usage_totals.attempts IS 'Attempts of these requests.';
COMMENT ON COLUMN llm_usage_totals.fallbacks IS 'Requests that were not answered by their first candidate.';
COMMENT ON COLUMN llm_usage_totals.errors IS 'Requests that ended without an answer.';
COMMENT ON COLUMN llm_usage_totals.input_tokens IS 'Tokens of prompts.';
COMMENT ON COLUMN llm_usage_totals.cached_input_tokens IS 'Of these, read from caches.';
COMMENT ON COLUMN llm_usage_totals.cache_write_tokens IS 'Of these, written to caches.';
COMMENT ON COLUMN llm_usage_totals.output_tokens IS 'Tokens of answers.';
COMMENT ON COLUMN llm_usage_totals.reasoning_tokens IS 'Of these, spent on reasoning.';
COMMENT ON COLUMN llm_usage_totals.total_cost IS 'Known cost in USD, earlier attempts included.';
COMMENT ON COLUMN llm_usage_totals.unknown_cost_requests IS 'Requests whose cost is unknown.';
COMMENT ON COLUMN llm_usage_totals.latency_sum_ms IS 'Sum of response times in milliseconds.';
COMMENT ON COLUMN llm_usage_totals.latency_histogram IS
	'Requests by response time: element i counts those of 2^((i-1)/4) up to 2^(i/4) milliseconds; the first also takes 0, the 80th all longer ones. Missing elements are 0.';

CREATE TABLE llm_usage_quarantine (
	id			bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
	received_at	timestamptz NOT NULL DEFAULT now(),
	reason		text NOT NULL,
	record		jsonb NOT NULL
);
COMMENT ON TABLE llm_usage_quarantine IS 'Ledger records that could not be written as rows, to be mended by hand.';
COMMENT ON COLUMN llm_usage_quarantine.id IS 'Number of the record.';
COMMENT ON COLUMN llm_usage_quarantine.received_at IS 'When the writer set it aside.';
COMMENT ON COLUMN llm_usage_quarantine.reason IS 'The error that refused it.';
COMMENT ON COLUMN llm_usage_quarantine.record IS 'The record, by the columns of llm_usage_logs.';

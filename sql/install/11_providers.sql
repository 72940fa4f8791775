-- Providers: companies and servers that answer chat requests.

-- Says what is wrong with llm_providers.request_rules. doc/schema.md describes
-- each member; the openai adapter applies them.
CREATE FUNCTION llm_request_rules_valid(rules jsonb)
RETURNS boolean
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	members CONSTANT text[] := ARRAY[
		'max_tokens_field', 'developer_role', 'reasoning_models', 'rename', 'drop', 'only', 'drop_message_fields',
		'keep_message_fields', 'max_temperature', 'stop_as_array', 'logprobs_as_integer', 'tool_call_id_length',
		'reasoning_efforts', 'image_detail', 'max_n', 'max_top_logprobs', 'stream_usage', 'mark_prefix', 'headers', 'query'];
	member	text;
	value	jsonb;
	-- what the member must be, if it is not
	wanted	text;
BEGIN
	IF jsonb_typeof(rules) <> 'object' THEN
		RAISE EXCEPTION USING ERRCODE = 'check_violation',
			MESSAGE = format('request_rules must be a JSON object, not %s', jsonb_typeof(rules)),
			HINT = 'Use {} for a provider that follows OpenAI''s format.';
	END IF;

	FOR member, value IN SELECT * FROM jsonb_each(rules) LOOP
		IF member <> ALL (members) THEN
			RAISE EXCEPTION USING ERRCODE = 'check_violation',
				MESSAGE = format('unknown member "%s" in request_rules', member),
				HINT = 'Members are ' || array_to_string(members, ', ') || '.';
		END IF;

		wanted := CASE
			WHEN member = 'max_tokens_field' AND value NOT IN ('"max_tokens"', '"max_completion_tokens"')
				THEN '"max_tokens" or "max_completion_tokens"'
			WHEN member = 'developer_role' AND value NOT IN ('"keep"', '"system"')
				THEN '"keep" or "system"'
			WHEN member IN ('reasoning_models', 'stop_as_array', 'logprobs_as_integer', 'image_detail', 'stream_usage', 'mark_prefix')
				AND jsonb_typeof(value) <> 'boolean'
				THEN 'true or false'
			WHEN member IN ('drop', 'only', 'drop_message_fields', 'keep_message_fields', 'reasoning_efforts')
				AND NOT jsonb_path_match(value, 'strict $.type() == "array" && !exists($[*] ? (@.type() != "string" || @ == ""))', silent => true)
				THEN 'an array of names'
			WHEN member = 'rename'
				AND NOT jsonb_path_match(value, 'strict $.type() == "object" && !exists($.* ? (@.type() != "string" || @ == ""))', silent => true)
				THEN 'an object of names'
			WHEN member = 'max_temperature'
				AND NOT jsonb_path_match(value, 'strict $.type() == "number" && $ >= 0', silent => true)
				THEN 'a number, 0 or more'
			WHEN member = 'max_n' AND value::text !~ '^[1-9][0-9]{0,2}$'
				THEN 'a whole number from 1 to 999'
			WHEN member = 'max_top_logprobs' AND value::text !~ '^([1-9]|1[0-9]|20)$'
				THEN 'a whole number from 1 to 20'
			WHEN member = 'tool_call_id_length' AND value::text !~ '^([4-9]|[1-5][0-9]|6[0-4])$'
				THEN 'a whole number from 4 to 64'
			-- A header name is a token (RFC 9110, section 5.6.2). Values are held to
			-- printable ASCII. Those that carry keys or frame the request are the router's;
			-- those by which a proxy chooses whom it asks, and as whom, would have keys
			-- sent elsewhere than base_url says.
			WHEN member = 'headers' AND (jsonb_typeof(value) <> 'object'
				OR EXISTS (SELECT FROM jsonb_each(CASE jsonb_typeof(value) WHEN 'object' THEN value ELSE '{}' END) AS h (name, content)
						   WHERE h.name !~ '^[A-Za-z0-9!#$%&''*+.^_`|~-]+$'
							  OR lower(h.name) ~ ('^(authorization|proxy-.*|x-api-key|x-goog-api-key|api-key|cookie'
								'|accept|accept-encoding|connection|content-.*|expect|keep-alive|range|te|trailer|transfer-encoding|upgrade'
								'|host|x-host|forwarded|x-forwarded(-.*)?|x-original-.*|x-rewrite-url|via'
								'|x-http-method|x-http-method-override|x-method-override'
								'|x-(real|client|remote|cluster-client)-(ip|addr)|(true-)?client-ip|cf-connecting-ip)$')
							  OR jsonb_typeof(h.content) <> 'string'
							  OR h.content #>> '{}' !~ '^[ -~]+$'))
				THEN 'an object of header names and their values, without those for keys, framing and routing'
			-- Characters that need no encoding in a URL (RFC 3986, section 2.3).
			WHEN member = 'query' AND (jsonb_typeof(value) <> 'object'
				OR EXISTS (SELECT FROM jsonb_each(CASE jsonb_typeof(value) WHEN 'object' THEN value ELSE '{}' END) AS p (name, content)
						   WHERE p.name !~ '^[A-Za-z0-9._~-]+$'
							  OR jsonb_typeof(p.content) <> 'string'
							  OR p.content #>> '{}' !~ '^[A-Za-z0-9._~-]+$'))
				THEN 'an object of names and values of letters, digits and ".", "_", "~", "-"'
		END;
		IF wanted IS NOT NULL THEN
			RAISE EXCEPTION USING ERRCODE = 'check_violation',
				MESSAGE = format('member "%s" of request_rules must be %s', member, wanted),
				HINT = 'The members of request_rules are described in the comment on the column.';
		END IF;
	END LOOP;
	RETURN true;
END
$$;
COMMENT ON FUNCTION llm_request_rules_valid(jsonb) IS
	'Used in a constraint: true, or raises check_violation that names the wrong member of request_rules and what it must be.';

-- A check that leaves the origin of base_url would hand the key to another
-- server. Only its parent domain is trusted beside it: Hugging Face's router
-- checks keys at the parent domain of its own host.
CREATE FUNCTION llm_check_path_valid(check_path text, base_url text)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
	SELECT check_path ~ '^/[!-~]*$'
		OR (check_path ~ '^https://[a-z0-9-]+(\.[a-z0-9-]+)+/[!-~]*$'
			AND base_url ~ '^https://[^/:]+(/|$)'
			-- the end of a numeric address is another address
			AND (check_path !~ '^https://[0-9.]+/' OR split_part(check_path, '/', 3) = split_part(base_url, '/', 3))
			AND right('.' || split_part(base_url, '/', 3), length(split_part(check_path, '/', 3)) + 1)
				= '.' || split_part(check_path, '/', 3));
END;
COMMENT ON FUNCTION llm_check_path_valid(text, text) IS
	'Used in a constraint: whether check_path is a path, or an https URL at the host of base_url or a parent domain of it.';

CREATE TABLE llm_providers (
	id					integer GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
	name				text NOT NULL UNIQUE,
	display_name		text NOT NULL,
	base_url			text NOT NULL,
	confirmed_base_url	text,
	check_path			text,
	api_format			text NOT NULL DEFAULT 'openai',
	auth_type			text NOT NULL DEFAULT 'bearer',
	request_rules		jsonb NOT NULL DEFAULT '{}',
	enabled				boolean NOT NULL DEFAULT true,
	health_check_interval	interval,
	requests_per_minute	integer,
	tokens_per_minute	bigint,
	health_status		text NOT NULL DEFAULT 'unknown',
	response_time_ms	integer,
	uptime_percentage	numeric(5,2),
	error_rate			numeric(5,2),
	last_success_at		timestamptz,
	created_at			timestamptz NOT NULL DEFAULT now(),
	updated_at			timestamptz NOT NULL DEFAULT now(),
	installation		boolean NOT NULL DEFAULT true REFERENCES llm_install,

	CONSTRAINT name_is_slug
		CHECK (llm_require(name ~ '^[a-z0-9][a-z0-9_-]{0,62}$',
			'provider name "' || name || '" is not valid',
			'Use up to 63 lower-case letters, digits, hyphens and underscores, beginning with a letter or digit.')),
	CONSTRAINT base_url_is_plain
		CHECK (llm_require(base_url ~ '^https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[^?#@\\[:space:]]*[^/?#@\\[:space:]])?$',
			'base_url of provider "' || name || '" is not valid',
			'Give scheme, host and path, such as https://api.example.com/v1, without user name, query, fragment or trailing slash.')),
	CONSTRAINT check_path_is_local
		CHECK (llm_require(llm_check_path_valid(check_path, base_url),
			'check_path of provider "' || name || '" is not valid',
			'Give a path below base_url that begins with a slash, or an https URL at the same host or its parent domain.')),
	CONSTRAINT api_format_is_known
		CHECK (llm_require(api_format IN ('openai', 'anthropic', 'google', 'cohere', 'replicate'),
			'unknown api_format "' || api_format || '"',
			'API formats are openai, anthropic, google, cohere and replicate.')),
	CONSTRAINT auth_type_is_known
		CHECK (llm_require(auth_type IN ('bearer', 'x-api-key', 'x-goog-api-key', 'api-key', 'none'),
			'unknown auth_type "' || auth_type || '"',
			'Authentication types are bearer, x-api-key, x-goog-api-key, api-key and none.')),
	CONSTRAINT provider_rates_are_not_negative
		CHECK (llm_require((requests_per_minute >= 0) IS NOT FALSE AND (tokens_per_minute >= 0) IS NOT FALSE,
			'a rate of provider "' || name || '" is negative',
			'Rates are numbers a minute; 0 allows nothing, NULL is without limit.')),
	CONSTRAINT request_rules_are_valid
		CHECK (llm_request_rules_valid(request_rules)),
	CONSTRAINT health_check_interval_is_sane
		CHECK (llm_require(health_check_interval = '0' OR health_check_interval BETWEEN '1 second' AND '30 days',
			'health_check_interval of provider "' || name || '" is not valid',
			'Give 1 second to 30 days, 0 for never, or NULL for llm_router.health_check_interval.')),
	CONSTRAINT health_status_is_known
		CHECK (llm_require(health_status IN ('unknown', 'healthy', 'degraded', 'down'),
			'unknown health_status "' || health_status || '"',
			'Health is unknown, healthy, degraded or down.')),
	CONSTRAINT response_time_is_not_negative CHECK (response_time_ms >= 0),
	CONSTRAINT uptime_is_a_percentage CHECK (uptime_percentage BETWEEN 0 AND 100),
	CONSTRAINT error_rate_is_a_percentage CHECK (error_rate BETWEEN 0 AND 100)
);
COMMENT ON TABLE llm_providers IS 'The companies and servers that answer chat requests; one row each.';
COMMENT ON COLUMN llm_providers.id IS 'Number of the provider, kept in the ledger.';
COMMENT ON COLUMN llm_providers.name IS 'Short name used everywhere, such as openai: lower-case letters, digits, hyphens, underscores.';
COMMENT ON COLUMN llm_providers.display_name IS 'Name for people.';
COMMENT ON COLUMN llm_providers.base_url IS 'What the vendor''s own SDK takes as base URL, without a trailing slash.';
COMMENT ON COLUMN llm_providers.confirmed_base_url IS
	'The base_url that the extension''s owner last set or confirmed; users can store keys only while base_url is the same. Administrators cannot change it.';
COMMENT ON COLUMN llm_providers.check_path IS
	'The cheap authenticated request that proves a key: a path below base_url, or an https URL at its host or parent domain. NULL: keys are not checked.';
COMMENT ON COLUMN llm_providers.api_format IS 'Wire format: openai, anthropic, google, cohere or replicate.';
COMMENT ON COLUMN llm_providers.auth_type IS 'How the key is sent: bearer, x-api-key, x-goog-api-key, api-key, or none for a server without keys.';
COMMENT ON COLUMN llm_providers.request_rules IS
	'Where requests differ from OpenAI''s, as a JSON object. Members: max_tokens_field ("max_tokens" or "max_completion_tokens"), '
	'developer_role ("system" or "keep"), reasoning_models (true: OpenAI''s rules for reasoning models, by model name), '
	'rename (object: member to new name), drop (members removed), only (members allowed, named as sent), '
	'drop_message_fields (members removed from messages), keep_message_fields (members of answers left in messages), '
	'max_temperature, stop_as_array, logprobs_as_integer, tool_call_id_length, reasoning_efforts (accepted values), '
	'image_detail (false: removed), max_n (largest n), max_top_logprobs (largest top_logprobs), '
	'stream_usage (false: do not ask for usage in streams), '
	'mark_prefix (true: a last message of the assistant gets "prefix": true), headers (object: constant extra headers), '
	'query (object: constant parameters of the URL, such as Azure''s api-version).';
COMMENT ON COLUMN llm_providers.enabled IS 'Whether requests may be sent to this provider.';
COMMENT ON COLUMN llm_providers.health_check_interval IS 'How often its health is checked; 0: never, NULL: as llm_router.health_check_interval says.';
COMMENT ON COLUMN llm_providers.requests_per_minute IS 'Requests a minute with the platform''s key; NULL: no limit.';
COMMENT ON COLUMN llm_providers.tokens_per_minute IS 'Tokens a minute with the platform''s key, prompt and answer; NULL: no limit.';
COMMENT ON COLUMN llm_providers.health_status IS 'Result of the latest checks: unknown, healthy, degraded or down.';
COMMENT ON COLUMN llm_providers.response_time_ms IS 'Response time of the latest check, in milliseconds.';
COMMENT ON COLUMN llm_providers.uptime_percentage IS 'Share of the checks of 30 days that the provider answered, 0 to 100.';
COMMENT ON COLUMN llm_providers.error_rate IS 'Share of the requests of the last hour that ended at it without an answer, 0 to 100; NULL: there were none.';
COMMENT ON COLUMN llm_providers.last_success_at IS 'When a check last succeeded.';
COMMENT ON COLUMN llm_providers.created_at IS 'When the row was made.';
COMMENT ON COLUMN llm_providers.updated_at IS 'When an operator last changed the row; the results of checks do not count.';
COMMENT ON COLUMN llm_providers.installation IS 'Orders a restore: llm_install is loaded first.';

-- Whoever may edit providers decides where the platform's keys go. Where users'
-- keys go is for the owner to decide, and for who has the owner's privileges: an
-- address of theirs is confirmed by being set, anybody else's by
-- llm_provider_confirm_keys. A provider that others rename is another provider.
-- A restore brings what was confirmed.
CREATE FUNCTION llm_provider_address()
RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	restoring	boolean;
BEGIN
	IF NOT pg_has_role(current_user, (SELECT c.relowner FROM pg_class c WHERE c.oid = TG_RELID), 'USAGE') THEN
		NEW.confirmed_base_url := CASE WHEN NEW.name = OLD.name THEN OLD.confirmed_base_url END;
	ELSIF NEW.base_url IS DISTINCT FROM OLD.base_url THEN
		EXECUTE format('SELECT %I.llm_restore_session(false)', TG_TABLE_SCHEMA) INTO restoring;
		IF NOT restoring THEN
			NEW.confirmed_base_url := NEW.base_url;
		END IF;
	END IF;
	RETURN NEW;
END
$$;
COMMENT ON FUNCTION llm_provider_address() IS
	'Trigger function of llm_providers: keeps confirmed_base_url, which only the owner can move.';

CREATE TRIGGER llm_providers_address
	BEFORE INSERT OR UPDATE OF name, base_url, confirmed_base_url ON llm_providers
	FOR EACH ROW EXECUTE FUNCTION llm_provider_address();

CREATE TRIGGER llm_providers_touch
	BEFORE UPDATE OF name, display_name, base_url, check_path, api_format, auth_type, request_rules, enabled, health_check_interval ON llm_providers
	FOR EACH ROW EXECUTE FUNCTION llm_touch();

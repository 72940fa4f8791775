/*
 * key_check.c
 *		Ask a provider whether it accepts a key.
 */
#include "engine/key_check.h"

#include "base/settings.h"
#include "net/http.h"
#include "providers/redact.h"
#include "state/admission.h"
#include "utils/timestamp.h"

#define CHECK_TIMEOUT_MS		 15000
#define CHECK_MAX_RESPONSE_BYTES (1024 * 1024) /* lists of models can be long */

struct KeyProbe
{
	HttpTransfer *transfer; /* NULL: there is nothing to ask */
	TimestampTz	  started;
};

bool
key_check_possible(const CatalogProvider *provider)
{
	return provider->format != NULL && provider->endpoint.check_path != NULL;
}

KeyProbe *
key_check_start(const CatalogProvider *provider, const char *api_key)
{
	const HttpLimits limits = {
		.connect_timeout_ms = Min(setting_connect_timeout, CHECK_TIMEOUT_MS),
		.first_byte_timeout_ms = Min(setting_first_token_timeout, CHECK_TIMEOUT_MS),
		.timeout_ms = Min(setting_request_timeout, CHECK_TIMEOUT_MS),
		.max_response_bytes = CHECK_MAX_RESPONSE_BYTES,
	};
	WireRequest wire = { 0 };
	KeyProbe   *probe = palloc0(sizeof(KeyProbe));

	probe->started = GetCurrentTimestamp();
	if (!key_check_possible(provider))
		return probe;
	provider->format->build_check(&provider->endpoint, &wire);
	wire_request_authorize(&wire, provider->endpoint.auth_type, api_key);
	probe->transfer = http_start(&wire, &limits);
	wire_request_wipe(&wire);
	return probe;
}

bool
key_check_done(const KeyProbe *probe)
{
	return probe->transfer == NULL || http_done(probe->transfer);
}

/* "HTTP status 401 (bad_key): Incorrect API key provided", without the key. */
static char *
refusal_text(const WireResponse *response, const ProviderReply *reply, const char *api_key)
{
	char *text = psprintf("HTTP status %d (%s)", response->status, outcome_name(reply->outcome));

	if (reply->message == NULL || api_key == NULL)
		return text;
	redact_secret(reply->message, api_key);
	return psprintf("%s: %s", text, reply->message);
}

static KeyVerdict
verdict_of(Outcome outcome)
{
	switch (outcome)
	{
		case OUTCOME_OK:
			return KEY_ACCEPTED;
		case OUTCOME_BAD_KEY:
			return KEY_REFUSED;
		case OUTCOME_NOT_PERMITTED:
			return KEY_NOT_PERMITTED;
		default:
			return KEY_UNKNOWN;
	}
}

/* What an answer says of the key. */
static void
read_answer(const WireResponse *response, const char *api_key, KeyCheck *check)
{
	ProviderReply reply;

	provider_read_check(response, &reply);
	check->http_status = response->status;
	check->verdict = verdict_of(reply.outcome);
	if (check->verdict != KEY_ACCEPTED)
		check->message = refusal_text(response, &reply, api_key);
}

void
key_check_finish(KeyProbe *probe, const char *api_key, KeyCheck *check)
{
	memset(check, 0, sizeof(*check));
	check->verdict = KEY_UNKNOWN;
	if (probe->transfer == NULL)
		check->message = pstrdup("this provider has no request that checks keys");
	else
	{
		check->response_time_ms = TimestampDifferenceMilliseconds(probe->started, GetCurrentTimestamp());
		if (http_failure(probe->transfer) == HTTP_OK)
			read_answer(http_response(probe->transfer), api_key, check);
		else
			check->message = pstrdup(http_message(probe->transfer));
		http_free(probe->transfer);
	}
	pfree(probe);
}

/* One of llm_router.max_concurrency places: who waits for an answer has a connection. */
static void
take_place(void)
{
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), setting_concurrency_timeout);
	LlmError	error = { 0 };

	PG_TRY();
	{
		while (!admission_enter())
		{
			TimestampTz now = GetCurrentTimestamp();

			if (now >= until)
			{
				(void) admission_refused(&error);
				error_throw(&error);
			}
			http_wait((int) TimestampDifferenceMilliseconds(now, until));
		}
	}
	PG_CATCH();
	{
		admission_withdraw();
		PG_RE_THROW();
	}
	PG_END_TRY();
}

void
key_check(const CatalogProvider *provider, const char *api_key, KeyCheck *check)
{
	take_place();
	PG_TRY();
	{
		KeyProbe *probe = key_check_start(provider, api_key);

		while (!key_check_done(probe))
			http_wait(CHECK_TIMEOUT_MS);
		key_check_finish(probe, api_key, check);
	}
	PG_FINALLY();
	{
		admission_leave();
	}
	PG_END_TRY();
}

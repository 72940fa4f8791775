/*
 * key_check.c
 *		Ask a provider whether it accepts a key.
 */
#include "engine/key_check.h"

#include "base/settings.h"
#include "net/http.h"
#include "utils/timestamp.h"

#define CHECK_TIMEOUT_MS		 15000
#define CHECK_MAX_RESPONSE_BYTES (1024 * 1024) /* lists of models can be long */

/* Sends, and waits until the transfer has ended. */
static HttpTransfer *
run_request(const CatalogProvider *provider, const char *api_key)
{
	const HttpLimits limits = {
		.connect_timeout_ms = Min(setting_connect_timeout, CHECK_TIMEOUT_MS),
		.first_byte_timeout_ms = Min(setting_first_token_timeout, CHECK_TIMEOUT_MS),
		.timeout_ms = Min(setting_request_timeout, CHECK_TIMEOUT_MS),
		.max_response_bytes = CHECK_MAX_RESPONSE_BYTES,
	};
	WireRequest	  wire = { 0 };
	HttpTransfer *transfer;

	provider->format->build_check(&provider->endpoint, &wire);
	wire_request_authorize(&wire, provider->endpoint.auth_type, api_key);
	transfer = http_start(&wire, &limits);
	wire_request_wipe(&wire);
	while (!http_done(transfer))
		http_wait(CHECK_TIMEOUT_MS);
	return transfer;
}

/* What an answer says of the key. */
static void
read_answer(const WireResponse *response, KeyCheck *check)
{
	ProviderReply reply;

	provider_read_check(response, &reply);
	check->http_status = response->status;
	if (reply.outcome == OUTCOME_OK)
		check->verdict = KEY_ACCEPTED;
	else
	{
		check->verdict = reply.outcome == OUTCOME_BAD_KEY ? KEY_REFUSED : KEY_UNKNOWN;
		check->message = psprintf("HTTP status %d (%s)", response->status,
								  outcome_name(reply.outcome));
	}
}

void
key_check(const CatalogProvider *provider, const char *api_key, KeyCheck *check)
{
	TimestampTz	  started = GetCurrentTimestamp();
	HttpTransfer *transfer;

	memset(check, 0, sizeof(*check));
	check->verdict = KEY_UNKNOWN;
	if (provider->format == NULL || provider->endpoint.check_path == NULL)
	{
		check->message = pstrdup("this provider has no request that checks keys");
		return;
	}
	transfer = run_request(provider, api_key);
	check->response_time_ms = TimestampDifferenceMilliseconds(started, GetCurrentTimestamp());
	if (http_failure(transfer) == HTTP_OK)
		read_answer(http_response(transfer), check);
	else
		check->message = pstrdup(http_message(transfer));
	http_free(transfer);
}

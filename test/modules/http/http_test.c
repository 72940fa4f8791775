/*
 * http_test.c
 *		HTTP transfers and the network policy as SQL functions, for the TAP
 *		tests.
 */
#include "postgres.h"

#include "base/settings.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "net/http.h"
#include "net/policy.h"
#include "utils/builtins.h"

PG_MODULE_MAGIC;

PGDLLEXPORT void _PG_init(void);

PG_FUNCTION_INFO_V1(http_test_transfer);
PG_FUNCTION_INFO_V1(http_test_repeat);
PG_FUNCTION_INFO_V1(http_test_address);
PG_FUNCTION_INFO_V1(http_test_url);

static const char *const failure_names[] = {
	[HTTP_OK] = "ok",
	[HTTP_CANNOT_RESOLVE] = "cannot resolve",
	[HTTP_CANNOT_CONNECT] = "cannot connect",
	[HTTP_TLS_FAILED] = "TLS failed",
	[HTTP_BLOCKED_ADDRESS] = "blocked address",
	[HTTP_TIMEOUT] = "timeout",
	[HTTP_TOO_LARGE] = "too large",
	[HTTP_BROKEN] = "broken",
};

void
_PG_init(void)
{
	settings_init();
	http_init();
}

static HttpLimits
limits_of_settings(void)
{
	HttpLimits limits = {
		.connect_timeout_ms = setting_connect_timeout,
		.first_byte_timeout_ms = setting_first_token_timeout,
		.timeout_ms = setting_request_timeout,
		.max_response_bytes = (size_t) setting_max_response_size * 1024,
	};

	return limits;
}

/* "Name: value" lines as headers; every one counts as a secret. */
static List *
read_headers(char *lines)
{
	List *headers = NIL;

	for (char *line = strtok(lines, "\n"); line; line = strtok(NULL, "\n"))
	{
		WireHeader *header = palloc0(sizeof(WireHeader));
		char	   *colon = strstr(line, ": ");

		*colon = '\0';
		header->name = line;
		header->value = colon + 2;
		header->secret = true;
		headers = lappend(headers, header);
	}
	return headers;
}

static WireRequest
read_request(FunctionCallInfo fcinfo)
{
	WireRequest wire = { 0 };
	text	   *body = PG_GETARG_TEXT_PP(2);

	wire.method = text_to_cstring(PG_GETARG_TEXT_PP(0));
	wire.url = text_to_cstring(PG_GETARG_TEXT_PP(1));
	initStringInfo(&wire.body);
	appendBinaryStringInfo(&wire.body, VARDATA_ANY(body), VARSIZE_ANY_EXHDR(body));
	wire.headers = read_headers(text_to_cstring(PG_GETARG_TEXT_PP(3)));
	return wire;
}

/*
 * http_test_transfer(method, url, body, headers) RETURNS (failure text,
 * message text, sent bool, status int, headers text[], body bytea)
 */
Datum
http_test_transfer(PG_FUNCTION_ARGS)
{
	WireRequest			wire = read_request(fcinfo);
	HttpLimits			limits = limits_of_settings();
	HttpTransfer	   *transfer = http_start(&wire, &limits);
	const WireResponse *response;
	StringInfoData		headers;
	ListCell		   *cell;
	TupleDesc			row;
	Datum				values[6] = { 0 };
	bool				nulls[6] = { false };

	foreach (cell, wire.headers)
	{
		WireHeader *header = lfirst(cell);

		memset(header->value, 'x', strlen(header->value));
	}
	while (!http_done(transfer))
		http_wait(60000);

	response = http_response(transfer);
	initStringInfo(&headers);
	foreach (cell, response->headers)
	{
		const WireHeader *header = lfirst(cell);

		appendStringInfo(&headers, "%s=%s\n", header->name, header->value);
	}
	if (get_call_result_type(fcinfo, NULL, &row) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "http_test_transfer returns a row");
	values[0] = CStringGetTextDatum(failure_names[http_failure(transfer)]);
	nulls[1] = http_message(transfer) == NULL;
	values[1] = nulls[1] ? 0 : CStringGetTextDatum(http_message(transfer));
	values[2] = BoolGetDatum(http_was_sent(transfer));
	values[3] = Int32GetDatum(response->status);
	values[4] = CStringGetTextDatum(headers.data);
	nulls[5] = response->body == NULL;
	if (!nulls[5])
		values[5] = PointerGetDatum(cstring_to_text_with_len(response->body, (int) response->body_length));
	http_free(transfer);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(row, values, nulls)));
}

/*
 * http_test_repeat(method, url, body, headers, rounds int, at_once int)
 * RETURNS bigint: how many of rounds * at_once transfers were answered.
 */
Datum
http_test_repeat(PG_FUNCTION_ARGS)
{
	WireRequest	   wire = read_request(fcinfo);
	HttpLimits	   limits = limits_of_settings();
	int			   rounds = PG_GETARG_INT32(4);
	int			   at_once = PG_GETARG_INT32(5);
	HttpTransfer **transfers = palloc(sizeof(HttpTransfer *) * at_once);
	int64		   answered = 0;

	for (int round = 0; round < rounds; round++)
	{
		for (int i = 0; i < at_once; i++)
			transfers[i] = http_start(&wire, &limits);
		for (int i = 0; i < at_once; i++)
		{
			while (!http_done(transfers[i]))
				http_wait(60000);
			answered += http_failure(transfers[i]) == HTTP_OK;
			http_free(transfers[i]);
		}
	}
	PG_RETURN_INT64(answered);
}

/* http_test_address(address, host, port) RETURNS text: why it is refused */
Datum
http_test_address(PG_FUNCTION_ARGS)
{
	HttpTarget	target = { .https = true, .port = PG_GETARG_INT32(2) };
	const char *refused;

	text_to_cstring_buffer(PG_GETARG_TEXT_PP(1), target.host, sizeof(target.host));
	refused = policy_refusal_of_text(text_to_cstring(PG_GETARG_TEXT_PP(0)), &target);
	if (!refused)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(refused));
}

/* http_test_url(url) RETURNS text: why it is refused */
Datum
http_test_url(PG_FUNCTION_ARGS)
{
	LlmError error = { 0 };

	if (http_url_allowed(text_to_cstring(PG_GETARG_TEXT_PP(0)), &error))
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(error.message));
}

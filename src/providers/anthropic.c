/*
 * anthropic.c
 *		The anthropic format: POST /v1/messages, as Anthropic and servers that are
 *		compatible with it speak it.
 */
#include "providers/anthropic.h"

#include "base/encoding.h"
#include "providers/failure.h"

#define VERSION_HEADER	   "anthropic-version"
#define VERSION			   "2023-06-01"
#define DEFAULT_CHECK_PATH "/v1/models?limit=1"

#define MAX_REQUEST_ID_BYTES 100

/* Whether the constant headers say a version of the API. */
static bool
has_version(JsonbContainer *headers)
{
	JsonbIterator *iterator = headers ? json_iterate(headers) : NULL;
	JsonbValue	   name;
	JsonbValue	   value;
	bool		   found = false;

	while (headers && json_next_member(&iterator, &name, &value))
		found = found || pg_strcasecmp(json_value_string(&name), VERSION_HEADER) == 0;
	return found;
}

static void
start_request(const ProviderEndpoint *endpoint, const char *method, const char *path,
			  WireRequest *wire)
{
	JsonbContainer *headers = unconstify(void *, endpoint->rules);

	wire_request_start(wire, endpoint, method, path);
	wire_request_add_constant_headers(wire, headers);
	if (!has_version(headers))
		wire_request_add_header(wire, VERSION_HEADER, VERSION);
}

static bool
anthropic_build_chat(Exchange *exchange, WireRequest *wire, LlmError *error)
{
	start_request(exchange->endpoint, "POST", "/v1/messages", wire);
	wire_request_add_header(wire, "Content-Type", "application/json");
	return anthropic_append_chat(exchange, wire, error);
}

static void
anthropic_build_check(const ProviderEndpoint *endpoint, WireRequest *wire)
{
	start_request(endpoint, "GET", endpoint->check_path ? endpoint->check_path : DEFAULT_CHECK_PATH,
				  wire);
}

/* ------------------------------------------------------------------------
 * Errors
 * ------------------------------------------------------------------------
 */

bool
anthropic_is_failure(JsonbContainer *body)
{
	return json_value_is(json_member(body, "type"), "error") ||
		   json_value_given(json_member(body, "error"));
}

/* The status that an error has by its type, which one after a good status lacks. */
static int
status_of_error(JsonbContainer *body)
{
	static const struct
	{
		const char *type;
		int			status;
	} types[] = {
		{ "invalid_request_error", 400 },
		{ "authentication_error", 401 },
		{ "billing_error", 402 },
		{ "permission_error", 403 },
		{ "not_found_error", 404 },
		{ "conflict_error", 409 },
		{ "request_too_large", 413 },
		{ "rate_limit_error", 429 },
		{ "api_error", 500 },
		{ "timeout_error", 504 },
		{ "overloaded_error", 529 },
	};
	JsonbContainer *error = json_member_object(body, "error");
	JsonbValue	   *type = error ? json_member(error, "type") : NULL;

	for (int i = 0; i < (int) lengthof(types); i++)
		if (json_value_is(type, types[i].type))
			return types[i].status;
	return 0;
}

void
anthropic_read_failure(const WireResponse *wire, JsonbContainer *body, ProviderReply *reply)
{
	WireResponse meant = *wire;
	int			 status = body && wire_response_good(wire) ? status_of_error(body) : 0;
	char		*id = body ? json_member_string(body, "request_id") : NULL;

	if (status > 0)
		meant.status = status;
	failure_read(&meant, body, reply);
	if (id && reply->provider_request_id == NULL)
		reply->provider_request_id = encoding_clean_line(id, MAX_REQUEST_ID_BYTES);
}

/* ------------------------------------------------------------------------
 * A whole document
 * ------------------------------------------------------------------------
 */

static void
anthropic_parse_chat(Exchange *exchange, const WireResponse *wire, ProviderReply *reply)
{
	AnthropicReading *reading = anthropic_reading(exchange);
	const char		 *problem;
	Jsonb			 *json = json_from_bytes(wire->body, wire->body_length, &problem);
	JsonbContainer	 *body = wire_body_object(json);

	if (body)
	{
		anthropic_read_usage(json_member_object(body, "usage"), &reading->usage);
		reply->answer.usage = anthropic_whole_usage(&reading->usage);
	}
	if (!wire_response_good(wire))
		anthropic_read_failure(wire, body, reply);
	else if (body == NULL)
		failure_protocol(json ? "the answer is no JSON object" : problem, reply);
	else if (anthropic_is_failure(body))
		anthropic_read_failure(wire, body, reply);
	else if (!anthropic_read_message(reading, body, &problem))
		failure_protocol(problem, reply);
	else
		anthropic_finish(reading, reply);
}

const ApiFormat anthropic_format = {
	.name = "anthropic",
	.read_rules = provider_read_headers,
	.build_chat = anthropic_build_chat,
	.parse_chat = anthropic_parse_chat,
	.parse_event = anthropic_parse_event,
	.end_stream = anthropic_end_stream,
	.build_check = anthropic_build_check,
};

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

/* llm_providers.request_rules: of those for OpenAI's format only "headers" means something. */
typedef struct AnthropicRules
{
	JsonbContainer *headers; /* object: constant headers; or NULL */
} AnthropicRules;

static const void *
anthropic_read_rules(Jsonb *document)
{
	AnthropicRules *rules = palloc0(sizeof(AnthropicRules));
	Jsonb		   *copy = memcpy(palloc(VARSIZE(document)), document, VARSIZE(document));

	rules->headers = json_member_object(&copy->root, "headers");
	return rules;
}

static void
start_request(const ProviderEndpoint *endpoint, const char *method, const char *path,
			  WireRequest *wire)
{
	const AnthropicRules *rules = endpoint->rules;
	JsonbIterator		 *iterator = rules->headers ? json_iterate(rules->headers) : NULL;
	bool				  has_version = false;
	JsonbValue			  name;
	JsonbValue			  value;

	wire_request_start(wire, endpoint, method, path);
	while (rules->headers && json_next_member(&iterator, &name, &value))
	{
		if (value.type != jbvString)
			continue;
		wire_request_add_header(wire, json_value_string(&name), json_value_string(&value));
		has_version = has_version || pg_strcasecmp(json_value_string(&name), VERSION_HEADER) == 0;
	}
	if (!has_version)
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
	.read_rules = anthropic_read_rules,
	.build_chat = anthropic_build_chat,
	.parse_chat = anthropic_parse_chat,
	.parse_event = anthropic_parse_event,
	.end_stream = anthropic_end_stream,
	.build_check = anthropic_build_check,
};

/*
 * cohere.c
 *		The cohere format: POST /v2/chat, as Cohere's API, version 2, has it.
 */
#include "providers/cohere.h"

#include "chat/json.h"
#include "providers/failure.h"

#define DEFAULT_CHECK_PATH "/v1/models?page_size=1"

static void
start_request(const ProviderEndpoint *endpoint, const char *method, const char *path,
			  WireRequest *wire)
{
	wire_request_start(wire, endpoint, method, path);
	wire_request_add_constant_headers(wire, unconstify(void *, endpoint->rules));
}

static bool
cohere_build_chat(Exchange *exchange, WireRequest *wire, LlmError *error)
{
	start_request(exchange->endpoint, "POST", "/v2/chat", wire);
	wire_request_add_header(wire, "Content-Type", "application/json");
	wire->streams = exchange->request->streams;
	return cohere_write_chat(exchange, wire, error);
}

static void
cohere_build_check(const ProviderEndpoint *endpoint, WireRequest *wire)
{
	start_request(endpoint, "GET", endpoint->check_path ? endpoint->check_path : DEFAULT_CHECK_PATH,
				  wire);
}

/* Errors have a text where answers have an object, or a reason that says so. */
static bool
is_failure(JsonbContainer *body)
{
	JsonbValue *message = json_member(body, "message");

	return (message && message->type == jbvString) ||
		   json_value_given(json_member(body, "error")) ||
		   cohere_reason_is_failure(json_member(body, "finish_reason"));
}

static void
cohere_parse_chat(Exchange *exchange, const WireResponse *wire, ProviderReply *reply)
{
	const char	   *problem;
	Jsonb		   *json = json_from_bytes(wire->body, wire->body_length, &problem);
	JsonbContainer *body = wire_body_object(json);

	if (body)
		cohere_read_usage(json_member_object(body, "usage"), &reply->answer.usage);

	if (!wire_response_good(wire))
		failure_read(wire, body, reply);
	else if (body == NULL)
		failure_protocol(json ? "the answer is no JSON object" : problem, reply);
	else if (is_failure(body))
		failure_read(wire, body, reply);
	else if (!cohere_read_answer(exchange, body, &reply->answer, &problem))
		failure_protocol(problem, reply);
	else
		reply->outcome = OUTCOME_OK;
}

const ApiFormat cohere_format = {
	.name = "cohere",
	.read_rules = provider_read_headers,
	.build_chat = cohere_build_chat,
	.parse_chat = cohere_parse_chat,
	.parse_event = cohere_parse_event,
	.end_stream = cohere_end_stream,
	.build_check = cohere_build_check,
};

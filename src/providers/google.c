/*
 * google.c
 *		The google format: POST /v1beta/models/MODEL:generateContent, as the Gemini
 *		API speaks it.
 */
#include "providers/google.h"

#include "providers/failure.h"

#define DEFAULT_CHECK_PATH "/v1beta/models?pageSize=1"

static void
start_request(const ProviderEndpoint *endpoint, const char *method, const char *path,
			  WireRequest *wire)
{
	wire_request_start(wire, endpoint, method, path);
	wire_request_add_constant_headers(wire, unconstify(void *, endpoint->rules));
}

/* The model stands in the path: what is not plain there is percent-encoded (RFC 3986). */
static char *
chat_path(const char *model, bool streams)
{
	StringInfoData path;

	initStringInfo(&path);
	appendStringInfoString(&path, "/v1beta/");
	for (const unsigned char *c = (const unsigned char *) google_model_path(model); *c; c++)
	{
		if (!IS_HIGHBIT_SET(*c) && (isalnum(*c) || strchr("-._~/", *c)))
			appendStringInfoChar(&path, (char) *c);
		else
			appendStringInfo(&path, "%%%02X", *c);
	}
	appendStringInfoString(&path, streams ? ":streamGenerateContent?alt=sse" : ":generateContent");
	return path.data;
}

static bool
google_build_chat(Exchange *exchange, WireRequest *wire, LlmError *error)
{
	bool streams = exchange->request->streams;

	start_request(exchange->endpoint, "POST", chat_path(exchange->model.name, streams), wire);
	wire_request_add_header(wire, "Content-Type", "application/json");
	wire->streams = streams;
	return google_append_chat(exchange, wire, error);
}

static void
google_build_check(const ProviderEndpoint *endpoint, WireRequest *wire)
{
	start_request(endpoint, "GET", endpoint->check_path ? endpoint->check_path : DEFAULT_CHECK_PATH,
				  wire);
}

/*
 * The responses of a document: one, or an array of those that a stream would have
 * had, as it comes where events were not understood to be wanted.
 */
static bool
read_document(Exchange *exchange, const WireResponse *wire, Jsonb *json, ProviderReply *reply)
{
	JsonbIterator *iterator;
	JsonbValue	   element;

	if (JB_ROOT_IS_OBJECT(json))
		return google_read_response(exchange, wire, &json->root, reply);
	iterator = json_iterate(&json->root);
	while (json_next_element(&iterator, &element))
	{
		if (json_value_object(&element) == NULL)
		{
			failure_protocol("a part of the answer is no JSON object", reply);
			return false;
		}
		if (!google_read_response(exchange, wire, json_value_object(&element), reply))
			return false;
	}
	return true;
}

static void
google_parse_chat(Exchange *exchange, const WireResponse *wire, ProviderReply *reply)
{
	const char *problem;
	Jsonb	   *json = json_from_bytes(wire->body, wire->body_length, &problem);

	if (!wire_response_good(wire))
		failure_read(wire, wire_body_object(json), reply);
	else if (json == NULL || JB_ROOT_IS_SCALAR(json))
		failure_protocol(json ? "the answer is no JSON object" : problem, reply);
	else if (read_document(exchange, wire, json, reply))
		google_finish(exchange, JB_ROOT_IS_OBJECT(json) || JB_ROOT_COUNT(json) == 1, reply);
}

static bool
google_parse_event(Exchange *exchange, const WireResponse *wire, const SseEvent *event,
				   ProviderReply *reply)
{
	const char	   *problem;
	Jsonb		   *json = json_from_bytes(event->data, event->length, &problem);
	JsonbContainer *body = wire_body_object(json);

	if (body == NULL)
	{
		failure_protocol(json ? "an event of the stream is no JSON object" : problem, reply);
		return true;
	}
	return !google_read_response(exchange, wire, body, reply);
}

/* There is no end mark: an answer has ended when its finishReason has come. */
static void
google_end_stream(Exchange *exchange, const WireResponse *wire, ProviderReply *reply)
{
	google_finish(exchange, false, reply);
}

const ApiFormat google_format = {
	.name = "google",
	.read_rules = provider_read_headers,
	.build_chat = google_build_chat,
	.parse_chat = google_parse_chat,
	.parse_event = google_parse_event,
	.end_stream = google_end_stream,
	.build_check = google_build_check,
};

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
	appendStringInfoString(&path, "/v1beta/models/");
	for (const unsigned char *c = (const unsigned char *) google_model_name(model); *c; c++)
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

static void
google_parse_chat(Exchange *exchange, const WireResponse *wire, ProviderReply *reply)
{
	const char	   *problem;
	Jsonb		   *json = json_from_bytes(wire->body, wire->body_length, &problem);
	JsonbContainer *body = wire_body_object(json);

	if (!wire_response_good(wire))
		failure_read(wire, body, reply);
	else if (body == NULL)
		failure_protocol(json ? "the answer is no JSON object" : problem, reply);
	else if (google_read_response(exchange, wire, body, reply) == GOOGLE_READ)
		google_finish(exchange, "the answer has no candidates", reply);
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
	return google_read_response(exchange, wire, body, reply) == GOOGLE_FAILED;
}

/* There is no end mark: an answer has ended when its finishReason has come. */
static void
google_end_stream(Exchange *exchange, const WireResponse *wire, ProviderReply *reply)
{
	google_finish(exchange, "the stream was cut off", reply);
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

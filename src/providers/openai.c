/*
 * openai.c
 *		The openai format: POST /chat/completions, as OpenAI, Together,
 *		OpenRouter, Groq, Mistral, Hugging Face and many servers speak it.
 *
 * An answer is read in this order: is it JSON, does it carry an error (some do
 * with status 200), does it have what a completion must have.  Usage is read
 * first, because a bad answer may have cost money as well.
 */
#include "providers/openai.h"

#include "chat/json.h"
#include "providers/failure.h"

/* Cheap, authenticated and without side effects, at most of these servers. */
#define DEFAULT_CHECK_PATH "/models"

/* Azure's api-version and the like; their constraint keeps them to plain characters. */
static void
add_query(WireRequest *wire, JsonbContainer *query)
{
	JsonbIterator *iterator = query ? json_iterate(query) : NULL;
	JsonbValue	   name;
	JsonbValue	   value;

	while (query && json_next_member(&iterator, &name, &value))
		if (value.type == jbvString)
			wire->url = psprintf("%s%c%s=%s", wire->url, strchr(wire->url, '?') ? '&' : '?',
								 json_value_string(&name), json_value_string(&value));
}

static void
start_request(const ProviderEndpoint *endpoint, const char *method, const char *path,
			  WireRequest *wire)
{
	const OpenAiRules *rules = endpoint->rules;

	wire_request_start(wire, endpoint, method, path);
	add_query(wire, rules->query);
	wire_request_add_constant_headers(wire, rules->headers);
}

static bool
openai_build_chat(Exchange *exchange, WireRequest *wire, LlmError *error)
{
	start_request(exchange->endpoint, "POST", "/chat/completions", wire);
	wire_request_add_header(wire, "Content-Type", "application/json");
	wire->streams = exchange->request->streams;
	openai_append_chat(wire, exchange);
	return true;
}

static void
openai_build_check(const ProviderEndpoint *endpoint, WireRequest *wire)
{
	start_request(endpoint, "GET",
				  endpoint->check_path ? endpoint->check_path : DEFAULT_CHECK_PATH, wire);
}

/* OpenRouter and Mistral: the upstream failed after the status was sent. */
static bool
is_failed_reason(const JsonbValue *reason)
{
	/* The second is DeepSeek's word for an interrupted answer. */
	return json_value_is(reason, "error") || json_value_is(reason, "insufficient_system_resource");
}

static bool
any_choice_failed(JsonbContainer *body)
{
	JsonbContainer *choices = json_member_array(body, "choices");
	JsonbIterator  *iterator;
	JsonbValue		choice;

	if (choices == NULL)
		return false;
	iterator = json_iterate(choices);
	while (json_next_element(&iterator, &choice))
	{
		JsonbContainer *object = json_value_object(&choice);

		if (object && (json_value_given(json_member(object, "error")) ||
					   is_failed_reason(json_member(object, "finish_reason"))))
			return true;
	}
	return false;
}

/* Groq says in a place of its own why a stream stops. */
static bool
has_groq_error(JsonbContainer *body)
{
	JsonbContainer *groq = json_member_object(body, "x_groq");

	return groq && json_value_filled(json_member(groq, "error"));
}

bool
openai_is_failure(JsonbContainer *body)
{
	return json_value_given(json_member(body, "error")) || has_groq_error(body) ||
		   any_choice_failed(body);
}

static void
openai_parse_chat(Exchange *exchange, const WireResponse *wire, ProviderReply *reply)
{
	const char	   *problem;
	Jsonb		   *json = json_from_bytes(wire->body, wire->body_length, &problem);
	JsonbContainer *body = wire_body_object(json);

	if (body)
		openai_read_usage(body, &reply->answer);

	if (!wire_response_good(wire))
		failure_read(wire, body, reply);
	else if (body == NULL)
		failure_protocol(json ? "the answer is no JSON object" : problem, reply);
	else if (openai_is_failure(body))
		failure_read(wire, body, reply);
	else if (!openai_read_completion(exchange, body, wire, &reply->answer, &problem))
		failure_protocol(problem, reply);
	else
		reply->outcome = OUTCOME_OK;
}

const ApiFormat openai_format = {
	.name = "openai",
	.read_rules = openai_read_rules,
	.build_chat = openai_build_chat,
	.parse_chat = openai_parse_chat,
	.parse_event = openai_parse_event,
	.end_stream = openai_end_stream,
	.build_check = openai_build_check,
};

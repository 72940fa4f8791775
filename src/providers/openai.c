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

#include "chat/encoding.h"
#include "chat/json.h"
#include "providers/failure.h"

/* Cheap, authenticated and without side effects, at most of these servers. */
#define DEFAULT_CHECK_PATH "/models"

#define MAX_REQUEST_ID_BYTES 100

static void
start_request(const ProviderEndpoint *endpoint, const char *method, const char *path,
			  WireRequest *wire)
{
	const OpenAiRules *rules = endpoint->rules;
	JsonbIterator *iterator;
	JsonbValue	name;
	JsonbValue	value;

	wire->method = method;
	wire->url = strstr(path, "://") ? pstrdup(path) : psprintf("%s%s", endpoint->base_url, path);
	wire->headers = NIL;
	initStringInfo(&wire->body);
	wire_request_add_header(wire, "Accept", "application/json");
	if (rules->headers == NULL)
		return;
	iterator = json_iterate(rules->headers);
	while (json_next_member(&iterator, &name, &value))
		if (value.type == jbvString)
			wire_request_add_header(wire, json_value_string(&name), json_value_string(&value));
}

static bool
openai_build_chat(const ProviderEndpoint *endpoint, const char *model,
				  const ChatRequest *request, WireRequest *wire, LlmError *error)
{
	start_request(endpoint, "POST", "/chat/completions", wire);
	wire_request_add_header(wire, "Content-Type", "application/json");
	openai_append_chat(&wire->body, endpoint->rules, model, request);
	return true;
}

static void
openai_build_check(const ProviderEndpoint *endpoint, WireRequest *wire)
{
	start_request(endpoint, "GET",
				  endpoint->check_path ? endpoint->check_path : DEFAULT_CHECK_PATH, wire);
}

static void
start_reply(const WireResponse *wire, ProviderReply *reply)
{
	static const char *const id_headers[] = {"x-request-id", "mistral-correlation-id"};

	memset(reply, 0, sizeof(*reply));
	reply->retry_after_ms = -1;
	reply->answer.reported_cost = MONEY_UNKNOWN;
	for (int i = 0; i < (int) lengthof(id_headers) && reply->provider_request_id == NULL; i++)
	{
		const char *id = wire_response_header(wire, id_headers[i]);

		if (id)
			reply->provider_request_id = encoding_line_from_network(id, strlen(id),
																	MAX_REQUEST_ID_BYTES);
	}
}

/* The object that was answered; some errors come as the one element of an array. */
static JsonbContainer *
body_object(Jsonb *body)
{
	if (body == NULL)
		return NULL;
	if (JB_ROOT_IS_OBJECT(body))
		return &body->root;
	if (JB_ROOT_COUNT(body) == 0)
		return NULL;
	return json_value_object(getIthJsonbValueFromContainer(&body->root, 0));
}

static bool
is_given(const JsonbValue *value)
{
	return value && value->type != jbvNull;
}

/* OpenRouter and Mistral: the upstream failed after the status was sent. */
static bool
any_choice_failed(JsonbContainer *body)
{
	JsonbContainer *choices = json_member_array(body, "choices");
	JsonbIterator *iterator;
	JsonbValue	choice;

	if (choices == NULL)
		return false;
	iterator = json_iterate(choices);
	while (json_next_element(&iterator, &choice))
	{
		JsonbContainer *object = json_value_object(&choice);

		if (object && (is_given(json_member(object, "error")) ||
					   json_value_is(json_member(object, "finish_reason"), "error")))
			return true;
	}
	return false;
}

static bool
is_good_status(int status)
{
	return status >= 200 && status <= 299;
}

static void
openai_parse_chat(const ProviderEndpoint *endpoint, const WireResponse *wire,
				  ProviderReply *reply)
{
	const char *problem;
	Jsonb	   *json = json_from_bytes(wire->body, wire->body_length, &problem);
	JsonbContainer *body = body_object(json);

	start_reply(wire, reply);
	if (body)
		openai_read_usage(body, &reply->answer);

	if (!is_good_status(wire->status))
		failure_read(wire, body, reply);
	else if (body == NULL)
		failure_protocol(json ? "the answer is no JSON object" : problem, reply);
	else if (is_given(json_member(body, "error")) || any_choice_failed(body))
		failure_read(wire, body, reply);
	else if (!openai_read_completion(body, wire, &reply->answer, &problem))
		failure_protocol(problem, reply);
	else
		reply->outcome = OUTCOME_OK;
}

static void
openai_parse_check(const ProviderEndpoint *endpoint, const WireResponse *wire,
				   ProviderReply *reply)
{
	const char *problem;
	Jsonb	   *json = json_from_bytes(wire->body, wire->body_length, &problem);
	JsonbContainer *body = body_object(json);

	start_reply(wire, reply);
	if (!is_good_status(wire->status))
		failure_read(wire, body, reply);
	else if (json == NULL || JB_ROOT_IS_SCALAR(json))
		failure_protocol(json ? "the answer is no JSON object" : problem, reply);
	else if (JB_ROOT_IS_OBJECT(json) && is_given(json_member(body, "error")))
		failure_read(wire, body, reply);
	else
		reply->outcome = OUTCOME_OK;
}

const ApiFormat openai_format = {
	.name = "openai",
	.read_rules = openai_read_rules,
	.build_chat = openai_build_chat,
	.parse_chat = openai_parse_chat,
	.build_check = openai_build_check,
	.parse_check = openai_parse_check,
};

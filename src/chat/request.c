/*
 * request.c
 *		Parsing one chat request: the first argument and the options, merged.
 *
 * "options" wins over the members of a whole request object; a null member is
 * as if it were absent.  Nothing is read before it was checked.
 */
#include "chat/request.h"

#include "chat/field.h"
#include "chat/json.h"
#include "chat/messages.h"
#include "chat/params.h"
#include "chat/tokens.h"

/* The two places where a parameter may stand; each an object or NULL. */
typedef struct Sources
{
	JsonbContainer *options;
	JsonbContainer *object; /* the whole request object */
} Sources;

bool
chat_request_returns_errors(Jsonb *options)
{
	JsonbContainer *router = options ? json_member_object(&options->root, "router") : NULL;

	return router && json_value_is(json_member(router, "on_error"), "return");
}

static JsonbValue *
member_given(JsonbContainer *object, const char *name)
{
	JsonbValue *value = object ? json_member(object, name) : NULL;

	return value && value->type != jbvNull ? value : NULL;
}

static JsonbValue *
param_given(const Sources *sources, const char *name)
{
	JsonbValue *value = member_given(sources->options, name);

	return value ? value : member_given(sources->object, name);
}

/* Why a jsonb is no object, as a type name. */
static const char *
root_type_name(Jsonb *jsonb)
{
	if (JB_ROOT_IS_SCALAR(jsonb))
		return json_type_name(getIthJsonbValueFromContainer(&jsonb->root, 0));
	return JB_ROOT_IS_OBJECT(jsonb) ? "an object" : "an array";
}

static bool
read_options(Jsonb *options, Sources *sources, LlmError *error)
{
	FieldPath path = field_member(NULL, "options");
	FieldPath messages_path = field_member(&path, "messages");

	sources->options = NULL;
	if (options == NULL)
		return true;
	if (!JB_ROOT_IS_OBJECT(options))
		return field_invalid(error, &path, "must be an object, not %s", root_type_name(options));
	sources->options = &options->root;
	if (json_member(sources->options, "messages"))
		return field_invalid(error, &messages_path, "belongs in the first argument");
	return params_check(sources->options, &path, error);
}

/* Find the messages array: the first argument, or its member. */
static bool
read_messages(Jsonb *argument, Sources *sources, ChatRequest *request, LlmError *error)
{
	FieldPath	path = field_member(NULL, "messages");
	JsonbValue *messages;

	sources->object = NULL;
	request->messages = argument;
	if (JB_ROOT_IS_ARRAY(argument) && !JB_ROOT_IS_SCALAR(argument))
		return true;
	if (!JB_ROOT_IS_OBJECT(argument))
		return field_invalid(error, &path,
							 "must be an array of messages or a whole request object, not %s",
							 root_type_name(argument));

	sources->object = &argument->root;
	messages = member_given(sources->object, "messages");
	if (messages == NULL)
	{
		field_invalid(error, &path, "is missing in the request object");
		if (json_member(sources->object, "role"))
			error_hint(error, "A single message has to stand in an array: [{\"role\": …}].");
		return false;
	}
	if (!params_check(sources->object, NULL, error))
		return false;
	request->messages = JsonbValueToJsonb(messages);
	return true;
}

/* Push the members of one source that go to the provider. */
static void
push_forwarded(JsonbParseState **state, JsonbContainer *object, JsonbContainer *overriding)
{
	JsonbIterator *iterator = json_iterate(object);
	JsonbValue	   key;
	JsonbValue	   value;

	while (json_next_member(&iterator, &key, &value))
	{
		if (value.type == jbvNull || !params_is_forwarded(&key))
			continue;
		if (overriding && member_given(overriding, json_value_string(&key)))
			continue;
		pushJsonbValue(state, WJB_KEY, &key);
		pushJsonbValue(state, WJB_VALUE, &value);
	}
}

static Jsonb *
merge_params(const Sources *sources)
{
	JsonbParseState *state = NULL;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	if (sources->object)
		push_forwarded(&state, sources->object, sources->options);
	if (sources->options)
		push_forwarded(&state, sources->options, NULL);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/* The output limit, under either of its names; 0 when it was not given. */
static int64
output_limit(const Sources *sources)
{
	JsonbContainer *const places[] = { sources->options, sources->object };
	int64				  limit = 0;

	for (int i = 0; i < (int) lengthof(places) && limit == 0; i++)
	{
		JsonbValue *value = member_given(places[i], "max_completion_tokens");

		if (value == NULL)
			value = member_given(places[i], "max_tokens");
		json_value_int64(value, &limit);
	}
	return limit;
}

/* "stream" may repeat what the function does anyway. */
static bool
check_stream(JsonbContainer *source, const FieldPath *parent, ChatMode mode, LlmError *error)
{
	FieldPath path = field_member(parent, "stream");
	bool	  wanted = mode == CHAT_STREAM;

	if (source)
		json_member_bool(source, "stream", &wanted);
	if (mode == CHAT_PLAN || wanted == (mode == CHAT_STREAM))
		return true;
	field_invalid(error, &path, "cannot be %s here", mode == CHAT_STREAM ? "false" : "true");
	return error_hint(error, "llm_chat returns the whole answer, llm_chat_stream its pieces as they come; "
							 "leave \"stream\" out.");
}

static bool
is_filled_array(const JsonbValue *value)
{
	JsonbContainer *array = json_value_array(value);

	return array && JsonContainerSize(array) > 0;
}

static void
read_params(const Sources *sources, const MessageNeeds *needs, ChatRequest *request)
{
	JsonbValue	   *model = param_given(sources, "model");
	JsonbContainer *format = json_value_object(param_given(sources, "response_format"));
	int64			choices = 1;

	request->params = merge_params(sources);
	request->model = model ? json_value_string(model) : NULL;
	request->max_output_tokens = output_limit(sources);
	json_value_int64(param_given(sources, "n"), &choices);
	request->choices = (int) choices;
	request->needs_vision = needs->vision;
	request->needs_tools = needs->tools ||
						   is_filled_array(param_given(sources, "tools")) ||
						   is_filled_array(param_given(sources, "functions"));
	request->needs_json_schema = format &&
								 json_value_is(json_member(format, "type"), "json_schema");
	params_read_router(json_value_object(param_given(sources, "router")), &request->router);
}

bool
chat_request_parse(Jsonb *messages, Jsonb *options, ChatMode mode, ChatRequest *request,
				   LlmError *error)
{
	FieldPath	 options_path = field_member(NULL, "options");
	Sources		 sources;
	MessageNeeds needs;

	memset(request, 0, sizeof(*request));
	if (!read_messages(messages, &sources, request, error) ||
		!read_options(options, &sources, error) ||
		!check_stream(sources.object, NULL, mode, error) ||
		!check_stream(sources.options, &options_path, mode, error) ||
		!messages_check(&request->messages->root, &needs, error))
		return false;
	request->streams = mode == CHAT_STREAM;
	read_params(&sources, &needs, request);
	request->input_tokens = tokens_estimate_request(&request->messages->root,
													&request->params->root);
	return true;
}

Jsonb *
chat_messages_from_prompt(const char *prompt, int length)
{
	JsonbParseState *state = NULL;

	pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	json_push_string(&state, "role", "user", 4);
	json_push_string(&state, "content", prompt, length);
	pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_ARRAY, NULL));
}

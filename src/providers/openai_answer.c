/*
 * openai_answer.c
 *		Making a chat.completion of a good answer: members that servers leave
 *		out are filled in, those that OpenAI types otherwise are brought into its
 *		form, and all others stay.
 *
 * Each object is rebuilt by two steps: its members are copied, except those
 * that are then written in their right form.
 */
#include "chat/json.h"
#include "providers/openai.h"
#include "datatype/timestamp.h"

/* Copy a member that has to be a non-empty string, or write "otherwise". */
static void
push_string_or(JsonbParseState **state, JsonbContainer *object, const char *name,
			   const char *otherwise)
{
	JsonbValue *value = json_member(object, name);

	if (json_value_filled(value))
		json_push_member(state, name, value);
	else
		json_push_string(state, name, otherwise, (int) strlen(otherwise));
}

/* The reason in OpenAI's word; the left column is what others say. */
static const struct
{
	const char *said;
	const char *meant;
} finish_reasons[] = {
	{ "stop", "stop" },
	{ "length", "length" },
	{ "tool_calls", "tool_calls" },
	{ "content_filter", "content_filter" },
	{ "function_call", "function_call" },
	{ "eos", "stop" },		 /* Together */
	{ "eos_token", "stop" }, /* Hugging Face */
	{ "stop_sequence", "stop" },
	{ "end_turn", "stop" },
	{ "model_length", "length" }, /* Mistral */
	{ "max_tokens", "length" },
	{ "max_output_tokens", "length" },
	{ "context_length_exceeded", "length" },
	{ "tool_use", "tool_calls" },
	{ "refusal", "content_filter" },
	{ "safety", "content_filter" },
};

const char *
openai_finish_reason(const JsonbValue *said, bool has_tool_calls)
{
	for (int i = 0; said && i < (int) lengthof(finish_reasons); i++)
		if (json_value_is(said, finish_reasons[i].said))
			return finish_reasons[i].meant;
	return has_tool_calls ? "tool_calls" : "stop";
}

/* Append the text of {"type":"text","text":…} parts to "joined". */
static void
join_text_parts(JsonbContainer *parts, StringInfo joined)
{
	JsonbIterator *iterator = json_iterate(parts);
	JsonbValue	   part;

	while (json_next_element(&iterator, &part))
	{
		JsonbContainer *object = json_value_object(&part);
		JsonbValue	   *text = object ? json_member(object, "text") : NULL;

		if (text && text->type == jbvString)
			appendBinaryStringInfo(joined, text->val.string.val, text->val.string.len);
	}
}

/* Mistral's content as parts: text, and thinking that holds text parts. */
void
openai_read_parts(JsonbContainer *parts, StringInfo text, StringInfo thinking)
{
	JsonbIterator *iterator = json_iterate(parts);
	JsonbValue	   part;

	initStringInfo(text);
	join_text_parts(parts, text);

	initStringInfo(thinking);
	while (json_next_element(&iterator, &part))
	{
		JsonbContainer *object = json_value_object(&part);
		JsonbContainer *thoughts = object ? json_member_array(object, "thinking") : NULL;

		if (thoughts)
			join_text_parts(thoughts, thinking);
	}
}

/* Callers find the reasoning under one name, whatever the server calls it. */
static void
push_reasoning(JsonbParseState **state, JsonbContainer *message, const StringInfoData *thinking)
{
	JsonbValue *reasoning = json_member(message, "reasoning");

	if (json_value_given(json_member(message, "reasoning_content")))
		return;
	if (thinking && thinking->len > 0)
		json_push_string(state, "reasoning_content", thinking->data, thinking->len);
	else if (json_value_filled(reasoning))
		json_push_member(state, "reasoning_content", reasoning);
}

/* Arguments are a string of JSON; some servers send the object itself. */
void
openai_push_arguments(JsonbParseState **state, const JsonbValue *arguments, const char *if_none)
{
	JsonbValue value;

	if (arguments && arguments->type == jbvString)
	{
		value = *arguments;
		json_push_member(state, "arguments", &value);
	}
	else if (json_value_object(arguments))
	{
		StringInfoData text;

		initStringInfo(&text);
		JsonbToCString(&text, arguments->val.binary.data, arguments->val.binary.len);
		json_push_string(state, "arguments", text.data, text.len);
	}
	else
		json_push_string(state, "arguments", if_none, (int) strlen(if_none));
}

static bool
push_function(JsonbParseState **state, JsonbContainer *function)
{
	static const char *const rewritten[] = { "name", "arguments", NULL };
	JsonbValue				*name = json_member(function, "name");

	if (!json_value_filled(name))
		return false;
	json_push_key(state, "function");
	pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	json_push_members(state, function, rewritten);
	json_push_member(state, "name", name);
	openai_push_arguments(state, json_member(function, "arguments"), "{}");
	pushJsonbValue(state, WJB_END_OBJECT, NULL);
	return true;
}

static bool
push_tool_call(JsonbParseState **state, JsonbContainer *call, int position)
{
	static const char *const rewritten[] = { "id", "type", "function", NULL };
	JsonbContainer			*function = json_member_object(call, "function");

	pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	json_push_members(state, call, rewritten);
	push_string_or(state, call, "id", psprintf("call_%d", position));
	push_string_or(state, call, "type", "function");
	if (function && !push_function(state, function))
		return false;
	pushJsonbValue(state, WJB_END_OBJECT, NULL);

	/* A custom tool's call carries its input under "custom". */
	return function || json_member_object(call, "custom");
}

static bool
push_tool_calls(JsonbParseState **state, JsonbContainer *calls)
{
	JsonbIterator *iterator = json_iterate(calls);
	JsonbValue	   call;
	int			   position = 0;

	json_push_key(state, "tool_calls");
	pushJsonbValue(state, WJB_BEGIN_ARRAY, NULL);
	while (json_next_element(&iterator, &call))
	{
		if (!json_value_object(&call) ||
			!push_tool_call(state, json_value_object(&call), position++))
			return false;
	}
	pushJsonbValue(state, WJB_END_ARRAY, NULL);
	return true;
}

/* content, refusal and tool_calls; false when they are of a wrong kind. */
static bool
push_message(JsonbParseState **state, JsonbContainer *message, bool *has_tool_calls)
{
	static const char *const rewritten[] = { "role", "content", "refusal", "tool_calls", NULL };
	JsonbValue				*content = json_member(message, "content");
	JsonbValue				*refusal = json_member(message, "refusal");
	JsonbContainer			*calls = json_member_array(message, "tool_calls");
	StringInfoData			 text;
	StringInfoData			 thinking;
	const StringInfoData	*thoughts = NULL;

	json_push_key(state, "message");
	pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	json_push_members(state, message, rewritten);
	json_push_string(state, "role", "assistant", 9);

	if (content == NULL || content->type == jbvNull)
		json_push_null(state, "content");
	else if (content->type == jbvString)
		json_push_member(state, "content", content);
	else if (json_value_array(content))
	{
		openai_read_parts(json_value_array(content), &text, &thinking);
		json_push_string(state, "content", text.data, text.len);
		thoughts = &thinking;
	}
	else
		return false;
	push_reasoning(state, message, thoughts);

	if (json_value_filled(refusal))
		json_push_member(state, "refusal", refusal);
	else
		json_push_null(state, "refusal");

	*has_tool_calls = calls && JsonContainerSize(calls) > 0;
	if (*has_tool_calls && !push_tool_calls(state, calls))
		return false;
	pushJsonbValue(state, WJB_END_OBJECT, NULL);
	return true;
}

static bool
push_choice(JsonbParseState **state, JsonbContainer *choice, int position,
			const char **finish_reason)
{
	static const char *const rewritten[] = {
		"index", "message", "finish_reason", "logprobs", NULL
	};
	JsonbContainer *message = json_member_object(choice, "message");
	JsonbValue	   *logprobs = json_member(choice, "logprobs");
	bool			has_tool_calls;
	int64			index = position;

	if (message == NULL)
		return false;
	json_member_int64(choice, "index", &index);

	pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	json_push_members(state, choice, rewritten);
	json_push_int64(state, "index", index);
	if (!push_message(state, message, &has_tool_calls))
		return false;
	if (json_value_object(logprobs))
		json_push_member(state, "logprobs", logprobs);
	else
		json_push_null(state, "logprobs");
	*finish_reason = openai_finish_reason(json_member(choice, "finish_reason"), has_tool_calls);
	json_push_string(state, "finish_reason", *finish_reason, (int) strlen(*finish_reason));
	pushJsonbValue(state, WJB_END_OBJECT, NULL);
	return true;
}

static bool
push_choices(JsonbParseState **state, JsonbContainer *choices, ChatAnswer *answer)
{
	JsonbIterator *iterator = json_iterate(choices);
	JsonbValue	   choice;
	int			   position = 0;

	json_push_key(state, "choices");
	pushJsonbValue(state, WJB_BEGIN_ARRAY, NULL);
	while (json_next_element(&iterator, &choice))
	{
		const char *finish_reason;

		if (!json_value_object(&choice) ||
			!push_choice(state, json_value_object(&choice), position, &finish_reason))
			return false;
		if (position++ == 0)
			answer->finish_reason = pstrdup(finish_reason);
	}
	pushJsonbValue(state, WJB_END_ARRAY, NULL);
	return true;
}

static int64
unix_time(TimestampTz at)
{
	return at / USECS_PER_SEC +
		   (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * (int64) SECS_PER_DAY;
}

/* The whole answer, as an object that is still open. */
static JsonbParseState *
build_completion(JsonbContainer *body, const WireResponse *wire, ChatAnswer *answer)
{
	static const char *const rewritten[] = {
		"id", "object", "created", "model", "choices", "usage", "llm_router", NULL
	};
	JsonbParseState *state = NULL;
	int64			 created;

	if (!json_member_int64(body, "created", &created))
		created = unix_time(wire->received_at);

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	json_push_members(&state, body, rewritten);
	push_string_or(&state, body, "id", psprintf("chatcmpl-" INT64_FORMAT, wire->received_at));
	json_push_string(&state, "object", "chat.completion", 15);
	json_push_int64(&state, "created", created);
	push_string_or(&state, body, "model", "unknown");
	if (!push_choices(&state, json_member_array(body, "choices"), answer))
		return NULL;
	answer_push_usage(&state, &answer->usage, json_member_object(body, "usage"));
	return state;
}

bool
openai_read_completion(Exchange *exchange, JsonbContainer *body, const WireResponse *wire,
					   ChatAnswer *answer, const char **problem)
{
	JsonbContainer *choices = json_member_array(body, "choices");

	if (choices == NULL || JsonContainerSize(choices) == 0)
	{
		*problem = "the answer has no choices";
		return false;
	}
	answer->completion = build_completion(body, wire, answer);
	if (answer->completion == NULL)
	{
		*problem = "a choice of the answer has no proper message";
		return false;
	}
	if (exchange->request->streams)
		answer->completion =
			exchange_chunks_of(exchange,
							   JsonbValueToJsonb(pushJsonbValue(&answer->completion, WJB_END_OBJECT, NULL)),
							   &answer->usage);
	return true;
}

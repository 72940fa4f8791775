/*
 * anthropic_answer.c
 *		Saying what a message's blocks are in OpenAI's terms, for whole messages
 *		and for streams, which bring the same blocks in pieces.
 *
 * Where a tool's input stands for the answer (see anthropic_answer_tool), texts are
 * held back: they are the answer only if the tool has not been called, because
 * the model was cut off or refused.
 */
#include "providers/anthropic.h"

#include "utils/memutils.h"

/* More blocks of thoughts than this are no answer. */
#define MAX_THOUGHTS 1024

AnthropicReading *
anthropic_reading(Exchange *exchange)
{
	MemoryContext	  previous;
	AnthropicReading *reading = exchange->state;

	if (reading == NULL)
	{
		previous = MemoryContextSwitchTo(exchange->context);
		reading = palloc0(sizeof(AnthropicReading));
		reading->exchange = exchange;
		reading->answer_tool = anthropic_answer_tool(exchange);
		if (reading->answer_tool)
			initStringInfo(&reading->held_text);
		exchange->state = reading;
		MemoryContextSwitchTo(previous);
	}
	return reading;
}

/* ------------------------------------------------------------------------
 * Blocks
 * ------------------------------------------------------------------------
 */

void
anthropic_add_text(AnthropicReading *reading, const JsonbValue *text)
{
	if (!json_value_filled(text))
		return;
	if (reading->answer_tool)
		appendBinaryStringInfo(&reading->held_text, text->val.string.val, text->val.string.len);
	else
	{
		answer_add_text(reading->exchange->answer, 0, text->val.string.val, text->val.string.len);
		reading->has_text = true;
	}
}

void
anthropic_add_thinking(AnthropicReading *reading, const JsonbValue *text)
{
	if (json_value_filled(text))
		answer_add_reasoning(reading->exchange->answer, 0, text->val.string.val,
							 text->val.string.len);
}

static Jsonb *
array_of(List *elements)
{
	JsonbParseState *state = NULL;
	ListCell		*cell;

	pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	foreach (cell, elements)
	{
		Jsonb	  *element = lfirst(cell);
		JsonbValue value = { .type = jbvBinary };

		value.val.binary.data = &element->root;
		value.val.binary.len = VARSIZE(element) - VARHDRSZ;
		pushJsonbValue(&state, WJB_ELEM, &value);
	}
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_ARRAY, NULL));
}

/* A stream hands each block out at once, a whole answer has all of them in one member. */
bool
anthropic_add_thought(AnthropicReading *reading, Jsonb *block)
{
	Exchange	 *exchange = reading->exchange;
	MemoryContext previous;

	if (reading->nthoughts++ >= MAX_THOUGHTS)
		return false;
	if (exchange->request->streams)
	{
		answer_set_member(exchange->answer, 0, "thinking_blocks", array_of(list_make1(block)));
		return true;
	}
	previous = MemoryContextSwitchTo(exchange->context);
	reading->thoughts = lappend(reading->thoughts, memcpy(palloc(VARSIZE(block)), block, VARSIZE(block)));
	MemoryContextSwitchTo(previous);
	return true;
}

int
anthropic_begin_tool(AnthropicReading *reading, JsonbContainer *block)
{
	JsonbValue *name = json_member(block, "name");
	JsonbValue *id = json_member(block, "id");
	int			call;

	if (!json_value_filled(name))
		return TOOL_REFUSED;
	if (reading->answer_tool && json_value_is(name, reading->answer_tool))
	{
		/* A second answer would make the first one no JSON. */
		if (reading->has_answer)
			return TOOL_IGNORED;
		reading->has_answer = true;
		return TOOL_IS_ANSWER;
	}
	call = answer_begin_tool_call(reading->exchange->answer, 0,
								  json_value_filled(id) ? json_value_string(id) : NULL,
								  json_value_string(name), NULL);
	if (call < 0)
		return TOOL_REFUSED;
	reading->calls++;
	return call;
}

void
anthropic_add_input(AnthropicReading *reading, int target, const char *text, int length)
{
	if (target == TOOL_IS_ANSWER)
		answer_add_text(reading->exchange->answer, 0, text, length);
	else if (target >= 0)
		answer_add_arguments(reading->exchange->answer, 0, target, text, length);
}

bool
anthropic_add_whole_input(AnthropicReading *reading, int target, JsonbContainer *block)
{
	JsonbValue	   *value = json_member(block, "input");
	JsonbContainer *input = json_value_object(value);
	StringInfoData	text;

	/* Some servers send text, as OpenAI would. */
	if (json_value_filled(value))
	{
		anthropic_add_input(reading, target, value->val.string.val, value->val.string.len);
		return true;
	}
	if (input == NULL || JsonContainerSize(input) == 0)
		return false;
	initStringInfo(&text);
	JsonbToCString(&text, input, value->val.binary.len);
	anthropic_add_input(reading, target, text.data, text.len);
	return true;
}

/* ------------------------------------------------------------------------
 * The end
 * ------------------------------------------------------------------------
 */

void
anthropic_read_end(AnthropicReading *reading, JsonbContainer *object)
{
	MemoryContext	previous = MemoryContextSwitchTo(reading->exchange->context);
	JsonbValue	   *reason = json_member(object, "stop_reason");
	JsonbContainer *details = json_member_object(object, "stop_details");
	JsonbValue	   *explanation = details ? json_member(details, "explanation") : NULL;

	if (json_value_filled(reason))
		reading->stop_reason = json_value_string(reason);
	if (json_value_filled(explanation))
		reading->explanation = pnstrdup(explanation->val.string.val, explanation->val.string.len);
	MemoryContextSwitchTo(previous);
}

/* stop_reason in OpenAI's words. */
static const struct
{
	const char *said;
	const char *meant;
} finish_reasons[] = {
	{ "end_turn", "stop" },
	{ "stop_sequence", "stop" },
	{ "pause_turn", "stop" },
	{ "tool_use", "tool_calls" },
	{ "max_tokens", "length" },
	{ "model_context_window_exceeded", "length" },
	{ "refusal", "content_filter" },
};

/* Calls without a reason, or with one that nobody knows, are calls all the same. */
static const char *
finish_reason(const AnthropicReading *reading)
{
	const char *meant = reading->calls > 0 ? "tool_calls" : "stop";

	for (int i = 0; reading->stop_reason && i < (int) lengthof(finish_reasons); i++)
		if (strcmp(reading->stop_reason, finish_reasons[i].said) == 0)
			meant = finish_reasons[i].meant;

	/* The answer's own tool, and the provider's, are no calls to the caller. */
	if (strcmp(meant, "tool_calls") == 0 && reading->calls == 0)
		meant = "stop";
	return meant;
}

void
anthropic_finish(AnthropicReading *reading, ProviderReply *reply)
{
	Answer	   *answer = reading->exchange->answer;
	const char *reason = finish_reason(reading);

	if (reading->answer_tool && !reading->has_answer && reading->held_text.len > 0)
	{
		answer_add_text(answer, 0, reading->held_text.data, reading->held_text.len);
		reading->has_text = true;
	}
	if (strcmp(reason, "content_filter") == 0 && reading->explanation)
		answer_add_refusal(answer, 0, reading->explanation, (int) strlen(reading->explanation));
	else if (!reading->has_text && !reading->has_answer && reading->calls == 0)
		answer_add_text(answer, 0, "", 0);
	if (reading->thoughts)
		answer_set_member(answer, 0, "thinking_blocks", array_of(reading->thoughts));
	answer_finish(answer, 0, reason);

	reply->outcome = OUTCOME_OK;
	reply->answer.usage = anthropic_whole_usage(&reading->usage);
	reply->answer.finish_reason = pstrdup(reason);
	reply->answer.completion = answer_close(answer, &reply->answer.usage, NULL);
}

/* ------------------------------------------------------------------------
 * A whole message
 * ------------------------------------------------------------------------
 */

static bool
read_tool_use(AnthropicReading *reading, JsonbContainer *block, const char **problem)
{
	int target = anthropic_begin_tool(reading, block);

	if (target == TOOL_REFUSED)
	{
		*problem = "a tool call of the answer has no name, or there are too many";
		return false;
	}
	if (!anthropic_add_whole_input(reading, target, block))
		anthropic_add_input(reading, target, "{}", 2);
	return true;
}

/* Blocks of other types are of the provider's own tools. */
static bool
read_block(AnthropicReading *reading, JsonbValue *value, const char **problem)
{
	JsonbContainer *block = json_value_object(value);
	JsonbValue	   *type = block ? json_member(block, "type") : NULL;

	if (json_value_is(type, "text"))
		anthropic_add_text(reading, json_member(block, "text"));
	else if (json_value_is(type, "tool_use"))
		return read_tool_use(reading, block, problem);
	else if (json_value_is(type, "thinking") || json_value_is(type, "redacted_thinking"))
	{
		anthropic_add_thinking(reading, json_member(block, "thinking"));
		*problem = "the answer has too many blocks of thoughts";
		return anthropic_add_thought(reading, JsonbValueToJsonb(value));
	}
	return true;
}

bool
anthropic_read_message(AnthropicReading *reading, JsonbContainer *message, const char **problem)
{
	JsonbContainer *content = json_member_array(message, "content");
	JsonbIterator  *iterator;
	JsonbValue		block;

	if (content == NULL)
	{
		*problem = "the answer has no content";
		return false;
	}
	answer_set_head(reading->exchange->answer, json_member_string(message, "id"),
					json_member_string(message, "model"), 0);
	iterator = json_iterate(content);
	while (json_next_element(&iterator, &block))
		if (!read_block(reading, &block, problem))
			return false;
	anthropic_read_end(reading, message);
	return true;
}

/*
 * cohere_request.c
 *		Writing the body of a chat request.
 */
#include "providers/cohere.h"

#include "chat/json.h"
#include "providers/conversation.h"
#include "providers/parameters.h"
#include "providers/tools.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

/* More than OpenAI's four, which the request has been checked for. */
#define MAX_STOP_SEQUENCES 5

/* JSON mode needs this: without it the model may write spaces for ever. */
#define JSON_INSTRUCTION "Answer with a JSON object."

typedef struct Writer
{
	JsonWriter		   json;
	WireRequest		  *wire;
	const Exchange	  *exchange;
	const ChatRequest *request;
	bool			   has_tools;
} Writer;

/* The parameters that are read here; of the tools', all but parallel_tool_calls. */
static const char *const read_parameters[] = {
	"tools", "tool_choice", "functions", "function_call", "temperature", "top_p",
	"top_k", "stop", "seed", "frequency_penalty", "presence_penalty", "logprobs",
	"response_format", "reasoning_effort", "reasoning", NULL
};

/* ------------------------------------------------------------------------
 * Sampling
 * ------------------------------------------------------------------------
 */

static bool
is_negative(const JsonbValue *number)
{
	return *DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(number->val.numeric))) == '-';
}

/* Some models take only one of the two, and none takes a negative one. */
static void
write_penalties(Writer *writer)
{
	static const char *const names[] = { "frequency_penalty", "presence_penalty" };
	bool					 written = false;

	for (int i = 0; i < (int) lengthof(names); i++)
		written = written || parameter_in_extra(writer->request, names[i]);
	for (int i = 0; i < (int) lengthof(names); i++)
	{
		JsonbValue	name = { .type = jbvString };
		JsonbValue *value = parameter(writer->request, names[i]);

		name.val.string.val = unconstify(char *, names[i]);
		name.val.string.len = (int) strlen(names[i]);
		if (parameter_is_idle(writer->request, &name, value) ||
			parameter_in_extra(writer->request, names[i]))
			continue;
		if (written || is_negative(value))
			wire_request_dropped(writer->wire, names[i]);
		else
		{
			parameter_write_number(writer->request, names[i], "0", "1", names[i], &writer->json,
								   writer->wire);
			written = true;
		}
	}
}

static void
write_sampling(Writer *writer)
{
	static const struct
	{
		const char *name;
		const char *minimum;
		const char *maximum;
		const char *name_as_sent;
	} numbers[] = {
		{ "temperature", "0", "1", "temperature" },
		{ "top_p", "0.01", "0.99", "p" },
		{ "seed", "0", NULL, "seed" },
	};
	JsonbValue *top_k = parameter(writer->request, "top_k");
	JsonbValue *logprobs = parameter(writer->request, "logprobs");

	for (int i = 0; i < (int) lengthof(numbers); i++)
		parameter_write_number(writer->request, numbers[i].name, numbers[i].minimum, numbers[i].maximum,
							   numbers[i].name_as_sent, &writer->json, writer->wire);

	/* -1 is how others say that there is no such limit, the default here. */
	if (top_k && !is_negative(top_k))
		parameter_write_number(writer->request, "top_k", NULL, "500", "k", &writer->json, writer->wire);
	write_penalties(writer);
	parameter_write_stop(writer->request, "stop_sequences", MAX_STOP_SEQUENCES, false, &writer->json,
						 writer->wire);
	if (logprobs && logprobs->val.boolean && !parameter_in_extra(writer->request, "logprobs"))
		json_write_member(&writer->json, "logprobs", logprobs);
}

/* ------------------------------------------------------------------------
 * Thinking
 * ------------------------------------------------------------------------
 */

/* The models that can think, and do unless they are told not to. */
static bool
can_think(const char *model)
{
	return strstr(model, "reasoning") != NULL || strncmp(model, "command-a-plus", 14) == 0;
}

/* Tokens for thoughts; 0: as many as the model likes. */
static int64
thinking_budget(ReasoningEffort effort, int64 max_output_tokens)
{
	static const int64 budgets[] = {
		[EFFORT_MINIMAL] = 512,
		[EFFORT_LOW] = 2048,
		[EFFORT_MEDIUM] = 8192,
		[EFFORT_HIGH] = 24576,
		[EFFORT_XHIGH] = 0,
		[EFFORT_MAX] = 0,
	};
	int64 budget = budgets[effort];

	/* Thoughts count as output: a quarter of it is left for the answer. */
	int64 most = Max(max_output_tokens * 3 / 4, 1);

	if (max_output_tokens > 0 && (budget == 0 || budget > most))
		budget = most;
	return budget;
}

static void
write_thinking(Writer *writer)
{
	static const char *const names[] = { "reasoning_effort", "reasoning" };
	ReasoningEffort			 effort = parameter_reasoning_effort(writer->request);
	bool					 thinks = can_think(writer->exchange->model.name);
	int64					 budget;

	if (parameter_in_extra(writer->request, "thinking"))
		return;
	if (effort == EFFORT_UNSET || (!thinks && effort != EFFORT_NONE))
	{
		for (int i = 0; i < (int) lengthof(names); i++)
			if (parameter(writer->request, names[i]))
				wire_request_dropped(writer->wire, names[i]);
		return;
	}
	if (!thinks)
		return;
	json_write_key(&writer->json, "thinking");
	json_write_begin(&writer->json, '{');
	json_write_member_text(&writer->json, "type", effort == EFFORT_NONE ? "disabled" : "enabled");
	if (effort != EFFORT_NONE &&
		(budget = thinking_budget(effort, writer->request->max_output_tokens)) > 0)
	{
		json_write_key(&writer->json, "token_budget");
		json_write_int64(&writer->json, budget);
	}
	json_write_end(&writer->json, '}');
}

/* ------------------------------------------------------------------------
 * The form of the answer
 * ------------------------------------------------------------------------
 */

static bool
has_word_json(Slice text)
{
	for (int i = 0; i + 4 <= text.length; i++)
		if (pg_strncasecmp(text.data + i, "json", 4) == 0)
			return true;
	return false;
}

static bool
conversation_mentions_json(JsonbContainer *messages)
{
	JsonbIterator *iterator = json_iterate(messages);
	JsonbValue	   element;

	while (json_next_element(&iterator, &element))
	{
		PartWalk	walk = message_parts(json_value_object(&element));
		MessagePart part;

		while (next_part(&walk, &part))
			if (part.kind == PART_TEXT && has_word_json(part.text))
				return true;
	}
	return false;
}

/* Whether response_format goes with what else is sent. */
static bool
can_format(const Writer *writer)
{
	return !writer->has_tools && !parameter_in_extra(writer->request, "documents") &&
		   !parameter_in_extra(writer->request, "response_format");
}

static void
write_format(Writer *writer)
{
	JsonbContainer *schema = NULL;
	ResponseFormat	format = parameter_response_format(writer->request, &schema, NULL);
	bool			changed = false;

	if (format == RESPONSE_TEXT || parameter_in_extra(writer->request, "response_format"))
		return;
	if (!can_format(writer))
	{
		wire_request_dropped(writer->wire, "response_format");
		return;
	}
	json_write_key(&writer->json, "response_format");
	json_write_begin(&writer->json, '{');
	json_write_member_text(&writer->json, "type", "json_object");
	if (schema && json_value_is(json_member(schema, "type"), "object"))
	{
		json_write_key(&writer->json, "json_schema");
		cohere_write_schema(&writer->json, schema, &changed);
	}
	else if (schema)
		changed = true; /* of no object: refused */
	json_write_end(&writer->json, '}');
	if (changed)
		wire_request_adjusted(writer->wire, "response_format");
}

/* ------------------------------------------------------------------------
 * The body
 * ------------------------------------------------------------------------
 */

/* The conversation has to ask for JSON, in whatever words. */
static const char *
instruction_for_format(const Writer *writer)
{
	if (!can_format(writer) ||
		parameter_response_format(writer->request, NULL, NULL) == RESPONSE_TEXT ||
		conversation_mentions_json(&writer->request->messages->root))
		return NULL;
	return JSON_INSTRUCTION;
}

static bool
write_messages(Writer *writer, LlmError *error)
{
	json_write_key(&writer->json, "messages");
	return cohere_write_messages(&writer->json, &writer->request->messages->root,
								 instruction_for_format(writer), error);
}

bool
cohere_write_chat(const Exchange *exchange, WireRequest *wire, LlmError *error)
{
	Writer writer = {
		.json = { .out = &wire->body },
		.wire = wire,
		.exchange = exchange,
		.request = exchange->request,
	};
	int64 limit = exchange->request->max_output_tokens;

	json_write_begin(&writer.json, '{');
	json_write_member_text(&writer.json, "model", exchange->model.name);
	if (!cohere_write_tools(exchange, &writer.json, wire, &writer.has_tools, error) ||
		!write_messages(&writer, error))
		return false;
	write_sampling(&writer);
	write_thinking(&writer);
	write_format(&writer);
	if (limit > 0 && !parameter_in_extra(writer.request, "max_tokens"))
	{
		json_write_key(&writer.json, "max_tokens");
		json_write_int64(&writer.json, limit);
	}
	if (writer.request->streams)
	{
		json_write_key(&writer.json, "stream");
		json_write_bool(&writer.json, true);
	}
	parameters_write_extra(writer.request, NULL, &writer.json);
	json_write_end(&writer.json, '}');
	parameters_note_dropped(writer.request, read_parameters, wire);
	return true;
}

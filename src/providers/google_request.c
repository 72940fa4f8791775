/*
 * google_request.c
 *		Writing the body of a chat request.
 *
 * Members of options.router.extra replace ours; those of its generationConfig
 * replace ours one by one.
 */
#include "providers/google.h"

#define MAX_CANDIDATES	   8
#define MAX_STOP_SEQUENCES 5

/* The parameters that are read here. */
static const char *const read_parameters[] = {
	TOOL_PARAMETERS,
	"frequency_penalty",
	"n",
	"presence_penalty",
	"reasoning",
	"reasoning_effort",
	"response_format",
	"seed",
	"stop",
	"temperature",
	"top_k",
	"top_p",
	NULL,
};

typedef struct Body
{
	JsonWriter		   writer;
	WireRequest		  *wire;
	const Exchange	  *exchange;
	const ChatRequest *request;
	GoogleModelTraits  model;
	ToolSet			   tools;
	JsonbContainer	  *extra_config; /* extra's generationConfig, or NULL */
} Body;

/* Whether the caller's extra says this member of generationConfig. */
static bool
is_theirs(const Body *body, const char *name)
{
	return body->extra_config && json_member(body->extra_config, name);
}

static void
write_number(Body *body, const char *name, const char *minimum, const char *maximum, const char *as_sent)
{
	if (!is_theirs(body, as_sent))
		parameter_write_number(body->request, name, minimum, maximum, as_sent, &body->writer, body->wire);
}

/* ------------------------------------------------------------------------
 * Tools
 * ------------------------------------------------------------------------
 */

static void
write_declaration(JsonWriter *writer, const ChatTool *tool)
{
	json_write_begin(writer, '{');
	json_write_member(writer, "name", &tool->name);
	if (tool->description)
		json_write_member(writer, "description", tool->description);
	if (tool->parameters && JsonContainerSize(tool->parameters) > 0)
	{
		json_write_key(writer, "parametersJsonSchema");
		json_write_container(writer, tool->parameters);
	}
	json_write_end(writer, '}');
}

static void
write_tool_choice(Body *body)
{
	static const char *const modes[] = {
		[TOOLS_AUTO] = "AUTO",
		[TOOLS_NONE] = "NONE",
		[TOOLS_REQUIRED] = "ANY",
		[TOOLS_NAMED] = "ANY",
	};
	JsonWriter *writer = &body->writer;

	json_write_key(writer, "toolConfig");
	json_write_begin(writer, '{');
	json_write_key(writer, "functionCallingConfig");
	json_write_begin(writer, '{');
	json_write_member_text(writer, "mode", modes[body->tools.choice]);
	if (body->tools.choice == TOOLS_NAMED)
	{
		json_write_key(writer, "allowedFunctionNames");
		json_write_begin(writer, '[');
		json_write_value(writer, &body->tools.chosen);
		json_write_end(writer, ']');
	}
	json_write_end(writer, '}');
	json_write_end(writer, '}');
}

static void
write_tools(Body *body)
{
	JsonWriter *writer = &body->writer;
	ListCell   *cell;

	if (body->tools.tools == NIL)
		return;
	if (body->tools.serial)
		wire_request_dropped(body->wire, "parallel_tool_calls");
	if (!parameter_in_extra(body->request, "tools"))
	{
		json_write_key(writer, "tools");
		json_write_begin(writer, '[');
		json_write_begin(writer, '{');
		json_write_key(writer, "functionDeclarations");
		json_write_begin(writer, '[');
		foreach (cell, body->tools.tools)
			write_declaration(writer, lfirst(cell));
		json_write_end(writer, ']');
		json_write_end(writer, '}');
		json_write_end(writer, ']');
	}
	if (body->tools.choice != TOOLS_AUTO && !parameter_in_extra(body->request, "toolConfig"))
		write_tool_choice(body);
}

/* ------------------------------------------------------------------------
 * generationConfig
 * ------------------------------------------------------------------------
 */

static void
write_output_limit(Body *body)
{
	int64 limit = body->request->max_output_tokens;
	int64 maximum = body->exchange->model.max_output_tokens;

	if (limit <= 0 || is_theirs(body, "maxOutputTokens"))
		return;
	if (maximum > 0 && limit > maximum)
	{
		limit = maximum;
		wire_request_adjusted(body->wire, "max_completion_tokens");
	}
	json_write_key(&body->writer, "maxOutputTokens");
	json_write_int64(&body->writer, limit);
}

static void
write_candidates(Body *body)
{
	int choices = Min(body->request->choices, MAX_CANDIDATES);

	if (body->request->choices <= 1 || is_theirs(body, "candidateCount"))
		return;
	if (choices < body->request->choices)
		wire_request_adjusted(body->wire, "n");
	json_write_key(&body->writer, "candidateCount");
	json_write_int64(&body->writer, choices);
}

/* A seed has 32 bits here, a larger one is folded, so that equal ones stay equal. */
static void
write_seed(Body *body)
{
	int64 seed;

	if (!json_value_int64(parameter(body->request, "seed"), &seed) || is_theirs(body, "seed"))
		return;
	if (seed < PG_INT32_MIN || seed > PG_INT32_MAX)
	{
		seed = (int64) ((uint64) seed % PG_INT32_MAX);
		wire_request_adjusted(body->wire, "seed");
	}
	json_write_key(&body->writer, "seed");
	json_write_int64(&body->writer, seed);
}

/* The newer models refuse both. */
static void
write_penalties(Body *body)
{
	static const char *const names[] = { "presence_penalty", "frequency_penalty" };
	static const char *const as_sent[] = { "presencePenalty", "frequencyPenalty" };

	for (int i = 0; i < (int) lengthof(names); i++)
	{
		JsonbValue *value = parameter(body->request, names[i]);
		JsonbValue	name = { .type = jbvString };

		name.val.string.val = unconstify(char *, names[i]);
		name.val.string.len = (int) strlen(names[i]);
		if (value == NULL || parameter_is_idle(body->request, &name, value))
			continue;
		if (body->model.thinks)
			wire_request_dropped(body->wire, names[i]);
		else
			write_number(body, names[i], "-2", "2", as_sent[i]);
	}
}

/* JSON beside functions came with Gemini 3. */
static void
write_response_format(Body *body)
{
	JsonbContainer *schema = NULL;
	ResponseFormat	format = parameter_response_format(body->request, &schema, NULL);

	if (format == RESPONSE_TEXT)
		return;
	if (body->tools.tools && body->tools.choice != TOOLS_NONE && body->model.version < 300)
	{
		wire_request_dropped(body->wire, "response_format");
		return;
	}
	if (!is_theirs(body, "responseMimeType"))
		json_write_member_text(&body->writer, "responseMimeType", "application/json");
	if (schema && !is_theirs(body, "responseJsonSchema") && !is_theirs(body, "responseSchema"))
	{
		json_write_key(&body->writer, "responseJsonSchema");
		json_write_container(&body->writer, schema);
	}
}

/* ------------------------------------------------------------------------
 * Thinking
 * ------------------------------------------------------------------------
 */

/*
 * From Gemini 3 on: minimal, low, medium or high.  Thinking cannot be turned off,
 * and "minimal" is for the flash models before 3.7 only.
 */
static const char *
thinking_level(Body *body, ReasoningEffort effort)
{
	bool has_minimal = !body->model.is_pro && body->model.version < 307;

	switch (effort)
	{
		case EFFORT_LOW:
			return "low";
		case EFFORT_MEDIUM:
			return "medium";
		case EFFORT_HIGH:
			return "high";
		case EFFORT_MINIMAL:
			if (has_minimal)
				return "minimal";
			break;
		default:
			break;
	}
	wire_request_adjusted(body->wire, parameter_of_reasoning(body->request));
	if (effort > EFFORT_HIGH)
		return "high";
	return has_minimal ? "minimal" : "low";
}

/* Gemini 2.5: tokens.  Pro cannot be off and takes 128 to 32,768, the others up to 24,576. */
static int64
thinking_budget(Body *body, ReasoningEffort effort)
{
	static const int64 budgets[] = {
		[EFFORT_NONE] = 0,
		[EFFORT_MINIMAL] = 512,
		[EFFORT_LOW] = 1024,
		[EFFORT_MEDIUM] = 8192,
		[EFFORT_HIGH] = 24576,
		[EFFORT_XHIGH] = 32768,
		[EFFORT_MAX] = 32768,
	};
	int64 budget = budgets[effort];
	int64 minimum = body->model.is_pro ? 128 : 0;
	int64 maximum = body->model.is_pro ? 32768 : 24576;

	if (budget < minimum || budget > maximum)
		wire_request_adjusted(body->wire, parameter_of_reasoning(body->request));
	return Min(Max(budget, minimum), maximum);
}

static void
write_thinking(Body *body)
{
	ReasoningEffort effort = parameter_reasoning_effort(body->request);
	bool			asked = parameter(body->request, "reasoning_effort") ||
				 parameter(body->request, "reasoning");

	if (!asked || is_theirs(body, "thinkingConfig"))
		return;
	if (effort == EFFORT_UNSET || !body->model.thinks)
	{
		/* A model that does not think has nothing to turn off. */
		if (effort != EFFORT_NONE)
			wire_request_dropped(body->wire, parameter_of_reasoning(body->request));
		return;
	}
	json_write_key(&body->writer, "thinkingConfig");
	json_write_begin(&body->writer, '{');
	if (body->model.thinks_by_level)
		json_write_member_text(&body->writer, "thinkingLevel", thinking_level(body, effort));
	else
	{
		json_write_key(&body->writer, "thinkingBudget");
		json_write_int64(&body->writer, thinking_budget(body, effort));
	}
	if (effort != EFFORT_NONE)
	{
		json_write_key(&body->writer, "includeThoughts");
		json_write_bool(&body->writer, true);
	}
	json_write_end(&body->writer, '}');
}

static void
write_config(Body *body)
{
	JsonWriter	  *writer = &body->writer;
	JsonbIterator *iterator = body->extra_config ? json_iterate(body->extra_config) : NULL;
	StringInfoData config;
	StringInfo	   out = writer->out;
	JsonbValue	   name;
	JsonbValue	   value;

	/* Written aside: an empty one is left out. */
	initStringInfo(&config);
	*writer = (JsonWriter){ .out = &config };
	write_number(body, "temperature", "0", "2", "temperature");
	write_number(body, "top_p", "0", "1", "topP");
	if (parameter_limits_top_k(body->request))
		write_number(body, "top_k", NULL, NULL, "topK");
	write_output_limit(body);
	write_candidates(body);
	if (!is_theirs(body, "stopSequences"))
		parameter_write_stop(body->request, "stopSequences", MAX_STOP_SEQUENCES, false, writer, body->wire);
	write_seed(body);
	write_penalties(body);
	write_response_format(body);
	write_thinking(body);
	while (body->extra_config && json_next_member(&iterator, &name, &value))
		json_write_member(writer, json_value_string(&name), &value);

	*writer = (JsonWriter){ .out = out, .comma = true };
	if (config.len == 0)
		return;
	json_write_key(writer, "generationConfig");
	json_write_begin(writer, '{');
	appendBinaryStringInfo(out, config.data, config.len);
	json_write_end(writer, '}');
}

bool
google_append_chat(Exchange *exchange, WireRequest *wire, LlmError *error)
{
	static const char *const written[] = { "contents", "generationConfig", NULL };
	const ChatRequest		*request = exchange->request;
	Body					 body = {
							.writer = { .out = &wire->body },
							.wire = wire,
							.exchange = exchange,
							.request = request,
							.model = google_model_traits(exchange->model.name),
	};

	if (!tool_set_read(request, &body.tools, error))
		return false;
	if (request->router.extra)
		body.extra_config = json_member_object(&request->router.extra->root, "generationConfig");

	json_write_begin(&body.writer, '{');
	if (!google_write_messages(&body.writer, request, &body.model, error))
		return false;
	write_tools(&body);
	write_config(&body);
	parameters_write_extra(request, written, &body.writer);
	json_write_end(&body.writer, '}');
	parameters_note_dropped(request, read_parameters, wire);
	return true;
}

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
	const char		  *instruction;	 /* that asks for JSON, where nothing else can; or NULL */
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

/* Only models up to 2.0 are known to take them; the newer ones refuse both. */
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
		if (value == NULL || parameter_is_idle(body->request, &name, value) ||
			is_theirs(body, as_sent[i]))
			continue;
		if (body->model.has_penalties)
			write_number(body, names[i], "-2", "2", as_sent[i]);
		else
			wire_request_dropped(body->wire, names[i]);
	}
}

static void
write_response_format(Body *body)
{
	JsonbContainer *schema = NULL;
	ResponseFormat	format = parameter_response_format(body->request, &schema, NULL);

	if (format == RESPONSE_TEXT || body->instruction)
		return;
	if (!is_theirs(body, "responseMimeType"))
		json_write_member_text(&body->writer, "responseMimeType", "application/json");
	if (schema && !is_theirs(body, "responseJsonSchema") && !is_theirs(body, "responseSchema"))
	{
		json_write_key(&body->writer, "responseJsonSchema");
		json_write_container(&body->writer, schema);
	}
}

/*
 * JSON beside functions came with Gemini 3, and Gemma has no such mode at all: the
 * model is told then.  NULL where that is not needed.
 */
static const char *
format_instruction(const Body *body)
{
	JsonbContainer *schema = NULL;
	ResponseFormat	format = parameter_response_format(body->request, &schema, NULL);
	StringInfo		text;

	if (format == RESPONSE_TEXT || is_theirs(body, "responseMimeType") ||
		(body->model.has_json && (body->tools.tools == NIL || body->model.has_json_beside_tools)))
		return NULL;
	if (schema == NULL)
		return "Give every answer as a JSON object and nothing else.";
	text = makeStringInfo();
	appendStringInfoString(text, "Give every answer as JSON that fits this JSON Schema, and nothing else:\n");
	JsonbToCString(text, schema, -1);
	return text->data;
}

/* ------------------------------------------------------------------------
 * Thinking
 * ------------------------------------------------------------------------
 */

/* The model's level that is nearest to the effort, of two the higher; it cannot be off. */
static void
write_level(Body *body, ReasoningEffort effort)
{
	static const char *const levels[] = {
		[EFFORT_MINIMAL] = "minimal",
		[EFFORT_LOW] = "low",
		[EFFORT_MEDIUM] = "medium",
		[EFFORT_HIGH] = "high",
	};
	int best = EFFORT_HIGH;

	for (int level = EFFORT_HIGH; level >= EFFORT_MINIMAL; level--)
		if ((body->model.levels & GOOGLE_LEVEL(level)) &&
			abs(level - (int) effort) < abs(best - (int) effort))
			best = level;
	if (best != (int) effort)
		wire_request_adjusted(body->wire, parameter_of_reasoning(body->request));
	json_write_member_text(&body->writer, "thinkingLevel", levels[best]);
}

static void
write_budget(Body *body, ReasoningEffort effort)
{
	static const int budgets[] = {
		[EFFORT_NONE] = 0,
		[EFFORT_MINIMAL] = 512,
		[EFFORT_LOW] = 1024,
		[EFFORT_MEDIUM] = 8192,
		[EFFORT_HIGH] = 24576,
		[EFFORT_XHIGH] = 32768,
		[EFFORT_MAX] = 32768,
	};
	int budget = budgets[effort];

	if (budget > 0 || !body->model.can_stop_thinking)
		budget = Min(Max(budget, body->model.min_budget), body->model.max_budget);
	if (budget != budgets[effort])
		wire_request_adjusted(body->wire, parameter_of_reasoning(body->request));
	json_write_key(&body->writer, "thinkingBudget");
	json_write_int64(&body->writer, budget);
}

/* Who asks for reasoning sees it, unless he said that he does not want to. */
static void
write_thinking(Body *body)
{
	ReasoningEffort effort = parameter_reasoning_effort(body->request);
	JsonbValue	   *reasoning = parameter(body->request, "reasoning");
	bool			hidden = effort == EFFORT_NONE;

	if ((!reasoning && !parameter(body->request, "reasoning_effort")) ||
		is_theirs(body, "thinkingConfig"))
		return;
	if (effort == EFFORT_UNSET || body->model.thinking == GOOGLE_THINKS_NOT)
	{
		/* A model that does not think has nothing to turn off. */
		if (effort != EFFORT_NONE)
			wire_request_dropped(body->wire, parameter_of_reasoning(body->request));
		return;
	}
	if (json_value_object(reasoning))
		json_member_bool(json_value_object(reasoning), "exclude", &hidden);
	json_write_key(&body->writer, "thinkingConfig");
	json_write_begin(&body->writer, '{');
	if (body->model.thinking == GOOGLE_THINKS_AT_LEVEL)
		write_level(body, effort);
	else
		write_budget(body, effort);
	if (!hidden)
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
	JsonWriter	   outer = *writer;
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

	*writer = outer;
	if (config.len == 0)
		return;
	json_write_key(writer, "generationConfig");
	json_write_begin(writer, '{');
	appendBinaryStringInfo(writer->out, config.data, config.len);
	json_write_end(writer, '}');
}

bool
google_append_chat(Exchange *exchange, WireRequest *wire, LlmError *error)
{
	static const char *const written[] = { "generationConfig", NULL };
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
	body.instruction = format_instruction(&body);
	if (body.instruction)
		wire_request_adjusted(wire, "response_format");

	json_write_begin(&body.writer, '{');
	if (!google_write_messages(&body.writer, request, &body.model, body.instruction, error))
		return false;
	google_write_tools(&body.writer, request, &body.tools, wire);
	write_config(&body);
	parameters_write_extra(request, written, &body.writer);
	json_write_end(&body.writer, '}');
	parameters_note_dropped(request, read_parameters, wire);
	return true;
}

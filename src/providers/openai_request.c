/*
 * openai_request.c
 *		Writing the body of a chat request.
 *
 * The parameters are written in one pass, straight from the checked request:
 * a parameter is left out, adapted, or sent as it is.  What a provider accepts
 * comes from its rules; what OpenAI's reasoning models refuse, from the model's
 * name where the rules say so.
 */
#include "chat/json.h"
#include "providers/openai.h"
#include "providers/parameters.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

typedef struct Writer
{
	WireRequest		  *wire;
	StringInfo		   body; /* of wire */
	const ChatRequest *request;
	const OpenAiRules *rules;
	JsonbContainer	  *params;
	OpenAiModelTraits  model;
	bool			   samples; /* takes temperature and its like */
	bool			   has_tools;
} Writer;

/* The name under which this provider knows a parameter. */
static const char *
name_as_sent(const OpenAiRules *rules, const char *name)
{
	const char *renamed = rules->rename ? json_member_string(rules->rename, name) : NULL;

	return renamed ? renamed : name;
}

/* Write ,"name": for a parameter's value to follow. */
static void
append_name(Writer *writer, const char *name)
{
	const char *sent = name_as_sent(writer->rules, name);

	appendStringInfoCharMacro(writer->body, ',');
	json_append_string(writer->body, sent, (int) strlen(sent));
	appendStringInfoCharMacro(writer->body, ':');
}

/* How a parameter is adapted; each writes the whole member or nothing. */

static void
append_plain(Writer *writer, const char *name, const JsonbValue *value)
{
	append_name(writer, name);
	json_append_value(writer->body, value);
}

static void
append_temperature(Writer *writer, const char *name, const JsonbValue *value)
{
	JsonbValue limited = *value;
	Numeric	   maximum = writer->rules->max_temperature;

	if (maximum && DatumGetBool(DirectFunctionCall2(numeric_gt, NumericGetDatum(value->val.numeric),
													NumericGetDatum(maximum))))
	{
		limited.val.numeric = maximum;
		wire_request_adjusted(writer->wire, name);
	}
	append_plain(writer, name, &limited);
}

static void
append_n(Writer *writer, const char *name, const JsonbValue *value)
{
	int64 n = 1;

	json_value_int64(value, &n);
	if (writer->rules->max_n > 0 && n > writer->rules->max_n)
	{
		n = writer->rules->max_n;
		wire_request_adjusted(writer->wire, name);
	}
	if (n == 1)
		return; /* the default, which some refuse to hear */
	append_name(writer, name);
	appendStringInfo(writer->body, INT64_FORMAT, n);
}

static void
append_stop(Writer *writer, const char *name, const JsonbValue *value)
{
	bool wrap = writer->rules->stop_as_array && value->type == jbvString;

	append_name(writer, name);
	appendStringInfoString(writer->body, wrap ? "[" : "");
	json_append_value(writer->body, value);
	appendStringInfoString(writer->body, wrap ? "]" : "");
}

static void
append_logprobs(Writer *writer, const char *name, const JsonbValue *value)
{
	int64 top = 1;

	if (!writer->rules->logprobs_as_integer)
	{
		append_plain(writer, name, value);
		return;
	}
	if (!value->val.boolean)
		return;
	json_member_int64(writer->params, "top_logprobs", &top);
	append_name(writer, name);
	appendStringInfo(writer->body, INT64_FORMAT, Max(top, 1));
}

static void
append_top_logprobs(Writer *writer, const char *name, const JsonbValue *value)
{
	int64 top = 0;

	if (writer->rules->logprobs_as_integer)
		return;
	json_value_int64(value, &top);
	if (writer->rules->max_top_logprobs > 0 && top > writer->rules->max_top_logprobs)
	{
		top = writer->rules->max_top_logprobs;
		wire_request_adjusted(writer->wire, name);
	}
	append_name(writer, name);
	appendStringInfo(writer->body, INT64_FORMAT, top);
}

static void
append_tools(Writer *writer, const char *name, const JsonbValue *value)
{
	append_name(writer, name);
	openai_append_tools(writer->body, json_value_array(value));
}

/* Efforts from least to most; a provider may know only some of them. */
static const char *const efforts[] = {
	"none",
	"minimal",
	"low",
	"medium",
	"high",
	"xhigh",
	"max",
};

static int
effort_rank(const JsonbValue *effort)
{
	for (int i = 0; i < (int) lengthof(efforts); i++)
		if (json_value_is(effort, efforts[i]))
			return i;
	return -1;
}

/* The accepted effort nearest to the one asked for, of two the greater. */
static void
append_reasoning_effort(Writer *writer, const char *name, const JsonbValue *value)
{
	JsonbContainer *accepted = writer->rules->reasoning_efforts;
	int				wanted = effort_rank(value);
	int				best = -1;
	JsonbIterator  *iterator;
	JsonbValue		effort;

	if (accepted == NULL || openai_list_has(accepted, value->val.string.val, value->val.string.len))
	{
		append_plain(writer, name, value);
		return;
	}
	iterator = json_iterate(accepted);
	while (wanted >= 0 && json_next_element(&iterator, &effort))
	{
		int rank = effort_rank(&effort);
		int distance = abs(rank - wanted);

		if (rank >= 0 && (best < 0 || distance < abs(best - wanted) ||
						  (distance == abs(best - wanted) && rank > best)))
			best = rank;
	}
	if (best < 0)
	{
		wire_request_dropped(writer->wire, name);
		return;
	}
	wire_request_adjusted(writer->wire, name);
	append_name(writer, name);
	appendStringInfo(writer->body, "\"%s\"", efforts[best]);
}

/* Which models refuse a parameter, where reasoning_models applies. */
typedef enum Refusal
{
	REFUSED_BY_NONE,
	REFUSED_BY_REASONING,
	REFUSED_BY_REASONING_FULLY, /* even with effort "none" */
	REFUSED_BY_NON_REASONING,
	REFUSED_BY_O_SERIES,
	REFUSED_BY_NON_GPT,
	REFUSED_AS_STOP
} Refusal;

typedef void (*ParamWriter)(Writer *writer, const char *name, const JsonbValue *value);

/* The parameters that are not simply sent, from the vendors' API references. */
static const struct ParamRule
{
	const char *name;
	Refusal		refusal;
	bool		needs_tools; /* means nothing, or is refused, without tools */
	ParamWriter append;		 /* NULL: append_plain */
} param_rules[] = {
	{ "frequency_penalty", REFUSED_BY_REASONING_FULLY, false, NULL },
	{ "logit_bias", REFUSED_BY_REASONING_FULLY, false, NULL },
	{ "logprobs", REFUSED_BY_REASONING, false, append_logprobs },
	{ "n", REFUSED_BY_NONE, false, append_n },
	{ "parallel_tool_calls", REFUSED_BY_O_SERIES, true, NULL },
	{ "presence_penalty", REFUSED_BY_REASONING_FULLY, false, NULL },
	{ "reasoning_effort", REFUSED_BY_NON_REASONING, false, append_reasoning_effort },
	{ "stop", REFUSED_AS_STOP, false, append_stop },
	{ "temperature", REFUSED_BY_REASONING, false, append_temperature },
	{ "tool_choice", REFUSED_BY_NONE, true, NULL },
	{ "tools", REFUSED_BY_NONE, true, append_tools },
	{ "top_logprobs", REFUSED_BY_REASONING, false, append_top_logprobs },
	{ "top_p", REFUSED_BY_REASONING, false, NULL },
	{ "verbosity", REFUSED_BY_NON_GPT, false, NULL },
};

static const struct ParamRule *
find_param_rule(const JsonbValue *name)
{
	for (int i = 0; i < (int) lengthof(param_rules); i++)
		if (json_value_is(name, param_rules[i].name))
			return &param_rules[i];
	return NULL;
}

static bool
model_refuses(const Writer *writer, Refusal refusal)
{
	const OpenAiModelTraits *model = &writer->model;

	if (!writer->rules->reasoning_models)
		return false;
	switch (refusal)
	{
		case REFUSED_BY_REASONING:
			return !writer->samples;
		case REFUSED_BY_REASONING_FULLY:
			return model->reasons;
		case REFUSED_BY_NON_REASONING:
			return !model->reasons;
		case REFUSED_BY_O_SERIES:
			return model->reasons && !model->is_gpt;
		case REFUSED_BY_NON_GPT:
			return !model->is_gpt;
		case REFUSED_AS_STOP:
			return !model->takes_stop;
		case REFUSED_BY_NONE:
			break;
	}
	return false;
}

/* Whether the provider's rules take a parameter of that name. */
static bool
provider_takes(const Writer *writer, const char *name)
{
	const OpenAiRules *rules = writer->rules;
	const char		  *sent = name_as_sent(rules, name);

	return !openai_list_has(rules->drop, name, (int) strlen(name)) &&
		   (rules->only == NULL || openai_list_has(rules->only, sent, (int) strlen(sent)));
}

static void
append_param(Writer *writer, const JsonbValue *key, const JsonbValue *value)
{
	char				   *name = json_value_string(key);
	const struct ParamRule *rule = find_param_rule(key);

	if (parameter_in_extra(writer->request, name_as_sent(writer->rules, name)) ||
		(rule && rule->needs_tools && !writer->has_tools))
		return;
	if (!provider_takes(writer, name) || (rule && model_refuses(writer, rule->refusal)))
	{
		if (!parameter_is_idle(writer->request, key, value))
			wire_request_dropped(writer->wire, name);
	}
	else if (rule && rule->append)
		rule->append(writer, name, value);
	else
		append_plain(writer, name, value);
}

static void
append_output_limit(Writer *writer, int64 limit)
{
	const char *field = writer->rules->max_tokens_field;

	if (limit > 0 && !parameter_in_extra(writer->request, field))
		appendStringInfo(writer->body, ",\"%s\":" INT64_FORMAT, field, limit);
}

/* A stream brings usage by itself at some providers, at others when asked for. */
static void
append_streaming(Writer *writer)
{
	appendStringInfoString(writer->body, ",\"stream\":true");
	if (writer->rules->asks_for_usage && !parameter_in_extra(writer->request, "stream_options"))
		appendStringInfoString(writer->body, ",\"stream_options\":{\"include_usage\":true}");
}

static void
init_writer(Writer *writer, WireRequest *wire, const Exchange *exchange)
{
	const ChatRequest *request = exchange->request;
	JsonbContainer	  *tools;

	writer->wire = wire;
	writer->body = &wire->body;
	writer->request = request;
	writer->rules = exchange->endpoint->rules;
	writer->params = &request->params->root;
	writer->model = openai_model_traits(exchange->model.name);
	writer->samples = !writer->model.reasons ||
					  (writer->model.samples_without_effort &&
					   json_value_is(json_member(writer->params, "reasoning_effort"), "none"));
	tools = json_member_array(writer->params, "tools");
	writer->has_tools = tools && JsonContainerSize(tools) > 0;
}

void
openai_append_chat(WireRequest *wire, const Exchange *exchange)
{
	const ChatRequest *request = exchange->request;
	StringInfo		   body = &wire->body;
	JsonWriter		   extra = { .out = body, .comma = true };
	Writer			   writer;
	JsonbIterator	  *iterator;
	JsonbValue		   key;
	JsonbValue		   value;
	bool			   keep_developer;

	init_writer(&writer, wire, exchange);

	/* OpenAI's older models do not know the role. */
	keep_developer = writer.rules->keeps_developer_role &&
					 (!writer.rules->reasoning_models || writer.model.reasons);

	appendStringInfoString(body, "{\"model\":");
	json_append_string(body, exchange->model.name, (int) strlen(exchange->model.name));
	appendStringInfoString(body, ",\"messages\":");
	openai_append_messages(body, writer.rules, !keep_developer, &request->messages->root);

	iterator = json_iterate(writer.params);
	while (json_next_member(&iterator, &key, &value))
		append_param(&writer, &key, &value);
	append_output_limit(&writer, request->max_output_tokens);
	if (request->streams)
		append_streaming(&writer);
	parameters_write_extra(request, NULL, &extra);
	appendStringInfoCharMacro(body, '}');
}

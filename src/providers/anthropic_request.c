/*
 * anthropic_request.c
 *		Writing the body of a chat request.
 */
#include "providers/anthropic.h"

#include "mb/pg_wchar.h"
#include "providers/json_schema.h"

/*
 * An answer of more tokens may take longer than the ten minutes for which the
 * provider holds a connection on which nothing comes: it is read as a stream,
 * also for a caller who wants it whole.
 */
#define MAX_UNSTREAMED_TOKENS 21000

/* Characters that metadata.user_id may have. */
#define MAX_USER_ID_LENGTH 256

/* The parameters that are read here and in the plan. */
static const char *const read_parameters[] = {
	TOOL_PARAMETERS,
	"metadata",
	"reasoning",
	"reasoning_effort",
	"response_format",
	"safety_identifier",
	"service_tier",
	"stop",
	"temperature",
	"top_k",
	"top_p",
	"user",
	NULL,
};

/* ------------------------------------------------------------------------
 * Sampling
 * ------------------------------------------------------------------------
 */

/* Whether a number is given that is not the provider's default. */
static bool
changes(const ChatRequest *request, const char *name, int64 by_default)
{
	JsonbValue *value = parameter(request, name);
	int64		number;

	return value && !(json_value_int64(value, &number) && number == by_default);
}

/* A model that thinks takes none of these; the newest models never do. */
static void
note_sampling_dropped(const ChatRequest *request, WireRequest *wire)
{
	if (changes(request, "temperature", 1))
		wire_request_dropped(wire, "temperature");
	if (changes(request, "top_p", 1))
		wire_request_dropped(wire, "top_p");
	if (parameter_limits_top_k(request))
		wire_request_dropped(wire, "top_k");
}

static void
write_sampling(JsonWriter *writer, const AnthropicPlan *plan, WireRequest *wire)
{
	const ChatRequest *request = plan->request;
	bool			   both = parameter(request, "temperature") && parameter(request, "top_p");
	bool			   one = plan->model.samples_by_one && both;

	if (!plan->model.samples || plan->thinks)
	{
		note_sampling_dropped(request, wire);
		return;
	}
	if (!one || changes(request, "temperature", 1))
		parameter_write_number(request, "temperature", "0", "1", "temperature", writer, wire);
	if (!one || !changes(request, "temperature", 1))
		parameter_write_number(request, "top_p", "0", "1", "top_p", writer, wire);
	else if (changes(request, "top_p", 1))
		wire_request_dropped(wire, "top_p");
	if (parameter_limits_top_k(request))
		parameter_write_number(request, "top_k", NULL, NULL, "top_k", writer, wire);
}

/* ------------------------------------------------------------------------
 * Thinking and the form of the answer
 * ------------------------------------------------------------------------
 */

static void
write_thinking(JsonWriter *writer, const AnthropicPlan *plan)
{
	static const char *const types[] = {
		[THINKING_OFF] = "disabled",
		[THINKING_BY_EFFORT] = "adaptive",
		[THINKING_IN_BUDGET] = "enabled",
	};

	if (plan->thinking == THINKING_UNSAID || plan->thinking == THINKING_IN_EXTRA)
		return;
	json_write_key(writer, "thinking");
	json_write_begin(writer, '{');
	json_write_member_text(writer, "type", types[plan->thinking]);
	if (plan->thinking == THINKING_IN_BUDGET)
	{
		json_write_key(writer, "budget_tokens");
		json_write_int64(writer, plan->budget);
	}
	json_write_end(writer, '}');
}

static void
write_format(JsonWriter *writer, const AnthropicPlan *plan)
{
	json_write_key(writer, "format");
	json_write_begin(writer, '{');
	json_write_member_text(writer, "type", "json_schema");
	json_write_key(writer, "schema");
	json_schema_write_closed(writer, plan->schema);
	json_write_end(writer, '}');
}

static bool
lacks(JsonbContainer *object, const char *name)
{
	return object == NULL || json_member(object, name) == NULL;
}

/* Effort and format are members of one object, to which extra may add others. */
static void
write_output_config(JsonWriter *writer, const AnthropicPlan *plan, WireRequest *wire)
{
	JsonbContainer *extra = plan->request->router.extra ? &plan->request->router.extra->root : NULL;
	JsonbContainer *theirs = extra ? json_member_object(extra, "output_config") : NULL;
	JsonbIterator  *iterator = theirs ? json_iterate(theirs) : NULL;
	bool			has_format = plan->schema && plan->model.knows_schemas && lacks(theirs, "format");
	bool			has_effort = plan->effort && lacks(theirs, "effort");
	JsonbValue		name;
	JsonbValue		value;

	if (plan->schema && !plan->model.knows_schemas && !plan->has_to_call)
		wire_request_dropped(wire, "response_format"); /* extra has the tools */
	if (theirs == NULL && !has_format && !has_effort)
		return;
	json_write_key(writer, "output_config");
	json_write_begin(writer, '{');
	if (has_effort)
		json_write_member_text(writer, "effort", plan->effort);
	if (has_format)
		write_format(writer, plan);
	while (theirs && json_next_member(&iterator, &name, &value))
		json_write_member(writer, json_value_string(&name), &value);
	json_write_end(writer, '}');
}

/* ------------------------------------------------------------------------
 * Who asks, and how urgently
 * ------------------------------------------------------------------------
 */

/* Of all metadata the provider knows the user only, for whom OpenAI has other members, too. */
static void
write_metadata(JsonWriter *writer, const ChatRequest *request, WireRequest *wire)
{
	JsonbContainer *metadata = json_value_object(parameter(request, "metadata"));
	JsonbValue	   *user = metadata ? json_member(metadata, "user_id") : NULL;
	bool			is_own = json_value_filled(user);
	const char	   *source = parameter(request, "safety_identifier") ? "safety_identifier" : "user";

	if (metadata && JsonContainerSize(metadata) > (is_own ? 1 : 0))
	{
		if (is_own)
			wire_request_adjusted(wire, "metadata");
		else
			wire_request_dropped(wire, "metadata");
	}
	if (!is_own)
		user = parameter(request, source);
	if (!json_value_filled(user) || parameter_in_extra(request, "metadata"))
		return;
	if (pg_mbstrlen_with_len(user->val.string.val, user->val.string.len) > MAX_USER_ID_LENGTH)
	{
		wire_request_dropped(wire, is_own ? "metadata" : source);
		return;
	}
	json_write_key(writer, "metadata");
	json_write_begin(writer, '{');
	json_write_member(writer, "user_id", user);
	json_write_end(writer, '}');
}

static void
write_service_tier(JsonWriter *writer, const ChatRequest *request, WireRequest *wire)
{
	static const char *const tiers[][2] = {
		{ "auto", "auto" },
		{ "default", "standard_only" }, /* OpenAI's word for the same */
		{ "standard_only", "standard_only" },
	};
	JsonbValue *tier = parameter(request, "service_tier");

	if (tier == NULL || parameter_in_extra(request, "service_tier"))
		return;
	for (int i = 0; i < (int) lengthof(tiers); i++)
		if (json_value_is(tier, tiers[i][0]))
		{
			json_write_member_text(writer, "service_tier", tiers[i][1]);
			return;
		}
	wire_request_dropped(wire, "service_tier");
}

/* ------------------------------------------------------------------------
 * The body
 * ------------------------------------------------------------------------
 */

bool
anthropic_append_chat(Exchange *exchange, WireRequest *wire, LlmError *error)
{
	static const char *const merged[] = { "output_config", NULL };
	const ChatRequest		*request = exchange->request;
	ToolHistory				*history = tool_history_create();
	JsonWriter				 writer = { .out = &wire->body };
	AnthropicPlan			 plan;

	if (!anthropic_plan(exchange, &plan, wire, error))
		return false;
	wire->streams = request->streams || plan.max_tokens > MAX_UNSTREAMED_TOKENS;

	json_write_begin(&writer, '{');
	json_write_member_text(&writer, "model", exchange->model.name);
	if (!parameter_in_extra(request, "max_tokens"))
	{
		json_write_key(&writer, "max_tokens");
		json_write_int64(&writer, plan.max_tokens);
	}
	if (wire->streams)
	{
		json_write_key(&writer, "stream");
		json_write_bool(&writer, true);
	}
	if (!anthropic_write_messages(&writer, &plan, history, error))
		return false;
	anthropic_write_system(&writer, &plan);
	anthropic_write_tools(&writer, &plan, history, wire);
	write_thinking(&writer, &plan);
	write_output_config(&writer, &plan, wire);
	write_sampling(&writer, &plan, wire);
	parameter_write_stop(request, "stop_sequences", PG_INT32_MAX, true, &writer, wire);
	write_metadata(&writer, request, wire);
	write_service_tier(&writer, request, wire);
	parameters_note_dropped(request, read_parameters, wire);
	parameters_write_extra(request, merged, &writer);
	json_write_end(&writer, '}');
	return true;
}

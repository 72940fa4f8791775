/*
 * anthropic_plan.c
 *		What a request will say of tools, thinking and the length of the answer,
 *		which depend on each other and on the model.
 *
 * A model that has to call a tool may not think: the tool wins.  Thoughts are
 * part of the output that max_tokens limits, so that a budget for them is added
 * to what the caller wants; the model's own maximum bounds the sum.
 */
#include "providers/anthropic.h"

/* Where neither the caller nor the catalog says how long an answer may be. */
#define DEFAULT_MAX_TOKENS 4096

#define MIN_BUDGET 1024

/* ------------------------------------------------------------------------
 * Thoughts of earlier turns
 * ------------------------------------------------------------------------
 */

bool
anthropic_is_thought(const JsonbValue *block)
{
	JsonbContainer *object = json_value_object(block);
	JsonbValue	   *type = object ? json_member(object, "type") : NULL;
	JsonbValue	   *thinking = object ? json_member(object, "thinking") : NULL;

	if (json_value_is(type, "redacted_thinking"))
		return json_value_filled(json_member(object, "data"));
	return json_value_is(type, "thinking") && thinking && thinking->type == jbvString &&
		   json_value_filled(json_member(object, "signature"));
}

bool
anthropic_has_thoughts(JsonbContainer *message)
{
	JsonbContainer *blocks = json_member_array(message, "thinking_blocks");
	JsonbIterator  *iterator = blocks ? json_iterate(blocks) : NULL;
	JsonbValue		block;

	while (blocks && json_next_element(&iterator, &block))
		if (anthropic_is_thought(&block))
			return true;
	return false;
}

/* Whether anything of a message is sent: blank texts are not. */
static bool
says_something(MessageRole role, JsonbContainer *message)
{
	PartWalk		walk = message_parts(message);
	JsonbContainer *calls = json_member_array(message, "tool_calls");
	MessagePart		part;

	if (role == MESSAGE_TOOL || (calls && JsonContainerSize(calls) > 0) ||
		json_member_object(message, "function_call"))
		return true;
	while (next_part(&walk, &part))
		if (part.kind != PART_TEXT || !slice_is_blank(part.text))
			return true;
	return role == MESSAGE_ASSISTANT && anthropic_has_thoughts(message);
}

/*
 * Whether the conversation ends with results of tools that were called without
 * thoughts, by another model perhaps.  Thinking within a budget cannot begin then.
 */
static bool
is_amid_thoughtless_calls(JsonbContainer *messages)
{
	JsonbIterator *iterator = json_iterate(messages);
	bool		   speaks = false; /* the assistant, in the last message */
	bool		   has_thoughts = false;
	bool		   has_results = false;
	JsonbValue	   message;

	while (json_next_element(&iterator, &message))
	{
		MessageRole role = message_role(json_value_object(&message));

		if (role == MESSAGE_SYSTEM || !says_something(role, json_value_object(&message)))
			continue;
		if (role == MESSAGE_ASSISTANT && !speaks)
		{
			has_thoughts = anthropic_has_thoughts(json_value_object(&message));
			has_results = false;
		}
		if (role == MESSAGE_TOOL)
			has_results = true;
		speaks = role == MESSAGE_ASSISTANT;
	}
	return has_results && !has_thoughts;
}

/* ------------------------------------------------------------------------
 * Thinking
 * ------------------------------------------------------------------------
 */

/* Efforts as a model is told, from 4.6 on, and as budgets for the older ones. */
static const struct
{
	const char *name;
	int64		budget;
} efforts[] = {
	[EFFORT_MINIMAL] = { "low", MIN_BUDGET },
	[EFFORT_LOW] = { "low", 2048 },
	[EFFORT_MEDIUM] = { "medium", 8192 },
	[EFFORT_HIGH] = { "high", 16384 },
	[EFFORT_XHIGH] = { "xhigh", 24576 },
	[EFFORT_MAX] = { "max", 32768 },
};

/* The budget of OpenRouter's "reasoning" object; 0 for none. */
static int64
asked_budget(const ChatRequest *request)
{
	JsonbContainer *reasoning = json_value_object(parameter(request, "reasoning"));
	int64			budget = 0;

	if (reasoning)
		json_member_int64(reasoning, "max_tokens", &budget);
	return Min(Max(budget, 0), PG_INT32_MAX);
}

/* What options.router.extra says of thinking. */
static void
plan_thinking_in_extra(AnthropicPlan *plan)
{
	JsonbContainer *said = json_member_object(&plan->request->router.extra->root, "thinking");
	JsonbValue	   *type = said ? json_member(said, "type") : NULL;

	plan->thinking = THINKING_IN_EXTRA;
	plan->thinks = json_value_is(type, "enabled") || json_value_is(type, "adaptive");
	if (json_value_is(type, "enabled"))
		json_member_int64(said, "budget_tokens", &plan->budget);
	plan->budget = Min(Max(plan->budget, 0), PG_INT32_MAX);
}

static void
plan_effort(AnthropicPlan *plan, ReasoningEffort effort, WireRequest *wire)
{
	if (effort == EFFORT_MINIMAL)
		wire_request_adjusted(wire, parameter_of_reasoning(plan->request));
	if (effort == EFFORT_XHIGH && !plan->model.knows_xhigh)
	{
		effort = EFFORT_MAX;
		wire_request_adjusted(wire, parameter_of_reasoning(plan->request));
	}
	plan->thinking = THINKING_BY_EFFORT;
	if (effort != EFFORT_UNSET)
		plan->effort = efforts[effort].name;
	else
		wire_request_adjusted(wire, "reasoning"); /* a budget, which is the model's choice here */
}

static void
plan_thinking(AnthropicPlan *plan, WireRequest *wire)
{
	const ChatRequest *request = plan->request;
	ReasoningEffort	   effort = parameter_reasoning_effort(request);
	int64			   budget = effort == EFFORT_UNSET ? asked_budget(request) : 0;
	bool			   asked = parameter(request, "reasoning_effort") || parameter(request, "reasoning");
	bool			   wanted = effort > EFFORT_NONE || budget > 0;

	if (parameter_in_extra(request, "thinking"))
	{
		plan_thinking_in_extra(plan);
		return;
	}
	if (effort == EFFORT_NONE || (plan->has_to_call && plan->model.thinks_unasked))
		plan->thinking = plan->model.thinks ? THINKING_OFF : THINKING_UNSAID;
	else if (wanted && plan->model.thinks && !plan->has_to_call)
	{
		if (plan->model.thinks_by_effort)
			plan_effort(plan, effort, wire);
		else if (!is_amid_thoughtless_calls(&request->messages->root))
		{
			plan->thinking = THINKING_IN_BUDGET;
			plan->budget = Max(budget > 0 ? budget : efforts[effort].budget, MIN_BUDGET);
		}
	}
	if (asked && effort != EFFORT_NONE && plan->thinking != THINKING_BY_EFFORT &&
		plan->thinking != THINKING_IN_BUDGET)
		wire_request_dropped(wire, parameter_of_reasoning(request));
	plan->thinks = plan->thinking == THINKING_BY_EFFORT || plan->thinking == THINKING_IN_BUDGET ||
				   (plan->thinking == THINKING_UNSAID && plan->model.thinks_unasked);
}

/* ------------------------------------------------------------------------
 * The length of the answer
 * ------------------------------------------------------------------------
 */

/* Make room for thoughts beside an answer of max_tokens; they may be all but one of them. */
static void
add_budget(AnthropicPlan *plan, int64 maximum, bool raises, WireRequest *wire)
{
	int64 answer = raises ? plan->max_tokens : plan->max_tokens / 2;

	if (raises)
		plan->max_tokens += plan->budget;
	if (maximum > 0)
		plan->max_tokens = Min(plan->max_tokens, maximum);
	if (plan->thinking != THINKING_IN_BUDGET)
		return;
	plan->budget = Min(plan->budget, Max(plan->max_tokens - answer, MIN_BUDGET));
	if (plan->budget < plan->max_tokens)
		return;
	plan->thinking = THINKING_UNSAID;
	plan->thinks = false;
	wire_request_dropped(wire, parameter_of_reasoning(plan->request));
}

static void
plan_max_tokens(AnthropicPlan *plan, int64 maximum, WireRequest *wire)
{
	const ChatRequest *request = plan->request;
	int64			   asked = request->max_output_tokens;
	bool			   in_extra = parameter_in_extra(request, "max_tokens");

	if (in_extra)
		json_member_int64(&request->router.extra->root, "max_tokens", &plan->max_tokens);
	else if (maximum > 0 && asked > maximum)
	{
		wire_request_adjusted(wire, "max_completion_tokens");
		plan->max_tokens = maximum;
	}
	else if (asked > 0)
		plan->max_tokens = asked;
	else
		plan->max_tokens = maximum > 0 ? maximum : DEFAULT_MAX_TOKENS;
	if (plan->budget > 0)
		add_budget(plan, in_extra ? 0 : maximum, !in_extra && (asked > 0 || maximum == 0), wire);
}

bool
anthropic_plan(const Exchange *exchange, AnthropicPlan *plan, WireRequest *wire, LlmError *error)
{
	const ChatRequest *request = exchange->request;

	memset(plan, 0, sizeof(*plan));
	plan->request = request;
	plan->model = anthropic_model_traits(exchange->model.name);
	if (!tool_set_read(request, &plan->tools, error))
		return false;
	plan->format = parameter_response_format(request, &plan->schema, NULL);
	if (plan->format == RESPONSE_JSON_SCHEMA && plan->schema == NULL)
		plan->format = RESPONSE_JSON_OBJECT;
	plan->answer_tool = anthropic_answer_tool(exchange);
	plan->has_to_call = plan->answer_tool ||
						(plan->tools.tools && (plan->tools.choice == TOOLS_REQUIRED ||
											   plan->tools.choice == TOOLS_NAMED));
	plan_thinking(plan, wire);
	plan_max_tokens(plan, exchange->model.max_output_tokens, wire);
	plan->continues = plan->model.continues && !plan->thinks && !plan->has_to_call &&
					  !(plan->format == RESPONSE_JSON_SCHEMA && plan->model.knows_schemas);
	return true;
}

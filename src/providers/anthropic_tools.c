/*
 * anthropic_tools.c
 *		Tools, how they are to be chosen, and the tool whose input is the answer.
 */
#include "providers/anthropic.h"

#include "providers/json_schema.h"

#define ANSWER_TOOL_DESCRIPTION "Gives the answer. Call it to answer, and say nothing else."

bool
anthropic_write_cache_control(JsonWriter *writer, JsonbContainer *object)
{
	JsonbContainer *cache_control = object ? json_member_object(object, CACHE_CONTROL) : NULL;

	if (cache_control == NULL)
		return false;
	json_write_key(writer, CACHE_CONTROL);
	json_write_container(writer, cache_control);
	return true;
}

/* ------------------------------------------------------------------------
 * The tool that is the answer
 * ------------------------------------------------------------------------
 */

static bool
has_tool(const ToolSet *set, const char *name)
{
	ListCell *cell;

	foreach (cell, set->tools)
		if (json_value_is(&((ChatTool *) lfirst(cell))->name, name))
			return true;
	return false;
}

/* The schema's name, of the characters that a tool's may have, and that no tool has. */
static char *
free_name(const ToolSet *set, const char *schema_name)
{
	StringInfoData name;

	initStringInfo(&name);
	appendStringInfo(&name, "%.60s", schema_name && *schema_name ? schema_name : "answer");
	for (char *at = name.data; *at; at++)
		if (IS_HIGHBIT_SET(*at) || (!isalnum((unsigned char) *at) && *at != '_' && *at != '-'))
			*at = '_';
	while (has_tool(set, name.data))
		appendStringInfoCharMacro(&name, '_');
	return name.data;
}

char *
anthropic_answer_tool(const Exchange *exchange)
{
	const ChatRequest *request = exchange->request;
	JsonbContainer	  *schema = NULL;
	char			  *name = NULL;
	ToolSet			   set;
	LlmError		   error = { 0 };

	if (request->params == NULL ||
		parameter_response_format(request, &schema, &name) != RESPONSE_JSON_SCHEMA || schema == NULL ||
		anthropic_model_traits(exchange->model.name).knows_schemas)
		return NULL;

	/* Who writes these members himself, or calls for a tool, gets what he asks for. */
	if (parameter_in_extra(request, "tools") || parameter_in_extra(request, "tool_choice") ||
		parameter_in_extra(request, "thinking") || !tool_set_read(request, &set, &error) ||
		(set.tools && (set.choice == TOOLS_REQUIRED || set.choice == TOOLS_NAMED)))
		return NULL;
	return free_name(&set, name);
}

static void
write_answer_tool(JsonWriter *writer, const AnthropicPlan *plan)
{
	json_write_begin(writer, '{');
	json_write_member_text(writer, "name", plan->answer_tool);
	json_write_member_text(writer, "description", ANSWER_TOOL_DESCRIPTION);
	json_write_key(writer, "input_schema");
	json_schema_write_input(writer, plan->schema, false);
	json_write_end(writer, '}');
}

/* ------------------------------------------------------------------------
 * The others
 * ------------------------------------------------------------------------
 */

static void
write_tool(JsonWriter *writer, const AnthropicPlan *plan, const ChatTool *tool, WireRequest *wire)
{
	bool strict = tool->strict && plan->model.knows_schemas;

	json_write_begin(writer, '{');
	json_write_member(writer, "name", &tool->name);
	if (tool->description)
		json_write_member(writer, "description", tool->description);
	json_write_key(writer, "input_schema");
	json_schema_write_input(writer, tool->parameters, strict);
	if (strict)
	{
		json_write_key(writer, "strict");
		json_write_bool(writer, true);
	}
	else if (tool->strict)
		wire_request_adjusted(wire, "tools");
	if (!anthropic_write_cache_control(writer, tool->object))
		anthropic_write_cache_control(writer, json_member_object(tool->object, "function"));
	json_write_end(writer, '}');
}

/* A tool that the conversation has called, but that the request no longer has. */
static void
write_former_tool(JsonWriter *writer, const AnthropicPlan *plan, const Slice *name)
{
	if (plan->answer_tool && slice_is(*name, plan->answer_tool))
		return;
	json_write_begin(writer, '{');
	json_write_key(writer, "name");
	json_write_string(writer, name->data, name->length);
	json_write_key(writer, "input_schema");
	json_schema_write_input(writer, NULL, false);
	json_write_end(writer, '}');
}

static const char *
choice_type(const AnthropicPlan *plan)
{
	if (plan->tools.tools == NIL)
		return plan->answer_tool ? "tool" : "none";
	if (plan->answer_tool)
		return plan->tools.choice == TOOLS_NONE ? "tool" : "any";
	switch (plan->tools.choice)
	{
		case TOOLS_NONE:
			return "none";
		case TOOLS_REQUIRED:
			return "any";
		case TOOLS_NAMED:
			return "tool";
		case TOOLS_AUTO:
			break;
	}
	return "auto";
}

static void
write_choice(JsonWriter *writer, const AnthropicPlan *plan, WireRequest *wire)
{
	const char *type = choice_type(plan);
	bool		is_named = strcmp(type, "tool") == 0;
	bool		serial = plan->tools.serial || (is_named && plan->answer_tool);

	/* Only extra makes a model think that has to call a tool. */
	if (plan->has_to_call && plan->thinks)
	{
		wire_request_adjusted(wire, "tool_choice");
		type = "auto";
		is_named = false;
	}
	if (strcmp(type, "none") == 0)
		serial = false; /* refused */
	else if (strcmp(type, "auto") == 0 && !serial)
		return;

	json_write_key(writer, "tool_choice");
	json_write_begin(writer, '{');
	json_write_member_text(writer, "type", type);
	if (is_named && plan->answer_tool)
		json_write_member_text(writer, "name", plan->answer_tool);
	else if (is_named)
		json_write_member(writer, "name", &plan->tools.chosen);
	if (serial)
	{
		json_write_key(writer, "disable_parallel_tool_use");
		json_write_bool(writer, true);
	}
	json_write_end(writer, '}');
}

/*
 * A conversation that has tool calls needs tools, also where the request has none
 * any more; and they stay where none is to be chosen.
 */
void
anthropic_write_tools(JsonWriter *writer, const AnthropicPlan *plan, const ToolHistory *history,
					  WireRequest *wire)
{
	bool	  in_extra = parameter_in_extra(plan->request, "tools");
	List	 *former = plan->tools.tools || in_extra ? NIL : tool_history_names(history);
	ListCell *cell;

	if (plan->tools.tools == NIL && former == NIL && plan->answer_tool == NULL)
		return;
	if (!in_extra)
	{
		json_write_key(writer, "tools");
		json_write_begin(writer, '[');
		foreach (cell, plan->tools.tools)
			write_tool(writer, plan, lfirst(cell), wire);
		foreach (cell, former)
			write_former_tool(writer, plan, lfirst(cell));
		if (plan->answer_tool)
			write_answer_tool(writer, plan);
		json_write_end(writer, ']');
	}
	if (!parameter_in_extra(plan->request, "tool_choice"))
		write_choice(writer, plan, wire);
}

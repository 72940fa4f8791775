/*
 * google_tools.c
 *		Writing the tools and how they are to be chosen.
 */
#include "providers/google.h"

/* ------------------------------------------------------------------------
 * Names
 * ------------------------------------------------------------------------
 */

static bool
is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

char *
google_tool_name(const JsonbValue *name)
{
	const char *given = name->val.string.val;
	int			length = name->val.string.len;
	char	   *made = palloc(length + 2);
	char	   *at = made;

	if (length == 0 || !is_letter(given[0]))
		*at++ = '_';
	for (int i = 0; i < length; i++)
		*at++ = is_letter(given[i]) || (given[i] != '\0' && strchr("0123456789.:-", given[i]))
					? given[i]
					: '_';
	*at = '\0';
	return made;
}

const char *
google_given_name(const List *tools, const char *said)
{
	ListCell *cell;

	foreach (cell, tools)
		if (json_value_is(&((const ChatTool *) lfirst(cell))->name, said))
			return said;
	foreach (cell, tools)
	{
		const ChatTool *tool = lfirst(cell);

		if (strcmp(google_tool_name(&tool->name), said) == 0)
			return json_value_string(&tool->name);
	}
	return said;
}

/* ------------------------------------------------------------------------
 * Declarations
 * ------------------------------------------------------------------------
 */

/* Whether a keyword of a schema says something of an object, beyond that it is one. */
static bool
says_something(const JsonbValue *keyword, const JsonbValue *value)
{
	static const char *const silent[] = {
		"$schema", "additionalProperties", "description", "strict", "title", "type"
	};
	JsonbContainer *container = json_value_object(value);

	if (container == NULL)
		container = json_value_array(value);
	if (json_value_is(keyword, "properties") || json_value_is(keyword, "required"))
		return container && JsonContainerSize(container) > 0;
	if (json_value_is(keyword, "additionalProperties"))
		return container || (value->type == jbvBool && value->val.boolean);
	for (int i = 0; i < (int) lengthof(silent); i++)
		if (json_value_is(keyword, silent[i]))
			return false;
	return true;
}

static bool
has_parameters(JsonbContainer *schema)
{
	JsonbIterator *iterator = schema ? json_iterate(schema) : NULL;
	JsonbValue	   keyword;
	JsonbValue	   value;
	bool		   found = false;

	while (schema && json_next_member(&iterator, &keyword, &value))
		found = found || says_something(&keyword, &value);
	return found;
}

/* The schema as it is, but for its type, which has to be said. */
static void
write_schema(JsonWriter *writer, JsonbContainer *schema)
{
	JsonbIterator *iterator;
	JsonbValue	   keyword;
	JsonbValue	   value;

	if (json_value_given(json_member(schema, "type")))
	{
		json_write_container(writer, schema);
		return;
	}
	json_write_begin(writer, '{');
	json_write_member_text(writer, "type", "object");
	iterator = json_iterate(schema);
	while (json_next_member(&iterator, &keyword, &value))
		if (!json_value_is(&keyword, "type"))
			json_write_member(writer, json_value_string(&keyword), &value);
	json_write_end(writer, '}');
}

static void
write_declaration(JsonWriter *writer, const ChatTool *tool)
{
	json_write_begin(writer, '{');
	json_write_member_text(writer, "name", google_tool_name(&tool->name));
	if (tool->description)
		json_write_member(writer, "description", tool->description);
	if (has_parameters(tool->parameters))
	{
		json_write_key(writer, "parametersJsonSchema");
		write_schema(writer, tool->parameters);
	}
	json_write_end(writer, '}');
}

static void
write_declarations(JsonWriter *writer, const List *tools)
{
	ListCell *cell;

	json_write_key(writer, "tools");
	json_write_begin(writer, '[');
	json_write_begin(writer, '{');
	json_write_key(writer, "functionDeclarations");
	json_write_begin(writer, '[');
	foreach (cell, tools)
		write_declaration(writer, lfirst(cell));
	json_write_end(writer, ']');
	json_write_end(writer, '}');
	json_write_end(writer, ']');
}

/* ------------------------------------------------------------------------
 * The choice
 * ------------------------------------------------------------------------
 */

/* VALIDATED is AUTO, with arguments that are sure to fit their schema. */
static const char *
calling_mode(const ToolSet *set)
{
	ListCell *cell;

	if (set->choice == TOOLS_NONE)
		return "NONE";
	if (set->choice != TOOLS_AUTO)
		return "ANY";
	foreach (cell, set->tools)
		if (((const ChatTool *) lfirst(cell))->strict)
			return "VALIDATED";
	return "AUTO";
}

static void
write_choice(JsonWriter *writer, const ToolSet *set)
{
	const char *mode = calling_mode(set);

	if (strcmp(mode, "AUTO") == 0)
		return; /* the default */
	json_write_key(writer, "toolConfig");
	json_write_begin(writer, '{');
	json_write_key(writer, "functionCallingConfig");
	json_write_begin(writer, '{');
	json_write_member_text(writer, "mode", mode);
	if (set->choice == TOOLS_NAMED)
	{
		json_write_key(writer, "allowedFunctionNames");
		json_write_begin(writer, '[');
		json_write_text(writer, google_tool_name(&set->chosen));
		json_write_end(writer, ']');
	}
	json_write_end(writer, '}');
	json_write_end(writer, '}');
}

void
google_write_tools(JsonWriter *writer, const ChatRequest *request, const ToolSet *set,
				   WireRequest *wire)
{
	if (set->tools == NIL)
		return;
	if (set->serial)
		wire_request_dropped(wire, "parallel_tool_calls");
	if (!parameter_in_extra(request, "tools"))
		write_declarations(writer, set->tools);
	if (!parameter_in_extra(request, "toolConfig"))
		write_choice(writer, set);
}

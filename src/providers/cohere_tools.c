/*
 * cohere_tools.c
 *		Tools: their names, their schemas, and how they are to be chosen.
 */
#include "providers/cohere.h"

#include "chat/json.h"
#include "miscadmin.h"
#include "providers/parameters.h"
#include "providers/tools.h"

/* ------------------------------------------------------------------------
 * Names
 * ------------------------------------------------------------------------
 */

char *
cohere_tool_name(const JsonbValue *name)
{
	char *sent = json_value_string(name);

	for (char *c = sent; *c; c++)
		if (!isalnum((unsigned char) *c) || IS_HIGHBIT_SET(*c))
			*c = '_';
	return isdigit((unsigned char) *sent) ? psprintf("_%s", sent) : sent;
}

const char *
cohere_given_name(const ChatRequest *request, const char *said)
{
	ToolSet	  set;
	LlmError  error = { 0 };
	ListCell *cell;

	if (!tool_set_read(request, &set, &error))
		return said;
	foreach (cell, set.tools)
	{
		const ChatTool *tool = lfirst(cell);

		if (strcmp(cohere_tool_name(&tool->name), said) == 0)
			return json_value_string(&tool->name);
	}
	return said;
}

static int
compare_names(const ListCell *a, const ListCell *b)
{
	return strcmp(lfirst(a), lfirst(b));
}

/* Two tools that would be one: their calls could not be told apart. */
static bool
names_differ(const List *tools, LlmError *error)
{
	List	 *names = NIL;
	ListCell *cell;

	foreach (cell, tools)
		names = lappend(names, cohere_tool_name(&((ChatTool *) lfirst(cell))->name));
	list_sort(names, compare_names);
	for (int i = 1; i < list_length(names); i++)
		if (strcmp(list_nth(names, i - 1), list_nth(names, i)) == 0)
			return error_set(error, ERRCODE_LLM_BAD_REQUEST,
							 "two tools cannot both be sent as \"%s\", which is what this API format "
							 "makes of their names",
							 error_shown_name(list_nth(names, i)));
	return true;
}

/* ------------------------------------------------------------------------
 * Schemas
 * ------------------------------------------------------------------------
 */

static bool
is_one_of(const JsonbValue *name, const char *const *names)
{
	for (; *names; names++)
		if (json_value_is(name, *names))
			return true;
	return false;
}

/* Keywords that cannot be enforced; of Cohere's documentation of structured outputs. */
static const char *const refused_keywords[] = {
	"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf",
	"minItems", "maxItems", "uniqueItems", "minLength", "maxLength",
	"minProperties", "maxProperties", NULL
};

/* Those, too, but what they say is so anyway, or is no constraint. */
static const char *const idle_keywords[] = { "additionalProperties", "$schema", "strict", NULL };

/* Keywords that hold schemas by name, and those whose values are data. */
static const char *const map_keywords[] = { "properties", "$defs", "definitions", NULL };
static const char *const data_keywords[] = { "enum", "const", "default", "examples", "required", NULL };

static void write_schema_value(JsonWriter *writer, const JsonbValue *value, bool *changed);

/* The schemas in an object whose keys are names, not keywords. */
static void
write_schema_map(JsonWriter *writer, JsonbContainer *map, bool *changed)
{
	JsonbIterator *iterator = json_iterate(map);
	JsonbValue	   name;
	JsonbValue	   value;

	json_write_begin(writer, '{');
	while (json_next_member(&iterator, &name, &value))
	{
		json_write_key(writer, json_value_string(&name));
		write_schema_value(writer, &value, changed);
	}
	json_write_end(writer, '}');
}

void
cohere_write_schema(JsonWriter *writer, JsonbContainer *schema, bool *changed)
{
	JsonbIterator *iterator = json_iterate(schema);
	JsonbValue	   name;
	JsonbValue	   value;

	check_stack_depth();
	json_write_begin(writer, '{');
	while (json_next_member(&iterator, &name, &value))
	{
		if (is_one_of(&name, idle_keywords))
			continue;
		if (is_one_of(&name, refused_keywords))
		{
			*changed = true;
			continue;
		}
		json_write_key(writer, json_value_string(&name));
		if (is_one_of(&name, data_keywords))
			json_write_value(writer, &value);
		else if (is_one_of(&name, map_keywords) && json_value_object(&value))
			write_schema_map(writer, json_value_object(&value), changed);
		else
			write_schema_value(writer, &value, changed);
	}
	json_write_end(writer, '}');
}

/* A schema, an array of them, or what is neither. */
static void
write_schema_value(JsonWriter *writer, const JsonbValue *value, bool *changed)
{
	JsonbContainer *array = json_value_array(value);
	JsonbIterator  *iterator;
	JsonbValue		element;

	if (json_value_object(value))
		cohere_write_schema(writer, json_value_object(value), changed);
	else if (array)
	{
		check_stack_depth();
		iterator = json_iterate(array);
		json_write_begin(writer, '[');
		while (json_next_element(&iterator, &element))
			write_schema_value(writer, &element, changed);
		json_write_end(writer, ']');
	}
	else
		json_write_value(writer, value);
}

/* ------------------------------------------------------------------------
 * Tools
 * ------------------------------------------------------------------------
 */

typedef struct ToolWriter
{
	const Exchange *exchange;
	JsonWriter	   *json;
	WireRequest	   *wire;
	ToolSet			set;
	bool			strict;	 /* strict_tools */
	bool			changed; /* a schema */
} ToolWriter;

/*
 * Models before Command R7B do not know tool_choice: "command", "command-r",
 * "command-r-plus", "command-light", "command-nightly", and the dated ones of
 * these ("command-r-08-2024").
 */
static bool
knows_tool_choice(const char *model)
{
	static const char *const parts[] = { "command", "-r", "-plus", "-light", "-nightly" };
	int						 digits = 0;

	for (int i = 0; i < (int) lengthof(parts); i++)
	{
		size_t length = strlen(parts[i]);

		if (strncmp(model, parts[i], length) == 0)
			model += length;
		else if (i == 0)
			return true;
	}
	while (model[digits] == '-' || isdigit((unsigned char) model[digits]))
		digits++;
	return model[digits] != '\0';
}

/* Whether a strict schema can be enforced: where all is optional, it is refused. */
static bool
can_be_strict(const ChatTool *tool)
{
	JsonbContainer *properties;
	JsonbContainer *required;

	if (tool->parameters == NULL)
		return true;
	properties = json_member_object(tool->parameters, "properties");
	required = json_member_array(tool->parameters, "required");
	return properties == NULL || JsonContainerSize(properties) == 0 ||
		   (required && JsonContainerSize(required) > 0);
}

/* One for all: strict_tools is asked for by any tool, and possible for each. */
static void
decide_strictness(ToolWriter *writer)
{
	bool	  wanted = false;
	bool	  possible = true;
	ListCell *cell;

	foreach (cell, writer->set.tools)
	{
		const ChatTool *tool = lfirst(cell);

		wanted = wanted || tool->strict;
		possible = possible && can_be_strict(tool);
	}
	writer->strict = wanted && possible;
	if (wanted && !possible)
		wire_request_adjusted(writer->wire, "tools");
}

static void
write_parameters(ToolWriter *writer, const ChatTool *tool)
{
	JsonWriter *json = writer->json;

	json_write_key(json, "parameters");
	if (tool->parameters == NULL || JsonContainerSize(tool->parameters) == 0)
	{
		/* They are required, also where there are none. */
		json_write_begin(json, '{');
		json_write_member_text(json, "type", "object");
		json_write_key(json, "properties");
		json_write_begin(json, '{');
		json_write_end(json, '}');
		json_write_end(json, '}');
	}
	else if (writer->strict)
		cohere_write_schema(json, tool->parameters, &writer->changed);
	else
		json_write_container(json, tool->parameters);
}

static void
write_tool(ToolWriter *writer, const ChatTool *tool)
{
	JsonWriter *json = writer->json;

	json_write_begin(json, '{');
	json_write_member_text(json, "type", "function");
	json_write_key(json, "function");
	json_write_begin(json, '{');
	json_write_member_text(json, "name", cohere_tool_name(&tool->name));
	if (tool->description)
		json_write_member(json, "description", tool->description);
	write_parameters(writer, tool);
	json_write_end(json, '}');
	json_write_end(json, '}');
}

/* There is no choice by name: only that tool, and one is required. */
static bool
keep_chosen(ToolSet *set, LlmError *error)
{
	char	 *chosen = json_value_string(&set->chosen);
	ListCell *cell;

	foreach (cell, set->tools)
	{
		ChatTool *tool = lfirst(cell);

		if (!json_value_is(&tool->name, chosen))
			continue;
		set->tools = list_make1(tool);
		return true;
	}
	return error_set(error, ERRCODE_LLM_BAD_REQUEST,
					 "tool_choice names \"%s\", which is not among the tools", error_shown_name(chosen));
}

static void
write_choice(ToolWriter *writer)
{
	static const char *const words[] = {
		[TOOLS_AUTO] = NULL,
		[TOOLS_NONE] = "NONE",
		[TOOLS_REQUIRED] = "REQUIRED",
		[TOOLS_NAMED] = "REQUIRED",
	};
	const char *word = words[writer->set.choice];

	if (word == NULL || parameter_in_extra(writer->exchange->request, "tool_choice"))
		return;
	if (knows_tool_choice(writer->exchange->model.name))
		json_write_member_text(writer->json, "tool_choice", word);
	else if (writer->set.choice == TOOLS_NAMED)
		wire_request_adjusted(writer->wire, "tool_choice");
	else
		wire_request_dropped(writer->wire, "tool_choice");
}

bool
cohere_write_tools(const Exchange *exchange, JsonWriter *json, WireRequest *wire, bool *has_tools,
				   LlmError *error)
{
	const ChatRequest *request = exchange->request;
	ToolWriter		   writer = { .exchange = exchange, .json = json, .wire = wire };
	ListCell		  *cell;

	*has_tools = parameter_in_extra(request, "tools");
	if (*has_tools)
		return true;
	if (!tool_set_read(request, &writer.set, error))
		return false;
	if (writer.set.tools == NIL ||
		(writer.set.choice == TOOLS_NONE && !knows_tool_choice(exchange->model.name)))
		return true;
	if (!names_differ(writer.set.tools, error) ||
		(writer.set.choice == TOOLS_NAMED && !keep_chosen(&writer.set, error)))
		return false;

	*has_tools = true;
	decide_strictness(&writer);
	json_write_key(json, "tools");
	json_write_begin(json, '[');
	foreach (cell, writer.set.tools)
		write_tool(&writer, lfirst(cell));
	json_write_end(json, ']');
	if (writer.strict && !parameter_in_extra(request, "strict_tools"))
	{
		json_write_key(json, "strict_tools");
		json_write_bool(json, true);
	}
	if (writer.changed)
		wire_request_adjusted(wire, "tools");
	write_choice(&writer);
	return true;
}

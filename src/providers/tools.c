/*
 * tools.c
 *		The tools of a request and how they are to be chosen.
 */
#include "providers/tools.h"

#include "chat/json.h"
#include "providers/parameters.h"

static ChatTool *
make_tool(JsonbContainer *object, JsonbContainer *function)
{
	ChatTool   *tool = palloc0(sizeof(ChatTool));
	JsonbValue *description = json_member(function, "description");

	tool->name = *json_member(function, "name");
	tool->description = json_value_filled(description) ? description : NULL;
	tool->parameters = json_member_object(function, "parameters");
	tool->object = object;
	json_member_bool(function, "strict", &tool->strict);
	return tool;
}

static bool
read_tools(const ChatRequest *request, ToolSet *set, LlmError *error)
{
	JsonbContainer *array = json_value_array(parameter(request, "tools"));
	JsonbIterator  *iterator = array ? json_iterate(array) : NULL;
	JsonbValue		element;

	while (array && json_next_element(&iterator, &element))
	{
		JsonbContainer *function = json_member_object(json_value_object(&element), "function");

		/* Tools of other types are not checked for a name. */
		if (function == NULL || !json_value_filled(json_member(function, "name")))
			return error_set(error, ERRCODE_LLM_BAD_REQUEST,
							 "tools other than functions cannot be sent in this API format");
		set->tools = lappend(set->tools, make_tool(json_value_object(&element), function));
	}
	return true;
}

/* The older form, which is checked here only. */
static bool
read_functions(const ChatRequest *request, ToolSet *set, LlmError *error)
{
	JsonbContainer *array = json_value_array(parameter(request, "functions"));
	JsonbIterator  *iterator = array ? json_iterate(array) : NULL;
	JsonbValue		element;

	while (array && json_next_element(&iterator, &element))
	{
		JsonbContainer *function = json_value_object(&element);

		if (function == NULL || !json_value_filled(json_member(function, "name")))
			return error_set(error, ERRCODE_LLM_BAD_REQUEST, "a member of \"functions\" has no name");
		set->tools = lappend(set->tools, make_tool(function, function));
	}
	return true;
}

static bool
same_string(const JsonbValue *a, const JsonbValue *b)
{
	return a && b && a->type == jbvString && b->type == jbvString &&
		   a->val.string.len == b->val.string.len &&
		   memcmp(a->val.string.val, b->val.string.val, a->val.string.len) == 0;
}

/* Whether a list like {"type": "function", "function": {"name": …}} has the tool. */
static bool
is_allowed(const ChatTool *tool, JsonbContainer *allowed)
{
	JsonbIterator *iterator = json_iterate(allowed);
	JsonbValue	   element;

	while (json_next_element(&iterator, &element))
	{
		JsonbContainer *object = json_value_object(&element);
		JsonbContainer *function = object ? json_member_object(object, "function") : NULL;

		if (function && same_string(json_member(function, "name"), &tool->name))
			return true;
	}
	return false;
}

static void
keep_allowed(ToolSet *set, JsonbContainer *allowed)
{
	List	 *kept = NIL;
	ListCell *cell;

	foreach (cell, set->tools)
		if (is_allowed(lfirst(cell), allowed))
			kept = lappend(kept, lfirst(cell));
	set->tools = kept;
}

static ToolChoice
choice_of_word(const JsonbValue *word)
{
	if (json_value_is(word, "none"))
		return TOOLS_NONE;
	if (json_value_is(word, "required"))
		return TOOLS_REQUIRED;
	return TOOLS_AUTO;
}

static void
read_choice(const ChatRequest *request, ToolSet *set)
{
	JsonbValue	   *choice = parameter(request, "tool_choice");
	JsonbContainer *object;
	JsonbContainer *function;
	JsonbContainer *allowed;

	if (choice == NULL)
		choice = parameter(request, "function_call");
	object = json_value_object(choice);
	if (object == NULL)
	{
		set->choice = choice_of_word(choice);
		return;
	}
	function = json_member_object(object, "function");
	if (function == NULL)
		function = object; /* {"name": …} of function_call */
	allowed = json_member_object(object, "allowed_tools");
	if (allowed)
	{
		if (json_member_array(allowed, "tools"))
			keep_allowed(set, json_member_array(allowed, "tools"));
		set->choice = choice_of_word(json_member(allowed, "mode"));
	}
	else if (json_value_filled(json_member(function, "name")))
	{
		set->choice = TOOLS_NAMED;
		set->chosen = *json_member(function, "name");
	}
}

bool
tool_set_read(const ChatRequest *request, ToolSet *set, LlmError *error)
{
	JsonbValue *parallel = parameter(request, "parallel_tool_calls");

	memset(set, 0, sizeof(*set));
	if (!read_tools(request, set, error) || !read_functions(request, set, error))
		return false;
	read_choice(request, set);
	set->serial = parallel && parallel->type == jbvBool && !parallel->val.boolean;
	return true;
}

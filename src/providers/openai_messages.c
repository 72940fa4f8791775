/*
 * openai_messages.c
 *		Writing the conversation and the tools, as far as a provider wants them
 *		otherwise than OpenAI does.
 */
#include "chat/json.h"
#include "common/hashfn.h"
#include "providers/openai.h"

typedef struct MessageWriter
{
	StringInfo		   body;
	const OpenAiRules *rules;
	bool			   developer_to_system;
} MessageWriter;

/* A comma before all members but the first. */
static void
separate(StringInfo body, bool *first)
{
	if (!*first)
		appendStringInfoCharMacro(body, ',');
	*first = false;
}

static bool
fits_id_rule(const JsonbValue *id, int length)
{
	if (id->val.string.len != length)
		return false;
	for (int i = 0; i < length; i++)
		if (!isalnum((unsigned char) id->val.string.val[i]))
			return false;
	return true;
}

/*
 * A tool call's id as this provider accepts it: the id itself, or letters and
 * digits made of its hash, so that call and result still match.
 */
static void
append_call_id(MessageWriter *writer, const JsonbValue *id)
{
	static const char digits[] =
		"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
	const int base = sizeof(digits) - 1;
	int		  length = writer->rules->tool_call_id_length;
	uint64	  hash = 0;

	if (length == 0 || id->type != jbvString || fits_id_rule(id, length))
	{
		json_append_value(writer->body, id);
		return;
	}
	appendStringInfoCharMacro(writer->body, '"');
	for (int i = 0; i < length; i++)
	{
		/* 64 bits are good for ten digits. */
		if (i % 10 == 0)
			hash = hash_bytes_extended((const unsigned char *) id->val.string.val,
									   id->val.string.len, i);
		appendStringInfoCharMacro(writer->body, digits[hash % base]);
		hash /= base;
	}
	appendStringInfoCharMacro(writer->body, '"');
}

static void
append_tool_call(MessageWriter *writer, JsonbContainer *call)
{
	JsonbIterator *iterator = json_iterate(call);
	JsonbValue	   key;
	JsonbValue	   value;
	bool		   first = true;

	appendStringInfoCharMacro(writer->body, '{');
	while (json_next_member(&iterator, &key, &value))
	{
		/* Together's answers number their calls, other formats' carry signatures. */
		if (json_value_is(&key, "index") || json_value_is(&key, "extra_content"))
			continue;
		separate(writer->body, &first);
		json_append_key(writer->body, &key);
		if (json_value_is(&key, "id"))
			append_call_id(writer, &value);
		else
			json_append_value(writer->body, &value);
	}
	appendStringInfoCharMacro(writer->body, '}');
}

static void
append_tool_calls(MessageWriter *writer, JsonbContainer *calls)
{
	JsonbIterator *iterator = json_iterate(calls);
	JsonbValue	   call;
	bool		   first = true;

	appendStringInfoCharMacro(writer->body, '[');
	while (json_next_element(&iterator, &call))
	{
		separate(writer->body, &first);
		append_tool_call(writer, json_value_object(&call));
	}
	appendStringInfoCharMacro(writer->body, ']');
}

/* image_url without its "detail". */
static void
append_image(MessageWriter *writer, JsonbContainer *part)
{
	JsonbContainer *image = json_member_object(part, "image_url");

	appendStringInfoString(writer->body, "{\"type\":\"image_url\",\"image_url\":{\"url\":");
	json_append_value(writer->body, json_member(image, "url"));
	appendStringInfoString(writer->body, "}}");
}

static void
append_parts(MessageWriter *writer, JsonbContainer *parts)
{
	JsonbIterator *iterator = json_iterate(parts);
	JsonbValue	   part;
	bool		   first = true;

	appendStringInfoCharMacro(writer->body, '[');
	while (json_next_element(&iterator, &part))
	{
		JsonbContainer *object = json_value_object(&part);

		separate(writer->body, &first);
		if (writer->rules->drops_image_detail &&
			json_value_is(json_member(object, "type"), "image_url"))
			append_image(writer, object);
		else
			json_append_value(writer->body, &part);
	}
	appendStringInfoCharMacro(writer->body, ']');
}

/*
 * What answers have, and callers send back with the next question, whichever
 * provider that one goes to.  OpenAI's format knows them in no request.
 */
static const char *const answer_fields[] = {
	"annotations",
	"citations",
	"reasoning",
	"reasoning_content",
	"reasoning_details",
	"thinking_blocks",
};

static bool
is_answer_field(const JsonbValue *name)
{
	for (int i = 0; i < (int) lengthof(answer_fields); i++)
		if (json_value_is(name, answer_fields[i]))
			return true;
	return false;
}

/* Providers refuse what answers may hold: nulls, empty tool_calls, more fields. */
static bool
is_left_out(MessageWriter *writer, const JsonbValue *key, const JsonbValue *value)
{
	const OpenAiRules *rules = writer->rules;
	JsonbContainer	  *array = json_value_array(value);
	const char		  *name = key->val.string.val;
	int				   length = key->val.string.len;

	if (openai_list_has(rules->drop_message_fields, name, length) ||
		(is_answer_field(key) && !openai_list_has(rules->keep_message_fields, name, length)))
		return true;
	if (value->type == jbvNull)
		return !json_value_is(key, "content");
	return array && JsonContainerSize(array) == 0 && json_value_is(key, "tool_calls");
}

/*
 * Without its refusal, a message that has nothing else would say nothing: the
 * refusal is its content then.  NULL for all others.
 */
static JsonbValue *
refusal_as_content(MessageWriter *writer, JsonbContainer *message)
{
	JsonbValue *refusal = json_member(message, "refusal");
	JsonbValue *content = json_member(message, "content");

	if (refusal == NULL || refusal->type != jbvString || json_member_array(message, "tool_calls") ||
		(content && content->type != jbvNull) ||
		!openai_list_has(writer->rules->drop_message_fields, "refusal", 7))
		return NULL;
	return refusal;
}

static void
append_message(MessageWriter *writer, JsonbContainer *message, bool is_last)
{
	JsonbIterator *iterator = json_iterate(message);
	JsonbValue	  *refusal = refusal_as_content(writer, message);
	JsonbValue	   key;
	JsonbValue	   value;
	bool		   first = true;

	appendStringInfoCharMacro(writer->body, '{');
	if (refusal)
	{
		separate(writer->body, &first);
		appendStringInfoString(writer->body, "\"content\":");
		json_append_value(writer->body, refusal);
	}
	while (json_next_member(&iterator, &key, &value))
	{
		if (is_left_out(writer, &key, &value) ||
			(refusal && json_value_is(&key, "content")))
			continue;
		separate(writer->body, &first);
		json_append_key(writer->body, &key);
		if (writer->developer_to_system && json_value_is(&key, "role") &&
			json_value_is(&value, "developer"))
			appendStringInfoString(writer->body, "\"system\"");
		else if (json_value_is(&key, "tool_call_id"))
			append_call_id(writer, &value);
		else if (json_value_is(&key, "tool_calls"))
			append_tool_calls(writer, json_value_array(&value));
		else if (json_value_is(&key, "content") && json_value_array(&value))
			append_parts(writer, json_value_array(&value));
		else
			json_append_value(writer->body, &value);
	}
	/* The beginning of the answer, which Mistral otherwise refuses. */
	if (is_last && writer->rules->marks_prefix && json_member(message, "prefix") == NULL &&
		json_value_is(json_member(message, "role"), "assistant"))
		appendStringInfoString(writer->body, ",\"prefix\":true");
	appendStringInfoCharMacro(writer->body, '}');
}

/* A function without parameters: some servers want that said. */
static void
append_function(StringInfo body, JsonbContainer *function)
{
	JsonbIterator *iterator = json_iterate(function);
	JsonbValue	   key;
	JsonbValue	   value;
	bool		   first = true;

	appendStringInfoCharMacro(body, '{');
	while (json_next_member(&iterator, &key, &value))
	{
		separate(body, &first);
		json_append_key(body, &key);
		json_append_value(body, &value);
	}
	if (json_member(function, "parameters") == NULL)
		appendStringInfoString(body, ",\"parameters\":{\"type\":\"object\",\"properties\":{}}");
	appendStringInfoCharMacro(body, '}');
}

static void
append_tool(StringInfo body, JsonbContainer *tool)
{
	bool		   is_function = json_value_is(json_member(tool, "type"), "function");
	JsonbIterator *iterator = json_iterate(tool);
	JsonbValue	   key;
	JsonbValue	   value;
	bool		   first = true;

	appendStringInfoCharMacro(body, '{');
	while (json_next_member(&iterator, &key, &value))
	{
		separate(body, &first);
		json_append_key(body, &key);
		if (is_function && json_value_is(&key, "function"))
			append_function(body, json_value_object(&value));
		else
			json_append_value(body, &value);
	}
	appendStringInfoCharMacro(body, '}');
}

void
openai_append_tools(StringInfo body, JsonbContainer *tools)
{
	JsonbIterator *iterator = json_iterate(tools);
	JsonbValue	   tool;
	bool		   first = true;

	appendStringInfoCharMacro(body, '[');
	while (json_next_element(&iterator, &tool))
	{
		separate(body, &first);
		append_tool(body, json_value_object(&tool));
	}
	appendStringInfoCharMacro(body, ']');
}

void
openai_append_messages(StringInfo body, const OpenAiRules *rules,
					   bool developer_to_system, JsonbContainer *messages)
{
	MessageWriter  writer = { body, rules, developer_to_system };
	JsonbIterator *iterator = json_iterate(messages);
	int			   left = JsonContainerSize(messages);
	JsonbValue	   message;
	bool		   first = true;

	appendStringInfoCharMacro(body, '[');
	while (json_next_element(&iterator, &message))
	{
		separate(body, &first);
		append_message(&writer, json_value_object(&message), --left == 0);
	}
	appendStringInfoCharMacro(body, ']');
}

/*
 * conversation.c
 *		The messages of a request, in the terms of the formats that are not
 *		OpenAI's.
 */
#include "providers/conversation.h"

#include "base/encoding.h"
#include "chat/json.h"
#include "utils/memutils.h"

MessageRole
message_role(JsonbContainer *message)
{
	static const struct
	{
		const char *name;
		MessageRole role;
	} roles[] = {
		{ "system", MESSAGE_SYSTEM },
		{ "developer", MESSAGE_SYSTEM },
		{ "assistant", MESSAGE_ASSISTANT },
		{ "tool", MESSAGE_TOOL },
		{ "function", MESSAGE_TOOL },
	};
	JsonbValue *name = json_member(message, "role");

	for (int i = 0; i < (int) lengthof(roles); i++)
		if (json_value_is(name, roles[i].name))
			return roles[i].role;
	return MESSAGE_USER;
}

/* ------------------------------------------------------------------------
 * Content
 * ------------------------------------------------------------------------
 */

static Slice
slice_of(const JsonbValue *value)
{
	if (value == NULL || value->type != jbvString)
		return (Slice){ 0 };
	return (Slice){ value->val.string.val, value->val.string.len };
}

bool
slice_is(Slice slice, const char *string)
{
	return slice.data && slice.length == (int) strlen(string) &&
		   memcmp(slice.data, string, slice.length) == 0;
}

bool
slice_is_blank(Slice slice)
{
	for (int i = 0; i < slice.length; i++)
		if (!isspace((unsigned char) slice.data[i]))
			return false;
	return true;
}

/* Split "data:image/png;base64,…"; false when it is no such URL. */
static bool
split_data_url(Slice url, Slice *mime_type, Slice *base64)
{
	static const char scheme[] = "data:";
	const char		 *start;
	const char		 *comma;
	const char		 *semicolon;

	if (url.length < (int) strlen(scheme) ||
		pg_strncasecmp(url.data, scheme, strlen(scheme)) != 0)
		return false;
	start = url.data + strlen(scheme);
	comma = memchr(start, ',', url.length - strlen(scheme));
	if (comma == NULL)
		return false;
	semicolon = memchr(start, ';', comma - start);
	*mime_type = (Slice){ start, (int) ((semicolon ? semicolon : comma) - start) };
	*base64 = (Slice){ comma + 1, (int) (url.data + url.length - comma - 1) };
	return true;
}

static void
read_image(JsonbContainer *image, MessagePart *part)
{
	part->kind = PART_IMAGE;
	part->url = slice_of(json_member(image, "url"));
	part->detail = slice_of(json_member(image, "detail"));
	if (split_data_url(part->url, &part->mime_type, &part->base64))
		part->url = (Slice){ 0 };
}

static void
read_file(JsonbContainer *file, MessagePart *part)
{
	part->kind = PART_FILE;
	part->file_name = slice_of(json_member(file, "filename"));
	part->file_id = slice_of(json_member(file, "file_id"));
	part->base64 = slice_of(json_member(file, "file_data"));
	split_data_url(part->base64, &part->mime_type, &part->base64);
}

/* The object that a part of that type has, or NULL: only what its type says has been checked. */
static JsonbContainer *
part_member(JsonbContainer *part, const char *type)
{
	return json_value_is(json_member(part, "type"), type) ? json_member_object(part, type) : NULL;
}

static void
read_part(const JsonbValue *value, MessagePart *part)
{
	JsonbContainer *object = json_value_object(value);
	JsonbContainer *image;
	JsonbContainer *audio;
	JsonbContainer *file;

	memset(part, 0, sizeof(*part));
	part->kind = PART_TEXT;
	if (object == NULL)
	{
		part->text = slice_of(value);
		return;
	}
	part->object = object;
	image = part_member(object, "image_url");
	audio = part_member(object, "input_audio");
	file = part_member(object, "file");
	if (image)
		read_image(image, part);
	else if (audio)
	{
		part->kind = PART_AUDIO;
		part->base64 = slice_of(json_member(audio, "data"));
		part->format = slice_of(json_member(audio, "format"));
	}
	else if (file)
		read_file(file, part);
	else
	{
		part->text = slice_of(json_member(object, "text"));
		if (part->text.data == NULL)
			part->text = slice_of(json_member(object, "refusal"));
	}
}

PartWalk
message_parts(JsonbContainer *message)
{
	PartWalk	walk = { 0 };
	JsonbValue *content = json_member(message, "content");

	if (!json_value_given(content))
		content = json_member(message, "refusal");
	if (json_value_array(content))
		walk.iterator = json_iterate(json_value_array(content));
	else if (content && content->type == jbvString)
	{
		walk.single = *content;
		walk.has_single = true;
	}
	return walk;
}

bool
next_part(PartWalk *walk, MessagePart *part)
{
	JsonbValue element;

	if (walk->has_single)
	{
		walk->has_single = false;
		read_part(&walk->single, part);
		return true;
	}
	if (walk->iterator == NULL || !json_next_element(&walk->iterator, &element))
		return false;
	read_part(&element, part);
	return true;
}

StringInfo
message_text(JsonbContainer *message)
{
	StringInfo	text = makeStringInfo();
	PartWalk	walk = message_parts(message);
	MessagePart part;

	while (next_part(&walk, &part))
		if (part.kind == PART_TEXT && part.text.length > 0)
			appendBinaryStringInfo(text, part.text.data, part.text.length);
	return text;
}

StringInfo
conversation_system_text(JsonbContainer *messages)
{
	JsonbIterator *iterator = json_iterate(messages);
	StringInfo	   joined = NULL;
	JsonbValue	   message;

	while (json_next_element(&iterator, &message))
	{
		StringInfo text;

		if (message_role(json_value_object(&message)) != MESSAGE_SYSTEM)
			continue;
		text = message_text(json_value_object(&message));
		if (slice_is_blank((Slice){ text->data, text->len }))
			continue;
		if (joined == NULL)
			joined = makeStringInfo();
		else
			appendStringInfoString(joined, "\n\n");
		appendBinaryStringInfo(joined, text->data, text->len);
	}
	return joined;
}

/* ------------------------------------------------------------------------
 * Tool calls and results
 * ------------------------------------------------------------------------
 */

/* {"arguments": text} for what should have been an object. */
static Jsonb *
wrapped_arguments(const JsonbValue *text)
{
	JsonbParseState *state = NULL;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	if (json_value_filled(text))
		json_push_string(&state, "arguments", text->val.string.val, text->val.string.len);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/*
 * A parser leaves far more memory behind than most texts have, which would be kept
 * for each call and result of a conversation: only the object is.
 */
Jsonb *
object_of_text(Slice text)
{
	MemoryContext  caller = CurrentMemoryContext;
	MemoryContext  scratch;
	StringInfoData utf8;
	const char	  *problem;
	Jsonb		  *parsed;
	Jsonb		  *object = NULL;
	int			   blanks = 0;

	while (blanks < text.length && isspace((unsigned char) text.data[blanks]))
		blanks++;
	if (blanks == text.length || text.data[blanks] != '{')
		return NULL;
	scratch = AllocSetContextCreate(caller, "llm_router object", ALLOCSET_SMALL_SIZES);
	MemoryContextSwitchTo(scratch);
	initStringInfo(&utf8);
	encoding_append_as_utf8(&utf8, text.data, text.length);
	parsed = json_from_bytes(utf8.data, utf8.len, &problem);
	MemoryContextSwitchTo(caller);
	if (parsed && JB_ROOT_IS_OBJECT(parsed))
		object = memcpy(palloc(VARSIZE(parsed)), parsed, VARSIZE(parsed));
	MemoryContextDelete(scratch);
	return object;
}

static Jsonb *
read_arguments(const JsonbValue *text)
{
	Jsonb *arguments = object_of_text(slice_of(text));

	if (arguments)
		return arguments;
	return wrapped_arguments(slice_is_blank(slice_of(text)) ? NULL : text);
}

static MessageToolCall *
make_call(const JsonbValue *id, JsonbContainer *function, JsonbValue *extra)
{
	MessageToolCall *call = palloc(sizeof(MessageToolCall));

	call->name = *json_member(function, "name");
	call->id = id ? *id : call->name;
	call->arguments = read_arguments(json_member(function, "arguments"));
	call->extra = json_value_object(extra) ? extra : NULL;
	return call;
}

/* The function that a call is of, or NULL: custom calls have none, and are not checked for a name. */
static JsonbContainer *
called_function(JsonbContainer *call)
{
	JsonbContainer *function = json_member_object(call, "function");

	return function && json_value_filled(json_member(function, "name")) ? function : NULL;
}

List *
message_tool_calls(JsonbContainer *message)
{
	JsonbContainer *array = json_member_array(message, "tool_calls");
	JsonbContainer *older = json_member_object(message, "function_call");
	JsonbIterator  *iterator;
	JsonbValue		element;
	List		   *calls = NIL;

	if (older && json_value_filled(json_member(older, "name")))
		calls = list_make1(make_call(NULL, older, NULL));
	if (array == NULL)
		return calls;
	iterator = json_iterate(array);
	while (json_next_element(&iterator, &element))
	{
		JsonbContainer *object = json_value_object(&element);
		JsonbContainer *function = called_function(object);

		if (function)
			calls = lappend(calls, make_call(json_member(object, "id"), function,
											 json_member(object, "extra_content")));
	}
	return calls;
}

JsonbValue *
message_call_id(JsonbContainer *message)
{
	JsonbValue *id = json_member(message, "tool_call_id");

	return json_value_given(id) ? id : json_member(message, "name");
}

typedef struct ToolName
{
	Slice	   id;
	JsonbValue name;
	char	   status;
} ToolName;

#define SH_PREFIX				tool_name
#define SH_ELEMENT_TYPE			ToolName
#define SH_KEY_TYPE				Slice
#define SH_KEY					id
#define SH_HASH_KEY(table, key) slice_hash(key)
#define SH_EQUAL(table, a, b)	slice_equal(a, b)
#define SH_SCOPE				static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

struct ToolNames
{
	tool_name_hash *table;
};

ToolNames *
tool_names_create(void)
{
	ToolNames *names = palloc(sizeof(ToolNames));

	names->table = tool_name_create(CurrentMemoryContext, 16, NULL);
	return names;
}

void
tool_names_add(ToolNames *names, const MessageToolCall *call)
{
	bool	  found;
	ToolName *entry = tool_name_insert(names->table, slice_of(&call->id), &found);

	entry->name = call->name;
}

const JsonbValue *
tool_names_find(ToolNames *names, const JsonbValue *id)
{
	ToolName *entry = tool_name_lookup(names->table, slice_of(id));

	return entry ? &entry->name : NULL;
}

/* ------------------------------------------------------------------------
 * What only OpenAI's format can say
 * ------------------------------------------------------------------------
 */

static const char *
special_part(JsonbContainer *message)
{
	PartWalk	walk = message_parts(message);
	MessagePart part;

	while (next_part(&walk, &part))
	{
		if (part.kind == PART_AUDIO)
			return "audio";
		if (part.kind == PART_FILE && part.base64.data == NULL)
			return "a file by its id";
	}
	return NULL;
}

bool
message_has_custom_call(JsonbContainer *message)
{
	JsonbContainer *calls = json_member_array(message, "tool_calls");
	JsonbIterator  *iterator;
	JsonbValue		call;

	if (calls == NULL)
		return false;
	iterator = json_iterate(calls);
	while (json_next_element(&iterator, &call))
		if (called_function(json_value_object(&call)) == NULL)
			return true;
	return false;
}

bool
conversation_is_plain(JsonbContainer *messages, LlmError *error)
{
	JsonbIterator *iterator = json_iterate(messages);
	JsonbValue	   value;

	while (json_next_element(&iterator, &value))
	{
		JsonbContainer *message = json_value_object(&value);
		const char	   *special = message_has_custom_call(message) ? "calls of custom tools"
																   : special_part(message);

		if (special)
			return error_set(error, ERRCODE_LLM_BAD_REQUEST, "%s cannot be sent in this API format",
							 special);
	}
	return true;
}

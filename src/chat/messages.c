/*
 * messages.c
 *		Checking a conversation: OpenAI's rules for messages, as providers
 *		enforce them, so that a mistake costs no request.
 *
 * Linear in the size of the conversation: the ids of tool calls are kept in a
 * hash table, made with the first call.
 */
#include "chat/messages.h"

#include "chat/field.h"
#include "chat/json.h"
#include "chat/slice.h"

typedef struct CallId
{
	Slice id;
	char  status;
} CallId;

#define SH_PREFIX				call_ids
#define SH_ELEMENT_TYPE			CallId
#define SH_KEY_TYPE				Slice
#define SH_KEY					id
#define SH_HASH_KEY(table, key) slice_hash(key)
#define SH_EQUAL(table, a, b)	slice_equal(a, b)
#define SH_SCOPE				static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

typedef struct Conversation
{
	MessageNeeds  *needs;
	call_ids_hash *calls; /* NULL before the first */
	LlmError	  *error;
} Conversation;

/* The kinds of content part, to be or'ed. */
#define PART_TEXT	 0x01
#define PART_REFUSAL 0x02
#define PART_IMAGE	 0x04
#define PART_AUDIO	 0x08
#define PART_FILE	 0x10

typedef struct Role
{
	const char *name;
	int			parts;		  /* what its content may hold */
	bool		calls_tools;  /* may have tool_calls instead of content */
	bool		answers_call; /* has to have tool_call_id */
	bool		needs_name;
} Role;

static const Role roles[] = {
	{ .name = "system", .parts = PART_TEXT },
	{ .name = "developer", .parts = PART_TEXT },
	{ .name = "user", .parts = PART_TEXT | PART_IMAGE | PART_AUDIO | PART_FILE },
	{ .name = "assistant", .parts = PART_TEXT | PART_REFUSAL, .calls_tools = true },
	{ .name = "tool", .parts = PART_TEXT, .answers_call = true },
	{ .name = "function", .parts = PART_TEXT, .needs_name = true }, /* the older form of tool */
};

typedef bool (*PartCheck)(JsonbContainer *part, const FieldPath *path, LlmError *error);

static bool
check_text_part(JsonbContainer *part, const FieldPath *path, LlmError *error)
{
	static const FieldRule text = { .name = "text", .types = FIELD_STRING };
	FieldPath			   member = field_member(path, "text");
	JsonbValue			  *value = json_member(part, "text");

	if (value == NULL)
		return field_invalid(error, &member, "is missing");
	return field_check(&text, value, &member, error);
}

static bool
check_refusal_part(JsonbContainer *part, const FieldPath *path, LlmError *error)
{
	JsonbValue *refusal;

	return field_require_string(part, "refusal", path, &refusal, error);
}

static bool
has_prefix(const JsonbValue *value, const char *prefix)
{
	int length = (int) strlen(prefix);

	return value->val.string.len > length &&
		   pg_strncasecmp(value->val.string.val, prefix, length) == 0;
}

/* data:image/png;base64,… (RFC 2397), the one form that every provider takes. */
static bool
is_image_data(const JsonbValue *url)
{
	const char *data = url->val.string.val;
	const char *comma = memchr(data, ',', url->val.string.len);
	const char *encoding = ";base64";

	return has_prefix(url, "data:image/") && comma &&
		   comma + 1 < data + url->val.string.len &&
		   comma - data > (ptrdiff_t) (strlen("data:image/") + strlen(encoding)) &&
		   pg_strncasecmp(comma - strlen(encoding), encoding, strlen(encoding)) == 0;
}

static bool
check_image_part(JsonbContainer *part, const FieldPath *path, LlmError *error)
{
	static const FieldRule detail_rule = { .name = "detail", .types = FIELD_STRING };
	FieldPath			   member = field_member(path, "image_url");
	FieldPath			   url_path = field_member(&member, "url");
	FieldPath			   detail_path = field_member(&member, "detail");
	JsonbContainer		  *image;
	JsonbValue			  *url;
	JsonbValue			  *detail;

	if (!field_require_object(part, "image_url", path, &image, error) ||
		!field_require_string(image, "url", &member, &url, error))
		return false;
	if (!has_prefix(url, "https://") && !has_prefix(url, "http://") && !is_image_data(url))
		return field_invalid(error, &url_path,
							 "must be an http or https URL, or a data URL of an image in base64");
	detail = json_member(image, "detail");
	return detail == NULL || field_check(&detail_rule, detail, &detail_path, error);
}

static bool
check_audio_part(JsonbContainer *part, const FieldPath *path, LlmError *error)
{
	FieldPath		member = field_member(path, "input_audio");
	JsonbContainer *audio;
	JsonbValue	   *value;

	return field_require_object(part, "input_audio", path, &audio, error) &&
		   field_require_string(audio, "data", &member, &value, error) &&
		   field_require_string(audio, "format", &member, &value, error);
}

static bool
check_file_part(JsonbContainer *part, const FieldPath *path, LlmError *error)
{
	FieldPath		member = field_member(path, "file");
	JsonbContainer *file;

	if (!field_require_object(part, "file", path, &file, error))
		return false;
	if (json_member(file, "file_data") == NULL && json_member(file, "file_id") == NULL)
		return field_invalid(error, &member, "must have file_data or file_id");
	return true;
}

static const struct
{
	const char *type;
	int			kind;
	PartCheck	check;
} part_kinds[] = {
	{ "text", PART_TEXT, check_text_part },
	{ "image_url", PART_IMAGE, check_image_part },
	{ "input_audio", PART_AUDIO, check_audio_part },
	{ "file", PART_FILE, check_file_part },
	{ "refusal", PART_REFUSAL, check_refusal_part },
};

static bool
check_part(Conversation *talk, const Role *role, const JsonbValue *value, const FieldPath *path)
{
	JsonbContainer *part = json_value_object(value);
	FieldPath		type_path = field_member(path, "type");
	JsonbValue	   *type;
	StringInfoData	valid;

	if (part == NULL)
		return field_invalid(talk->error, path, "must be an object, not %s",
							 json_type_name(value));
	if (!field_require_string(part, "type", path, &type, talk->error))
		return false;
	for (int i = 0; i < (int) lengthof(part_kinds); i++)
	{
		if (!(part_kinds[i].kind & role->parts) || !json_value_is(type, part_kinds[i].type))
			continue;
		if (part_kinds[i].kind == PART_IMAGE)
			talk->needs->vision = true;
		return part_kinds[i].check(part, path, talk->error);
	}

	initStringInfo(&valid);
	for (int i = 0; i < (int) lengthof(part_kinds); i++)
		if (part_kinds[i].kind & role->parts)
			appendStringInfo(&valid, "%s\"%s\"", valid.len > 0 ? ", " : "", part_kinds[i].type);
	return field_invalid(talk->error, &type_path, "must be one of %s in a message of role %s",
						 valid.data, role->name);
}

static bool
check_content(Conversation *talk, const Role *role, const JsonbValue *content,
			  const FieldPath *path)
{
	FieldPath		member = field_member(path, "content");
	JsonbContainer *parts = json_value_array(content);
	JsonbIterator  *iterator;
	JsonbValue		part;
	int				count = 0;

	if (content->type == jbvString)
		return true;
	if (parts == NULL)
		return field_invalid(talk->error, &member, "must be a string or an array of parts, not %s",
							 json_type_name(content));
	if (JsonContainerSize(parts) == 0)
		return field_invalid(talk->error, &member, "must have at least one part");
	iterator = json_iterate(parts);
	while (json_next_element(&iterator, &part))
	{
		FieldPath place = field_element(&member, count++);

		if (!check_part(talk, role, &part, &place))
			return false;
	}
	return true;
}

static void
remember_call(Conversation *talk, const JsonbValue *id)
{
	Slice key = { id->val.string.val, id->val.string.len };
	bool  found;

	if (talk->calls == NULL)
		talk->calls = call_ids_create(CurrentMemoryContext, 16, NULL);
	call_ids_insert(talk->calls, key, &found);
}

static bool
check_tool_call(Conversation *talk, const JsonbValue *value, const FieldPath *path)
{
	static const FieldRule arguments_rule = { .name = "arguments", .types = FIELD_STRING };
	JsonbContainer		  *call = json_value_object(value);
	FieldPath			   function_path = field_member(path, "function");
	FieldPath			   arguments_path = field_member(&function_path, "arguments");
	JsonbContainer		  *function;
	JsonbValue			  *id;
	JsonbValue			  *type;
	JsonbValue			  *found;

	if (call == NULL)
		return field_invalid(talk->error, path, "must be an object, not %s",
							 json_type_name(value));
	if (!field_require_string(call, "id", path, &id, talk->error))
		return false;
	remember_call(talk, id);

	/* "custom" calls have members of their own. */
	type = json_member(call, "type");
	if (type && !json_value_is(type, "function"))
		return field_require_string(call, "type", path, &type, talk->error);

	if (!field_require_object(call, "function", path, &function, talk->error) ||
		!field_require_string(function, "name", &function_path, &found, talk->error))
		return false;
	found = json_member(function, "arguments");
	if (found == NULL)
		return field_invalid(talk->error, &arguments_path, "is missing");
	return field_check(&arguments_rule, found, &arguments_path, talk->error);
}

static bool
check_tool_calls(Conversation *talk, const JsonbValue *calls, const FieldPath *path)
{
	FieldPath		member = field_member(path, "tool_calls");
	JsonbContainer *array = json_value_array(calls);
	JsonbIterator  *iterator;
	JsonbValue		call;
	int				count = 0;

	if (array == NULL)
		return field_invalid(talk->error, &member, "must be an array, not %s",
							 json_type_name(calls));
	iterator = json_iterate(array);
	while (json_next_element(&iterator, &call))
	{
		FieldPath place = field_element(&member, count++);

		if (!check_tool_call(talk, &call, &place))
			return false;
	}
	return true;
}

/* A tool result has to answer a call that was made before it. */
static bool
check_call_id(Conversation *talk, JsonbContainer *message, const FieldPath *path)
{
	FieldPath	member = field_member(path, "tool_call_id");
	JsonbValue *id;
	Slice		key;

	if (!field_require_string(message, "tool_call_id", path, &id, talk->error))
		return false;
	key.data = id->val.string.val;
	key.length = id->val.string.len;
	if (talk->calls && call_ids_lookup(talk->calls, key))
		return true;
	return field_invalid(talk->error, &member,
						 "no earlier assistant message has a tool call of that id");
}

/* Whether an assistant message says something without having content. */
static bool
speaks_without_content(JsonbContainer *message, JsonbValue *tool_calls)
{
	JsonbContainer *calls = json_value_array(tool_calls);

	return (calls && JsonContainerSize(calls) > 0) ||
		   json_value_given(json_member(message, "function_call")) ||
		   json_value_given(json_member(message, "refusal")) ||
		   json_value_given(json_member(message, "audio"));
}

static const Role *
find_role(const JsonbValue *name)
{
	for (int i = 0; i < (int) lengthof(roles); i++)
		if (json_value_is(name, roles[i].name))
			return &roles[i];
	return NULL;
}

static bool
check_name(JsonbContainer *message, const Role *role, const FieldPath *path, LlmError *error)
{
	JsonbValue *name = json_member(message, "name");

	return (!json_value_given(name) && !role->needs_name) ||
		   field_require_string(message, "name", path, &name, error);
}

static bool
check_message(Conversation *talk, const JsonbValue *value, const FieldPath *path)
{
	JsonbContainer *message = json_value_object(value);
	FieldPath		role_path = field_member(path, "role");
	FieldPath		content_path = field_member(path, "content");
	FieldPath		calls_path = field_member(path, "tool_calls");
	JsonbValue	   *role_name;
	JsonbValue	   *content;
	JsonbValue	   *tool_calls;
	const Role	   *role;

	if (message == NULL)
		return field_invalid(talk->error, path, "must be an object, not %s",
							 json_type_name(value));
	if (!field_require_string(message, "role", path, &role_name, talk->error))
		return false;
	role = find_role(role_name);
	if (role == NULL)
		return field_invalid(talk->error, &role_path,
							 "must be one of \"system\", \"developer\", \"user\", \"assistant\", \"tool\"");
	if (!check_name(message, role, path, talk->error))
		return false;

	tool_calls = json_member(message, "tool_calls");
	if (json_value_given(tool_calls) && !role->calls_tools)
		return field_invalid(talk->error, &calls_path, "belongs in an assistant message");
	if (json_value_given(tool_calls) && !check_tool_calls(talk, tool_calls, path))
		return false;
	if (role->answers_call && !check_call_id(talk, message, path))
		return false;
	if (talk->calls || role->needs_name)
		talk->needs->tools = true;

	content = json_member(message, "content");
	if (json_value_given(content))
		return check_content(talk, role, content, path);
	if (role->calls_tools && speaks_without_content(message, tool_calls))
		return true;
	return field_invalid(talk->error, &content_path, "is missing");
}

bool
messages_check(JsonbContainer *messages, MessageNeeds *needs, LlmError *error)
{
	FieldPath	   path = field_member(NULL, "messages");
	Conversation   talk = { needs, NULL, error };
	JsonbIterator *iterator;
	JsonbValue	   message;
	int			   count = 0;

	needs->tools = needs->vision = false;
	if (JsonContainerSize(messages) == 0)
		return field_invalid(error, &path, "must have at least one message");
	iterator = json_iterate(messages);
	while (json_next_element(&iterator, &message))
	{
		FieldPath place = field_element(&path, count++);

		if (!check_message(&talk, &message, &place))
			return false;
	}
	return true;
}

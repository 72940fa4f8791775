/*
 * cohere_messages.c
 *		The messages of a chat request: one system message in front, no empty
 *		turns, tool calls without content, and each call's id only once.
 *
 * Linear in the size of the conversation: the ids are kept in a hash table.
 */
#include "providers/cohere.h"

#include "chat/json.h"
#include "providers/conversation.h"

/* A tool call's id.  Callers use an id again in a later turn; Cohere refuses that. */
typedef struct CallId
{
	Slice id;
	char *sent;
	int	  uses;
	bool  answered; /* its last use */
	char  status;
} CallId;

#define SH_PREFIX				call_id
#define SH_ELEMENT_TYPE			CallId
#define SH_KEY_TYPE				Slice
#define SH_KEY					id
#define SH_HASH_KEY(table, key) slice_hash(key)
#define SH_EQUAL(table, a, b)	slice_equal(a, b)
#define SH_SCOPE				static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

typedef struct Talk
{
	JsonWriter	 *writer;
	call_id_hash *ids; /* NULL before the first call */
	LlmError	 *error;
} Talk;

static void
begin_message(JsonWriter *writer, const char *role)
{
	json_write_begin(writer, '{');
	json_write_member_text(writer, "role", role);
}

static void
write_text_member(JsonWriter *writer, const char *key, StringInfo text)
{
	json_write_key(writer, key);
	json_write_string(writer, text->data, text->len);
}

static void
write_message(JsonWriter *writer, const char *role, StringInfo text)
{
	begin_message(writer, role);
	write_text_member(writer, "content", text);
	json_write_end(writer, '}');
}

static void
write_system(JsonWriter *writer, JsonbContainer *messages, const char *instruction)
{
	StringInfo text = conversation_system_text(messages);

	if (text == NULL && instruction == NULL)
		return;
	if (text == NULL)
		text = makeStringInfo();
	else if (instruction)
		appendStringInfoString(text, "\n\n");
	if (instruction)
		appendStringInfoString(text, instruction);
	write_message(writer, "system", text);
}

static bool
is_blank(StringInfo text)
{
	return slice_is_blank((Slice){ text->data, text->len });
}

/* ------------------------------------------------------------------------
 * The user's turns
 * ------------------------------------------------------------------------
 */

static bool
has_part(JsonbContainer *message, PartKind kind)
{
	PartWalk	walk = message_parts(message);
	MessagePart part;

	while (next_part(&walk, &part))
		if (part.kind == kind)
			return true;
	return false;
}

static void
write_text_part(JsonWriter *writer, Slice text)
{
	if (slice_is_blank(text))
		return;
	json_write_begin(writer, '{');
	json_write_member_text(writer, "type", "text");
	json_write_key(writer, "text");
	json_write_string(writer, text.data, text.length);
	json_write_end(writer, '}');
}

static void
write_image_part(JsonWriter *writer, const MessagePart *part)
{
	static const char *const details[] = { "auto", "low", "high" };
	StringInfoData			 url;

	initStringInfo(&url);
	if (part->url.data)
		appendBinaryStringInfo(&url, part->url.data, part->url.length);
	else
	{
		appendStringInfoString(&url, "data:");
		appendBinaryStringInfo(&url, part->mime_type.data, part->mime_type.length);
		appendStringInfoString(&url, ";base64,");
		appendBinaryStringInfo(&url, part->base64.data, part->base64.length);
	}
	json_write_begin(writer, '{');
	json_write_member_text(writer, "type", "image_url");
	json_write_key(writer, "image_url");
	json_write_begin(writer, '{');
	write_text_member(writer, "url", &url);
	for (int i = 0; i < (int) lengthof(details); i++)
		if (slice_is(part->detail, details[i]))
			json_write_member_text(writer, "detail", details[i]);
	json_write_end(writer, '}');
	json_write_end(writer, '}');
	pfree(url.data);
}

static void
write_parts(JsonWriter *writer, JsonbContainer *message)
{
	PartWalk	walk = message_parts(message);
	MessagePart part;

	begin_message(writer, "user");
	json_write_key(writer, "content");
	json_write_begin(writer, '[');
	while (next_part(&walk, &part))
	{
		if (part.kind == PART_TEXT)
			write_text_part(writer, part.text);
		else if (part.kind == PART_IMAGE)
			write_image_part(writer, &part);
	}
	json_write_end(writer, ']');
	json_write_end(writer, '}');
}

/* An empty turn is refused, and says nothing. */
static bool
write_user(Talk *talk, JsonbContainer *message)
{
	StringInfo text;

	if (has_part(message, PART_FILE))
		return error_set(talk->error, ERRCODE_LLM_BAD_REQUEST,
						 "files cannot be sent in this API format");
	if (has_part(message, PART_IMAGE))
	{
		write_parts(talk->writer, message);
		return true;
	}
	text = message_text(message);
	if (!is_blank(text))
		write_message(talk->writer, "user", text);
	return true;
}

/* ------------------------------------------------------------------------
 * Tool calls and their results
 * ------------------------------------------------------------------------
 */

static Slice
slice_of(const JsonbValue *string)
{
	return (Slice){ string->val.string.val, string->val.string.len };
}

/* Note that a call is sent under that id; false when one was already. */
static bool
take_id(Talk *talk, Slice id, char *sent)
{
	bool	used;
	CallId *entry = call_id_insert(talk->ids, id, &used);

	if (used)
		return false;
	entry->sent = sent;
	entry->uses = 1;
	entry->answered = false;
	return true;
}

/* The id under which a call is sent: its own, or when that was used, another. */
static const char *
new_call_id(Talk *talk, const JsonbValue *id)
{
	Slice	key = slice_of(id);
	char   *sent = json_value_string(id);
	CallId *entry;
	int		uses;

	if (talk->ids == NULL)
		talk->ids = call_id_create(CurrentMemoryContext, 16, NULL);
	if (take_id(talk, key, sent))
		return sent;
	uses = call_id_lookup(talk->ids, key)->uses;
	do
		sent = psprintf("%.*s_%d", key.length, key.data, ++uses);
	while (!take_id(talk, (Slice){ sent, (int) strlen(sent) }, sent));
	entry = call_id_lookup(talk->ids, key);
	entry->sent = sent;
	entry->uses = uses;
	entry->answered = false;
	return sent;
}

static void
write_call(Talk *talk, const MessageToolCall *call)
{
	JsonWriter *writer = talk->writer;
	char	   *arguments = JsonbToCString(NULL, &call->arguments->root, VARSIZE(call->arguments));

	json_write_begin(writer, '{');
	json_write_member_text(writer, "id", new_call_id(talk, &call->id));
	json_write_member_text(writer, "type", "function");
	json_write_key(writer, "function");
	json_write_begin(writer, '{');
	json_write_member_text(writer, "name", cohere_tool_name(&call->name));
	json_write_member_text(writer, "arguments", arguments);
	json_write_end(writer, '}');
	json_write_end(writer, '}');
	pfree(arguments);
}

/* What was said beside tool calls is the plan; such a turn has no content. */
static void
write_assistant(Talk *talk, JsonbContainer *message)
{
	StringInfo text = message_text(message);
	List	  *calls = message_tool_calls(message);
	ListCell  *cell;

	if (calls == NIL)
	{
		if (!is_blank(text))
			write_message(talk->writer, "assistant", text);
		return;
	}
	begin_message(talk->writer, "assistant");
	if (!is_blank(text))
		write_text_member(talk->writer, "tool_plan", text);
	json_write_key(talk->writer, "tool_calls");
	json_write_begin(talk->writer, '[');
	foreach (cell, calls)
		write_call(talk, lfirst(cell));
	json_write_end(talk->writer, ']');
	json_write_end(talk->writer, '}');
}

static bool
write_result(Talk *talk, JsonbContainer *message)
{
	JsonbValue *id = message_call_id(message);
	CallId	   *entry = talk->ids ? call_id_lookup(talk->ids, slice_of(id)) : NULL;

	if (entry == NULL || entry->answered)
		return error_set(talk->error, ERRCODE_LLM_BAD_REQUEST,
						 "%s cannot be sent in this API format",
						 entry ? "two results of one tool call" : "a result without a tool call");
	entry->answered = true;
	begin_message(talk->writer, "tool");
	json_write_member_text(talk->writer, "tool_call_id", entry->sent);
	write_text_member(talk->writer, "content", message_text(message));
	json_write_end(talk->writer, '}');
	return true;
}

bool
cohere_write_messages(JsonWriter *writer, JsonbContainer *messages, const char *instruction,
					  LlmError *error)
{
	Talk		   talk = { writer, NULL, error };
	JsonbIterator *iterator = json_iterate(messages);
	JsonbValue	   element;
	bool		   said = true;

	if (!conversation_is_plain(messages, error))
		return false;
	json_write_begin(writer, '[');
	write_system(writer, messages, instruction);
	while (said && json_next_element(&iterator, &element))
	{
		JsonbContainer *message = json_value_object(&element);

		switch (message_role(message))
		{
			case MESSAGE_SYSTEM:
				break; /* in front already */
			case MESSAGE_USER:
				said = write_user(&talk, message);
				break;
			case MESSAGE_ASSISTANT:
				write_assistant(&talk, message);
				break;
			case MESSAGE_TOOL:
				said = write_result(&talk, message);
				break;
		}
	}
	if (said && !writer->comma)
		return error_set(error, ERRCODE_LLM_BAD_REQUEST,
						 "a conversation of empty messages cannot be sent in this API format");
	json_write_end(writer, ']');
	return said;
}

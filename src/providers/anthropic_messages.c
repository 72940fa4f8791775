/*
 * anthropic_messages.c
 *		The conversation in Anthropic's terms: turns of user and assistant, which
 *		alternate, of blocks.
 *
 * A turn is gathered until the other side speaks; messages of one side in a row
 * become one turn.  The user's turn has two lists: results of tools have to come
 * before all else.  Blank texts are refused, and left out; so a turn begins with
 * its first block, not with its first message.
 */
#include "providers/anthropic.h"

/* Said for the user, who has to begin, and to end where no answer can be continued. */
#define BEGINNING "Begin."
#define FURTHER	  "Continue."

#define JSON_INSTRUCTION "Answer with one JSON object only."

/* Blocks as JSON text, with commas between them. */
typedef struct BlockList
{
	StringInfoData text;
	JsonWriter	   json;
	bool		   is_cached; /* the last block has cache_control, or cannot have it */
} BlockList;

typedef struct Conversation
{
	JsonWriter			*out;
	const AnthropicPlan *plan;
	ToolHistory			*history;
	LlmError			*error;
	MessageRole			 role; /* whose turn is gathered */
	bool				 has_turns;
	BlockList			 results;
	BlockList			 blocks;

	/* The last block, if it is a text: what it says, and where it begins. */
	Slice			last_text;
	int				last_text_at;
	JsonbContainer *last_text_cache; /* has its cache_control; or NULL */
} Conversation;

static void
init_list(BlockList *list)
{
	initStringInfo(&list->text);
	list->json.out = &list->text;
	list->json.comma = false;
	list->is_cached = false;
}

static void
reset_list(BlockList *list)
{
	resetStringInfo(&list->text);
	list->json.comma = false;
	list->is_cached = false;
}

/* ------------------------------------------------------------------------
 * Turns
 * ------------------------------------------------------------------------
 */

static void
write_turn(JsonWriter *out, const char *role, const BlockList *first, const BlockList *rest)
{
	json_write_begin(out, '{');
	json_write_member_text(out, "role", role);
	json_write_key(out, "content");
	json_write_begin(out, '[');
	appendBinaryStringInfo(out->out, first->text.data, first->text.len);
	if (first->text.len > 0 && rest->text.len > 0)
		appendStringInfoCharMacro(out->out, ',');
	appendBinaryStringInfo(out->out, rest->text.data, rest->text.len);
	json_write_end(out, ']');
	json_write_end(out, '}');
}

/* A turn of the user that he did not speak. */
static void
write_filler(JsonWriter *out, const char *text)
{
	json_write_begin(out, '{');
	json_write_member_text(out, "role", "user");
	json_write_member_text(out, "content", text);
	json_write_end(out, '}');
}

static void
end_turn(Conversation *talk)
{
	bool is_assistant = talk->role == MESSAGE_ASSISTANT;

	if (talk->results.text.len == 0 && talk->blocks.text.len == 0)
		return;
	if (is_assistant && !talk->has_turns)
		write_filler(talk->out, BEGINNING);
	write_turn(talk->out, is_assistant ? "assistant" : "user", &talk->results, &talk->blocks);
	talk->has_turns = true;
	reset_list(&talk->results);
	reset_list(&talk->blocks);
	talk->last_text.data = NULL;
}

/* Before a block of that side is written. */
static void
enter_turn(Conversation *talk, MessageRole role)
{
	if (talk->role != role)
		end_turn(talk);
	talk->role = role;
	talk->last_text.data = NULL;
}

/* ------------------------------------------------------------------------
 * Blocks
 * ------------------------------------------------------------------------
 */

static void
begin_block(BlockList *list, const char *type)
{
	json_write_begin(&list->json, '{');
	json_write_member_text(&list->json, "type", type);
}

/* With the cache_control of an object, or NULL. */
static void
end_block(BlockList *list, JsonbContainer *cache)
{
	list->is_cached = anthropic_write_cache_control(&list->json, cache);
	json_write_end(&list->json, '}');
}

static void
write_text(BlockList *list, Slice text, JsonbContainer *cache)
{
	begin_block(list, "text");
	json_write_key(&list->json, "text");
	json_write_string(&list->json, text.data, text.length);
	end_block(list, cache);
}

/* Where the next message's blocks will begin, if it is of that side. */
static int
turn_length(const Conversation *talk, MessageRole role)
{
	return talk->role == role ? talk->blocks.text.len : 0;
}

/* A message's cache_control is that of its last block; its blocks begin at start. */
static void
add_message_cache(Conversation *talk, MessageRole role, int start, JsonbContainer *message)
{
	BlockList *blocks = &talk->blocks;

	if (talk->role != role || blocks->text.len <= start || blocks->is_cached ||
		!json_member_object(message, CACHE_CONTROL))
		return;
	blocks->text.data[--blocks->text.len] = '\0';
	end_block(blocks, message);
	talk->last_text_cache = message;
}

/* The media type of an image in the provider's words, or NULL for one that it does not take. */
static const char *
image_type(Slice type)
{
	static const char *const types[][2] = {
		{ "image/jpeg", "image/jpeg" },
		{ "image/jpg", "image/jpeg" },
		{ "image/png", "image/png" },
		{ "image/gif", "image/gif" },
		{ "image/webp", "image/webp" },
	};

	for (int i = 0; i < (int) lengthof(types); i++)
		if (type.length == (int) strlen(types[i][0]) &&
			pg_strncasecmp(type.data, types[i][0], type.length) == 0)
			return types[i][1];
	return NULL;
}

static void
write_source(JsonWriter *json, const char *media_type, Slice base64, Slice url)
{
	json_write_key(json, "source");
	json_write_begin(json, '{');
	json_write_member_text(json, "type", url.data ? "url" : "base64");
	if (url.data == NULL)
		json_write_member_text(json, "media_type", media_type);
	json_write_key(json, url.data ? "url" : "data");
	if (url.data)
		json_write_string(json, url.data, url.length);
	else
		json_write_string(json, base64.data, base64.length);
	json_write_end(json, '}');
}

static bool
refuse_type(Conversation *talk, const char *what, Slice type)
{
	const char *name = type.data ? pnstrdup(type.data, type.length) : "";

	return error_set(talk->error, ERRCODE_LLM_BAD_REQUEST,
					 "%s of type \"%s\" cannot be sent in this API format", what, error_shown_name(name));
}

static bool
write_image(Conversation *talk, const MessagePart *part)
{
	const char *type = part->url.data ? NULL : image_type(part->mime_type);

	if (part->url.data == NULL && type == NULL)
		return refuse_type(talk, "images", part->mime_type);
	enter_turn(talk, MESSAGE_USER);
	begin_block(&talk->blocks, "image");
	write_source(&talk->blocks.json, type, part->base64, part->url);
	end_block(&talk->blocks, part->object);
	return true;
}

static bool
is_url(Slice text)
{
	return text.length > 8 && (pg_strncasecmp(text.data, "https://", 8) == 0 ||
							   pg_strncasecmp(text.data, "http://", 7) == 0);
}

/* A file is a PDF unless it says otherwise, which an image may do. */
static bool
write_file(Conversation *talk, const MessagePart *part)
{
	static const char pdf[] = "application/pdf";
	const char		 *image = image_type(part->mime_type);
	Slice			  url = { NULL, 0 };

	if (part->mime_type.length > 0 && image == NULL &&
		(part->mime_type.length != (int) strlen(pdf) ||
		 pg_strncasecmp(part->mime_type.data, pdf, strlen(pdf)) != 0))
		return refuse_type(talk, "files", part->mime_type);
	if (part->mime_type.length == 0 && is_url(part->base64))
		url = part->base64;

	enter_turn(talk, MESSAGE_USER);
	begin_block(&talk->blocks, image ? "image" : "document");
	write_source(&talk->blocks.json, image ? image : pdf, part->base64, url);
	if (image == NULL && part->file_name.length > 0)
	{
		json_write_key(&talk->blocks.json, "title");
		json_write_string(&talk->blocks.json, part->file_name.data, part->file_name.length);
	}
	end_block(&talk->blocks, part->object);
	return true;
}

static bool
write_parts(Conversation *talk, MessageRole role, JsonbContainer *message)
{
	PartWalk	walk = message_parts(message);
	MessagePart part;

	while (next_part(&walk, &part))
	{
		if (part.kind == PART_IMAGE && !write_image(talk, &part))
			return false;
		if (part.kind == PART_FILE && !write_file(talk, &part))
			return false;
		if (part.kind != PART_TEXT || slice_is_blank(part.text))
			continue;
		enter_turn(talk, role);
		talk->last_text = part.text;
		talk->last_text_at = talk->blocks.text.len;
		talk->last_text_cache = part.object;
		write_text(&talk->blocks, part.text, part.object);
	}
	return true;
}

/* ------------------------------------------------------------------------
 * Messages
 * ------------------------------------------------------------------------
 */

static bool
write_user(Conversation *talk, JsonbContainer *message)
{
	int start = turn_length(talk, MESSAGE_USER);

	if (!write_parts(talk, MESSAGE_USER, message))
		return false;
	add_message_cache(talk, MESSAGE_USER, start, message);
	return true;
}

static void
write_thoughts(Conversation *talk, JsonbContainer *message)
{
	JsonbContainer *thoughts = json_member_array(message, "thinking_blocks");
	JsonbIterator  *iterator = thoughts ? json_iterate(thoughts) : NULL;
	JsonbValue		block;

	while (thoughts && json_next_element(&iterator, &block))
	{
		if (!anthropic_is_thought(&block))
			continue;
		enter_turn(talk, MESSAGE_ASSISTANT);
		json_write_value(&talk->blocks.json, &block);
		talk->blocks.is_cached = true;
	}
}

static void
write_call(Conversation *talk, const MessageToolCall *call)
{
	JsonWriter *json = &talk->blocks.json;
	Slice		id = tool_history_add(talk->history, call);

	enter_turn(talk, MESSAGE_ASSISTANT);
	begin_block(&talk->blocks, "tool_use");
	json_write_key(json, "id");
	json_write_string(json, id.data, id.length);
	json_write_member(json, "name", &call->name);
	json_write_key(json, "input");
	json_write_container(json, &call->arguments->root);
	end_block(&talk->blocks, NULL);
}

static bool
write_assistant(Conversation *talk, JsonbContainer *message)
{
	int		  start = turn_length(talk, MESSAGE_ASSISTANT);
	ListCell *cell;

	if (talk->plan->thinks)
		write_thoughts(talk, message);
	if (!write_parts(talk, MESSAGE_ASSISTANT, message))
		return false;
	foreach (cell, message_tool_calls(message))
		write_call(talk, lfirst(cell));
	add_message_cache(talk, MESSAGE_ASSISTANT, start, message);
	return true;
}

/* The cache_control of a result: its message's, or that of a part. */
static JsonbContainer *
result_cache(JsonbContainer *message)
{
	JsonbContainer *found = message;
	PartWalk		walk = message_parts(message);
	MessagePart		part;

	while (next_part(&walk, &part))
		if (part.object && json_member_object(part.object, CACHE_CONTROL))
			found = part.object;
	return json_member_object(message, CACHE_CONTROL) ? message : found;
}

/* A result whose call nobody knows, as OpenAI's older functions may have it, is text. */
static void
write_orphan(Conversation *talk, Slice content, JsonbContainer *message)
{
	if (slice_is_blank(content))
		return;
	enter_turn(talk, MESSAGE_USER);
	write_text(&talk->blocks, content, result_cache(message));
}

static void
write_result(Conversation *talk, Slice content, Slice id, JsonbContainer *message)
{
	JsonWriter *json = &talk->results.json;
	bool		is_error;

	enter_turn(talk, MESSAGE_USER);
	begin_block(&talk->results, "tool_result");
	json_write_key(json, "tool_use_id");
	json_write_string(json, id.data, id.length);
	if (!slice_is_blank(content))
	{
		json_write_key(json, "content");
		json_write_string(json, content.data, content.length);
	}
	if (json_member_bool(message, "is_error", &is_error))
	{
		json_write_key(json, "is_error");
		json_write_bool(json, is_error);
	}
	end_block(&talk->results, result_cache(message));
}

static void
write_tool(Conversation *talk, JsonbContainer *message)
{
	StringInfo text = message_text(message);
	Slice	   content = { text->data, text->len };
	Slice	   id;

	if (tool_history_find(talk->history, message_call_id(message), &id))
		write_result(talk, content, id, message);
	else
		write_orphan(talk, content, message);
	pfree(text->data);
	pfree(text);
}

static bool
write_message(Conversation *talk, JsonbContainer *message)
{
	switch (message_role(message))
	{
		case MESSAGE_SYSTEM:
			break; /* see anthropic_write_system */
		case MESSAGE_USER:
			return write_user(talk, message);
		case MESSAGE_ASSISTANT:
			return write_assistant(talk, message);
		case MESSAGE_TOOL:
			write_tool(talk, message);
			break;
	}
	return true;
}

/* What the model is to go on with must not end in white space. */
static void
trim_last_text(Conversation *talk)
{
	Slice text = talk->last_text;

	if (text.data == NULL)
		return;
	while (text.length > 0 && isspace((unsigned char) text.data[text.length - 1]))
		text.length--;
	if (text.length == talk->last_text.length)
		return;
	talk->blocks.text.len = talk->last_text_at;
	talk->blocks.json.comma = talk->last_text_at > 0;
	write_text(&talk->blocks, text, talk->last_text_cache);
}

/*
 * The user has the last word, unless the model continues what the assistant began.
 * OpenAI's models answer after any message, which a word of the user's brings about.
 */
static void
end_conversation(Conversation *talk)
{
	bool is_assistants = talk->role == MESSAGE_ASSISTANT;

	if (is_assistants && talk->plan->continues)
		trim_last_text(talk);
	end_turn(talk);
	if (!talk->has_turns)
		write_filler(talk->out, BEGINNING);
	else if (is_assistants && !talk->plan->continues)
		write_filler(talk->out, FURTHER);
}

bool
anthropic_write_messages(JsonWriter *writer, const AnthropicPlan *plan, ToolHistory *history,
						 LlmError *error)
{
	JsonbContainer *messages = &plan->request->messages->root;
	JsonbIterator  *iterator = json_iterate(messages);
	Conversation	talk = { writer, plan, history, error, .role = MESSAGE_USER };
	JsonbValue		message;

	if (!conversation_is_plain(messages, error))
		return false;
	init_list(&talk.results);
	init_list(&talk.blocks);
	json_write_key(writer, "messages");
	json_write_begin(writer, '[');
	while (json_next_element(&iterator, &message))
		if (!write_message(&talk, json_value_object(&message)))
			return false;
	end_conversation(&talk);
	json_write_end(writer, ']');
	return true;
}

/* ------------------------------------------------------------------------
 * System messages
 * ------------------------------------------------------------------------
 */

static bool
is_cached(JsonbContainer *message)
{
	return json_member_object(result_cache(message), CACHE_CONTROL) != NULL;
}

static bool
any_system_is_cached(JsonbContainer *messages)
{
	JsonbIterator *iterator = json_iterate(messages);
	JsonbValue	   message;

	while (json_next_element(&iterator, &message))
		if (message_role(json_value_object(&message)) == MESSAGE_SYSTEM &&
			is_cached(json_value_object(&message)))
			return true;
	return false;
}

/* Block by block, so that each keeps its cache_control. */
static void
write_system_blocks(JsonWriter *writer, const AnthropicPlan *plan, JsonbContainer *messages)
{
	JsonbIterator *iterator = json_iterate(messages);
	Conversation   talk = { writer, plan, .role = MESSAGE_USER };
	JsonbValue	   message;

	init_list(&talk.blocks);
	while (json_next_element(&iterator, &message))
		if (message_role(json_value_object(&message)) == MESSAGE_SYSTEM)
			write_user(&talk, json_value_object(&message));
	if (plan->format == RESPONSE_JSON_OBJECT)
		write_text(&talk.blocks, (Slice){ JSON_INSTRUCTION, (int) strlen(JSON_INSTRUCTION) }, NULL);
	if (talk.blocks.text.len == 0)
		return;
	json_write_key(writer, "system");
	json_write_begin(writer, '[');
	appendBinaryStringInfo(writer->out, talk.blocks.text.data, talk.blocks.text.len);
	json_write_end(writer, ']');
}

void
anthropic_write_system(JsonWriter *writer, const AnthropicPlan *plan)
{
	JsonbContainer *messages = &plan->request->messages->root;
	StringInfo		text;

	if (parameter_in_extra(plan->request, "system"))
		return;
	if (any_system_is_cached(messages))
	{
		write_system_blocks(writer, plan, messages);
		return;
	}
	text = conversation_system_text(messages);
	if (plan->format == RESPONSE_JSON_OBJECT)
	{
		if (text == NULL)
			text = makeStringInfo();
		appendStringInfo(text, "%s%s", text->len > 0 ? "\n\n" : "", JSON_INSTRUCTION);
	}
	if (text == NULL)
		return;
	json_write_key(writer, "system");
	json_write_string(writer, text->data, text->len);
}

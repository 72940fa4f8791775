/*
 * google_messages.c
 *		Writing the conversation: systemInstruction and contents.
 *
 * Contents take turns between "user" and "model"; messages of one role in a row
 * are one turn.  The results of tools are a turn of their own, directly after the
 * turn with their calls, as the API wants them: as many as there were calls.
 */
#include "providers/google.h"

#include "base/encoding.h"

/* Said where a conversation does not begin with the user, who has to. */
#define OPENING "Go on."

/*
 * Stands for the signature of a call that comes from another model, or from an
 * answer whose signature was lost; Google's documentation names it.
 */
#define SIGNATURE_STAND_IN "skip_thought_signature_validator"

typedef enum Turn
{
	TURN_NONE,
	TURN_USER,
	TURN_MODEL,
	TURN_RESULTS
} Turn;

typedef struct Talk
{
	JsonWriter				*writer;
	const GoogleModelTraits *model;
	StringInfo				 system; /* to be said in the first user turn; or NULL */
	ToolNames				*names;
	Turn					 turn; /* the one that is open */
	LlmError				*error;
} Talk;

static void
end_turn(Talk *talk)
{
	if (talk->turn == TURN_NONE)
		return;
	json_write_end(talk->writer, ']');
	json_write_end(talk->writer, '}');
	talk->turn = TURN_NONE;
}

static void
write_text(JsonWriter *writer, const char *text, int length)
{
	json_write_begin(writer, '{');
	json_write_key(writer, "text");
	json_write_string(writer, text, length);
	json_write_end(writer, '}');
}

/* Open a turn, unless it is the one that is open, for parts to follow. */
static void
begin_turn(Talk *talk, Turn turn, bool *is_first)
{
	if (talk->turn == turn)
		return;
	end_turn(talk);
	if (*is_first && turn == TURN_MODEL)
		begin_turn(talk, TURN_USER, is_first);
	if (talk->turn != TURN_NONE)
	{
		write_text(talk->writer, OPENING, (int) strlen(OPENING));
		end_turn(talk);
	}
	json_write_begin(talk->writer, '{');
	json_write_member_text(talk->writer, "role", turn == TURN_MODEL ? "model" : "user");
	json_write_key(talk->writer, "parts");
	json_write_begin(talk->writer, '[');
	talk->turn = turn;
	*is_first = false;
	if (turn == TURN_USER && talk->system)
	{
		write_text(talk->writer, talk->system->data, talk->system->len);
		talk->system = NULL;
	}
}

/* ------------------------------------------------------------------------
 * Parts
 * ------------------------------------------------------------------------
 */

static void
write_inline_data(JsonWriter *writer, const char *mime_type, int length, Slice base64)
{
	json_write_begin(writer, '{');
	json_write_key(writer, "inlineData");
	json_write_begin(writer, '{');
	json_write_key(writer, "mimeType");
	json_write_string(writer, mime_type, length);
	json_write_key(writer, "data");
	json_write_string(writer, base64.data, base64.length);
	json_write_end(writer, '}');
	json_write_end(writer, '}');
}

static bool
begins_with(Slice slice, const char *prefix)
{
	int length = (int) strlen(prefix);

	return slice.length > length && pg_strncasecmp(slice.data, prefix, length) == 0;
}

/* What the API can fetch by itself: its own files, and videos. */
static bool
is_fetched(Slice url)
{
	static const char *const places[] = {
		"https://generativelanguage.googleapis.com/",
		"https://www.youtube.com/",
		"https://youtube.com/",
		"https://youtu.be/",
	};

	for (int i = 0; i < (int) lengthof(places); i++)
		if (begins_with(url, places[i]))
			return true;
	return false;
}

static bool
write_image(Talk *talk, const MessagePart *part)
{
	if (part->url.data == NULL)
	{
		write_inline_data(talk->writer, part->mime_type.data, part->mime_type.length, part->base64);
		return true;
	}
	if (!is_fetched(part->url))
		return error_set(talk->error, ERRCODE_LLM_BAD_REQUEST,
						 "an image at a URL cannot be sent in this API format: send its data");
	json_write_begin(talk->writer, '{');
	json_write_key(talk->writer, "fileData");
	json_write_begin(talk->writer, '{');
	json_write_key(talk->writer, "fileUri");
	json_write_string(talk->writer, part->url.data, part->url.length);
	json_write_end(talk->writer, '}');
	json_write_end(talk->writer, '}');
	return true;
}

static bool
write_file(Talk *talk, const MessagePart *part)
{
	static const char pdf[] = "application/pdf";

	if (part->base64.data == NULL)
		return error_set(talk->error, ERRCODE_LLM_BAD_REQUEST,
						 "a file by its id cannot be sent in this API format");
	if (part->mime_type.length > 0)
		write_inline_data(talk->writer, part->mime_type.data, part->mime_type.length, part->base64);
	else
		write_inline_data(talk->writer, pdf, (int) strlen(pdf), part->base64);
	return true;
}

static bool
write_part(Talk *talk, const MessagePart *part)
{
	char *mime_type;

	switch (part->kind)
	{
		case PART_TEXT:
			write_text(talk->writer, part->text.data, part->text.length);
			return true;
		case PART_IMAGE:
			return write_image(talk, part);
		case PART_AUDIO:
			mime_type = psprintf("audio/%.*s", part->format.length, part->format.data);
			write_inline_data(talk->writer, mime_type, (int) strlen(mime_type), part->base64);
			return true;
		case PART_FILE:
			return write_file(talk, part);
	}
	pg_unreachable();
}

/* The parts of a message that say something; an empty text would be refused. */
static bool
write_parts(Talk *talk, Turn turn, JsonbContainer *message, bool *is_first)
{
	PartWalk	walk = message_parts(message);
	MessagePart part;

	while (next_part(&walk, &part))
	{
		if (part.kind == PART_TEXT && part.text.length == 0)
			continue;
		begin_turn(talk, turn, is_first);
		if (!write_part(talk, &part))
			return false;
	}
	return true;
}

/* ------------------------------------------------------------------------
 * Tool calls and results
 * ------------------------------------------------------------------------
 */

/* The signature that an answer brought: extra_content.google.thought_signature. */
static JsonbValue *
call_signature(const MessageToolCall *call)
{
	JsonbContainer *extra = json_value_object(call->extra);
	JsonbContainer *google = extra ? json_member_object(extra, "google") : NULL;
	JsonbValue	   *signature = google ? json_member(google, "thought_signature") : NULL;

	return json_value_filled(signature) ? signature : NULL;
}

static void
write_call(Talk *talk, const MessageToolCall *call, bool is_first)
{
	JsonbValue *signature = call_signature(call);

	json_write_begin(talk->writer, '{');
	json_write_key(talk->writer, "functionCall");
	json_write_begin(talk->writer, '{');
	json_write_member(talk->writer, "id", &call->id);
	json_write_member(talk->writer, "name", &call->name);
	json_write_key(talk->writer, "args");
	json_write_container(talk->writer, &call->arguments->root);
	json_write_end(talk->writer, '}');
	if (signature)
		json_write_member(talk->writer, "thoughtSignature", signature);
	else if (is_first && talk->model->thinks_by_level)
		json_write_member_text(talk->writer, "thoughtSignature", SIGNATURE_STAND_IN);
	json_write_end(talk->writer, '}');
}

static bool
write_model_message(Talk *talk, JsonbContainer *message, bool *is_first)
{
	List	 *calls = message_tool_calls(message);
	ListCell *cell;

	if (!write_parts(talk, TURN_MODEL, message, is_first))
		return false;
	foreach (cell, calls)
	{
		begin_turn(talk, TURN_MODEL, is_first);
		tool_names_add(talk->names, lfirst(cell));
		write_call(talk, lfirst(cell), cell == list_head(calls));
	}
	return true;
}

/* A response is an object: the text itself if it is one, else a member of one. */
static void
write_response(JsonWriter *writer, StringInfo text)
{
	StringInfoData utf8;
	const char	  *problem;
	Jsonb		  *json;

	initStringInfo(&utf8);
	encoding_append_as_utf8(&utf8, text->data, text->len);
	json = json_from_bytes(utf8.data, utf8.len, &problem);
	json_write_key(writer, "response");
	if (json && JB_ROOT_IS_OBJECT(json))
	{
		json_write_container(writer, &json->root);
		return;
	}
	json_write_begin(writer, '{');
	json_write_key(writer, "output");
	json_write_string(writer, text->data, text->len);
	json_write_end(writer, '}');
}

static void
write_result(Talk *talk, JsonbContainer *message, bool *is_first)
{
	JsonbValue		 *id = message_call_id(message);
	const JsonbValue *name = tool_names_find(talk->names, id);

	begin_turn(talk, TURN_RESULTS, is_first);
	json_write_begin(talk->writer, '{');
	json_write_key(talk->writer, "functionResponse");
	json_write_begin(talk->writer, '{');
	json_write_member(talk->writer, "id", id);
	json_write_member(talk->writer, "name", name ? name : id);
	write_response(talk->writer, message_text(message));
	json_write_end(talk->writer, '}');
	json_write_end(talk->writer, '}');
}

/* ------------------------------------------------------------------------
 * The conversation
 * ------------------------------------------------------------------------
 */

static bool
write_message(Talk *talk, JsonbContainer *message, bool *is_first)
{
	switch (message_role(message))
	{
		case MESSAGE_SYSTEM:
			return true; /* said already */
		case MESSAGE_USER:
			return write_parts(talk, TURN_USER, message, is_first);
		case MESSAGE_ASSISTANT:
			return write_model_message(talk, message, is_first);
		case MESSAGE_TOOL:
			write_result(talk, message, is_first);
			return true;
	}
	pg_unreachable();
}

/* Whether anybody but the system says something. */
static bool
has_turns(JsonbContainer *messages)
{
	JsonbIterator *iterator = json_iterate(messages);
	JsonbValue	   message;
	bool		   found = false;

	while (json_next_element(&iterator, &message))
		found = found || message_role(json_value_object(&message)) != MESSAGE_SYSTEM;
	return found;
}

bool
google_write_messages(JsonWriter *writer, const ChatRequest *request, const GoogleModelTraits *model,
					  LlmError *error)
{
	JsonbContainer *messages = &request->messages->root;
	StringInfo		system = conversation_system_text(messages);
	bool			in_turn = model->is_gemma || !has_turns(messages);
	Talk			talk = { writer, model, in_turn ? system : NULL, tool_names_create(), TURN_NONE, error };
	JsonbIterator  *iterator = json_iterate(messages);
	bool			is_first = true;
	JsonbValue		message;

	if (system && !in_turn)
	{
		json_write_key(writer, "systemInstruction");
		json_write_begin(writer, '{');
		json_write_key(writer, "parts");
		json_write_begin(writer, '[');
		write_text(writer, system->data, system->len);
		json_write_end(writer, ']');
		json_write_end(writer, '}');
	}
	json_write_key(writer, "contents");
	json_write_begin(writer, '[');
	while (json_next_element(&iterator, &message))
		if (!write_message(&talk, json_value_object(&message), &is_first))
			return false;
	if (is_first)
	{
		begin_turn(&talk, TURN_USER, &is_first);
		if (system == NULL || !in_turn)
			write_text(writer, OPENING, (int) strlen(OPENING));
	}
	end_turn(&talk);
	json_write_end(writer, ']');
	return true;
}

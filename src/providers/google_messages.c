/*
 * google_messages.c
 *		Writing the conversation: systemInstruction and contents.
 *
 * Contents take turns between "user" and "model"; messages of one role in a row
 * are one turn.  The results of tools are a turn of their own, directly after the
 * turn with their calls, as the API wants them: as many as there were calls.
 */
#include "providers/google.h"

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
	Turn					 turn;		/* the one that is open */
	bool					 is_begun;	/* there has been a turn */
	bool					 has_calls; /* the open turn */
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
open_turn(Talk *talk, Turn turn)
{
	json_write_begin(talk->writer, '{');
	json_write_member_text(talk->writer, "role", turn == TURN_MODEL ? "model" : "user");
	json_write_key(talk->writer, "parts");
	json_write_begin(talk->writer, '[');
	talk->turn = turn;
	talk->is_begun = true;
	talk->has_calls = false;
	if (turn == TURN_USER && talk->system)
	{
		google_write_text(talk->writer, talk->system->data, talk->system->len);
		talk->system = NULL;
	}
}

/* The turn of a conversation that the user does not begin, or in which nobody says anything. */
static void
write_opening(Talk *talk)
{
	bool says_system = talk->system != NULL;

	open_turn(talk, TURN_USER);
	if (!says_system)
		google_write_text(talk->writer, OPENING, (int) strlen(OPENING));
	end_turn(talk);
}

/* Open a turn, unless it is the one that is open, for parts to follow. */
static void
begin_turn(Talk *talk, Turn turn)
{
	if (talk->turn == turn)
		return;
	end_turn(talk);
	if (!talk->is_begun && turn != TURN_USER)
		write_opening(talk);
	open_turn(talk, turn);
}

/*
 * The parts of a message that say something: an empty text would be refused, and
 * blanks beside calls are only what some servers put there.
 */
static bool
write_parts(Talk *talk, Turn turn, JsonbContainer *message, bool without_blank)
{
	PartWalk	walk = message_parts(message);
	MessagePart part;

	while (next_part(&walk, &part))
	{
		if (part.kind == PART_TEXT &&
			(part.text.length == 0 || (without_blank && slice_is_blank(part.text))))
			continue;
		begin_turn(talk, turn);
		if (!google_write_part(talk->writer, &part, talk->error))
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

/* The first call of a turn has to be signed. */
static void
write_call(Talk *talk, const MessageToolCall *call)
{
	JsonbValue *signature = call_signature(call);

	begin_turn(talk, TURN_MODEL);
	json_write_begin(talk->writer, '{');
	json_write_key(talk->writer, "functionCall");
	json_write_begin(talk->writer, '{');
	json_write_member(talk->writer, "id", &call->id);
	json_write_member_text(talk->writer, "name", google_tool_name(&call->name));
	json_write_key(talk->writer, "args");
	json_write_container(talk->writer, &call->arguments->root);
	json_write_end(talk->writer, '}');
	if (signature)
		json_write_member(talk->writer, "thoughtSignature", signature);
	else if (!talk->has_calls && talk->model->wants_signatures)
		json_write_member_text(talk->writer, "thoughtSignature", SIGNATURE_STAND_IN);
	json_write_end(talk->writer, '}');
	talk->has_calls = true;
}

static bool
write_model_message(Talk *talk, JsonbContainer *message)
{
	List	 *calls = message_tool_calls(message);
	ListCell *cell;

	if (message_has_custom_call(message))
		return error_set(talk->error, ERRCODE_LLM_BAD_REQUEST,
						 "calls of custom tools cannot be sent in this API format");
	if (!write_parts(talk, TURN_MODEL, message, calls != NIL))
		return false;
	foreach (cell, calls)
	{
		tool_names_add(talk->names, lfirst(cell));
		write_call(talk, lfirst(cell));
	}
	return true;
}

/* A response is an object: the text itself if it is one, else a member of one. */
static void
write_response(JsonWriter *writer, StringInfo text)
{
	Jsonb *json = object_of_text((Slice){ text->data, text->len });

	json_write_key(writer, "response");
	if (json)
	{
		json_write_container(writer, &json->root);
		pfree(json);
		return;
	}
	json_write_begin(writer, '{');
	json_write_key(writer, "output");
	json_write_string(writer, text->data, text->len);
	json_write_end(writer, '}');
}

static void
write_result(Talk *talk, JsonbContainer *message)
{
	JsonbValue		 *id = message_call_id(message);
	const JsonbValue *name = tool_names_find(talk->names, id);
	StringInfo		  text = message_text(message);

	begin_turn(talk, TURN_RESULTS);
	json_write_begin(talk->writer, '{');
	json_write_key(talk->writer, "functionResponse");
	json_write_begin(talk->writer, '{');
	json_write_member(talk->writer, "id", id);
	json_write_member_text(talk->writer, "name", google_tool_name(name ? name : id));
	write_response(talk->writer, text);
	pfree(text->data);
	json_write_end(talk->writer, '}');
	json_write_end(talk->writer, '}');
}

/* ------------------------------------------------------------------------
 * The conversation
 * ------------------------------------------------------------------------
 */

static bool
write_message(Talk *talk, JsonbContainer *message)
{
	switch (message_role(message))
	{
		case MESSAGE_SYSTEM:
			return true; /* said elsewhere */
		case MESSAGE_USER:
			return write_parts(talk, TURN_USER, message, false);
		case MESSAGE_ASSISTANT:
			return write_model_message(talk, message);
		case MESSAGE_TOOL:
			write_result(talk, message);
			return true;
	}
	pg_unreachable();
}

static bool
write_contents(Talk *talk, JsonbContainer *messages)
{
	JsonbIterator *iterator = json_iterate(messages);
	JsonbValue	   message;

	json_write_key(talk->writer, "contents");
	json_write_begin(talk->writer, '[');
	while (json_next_element(&iterator, &message))
		if (!write_message(talk, json_value_object(&message)))
			return false;
	if (!talk->is_begun)
		write_opening(talk);
	end_turn(talk);
	json_write_end(talk->writer, ']');
	return true;
}

static void
write_instruction(JsonWriter *writer, StringInfo text)
{
	json_write_key(writer, "systemInstruction");
	json_write_begin(writer, '{');
	json_write_key(writer, "parts");
	json_write_begin(writer, '[');
	google_write_text(writer, text->data, text->len);
	json_write_end(writer, ']');
	json_write_end(writer, '}');
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

/* All that is said of how to answer; NULL for nothing. */
static StringInfo
system_text(JsonbContainer *messages, const char *further)
{
	StringInfo text = conversation_system_text(messages);

	if (further == NULL)
		return text;
	if (text == NULL)
		text = makeStringInfo();
	else
		appendStringInfoString(text, "\n\n");
	appendStringInfoString(text, further);
	return text;
}

bool
google_write_messages(JsonWriter *writer, const ChatRequest *request, const GoogleModelTraits *model,
					  const char *further, LlmError *error)
{
	JsonbContainer *messages = &request->messages->root;
	StringInfo		system = system_text(messages, further);
	bool			in_turn = !model->has_instruction || !has_turns(messages);
	Talk			talk = {
				   .writer = writer,
				   .model = model,
				   .system = in_turn ? system : NULL,
				   .names = tool_names_create(),
				   .error = error,
	};

	if (system && !in_turn && !parameter_in_extra(request, "systemInstruction"))
		write_instruction(writer, system);
	return parameter_in_extra(request, "contents") || write_contents(&talk, messages);
}

/*
 * replicate_prompt.c
 *		A conversation for models that take one prompt.
 *
 * The system texts go into a member of their own.  One message of the user is the
 * prompt; a longer conversation is written out, turn by turn.
 */
#include "providers/replicate.h"

#include "chat/json.h"
#include "providers/conversation.h"
#include "providers/openai.h"
#include "providers/parameters.h"

/* Around each turn of a conversation that is written out. */
typedef struct TurnMarks
{
	const char *begin; /* of the conversation */
	const char *system;
	const char *user;
	const char *assistant;
	const char *end; /* of a turn */
	const char *ask; /* for the next one */
} TurnMarks;

static const TurnMarks plain_marks = {
	.begin = "",
	.user = "User: ",
	.assistant = "Assistant: ",
	.end = "\n\n",
	.ask = "Assistant:",
};

/* From Meta's model card; with them, the model's own template has to be left out. */
static const TurnMarks llama_marks = {
	.begin = "<|begin_of_text|>",
	.system = "<|start_header_id|>system<|end_header_id|>\n\n",
	.user = "<|start_header_id|>user<|end_header_id|>\n\n",
	.assistant = "<|start_header_id|>assistant<|end_header_id|>\n\n",
	.end = "<|eot_id|>",
	.ask = "<|start_header_id|>assistant<|end_header_id|>\n\n",
};

static bool
unsupported(LlmError *error, const char *what)
{
	return error_set(error, ERRCODE_LLM_BAD_REQUEST, "%s cannot be sent to this model", what);
}

static bool
is_blank(StringInfo text)
{
	return slice_is_blank((Slice){ text->data, text->len });
}

/* ------------------------------------------------------------------------
 * What the conversation has
 * ------------------------------------------------------------------------
 */

typedef struct Survey
{
	int	  turns;  /* with text, of user and assistant */
	int	  users;  /* of these */
	List *images; /* of StringInfo: URLs and data URLs */
} Survey;

static StringInfo
image_url(const MessagePart *part)
{
	StringInfo url = makeStringInfo();

	if (part->url.data)
	{
		appendBinaryStringInfo(url, part->url.data, part->url.length);
		return url;
	}
	appendStringInfoString(url, "data:");
	appendBinaryStringInfo(url, part->mime_type.data, part->mime_type.length);
	appendStringInfoString(url, ";base64,");
	appendBinaryStringInfo(url, part->base64.data, part->base64.length);
	return url;
}

static bool
survey_message(JsonbContainer *message, const ReplicatePromptStyle *style, Survey *survey,
			   LlmError *error)
{
	MessageRole role = message_role(message);
	PartWalk	walk = message_parts(message);
	MessagePart part;
	bool		has_text = false;

	if (role == MESSAGE_TOOL || message_tool_calls(message))
		return unsupported(error, "tool calls and their results");
	while (next_part(&walk, &part))
	{
		if (part.kind == PART_FILE)
			return unsupported(error, "files");
		if (part.kind == PART_TEXT)
			has_text = has_text || !slice_is_blank(part.text);
		else if (part.kind == PART_IMAGE && !style->messages)
			survey->images = lappend(survey->images, image_url(&part));
	}
	if (has_text && role != MESSAGE_SYSTEM)
	{
		survey->turns++;
		survey->users += role == MESSAGE_USER;
	}
	return true;
}

static bool
survey_conversation(JsonbContainer *messages, const ReplicatePromptStyle *style, Survey *survey,
					LlmError *error)
{
	JsonbIterator *iterator = json_iterate(messages);
	JsonbValue	   element;

	if (!conversation_is_plain(messages, error))
		return false;
	while (json_next_element(&iterator, &element))
		if (!survey_message(json_value_object(&element), style, survey, error))
			return false;
	if (survey->images && style->image_member == NULL)
		return unsupported(error, "images");
	if (list_length(survey->images) > 1 && !style->many_images)
		return unsupported(error, "more than one image");
	return true;
}

/* ------------------------------------------------------------------------
 * The system text
 * ------------------------------------------------------------------------
 */

/* There is no JSON mode: the model is told. */
static char *
format_instruction(const ChatRequest *request)
{
	JsonbContainer *schema = NULL;
	ResponseFormat	format = parameter_response_format(request, &schema, NULL);

	if (format == RESPONSE_TEXT)
		return NULL;
	if (schema == NULL)
		return "Answer with a JSON object and nothing else.";
	return psprintf("Answer with JSON that fits this JSON Schema, and nothing else:\n%s",
					JsonbToCString(NULL, schema, -1));
}

/* The texts of the conversation and the instruction; NULL for none. */
static StringInfo
system_text(const ChatRequest *request)
{
	StringInfo	text = conversation_system_text(&request->messages->root);
	const char *instruction = format_instruction(request);

	if (instruction == NULL)
		return text;
	if (text == NULL)
		text = makeStringInfo();
	else
		appendStringInfoString(text, "\n\n");
	appendStringInfoString(text, instruction);
	return text;
}

/* ------------------------------------------------------------------------
 * The prompt
 * ------------------------------------------------------------------------
 */

/* A text must not bring marks of its own: they would begin turns. */
static void
append_turn(StringInfo prompt, const char *mark, StringInfo text, const TurnMarks *marks)
{
	appendStringInfoString(prompt, mark);
	for (int i = 0; i < text->len; i++)
	{
		appendStringInfoCharMacro(prompt, text->data[i]);
		if (marks->system && text->data[i] == '<' && i + 1 < text->len && text->data[i + 1] == '|')
			appendStringInfoCharMacro(prompt, ' ');
	}
	appendStringInfoString(prompt, marks->end);
}

static StringInfo
write_out(JsonbContainer *messages, const TurnMarks *marks, StringInfo system)
{
	StringInfo	   prompt = makeStringInfo();
	JsonbIterator *iterator = json_iterate(messages);
	JsonbValue	   element;

	appendStringInfoString(prompt, marks->begin);
	if (system && marks->system)
		append_turn(prompt, marks->system, system, marks);
	while (json_next_element(&iterator, &element))
	{
		JsonbContainer *message = json_value_object(&element);
		MessageRole		role = message_role(message);
		StringInfo		text = message_text(message);

		if (role != MESSAGE_SYSTEM && !is_blank(text))
			append_turn(prompt, role == MESSAGE_USER ? marks->user : marks->assistant, text, marks);
	}
	appendStringInfoString(prompt, marks->ask);
	return prompt;
}

/* The text of the only turn. */
static StringInfo
only_text(JsonbContainer *messages)
{
	JsonbIterator *iterator = json_iterate(messages);
	JsonbValue	   element;
	StringInfo	   text = makeStringInfo();

	while (json_next_element(&iterator, &element))
		if (message_role(json_value_object(&element)) != MESSAGE_SYSTEM && is_blank(text))
			text = message_text(json_value_object(&element));
	return text;
}

static void
write_text(const ChatRequest *request, JsonWriter *writer, const char *name, StringInfo text)
{
	if (parameter_in_extra(request, name))
		return;
	json_write_key(writer, name);
	json_write_string(writer, text->data, text->len);
}

static void
write_images(const ChatRequest *request, const ReplicatePromptStyle *style, JsonWriter *writer,
			 const List *images)
{
	ListCell *cell;

	if (images == NIL || parameter_in_extra(request, style->image_member))
		return;
	json_write_key(writer, style->image_member);
	if (style->many_images)
		json_write_begin(writer, '[');
	foreach (cell, images)
	{
		StringInfo url = lfirst(cell);

		json_write_string(writer, url->data, url->len);
	}
	if (style->many_images)
		json_write_end(writer, ']');
}

static bool
write_prompt(const ChatRequest *request, const ReplicatePromptStyle *style, const Survey *survey,
			 JsonWriter *writer, LlmError *error)
{
	JsonbContainer *messages = &request->messages->root;
	StringInfo		system = system_text(request);
	bool			is_single = survey->turns == survey->users && survey->turns <= 1;

	if (survey->turns == 0 && survey->images == NIL)
	{
		/* Instructions alone are the prompt, which there has to be. */
		if (system == NULL)
			return unsupported(error, "a conversation of empty messages");
		write_text(request, writer, "prompt", system);
		return true;
	}
	if (is_single || !style->llama_marks)
	{
		write_text(request, writer, "prompt",
				   is_single ? only_text(messages) : write_out(messages, &plain_marks, NULL));
		if (system)
			write_text(request, writer, style->system_member, system);
	}
	else
	{
		write_text(request, writer, "prompt", write_out(messages, &llama_marks, system));
		if (!parameter_in_extra(request, "prompt_template"))
			json_write_member_text(writer, "prompt_template", "{prompt}");
	}
	write_images(request, style, writer, survey->images);
	return true;
}

/* ------------------------------------------------------------------------
 * Messages
 * ------------------------------------------------------------------------
 */

/* OpenAI's messages, with the instruction in front. */
static void
write_messages(const ChatRequest *request, JsonWriter *writer)
{
	static const OpenAiRules openai_rules = { .max_tokens_field = NULL };
	const char				*instruction = format_instruction(request);
	StringInfoData			 array;
	JsonWriter				 message = { .out = writer->out };

	json_write_key(writer, "messages");
	initStringInfo(&array);
	openai_append_messages(&array, &openai_rules, true, &request->messages->root);
	appendStringInfoCharMacro(writer->out, '[');
	if (instruction)
	{
		json_write_begin(&message, '{');
		json_write_member_text(&message, "role", "system");
		json_write_member_text(&message, "content", instruction);
		json_write_end(&message, '}');
		appendStringInfoCharMacro(writer->out, ',');
	}
	appendBinaryStringInfo(writer->out, array.data + 1, array.len - 1);
	writer->comma = true;
}

bool
replicate_write_conversation(const Exchange *exchange, const ReplicatePromptStyle *style,
							 JsonWriter *writer, LlmError *error)
{
	const ChatRequest *request = exchange->request;
	Survey			   survey = { 0 };

	if (!survey_conversation(&request->messages->root, style, &survey, error))
		return false;
	if (!style->messages)
		return write_prompt(request, style, &survey, writer, error);
	write_messages(request, writer);
	return true;
}

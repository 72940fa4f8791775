/*
 * conversation.h
 *		The messages of a request, in the terms of the formats that are not
 *		OpenAI's.
 *
 * The messages have been checked (chat/messages.c).  OpenAI's older forms are
 * read as the newer: role "function" as "tool", function_call as a tool call
 * whose id is the function's name.
 */
#ifndef LLM_ROUTER_CONVERSATION_H
#define LLM_ROUTER_CONVERSATION_H

#include "chat/slice.h"
#include "providers/provider.h"

typedef enum MessageRole
{
	MESSAGE_SYSTEM, /* "developer" too */
	MESSAGE_USER,
	MESSAGE_ASSISTANT,
	MESSAGE_TOOL
} MessageRole;

extern MessageRole message_role(JsonbContainer *message);

/* ------------------------------------------------------------------------
 * Content
 * ------------------------------------------------------------------------
 */

typedef enum PartKind
{
	PART_TEXT, /* a refusal too */
	PART_IMAGE,
	PART_AUDIO,
	PART_FILE
} PartKind;

typedef struct MessagePart
{
	PartKind kind;
	Slice	 text;		/* PART_TEXT */
	Slice	 url;		/* an image at http(s); else mime_type and base64 are set */
	Slice	 mime_type; /* "image/png"; absent where a file does not say */
	Slice	 base64;	/* the data */
	Slice	 detail;	/* of an image */
	Slice	 file_name; /* of a file */
	Slice	 file_id;	/* of a file that the provider has */
	Slice	 format;	/* of audio: "wav", "mp3" */

	JsonbContainer *object; /* the part as given, for members of one provider; or NULL */
} MessagePart;

typedef struct PartWalk
{
	JsonbIterator *iterator; /* of an array */
	JsonbValue	   single;	 /* content that is a string */
	bool		   has_single;
} PartWalk;

/*
 * Walk the parts of a message: of an array, or the one that a string is; a
 * refusal without content counts as text.
 */
extern PartWalk message_parts(JsonbContainer *message);
extern bool		next_part(PartWalk *walk, MessagePart *part);

extern bool slice_is(Slice slice, const char *string);

/* Only white space, or nothing. */
extern bool slice_is_blank(Slice slice);

/* All text of a message, its parts joined as they are; "" for none. */
extern StringInfo message_text(JsonbContainer *message);

/* The text of all system and developer messages, with blank lines between; or NULL. */
extern StringInfo conversation_system_text(JsonbContainer *messages);

/* ------------------------------------------------------------------------
 * Tool calls and results
 * ------------------------------------------------------------------------
 */

typedef struct MessageToolCall
{
	JsonbValue	id;
	JsonbValue	name;
	Jsonb	   *arguments; /* always an object; see below */
	JsonbValue *extra;	   /* extra_content as an earlier answer had it, or NULL */
} MessageToolCall;

/* The object that a text (which may be absent) is, in JSON; NULL for any other text. */
extern Jsonb *object_of_text(Slice text);

/*
 * The tool calls of an assistant's message, a List of MessageToolCall *.  The
 * arguments are the object that their text is; empty text is {}, and what is no
 * object, because a model erred, is {"arguments": text}.  NIL for none.  Custom
 * tool calls are left out.
 */
extern List *message_tool_calls(JsonbContainer *message);

/* Whether there are such. */
extern bool message_has_custom_call(JsonbContainer *message);

/* The id of the call that a message of MESSAGE_TOOL answers. */
extern JsonbValue *message_call_id(JsonbContainer *message);

/*
 * The names of the tools that were called so far, by call id.  Linear in the
 * length of the conversation.
 */
typedef struct ToolNames ToolNames;

extern ToolNames		*tool_names_create(void);
extern void				 tool_names_add(ToolNames *names, const MessageToolCall *call);
extern const JsonbValue *tool_names_find(ToolNames *names, const JsonbValue *id);

/*
 * False with an error (OUTCOME_UNSUPPORTED) when the conversation has audio,
 * files by id or custom tool calls, which only OpenAI's format can say.
 */
extern bool conversation_is_plain(JsonbContainer *messages, LlmError *error);

#endif /* LLM_ROUTER_CONVERSATION_H */

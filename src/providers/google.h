/*
 * google.h
 *		The parts of the google format, which are one file each.
 *
 * Facts are from the Gemini API's reference (https://ai.google.dev/api/generate-content)
 * and its guides to function calling, thinking and thought signatures.
 */
#ifndef LLM_ROUTER_GOOGLE_H
#define LLM_ROUTER_GOOGLE_H

#include "chat/json_writer.h"
#include "providers/conversation.h"
#include "providers/parameters.h"
#include "providers/tools.h"

extern const ApiFormat google_format;

typedef enum GoogleThinking
{
	GOOGLE_THINKS_NOT,
	GOOGLE_THINKS_IN_BUDGET,
	GOOGLE_THINKS_AT_LEVEL
} GoogleThinking;

/* What a model takes, by its name. */
typedef struct GoogleModelTraits
{
	bool		   has_instruction; /* systemInstruction */
	bool		   has_json;		/* responseMimeType */
	bool		   has_json_beside_tools;
	bool		   has_penalties;
	bool		   wants_signatures;
	GoogleThinking thinking;
	int			   min_budget; /* but for 0, which is off, if can_stop_thinking */
	int			   max_budget;
	bool		   can_stop_thinking;
	int			   levels; /* GOOGLE_LEVEL() of the efforts that are levels here, or'ed */
} GoogleModelTraits;

#define GOOGLE_LEVEL(effort) (1 << (effort))

/* A configured name as the path has it: "models/NAME", "tunedModels/NAME". */
extern const char		*google_model_path(const char *name);
extern GoogleModelTraits google_model_traits(const char *name);

/* google_request.c: the body; false when it cannot be said. */
extern bool google_append_chat(Exchange *exchange, WireRequest *wire, LlmError *error);

/* google_messages.c: systemInstruction, with the further text or NULL, and contents. */
extern bool google_write_messages(JsonWriter *writer, const ChatRequest *request,
								  const GoogleModelTraits *model, const char *further,
								  LlmError *error);

/* google_parts.c: {"text": …}, or whatever a part of a message is; false when it cannot be said. */
extern void google_write_text(JsonWriter *writer, const char *text, int length);
extern bool google_write_part(JsonWriter *writer, const MessagePart *part, LlmError *error);

/* google_tools.c: tools and toolConfig. */
extern void google_write_tools(JsonWriter *writer, const ChatRequest *request, const ToolSet *set,
							   WireRequest *wire);

/*
 * A tool's name as the API takes it: letters, digits and _.:- after a letter or
 * an underscore; all else becomes underscores.  google_given_name is the way
 * back: the name that the request has for what an answer calls "said".
 */
extern char		  *google_tool_name(const JsonbValue *name);
extern const char *google_given_name(const List *tools, const char *said);

/*
 * google_answer.c: one response object, which is a whole answer or a part of a
 * stream; false when the answer has failed, and *reply says how.
 */
extern bool google_read_response(Exchange *exchange, const WireResponse *wire,
								 JsonbContainer *body, ProviderReply *reply);

/* All has come.  complete: no response is missing, whether it says that it ended or not. */
extern void google_finish(Exchange *exchange, bool complete, ProviderReply *reply);

#endif /* LLM_ROUTER_GOOGLE_H */

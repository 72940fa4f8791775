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

/* What a model takes, by its name. */
typedef struct GoogleModelTraits
{
	int	 version;  /* 100 times the major and minor number: 205 for gemini-2.5; 0: unknown */
	bool is_gemma; /* has no system instruction */
	bool is_pro;
	bool is_lite;
	bool thinks;
	bool thinks_by_level; /* else by a budget */
} GoogleModelTraits;

/* A configured name as the path has it: without "models/". */
extern const char		*google_model_name(const char *name);
extern GoogleModelTraits google_model_traits(const char *name);

/* google_request.c: the body; false when it cannot be said. */
extern bool google_append_chat(Exchange *exchange, WireRequest *wire, LlmError *error);

/* google_messages.c: systemInstruction and contents. */
extern bool google_write_messages(JsonWriter *writer, const ChatRequest *request,
								  const GoogleModelTraits *model, LlmError *error);

/* google_answer.c: one response object, which is a whole answer or a part of a stream. */
typedef enum GoogleRead
{
	GOOGLE_READ,
	GOOGLE_FAILED /* *reply says how */
} GoogleRead;

extern GoogleRead google_read_response(Exchange *exchange, const WireResponse *wire,
									   JsonbContainer *body, ProviderReply *reply);

/* All has come: an answer if its first candidate has ended, else problem says what it is. */
extern void google_finish(Exchange *exchange, const char *problem, ProviderReply *reply);

#endif /* LLM_ROUTER_GOOGLE_H */

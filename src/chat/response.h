/*
 * response.h
 *		The answer in OpenAI's chat.completion form, whatever the provider spoke.
 */
#ifndef LLM_ROUTER_RESPONSE_H
#define LLM_ROUTER_RESPONSE_H

#include "chat/usage.h"
#include "utils/jsonb.h"

/* What an adapter makes of a good answer. */
typedef struct ChatAnswer
{
	Jsonb	  *completion; /* a valid chat.completion, without llm_router */
	TokenUsage usage;
	Money	   reported_cost; /* what the provider says it charged, or MONEY_UNKNOWN */
	char	  *finish_reason; /* of the first choice */
} ChatAnswer;

/*
 * The completion with one more member "llm_router" (an object), replacing one
 * that a provider may have sent.  palloc'd.
 */
extern Jsonb *chat_response_annotate(Jsonb *completion, Jsonb *router);

/*
 * The text of the first choice: content, its text parts joined, else the
 * refusal.  NULL when there is none (only tool calls) or response is an
 * {"error": …} object.  palloc'd text in the database encoding.
 */
extern text *chat_response_text(Jsonb *response);

#endif /* LLM_ROUTER_RESPONSE_H */

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
	/*
	 * A valid chat.completion without the member llm_router, as an object that
	 * is still open: whoever takes it adds that member and closes it, so that
	 * the answer becomes jsonb once.
	 */
	JsonbParseState *completion;
	TokenUsage		 usage;
	Money			 reported_cost; /* what the provider says it charged, or MONEY_UNKNOWN */
	char			*finish_reason; /* of the first choice */
} ChatAnswer;

/*
 * The text of the first choice: content, its text parts joined, else the
 * refusal.  NULL when there is none (only tool calls) or response is an
 * {"error": …} object.  palloc'd text in the database encoding.
 */
extern text *chat_response_text(Jsonb *response);

#endif /* LLM_ROUTER_RESPONSE_H */

/*
 * messages.h
 *		Checking a conversation before it is sent, and paid for.
 */
#ifndef LLM_ROUTER_MESSAGES_H
#define LLM_ROUTER_MESSAGES_H

#include "base/errors.h"
#include "utils/jsonb.h"

/* What a model needs to take a conversation. */
typedef struct MessageNeeds
{
	bool		tools;			/* there are tool calls or results */
	bool		vision;			/* there are images */
} MessageNeeds;

/*
 * Check OpenAI's messages array: roles, content and its parts by role, and that
 * tool results answer a call that an earlier assistant message made.  False
 * with a 22023 error that names the field ("messages[2].role: …").  Members
 * that it does not know are left alone: they are some provider's own.
 */
extern bool messages_check(JsonbContainer *messages, MessageNeeds *needs, LlmError *error);

#endif							/* LLM_ROUTER_MESSAGES_H */

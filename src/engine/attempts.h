/*
 * attempts.h
 *		The attempts of a call, and what is told of them: the llm_router member
 *		of an answer, the text of an error.
 */
#ifndef LLM_ROUTER_ATTEMPTS_H
#define LLM_ROUTER_ATTEMPTS_H

#include "base/errors.h"
#include "providers/provider.h"
#include "utils/uuid.h"

typedef struct Attempts
{
	List *list; /* of Attempt *, in order */
} Attempts;

/* What the llm_router member says besides the attempts. */
typedef struct AnswerNote
{
	const pg_uuid_t *request_id;
	const char		*provider;
	const char		*model;
	const char		*power_level;
	bool			 used_byok;
	Money			 cost;
	int64			 response_time_ms;
	List			*dropped;  /* parameters that were not sent: char * */
	List			*adjusted; /* ... that were sent with another value */
} AnswerNote;

/* Note the start of an attempt, in the given context. */
extern void attempts_begin(Attempts *attempts, MemoryContext context,
						   const char *provider, const char *model, bool used_byok);

/* Note how it ended.  http_status is 0 when there was no answer. */
extern void attempts_end(Attempts *attempts, const ProviderReply *reply,
						 int http_status, int64 response_time_ms);

extern int attempts_count(const Attempts *attempts);

/* Push the member llm_router of an answer into the object under construction. */
extern void attempts_push_note(JsonbParseState **state, const Attempts *attempts,
							   const AnswerNote *note);

/*
 * The error of a call whose attempts all failed: SQLSTATE, the final reason
 * with the request's id (many drivers show nothing but the message), and the
 * attempts, one a line, in DETAIL.
 */
extern void attempts_error(const Attempts *attempts, const pg_uuid_t *request_id,
						   LlmError *error);

/* An error as the {"error": {…}} object of on_error => return. */
extern Jsonb *error_to_jsonb(const LlmError *error);

#endif /* LLM_ROUTER_ATTEMPTS_H */

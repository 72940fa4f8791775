/*
 * call.h
 *		One chat as a state machine, and the loop that runs any number of them.
 */
#ifndef LLM_ROUTER_CALL_H
#define LLM_ROUTER_CALL_H

#include "chat/request.h"
#include "chat/response.h"
#include "routing/route.h"
#include "utils/uuid.h"

typedef struct Call Call;

/* What llm_last_call() shows. */
typedef struct CallSummary
{
	pg_uuid_t	request_id;
	const char *provider;
	const char *model;
	const char *power_level;
	TokenUsage	usage;
	Money		cost;
	int64		response_time_ms;
	int			attempts;
} CallSummary;

/*
 * A call for one parsed request; power_level and model are the SQL arguments or
 * NULL.  Lives in a child of the current memory context: when that goes away,
 * for whatever reason, the transfer is aborted and the attempt under way is
 * settled in the ledger.
 */
extern Call *call_create(const ChatRequest *request, const char *power_level,
						 const char *model);

/* Run calls until all have ended.  Throws only for interrupts. */
extern void call_run(Call **calls, int ncalls);

/*
 * Run one call whose request streams until it has a chunk, which is the caller's;
 * NULL when it has ended: then call_response is its last chunk, with usage and
 * cost, or call_error says why it failed.  before_wait is called each time before
 * it sleeps.  Between two calls of this, time does not count for the call.
 */
extern Jsonb *call_next_chunk(Call *call, void (*before_wait)(void));

/* After the end: the chat.completion with its llm_router member, or NULL. */
extern Jsonb *call_response(const Call *call);

/* After the end without a response: why. */
extern const LlmError *call_error(const Call *call);

extern void call_free(Call *call);

/* The last call of this session that got an answer; false when there is none. */
extern bool call_last(CallSummary *summary);

#endif /* LLM_ROUTER_CALL_H */

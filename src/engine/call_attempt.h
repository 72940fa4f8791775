/*
 * call_attempt.h
 *		The attempt of a call that is under way: building its request, reading
 *		what comes back, and settling what it used.
 *
 * Shared by call.c and call_attempt.c only: the two halves of the state machine.
 */
#ifndef LLM_ROUTER_CALL_ATTEMPT_H
#define LLM_ROUTER_CALL_ATTEMPT_H

#include "base/clock.h"
#include "base/compat.h"

#include "engine/attempts.h"
#include "engine/call.h"
#include "engine/call_limits.h"
#include "lib/ilist.h"
#include "net/http.h"
#include "state/ledger.h"
#include "utils/resowner.h"

typedef enum CallState
{
	CALL_LIMITS,
	CALL_ADMISSION,
	CALL_RESERVE,
	CALL_INTENT,
	CALL_TRANSFER,
	CALL_BACKOFF,
	CALL_COMMIT,
	CALL_DONE
} CallState;

struct Call
{
	dlist_node			  node;			   /* in live_calls, until it is ended */
	MemoryContext		  context;		   /* holds everything of the call, itself too */
	MemoryContext		  attempt_context; /* of the attempt under way */
	MemoryContextCallback on_reset;
	ResourceOwner		  owner;
	bool				  ended;

	CallState		   state;
	const ChatRequest *request;
	pg_uuid_t		   id;
	char			  *user_id;
	char			  *role_name;
	char			  *tags;	/* JSON text, or NULL */
	const Catalog	  *catalog; /* pinned until the call is ended */
	RouteCaller		   caller;
	bool			   names_model;
	RoutePlan		   plan;
	CallLimits		   limits;

	int64		started_ms; /* of monotonic_ms() */
	int64		deadline_ms;
	int64		wait_until_ms; /* end of ADMISSION, BACKOFF or COMMIT */
	TimestampTz reserve_since; /* of LIMITS or RESERVE */
	int			max_attempts;
	bool		admitted;
	bool		waits_for_place;

	int			  entry; /* of the plan, tried now */
	int			  tries_of_entry;
	bool		  is_probe; /* of a half-open circuit, which is to hear of its end */
	int64		  attempt_started_ms;
	HttpTransfer *transfer;		/* NULL: none is under way */
	HttpTransfer *on_abort;		/* armed: tells the provider to stop; or NULL */
	WireRequest	 *follow_up;	/* the request that is or was sent last, after the first; or NULL */
	int64		  follow_up_ms; /* when to send it, while there is no transfer */
	int			  follow_up_failures;
	int			  http_status; /* of its last answer; 0: none has come */
	bool		  sent_before; /* an earlier request of the attempt reached the provider */
	List		 *dropped;	   /* of WireRequest, in attempt_context */
	List		 *adjusted;
	LedgerTicket  ticket;
	LedgerTicket  intent; /* of the attempt, to be committed before it is sent */
	bool		  intent_queued;
	bool		  reserved;		/* the ticket is open */
	bool		  attempt_open; /* sent, and its end not known */
	Attempts	  attempts;

	Exchange	 *exchange;		 /* in attempt_context */
	ProviderReply reply;		 /* of the last attempt; in attempt_context */
	LlmError	  key_error;	 /* of OUTCOME_UNUSABLE_KEY; in attempt_context */
	bool		  may_have_cost; /* the last attempt, though it failed */

	/* Of an answer that streams; some do although the caller wants it whole */
	bool	   may_stream;	/* the transfer asked for an event stream */
	bool	   streaming;	/* the transfer's body is one */
	bool	   stream_over; /* its end has been read; the connection's may follow */
	int64	   progress_ms; /* when its last bytes came, or its end was read */
	bool	   handed_out;	/* the caller has a chunk: no other attempt any more */
	int64	   aside_ms;	/* since when its reader has the word; 0: it has not */
	TokenUsage received;	/* by the stream so far, told or estimated; plain data, because
							 * the exchange is gone when an abort asks for it */
	bool	   received_estimated;

	Money	 cost; /* as settled last */
	Jsonb	*response;
	LlmError error;
};

static inline int64
elapsed_ms(int64 since)
{
	return Max(monotonic_ms() - since, 0);
}

static inline bool
past_deadline(const Call *call)
{
	return monotonic_ms() >= call->deadline_ms;
}

static inline const PlanEntry *
current_entry(const Call *call)
{
	return &call->plan.entries[call->entry];
}

/* Begin the attempt at the current candidate: note it in the ledger's record. */
extern void attempt_begin(Call *call);

/*
 * Send its request.  False when it could not even be sent: the attempt is over, and
 * call->reply says why.
 */
extern bool attempt_start(Call *call);

/* Read what has come.  True when the attempt is over: call->reply says how. */
extern bool attempt_advance(Call *call);

/* How long attempt_advance need not be called, unless something comes. */
extern int64 attempt_sleep_ms(const Call *call);

/* Put its clocks off, but for its transfer's. */
extern void attempt_put_off(Call *call, int64 ms);

/*
 * Whether an attempt that failed may still have been charged: when the provider
 * says what it used, or when it may have answered and we do not have the answer.
 */
extern bool attempt_may_have_cost(const Call *call);

/* End the ledger's reservation with what call->reply says.  Sets call->cost. */
extern void attempt_settle(Call *call, LedgerStatus status, bool is_final);

/*
 * End it for a call that is given up, with what has been received.  Runs in
 * aborting transactions: neither throws nor allocates.
 */
extern void attempt_abandon(Call *call);

#endif /* LLM_ROUTER_CALL_ATTEMPT_H */

/*
 * call_limits.h
 *		What budgets and rates make of a call: its worst case is reserved before it
 *		is sent, and exchanged for what its attempts used.
 */
#ifndef LLM_ROUTER_CALL_LIMITS_H
#define LLM_ROUTER_CALL_LIMITS_H

#include "engine/call.h"
#include "state/budgets.h"
#include "state/ledger.h"
#include "state/rates.h"

/* How long to wait while another session counts a budget. */
#define LIMITS_POLL_MS 5

/* Of a call; begins as zeros. */
typedef struct CallLimits
{
	BudgetUse	*uses; /* counters to let go of */
	int			 nuses;
	BudgetAmount worst;	   /* what one attempt may use */
	int			 reserved; /* so many worst cases */
	TimestampTz	 until;	   /* when the first of their periods ends */
	RateUse		 user_rate;
	int64		 tokens;		/* of all attempts so far, for user_rate */
	RateUse		 provider_rate; /* of the attempt under way */
	RateUse		 next_provider_rate;
	int64		 output_cap; /* max_tokens where the request has none; 0: as the model has it */
} CallLimits;

typedef enum LimitsProgress
{
	LIMITS_READY,
	LIMITS_WAIT,   /* ask again after LIMITS_POLL_MS */
	LIMITS_REFUSED /* call->error says why */
} LimitsProgress;

/* Whether there is any limit at all that limits_reserve looks at. */
extern bool limits_may_apply(const Call *call);

/*
 * Count the call for its user's rate, reserve the worst case of the dearest
 * candidate under all budgets that apply, and go to the first candidate whose
 * provider has not reached its rate.  May take candidates out of the plan, or
 * replace the plan by one for a lower level.  Refused with LR003 or LR004.  May
 * read the ledger, and throw.
 */
extern LimitsProgress limits_reserve(Call *call);

/* Whether nothing was sent yet, and a period has ended for which room is reserved. */
extern bool limits_expired(const Call *call);

/*
 * After an attempt that may have cost the platform money: reserve another worst
 * case beside the one that the attempt's settling takes.  False: there is no room.
 */
extern bool limits_extend(Call *call);

/*
 * Count the next attempt, at an entry of the plan, for the provider's rate.  False
 * where the provider has reached it: the entry is passed over in this call.
 */
extern bool limits_enter_provider(Call *call, int entry);

/* The same instead of what was counted last, which stays counted when this is false. */
extern bool limits_enter_other(Call *call, int entry);

/* The attempt that was counted last begins. */
extern void limits_attempt_begins(Call *call);

/* The request as it is sent to the current candidate: with a limit of its answer. */
extern const ChatRequest *limits_request(const Call *call);

/*
 * After the ledger's record: exchange one reservation for what it says.  Runs in
 * aborting transactions: neither throws nor allocates.
 */
extern void limits_settle(Call *call, const LedgerOutcome *outcome);

/* Tell of budgets that have come near their end. */
extern void limits_warn(const Call *call);

/* Give up what is still reserved, and end what was counted. */
extern void limits_end(Call *call);

/* Give up what is still reserved of budgets, to begin again.  Neither throws nor allocates. */
extern void limits_let_go(Call *call);

#endif /* LLM_ROUTER_CALL_LIMITS_H */

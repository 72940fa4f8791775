/*
 * call_limits.h
 *		What budgets make of a call: its worst case is reserved before it is sent,
 *		and exchanged for what its attempts used.
 */
#ifndef LLM_ROUTER_CALL_LIMITS_H
#define LLM_ROUTER_CALL_LIMITS_H

#include "engine/call.h"
#include "state/budgets.h"
#include "state/ledger.h"

/* How long to wait while another session counts a budget. */
#define LIMITS_POLL_MS 5

/* Of a call; begins as zeros. */
typedef struct CallLimits
{
	BudgetUse	*uses; /* counters to let go of */
	int			 nuses;
	BudgetAmount worst;		 /* what one attempt may use */
	int			 reserved;	 /* so many worst cases */
	TimestampTz	 until;		 /* when the first of their periods ends */
	int64		 output_cap; /* max_tokens where the request has none; 0: as the model has it */
} CallLimits;

typedef enum LimitsProgress
{
	LIMITS_READY,
	LIMITS_WAIT,   /* ask again after LIMITS_POLL_MS */
	LIMITS_REFUSED /* call->error says why */
} LimitsProgress;

/* Whether there is anything in the configuration that limits_reserve looks at. */
extern bool limits_may_apply(const Call *call);

/*
 * Reserve the worst case of the dearest candidate, under all budgets that apply.
 * May take candidates out of the plan, or replace the plan by one for a lower
 * level.  Refused with LR003.  May read the ledger, and throw.
 */
extern LimitsProgress limits_reserve(Call *call);

/* Whether nothing was sent yet, and a period has ended for which room is reserved. */
extern bool limits_expired(const Call *call);

/*
 * After an attempt that may have cost the platform money: reserve another worst
 * case beside the one that the attempt's settling takes.  False: there is no room.
 */
extern bool limits_extend(Call *call);

/* The request as it is sent to the current candidate: with a limit of its answer. */
extern const ChatRequest *limits_request(const Call *call);

/*
 * After the ledger's record: exchange one reservation for what it says.  Runs in
 * aborting transactions: neither throws nor allocates.
 */
extern void limits_settle(Call *call, const LedgerOutcome *outcome);

/* Tell of budgets that have come near their end. */
extern void limits_warn(const Call *call);

/* Give up what is still reserved.  Neither throws nor allocates. */
extern void limits_let_go(Call *call);

#endif /* LLM_ROUTER_CALL_LIMITS_H */

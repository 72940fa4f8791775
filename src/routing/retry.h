/*
 * retry.h
 *		What to do after an attempt: try again, try the next candidate, or stop.
 *
 * Pure: the outcome, where the call stands, and a random number -> a step.
 */
#ifndef LLM_ROUTER_RETRY_H
#define LLM_ROUTER_RETRY_H

#include "base/errors.h"
#include "routing/route.h"

/*
 * The longest wait before an attempt: of our own, or because a provider asked for it
 * where others are left; and where nobody else is.
 */
#define RETRY_LONGEST_BACKOFF_MS 8000
#define RETRY_LONGEST_PAUSE_MS	 60000

typedef enum NextStep
{
	STEP_RETRY_SAME,	 /* the same candidate again, after wait_ms */
	STEP_NEXT_CANDIDATE, /* the entry at next_entry, at once */
	STEP_GIVE_UP
} NextStep;

/* Where a call stands after an attempt. */
typedef struct RetryState
{
	int	   attempts; /* made so far, this one included */
	int	   max_attempts;
	int	   entry;		   /* of the plan, the one just tried */
	int	   tries_of_entry; /* attempts at this entry in a row */
	int64  remaining_ms;   /* until the overall deadline */
	double random;		   /* in [0, 1): jitter */
	bool   delivered;	   /* the caller has a part of the answer */
} RetryState;

typedef struct RetryDecision
{
	NextStep step;
	int		 wait_ms;
	int		 next_entry;
} RetryDecision;

/*
 * retry_after_ms is what the provider asked for, or -1; do_not_retry what
 * x-should-retry: false said.  The rules stand in one table in retry.c and in
 * doc/routing.md.  Where the key is to blame, every entry of the plan with that key
 * is passed over from now on.
 */
extern RetryDecision retry_decide(RoutePlan *plan, const RetryState *state,
								  Outcome outcome, int64 retry_after_ms,
								  bool do_not_retry);

/*
 * The SQLSTATE of a call whose last attempt ended so: LR005 for keys, LR006 for
 * requests refused as invalid, filtered or too long, LR007 for timeouts, else
 * LR002; 0 for OUTCOME_OK.
 */
extern int retry_sqlstate(Outcome outcome);

#endif /* LLM_ROUTER_RETRY_H */

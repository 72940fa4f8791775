/*
 * retry.c
 *		What to do after an attempt: one table, and how to read it.
 *
 * doc/routing.md shows the same table, and a test compares the two.
 */
#include "routing/retry.h"

/* Which candidate comes next. */
typedef enum NextCandidate
{
	NEXT_NONE,			 /* none: others would refuse the request as well */
	NEXT_ANY,			 /* the one that follows */
	NEXT_OTHER_KEY,		 /* the first with another key; this one is not sent again */
	NEXT_BEST_OTHER_KEY, /* the first with another key, else the one that follows */
	NEXT_LARGER			 /* the first whose context window is known to be larger */
} NextCandidate;

typedef struct RetryRule
{
	int			  retries;		/* at most, of the same candidate */
	bool		  only_if_last; /* ... and only where no candidate is left */
	NextCandidate next;
	int			  sqlstate; /* of a call that ends with this outcome */
} RetryRule;

static const RetryRule rules[OUTCOME_COUNT] = {
	[OUTCOME_OK] = { 0, false, NEXT_NONE, 0 },
	[OUTCOME_RETRYABLE] = { 2, false, NEXT_ANY, ERRCODE_LLM_ALL_FAILED },
	[OUTCOME_RATE_LIMITED] = { 2, true, NEXT_ANY, ERRCODE_LLM_ALL_FAILED },
	[OUTCOME_QUOTA] = { 0, false, NEXT_ANY, ERRCODE_LLM_ALL_FAILED },
	[OUTCOME_BAD_KEY] = { 0, false, NEXT_OTHER_KEY, ERRCODE_LLM_KEY },
	[OUTCOME_NOT_PERMITTED] = { 0, false, NEXT_BEST_OTHER_KEY, ERRCODE_LLM_KEY },
	[OUTCOME_BAD_REQUEST] = { 0, false, NEXT_NONE, ERRCODE_LLM_BAD_REQUEST },
	[OUTCOME_TOO_LARGE] = { 0, false, NEXT_ANY, ERRCODE_LLM_ALL_FAILED },
	[OUTCOME_CONTEXT_TOO_LONG] = { 0, false, NEXT_LARGER, ERRCODE_LLM_BAD_REQUEST },
	[OUTCOME_MODEL_GONE] = { 0, false, NEXT_ANY, ERRCODE_LLM_ALL_FAILED },
	[OUTCOME_FILTERED] = { 0, false, NEXT_NONE, ERRCODE_LLM_BAD_REQUEST },
	[OUTCOME_TIMEOUT] = { 0, false, NEXT_ANY, ERRCODE_LLM_TIMEOUT },
	[OUTCOME_PROTOCOL_ERROR] = { 1, false, NEXT_ANY, ERRCODE_LLM_ALL_FAILED },
	[OUTCOME_BLOCKED_ADDRESS] = { 0, false, NEXT_BEST_OTHER_KEY, ERRCODE_LLM_ALL_FAILED },
	[OUTCOME_UNUSABLE_KEY] = { 0, false, NEXT_OTHER_KEY, ERRCODE_LLM_KEY },
	[OUTCOME_UNSUPPORTED] = { 0, false, NEXT_ANY, ERRCODE_LLM_BAD_REQUEST },
	[OUTCOME_CANCELLED] = { 0, false, NEXT_NONE, ERRCODE_LLM_ALL_FAILED },
};

/*
 * Delays of vendors' own SDKs: half a second, doubling, at most eight seconds.
 * A provider that asks for more than that while other candidates are left is
 * not waited for; asking for more than a minute it never is.
 */
#define BACKOFF_FIRST_MS 500

/*
 * Backoff with "equal jitter": half of the delay is fixed, so that an
 * overloaded provider gets its pause, and half is random, so that callers who
 * failed together do not come back together.
 */
static int64
backoff_ms(int tries, double random)
{
	int64 delay = BACKOFF_FIRST_MS;

	for (int i = 1; i < tries && delay < RETRY_LONGEST_BACKOFF_MS; i++)
		delay *= 2;
	delay = Min(delay, RETRY_LONGEST_BACKOFF_MS);
	return delay / 2 + (int64) ((double) delay / 2 * random);
}

/* A plan has one key of each kind for a provider. */
static bool
has_same_key(const PlanEntry *a, const PlanEntry *b)
{
	return a->model->provider == b->model->provider && a->used_byok == b->used_byok;
}

/* Whatever happens to the call, no entry with the key of this one is next. */
static void
pass_over_key(RoutePlan *plan, int entry)
{
	for (int i = 0; i < plan->neligible; i++)
		if (has_same_key(&plan->entries[i], &plan->entries[entry]))
			plan->entries[i].passed_over = true;
}

static bool
is_next(const RoutePlan *plan, int entry, int other, NextCandidate next)
{
	const PlanEntry *from = &plan->entries[entry];
	const PlanEntry *to = &plan->entries[other];

	if (to->passed_over)
		return false;
	switch (next)
	{
		case NEXT_NONE:
			return false;
		case NEXT_ANY:
			return true;
		case NEXT_OTHER_KEY:
		case NEXT_BEST_OTHER_KEY:
			return !has_same_key(to, from);
		case NEXT_LARGER:
			return to->model->context_window > from->model->context_window;
	}
	pg_unreachable();
}

/* The next eligible entry that fits, those that are well first; or -1. */
static int
find_next(const RoutePlan *plan, int entry, NextCandidate next)
{
	int ill = -1;

	for (int other = entry + 1; other < plan->neligible; other++)
	{
		if (!is_next(plan, entry, other, next))
			continue;
		if (!health_is_bad(&plan->entries[other].health))
			return other;
		if (ill < 0)
			ill = other;
	}
	if (ill >= 0)
		return ill;
	if (next == NEXT_BEST_OTHER_KEY)
		return find_next(plan, entry, NEXT_ANY);
	return -1;
}

/* Whether to try the same candidate again; sets *wait_ms. */
static bool
may_retry(const RoutePlan *plan, const RetryRule *rule, const RetryState *state,
		  int64 retry_after_ms, bool is_last, int *wait_ms)
{
	int64 wait = backoff_ms(state->tries_of_entry, state->random);

	if (state->tries_of_entry > rule->retries || (rule->only_if_last && !is_last))
		return false;
	if (!is_last && health_is_bad(&plan->entries[state->entry].health))
		return false; /* its circuit opened meanwhile */
	if (retry_after_ms >= 0)
	{
		if (retry_after_ms > (is_last ? RETRY_LONGEST_PAUSE_MS : RETRY_LONGEST_BACKOFF_MS))
			return false;
		wait = retry_after_ms;
	}
	if (wait >= state->remaining_ms)
		return false;
	*wait_ms = (int) wait;
	return true;
}

RetryDecision
retry_decide(RoutePlan *plan, const RetryState *state, Outcome outcome,
			 int64 retry_after_ms, bool do_not_retry)
{
	const RetryRule *rule = &rules[outcome];
	RetryDecision	 decision = { .step = STEP_GIVE_UP };
	int				 next;

	Assert(outcome >= 0 && outcome < OUTCOME_COUNT);
	if (state->attempts >= state->max_attempts || state->remaining_ms <= 0 || state->delivered)
		return decision;

	if (rule->next == NEXT_OTHER_KEY)
		pass_over_key(plan, state->entry);
	next = find_next(plan, state->entry, rule->next);
	if (!do_not_retry &&
		may_retry(plan, rule, state, retry_after_ms, next < 0, &decision.wait_ms))
	{
		decision.step = STEP_RETRY_SAME;
		decision.next_entry = state->entry;
	}
	else if (next >= 0)
	{
		decision.step = STEP_NEXT_CANDIDATE;
		decision.next_entry = next;
	}
	return decision;
}

int
retry_sqlstate(Outcome outcome)
{
	Assert(outcome >= 0 && outcome < OUTCOME_COUNT);
	return rules[outcome].sqlstate;
}

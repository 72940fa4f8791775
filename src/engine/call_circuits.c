/*
 * call_circuits.c
 *		What circuits mean for a call: which candidate it may ask now, and what its
 *		attempts say of them.
 */
#include "engine/call_circuits.h"

#include "engine/call_limits.h"
#include "routing/retry.h"
#include "state/circuits.h"

/* Look again at the candidates that are left. */
static void
refresh(Call *call)
{
	LookAtHealth look = circuits_looker();

	for (int i = call->entry; i < call->plan.neligible; i++)
	{
		PlanEntry *entry = &call->plan.entries[i];

		memset(&entry->health, 0, sizeof(entry->health));
		if (look)
			look(entry->model, entry->used_byok, &entry->health);
	}
}

/* Whether circuits and its provider's rate let the call in at an entry. */
static bool
admits(Call *call, int number)
{
	const PlanEntry *entry = &call->plan.entries[number];

	if (!circuits_admit(entry->model, entry->used_byok, &call->is_probe))
		return false;
	if (number == call->entry || limits_enter_other(call, number))
		return true;
	circuits_note(entry->model, &(CircuitAttempt){ .outcome = OUTCOME_CANCELLED }, 0, call->is_probe);
	call->is_probe = false;
	return false;
}

/* The next candidate that is well and lets the call in, or -1. */
static int
find_admitting(Call *call)
{
	for (int i = call->entry; i < call->plan.neligible; i++)
	{
		const PlanEntry *entry = &call->plan.entries[i];

		if ((i == call->entry || (!entry->passed_over && !health_is_bad(&entry->health))) && admits(call, i))
			return i;
	}
	return -1;
}

static bool
is_paused(const PlanEntry *entry)
{
	return entry->health.circuit == CIRCUIT_OPEN && entry->health.asked;
}

/* The next candidate that has not asked for a pause, though it is not well; or -1. */
static int
find_unpaused(const Call *call)
{
	for (int i = call->entry + 1; i < call->plan.neligible; i++)
		if (!call->plan.entries[i].passed_over && !is_paused(&call->plan.entries[i]))
			return i;
	return -1;
}

static void
move_to(Call *call, int entry)
{
	if (entry != call->entry)
		call->tries_of_entry = 0;
	call->entry = entry;
}

/*
 * Nobody is well: the best is tried, but not sooner than its provider asked for.
 * False when that is to be waited for.
 */
static bool
admit_anyway(Call *call)
{
	const CandidateHealth *health = &current_entry(call)->health;
	int					   other = find_unpaused(call);
	int64				   now = monotonic_ms();
	int64				   longest = other < 0 ? RETRY_LONGEST_PAUSE_MS : RETRY_LONGEST_BACKOFF_MS;

	if (!is_paused(current_entry(call)))
		return true;
	if (health->left_ms <= longest && health->left_ms < call->deadline_ms - now)
	{
		call->wait_until_ms = now + health->left_ms;
		call->state = CALL_BACKOFF;
		return false;
	}
	if (other >= 0 && limits_enter_other(call, other))
		move_to(call, other);
	return true;
}

bool
call_circuits_admit(Call *call)
{
	int entry;

	call->is_probe = false;
	if (circuits_looker() == NULL)
		return true;
	refresh(call);
	entry = find_admitting(call);
	if (entry < 0)
		return admit_anyway(call);
	move_to(call, entry);
	return true;
}

static void
note(Call *call, Outcome outcome)
{
	const PlanEntry		*entry = current_entry(call);
	const CircuitAttempt attempt = {
		.outcome = outcome,
		.used_byok = entry->used_byok,
		.answered = call->http_status != 0,
		.took_ms = elapsed_ms(call->attempt_started_ms),
	};

	circuits_note(entry->model, &attempt, call->reply.retry_after_ms, call->is_probe);
	call->is_probe = false;
}

void
call_circuits_note(Call *call)
{
	note(call, call->reply.outcome);
	if (call->reply.outcome != OUTCOME_OK)
		refresh(call);
}

void
call_circuits_abandon(Call *call)
{
	if (call->is_probe)
		note(call, OUTCOME_CANCELLED);
}

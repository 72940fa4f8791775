/*
 * circuit.c
 *		Circuits: what an attempt means for them, and their transitions.
 *
 * While a circuit is open, only its deadline can be moved, and only later.  One
 * exception: an answer closes a circuit that failures have opened, since it shows
 * that they are over; not one whose provider asked for a pause.
 *
 * Nothing depends on the clock going forward: a deadline further away than the
 * circuit was opened for is one that the clock ran away from, and has passed.
 */
#include "routing/circuit.h"

/* By outcome: what it means for model, provider and account. */
static const struct
{
	CircuitEvent events[CIRCUIT_KIND_COUNT];
} meanings[OUTCOME_COUNT] = {
	[OUTCOME_OK] = { { CIRCUIT_SUCCESS, CIRCUIT_SUCCESS, CIRCUIT_SUCCESS } },
	[OUTCOME_RETRYABLE] = { { CIRCUIT_FAILURE, CIRCUIT_FAILURE, CIRCUIT_SAYS_NOTHING } },
	[OUTCOME_TIMEOUT] = { { CIRCUIT_FAILURE, CIRCUIT_FAILURE, CIRCUIT_SAYS_NOTHING } },
	[OUTCOME_PROTOCOL_ERROR] = { { CIRCUIT_FAILURE, CIRCUIT_FAILURE, CIRCUIT_SAYS_NOTHING } },
	[OUTCOME_RATE_LIMITED] = { { CIRCUIT_SAYS_NOTHING, CIRCUIT_SAYS_NOTHING, CIRCUIT_PAUSE } },
	[OUTCOME_QUOTA] = { { CIRCUIT_SAYS_NOTHING, CIRCUIT_SAYS_NOTHING, CIRCUIT_PAUSE } },
	[OUTCOME_BAD_KEY] = { { CIRCUIT_SAYS_NOTHING, CIRCUIT_SAYS_NOTHING, CIRCUIT_FAILURE } },
	[OUTCOME_NOT_PERMITTED] = { { CIRCUIT_SAYS_NOTHING, CIRCUIT_SAYS_NOTHING, CIRCUIT_FAILURE } },
	[OUTCOME_MODEL_GONE] = { { CIRCUIT_SAYS_NOTHING, CIRCUIT_SAYS_NOTHING, CIRCUIT_FAILURE } },
	/* The others are the caller's, or ours: CIRCUIT_SAYS_NOTHING. */
};

CircuitEvent
circuit_event(const CircuitAttempt *attempt, CircuitKind kind)
{
	Assert(attempt->outcome >= 0 && attempt->outcome < OUTCOME_COUNT);
	if (kind == CIRCUIT_ACCOUNT && attempt->used_byok)
		return CIRCUIT_SAYS_NOTHING;
	if (attempt->outcome == OUTCOME_TIMEOUT && attempt->took_ms < CIRCUIT_FAIR_WAIT_MS)
		return CIRCUIT_SAYS_NOTHING;
	/* A strange answer is the model's; none at all, as with TLS, anybody's. */
	if (attempt->outcome == OUTCOME_PROTOCOL_ERROR && attempt->answered && kind == CIRCUIT_PROVIDER)
		return CIRCUIT_SAYS_NOTHING;
	return meanings[attempt->outcome].events[kind];
}

CircuitState
circuit_state(const Circuit *circuit, int64 now_ms, int64 *left_ms)
{
	int64 left = circuit->since_ms + circuit->open_ms - now_ms;
	int64 probed = now_ms - circuit->probe_ms;

	*left_ms = 0;
	if (circuit->openings == 0)
		return CIRCUIT_CLOSED;
	if (left > 0 && left <= circuit->open_ms)
	{
		*left_ms = left;
		return CIRCUIT_OPEN;
	}
	if (circuit->probing && probed >= 0 && probed < CIRCUIT_PROBE_MS)
		return CIRCUIT_PROBED;
	return CIRCUIT_HALF_OPEN;
}

bool
circuit_probe(Circuit *circuit, int64 now_ms)
{
	int64 left_ms;

	if (circuit_state(circuit, now_ms, &left_ms) != CIRCUIT_HALF_OPEN)
		return false;
	circuit->probing = true;
	circuit->probe_ms = now_ms;
	return true;
}

static int64
cooldown_ms(const Circuit *circuit, const CircuitRules *rules)
{
	int64 times = 1;

	for (int i = 1; i < circuit->openings && times < CIRCUIT_LONGEST_COOLDOWNS; i++)
		times *= 2;
	return times * rules->cooldown_ms;
}

/* Open it, or leave it open, for so long from now; -1: for its cool-down. */
static void
open_for(Circuit *circuit, int64 pause_ms, const CircuitRules *rules, int64 now_ms)
{
	int64 left_ms;
	bool  is_open = circuit_state(circuit, now_ms, &left_ms) == CIRCUIT_OPEN;

	if (!is_open)
	{
		circuit->openings++;
		circuit->asked = false;
	}
	if (pause_ms < 0)
		pause_ms = cooldown_ms(circuit, rules);
	circuit->probing = false;
	circuit->since_ms = now_ms;
	circuit->open_ms = Max(pause_ms, left_ms);
}

static void
note_failure(Circuit *circuit, int32 model)
{
	if (circuit->failures == 0)
		circuit->model = model;
	circuit->several |= model == 0 || model != circuit->model;
	if (circuit->failures < PG_INT32_MAX)
		circuit->failures++;
}

void
circuit_report(Circuit *circuit, const CircuitReport *report, const CircuitRules *rules, int64 now_ms)
{
	int64		 left_ms;
	CircuitState state = circuit_state(circuit, now_ms, &left_ms);

	switch (report->event)
	{
		case CIRCUIT_SAYS_NOTHING:
			circuit->probing &= !report->is_probe;
			break;
		case CIRCUIT_SUCCESS:
			if (state != CIRCUIT_OPEN || !circuit->asked)
				memset(circuit, 0, sizeof(*circuit));
			break;
		case CIRCUIT_FAILURE:
			note_failure(circuit, report->model);
			if (state != CIRCUIT_CLOSED || (circuit->failures >= rules->failures && circuit->several))
				open_for(circuit, -1, rules, now_ms);
			break;
		case CIRCUIT_PAUSE:
			note_failure(circuit, report->model);
			open_for(circuit, Min(report->pause_ms, CIRCUIT_LONGEST_PAUSE_MS), rules, now_ms);
			circuit->asked = true;
			break;
	}
}

bool
circuit_is_blank(const Circuit *circuit)
{
	return circuit->failures == 0 && circuit->openings == 0;
}

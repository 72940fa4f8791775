/*
 * call_circuits.h
 *		What circuits mean for a call.  For call.c only.
 */
#ifndef LLM_ROUTER_CALL_CIRCUITS_H
#define LLM_ROUTER_CALL_CIRCUITS_H

#include "engine/call_attempt.h"

/*
 * Before an attempt: choose the candidate by what has become of circuits since the
 * plan was made.  False when the call waits for the pause that its only candidate
 * asked for: its state is CALL_BACKOFF then.
 */
extern bool call_circuits_admit(Call *call);

/* After an attempt: tell circuits how it ended, and the plan what they say now. */
extern void call_circuits_note(Call *call);

/*
 * The attempt is given up.  Runs in aborting transactions: neither throws nor
 * allocates.
 */
extern void call_circuits_abandon(Call *call);

#endif /* LLM_ROUTER_CALL_CIRCUITS_H */

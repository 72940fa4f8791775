/*
 * clock.h
 *		The clock of waits and deadlines.
 */
#ifndef LLM_ROUTER_CLOCK_H
#define LLM_ROUTER_CLOCK_H

#include "postgres.h"

#include "portability/instr_time.h"

/*
 * Milliseconds of a clock that only goes forward and is the same for all processes;
 * it starts anew with the machine.
 */
static inline int64
monotonic_ms(void)
{
	instr_time now;

	INSTR_TIME_SET_CURRENT(now);
	return (int64) INSTR_TIME_GET_MICROSEC(now) / 1000;
}

#endif /* LLM_ROUTER_CLOCK_H */

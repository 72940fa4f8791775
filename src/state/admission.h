/*
 * admission.h
 *		How many calls may run at once in the whole server.
 */
#ifndef LLM_ROUTER_ADMISSION_H
#define LLM_ROUTER_ADMISSION_H

#include "base/errors.h"

/*
 * Take a place among llm_router.max_concurrency calls.  False when all are
 * taken: the latch is set when one becomes free.
 */
extern bool admission_enter(void);

/*
 * Give a place back.  Never throws; harmless in a process that is ending, which
 * has given its places back already.
 */
extern void admission_leave(void);

/* LR004: no place became free in time.  Returns false. */
extern bool admission_refused(LlmError *error);

/* Stop waiting for one.  Never throws; harmless when this process does not. */
extern void admission_withdraw(void);

/* The limit that is in force, and the places taken now. */
extern int admission_limit(void);
extern int admission_in_use(void);

/* Shared memory; called once by _PG_init while preloading. */
extern void admission_init(void);

#endif /* LLM_ROUTER_ADMISSION_H */

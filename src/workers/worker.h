/*
 * worker.h
 *		What workers that are connected to a database have in common.
 */
#ifndef LLM_ROUTER_WORKER_H
#define LLM_ROUTER_WORKER_H

#include "state/extension.h"

/* Settings under which our statements run, whatever the database or the role says. */
extern void worker_fix_settings(void);

/* Where workers notify of what they found; llm_note_write does as well. */
#define WORKER_CHANNEL "llm_router"

typedef struct WorkerTransaction
{
	OwnerGuard	  guard;
	MemoryContext context; /* the caller's, which outlives the transaction */
} WorkerTransaction;

/*
 * Begin a transaction as the extension's owner, with SPI connected; false, and no
 * transaction, when the extension is not installed (any more).  Both leave the
 * memory context in which worker_begin was called; SPI's functions do not.
 */
extern bool worker_begin(WorkerTransaction *transaction);
extern void worker_commit(WorkerTransaction *transaction);

#endif /* LLM_ROUTER_WORKER_H */

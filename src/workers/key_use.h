/*
 * key_use.h
 *		last_used_at of users' keys, without a write for each call.
 */
#ifndef LLM_ROUTER_KEY_USE_H
#define LLM_ROUTER_KEY_USE_H

#include "workers/ledger_batch.h"

/* Remember which keys a batch of records used, before it leaves the ring. */
extern void key_use_collect(const LedgerBatch *batch);

/*
 * Note them in the table, after those who wait for the batch have their answers.
 * False when that is to be tried again.
 */
extern bool key_use_write(void);

#endif /* LLM_ROUTER_KEY_USE_H */

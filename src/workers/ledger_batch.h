/*
 * ledger_batch.h
 *		A batch of ledger records becoming rows, in one transaction.
 */
#ifndef LLM_ROUTER_LEDGER_BATCH_H
#define LLM_ROUTER_LEDGER_BATCH_H

#include "state/ledger_ring.h"

/* Records of a kind in the ring (blocks), or from a spill file (lines of JSON). */
typedef struct LedgerBatch
{
	LedgerKind		   kind;
	int				   n;
	const int32		  *blocks; /* or NULL */
	const char *const *lines;  /* or NULL */
} LedgerBatch;

typedef enum BatchResult
{
	BATCH_COMMITTED,
	BATCH_RETRY,	   /* not now: a lock, a full disk, a conflict */
	BATCH_REJECTED,	   /* a record is refused, and would be again */
	BATCH_NO_EXTENSION /* this database has no ledger */
} BatchResult;

/*
 * Write all of a batch, with its rollup, in a transaction of its own, or
 * nothing.  Never throws; *reason (palloc'd in the caller's context) says why
 * not.
 */
extern BatchResult batch_write(const LedgerBatch *batch, char **reason);

/*
 * End the intents of attempts whose processes are gone: they stay with status
 * unknown, and the rollup counts them.
 */
extern BatchResult batch_close_orphans(char **reason);

/* Put a batch's one record into llm_usage_quarantine instead. */
extern BatchResult batch_quarantine(const LedgerBatch *batch, const char *why, char **reason);

/* Note in user_api_keys that keys were used now.  Rows that somebody has locked are passed over. */
extern BatchResult batch_note_key_use(const int64 *key_ids, int n, char **reason);

/*
 * Bring llm_usage_totals up to date, a step at a time.  BATCH_REJECTED without a
 * reason: it is, as far as it can be now.
 */
extern BatchResult batch_close_totals(char **reason);

/* Make partitions ahead, and drop those that llm_router.usage_retention ends. */
extern BatchResult batch_maintain_partitions(char **reason);

/*
 * Delete some of the entries that llm_router.audit_retention ends, few enough
 * to keep no caller waiting.  BATCH_REJECTED without a reason: none are left.
 */
extern BatchResult batch_trim_audit(char **reason);

#endif /* LLM_ROUTER_LEDGER_BATCH_H */

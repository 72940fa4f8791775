/*
 * ledger_partitions.h
 *		Monthly partitions of llm_usage_logs: made when needed, ahead of time,
 *		and retired.  In a transaction, as the extension's owner (owner_enter),
 *		with SPI connected.
 */
#ifndef LLM_ROUTER_LEDGER_PARTITIONS_H
#define LLM_ROUTER_LEDGER_PARTITIONS_H

#include "postgres.h"

#include "datatype/timestamp.h"

/* Make sure that rows of these times have partitions. */
extern void partitions_ensure(const TimestampTz *times, int n);

/* The same for this month and the next. */
extern void partitions_make_ahead(TimestampTz now);

/*
 * Drop the oldest partition that lies wholly before "before"; false when there
 * is none.  One at a time: dropping takes an ACCESS EXCLUSIVE lock on the
 * parent, for the moment of the commit.
 */
extern bool partitions_drop_one(TimestampTz before);

#endif							/* LLM_ROUTER_LEDGER_PARTITIONS_H */

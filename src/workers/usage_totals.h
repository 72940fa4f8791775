/*
 * usage_totals.h
 *		llm_usage_totals, kept up by the ledger's writer.
 */
#ifndef LLM_ROUTER_USAGE_TOTALS_H
#define LLM_ROUTER_USAGE_TOTALS_H

#include "postgres.h"

#include "datatype/timestamp.h"

/*
 * To be called, within the transaction that adds to the rollup (SPI connected,
 * as the owner), with the time of the earliest record: what the totals hold of
 * that time and later is taken out of them, to be summed up again.
 */
extern void totals_reopen(TimestampTz since);

/*
 * Sum up some of the quarters of an hour that are over; in such a transaction as
 * well.  While totals_are_due, there may be more of them.
 */
extern void totals_close(void);

/* Whether totals_close may have something to do. */
extern bool totals_are_due(void);

/* After an error: what was changed may not be so; the next totals_close has some time. */
extern void totals_forget(void);

#endif /* LLM_ROUTER_USAGE_TOTALS_H */

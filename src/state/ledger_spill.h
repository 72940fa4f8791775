/*
 * ledger_spill.h
 *		Records that could not be written before the server stopped: kept in a
 *		file, and loaded by the database's writer at the next start.
 */
#ifndef LLM_ROUTER_LEDGER_SPILL_H
#define LLM_ROUTER_LEDGER_SPILL_H

#include "postgres.h"

#include "nodes/pg_list.h"
#include "state/ledger_ring.h"

/*
 * Move all records of a database without a writer to its file, which is on
 * disk (fsync) when this returns.  What cannot be written there goes to the
 * server log.
 */
extern void ledger_spill(Oid database);

/* The same, for a process that ends: only if no launcher would see to it. */
extern void ledger_spill_orphans(Oid database);

/* Databases with a file; OIDs, in the current context. */
extern List *ledger_spill_databases(void);

/*
 * Read a database's file: a list of records in JSON, without the damaged ones,
 * which are logged; NIL when there is none.  Remove it once they are committed.
 */
extern List *ledger_spill_read(Oid database);
extern void ledger_spill_remove(Oid database);

/* The last resort: a record as one line of the server log. */
extern void ledger_log_record(Oid database, int32 block, const char *reason);
extern void ledger_log_line(Oid database, const char *json, const char *reason);

/* Log all records of a database that is no more, and forget them. */
extern void ledger_log_records(Oid database, const char *reason);

#endif							/* LLM_ROUTER_LEDGER_SPILL_H */

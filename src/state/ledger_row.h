/*
 * ledger_row.h
 *		A call's record as a row of llm_usage_logs: as datums for the insert; and
 *		every record as JSON for quarantine, spill file and server log.
 */
#ifndef LLM_ROUTER_LEDGER_ROW_H
#define LLM_ROUTER_LEDGER_ROW_H

#include "postgres.h"

#include "lib/stringinfo.h"
#include "state/ledger_ring.h"

typedef struct LedgerColumn
{
	const char *name; /* of llm_usage_logs */
	Oid			type; /* JSONOID is passed as text */
} LedgerColumn;

#define LEDGER_COLUMN_COUNT 34

extern const LedgerColumn ledger_columns[LEDGER_COLUMN_COUNT];

/* A call's values, palloc'd in the current context. */
extern void ledger_row_values(int32 block, Datum values[LEDGER_COLUMN_COUNT],
							  bool nulls[LEDGER_COLUMN_COUNT]);

/*
 * Append the record as one line of JSON: a call as an object by column, without
 * NULLs, a note as its text.  Needs no catalog, so that the launcher can do it.
 */
extern void ledger_record_json(int32 block, StringInfo json);

/* Which kind of record it was. */
extern LedgerKind ledger_json_kind(const char *json);

#endif /* LLM_ROUTER_LEDGER_ROW_H */

/*
 * ledger_batch.c
 *		The SQL of the ledger writer.
 *
 * A batch is one statement: it inserts the rows and adds what it inserted to
 * the rollup.  The records reach it as a named tuplestore (as a trigger's
 * transition table does), so there are no arrays to build and take apart;
 * records of a spill file come through jsonb_populate_recordset and are
 * otherwise treated alike.  Those may have been written before, and are then
 * passed over.  Intents (llm_router.record_intent) are rows without is_final, which
 * the rollup does not count; before a batch is inserted, those of its requests are
 * deleted.  A record from the ring leaves it with the commit, so one that
 * the ledger has already is a mistake and goes to quarantine as such.  Notes are
 * few, and each is a call of llm_note_write.
 *
 * The statements are prepared once a process and follow changes of the tables;
 * they name the schema, so after a failure they are made anew (somebody may
 * have renamed it).
 *
 * Everything runs as the extension's owner (owner_enter) in a transaction that
 * ends here.  Errors end here too, as a BatchResult.
 */
#include "workers/ledger_batch.h"

#include "access/xact.h"
#include "base/settings.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "state/extension.h"
#include "state/ledger_row.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"
#include "workers/ledger_partitions.h"
#include "workers/usage_totals.h"

#define BATCH_RELATION "batch"
#define TRIM_BATCH	   1000 /* audit entries deleted at once: some 10 ms */

/* As llm_note_write: calls wait for the writer. */
#define KEY_USE_LOCK_TIMEOUT "100ms"

/* A key of the rollup, in the order in which rows are locked: always the same. */
#define ROLLUP_KEY "bucket, user_id, provider, model, power_level, used_byok, status, subscription_tier"

/* Counters of the rollup, and what one row adds to them. */
static const char *const rollup_sums[][2] = {
	{ "requests", "is_final::integer" },
	{ "attempts", "CASE WHEN is_final THEN attempts ELSE 0 END" },
	{ "fallbacks", "(is_final AND attempts > 1)::integer" },
	{ "errors", "(is_final AND status <> 'ok')::integer" },
	{ "input_tokens", "coalesce(input_tokens, 0)" },
	{ "cached_input_tokens", "coalesce(cached_input_tokens, 0)" },
	{ "cache_write_tokens", "coalesce(cache_write_tokens, 0)" },
	{ "output_tokens", "coalesce(output_tokens, 0)" },
	{ "reasoning_tokens", "coalesce(reasoning_tokens, 0)" },
	{ "total_cost", "coalesce(total_cost, 0)" },
	{ "unknown_cost_requests", "(total_cost IS NULL)::integer" },
	/* As ledger_charge does. */
	{ "unknown_cost_estimate", "CASE WHEN total_cost IS NULL THEN coalesce(estimated_cost, 0) ELSE 0 END" },
	{ "unknown_tokens_estimate",
	  "CASE WHEN input_tokens IS NULL AND total_cost IS DISTINCT FROM 0"
	  " THEN coalesce(estimated_tokens, 0) ELSE 0 END" },
	{ "latency_sum_ms", "CASE WHEN is_final THEN coalesce(response_time_ms, 0) ELSE 0 END" },
};

typedef BatchResult (*BatchWork)(const LedgerBatch *batch, const void *argument);

static SPIPlanPtr ring_plan;   /* rows from the ring */
static SPIPlanPtr single_plan; /* one row from the ring */
static SPIPlanPtr lines_plan;  /* rows from $1, a JSON array */
static TupleDesc  batch_tupdesc;

/* ------------------------------------------------------------------------
 * The statement
 * ------------------------------------------------------------------------
 */

static void
append_insert(StringInfo sql, const char *source, const char *on_conflict)
{
	StringInfoData columns;
	StringInfoData values;

	initStringInfo(&columns);
	initStringInfo(&values);
	for (int i = 0; i < LEDGER_COLUMN_COUNT; i++)
	{
		appendStringInfo(&columns, ", %s", ledger_columns[i].name);
		appendStringInfo(&values, ", %s%s", ledger_columns[i].name,
						 ledger_columns[i].type == JSONOID ? "::jsonb" : "");
	}
	appendStringInfo(sql,
					 "INSERT INTO %s (id%s) SELECT nextval(%s)%s FROM %s %s RETURNING *",
					 extension_table("llm_usage_logs"), columns.data,
					 quote_literal_cstr(extension_table("llm_usage_logs_id_seq")),
					 values.data, source, on_conflict);
}

/* Rows that say how an attempt ended, of those just written. */
#define ENDED_ROWS "written WHERE is_final IS NOT NULL"

/*
 * A single row is added as it is: setting up an aggregation takes longer than
 * all the rest of the statement.
 */
static void
append_rollup(StringInfo sql, const char *rows, bool single)
{
	StringInfoData names;
	StringInfoData sums;
	StringInfoData additions;

	initStringInfo(&names);
	initStringInfo(&sums);
	initStringInfo(&additions);
	for (int i = 0; i < (int) lengthof(rollup_sums); i++)
	{
		const char *name = rollup_sums[i][0];

		appendStringInfo(&names, ", %s", name);
		appendStringInfo(&sums, single ? ", %s" : ", sum(%s)", rollup_sums[i][1]);
		appendStringInfo(&additions, "%s = r.%s + excluded.%s, ", name, name, name);
	}
	appendStringInfo(sql,
					 "INSERT INTO %s AS r (" ROLLUP_KEY "%s, latency_histogram)"
					 " SELECT date_bin('15 minutes', created_at, 'epoch') AS bucket, user_id, provider,"
					 " model, power_level, used_byok, status, subscription_tier%s,"
					 " coalesce(%s(%s), '{}') FROM %s%s"
					 " ON CONFLICT (" ROLLUP_KEY ") DO UPDATE SET %s"
					 " latency_histogram = %s(r.latency_histogram, excluded.latency_histogram)",
					 extension_table("llm_usage_rollup"), names.data, sums.data,
					 extension_table("llm_latency_histogram"),
					 single ? "CASE WHEN is_final THEN ARRAY[response_time_ms] END"
							: "array_agg(response_time_ms) FILTER (WHERE is_final)",
					 rows, single ? "" : " GROUP BY " ROLLUP_KEY " ORDER BY " ROLLUP_KEY,
					 additions.data, extension_table("llm_latency_histogram_add"));
}

static SPIPlanPtr
prepare(const char *source, const char *on_conflict, bool single, int nargs, Oid *types)
{
	StringInfoData sql;
	SPIPlanPtr	   plan;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "WITH written AS (");
	append_insert(&sql, source, on_conflict);
	appendStringInfoString(&sql, ") ");
	append_rollup(&sql, ENDED_ROWS, single);
	plan = SPI_prepare(sql.data, nargs, types);
	if (plan == NULL || SPI_keepplan(plan) != 0)
		elog(ERROR, "could not prepare the ledger's insert: %s",
			 SPI_result_code_string(SPI_result));
	return plan;
}

static void
forget_plans(void)
{
	SPIPlanPtr *const plans[] = { &ring_plan, &single_plan, &lines_plan };

	for (int i = 0; i < (int) lengthof(plans); i++)
	{
		if (*plans[i] != NULL)
			SPI_freeplan(*plans[i]);
		*plans[i] = NULL;
	}
}

/* The records' months have to have partitions, and be open in the totals. */
static void
make_way(const TimestampTz *times, int n)
{
	TimestampTz first = times[0];

	for (int i = 1; i < n; i++)
		first = Min(first, times[i]);
	partitions_ensure(times, n);
	totals_reopen(first);
}

/* ------------------------------------------------------------------------
 * Intents
 * ------------------------------------------------------------------------
 */

static void
execute(const char *sql, int nargs, Oid *types, Datum *values)
{
	if (SPI_execute_with_args(sql, nargs, types, values, NULL, false, 0) < 0)
		elog(ERROR, "could not execute \"%s\"", sql);
}

static Datum
uuid_array(const pg_uuid_t *ids, int n)
{
	Datum *elements = palloc(sizeof(Datum) * (n + 1));

	for (int i = 0; i < n; i++)
		elements[i] = UUIDPGetDatum(&ids[i]);
	return PointerGetDatum(construct_array(elements, n, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR));
}

/* Intents of no request in $1: their processes have gone. */
#define ORPHANS "is_final IS NULL AND request_id <> ALL ($1)"

/* Delete what this batch will say better. */
static void
delete_intents(const LedgerBatch *batch)
{
	Oid		   types[] = { UUIDARRAYOID };
	pg_uuid_t *requests = palloc(sizeof(pg_uuid_t) * batch->n);
	Datum	   values[1];
	int		   n = 0;

	for (int i = 0; i < batch->n; i++)
	{
		const LedgerRecord *record = ledger_record(batch->blocks[i]);

		if (record->supersedes)
			requests[n++] = record->request_id;
	}
	if (n == 0)
		return;
	values[0] = uuid_array(requests, n);
	execute(psprintf("DELETE FROM %s WHERE request_id = ANY ($1) AND is_final IS NULL",
					 extension_table("llm_usage_logs")),
			1, types, values);
}

/* The totals of their time, if there are any, are made anew. */
static void
reopen_for_orphans(Oid *types, Datum *values)
{
	bool  isnull;
	Datum first;

	execute(psprintf("SELECT min(created_at) FROM %s WHERE " ORPHANS, extension_table("llm_usage_logs")),
			1, types, values);
	first = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	if (!isnull)
		totals_reopen(DatumGetTimestampTz(first));
}

static BatchResult
close_orphans_work(const LedgerBatch *batch, const void *argument)
{
	Oid			   types[] = { UUIDARRAYOID };
	Datum		   values[1];
	StringInfoData sql;
	int			   n;
	pg_uuid_t	  *requests = ledger_requests(&n);

	initStringInfo(&sql);
	appendStringInfo(&sql,
					 "WITH written AS (UPDATE %s SET is_final = true WHERE " ORPHANS " RETURNING *) ",
					 extension_table("llm_usage_logs"));
	append_rollup(&sql, ENDED_ROWS, false);
	values[0] = uuid_array(requests, n);
	reopen_for_orphans(types, values);
	execute(sql.data, 1, types, values);
	return BATCH_COMMITTED;
}

/* ------------------------------------------------------------------------
 * Records from the ring
 * ------------------------------------------------------------------------
 */

static void
make_tupdesc(void)
{
	MemoryContext previous = MemoryContextSwitchTo(TopMemoryContext);
	TupleDesc	  tupdesc = CreateTemplateTupleDesc(LEDGER_COLUMN_COUNT);

	for (int i = 0; i < LEDGER_COLUMN_COUNT; i++)
		TupleDescInitEntry(tupdesc, i + 1, ledger_columns[i].name,
						   ledger_columns[i].type == JSONOID ? TEXTOID : ledger_columns[i].type,
						   -1, 0);
	batch_tupdesc = tupdesc;
	MemoryContextSwitchTo(previous);
}

/* Offer the batch to SPI as the relation BATCH_RELATION. */
static void
register_batch(const LedgerBatch *batch)
{
	Tuplestorestate		  *rows = tuplestore_begin_heap(false, false, work_mem);
	EphemeralNamedRelation relation = palloc0(sizeof(EphemeralNamedRelationData));
	Datum				   values[LEDGER_COLUMN_COUNT];
	bool				   nulls[LEDGER_COLUMN_COUNT];

	for (int i = 0; i < batch->n; i++)
	{
		ledger_row_values(batch->blocks[i], values, nulls);
		tuplestore_putvalues(rows, batch_tupdesc, values, nulls);
	}
	relation->md.name = BATCH_RELATION;
	relation->md.reliddesc = InvalidOid;
	relation->md.tupdesc = batch_tupdesc;
	relation->md.enrtype = ENR_NAMED_TUPLESTORE;
	relation->md.enrtuples = batch->n;
	relation->reldata = rows;
	if (SPI_register_relation(relation) != SPI_OK_REL_REGISTER)
		elog(ERROR, "could not register the ledger's batch");
}

static void
write_ring(const LedgerBatch *batch)
{
	TimestampTz *times = palloc(batch->n * sizeof(TimestampTz));
	SPIPlanPtr	*plan = batch->n == 1 ? &single_plan : &ring_plan;

	for (int i = 0; i < batch->n; i++)
		times[i] = ledger_record(batch->blocks[i])->started_at;
	make_way(times, batch->n);
	if (batch_tupdesc == NULL)
		make_tupdesc();
	delete_intents(batch);
	register_batch(batch);
	if (*plan == NULL)
		*plan = prepare(BATCH_RELATION, "", batch->n == 1, 0, NULL);
	if (SPI_execute_plan(*plan, NULL, NULL, false, 0) < 0)
		elog(ERROR, "could not execute the ledger's insert");
}

/* ------------------------------------------------------------------------
 * Records from a spill file
 * ------------------------------------------------------------------------
 */

static char *
lines_array(const LedgerBatch *batch)
{
	StringInfoData json;

	initStringInfo(&json);
	for (int i = 0; i < batch->n; i++)
		appendStringInfo(&json, "%c%s", i == 0 ? '[' : ',', batch->lines[i]);
	appendStringInfoChar(&json, ']');
	return json.data;
}

static void
make_way_for_lines(Datum json)
{
	Oid			 types[] = { TEXTOID };
	TimestampTz *times;
	int			 n;

	if (SPI_execute_with_args("SELECT DISTINCT (r->>'created_at')::timestamptz"
							  " FROM jsonb_array_elements($1::jsonb) AS r",
							  1, types, &json, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the times of the ledger's records");
	times = palloc(SPI_processed * sizeof(TimestampTz));
	for (n = 0; n < (int) SPI_processed; n++)
	{
		bool isnull;

		times[n] = DatumGetTimestampTz(SPI_getbinval(SPI_tuptable->vals[n], SPI_tuptable->tupdesc,
													 1, &isnull));
	}
	make_way(times, n);
}

static void
write_lines(const LedgerBatch *batch)
{
	Oid	  types[] = { TEXTOID };
	Datum json = CStringGetTextDatum(lines_array(batch));

	make_way_for_lines(json);
	execute(psprintf("DELETE FROM %s WHERE is_final IS NULL AND request_id IN"
					 " (SELECT (r->>'request_id')::uuid FROM jsonb_array_elements($1::jsonb) AS r)",
					 extension_table("llm_usage_logs")),
			1, types, &json);
	if (lines_plan == NULL)
		lines_plan = prepare(psprintf("jsonb_populate_recordset(NULL::%s, $1::jsonb)",
									  extension_table("llm_usage_logs")),
							 "ON CONFLICT DO NOTHING", false, 1, types);
	if (SPI_execute_plan(lines_plan, &json, NULL, false, 0) < 0)
		elog(ERROR, "could not execute the ledger's insert");
}

/* ------------------------------------------------------------------------
 * Notes
 * ------------------------------------------------------------------------
 */

static const char *
batch_json(const LedgerBatch *batch, int i)
{
	StringInfoData json;

	if (batch->lines != NULL)
		return batch->lines[i];
	initStringInfo(&json);
	ledger_record_json(batch->blocks[i], &json);
	return json.data;
}

static void
write_notes(const LedgerBatch *batch)
{
	Oid	  types[] = { TEXTOID };
	char *sql = psprintf("SELECT %s($1::jsonb)", extension_table("llm_note_write"));

	for (int i = 0; i < batch->n; i++)
	{
		Datum note = CStringGetTextDatum(batch_json(batch, i));

		if (SPI_execute_with_args(sql, 1, types, &note, NULL, false, 0) != SPI_OK_SELECT)
			elog(ERROR, "could not write a note to the audit log");
	}
}

/* ------------------------------------------------------------------------
 * The transaction around all of these
 * ------------------------------------------------------------------------
 */

/*
 * Errors that may go away by themselves.  The rest is the record's own: a
 * constraint that the DBA added, a value out of range.
 */
static bool
error_is_passing(int sqlstate)
{
	switch (ERRCODE_TO_CATEGORY(sqlstate))
	{
		case ERRCODE_TRANSACTION_ROLLBACK:
		case ERRCODE_INSUFFICIENT_RESOURCES:
		case ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE: /* lock_timeout */
		case ERRCODE_OPERATOR_INTERVENTION:
		case ERRCODE_SYSTEM_ERROR:
		case ERRCODE_INVALID_TRANSACTION_STATE: /* read only: now a standby */
			return true;
		default:
			break;
	}

	/* Something of the ledger is being changed, renamed or replaced. */
	switch (sqlstate)
	{
		case ERRCODE_UNDEFINED_TABLE:
		case ERRCODE_UNDEFINED_COLUMN:
		case ERRCODE_UNDEFINED_FUNCTION:
		case ERRCODE_UNDEFINED_SCHEMA:
		case ERRCODE_UNDEFINED_OBJECT:
		case ERRCODE_DUPLICATE_TABLE:
		case ERRCODE_INSUFFICIENT_PRIVILEGE:
			return true;
		default:
			return false;
	}
}

static BatchResult
run_as_owner(BatchWork work, const LedgerBatch *batch, const void *argument)
{
	OwnerGuard	guard;
	BatchResult result = BATCH_NO_EXTENSION;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	if (OidIsValid(extension_schema()))
	{
		owner_enter(&guard);
		if (SPI_connect() != SPI_OK_CONNECT)
			elog(ERROR, "SPI_connect failed");
		result = work(batch, argument);
		SPI_finish();
		owner_leave(&guard);

		/* Callers get their answers for it, whatever synchronous_commit says. */
		ForceSyncCommit();
	}
	PopActiveSnapshot();
	CommitTransactionCommand();
	return result;
}

/* The error that was caught, as a result; ends the transaction. */
static BatchResult
give_up(MemoryContext context, char **reason)
{
	ErrorData  *error;
	BatchResult result;

	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	FlushErrorState();
	AbortCurrentTransaction();
	MemoryContextSwitchTo(context);
	forget_plans();
	totals_forget();

	*reason = psprintf("%s: %s%s%s", unpack_sql_state(error->sqlerrcode), error->message,
					   error->detail ? "; " : "", error->detail ? error->detail : "");
	result = error_is_passing(error->sqlerrcode) ? BATCH_RETRY : BATCH_REJECTED;
	FreeErrorData(error);
	return result;
}

static BatchResult
run(BatchWork work, const LedgerBatch *batch, const void *argument, char **reason)
{
	MemoryContext		 context = CurrentMemoryContext;
	volatile BatchResult result = BATCH_RETRY;

	*reason = NULL;
	pgstat_report_activity(STATE_RUNNING, "llm_router: writing the ledger");
	PG_TRY();
	{
		result = run_as_owner(work, batch, argument);
	}
	PG_CATCH();
	{
		HOLD_INTERRUPTS();
		result = give_up(context, reason);
		RESUME_INTERRUPTS();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	return result;
}

static BatchResult
write_work(const LedgerBatch *batch, const void *argument)
{
	if (batch->kind == LEDGER_NOTE)
		write_notes(batch);
	else if (batch->blocks != NULL)
		write_ring(batch);
	else
		write_lines(batch);
	return BATCH_COMMITTED;
}

BatchResult
batch_write(const LedgerBatch *batch, char **reason)
{
	return run(write_work, batch, NULL, reason);
}

BatchResult
batch_close_orphans(char **reason)
{
	return run(close_orphans_work, NULL, NULL, reason);
}

static BatchResult
quarantine_work(const LedgerBatch *batch, const void *why)
{
	Oid	  types[] = { TEXTOID, TEXTOID };
	Datum values[] = {
		CStringGetTextDatum((const char *) why),
		CStringGetTextDatum(batch_json(batch, 0))
	};
	char *sql = psprintf("INSERT INTO %s (reason, record) VALUES ($1, $2::jsonb)",
						 extension_table("llm_usage_quarantine"));

	if (SPI_execute_with_args(sql, 2, types, values, NULL, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not write to the ledger's quarantine");
	return BATCH_COMMITTED;
}

BatchResult
batch_quarantine(const LedgerBatch *batch, const char *why, char **reason)
{
	return run(quarantine_work, batch, why, reason);
}

typedef struct UsedKeys
{
	const int64 *ids;
	int			 n;
} UsedKeys;

static BatchResult
key_use_work(const LedgerBatch *batch, const void *argument)
{
	const UsedKeys *keys = argument;
	Datum		   *ids = palloc(sizeof(Datum) * keys->n);
	Oid				types[] = { INT8ARRAYOID };
	Datum			values[1];
	char		   *table = extension_table("user_api_keys");
	char		   *sql = psprintf("UPDATE %s SET last_used_at = now() WHERE id IN (SELECT id FROM %s"
											 " WHERE id = ANY ($1) FOR NO KEY UPDATE SKIP LOCKED)",
								   table, table);

	(void) set_config_option("lock_timeout", KEY_USE_LOCK_TIMEOUT, PGC_SUSET, PGC_S_OVERRIDE,
							 GUC_ACTION_LOCAL, true, 0, false);
	for (int i = 0; i < keys->n; i++)
		ids[i] = Int64GetDatum(keys->ids[i]);
	values[0] = PointerGetDatum(construct_array(ids, keys->n, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	if (SPI_execute_with_args(sql, 1, types, values, NULL, false, 0) != SPI_OK_UPDATE)
		elog(ERROR, "could not note the use of keys");
	return BATCH_COMMITTED;
}

BatchResult
batch_note_key_use(const int64 *key_ids, int n, char **reason)
{
	UsedKeys keys = { key_ids, n };

	return run(key_use_work, NULL, &keys, reason);
}

static BatchResult
close_totals_work(const LedgerBatch *batch, const void *argument)
{
	totals_close();
	return BATCH_COMMITTED;
}

BatchResult
batch_close_totals(char **reason)
{
	*reason = NULL;
	return totals_are_due() ? run(close_totals_work, NULL, NULL, reason) : BATCH_REJECTED;
}

static BatchResult
make_ahead_work(const LedgerBatch *batch, const void *argument)
{
	partitions_make_ahead(GetCurrentTimestamp());
	return BATCH_COMMITTED;
}

/* BATCH_REJECTED: nothing left to drop. */
static BatchResult
drop_work(const LedgerBatch *batch, const void *argument)
{
	TimestampTz before = GetCurrentTimestamp() -
						 (int64) setting_usage_retention * USECS_PER_DAY;

	return partitions_drop_one(before) ? BATCH_COMMITTED : BATCH_REJECTED;
}

BatchResult
batch_maintain_partitions(char **reason)
{
	BatchResult result = run(make_ahead_work, NULL, NULL, reason);

	if (result != BATCH_COMMITTED || setting_usage_retention == 0)
		return result;
	while ((result = run(drop_work, NULL, NULL, reason)) == BATCH_COMMITTED)
		;
	return *reason == NULL ? BATCH_COMMITTED : result;
}

/* BATCH_REJECTED: nothing left to delete. */
static BatchResult
trim_work(const LedgerBatch *batch, const void *argument)
{
	Oid	  types[] = { TIMESTAMPTZOID };
	Datum before = TimestampTzGetDatum(GetCurrentTimestamp() -
									   (int64) setting_audit_retention * USECS_PER_DAY);
	char *table = extension_table("llm_audit_logs");
	char *sql = psprintf("DELETE FROM %s WHERE id IN (SELECT id FROM %s WHERE created_at < $1"
						 " ORDER BY created_at LIMIT %d)",
						 table, table, TRIM_BATCH);

	if (SPI_execute_with_args(sql, 1, types, &before, NULL, false, 0) != SPI_OK_DELETE)
		elog(ERROR, "could not delete from llm_audit_logs");
	return SPI_processed > 0 ? BATCH_COMMITTED : BATCH_REJECTED;
}

BatchResult
batch_trim_audit(char **reason)
{
	*reason = NULL;
	return setting_audit_retention > 0 ? run(trim_work, NULL, NULL, reason) : BATCH_REJECTED;
}

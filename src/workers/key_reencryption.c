/*
 * key_reencryption.c
 *		Sealing the stored keys again with the first master key, in batches.
 *
 * Other sessions go on meanwhile: a batch is read without locks, sealed, and written
 * in one statement that passes over the rows which somebody has locked or changed,
 * then committed.  So nobody waits longer than one such statement and its commit.
 * What was passed over comes up in another pass over the tables, in which rows that
 * the first master key has sealed cost no more than their reading.
 */
#include "postgres.h"

#include "workers/key_reencryption.h"

#include "access/xact.h"
#include "base/compat.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "secrets/credential.h"
#include "secrets/keyring.h"
#include "state/audit.h"
#include "state/master_key.h"
#include "state/reencryption.h"
#include "state/rounds.h"
#include "storage/latch.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/wait_event.h"
#include "workers/worker.h"

#define BATCH_ROWS	  500
#define MAX_PASSES	  10 /* over rows that stay locked */
#define PASS_PAUSE_MS 500

/* The tables and their keys. */
static const char *const tables[][2] = {
	{ "llm_provider_keys", "provider_id" },
	{ "user_api_keys", "id" },
};

typedef struct ReencryptionBatch
{
	int	  rows; /* read; fewer than BATCH_ROWS: the table's last */
	int	  n;	/* of them, to be changed */
	Datum ids[BATCH_ROWS];
	Datum old_tokens[BATCH_ROWS];
	Datum new_tokens[BATCH_ROWS];
} ReencryptionBatch;

/* Seal what the first master key did not make; false for one that no key opens. */
static bool
seal_row(ReencryptionProgress *progress, ReencryptionBatch *batch, const char *token, LlmError *error)
{
	char *new_token;
	bool  changed;

	if (!credential_reseal(token, &new_token, &changed, error))
	{
		error_detail(error, "The key with %s " INT64_FORMAT " of %s cannot be opened.",
					 tables[progress->table][1], progress->last_id, tables[progress->table][0]);
		return error_hint(error, "Configure the master key that sealed it as well, or store that key "
								 "again, and run this again. What was changed before stays changed.");
	}
	if (!changed)
		return true;
	batch->ids[batch->n] = Int64GetDatum(progress->last_id);
	batch->old_tokens[batch->n] = CStringGetTextDatum(token);
	batch->new_tokens[batch->n++] = CStringGetTextDatum(new_token);
	return true;
}

/* Read the next rows and seal them; false at one that cannot be opened. */
static bool
read_batch(ReencryptionProgress *progress, ReencryptionBatch *batch, LlmError *error)
{
	const char *const *table = tables[progress->table];
	Oid				   type = INT8OID;
	Datum			   after = Int64GetDatum(progress->last_id);
	MemoryContext	   context = CurrentMemoryContext;
	SPITupleTable	  *rows;
	char			  *query;

	query = psprintf("SELECT %s::bigint, encrypted_api_key FROM %s WHERE %s > $1 ORDER BY %s LIMIT %d",
					 table[1], extension_table(table[0]), table[1], table[1], BATCH_ROWS);
	if (SPI_execute_with_args(query, 1, &type, &after, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read %s", table[0]);
	MemoryContextSwitchTo(context);
	rows = SPI_tuptable;
	batch->rows = (int) SPI_processed;
	for (int i = 0; i < batch->rows; i++)
	{
		bool is_null;

		progress->last_id = DatumGetInt64(SPI_getbinval(rows->vals[i], rows->tupdesc, 1, &is_null));
		progress->keys++;
		if (!seal_row(progress, batch, SPI_getvalue(rows->vals[i], rows->tupdesc, 2), error))
			return false;
	}
	return true;
}

static Datum
text_array(Datum *texts, int n)
{
	return PointerGetDatum(construct_array(texts, n, TEXTOID, -1, false, TYPALIGN_INT));
}

static void
write_batch(ReencryptionProgress *progress, ReencryptionBatch *batch)
{
	const char *const *table = tables[progress->table];
	const char		  *name = extension_table(table[0]);
	Oid				   types[] = { INT8ARRAYOID, TEXTARRAYOID, TEXTARRAYOID };
	Datum			   values[3];
	char			  *query;

	if (batch->n == 0)
		return;
	query = psprintf("WITH free AS (SELECT k.%s AS id, b.new_token FROM %s AS k"
					 " JOIN unnest($1, $2, $3) AS b (id, old_token, new_token)"
					 " ON k.%s = b.id AND k.encrypted_api_key = b.old_token"
					 " FOR NO KEY UPDATE OF k SKIP LOCKED)"
					 " UPDATE %s AS k SET encrypted_api_key = free.new_token"
					 " FROM free WHERE k.%s = free.id",
					 table[1], name, table[1], name, table[1]);
	values[0] = PointerGetDatum(construct_array(batch->ids, batch->n, INT8OID, sizeof(int64),
												FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	values[1] = text_array(batch->old_tokens, batch->n);
	values[2] = text_array(batch->new_tokens, batch->n);
	if (SPI_execute_with_args(query, 3, types, values, NULL, false, 0) != SPI_OK_UPDATE)
		elog(ERROR, "could not write %s", table[0]);
	progress->changed += SPI_processed;
	progress->locked += batch->n - (int64) SPI_processed;
}

/* One batch in a transaction of its own; *rows is how many there were. */
static bool
do_batch(ReencryptionProgress *progress, int *rows, LlmError *error)
{
	ReencryptionBatch *batch = palloc0(sizeof(ReencryptionBatch));
	MemoryContext	   context = CurrentMemoryContext;
	WorkerTransaction  transaction;
	bool			   opened;

	*rows = 0;
	if (!worker_begin(&transaction))
		return true; /* the extension was dropped: no keys */
	opened = read_batch(progress, batch, error);
	write_batch(progress, batch);
	MemoryContextSwitchTo(context);
	worker_commit(&transaction);
	*rows = batch->rows;
	return opened;
}

/* Record which master key is needed from now on (if all is done), and who asked. */
static void
conclude(const ReencryptionProgress *progress, bool done)
{
	WorkerTransaction transaction;

	if (!worker_begin(&transaction))
		return;
	if (done && progress->keys > 0)
		master_key_record();
	if (progress->changed > 0)
		audit_write(&(AuditEntry){
			.actor = progress->actor,
			.action = "keys.reencrypt",
			.detail = psprintf("{\"changed\": " INT64_FORMAT ", \"complete\": %s}", progress->changed,
							   done ? "true" : "false"),
		});
	worker_commit(&transaction);
}

static bool
still_locked(const ReencryptionProgress *progress, LlmError *error)
{
	error_set(error, ERRCODE_LOCK_NOT_AVAILABLE, INT64_FORMAT " stored keys are locked by other transactions",
			  progress->locked);
	return error_hint(error, "All others are done. Run this again when those transactions have ended.");
}

/* After the last table: over, or once more for the rows that were locked. */
static bool
begin_pass(ReencryptionProgress *progress)
{
	if (progress->locked == 0 || ++progress->passes >= MAX_PASSES)
		return false;
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, PASS_PAUSE_MS,
					 PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	progress->table = 0;
	progress->last_id = PG_INT64_MIN;
	progress->keys = progress->locked = 0;
	return true;
}

/* The next batch; true while there may be more. */
static bool
take_step(ReencryptionProgress *progress, LlmError *error)
{
	int rows;

	if (progress->table == lengthof(tables))
		return begin_pass(progress);
	if (!do_batch(progress, &rows, error))
		return false;
	if (rows < BATCH_ROWS)
	{
		progress->table++;
		progress->last_id = PG_INT64_MIN;
	}
	return true;
}

/* All of it, or as much as can be now.  Ends with the request ended or put back. */
static void
reencrypt(ReencryptionProgress *progress)
{
	MemoryContext outer = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(outer, "llm_router re-encryption", ALLOCSET_DEFAULT_SIZES);
	LlmError	  error = { 0 };
	bool		  wanted = true;

	MemoryContextSwitchTo(context);
	while (wanted && take_step(progress, &error))
	{
		wanted = reencryption_note(progress);
		MemoryContextReset(context);
		if (wanted && rounds_should_leave())
		{
			MemoryContextSwitchTo(outer);
			reencryption_put_back();
			return;
		}
	}
	(void) reencryption_note(progress);
	if (wanted && error.sqlstate == 0 && progress->locked > 0)
		still_locked(progress, &error);
	conclude(progress, wanted && error.sqlstate == 0);
	reencryption_end(&error);
	MemoryContextSwitchTo(outer);
}

/* What was thrown, for the session that waits. */
static void
report_error(MemoryContext context)
{
	ErrorData *thrown;
	LlmError   error = { 0 };

	HOLD_INTERRUPTS();
	MemoryContextSwitchTo(context);
	thrown = CopyErrorData();
	FlushErrorState();
	AbortOutOfAnyTransaction();
	MemoryContextSwitchTo(context);
	error.sqlstate = thrown->sqlerrcode;
	error.message = thrown->message;
	error.detail = thrown->detail;
	error.hint = "What was changed before stays changed. Run this again: it goes on from there.";
	reencryption_end(&error);
	RESUME_INTERRUPTS();
}

void
key_reencryption_run(void)
{
	MemoryContext		 context = CurrentMemoryContext;
	ReencryptionProgress progress;
	KeyringStatus		 keys;

	if (!reencryption_take(&progress))
		return;
	PG_TRY();
	{
		keyring_status(&keys); /* master_key_command takes its time outside of transactions */
		reencrypt(&progress);
	}
	PG_CATCH();
	{
		report_error(context);
	}
	PG_END_TRY();
}

/*
 * reencrypt.c
 *		llm_keys_reencrypt: stored keys sealed again with a new master key.
 */
#include "base/compat.h"

#include "api/arguments.h"
#include "base/errors.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "secrets/credential.h"
#include "state/audit.h"
#include "state/extension.h"
#include "state/master_key.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

PG_FUNCTION_INFO_V1(llm_keys_reencrypt);

#define REENCRYPT_BATCH 100 /* rows fetched at once */

/* Run a statement that returns no rows, as a plan of its own. */
static uint64
execute(const char *query, int nargs, Oid *types, Datum *values, const char *nulls)
{
	int result = SPI_execute_with_args(query, nargs, types, values, nulls, false, 0);

	if (result < 0)
		elog(ERROR, "SPI_execute_with_args failed: %s", SPI_result_code_string(result));
	return SPI_processed;
}

/* Seal one row's token again; true when it was changed. */
static bool
reencrypt_row(const char *table, const char *id_column, const char *id, const char *token)
{
	LlmError error = { 0 };
	char	*new_token;
	bool	 changed;
	Oid		 types[] = { TEXTOID, TEXTOID };
	Datum	 values[2];

	if (!credential_reseal(token, &new_token, &changed, &error))
	{
		error_detail(&error, "The key with %s %s of %s cannot be opened; no key was changed.",
					 id_column, id, table);
		error_throw(&error);
	}
	if (!changed)
		return false;
	values[0] = CStringGetTextDatum(new_token);
	values[1] = CStringGetTextDatum(id);
	execute(psprintf("UPDATE %s SET encrypted_api_key = $1 WHERE %s = $2::bigint",
					 extension_table(table), id_column),
			2, types, values, NULL);
	return true;
}

/* What a run over the stored keys found and did. */
typedef struct ReencryptCount
{
	int64 keys;
	int64 changed;
} ReencryptCount;

/*
 * Seal all tokens of a table again, a batch in memory at a time.
 */
static void
reencrypt_table(const char *table, const char *id_column, ReencryptCount *count)
{
	char		 *query = psprintf("SELECT %s, encrypted_api_key FROM %s ORDER BY %s FOR NO KEY UPDATE",
								   id_column, extension_table(table), id_column);
	Portal		  portal = SPI_cursor_open_with_args(NULL, query, 0, NULL, NULL, NULL, false, 0);
	MemoryContext row_context = AllocSetContextCreate(CurrentMemoryContext,
													  "llm_router re-encryption", ALLOCSET_DEFAULT_SIZES);

	for (;;)
	{
		SPITupleTable *rows;
		uint64		   nrows;

		SPI_cursor_fetch(portal, true, REENCRYPT_BATCH);
		rows = SPI_tuptable;
		nrows = SPI_processed;
		if (nrows == 0)
			break;
		for (uint64 i = 0; i < nrows; i++)
		{
			MemoryContext outer = MemoryContextSwitchTo(row_context);

			CHECK_FOR_INTERRUPTS();
			count->keys++;
			if (reencrypt_row(table, id_column,
							  SPI_getvalue(rows->vals[i], rows->tupdesc, 1),
							  SPI_getvalue(rows->vals[i], rows->tupdesc, 2)))
				count->changed++;
			MemoryContextSwitchTo(outer);
			MemoryContextReset(row_context);
		}
		SPI_freetuptable(rows);
	}
	SPI_cursor_close(portal);
	MemoryContextDelete(row_context);
}

/*
 * llm_keys_reencrypt() RETURNS bigint
 *
 * How many stored keys, of the platform and of users, were sealed again with the
 * first master key.  One transaction: LR009 when one of them cannot be opened,
 * and nothing is changed.
 */
Datum
llm_keys_reencrypt(PG_FUNCTION_ARGS)
{
	char		  *actor;
	ReencryptCount count = { 0 };
	OwnerGuard	   guard;

	argument_require_preloaded();
	PreventCommandIfReadOnly("llm_keys_reencrypt()");
	actor = GetUserNameFromId(GetUserId(), false);
	owner_enter(&guard);
	SPI_connect();
	master_key_lock();
	reencrypt_table("llm_provider_keys", "provider_id", &count);
	reencrypt_table("user_api_keys", "id", &count);
	if (count.keys > 0)
		master_key_record();
	if (count.changed > 0)
		audit_write(&(AuditEntry){ .actor = actor, .action = "keys.reencrypt" });
	SPI_finish();
	owner_leave(&guard);
	credential_forget();
	PG_RETURN_INT64(count.changed);
}

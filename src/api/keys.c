/*
 * keys.c
 *		llm_provider_set_key and llm_keys_reencrypt.
 *
 * Whoever has EXECUTE may store a key, and nobody may read one, so the tables
 * are reached as the extension's owner.  A key is in no error and no log; copies
 * that belong to these functions are wiped.
 */
#include "base/compat.h"

#include "api/arguments.h"
#include "base/errors.h"
#include "engine/key_check.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "secrets/credential.h"
#include "state/audit.h"
#include "state/catalog.h"
#include "state/master_key.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

PG_FUNCTION_INFO_V1(llm_provider_set_key);
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

static const CatalogProvider *
find_provider(const Catalog *catalog, const char *name)
{
	const CatalogProvider *provider = catalog_provider(catalog, name);
	const char			 **names;
	const char			  *nearest;

	if (provider != NULL)
		return provider;
	names = palloc_array(const char *, Max(catalog->nproviders, 1));
	for (int i = 0; i < catalog->nproviders; i++)
		names[i] = catalog->providers[i].name;
	nearest = error_nearest(name, names, catalog->nproviders);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown provider \"%s\"", error_shown_name(name)),
			 nearest ? errhint("Did you mean \"%s\"?", nearest)
					 : errhint("SELECT name FROM llm_providers lists them.")));
}

/* Ask the provider; raises LR005 when it refuses the key. */
static void
validate_key(const CatalogProvider *provider, const char *api_key)
{
	KeyCheck check;

	key_check(provider, api_key, &check);
	if (check.verdict == KEY_REFUSED)
		ereport(ERROR,
				(errcode(ERRCODE_LLM_KEY),
				 errmsg("provider \"%s\" refused the key", provider->name),
				 errdetail_internal("%s", check.message),
				 errhint("Nothing was stored. Look in the provider's console whether the key is active.")));
	if (check.verdict == KEY_UNKNOWN)
		ereport(WARNING,
				(errmsg("the key of provider \"%s\" is stored without a check", provider->name),
				 errdetail_internal("%s", check.message)));
}

static void
delete_platform_key(const CatalogProvider *provider)
{
	Oid	  type = INT4OID;
	Datum value = Int32GetDatum(provider->id);

	execute(psprintf("DELETE FROM %s WHERE provider_id = $1", extension_table("llm_provider_keys")),
			1, &type, &value, NULL);
}

static void
store_platform_key(const CatalogProvider *provider, const char *api_key)
{
	LlmError error = { 0 };
	char	*token;
	Oid		 types[] = { INT4OID, TEXTOID, TEXTOID };
	Datum	 values[3];

	if (!master_key_prepare(&error) ||
		!credential_seal(api_key, NULL, provider->origin, &token, &error))
		error_throw(&error);
	values[0] = Int32GetDatum(provider->id);
	values[1] = CStringGetTextDatum(token);
	values[2] = CStringGetTextDatum(provider->endpoint.base_url);
	execute(psprintf("INSERT INTO %s (provider_id, encrypted_api_key, base_url) VALUES ($1, $2, $3)"
					 " ON CONFLICT (provider_id) DO UPDATE SET (encrypted_api_key, base_url)"
					 " = (EXCLUDED.encrypted_api_key, EXCLUDED.base_url)",
					 extension_table("llm_provider_keys")),
			3, types, values, NULL);
}

/* The change itself, as the extension's owner; api_key NULL removes. */
static void
change_platform_key(const CatalogProvider *provider, const char *api_key)
{
	char	  *actor = GetUserNameFromId(GetUserId(), false);
	OwnerGuard guard;

	owner_enter(&guard);
	SPI_connect();
	if (api_key)
		store_platform_key(provider, api_key);
	else
		delete_platform_key(provider);
	audit_write(&(AuditEntry){
		.actor = actor,
		.action = api_key ? "provider.key.set" : "provider.key.delete",
		.object = provider->name,
	});
	SPI_finish();
	owner_leave(&guard);
	credential_forget();
}

/* Check a key's form, ask the provider if wanted, and store it. */
static void
set_platform_key(const CatalogProvider *provider, const char *api_key, bool validate)
{
	LlmError error = { 0 };

	if (!credential_valid(api_key, &error))
		error_throw(&error);
	if (provider->endpoint.auth_type == AUTH_NONE)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("provider \"%s\" takes no key", provider->name),
				 errhint("Its auth_type in llm_providers is none.")));
	if (validate)
		validate_key(provider, api_key);
	change_platform_key(provider, api_key);
}

/*
 * llm_provider_set_key(provider text, api_key text, validate boolean)
 *		RETURNS void
 *
 * Stores the operator's key for a provider; NULL removes it.  22023 for a key
 * that can be none and for an unknown provider, LR005 when the provider refuses
 * it, LR009 without the right master key.
 */
Datum
llm_provider_set_key(PG_FUNCTION_ARGS)
{
	const Catalog *catalog;
	char		  *api_key;

	argument_require_preloaded();
	PreventCommandIfReadOnly("llm_provider_set_key()");
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the provider is NULL"),
				 errhint("Give its name, such as 'openai'.")));
	api_key = argument_string(fcinfo, 1);
	catalog = catalog_get();
	catalog_pin(catalog);
	PG_TRY();
	{
		const CatalogProvider *provider = find_provider(catalog, argument_string(fcinfo, 0));

		if (api_key == NULL)
			change_platform_key(provider, NULL);
		else
			set_platform_key(provider, api_key, PG_ARGISNULL(2) || PG_GETARG_BOOL(2));
	}
	PG_FINALLY();
	{
		if (api_key)
			explicit_bzero(api_key, strlen(api_key));
		catalog_unpin(catalog);
	}
	PG_END_TRY();
	PG_RETURN_VOID();
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

/*
 * keys.c
 *		The platform's keys: llm_provider_set_key and llm_provider_confirm_keys.
 *
 * Whoever has EXECUTE may store a key, and nobody may read one, so the tables
 * are reached as the extension's owner.  A key is in no error and no log; copies
 * that belong to these functions are wiped.
 */
#include "base/compat.h"

#include "api/arguments.h"
#include "api/key_arguments.h"
#include "api/key_change.h"
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
#include "utils/json.h"
#include "utils/memutils.h"

PG_FUNCTION_INFO_V1(llm_provider_set_key);
PG_FUNCTION_INFO_V1(llm_provider_confirm_keys);

/* Ask the provider; raises LR005 when it refuses the key. */
static void
validate_platform_key(const CatalogProvider *provider, const char *api_key)
{
	KeyCheck check;

	key_check(provider, api_key, &check);
	if (check.verdict == KEY_REFUSED || check.verdict == KEY_NOT_PERMITTED)
		key_argument_refused(provider, &check, NULL);
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

	key_execute(psprintf("DELETE FROM %s WHERE provider_id = $1", extension_table("llm_provider_keys")),
				1, &type, &value);
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
	key_execute(psprintf("INSERT INTO %s (provider_id, encrypted_api_key, base_url) VALUES ($1, $2, $3)"
						 " ON CONFLICT (provider_id) DO UPDATE SET (encrypted_api_key, base_url)"
						 " = (EXCLUDED.encrypted_api_key, EXCLUDED.base_url)",
						 extension_table("llm_provider_keys")),
				3, types, values);
}

/* The change itself, as the extension's owner; api_key NULL removes. */
static void
change_platform_key(const CatalogProvider *provider, const char *api_key)
{
	KeyChange change;

	key_change_begin(&change);
	if (api_key)
		store_platform_key(provider, api_key);
	else
		delete_platform_key(provider);
	audit_write(&(AuditEntry){
		.actor = change.actor,
		.action = api_key ? "provider.key.set" : "provider.key.delete",
		.object = provider->name,
	});
	key_change_end(&change);
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
	KeyArguments arguments = { 0 };

	argument_require_preloaded();
	PreventCommandIfReadOnly("llm_provider_set_key()");
	PG_TRY();
	{
		key_arguments_read(fcinfo, 1, argument_string(fcinfo, 0), &arguments);
		if (arguments.api_key == NULL)
			change_platform_key(arguments.provider, NULL);
		else
		{
			key_argument_check(&arguments);
			if (argument_bool(fcinfo, 2, true))
				validate_platform_key(arguments.provider, arguments.api_key);
			change_platform_key(arguments.provider, arguments.api_key);
		}
	}
	PG_FINALLY();
	{
		key_arguments_wipe(&arguments);
	}
	PG_END_TRY();
	PG_RETURN_VOID();
}

/* A stored key for another address of its provider. */
typedef struct StrayKey
{
	const char *table;
	const char *id_column;
	char	   *id;
	char	   *user_id; /* NULL: the platform's */
	char	   *token;
	char	   *base_url;
} StrayKey;

/* How many keys were moved, and could not be; and why the first could not. */
typedef struct MovedKeys
{
	int64 moved;
	int64 left;
	char *problem;
} MovedKeys;

/* False with the error when the key cannot be opened. */
static bool
move_key(const StrayKey *key, const CatalogProvider *provider, LlmError *error)
{
	char *origin = provider_origin(key->base_url);
	char *token = key->token;
	Oid	  types[] = { TEXTOID, TEXTOID, TEXTOID };
	Datum values[3];

	if (strcmp(origin, provider->origin) != 0 &&
		!credential_move(key->token, key->user_id, origin, provider->origin, &token, error))
		return false;
	values[0] = CStringGetTextDatum(token);
	values[1] = CStringGetTextDatum(provider->endpoint.base_url);
	values[2] = CStringGetTextDatum(key->id);
	key_execute(psprintf("UPDATE %s SET (encrypted_api_key, base_url) = ($1, $2) WHERE %s = $3::bigint",
						 extension_table(key->table), key->id_column),
				3, types, values);
	return true;
}

static void
count_key(MovedKeys *keys, const StrayKey *key, const LlmError *error, MemoryContext context)
{
	if (error->sqlstate == 0)
		keys->moved++;
	else if (keys->left++ == 0)
		keys->problem = MemoryContextStrdup(context, psprintf("The first is that with %s %s of %s: %s.",
															  key->id_column, key->id, key->table,
															  error->message));
}

/* Move a table's keys to the provider's address. */
static void
move_keys(const CatalogProvider *provider, const char *table, const char *id_column,
		  const char *user_column, MovedKeys *keys)
{
	MemoryContext  outer = CurrentMemoryContext;
	MemoryContext  context = AllocSetContextCreate(outer, "llm_router moved key", ALLOCSET_DEFAULT_SIZES);
	Oid			   types[] = { INT4OID, TEXTOID };
	Datum		   values[2];
	char		  *query;
	int64		   nkeys;
	SPITupleTable *found;

	values[0] = Int32GetDatum(provider->id);
	values[1] = CStringGetTextDatum(provider->endpoint.base_url);
	query = psprintf("SELECT %s::text, %s, encrypted_api_key, base_url FROM %s"
					 " WHERE provider_id = $1 AND base_url <> $2 ORDER BY %s FOR UPDATE",
					 id_column, user_column, extension_table(table), id_column);
	nkeys = key_execute(query, 2, types, values);
	found = SPI_tuptable;
	MemoryContextSwitchTo(context);
	for (int64 i = 0; i < nkeys; i++)
	{
		HeapTuple	   row = found->vals[i];
		LlmError	   error = { 0 };
		const StrayKey key = {
			.table = table,
			.id_column = id_column,
			.id = SPI_getvalue(row, found->tupdesc, 1),
			.user_id = SPI_getvalue(row, found->tupdesc, 2),
			.token = SPI_getvalue(row, found->tupdesc, 3),
			.base_url = SPI_getvalue(row, found->tupdesc, 4),
		};

		CHECK_FOR_INTERRUPTS();
		(void) move_key(&key, provider, &error);
		count_key(keys, &key, &error, outer);
		MemoryContextReset(context);
	}
	MemoryContextSwitchTo(outer);
	MemoryContextDelete(context);
}

/* Users can store keys for the address that the caller has seen. */
static void
confirm_address(const CatalogProvider *provider)
{
	Oid	  types[] = { INT4OID, TEXTOID };
	Datum values[] = {
		Int32GetDatum(provider->id),
		CStringGetTextDatum(provider->endpoint.base_url),
	};

	key_execute(psprintf("UPDATE %s SET confirmed_base_url = $2 WHERE id = $1",
						 extension_table("llm_providers")),
				2, types, values);
}

/* What was confirmed: an administrator may have changed the address meanwhile. */
static char *
confirmation_detail(const CatalogProvider *provider, const MovedKeys *keys)
{
	StringInfoData detail;

	initStringInfo(&detail);
	appendStringInfo(&detail, "{\"keys\": " INT64_FORMAT ", \"left\": " INT64_FORMAT ", \"base_url\": ",
					 keys->moved, keys->left);
	escape_json(&detail, provider->endpoint.base_url);
	appendStringInfoChar(&detail, '}');
	return detail.data;
}

static int64
confirm_keys(const CatalogProvider *provider)
{
	KeyChange change;
	MovedKeys keys = { 0 };

	key_change_begin(&change);
	confirm_address(provider);
	move_keys(provider, "llm_provider_keys", "provider_id", "NULL::text", &keys);
	move_keys(provider, "user_api_keys", "id", "user_id", &keys);
	audit_write(&(AuditEntry){
		.actor = change.actor,
		.action = "provider.keys.confirm",
		.object = provider->name,
		.detail = confirmation_detail(provider, &keys),
	});
	if (keys.left > 0)
		ereport(WARNING,
				(errmsg("%lld keys of provider \"%s\" cannot be opened and stay set aside",
						(long long) keys.left, provider->name),
				 errdetail_internal("%s", keys.problem),
				 errhint("Configure the master key that sealed them and run this again, or store "
						 "those keys again.")));
	key_change_end(&change);
	return keys.moved;
}

/*
 * llm_provider_confirm_keys(provider text) RETURNS bigint
 *
 * Lets users store keys for the provider's present base_url, and has those that
 * were stored for an earlier one used there; returns how many.  Those that cannot
 * be opened are left, with a WARNING.
 */
Datum
llm_provider_confirm_keys(PG_FUNCTION_ARGS)
{
	KeyArguments   arguments = { 0 };
	volatile int64 nkeys = 0;

	argument_require_preloaded();
	PreventCommandIfReadOnly("llm_provider_confirm_keys()");
	PG_TRY();
	{
		key_arguments_read(fcinfo, -1, argument_string(fcinfo, 0), &arguments);
		nkeys = confirm_keys(arguments.provider);
	}
	PG_FINALLY();
	{
		key_arguments_wipe(&arguments);
	}
	PG_END_TRY();
	PG_RETURN_INT64(nkeys);
}

/*
 * user_keys.c
 *		The keys that users bring: llm_key_add, _test, _update, _set_active and
 *		_delete.  The view llm_keys shows them, masked.
 *
 * A session manages the keys of the user that it acts for (llm_user_id()), and no
 * others: the functions run as the extension's owner and look for rows of that
 * user only, so somebody else's key is as unknown as one that does not exist.
 */
#include "base/compat.h"

#include "api/arguments.h"
#include "api/key_arguments.h"
#include "api/key_change.h"
#include "base/errors.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "providers/redact.h"
#include "secrets/credential.h"
#include "state/audit.h"
#include "state/caller.h"
#include "state/master_key.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/json.h"

/* Of a user, for all providers. */
#define MAX_USER_KEYS 100

PG_FUNCTION_INFO_V1(llm_key_add);
PG_FUNCTION_INFO_V1(llm_key_test);
PG_FUNCTION_INFO_V1(llm_key_update);
PG_FUNCTION_INFO_V1(llm_key_set_active);
PG_FUNCTION_INFO_V1(llm_key_delete);

/* A key of the user. */
typedef struct StoredKey
{
	int64 id;
	char *provider;
	char *name;
} StoredKey;

/* Which key: its id, its name, and what else there is to say, as a JSON object. */
static char *
key_detail(const StoredKey *key, const char *more)
{
	StringInfoData detail;

	initStringInfo(&detail);
	appendStringInfo(&detail, "{\"key_id\": " INT64_FORMAT ", \"key_name\": ", key->id);
	escape_json(&detail, key->name);
	appendStringInfo(&detail, "%s}", more);
	return detail.data;
}

static void
audit_key(const KeyChange *change, const char *action, const StoredKey *key, const char *more)
{
	audit_write(&(AuditEntry){
		.actor = change->actor,
		.user_id = change->user_id,
		.action = action,
		.object = key->provider,
		.detail = key_detail(key, more),
	});
}

/*
 * Find a key of the user, and lock its row until the transaction ends unless that
 * is to come later.  False when there is none.
 */
static bool
find_key(const char *user_id, int64 key_id, bool lock, StoredKey *key)
{
	Oid			   types[] = { INT8OID, TEXTOID };
	Datum		   values[] = { Int64GetDatum(key_id), CStringGetTextDatum(user_id) };
	SPITupleTable *found;

	if (key_execute(psprintf("SELECT p.name, k.key_name FROM %s AS k JOIN %s AS p ON p.id = k.provider_id"
							 " WHERE k.id = $1 AND k.user_id = $2%s",
							 extension_table("user_api_keys"), extension_table("llm_providers"),
							 lock ? " FOR UPDATE OF k" : ""),
					2, types, values) == 0)
		return false;
	found = SPI_tuptable;
	*key = (StoredKey){
		.id = key_id,
		.provider = SPI_getvalue(found->vals[0], found->tupdesc, 1),
		.name = SPI_getvalue(found->vals[0], found->tupdesc, 2),
	};
	return true;
}

static void
require_key(const char *user_id, int64 key_id, bool lock, StoredKey *key)
{
	if (!find_key(user_id, key_id, lock, key))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("you have no key with id %lld", (long long) key_id),
				 errhint("SELECT * FROM llm_keys shows your keys.")));
}

/* The id of a key, which must not be NULL. */
static int64
key_id_argument(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the id of the key is NULL"),
				 errhint("SELECT * FROM llm_keys shows your keys.")));
	return PG_GETARG_INT64(0);
}

/*
 * Read provider and key of the arguments.  Whatever takes a user's key begins here:
 * it goes to no address that only an administrator chose.
 */
static void
read_user_key(FunctionCallInfo fcinfo, const char *provider, KeyArguments *arguments)
{
	key_arguments_read(fcinfo, 1, provider, arguments);
	key_argument_check(arguments);
	if (!arguments->provider->confirmed)
		ereport(ERROR,
				(errcode(ERRCODE_LLM_KEY),
				 errmsg("provider \"%s\" may not be sent keys of users yet", arguments->provider->name),
				 errdetail("Its address %s was not set or confirmed by the owner of the extension.",
						   arguments->provider->endpoint.base_url),
				 errhint("The owner or a superuser confirms it with SELECT llm_provider_confirm_keys('%s').",
						 arguments->provider->name)));
}

/* Ask the provider; a key that it refuses, or cannot be asked about, is an error. */
static void
validate_user_key(const CatalogProvider *provider, const char *api_key)
{
	KeyCheck check;
	bool	 is_role;

	if (!key_check_possible(provider))
		ereport(ERROR,
				(errcode(ERRCODE_LLM_ALL_FAILED),
				 errmsg("provider \"%s\" has no request that checks keys", provider->name),
				 errhint("Nothing was stored. Store it unchecked with validate => false; an administrator "
						 "can set check_path in llm_providers.")));
	key_check(provider, api_key, &check);
	if (check.verdict == KEY_REFUSED || check.verdict == KEY_NOT_PERMITTED)
		key_argument_refused(provider, &check, caller_user_id(&is_role));
	if (check.verdict == KEY_UNKNOWN)
		ereport(ERROR,
				(errcode(ERRCODE_LLM_ALL_FAILED),
				 errmsg("provider \"%s\" cannot be asked about the key now", provider->name),
				 errdetail_internal("%s", check.message),
				 errhint("Nothing was stored. Try again later, or store it unchecked with "
						 "validate => false.")));
}

/* Seal the key for its user and provider. */
static Datum
sealed_key(const KeyChange *change, const KeyArguments *arguments)
{
	LlmError error = { 0 };
	char	*token;

	if (!master_key_prepare(&error) ||
		!credential_seal(arguments->api_key, change->user_id, arguments->provider->origin, &token, &error))
		error_throw(&error);
	return CStringGetTextDatum(token);
}

/*
 * Bounds what one user can have the periodic checks ask about.  Sessions that add
 * keys at the same moment can pass it by their number, which does no harm.
 */
static void
require_room(const KeyChange *change)
{
	Oid	  type = TEXTOID;
	Datum value = CStringGetTextDatum(change->user_id);

	if (key_execute(psprintf("SELECT FROM %s WHERE user_id = $1", extension_table("user_api_keys")),
					1, &type, &value) >= MAX_USER_KEYS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("you have %d keys already, which is the most that a user can have", MAX_USER_KEYS),
				 errhint("Delete some with llm_key_delete; SELECT * FROM llm_keys shows them.")));
}

/* Store a key under a name that must be new. */
static int64
insert_key(const KeyChange *change, const KeyArguments *arguments, const char *name, bool checked)
{
	const CatalogProvider *provider = arguments->provider;
	Oid					   types[] = { TEXTOID, INT4OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, BOOLOID };
	Datum				   values[] = {
						 CStringGetTextDatum(change->user_id),
						 Int32GetDatum(provider->id),
						 sealed_key(change, arguments),
						 CStringGetTextDatum(provider->endpoint.base_url),
						 CStringGetTextDatum(credential_mask(arguments->api_key)),
						 CStringGetTextDatum(name),
						 BoolGetDatum(checked),
	};
	bool is_null;

	if (key_execute(psprintf("INSERT INTO %s (user_id, provider_id, encrypted_api_key, base_url, masked_key,"
							 " key_name, checked_at)"
							 " VALUES ($1, $2, $3, $4, $5, $6, CASE WHEN $7 THEN now() END)"
							 " ON CONFLICT (user_id, provider_id, key_name) DO NOTHING RETURNING id",
							 extension_table("user_api_keys")),
					lengthof(types), types, values) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNIQUE_VIOLATION),
				 errmsg("you have a key named \"%s\" for provider \"%s\" already", name, provider->name),
				 errhint("Give another key_name, or replace that key with llm_key_update.")));
	return DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &is_null));
}

/*
 * Names are shown, so an argument in the wrong place must not become one.  Where both
 * words look like names, nobody can tell.
 */
static char *
key_name_argument(FunctionCallInfo fcinfo, int number, const char *api_key)
{
	char *name = argument_string(fcinfo, number);

	if (name == NULL)
		return pstrdup("default");
	if (strcmp(name, api_key) == 0 || strcmp(redact_keys(pstrdup(name)), name) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the name of the key looks like an API key"),
				 errhint("The arguments are provider, api_key, key_name, validate.")));
	return name;
}

static int64
add_key(FunctionCallInfo fcinfo, KeyArguments *arguments)
{
	char	 *name;
	bool	  checked = argument_bool(fcinfo, 3, true);
	KeyChange change;
	StoredKey key;

	read_user_key(fcinfo, argument_string(fcinfo, 0), arguments);
	name = key_name_argument(fcinfo, 2, arguments->api_key);
	if (checked)
		validate_user_key(arguments->provider, arguments->api_key);

	key_change_begin(&change);
	require_room(&change);
	key = (StoredKey){ .provider = pstrdup(arguments->provider->name), .name = name };
	key.id = insert_key(&change, arguments, key.name, checked);
	audit_key(&change, "byok.key.add", &key, checked ? "" : ", \"validated\": false");
	key_change_end(&change);
	return key.id;
}

/*
 * llm_key_add(provider text, api_key text, key_name text, validate boolean)
 *		RETURNS bigint
 *
 * Stores a key of the user and returns its id.  22023 for a key that can be none,
 * for an unknown provider and for one key too many, 23505 for a name that is taken,
 * 23514 for a name that is none, LR005 when the provider refuses the key or its
 * address is not confirmed, LR002 when it cannot be asked, LR009 without the right
 * master key.
 */
Datum
llm_key_add(PG_FUNCTION_ARGS)
{
	KeyArguments   arguments = { 0 };
	volatile int64 id = 0;

	argument_require_preloaded();
	PreventCommandIfReadOnly("llm_key_add()");
	PG_TRY();
	{
		id = add_key(fcinfo, &arguments);
	}
	PG_FINALLY();
	{
		key_arguments_wipe(&arguments);
	}
	PG_END_TRY();
	PG_RETURN_INT64(id);
}

static void
put_test(ReturnSetInfo *result, const KeyCheck *check)
{
	Datum values[4] = { 0 };
	bool  nulls[4] = { false };

	nulls[0] = check->verdict == KEY_UNKNOWN;
	values[0] = BoolGetDatum(check->verdict == KEY_ACCEPTED);
	nulls[1] = check->http_status == 0;
	values[1] = Int32GetDatum(check->http_status);
	values[2] = CStringGetTextDatum(check->message ? check->message : "accepted");
	values[3] = Int32GetDatum((int32) check->response_time_ms);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/*
 * llm_key_test(provider text, api_key text) RETURNS TABLE(valid boolean,
 *		http_status integer, message text, response_time_ms integer)
 *
 * Asks the provider; stores nothing.  valid is NULL when the provider could not
 * be asked, and http_status when it did not answer.
 */
Datum
llm_key_test(PG_FUNCTION_ARGS)
{
	KeyArguments arguments = { 0 };
	KeyCheck	 check;

	argument_require_preloaded();
	InitMaterializedSRF(fcinfo, 0);
	PG_TRY();
	{
		read_user_key(fcinfo, argument_string(fcinfo, 0), &arguments);
		key_check(arguments.provider, arguments.api_key, &check);
	}
	PG_FINALLY();
	{
		key_arguments_wipe(&arguments);
	}
	PG_END_TRY();
	put_test((ReturnSetInfo *) fcinfo->resultinfo, &check);
	return (Datum) 0;
}

/* The provider of one of the user's keys; it may be slow to answer, so nothing is locked yet. */
static char *
provider_of_key(int64 key_id)
{
	MemoryContext outer = CurrentMemoryContext;
	KeyChange	  change;
	StoredKey	  key;
	char		 *provider;

	key_change_begin(&change);
	require_key(change.user_id, key_id, false, &key);
	provider = MemoryContextStrdup(outer, key.provider);
	key_change_end(&change);
	return provider;
}

/* A new key is not refused, and for the provider's address of today. */
static void
replace_key(const KeyArguments *arguments, int64 key_id, bool checked)
{
	KeyChange change;
	StoredKey key;
	Oid		  types[] = { INT8OID, TEXTOID, TEXTOID, TEXTOID, BOOLOID };
	Datum	  values[5];

	key_change_begin(&change);
	require_key(change.user_id, key_id, true, &key);
	values[0] = Int64GetDatum(key_id);
	values[1] = sealed_key(&change, arguments);
	values[2] = CStringGetTextDatum(arguments->provider->endpoint.base_url);
	values[3] = CStringGetTextDatum(credential_mask(arguments->api_key));
	values[4] = BoolGetDatum(checked);
	key_execute(psprintf("UPDATE %s SET (encrypted_api_key, base_url, masked_key, version, checked_at,"
						 " refused_at, refusal) = ($2, $3, $4, version + 1, CASE WHEN $5 THEN now() END,"
						 " NULL, NULL) WHERE id = $1",
						 extension_table("user_api_keys")),
				lengthof(types), types, values);
	audit_key(&change, "byok.key.update", &key, checked ? "" : ", \"validated\": false");
	key_change_end(&change);
}

/*
 * llm_key_update(key_id bigint, api_key text, validate boolean) RETURNS void
 *
 * Replaces a key of the user.  22023 for a key that is not the user's, else as
 * llm_key_add; the old key stays then.
 */
Datum
llm_key_update(PG_FUNCTION_ARGS)
{
	int64		 key_id;
	bool		 checked = argument_bool(fcinfo, 2, true);
	KeyArguments arguments = { 0 };

	argument_require_preloaded();
	PreventCommandIfReadOnly("llm_key_update()");
	key_id = key_id_argument(fcinfo);
	PG_TRY();
	{
		read_user_key(fcinfo, provider_of_key(key_id), &arguments);
		if (checked)
			validate_user_key(arguments.provider, arguments.api_key);
		replace_key(&arguments, key_id, checked);
	}
	PG_FINALLY();
	{
		key_arguments_wipe(&arguments);
	}
	PG_END_TRY();
	PG_RETURN_VOID();
}

/*
 * llm_key_set_active(key_id bigint, active boolean) RETURNS void
 *
 * Whether a key of the user is to be used; activating one that its provider
 * refused has it tried again.  22023 for a key that is not the user's.
 */
Datum
llm_key_set_active(PG_FUNCTION_ARGS)
{
	int64	  key_id;
	KeyChange change;
	StoredKey key;
	Oid		  types[] = { INT8OID, BOOLOID };
	Datum	  values[2];

	argument_require_preloaded();
	PreventCommandIfReadOnly("llm_key_set_active()");
	key_id = key_id_argument(fcinfo);
	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("active is NULL"),
				 errhint("Give true or false.")));
	values[0] = Int64GetDatum(key_id);
	values[1] = PG_GETARG_DATUM(1);
	key_change_begin(&change);
	require_key(change.user_id, key_id, true, &key);
	key_execute(psprintf("UPDATE %s SET (is_active, refused_at, refusal)"
						 " = ($2, CASE WHEN NOT $2 THEN refused_at END, CASE WHEN NOT $2 THEN refusal END)"
						 " WHERE id = $1",
						 extension_table("user_api_keys")),
				2, types, values);
	audit_key(&change, PG_GETARG_BOOL(1) ? "byok.key.activate" : "byok.key.deactivate", &key, "");
	key_change_end(&change);
	PG_RETURN_VOID();
}

/*
 * llm_key_delete(key_id bigint) RETURNS boolean
 *
 * Deletes a key of the user; false when the user has none of that id.
 */
Datum
llm_key_delete(PG_FUNCTION_ARGS)
{
	int64	  key_id;
	KeyChange change;
	StoredKey key;
	bool	  found;

	argument_require_preloaded();
	PreventCommandIfReadOnly("llm_key_delete()");
	key_id = key_id_argument(fcinfo);
	key_change_begin(&change);
	found = find_key(change.user_id, key_id, true, &key);
	if (found)
	{
		Oid	  type = INT8OID;
		Datum value = Int64GetDatum(key_id);

		key_execute(psprintf("DELETE FROM %s WHERE id = $1", extension_table("user_api_keys")), 1, &type,
					&value);
		audit_key(&change, "byok.key.delete", &key, "");
	}
	key_change_end(&change);
	PG_RETURN_BOOL(found);
}

/*
 * master_key.c
 *		Which master key this database's stored keys need.
 *
 * llm_install holds the fingerprint of the key that sealed them.  It tells a
 * missing master key (after pg_upgrade, a restored dump, a clone) from none yet:
 * sealing with another one then would hide the loss until the old keys are used.
 * A database without sealed keys may take any master key.
 */
#include "state/master_key.h"

#include "executor/spi.h"
#include "secrets/keyring.h"
#include "state/catalog.h"
#include "utils/builtins.h"

/* Order those who might store the first key, until the transaction ends. */
static void
lock_install(void)
{
	char *query = psprintf("SELECT FROM %s FOR NO KEY UPDATE", extension_table("llm_install"));

	if (SPI_execute(query, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not lock llm_install");
}

/*
 * The recorded fingerprint, or NULL, palloc'd; and whether the database holds
 * sealed keys.
 */
static char *
recorded_fingerprint(bool *has_keys)
{
	char	 *query = psprintf("SELECT master_key_fingerprint,"
								   " EXISTS (SELECT FROM %s) OR EXISTS (SELECT FROM %s) FROM %s",
							   extension_table("llm_provider_keys"),
							   extension_table("user_api_keys"),
							   extension_table("llm_install"));
	HeapTuple row;
	bool	  isnull;

	if (SPI_execute(query, false, 1) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "llm_install has no row");
	row = SPI_tuptable->vals[0];
	*has_keys = DatumGetBool(SPI_getbinval(row, SPI_tuptable->tupdesc, 2, &isnull));
	return SPI_getvalue(row, SPI_tuptable->tupdesc, 1);
}

void
master_key_record(void)
{
	char		 *query = psprintf("UPDATE %s SET master_key_fingerprint = $1"
										   " WHERE master_key_fingerprint IS DISTINCT FROM $1",
								   extension_table("llm_install"));
	KeyringStatus status;
	Oid			  type = TEXTOID;
	Datum		  value;

	keyring_status(&status);
	value = CStringGetTextDatum(status.fingerprint);
	if (SPI_execute_with_args(query, 1, &type, &value, NULL, false, 0) != SPI_OK_UPDATE)
		elog(ERROR, "could not record the master key's fingerprint");
}

char *
master_key_needed(void)
{
	bool  has_keys;
	char *recorded = recorded_fingerprint(&has_keys);

	return has_keys ? recorded : NULL;
}

bool
master_key_present(const char *needed, LlmError *error)
{
	if (keyring_has(needed))
		return keyring_usable(error);
	if (!keyring_usable(error))
		return false;
	error_set(error, ERRCODE_LLM_MASTER_KEY,
			  "the configured master keys are not those of this database");
	error_detail(error, "Its keys were sealed with the master key of fingerprint %s.", needed);
	return error_hint(error, "Bring that master key back and list it after the new one. If it is lost, "
							 "delete the rows of llm_provider_keys and user_api_keys, and store the "
							 "keys again.");
}

/* With the lock, since two might store the first key at once. */
static bool
prepare_first(LlmError *error)
{
	bool  has_keys;
	char *recorded;

	lock_install();
	recorded = recorded_fingerprint(&has_keys);
	if (has_keys)
		return recorded ? master_key_present(recorded, error) : keyring_usable(error);
	if (!keyring_generate(error))
		return false;
	master_key_record();
	return true;
}

bool
master_key_prepare(LlmError *error)
{
	char *needed = master_key_needed();

	return needed ? master_key_present(needed, error) : prepare_first(error);
}

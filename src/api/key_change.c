/*
 * key_change.c
 *		Changing the tables of keys, which nobody but the extension's owner may do.
 */
#include "api/key_change.h"

#include "executor/spi.h"
#include "miscadmin.h"
#include "secrets/credential.h"
#include "state/caller.h"

void
key_change_begin(KeyChange *change)
{
	bool is_role;

	change->actor = GetUserNameFromId(GetUserId(), false);
	change->user_id = caller_user_id(&is_role);
	owner_enter(&change->guard);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
}

void
key_change_end(KeyChange *change)
{
	SPI_finish();
	owner_leave(&change->guard);
	credential_forget();
}

uint64
key_execute(const char *query, int nargs, Oid *types, Datum *values)
{
	int result = SPI_execute_with_args(query, nargs, types, values, NULL, false, 0);

	if (result < 0)
		elog(ERROR, "SPI_execute_with_args failed: %s", SPI_result_code_string(result));
	return SPI_processed;
}

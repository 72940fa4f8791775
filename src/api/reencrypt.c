/*
 * reencrypt.c
 *		llm_keys_reencrypt: stored keys sealed again with a new master key, by a worker
 *		(workers/key_reencryption.c).
 */
#include "base/compat.h"

#include "api/arguments.h"
#include "base/errors.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "secrets/keyring.h"
#include "state/reencryption.h"
#include "tcop/utility.h"

PG_FUNCTION_INFO_V1(llm_keys_reencrypt);

/*
 * llm_keys_reencrypt() RETURNS bigint
 *
 * How many stored keys, of the platform and of users, were sealed again with the
 * first master key.  LR009 when one of them cannot be opened, 55P03 when some stay
 * locked by other transactions, LR010 without a worker; what was changed until then
 * stays changed, as it does after a cancel or ROLLBACK.
 */
Datum
llm_keys_reencrypt(PG_FUNCTION_ARGS)
{
	KeyringStatus keys;
	LlmError	  error = { 0 };
	int64		  changed;

	argument_require_preloaded();
	PreventCommandIfReadOnly("llm_keys_reencrypt()");

	/* master_key_command runs here, if it has to, where it can be cancelled. */
	keyring_status(&keys);
	if (!reencryption_run(GetUserNameFromId(GetUserId(), false), &changed, &error))
		error_throw(&error);
	PG_RETURN_INT64(changed);
}

/*
 * audit.c
 *		What the triggers of the audit log ask: for whom the session acts, and
 *		whether it restores a dump.
 */
#include "base/compat.h"

#include "base/settings.h"
#include "fmgr.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(llm_audit_user_id);
PG_FUNCTION_INFO_V1(llm_restore_session);

/*
 * llm_audit_user_id() RETURNS text
 *
 * llm_router.user_id, or NULL; without preloading always NULL, since anybody
 * could set a placeholder of that name.
 */
Datum
llm_audit_user_id(PG_FUNCTION_ARGS)
{
	if (!settings_preloaded || setting_user_id[0] == '\0')
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(setting_user_id));
}

/*
 * llm_restore_session(begins boolean) RETURNS boolean
 *
 * Whether this session restores a dump: true once it was called with true.  Not
 * undone by a ROLLBACK, as a restore that failed is of no other use.
 */
Datum
llm_restore_session(PG_FUNCTION_ARGS)
{
	static bool restoring;

	restoring |= PG_GETARG_BOOL(0);
	PG_RETURN_BOOL(restoring);
}

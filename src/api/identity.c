/*
 * identity.c
 *		llm_user_id and llm_set_user: who a session acts for.
 */
#include "base/compat.h"

#include "api/arguments.h"
#include "fmgr.h"
#include "state/caller.h"
#include "utils/builtins.h"
#include "utils/guc.h"

PG_FUNCTION_INFO_V1(llm_user_id);
PG_FUNCTION_INFO_V1(llm_set_user);

/*
 * llm_user_id() RETURNS text
 *
 * llm_router.user_id, else the current role's name.  LR010 when not preloaded.
 */
Datum
llm_user_id(PG_FUNCTION_ARGS)
{
	bool is_role;

	argument_require_preloaded();
	PG_RETURN_TEXT_P(cstring_to_text(caller_user_id(&is_role)));
}

/*
 * llm_set_user(user_id text) RETURNS void
 *
 * SET LOCAL llm_router.user_id, as a function, for those who can call one only.
 * NULL or '' is the role itself, whatever ALTER ROLE SET says.  42501 without
 * the privilege to set it, 22023 for a value that the setting refuses.
 */
Datum
llm_set_user(PG_FUNCTION_ARGS)
{
	char	*user_id = argument_string(fcinfo, 0);
	LlmError error = { 0 };

	argument_require_preloaded();
	if (!caller_may_act_for(user_id, "llm_set_user", &error))
		error_throw(&error);
	/* PGC_SUSET, because the privilege was checked just now. */
	(void) set_config_option("llm_router.user_id", user_id ? user_id : "", PGC_SUSET,
							 PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
	PG_RETURN_VOID();
}

/*
 * identity.c
 *		llm_user_id: who a session acts for.
 */
#include "base/compat.h"

#include "api/arguments.h"
#include "fmgr.h"
#include "state/caller.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(llm_user_id);

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

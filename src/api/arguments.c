/*
 * arguments.c
 *		What every SQL-callable function does with its arguments.
 */
#include "api/arguments.h"

#include "base/errors.h"
#include "base/settings.h"
#include "utils/builtins.h"

void
argument_require_preloaded(void)
{
	if (!settings_preloaded)
		ereport(ERROR,
				(errcode(ERRCODE_LLM_NOT_RUNNING),
				 errmsg("llm_router is not running in this server: it was not preloaded"),
				 errhint("Add llm_router to shared_preload_libraries in postgresql.conf, after all "
						 "other libraries, and restart the server.")));
}

char *
argument_string(FunctionCallInfo fcinfo, int number)
{
	return PG_ARGISNULL(number) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(number));
}

bool
argument_bool(FunctionCallInfo fcinfo, int number, bool otherwise)
{
	return PG_ARGISNULL(number) ? otherwise : PG_GETARG_BOOL(number);
}

Jsonb *
argument_jsonb(FunctionCallInfo fcinfo, int number)
{
	return PG_ARGISNULL(number) ? NULL : PG_GETARG_JSONB_P(number);
}

/*
 * keys_test.c
 *		How long it takes to look up a user's key, and to open one.
 */
#include "postgres.h"

#include "base/errors.h"
#include "fmgr.h"
#include "portability/instr_time.h"
#include "secrets/credential.h"
#include "state/users.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(test_key_open_microseconds);
PG_FUNCTION_INFO_V1(test_user_lookup_microseconds);

static double
microseconds_since(instr_time start)
{
	instr_time now;

	INSTR_TIME_SET_CURRENT(now);
	INSTR_TIME_SUBTRACT(now, start);
	return INSTR_TIME_GET_DOUBLE(now) * 1e6;
}

/*
 * test_key_open_microseconds(token text, user_id text, origin text, cold boolean,
 *		loops integer) RETURNS float8
 *
 * The mean time of opening a sealed key, decrypting it each time or from the cache.
 */
Datum
test_key_open_microseconds(PG_FUNCTION_ARGS)
{
	char	  *token = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	  *user_id = text_to_cstring(PG_GETARG_TEXT_PP(1));
	char	  *origin = text_to_cstring(PG_GETARG_TEXT_PP(2));
	bool	   cold = PG_GETARG_BOOL(3);
	int		   loops = PG_GETARG_INT32(4);
	LlmError   error = { 0 };
	instr_time start;

	INSTR_TIME_SET_CURRENT(start);
	for (int i = 0; i < loops; i++)
	{
		char *api_key;

		if (cold)
			credential_forget();
		api_key = credential_open(token, user_id, origin, &error);
		if (api_key == NULL)
			error_throw(&error);
		credential_wipe(api_key);
	}
	PG_RETURN_FLOAT8(microseconds_since(start) / loops);
}

/*
 * test_user_lookup_microseconds(prefix text, users integer, loops integer)
 *		RETURNS float8
 *
 * The mean time of looking up prefix1, prefix2, … in turn, with their keys.  More
 * users than the cache holds are read from the tables each time.
 */
Datum
test_user_lookup_microseconds(PG_FUNCTION_ARGS)
{
	char		 *prefix = text_to_cstring(PG_GETARG_TEXT_PP(0));
	int			  users = PG_GETARG_INT32(1);
	int			  loops = PG_GETARG_INT32(2);
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "look-ups", ALLOCSET_DEFAULT_SIZES);
	MemoryContext previous = MemoryContextSwitchTo(context);
	instr_time	  start;

	INSTR_TIME_SET_CURRENT(start);
	for (int i = 0; i < loops; i++)
	{
		UserRecord user;

		user_lookup(psprintf("%s%d", prefix, i % users + 1), &user);
		if (user.nkeys == 0)
			elog(ERROR, "user %s%d has no key", prefix, i % users + 1);
		MemoryContextReset(context);
	}
	MemoryContextSwitchTo(previous);
	PG_RETURN_FLOAT8(microseconds_since(start) / loops);
}

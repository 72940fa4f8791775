/*
 * redaction_test.c
 *		Hiding keys in texts (src/secrets/redaction_text.c) as SQL functions, for
 *		tests only.
 */
#include "postgres.h"

#include "fmgr.h"
#include "secrets/redaction_text.h"
#include "sql_tokens.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(test_hide_in_sql);
PG_FUNCTION_INFO_V1(test_hide_in_line);

/*
 * test_hide_in_sql(statement text, backslash_quotes boolean) returns text
 *
 * NULL when nothing is to be hidden.  An error when a token has changed its
 * place or its kind.
 */
Datum
test_hide_in_sql(PG_FUNCTION_ARGS)
{
	char *given = text_to_cstring(PG_GETARG_TEXT_PP(0));
	bool  backslash_quotes = PG_GETARG_BOOL(1);
	char *hidden = pstrdup(given);

	if (!redaction_needed(given))
		PG_RETURN_NULL();
	redaction_hide_in_sql(hidden, redaction_about_keys(given), backslash_quotes);
	if (strlen(hidden) != strlen(given))
		elog(ERROR, "the length has changed: %s", hidden);
	if (strcmp(sql_tokens(hidden, backslash_quotes), sql_tokens(given, backslash_quotes)) != 0)
		elog(ERROR, "a token has changed: %s", hidden);
	PG_RETURN_TEXT_P(cstring_to_text(hidden));
}

/*
 * test_hide_in_line(line text, about_keys boolean, cut boolean) returns text
 *
 * NULL when nothing is hidden; about_keys NULL: as the line says.
 */
Datum
test_hide_in_line(PG_FUNCTION_ARGS)
{
	char *given = text_to_cstring(PG_GETARG_TEXT_PP(0));
	bool  about_keys = PG_ARGISNULL(1) ? redaction_about_keys(given) : PG_GETARG_BOOL(1);
	char *hidden = pstrdup(given);

	if (redaction_hide_in_line(hidden, about_keys, PG_GETARG_BOOL(2)) != (strcmp(hidden, given) != 0))
		elog(ERROR, "the result is not what is said of it: %s", hidden);
	if (strlen(hidden) != strlen(given))
		elog(ERROR, "the length has changed: %s", hidden);
	if (strcmp(hidden, given) == 0)
		PG_RETURN_NULL();
	if (redaction_hide_in_line(hidden, about_keys, PG_GETARG_BOOL(2)))
		elog(ERROR, "hiding twice hides more: %s", hidden);
	PG_RETURN_TEXT_P(cstring_to_text(hidden));
}

/*
 * limits_test.c
 *		The arithmetic of budgets as SQL functions.
 */
#include "postgres.h"

#include "fmgr.h"
#include "routing/budget.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(test_budget_range);
PG_FUNCTION_INFO_V1(test_budget_admits);
PG_FUNCTION_INFO_V1(test_budget_share);

/* test_budget_range(period text, at timestamptz, zone text) RETURNS text: start and end in UTC, or "none" */
Datum
test_budget_range(PG_FUNCTION_ARGS)
{
	BudgetPeriod period;
	BudgetRange	 range;
	char		*start;

	if (!budget_period_from_name(text_to_cstring(PG_GETARG_TEXT_PP(0)), &period))
		elog(ERROR, "unknown period");
	if (!budget_range(period, PG_GETARG_TIMESTAMPTZ(1), pg_tzset(text_to_cstring(PG_GETARG_TEXT_PP(2))), &range))
		PG_RETURN_TEXT_P(cstring_to_text("none"));
	start = pstrdup(timestamptz_to_str(range.start));
	PG_RETURN_TEXT_P(cstring_to_text(psprintf("%s to %s", start, timestamptz_to_str(range.end))));
}

/* Three numbers: USD in units of Money, requests, tokens; -1 is no limit. */
static BudgetAmount
amount_from_array(ArrayType *array)
{
	int64 *values = (int64 *) ARR_DATA_PTR(array);

	Assert(ARR_DIMS(array)[0] == 3);
	return (BudgetAmount){ values[0], values[1], values[2] };
}

/* test_budget_admits(limit bigint[], used bigint[], asked bigint[]) RETURNS text */
Datum
test_budget_admits(PG_FUNCTION_ARGS)
{
	static const char *const names[] = { "admits", "usd", "requests", "tokens" };
	BudgetAmount			 limit = amount_from_array(PG_GETARG_ARRAYTYPE_P(0));
	BudgetAmount			 used = amount_from_array(PG_GETARG_ARRAYTYPE_P(1));
	BudgetAmount			 asked = amount_from_array(PG_GETARG_ARRAYTYPE_P(2));

	PG_RETURN_TEXT_P(cstring_to_text(names[budget_admits(&limit, &used, &asked)]));
}

/* test_budget_share(limit bigint[], used bigint[]) RETURNS integer */
Datum
test_budget_share(PG_FUNCTION_ARGS)
{
	BudgetAmount limit = amount_from_array(PG_GETARG_ARRAYTYPE_P(0));
	BudgetAmount used = amount_from_array(PG_GETARG_ARRAYTYPE_P(1));

	PG_RETURN_INT32(budget_used_share(&limit, &used));
}

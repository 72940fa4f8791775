/*
 * limits_test.c
 *		The arithmetic of budgets and rates as SQL functions, and the time that they
 *		take in shared memory.
 */
#include "postgres.h"

#include "fmgr.h"
#include "portability/instr_time.h"
#include "routing/budget.h"
#include "routing/rate.h"
#include "state/budgets.h"
#include "state/rates.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(test_budget_range);
PG_FUNCTION_INFO_V1(test_budget_admits);
PG_FUNCTION_INFO_V1(test_budget_share);
PG_FUNCTION_INFO_V1(test_rate);
PG_FUNCTION_INFO_V1(test_limits_microseconds);

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

/*
 * test_rate(requests bigint, tokens bigint, times bigint[], asked bigint[],
 *		used bigint[]) RETURNS text
 *
 * One window from the start: at each time, in ms, a request with so many tokens,
 * which are corrected to what was used before the next one.  "ok", or what is
 * in the way and after how many ms it would not be.
 */
Datum
test_rate(PG_FUNCTION_ARGS)
{
	RateLimit	   limit = { PG_GETARG_INT64(0), PG_GETARG_INT64(1) };
	RateWindow	   window = { 0 };
	ArrayType	  *times = PG_GETARG_ARRAYTYPE_P(2);
	const int64	  *time = (int64 *) ARR_DATA_PTR(times);
	const int64	  *asked = (int64 *) ARR_DATA_PTR(PG_GETARG_ARRAYTYPE_P(3));
	const int64	  *used = (int64 *) ARR_DATA_PTR(PG_GETARG_ARRAYTYPE_P(4));
	StringInfoData text;

	initStringInfo(&text);
	for (int i = 0; i < ARR_DIMS(times)[0]; i++)
	{
		int64		 slot;
		int64		 wait_ms;
		RateObstacle obstacle = rate_enter(&window, &limit, time[i], asked[i], &slot, &wait_ms);

		if (i > 0)
			appendStringInfoChar(&text, ' ');
		if (obstacle == RATE_ADMITS)
		{
			appendStringInfoString(&text, "ok");
			rate_correct(&window, slot, 0, used[i] - asked[i]);
		}
		else
			appendStringInfo(&text, "%s:%lld", obstacle == RATE_LACKS_TOKENS ? "tokens" : "requests",
							 (long long) wait_ms);
	}
	PG_RETURN_TEXT_P(cstring_to_text(text.data));
}

/* What a call does for four budgets and two rates, from the first check to the end. */
static void
check_limits(const CatalogBudget budgets[4], const BudgetSubject *subject)
{
	const RateLimit	   limit = { PG_INT32_MAX, PG_INT32_MAX };
	const BudgetAmount worst = { 1000, 1, 100 };
	const BudgetAmount used = { 10, 1, 10 };
	TimestampTz		   now = GetCurrentTimestamp();
	BudgetUse		   uses[4];
	RateUse			   rates[2] = { { 0 }, { 0 } };
	RateRefusal		   rate_refusal;
	BudgetRefusal	   refusal;
	LlmError		   error;

	if (!rate_enter_user(subject->user_id, &limit, 100, &rates[0], &rate_refusal) ||
		!rate_enter_provider(1, &limit, 100, &rates[1], &rate_refusal))
		elog(ERROR, "a rate was refused");
	for (int i = 0; i < 4; i++)
	{
		if (budget_use(&budgets[i], subject, now, now, &uses[i], &error) != BUDGET_READY)
			elog(ERROR, "a budget was not counted");
	}
	if (!budgets_reserve(uses, 4, &worst, &refusal))
		elog(ERROR, "a reservation was refused");
	budgets_settle(uses, 4, &worst, &used);
	budgets_let_go(uses, 4);
	rate_settle(&rates[0], true, 10);
	rate_settle(&rates[1], true, 10);
}

/* test_limits_microseconds(loops int) RETURNS float8: the mean time of check_limits */
Datum
test_limits_microseconds(PG_FUNCTION_ARGS)
{
	const BudgetAmount	limit = { (Money) PG_INT64_MAX, BUDGET_NO_LIMIT, BUDGET_NO_LIMIT };
	const BudgetSubject subject = { "somebody", "free", POWER_ECO };
	const CatalogBudget budgets[4] = {
		{ .id = -1, .scope = BUDGET_TOTAL, .period = BUDGET_MONTH, .limit = limit, .warn_at = -1 },
		{ .id = -2, .scope = BUDGET_TIER, .scope_value = "free", .period = BUDGET_WEEK, .limit = limit, .warn_at = -1 },
		{ .id = -3, .scope = BUDGET_EACH_USER, .period = BUDGET_DAY, .limit = limit, .warn_at = -1 },
		{ .id = -4, .scope = BUDGET_POWER_LEVEL, .scope_value = "eco", .limit = limit, .warn_at = -1 },
	};
	int		   loops = PG_GETARG_INT32(0);
	instr_time start;
	instr_time end;

	check_limits(budgets, &subject); /* counts them */
	INSTR_TIME_SET_CURRENT(start);
	for (int i = 0; i < loops; i++)
		check_limits(budgets, &subject);
	INSTR_TIME_SET_CURRENT(end);
	INSTR_TIME_SUBTRACT(end, start);
	PG_RETURN_FLOAT8((double) INSTR_TIME_GET_MICROSEC(end) / loops);
}

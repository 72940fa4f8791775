/*
 * budgets.c (api)
 *		llm_budget_counters(): what has been used of budgets, for llm_budget_status
 *		and llm_doctor.
 */
#include "base/compat.h"

#include "base/settings.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "routing/budget.h"
#include "state/budgets.h"
#include "state/catalog.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

PG_FUNCTION_INFO_V1(llm_budget_counters);

#define COUNTER_COLUMNS 10

/* How long to wait for the ledger's writer, or for who counts already. */
#define COUNT_TIMEOUT_MS 5000
#define COUNT_POLL_MS	 10

/* See that a budget is counted, if that can be had.  Those of each user are as calls need them. */
static void
count_budget(const CatalogBudget *budget)
{
	const BudgetSubject nobody = { 0 };
	TimestampTz			since = GetCurrentTimestamp();
	BudgetProgress		progress = BUDGET_WAIT;
	LlmError			ignored;

	while (budget->scope != BUDGET_EACH_USER && progress == BUDGET_WAIT &&
		   !TimestampDifferenceExceeds(since, GetCurrentTimestamp(), COUNT_TIMEOUT_MS))
	{
		BudgetUse use;

		progress = budget_use(budget, &nobody, GetCurrentTimestamp(), since, &use, &ignored);
		if (progress != BUDGET_REFUSED)
			budgets_let_go(&use, 1);
		if (progress != BUDGET_WAIT)
			break;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, COUNT_POLL_MS,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

/* The enabled budget that a counter belongs to, in the current period; or NULL. */
static const CatalogBudget *
budget_of(const Catalog *catalog, const BudgetCount *count)
{
	for (int i = 0; i < catalog->nbudgets; i++)
	{
		const CatalogBudget *budget = &catalog->budgets[i];

		if (budget->id == count->budget_id && budget->updated_at == count->updated_at)
		{
			BudgetRange range = budget_current_range(budget->period, GetCurrentTimestamp());

			return count->range.start == range.start ? budget : NULL;
		}
	}
	return NULL;
}

static void
put_count(ReturnSetInfo *result, const BudgetCount *count, const CatalogBudget *budget)
{
	Datum values[COUNTER_COLUMNS];
	bool  nulls[COUNTER_COLUMNS] = { false };
	int	  share = budget_used_share(&budget->limit, &count->used);

	values[0] = Int64GetDatum(count->budget_id);
	nulls[1] = count->value == NULL;
	if (!nulls[1])
		values[1] = CStringGetTextDatum(count->value);
	values[2] = TimestampTzGetDatum(count->range.start);
	values[3] = TimestampTzGetDatum(count->range.end);
	values[4] = NumericGetDatum(money_to_numeric(count->used.usd));
	values[5] = Int64GetDatum(count->used.requests);
	values[6] = Int64GetDatum(count->used.tokens);
	values[7] = NumericGetDatum(money_to_numeric(count->reserved.usd));
	values[8] = Int64GetDatum(count->reserved.tokens);
	values[9] = NumericGetDatum(int64_div_fast_to_numeric(share, 2));
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/*
 * llm_budget_counters() RETURNS TABLE(budget_id bigint, scope_value text,
 *		period_start timestamptz, period_end timestamptz, used_usd numeric,
 *		used_requests bigint, used_tokens bigint, reserved_usd numeric,
 *		reserved_tokens bigint, percent numeric)
 *
 * Of enabled budgets, in the current period.  No rows where llm_router is not
 * preloaded, and none of budgets that cannot be counted here (on a standby).
 */
Datum
llm_budget_counters(PG_FUNCTION_ARGS)
{
	const Catalog *catalog;
	BudgetCount	  *counts;
	int			   n;

	InitMaterializedSRF(fcinfo, 0);
	if (!settings_preloaded)
		return (Datum) 0;
	catalog = catalog_get();
	catalog_pin(catalog);
	PG_TRY();
	{
		for (int i = 0; i < catalog->nbudgets; i++)
			count_budget(&catalog->budgets[i]);
		counts = budgets_list(&n);
		for (int i = 0; i < n; i++)
		{
			const CatalogBudget *budget = budget_of(catalog, &counts[i]);

			if (budget)
				put_count((ReturnSetInfo *) fcinfo->resultinfo, &counts[i], budget);
		}
	}
	PG_FINALLY();
	{
		catalog_unpin(catalog);
	}
	PG_END_TRY();
	return (Datum) 0;
}

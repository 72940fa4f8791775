/*
 * budgets.h
 *		What has been used of each budget, in shared memory, exact for all
 *		sessions; and the reservations of calls under way.
 *
 * A counter belongs to a budget as it was last changed, to whose use it counts,
 * and to a calendar period.  It is made when it is first asked for, out of the
 * ledger, and may be dropped while no call uses it.
 *
 * Some functions are exported for the test module in test/modules/limits.
 */
#ifndef LLM_ROUTER_BUDGETS_H
#define LLM_ROUTER_BUDGETS_H

#include "base/errors.h"
#include "routing/budget.h"

/* A counter that a call uses: plain data, to be let go of once. */
typedef struct BudgetUse
{
	const CatalogBudget *budget; /* of a pinned catalog */
	const char			*value;	 /* whose use it counts, or NULL */
	BudgetRange			 range;
	int32				 number; /* of the counter */
} BudgetUse;

typedef enum BudgetProgress
{
	BUDGET_READY,
	BUDGET_WAIT,	/* ask again in a few milliseconds, with reserve_since as before */
	BUDGET_REFUSED, /* *error says why */
} BudgetProgress;

/*
 * Get hold of the counter of a budget for a subject, and see that it has been
 * counted.  Sets *use even with BUDGET_WAIT; with BUDGET_REFUSED there is none to
 * let go of.  Reads the ledger when it is the first to ask: needs a transaction,
 * and may throw.  since is when this call asked first.
 */
extern PGDLLEXPORT BudgetProgress budget_use(const CatalogBudget *budget,
											 const BudgetSubject *subject, TimestampTz now,
											 TimestampTz since, BudgetUse *use, LlmError *error);

/* Why a reservation is refused. */
typedef struct BudgetRefusal
{
	int			   use; /* of those asked */
	BudgetObstacle obstacle;
	BudgetAmount   used;
	BudgetAmount   reserved;
} BudgetRefusal;

/* Reserve so much of all of them, or of none. */
extern PGDLLEXPORT bool budgets_reserve(const BudgetUse *uses, int n, const BudgetAmount *amount,
										BudgetRefusal *refusal);

/* Exchange a reservation for what was used.  Never throws, never allocates. */
extern PGDLLEXPORT void budgets_settle(const BudgetUse *uses, int n, const BudgetAmount *reserved,
									   const BudgetAmount *used);

/* Let go of counters.  Never throws, never allocates. */
extern PGDLLEXPORT void budgets_let_go(const BudgetUse *uses, int n);

/*
 * Whether the budget's warn_at has been reached, and nobody has been told in this
 * period: then the caller tells, and nobody else.  Sets *share, in hundredths of a
 * percent of the limit.
 */
extern bool budget_should_warn(const BudgetUse *use, int *share);

/* The calendar period around a time, in llm_router.budget_timezone. */
extern BudgetRange budget_current_range(BudgetPeriod period, TimestampTz now);

/* A counter as llm_budget_status shows it. */
typedef struct BudgetCount
{
	int64		 budget_id;
	TimestampTz	 updated_at;
	BudgetRange	 range;
	BudgetAmount used;
	BudgetAmount reserved;
	char		*value; /* or NULL */
} BudgetCount;

/* All of this database that have been counted; palloc'd. */
extern BudgetCount *budgets_list(int *n);

/* Shared memory; called once by _PG_init while preloading. */
extern void budgets_init(void);

#endif /* LLM_ROUTER_BUDGETS_H */

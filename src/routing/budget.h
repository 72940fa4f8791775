/*
 * budget.h
 *		Which budgets bear on a request, in which period, and what they admit.
 *
 * Pure.  The counting is state/budgets.c's; the rules are in doc/budgets.md.
 */
#ifndef LLM_ROUTER_BUDGET_H
#define LLM_ROUTER_BUDGET_H

#include "routing/catalog.h"

#include "pgtime.h"

extern bool		   budget_scope_from_name(const char *name, BudgetScope *scope);
extern bool		   budget_period_from_name(const char *name, BudgetPeriod *period);
extern const char *budget_scope_name(BudgetScope scope);
extern const char *budget_period_name(BudgetPeriod period);

/* What a request is, to budgets. */
typedef struct BudgetSubject
{
	const char *user_id;
	const char *tier;
	PowerLevel	power_level;
} BudgetSubject;

extern bool budget_applies(const CatalogBudget *budget, const BudgetSubject *subject);

/*
 * Whose use the budget counts for this subject: the user of each_user, else its
 * own scope_value; NULL for total.
 */
extern const char *budget_counted_value(const CatalogBudget *budget, const BudgetSubject *subject);

/* From start up to, not including, end. */
typedef struct BudgetRange
{
	TimestampTz start;
	TimestampTz end;
} BudgetRange;

/*
 * The calendar period around a time in a time zone; weeks begin on Monday.  False
 * for a time that no calendar has.
 */
extern bool budget_range(BudgetPeriod period, TimestampTz now, pg_tz *zone, BudgetRange *range);

/* What of a budget is in the way. */
typedef enum BudgetObstacle
{
	BUDGET_ADMITS,
	BUDGET_LACKS_USD,
	BUDGET_LACKS_REQUESTS,
	BUDGET_LACKS_TOKENS
} BudgetObstacle;

/*
 * Whether there is room for so much more; "used" includes what is reserved.  What
 * costs nothing fits even a limit that a large answer has gone beyond.
 */
extern BudgetObstacle budget_admits(const BudgetAmount *limit, const BudgetAmount *used,
									const BudgetAmount *asked);

/* Used of the limit that is nearest to its end, in hundredths of a percent. */
extern int budget_used_share(const BudgetAmount *limit, const BudgetAmount *used);

static inline void
budget_add(BudgetAmount *amount, const BudgetAmount *more)
{
	amount->usd += more->usd;
	amount->requests += more->requests;
	amount->tokens += more->tokens;
}

static inline void
budget_subtract(BudgetAmount *amount, const BudgetAmount *less)
{
	amount->usd -= less->usd;
	amount->requests -= less->requests;
	amount->tokens -= less->tokens;
}

#endif /* LLM_ROUTER_BUDGET_H */

/*
 * budget.c
 *		Which budgets bear on a request, in which period, and what they admit.
 */
#include "routing/budget.h"

#include "utils/datetime.h"

#define DAYS_PER_WEEK 7

static const char *const scope_names[] = {
	[BUDGET_TOTAL] = "total",
	[BUDGET_TIER] = "tier",
	[BUDGET_USER] = "user",
	[BUDGET_EACH_USER] = "each_user",
	[BUDGET_POWER_LEVEL] = "power_level",
};

static const char *const period_names[] = {
	[BUDGET_DAY] = "day",
	[BUDGET_WEEK] = "week",
	[BUDGET_MONTH] = "month",
};

const char *
budget_scope_name(BudgetScope scope)
{
	return scope_names[scope];
}

const char *
budget_period_name(BudgetPeriod period)
{
	return period_names[period];
}

bool
budget_scope_from_name(const char *name, BudgetScope *scope)
{
	for (int i = 0; i < (int) lengthof(scope_names); i++)
	{
		*scope = (BudgetScope) i;
		if (strcmp(name, scope_names[i]) == 0)
			return true;
	}
	return false;
}

bool
budget_period_from_name(const char *name, BudgetPeriod *period)
{
	for (int i = 0; i < (int) lengthof(period_names); i++)
	{
		*period = (BudgetPeriod) i;
		if (strcmp(name, period_names[i]) == 0)
			return true;
	}
	return false;
}

bool
budget_applies(const CatalogBudget *budget, const BudgetSubject *subject)
{
	switch (budget->scope)
	{
		case BUDGET_TOTAL:
			return true;
		case BUDGET_TIER:
			return strcmp(budget->scope_value, subject->tier) == 0;
		case BUDGET_USER:
			return strcmp(budget->scope_value, subject->user_id) == 0;
		case BUDGET_EACH_USER:
			return budget->scope_value == NULL || strcmp(budget->scope_value, subject->tier) == 0;
		case BUDGET_POWER_LEVEL:
			return strcmp(budget->scope_value, power_level_name(subject->power_level)) == 0;
	}
	pg_unreachable();
}

const char *
budget_counted_value(const CatalogBudget *budget, const BudgetSubject *subject)
{
	return budget->scope == BUDGET_EACH_USER ? subject->user_id : budget->scope_value;
}

/* When a day, by its Julian number, begins in a time zone. */
static TimestampTz
start_of_day(int julian_day, pg_tz *zone)
{
	struct pg_tm tm = { 0 };
	int			 offset; /* seconds west of UTC */

	j2date(julian_day, &tm.tm_year, &tm.tm_mon, &tm.tm_mday);
	offset = DetermineTimeZoneOffset(&tm, zone);
	return (julian_day - POSTGRES_EPOCH_JDATE) * USECS_PER_DAY + offset * USECS_PER_SEC;
}

/* The Julian numbers of the first day of a period and of the next one. */
static void
days_of_period(BudgetPeriod period, int year, int month, int day, int *first, int *next)
{
	int today = date2j(year, month, day);

	switch (period)
	{
		case BUDGET_DAY:
			*first = today;
			*next = today + 1;
			break;
		case BUDGET_WEEK:
			*first = today - (j2day(today) + DAYS_PER_WEEK - 1) % DAYS_PER_WEEK;
			*next = *first + DAYS_PER_WEEK;
			break;
		case BUDGET_MONTH:
			*first = date2j(year, month, 1);
			*next = month < MONTHS_PER_YEAR ? date2j(year, month + 1, 1) : date2j(year + 1, 1, 1);
			break;
	}
}

bool
budget_range(BudgetPeriod period, TimestampTz now, pg_tz *zone, BudgetRange *range)
{
	/* Rounded down, whatever the sign. */
	pg_time_t seconds = (now - now % USECS_PER_SEC) / USECS_PER_SEC - (now % USECS_PER_SEC < 0) +
						(pg_time_t) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY;
	const struct pg_tm *local = pg_localtime(&seconds, zone);
	int					first = 0;
	int					next = 0;

	if (TIMESTAMP_NOT_FINITE(now) || local == NULL)
		return false;
	days_of_period(period, local->tm_year + 1900, local->tm_mon + 1, local->tm_mday, &first, &next);
	range->start = start_of_day(first, zone);
	range->end = start_of_day(next, zone);
	return true;
}

/* Money is wide enough for the other amounts too. */
static bool
fits(Money limit, Money used, Money asked)
{
	return limit == BUDGET_NO_LIMIT || asked == 0 || used + asked <= limit;
}

BudgetObstacle
budget_admits(const BudgetAmount *limit, const BudgetAmount *used, const BudgetAmount *asked)
{
	if (!fits(limit->usd, used->usd, asked->usd))
		return BUDGET_LACKS_USD;
	if (!fits(limit->requests, used->requests, asked->requests))
		return BUDGET_LACKS_REQUESTS;
	if (!fits(limit->tokens, used->tokens, asked->tokens))
		return BUDGET_LACKS_TOKENS;
	return BUDGET_ADMITS;
}

/* A limit of nothing is used up from the start. */
static int
share(Money limit, Money used)
{
	if (limit == BUDGET_NO_LIMIT)
		return 0;
	if (limit == 0)
		return 10000;
	return (int) Min(used * 10000 / limit, (Money) PG_INT32_MAX);
}

int
budget_used_share(const BudgetAmount *limit, const BudgetAmount *used)
{
	return Max(share(limit->usd, used->usd),
			   Max(share(limit->requests, used->requests), share(limit->tokens, used->tokens)));
}

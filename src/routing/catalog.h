/*
 * catalog.h
 *		The configuration as routing sees it: providers, models, rules, tiers,
 *		budgets.
 *
 * An immutable snapshot in one memory context, loaded by state/catalog.c and
 * built by hand in tests.  Routing reads nothing else.
 */
#ifndef LLM_ROUTER_ROUTING_CATALOG_H
#define LLM_ROUTER_ROUTING_CATALOG_H

#include "postgres.h"

#include "chat/usage.h"
#include "datatype/timestamp.h"
#include "providers/provider.h"
#include "routing/rate.h"
#include "utils/date.h"

typedef enum PowerLevel
{
	POWER_ECO,
	POWER_BALANCED,
	POWER_PRECISION
} PowerLevel;

#define POWER_LEVEL_COUNT (POWER_PRECISION + 1)

/* An ability that may be unknown; unknown does not exclude. */
typedef enum Ability
{
	ABILITY_UNKNOWN,
	ABILITY_NO,
	ABILITY_YES
} Ability;

typedef struct CatalogProvider
{
	int32			 id;
	const char		*name;
	bool			 enabled;
	const ApiFormat *format; /* NULL: this version has no adapter for it */
	const char		*format_name;
	ProviderEndpoint endpoint;
	RateLimit		 rate;			/* of requests with the platform's key */
	const char		*origin;		/* provider_origin(base_url) */
	bool			 confirmed;		/* base_url is where the owner lets users' keys go */
	const char		*encrypted_key; /* the platform key's token; NULL: none, or for another base_url */
} CatalogProvider;

typedef struct CatalogModel
{
	int32				   id;
	const CatalogProvider *provider;
	const char			  *name;
	PowerLevel			   power_level;
	bool				   enabled;
	PriceList			   prices;
	int64				   context_window;	  /* tokens; 0: unknown */
	int64				   max_output_tokens; /* 0: unknown */
	Ability				   tools;
	Ability				   vision;
	Ability				   json_schema;
	DateADT				   retires_on; /* DATEVAL_NOEND: not announced */
} CatalogModel;

typedef struct CatalogTier
{
	const char *name;
	bool		power_levels[POWER_LEVEL_COUNT];
	RateLimit	rate; /* of each user */
} CatalogTier;

typedef struct CatalogRule
{
	int					priority;
	const CatalogModel *model;
	const CatalogModel *fallback; /* or NULL */
} CatalogRule;

typedef enum BudgetScope
{
	BUDGET_TOTAL,
	BUDGET_TIER,
	BUDGET_USER,
	BUDGET_EACH_USER,
	BUDGET_POWER_LEVEL
} BudgetScope;

typedef enum BudgetPeriod
{
	BUDGET_DAY,
	BUDGET_WEEK,
	BUDGET_MONTH
} BudgetPeriod;

/* What a budget counts. */
typedef struct BudgetAmount
{
	Money usd;
	int64 requests;
	int64 tokens; /* of prompts and answers */
} BudgetAmount;

#define BUDGET_NO_LIMIT (-1) /* in a limit: does not limit this */

typedef struct CatalogBudget
{
	int64		 id;
	TimestampTz	 updated_at; /* one that was changed is counted anew */
	BudgetScope	 scope;
	const char	*scope_value; /* or NULL; see llm_budgets */
	BudgetPeriod period;
	BudgetAmount limit;
	bool		 downgrades; /* else it blocks */
	int			 warn_at;	 /* in hundredths of a percent; -1: never */
} CatalogBudget;

typedef struct Catalog
{
	MemoryContext	 context; /* all of it */
	CatalogProvider *providers;
	int				 nproviders;

	/*
	 * By level, then by price (of an input and an output token together, unknown
	 * last), then by provider and name.  Those of a level are
	 * models[level_start[level]] up to, not including, level_start[level + 1].
	 */
	CatalogModel *models;
	int			  nmodels;
	int			  level_start[POWER_LEVEL_COUNT + 1];

	CatalogTier *tiers;
	int			 ntiers;

	/* rules[tier * POWER_LEVEL_COUNT + level], by priority */
	struct CatalogRuleList
	{
		CatalogRule *rules;
		int			 nrules;
	} * rules;

	CatalogBudget *budgets; /* the enabled ones, by id */
	int			   nbudgets;
} Catalog;

extern const char *power_level_name(PowerLevel level);
extern bool		   power_level_from_name(const char *name, PowerLevel *level);

/* By name, or NULL. */
extern const CatalogProvider *catalog_provider(const Catalog *catalog, const char *name);
extern const CatalogTier	 *catalog_tier(const Catalog *catalog, const char *name);

#endif /* LLM_ROUTER_ROUTING_CATALOG_H */

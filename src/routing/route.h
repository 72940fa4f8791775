/*
 * route.h
 *		Which models may serve a request, in which order, and why.
 *
 * Pure: catalog + request + who asks + today -> plan.
 */
#ifndef LLM_ROUTER_ROUTE_H
#define LLM_ROUTER_ROUTE_H

#include "base/errors.h"
#include "chat/request.h"
#include "nodes/bitmapset.h"
#include "routing/catalog.h"

/* Who asks, and the settings that bear on the plan. */
typedef struct RouteCaller
{
	const char *user_id;		/* for messages */
	const char *tier;
	const char *user_default_level; /* of llm_users, or NULL */
	const char *setting_default_level;	/* llm_router.default_power_level */
	FallbackScope fallback_scope;	/* llm_router.fallback_scope */
	const Bitmapset *user_key_providers;	/* ids with an active key of the user */
	DateADT		today;
} RouteCaller;

typedef struct PlanEntry
{
	const CatalogModel *model;
	bool		used_byok;
	bool		eligible;
	const char *reason;			/* of its place, or of its exclusion */

	/*
	 * Upper bound of the cost: the estimated prompt at the input price plus the
	 * largest answer at the output price; MONEY_UNKNOWN when a price is.
	 */
	Money		estimated_cost;
	bool		lacks_key;		/* excluded only because there is no key */
} PlanEntry;

typedef struct Plan
{
	PowerLevel	power_level;	/* the one that applies; of a named model its own */
	PlanEntry  *entries;		/* eligible ones first, in order; excluded ones after */
	int			nentries;
	int			neligible;
} Plan;

/*
 * Make the plan.  power_level and model are the caller's arguments or NULL (a
 * model in the request object counts when the argument is NULL).  False with
 * 22023 for an unknown level, model, tier or provider (naming the valid ones)
 * and LR008 for a level, asked for by name, that the tier does not include.  A
 * plan without an eligible entry is a success: see route_nothing_eligible.
 */
extern bool route_plan(const Catalog *catalog, const ChatRequest *request,
					   const char *power_level, const char *model,
					   const RouteCaller *caller, Plan *plan, LlmError *error);

/*
 * Explain a plan without an eligible entry: LR005 with the exact
 * llm_provider_set_key call when only keys are missing, else LR001, with the
 * reason of each candidate in DETAIL.  Always returns false.
 */
extern bool route_nothing_eligible(const Plan *plan, LlmError *error);

#endif							/* LLM_ROUTER_ROUTE_H */

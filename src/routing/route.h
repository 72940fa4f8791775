/*
 * route.h
 *		Which models may serve a request, in which order, and why.
 *
 * Pure: catalog + request + who asks + today -> plan.  The rules are written
 * down in doc/routing.md.
 */
#ifndef LLM_ROUTER_ROUTE_H
#define LLM_ROUTER_ROUTE_H

#include "base/errors.h"
#include "chat/request.h"
#include "datatype/timestamp.h"
#include "routing/catalog.h"
#include "routing/circuit.h"

/* What is known of a candidate's health; all zero: nothing against it. */
typedef struct CandidateHealth
{
	CircuitState circuit; /* the worst of its model's, its provider's and its account's */
	int64		 left_ms; /* CIRCUIT_OPEN: how much longer */
	bool		 asked;	  /* ... because its provider asked for a pause */
	int32		 failures;
	TimestampTz	 down_since; /* of its provider, as health checks found; 0: it is not down */
} CandidateHealth;

/* Whether there is something against it now: it goes behind those that are well. */
static inline bool
health_is_bad(const CandidateHealth *health)
{
	return health->circuit == CIRCUIT_OPEN || health->circuit == CIRCUIT_PROBED ||
		   health->down_since != 0;
}

/* Fill *health for a model with a user's key or the platform's. */
typedef void (*LookAtHealth)(const CatalogModel *model, bool used_byok, CandidateHealth *health);

/* A key that the user brought, which may be used now. */
typedef struct UserKey
{
	int64		id;
	int32		provider_id;
	int32		version;  /* another one is another key */
	const char *token;	  /* sealed for the user and the provider's origin */
	const char *base_url; /* for which it was stored: used while the provider's is the same */
} UserKey;

/* Who asks, and the settings that bear on the plan. */
typedef struct RouteCaller
{
	const char	  *user_id; /* for messages */
	const char	  *tier;
	const char	  *user_default_level;	  /* of llm_users, or NULL */
	const char	  *setting_default_level; /* llm_router.default_power_level */
	FallbackScope  fallback_scope;		  /* llm_router.fallback_scope */
	ByokMode	   byok;				  /* where the request does not say; never BYOK_UNSET */
	const UserKey *user_keys;			  /* of several for a provider the first one counts */
	int			   nuser_keys;
	LookAtHealth   look_at_health; /* NULL: everybody is well */
	DateADT		   today;
	RateLimit	   rate; /* the user's own; what it does not limit, the tier's does */
} RouteCaller;

/*
 * Why a candidate stands where it stands, or why it is excluded.  A code, since
 * a plan has hundreds of entries and is explained only when somebody asks.
 */
typedef enum PlanReason
{
	REASON_RULE_PRIMARY,
	REASON_RULE_FALLBACK,
	REASON_USER_KEY, /* no rule names it; the user's key brings it in */
	REASON_LEVEL,	 /* no rule names it; it has the level */
	REASON_NAMED,	 /* the caller named it */

	EXCLUDED_PROVIDER_DISABLED,
	EXCLUDED_MODEL_DISABLED,
	EXCLUDED_RETIRED,
	EXCLUDED_NO_ADAPTER,
	EXCLUDED_TIER, /* only for a named model: the tier lacks its level */
	EXCLUDED_TOOLS,
	EXCLUDED_VISION,
	EXCLUDED_JSON_SCHEMA,
	EXCLUDED_OUTPUT_LIMIT,
	EXCLUDED_CONTEXT_WINDOW,
	EXCLUDED_NOT_USER_KEY, /* byok is only, and the user has no key there */
	EXCLUDED_NO_KEY,	   /* all would be well, but there is no platform key */
	EXCLUDED_DOWN		   /* its provider is down, and another candidate is well */
} PlanReason;

typedef struct PlanEntry
{
	const CatalogModel *model;
	PlanReason			reason;
	int					rule; /* priority of the rule that names it; 0: none does */
	bool				used_byok;
	const UserKey	   *user_key; /* with used_byok; else NULL */
	bool				eligible;
	CandidateHealth		health;		 /* of an eligible one, and of EXCLUDED_DOWN */
	bool				passed_over; /* its key was refused in this call: see retry_decide */

	/*
	 * Upper bound of the cost: the estimated prompt at the dearest price that
	 * may apply to input, plus the largest answer at the output price, for each
	 * choice.  MONEY_UNKNOWN when a price is.
	 */
	Money estimated_cost;
	int64 estimated_tokens; /* of the prompt and those answers */
} PlanEntry;

typedef struct RoutePlan
{
	PowerLevel	power_level; /* the one that applies; of a named model its own */
	const char *tier;
	int64		input_tokens;	   /* as estimated */
	int64		max_output_tokens; /* as the request says; 0: it does not */
	PlanEntry  *entries;		   /* eligible ones first, in order; excluded ones after */
	int			nentries;
	int			neligible;
} RoutePlan;

/*
 * The estimates of an entry of this model, where an answer to a request that says
 * no limit is held to so many tokens (0: to the model's own).
 */
extern void route_estimate(PlanEntry *entry, const ChatRequest *request, int64 output_cap);

/* The largest answer to ask of a model for a request that says no limit; 0: any. */
extern int64 route_output_limit(const CatalogModel *model, int64 output_cap);

/* The next level below a plan's that its tier includes; false when there is none. */
extern bool route_lower_level(const Catalog *catalog, const RoutePlan *plan, PowerLevel *lower);

/* The largest answer that is assumed where neither request nor model has a limit. */
#define ROUTE_DEFAULT_OUTPUT_TOKENS 4096

/*
 * Make the plan.  power_level and model are the caller's arguments or NULL (a
 * model in the request object counts when the argument is NULL).  False with
 * 22023 for an unknown level, model or tier (naming the valid ones) and LR008
 * for a level, asked for by name, that the tier does not include.  A plan
 * without an eligible entry is a success: see route_nothing_eligible.
 *
 * The plan is palloc'd and points into the catalog.
 */
extern bool route_plan(const Catalog *catalog, const ChatRequest *request,
					   const char *power_level, const char *model,
					   const RouteCaller *caller, RoutePlan *plan, LlmError *error);

/* The reason of an entry in plain words, palloc'd. */
extern char *route_reason(const RoutePlan *plan, const PlanEntry *entry);

/*
 * Explain a plan without an eligible entry: LR005 with the exact
 * llm_provider_set_key call when a key is all that is missing, else LR001; with
 * the reason of each candidate in DETAIL.  Always returns false.
 */
extern bool route_nothing_eligible(const RoutePlan *plan, LlmError *error);

#endif /* LLM_ROUTER_ROUTE_H */

/*
 * route.c
 *		Which models may serve a request, in which order.
 *
 * The plan is made in one walk over the rules of the caller's tier and level
 * (and, where they may stand in, over the models of the level), first for keys
 * of the user, then for the platform's.  What has been placed is a mark per
 * model, so the work is linear in rules and models.  Nothing is formatted
 * here: a plan of hundreds of candidates takes a few microseconds.
 *
 * Invariants of a plan:
 * - A model has at most one entry with the user's key and at most one with the
 *	 platform's, each at its best place.
 * - Eligible entries come first, in the order to try them.
 * - An exclusion names the first thing in the way; "no key" is looked at last,
 *	 so that it means: with a key this model would do.
 * - Health only changes the order of candidates, and leaves those out whose
 *	 provider is down while another one is well: it never empties a plan.
 *
 * The words for all this are in explain.c.
 */
#include "routing/route.h"

#include "routing/explain.h"
#include "utils/memutils.h"

/* Marks of a model: where it has an entry already. */
#define PLACED_USER_KEY		0x01
#define PLACED_PLATFORM_KEY 0x02

typedef struct Planner
{
	const Catalog	  *catalog;
	const ChatRequest *request;
	const RouteCaller *caller;
	const CatalogTier *tier;
	ByokMode		   byok;
	const UserKey	 **user_keys; /* by place in catalog->providers; NULL: none */
	uint8			  *placed;	  /* by place in catalog->models */
	RoutePlan		  *plan;
	PlanEntry		  *excluded; /* moved behind the eligible ones at the end */
	int				   nexcluded;
} Planner;

/* A set of models for the planner, in order. */
typedef struct NamedModels
{
	const CatalogModel **models;
	int					 nmodels;
} NamedModels;

/* ------------------------------------------------------------------------
 * One candidate
 * ------------------------------------------------------------------------
 */

static const UserKey *
user_key_of(const Planner *planner, const CatalogProvider *provider)
{
	return planner->user_keys[provider - planner->catalog->providers];
}

static bool
has_platform_key(const CatalogProvider *provider)
{
	return provider->endpoint.auth_type == AUTH_NONE || provider->encrypted_key != NULL;
}

/* What keeps a model from serving the request whatever the key; else "place". */
static PlanReason
model_reason(const Planner *planner, const CatalogModel *model, PlanReason place)
{
	const ChatRequest *request = planner->request;

	if (!model->provider->enabled)
		return EXCLUDED_PROVIDER_DISABLED;
	if (!model->enabled)
		return EXCLUDED_MODEL_DISABLED;
	if (model->retires_on <= planner->caller->today)
		return EXCLUDED_RETIRED;
	if (model->provider->format == NULL)
		return EXCLUDED_NO_ADAPTER;
	if (place == REASON_NAMED && !planner->tier->power_levels[model->power_level])
		return EXCLUDED_TIER;
	if (request->needs_tools && model->tools == ABILITY_NO)
		return EXCLUDED_TOOLS;
	if (request->needs_vision && model->vision == ABILITY_NO)
		return EXCLUDED_VISION;
	if (request->needs_json_schema && model->json_schema == ABILITY_NO)
		return EXCLUDED_JSON_SCHEMA;
	if (model->max_output_tokens > 0 &&
		request->max_output_tokens > model->max_output_tokens)
		return EXCLUDED_OUTPUT_LIMIT;
	if (model->context_window > 0 &&
		request->input_tokens + request->max_output_tokens > model->context_window)
		return EXCLUDED_CONTEXT_WINDOW;
	return place;
}

/*
 * A prompt of the estimated length may be charged as read from or written to
 * the provider's cache, and, being an estimate from above, at the short prices
 * too.  An unknown price is below every other.
 */
static Money
estimate_cost(const CatalogModel *model, const ChatRequest *request, int64 answers)
{
	UnitPrices prices = prices_for_prompt(&model->prices, request->input_tokens);
	Price	   input = Max(prices.input, model->prices.input);
	Price	   output = Max(prices.output, model->prices.output);

	if (prices.input == PRICE_UNKNOWN || prices.output == PRICE_UNKNOWN)
		return MONEY_UNKNOWN;
	input = Max(input, Max(prices.cache_write, prices.cached_input));
	return (Money) input * request->input_tokens + (Money) output * answers;
}

int64
route_output_limit(const CatalogModel *model, int64 output_cap)
{
	if (output_cap == 0 || model->max_output_tokens == 0)
		return output_cap;
	return Min(output_cap, model->max_output_tokens);
}

void
route_estimate(PlanEntry *entry, const ChatRequest *request, int64 output_cap)
{
	const CatalogModel *model = entry->model;
	int64				answer = ROUTE_DEFAULT_OUTPUT_TOKENS;

	if (request->max_output_tokens > 0)
		answer = request->max_output_tokens;
	else if (output_cap > 0)
		answer = route_output_limit(model, output_cap);
	else if (model->max_output_tokens > 0)
		answer = model->max_output_tokens;
	entry->estimated_cost = estimate_cost(model, request, answer * request->choices);
	entry->estimated_tokens = request->input_tokens + answer * request->choices;
}

static void
add_entry(Planner *planner, const CatalogModel *model, PlanReason reason, int rule,
		  const UserKey *user_key)
{
	bool	   eligible = reason < EXCLUDED_PROVIDER_DISABLED;
	PlanEntry *entry = eligible ? &planner->plan->entries[planner->plan->neligible++]
								: &planner->excluded[planner->nexcluded++];

	entry->model = model;
	entry->reason = reason;
	entry->rule = rule;
	entry->used_byok = user_key != NULL;
	entry->user_key = user_key;
	entry->eligible = eligible;
	memset(&entry->health, 0, sizeof(entry->health));
	if (eligible && planner->caller->look_at_health)
		planner->caller->look_at_health(model, entry->used_byok, &entry->health);
	entry->passed_over = false;
	route_estimate(entry, planner->request, 0);
}

/* Place a model with the user's key, if there is one for it. */
static void
place_with_user_key(Planner *planner, const CatalogModel *model, PlanReason place,
					int rule)
{
	uint8		  *placed = &planner->placed[model - planner->catalog->models];
	const UserKey *user_key = user_key_of(planner, model->provider);

	if ((*placed & PLACED_USER_KEY) || user_key == NULL)
		return;
	*placed |= PLACED_USER_KEY;
	add_entry(planner, model, model_reason(planner, model, place), rule, user_key);
}

/*
 * Place a model with the platform's key.  One that has an entry with the user's
 * key gets a second one only if that can be used.
 */
static void
place_with_platform_key(Planner *planner, const CatalogModel *model, PlanReason place,
						int rule)
{
	uint8	  *placed = &planner->placed[model - planner->catalog->models];
	PlanReason reason;

	if (*placed & PLACED_PLATFORM_KEY)
		return;
	reason = model_reason(planner, model, place);
	if (reason == place && planner->byok == BYOK_ONLY)
		reason = EXCLUDED_NOT_USER_KEY;
	else if (reason == place && !has_platform_key(model->provider))
		reason = EXCLUDED_NO_KEY;
	if (reason != place && (*placed & PLACED_USER_KEY))
		return;
	*placed |= PLACED_PLATFORM_KEY;
	add_entry(planner, model, reason, rule, NULL);
}

typedef void (*PlaceModel)(Planner *planner, const CatalogModel *model,
						   PlanReason place, int rule);

/* ------------------------------------------------------------------------
 * The walks
 * ------------------------------------------------------------------------
 */

static const struct CatalogRuleList *
rules_of(const Planner *planner, PowerLevel level)
{
	int tier = (int) (planner->tier - planner->catalog->tiers);

	return &planner->catalog->rules[tier * POWER_LEVEL_COUNT + level];
}

static void
walk_rules(Planner *planner, const struct CatalogRuleList *list, PlaceModel place)
{
	for (int i = 0; i < list->nrules; i++)
	{
		const CatalogRule *rule = &list->rules[i];

		place(planner, rule->model, REASON_RULE_PRIMARY, rule->priority);
		if (rule->fallback)
			place(planner, rule->fallback, REASON_RULE_FALLBACK, rule->priority);
	}
}

static void
walk_level(Planner *planner, PowerLevel level, PlaceModel place, PlanReason reason)
{
	const Catalog *catalog = planner->catalog;

	for (int i = catalog->level_start[level]; i < catalog->level_start[level + 1]; i++)
		place(planner, &catalog->models[i], reason, 0);
}

static bool
uses_user_keys(const Planner *planner)
{
	return planner->byok != BYOK_NEVER && planner->caller->nuser_keys > 0;
}

static void
plan_level(Planner *planner, PowerLevel level)
{
	const struct CatalogRuleList *rules = rules_of(planner, level);
	FallbackScope				  scope = planner->request->router.fallback_scope;

	if (scope == FALLBACK_UNSET)
		scope = planner->caller->fallback_scope;

	if (uses_user_keys(planner))
	{
		walk_rules(planner, rules, place_with_user_key);
		walk_level(planner, level, place_with_user_key, REASON_USER_KEY);
	}
	walk_rules(planner, rules, place_with_platform_key);
	if (rules->nrules == 0 || scope == FALLBACK_LEVEL)
		walk_level(planner, level, place_with_platform_key, REASON_LEVEL);
}

static void
plan_named(Planner *planner, const NamedModels *named)
{
	if (uses_user_keys(planner))
	{
		for (int i = 0; i < named->nmodels; i++)
			place_with_user_key(planner, named->models[i], REASON_NAMED, 0);
	}
	for (int i = 0; i < named->nmodels; i++)
		place_with_platform_key(planner, named->models[i], REASON_NAMED, 0);
}

/* ------------------------------------------------------------------------
 * Names and levels
 * ------------------------------------------------------------------------
 */

/* Whether name is "provider/model_name" for this model. */
static bool
is_full_name(const CatalogModel *model, const char *name)
{
	size_t length = strlen(model->provider->name);

	return strncmp(name, model->provider->name, length) == 0 && name[length] == '/' &&
		   strcmp(name + length + 1, model->name) == 0;
}

/*
 * The models of that name.  provider/model_name is one model, and wins over the
 * same words as the model_name of a reseller: the caller named the company.  A
 * bare model_name is that model at every provider that has it, the cheapest
 * first.
 */
static NamedModels
find_named(const Catalog *catalog, const char *name)
{
	NamedModels named = { palloc(sizeof(CatalogModel *) * Max(catalog->nmodels, 1)), 0 };

	for (int i = 0; i < catalog->nmodels; i++)
	{
		const CatalogModel *model = &catalog->models[i];

		if (is_full_name(model, name))
		{
			named.models[0] = model;
			named.nmodels = 1;
			break;
		}
		if (strcmp(model->name, name) == 0)
			named.models[named.nmodels++] = model;
	}
	return named;
}

/* Whether the tier includes the level of one of these, at least. */
static bool
tier_allows_some(const CatalogTier *tier, const NamedModels *named)
{
	for (int i = 0; i < named->nmodels; i++)
	{
		if (tier->power_levels[named->models[i]->power_level])
			return true;
	}
	return false;
}

/*
 * The level itself if the tier includes it, else the highest below it that the
 * tier includes; where there is none below, the lowest above.
 */
static PowerLevel
lower_to_tier(PowerLevel level, const CatalogTier *tier)
{
	for (int lower = level; lower >= 0; lower--)
	{
		if (tier->power_levels[lower])
			return (PowerLevel) lower;
	}
	for (int higher = level + 1; higher < POWER_LEVEL_COUNT; higher++)
	{
		if (tier->power_levels[higher])
			return (PowerLevel) higher;
	}
	return level;
}

/* A level that the caller, or a default, names. */
static bool
find_level(const Catalog *catalog, const char *name, PowerLevel *level, LlmError *error)
{
	if (power_level_from_name(name, level))
		return true;
	return explain_unknown_level(name, find_named(catalog, name).nmodels > 0, error);
}

/* The level that applies to a request that names no model. */
static bool
choose_level(const Planner *planner, const char *asked, PowerLevel *level,
			 LlmError *error)
{
	const RouteCaller *caller = planner->caller;
	const char		  *name = asked;

	if (name == NULL)
		name = caller->user_default_level;
	if (name == NULL)
		name = caller->setting_default_level;
	if (!find_level(planner->catalog, name, level, error))
		return false;
	if (asked == NULL)
		*level = lower_to_tier(*level, planner->tier);
	else if (!planner->tier->power_levels[*level])
		return explain_tier(planner->tier, caller->user_id, *level, error);
	return true;
}

/* ------------------------------------------------------------------------
 * The plan
 * ------------------------------------------------------------------------
 */

/*
 * The user's key for each provider.  Not one that was stored for another address
 * of the provider: whoever may change base_url must not have users' keys sent
 * there.
 */
static const UserKey **
index_user_keys(const Catalog *catalog, const RouteCaller *caller)
{
	const UserKey **keys = palloc0(sizeof(UserKey *) * Max(catalog->nproviders, 1));

	for (int i = 0; i < caller->nuser_keys; i++)
	{
		const UserKey *key = &caller->user_keys[i];

		for (int place = 0; place < catalog->nproviders; place++)
		{
			const CatalogProvider *provider = &catalog->providers[place];

			if (provider->id == key->provider_id && keys[place] == NULL &&
				provider->endpoint.auth_type != AUTH_NONE &&
				strcmp(provider->endpoint.base_url, key->base_url) == 0)
				keys[place] = key;
		}
	}
	return keys;
}

static Planner
planner_create(const Catalog *catalog, const ChatRequest *request,
			   const RouteCaller *caller, const CatalogTier *tier, RoutePlan *plan)
{
	/* Twice: with the user's key and with the platform's. */
	int		capacity = 2 * Max(catalog->nmodels, 1);
	Planner planner = {
		.catalog = catalog,
		.request = request,
		.caller = caller,
		.tier = tier,
		.byok = request->router.byok != BYOK_UNSET ? request->router.byok : caller->byok,
		.user_keys = index_user_keys(catalog, caller),
		.plan = plan,
	};

	plan->tier = tier->name;
	plan->input_tokens = request->input_tokens;
	plan->max_output_tokens = request->max_output_tokens;
	plan->entries = palloc(sizeof(PlanEntry) * capacity);
	plan->nentries = plan->neligible = 0;
	planner.excluded = palloc(sizeof(PlanEntry) * capacity);
	planner.placed = palloc0(capacity);
	return planner;
}

typedef enum Fitness
{
	FIT_WELL,
	FIT_OPEN, /* a circuit is open */
	FIT_DOWN  /* the provider is down */
} Fitness;

static Fitness
fitness_of(const PlanEntry *entry)
{
	if (entry->health.down_since != 0)
		return FIT_DOWN;
	return health_is_bad(&entry->health) ? FIT_OPEN : FIT_WELL;
}

/* Append the entries of that fitness, in their order; returns the new end. */
static PlanEntry *
append_fit(PlanEntry *to, const PlanEntry *entries, int nentries, Fitness fitness)
{
	for (int i = 0; i < nentries; i++)
		if (fitness_of(&entries[i]) == fitness)
			*to++ = entries[i];
	return to;
}

static bool
all_well(const RoutePlan *plan)
{
	for (int i = 0; i < plan->neligible; i++)
		if (fitness_of(&plan->entries[i]) != FIT_WELL)
			return false;
	return true;
}

/*
 * Candidates with an open circuit go behind the others.  Those of a provider that
 * is down are excluded, or last of all where nobody is well.
 */
static void
order_by_health(Planner *planner)
{
	RoutePlan *plan = planner->plan;
	PlanEntry *ordered;
	PlanEntry *well_end;
	PlanEntry *open_end;
	PlanEntry *end;

	if (planner->caller->look_at_health == NULL || all_well(plan))
		return;
	ordered = palloc(sizeof(PlanEntry) * plan->neligible);
	well_end = append_fit(ordered, plan->entries, plan->neligible, FIT_WELL);
	open_end = append_fit(well_end, plan->entries, plan->neligible, FIT_OPEN);
	end = append_fit(open_end, plan->entries, plan->neligible, FIT_DOWN);
	memcpy(plan->entries, ordered, sizeof(PlanEntry) * plan->neligible);
	for (PlanEntry *down = open_end; well_end > ordered && down < end; down++)
	{
		down->eligible = false;
		down->reason = EXCLUDED_DOWN;
		planner->excluded[planner->nexcluded++] = *down;
		plan->neligible--;
	}
	pfree(ordered);
}

static void
planner_finish(Planner *planner)
{
	RoutePlan *plan = planner->plan;

	order_by_health(planner);
	memcpy(plan->entries + plan->neligible, planner->excluded,
		   sizeof(PlanEntry) * planner->nexcluded);
	plan->nentries = plan->neligible + planner->nexcluded;
	pfree(planner->excluded);
	pfree(planner->user_keys);
	pfree(planner->placed);
}

static bool
route_named(Planner *planner, const char *power_level, const char *model,
			LlmError *error)
{
	NamedModels named = find_named(planner->catalog, model);
	PowerLevel	ignored;

	if (named.nmodels == 0)
		return explain_unknown_model(planner->catalog, model, error);
	if (power_level && !find_level(planner->catalog, power_level, &ignored, error))
		return false;
	if (!tier_allows_some(planner->tier, &named))
		return explain_tier(planner->tier, planner->caller->user_id,
							named.models[0]->power_level, error);
	plan_named(planner, &named);
	planner_finish(planner);
	planner->plan->power_level = planner->plan->entries[0].model->power_level;
	return true;
}

bool
route_plan(const Catalog *catalog, const ChatRequest *request,
		   const char *power_level, const char *model, const RouteCaller *caller,
		   RoutePlan *plan, LlmError *error)
{
	const CatalogTier *tier = catalog_tier(catalog, caller->tier);
	Planner			   planner;

	if (tier == NULL)
		return explain_unknown_tier(catalog, caller, error);
	planner = planner_create(catalog, request, caller, tier, plan);

	if (model == NULL)
		model = request->model;
	if (model)
		return route_named(&planner, power_level, model, error);

	if (!choose_level(&planner, power_level, &plan->power_level, error))
		return false;
	plan_level(&planner, plan->power_level);
	planner_finish(&planner);
	return true;
}

bool
route_lower_level(const Catalog *catalog, const RoutePlan *plan, PowerLevel *lower)
{
	const CatalogTier *tier = catalog_tier(catalog, plan->tier);

	for (int level = (int) plan->power_level - 1; tier && level >= 0; level--)
	{
		if (tier->power_levels[level])
		{
			*lower = (PowerLevel) level;
			return true;
		}
	}
	return false;
}

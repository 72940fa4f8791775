/*
 * explain.c
 *		Routing in words: the reason of each candidate, and what is wrong with a
 *		request that cannot be routed.
 */
#include "routing/explain.h"

#include "lib/stringinfo.h"
#include "utils/datetime.h"

/* ------------------------------------------------------------------------
 * The reason of a candidate
 * ------------------------------------------------------------------------
 */

/* "retired on 2026-01-31": ISO 8601, whatever the session's DateStyle. */
static char *
retired_reason(DateADT date)
{
	int year;
	int month;
	int day;

	if (DATE_NOT_FINITE(date))
		return pstrdup("retired");
	j2date(date + POSTGRES_EPOCH_JDATE, &year, &month, &day);
	return psprintf("retired on %04d-%02d-%02d", year, month, day);
}

/* Why an eligible candidate stands where it stands. */
static char *
place_reason(const RoutePlan *plan, const PlanEntry *entry)
{
	switch (entry->reason)
	{
		case REASON_RULE_PRIMARY:
			return psprintf("rule %d primary", entry->rule);
		case REASON_RULE_FALLBACK:
			return psprintf("rule %d fallback", entry->rule);
		case REASON_NAMED:
			return pstrdup("named by the caller");
		default:
			return psprintf("other %s model, by price",
							power_level_name(plan->power_level));
	}
}

static char *
context_window_reason(const RoutePlan *plan, const CatalogModel *model)
{
	if (plan->max_output_tokens == 0)
		return psprintf("about %lld prompt tokens do not fit into its context window of %lld",
						(long long) plan->input_tokens, (long long) model->context_window);
	return psprintf("about %lld prompt tokens and an answer of up to %lld"
					" do not fit into its context window of %lld",
					(long long) plan->input_tokens, (long long) plan->max_output_tokens,
					(long long) model->context_window);
}

static char *
exclusion_reason(const RoutePlan *plan, const PlanEntry *entry)
{
	const CatalogModel *model = entry->model;

	switch (entry->reason)
	{
		case EXCLUDED_PROVIDER_DISABLED:
			return psprintf("provider %s is disabled", model->provider->name);
		case EXCLUDED_MODEL_DISABLED:
			return pstrdup("model is disabled");
		case EXCLUDED_RETIRED:
			return retired_reason(model->retires_on);
		case EXCLUDED_NO_ADAPTER:
			return psprintf("no adapter for API format '%s' in this version",
							model->provider->format_name);
		case EXCLUDED_TIER:
			return psprintf("tier %s does not include its power level %s", plan->tier,
							power_level_name(model->power_level));
		case EXCLUDED_TOOLS:
			return pstrdup("does not call tools");
		case EXCLUDED_VISION:
			return pstrdup("does not read images");
		case EXCLUDED_JSON_SCHEMA:
			return pstrdup("does not answer by a JSON schema");
		case EXCLUDED_OUTPUT_LIMIT:
			return psprintf("an answer of up to %lld tokens is above its limit of %lld",
							(long long) plan->max_output_tokens,
							(long long) model->max_output_tokens);
		case EXCLUDED_CONTEXT_WINDOW:
			return context_window_reason(plan, model);
		case EXCLUDED_NOT_USER_KEY:
			return psprintf("no key of your own at %s, and byok is only",
							model->provider->name);
		case EXCLUDED_DOWN:
			return psprintf("provider %s is down since %s", model->provider->name,
							timestamptz_to_str(entry->health.down_since));
		default:
			return psprintf("no key for provider %s", model->provider->name);
	}
}

/* Why it would be tried at all. */
static char *
candidate_reason(const RoutePlan *plan, const PlanEntry *entry)
{
	if (!entry->used_byok)
		return place_reason(plan, entry);
	if (entry->reason == REASON_USER_KEY)
		return psprintf("your own key at %s", entry->model->provider->name);
	return psprintf("your own key at %s, %s", entry->model->provider->name,
					place_reason(plan, entry));
}

/* What is against it, after "; ", or "". */
static char *
health_reason(const CandidateHealth *health)
{
	int64 left_s = (health->left_ms + 999) / 1000;

	if (health->down_since != 0)
		return psprintf("; its provider is down since %s, but nobody is well",
						timestamptz_to_str(health->down_since));
	switch (health->circuit)
	{
		case CIRCUIT_CLOSED:
			return pstrdup("");
		case CIRCUIT_OPEN:
			if (health->asked)
				return psprintf("; circuit open for %lld s more, as its provider asked", (long long) left_s);
			return psprintf("; circuit open for %lld s more after %d failures", (long long) left_s,
							health->failures);
		case CIRCUIT_HALF_OPEN:
			return psprintf("; circuit half-open after %d failures: the next call tries it",
							health->failures);
		case CIRCUIT_PROBED:
			return psprintf("; circuit half-open after %d failures: a call is trying it", health->failures);
	}
	pg_unreachable();
}

char *
route_reason(const RoutePlan *plan, const PlanEntry *entry)
{
	if (!entry->eligible)
		return exclusion_reason(plan, entry);
	return psprintf("%s%s", candidate_reason(plan, entry), health_reason(&entry->health));
}

/* ------------------------------------------------------------------------
 * Nothing eligible
 * ------------------------------------------------------------------------
 */

static const PlanEntry *
first_without_key(const RoutePlan *plan)
{
	for (int i = 0; i < plan->nentries; i++)
	{
		if (plan->entries[i].reason == EXCLUDED_NO_KEY ||
			plan->entries[i].reason == EXCLUDED_NOT_USER_KEY)
			return &plan->entries[i];
	}
	return NULL;
}

static bool
no_candidates(const RoutePlan *plan, LlmError *error)
{
	error_set(error, ERRCODE_LLM_NOTHING_ELIGIBLE,
			  "no model has power level %s, and no routing rule of tier %s names one",
			  power_level_name(plan->power_level), plan->tier);
	return error_hint(error, "Add a model with llm_model_add, or a row to llm_routing_rules.");
}

bool
route_nothing_eligible(const RoutePlan *plan, LlmError *error)
{
	const PlanEntry *keyless = first_without_key(plan);
	const PlanEntry *first = keyless ? keyless : plan->entries;
	StringInfoData	 detail;

	if (plan->nentries == 0)
		return no_candidates(plan, error);

	error_set(error, keyless ? ERRCODE_LLM_KEY : ERRCODE_LLM_NOTHING_ELIGIBLE,
			  "no model can serve this request at power level %s: %s/%s: %s",
			  power_level_name(plan->power_level), first->model->provider->name,
			  first->model->name, route_reason(plan, first));

	initStringInfo(&detail);
	for (int i = 0; i < plan->nentries; i++)
		appendStringInfo(&detail, "%s%s/%s: %s", i > 0 ? "\n" : "",
						 plan->entries[i].model->provider->name,
						 plan->entries[i].model->name,
						 route_reason(plan, &plan->entries[i]));
	error_detail(error, "%s", detail.data);

	if (keyless == NULL)
		return error_hint(error, "Change the request, llm_models or llm_routing_rules;"
								 " llm_route() shows the plan of a request.");
	if (keyless->reason == EXCLUDED_NOT_USER_KEY)
		return error_hint(error, "Store a key of your own with llm_key_add,"
								 " or set options.router.byok to prefer.");
	return error_hint(error, "SELECT llm_provider_set_key('%s', '…');",
					  keyless->model->provider->name);
}

/* ------------------------------------------------------------------------
 * Names that are not known
 * ------------------------------------------------------------------------
 */

bool
explain_unknown_level(const char *name, bool is_model, LlmError *error)
{
	error_set(error, ERRCODE_INVALID_PARAMETER_VALUE, "unknown power level \"%s\"",
			  error_shown_name(name));
	if (is_model)
		return error_hint(error, "It is the name of a model: write model => '%s'.", name);
	return error_hint(error, "Power levels are eco, balanced and precision.");
}

/* "a, b, c" */
static char *
join_names(const char *const *names, int nnames)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < nnames; i++)
		appendStringInfo(&list, "%s%s", i > 0 ? ", " : "", names[i]);
	return list.data;
}

static const CatalogProvider *
provider_of_full_name(const Catalog *catalog, const char *name)
{
	for (int i = 0; i < catalog->nproviders; i++)
	{
		const CatalogProvider *provider = &catalog->providers[i];
		size_t				   length = strlen(provider->name);

		if (strncmp(name, provider->name, length) == 0 && name[length] == '/')
			return provider;
	}
	return NULL;
}

/* The names of a provider's models, or of all providers when it is NULL. */
static char *
list_known(const Catalog *catalog, const CatalogProvider *provider)
{
	const char **names = palloc(sizeof(const char *) *
								(catalog->nmodels + catalog->nproviders + 1));
	int			 nnames = 0;

	if (provider == NULL)
	{
		for (int i = 0; i < catalog->nproviders; i++)
			names[nnames++] = catalog->providers[i].name;
	}
	else
	{
		for (int i = 0; i < catalog->nmodels; i++)
		{
			if (catalog->models[i].provider == provider)
				names[nnames++] = catalog->models[i].name;
		}
	}
	return join_names(names, nnames);
}

/* The name, full or bare, that is nearest to a wrong one; or NULL. */
static const char *
nearest_model(const Catalog *catalog, const char *name)
{
	const char **names = palloc(sizeof(const char *) * (2 * catalog->nmodels + 1));

	for (int i = 0; i < catalog->nmodels; i++)
	{
		const CatalogModel *model = &catalog->models[i];

		names[2 * i] = model->name;
		names[2 * i + 1] = psprintf("%s/%s", model->provider->name, model->name);
	}
	return error_nearest(name, names, 2 * catalog->nmodels);
}

bool
explain_unknown_model(const Catalog *catalog, const char *name, LlmError *error)
{
	const CatalogProvider *provider = provider_of_full_name(catalog, name);
	const char			  *nearest = nearest_model(catalog, name);

	error_set(error, ERRCODE_INVALID_PARAMETER_VALUE, "unknown model \"%s\"",
			  error_shown_name(name));
	if (nearest)
		return error_hint(error, "Did you mean \"%s\"?", nearest);
	if (provider)
		return error_hint(error, "Models of provider %s are %s.", provider->name,
						  list_known(catalog, provider));
	return error_hint(error, "Write provider/model_name, or a model_name of llm_models. Providers are %s.",
					  list_known(catalog, NULL));
}

bool
explain_unknown_tier(const Catalog *catalog, const RouteCaller *caller, LlmError *error)
{
	const char **names = palloc(sizeof(const char *) * (catalog->ntiers + 1));

	for (int i = 0; i < catalog->ntiers; i++)
		names[i] = catalog->tiers[i].name;
	error_set(error, ERRCODE_INVALID_PARAMETER_VALUE,
			  "unknown subscription tier \"%s\" of user \"%s\"", caller->tier,
			  caller->user_id);
	return error_hint(error, "Tiers are %s: see llm_router.default_subscription_tier"
							 " and llm_router.default_end_user_tier.",
					  join_names(names, catalog->ntiers));
}

bool
explain_tier(const CatalogTier *tier, const char *user_id, PowerLevel level,
			 LlmError *error)
{
	const char *names[POWER_LEVEL_COUNT];
	int			nnames = 0;

	for (int i = 0; i < POWER_LEVEL_COUNT; i++)
	{
		if (tier->power_levels[i])
			names[nnames++] = power_level_name((PowerLevel) i);
	}
	error_set(error, ERRCODE_LLM_TIER,
			  "tier %s of user \"%s\" does not include power level %s; it includes %s",
			  tier->name, user_id, power_level_name(level), join_names(names, nnames));
	return error_hint(error, "Ask for one of these, or change llm_users or llm_tiers.");
}

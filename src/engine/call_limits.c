/*
 * call_limits.c
 *		What budgets and rates make of a call.
 *
 * Rates come first, as they cost least.  A call counts for its user's rate once,
 * whoever pays for it; a provider's rate is that of the platform's account there, and
 * each attempt with the platform's key counts.  A provider that has reached its rate
 * is passed over, like one that does not answer.
 *
 * Before anything is sent, the worst case of the dearest candidate that the
 * platform pays for is reserved under every budget that applies.  Attempts that
 * cost nothing leave the reservation to the next; one that may have cost something
 * is settled, and the next needs a reservation of its own.  What is reserved and
 * not settled is given back when the call ends, for whatever reason.
 *
 * Candidates with the user's own key are nobody's budget's business: where a
 * budget is used up they are what is left of the plan.  Otherwise a budget that
 * downgrades makes the plan anew for the next lower level, under whose budgets the
 * same is tried again; a model that the caller named is not replaced.
 *
 * Invariant: limits.uses of budgets are pinned exactly while nuses is not 0.
 */
#include "engine/call_limits.h"

#include "base/settings.h"
#include "engine/call_attempt.h"
#include "routing/budget.h"
#include "state/audit.h"
#include "utils/json.h"
#include "utils/timestamp.h"

/* ------------------------------------------------------------------------
 * The plan
 * ------------------------------------------------------------------------
 */

static bool
is_user_key(const PlanEntry *entry)
{
	return entry->used_byok;
}

static bool
has_bound(const PlanEntry *entry)
{
	return entry->used_byok || entry->estimated_cost != MONEY_UNKNOWN;
}

/* Take out of a plan what may not be tried.  Whether something is left. */
static bool
keep_entries(RoutePlan *plan, bool (*may_stay)(const PlanEntry *entry))
{
	int kept = 0;

	for (int i = 0; i < plan->neligible; i++)
	{
		if (may_stay(&plan->entries[i]))
			plan->entries[kept++] = plan->entries[i];
	}
	plan->neligible = kept;
	return kept > 0;
}

/* The worst case of those that the platform pays for; false when there are none. */
static bool
dearest_candidate(const RoutePlan *plan, BudgetAmount *worst)
{
	bool found = false;

	*worst = (BudgetAmount){ .requests = 1 };
	for (int i = 0; i < plan->neligible; i++)
	{
		const PlanEntry *entry = &plan->entries[i];

		if (entry->used_byok)
			continue;
		found = true;
		worst->usd = Max(worst->usd, entry->estimated_cost);
		worst->tokens = Max(worst->tokens, entry->estimated_tokens);
	}
	return found;
}

/* Plan for the next lower level that has candidates; false when there is none. */
static bool
plan_lower_level(Call *call)
{
	RoutePlan  plan = call->plan;
	PowerLevel lower;
	LlmError   ignored;

	while (route_lower_level(call->catalog, &plan, &lower))
	{
		if (!route_plan(call->catalog, call->request, power_level_name(lower), NULL, &call->caller,
						&plan, &ignored))
			return false;
		if (plan.neligible > 0)
		{
			call->plan = plan;
			return true;
		}
	}
	return false;
}

/* ------------------------------------------------------------------------
 * Rates
 * ------------------------------------------------------------------------
 */

/* What the user may: of the tier, where the user has no limit of his own. */
static RateLimit
user_limit(const Call *call)
{
	RateLimit		   limit = call->caller.rate;
	const CatalogTier *tier = catalog_tier(call->catalog, call->plan.tier);

	if (limit.requests == RATE_NO_LIMIT)
		limit.requests = tier->rate.requests;
	if (limit.tokens == RATE_NO_LIMIT)
		limit.tokens = tier->rate.tokens;
	return limit;
}

static LimitsProgress
refuse_rate(Call *call, const char *whose, const RateLimit *limit, const RateRefusal *refusal)
{
	LlmError  *error = &call->error;
	const bool is_tokens = refusal->obstacle == RATE_LACKS_TOKENS;

	if (refusal->is_full)
		error_set(error, ERRCODE_LLM_RATE_LIMIT,
				  "the rate of %s cannot be counted: all memory for it is in use", whose);
	else
		error_set(error, ERRCODE_LLM_RATE_LIMIT, "%s has reached the limit of %lld %s a minute", whose,
				  (long long) (is_tokens ? limit->tokens : limit->requests),
				  is_tokens ? "tokens" : "requests");
	if (refusal->is_full)
		error_hint(error, "Raise llm_router.limits_size and restart the server.");
	else if (refusal->wait_ms < 0)
		error_hint(error, is_tokens ? "The request may use more than that; give a lower max_tokens."
									: "No request is allowed.");
	else
		error_hint(error, "Try again in %lld seconds.", (long long) (refusal->wait_ms + 999) / 1000);
	return LIMITS_REFUSED;
}

/* The most tokens that one attempt may use, whoever pays for it. */
static int64
most_tokens(const RoutePlan *plan)
{
	int64 most = 0;

	for (int i = 0; i < plan->neligible; i++)
		most = Max(most, plan->entries[i].estimated_tokens);
	return most;
}

/* Hold answers to budget_max_tokens where the request says no limit. */
static void
cap_answers(Call *call)
{
	if (call->request->max_output_tokens > 0)
		return;
	call->limits.output_cap = setting_budget_max_tokens;
	for (int i = 0; i < call->plan.neligible; i++)
		route_estimate(&call->plan.entries[i], call->request, call->limits.output_cap);
}

static LimitsProgress
enter_user(Call *call)
{
	RateLimit	limit = user_limit(call);
	RateRefusal refusal;

	if (call->limits.user_rate.counted || !rate_is_limited(&limit))
		return LIMITS_READY;
	if (limit.tokens != RATE_NO_LIMIT)
		cap_answers(call);
	if (rate_enter_user(call->user_id, &limit, most_tokens(&call->plan), &call->limits.user_rate, &refusal))
		return LIMITS_READY;
	return refuse_rate(call, psprintf("user \"%s\"", call->user_id), &limit, &refusal);
}

static bool
enter_provider(Call *call, int number, RateRefusal *refusal)
{
	PlanEntry			  *entry = &call->plan.entries[number];
	const CatalogProvider *provider = entry->model->provider;

	if (entry->used_byok || !rate_is_limited(&provider->rate))
		return true;
	if (rate_enter_provider(provider->id, &provider->rate, entry->estimated_tokens,
							&call->limits.next_provider_rate, refusal))
		return true;
	entry->passed_over = true;
	return false;
}

bool
limits_enter_provider(Call *call, int number)
{
	RateRefusal ignored;

	return enter_provider(call, number, &ignored);
}

bool
limits_enter_other(Call *call, int number)
{
	RateUse before = call->limits.next_provider_rate;

	call->limits.next_provider_rate = (RateUse){ 0 };
	if (limits_enter_provider(call, number))
	{
		rate_settle(&before, false, 0);
		return true;
	}
	call->limits.next_provider_rate = before;
	return false;
}

/* Whether answers have to be held to a length, for the sake of some provider's tokens. */
static bool
provider_limits_tokens(const RoutePlan *plan)
{
	for (int i = 0; i < plan->neligible; i++)
	{
		const PlanEntry *entry = &plan->entries[i];

		if (!entry->used_byok && entry->model->provider->rate.tokens != RATE_NO_LIMIT)
			return true;
	}
	return false;
}

/* Whether a refusal ends sooner than another; never is the latest. */
static bool
is_sooner(const RateRefusal *refusal, const RateRefusal *other)
{
	return refusal->wait_ms >= 0 && (other->wait_ms < 0 || refusal->wait_ms < other->wait_ms);
}

/* Go to the first candidate whose provider has room; refused where none has. */
static LimitsProgress
enter_first_provider(Call *call)
{
	RateRefusal			   soonest = { .wait_ms = -1 };
	const CatalogProvider *provider = NULL;

	if (provider_limits_tokens(&call->plan))
		cap_answers(call);
	rate_settle(&call->limits.next_provider_rate, false, 0); /* of an earlier time */
	for (int i = 0; i < call->plan.neligible; i++)
	{
		const PlanEntry *entry = &call->plan.entries[i];
		RateRefusal		 refusal;

		if (enter_provider(call, i, &refusal))
		{
			call->entry = i;
			return LIMITS_READY;
		}
		if (provider == NULL || is_sooner(&refusal, &soonest))
		{
			soonest = refusal;
			provider = entry->model->provider;
		}
	}
	refuse_rate(call, psprintf("provider %s", provider->name), &provider->rate, &soonest);
	error_detail(&call->error, "So has every other candidate's provider.");
	return LIMITS_REFUSED;
}

void
limits_attempt_begins(Call *call)
{
	CallLimits *limits = &call->limits;

	/* Of an attempt before this one, which used nothing. */
	rate_settle(&limits->provider_rate, true, 0);
	limits->provider_rate = limits->next_provider_rate;
	limits->next_provider_rate.counted = false;
}

/* ------------------------------------------------------------------------
 * Refusals
 * ------------------------------------------------------------------------
 */

static const char *
scope_in_words(const BudgetUse *use)
{
	const char *scope = budget_scope_name(use->budget->scope);
	const char *period = budget_period_name(use->budget->period);

	return use->value ? psprintf("%s %s, %s", scope, use->value, period)
					  : psprintf("%s, %s", scope, period);
}

static char *
amount_in_words(BudgetObstacle obstacle, const BudgetAmount *amount)
{
	switch (obstacle)
	{
		case BUDGET_LACKS_USD:
			return psprintf("%s USD", money_to_string(amount->usd));
		case BUDGET_LACKS_REQUESTS:
			return psprintf("%lld requests", (long long) amount->requests);
		default:
			return psprintf("%lld tokens", (long long) amount->tokens);
	}
}

static void
explain_refusal(Call *call, const BudgetRefusal *refusal)
{
	const BudgetUse *use = &call->limits.uses[refusal->use];
	BudgetObstacle	 obstacle = refusal->obstacle;

	error_set(&call->error, ERRCODE_LLM_BUDGET,
			  "budget %lld (%s) is used up: %s of %s used, and %s reserved by calls under way",
			  (long long) use->budget->id, scope_in_words(use),
			  amount_in_words(obstacle, &refusal->used),
			  amount_in_words(obstacle, &use->budget->limit),
			  amount_in_words(obstacle, &refusal->reserved));
	error_detail(&call->error, "This request may use up to %s.",
				 amount_in_words(obstacle, &call->limits.worst));
	error_hint(&call->error, "The next %s begins at %s. Until then, a lower max_tokens or a cheaper "
							 "model may fit, and a key of your own is not limited.",
			   budget_period_name(use->budget->period), timestamptz_to_str(use->range.end));
}

static void
explain_unpriced(Call *call, const CatalogBudget *budget)
{
	const CatalogModel *model = call->plan.entries[0].model;

	error_set(&call->error, ERRCODE_LLM_BUDGET,
			  "budget %lld limits USD, and %s/%s has no price", (long long) budget->id,
			  model->provider->name, model->name);
	error_hint(&call->error, "SELECT llm_model_set_price('%s', '%s', …);", model->provider->name,
			   model->name);
}

/* ------------------------------------------------------------------------
 * Reserving
 * ------------------------------------------------------------------------
 */

bool
limits_may_apply(const Call *call)
{
	RateLimit user = user_limit(call);

	if (call->catalog->nbudgets > 0 || rate_is_limited(&user))
		return true;
	for (int i = 0; i < call->plan.neligible; i++)
	{
		if (rate_is_limited(&call->plan.entries[i].model->provider->rate))
			return true;
	}
	return false;
}

void
limits_let_go(Call *call)
{
	CallLimits		  *limits = &call->limits;
	const BudgetAmount nothing = { 0 };

	for (; limits->reserved > 0; limits->reserved--)
		budgets_settle(limits->uses, limits->nuses, &limits->worst, &nothing);
	if (limits->nuses > 0)
		budgets_let_go(limits->uses, limits->nuses);
	limits->nuses = 0;
}

void
limits_end(Call *call)
{
	CallLimits *limits = &call->limits;

	limits_let_go(call);
	rate_settle(&limits->next_provider_rate, false, 0);
	rate_settle(&limits->provider_rate, true, 0);
	rate_settle(&limits->user_rate, attempts_count(&call->attempts) > 0, limits->tokens);
}

/* Get hold of the counters of all budgets that apply to the plan. */
static LimitsProgress
use_budgets(Call *call, TimestampTz now)
{
	CallLimits	  *limits = &call->limits;
	const Catalog *catalog = call->catalog;
	BudgetSubject  subject = { call->user_id, call->plan.tier, call->plan.power_level };
	bool		   waits = false;

	if (limits->uses == NULL)
		limits->uses = palloc(sizeof(BudgetUse) * catalog->nbudgets);
	limits->until = DT_NOEND;
	for (int i = 0; i < catalog->nbudgets; i++)
	{
		BudgetUse *use = &limits->uses[limits->nuses];

		if (!budget_applies(&catalog->budgets[i], &subject))
			continue;
		switch (budget_use(&catalog->budgets[i], &subject, now, call->reserve_since, use, &call->error))
		{
			case BUDGET_REFUSED:
				return LIMITS_REFUSED;
			case BUDGET_WAIT:
				waits = true;
				break;
			case BUDGET_READY:
				break;
		}
		limits->nuses++;
		limits->until = Min(limits->until, use->range.end);
	}
	return waits ? LIMITS_WAIT : LIMITS_READY;
}

/* The first budget in use that limits USD, or NULL. */
static const CatalogBudget *
usd_budget(const CallLimits *limits)
{
	for (int i = 0; i < limits->nuses; i++)
	{
		if (limits->uses[i].budget->limit.usd != BUDGET_NO_LIMIT)
			return limits->uses[i].budget;
	}
	return NULL;
}

static bool
limits_tokens(const CallLimits *limits)
{
	for (int i = 0; i < limits->nuses; i++)
	{
		if (limits->uses[i].budget->limit.tokens != BUDGET_NO_LIMIT)
			return true;
	}
	return false;
}

/*
 * Give every candidate a worst case that means something: an answer of limited
 * length, at a known price.  False, with the error, when none is left.
 */
static bool
bound_candidates(Call *call)
{
	CallLimits			*limits = &call->limits;
	RoutePlan			*plan = &call->plan;
	const CatalogBudget *usd = usd_budget(limits);

	if (usd || limits_tokens(limits))
		cap_answers(call);
	if (usd == NULL || keep_entries(plan, has_bound))
		return true;
	explain_unpriced(call, usd);
	return false;
}

typedef enum LevelProgress
{
	LEVEL_READY,
	LEVEL_WAIT,
	LEVEL_REFUSED,
	LEVEL_USED_UP /* a lower one may do */
} LevelProgress;

/* What to do where a budget has no room. */
static LevelProgress
without_budget(Call *call, const BudgetRefusal *refusal)
{
	bool downgrades = call->limits.uses[refusal->use].budget->downgrades;

	explain_refusal(call, refusal);
	limits_let_go(call);
	if (keep_entries(&call->plan, is_user_key))
		return LEVEL_READY;
	return downgrades && !call->names_model ? LEVEL_USED_UP : LEVEL_REFUSED;
}

/* Reserve for the plan as it is. */
static LevelProgress
reserve_level(Call *call)
{
	CallLimits	 *limits = &call->limits;
	BudgetRefusal refusal;

	if (call->catalog->nbudgets == 0 || !dearest_candidate(&call->plan, &limits->worst))
		return LEVEL_READY;
	switch (use_budgets(call, GetCurrentTimestamp()))
	{
		case LIMITS_REFUSED:
			return LEVEL_REFUSED;
		case LIMITS_WAIT:
			return LEVEL_WAIT;
		case LIMITS_READY:
			break;
	}
	if (limits->nuses == 0)
		return LEVEL_READY;
	if (!bound_candidates(call))
		return LEVEL_REFUSED;
	if (!dearest_candidate(&call->plan, &limits->worst))
	{
		limits_let_go(call);
		return LEVEL_READY;
	}
	if (!budgets_reserve(limits->uses, limits->nuses, &limits->worst, &refusal))
		return without_budget(call, &refusal);
	limits->reserved = 1;
	return LEVEL_READY;
}

/* Under budgets, for the plan or one for a lower level. */
static LimitsProgress
reserve_budgets(Call *call)
{
	LevelProgress progress;

	do
		progress = reserve_level(call);
	while (progress == LEVEL_USED_UP && plan_lower_level(call));

	switch (progress)
	{
		case LEVEL_READY:
			/* Of a level before this one, or of what the platform would have paid for. */
			call->error = (LlmError){ 0 };
			return LIMITS_READY;
		case LEVEL_WAIT:
			limits_let_go(call);
			return LIMITS_WAIT;
		case LEVEL_REFUSED:
		case LEVEL_USED_UP:
			limits_let_go(call);
			return LIMITS_REFUSED;
	}
	pg_unreachable();
}

LimitsProgress
limits_reserve(Call *call)
{
	LimitsProgress progress = enter_user(call);

	if (progress == LIMITS_READY)
		progress = reserve_budgets(call);
	if (progress == LIMITS_READY)
		progress = enter_first_provider(call);
	return progress;
}

bool
limits_expired(const Call *call)
{
	return call->limits.reserved > 0 && attempts_count(&call->attempts) == 0 &&
		   GetCurrentTimestamp() >= call->limits.until;
}

bool
limits_extend(Call *call)
{
	CallLimits	 *limits = &call->limits;
	BudgetRefusal refusal;

	if (limits->reserved == 0 || current_entry(call)->used_byok)
		return true;
	if (!budgets_reserve(limits->uses, limits->nuses, &limits->worst, &refusal))
		return false;
	limits->reserved++;
	return true;
}

const ChatRequest *
limits_request(const Call *call)
{
	ChatRequest *limited;

	if (call->limits.output_cap == 0)
		return call->request;
	limited = palloc(sizeof(ChatRequest));
	*limited = *call->request;
	limited->max_output_tokens = route_output_limit(current_entry(call)->model, call->limits.output_cap);
	return limited;
}

/* ------------------------------------------------------------------------
 * Settling
 * ------------------------------------------------------------------------
 */

void
limits_settle(Call *call, const LedgerOutcome *outcome)
{
	CallLimits		*limits = &call->limits;
	const PlanEntry *entry = current_entry(call);
	LedgerCharge	 charge = { 0 };
	BudgetAmount	 used = { 0 };

	if (attempts_count(&call->attempts) > 0)
		charge = ledger_charge(outcome, entry->estimated_cost, entry->estimated_tokens);
	limits->tokens += charge.tokens;
	rate_settle(&limits->provider_rate, true, charge.tokens);

	/* The platform's reservation waits for an attempt that the platform pays for. */
	if (limits->reserved == 0 || (entry->used_byok && !outcome->is_final))
		return;
	if (!entry->used_byok)
		used = (BudgetAmount){ charge.cost, charge.is_request, charge.tokens };
	budgets_settle(limits->uses, limits->nuses, &limits->worst, &used);
	limits->reserved--;
}

static char *
warning_detail(const BudgetUse *use, int share)
{
	StringInfoData detail;

	initStringInfo(&detail);
	appendStringInfo(&detail, "{\"budget_id\": %lld, \"scope_value\": ", (long long) use->budget->id);
	if (use->value)
		escape_json(&detail, use->value);
	else
		appendStringInfoString(&detail, "null");
	appendStringInfo(&detail, ", \"percent\": %d.%02d}", share / 100, share % 100);
	return detail.data;
}

void
limits_warn(const Call *call)
{
	for (int i = 0; i < call->limits.nuses; i++)
	{
		const BudgetUse *use = &call->limits.uses[i];
		int				 share;

		if (!budget_should_warn(use, &share))
			continue;
		audit_note(&(AuditEntry){
			.actor = call->role_name,
			.user_id = call->user_id,
			.action = "budget.warning",
			.object = scope_in_words(use),
			.detail = warning_detail(use, share),
		});
	}
}

/*
 * route.c (api)
 *		llm_route, llm_estimate_cost and llm_count_tokens: what a request would
 *		meet and cost, without making it.
 */
#include "base/compat.h"

#include "api/arguments.h"
#include "chat/request.h"
#include "chat/tokens.h"
#include "fmgr.h"
#include "funcapi.h"
#include "routing/route.h"
#include "state/caller.h"
#include "state/catalog.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

PG_FUNCTION_INFO_V1(llm_route);
PG_FUNCTION_INFO_V1(llm_estimate_cost);
PG_FUNCTION_INFO_V1(llm_count_tokens);

/* The arguments of llm_chat, which the first two share. */
enum
{
	ARG_MESSAGES,
	ARG_POWER_LEVEL,
	ARG_MODEL,
	ARG_OPTIONS
};

/* The plan that llm_chat would make of these arguments; raises what it would. */
static void
plan_arguments(FunctionCallInfo fcinfo, RoutePlan *plan)
{
	LlmError	error = { 0 };
	ChatRequest request;
	RouteCaller caller;

	argument_require_preloaded();
	if (!chat_request_parse(PG_GETARG_JSONB_P(ARG_MESSAGES),
							argument_jsonb(fcinfo, ARG_OPTIONS), CHAT_PLAN, &request, &error) ||
		!caller_fill(&caller, &request.router, &error) ||
		!route_plan(catalog_get(), &request, argument_string(fcinfo, ARG_POWER_LEVEL),
					argument_string(fcinfo, ARG_MODEL), &caller, plan, &error))
		error_throw(&error);
}

/* An amount in USD, without trailing zeros. */
static Datum
money_datum(Money money)
{
	return DirectFunctionCall1(numeric_trim_scale,
							   NumericGetDatum(money_to_numeric(money)));
}

static void
put_entry(ReturnSetInfo *result, const RoutePlan *plan, int position)
{
	const PlanEntry *entry = &plan->entries[position];
	Datum			 values[7];
	bool			 nulls[7] = { false };

	values[0] = Int32GetDatum(position + 1);
	values[1] = CStringGetTextDatum(entry->model->provider->name);
	values[2] = CStringGetTextDatum(entry->model->name);
	values[3] = BoolGetDatum(entry->used_byok);
	values[4] = BoolGetDatum(entry->eligible);
	values[5] = CStringGetTextDatum(route_reason(plan, entry));
	nulls[6] = entry->estimated_cost == MONEY_UNKNOWN;
	if (!nulls[6])
		values[6] = money_datum(entry->estimated_cost);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/*
 * llm_route(messages jsonb, power_level text, model text, options jsonb)
 *		RETURNS TABLE("position" integer, provider text, model text,
 *		used_byok boolean, eligible boolean, reason text,
 *		estimated_cost_usd numeric)
 *
 * The plan of llm_chat with these arguments: candidates in the order in which
 * they would be tried, then the excluded ones, each with its reason and an
 * upper bound of its cost.  NULL messages: no rows.
 */
Datum
llm_route(PG_FUNCTION_ARGS)
{
	RoutePlan plan;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(ARG_MESSAGES))
		return (Datum) 0;
	plan_arguments(fcinfo, &plan);
	for (int i = 0; i < plan.nentries; i++)
		put_entry((ReturnSetInfo *) fcinfo->resultinfo, &plan, i);
	return (Datum) 0;
}

/*
 * llm_estimate_cost(messages jsonb, power_level text, model text, options jsonb)
 *		RETURNS numeric
 *
 * USD, at most, of one attempt at the candidate that llm_chat would try first.
 * NULL when one of its prices is unknown, and for NULL messages.  Where no
 * candidate is eligible it raises what llm_chat would: LR001 or LR005.
 */
Datum
llm_estimate_cost(PG_FUNCTION_ARGS)
{
	RoutePlan plan;
	LlmError  error;

	if (PG_ARGISNULL(ARG_MESSAGES))
		PG_RETURN_NULL();
	plan_arguments(fcinfo, &plan);
	if (plan.neligible == 0)
	{
		route_nothing_eligible(&plan, &error);
		error_throw(&error);
	}
	if (plan.entries[0].estimated_cost == MONEY_UNKNOWN)
		PG_RETURN_NULL();
	return money_datum(plan.entries[0].estimated_cost);
}

/*
 * llm_count_tokens(content text, model text) RETURNS integer
 *
 * An upper estimate that holds for the tokenizers of all models, so the model
 * makes no difference.  NULL content: NULL.
 */
Datum
llm_count_tokens(PG_FUNCTION_ARGS)
{
	text *content;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	content = PG_GETARG_TEXT_PP(0);
	PG_RETURN_INT32((int32) tokens_estimate_text(VARDATA_ANY(content),
												 VARSIZE_ANY_EXHDR(content)));
}

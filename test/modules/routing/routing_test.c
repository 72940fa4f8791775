/*
 * routing_test.c
 *		Plans over catalogues made by hand, single retry decisions, circuits, and the
 *		time that a plan takes, as SQL functions.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/pg_prng.h"
#include "fmgr.h"
#include "portability/instr_time.h"
#include "routing/circuit.h"
#include "routing/retry.h"
#include "routing/route.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(test_plan);
PG_FUNCTION_INFO_V1(test_plan_microseconds);
PG_FUNCTION_INFO_V1(test_retry);
PG_FUNCTION_INFO_V1(test_retry_walk);
PG_FUNCTION_INFO_V1(test_retry_sqlstate);
PG_FUNCTION_INFO_V1(test_circuit);
PG_FUNCTION_INFO_V1(test_circuit_event);
PG_FUNCTION_INFO_V1(test_retry_chance);

static const ApiFormat some_format = { .name = "openai" };

/* ------------------------------------------------------------------------
 * Plans
 * ------------------------------------------------------------------------
 */

/*
 * A catalogue of one tier, "all": providers p0, p1, … of which the last has no
 * platform key; models m0, m1, …, spread over providers, levels and prices; and
 * rules spread over the levels, each with the next model of it as fallback.
 */
static Catalog *
make_catalog(int nproviders, int nmodels, int nrules)
{
	Catalog *catalog = palloc0(sizeof(Catalog));

	catalog->nproviders = nproviders;
	catalog->providers = palloc0(sizeof(CatalogProvider) * nproviders);
	for (int i = 0; i < nproviders; i++)
		catalog->providers[i] = (CatalogProvider){
			.id = i,
			.name = psprintf("p%d", i),
			.enabled = true,
			.format = &some_format,
			.format_name = some_format.name,
			.endpoint = { .auth_type = AUTH_BEARER, .base_url = "https://example.com" },
			.encrypted_key = i < nproviders - 1 ? "key" : NULL,
		};

	catalog->nmodels = nmodels;
	catalog->models = palloc0(sizeof(CatalogModel) * nmodels);
	for (int i = 0; i < nmodels; i++)
	{
		PowerLevel level = (PowerLevel) (i * POWER_LEVEL_COUNT / nmodels);

		catalog->models[i] = (CatalogModel){
			.id = i,
			.provider = &catalog->providers[i % nproviders],
			.name = psprintf("m%d", i),
			.power_level = level,
			.enabled = true,
			.prices = { .input = 1000 + i,
						.cached_input = PRICE_UNKNOWN,
						.cache_write = PRICE_UNKNOWN,
						.output = 4000 + i,
						.long_input = PRICE_UNKNOWN,
						.long_cached_input = PRICE_UNKNOWN,
						.long_output = PRICE_UNKNOWN },
			.context_window = 128000,
			.max_output_tokens = 16384,
			.retires_on = DATEVAL_NOEND,
		};
		for (int above = level + 1; above <= POWER_LEVEL_COUNT; above++)
			catalog->level_start[above] = i + 1;
	}

	catalog->ntiers = 1;
	catalog->tiers = palloc0(sizeof(CatalogTier));
	catalog->tiers[0] = (CatalogTier){ .name = "all", .power_levels = { true, true, true }, .rate = RATE_UNLIMITED };
	catalog->rules = palloc0(sizeof(struct CatalogRuleList) * POWER_LEVEL_COUNT);
	for (int level = 0; level < POWER_LEVEL_COUNT; level++)
	{
		struct CatalogRuleList *list = &catalog->rules[level];
		int						first = catalog->level_start[level];
		int						size = catalog->level_start[level + 1] - first;

		list->nrules = nrules;
		list->rules = palloc0(sizeof(CatalogRule) * (nrules + 1));
		for (int i = 0; i < nrules; i++)
			list->rules[i] = (CatalogRule){
				.priority = i + 1,
				.model = &catalog->models[first + i * 7 % size],
				.fallback = &catalog->models[first + (i * 7 + 1) % size],
			};
	}
	return catalog;
}

static UserKey
user_key(int32 provider_id)
{
	return (UserKey){ .id = 1, .provider_id = provider_id, .base_url = "https://example.com" };
}

/* A key for each provider of the array; a negative number is one for another address. */
static UserKey *
user_keys_from_array(ArrayType *array, int *nkeys)
{
	UserKey *keys;
	Datum	*members;

	deconstruct_array(array, INT4OID, 4, true, TYPALIGN_INT, &members, NULL, nkeys);
	keys = palloc(sizeof(UserKey) * (*nkeys + 1));
	for (int i = 0; i < *nkeys; i++)
	{
		keys[i] = user_key(abs(DatumGetInt32(members[i])));
		if (DatumGetInt32(members[i]) < 0)
			keys[i].base_url = "https://example.com/elsewhere";
	}
	return keys;
}

static RouteCaller
make_caller(const UserKey *user_keys, int nuser_keys)
{
	return (RouteCaller){
		.user_id = "ann",
		.tier = "all",
		.setting_default_level = "eco",
		.fallback_scope = FALLBACK_RULES,
		.byok = BYOK_PREFER,
		.user_keys = user_keys,
		.nuser_keys = nuser_keys,
	};
}

/* The health of models, by number: closed, half, probed, open, paused or down. */
static Datum *ills;
static int	  nills;

static void
look_at_ills(const CatalogModel *model, bool used_byok, CandidateHealth *health)
{
	char *ill = model->id < nills ? TextDatumGetCString(ills[model->id]) : "closed";

	if (strcmp(ill, "open") == 0 || strcmp(ill, "paused") == 0)
		*health = (CandidateHealth){ .circuit = CIRCUIT_OPEN,
									 .left_ms = 22001,
									 .failures = 5,
									 .asked = strcmp(ill, "paused") == 0 };
	else if (strcmp(ill, "half") == 0)
		*health = (CandidateHealth){ .circuit = CIRCUIT_HALF_OPEN, .failures = 5 };
	else if (strcmp(ill, "probed") == 0)
		*health = (CandidateHealth){ .circuit = CIRCUIT_PROBED, .failures = 5 };
	else if (strcmp(ill, "down") == 0)
		health->down_since = 1;
}

/*
 * test_plan(models int, rules int, byok text, user_keys int[], model text,
 *		health text[]) RETURNS text[]
 *
 * The plan of a request at level eco over three providers: "p0/m0 user: reason",
 * "… platform: reason", and "… not: reason" for the excluded.
 */
Datum
test_plan(PG_FUNCTION_ARGS)
{
	Catalog	   *catalog = make_catalog(3, PG_GETARG_INT32(0), PG_GETARG_INT32(1));
	char	   *byok = text_to_cstring(PG_GETARG_TEXT_PP(2));
	int			nkeys;
	UserKey	   *keys = user_keys_from_array(PG_GETARG_ARRAYTYPE_P(3), &nkeys);
	RouteCaller caller = make_caller(keys, nkeys);
	ChatRequest request = { .choices = 1, .input_tokens = 1000 };
	LlmError	error = { 0 };
	RoutePlan	plan;
	Datum	   *lines;

	if (!PG_ARGISNULL(5))
	{
		deconstruct_array(PG_GETARG_ARRAYTYPE_P(5), TEXTOID, -1, false, TYPALIGN_INT, &ills, NULL, &nills);
		caller.look_at_health = look_at_ills;
	}
	request.router.byok = strcmp(byok, "only") == 0	   ? BYOK_ONLY
						  : strcmp(byok, "never") == 0 ? BYOK_NEVER
													   : BYOK_PREFER;
	if (!route_plan(catalog, &request, NULL,
					PG_ARGISNULL(4) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(4)),
					&caller, &plan, &error))
		error_throw(&error);
	lines = palloc(sizeof(Datum) * (plan.nentries + 1));
	for (int i = 0; i < plan.nentries; i++)
	{
		const PlanEntry *entry = &plan.entries[i];
		const char		*key = !entry->eligible ? "not" : entry->used_byok ? "user"
																		   : "platform";

		lines[i] = CStringGetTextDatum(psprintf("%s/%s %s: %s", entry->model->provider->name,
												entry->model->name, key,
												route_reason(&plan, entry)));
	}
	PG_RETURN_ARRAYTYPE_P(construct_array(lines, plan.nentries, TEXTOID, -1, false, TYPALIGN_INT));
}

/*
 * test_plan_microseconds(models int, rules int, loops int) RETURNS float8
 *
 * The mean time of one plan; rules are those of one tier and level.
 */
Datum
test_plan_microseconds(PG_FUNCTION_ARGS)
{
	Catalog		 *catalog = make_catalog(10, PG_GETARG_INT32(0), PG_GETARG_INT32(1));
	int			  loops = PG_GETARG_INT32(2);
	UserKey		  key = user_key(3);
	RouteCaller	  caller = make_caller(&key, 1);
	ChatRequest	  request = { .choices = 1, .input_tokens = 1000 };
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "plans", ALLOCSET_DEFAULT_SIZES);
	MemoryContext previous = MemoryContextSwitchTo(context);
	instr_time	  start;
	instr_time	  end;

	INSTR_TIME_SET_CURRENT(start);
	for (int i = 0; i < loops; i++)
	{
		RoutePlan plan;
		LlmError  error;

		if (!route_plan(catalog, &request, NULL, NULL, &caller, &plan, &error))
			error_throw(&error);
		MemoryContextReset(context);
	}
	INSTR_TIME_SET_CURRENT(end);
	MemoryContextSwitchTo(previous);
	INSTR_TIME_SUBTRACT(end, start);
	PG_RETURN_FLOAT8((double) INSTR_TIME_GET_MICROSEC(end) / loops);
}

/* ------------------------------------------------------------------------
 * Retries
 * ------------------------------------------------------------------------
 */

static Outcome
outcome_from_name(const char *name)
{
	for (int i = 0; i < OUTCOME_COUNT; i++)
	{
		if (strcmp(outcome_name((Outcome) i), name) == 0)
			return (Outcome) i;
	}
	elog(ERROR, "unknown outcome \"%s\"", name);
}

/*
 * Entries from "provider window" words, such as {"a 8000", "b 0", "b 0 open"}; a
 * capital: with the user's key.
 */
static RoutePlan
plan_from_array(ArrayType *array)
{
	RoutePlan plan = { 0 };
	Datum	 *words;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &words, NULL, &plan.nentries);
	plan.neligible = plan.nentries;
	plan.entries = palloc0(sizeof(PlanEntry) * (plan.nentries + 1));
	for (int i = 0; i < plan.nentries; i++)
	{
		CatalogModel	*model = palloc0(sizeof(CatalogModel));
		CatalogProvider *provider = palloc0(sizeof(CatalogProvider));
		char			*word = TextDatumGetCString(words[i]);

		/* The same provider is one object in a catalogue. */
		for (int j = 0; j < i; j++)
		{
			if (tolower(plan.entries[j].model->provider->name[0]) == tolower(word[0]))
				provider = unconstify(CatalogProvider *, plan.entries[j].model->provider);
		}
		provider->name = word;
		model->provider = provider;
		model->context_window = atol(word + 2);
		if (strstr(word, "open"))
			plan.entries[i].health.circuit = CIRCUIT_OPEN;
		plan.entries[i].model = model;
		plan.entries[i].eligible = true;
		plan.entries[i].used_byok = isupper((unsigned char) word[0]);
	}
	return plan;
}

/*
 * test_retry(outcome text, entries text[], tries int, retry_after_ms int,
 *		remaining_ms int, attempts int, do_not_retry bool, random float8,
 *		delivered bool) RETURNS text
 *
 * After the given number of tries of the first entry, of at most 10 attempts in
 * all: "again after N", "next N" (counted from 0) or "give up".
 */
Datum
test_retry(PG_FUNCTION_ARGS)
{
	RoutePlan  plan = plan_from_array(PG_GETARG_ARRAYTYPE_P(1));
	RetryState state = {
		.attempts = PG_GETARG_INT32(5),
		.max_attempts = 10,
		.tries_of_entry = PG_GETARG_INT32(2),
		.remaining_ms = PG_GETARG_INT32(4),
		.random = PG_GETARG_FLOAT8(7),
		.delivered = PG_GETARG_BOOL(8),
	};
	RetryDecision next = retry_decide(&plan, &state,
									  outcome_from_name(text_to_cstring(PG_GETARG_TEXT_PP(0))),
									  PG_GETARG_INT32(3), PG_GETARG_BOOL(6));
	char		 *text = "give up";

	if (next.step == STEP_RETRY_SAME)
		text = psprintf("again after %d", next.wait_ms);
	else if (next.step == STEP_NEXT_CANDIDATE)
		text = psprintf("next %d", next.next_entry);
	PG_RETURN_TEXT_P(cstring_to_text(text));
}

/*
 * test_retry_walk(outcomes text[], entries text[]) RETURNS int[]
 *
 * The entries that a call tries whose attempts end so, one after another, without
 * a retry; the first is 0.
 */
Datum
test_retry_walk(PG_FUNCTION_ARGS)
{
	RoutePlan  plan = plan_from_array(PG_GETARG_ARRAYTYPE_P(1));
	RetryState state = { .max_attempts = 10, .remaining_ms = 60000 };
	Datum	  *outcomes;
	Datum	  *tried;
	int		   noutcomes;
	int		   ntried = 1;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), TEXTOID, -1, false, TYPALIGN_INT, &outcomes, NULL, &noutcomes);
	tried = palloc0(sizeof(Datum) * (noutcomes + 1));
	for (int i = 0; i < noutcomes; i++)
	{
		RetryDecision next;

		state.attempts++;
		next = retry_decide(&plan, &state, outcome_from_name(TextDatumGetCString(outcomes[i])), -1, true);
		if (next.step != STEP_NEXT_CANDIDATE)
			break;
		state.entry = next.next_entry;
		tried[ntried++] = Int32GetDatum(state.entry);
	}
	PG_RETURN_ARRAYTYPE_P(construct_array(tried, ntried, INT4OID, sizeof(int32), true, TYPALIGN_INT));
}

/* test_retry_sqlstate(outcome text) RETURNS text */
Datum
test_retry_sqlstate(PG_FUNCTION_ARGS)
{
	Outcome outcome = outcome_from_name(text_to_cstring(PG_GETARG_TEXT_PP(0)));

	PG_RETURN_TEXT_P(cstring_to_text(unpack_sql_state(retry_sqlstate(outcome))));
}

/*
 * test_retry_chance(seed float8, entries int, max_attempts int, deadline_ms int)
 *		RETURNS text
 *
 * A call whose attempts all fail, each in a way and after a time of chance, at so
 * many entries with and without open circuits: "attempts milliseconds", the waits
 * included.
 */
Datum
test_retry_chance(PG_FUNCTION_ARGS)
{
	pg_prng_state chance;
	int			  nentries = PG_GETARG_INT32(1);
	RoutePlan	  plan = { .nentries = nentries, .neligible = nentries };
	RetryState	  state = { .max_attempts = PG_GETARG_INT32(2) };
	int64		  deadline = PG_GETARG_INT32(3);
	int64		  now = 0;

	pg_prng_fseed(&chance, PG_GETARG_FLOAT8(0));
	plan.entries = palloc0(sizeof(PlanEntry) * nentries);
	for (int i = 0; i < nentries; i++)
	{
		CatalogModel *model = palloc0(sizeof(CatalogModel));

		model->provider = palloc0(sizeof(CatalogProvider));
		model->context_window = (int64) (pg_prng_double(&chance) * 9000);
		plan.entries[i] = (PlanEntry){ .model = model, .eligible = true, .used_byok = pg_prng_double(&chance) < 0.3 };
	}
	for (;;)
	{
		Outcome		  outcome = 1 + (int) (pg_prng_double(&chance) * (OUTCOME_COUNT - 1));
		int64		  retry_after = pg_prng_double(&chance) < 0.3 ? (int64) (pg_prng_double(&chance) * 90000) : -1;
		RetryDecision next;

		now += (int64) (pg_prng_double(&chance) * 3000);
		now = Min(now, deadline);
		state.attempts++;
		state.tries_of_entry++;
		state.remaining_ms = deadline - now;
		state.random = pg_prng_double(&chance);
		for (int i = 0; i < nentries; i++)
			plan.entries[i].health.circuit = pg_prng_double(&chance) < 0.3 ? CIRCUIT_OPEN : CIRCUIT_CLOSED;
		next = retry_decide(&plan, &state, outcome, retry_after, pg_prng_double(&chance) < 0.1);
		if (next.step == STEP_GIVE_UP)
			break;
		if (next.next_entry < state.entry || next.next_entry >= nentries)
			elog(ERROR, "from entry %d to %d", state.entry, next.next_entry);
		if (next.step == STEP_NEXT_CANDIDATE)
			state.tries_of_entry = 0;
		state.entry = next.next_entry;
		now += next.wait_ms;
	}
	PG_RETURN_TEXT_P(cstring_to_text(psprintf("%d %lld", state.attempts, (long long) now)));
}

/* ------------------------------------------------------------------------
 * Circuits
 * ------------------------------------------------------------------------
 */

static char *
circuit_text(const Circuit *circuit, int64 now)
{
	int64 left;

	switch (circuit_state(circuit, now, &left))
	{
		case CIRCUIT_CLOSED:
			return psprintf("closed %d", circuit->failures);
		case CIRCUIT_OPEN:
			return psprintf("open %lld", (long long) left);
		case CIRCUIT_HALF_OPEN:
			return "half-open";
		case CIRCUIT_PROBED:
			return "probed";
	}
	pg_unreachable();
}

/*
 * test_circuit(steps text[], failures int, cooldown_ms int) RETURNS text
 *
 * A new circuit goes through steps: ok, fail, fail MODEL, pause, pause MS,
 * nothing, probe (become it), and for the probe's own end probe-ok, probe-fail,
 * probe-nothing; after MS moves the clock.  Returns its state after the last, with
 * the failures or the ms left, and " refused" when that was a probe in vain.
 */
Datum
test_circuit(PG_FUNCTION_ARGS)
{
	const CircuitRules rules = { PG_GETARG_INT32(1), PG_GETARG_INT32(2) };
	Circuit			   circuit = { 0 };
	int64			   now = 1000000;
	bool			   refused = false;
	Datum			  *steps;
	int				   nsteps;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), TEXTOID, -1, false, TYPALIGN_INT, &steps, NULL, &nsteps);
	for (int i = 0; i < nsteps; i++)
	{
		char		 *step = TextDatumGetCString(steps[i]);
		char		 *number = strchr(step, ' ');
		bool		  is_probe = strncmp(step, "probe-", 6) == 0;
		char		 *what = is_probe ? step + 6 : step;
		CircuitReport report = { .pause_ms = -1, .is_probe = is_probe };

		refused = false;
		if (strncmp(what, "after", 5) == 0)
		{
			now += atol(number);
			continue;
		}
		if (strcmp(what, "probe") == 0)
		{
			refused = !circuit_probe(&circuit, now);
			continue;
		}
		if (strcmp(what, "ok") == 0)
			report.event = CIRCUIT_SUCCESS;
		else if (strncmp(what, "fail", 4) == 0)
		{
			report.event = CIRCUIT_FAILURE;
			report.model = number ? atoi(number) : 0;
		}
		else if (strncmp(what, "pause", 5) == 0)
		{
			report.event = CIRCUIT_PAUSE;
			report.pause_ms = number ? atol(number) : -1;
		}
		else if (strcmp(what, "nothing") != 0)
			elog(ERROR, "unknown step \"%s\"", step);
		circuit_report(&circuit, &report, &rules, now);
	}
	PG_RETURN_TEXT_P(cstring_to_text(psprintf("%s%s", circuit_text(&circuit, now), refused ? " refused" : "")));
}

/*
 * test_circuit_event(outcome text, kind int, used_byok bool, answered bool,
 *		took_ms int) RETURNS text
 */
Datum
test_circuit_event(PG_FUNCTION_ARGS)
{
	static const char *const names[] = { "-", "success", "failure", "pause" };
	const CircuitAttempt	 attempt = {
			.outcome = outcome_from_name(text_to_cstring(PG_GETARG_TEXT_PP(0))),
			.used_byok = PG_GETARG_BOOL(2),
			.answered = PG_GETARG_BOOL(3),
			.took_ms = PG_GETARG_INT32(4),
	};

	PG_RETURN_TEXT_P(cstring_to_text(names[circuit_event(&attempt, (CircuitKind) PG_GETARG_INT32(1))]));
}

/*
 * circuits_test.c
 *		Circuits in shared memory without calls: of models that exist nowhere else,
 *		all of provider 1000000, with the platform's key.
 */
#include "postgres.h"

#include "fmgr.h"
#include "portability/instr_time.h"
#include "state/circuits.h"
#include "utils/builtins.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(test_circuits_note);
PG_FUNCTION_INFO_V1(test_circuits_state);
PG_FUNCTION_INFO_V1(test_circuits_microseconds);

static const CatalogProvider provider = { .id = 1000000 };

static const CatalogProvider other_provider = { .id = 1000001 };

static void
note(int32 id, Outcome outcome)
{
	const CatalogModel	 model = { .id = id, .provider = &provider };
	const CircuitAttempt attempt = { .outcome = outcome, .answered = true };

	circuits_note(&model, &attempt, 3600 * 1000, false);
}

/*
 * test_circuits_note(model integer, outcome text) RETURNS void: ok, unavailable or
 * rate_limited (for an hour).
 */
Datum
test_circuits_note(PG_FUNCTION_ARGS)
{
	char *name = text_to_cstring(PG_GETARG_TEXT_PP(1));

	for (int i = 0; i < OUTCOME_COUNT; i++)
		if (strcmp(outcome_name((Outcome) i), name) == 0)
			note(PG_GETARG_INT32(0), (Outcome) i);
	PG_RETURN_VOID();
}

/* test_circuits_state(model integer) RETURNS text */
Datum
test_circuits_state(PG_FUNCTION_ARGS)
{
	const CatalogModel model = { .id = PG_GETARG_INT32(0), .provider = &provider };
	CandidateHealth	   health = { 0 };
	LookAtHealth	   look = circuits_looker();

	if (look)
		look(&model, false, &health);
	PG_RETURN_TEXT_P(cstring_to_text(psprintf("%s, %d failures",
											  health.circuit == CIRCUIT_CLOSED ? "closed" : "open",
											  health.failures)));
}

/*
 * test_circuits_microseconds(candidates integer, loops integer) RETURNS float8
 *
 * The mean time that circuits add to a call which is answered: looking at all
 * candidates, admitting one, noting its answer.
 */
Datum
test_circuits_microseconds(PG_FUNCTION_ARGS)
{
	int		   candidates = PG_GETARG_INT32(0);
	int		   loops = PG_GETARG_INT32(1);
	instr_time start;
	instr_time end;

	INSTR_TIME_SET_CURRENT(start);
	for (int i = 0; i < loops; i++)
	{
		const CatalogModel model = { .id = 2000000, .provider = &other_provider };
		LookAtHealth	   look = circuits_looker();
		CandidateHealth	   health = { 0 };
		bool			   is_probe;

		for (int n = 0; look && n < candidates; n++)
			look(&model, false, &health);
		(void) circuits_admit(&model, false, &is_probe);
		circuits_note(&model, &(CircuitAttempt){ .outcome = OUTCOME_OK, .answered = true }, -1, is_probe);
	}
	INSTR_TIME_SET_CURRENT(end);
	INSTR_TIME_SUBTRACT(end, start);
	PG_RETURN_FLOAT8(INSTR_TIME_GET_DOUBLE(end) * 1e6 / loops);
}

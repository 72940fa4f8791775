/*
 * health.c
 *		What SQL sees of circuits: llm_circuit_status() for the view llm_circuits,
 *		and llm_database_health() for llm_status.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "api/arguments.h"
#include "funcapi.h"
#include "state/circuits.h"
#include "state/rounds.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(llm_circuit_status);
PG_FUNCTION_INFO_V1(llm_database_health);

static Datum
interval_of_ms(int64 ms)
{
	Interval *interval = palloc0(sizeof(Interval));

	interval->time = ms * 1000;
	return IntervalPGetDatum(interval);
}

static void
put_circuit(ReturnSetInfo *result, const CircuitStatus *circuit)
{
	static const char *const kinds[] = {
		[CIRCUIT_MODEL] = "model",
		[CIRCUIT_PROVIDER] = "provider",
		[CIRCUIT_ACCOUNT] = "account",
	};
	static const char *const states[] = {
		[CIRCUIT_CLOSED] = "closed",
		[CIRCUIT_OPEN] = "open",
		[CIRCUIT_HALF_OPEN] = "half-open",
		[CIRCUIT_PROBED] = "probed",
	};
	Datum values[5];
	bool  nulls[5] = { false };

	values[0] = CStringGetTextDatum(kinds[circuit->kind]);
	values[1] = Int32GetDatum(circuit->id);
	values[2] = CStringGetTextDatum(states[circuit->state]);
	values[3] = Int32GetDatum(circuit->failures);
	values[4] = interval_of_ms(circuit->left_ms);
	nulls[4] = circuit->state != CIRCUIT_OPEN;
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/* llm_circuit_status() RETURNS SETOF record: the circuits of this database. */
Datum
llm_circuit_status(PG_FUNCTION_ARGS)
{
	CircuitStatus *circuits;
	int			   n;

	argument_require_preloaded();
	InitMaterializedSRF(fcinfo, 0);
	circuits = circuits_list(&n);
	for (int i = 0; i < n; i++)
		put_circuit((ReturnSetInfo *) fcinfo->resultinfo, &circuits[i]);
	return (Datum) 0;
}

/*
 * llm_database_health(database oid) RETURNS record: its circuits that are not
 * closed, its providers that are down, the process that makes a round there, and
 * the entries that circuits of all databases take.
 */
Datum
llm_database_health(PG_FUNCTION_ARGS)
{
	Oid				database = PG_GETARG_OID(0);
	CircuitsSummary summary;
	pid_t			worker;
	TupleDesc		desc;
	Datum			values[4];
	bool			nulls[4] = { false };

	argument_require_preloaded();
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	summary = circuits_summary(database);
	worker = rounds_worker(database);
	values[0] = Int32GetDatum(summary.open);
	values[1] = Int32GetDatum(summary.down);
	values[2] = Int32GetDatum(worker);
	nulls[2] = worker == 0;
	values[3] = Int32GetDatum(summary.used);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

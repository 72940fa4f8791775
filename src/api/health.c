/*
 * health.c
 *		What SQL sees of circuits and health: llm_circuit_status() for the view llm_circuits,
 *		and llm_database_health() for llm_status; and llm_provider_check().
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "api/arguments.h"
#include "api/key_arguments.h"
#include "api/key_change.h"
#include "base/errors.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "secrets/credential.h"
#include "state/circuits.h"
#include "state/rounds.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "workers/health.h"

PG_FUNCTION_INFO_V1(llm_circuit_status);
PG_FUNCTION_INFO_V1(llm_database_health);
PG_FUNCTION_INFO_V1(llm_provider_check);

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

/* The key to check a provider with, into *arguments, which wipes it; none for auth_type none. */
static void
take_platform_key(KeyArguments *arguments)
{
	const CatalogProvider *provider = arguments->provider;
	LlmError			   error = { 0 };

	if (!key_check_possible(provider))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("provider \"%s\" has no request that checks it", provider->name),
				 errhint("Set its check_path in llm_providers.")));
	if (provider->endpoint.auth_type == AUTH_NONE)
		return;
	if (provider->encrypted_key == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_LLM_KEY),
				 errmsg("no key for provider %s", provider->name),
				 errhint("SELECT llm_provider_set_key('%s', '…');", provider->name)));
	arguments->api_key = credential_open(provider->encrypted_key, NULL, provider->origin, &error);
	if (arguments->api_key == NULL)
		error_throw(&error);
}

static HealthStatus
check_provider(const KeyArguments *arguments, KeyCheck *check)
{
	MemoryContext context = CurrentMemoryContext;
	KeyChange	  change;
	HealthStatus  status;

	key_change_begin(&change);
	if (!health_check_now(arguments->provider, arguments->api_key, check, &status))
		ereport(WARNING,
				(errmsg("the check of provider \"%s\" is not kept", arguments->provider->name),
				 errdetail("Another transaction has locked its row in llm_providers.")));
	if (check->message)
		check->message = MemoryContextStrdup(context, check->message);
	key_change_end(&change);
	return status;
}

/*
 * llm_provider_check(provider text) RETURNS record
 *
 * Checks a provider now, and keeps the result.  22023 for an unknown provider,
 * LR005 for one without a key, 55000 for one without check_path.
 */
Datum
llm_provider_check(PG_FUNCTION_ARGS)
{
	KeyArguments arguments = { 0 };
	KeyCheck	 check = { 0 };
	volatile int status = HEALTH_UNKNOWN;
	TupleDesc	 desc;
	Datum		 values[4];
	bool		 nulls[4] = { false };

	argument_require_preloaded();
	PreventCommandIfReadOnly("llm_provider_check()");
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	PG_TRY();
	{
		key_arguments_read(fcinfo, -1, argument_string(fcinfo, 0), &arguments);
		take_platform_key(&arguments);
		status = check_provider(&arguments, &check);
	}
	PG_FINALLY();
	{
		key_arguments_wipe(&arguments);
	}
	PG_END_TRY();
	values[0] = CStringGetTextDatum(health_name((HealthStatus) status));
	values[1] = Int32GetDatum(check.http_status);
	values[2] = Int32GetDatum((int32) check.response_time_ms);
	nulls[1] = nulls[2] = check.http_status == 0;
	nulls[3] = check.message == NULL;
	if (!nulls[3])
		values[3] = CStringGetTextDatum(check.message);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

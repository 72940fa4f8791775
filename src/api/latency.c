/*
 * latency.c
 *		The arithmetic of latency histograms.
 *
 * A histogram is an array of up to HISTOGRAM_SIZE counts.  Element e (from 0)
 * counts response times of 2^(e/4) up to 2^((e+1)/4) milliseconds; the first
 * also takes 0, the last all longer ones; elements that are missing at the end
 * are 0.  So a percentile is known to a factor of 2^(1/4), whatever the scale,
 * and adding histograms loses nothing.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(llm_latency_histogram);
PG_FUNCTION_INFO_V1(llm_latency_histogram_add);
PG_FUNCTION_INFO_V1(llm_latency_percentile);

#define HISTOGRAM_SIZE 80

static int
histogram_element(int64 ms)
{
	if (ms <= 1)
		return 0;
	return Min(HISTOGRAM_SIZE - 1, (int) floor(4 * log2((double) ms)));
}

static ArrayType *
histogram_array(const int64 *counts, int n)
{
	Datum elements[HISTOGRAM_SIZE];

	for (int i = 0; i < n; i++)
		elements[i] = Int64GetDatum(counts[i]);
	return construct_array(elements, n, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE);
}

/* llm_latency_histogram(integer[]) RETURNS bigint[]: response times, in ms. */
Datum
llm_latency_histogram(PG_FUNCTION_ARGS)
{
	Datum *times;
	bool  *nulls;
	int	   n;
	int64  counts[HISTOGRAM_SIZE] = { 0 };
	int	   used = 0;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), INT4OID, sizeof(int32), true, TYPALIGN_INT,
					  &times, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		int element;

		if (nulls[i])
			continue;
		element = histogram_element(DatumGetInt32(times[i]));
		counts[element]++;
		used = Max(used, element + 1);
	}
	PG_RETURN_ARRAYTYPE_P(histogram_array(counts, used));
}

/* Whether the elements of an array lie behind its header, one after the other. */
static bool
is_plain(ArrayType *histogram)
{
	return ARR_NDIM(histogram) == 1 && !ARR_HASNULL(histogram);
}

static int
add_counts(int64 *counts, ArrayType *histogram)
{
	Datum *elements;
	bool  *nulls;
	int	   n;

	if (is_plain(histogram))
	{
		const int64 *added = (const int64 *) ARR_DATA_PTR(histogram);

		n = Min(ARR_DIMS(histogram)[0], HISTOGRAM_SIZE);
		for (int i = 0; i < n; i++)
			counts[i] += added[i];
		return n;
	}
	deconstruct_array(histogram, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE,
					  &elements, &nulls, &n);
	n = Min(n, HISTOGRAM_SIZE);
	for (int i = 0; i < n; i++)
		if (!nulls[i])
			counts[i] += DatumGetInt64(elements[i]);
	return n;
}

/*
 * The counts of an aggregate's state, if another histogram can be added to them
 * in place; or NULL.
 */
static int64 *
state_counts(FunctionCallInfo fcinfo, ArrayType *added)
{
	ArrayType *state = (ArrayType *) PG_GETARG_POINTER(0);

	if (!AggCheckCallContext(fcinfo, NULL) || VARATT_IS_EXTENDED(state) || !is_plain(state) ||
		!is_plain(added) || ARR_DIMS(state)[0] < Min(ARR_DIMS(added)[0], HISTOGRAM_SIZE))
		return NULL;
	return (int64 *) ARR_DATA_PTR(state);
}

/*
 * llm_latency_histogram_add(bigint[], bigint[]) RETURNS bigint[]: element by
 * element.  As the transition function of llm_latency_histogram_sum, it adds to
 * its state in place, once that is long enough.
 */
Datum
llm_latency_histogram_add(PG_FUNCTION_ARGS)
{
	ArrayType *added = PG_GETARG_ARRAYTYPE_P(1);
	int64	  *state = state_counts(fcinfo, added);
	int64	   counts[HISTOGRAM_SIZE] = { 0 };
	int		   n1;
	int		   n2;

	if (state != NULL)
	{
		add_counts(state, added);
		PG_RETURN_DATUM(PG_GETARG_DATUM(0));
	}
	n1 = add_counts(counts, PG_GETARG_ARRAYTYPE_P(0));
	n2 = add_counts(counts, added);
	PG_RETURN_ARRAYTYPE_P(histogram_array(counts, Max(n1, n2)));
}

/* The time at which a part (0 to 1) of an element's calls is over, in ms. */
static double
time_within(int element, double part)
{
	if (element == 0)
		return part * exp2(0.25);
	return exp2((element + part) / 4);
}

/*
 * llm_latency_percentile(bigint[], double precision) RETURNS double precision:
 * the time within which that share of the calls ended, in ms; NULL without
 * calls.  The calls of an element are taken to be spread over it evenly on the
 * scale of logarithms.
 */
Datum
llm_latency_percentile(PG_FUNCTION_ARGS)
{
	int64  counts[HISTOGRAM_SIZE] = { 0 };
	int	   n = add_counts(counts, PG_GETARG_ARRAYTYPE_P(0));
	double fraction = PG_GETARG_FLOAT8(1);
	double calls = 0;
	double wanted;
	double below = 0;

	if (!(fraction >= 0 && fraction <= 1))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("percentile %g is not between 0 and 1", fraction),
				 errhint("Give 0.95 for the time within which 95 %% of the calls ended.")));
	for (int i = 0; i < n; i++)
		calls += counts[i];
	if (calls <= 0)
		PG_RETURN_NULL();
	wanted = fraction * calls;
	for (int i = 0; i < n; i++)
	{
		if (counts[i] > 0 && below + counts[i] >= wanted)
			PG_RETURN_FLOAT8(time_within(i, (wanted - below) / counts[i]));
		below += counts[i];
	}
	PG_RETURN_FLOAT8(time_within(n - 1, 1));
}

/*
 * ledger.c
 *		What SQL sees of the ledger's inside: llm_ledger_status() for the view
 *		llm_status, and the arithmetic of latency histograms.
 */
#include "postgres.h"

#include <math.h>

#include "api/arguments.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "state/ledger_ring.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(llm_ledger_status);
PG_FUNCTION_INFO_V1(llm_latency_histogram);
PG_FUNCTION_INFO_V1(llm_latency_histogram_add);

/* ------------------------------------------------------------------------
 * llm_ledger_status()
 * ------------------------------------------------------------------------
 */

#define STATUS_COLUMNS 13

/* A consistent copy of what the rows show. */
typedef struct Status
{
	LedgerQueue queues[LEDGER_MAX_QUEUES];
	TimestampTz oldest[LEDGER_MAX_QUEUES]; /* 0: nothing is queued */
	pid_t		launcher_pid;
	int64		free_blocks;
	int64		total_blocks;
	int			n;
} Status;

/* When the first of all queued records was queued; 0: none is. */
static TimestampTz
oldest_queued(const LedgerQueue *queue)
{
	TimestampTz oldest = 0;

	for (int kind = 0; kind < LEDGER_KIND_COUNT; kind++)
	{
		int32 head = queue->lists[kind].head;

		if (head != LEDGER_NONE && (oldest == 0 || ledger_record(head)->queued_at < oldest))
			oldest = ledger_record(head)->queued_at;
	}
	return oldest;
}

static void
read_status(Status *status)
{
	LWLockAcquire(ledger_lock, LW_SHARED);
	status->launcher_pid = ledger_ring->launcher_pid;
	status->free_blocks = ledger_ring->free_blocks;
	status->total_blocks = ledger_ring->total_blocks;
	for (int i = 0; i < LEDGER_MAX_QUEUES; i++)
	{
		const LedgerQueue *queue = &ledger_ring->queues[i];

		if (!OidIsValid(queue->database))
			continue;
		status->queues[status->n] = *queue;
		status->oldest[status->n] = oldest_queued(queue);
		status->n++;
	}
	LWLockRelease(ledger_lock);
}

static const char *
writer_state_name(LedgerWriterState state)
{
	switch (state)
	{
		case WRITER_NONE:
			return "none";
		case WRITER_STARTING:
			return "starting";
		case WRITER_READY:
			return "running";
		case WRITER_FAILED:
			return "failed";
	}
	return "unknown";
}

static void
put_status(ReturnSetInfo *result, const Status *status, int i)
{
	const LedgerQueue *queue = &status->queues[i];
	Datum			   values[STATUS_COLUMNS];
	bool			   nulls[STATUS_COLUMNS] = { false };

	values[0] = ObjectIdGetDatum(queue->database);
	values[1] = Int32GetDatum(status->launcher_pid);
	nulls[1] = status->launcher_pid == 0;
	values[2] = Int32GetDatum(queue->writer_pid);
	nulls[2] = queue->writer_pid == 0;
	values[3] = CStringGetTextDatum(writer_state_name(queue->writer_state));
	values[4] = Int32GetDatum(queue->open);
	values[5] = Int32GetDatum(ledger_queue_length(queue));
	values[6] = TimestampTzGetDatum(status->oldest[i]);
	nulls[6] = status->oldest[i] == 0;
	values[7] = Int64GetDatum(queue->committed);
	values[8] = Int64GetDatum(queue->quarantined);
	values[9] = Int64GetDatum(queue->logged);
	values[10] = Int64GetDatum((int64) queue->blocks * LEDGER_BLOCK_SIZE);
	values[11] = Int64GetDatum((status->total_blocks - status->free_blocks) * LEDGER_BLOCK_SIZE);
	values[12] = Int64GetDatum(status->total_blocks * LEDGER_BLOCK_SIZE);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

Datum
llm_ledger_status(PG_FUNCTION_ARGS)
{
	Status *status;
	bool	shown = false;

	argument_require_preloaded();
	InitMaterializedSRF(fcinfo, 0);
	status = palloc0(sizeof(Status));
	read_status(status);
	for (int i = 0; i < status->n; i++)
	{
		put_status((ReturnSetInfo *) fcinfo->resultinfo, status, i);
		shown |= status->queues[i].database == MyDatabaseId;
	}

	/* This database has a row even before its first call. */
	if (!shown)
	{
		status->queues[0] = (LedgerQueue){ .database = MyDatabaseId };
		status->oldest[0] = 0;
		put_status((ReturnSetInfo *) fcinfo->resultinfo, status, 0);
	}
	return (Datum) 0;
}

/* ------------------------------------------------------------------------
 * Latency histograms: see the column latency_histogram of llm_usage_rollup
 * ------------------------------------------------------------------------
 */

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

static int
add_counts(int64 *counts, ArrayType *histogram)
{
	Datum *elements;
	bool  *nulls;
	int	   n;

	deconstruct_array(histogram, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE,
					  &elements, &nulls, &n);
	n = Min(n, HISTOGRAM_SIZE);
	for (int i = 0; i < n; i++)
		if (!nulls[i])
			counts[i] += DatumGetInt64(elements[i]);
	return n;
}

/* llm_latency_histogram_add(bigint[], bigint[]) RETURNS bigint[]: element by element. */
Datum
llm_latency_histogram_add(PG_FUNCTION_ARGS)
{
	int64 counts[HISTOGRAM_SIZE] = { 0 };
	int	  n1 = add_counts(counts, PG_GETARG_ARRAYTYPE_P(0));
	int	  n2 = add_counts(counts, PG_GETARG_ARRAYTYPE_P(1));

	PG_RETURN_ARRAYTYPE_P(histogram_array(counts, Max(n1, n2)));
}

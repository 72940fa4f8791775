/*
 * ledger.c
 *		What SQL sees of the ledger's inside: llm_ledger_status() for the view
 *		llm_status.
 */
#include "postgres.h"

#include "api/arguments.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "state/ledger_ring.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(llm_ledger_status);

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

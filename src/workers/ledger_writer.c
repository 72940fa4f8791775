/*
 * ledger_writer.c
 *		The ledger writer: one process a database that turns its queue of
 *		settled records into rows.
 *
 * A turn takes what the queue has, up to BATCH_MAX records, writes it in one
 * transaction, takes it off the queue and wakes the callers that wait for it.
 * What is settled while a commit is under way makes the next batch, so that a
 * busy server commits many records at once and an idle one each at once.
 *
 * A batch that is refused is written record by record, and a record that is
 * refused by itself goes to llm_usage_quarantine, else to the server log.  What
 * may be possible later (a lock, a full disk) stays queued and is tried again.
 *
 * Notes (entries of the audit log) have a list and transactions of their own in
 * each turn, so that neither kind can fail because of the other.  What cannot be
 * written now is tried again after NOTE_RETRY_MS, and waits for a lock much less
 * long than that (llm_note_write says how long), since callers wait meanwhile.  A
 * note that is refused becomes a line of the server log.
 *
 * The writer leaves when it has been idle for llm_router.worker_idle_timeout
 * and no call is under way in its database; when another database needs its
 * place and no call is under way; and, told by SIGTERM, when every call of that
 * moment has been written, at the latest after TOLD_PATIENCE_MS.  It sleeps
 * without transaction, snapshot or statement.
 */
#include "postgres.h"

#include "base/compat.h"
#include "base/settings.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "state/ledger_row.h"
#include "state/ledger_spill.h"
#include "state/ledger_writers.h"
#include "storage/ipc.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "workers/key_use.h"
#include "workers/ledger_batch.h"
#include "workers/worker.h"
#include "workers/workers.h"

#define BATCH_MAX			 512
#define RETRY_FIRST_MS		 50
#define RETRY_LAST_MS		 1000
#define TOLD_PATIENCE_MS	 10000
#define DELAY_LOG_MS		 10000
#define NOTE_RETRY_MS		 1000
#define MAINTENANCE_MS		 (3600 * 1000)
#define MAINTENANCE_RETRY_MS (60 * 1000)

/* The lines of the spill file that are still to be written, by kind. */
typedef struct Spill
{
	bool  pending;
	List *lines[LEDGER_KIND_COUNT];
	int	  done[LEDGER_KIND_COUNT];
} Spill;

static Spill		 spill;
static bool			 orphans_closed;
static MemoryContext batch_context; /* reset each turn */

static void
sleep_ms(long timeout)
{
	static uint32 wait_event;

	if (wait_event == 0)
		wait_event = compat_wait_event("LlmRouterLedgerWriter");
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, timeout,
					 wait_event);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
}

/* ------------------------------------------------------------------------
 * One batch
 * ------------------------------------------------------------------------
 */

/* Where records went, for the counters of llm_status. */
typedef enum Destination
{
	TO_TABLE,
	TO_QUARANTINE,
	TO_LOG
} Destination;

static void
count_records(LedgerQueue *queue, const LedgerBatch *batch, Destination destination)
{
	switch (destination)
	{
		case TO_TABLE:
			if (batch->kind == LEDGER_CALL)
				queue->committed += batch->n;
			break;
		case TO_QUARANTINE:
			queue->quarantined += batch->n;
			break;
		case TO_LOG:
			queue->logged += batch->n;
			break;
	}
}

/* Take a batch off the queue and wake the callers that wait for it. */
static void
take_off_queue(const LedgerBatch *batch, Destination destination)
{
	LedgerQueue *queue = ledger_writer_queue();
	int32		 owners[BATCH_MAX];
	int			 nowners = 0;

	for (int i = 0; i < batch->n; i++)
	{
		const LedgerRecord *record = ledger_record(batch->blocks[i]);

		if (record->owner_waits)
			owners[nowners++] = record->owner;
	}
	LWLockAcquire(ledger_lock, LW_EXCLUSIVE);
	ledger_queue_advance(queue, batch->kind, batch->n);
	count_records(queue, batch, destination);
	LWLockRelease(ledger_lock);
	for (int i = 0; i < nowners; i++)
		ledger_wake(owners[i]);
}

static void
finish(const LedgerBatch *batch, Destination destination)
{
	if (batch->blocks != NULL)
		take_off_queue(batch, destination);
	else
	{
		LWLockAcquire(ledger_lock, LW_EXCLUSIVE);
		count_records(ledger_writer_queue(), batch, destination);
		LWLockRelease(ledger_lock);
		spill.done[batch->kind] += batch->n;
	}
}

static void
finish_in_log(const LedgerBatch *batch, const char *reason)
{
	for (int i = 0; i < batch->n; i++)
	{
		if (batch->blocks != NULL)
			ledger_log_record(MyDatabaseId, batch->blocks[i], reason);
		else
			ledger_log_line(MyDatabaseId, batch->lines[i], reason);
	}
	finish(batch, TO_LOG);
}

/* True: done with, one way or other.  False: later. */
static bool
set_aside(const LedgerBatch *one, const char *why)
{
	char *reason;

	if (one->kind == LEDGER_NOTE)
	{
		finish_in_log(one, why);
		return true;
	}
	switch (batch_quarantine(one, why, &reason))
	{
		case BATCH_COMMITTED:
			finish(one, TO_QUARANTINE);
			return true;
		case BATCH_RETRY:
			return false;
		default:
			finish_in_log(one, why);
			return true;
	}
}

/* Say in the log why records wait: at once, then now and again. */
static void
log_delay(const LedgerBatch *batch, const char *reason)
{
	static TimestampTz last[LEDGER_KIND_COUNT];
	TimestampTz		   now = GetCurrentTimestamp();

	if (!TimestampDifferenceExceeds(last[batch->kind], now, DELAY_LOG_MS))
		return;
	last[batch->kind] = now;
	ereport(LOG,
			(errmsg("llm_router: the %s cannot be written now: %s",
					batch->kind == LEDGER_CALL ? "ledger" : "audit log", reason),
			 errhint("%d records stay queued; it is tried again.", batch->n)));
}

/* Write a batch.  False: what is left of it is to be tried again. */
static bool
write_batch(const LedgerBatch *batch)
{
	char *reason;

	switch (batch_write(batch, &reason))
	{
		case BATCH_COMMITTED:
			finish(batch, TO_TABLE);
			return true;
		case BATCH_NO_EXTENSION:
			finish_in_log(batch, "the extension is not installed any more");
			return true;
		case BATCH_RETRY:
			log_delay(batch, reason);
			return false;
		case BATCH_REJECTED:
			break;
	}
	if (batch->n == 1)
		return set_aside(batch, reason);
	for (int i = 0; i < batch->n; i++)
	{
		LedgerBatch one = {
			.kind = batch->kind,
			.n = 1,
			.blocks = batch->blocks ? batch->blocks + i : NULL,
			.lines = batch->lines ? batch->lines + i : NULL,
		};

		if (!write_batch(&one))
			return false;
	}
	return true;
}

/* ------------------------------------------------------------------------
 * Turns
 * ------------------------------------------------------------------------
 */

typedef enum TurnResult
{
	TURN_NOTHING,
	TURN_WROTE,
	TURN_RETRY
} TurnResult;

/* The queue's first records of a kind; no calls: note that the writer sleeps. */
static int
take_turn(LedgerKind kind, int32 *blocks)
{
	LedgerQueue *queue = ledger_writer_queue();
	int			 n;

	LWLockAcquire(ledger_lock, LW_EXCLUSIVE);
	n = ledger_queue_peek(queue, kind, blocks, BATCH_MAX);
	if (kind == LEDGER_CALL)
		queue->writer_sleeps = n == 0;
	LWLockRelease(ledger_lock);
	return n;
}

static TurnResult
write_queue(LedgerKind kind)
{
	int32		blocks[BATCH_MAX];
	LedgerBatch batch = { .kind = kind, .blocks = blocks };

	batch.n = take_turn(kind, blocks);
	if (batch.n == 0)
		return TURN_NOTHING;
	if (kind == LEDGER_CALL)
		key_use_collect(&batch);
	return write_batch(&batch) ? TURN_WROTE : TURN_RETRY;
}

static TurnResult
write_spill(LedgerKind kind)
{
	const char *lines[BATCH_MAX];
	LedgerBatch batch = { .kind = kind, .lines = lines };
	const List *from = spill.lines[kind];

	while (batch.n < BATCH_MAX && spill.done[kind] + batch.n < list_length(from))
	{
		lines[batch.n] = list_nth(from, spill.done[kind] + batch.n);
		batch.n++;
	}
	if (batch.n == 0)
		return TURN_NOTHING;
	return write_batch(&batch) ? TURN_WROTE : TURN_RETRY;
}

/* The queue comes first: callers wait for it. */
static TurnResult
write_kind(LedgerKind kind)
{
	TurnResult result = write_queue(kind);

	return result == TURN_NOTHING ? write_spill(kind) : result;
}

static TurnResult
write_notes(void)
{
	static TimestampTz not_before;
	TimestampTz		   now = GetCurrentTimestamp();
	TurnResult		   result;

	if (now < not_before)
		return TURN_RETRY;
	result = write_kind(LEDGER_NOTE);
	if (result == TURN_RETRY)
		not_before = TimestampTzPlusMilliseconds(now, NOTE_RETRY_MS);
	return result;
}

/* Until then, nobody can tell from the tables how much was used. */
static void
note_catching_up(void)
{
	LWLockAcquire(ledger_lock, LW_EXCLUSIVE);
	ledger_writer_queue()->writer_catches_up = spill.pending || !orphans_closed;
	ledger_sleepers_wake();
	LWLockRelease(ledger_lock);
}

static void
load_spill(Oid database)
{
	ListCell *cell;
	List	 *lines = ledger_spill_read(database);

	spill.pending = lines != NIL;
	foreach (cell, lines)
	{
		char	  *line = lfirst(cell);
		LedgerKind kind = ledger_json_kind(line);

		spill.lines[kind] = lappend(spill.lines[kind], line);
	}
	note_catching_up();
}

static void
finish_spill(Oid database)
{
	for (int kind = 0; kind < LEDGER_KIND_COUNT; kind++)
		if (spill.done[kind] < list_length(spill.lines[kind]))
			return;
	ledger_spill_remove(database);
	spill.pending = false;
	note_catching_up();
}

/*
 * Attempts that a crash has cut off.  After the spill file, which may know how they
 * ended.
 */
static TurnResult
close_orphans(void)
{
	char *reason;

	if (spill.pending || orphans_closed)
		return TURN_NOTHING;
	if (batch_close_orphans(&reason) == BATCH_RETRY)
		return TURN_RETRY;
	if (reason != NULL)
		ereport(LOG, (errmsg("llm_router: could not mark interrupted attempts: %s", reason)));
	orphans_closed = true;
	note_catching_up();
	return TURN_NOTHING;
}

/*
 * Work for once an hour.  It says COMMITTED when it has done something and there
 * may be more to do, REJECTED without a reason when there is not.
 */
typedef struct Maintenance
{
	const char *what;
	BatchResult (*work)(char **reason);
	TimestampTz next;
} Maintenance;

/* With records only: a database without any gets no partitions. */
static Maintenance maintain_partitions = { "maintain the partitions of the ledger",
										   batch_maintain_partitions, 0 };
static Maintenance trim_audit = { "delete old entries of the audit log", batch_trim_audit, 0 };

static BatchResult
maintain(Maintenance *maintenance)
{
	TimestampTz now = GetCurrentTimestamp();
	char	   *reason;
	BatchResult result;

	if (now < maintenance->next)
		return BATCH_REJECTED;
	result = maintenance->work(&reason);
	if (reason != NULL)
		ereport(LOG, (errmsg("llm_router: could not %s: %s", maintenance->what, reason)));
	maintenance->next =
		TimestampTzPlusMilliseconds(now, reason != NULL ? MAINTENANCE_RETRY_MS : MAINTENANCE_MS);
	return result;
}

/* A step of it; the turns go on while there are more, so that calls are written in between. */
static TurnResult
close_totals(void)
{
	char	   *reason;
	BatchResult result = batch_close_totals(&reason);

	if (reason != NULL)
		ereport(LOG, (errmsg("llm_router: could not sum up the usage: %s", reason)));
	return result == BATCH_COMMITTED ? TURN_WROTE : TURN_NOTHING;
}

/*
 * Some of the old entries; the turns go on while there are more, so that calls
 * are written in between.
 */
static TurnResult
trim(void)
{
	if (maintain(&trim_audit) != BATCH_COMMITTED)
		return TURN_NOTHING;
	trim_audit.next = 0;
	return TURN_WROTE;
}

/* Callers wait for calls, so how those went says when the next turn is. */
static TurnResult
run_turn(void)
{
	static bool	  totals_are_behind;
	MemoryContext previous = MemoryContextSwitchTo(batch_context);
	TurnResult	  calls = write_kind(LEDGER_CALL);
	TurnResult	  others = write_notes();

	if (!key_use_write())
		others = TURN_RETRY;
	if (spill.pending)
		finish_spill(MyDatabaseId);
	if (close_orphans() == TURN_RETRY)
		others = TURN_RETRY;
	if (calls == TURN_WROTE)
		(void) maintain(&maintain_partitions);
	if (calls == TURN_WROTE || totals_are_behind)
		totals_are_behind = close_totals() == TURN_WROTE;
	if (others != TURN_RETRY && trim() == TURN_WROTE)
		others = TURN_WROTE;
	MemoryContextSwitchTo(previous);
	MemoryContextReset(batch_context);
	if (calls != TURN_NOTHING)
		return calls;
	return totals_are_behind && others == TURN_NOTHING ? TURN_WROTE : others;
}

/* How long to stay asleep, in ms; 0: leave. */
static long
time_to_stay(TimestampTz told_at)
{
	LedgerLeave leave = {
		.told = told_at != 0,
		.impatient = told_at != 0 &&
					 TimestampDifferenceExceeds(told_at, GetCurrentTimestamp(), TOLD_PATIENCE_MS),
		.idle_timeout = spill.pending ? -1 : setting_worker_idle_timeout,
	};

	return ledger_writer_try_leave(&leave) ? 0 : leave.stay_ms;
}

static void
go_idle(long timeout)
{
	pgstat_report_stat(true);
	pgstat_report_activity(STATE_IDLE, NULL);
	sleep_ms(timeout);
}

static void
writer_loop(void)
{
	TimestampTz told_at = 0;
	long		retry_ms = RETRY_FIRST_MS;

	for (;;)
	{
		TurnResult turn = run_turn();
		long	   stay_ms;

		if (ShutdownRequestPending && told_at == 0)
		{
			told_at = GetCurrentTimestamp();
			ledger_writer_told_to_leave();
		}
		stay_ms = time_to_stay(told_at);
		if (stay_ms == 0)
			return;
		if (turn == TURN_RETRY)
		{
			go_idle(Min(retry_ms, stay_ms));
			retry_ms = Min(retry_ms * 2, RETRY_LAST_MS);
			continue;
		}
		retry_ms = RETRY_FIRST_MS;
		if (turn == TURN_NOTHING)
			go_idle(stay_ms);
		else
			CHECK_FOR_INTERRUPTS();
	}
}

void
llm_router_ledger_writer_main(Datum arg)
{
	Oid database = DatumGetObjectId(arg);

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	BackgroundWorkerUnblockSignals();
	if (!ledger_writer_attach(database))
		proc_exit(0);

	/* Sessions that are there may call after ALLOW_CONNECTIONS false. */
	BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, BGWORKER_BYPASS_ALLOWCONN);
	worker_fix_settings();
	batch_context = AllocSetContextCreate(TopMemoryContext, "llm_router ledger batch",
										  ALLOCSET_DEFAULT_SIZES);
	load_spill(database);
	ledger_writer_ready();
	writer_loop();
	pgstat_report_stat(true);
	proc_exit(0);
}

/*
 * ledger_writers.c
 *		Which databases have a ledger writer.
 *
 * A database has at most one writer.  Its queue's writer_state goes from none
 * to starting when somebody asks the postmaster for the worker, to ready when
 * the worker is connected, and back to none when it leaves or dies.  One that
 * dies before it is ready leaves failed, and the next may be asked for after
 * RESTART_MS: what is wrong must not make processes, and lines in the log, as
 * fast as the machine can.  A start of which nothing is heard is forgotten after
 * START_TIMEOUT_MS.  Two that ask at once: the lock lets the first through.
 *
 * Writers are started by the calls that need them, and by the launcher for
 * records that have none.  They are never restarted by the postmaster: whoever
 * has a record for a database without a writer starts one.
 */
#include "state/ledger_writers.h"

#include "base/compat.h"
#include "base/settings.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#define START_TIMEOUT_MS	5000
#define RESTART_MS			1000
#define KEEP_OUT_TIMEOUT_MS 5000
#define KEEP_OUT_POLL_MS	50
#define TOLD_POLL_MS		50
#define BUSY_POLL_MS		60000

static LedgerQueue *attached_queue;

static void
register_worker(Oid database, BackgroundWorker *worker)
{
	memset(worker, 0, sizeof(*worker));
	worker->bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker->bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker->bgw_restart_time = BGW_NEVER_RESTART;
	worker->bgw_main_arg = ObjectIdGetDatum(database);
	worker->bgw_notify_pid = MyProcPid;
	strlcpy(worker->bgw_library_name, "llm_router", sizeof(worker->bgw_library_name));
	strlcpy(worker->bgw_function_name, "llm_router_ledger_writer_main",
			sizeof(worker->bgw_function_name));
	strlcpy(worker->bgw_type, "llm_router ledger writer", sizeof(worker->bgw_type));
	snprintf(worker->bgw_name, sizeof(worker->bgw_name),
			 "llm_router ledger writer for database %u", database);
}

/* Whether a writer may be asked for.  Lock held. */
static bool
may_start(const LedgerQueue *queue, TimestampTz now)
{
	if (queue->holder != LEDGER_NONE || queue->writer_pid != 0)
		return false;
	switch (queue->writer_state)
	{
		case WRITER_STARTING:
			return TimestampDifferenceExceeds(queue->writer_since, now, START_TIMEOUT_MS);
		case WRITER_FAILED:
			return TimestampDifferenceExceeds(queue->writer_since, now, RESTART_MS);
		case WRITER_NONE:
		case WRITER_READY:
			break;
	}
	return true;
}

static int
writers_count(void)
{
	int n = 0;

	for (int i = 0; i < LEDGER_MAX_QUEUES; i++)
		if (ledger_ring->queues[i].writer_state == WRITER_STARTING ||
			ledger_ring->queues[i].writer_state == WRITER_READY)
			n++;
	return n;
}

static bool
queue_is_unused(const LedgerQueue *queue)
{
	return ledger_queue_length(queue) == 0 && queue->open == 0;
}

/* Of two writers, the one to go first: unused, then the longer untouched. */
static bool
leaves_before(const LedgerQueue *a, const LedgerQueue *b)
{
	if (queue_is_unused(a) != queue_is_unused(b))
		return queue_is_unused(a);
	return a->last_activity < b->last_activity;
}

/*
 * Ask a writer to leave.  One that is unused does so at once, and then no other
 * is asked; one that is in use leaves as soon as no call is under way.
 */
static void
ask_another_to_leave(const LedgerQueue *queue)
{
	LedgerQueue *choice = NULL;

	for (int i = 0; i < LEDGER_MAX_QUEUES; i++)
	{
		LedgerQueue *other = &ledger_ring->queues[i];

		if (other == queue || other->writer_state != WRITER_READY)
			continue;
		if (other->writer_should_leave && queue_is_unused(other))
			return;
		if (choice == NULL || leaves_before(other, choice))
			choice = other;
	}
	if (choice != NULL)
	{
		choice->writer_should_leave = true;
		ledger_wake(choice->writer_process);
	}
}

/* Take the right to start the database's writer.  False: not now, or not us. */
static bool
claim_start(Oid database, bool *full)
{
	LedgerQueue *queue;
	TimestampTz	 now = GetCurrentTimestamp();
	bool		 claimed = false;

	*full = false;
	LWLockAcquire(ledger_lock, LW_EXCLUSIVE);
	queue = ledger_queue_get(database);
	if (queue != NULL && may_start(queue, now))
	{
		queue->writer_state = WRITER_NONE;
		*full = writers_count() >= setting_max_workers;
		if (*full)
			ask_another_to_leave(queue);
		else
		{
			queue->writer_state = WRITER_STARTING;
			queue->writer_since = now;
			claimed = true;
		}
	}
	LWLockRelease(ledger_lock);
	return claimed;
}

static void
start_refused(Oid database)
{
	LedgerQueue *queue;

	LWLockAcquire(ledger_lock, LW_EXCLUSIVE);
	queue = ledger_queue_find(database);
	if (queue != NULL && queue->writer_pid == 0)
	{
		queue->writer_state = WRITER_NONE;
		ask_another_to_leave(queue);
	}
	LWLockRelease(ledger_lock);
}

bool
ledger_writer_start(Oid database)
{
	BackgroundWorker worker;
	bool			 full;

	if (!claim_start(database, &full))
		return !full;
	register_worker(database, &worker);
	if (RegisterDynamicBackgroundWorker(&worker, NULL))
		return true;
	start_refused(database);
	return false;
}

bool
ledger_writer_is_missing(const LedgerQueue *queue)
{
	return queue->database != InvalidOid && ledger_queue_length(queue) > 0 &&
		   queue->holder == LEDGER_NONE && queue->writer_pid == 0;
}

/* The database has no writer from now on.  Lock held. */
static void
leave_queue(LedgerQueue *queue)
{
	queue->writer_state = queue->writer_state == WRITER_READY ? WRITER_NONE : WRITER_FAILED;
	queue->writer_since = GetCurrentTimestamp();
	queue->writer_pid = 0;
	queue->writer_process = LEDGER_NONE;
	queue->writer_should_leave = false;
	queue->writer_sleeps = false;
	ledger_sleepers_wake();
}

static void
writer_detach(int code, Datum arg)
{
	bool records_left;

	LWLockAcquire(ledger_lock, LW_EXCLUSIVE);
	if (attached_queue->writer_pid == MyProcPid)
		leave_queue(attached_queue);
	records_left = ledger_writer_is_missing(attached_queue);
	LWLockRelease(ledger_lock);
	if (records_left)
		ledger_launcher_wake();
}

bool
ledger_writer_attach(Oid database)
{
	LedgerQueue *queue;

	LWLockAcquire(ledger_lock, LW_EXCLUSIVE);
	queue = ledger_queue_get(database);
	if (queue != NULL && queue->writer_pid == 0 && queue->holder != LEDGER_NONE)
		queue->writer_state = WRITER_NONE; /* asked for again when it lets go */
	else if (queue != NULL && queue->writer_pid == 0)
	{
		attached_queue = queue;
		queue->writer_state = WRITER_STARTING;
		queue->writer_since = GetCurrentTimestamp();
		queue->writer_pid = MyProcPid;
		queue->writer_process = compat_my_proc_number();
		queue->writer_should_leave = false;
		queue->writer_sleeps = false;
	}
	LWLockRelease(ledger_lock);

	if (attached_queue != NULL)
		before_shmem_exit(writer_detach, (Datum) 0);
	return attached_queue != NULL;
}

void
ledger_writer_ready(void)
{
	LWLockAcquire(ledger_lock, LW_EXCLUSIVE);
	attached_queue->writer_state = WRITER_READY;
	attached_queue->writer_since = GetCurrentTimestamp();
	ledger_sleepers_wake();
	LWLockRelease(ledger_lock);
}

LedgerQueue *
ledger_writer_queue(void)
{
	return attached_queue;
}

void
ledger_writer_told_to_leave(void)
{
	LWLockAcquire(ledger_lock, LW_EXCLUSIVE);
	attached_queue->epoch++;
	attached_queue->unfinished_before_epoch = attached_queue->open + ledger_queue_length(attached_queue);
	LWLockRelease(ledger_lock);
}

/* How long the writer may stay idle, in ms.  Lock held. */
static long
idle_time_left(const LedgerQueue *queue, long idle_timeout)
{
	TimestampTz since = Max(queue->last_activity, queue->writer_since);

	return idle_timeout - TimestampDifferenceMilliseconds(since, GetCurrentTimestamp());
}

bool
ledger_writer_try_leave(LedgerLeave *leave)
{
	LedgerQueue *queue = attached_queue;
	bool		 unused;
	bool		 leaves;

	LWLockAcquire(ledger_lock, LW_EXCLUSIVE);
	unused = queue_is_unused(queue);
	leave->stay_ms = leave->told ? TOLD_POLL_MS : BUSY_POLL_MS;
	if (leave->told)
		leaves = leave->impatient || queue->unfinished_before_epoch == 0;
	else if (queue->writer_should_leave)
		leaves = unused;
	else if (unused && leave->idle_timeout >= 0)
	{
		leave->stay_ms = idle_time_left(queue, leave->idle_timeout);
		leaves = leave->stay_ms <= 0;
	}
	else
		leaves = false;
	if (leaves)
		leave_queue(queue);
	LWLockRelease(ledger_lock);
	return leaves;
}

/* Take the hold; false when there is a writer to wait for. */
static bool
keep_out_try(Oid database)
{
	LedgerQueue *queue;
	bool		 alone = true;

	LWLockAcquire(ledger_lock, LW_EXCLUSIVE);
	queue = ledger_queue_get(database);
	if (queue != NULL)
	{
		queue->holder = compat_my_proc_number();
		alone = queue->writer_pid == 0; /* one that starts now finds the holder */
		queue->writer_should_leave = !alone;
		ledger_wake(queue->writer_process);
	}
	LWLockRelease(ledger_lock);
	return alone;
}

void
ledger_database_keep_out(Oid database)
{
	TimestampTz since = GetCurrentTimestamp();

	while (!keep_out_try(database) &&
		   !TimestampDifferenceExceeds(since, GetCurrentTimestamp(), KEEP_OUT_TIMEOUT_MS))
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 KEEP_OUT_POLL_MS, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

void
ledger_database_let_in(Oid database)
{
	LedgerQueue *queue;

	LWLockAcquire(ledger_lock, LW_EXCLUSIVE);
	queue = ledger_queue_find(database);
	if (queue != NULL && queue->holder == compat_my_proc_number())
		queue->holder = LEDGER_NONE;
	ledger_sleepers_wake();
	LWLockRelease(ledger_lock);
	ledger_launcher_wake();
}

static void
launcher_detach(int code, Datum arg)
{
	LWLockAcquire(ledger_lock, LW_EXCLUSIVE);
	ledger_ring->launcher_pid = 0;
	ledger_ring->launcher_process = LEDGER_NONE;
	LWLockRelease(ledger_lock);
}

void
ledger_launcher_attach(void)
{
	LWLockAcquire(ledger_lock, LW_EXCLUSIVE);
	ledger_ring->launcher_pid = MyProcPid;
	ledger_ring->launcher_process = compat_my_proc_number();
	LWLockRelease(ledger_lock);
	before_shmem_exit(launcher_detach, (Datum) 0);
}

void
ledger_launcher_wake(void)
{
	ledger_wake(ledger_ring->launcher_process);
}

/*
 * rounds.c
 *		Which databases are due for a round, and who makes it.
 *
 * All of it is protected by ledger_lock: whether a worker may start, and where, is
 * decided for rounds and ledger writers at once.
 *
 * The launcher is woken for a round that is due earlier than it thought.  It asks
 * for the worker ("running" is the database, with no process yet); the worker takes
 * that over when it attaches, and gives it back when it leaves or dies, which wakes
 * the launcher for the next.  A start of which nothing is heard is forgotten after
 * START_TIMEOUT_MS.
 */
#include "state/rounds.h"

#include "base/compat.h"
#include "base/settings.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "state/ledger_writers.h"
#include "state/reencryption.h"
#include "storage/ipc.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#define MAX_DATABASES	 1024
#define START_TIMEOUT_MS 5000
#define AGAIN_MS		 1000
#define YIELD_MS		 200 /* who needed the worker's place comes first */

/* A worker that dies is followed by another, later when it could not even begin. */
#define DIED_RETRY_MS	1000
#define BROKEN_RETRY_MS 60000

typedef struct RoundsDatabase
{
	Oid			database;
	TimestampTz due;
	bool		visited; /* since the server's start */
} RoundsDatabase;

typedef struct Rounds
{
	Oid			running; /* where a round is made or begins; InvalidOid: none */
	TimestampTz running_since;
	pid_t		worker_pid; /* 0: not there yet */
	int32		worker_process;
	bool		should_leave;
	TimestampTz not_before; /* the next round */

	int			   ndatabases;
	RoundsDatabase databases[MAX_DATABASES];
} Rounds;

static Rounds				  *rounds;
static int					   retry_ms = BROKEN_RETRY_MS; /* this worker's, should it die */
static shmem_request_hook_type previous_shmem_request;
static shmem_startup_hook_type previous_shmem_startup;

static void
rounds_shmem_request(void)
{
	if (previous_shmem_request)
		previous_shmem_request();
	RequestAddinShmemSpace(sizeof(Rounds));
}

static void
rounds_shmem_startup(void)
{
	bool found;

	if (previous_shmem_startup)
		previous_shmem_startup();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	rounds = ShmemInitStruct("llm_router rounds", sizeof(Rounds), &found);
	if (!found)
		memset(rounds, 0, sizeof(Rounds));
	LWLockRelease(AddinShmemInitLock);
}

void
rounds_init(void)
{
	previous_shmem_request = shmem_request_hook;
	shmem_request_hook = rounds_shmem_request;
	previous_shmem_startup = shmem_startup_hook;
	shmem_startup_hook = rounds_shmem_startup;
}

/* The database's place, or NULL.  Lock held, as in all that follow. */
static RoundsDatabase *
find_place(Oid database)
{
	for (int i = 0; i < rounds->ndatabases; i++)
		if (rounds->databases[i].database == database)
			return &rounds->databases[i];
	return NULL;
}

/* The same, made if need be, at the cost of one that is never due; or NULL. */
static RoundsDatabase *
get_place(Oid database)
{
	RoundsDatabase *place = find_place(database);

	if (place != NULL)
		return place;
	if (rounds->ndatabases < MAX_DATABASES)
		place = &rounds->databases[rounds->ndatabases++];
	for (int i = 0; place == NULL && i < MAX_DATABASES; i++)
		if (TIMESTAMP_IS_NOEND(rounds->databases[i].due))
			place = &rounds->databases[i];
	if (place != NULL)
		*place = (RoundsDatabase){ .database = database, .due = DT_NOEND };
	return place;
}

void
rounds_due(Oid database, TimestampTz when)
{
	RoundsDatabase *place;
	bool			earlier;

	if (!settings_preloaded || rounds == NULL)
		return;
	LWLockAcquire(ledger_lock, LW_EXCLUSIVE);
	place = get_place(database);
	earlier = place != NULL && when < place->due;
	if (earlier)
		place->due = when;
	LWLockRelease(ledger_lock);
	if (earlier)
		ledger_launcher_wake();
}

pid_t
rounds_worker(Oid database)
{
	pid_t pid;

	LWLockAcquire(ledger_lock, LW_SHARED);
	pid = rounds->running == database ? rounds->worker_pid : 0;
	LWLockRelease(ledger_lock);
	return pid;
}

void
rounds_forget(Oid database)
{
	RoundsDatabase *place;

	LWLockAcquire(ledger_lock, LW_EXCLUSIVE);
	place = find_place(database);
	if (place != NULL)
		*place = rounds->databases[--rounds->ndatabases];
	LWLockRelease(ledger_lock);
}

/* ------------------------------------------------------------------------
 * The launcher
 * ------------------------------------------------------------------------
 */

static bool
is_held(Oid database)
{
	const LedgerQueue *queue = ledger_queue_find(database);

	return queue != NULL && queue->holder != LEDGER_NONE;
}

/* Whether nothing was heard of the worker that was asked for. */
static bool
is_over(TimestampTz now)
{
	return rounds->worker_pid == 0 &&
		   TimestampDifferenceExceeds(rounds->running_since, now, START_TIMEOUT_MS);
}

/*
 * The earliest of all that nobody holds.  Who lets a database go wakes the
 * launcher.
 */
static const RoundsDatabase *
earliest(void)
{
	const RoundsDatabase *choice = NULL;

	for (int i = 0; i < rounds->ndatabases; i++)
	{
		const RoundsDatabase *place = &rounds->databases[i];

		if ((choice == NULL || place->due < choice->due) && !is_held(place->database))
			choice = place;
	}
	return choice;
}

static long
ms_until(TimestampTz due, TimestampTz now)
{
	/* So that rounding up does not overflow the type of latches' timeouts. */
	return Min(TimestampDifferenceMilliseconds(now, due), (long) INT_MAX / 2) + 1;
}

Oid
rounds_next(long *wait_ms)
{
	TimestampTz			  now = GetCurrentTimestamp();
	Oid					  asked = reencryption_asked();
	const RoundsDatabase *place;
	Oid					  next = InvalidOid;

	*wait_ms = -1;
	LWLockAcquire(ledger_lock, LW_EXCLUSIVE);
	place = earliest();
	if (is_over(now))
		rounds->running = InvalidOid;
	if (OidIsValid(rounds->running))
	{
		if (OidIsValid(asked) && rounds->running != asked)
			rounds_ask_to_leave(InvalidOid);
		*wait_ms = rounds->worker_pid == 0 ? AGAIN_MS : -1;
	}
	else if (rounds->not_before > now)
		*wait_ms = ms_until(rounds->not_before, now);
	else if (OidIsValid(asked))
		next = asked;
	else if (place != NULL && place->due <= now)
		next = place->database;
	else if (place != NULL && !TIMESTAMP_IS_NOEND(place->due))
		*wait_ms = ms_until(place->due, now);
	LWLockRelease(ledger_lock);
	return next;
}

static void
describe_worker(Oid database, BackgroundWorker *worker)
{
	memset(worker, 0, sizeof(*worker));
	worker->bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker->bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker->bgw_restart_time = BGW_NEVER_RESTART;
	worker->bgw_main_arg = ObjectIdGetDatum(database);
	strlcpy(worker->bgw_library_name, "llm_router", sizeof(worker->bgw_library_name));
	strlcpy(worker->bgw_function_name, "llm_router_rounds_main", sizeof(worker->bgw_function_name));
	strlcpy(worker->bgw_type, "llm_router rounds", sizeof(worker->bgw_type));
	snprintf(worker->bgw_name, sizeof(worker->bgw_name), "llm_router rounds in database %u", database);
}

/* Take the right to start the worker. */
static bool
claim_start(Oid database)
{
	bool claimed;

	LWLockAcquire(ledger_lock, LW_EXCLUSIVE);
	claimed = !is_held(database) && ledger_writers_make_room();
	if (claimed)
	{
		rounds->running = database;
		rounds->running_since = GetCurrentTimestamp();
		rounds->worker_pid = 0;
		rounds->should_leave = false;
	}
	LWLockRelease(ledger_lock);
	return claimed;
}

bool
rounds_start(Oid database)
{
	BackgroundWorker worker;

	if (!claim_start(database))
		return false;
	describe_worker(database, &worker);
	if (RegisterDynamicBackgroundWorker(&worker, NULL))
		return true;
	LWLockAcquire(ledger_lock, LW_EXCLUSIVE);
	rounds->running = InvalidOid;
	LWLockRelease(ledger_lock);
	return false;
}

/* ------------------------------------------------------------------------
 * The worker
 * ------------------------------------------------------------------------
 */

/* The worker has gone; the next round there is due then. */
static void
detach(TimestampTz next_due)
{
	RoundsDatabase *place;

	LWLockAcquire(ledger_lock, LW_EXCLUSIVE);
	if (rounds->worker_pid == MyProcPid)
	{
		place = find_place(rounds->running);
		if (place != NULL)
			place->due = Min(place->due, next_due);
		rounds->running = InvalidOid;
		rounds->worker_pid = 0;
		if (rounds->should_leave)
			rounds->not_before = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), YIELD_MS);
		ledger_sleepers_wake();
	}
	LWLockRelease(ledger_lock);
	ledger_launcher_wake();
}

static void
detach_at_exit(int code, Datum arg)
{
	detach(TimestampTzPlusMilliseconds(GetCurrentTimestamp(), retry_ms));
}

bool
rounds_attach(Oid database, bool *first)
{
	RoundsDatabase *place;
	bool			attached = false;

	LWLockAcquire(ledger_lock, LW_EXCLUSIVE);
	place = get_place(database);
	if (rounds->worker_pid != 0 || rounds->running != database)
		attached = false; /* it took too long to come, and another was asked for */
	else if (place == NULL || is_held(database))
		rounds->running = InvalidOid;
	else
	{
		rounds->worker_pid = MyProcPid;
		rounds->worker_process = compat_my_proc_number();
		*first = !place->visited;
		place->visited = true;
		place->due = DT_NOEND; /* what comes meanwhile counts beside what the round finds */
		attached = true;
	}
	LWLockRelease(ledger_lock);
	if (attached)
		before_shmem_exit(detach_at_exit, (Datum) 0);
	return attached;
}

void
rounds_begun(void)
{
	retry_ms = DIED_RETRY_MS;
}

bool
rounds_should_leave(void)
{
	return rounds->should_leave; /* a single byte: no lock */
}

void
rounds_leave(TimestampTz next_due)
{
	detach(next_due);
}

int
rounds_places(void)
{
	return OidIsValid(rounds->running) ? 1 : 0;
}

bool
rounds_ask_to_leave(Oid database)
{
	if (!OidIsValid(rounds->running) || (OidIsValid(database) && rounds->running != database))
		return false;
	rounds->should_leave = true;
	if (rounds->worker_pid != 0)
		ledger_wake(rounds->worker_process);
	return true;
}

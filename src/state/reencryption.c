/*
 * reencryption.c
 *		The request of a session to seal keys again, in shared memory.
 *
 * Its life: none, asked (by the session), running (a worker has it), ended (the
 * session has not read it yet), none.  A worker that makes way puts it back to
 * asked.  A session that gives up takes back what was only asked, and marks what is
 * running as abandoned, for the worker to stop at the next batch.
 *
 * Protected by ledger_lock, as all that concerns the start of workers.  Whoever
 * waits for a change of state sleeps on the condition variable.
 */
#include "state/reencryption.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "state/ledger_writers.h"
#include "storage/condition_variable.h"
#include "storage/ipc.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

/* So long a session waits for a worker to begin. */
#define NO_WORKER_MS 10000
#define POLL_MS		 1000

#define MAX_TEXT 512 /* of each part of an error, in bytes with its NUL */

typedef enum ReencryptionState
{
	STATE_NONE,
	STATE_ASKED,
	STATE_RUNNING,
	STATE_ENDED
} ReencryptionState;

typedef struct Reencryption
{
	ReencryptionState	 state;
	bool				 begun; /* a worker has had it */
	bool				 abandoned;
	Oid					 database;
	ReencryptionProgress progress;

	int	 sqlstate;
	char message[MAX_TEXT];
	char detail[MAX_TEXT]; /* empty: none */
	char hint[MAX_TEXT];

	ConditionVariable changed;
} Reencryption;

static Reencryption			  *shared;
static bool					   taken; /* in the worker: the running one is its own */
static shmem_request_hook_type previous_shmem_request;
static shmem_startup_hook_type previous_shmem_startup;

static void
reencryption_shmem_request(void)
{
	if (previous_shmem_request)
		previous_shmem_request();
	RequestAddinShmemSpace(sizeof(Reencryption));
}

static void
reencryption_shmem_startup(void)
{
	bool found;

	if (previous_shmem_startup)
		previous_shmem_startup();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared = ShmemInitStruct("llm_router re-encryption", sizeof(Reencryption), &found);
	if (!found)
	{
		memset(shared, 0, sizeof(Reencryption));
		ConditionVariableInit(&shared->changed);
	}
	LWLockRelease(AddinShmemInitLock);
}

void
reencryption_init(void)
{
	previous_shmem_request = shmem_request_hook;
	shmem_request_hook = reencryption_shmem_request;
	previous_shmem_startup = shmem_startup_hook;
	shmem_startup_hook = reencryption_shmem_startup;
}

/* Lock held. */
static void
change_state(ReencryptionState state)
{
	shared->state = state;
	ConditionVariableBroadcast(&shared->changed);
}

/* ------------------------------------------------------------------------
 * The session
 * ------------------------------------------------------------------------
 */

/* Ask, unless another's request is there. */
static bool
try_ask(const char *actor)
{
	bool free;

	LWLockAcquire(ledger_lock, LW_EXCLUSIVE);
	free = shared->state == STATE_NONE;
	if (free)
	{
		shared->database = MyDatabaseId;
		shared->begun = false;
		shared->abandoned = false;
		shared->progress = (ReencryptionProgress){ .last_id = PG_INT64_MIN };
		strlcpy(shared->progress.actor, actor, NAMEDATALEN);
		change_state(STATE_ASKED);
	}
	LWLockRelease(ledger_lock);
	return free;
}

static void
ask(const char *actor)
{
	ConditionVariablePrepareToSleep(&shared->changed);
	while (!try_ask(actor))
		ConditionVariableSleep(&shared->changed, PG_WAIT_EXTENSION);
	ConditionVariableCancelSleep();
}

/* The session is done with its request, whatever has become of it. */
static void
withdraw(int code, Datum arg)
{
	LWLockAcquire(ledger_lock, LW_EXCLUSIVE);
	if (shared->state == STATE_RUNNING)
		shared->abandoned = true;
	else
		change_state(STATE_NONE);
	LWLockRelease(ledger_lock);
}

/* Whether it has ended, or no worker came in time. */
static bool
is_over(TimestampTz since)
{
	bool over;

	LWLockAcquire(ledger_lock, LW_SHARED);
	over = shared->state == STATE_ENDED ||
		   (!shared->begun && TimestampDifferenceExceeds(since, GetCurrentTimestamp(), NO_WORKER_MS));
	LWLockRelease(ledger_lock);
	return over;
}

/* How it ended; the texts stay until withdraw(). */
static bool
read_end(int64 *changed, LlmError *error)
{
	bool ended;

	LWLockAcquire(ledger_lock, LW_SHARED);
	*changed = shared->progress.changed;
	ended = shared->state == STATE_ENDED;
	LWLockRelease(ledger_lock);
	if (!ended)
	{
		error_set(error, ERRCODE_LLM_NOT_RUNNING, "no worker could be started to re-encrypt the keys");
		return error_hint(error, "Raise llm_router.max_workers, and max_worker_processes with it; "
								 "llm_doctor() says whether the launcher runs.");
	}
	if (shared->sqlstate == 0)
		return true;
	error_set(error, shared->sqlstate, "%s", shared->message);
	if (shared->detail[0])
		error_detail(error, "%s", shared->detail);
	if (shared->hint[0])
		error_hint(error, "%s", shared->hint);
	return false;
}

bool
reencryption_run(const char *actor, int64 *changed, LlmError *error)
{
	TimestampTz since;
	bool		done;

	ask(actor);
	PG_ENSURE_ERROR_CLEANUP(withdraw, (Datum) 0);
	{
		ledger_launcher_wake();
		since = GetCurrentTimestamp();
		ConditionVariablePrepareToSleep(&shared->changed);
		while (!is_over(since))
			(void) ConditionVariableTimedSleep(&shared->changed, POLL_MS, PG_WAIT_EXTENSION);
		ConditionVariableCancelSleep();
		done = read_end(changed, error);
	}
	PG_END_ENSURE_ERROR_CLEANUP(withdraw, (Datum) 0);
	withdraw(0, (Datum) 0);
	return done;
}

/* ------------------------------------------------------------------------
 * Launcher and worker
 * ------------------------------------------------------------------------
 */

Oid
reencryption_asked(void)
{
	Oid database;

	LWLockAcquire(ledger_lock, LW_SHARED);
	database = shared->state == STATE_ASKED ? shared->database : InvalidOid;
	LWLockRelease(ledger_lock);
	return database;
}

/* A worker that dies on the way. */
static void
end_at_exit(int code, Datum arg)
{
	LlmError error = {
		.sqlstate = ERRCODE_ADMIN_SHUTDOWN,
		.message = "the worker that re-encrypted the keys was terminated",
		.hint = "What it changed stays changed. Run it again: it goes on from there.",
	};

	if (taken)
		reencryption_end(&error);
}

bool
reencryption_take(ReencryptionProgress *progress)
{
	LWLockAcquire(ledger_lock, LW_EXCLUSIVE);
	taken = shared->state == STATE_ASKED && shared->database == MyDatabaseId;
	if (taken)
	{
		*progress = shared->progress;
		shared->begun = true;
		change_state(STATE_RUNNING);
	}
	LWLockRelease(ledger_lock);
	if (taken)
		before_shmem_exit(end_at_exit, (Datum) 0);
	return taken;
}

bool
reencryption_note(const ReencryptionProgress *progress)
{
	bool wanted;

	LWLockAcquire(ledger_lock, LW_EXCLUSIVE);
	shared->progress = *progress;
	wanted = !shared->abandoned;
	LWLockRelease(ledger_lock);
	return wanted;
}

/* From running to what follows it, unless nobody waits for that. */
static void
leave_running(ReencryptionState next)
{
	taken = false;
	change_state(shared->abandoned ? STATE_NONE : next);
}

void
reencryption_put_back(void)
{
	LWLockAcquire(ledger_lock, LW_EXCLUSIVE);
	leave_running(STATE_ASKED);
	LWLockRelease(ledger_lock);
}

/* Cut between characters. */
static void
keep_text(char *place, const char *text)
{
	int length = text ? pg_mbcliplen(text, strlen(text), MAX_TEXT - 1) : 0;

	if (length > 0)
		memcpy(place, text, length);
	place[length] = '\0';
}

void
reencryption_end(const LlmError *error)
{
	LWLockAcquire(ledger_lock, LW_EXCLUSIVE);
	shared->sqlstate = error->sqlstate;
	keep_text(shared->message, error->message);
	keep_text(shared->detail, error->detail);
	keep_text(shared->hint, error->hint);
	leave_running(STATE_ENDED);
	LWLockRelease(ledger_lock);
}

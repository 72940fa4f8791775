/*
 * admission.c
 *		A counting semaphore in shared memory, first come, first served.
 *
 * A caller that finds no place leaves its number and is woken through its latch
 * when a place becomes free; the engine waits for sockets and latch at once,
 * which is why this is neither a PostgreSQL semaphore nor a condition variable.
 *
 * One lock, held for a scan of MaxBackends integers, and only when somebody
 * waits: one scan for each caller that is woken.
 */
#include "state/admission.h"

#include "base/compat.h"
#include "base/settings.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"

typedef struct AdmissionShared
{
	LWLock *lock;
	int		in_use;
	int		nwaiting;
	uint64	last_number;
	uint64	number[FLEXIBLE_ARRAY_MEMBER]; /* by process; 0: does not wait */
} AdmissionShared;

#define ADMISSION_TRANCHE "llm_router_admission"

static AdmissionShared *shared;
static int				held; /* places of this process */
static bool				exit_registered;

static shmem_request_hook_type previous_request_hook;
static shmem_startup_hook_type previous_startup_hook;

static Size
admission_size(void)
{
	return add_size(offsetof(AdmissionShared, number),
					mul_size(MaxBackends, sizeof(uint64)));
}

static void
admission_request(void)
{
	if (previous_request_hook)
		previous_request_hook();
	RequestAddinShmemSpace(admission_size());
	RequestNamedLWLockTranche(ADMISSION_TRANCHE, 1);
}

static void
admission_startup(void)
{
	bool found;

	if (previous_startup_hook)
		previous_startup_hook();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared = ShmemInitStruct(ADMISSION_TRANCHE, admission_size(), &found);
	if (!found)
	{
		memset(shared, 0, admission_size());
		shared->lock = &GetNamedLWLockTranche(ADMISSION_TRANCHE)->lock;
	}
	LWLockRelease(AddinShmemInitLock);
}

void
admission_init(void)
{
	previous_request_hook = shmem_request_hook;
	shmem_request_hook = admission_request;
	previous_startup_hook = shmem_startup_hook;
	shmem_startup_hook = admission_startup;
}

int
admission_limit(void)
{
	if (setting_max_concurrency >= 0)
		return setting_max_concurrency;
	return Max(1, MaxConnections * 3 / 4);
}

int
admission_in_use(void)
{
	int in_use;

	LWLockAcquire(shared->lock, LW_SHARED);
	in_use = shared->in_use;
	LWLockRelease(shared->lock);
	return in_use;
}

/* How many of those that wait came before "number".  Lock held. */
static int
waiting_before(uint64 number)
{
	int before = 0;

	for (int i = 0; i < MaxBackends; i++)
		if (shared->number[i] != 0 && shared->number[i] < number)
			before++;
	return before;
}

/* Wake those who may enter now.  Lock held. */
static void
wake_waiting(void)
{
	int	   places = Min(admission_limit() - shared->in_use, shared->nwaiting);
	uint64 woken = 0; /* this number and all before it */

	for (; places > 0; places--)
	{
		int next = -1;

		for (int i = 0; i < MaxBackends; i++)
			if (shared->number[i] > woken &&
				(next < 0 || shared->number[i] < shared->number[next]))
				next = i;
		woken = shared->number[next];
		SetLatch(&ProcGlobal->allProcs[next].procLatch);
	}
}

static void
stop_waiting(int self)
{
	if (shared->number[self] != 0)
	{
		shared->number[self] = 0;
		shared->nwaiting--;
	}
}

static void
admission_exit(int code, Datum arg)
{
	while (held > 0)
		admission_leave();
	admission_withdraw();
}

bool
admission_enter(void)
{
	int	 self = compat_my_proc_number();
	int	 before;
	bool entered;

	if (!exit_registered)
	{
		before_shmem_exit(admission_exit, (Datum) 0);
		exit_registered = true;
	}

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	if (shared->nwaiting == 0)
		before = 0;
	else if (shared->number[self] != 0)
		before = waiting_before(shared->number[self]);
	else
		before = shared->nwaiting;
	entered = shared->in_use + before < admission_limit();
	if (entered)
	{
		shared->in_use++;
		held++;
		stop_waiting(self);
	}
	else if (shared->number[self] == 0)
	{
		shared->number[self] = ++shared->last_number;
		shared->nwaiting++;
	}
	LWLockRelease(shared->lock);
	return entered;
}

bool
admission_refused(LlmError *error)
{
	error_set(error, ERRCODE_LLM_RATE_LIMIT, "%d calls are running, which is llm_router.max_concurrency",
			  admission_limit());
	return error_hint(error, "Try again, or raise llm_router.max_concurrency or "
							 "llm_router.concurrency_timeout.");
}

void
admission_leave(void)
{
	if (held == 0)
		return; /* admission_exit was first */
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	shared->in_use--;
	held--;
	wake_waiting();
	LWLockRelease(shared->lock);
}

void
admission_withdraw(void)
{
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	stop_waiting(compat_my_proc_number());
	wake_waiting();
	LWLockRelease(shared->lock);
}

/*
 * rates.c
 *		Requests and tokens of the last minute, in shared memory.
 *
 * A window for each user and provider that has a limit, under one lock, which is
 * a leaf and held for some hundred nanoseconds.  A window that has counted
 * something within the minute does not give way: forgetting it would admit more
 * than the limit.  When there is no room for another, who needs one is refused.
 *
 * The clock is one that only goes forward, and the same for all processes.
 */
#include "state/rates.h"

#include "base/clock.h"
#include "base/compat.h"
#include "base/settings.h"
#include "miscadmin.h"
#include "state/table.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"

#define RATES_NAME "llm_router_rates"

typedef struct Rate
{
	TableEntry entry;
	RateWindow window;
} Rate;

typedef enum RateKind
{
	RATE_OF_USER,
	RATE_OF_PROVIDER
} RateKind;

static SharedTable *rates;
static LWLock	   *rates_lock;

static shmem_request_hook_type previous_request_hook;
static shmem_startup_hook_type previous_startup_hook;

/* Half of llm_router.limits_size; the other half is for budgets. */
static int32
rates_capacity(void)
{
	return table_capacity((Size) setting_limits_size * 1024 / 2, sizeof(Rate));
}

static void
rates_request(void)
{
	if (previous_request_hook)
		previous_request_hook();
	RequestAddinShmemSpace(table_size(rates_capacity(), sizeof(Rate)));
	RequestNamedLWLockTranche(RATES_NAME, 1);
}

static void
rates_startup(void)
{
	bool found;

	if (previous_startup_hook)
		previous_startup_hook();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	rates = ShmemInitStruct(RATES_NAME, table_size(rates_capacity(), sizeof(Rate)), &found);
	rates_lock = &GetNamedLWLockTranche(RATES_NAME)->lock;
	if (!found)
		table_format(rates, rates_capacity(), sizeof(Rate));
	LWLockRelease(AddinShmemInitLock);
}

void
rates_init(void)
{
	previous_request_hook = shmem_request_hook;
	shmem_request_hook = rates_request;
	previous_startup_hook = shmem_startup_hook;
	shmem_startup_hook = rates_startup;
}

static TableKey
rate_key(RateKind kind, const char *name, int length)
{
	struct
	{
		Oid	  database;
		int32 kind;
		char  name[256];
	} full = { MyDatabaseId, kind, { 0 } };

	length = Min(length, (int) sizeof(full.name));
	memcpy(full.name, name, length);
	return table_key(rates, &full, sizeof(Oid) + sizeof(int32) + length);
}

/* The window, made if need be; NULL: there is no room.  Lock held. */
static Rate *
get_rate(TableKey key, int64 now_ms)
{
	Rate *rate = table_find(rates, key);
	Rate *oldest;

	if (rate == NULL)
		rate = table_make(rates, key);
	oldest = rate == NULL ? table_oldest(rates) : NULL;
	if (oldest != NULL && rate_is_idle(&oldest->window, now_ms))
	{
		table_drop(rates, oldest);
		rate = table_make(rates, key);
	}
	return rate;
}

static bool
enter(TableKey key, const RateLimit *limit, int64 tokens, RateUse *use, RateRefusal *refusal)
{
	int64 now_ms = monotonic_ms();
	Rate *rate;

	*refusal = (RateRefusal){ .is_full = true, .wait_ms = 60 * 1000 };
	LWLockAcquire(rates_lock, LW_EXCLUSIVE);
	rate = get_rate(key, now_ms);
	if (rate != NULL)
	{
		refusal->is_full = false;
		refusal->obstacle = rate_enter(&rate->window, limit, now_ms, tokens, &use->slot,
									   &refusal->wait_ms);
		use->counted = refusal->obstacle == RATE_ADMITS;
		use->number = table_number(rates, rate);
		use->tokens = tokens;
		if (use->counted)
			table_pin(rates, rate);
	}
	LWLockRelease(rates_lock);
	return use->counted;
}

bool
rate_enter_user(const char *user_id, const RateLimit *limit, int64 tokens, RateUse *use,
				RateRefusal *refusal)
{
	return enter(rate_key(RATE_OF_USER, user_id, (int) strlen(user_id)), limit, tokens, use, refusal);
}

bool
rate_enter_provider(int32 provider_id, const RateLimit *limit, int64 tokens, RateUse *use,
					RateRefusal *refusal)
{
	return enter(rate_key(RATE_OF_PROVIDER, (const char *) &provider_id, sizeof(provider_id)), limit,
				 tokens, use, refusal);
}

void
rate_settle(RateUse *use, bool sent, int64 tokens)
{
	Rate *rate;

	if (!use->counted)
		return;
	use->counted = false;
	rate = table_entry(rates, use->number);
	LWLockAcquire(rates_lock, LW_EXCLUSIVE);
	rate_correct(&rate->window, use->slot, sent ? 0 : -1, (sent ? tokens : 0) - use->tokens);
	table_unpin(rates, rate);
	LWLockRelease(rates_lock);
}

/*
 * circuits.c
 *		Circuits in shared memory: one hash table, one lock.
 *
 * An entry is made by the first failure and goes with the next success, so that in
 * the usual case there is none, and callers read a counter and nothing else.  With
 * some, an answer takes the lock shared, and exclusively only where it has an entry.
 *
 * The table is bounded.  A newcomer takes the place of the entry that was longest
 * untouched among those that are not open; where all are open it has no circuit,
 * which counts as closed.
 *
 * Times are of a clock that all processes share and that only goes forward; it
 * starts anew with the machine, as the table does with the server.
 */
#include "state/circuits.h"

#include "base/clock.h"
#include "base/settings.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/hsearch.h"

#define MAX_ENTRIES		 1024
#define CIRCUITS_TRANCHE "llm_router_circuits"

/* Beside the kinds of circuits: a provider that health checks found down. */
#define ENTRY_DOWN CIRCUIT_KIND_COUNT

typedef struct EntryKey
{
	Oid	  database;
	int32 kind; /* a CircuitKind or ENTRY_DOWN */
	int32 id;	/* of the provider or model */
} EntryKey;

typedef struct Entry
{
	EntryKey key;
	int64	 touched_ms;
	Circuit	 circuit;

	/* ENTRY_DOWN */
	TimestampTz down_since;
	int64		valid_ms; /* from touched_ms */
} Entry;

typedef struct CircuitsShared
{
	LWLock			*lock;
	pg_atomic_uint32 entries;
} CircuitsShared;

static CircuitsShared *shared;
static HTAB			  *table;

static shmem_request_hook_type previous_request_hook;
static shmem_startup_hook_type previous_startup_hook;

static void
circuits_request(void)
{
	if (previous_request_hook)
		previous_request_hook();
	RequestAddinShmemSpace(add_size(sizeof(CircuitsShared),
									hash_estimate_size(MAX_ENTRIES, sizeof(Entry))));
	RequestNamedLWLockTranche(CIRCUITS_TRANCHE, 1);
}

static void
circuits_startup(void)
{
	HASHCTL control = { .keysize = sizeof(EntryKey), .entrysize = sizeof(Entry) };
	bool	found;

	if (previous_startup_hook)
		previous_startup_hook();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared = ShmemInitStruct(CIRCUITS_TRANCHE, sizeof(CircuitsShared), &found);
	if (!found)
	{
		shared->lock = &GetNamedLWLockTranche(CIRCUITS_TRANCHE)->lock;
		pg_atomic_init_u32(&shared->entries, 0);
	}
	table = ShmemInitHash("llm_router circuits", MAX_ENTRIES, MAX_ENTRIES, &control,
						  HASH_ELEM | HASH_BLOBS);
	LWLockRelease(AddinShmemInitLock);
}

void
circuits_init(void)
{
	previous_request_hook = shmem_request_hook;
	shmem_request_hook = circuits_request;
	previous_startup_hook = shmem_startup_hook;
	shmem_startup_hook = circuits_startup;
}

static bool
is_empty(void)
{
	return shared == NULL || pg_atomic_read_u32(&shared->entries) == 0;
}

/* ------------------------------------------------------------------------
 * Entries.  Lock held.
 * ------------------------------------------------------------------------
 */

static Entry *
find_entry(int32 kind, int32 id)
{
	const EntryKey key = { MyDatabaseId, kind, id };

	return hash_search(table, &key, HASH_FIND, NULL);
}

static void
remove_entry(const Entry *entry)
{
	const EntryKey key = entry->key;

	if (hash_search(table, &key, HASH_REMOVE, NULL))
		pg_atomic_fetch_sub_u32(&shared->entries, 1);
}

static bool
is_down(const Entry *entry, int64 now_ms)
{
	return entry->key.kind == ENTRY_DOWN && now_ms - entry->touched_ms < entry->valid_ms;
}

static bool
is_open(const Entry *entry, int64 now_ms)
{
	int64 left_ms;

	return is_down(entry, now_ms) || circuit_state(&entry->circuit, now_ms, &left_ms) == CIRCUIT_OPEN;
}

/* Make room for one more; false when everybody is open. */
static bool
evict_one(int64 now_ms)
{
	HASH_SEQ_STATUS scan;
	Entry		   *entry;
	Entry		   *oldest = NULL;

	hash_seq_init(&scan, table);
	while ((entry = hash_seq_search(&scan)) != NULL)
		if (!is_open(entry, now_ms) && (oldest == NULL || entry->touched_ms < oldest->touched_ms))
			oldest = entry;
	if (oldest == NULL)
		return false;
	remove_entry(oldest);
	return true;
}

/* The entry, made if need be; NULL when there is no room. */
static Entry *
get_entry(int32 kind, int32 id, int64 now_ms)
{
	const EntryKey key = { MyDatabaseId, kind, id };
	Entry		  *entry = find_entry(kind, id);

	if (entry == NULL && (pg_atomic_read_u32(&shared->entries) < MAX_ENTRIES || evict_one(now_ms)))
	{
		entry = hash_search(table, &key, HASH_ENTER_NULL, NULL);
		if (entry == NULL)
			return NULL;
		memset((char *) entry + sizeof(EntryKey), 0, sizeof(Entry) - sizeof(EntryKey));
		pg_atomic_fetch_add_u32(&shared->entries, 1);
	}
	if (entry != NULL)
		entry->touched_ms = now_ms;
	return entry;
}

/* The number by which a kind of circuit knows a model. */
static int32
id_of(const CatalogModel *model, CircuitKind kind)
{
	return kind == CIRCUIT_PROVIDER ? model->provider->id : model->id;
}

/* Circuits that a candidate has: that of the account only with the platform's key. */
static CircuitKind
last_kind(bool used_byok)
{
	return used_byok ? CIRCUIT_PROVIDER : CIRCUIT_ACCOUNT;
}

/* ------------------------------------------------------------------------
 * Looking
 * ------------------------------------------------------------------------
 */

/* CIRCUIT_PROBED and CIRCUIT_OPEN are worse than half-open; of the open, the later deadline. */
static bool
is_worse(CircuitState state, int64 left_ms, const CandidateHealth *than)
{
	static const int badness[] = {
		[CIRCUIT_CLOSED] = 0,
		[CIRCUIT_HALF_OPEN] = 1,
		[CIRCUIT_PROBED] = 2,
		[CIRCUIT_OPEN] = 3,
	};

	return badness[state] > badness[than->circuit] ||
		   (state == CIRCUIT_OPEN && than->circuit == CIRCUIT_OPEN && left_ms > than->left_ms);
}

static void
look(const CatalogModel *model, bool used_byok, CandidateHealth *health, int64 now_ms)
{
	const Entry *down = find_entry(ENTRY_DOWN, model->provider->id);

	for (CircuitKind kind = 0; setting_circuit_failures > 0 && kind <= last_kind(used_byok); kind++)
	{
		const Entry *entry = find_entry(kind, id_of(model, kind));
		CircuitState state;
		int64		 left_ms;

		if (entry == NULL)
			continue;
		state = circuit_state(&entry->circuit, now_ms, &left_ms);
		if (!is_worse(state, left_ms, health))
			continue;
		health->circuit = state;
		health->left_ms = left_ms;
		health->asked = entry->circuit.asked;
		health->failures = entry->circuit.failures;
	}
	if (down != NULL && is_down(down, now_ms))
		health->down_since = down->down_since;
}

static void
circuits_look(const CatalogModel *model, bool used_byok, CandidateHealth *health)
{
	LWLockAcquire(shared->lock, LW_SHARED);
	look(model, used_byok, health, monotonic_ms());
	LWLockRelease(shared->lock);
}

LookAtHealth
circuits_looker(void)
{
	return is_empty() ? NULL : circuits_look;
}

bool
circuits_admit(const CatalogModel *model, bool used_byok, bool *is_probe)
{
	CandidateHealth health = { 0 };
	int64			now_ms;

	*is_probe = false;
	if (is_empty())
		return true;
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	now_ms = monotonic_ms();
	look(model, used_byok, &health, now_ms);
	for (CircuitKind kind = 0; health.circuit == CIRCUIT_HALF_OPEN && kind <= last_kind(used_byok); kind++)
	{
		Entry *entry = find_entry(kind, id_of(model, kind));

		if (entry != NULL && circuit_probe(&entry->circuit, now_ms))
			*is_probe = true;
	}
	LWLockRelease(shared->lock);
	return health.circuit == CIRCUIT_CLOSED || health.circuit == CIRCUIT_HALF_OPEN;
}

/* ------------------------------------------------------------------------
 * Noting
 * ------------------------------------------------------------------------
 */

/* Whether there is anything to note: an answer where nothing has failed is not. */
static bool
matters(const CatalogModel *model, const CircuitAttempt *attempt)
{
	bool found = false;

	for (CircuitKind kind = 0; kind < CIRCUIT_KIND_COUNT; kind++)
	{
		CircuitEvent event = circuit_event(attempt, kind);

		if (event == CIRCUIT_FAILURE || event == CIRCUIT_PAUSE)
			return true;
	}
	if (is_empty())
		return false;
	LWLockAcquire(shared->lock, LW_SHARED);
	for (CircuitKind kind = 0; !found && kind < CIRCUIT_KIND_COUNT; kind++)
		found = find_entry(kind, id_of(model, kind)) != NULL;
	LWLockRelease(shared->lock);
	return found;
}

static void
note(const CatalogModel *model, CircuitKind kind, const CircuitReport *report, int64 now_ms)
{
	const CircuitRules rules = { setting_circuit_failures, setting_circuit_cooldown };
	bool			   is_good = report->event == CIRCUIT_SUCCESS || report->event == CIRCUIT_SAYS_NOTHING;
	int32			   id = id_of(model, kind);
	Entry			  *entry = is_good ? find_entry(kind, id) : get_entry(kind, id, now_ms);

	if (entry == NULL)
		return;
	circuit_report(&entry->circuit, report, &rules, now_ms);
	if (circuit_is_blank(&entry->circuit))
		remove_entry(entry);
}

void
circuits_note(const CatalogModel *model, const CircuitAttempt *attempt, int64 retry_after_ms, bool is_probe)
{
	int64 now_ms;

	if (shared == NULL || setting_circuit_failures == 0 || !matters(model, attempt))
		return;
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	now_ms = monotonic_ms();
	for (CircuitKind kind = 0; kind < CIRCUIT_KIND_COUNT; kind++)
	{
		const CircuitReport report = {
			.event = circuit_event(attempt, kind),
			.pause_ms = retry_after_ms,
			/* One model that fails is not its provider's failure yet. */
			.model = kind == CIRCUIT_PROVIDER ? model->id : 0,
			.is_probe = is_probe,
		};

		note(model, kind, &report, now_ms);
	}
	LWLockRelease(shared->lock);
}

void
circuits_set_down(int32 provider_id, TimestampTz since, int64 valid_ms)
{
	Entry *entry;
	int64  now_ms = monotonic_ms();

	if (since == 0 && is_empty())
		return;
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	entry = since != 0 ? get_entry(ENTRY_DOWN, provider_id, now_ms) : find_entry(ENTRY_DOWN, provider_id);
	if (entry != NULL && since == 0)
		remove_entry(entry);
	else if (entry != NULL)
	{
		entry->down_since = since;
		entry->valid_ms = valid_ms;
	}
	LWLockRelease(shared->lock);
}

/* ------------------------------------------------------------------------
 * All of a database
 * ------------------------------------------------------------------------
 */

CircuitStatus *
circuits_list(int *n)
{
	CircuitStatus  *list = palloc(sizeof(CircuitStatus) * MAX_ENTRIES);
	int64			now_ms = monotonic_ms();
	HASH_SEQ_STATUS scan;
	Entry		   *entry;

	*n = 0;
	LWLockAcquire(shared->lock, LW_SHARED);
	hash_seq_init(&scan, table);
	while ((entry = hash_seq_search(&scan)) != NULL)
	{
		CircuitStatus *status = &list[*n];

		if (entry->key.database != MyDatabaseId || entry->key.kind == ENTRY_DOWN)
			continue;
		*status = (CircuitStatus){
			.kind = (CircuitKind) entry->key.kind,
			.id = entry->key.id,
			.failures = entry->circuit.failures,
		};
		status->state = circuit_state(&entry->circuit, now_ms, &status->left_ms);
		(*n)++;
	}
	LWLockRelease(shared->lock);
	return list;
}

CircuitsSummary
circuits_summary(Oid database)
{
	CircuitsSummary summary = { 0 };
	int64			now_ms = monotonic_ms();
	HASH_SEQ_STATUS scan;
	Entry		   *entry;

	LWLockAcquire(shared->lock, LW_SHARED);
	hash_seq_init(&scan, table);
	while ((entry = hash_seq_search(&scan)) != NULL)
	{
		summary.used++;
		if (entry->key.database != database)
			continue;
		summary.open += entry->circuit.openings > 0;
		summary.down += is_down(entry, now_ms);
	}
	LWLockRelease(shared->lock);
	return summary;
}

void
circuits_forget(Oid database)
{
	HASH_SEQ_STATUS scan;
	Entry		   *entry;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	hash_seq_init(&scan, table);
	while ((entry = hash_seq_search(&scan)) != NULL)
		if (entry->key.database == database)
			remove_entry(entry);
	LWLockRelease(shared->lock);
}

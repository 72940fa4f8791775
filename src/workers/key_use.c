/*
 * key_use.c
 *		last_used_at of users' keys, without a write for each call.
 *
 * The ledger writer sees every call.  It notes a key's use at most once in
 * NOTE_INTERVAL_MS, which is as exact as last_used_at is.  What it remembers is
 * bounded: when that is full it forgets all, and notes some keys early.
 *
 * What cannot be noted now, since somebody has locked the table, is tried again
 * after RETRY_MS: callers wait for the writer meanwhile.
 */
#include "postgres.h"

#include "workers/key_use.h"

#include "state/ledger_ring.h"
#include "utils/hsearch.h"
#include "utils/timestamp.h"

#define NOTE_INTERVAL_MS 60000
#define RETRY_MS		 5000
#define MAX_REMEMBERED	 10000
#define MAX_PENDING		 512

typedef struct RememberedKey
{
	int64		id; /* the hash key */
	TimestampTz noted_at;
} RememberedKey;

static HTAB *remembered;
static int64 pending[MAX_PENDING];
static int	 npending;

static void
remember_nothing(void)
{
	HASHCTL control = { .keysize = sizeof(int64), .entrysize = sizeof(RememberedKey) };

	if (remembered)
		hash_destroy(remembered);
	remembered = NULL;
	remembered = hash_create("llm_router used keys", 64, &control, HASH_ELEM | HASH_BLOBS);
}

static void
collect_key(int64 id, TimestampTz now)
{
	RememberedKey *key;
	bool		   found;

	if (remembered == NULL || hash_get_num_entries(remembered) >= MAX_REMEMBERED)
		remember_nothing();
	key = hash_search(remembered, &id, HASH_ENTER, &found);
	if (found && !TimestampDifferenceExceeds(key->noted_at, now, NOTE_INTERVAL_MS))
		return;
	key->noted_at = now;
	pending[npending++] = id;
}

void
key_use_collect(const LedgerBatch *batch)
{
	TimestampTz now = GetCurrentTimestamp();

	for (int i = 0; i < batch->n && npending < MAX_PENDING; i++)
	{
		const LedgerRecord *record = ledger_record(batch->blocks[i]);

		if (record->user_key_id != 0)
			collect_key(record->user_key_id, now);
	}
}

bool
key_use_write(void)
{
	static TimestampTz not_before;
	TimestampTz		   now;
	char			  *reason;
	BatchResult		   result;

	if (npending == 0)
		return true;
	now = GetCurrentTimestamp();
	if (now < not_before)
		return false;
	result = batch_note_key_use(pending, npending, &reason);
	if (reason != NULL)
		ereport(LOG, (errmsg("llm_router: could not note the use of users' keys: %s", reason)));
	if (result == BATCH_RETRY)
	{
		not_before = TimestampTzPlusMilliseconds(now, RETRY_MS);
		return false;
	}
	npending = 0;
	return true;
}

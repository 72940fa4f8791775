/*
 * key_revalidation.c
 *		Asking providers again about the keys of users.
 *
 * The keys that nobody has asked about for an interval are read in batches, those
 * longest unasked first, in one walk: one that is passed over (its row is locked, no
 * master key opens it) waits for a later round.  Their providers are asked, several
 * at once and without a transaction, and what they said is written in one short
 * transaction a batch.  A row that somebody has locked or changed meanwhile is left
 * alone.
 *
 * A key is sent only where its user let it go: not to a provider whose base_url is
 * another than the key's, and not to a disabled one.
 */
#include "postgres.h"

#include "workers/key_revalidation.h"

#include "base/compat.h"
#include "base/settings.h"
#include "catalog/pg_type.h"
#include "commands/async.h"
#include "engine/key_check.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "net/http.h"
#include "secrets/credential.h"
#include "secrets/keyring.h"
#include "state/audit.h"
#include "state/catalog.h"
#include "state/rounds.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "workers/worker.h"

#define BATCH_KEYS		 32
#define PROVIDER_AT_ONCE 4
#define WAIT_MS			 1000
#define LOCKED_RETRY_MS	 60000
#define WORKER_NAME		 "llm_router" /* as the actor in llm_audit_logs */
#define MS_OF_INTERVAL	 ((int64) setting_key_revalidation_interval * 1000)

/* Of FROM user_api_keys k JOIN llm_providers p. */
#define MAY_BE_SENT                                                                    \
	"k.is_active AND p.enabled AND p.check_path IS NOT NULL AND p.auth_type <> 'none'" \
	" AND k.base_url = p.base_url"
#define LAST_ASKED "coalesce(k.checked_at, k.created_at)"

typedef struct CheckedKey
{
	int64				   id;
	const CatalogProvider *provider; /* NULL: it has another address by now */
	char				  *user_id;
	char				  *name;
	char				  *token;
	bool				   was_refused;
	bool				   started;
	KeyProbe			  *probe;	 /* while it is asked */
	bool				   finished; /* check has the answer */
	KeyCheck			   check;
} CheckedKey;

typedef struct CheckedBatch
{
	const Catalog *catalog; /* pinned */
	int			   n;
	CheckedKey	   keys[BATCH_KEYS];
} CheckedBatch;

/* One walk over the keys that were due when it began. */
typedef struct Walk
{
	TimestampTz due_before;
	TimestampTz last_asked; /* of the last key read, and its id */
	int64		last_id;
	int			locked;		/* left for a later round */
	int			unopenable; /* likewise; and why */
	char	   *problem;
} Walk;

/* ------------------------------------------------------------------------
 * Reading
 * ------------------------------------------------------------------------
 */

static void
read_key(HeapTuple row, TupleDesc desc, const CheckedBatch *batch, Walk *walk, CheckedKey *key)
{
	bool  is_null;
	char *base_url = SPI_getvalue(row, desc, 4);

	key->id = walk->last_id = DatumGetInt64(SPI_getbinval(row, desc, 1, &is_null));
	walk->last_asked = DatumGetTimestampTz(SPI_getbinval(row, desc, 2, &is_null));
	key->provider = catalog_provider(batch->catalog, SPI_getvalue(row, desc, 3));
	if (key->provider && strcmp(key->provider->endpoint.base_url, base_url) != 0)
		key->provider = NULL;
	key->user_id = SPI_getvalue(row, desc, 5);
	key->name = SPI_getvalue(row, desc, 6);
	key->token = SPI_getvalue(row, desc, 7);
	key->was_refused = DatumGetBool(SPI_getbinval(row, desc, 8, &is_null));
}

static void
select_keys(const Walk *walk)
{
	Oid	  types[] = { TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID };
	Datum values[] = {
		TimestampTzGetDatum(walk->due_before),
		TimestampTzGetDatum(walk->last_asked),
		Int64GetDatum(walk->last_id),
	};
	char *query;

	query = psprintf("SELECT k.id, " LAST_ASKED ", p.name, k.base_url, k.user_id, k.key_name,"
					 " k.encrypted_api_key, k.refused_at IS NOT NULL"
					 " FROM %s AS k JOIN %s AS p ON p.id = k.provider_id"
					 " WHERE " MAY_BE_SENT " AND " LAST_ASKED " <= $1"
					 " AND (" LAST_ASKED ", k.id) > ($2, $3)"
					 " ORDER BY " LAST_ASKED ", k.id LIMIT %d",
					 extension_table("user_api_keys"), extension_table("llm_providers"), BATCH_KEYS);
	if (SPI_execute_with_args(query, 3, types, values, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the keys of users");
}

/* The next batch, in the current memory context; empty at the end. */
static void
read_batch(Walk *walk, CheckedBatch *batch)
{
	MemoryContext	  context = CurrentMemoryContext;
	WorkerTransaction transaction;

	batch->n = 0;
	batch->catalog = NULL;
	if (!worker_begin(&transaction))
		return;
	batch->catalog = catalog_get();
	catalog_pin(batch->catalog);
	select_keys(walk);
	MemoryContextSwitchTo(context);
	batch->n = (int) SPI_processed;
	for (int i = 0; i < batch->n; i++)
		read_key(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, batch, walk, &batch->keys[i]);
	worker_commit(&transaction);
}

/* ------------------------------------------------------------------------
 * Asking
 * ------------------------------------------------------------------------
 */

static int
asked_at_once(const CheckedBatch *batch, const CatalogProvider *provider)
{
	int n = 0;

	for (int i = 0; i < batch->n; i++)
		if (batch->keys[i].probe != NULL && batch->keys[i].provider == provider)
			n++;
	return n;
}

static void
start_key(CheckedKey *key, Walk *walk)
{
	LlmError error = { 0 };
	char	*api_key;

	key->started = true;
	if (key->provider == NULL)
		return;
	api_key = credential_open(key->token, key->user_id, key->provider->origin, &error);
	if (api_key == NULL)
	{
		if (walk->unopenable++ == 0)
			walk->problem = MemoryContextStrdup(TopMemoryContext, error.message);
		return;
	}
	key->probe = key_check_start(key->provider, api_key, KEY_CHECK_TIMEOUT_MS);
	credential_wipe(api_key);
}

static void
finish_key(CheckedKey *key)
{
	LlmError error = { 0 };
	char	*api_key = credential_open(key->token, key->user_id, key->provider->origin, &error);

	key_check_finish(key->probe, api_key, &key->check);
	credential_wipe(api_key);
	key->probe = NULL;
	key->finished = true;
}

/* Start what may be started and finish what has its answer; whether any is still asked. */
static bool
drive_keys(CheckedBatch *batch, Walk *walk)
{
	bool asking = false;

	for (int i = 0; i < batch->n; i++)
	{
		CheckedKey *key = &batch->keys[i];

		if (key->probe != NULL && key_check_done(key->probe))
			finish_key(key);
	}
	for (int i = 0; i < batch->n; i++)
	{
		CheckedKey *key = &batch->keys[i];

		if (!key->started && asked_at_once(batch, key->provider) < PROVIDER_AT_ONCE)
			start_key(key, walk);
		asking = asking || key->probe != NULL || !key->started;
	}
	return asking;
}

/* ------------------------------------------------------------------------
 * Writing
 * ------------------------------------------------------------------------
 */

static bool
is_refused_now(const CheckedKey *key)
{
	return key->check.verdict == KEY_REFUSED && !key->was_refused;
}

static bool
is_accepted_again(const CheckedKey *key)
{
	return key->check.verdict == KEY_ACCEPTED && key->was_refused;
}

static void
audit_check(const CheckedKey *key, const char *action, const char *refusal)
{
	audit_write(&(AuditEntry){
		.actor = WORKER_NAME,
		.user_id = key->user_id,
		.action = action,
		.object = key->provider->name,
		.detail = audit_key_detail(key->id, key->name, refusal),
	});
}

/* Tell those who look what has changed, and those who listen of refusals, as calls do. */
static void
report_key(const CheckedKey *key)
{
	if (is_accepted_again(key))
		audit_check(key, "byok.key.accepted", NULL);
	if (!is_refused_now(key))
		return;
	audit_check(key, "byok.key.refused", key->check.message);
	Async_Notify(WORKER_CHANNEL,
				 psprintf("{\"event\": \"key_refused\", \"key_id\": " INT64_FORMAT "}", key->id));
}

/*
 * Write what was said of one key; what neither accepts nor refuses it changes
 * nothing but the time.  False when its row is locked or has another key by now.
 */
static bool
write_key(const CheckedKey *key)
{
	char	   *table = extension_table("user_api_keys");
	bool		refused = key->check.verdict == KEY_REFUSED;
	Oid			types[] = { INT8OID, TEXTOID, TEXTOID };
	Datum		values[3] = { Int64GetDatum(key->id), CStringGetTextDatum(key->token) };
	const char *change = "";

	if (refused)
	{
		values[2] = CStringGetTextDatum(key->check.message);
		change = ", refused_at = coalesce(refused_at, now()), refusal = $3";
	}
	else if (is_accepted_again(key))
		change = ", refused_at = NULL, refusal = NULL";
	if (SPI_execute_with_args(psprintf("UPDATE %s SET checked_at = now()%s WHERE id ="
									   " (SELECT id FROM %s WHERE id = $1 AND encrypted_api_key = $2"
									   " FOR NO KEY UPDATE SKIP LOCKED)",
									   table, change, table),
							  refused ? 3 : 2, types, values, NULL, false, 0) != SPI_OK_UPDATE)
		elog(ERROR, "could not write what a provider said of a key");
	return SPI_processed == 1;
}

static void
write_batch(const CheckedBatch *batch, Walk *walk)
{
	WorkerTransaction transaction;

	if (!worker_begin(&transaction))
		return;
	for (int i = 0; i < batch->n; i++)
	{
		const CheckedKey *key = &batch->keys[i];

		if (!key->finished)
			continue;
		if (write_key(key))
			report_key(key);
		else
			walk->locked++;
	}
	worker_commit(&transaction);
}

/* ------------------------------------------------------------------------
 * The round
 * ------------------------------------------------------------------------
 */

typedef enum BatchEnd
{
	BATCH_WRITTEN,
	BATCH_EMPTY,
	BATCH_LEFT /* somebody wants the worker to leave */
} BatchEnd;

static BatchEnd
check_batch(Walk *walk)
{
	CheckedBatch *batch = palloc0(sizeof(CheckedBatch));

	read_batch(walk, batch);
	while (!rounds_should_leave() && drive_keys(batch, walk))
		http_wait(WAIT_MS);
	if (batch->n > 0)
		write_batch(batch, walk);
	if (batch->catalog != NULL)
		catalog_unpin(batch->catalog);
	if (rounds_should_leave())
		return BATCH_LEFT;
	return batch->n > 0 ? BATCH_WRITTEN : BATCH_EMPTY;
}

/*
 * When the next key is due, among those that this walk did not pass over.  While
 * there are keys at all there is a next time: one may be sent again some day.
 */
static TimestampTz
next_due(const Walk *walk)
{
	WorkerTransaction transaction;
	Oid				  type = TIMESTAMPTZOID;
	Datum			  value = TimestampTzGetDatum(walk->due_before);
	char			 *keys;
	TimestampTz		  due = DT_NOEND;
	Datum			  oldest;
	bool			  none;

	if (!worker_begin(&transaction))
		return due;
	keys = extension_table("user_api_keys");
	if (SPI_execute_with_args(psprintf("SELECT coalesce((SELECT " LAST_ASKED
									   " FROM %s AS k JOIN %s AS p ON p.id = k.provider_id"
									   " WHERE " MAY_BE_SENT " AND " LAST_ASKED " > $1"
									   " ORDER BY " LAST_ASKED " LIMIT 1), now())"
									   " WHERE EXISTS (SELECT FROM %s WHERE is_active)",
									   keys, extension_table("llm_providers"), keys),
							  1, &type, &value, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read when keys are due");
	if (SPI_processed == 1)
	{
		oldest = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &none);
		due = TimestampTzPlusMilliseconds(DatumGetTimestampTz(oldest), MS_OF_INTERVAL);
	}
	worker_commit(&transaction);
	if (walk->locked > 0)
		due = Min(due, TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
												   Min(MS_OF_INTERVAL, LOCKED_RETRY_MS)));
	return due;
}

TimestampTz
key_revalidation_run(void)
{
	MemoryContext outer = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(outer, "llm_router key checks", ALLOCSET_DEFAULT_SIZES);
	Walk		  walk = { .last_asked = DT_NOBEGIN, .last_id = PG_INT64_MIN };
	BatchEnd	  end;
	KeyringStatus keys;

	if (setting_key_revalidation_interval == 0)
		return DT_NOEND;
	keyring_status(&keys); /* master_key_command takes its time outside of transactions */
	walk.due_before = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), -MS_OF_INTERVAL);
	do
	{
		MemoryContextSwitchTo(context);
		end = check_batch(&walk);
		MemoryContextSwitchTo(outer);
		MemoryContextReset(context);
	} while (end == BATCH_WRITTEN);
	if (walk.unopenable > 0)
		ereport(LOG,
				(errmsg("llm_router: %d keys of users could not be opened to be checked: %s", walk.unopenable,
						walk.problem)));
	return end == BATCH_LEFT ? GetCurrentTimestamp() : next_due(&walk);
}

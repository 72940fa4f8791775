/*
 * health.c
 *		Checking the health of providers, all that are due at once.
 *
 * Read who is due in one short transaction, ask without any, write what was found
 * in another: what the checks of the last 30 days say goes into llm_providers, for
 * people, and who is down into shared memory, for routing.  A provider whose row is
 * locked, or has another address by now, is left to the next round.
 *
 * The table of checks stays small: after KEEP_DAYS each day becomes one row.
 */
#include "postgres.h"

#include "workers/health.h"

#include "base/settings.h"
#include "catalog/pg_type.h"
#include "commands/async.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "net/http.h"
#include "secrets/credential.h"
#include "secrets/keyring.h"
#include "state/catalog.h"
#include "state/circuits.h"
#include "state/rounds.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "workers/worker.h"

#define CHECK_TIMEOUT_MS 10000
#define WAIT_MS			 1000
#define PROBES_AT_ONCE	 64

/* Checks are due a little early, so that those of one interval go together. */
#define EARLY_SHARE 10

/* What is down is so for a few rounds: should nobody check any more, it is asked again. */
#define DOWN_ROUNDS	   3
#define DOWN_GRACE_MS  60000
#define KEEP_DAYS	   "2"
#define KEEP_DAYS_ROWS "30"

typedef struct CheckedProvider
{
	const CatalogProvider *provider;
	HealthStatus		   status; /* before, then after */
	int64				   interval_ms;
	TimestampTz			   checked_at; /* the latest check; DT_NOBEGIN: none */
	TimestampTz			   failing_since;
	int					   failed_before; /* of the latest checks */
	bool				   has_failed;	  /* one of the latest, this one included */
	KeyProbe			  *probe;		  /* while it is asked */
	bool				   finished;	  /* check has the answer */
	KeyCheck			   check;
} CheckedProvider;

typedef struct Round
{
	const Catalog	*catalog; /* pinned */
	CheckedProvider *providers;
	int				 n;
	TimestampTz		 now;
} Round;

/* ------------------------------------------------------------------------
 * Reading
 * ------------------------------------------------------------------------
 */

/*
 * What is known of providers, and how often each is to be checked.  Checks from the
 * future were made before the clock was set back, and do not count until it is there.
 */
static char *
select_query(const char *condition)
{
	char *checks = extension_table("llm_provider_health_checks");

	return psprintf("SELECT p.name, p.health_status,"
					" coalesce((extract(epoch FROM p.health_check_interval) * 1000)::bigint, $1),"
					" coalesce(l.checked_at, '-infinity'), l.failed::integer, coalesce(s.since, now())"
					" FROM %s AS p"
					" CROSS JOIN LATERAL (SELECT max(c.checked_at) AS checked_at,"
					"  count(*) FILTER (WHERE NOT c.reachable) AS failed"
					"  FROM (SELECT checked_at, reachable FROM %s"
					"   WHERE provider_id = p.id AND checked_at <= now()"
					"   ORDER BY checked_at DESC LIMIT %d) AS c) AS l"
					" CROSS JOIN LATERAL (SELECT min(c.checked_at) AS since FROM %s AS c"
					"  WHERE c.provider_id = p.id AND c.checked_at <= now() AND c.checked_at >"
					"  coalesce((SELECT max(g.checked_at) FROM %s AS g"
					"   WHERE g.provider_id = p.id AND g.reachable AND g.checked_at <= now()),"
					"   '-infinity')) AS s"
					" WHERE %s",
					extension_table("llm_providers"), checks, HEALTH_CHECKS - 1, checks, checks, condition);
}

static void
read_provider(HeapTuple row, TupleDesc desc, const Catalog *catalog, CheckedProvider *checked)
{
	bool is_null;

	checked->provider = catalog_provider(catalog, SPI_getvalue(row, desc, 1));
	checked->status = health_from_name(SPI_getvalue(row, desc, 2));
	checked->interval_ms = DatumGetInt64(SPI_getbinval(row, desc, 3, &is_null));
	checked->checked_at = DatumGetTimestampTz(SPI_getbinval(row, desc, 4, &is_null));
	checked->failed_before = DatumGetInt32(SPI_getbinval(row, desc, 5, &is_null));
	checked->failing_since = DatumGetTimestampTz(SPI_getbinval(row, desc, 6, &is_null));
	checked->has_failed = checked->failed_before > 0;
}

/* Those that may be asked, in the current memory context. */
static void
read_round(Round *round)
{
	MemoryContext	  context = CurrentMemoryContext;
	WorkerTransaction transaction;
	Oid				  type = INT8OID;
	Datum			  interval = Int64GetDatum((int64) setting_health_check_interval * 1000);

	if (!worker_begin(&transaction))
		return;
	round->catalog = catalog_get();
	catalog_pin(round->catalog);
	if (SPI_execute_with_args(select_query("p.enabled AND p.check_path IS NOT NULL"), 1, &type, &interval,
							  NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read which providers are to be checked");
	MemoryContextSwitchTo(context);
	round->providers = palloc0(sizeof(CheckedProvider) * (SPI_processed + 1));
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		CheckedProvider		  *checked = &round->providers[round->n];
		const CatalogProvider *provider;

		read_provider(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, round->catalog, checked);
		provider = checked->provider;
		if (provider != NULL && checked->interval_ms > 0 &&
			(provider->endpoint.auth_type == AUTH_NONE || provider->encrypted_key != NULL))
			round->n++;
	}
	worker_commit(&transaction);
}

/* When the next check is due. */
static TimestampTz
due_at(const CheckedProvider *checked, TimestampTz now)
{
	int64 pause = health_pause_ms(checked->interval_ms, checked->has_failed);

	if (TIMESTAMP_IS_NOBEGIN(checked->checked_at))
		return now;
	return TimestampTzPlusMilliseconds(checked->checked_at, pause);
}

static bool
is_due(const CheckedProvider *checked, TimestampTz now)
{
	int64 pause = health_pause_ms(checked->interval_ms, checked->has_failed);

	return due_at(checked, now) <= TimestampTzPlusMilliseconds(now, pause / EARLY_SHARE);
}

/* ------------------------------------------------------------------------
 * Asking
 * ------------------------------------------------------------------------
 */

/* The platform's key, to be wiped; NULL when there is none, or none that can be opened. */
static char *
open_key(const CatalogProvider *provider)
{
	LlmError error = { 0 };

	if (provider->endpoint.auth_type == AUTH_NONE)
		return NULL;
	return credential_open(provider->encrypted_key, NULL, provider->origin, &error);
}

/* A key that cannot be opened says nothing of its provider. */
static void
start_check(CheckedProvider *checked)
{
	char *api_key = open_key(checked->provider);

	if (api_key != NULL || checked->provider->endpoint.auth_type == AUTH_NONE)
		checked->probe = key_check_start(checked->provider, api_key, CHECK_TIMEOUT_MS);
	credential_wipe(api_key);
}

static void
finish_check(CheckedProvider *checked)
{
	char *api_key = open_key(checked->provider);

	key_check_finish(checked->probe, api_key, &checked->check);
	credential_wipe(api_key);
	checked->probe = NULL;
	checked->finished = true;
}

/* Finish what has its answer; how many are still asked. */
static int
finish_checks(Round *round)
{
	int asking = 0;

	for (int i = 0; i < round->n; i++)
	{
		CheckedProvider *checked = &round->providers[i];

		if (checked->probe != NULL && key_check_done(checked->probe))
			finish_check(checked);
		asking += checked->probe != NULL;
	}
	return asking;
}

static void
ask(Round *round)
{
	for (int i = 0; i < round->n && !rounds_should_leave(); i++)
	{
		if (!is_due(&round->providers[i], round->now))
			continue;
		while (finish_checks(round) >= PROBES_AT_ONCE && !rounds_should_leave())
			http_wait(WAIT_MS);
		start_check(&round->providers[i]);
	}
	while (finish_checks(round) > 0 && !rounds_should_leave())
		http_wait(WAIT_MS);
}

/* ------------------------------------------------------------------------
 * Writing
 * ------------------------------------------------------------------------
 */

static void
notify_change(const CatalogProvider *provider, HealthStatus from, HealthStatus to)
{
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfoString(&json, "{\"event\": \"provider.health\", \"provider\": ");
	escape_json(&json, provider->name);
	appendStringInfo(&json, ", \"from\": \"%s\", \"to\": \"%s\"}", health_name(from), health_name(to));
	Async_Notify(WORKER_CHANNEL, json.data);
}

/*
 * $1 the provider, $2 its base_url; $3 whether the check failed, $4 status, $5 time,
 * $6 error; $7 the health that follows; $8 whether all was well.
 */
static char *
write_query(void)
{
	char *providers = extension_table("llm_providers");
	char *checks = extension_table("llm_provider_health_checks");

	return psprintf("WITH free AS MATERIALIZED ("
					"  SELECT id FROM %s WHERE id = $1 AND base_url = $2 FOR NO KEY UPDATE SKIP LOCKED),"
					" added AS (INSERT INTO %s"
					"   (provider_id, reachable, failed, http_status, response_time_ms, error)"
					"  SELECT id, NOT $3, $3::integer, $4, $5, nullif($6, '') FROM free),"
					" before AS ("
					"  SELECT coalesce(sum(checks), 0) AS checks, coalesce(sum(failed), 0) AS failed"
					"  FROM %s WHERE provider_id = $1"
					"   AND checked_at >= now() - interval '" KEEP_DAYS_ROWS " days')"
					" UPDATE %s AS p SET health_status = $7,"
					" response_time_ms = coalesce($5, p.response_time_ms),"
					" uptime_percentage = 100.0 * (before.checks - before.failed + 1 - $3::integer)"
					"  / (before.checks + 1),"
					" error_rate = (SELECT 100.0 * sum(r.errors) / nullif(sum(r.requests), 0)"
					"  FROM %s AS r WHERE r.provider = p.name AND r.bucket >= now() - interval '1 hour'),"
					" last_success_at = CASE WHEN $8 THEN now() ELSE p.last_success_at END"
					" FROM free, before WHERE p.id = free.id",
					providers, checks, checks, providers, extension_table("llm_usage_rollup"));
}

/*
 * Write a check and what it makes of its provider, unless the provider's row is
 * locked or has another address by now: then false.
 */
static bool
write_check(CheckedProvider *checked)
{
	const KeyCheck *check = &checked->check;
	HealthFinding	finding = health_find(check->http_status, check->verdict == KEY_ACCEPTED,
										  check->response_time_ms);
	HealthStatus	before = checked->status;
	HealthStatus	after = health_judge(finding, checked->failed_before);
	bool			failed = finding == HEALTH_FAILED;
	Oid				types[] = { INT4OID, TEXTOID, BOOLOID, INT4OID, INT4OID, TEXTOID, TEXTOID, BOOLOID };
	Datum			values[] = {
				  Int32GetDatum(checked->provider->id),
				  CStringGetTextDatum(checked->provider->endpoint.base_url),
				  BoolGetDatum(failed),
				  Int32GetDatum(check->http_status),
				  Int32GetDatum((int32) check->response_time_ms),
				  CStringGetTextDatum(check->message ? check->message : ""),
				  CStringGetTextDatum(health_name(after)),
				  BoolGetDatum(finding == HEALTH_GOOD),
	};
	const char *nulls = check->http_status == 0 ? "   nn   " : NULL;

	checked->has_failed |= failed;
	if (SPI_execute_with_args(write_query(), 8, types, values, nulls, false, 0) != SPI_OK_UPDATE)
		elog(ERROR, "could not write a health check");
	if (SPI_processed == 0)
		return false;
	checked->status = after;
	if (after != before)
		notify_change(checked->provider, before, after);
	return true;
}

#define TODAY	"date_trunc('day', now(), 'UTC')"
#define ITS_DAY "date_trunc('day', checked_at, 'UTC')"

/* One row a day of what is older than KEEP_DAYS, and nothing of what no longer counts. */
static void
condense(void)
{
	char *checks = extension_table("llm_provider_health_checks");

	if (SPI_execute(psprintf("WITH days AS (DELETE FROM %s WHERE checks = 1 AND checked_at > " ITS_DAY
							 "  AND checked_at < " TODAY " - interval '" KEEP_DAYS " days' RETURNING *)"
							 " INSERT INTO %s"
							 "  (provider_id, checked_at, reachable, response_time_ms, checks, failed)"
							 " SELECT provider_id, " ITS_DAY ", bool_or(reachable),"
							 "  avg(response_time_ms)::integer, sum(checks), sum(failed)"
							 " FROM days GROUP BY 1, 2",
							 checks, checks),
					false, 0) != SPI_OK_INSERT ||
		SPI_execute(psprintf("DELETE FROM %s WHERE checked_at < " TODAY
							 " - interval '" KEEP_DAYS_ROWS " days'",
							 checks),
					false, 0) != SPI_OK_DELETE)
		elog(ERROR, "could not condense health checks");
}

/* For routing.  Who is no longer checked is not said again, and so not down for long. */
static void
tell_routing(const CheckedProvider *checked)
{
	int64 pause = health_pause_ms(checked->interval_ms, checked->has_failed);

	circuits_set_down(checked->provider->id, checked->status == HEALTH_DOWN ? checked->failing_since : 0,
					  DOWN_ROUNDS * pause + DOWN_GRACE_MS);
}

static void
write_round(Round *round)
{
	WorkerTransaction transaction;
	bool			  finished = false;

	for (int i = 0; i < round->n; i++)
		finished |= round->providers[i].finished;
	if (finished && worker_begin(&transaction))
	{
		for (int i = 0; i < round->n; i++)
			if (round->providers[i].finished)
				(void) write_check(&round->providers[i]);
		condense();
		worker_commit(&transaction);
	}
	for (int i = 0; i < round->n; i++)
		tell_routing(&round->providers[i]);
}

/* ------------------------------------------------------------------------
 * The round
 * ------------------------------------------------------------------------
 */

static TimestampTz
next_due(Round *round)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz due = DT_NOEND;

	for (int i = 0; i < round->n; i++)
	{
		CheckedProvider *checked = &round->providers[i];

		/* Also what could not be asked or written: it has had its turn. */
		if (is_due(checked, round->now))
			checked->checked_at = now;
		due = Min(due, due_at(checked, now));
	}
	return due;
}

TimestampTz
health_run(void)
{
	Round		  round = { .now = GetCurrentTimestamp() };
	KeyringStatus keys;
	TimestampTz	  due;

	if (setting_health_check_interval == 0)
		return DT_NOEND;
	read_round(&round);
	if (round.n > 0)
	{
		keyring_status(&keys); /* master_key_command takes its time outside of transactions */
		ask(&round);
		write_round(&round);
	}
	due = rounds_should_leave() ? GetCurrentTimestamp() : next_due(&round);
	if (round.catalog != NULL)
		catalog_unpin(round.catalog);
	return due;
}

bool
health_check_now(const CatalogProvider *provider, const char *api_key, KeyCheck *check, HealthStatus *status)
{
	CheckedProvider checked = { 0 };
	Oid				types[] = { INT8OID, INT4OID };
	Datum			values[] = { Int64GetDatum((int64) setting_health_check_interval * 1000),
								 Int32GetDatum(provider->id) };
	Catalog			catalog = { .providers = unconstify(CatalogProvider *, provider), .nproviders = 1 };
	bool			written = false;

	key_check(provider, api_key, check);
	if (SPI_execute_with_args(select_query("p.id = $2"), 2, types, values, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the health of a provider");
	if (SPI_processed == 1)
	{
		read_provider(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, &catalog, &checked);
		checked.provider = provider;
		checked.check = *check;
		written = write_check(&checked);
		tell_routing(&checked);
	}
	*status = checked.status;
	return written;
}

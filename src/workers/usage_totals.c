/*
 * usage_totals.c
 *		llm_usage_totals, kept up by the ledger's writer.
 *
 * The totals are the rollup without its users, so they could be kept in the
 * statement that writes a batch; but that costs each record of a quiet server a
 * quarter more.  So they are made once a quarter of an hour, out of the rollup,
 * for the quarters that are over: those before the horizon.  Whoever reads them
 * takes what comes after the horizon from the rollup, a few rows for each
 * user.
 *
 * Invariants, for every snapshot: the totals of quarters are the sum of the
 * rollup before the horizon, and hold nothing after it; the totals of days are
 * the sum of those.  The horizon is the end of the last quarter that they hold.
 * It lies LAG or more behind the clock, longer than calls last, so what is
 * written belongs after it.  What does not (a spill file, a clock that was set
 * back) first moves the horizon back, in the transaction that writes it.
 *
 * There is one writer in a database and nobody else writes the totals, so it can
 * remember the horizon.
 */
#include "workers/usage_totals.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "state/extension.h"
#include "utils/timestamp.h"

#define QUARTER	 (15 * USECS_PER_MINUTE)
#define LAG		 QUARTER
#define RETRY_MS 60000 /* after an error, or late records */

static bool		   horizon_is_known;
static TimestampTz horizon;
static TimestampTz next_close; /* 0: at once */

/* Call a function that returns the horizon, with or without an argument. */
static void
call(const char *function, const char *arguments, TimestampTz time)
{
	Oid	  types[] = { TIMESTAMPTZOID };
	Datum values[] = { TimestampTzGetDatum(time) };
	bool  isnull;

	if (SPI_execute_with_args(psprintf("SELECT %s(%s)", extension_table(function), arguments),
							  *arguments == '\0' ? 0 : 1, types, values, NULL, false, 0) !=
		SPI_OK_SELECT)
		elog(ERROR, "could not call %s", function);
	horizon = DatumGetTimestampTz(
		SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	horizon_is_known = true;
}

/* There may be more of it, such as the rest of a spill file: not to be closed at once. */
void
totals_reopen(TimestampTz since)
{
	if (!horizon_is_known)
		call("llm_usage_horizon", "", 0);
	if (since >= horizon)
		return;
	call("llm_usage_totals_reopen", "$1", since);
	next_close = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), RETRY_MS);
}

void
totals_close(void)
{
	TimestampTz until = GetCurrentTimestamp() - LAG;
	TimestampTz before = horizon_is_known ? horizon : DT_NOBEGIN;

	/* PostgreSQL's epoch is the start of a quarter of an hour. */
	until -= until % QUARTER;
	call("llm_usage_totals_close", "$1", until);
	next_close = horizon > before ? 0 : until + QUARTER + LAG;
}

/* More than a quarter ahead: the clock was set back. */
bool
totals_are_due(void)
{
	TimestampTz now = GetCurrentTimestamp();

	return now >= next_close || next_close - now > QUARTER;
}

void
totals_forget(void)
{
	horizon_is_known = false;
	next_close = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), RETRY_MS);
}

/*
 * ledger_test.c
 *		The caller's side of the ledger as SQL functions, for the TAP tests.
 *
 * ledger_test_call() does what the engine does for one attempt: wait for room,
 * note the attempt, "call" for a while, settle, wait for the commit.  Its ticket
 * is settled by a memory context callback when it is cut off, as the engine's.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "state/ledger.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"
#include "utils/wait_event.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(ledger_test_call);
PG_FUNCTION_INFO_V1(ledger_test_settle_twice);
PG_FUNCTION_INFO_V1(ledger_test_release);

#define POLL_MS 100

static void
wait_a_moment(long ms)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, ms,
					 PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

static LedgerTicket
reserve(const pg_uuid_t *id, const char *user_id, const char *tags)
{
	LedgerRequest request = {
		.request_id = *id,
		.user_id = user_id,
		.role_name = "tester",
		.power_level = "eco",
		.tier = "free",
		.tags = tags,
	};
	TimestampTz	 since = GetCurrentTimestamp();
	LedgerTicket ticket;
	LlmError	 error;

	for (;;)
	{
		switch (ledger_reserve(&request, since, &ticket, &error))
		{
			case LEDGER_READY:
				return ticket;
			case LEDGER_REFUSED:
				error_throw(&error);
				break;
			case LEDGER_WAIT:
				wait_a_moment(POLL_MS);
				break;
		}
	}
}

/* 1,000 tokens at 1 USD per 1,000, for each attempt. */
static void
begin_attempt(const LedgerTicket *ticket, TimestampTz started_at)
{
	LedgerAttempt attempt = {
		.attempt = 1,
		.provider_id = 1,
		.model_id = 2,
		.provider = "test",
		.model = "test-1",
		.prices = { 1000000000000, PRICE_UNKNOWN, PRICE_UNKNOWN, 0 },
		.estimated_cost = MONEY_UNKNOWN,
		.started_at = started_at,
	};

	ledger_attempt(ticket, &attempt);
}

static LedgerOutcome
make_outcome(LedgerStatus status)
{
	LedgerOutcome outcome = {
		.status = status,
		.outcome = status == LEDGER_CANCELLED ? OUTCOME_CANCELLED : OUTCOME_OK,
		.is_final = true,
		.http_status = 200,
		.usage = { .known = true, .input = 1000, .output = 7 },
		.prices = { 1000000000000, PRICE_UNKNOWN, PRICE_UNKNOWN, 0 },
		.cost = (Money) 1000000000000000,
		.response_time_ms = 100,
		.finish_reason = "stop",
	};

	if (status == LEDGER_CANCELLED)
	{
		outcome.usage.known = false;
		outcome.cost = MONEY_UNKNOWN;
	}
	return outcome;
}

static void
settle_when_cut_off(void *arg)
{
	LedgerOutcome outcome = make_outcome(LEDGER_CANCELLED);

	ledger_settle((LedgerTicket *) arg, &outcome);
}

static bool
setting_is_on(const char *name)
{
	return strcmp(GetConfigOption(name, false, false), "on") == 0;
}

static void
wait_for_commit(const LedgerTicket *ticket)
{
	TimestampTz since = GetCurrentTimestamp();
	int			timeout = atoi(GetConfigOption("llm_router.ledger_wait_timeout", false, false));

	while (setting_is_on("llm_router.ledger_wait") && !ledger_committed(ticket))
	{
		if (TimestampDifferenceExceeds(since, GetCurrentTimestamp(), timeout))
		{
			ereport(WARNING, (errmsg("not committed yet")));
			return;
		}
		wait_a_moment(POLL_MS);
	}
}

/*
 * ledger_test_call(user_id text, duration_ms int, tags text, started_at
 * timestamptz) RETURNS uuid: the request's id, once its row is committed.
 * Volatile: SELECT ledger_test_call(...) FROM generate_series(1, n) is n calls.
 */
Datum
ledger_test_call(PG_FUNCTION_ARGS)
{
	char				  *user_id = text_to_cstring(PG_GETARG_TEXT_PP(0));
	int					   duration_ms = PG_GETARG_INT32(1);
	char				  *tags = PG_ARGISNULL(2) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(2));
	TimestampTz			   started_at = PG_ARGISNULL(3) ? GetCurrentTimestamp() : PG_GETARG_TIMESTAMPTZ(3);
	MemoryContextCallback *callback = palloc0(sizeof(MemoryContextCallback));
	LedgerTicket		  *ticket = palloc(sizeof(LedgerTicket));
	pg_uuid_t			  *id = palloc(sizeof(pg_uuid_t));
	TimestampTz			   since = GetCurrentTimestamp();
	LedgerOutcome		   outcome = make_outcome(LEDGER_OK);

	if (!pg_strong_random(id->data, UUID_LEN))
		elog(ERROR, "no random number");
	*ticket = reserve(id, user_id, tags);
	callback->func = settle_when_cut_off;
	callback->arg = ticket;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, callback);

	begin_attempt(ticket, started_at);
	while (duration_ms > 0 &&
		   !TimestampDifferenceExceeds(since, GetCurrentTimestamp(), duration_ms))
		wait_a_moment(duration_ms);
	ledger_settle(ticket, &outcome);
	wait_for_commit(ticket);
	PG_RETURN_UUID_P(id);
}

/* A ticket that is settled twice makes one row. */
Datum
ledger_test_settle_twice(PG_FUNCTION_ARGS)
{
	pg_uuid_t	  id = { { 0 } };
	LedgerTicket  ticket = reserve(&id, "twice", NULL);
	LedgerOutcome outcome = make_outcome(LEDGER_OK);

	begin_attempt(&ticket, GetCurrentTimestamp());
	ledger_settle(&ticket, &outcome);
	ledger_settle(&ticket, &outcome);
	wait_for_commit(&ticket);
	PG_RETURN_VOID();
}

/* A ticket without an attempt makes none. */
Datum
ledger_test_release(PG_FUNCTION_ARGS)
{
	pg_uuid_t	  id = { { 1 } };
	LedgerTicket  ticket = reserve(&id, "released", NULL);
	LedgerOutcome outcome = make_outcome(LEDGER_CANCELLED);

	ledger_settle(&ticket, &outcome);
	PG_RETURN_VOID();
}

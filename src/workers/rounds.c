/*
 * rounds.c
 *		The worker that makes rounds: one database at a time, and then it ends.
 *
 * A round does what was asked for (re-encryption) and what is due (the health of
 * providers is checked, and users' keys are), and says when the next is due.  The
 * first one after a start of the server tells in the log when the database's master
 * key is missing.
 *
 * It leaves early when a ledger writer needs its place, or somebody the database; at
 * SIGTERM it leaves at once.  No transaction is open while it waits for a provider,
 * and each is short; what a round has not done, the next one does.
 */
#include "postgres.h"

#include "access/xact.h"
#include "base/compat.h"
#include "base/errors.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "state/master_key.h"
#include "state/rounds.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "workers/health.h"
#include "workers/key_reencryption.h"
#include "workers/key_revalidation.h"
#include "workers/worker.h"
#include "workers/workers.h"

#define FAILED_RETRY_MS 60000

/* Tell in the log when the stored keys cannot be opened here. */
static void
check_master_key(void)
{
	WorkerTransaction transaction;
	LlmError		  error = { 0 };
	MemoryContext	  context = CurrentMemoryContext;
	char			 *needed;
	char			 *database;

	if (!worker_begin(&transaction))
		return;
	needed = master_key_needed();
	if (needed)
		needed = MemoryContextStrdup(context, needed);
	database = MemoryContextStrdup(context, get_database_name(MyDatabaseId));
	worker_commit(&transaction);
	if (needed && !master_key_present(needed, &error))
		ereport(WARNING,
				(errcode(error.sqlstate),
				 errmsg("llm_router: the stored keys of database \"%s\" cannot be opened: %s", database,
						error.message),
				 error.detail ? errdetail_internal("%s", error.detail) : 0,
				 error.hint ? errhint("%s", error.hint) : 0));
}

static TimestampTz
do_round(bool first)
{
	TimestampTz health_due;
	TimestampTz keys_due;

	if (first)
		check_master_key();
	key_reencryption_run();
	health_due = health_run();
	keys_due = key_revalidation_run();
	return Min(health_due, keys_due);
}

/* When the next is due. */
static TimestampTz
make_round(bool first)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext, "llm_router round",
												  ALLOCSET_DEFAULT_SIZES);
	TimestampTz	  due;

	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		due = do_round(first);
	}
	PG_CATCH();
	{
		HOLD_INTERRUPTS();
		EmitErrorReport();
		FlushErrorState();
		AbortOutOfAnyTransaction();
		due = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), FAILED_RETRY_MS);
		RESUME_INTERRUPTS();
	}
	PG_END_TRY();
	return due;
}

void
llm_router_rounds_main(Datum arg)
{
	Oid			database = DatumGetObjectId(arg);
	TimestampTz due;
	bool		first;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	if (!rounds_attach(database, &first))
		proc_exit(0);

	/* Keys are as good after ALLOW_CONNECTIONS false as before. */
	BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, BGWORKER_BYPASS_ALLOWCONN);
	worker_fix_settings();
	rounds_begun();
	pgstat_report_activity(STATE_RUNNING, "llm_router: making its round");
	due = make_round(first);
	pgstat_report_stat(true);
	rounds_leave(due);
	proc_exit(0);
}

/*
 * launcher.c
 *		The launcher: always there, connected to no database.
 *
 * Calls start the writers that they need themselves.  The launcher starts those
 * that nobody waits for: for the files of the last shutdown, and for records
 * whose writer has gone.  And it has rounds made (rounds.c): at its start, and when
 * llm_router.key_revalidation_interval or health_check_interval changes or the clock
 * is set back, in every database, then wherever one is due.  It sleeps until somebody
 * sets its latch, or the next round is due.
 *
 * At shutdown everybody gets SIGTERM at once and no worker can be started any
 * more.  The launcher stays until no call is open and no writer is left, at the
 * latest TOLD_PATIENCE_MS, and brings to disk what nobody could write.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "base/compat.h"
#include "base/settings.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "state/ledger_spill.h"
#include "state/ledger_writers.h"
#include "state/rounds.h"
#include "storage/ipc.h"
#include "utils/guc.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "workers/database_ddl.h"
#include "workers/workers.h"

#define AGAIN_MS		 1000 /* when a writer could not be started */
#define TOLD_PATIENCE_MS 20000
#define TOLD_POLL_MS	 50
#define RESTART_SECONDS	 1

/* -1: no timeout. */
static void
sleep_ms(long timeout)
{
	static uint32 wait_event;

	if (wait_event == 0)
		wait_event = compat_wait_event("LlmRouterLauncher");
	(void) WaitLatch(MyLatch,
					 WL_LATCH_SET | WL_EXIT_ON_PM_DEATH | (timeout >= 0 ? WL_TIMEOUT : 0),
					 timeout, wait_event);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
}

/* Databases that have records but no writer. */
static int
collect_missing(Oid databases[LEDGER_MAX_QUEUES])
{
	int n = 0;

	LWLockAcquire(ledger_lock, LW_SHARED);
	for (int i = 0; i < LEDGER_MAX_QUEUES; i++)
		if (ledger_writer_is_missing(&ledger_ring->queues[i]))
			databases[n++] = ledger_ring->queues[i].database;
	LWLockRelease(ledger_lock);
	return n;
}

/* Start what is missing; returns whether to look again soon. */
static bool
start_missing(void)
{
	Oid databases[LEDGER_MAX_QUEUES];
	int n = collect_missing(databases);

	for (int i = 0; i < n; i++)
		(void) ledger_writer_start(databases[i]);
	return n > 0;
}

/* Start writers for the files of the last shutdown, as places become free. */
static List *
start_for_files(List *databases)
{
	ListCell *cell;

	foreach (cell, databases)
		if (ledger_writer_start(lfirst_oid(cell)))
			databases = foreach_delete_current(databases, cell);
	return databases;
}

/* The databases that there are, or the one of that OID. */
static List *
find_databases(Oid only)
{
	MemoryContext context = CurrentMemoryContext;
	List		 *databases = NIL;
	Relation	  pg_database;
	TableScanDesc scan;
	HeapTuple	  tuple;

	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	pg_database = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(pg_database, 0, NULL);
	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_database row = (Form_pg_database) GETSTRUCT(tuple);

		if (OidIsValid(only) ? row->oid != only : row->datistemplate || !row->datallowconn)
			continue;
		MemoryContextSwitchTo(context);
		databases = lappend_oid(databases, row->oid);
	}
	table_endscan(scan);
	table_close(pg_database, AccessShareLock);
	CommitTransactionCommand();
	MemoryContextSwitchTo(context);
	return databases;
}

static void
make_all_due(void)
{
	List	 *databases = find_databases(InvalidOid);
	ListCell *cell;

	foreach (cell, databases)
		rounds_due(lfirst_oid(cell), GetCurrentTimestamp());
	list_free(databases);
}

/* Start the round that is due; returns in how many ms to look again, -1: when woken. */
static long
start_round(void)
{
	static int		   last_interval = -1;
	static int		   last_health_interval = -1;
	static TimestampTz last_look;
	TimestampTz		   now = GetCurrentTimestamp();
	long			   wait_ms;
	Oid				   database;
	List			  *found;

	if (last_interval != setting_key_revalidation_interval ||
		last_health_interval != setting_health_check_interval || now < last_look)
		make_all_due();
	last_look = now;
	last_interval = setting_key_revalidation_interval;
	last_health_interval = setting_health_check_interval;
	database = rounds_next(&wait_ms);
	if (!OidIsValid(database))
		return wait_ms;
	found = find_databases(database);
	if (found == NIL)
		rounds_forget(database);
	else
		(void) rounds_start(database);
	list_free(found);
	return AGAIN_MS;
}

static bool
everybody_has_left(void)
{
	bool left = true;

	LWLockAcquire(ledger_lock, LW_SHARED);
	for (int i = 0; i < LEDGER_MAX_QUEUES; i++)
	{
		const LedgerQueue *queue = &ledger_ring->queues[i];

		if (queue->open > 0 || queue->writer_pid != 0)
			left = false;
	}
	LWLockRelease(ledger_lock);
	return left;
}

/* The end: see the others off, then keep what is left of their records. */
static void
see_off(void)
{
	TimestampTz since = GetCurrentTimestamp();
	Oid			databases[LEDGER_MAX_QUEUES];
	int			n;

	while (!everybody_has_left() &&
		   !TimestampDifferenceExceeds(since, GetCurrentTimestamp(), TOLD_PATIENCE_MS))
		sleep_ms(TOLD_POLL_MS);
	n = collect_missing(databases);
	for (int i = 0; i < n; i++)
		ledger_spill(databases[i]);
}

void
llm_router_launcher_main(Datum arg)
{
	List *with_files;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);

	ledger_launcher_attach();
	with_files = ledger_spill_databases();
	while (!ShutdownRequestPending)
	{
		bool again = start_missing();
		long wait_ms;

		with_files = start_for_files(with_files);
		wait_ms = start_round();
		if ((again || with_files != NIL) && (wait_ms < 0 || wait_ms > AGAIN_MS))
			wait_ms = AGAIN_MS;
		sleep_ms(wait_ms);
	}
	see_off();

	/* Restarted, unless the server is shutting down. */
	proc_exit(1);
}

void
workers_init(void)
{
	BackgroundWorker worker;

	if (IsBinaryUpgrade)
		return;
	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = RESTART_SECONDS;
	strlcpy(worker.bgw_library_name, "llm_router", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "llm_router_launcher_main",
			sizeof(worker.bgw_function_name));
	strlcpy(worker.bgw_name, "llm_router launcher", sizeof(worker.bgw_name));
	strlcpy(worker.bgw_type, "llm_router launcher", sizeof(worker.bgw_type));
	RegisterBackgroundWorker(&worker);
	database_ddl_init();
}

/*
 * worker.c
 *		What workers that are connected to a database have in common.
 */
#include "postgres.h"

#include "workers/worker.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "pgstat.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

/*
 * lock_timeout: the deadlock detector cannot see that a session which holds a lock
 * waits for a worker.
 */
static const char *const fixed_settings[][2] = {
	{ "lock_timeout", "1s" },
	{ "statement_timeout", "0" },
	{ "idle_in_transaction_session_timeout", "0" },
	{ "default_transaction_read_only", "off" },
	{ "default_transaction_deferrable", "off" },
	{ "default_transaction_isolation", "read committed" },
	{ "session_replication_role", "origin" },
};

void
worker_fix_settings(void)
{
	for (int i = 0; i < (int) lengthof(fixed_settings); i++)
		SetConfigOption(fixed_settings[i][0], fixed_settings[i][1], PGC_SUSET, PGC_S_OVERRIDE);
}

bool
worker_begin(WorkerTransaction *transaction)
{
	bool installed;

	transaction->context = CurrentMemoryContext;
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	installed = OidIsValid(extension_schema());
	if (installed)
	{
		owner_enter(&transaction->guard);
		if (SPI_connect() != SPI_OK_CONNECT)
			elog(ERROR, "SPI_connect failed");
	}
	else
	{
		PopActiveSnapshot();
		CommitTransactionCommand();
	}
	MemoryContextSwitchTo(transaction->context);
	return installed;
}

void
worker_commit(WorkerTransaction *transaction)
{
	SPI_finish();
	owner_leave(&transaction->guard);
	PopActiveSnapshot();
	CommitTransactionCommand();
	MemoryContextSwitchTo(transaction->context);
	pgstat_report_stat(false);
}

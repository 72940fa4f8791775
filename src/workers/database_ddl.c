/*
 * database_ddl.c
 *		Workers make way for DROP DATABASE, ALTER DATABASE RENAME and SET
 *		TABLESPACE, and CREATE DATABASE with the database as template.
 *
 * These statements fail while anybody is connected to the database, and wait no
 * more than five seconds for that; background workers count.  So the writer, and
 * the worker that makes rounds, are asked to leave before, and none is started until
 * the statement has ended, however it ends.  Calls under way in the database keep the
 * writer there, and the statement then fails as it would have because of them.
 */
#include "postgres.h"

#include "workers/database_ddl.h"

#include "base/compat.h"
#include "base/settings.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "miscadmin.h"
#include "state/circuits.h"
#include "state/ledger_spill.h"
#include "state/ledger_writers.h"
#include "storage/ipc.h"
#include "tcop/utility.h"

static ProcessUtility_hook_type previous_process_utility;

static const char *
option_string(List *options, const char *name, const char *otherwise)
{
	ListCell *cell;

	foreach (cell, options)
	{
		DefElem *option = lfirst_node(DefElem, cell);

		if (strcmp(option->defname, name) == 0)
			return option->arg ? defGetString(option) : otherwise;
	}
	return otherwise;
}

/* The database that a statement needs for itself, or NULL. */
static const char *
database_needed(const Node *statement)
{
	switch (nodeTag(statement))
	{
		case T_DropdbStmt:
			return ((const DropdbStmt *) statement)->dbname;
		case T_RenameStmt:
			if (((const RenameStmt *) statement)->renameType == OBJECT_DATABASE)
				return ((const RenameStmt *) statement)->subname;
			return NULL;
		case T_AlterDatabaseStmt:
		{
			const AlterDatabaseStmt *alter = (const AlterDatabaseStmt *) statement;

			return option_string(alter->options, "tablespace", NULL) ? alter->dbname : NULL;
		}
		case T_CreatedbStmt:
			return option_string(((const CreatedbStmt *) statement)->options, "template",
								 "template1");
		default:
			return NULL;
	}
}

/*
 * Its OID, or InvalidOid when there is nothing to make way for.  Only for the
 * owner: others may not disturb calls with a statement that will be refused.
 */
static Oid
database_to_free(const Node *statement)
{
	const char *name = database_needed(statement);
	Oid			database;

	if (name == NULL || !settings_preloaded || !IsUnderPostmaster)
		return InvalidOid;
	database = get_database_oid(name, true);
	if (!OidIsValid(database) || database == MyDatabaseId ||
		!compat_database_ownercheck(database, GetUserId()))
		return InvalidOid;
	return database;
}

static void
let_in(int code, Datum database)
{
	ledger_database_let_in(DatumGetObjectId(database));
}

static void
next_process_utility(PlannedStmt *statement, const char *query, bool read_only_tree,
					 ProcessUtilityContext context, ParamListInfo params,
					 QueryEnvironment *environment, DestReceiver *receiver,
					 QueryCompletion *completion)
{
	ProcessUtility_hook_type next = previous_process_utility ? previous_process_utility
															 : standard_ProcessUtility;

	next(statement, query, read_only_tree, context, params, environment, receiver, completion);
}

static void
process_utility(PlannedStmt *statement, const char *query, bool read_only_tree,
				ProcessUtilityContext context, ParamListInfo params,
				QueryEnvironment *environment, DestReceiver *receiver,
				QueryCompletion *completion)
{
	bool drops = IsA(statement->utilityStmt, DropdbStmt);
	Oid	 database = database_to_free(statement->utilityStmt);

	if (!OidIsValid(database))
	{
		next_process_utility(statement, query, read_only_tree, context, params, environment,
							 receiver, completion);
		return;
	}
	PG_ENSURE_ERROR_CLEANUP(let_in, ObjectIdGetDatum(database));
	{
		ledger_database_keep_out(database);
		next_process_utility(statement, query, read_only_tree, context, params, environment,
							 receiver, completion);
		if (drops)
		{
			ledger_log_records(database, "the database was dropped");
			ledger_spill_remove(database);
			circuits_forget(database);
		}
	}
	PG_END_ENSURE_ERROR_CLEANUP(let_in, ObjectIdGetDatum(database));
	let_in(0, ObjectIdGetDatum(database));
}

void
database_ddl_init(void)
{
	previous_process_utility = ProcessUtility_hook;
	ProcessUtility_hook = process_utility;
}

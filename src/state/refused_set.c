/*
 * refused_set.c
 *		A refused SET of llm_router.user_id is audited.
 *
 * PostgreSQL refuses it before any hook of the setting runs, so the statement is
 * looked at.  set_config(), SET clauses of functions and ALTER ROLE do not come
 * this way; they are refused all the same.
 */
#include "postgres.h"

#include "state/refused_set.h"

#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "state/audit.h"
#include "state/caller.h"
#include "tcop/utility.h"
#include "utils/guc.h"

static ProcessUtility_hook_type previous_process_utility;

/* Whether PostgreSQL will refuse the statement. */
static bool
will_be_refused(const Node *statement)
{
	const VariableSetStmt *set = (const VariableSetStmt *) statement;

	return IsA(statement, VariableSetStmt) && set->kind == VAR_SET_VALUE &&
		   pg_strcasecmp(set->name, "llm_router.user_id") == 0 && !caller_may_set_user();
}

static void
process_utility(PlannedStmt *statement, const char *query, bool read_only_tree,
				ProcessUtilityContext context, ParamListInfo params,
				QueryEnvironment *environment, DestReceiver *receiver,
				QueryCompletion *completion)
{
	ProcessUtility_hook_type next = previous_process_utility ? previous_process_utility
															 : standard_ProcessUtility;

	if (will_be_refused(statement->utilityStmt))
		caller_note_refusal(ExtractSetVariableArgs((VariableSetStmt *) statement->utilityStmt),
							"llm_router.user_id");
	next(statement, query, read_only_tree, context, params, environment, receiver, completion);
}

void
refused_set_init(void)
{
	previous_process_utility = ProcessUtility_hook;
	ProcessUtility_hook = process_utility;
}

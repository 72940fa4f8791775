/*
 * redaction.c
 *		Keys in statements stay out of the server's logs and statistics.
 *
 * PostgreSQL hands the text of a statement to whoever logs or counts it; so what
 * it is handed here is a copy with keys hidden, at the three places where
 * execution begins: after parse analysis, in ProcessUtility, and in
 * ExecutorStart.  The copy has the length of the original, because positions in
 * it are remembered, and the original is not touched, because it may be anybody's.
 * A statement from which nothing is to be hidden is passed on as it is.
 *
 * What is logged before that, or without it, is hidden as it is emitted.  That
 * hook also runs in the postmaster, in critical sections and out of memory: it
 * allocates nothing that it needs, reads no catalog and does not throw.
 *
 * What others see in pg_stat_activity is overwritten in place by both.
 *
 * Hooks of libraries that are loaded later run earlier, so llm_router has to be
 * the last of shared_preload_libraries.  What remains is in doc/security.md.
 */
#include "postgres.h"

#include "secrets/redaction.h"

#include "commands/extension.h"
#include "commands/prepare.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "parser/analyze.h"
#include "parser/parser.h"
#include "secrets/redaction_text.h"
#include "tcop/pquery.h"
#include "tcop/tcopprot.h"
#include "tcop/utility.h"
#include "utils/backend_status.h"
#include "utils/memutils.h"
#include "utils/portal.h"

static emit_log_hook_type			previous_emit_log;
static post_parse_analyze_hook_type previous_post_parse_analyze;
static ExecutorStart_hook_type		previous_executor_start;
static ProcessUtility_hook_type		previous_process_utility;

/* ------------------------------------------------------------------------
 * What is known of the client's statement
 * ------------------------------------------------------------------------
 */

/*
 * Each statement of a text that has several is given all of it, and so is each
 * line of the log: so it is read once, and hidden once.  All here is NULL or false
 * between two texts.
 */
static struct
{
	const char *text; /* debug_query_string as it came */
	bool		about_keys;
	bool		needed;			 /* something in it has to be hidden */
	const char *sql;			 /* what is handed on instead of it, or NULL */
	const char *line;			 /* what is logged instead of it, or NULL */
	bool		line_about_keys; /* line was made as if it were about keys */
} client;

static void
forget_client(void *argument)
{
	memset(&client, 0, sizeof(client));
}

/* Whether a text is the client's.  MessageContext lives as long as that does. */
static bool
is_of_client(const char *text)
{
	static MemoryContextCallback at_end = { .func = forget_client };

	if (text == NULL || MessageContext == NULL)
		return false;
	if (text == client.text || text == client.line)
		return true;
	if (text != debug_query_string)
		return false;
	if (client.text == NULL)
		MemoryContextRegisterResetCallback(MessageContext, &at_end);
	forget_client(NULL);
	client.text = text;
	client.about_keys = redaction_about_keys(text);
	client.needed = client.about_keys || redaction_needed(text);
	return true;
}

static bool
is_about_keys(const char *text)
{
	return is_of_client(text) ? client.about_keys : redaction_about_keys(text);
}

static bool
is_needed(const char *text)
{
	return is_of_client(text) ? client.needed : redaction_needed(text);
}

/*
 * In pg_stat_activity.  Not by pgstat_report_activity, which would also start
 * the statement's time anew and forget its query_id.
 */
static void
hide_in_activity(bool about_keys)
{
	char *text = MyBEEntry ? MyBEEntry->st_activity_raw : NULL;

	if (text == NULL || !(about_keys || redaction_needed(text)))
		return;
	about_keys = about_keys || redaction_about_keys(text);
	PGSTAT_BEGIN_WRITE_ACTIVITY(MyBEEntry);
	redaction_hide_in_line(text, about_keys,
						   strlen(text) + 1 >= (size_t) pgstat_track_activity_query_size);
	PGSTAT_END_WRITE_ACTIVITY(MyBEEntry);
}

/*
 * In what is logged with errors as the statement.  False where that cannot be
 * done now.
 */
static bool
hide_in_query_string(bool about_keys)
{
	size_t size;
	char  *copy;

	if (debug_query_string == NULL || !(about_keys || is_needed(debug_query_string)))
		return true;
	/* Other processes have no MessageContext. */
	if (!is_of_client(debug_query_string) || CritSectionCount > 0)
		return false;
	about_keys = about_keys || client.about_keys;
	if (debug_query_string == client.line && client.line_about_keys >= about_keys)
		return true;
	size = strlen(debug_query_string) + 1;
	copy = MemoryContextAllocExtended(MessageContext, size, MCXT_ALLOC_HUGE | MCXT_ALLOC_NO_OOM);
	if (copy == NULL)
		return false;
	memcpy(copy, debug_query_string, size);
	redaction_hide_in_line(copy, about_keys, false);
	debug_query_string = client.line = copy;
	client.line_about_keys = about_keys;
	return true;
}

/* ------------------------------------------------------------------------
 * The server log, and what the client is told
 * ------------------------------------------------------------------------
 */

/*
 * Values that PostgreSQL quotes in its own way: of a row that breaks a
 * constraint, a literal without its quote, what is no number.  22023 is ours as
 * well, and shows no key.
 */
static void
hide_quoted_values(ErrorData *error)
{
	char *const texts[] = { error->message, error->detail, error->context };

	if (ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION && error->detail)
		redaction_hide_after(error->detail, "(");
	if (error->sqlerrcode == ERRCODE_SYNTAX_ERROR && error->message)
		redaction_hide_after(error->message, "\"");
	if (ERRCODE_TO_CATEGORY(error->sqlerrcode) != ERRCODE_DATA_EXCEPTION ||
		error->sqlerrcode == ERRCODE_INVALID_PARAMETER_VALUE)
		return;
	for (int i = 0; i < (int) lengthof(texts); i++)
		if (texts[i])
			redaction_hide_after(texts[i], ":\"");
}

/* The strings of ErrorData are its own, so they can be overwritten. */
static void
emit_log(ErrorData *error)
{
	char *const texts[] = {
		error->message, error->detail, error->detail_log, error->context, error->internalquery
	};
	bool about_keys = debug_query_string && is_about_keys(debug_query_string);

	for (int i = 0; i < (int) lengthof(texts); i++)
		about_keys = about_keys || (texts[i] && redaction_about_keys(texts[i]));
	for (int i = 0; i < (int) lengthof(texts); i++)
		if (texts[i])
			redaction_hide_in_line(texts[i], about_keys, false);
	/* Ours show how to call the functions that take keys. */
	if (error->hint)
		redaction_hide_in_line(error->hint, false, false);
	if (about_keys)
		hide_quoted_values(error);

	if (!hide_in_query_string(about_keys))
		error->hide_stmt = true;
	hide_in_activity(about_keys);
	if (previous_emit_log)
		previous_emit_log(error);
}

/* ------------------------------------------------------------------------
 * Texts that are handed on
 * ------------------------------------------------------------------------
 */

/*
 * The text itself, or, where there is something to hide, a copy of it: in the
 * current memory context, or for the client's text the one that there is.  The
 * scripts of extensions are long, given whole with each of their statements, and
 * nobody's key.
 */
static const char *
hide_in_text(const char *text, bool about_keys)
{
	bool  of_client;
	char *copy;

	if (text == NULL || creating_extension)
		return text;
	of_client = !about_keys && is_of_client(text);
	if (of_client && client.sql)
		return client.sql;
	if (!(about_keys || is_needed(text)))
		return text;
	about_keys = about_keys || is_about_keys(text);
	copy = MemoryContextStrdup(of_client ? MessageContext : CurrentMemoryContext, text);
	redaction_hide_in_sql(copy, about_keys, !standard_conforming_strings);
	hide_in_query_string(about_keys);
	hide_in_activity(about_keys);
	if (of_client)
		client.sql = copy;
	return copy;
}

static void
post_parse_analyze(ParseState *state, Query *query, JumbleState *jumble)
{
	state->p_sourcetext = hide_in_text(state->p_sourcetext, false);
	if (previous_post_parse_analyze)
		previous_post_parse_analyze(state, query, jumble);
}

/*
 * A portal keeps the text that its query was made with, and shows it anew each
 * time that it is run.
 */
static void
hide_in_portal(const char *original, const char *text)
{
	if (text != original && ActivePortal && ActivePortal->sourceText == original)
		ActivePortal->sourceText = MemoryContextStrdup(ActivePortal->portalContext, text);
}

static void
free_text(void *text)
{
	pfree(text);
}

/*
 * The text is freed with the execution's own context: a function in SQL starts its
 * statements again and again in one that lives longer.
 */
static void
free_with_execution(QueryDesc *query, char *text)
{
	MemoryContext		   context = query->estate->es_query_cxt;
	MemoryContextCallback *at_end = MemoryContextAlloc(context, sizeof(*at_end));

	at_end->func = free_text;
	at_end->arg = text;
	MemoryContextRegisterResetCallback(context, at_end);
}

static void
executor_start(QueryDesc *query, int flags)
{
	const char *original = query->sourceText;
	const char *text = hide_in_text(original, false);

	hide_in_portal(original, text);
	query->sourceText = text;
	if (previous_executor_start)
		previous_executor_start(query, flags);
	else
		standard_ExecutorStart(query, flags);
	if (text != original && text != client.sql)
		free_with_execution(query, unconstify(char *, text));
}

/* EXECUTE has the values, and the prepared statement the function's name. */
static bool
executes_about_keys(const Node *statement)
{
	PreparedStatement *prepared = NULL;

	if (IsA(statement, ExecuteStmt))
		prepared = FetchPreparedStatement(((const ExecuteStmt *) statement)->name, false);
	return prepared && redaction_about_keys(prepared->plansource->query_string);
}

static void
process_utility(PlannedStmt *statement, const char *query, bool read_only_tree,
				ProcessUtilityContext context, ParamListInfo params,
				QueryEnvironment *environment, DestReceiver *receiver,
				QueryCompletion *completion)
{
	ProcessUtility_hook_type next = previous_process_utility ? previous_process_utility
															 : standard_ProcessUtility;
	const char				*text = hide_in_text(query, executes_about_keys(statement->utilityStmt));

	hide_in_portal(query, text);
	next(statement, text, read_only_tree, context, params, environment, receiver, completion);
}

void
redaction_init(void)
{
	previous_emit_log = emit_log_hook;
	emit_log_hook = emit_log;
	previous_post_parse_analyze = post_parse_analyze_hook;
	post_parse_analyze_hook = post_parse_analyze;
	previous_executor_start = ExecutorStart_hook;
	ExecutorStart_hook = executor_start;
	previous_process_utility = ProcessUtility_hook;
	ProcessUtility_hook = process_utility;
}

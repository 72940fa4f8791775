/*
 * usage.c
 *		What the usage functions (sql/install/65_usage.sql) cannot do in SQL: a
 *		ledger row as a line of CSV, and how much of its budgets a caller has used.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "api/arguments.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "state/caller.h"
#include "state/extension.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

PG_FUNCTION_INFO_V1(llm_usage_csv);
PG_FUNCTION_INFO_V1(llm_usage_quota);

/* ------------------------------------------------------------------------
 * llm_usage_csv()
 * ------------------------------------------------------------------------
 */

/* How the values of a column are written. */
typedef struct CsvColumn
{
	Oid		 type;
	bool	 is_text; /* somebody's words, which a spreadsheet might take for a formula */
	FmgrInfo output;
} CsvColumn;

typedef struct CsvWriter
{
	TupleDesc tupdesc;
	CsvColumn columns[FLEXIBLE_ARRAY_MEMBER];
} CsvWriter;

/* The writer for rows of the argument's type, made once for each place of a query that calls. */
static CsvWriter *
csv_writer(FunctionCallInfo fcinfo)
{
	MemoryContext previous;
	TupleDesc	  tupdesc;
	CsvWriter	 *writer = fcinfo->flinfo->fn_extra;

	if (writer != NULL)
		return writer;
	previous = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);
	tupdesc = lookup_rowtype_tupdesc_copy(get_fn_expr_argtype(fcinfo->flinfo, 0), -1);
	writer = palloc0(offsetof(CsvWriter, columns) + tupdesc->natts * sizeof(CsvColumn));
	writer->tupdesc = tupdesc;
	for (int i = 0; i < tupdesc->natts; i++)
	{
		Oid	 type = TupleDescAttr(tupdesc, i)->atttypid;
		bool is_varlena;
		Oid	 output;

		if (TupleDescAttr(tupdesc, i)->attisdropped)
			continue;
		getTypeOutputInfo(type, &output, &is_varlena);
		fmgr_info_cxt(output, &writer->columns[i].output, fcinfo->flinfo->fn_mcxt);
		writer->columns[i].type = type;
		writer->columns[i].is_text = type == TEXTOID || type == VARCHAROID;
	}
	MemoryContextSwitchTo(previous);
	fcinfo->flinfo->fn_extra = writer;
	return writer;
}

/*
 * One value, by RFC 4180: in quotes where it holds a comma, a quote or a line
 * break, and as "" when it is empty, which tells it from NULL.  A text that a
 * spreadsheet would take for a formula gets an apostrophe before it.
 */
static void
append_field(StringInfo line, const char *value, bool is_text)
{
	bool is_formula = is_text && *value != '\0' && strchr("=+-@\t\r", *value) != NULL;

	if (*value != '\0' && strpbrk(value, ",\"\r\n") == NULL)
	{
		if (is_formula)
			appendStringInfoChar(line, '\'');
		appendStringInfoString(line, value);
		return;
	}
	appendStringInfoChar(line, '"');
	if (is_formula)
		appendStringInfoChar(line, '\'');
	for (const char *p = value; *p != '\0'; p++)
	{
		if (*p == '"')
			appendStringInfoChar(line, '"');
		appendStringInfoChar(line, *p);
	}
	appendStringInfoChar(line, '"');
}

/* Times as in JSON, ISO 8601 in the session's time zone, whatever DateStyle says. */
static char *
csv_value(CsvColumn *column, Datum value)
{
	if (column->type == TIMESTAMPTZOID)
		return JsonEncodeDateTime(NULL, value, TIMESTAMPTZOID, NULL);
	return OutputFunctionCall(&column->output, value);
}

static void
append_row(StringInfo line, CsvWriter *writer, HeapTupleHeader row)
{
	int			  natts = writer->tupdesc->natts;
	Datum		 *values = palloc(natts * sizeof(Datum));
	bool		 *nulls = palloc(natts * sizeof(bool));
	HeapTupleData tuple = { .t_len = HeapTupleHeaderGetDatumLength(row), .t_data = row };
	const char	 *separator = "";

	heap_deform_tuple(&tuple, writer->tupdesc, values, nulls);
	for (int i = 0; i < natts; i++)
	{
		if (TupleDescAttr(writer->tupdesc, i)->attisdropped)
			continue;
		appendStringInfoString(line, separator);
		separator = ",";
		if (!nulls[i])
			append_field(line, csv_value(&writer->columns[i], values[i]), writer->columns[i].is_text);
	}
}

static void
append_header(StringInfo line, CsvWriter *writer)
{
	const char *separator = "";

	for (int i = 0; i < writer->tupdesc->natts; i++)
	{
		if (TupleDescAttr(writer->tupdesc, i)->attisdropped)
			continue;
		appendStringInfoString(line, separator);
		append_field(line, NameStr(TupleDescAttr(writer->tupdesc, i)->attname), true);
		separator = ",";
	}
}

/*
 * llm_usage_csv(log llm_usage_logs) RETURNS text: a row as a line of CSV,
 * without a line break at its end; for NULL the line with the columns' names.
 */
Datum
llm_usage_csv(PG_FUNCTION_ARGS)
{
	CsvWriter	  *writer = csv_writer(fcinfo);
	StringInfoData line;

	initStringInfo(&line);
	if (PG_ARGISNULL(0))
		append_header(&line, writer);
	else
		append_row(&line, writer, PG_GETARG_HEAPTUPLEHEADER(0));
	PG_RETURN_TEXT_P(cstring_to_text_with_len(line.data, line.len));
}

/* ------------------------------------------------------------------------
 * llm_usage_quota()
 * ------------------------------------------------------------------------
 */

/*
 * llm_usage_quota() RETURNS numeric: how much of the tightest of the budgets
 * that apply to the caller's requests is used, in percent; NULL without any.
 *
 * Budgets are not for users to read, and a SECURITY DEFINER function would not
 * know who called it: so the identity is taken here, and the rest done by
 * llm_usage_budgets as the extension's owner.
 */
Datum
llm_usage_quota(PG_FUNCTION_ARGS)
{
	RouterOptions options = { 0 };
	RouteCaller	  caller = { 0 };
	LlmError	  error = { 0 };
	Oid			  types[] = { TEXTOID, TEXTOID };
	Datum		  values[2];
	OwnerGuard	  guard;
	Datum		  used;
	bool		  is_null;

	argument_require_preloaded();
	if (!caller_fill(&caller, &options, &error))
		error_throw(&error);
	values[0] = CStringGetTextDatum(caller.user_id);
	values[1] = CStringGetTextDatum(caller.tier);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	owner_enter(&guard);
	if (SPI_execute_with_args(psprintf("SELECT max(used_percent) FROM %s($1, $2)",
									   extension_table("llm_usage_budgets")),
							  2, types, values, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the budgets");
	used = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &is_null);
	if (!is_null)
		used = SPI_datumTransfer(used, false, -1);
	owner_leave(&guard);
	SPI_finish();
	if (is_null)
		PG_RETURN_NULL();
	return used;
}

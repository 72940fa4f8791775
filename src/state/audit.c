/*
 * audit.c
 *		Entries of llm_audit_logs.
 */
#include "state/audit.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "state/extension.h"
#include "utils/builtins.h"
#include "utils/json.h"

static Datum
text_datum(const char *text)
{
	return text ? CStringGetTextDatum(text) : (Datum) 0;
}

void
audit_write(const AuditEntry *entry)
{
	Oid	  types[] = { TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID };
	Datum values[] = {
		text_datum(entry->actor),
		text_datum(entry->user_id),
		text_datum(entry->action),
		text_datum(entry->object),
		text_datum(entry->detail),
	};
	char nulls[] = {
		' ',
		entry->user_id ? ' ' : 'n',
		' ',
		entry->object ? ' ' : 'n',
		entry->detail ? ' ' : 'n',
	};
	char *sql = psprintf("INSERT INTO %s (actor, user_id, action, object, detail)"
						 " VALUES ($1, $2, $3, $4, $5::jsonb)",
						 extension_table("llm_audit_logs"));
	int	  result = SPI_execute_with_args(sql, lengthof(types), types, values, nulls, false, 0);

	if (result != SPI_OK_INSERT)
		elog(ERROR, "could not write to llm_audit_logs: %s", SPI_result_code_string(result));
}

static void
append_member(StringInfo json, const char *name, const char *text)
{
	if (text == NULL)
		return;
	appendStringInfo(json, ",\"%s\":", name);
	escape_json(json, text);
}

void
audit_note(const AuditEntry *entry)
{
	StringInfoData note;

	initStringInfo(&note);
	append_member(&note, "action", entry->action);
	append_member(&note, "actor", entry->actor);
	append_member(&note, "user_id", entry->user_id);
	append_member(&note, "object", entry->object);
	if (entry->detail)
		appendStringInfo(&note, ",\"detail\":%s", entry->detail);
	ereport(LOG, (errmsg("llm_router: audit: {%s}", note.data + 1)));
}

void
audit_note_key_refused(int64 key_id, const char *token, const AuditEntry *entry)
{
	AuditEntry refused = *entry;

	refused.action = "byok.key.refused";
	audit_note(&refused);
}

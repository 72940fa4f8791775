/*
 * audit.c
 *		Entries of llm_audit_logs, in this transaction or apart from it.
 */
#include "state/audit.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "state/extension.h"
#include "state/ledger.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/timestamp.h"

/* Names in a note are cut: whoever is refused chooses some of them. */
#define MAX_NAME_BYTES 255

/* Longer notes go to the server log: they would take room from calls. */
#define MAX_NOTE_BYTES 4096

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

/* A member of an object, unless it is NULL. */
static void
append_member(StringInfo object, const char *name, const char *value)
{
	if (value == NULL)
		return;
	appendStringInfo(object, "%s\"%s\": ", object->data[object->len - 1] == '{' ? "" : ", ", name);
	escape_json(object, value);
}

char *
audit_key_detail(int64 key_id, const char *key_name, const char *refusal)
{
	StringInfoData detail;

	initStringInfo(&detail);
	appendStringInfoChar(&detail, '{');
	if (key_id != 0)
		appendStringInfo(&detail, "\"key_id\": " INT64_FORMAT, key_id);
	append_member(&detail, "key_name", key_name);
	append_member(&detail, "refusal", refusal);
	appendStringInfoChar(&detail, '}');
	return detail.data;
}

static void
append_name(StringInfo note, const char *member, const char *name)
{
	int	  length;
	char *cut;

	if (name == NULL)
		return;
	length = (int) strlen(name);
	cut = pnstrdup(name, pg_mbcliplen(name, length, Min(length, MAX_NAME_BYTES)));
	appendStringInfo(note, ",\"%s\":", member);
	escape_json(note, cut);
}

/* A note without its closing brace; it opens as LEDGER_NOTE_OPENING says. */
static void
begin_note(StringInfo note, const char *action, const AuditEntry *entry)
{
	char time[MAXDATELEN + 1];

	initStringInfo(note);
	appendStringInfoString(note, LEDGER_NOTE_OPENING);
	escape_json(note, action);
	append_name(note, "actor", entry->actor);
	append_name(note, "user_id", entry->user_id);
	append_name(note, "object", entry->object);
	if (entry->detail != NULL)
		appendStringInfo(note, ",\"detail\":%s", entry->detail);
	(void) JsonEncodeDateTime(time, TimestampTzGetDatum(GetCurrentTimestamp()), TIMESTAMPTZOID, NULL);
	appendStringInfo(note, ",\"created_at\":\"%s\"", time);
}

static void
end_note(StringInfo note)
{
	appendStringInfoChar(note, '}');
	if (note->len > MAX_NOTE_BYTES || !ledger_note(note->data))
		ereport(LOG,
				(errmsg("llm_router: audit entry that could not be queued: %s", note->data),
				 errhidestmt(true), errhidecontext(true)));
}

void
audit_note(const AuditEntry *entry)
{
	StringInfoData note;

	begin_note(&note, entry->action, entry);
	end_note(&note);
}

void
audit_note_key_refused(int64 key_id, int32 version, const AuditEntry *entry)
{
	StringInfoData note;

	begin_note(&note, "byok.key.refused", entry);
	appendStringInfo(&note, ",\"key_id\":" INT64_FORMAT ",\"key_version\":%d", key_id, version);
	end_note(&note);
}

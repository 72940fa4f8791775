#include "state/audit.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "state/extension.h"
#include "utils/builtins.h"
void
audit_write(const AuditEntry *entry)
{
	Oid			types[] = { TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID };
	const char *texts[] = { entry->actor, entry->user_id, entry->action, entry->object, entry->detail };
	Datum		values[5];
	char		nulls[6] = "     ";
	for (int i = 0; i < 5; i++)
	{
		if (texts[i])
			values[i] = CStringGetTextDatum(texts[i]);
		else
			nulls[i] = 'n';
	}
	SPI_execute_with_args(psprintf("INSERT INTO %s (actor, user_id, action, object, detail) VALUES ($1, $2, $3, $4, $5::jsonb)", extension_table("llm_audit_logs")), 5, types, values, nulls, false, 0);
}
void
audit_note(const AuditEntry *entry)
{
	elog(LOG, "audit %s", entry->action);
}
void
audit_note_key_refused(int64 key_id, const char *token, const AuditEntry *entry)
{
	elog(LOG, "refused " INT64_FORMAT, key_id);
}

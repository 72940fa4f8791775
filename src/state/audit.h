#ifndef LLM_ROUTER_AUDIT_H
#define LLM_ROUTER_AUDIT_H
#include "postgres.h"
typedef struct AuditEntry
{
	const char *actor;
	const char *user_id;
	const char *action;
	const char *object;
	const char *detail;
} AuditEntry;
extern void audit_write(const AuditEntry *entry);
extern void audit_note(const AuditEntry *entry);
extern void audit_note_key_refused(int64 key_id, const char *token, const AuditEntry *entry);
#endif

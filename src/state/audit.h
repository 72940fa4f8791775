/*
 * audit.h
 *		Entries of llm_audit_logs: what was done, and what was refused.
 *
 * No entry holds a key or a prompt: callers give names, and details that they
 * made themselves.
 */
#ifndef LLM_ROUTER_AUDIT_H
#define LLM_ROUTER_AUDIT_H

#include "postgres.h"

typedef struct AuditEntry
{
	const char *actor;	 /* the role that acted */
	const char *user_id; /* for whom; or NULL */
	const char *action;
	const char *object; /* or NULL */
	const char *detail; /* a JSON object, as text in one line; or NULL */
} AuditEntry;

/*
 * The detail of a refused key, palloc'd: its id (0: it has none yet) and name (or
 * NULL), and what the provider said.
 */
extern char *audit_key_detail(int64 key_id, const char *key_name, const char *refusal);

/*
 * Write the entry in this transaction: what is undone is not audited.  Between
 * owner_enter and owner_leave, connected to SPI.
 */
extern void audit_write(const AuditEntry *entry);

/*
 * Hand the entry to the database's ledger writer, whose transaction outlives
 * this one: for what is about to be refused, and for transactions that may be
 * read only.  Neither throws nor waits for the writer; where it cannot be had
 * (no room, a standby, llm_router not preloaded), the entry becomes one line of
 * the server log.  Needs a transaction.
 */
extern void audit_note(const AuditEntry *entry);

/*
 * The same for a provider's refusal of a user's key; the action is
 * byok.key.refused whatever the entry says.  The writer also marks the key as
 * refused, with "refusal" of the detail, unless that version has been replaced
 * meanwhile, and notifies the channel llm_router.
 */
extern void audit_note_key_refused(int64 key_id, int32 version, const AuditEntry *entry);

#endif /* LLM_ROUTER_AUDIT_H */

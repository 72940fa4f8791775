/*
 * extension.h
 *		Where the extension is in this database, and acting as its owner.
 */
#ifndef LLM_ROUTER_EXTENSION_H
#define LLM_ROUTER_EXTENSION_H

#include "postgres.h"

/* OID of the extension's schema and its owner; InvalidOid without the extension. */
extern Oid extension_schema(void);
extern Oid extension_owner(void);

/*
 * False within the transaction that creates or alters the extension: other
 * processes, so the ledger's writer too, do not see the ledger's tables yet.
 */
extern bool extension_is_committed(void);

/*
 * "schema.relation", quoted, palloc'd: for SPI statements.  Also for sequences
 * and functions.  Throws when the extension is not installed in this database.
 */
extern char *extension_table(const char *name);

/*
 * Act as the extension's owner with a pinned search_path: between these two,
 * SPI sees the extension's tables whatever the caller may do.  Undone by abort
 * as well.  Throws when the extension is not installed in this database.
 */
typedef struct OwnerGuard
{
	Oid user;
	int security_context;
	int guc_level;
} OwnerGuard;

extern void owner_enter(OwnerGuard *guard);
extern void owner_leave(OwnerGuard *guard);

/*
 * Numbers that grow whenever the configuration, or the table of users, may have
 * changed: what was read before is then read anew.  Looking takes notice of
 * what other sessions have committed.
 */
extern uint64 extension_configuration_generation(void);
extern uint64 extension_users_generation(void);

/* Called once by _PG_init. */
extern void extension_init(void);

#endif /* LLM_ROUTER_EXTENSION_H */

/*
 * catalog.h (state)
 *		The process's snapshot of the configuration tables, and of a user's row.
 *
 * Loaded on first use and again after a committed change of the configuration
 * (a trigger sends a relcache invalidation of llm_providers): routing itself
 * touches no table.
 */
#ifndef LLM_ROUTER_STATE_CATALOG_H
#define LLM_ROUTER_STATE_CATALOG_H

#include "routing/catalog.h"

/*
 * The current snapshot.  Valid until the next call of catalog_get(), unless
 * pinned; a call in progress pins the one that it planned with.
 * Throws when the extension is not installed in this database.
 */
extern const Catalog *catalog_get(void);
extern void catalog_pin(const Catalog *catalog);
extern void catalog_unpin(const Catalog *catalog);

/* OID of the extension's schema and its owner; InvalidOid without the extension. */
extern Oid	extension_schema(void);
extern Oid	extension_owner(void);

/* "schema.relation", quoted, palloc'd: for SPI statements. */
extern char *extension_table(const char *name);

/*
 * Run SQL as the extension's owner with a pinned search_path: between these
 * two, SPI sees the extension's tables whatever the caller may do.  Undone by
 * abort as well.
 */
typedef struct OwnerGuard
{
	Oid			user;
	int			security_context;
	int			guc_level;
} OwnerGuard;

extern void owner_enter(OwnerGuard *guard);
extern void owner_leave(OwnerGuard *guard);

/*
 * Tier and default power level of a user, from llm_users or, where it has no
 * row, from the settings (see DESIGN: a user_id without a row has
 * default_end_user_tier, a bare role default_subscription_tier).  Cached until
 * llm_users changes.  Strings are palloc'd.
 */
extern void user_lookup(const char *user_id, bool is_role,
						char **tier, char **default_power_level);

/* llm_router.user_id, else the current role's name; palloc'd. */
extern char *identity_user_id(bool *is_role);

extern void catalog_init(void);

#endif							/* LLM_ROUTER_STATE_CATALOG_H */

/*
 * catalog.h (state)
 *		The process's snapshot of the configuration tables.
 *
 * Loaded on first use and again after a committed change of the configuration:
 * routing itself touches no table.
 */
#ifndef LLM_ROUTER_STATE_CATALOG_H
#define LLM_ROUTER_STATE_CATALOG_H

#include "routing/catalog.h"
#include "state/extension.h"

/*
 * The current snapshot.  Valid until the next call of catalog_get(), unless
 * pinned; a call in progress pins the one that it planned with.
 * Throws when the extension is not installed in this database.
 */
extern const Catalog *catalog_get(void);

/* Every pin needs one unpin, which never throws. */
extern void catalog_pin(const Catalog *catalog);
extern void catalog_unpin(const Catalog *catalog);

#endif /* LLM_ROUTER_STATE_CATALOG_H */

/*
 * health.h
 *		Checking the health of providers.
 */
#ifndef LLM_ROUTER_WORKERS_HEALTH_H
#define LLM_ROUTER_WORKERS_HEALTH_H

#include "datatype/timestamp.h"
#include "engine/key_check.h"
#include "routing/health.h"

/* Check the providers that are due; returns when the next one is, DT_NOEND: never. */
extern TimestampTz health_run(void);

/*
 * Check one now, in the caller's transaction, with SPI connected as the extension's
 * owner; api_key NULL: it needs none.  False when its row is locked by somebody, so
 * that nothing was written.
 */
extern bool health_check_now(const CatalogProvider *provider, const char *api_key, KeyCheck *check,
							 HealthStatus *status);

#endif /* LLM_ROUTER_WORKERS_HEALTH_H */

/*
 * explain.h
 *		The errors of routing in words.  Internal to routing/.
 */
#ifndef LLM_ROUTER_EXPLAIN_H
#define LLM_ROUTER_EXPLAIN_H

#include "routing/route.h"

/* All fill *error and return false. */
extern bool explain_unknown_level(const char *name, bool is_model, LlmError *error);
extern bool explain_unknown_model(const Catalog *catalog, const char *name,
								  LlmError *error);
extern bool explain_unknown_tier(const Catalog *catalog, const RouteCaller *caller,
								 LlmError *error);
extern bool explain_tier(const CatalogTier *tier, const char *user_id,
						 PowerLevel level, LlmError *error);

#endif /* LLM_ROUTER_EXPLAIN_H */

/*
 * failure.h
 *		What a provider's error means, for every API format.
 */
#ifndef LLM_ROUTER_FAILURE_H
#define LLM_ROUTER_FAILURE_H

#include "providers/provider.h"

/*
 * Fill *reply (outcome, message, code, retry_after_ms, do_not_retry) from an
 * error answer.  body is its JSON, an object, or NULL when it was none.  A
 * status of 2xx is an error that came with a good status.
 */
extern void failure_read(const WireResponse *wire, JsonbContainer *body,
						 ProviderReply *reply);

/* An answer that is not what the format promises; problem is static. */
extern void failure_protocol(const char *problem, ProviderReply *reply);

#endif							/* LLM_ROUTER_FAILURE_H */

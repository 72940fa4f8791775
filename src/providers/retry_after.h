/*
 * retry_after.h
 *		When a provider says that one may try again.
 */
#ifndef LLM_ROUTER_RETRY_AFTER_H
#define LLM_ROUTER_RETRY_AFTER_H

#include "providers/provider.h"

/*
 * Milliseconds from wire->received_at, from the headers or, failing these, from
 * the body of the error (an object or NULL; Google says it there), or from the
 * provider's message (or NULL); -1 when neither says.  Between 1 ms and
 * 31 days: what else is said is ignored, or cut.
 */
extern int64 retry_after_ms(const WireResponse *wire, JsonbContainer *body, const char *message);

/* Whether x-should-retry forbids another try. */
extern bool retry_is_forbidden(const WireResponse *wire);

#endif /* LLM_ROUTER_RETRY_AFTER_H */

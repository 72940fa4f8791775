/*
 * key_check.h
 *		Ask a provider whether it accepts a key.
 */
#ifndef LLM_ROUTER_KEY_CHECK_H
#define LLM_ROUTER_KEY_CHECK_H

#include "routing/catalog.h"

typedef enum KeyVerdict
{
	KEY_ACCEPTED,
	KEY_REFUSED,
	KEY_UNKNOWN /* no check, no answer, or one that says neither */
} KeyVerdict;

typedef struct KeyCheck
{
	KeyVerdict verdict;
	int		   http_status; /* 0: no answer */
	int64	   response_time_ms;
	char	  *message; /* why, unless accepted; never the provider's words,
								 * which may hold the key; palloc'd */
} KeyCheck;

/*
 * Send the provider's cheap authenticated request, once, and wait for the
 * answer; the timeouts of calls apply, and CHECK_TIMEOUT_MS as a whole.
 * Throws for interrupts only.
 */
extern void key_check(const CatalogProvider *provider, const char *api_key,
					  KeyCheck *check);

#endif /* LLM_ROUTER_KEY_CHECK_H */

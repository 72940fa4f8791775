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
	KEY_NOT_PERMITTED, /* known, but not for this; it may be good for calls */
	KEY_UNKNOWN		   /* no check, no answer, or one that says neither */
} KeyVerdict;

typedef struct KeyCheck
{
	KeyVerdict verdict;
	int		   http_status; /* 0: no answer */
	int64	   response_time_ms;
	char	  *message; /* why, unless accepted, with the provider's words but without the
						 * key; palloc'd */
} KeyCheck;

/* Whether the provider has a request that checks keys. */
extern bool key_check_possible(const CatalogProvider *provider);

/*
 * Send the provider's cheap authenticated request, once, and wait for the
 * answer; the timeouts of calls apply, and CHECK_TIMEOUT_MS as a whole.
 * Takes one of llm_router.max_concurrency places.  Throws LR004 when none becomes
 * free, else for interrupts only.
 */
extern void key_check(const CatalogProvider *provider, const char *api_key,
					  KeyCheck *check);

/*
 * The same for many at once: start, drive all with http_wait() until done, finish.
 * A probe lives in the current memory context and ends with it.  The key is not
 * kept; without it (NULL) at the end, the provider's words are left out.
 */
typedef struct KeyProbe KeyProbe;

extern KeyProbe *key_check_start(const CatalogProvider *provider, const char *api_key);
extern bool		 key_check_done(const KeyProbe *probe);
extern void		 key_check_finish(KeyProbe *probe, const char *api_key, KeyCheck *check);

#endif /* LLM_ROUTER_KEY_CHECK_H */

/*
 * rates.h
 *		Requests and tokens of the last minute, of users and providers, in shared
 *		memory, exact for all sessions.
 *
 * Exported for the test module in test/modules/limits.
 */
#ifndef LLM_ROUTER_RATES_H
#define LLM_ROUTER_RATES_H

#include "routing/rate.h"

/* A request that was counted, to be corrected once.  Begins as zeros: none. */
typedef struct RateUse
{
	bool  counted;
	int32 number; /* of its window */
	int64 slot;
	int64 tokens;
} RateUse;

typedef struct RateRefusal
{
	bool		 is_full; /* no memory for another window */
	RateObstacle obstacle;
	int64		 wait_ms; /* -1: it will never fit */
} RateRefusal;

/*
 * Count a request with so many tokens for a user, or for a provider (by its id) of
 * this database.
 */
extern PGDLLEXPORT bool rate_enter_user(const char *user_id, const RateLimit *limit, int64 tokens,
										RateUse		*use,
										RateRefusal *refusal);
extern PGDLLEXPORT bool rate_enter_provider(int32 provider_id, const RateLimit *limit,
											int64 tokens, RateUse *use,
											RateRefusal *refusal);

/* Say how many tokens it has used; not sent: it counts for nothing.  Neither throws nor allocates. */
extern PGDLLEXPORT void rate_settle(RateUse *use, bool sent, int64 tokens);

/* Shared memory; called once by _PG_init while preloading. */
extern void rates_init(void);

#endif /* LLM_ROUTER_RATES_H */

/*
 * rate.h
 *		Requests and tokens a minute, in a sliding window.  Pure.
 *
 * The window is made of slots of RATE_SLOT_MS.  What was counted in a slot leaves
 * the window 60 seconds after the slot's end: so no minute, wherever it begins, has
 * more than the limit, and room comes back up to one slot late.
 */
#ifndef LLM_ROUTER_RATE_H
#define LLM_ROUTER_RATE_H

#include "postgres.h"

#define RATE_SLOT_MS 5000
#define RATE_SLOTS	 13 /* a minute, and the slot that is under way */

#define RATE_NO_LIMIT (-1)

typedef struct RateLimit
{
	int64 requests; /* a minute; RATE_NO_LIMIT, or from 0 */
	int64 tokens;
} RateLimit;

#define RATE_UNLIMITED ((RateLimit){ RATE_NO_LIMIT, RATE_NO_LIMIT })

static inline bool
rate_is_limited(const RateLimit *limit)
{
	return limit->requests != RATE_NO_LIMIT || limit->tokens != RATE_NO_LIMIT;
}

/* Begins as zeros. */
typedef struct RateWindow
{
	int64 newest;				/* number of the slot under way when it was last counted in */
	int64 requests[RATE_SLOTS]; /* by number of the slot, modulo their number */
	int64 tokens[RATE_SLOTS];
} RateWindow;

typedef enum RateObstacle
{
	RATE_ADMITS,
	RATE_LACKS_REQUESTS,
	RATE_LACKS_TOKENS
} RateObstacle;

/*
 * Bring the window to the time, in milliseconds of any clock.  A time a little
 * before the last one, as of a process that was slow, is taken for that one; from
 * a clock that has jumped back, the window begins anew: it must not stop anybody
 * until the clock has caught up.
 */
extern void rate_advance(RateWindow *window, int64 now_ms);

/*
 * Count one request with so many tokens, if the limit admits them.  Otherwise
 * *wait_ms says after how long it would; -1: never, since it is more than the limit.
 * *slot is where it was counted.
 */
extern RateObstacle rate_enter(RateWindow *window, const RateLimit *limit, int64 now_ms, int64 tokens,
							   int64 *slot, int64 *wait_ms);

/* Correct what was counted in a slot, unless it has left the window. */
extern void rate_correct(RateWindow *window, int64 slot, int64 requests, int64 tokens);

/* Whether nothing is counted any more, so that the window can be forgotten. */
extern bool rate_is_idle(const RateWindow *window, int64 now_ms);

#endif /* LLM_ROUTER_RATE_H */

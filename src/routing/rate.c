/*
 * rate.c
 *		Requests and tokens a minute, in a sliding window.
 */
#include "routing/rate.h"

static int64
slot_of(int64 now_ms)
{
	return now_ms / RATE_SLOT_MS;
}

static int
place_of(int64 slot)
{
	return (int) (slot % RATE_SLOTS);
}

void
rate_advance(RateWindow *window, int64 now_ms)
{
	int64 now = slot_of(now_ms);

	if (now > window->newest + RATE_SLOTS || now < window->newest - RATE_SLOTS)
	{
		memset(window, 0, sizeof(*window));
		window->newest = now;
	}
	for (; window->newest < now; window->newest++)
	{
		window->requests[place_of(window->newest + 1)] = 0;
		window->tokens[place_of(window->newest + 1)] = 0;
	}
}

static int64
sum(const int64 counts[RATE_SLOTS])
{
	int64 total = 0;

	for (int i = 0; i < RATE_SLOTS; i++)
		total += counts[i];
	return total;
}

/* Whether "asked" fits; else how long until so much has left the window that it does, or -1. */
static bool
fits(const RateWindow *window, const int64 counts[RATE_SLOTS], int64 limit, int64 asked, int64 now_ms,
	 int64 *wait_ms)
{
	int64 used = sum(counts);

	if (limit == RATE_NO_LIMIT || used + asked <= limit)
		return true;
	*wait_ms = -1;
	for (int64 slot = window->newest - RATE_SLOTS + 1; slot <= window->newest && asked <= limit; slot++)
	{
		if (slot >= 0)
			used -= counts[place_of(slot)];
		if (used + asked <= limit)
		{
			*wait_ms = Max((slot + RATE_SLOTS) * RATE_SLOT_MS - now_ms, 1);
			break;
		}
	}
	return false;
}

RateObstacle
rate_enter(RateWindow *window, const RateLimit *limit, int64 now_ms, int64 tokens, int64 *slot,
		   int64 *wait_ms)
{
	rate_advance(window, now_ms);
	if (!fits(window, window->requests, limit->requests, 1, now_ms, wait_ms))
		return RATE_LACKS_REQUESTS;
	if (!fits(window, window->tokens, limit->tokens, tokens, now_ms, wait_ms))
		return RATE_LACKS_TOKENS;
	*slot = window->newest;
	window->requests[place_of(*slot)]++;
	window->tokens[place_of(*slot)] += tokens;
	return RATE_ADMITS;
}

void
rate_correct(RateWindow *window, int64 slot, int64 requests, int64 tokens)
{
	if (slot > window->newest || slot <= window->newest - RATE_SLOTS)
		return;
	window->requests[place_of(slot)] += requests;
	window->tokens[place_of(slot)] += tokens;
}

bool
rate_is_idle(const RateWindow *window, int64 now_ms)
{
	int64 now = slot_of(now_ms);

	return now >= window->newest + RATE_SLOTS || now < window->newest - RATE_SLOTS ||
		   (sum(window->requests) == 0 && sum(window->tokens) == 0);
}

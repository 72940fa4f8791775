/*
 * health.c
 *		What checks say of a provider's health.
 */
#include "routing/health.h"

/* Failures are looked into ten times as often, but not more than once a second. */
#define SOONER			  10
#define SHORTEST_PAUSE_MS 1000

static const char *const names[] = {
	[HEALTH_UNKNOWN] = "unknown",
	[HEALTH_HEALTHY] = "healthy",
	[HEALTH_DEGRADED] = "degraded",
	[HEALTH_DOWN] = "down",
};

const char *
health_name(HealthStatus status)
{
	return names[status];
}

HealthStatus
health_from_name(const char *name)
{
	for (int i = 0; i < (int) lengthof(names); i++)
		if (strcmp(names[i], name) == 0)
			return (HealthStatus) i;
	return HEALTH_UNKNOWN;
}

HealthFinding
health_find(int http_status, bool accepted, int64 response_time_ms)
{
	if (http_status == 0 || http_status >= 500)
		return HEALTH_FAILED;
	return accepted && response_time_ms <= HEALTH_SLOW_MS ? HEALTH_GOOD : HEALTH_POOR;
}

HealthStatus
health_judge(HealthFinding finding, int failed_before)
{
	if (finding == HEALTH_FAILED && failed_before >= HEALTH_CHECKS - 1)
		return HEALTH_DOWN;
	if (finding != HEALTH_GOOD || failed_before > 0)
		return HEALTH_DEGRADED;
	return HEALTH_HEALTHY;
}

int64
health_pause_ms(int64 interval_ms, bool has_failed)
{
	return has_failed ? Min(Max(interval_ms / SOONER, SHORTEST_PAUSE_MS), interval_ms) : interval_ms;
}

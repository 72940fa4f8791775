/*
 * health.h
 *		What checks say of a provider's health.  Pure.
 */
#ifndef LLM_ROUTER_HEALTH_H
#define LLM_ROUTER_HEALTH_H

#include "postgres.h"

/* An answer that takes longer is a sign of ill health. */
#define HEALTH_SLOW_MS 5000

/* So many checks in a row decide: all failed, and the provider is down. */
#define HEALTH_CHECKS 3

typedef enum HealthStatus
{
	HEALTH_UNKNOWN,
	HEALTH_HEALTHY,
	HEALTH_DEGRADED,
	HEALTH_DOWN
} HealthStatus;

typedef enum HealthFinding
{
	HEALTH_GOOD,
	HEALTH_POOR,  /* slow, or an answer that refuses */
	HEALTH_FAILED /* no answer, or the server's error */
} HealthFinding;

extern const char *health_name(HealthStatus status);

/* By the name in llm_providers.health_status; HEALTH_UNKNOWN for any other. */
extern HealthStatus health_from_name(const char *name);

/* What one check found: http_status 0 is no answer; accepted: the answer was good. */
extern HealthFinding health_find(int http_status, bool accepted, int64 response_time_ms);

/* The status after a check, given how many of the HEALTH_CHECKS - 1 before it failed. */
extern HealthStatus health_judge(HealthFinding finding, int failed_before);

/* When to check again: sooner while one of the latest checks failed. */
extern int64 health_pause_ms(int64 interval_ms, bool has_failed);

#endif /* LLM_ROUTER_HEALTH_H */

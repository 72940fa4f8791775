/*
 * circuits.h
 *		The circuits of this database's models, providers and accounts, and which
 *		providers are down, in shared memory.
 *
 * Only what has failed lately is kept: a server in which all is well has an empty
 * table, and looking at it costs one read.
 */
#ifndef LLM_ROUTER_CIRCUITS_H
#define LLM_ROUTER_CIRCUITS_H

#include "routing/route.h"

/* For planning: how to look at candidates, or NULL when nobody is ill. */
extern PGDLLEXPORT LookAtHealth circuits_looker(void);

/*
 * Before an attempt: false when a circuit is open, or half-open with a probe under
 * way.  *is_probe: the attempt is the probe of one, and circuits_note is owed.
 */
extern PGDLLEXPORT bool circuits_admit(const CatalogModel *model, bool used_byok, bool *is_probe);

/*
 * After an attempt, in any way: OUTCOME_CANCELLED frees the probe.  Neither throws
 * nor allocates, so that aborting transactions may say it.
 */
extern PGDLLEXPORT void circuits_note(const CatalogModel *model, const CircuitAttempt *attempt,
									  int64 retry_after_ms, bool is_probe);

/*
 * Health checks found a provider down since then, which counts for so long unless
 * it is said again; 0: it is not down.
 */
extern void circuits_set_down(int32 provider_id, TimestampTz since, int64 valid_ms);

/* What is kept of one circuit. */
typedef struct CircuitStatus
{
	CircuitKind	 kind;
	int32		 id; /* of the provider or model */
	CircuitState state;
	int64		 left_ms;
	int32		 failures;
} CircuitStatus;

/* The circuits of this database that are not closed, or have failures; palloc'd. */
extern CircuitStatus *circuits_list(int *n);

/* What is kept of a database as a whole. */
typedef struct CircuitsSummary
{
	int open; /* or half-open */
	int down; /* providers that health checks found down */
	int used; /* entries of all databases */
} CircuitsSummary;

extern CircuitsSummary circuits_summary(Oid database);

/* The database is gone. */
extern void circuits_forget(Oid database);

/* Called once by _PG_init. */
extern void circuits_init(void);

#endif /* LLM_ROUTER_CIRCUITS_H */

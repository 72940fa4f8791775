/*
 * circuit.h
 *		Circuits: whom to leave alone for a while.
 *
 * Pure: a circuit, what happened, and the time -> the circuit afterwards.  A
 * circuit is closed, open until a deadline, or half-open: past the deadline, one
 * call may try (the probe), and how that goes decides.  A zeroed Circuit is
 * closed.  Times are milliseconds of any clock that usually goes forward.
 */
#ifndef LLM_ROUTER_CIRCUIT_H
#define LLM_ROUTER_CIRCUIT_H

#include "base/errors.h"

/* Each cool-down in a row is twice the one before, up to so many times the first. */
#define CIRCUIT_LONGEST_COOLDOWNS 16

/* A provider that asks for a longer pause is asked again after this. */
#define CIRCUIT_LONGEST_PAUSE_MS (3600 * 1000)

/* A probe of which nothing is heard for so long is over: another may try. */
#define CIRCUIT_PROBE_MS (60 * 1000)

/* A timeout counts when the attempt had so long: callers choose their own limits. */
#define CIRCUIT_FAIR_WAIT_MS (10 * 1000)

/* What a circuit guards.  The account is the platform's key, at one model. */
typedef enum CircuitKind
{
	CIRCUIT_MODEL,
	CIRCUIT_PROVIDER,
	CIRCUIT_ACCOUNT
} CircuitKind;

#define CIRCUIT_KIND_COUNT (CIRCUIT_ACCOUNT + 1)

typedef enum CircuitEvent
{
	CIRCUIT_SAYS_NOTHING, /* neither good nor bad; a probe has ended */
	CIRCUIT_SUCCESS,
	CIRCUIT_FAILURE,
	CIRCUIT_PAUSE /* asked to wait: opens at once */
} CircuitEvent;

typedef enum CircuitState
{
	CIRCUIT_CLOSED,
	CIRCUIT_OPEN,
	CIRCUIT_HALF_OPEN,
	CIRCUIT_PROBED /* half-open, and a probe is under way */
} CircuitState;

typedef struct Circuit
{
	int32 failures; /* in a row */
	int32 openings; /* in a row; 0: closed */
	int64 since_ms; /* open from here ... */
	int64 open_ms;	/* ... for so long */
	int64 probe_ms; /* when the probe began */
	int32 model;	/* of the first failure in a row; see CircuitReport.model */
	bool  several;	/* ... and another one has failed since */
	bool  asked;	/* it was opened by CIRCUIT_PAUSE */
	bool  probing;
} Circuit;

typedef struct CircuitRules
{
	int	  failures; /* so many in a row open it; 0: there are no circuits */
	int64 cooldown_ms;
} CircuitRules;

typedef struct CircuitReport
{
	CircuitEvent event;
	int64		 pause_ms; /* of CIRCUIT_PAUSE: for how long; -1: not said */
	int32		 model;	   /* what failed: the circuit opens when several have; 0: any one opens it */
	bool		 is_probe; /* from the probe itself */
} CircuitReport;

/* How an attempt ended, as far as circuits are concerned. */
typedef struct CircuitAttempt
{
	Outcome outcome;
	bool	used_byok; /* with a key of the user */
	bool	answered;  /* an HTTP status came */
	int64	took_ms;
} CircuitAttempt;

/* What an attempt means for a kind of circuit: one table, in circuit.c and in doc/routing.md. */
extern CircuitEvent circuit_event(const CircuitAttempt *attempt, CircuitKind kind);

/* The state now; *left_ms is how much longer it is open, else 0. */
extern CircuitState circuit_state(const Circuit *circuit, int64 now_ms, int64 *left_ms);

/* Become the probe of a half-open circuit; false when another is. */
extern bool circuit_probe(Circuit *circuit, int64 now_ms);

extern void circuit_report(Circuit *circuit, const CircuitReport *report, const CircuitRules *rules,
						   int64 now_ms);

/* Whether it is as good as a circuit of which nothing is known. */
extern bool circuit_is_blank(const Circuit *circuit);

#endif /* LLM_ROUTER_CIRCUIT_H */

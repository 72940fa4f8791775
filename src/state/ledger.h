/*
 * ledger.h
 *		The way of a call's record from the caller to the ledger writer.
 *
 * Room for a record is reserved in shared memory before an attempt is sent, so
 * that settling it afterwards cannot fail: it neither allocates nor throws, and
 * works in an aborting transaction and in an exiting process.  The writer of
 * the database commits settled records in its own transactions.
 *
 * The functions are exported for the test module in test/modules/ledger.
 *
 * Nothing here waits: the engine has one wait for sockets, latch and deadline,
 * and is woken by its latch when there is something to look at.
 */
#ifndef LLM_ROUTER_LEDGER_H
#define LLM_ROUTER_LEDGER_H

#include "base/errors.h"
#include "chat/usage.h"
#include "datatype/timestamp.h"
#include "utils/uuid.h"

#define LEDGER_NAME_SIZE 256 /* provider and model names, with the NUL */

/* What is known of a request when its room is reserved. */
typedef struct LedgerRequest
{
	pg_uuid_t	request_id;
	const char *user_id;
	const char *role_name;
	const char *power_level;
	const char *tier;
	const char *tags; /* JSON text, at most REQUEST_MAX_TAGS_BYTES; or NULL */
} LedgerRequest;

/* What is known of an attempt before it is sent. */
typedef struct LedgerAttempt
{
	int			attempt; /* 1, 2, … within the request */
	int32		provider_id;
	int32		model_id;
	const char *provider;
	const char *model;
	bool		used_byok;
	int64		user_key_id; /* 0: the platform's */
	UnitPrices	prices;
	Money		estimated_cost; /* upper bound, or MONEY_UNKNOWN */
	int64		estimated_tokens;
	TimestampTz started_at; /* becomes created_at, with the request's id the row's key */
} LedgerAttempt;

typedef enum LedgerStatus
{
	LEDGER_OK,
	LEDGER_ERROR,	  /* failed; error_code says how */
	LEDGER_CANCELLED, /* ended by us: cancel, timeout of the statement, exit */
	LEDGER_PARTIAL,	  /* ended, by whomever, after a part of its stream was handed out */
	LEDGER_UNKNOWN	  /* the process or the server died during the attempt */
} LedgerStatus;

/* How an attempt ended. */
typedef struct LedgerOutcome
{
	LedgerStatus status;
	Outcome		 outcome;		/* error_code, of LEDGER_ERROR and LEDGER_PARTIAL */
	bool		 is_final;		/* the request's own row, not an earlier attempt's */
	int			 http_status;	/* 0: none */
	TokenUsage	 usage;			/* not known: NULL columns */
	UnitPrices	 prices;		/* for the prompt as it was counted by the provider */
	Money		 cost;			/* MONEY_UNKNOWN: NULL */
	bool		 cost_reported; /* cost is the provider's own figure */
	bool		 estimated;		/* usage, and so cost, is our estimate of what was received */
	int64		 response_time_ms;
	char		 finish_reason[32];
	char		 provider_request_id[64];
} LedgerOutcome;

/* Reserved room.  Plain data: may be copied, must be ended once. */
typedef struct LedgerTicket
{
	int32  slot; /* -1: none */
	uint32 generation;
	uint64 position; /* in the database's queue, once settled */
} LedgerTicket;

#define LEDGER_NO_TICKET ((LedgerTicket){ .slot = -1 })

typedef enum LedgerProgress
{
	LEDGER_READY,
	LEDGER_WAIT,   /* ask again when the latch is set, or after 100 ms */
	LEDGER_REFUSED /* *error says why */
} LedgerProgress;

/*
 * Make sure that this database has a writer, and reserve room.  LEDGER_WAIT
 * while the writer starts or the ring is full; the caller bounds that by its
 * deadline.  Refused with LR010 when llm_router is not preloaded, the server is
 * in recovery, this transaction has created the extension, or no worker slot can
 * be had within five seconds of the first question of this call (since is when
 * it asked first).
 */
extern PGDLLEXPORT LedgerProgress ledger_reserve(const LedgerRequest *request, TimestampTz since,
												 LedgerTicket *ticket, LlmError *error);

/*
 * Whether this database can have a ledger at all; refused as with ledger_reserve.
 * From then on, what this process has open is settled when it exits, but after
 * what exit callbacks do that are registered later.
 */
extern bool ledger_prepare(LlmError *error);

/*
 * Make sure that this database has a writer, which has written what an earlier
 * stop of the server had left: from then on, what the ledger's tables lack is
 * among ledger_pending.  LEDGER_WAIT and refusals as with ledger_reserve.
 */
extern LedgerProgress ledger_await_writer(TimestampTz since, LlmError *error);

/* What an attempt used or, where that is not known, may have used. */
typedef struct LedgerCharge
{
	Money cost;
	int64 tokens;
	bool  is_request; /* closes a request that was not refused by an error */
} LedgerCharge;

/* So the rollup counts it too: see llm_budget_use. */
extern LedgerCharge ledger_charge(const LedgerOutcome *outcome, Money estimated_cost, int64 estimated_tokens);

/* An attempt of this database that has been sent, and is not in its tables yet. */
typedef struct LedgerPending
{
	pg_uuid_t	 request_id;
	int32		 attempt;
	bool		 used_byok;
	TimestampTz	 started_at;
	LedgerCharge charge; /* at its estimate while it is under way */
	const char	*user_id;
	const char	*power_level;
	const char	*tier;
} LedgerPending;

/*
 * All of them, palloc'd: whatever is committed in the tables of a snapshot that is
 * taken later, or among these, or both.
 */
extern LedgerPending *ledger_pending(int *n);

/* The requests that this database's process or writer still works on; palloc'd. */
extern pg_uuid_t *ledger_requests(int *n);

/* Note the attempt that is about to be sent.  May be called again for the next. */
extern PGDLLEXPORT void ledger_attempt(const LedgerTicket *ticket, const LedgerAttempt *attempt);

/*
 * Queue the noted attempt as it is: a row with status unknown, which the record of
 * its end will replace.  Ask ledger_committed about *intent before the attempt is
 * sent.  False: no room yet, ask again when the latch is set, or after 100 ms.
 */
extern bool ledger_intend(const LedgerTicket *ticket, LedgerTicket *intent);

/*
 * End the reservation with a record for the writer, or without one when no
 * attempt was noted.  Never throws, never allocates; ending an ended ticket does
 * nothing.
 */
extern PGDLLEXPORT void ledger_settle(LedgerTicket *ticket, const LedgerOutcome *outcome);

/*
 * Whether the settled record has been committed (or put into quarantine).
 * While false, the latch is set when that may have changed.
 */
extern PGDLLEXPORT bool ledger_committed(const LedgerTicket *ticket);

/* How the JSON of every note begins, and of no call: so a line of a file is told. */
#define LEDGER_NOTE_OPENING "{\"action\":"

/*
 * Queue a note, an object of JSON as llm_note_write takes it, for the writer to
 * write in its own time; the launcher starts one if there is none.  False when
 * it cannot be queued: no room, or no writer can be had here (as for
 * ledger_reserve).  Needs a transaction.
 */
extern bool ledger_note(const char *json);

/* Shared-memory size and hooks; called once by _PG_init while preloading. */
extern void ledger_init(void);

#endif /* LLM_ROUTER_LEDGER_H */

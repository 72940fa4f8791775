/*
 * rounds.h
 *		Rounds: what a worker does now and then in each database (the health of
 *		providers and users' keys are checked), or when asked (re-encryption).  Who is due, and who is at it.
 *
 * At most one process of this kind is in the server at a time, started by the
 * launcher within llm_router.max_workers; ledger writers come first.
 */
#ifndef LLM_ROUTER_ROUNDS_H
#define LLM_ROUTER_ROUNDS_H

#include "postgres.h"

#include "datatype/timestamp.h"

/*
 * Have a round made in a database at that time at the latest.  Takes notice of no
 * transaction: a round that finds nothing is harmless.  Nothing happens unless
 * llm_router is preloaded.
 */
extern void rounds_due(Oid database, TimestampTz when);

/* The process that makes a round in a database now, or 0. */
extern pid_t rounds_worker(Oid database);

/* In the launcher. */

/*
 * The database whose round is due now, or InvalidOid, and in how many ms to look
 * again: -1 when there is nothing to wait for.
 */
extern Oid rounds_next(long *wait_ms);

/* Start its round; false when that is not possible now. */
extern bool rounds_start(Oid database);

/* No rounds in it until rounds_due. */
extern void rounds_forget(Oid database);

/* In the worker. */

/*
 * Become the worker, until rounds_leave or the process's end.  False when there is
 * another, or the database is being dropped, renamed, moved or copied.  *first:
 * it is the database's first round since the server's start.
 */
extern bool rounds_attach(Oid database, bool *first);

/* It is connected: should it die, it is tried again soon. */
extern void rounds_begun(void);

/* Whether somebody needs the worker's place, or the database for himself. */
extern bool rounds_should_leave(void);

/*
 * The round has ended; the next one is due then (DT_NOEND: never), or earlier if
 * rounds_due said so meanwhile.  The process must exit.
 */
extern void rounds_leave(TimestampTz next_due);

/*
 * For state/ledger_writers, with ledger_lock held: how many places rounds take, and
 * asking the worker to leave; InvalidOid: whatever database it is in.  True when
 * there was one to ask.
 */
extern int	rounds_places(void);
extern bool rounds_ask_to_leave(Oid database);

/* Called once by _PG_init. */
extern void rounds_init(void);

#endif /* LLM_ROUTER_ROUNDS_H */

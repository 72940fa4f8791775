/*
 * ledger_writers.h
 *		Which databases have a ledger writer: starting one, being one, and
 *		keeping one away.
 */
#ifndef LLM_ROUTER_LEDGER_WRITERS_H
#define LLM_ROUTER_LEDGER_WRITERS_H

#include "state/ledger_ring.h"

/*
 * Ask for a writer of a database that has none, within llm_router.max_workers
 * and max_worker_processes.  False when no place is free; an idle writer of
 * another database has then been asked to leave.  Does not wait.
 */
extern bool ledger_writer_start(Oid database);

/* Whether a database needs one: it has records, no writer yet, and nobody holds it. */
extern bool ledger_writer_is_missing(const LedgerQueue *queue);

/*
 * For state/rounds, with ledger_lock held: whether there is a place for one more
 * worker.  If not, a writer that is unused has been asked to leave.
 */
extern bool ledger_writers_make_room(void);

/*
 * In the writer: become the database's writer, until ledger_writer_detach or
 * the process's end.  False when there is another.
 */
extern bool ledger_writer_attach(Oid database);

/* In the writer, once it can write: let reservations in. */
extern void ledger_writer_ready(void);

/* In the writer: its queue. */
extern LedgerQueue *ledger_writer_queue(void);

/* In the writer, at SIGTERM: what is open or queued now is to be seen through. */
extern void ledger_writer_told_to_leave(void);

/* Why the writer might leave, and how long it may sleep if not. */
typedef struct LedgerLeave
{
	bool told;		   /* to leave once it has seen through what it should */
	bool impatient;	   /* that took too long */
	long idle_timeout; /* ms; -1: it has something else to do */
	long stay_ms;	   /* out: look again after so long */
} LedgerLeave;

/*
 * In the writer: leave, if it may.  True: the database has no writer from now
 * on, and the process must exit.
 */
extern bool ledger_writer_try_leave(LedgerLeave *leave);

/*
 * Keep workers away from a database while it is dropped, renamed, moved or
 * copied: asks those that are there to leave and waits, up to five seconds, until they have.
 * New calls there wait meanwhile.  Undone by ledger_database_let_in or the
 * process's end.
 */
extern void ledger_database_keep_out(Oid database);
extern void ledger_database_let_in(Oid database);

/* In the launcher: be the one to wake for records without a writer. */
extern void ledger_launcher_attach(void);
extern void ledger_launcher_wake(void);

#endif /* LLM_ROUTER_LEDGER_WRITERS_H */

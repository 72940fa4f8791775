/*
 * workers.h
 *		The background workers: their entry points and registration.
 */
#ifndef LLM_ROUTER_WORKERS_H
#define LLM_ROUTER_WORKERS_H

#include "postgres.h"

/* Entry points, found by name by the postmaster. */
extern PGDLLEXPORT void llm_router_launcher_main(Datum arg);
extern PGDLLEXPORT void llm_router_ledger_writer_main(Datum arg);
extern PGDLLEXPORT void llm_router_rounds_main(Datum arg);

/* Register the launcher and the hooks.  Called once by _PG_init. */
extern void workers_init(void);

#endif /* LLM_ROUTER_WORKERS_H */

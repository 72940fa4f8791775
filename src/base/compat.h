/*
 * compat.h
 *		What differs between PostgreSQL 15, 16, 17 and 18.
 *
 * The only file that looks at PG_VERSION_NUM: the rest of the code is written
 * for the newest spelling.
 */
#ifndef LLM_ROUTER_COMPAT_H
#define LLM_ROUTER_COMPAT_H

#include "postgres.h"

#if PG_VERSION_NUM < 150000
#error "llm_router needs PostgreSQL 15 or newer"
#endif

#ifndef HAVE_INT128
#error "llm_router needs a compiler with 128-bit integers: costs are exact"
#endif

#include "storage/latch.h"
#if PG_VERSION_NUM >= 180000
#include "storage/waiteventset.h"
#endif

/* 17 gave wait event sets a resource owner; ours live as long as the process. */
#if PG_VERSION_NUM >= 170000
#define compat_create_wait_event_set(nevents) CreateWaitEventSet(NULL, (nevents))
#else
#define compat_create_wait_event_set(nevents) \
	CreateWaitEventSet(TopMemoryContext, (nevents))
#endif

/* 17 names our waits in pg_stat_activity; before, they show as "Extension". */
#if PG_VERSION_NUM >= 170000
#include "utils/wait_event.h"
#define compat_wait_event(name) WaitEventExtensionNew(name)
#else
#include "utils/wait_event.h"
#define compat_wait_event(name) PG_WAIT_EXTENSION
#endif

/* 17 renamed the index of a process in shared memory. */
#include "storage/proc.h"
#if PG_VERSION_NUM >= 170000
#define compat_my_proc_number() ((int) MyProcNumber)
#else
#define compat_my_proc_number() (MyProc->pgprocno)
#endif

/* 16 has one function for all kinds of objects. */
#include "catalog/pg_database.h"
#include "utils/acl.h"
#if PG_VERSION_NUM >= 160000
#define compat_database_ownercheck(database, role) \
	object_ownercheck(DatabaseRelationId, (database), (role))
#else
#define compat_database_ownercheck(database, role) \
	pg_database_ownercheck((database), (role))
#endif

#endif /* LLM_ROUTER_COMPAT_H */

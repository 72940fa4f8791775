/*
 * database_ddl.h
 *		Workers make way for statements that need a database to themselves.
 */
#ifndef LLM_ROUTER_DATABASE_DDL_H
#define LLM_ROUTER_DATABASE_DDL_H

/* Install the hook.  Called once by workers_init. */
extern void database_ddl_init(void);

#endif							/* LLM_ROUTER_DATABASE_DDL_H */

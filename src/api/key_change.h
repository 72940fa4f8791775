/*
 * key_change.h
 *		Changing the tables of keys, which nobody but the extension's owner may do.
 */
#ifndef LLM_ROUTER_KEY_CHANGE_H
#define LLM_ROUTER_KEY_CHANGE_H

#include "postgres.h"

#include "state/extension.h"

/* Who changes keys, while the functions act as the owner. */
typedef struct KeyChange
{
	char	  *actor;	/* the calling role */
	char	  *user_id; /* the user that it acts for */
	OwnerGuard guard;
} KeyChange;

/*
 * Between these two SPI is connected, and the current user is the extension's
 * owner.  The end forgets the opened keys of this process.
 */
extern void key_change_begin(KeyChange *change);
extern void key_change_end(KeyChange *change);

/*
 * Run a statement, as a plan of its own; returns how many rows, which are in
 * SPI_tuptable if it returns any.
 */
extern uint64 key_execute(const char *query, int nargs, Oid *types, Datum *values);

#endif /* LLM_ROUTER_KEY_CHANGE_H */

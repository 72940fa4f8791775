/*
 * users.h
 *		The users' rows and keys, as this process has looked them up.
 */
#ifndef LLM_ROUTER_USERS_H
#define LLM_ROUTER_USERS_H

#include "routing/route.h"

typedef struct UserRecord
{
	char	 *tier;				   /* NULL: no row */
	char	 *default_power_level; /* NULL: the row names none, or there is none */
	ByokMode  byok;				   /* BYOK_UNSET likewise */
	RateLimit rate;				   /* unlimited likewise */

	/* Active and not refused, for each provider the oldest. */
	UserKey *keys;
	int		 nkeys;
} UserRecord;

/*
 * What is known of a user; palloc'd.  Cached until the users, their keys, or the
 * configuration change.
 */
extern PGDLLEXPORT void user_lookup(const char *user_id, UserRecord *user);

#endif /* LLM_ROUTER_USERS_H */

/*
 * users.h
 *		The rows of llm_users, as this process has looked them up.
 */
#ifndef LLM_ROUTER_USERS_H
#define LLM_ROUTER_USERS_H

#include "postgres.h"

/*
 * Tier and default power level of a user; false when llm_users has no row of
 * that user.  *default_power_level is NULL when the row names none.  Strings
 * are palloc'd.  Cached until llm_users changes.
 */
extern bool user_lookup(const char *user_id, char **tier, char **default_power_level);

#endif /* LLM_ROUTER_USERS_H */

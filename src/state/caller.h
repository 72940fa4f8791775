/*
 * caller.h
 *		Who calls: the user, the tier, and the settings that bear on the plan.
 */
#ifndef LLM_ROUTER_CALLER_H
#define LLM_ROUTER_CALLER_H

#include "routing/route.h"

/*
 * Fill *caller for a request of the current session (strings palloc'd).  The
 * user is options.router.user_id, else llm_router.user_id, else the current
 * role; its tier and default power level come from llm_users, else from
 * default_end_user_tier, or for a role from default_subscription_tier.
 *
 * False with 42501 when options name another user and the role may not set
 * llm_router.user_id.
 */
extern bool caller_fill(RouteCaller *caller, const RouterOptions *options,
						LlmError *error);

/*
 * llm_router.user_id, else the current role's name (in a SECURITY DEFINER
 * function its owner's); palloc'd.  Needs llm_router to be preloaded: a
 * placeholder of that name could be set by anybody.
 */
extern char *caller_user_id(bool *is_role);

/*
 * Whether the current role may speak for other users, which is to set
 * llm_router.user_id; false with 42501, which begins with "where".
 */
extern bool caller_may_set_user(const char *where, LlmError *error);

#endif /* LLM_ROUTER_CALLER_H */

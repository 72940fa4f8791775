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
 * role; its tier, default power level and byok come from llm_users, else the tier
 * is default_end_user_tier, or for a role default_subscription_tier.
 *
 * False with 42501, and audited, when options name another user and the role
 * may not set llm_router.user_id.
 */
extern bool caller_fill(RouteCaller *caller, const RouterOptions *options,
						LlmError *error);

/* Whether the current role may speak for other users. */
extern bool caller_may_set_user(void);

/*
 * Audit, whatever becomes of this transaction, that the current role tried to
 * act for a user, and by what means.
 */
extern void caller_note_refusal(const char *user_id, const char *means);

/*
 * Whether the current role may act for a user by some means, which the error
 * begins with; false with 42501, and audited.
 */
extern bool caller_may_act_for(const char *user_id, const char *means, LlmError *error);

/*
 * llm_router.user_id, else the current role's name (in a SECURITY DEFINER
 * function its owner's); palloc'd.  Needs llm_router to be preloaded: a
 * placeholder of that name could be set by anybody.
 */
extern char *caller_user_id(bool *is_role);

#endif /* LLM_ROUTER_CALLER_H */

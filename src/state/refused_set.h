/*
 * refused_set.h
 *		A refused SET of llm_router.user_id is audited.
 */
#ifndef LLM_ROUTER_REFUSED_SET_H
#define LLM_ROUTER_REFUSED_SET_H

/* Install the hook.  Called once by _PG_init. */
extern void refused_set_init(void);

#endif /* LLM_ROUTER_REFUSED_SET_H */

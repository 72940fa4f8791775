/*
 * redaction.h
 *		Keys in statements stay out of the server's logs and statistics.
 */
#ifndef LLM_ROUTER_REDACTION_H
#define LLM_ROUTER_REDACTION_H

/*
 * Called by _PG_init while preloading, as the last of the init functions: what
 * is called after us is given what is hidden.
 */
extern void redaction_init(void);

#endif /* LLM_ROUTER_REDACTION_H */

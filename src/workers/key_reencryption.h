/*
 * key_reencryption.h
 *		Sealing the stored keys again with the first master key, in batches.
 */
#ifndef LLM_ROUTER_KEY_REENCRYPTION_H
#define LLM_ROUTER_KEY_REENCRYPTION_H

/*
 * In the worker that makes rounds: do what a session asked for in this database, if
 * one did.  Errors are the session's, not the worker's.
 */
extern void key_reencryption_run(void);

#endif /* LLM_ROUTER_KEY_REENCRYPTION_H */

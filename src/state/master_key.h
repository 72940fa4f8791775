/*
 * master_key.h
 *		Which master key this database's stored keys need.
 */
#ifndef LLM_ROUTER_MASTER_KEY_H
#define LLM_ROUTER_MASTER_KEY_H

#include "base/errors.h"

/*
 * Between owner_enter and owner_leave, with SPI connected, as all of these:
 * order changes of the stored keys, by locking the row of llm_install until the
 * transaction ends.  Comes before any lock on the tables of keys.
 */
extern void master_key_lock(void);

/*
 * See to it that sealing a key now does not fork this database's keys: the
 * master key that they were sealed with has to be among the configured ones.
 * With the first key, one is generated if none is configured, and its
 * fingerprint is recorded.  Takes master_key_lock().  False with LR009.
 */
extern bool master_key_prepare(LlmError *error);

/* Record the first master key as the one that all stored keys need. */
extern void master_key_record(void);

#endif /* LLM_ROUTER_MASTER_KEY_H */

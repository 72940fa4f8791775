/*
 * master_key.h
 *		Which master key this database's stored keys need.
 */
#ifndef LLM_ROUTER_MASTER_KEY_H
#define LLM_ROUTER_MASTER_KEY_H

#include "base/errors.h"

/* All of these but master_key_present: between owner_enter and owner_leave, with SPI connected. */

/* Fingerprint of the master key that this database's stored keys need; NULL: none, or not known. */
extern char *master_key_needed(void);

/* Whether it is among the configured ones, and they can be used; false with LR009. */
extern bool master_key_present(const char *needed, LlmError *error);

/*
 * See to it that sealing a key now does not fork this database's keys: the
 * master key that they were sealed with has to be among the configured ones.
 * With the first key, one is generated if none is configured, and its
 * fingerprint is recorded; others who store a key wait for that transaction, and
 * only for that.  Comes before any lock on the tables of keys.  False with LR009.
 */
extern bool master_key_prepare(LlmError *error);

/* Record the first master key as the one that all stored keys need. */
extern void master_key_record(void);

#endif /* LLM_ROUTER_MASTER_KEY_H */

/*
 * redact.h
 *		Keys that are known by their looks: in what providers echo, and in texts.
 */
#ifndef LLM_ROUTER_REDACT_H
#define LLM_ROUTER_REDACT_H

#include "postgres.h"

/*
 * Overwrite, in place, what looks like an API key, whole or partly masked:
 * words that begin like the known vendors' keys, and runs of 32 or more letters
 * and digits mixed, which is what keys without a prefix are.  Returns text.
 */
extern char *redact_keys(char *text);

/*
 * Overwrite, in place, every occurrence of the secret, also one that was partly
 * overwritten before, or cut off at the end of the text.
 */
extern void redact_secret(char *text, const char *secret);

/*
 * The first word at or after from, a place in text, that begins like a known
 * vendor's key, and its length; NULL when there is none.  Spares names in SQL,
 * which redact_keys does not.
 */
extern const char *redact_find_key(const char *text, const char *from, size_t *length);

#endif /* LLM_ROUTER_REDACT_H */

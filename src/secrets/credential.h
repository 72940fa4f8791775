/*
 * credential.h
 *		API keys, sealed with the master key for their user and provider.
 *
 * Plaintext keys live only in memory of this process that is wiped: when they
 * expire (llm_router.key_cache_ttl) or the configuration was reloaded, at most ten
 * seconds later, also in a process that does nothing; at once when this process
 * changed a key, after an error, and at exit; and when the next key is opened, if
 * the master keys changed.
 */
#ifndef LLM_ROUTER_CREDENTIAL_H
#define LLM_ROUTER_CREDENTIAL_H

#include "base/errors.h"

#define CREDENTIAL_MAX_LENGTH 4096 /* of an API key, in bytes */

/*
 * Whether a text can be an API key: 1 to CREDENTIAL_MAX_LENGTH printable ASCII
 * characters without space, quote and backslash, so that it can neither split a
 * header (RFC 9110, section 5.5) nor need escaping.  False with 22023, which
 * never shows the text.
 */
extern bool credential_valid(const char *api_key, LlmError *error);

/*
 * Seal a valid API key for its owner and its provider's origin
 * (provider_origin()), so that neither a copied token nor a repointed provider
 * opens it.  user_id is NULL for a platform key.  *token is a Fernet token,
 * palloc'd.  False with LR009 when there is no usable master key.
 */
extern bool credential_seal(const char *api_key, const char *user_id,
							const char *origin, char **token, LlmError *error);

/*
 * Open a sealed key.  The result is palloc'd, for credential_wipe() at once after
 * use.  NULL with LR009 when no master key opens the token, and with LR005 when
 * it was sealed for another user or origin.
 */
extern PGDLLEXPORT char *credential_open(const char *token, const char *user_id,
										 const char *origin, LlmError *error);

/* Wipe and free an opened key; NULL is allowed. */
extern PGDLLEXPORT void credential_wipe(char *api_key);

/*
 * Seal an existing token again with the first master key, whatever it holds.
 * *changed is false (and *new_token NULL) when the first key already made it.
 * False with LR009 when no master key opens it.
 */
extern bool credential_reseal(const char *token, char **new_token, bool *changed,
							  LlmError *error);

/*
 * Seal an existing token anew for another origin.  False as credential_open,
 * and with LR009 when there is no usable master key.
 */
extern bool credential_move(const char *token, const char *user_id, const char *origin,
							const char *new_origin, char **new_token, LlmError *error);

/*
 * A key for people to recognise, palloc'd: its first 3 and last 4 characters, or
 * none of it when that would show too much.
 */
extern char *credential_mask(const char *api_key);

/* Forget and wipe every plaintext key of this process. */
extern PGDLLEXPORT void credential_forget(void);

#endif /* LLM_ROUTER_CREDENTIAL_H */

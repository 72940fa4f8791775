/*
 * credential.h
 *		API keys, sealed with the master key for their user and provider.
 *
 * Plaintext keys live only in memory of this process that is wiped: when they
 * expire (llm_router.key_cache_ttl; an expired key that nobody asks for is wiped
 * with the next key that has to be decrypted), when the configuration was
 * reloaded or the master keys changed, and at exit.
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
 * Open a sealed key.  The result belongs to the cache of this process and stays
 * valid until the next call of a credential_ function.  NULL with LR009 when no
 * master key opens the token, and with LR005 when it was sealed for another
 * user or origin.
 */
extern const char *credential_open(const char *token, const char *user_id,
								   const char *origin, LlmError *error);

/*
 * Seal an existing token again with the first master key, whatever it holds.
 * *changed is false (and *new_token NULL) when the first key already made it.
 * False with LR009 when no master key opens it.
 */
extern bool credential_reseal(const char *token, char **new_token, bool *changed,
							  LlmError *error);

/* Forget and wipe every plaintext key of this process. */
extern void credential_forget(void);

#endif /* LLM_ROUTER_CREDENTIAL_H */

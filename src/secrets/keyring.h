/*
 * keyring.h
 *		Master keys, and credentials sealed with them.
 *
 * Plaintext keys live only in memory of this process that is wiped: on expiry
 * (llm_router.key_cache_ttl), when the master keys change, and at exit.
 */
#ifndef LLM_ROUTER_KEYRING_H
#define LLM_ROUTER_KEYRING_H

#include "base/errors.h"

/*
 * Seal an API key for its owner and its provider's origin (provider_origin()),
 * so that neither a copied token nor a repointed provider opens it.  user_id is
 * NULL for a platform key.  *token is a Fernet token, palloc'd.  False with
 * LR009 when there is no usable master key.
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
 */
extern bool credential_reseal(const char *token, char **new_token, bool *changed,
							  LlmError *error);

/* Forget and wipe every plaintext key of this process. */
extern void credential_forget(void);

/* Where the master keys come from, for llm_doctor. */
typedef struct KeyringStatus
{
	int			nkeys;			/* 0: none is configured */
	const char *source;			/* "environment", "command", "file", "generated file" */
	char	   *problem;		/* why the keys cannot be used, or NULL */
	char		fingerprint[17];	/* of the first key: 16 hex digits; "" without keys */
} KeyringStatus;

extern void keyring_status(KeyringStatus *status);

/* Called once by _PG_init. */
extern void keyring_init(void);

#endif							/* LLM_ROUTER_KEYRING_H */

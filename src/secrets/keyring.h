/*
 * keyring.h
 *		The master keys: where they come from, and sealing with them.
 *
 * Everything here needs llm_router to be preloaded.
 */
#ifndef LLM_ROUTER_KEYRING_H
#define LLM_ROUTER_KEYRING_H

#include "base/errors.h"

#define KEYRING_FINGERPRINT_LENGTH 16 /* hex digits */

/*
 * Where the master keys come from ("environment", "command", "file" or
 * "generated file"), and whether they can be used.
 */
typedef struct KeyringStatus
{
	int			nkeys; /* 0: none is configured, or there is a problem */
	const char *source;
	char	   *problem; /* why the keys cannot be used, palloc'd; or NULL */

	/* Of the first key; "" without keys. */
	char fingerprint[KEYRING_FINGERPRINT_LENGTH + 1];
} KeyringStatus;

extern void keyring_status(KeyringStatus *status);

/* Whether there is a master key to seal with; false with LR009. */
extern bool keyring_usable(LlmError *error);

/* Whether the key with this fingerprint is among the master keys. */
extern bool keyring_has(const char *fingerprint);

/*
 * See to it that there is a master key: where no source is configured and the
 * generated file is not there, make it.  Only for a database that holds no
 * sealed key: a new master key would hide that the right one is missing.  False
 * with LR009 when a configured source cannot be used, in recovery, in a binary
 * upgrade, or when writing fails.
 */
extern bool keyring_generate(LlmError *error);

/*
 * Encrypt with the first master key; the token is palloc'd.  False with LR009
 * when there is no usable one.
 */
extern bool keyring_seal(const char *plain, size_t length, char **token,
						 LlmError *error);

/*
 * Decrypt with the master key that made the token, into plain, which has room
 * for strlen(token) bytes.  *by_first_key says whether that is the first (may be
 * NULL).  False with LR009, and plain wiped, when none did.
 */
extern bool keyring_open(const char *token, char *plain, size_t *length,
						 bool *by_first_key, LlmError *error);

/* Changes whenever this process sees other master keys. */
extern uint32 keyring_version(void);

/* Called once by _PG_init while preloading. */
extern void keyring_init(void);

#endif /* LLM_ROUTER_KEYRING_H */

/*
 * fernet.h
 *		Fernet tokens: authenticated encryption of short texts.
 */
#ifndef LLM_ROUTER_FERNET_H
#define LLM_ROUTER_FERNET_H

#include "postgres.h"

#define FERNET_KEY_BYTES  32
#define FERNET_KEY_LENGTH 44 /* the same in base64url, with its padding */

/*
 * Read a key in base64url.  False when text is not one; key is wiped then.
 */
extern bool fernet_key_decode(const char *text, size_t length,
							  uint8 key[FERNET_KEY_BYTES]);

/* Write a key in base64url, NUL-terminated. */
extern void fernet_key_encode(const uint8 key[FERNET_KEY_BYTES],
							  char		  text[FERNET_KEY_LENGTH + 1]);

/*
 * Encrypt length bytes now, with a random IV.  The token is palloc'd.  NULL
 * when the random generator or OpenSSL fails.
 */
extern char *fernet_seal(const uint8 key[FERNET_KEY_BYTES], const char *plain,
						 size_t length);

/*
 * Decrypt a token into plain, which has room for strlen(token) bytes, and add a
 * NUL that *length does not count.  False when the key did not make the token,
 * or it was altered; plain is wiped then.  A token has no age here: stored keys
 * do not expire.  Throws only for lack of memory, before anything is decrypted.
 */
extern bool fernet_open(const uint8 key[FERNET_KEY_BYTES], const char *token,
						char *plain, size_t *length);

#endif /* LLM_ROUTER_FERNET_H */

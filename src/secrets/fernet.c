/*
 * fernet.c
 *		Fernet tokens (github.com/fernet/spec, Spec.md), on OpenSSL.
 *
 * A token is, in base64url with padding:
 *
 *		0x80 | time, 64 bits, big-endian | IV, 16 bytes | ciphertext | HMAC
 *
 * The key's first half signs (HMAC-SHA256 over all that precedes it), its second
 * half encrypts (AES-128-CBC, PKCS #7 padding).  The signature is checked, in
 * constant time, before anything is decrypted.
 *
 * Nothing throws while an OpenSSL handle is held or plaintext is about.
 */
#include "secrets/fernet.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <time.h>

#include "common/base64.h"
#include "port/pg_bswap.h"

#define VERSION		 0x80
#define TIME_BYTES	 8
#define IV_BYTES	 16
#define BLOCK_BYTES	 16
#define MAC_BYTES	 32
#define HEADER_BYTES (1 + TIME_BYTES + IV_BYTES)

static const uint8 *
signing_key(const uint8 *key)
{
	return key;
}

static const uint8 *
encryption_key(const uint8 *key)
{
	return key + FERNET_KEY_BYTES / 2;
}

/* base64 to base64url, in place, or back. */
static void
swap_alphabet(char *text, size_t length, char plus_from, char plus_to,
			  char slash_from, char slash_to)
{
	for (size_t i = 0; i < length; i++)
	{
		if (text[i] == plus_from)
			text[i] = plus_to;
		else if (text[i] == slash_from)
			text[i] = slash_to;
	}
}

/*
 * Write base64url, NUL-terminated; text has room for it.  (The void pointer:
 * PostgreSQL 18 takes uint8 where 15 takes char.)
 */
static void
base64url_encode(const void *bytes, size_t length, char *text)
{
	int capacity = pg_b64_enc_len((int) length);
	int written = pg_b64_encode(bytes, (int) length, text, capacity);

	Assert(written >= 0);
	text[written] = '\0';
	swap_alphabet(text, written, '+', '-', '/', '_');
}

/*
 * Read base64url with padding; scratch has room for length bytes and is left
 * with secrets if text is one.  Returns the number of bytes, or -1.
 */
static int
base64url_decode(const char *text, size_t length, char *scratch, void *bytes,
				 int capacity)
{
	/* pg_b64_decode skips white space; a token has none. */
	if (length % 4 != 0 || strcspn(text, "+/ \t\r\n") < length)
		return -1;
	memcpy(scratch, text, length);
	swap_alphabet(scratch, length, '-', '+', '_', '/');
	return pg_b64_decode(scratch, (int) length, bytes, capacity);
}

bool
fernet_key_decode(const char *text, size_t length, uint8 key[FERNET_KEY_BYTES])
{
	char  scratch[FERNET_KEY_LENGTH];
	uint8 bytes[FERNET_KEY_LENGTH];
	bool  valid;

	if (length != FERNET_KEY_LENGTH)
		return false;
	valid = base64url_decode(text, length, scratch, bytes,
							 sizeof(bytes)) == FERNET_KEY_BYTES;
	if (valid)
		memcpy(key, bytes, FERNET_KEY_BYTES);
	OPENSSL_cleanse(scratch, sizeof(scratch));
	OPENSSL_cleanse(bytes, sizeof(bytes));
	return valid;
}

void
fernet_key_encode(const uint8 key[FERNET_KEY_BYTES], char text[FERNET_KEY_LENGTH + 1])
{
	base64url_encode(key, FERNET_KEY_BYTES, text);
}

static bool
sign(const uint8 *key, const uint8 *bytes, size_t length, uint8 mac[MAC_BYTES])
{
	return HMAC(EVP_sha256(), signing_key(key), FERNET_KEY_BYTES / 2, bytes, length,
				mac, NULL) != NULL;
}

/* Returns the length of what was written to output, or -1. */
static int
encrypt(const uint8 *key, const uint8 *iv, const char *plain, size_t length,
		uint8 *output)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	int				body = 0;
	int				last = 0;
	bool			done;

	done = ctx != NULL &&
		   EVP_EncryptInit_ex(ctx, EVP_aes_128_cbc(), NULL, encryption_key(key), iv) &&
		   EVP_EncryptUpdate(ctx, output, &body, (const uint8 *) plain, (int) length) &&
		   EVP_EncryptFinal_ex(ctx, output + body, &last);
	EVP_CIPHER_CTX_free(ctx);
	return done ? body + last : -1;
}

/* The same, the other way. */
static int
decrypt(const uint8 *key, const uint8 *iv, const uint8 *input, size_t length,
		char *plain)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	int				body = 0;
	int				last = 0;
	bool			done;

	done = ctx != NULL &&
		   EVP_DecryptInit_ex(ctx, EVP_aes_128_cbc(), NULL, encryption_key(key), iv) &&
		   EVP_DecryptUpdate(ctx, (uint8 *) plain, &body, input, (int) length) &&
		   EVP_DecryptFinal_ex(ctx, (uint8 *) plain + body, &last);
	EVP_CIPHER_CTX_free(ctx);
	return done ? body + last : -1;
}

char *
fernet_seal(const uint8 key[FERNET_KEY_BYTES], const char *plain, size_t length)
{
	size_t cipher_length = (length / BLOCK_BYTES + 1) * BLOCK_BYTES;
	size_t signed_length = HEADER_BYTES + cipher_length;
	size_t total = signed_length + MAC_BYTES;
	uint8 *bytes = palloc(total);
	char  *token = palloc(pg_b64_enc_len((int) total) + 1);
	uint64 now = pg_hton64((uint64) time(NULL));
	uint8 *iv = bytes + 1 + TIME_BYTES;

	bytes[0] = VERSION;
	memcpy(bytes + 1, &now, TIME_BYTES);
	if (!pg_strong_random(iv, IV_BYTES) ||
		encrypt(key, iv, plain, length, bytes + HEADER_BYTES) != (int) cipher_length ||
		!sign(key, bytes, signed_length, bytes + signed_length))
	{
		pfree(bytes);
		pfree(token);
		return NULL;
	}
	base64url_encode(bytes, total, token);
	pfree(bytes);
	return token;
}

/* Whether the key signed these bytes of a decoded token. */
static bool
authentic(const uint8 *key, const uint8 *bytes, int total)
{
	uint8 mac[MAC_BYTES];
	int	  signed_length = total - MAC_BYTES;

	return signed_length >= HEADER_BYTES + BLOCK_BYTES &&
		   (signed_length - HEADER_BYTES) % BLOCK_BYTES == 0 &&
		   bytes[0] == VERSION &&
		   sign(key, bytes, signed_length, mac) &&
		   CRYPTO_memcmp(mac, bytes + signed_length, MAC_BYTES) == 0;
}

bool
fernet_open(const uint8 key[FERNET_KEY_BYTES], const char *token, char *plain,
			size_t *length)
{
	size_t token_length = strlen(token);
	char  *scratch = palloc(token_length + 1);
	uint8 *bytes = palloc(token_length + 1);
	int	   total = base64url_decode(token, token_length, scratch, bytes,
									(int) token_length);
	int	   opened = -1;

	if (total > 0 && authentic(key, bytes, total))
		opened = decrypt(key, bytes + 1 + TIME_BYTES, bytes + HEADER_BYTES,
						 total - HEADER_BYTES - MAC_BYTES, plain);
	pfree(scratch);
	pfree(bytes);
	if (opened < 0)
	{
		OPENSSL_cleanse(plain, token_length);
		return false;
	}
	plain[opened] = '\0';
	*length = opened;
	return true;
}

/*
 * redact.c
 *		Keys that providers echo in their error messages.
 *
 * An adapter does not know the key of a request, so it goes by looks: better a
 * harmless word masked than a key shown.  Whoever knows the key masks it after
 * that, however it looks.
 */
#include "providers/redact.h"

/* Shorter words cannot be keys; longer ones without a prefix probably are. */
#define MIN_KEY_BYTES	   8
#define MIN_BARE_KEY_BYTES 32

/* So much of a key at the end of a text gives some of it away. */
#define MIN_CUT_BYTES 4

static const char *const key_prefixes[] = {
	"sk-",
	"sk_",
	"gsk_",
	"hf_",
	"r8_",
	"AIza",
	"xai-",
	"pplx-",
	"tgp_v1_",
	"key_",
	"nvapi-",
};

static bool
is_word_byte(char c)
{
	return isalnum((unsigned char) c) || c == '_' || c == '-' || c == '*';
}

static bool
begins_like_key(const char *word, size_t length)
{
	if (length < MIN_KEY_BYTES)
		return false;
	for (int i = 0; i < (int) lengthof(key_prefixes); i++)
		if (strncmp(word, key_prefixes[i], strlen(key_prefixes[i])) == 0)
			return true;
	return false;
}

static bool
is_bare_key(const char *word, size_t length)
{
	bool letters = false;
	bool digits = false;

	for (size_t i = 0; i < length; i++)
	{
		if (word[i] == '*')
			return length >= MIN_KEY_BYTES; /* masked by the provider */
		if (word[i] >= '0' && word[i] <= '9')
			digits = true;
		else if (isalpha((unsigned char) word[i]))
			letters = true;
		else
			return false;
	}
	return length >= MIN_BARE_KEY_BYTES && letters && digits;
}

/*
 * Length of what stands at "text" of the secret: all of it, or as much as there
 * was room for.  What is masked already may have been any of it.
 */
static size_t
secret_length(const char *text, const char *secret)
{
	size_t length = 0;

	while (secret[length] && text[length] &&
		   (text[length] == secret[length] || text[length] == '*'))
		length++;
	return secret[length] == '\0' || (text[length] == '\0' && length >= MIN_CUT_BYTES) ? length : 0;
}

void
redact_secret(char *text, const char *secret)
{
	while (*text)
	{
		size_t length = secret_length(text, secret);

		memset(text, '*', length);
		text += Max(length, 1);
	}
}

char *
redact_keys(char *text)
{
	char *word = text;

	while (*word)
	{
		size_t length = 0;

		while (is_word_byte(word[length]))
			length++;
		if (length == 0)
		{
			word++;
			continue;
		}
		if (begins_like_key(word, length) || is_bare_key(word, length))
			memset(word, '*', length);
		word += length;
	}
	return text;
}

/*
 * redact.c
 *		Keys that are known by their looks: in what providers echo, and in texts.
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

/* Where names in SQL begin likewise: no key is shorter, no name is longer. */
#define MIN_NAMELIKE_KEY_BYTES 16
#define MAX_NAME_BYTES		   (NAMEDATALEN - 1)

typedef struct KeyPrefix
{
	const char *text;
	size_t		length;
	size_t		stem;	  /* what stands before its first mark */
	bool		namelike; /* names in SQL begin so as well */
} KeyPrefix;

/* Each prefix has a mark, -, _ or A, which are rarer in texts than letters. */
#define KEY_PREFIX(stem, rest, namelike)                             \
	{                                                                \
		stem rest, sizeof(stem rest) - 1, sizeof(stem) - 1, namelike \
	}

static const KeyPrefix key_prefixes[] = {
	KEY_PREFIX("sk", "-", false),
	KEY_PREFIX("sk", "_", true),
	KEY_PREFIX("gsk", "_", true),
	KEY_PREFIX("hf", "_", true),
	KEY_PREFIX("r8", "_", true),
	KEY_PREFIX("", "AIza", false),
	KEY_PREFIX("xai", "-", false),
	KEY_PREFIX("pplx", "-", false),
	KEY_PREFIX("tgp", "_v1_", false),
	KEY_PREFIX("key", "_", true),
	KEY_PREFIX("nvapi", "-", false),
};

static bool
is_word_byte(char c)
{
	return isalnum((unsigned char) c) || c == '_' || c == '-' || c == '*';
}

static size_t
word_length(const char *word)
{
	size_t length = 0;

	while (is_word_byte(word[length]))
		length++;
	return length;
}

static bool
begins_like_key(const char *word, size_t length)
{
	if (length < MIN_KEY_BYTES)
		return false;
	for (int i = 0; i < (int) lengthof(key_prefixes); i++)
		if (strncmp(word, key_prefixes[i].text, key_prefixes[i].length) == 0)
			return true;
	return false;
}

/* A word can begin here: after \n and the like, too, as literals spell them. */
static bool
is_word_start(const char *text, const char *at)
{
	return at == text || !(isalnum((unsigned char) at[-1]) || at[-1] == '_') ||
		   (at - text >= 2 && at[-2] == '\\');
}

/*
 * Whether a word is a name such as hf_models, or hidden already.  Keys that
 * begin so have capitals, or no more underscores.
 */
static bool
is_name(const char *word, const char *rest)
{
	bool   capitals = false;
	bool   underscores = false;
	bool   digits = false;
	size_t length = rest - word;

	for (; length <= MAX_NAME_BYTES && is_word_byte(word[length]); length++)
	{
		capitals = capitals || (word[length] >= 'A' && word[length] <= 'Z');
		underscores = underscores || word[length] == '_' || word[length] == '*';
		digits = digits || (word[length] >= '0' && word[length] <= '9');
	}
	return length < MIN_NAMELIKE_KEY_BYTES ||
		   (length <= MAX_NAME_BYTES && !capitals && (underscores || !digits));
}

/* ICU's collations for Slovak: sk-x-icu, sk-SK-x-icu. */
static bool
is_collation(const char *word, size_t length)
{
	const char end[] = "-x-icu";

	return length >= sizeof(end) - 1 &&
		   strncmp(word + length - (sizeof(end) - 1), end, sizeof(end) - 1) == 0;
}

/* Length of the key whose prefix has its first mark here, and where it begins. */
static size_t
key_around(const char *text, const char *mark, const char **key)
{
	for (int i = 0; i < (int) lengthof(key_prefixes); i++)
	{
		const KeyPrefix *prefix = &key_prefixes[i];
		size_t			 length;

		if (prefix->text[prefix->stem] != *mark || (size_t) (mark - text) < prefix->stem)
			continue;
		*key = mark - prefix->stem;
		if (**key != *prefix->text || strncmp(*key, prefix->text, prefix->length) != 0 ||
			!is_word_start(text, *key) || (prefix->namelike && is_name(*key, *key + prefix->length)))
			continue;
		length = word_length(*key);
		if (length >= MIN_KEY_BYTES && !is_collation(*key, length))
			return length;
	}
	return 0;
}

const char *
redact_find_key(const char *text, const char *from, size_t *length)
{
	const char *key;

	for (; *from; from++)
	{
		if (*from != '-' && *from != '_' && *from != 'A')
			continue;
		*length = key_around(text, from, &key);
		if (*length > 0)
			return key;
	}
	return NULL;
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
		size_t length = word_length(word);

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

/*
 * tokens.c
 *		An upper estimate of token counts, without a tokenizer.
 *
 * Byte-pair tokenizers first cut a text into words (with the space before
 * them), groups of at most three digits, runs of punctuation and runs of white
 * space, and then each piece into tokens.  The scan below follows these cuts
 * and charges, in 32nds of a token, what a piece costs at most by what can be
 * seen without a vocabulary: which letters follow each other, how long a run
 * is, which script a character belongs to.  test/tokens/fit.py finds these
 * costs as the smallest that are above the count of every text in its corpus,
 * random strings included.
 *
 * One pass, no memory.
 */
#include "chat/tokens.h"

#include "chat/json.h"
#include "chat/token_costs.h"
#include "mb/pg_wchar.h"

/* Costs in 32nds of a token; those named COST_ were fitted. */
#define TOKEN			 32
#define WORD_AFTER_SPACE TOKEN /* the space is part of the word's token */
#define FIRST_SPACE		 2	   /* of a run: part of what follows */
#define REPEATED_RULE	 2	   /* characters that rules are drawn with */

#define LONG_WORD		16
#define DIGIT_GROUP		3
#define WHITE_SPACE_RUN 16 /* of one character: one token */

/* A short text may have unlucky cuts; test/tokens/fit.py uses two of these. */
#define TEXT_OVERHEAD 3

/* Around each message (its role and marks) and around all of them. */
#define MESSAGE_OVERHEAD 8
#define REQUEST_OVERHEAD 16

/*
 * An image takes 85 tokens at detail "low" and up to 1,445 (eight tiles) else
 * with GPT-4o, up to 3,779 with patches (GPT-4.1 nano), 258 or more at Google,
 * up to 4,784 at Anthropic, by the vendors' guides to vision.  (GPT-4o mini
 * alone counts an image 33 times.)
 */
#define IMAGE_TOKENS_LOW 300
#define IMAGE_TOKENS	 4800

/* Base64 characters a token: speech of 8 kbit/s at 10 tokens a second; files. */
#define AUDIO_CHARACTERS_PER_TOKEN 128
#define FILE_CHARACTERS_PER_TOKEN  8

/* ------------------------------------------------------------------------
 * Text
 * ------------------------------------------------------------------------
 */

#define NOT_ASCII 0x80

static inline bool
is_lower(unsigned char c)
{
	return c >= 'a' && c <= 'z';
}

static inline bool
is_upper(unsigned char c)
{
	return c >= 'A' && c <= 'Z';
}

static inline bool
is_letter(unsigned char c)
{
	return is_lower(c | 0x20) && c < NOT_ASCII;
}

static inline bool
is_digit(unsigned char c)
{
	return c >= '0' && c <= '9';
}

static inline bool
is_space(unsigned char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static inline bool
is_punctuation(unsigned char c)
{
	return c > ' ' && c < 0x7f && !is_letter(c) && !is_digit(c);
}

static inline uint32
letter_cost(TokenCounter *scan, unsigned char c)
{
	uint32 more;

	if (scan->word_length++ == 0)
		return scan->previous == ' ' ? WORD_AFTER_SPACE : COST_WORD_ELSEWHERE;
	more = scan->word_length > LONG_WORD ? COST_LONG_WORD : 0;
	if (is_upper(c) && !is_upper(scan->previous))
		return more + COST_UPPER_AFTER_LOWER;
	return more + pair_costs[(scan->previous | 0x20) - 'a'][(c | 0x20) - 'a'];
}

/* A space is no part of the number after it. */
static inline uint32
digit_cost(TokenCounter *scan)
{
	if (is_digit(scan->previous))
		return ++scan->run % DIGIT_GROUP == 1 ? TOKEN : 0;
	scan->run = 1;
	return scan->previous == ' ' ? 2 * TOKEN : TOKEN;
}

static inline uint32
space_cost(TokenCounter *scan, unsigned char c)
{
	if (c == scan->previous)
	{
		scan->run++;
		return c == '\r' || scan->run == 2 || scan->run % WHITE_SPACE_RUN == 0 ? TOKEN : 0;
	}
	scan->run = 1;
	return c == ' ' ? FIRST_SPACE : TOKEN;
}

static inline uint32
punctuation_cost(const TokenCounter *scan, unsigned char c)
{
	if (c != scan->previous)
		return TOKEN;
	return strchr("-=#*._/", c) ? REPEATED_RULE : COST_REPEATED_PUNCTUATION;
}

static uint32
ascii_cost(TokenCounter *scan, unsigned char c)
{
	uint32 cost = TOKEN; /* of a control character */

	if (is_letter(c))
		cost = letter_cost(scan, c);
	else
	{
		scan->word_length = 0;
		if (is_space(c))
			cost = space_cost(scan, c);
		else if (is_digit(c))
			cost = digit_cost(scan);
		else if (is_punctuation(c))
			cost = punctuation_cost(scan, c);
	}
	scan->previous = c;
	return cost;
}

static bool
is_common_han(pg_wchar c)
{
	int low = 0;
	int high = lengthof(common_han);

	while (low < high)
	{
		int middle = (low + high) / 2;

		if (common_han[middle] < c)
			low = middle + 1;
		else
			high = middle;
	}
	return low < (int) lengthof(common_han) && common_han[low] == c;
}

/* A character above U+007F. */
static uint32
unicode_cost(pg_wchar c)
{
	if (c < 0x180)
		return COST_LATIN; /* mostly letters with accents */
	if (c >= 0x370 && c < 0x400)
		return COST_GREEK;
	if (c >= 0x400 && c < 0x530)
		return COST_CYRILLIC;
	if (c < 0x800)
		return 2 * TOKEN;
	if (c < 0x10000)
		return is_common_han(c) ? TOKEN : TOKEN * (block_costs[(c - 0x800) / 64] - '0');
	return TOKEN * (c >= 0x1f000 && c < 0x20000 ? 3 : 4); /* emoji; others byte by byte */
}

void
tokens_count(TokenCounter *counter, const char *text, size_t length)
{
	const unsigned char *next = (const unsigned char *) text;
	const unsigned char *end = next + length;
	bool				 utf8 = GetDatabaseEncoding() == PG_UTF8;

	while (next < end)
	{
		if (*next < NOT_ASCII)
		{
			counter->cost += ascii_cost(counter, *next++);
			continue;
		}
		*counter = (TokenCounter){ .previous = NOT_ASCII, .cost = counter->cost };
		if (utf8)
		{
			counter->cost += unicode_cost(utf8_to_unicode(next));
			next += pg_utf_mblen(next);
		}
		else
		{
			/* At most 3 bytes in UTF-8 for each of 2, and 2 for a single one. */
			counter->cost += 2 * TOKEN;
			next++;
		}
	}
}

int64
tokens_counted(const TokenCounter *counter)
{
	if (counter->previous == 0)
		return 0; /* no text at all */
	return (counter->cost + TOKEN - 1) / TOKEN + TEXT_OVERHEAD;
}

int64
tokens_estimate_text(const char *text, size_t length)
{
	TokenCounter counter = { 0 };

	tokens_count(&counter, text, length);
	return tokens_counted(&counter);
}

/* ------------------------------------------------------------------------
 * Requests
 * ------------------------------------------------------------------------
 */

static int64
json_tokens(const JsonbValue *value)
{
	StringInfoData text;
	int64		   tokens;

	if (value->type == jbvString)
		return tokens_estimate_text(value->val.string.val, value->val.string.len);
	if (value->type != jbvBinary)
		return 1; /* null, true, false, or a number among words */
	initStringInfo(&text);
	JsonbToCString(&text, value->val.binary.data, value->val.binary.len);
	tokens = tokens_estimate_text(text.data, text.len);
	pfree(text.data);
	return tokens;
}

/* Characters of a string member of an object, 0 without it. */
static int
member_length(JsonbContainer *object, const char *key)
{
	JsonbValue *value = object ? json_member(object, key) : NULL;

	return value && value->type == jbvString ? value->val.string.len : 0;
}

/* What a part of a message's content costs besides its text. */
static int64
media_tokens(JsonbContainer *part)
{
	JsonbContainer *image = json_member_object(part, "image_url");
	JsonbContainer *audio = json_member_object(part, "input_audio");
	JsonbContainer *file = json_member_object(part, "file");
	char		   *detail;

	if (audio)
		return 1 + member_length(audio, "data") / AUDIO_CHARACTERS_PER_TOKEN;
	if (file)
		return IMAGE_TOKENS + member_length(file, "file_data") / FILE_CHARACTERS_PER_TOKEN;
	detail = image ? json_member_string(image, "detail") : NULL;
	return detail && strcmp(detail, "low") == 0 ? IMAGE_TOKENS_LOW : IMAGE_TOKENS;
}

static int64
part_tokens(const JsonbValue *part)
{
	JsonbValue *text;

	if (part->type != jbvBinary || !JsonContainerIsObject(part->val.binary.data))
		return json_tokens(part);
	text = json_member(part->val.binary.data, "text");
	if (text == NULL)
		text = json_member(part->val.binary.data, "refusal");
	return text ? json_tokens(text) : media_tokens(part->val.binary.data);
}

static int64
content_tokens(const JsonbValue *content)
{
	int64 tokens = 0;

	if (content->type != jbvBinary || !JsonContainerIsArray(content->val.binary.data))
		return json_tokens(content);
	for (uint32 i = 0; i < JsonContainerSize(content->val.binary.data); i++)
		tokens += part_tokens(getIthJsonbValueFromContainer(content->val.binary.data, i));
	return tokens;
}

static bool
is_key(const JsonbValue *key, const char *name)
{
	return key->val.string.len == (int) strlen(name) &&
		   memcmp(key->val.string.val, name, key->val.string.len) == 0;
}

static int64
message_tokens(JsonbContainer *message)
{
	JsonbIterator	  *members = JsonbIteratorInit(message);
	JsonbIteratorToken token;
	JsonbValue		   key;
	JsonbValue		   value;
	int64			   tokens = MESSAGE_OVERHEAD;

	JsonbIteratorNext(&members, &key, true); /* the object itself */
	while ((token = JsonbIteratorNext(&members, &key, true)) == WJB_KEY)
	{
		JsonbIteratorNext(&members, &value, true);
		if (is_key(&key, "content"))
			tokens += content_tokens(&value);
		else if (!is_key(&key, "role"))
			tokens += json_tokens(&value);
	}
	return tokens;
}

int64
tokens_estimate_request(JsonbContainer *messages, JsonbContainer *params)
{
	static const char *const prompt_params[] = { "tools", "functions", "response_format",
												 "prediction" };
	int64					 tokens = REQUEST_OVERHEAD;

	for (uint32 i = 0; i < JsonContainerSize(messages); i++)
	{
		JsonbValue *message = getIthJsonbValueFromContainer(messages, i);

		if (message->type == jbvBinary && JsonContainerIsObject(message->val.binary.data))
			tokens += message_tokens(message->val.binary.data);
	}
	for (int i = 0; params && i < (int) lengthof(prompt_params); i++)
	{
		JsonbValue *value = json_member(params, prompt_params[i]);

		if (value)
			tokens += json_tokens(value);
	}
	return tokens;
}

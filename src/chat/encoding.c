/*
 * encoding.c
 *		Text between the network (UTF-8, hostile) and the database encoding.
 *
 * The server's own conversions throw at the first character that the target
 * lacks.  Here they are called so that they stop there instead; the character
 * is replaced and the conversion goes on.
 */
#include "chat/encoding.h"

#include "catalog/namespace.h"
#include "mb/pg_wchar.h"

/* How much is converted at once; the rest of the input waits for its turn. */
#define CONVERSION_CHUNK 8192

static inline bool
is_ascii(const char *string, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if ((unsigned char) string[i] >= 0x80)
			return false;
	return true;
}

int
utf8_sequence(const unsigned char *bytes, const unsigned char *end, bool *valid)
{
	unsigned char lead = bytes[0];
	unsigned char low = 0x80;
	unsigned char high = 0xBF;
	int			following;

	*valid = true;
	if (lead < 0x80)
		return 1;
	if (lead >= 0xC2 && lead <= 0xDF)
		following = 1;
	else if (lead >= 0xE0 && lead <= 0xEF)
		following = 2;
	else if (lead >= 0xF0 && lead <= 0xF4)
		following = 3;
	else
	{
		*valid = false;
		return 1;
	}

	/* RFC 3629, section 4: what overlong forms, surrogates and the end exclude. */
	if (lead == 0xE0)
		low = 0xA0;
	else if (lead == 0xED)
		high = 0x9F;
	else if (lead == 0xF0)
		low = 0x90;
	else if (lead == 0xF4)
		high = 0x8F;

	for (int i = 1; i <= following; i++)
	{
		if (bytes + i >= end || bytes[i] < low || bytes[i] > high)
		{
			*valid = false;
			return i;
		}
		low = 0x80;
		high = 0xBF;
	}
	return following + 1;
}

/* Append bytes with U+FFFD for whatever is not UTF-8. */
static void
append_repaired_utf8(StringInfo out, const char *string, size_t length)
{
	const unsigned char *start = (const unsigned char *) string;
	const unsigned char *end = start + length;
	const unsigned char *copied = start;
	const unsigned char *at = start;

	while (at < end)
	{
		bool		valid;
		int			step = utf8_sequence(at, end, &valid);

		if (!valid)
		{
			appendBinaryStringInfo(out, (const char *) copied, (int) (at - copied));
			appendBinaryStringInfo(out, UTF8_REPLACEMENT, UTF8_REPLACEMENT_LENGTH);
			copied = at + step;
		}
		at += step;
	}
	appendBinaryStringInfo(out, (const char *) copied, (int) (end - copied));
}

/*
 * Convert between two encodings, with '?' for each character that the target
 * lacks.  string is valid in its encoding.
 */
static void
append_converted(StringInfo out, const char *string, size_t length, int from, int to)
{
	Oid			conversion = FindDefaultConversionProc(from, to);
	const char *end = string + length;

	while (string < end)
	{
		unsigned char chunk[CONVERSION_CHUNK];
		int			done = 0;

		if (OidIsValid(conversion))
			done = pg_do_encoding_conversion_buf(conversion, from, to,
												 (unsigned char *) string,
												 (int) Min(end - string, CONVERSION_CHUNK),
												 chunk, sizeof(chunk), true);
		if (done > 0)
			appendStringInfoString(out, (char *) chunk);
		else
		{
			appendStringInfoChar(out, IS_HIGHBIT_SET(*string) ? '?' : *string);
			done = pg_encoding_mblen(from, string);
		}
		string += Min(done, end - string);
	}
}

void
encoding_append_from_utf8(StringInfo out, const char *utf8, size_t length)
{
	int			encoding = GetDatabaseEncoding();

	if (encoding == PG_UTF8 || encoding == PG_SQL_ASCII || is_ascii(utf8, length))
		appendBinaryStringInfo(out, utf8, (int) length);
	else
		append_converted(out, utf8, length, PG_UTF8, encoding);
}

void
encoding_append_as_utf8(StringInfo out, const char *string, size_t length)
{
	int			encoding = GetDatabaseEncoding();

	if (encoding == PG_UTF8 || is_ascii(string, length))
		appendBinaryStringInfo(out, string, (int) length);
	else if (encoding == PG_SQL_ASCII)
		append_repaired_utf8(out, string, length);
	else
		append_converted(out, string, length, encoding, PG_UTF8);
}

char *
encoding_clean_line(char *text, int max_bytes)
{
	int			length = (int) strlen(text);

	if (length > max_bytes)
		text[pg_mbcliplen(text, length, max_bytes)] = '\0';
	for (char *c = text; *c; c++)
		if ((unsigned char) *c < ' ' || *c == 0x7f)
			*c = ' ';
	return text;
}

char *
encoding_line_from_network(const char *bytes, size_t length, int max_bytes)
{
	StringInfoData utf8;
	StringInfoData line;

	/* No encoding makes text so much shorter that four times is too little. */
	initStringInfo(&utf8);
	append_repaired_utf8(&utf8, bytes, strnlen(bytes, Min(length, (size_t) max_bytes * 4)));
	initStringInfo(&line);
	encoding_append_from_utf8(&line, utf8.data, utf8.len);
	pfree(utf8.data);
	return encoding_clean_line(line.data, max_bytes);
}

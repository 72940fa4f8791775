/*
 * json_input.c
 *		Turning hostile bytes into jsonb.
 *
 * One linear walk repairs what jsonb_in would refuse and what a paid-for answer
 * must not be lost for (see json.h), and refuses what would cost more than its
 * bytes: deep nesting and numbers with huge exponents.  Then jsonb_in, which
 * decides whether the rest is JSON.
 *
 * Invariant of the walk: everything before "copied" stands in the output, as
 * well-formed UTF-8; a document that needs no repair is copied in one piece.
 */
#include "chat/json.h"

#include "chat/encoding.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"

/*
 * numeric holds 1e131071, whose text has 131,072 digits; a few thousand of them
 * in an answer would be gigabytes.  No double has an exponent beyond 324.
 */
#define MAX_EXPONENT 400

/* The most that a jsonb value can hold: the width of an offset in a JEntry. */
#define MAX_DOCUMENT_BYTES 0x0FFFFFFF

typedef struct Walk
{
	const unsigned char *at;
	const unsigned char *end;
	const unsigned char *copied;
	bool		expand_escapes; /* the database encoding is not UTF-8 */
	StringInfoData out;
	const char *problem;
} Walk;

/* Flush up to "at", then put "text" in the place of the next "skip" bytes. */
static void
replace(Walk *walk, int skip, const char *text, int length)
{
	appendBinaryStringInfo(&walk->out, (const char *) walk->copied,
						   (int) (walk->at - walk->copied));
	appendBinaryStringInfo(&walk->out, text, length);
	walk->at += skip;
	walk->copied = walk->at;
}

/* The value of "\uXXXX" at "escape", or -1 when that is none. */
static int
unicode_escape(const unsigned char *escape, const unsigned char *end)
{
	int			value = 0;

	if (end - escape < 6 || escape[0] != '\\' || escape[1] != 'u')
		return -1;
	for (int i = 2; i < 6; i++)
	{
		unsigned char c = escape[i];

		if (c >= '0' && c <= '9')
			value = value * 16 + (c - '0');
		else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
			value = value * 16 + ((c | 0x20) - 'a' + 10);
		else
			return -1;
	}
	return value;
}

/* A backslash: step over the escape, or repair it. */
static void
walk_escape(Walk *walk)
{
	int			first = unicode_escape(walk->at, walk->end);
	pg_wchar	character = first;
	int			length = 6;

	if (first < 0)
	{
		/* jsonb_in judges the others; what matters here is \" and \\. */
		bool		pair = walk->end - walk->at >= 2 && walk->at[1] >= ' ' && walk->at[1] < 0x80;

		walk->at += pair ? 2 : 1;
		return;
	}
	if (is_utf16_surrogate_first(first))
	{
		int			second = unicode_escape(walk->at + 6, walk->end);

		if (second >= 0 && is_utf16_surrogate_second(second))
		{
			character = surrogate_pair_to_codepoint(first, second);
			length = 12;
		}
		else
			character = 0;
	}
	else if (is_utf16_surrogate_second(first))
		character = 0;

	if (character == 0)
		replace(walk, 6, UTF8_REPLACEMENT, UTF8_REPLACEMENT_LENGTH);
	else if (walk->expand_escapes && character >= 0x80)
	{
		unsigned char utf8[MAX_MULTIBYTE_CHAR_LEN + 1];

		unicode_to_utf8(character, utf8);
		replace(walk, length, (char *) utf8, pg_utf_mblen(utf8));
	}
	else
		walk->at += length;
}

/* Inside a string, after its opening quote; steps over the closing one. */
static void
walk_string(Walk *walk)
{
	while (walk->at < walk->end)
	{
		unsigned char c = *walk->at;

		if (c == '"')
		{
			walk->at++;
			return;
		}
		if (c == '\\')
			walk_escape(walk);
		else if (c == '\0')
			replace(walk, 1, UTF8_REPLACEMENT, UTF8_REPLACEMENT_LENGTH);
		else if (c < ' ')
		{
			char		escape[8];

			/* RFC 8259 wants it escaped; not every server does so. */
			snprintf(escape, sizeof(escape), "\\u%04x", c);
			replace(walk, 1, escape, 6);
		}
		else if (c < 0x80)
			walk->at++;
		else
		{
			bool		valid;
			int			step = utf8_sequence(walk->at, walk->end, &valid);

			if (valid)
				walk->at += step;
			else
				replace(walk, step, UTF8_REPLACEMENT, UTF8_REPLACEMENT_LENGTH);
		}
	}
}

/* After the "e" of a number: step over the exponent; false when it is huge. */
static bool
walk_exponent(Walk *walk)
{
	int			exponent = 0;

	if (walk->at < walk->end && (*walk->at == '-' || *walk->at == '+'))
		walk->at++;
	for (; walk->at < walk->end && isdigit(*walk->at); walk->at++)
	{
		exponent = exponent * 10 + (*walk->at - '0');
		if (exponent > MAX_EXPONENT)
			return false;
	}
	return true;
}

/* The whole document; stops with walk->problem at what must not be parsed. */
static void
walk_document(Walk *walk)
{
	int			depth = 0;

	while (walk->at < walk->end)
	{
		unsigned char c = *walk->at++;

		switch (c)
		{
			case '"':
				walk_string(walk);
				break;
			case '{':
			case '[':
				if (++depth > JSON_MAX_DEPTH)
					walk->problem = "the JSON document nests too deep";
				break;
			case '}':
			case ']':
				depth--;
				break;
			case 'e':
			case 'E':
				if (!walk_exponent(walk))
					walk->problem = "the JSON document holds a number out of range";
				break;
			default:
				if (c == '\0' || c >= 0x80)
					walk->problem = "not a JSON document";
		}
		if (walk->problem)
			return;
	}
	appendBinaryStringInfo(&walk->out, (const char *) walk->copied,
						   (int) (walk->end - walk->copied));
}

/* jsonb_in, with *problem for what it says about the data. */
static Jsonb *
parse_text(char *text, const char **problem)
{
	MemoryContext caller = CurrentMemoryContext;
	Jsonb	   *volatile jsonb = NULL;

	PG_TRY();
	{
		jsonb = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text)));
	}
	PG_CATCH();
	{
		int			category = ERRCODE_TO_CATEGORY(geterrcode());

		/* jsonb_in holds nothing that would need a subtransaction to undo. */
		if (category != ERRCODE_DATA_EXCEPTION &&
			category != ERRCODE_PROGRAM_LIMIT_EXCEEDED)
			PG_RE_THROW();
		MemoryContextSwitchTo(caller);
		FlushErrorState();
		*problem = category == ERRCODE_DATA_EXCEPTION
			? "not a JSON document" : "the JSON document is too large";
	}
	PG_END_TRY();
	return jsonb;
}

Jsonb *
json_from_bytes(const char *bytes, size_t length, const char **problem)
{
	static const char byte_order_mark[] = "\xEF\xBB\xBF";
	StringInfoData converted;
	Walk		walk;
	Jsonb	   *jsonb;

	*problem = NULL;
	if (length > MAX_DOCUMENT_BYTES)
	{
		*problem = "the JSON document is too large";
		return NULL;
	}
	if (length >= 3 && memcmp(bytes, byte_order_mark, 3) == 0)
	{
		bytes += 3;
		length -= 3;
	}

	walk.at = walk.copied = (const unsigned char *) bytes;
	walk.end = walk.at + length;
	walk.expand_escapes = GetDatabaseEncoding() != PG_UTF8;
	walk.problem = NULL;
	initStringInfo(&walk.out);
	enlargeStringInfo(&walk.out, (int) length);
	walk_document(&walk);

	if (walk.problem)
	{
		*problem = walk.problem;
		jsonb = NULL;
	}
	else if (walk.expand_escapes)
	{
		initStringInfo(&converted);
		encoding_append_from_utf8(&converted, walk.out.data, walk.out.len);
		jsonb = parse_text(converted.data, problem);
		pfree(converted.data);
	}
	else
		jsonb = parse_text(walk.out.data, problem);
	pfree(walk.out.data);
	return jsonb;
}

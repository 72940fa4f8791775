/*
 * redaction_text.c
 *		Hiding keys in the texts of statements and of the server log.
 *
 * Two ways.  SQL that has been parsed is read token by token, by the rules of
 * PostgreSQL's scanner (src/backend/parser/scan.l), so that nothing else
 * changes.  All else (log lines in any language, statements with a syntax error
 * or cut off) is no SQL to rely on: there everything between the first quote and
 * the last one goes.
 *
 * The names of the functions that take keys are left also inside of what is
 * hidden, so that a text whose values are hidden is still known to be about keys.
 */
#include "secrets/redaction_text.h"

#include "parser/scansup.h"
#include "providers/redact.h"

/* A word of letters and digits from this length on may be a key without a prefix. */
#define MIN_BARE_KEY_BYTES 16

/* pgaudit: "AUDIT: SESSION,1,1,READ,SELECT,TABLE,public.t,statement,parameters", as CSV. */
#define AUDIT_PREFIX			  "AUDIT: "
#define AUDIT_FIELDS_TO_STATEMENT 7

static const char *const key_functions[] = {
	"llm_key_add",
	"llm_key_test",
	"llm_key_update",
	"llm_provider_set_key",
};

/* What goes on after a quote. */
typedef enum QuoteRule
{
	QUOTES_DOUBLED,	  /* two stand for one */
	QUOTES_BACKSLASH, /* likewise, and after a backslash anything */
	QUOTES_NEVER,	  /* nothing: B'01' */
} QuoteRule;

/* Of a statement that is being read. */
typedef struct Scan
{
	char	 *text;
	char	 *key; /* the next word that looks like a key, or NULL */
	size_t	  key_length;
	bool	  about_keys;
	QuoteRule plain; /* of literals without a letter */
} Scan;

/* Length of the name of a key function that stands here, or 0. */
static size_t
key_function_at(const char *text)
{
	if (*text != 'l' && *text != 'L')
		return 0;
	for (int i = 0; i < (int) lengthof(key_functions); i++)
		if (pg_strncasecmp(text, key_functions[i], strlen(key_functions[i])) == 0)
			return strlen(key_functions[i]);
	return 0;
}

bool
redaction_about_keys(const char *text)
{
	const size_t stem = strlen("llm");

	for (const char *at = strchr(text, '_'); at; at = strchr(at + 1, '_'))
		if ((size_t) (at - text) >= stem && key_function_at(at - stem) > 0)
			return true;
	return false;
}

bool
redaction_needed(const char *text)
{
	size_t length;

	return redaction_about_keys(text) || redact_find_key(text, text, &length) != NULL;
}

/*
 * Overwrite a part of a text, but for lines' ends and key functions' names.
 * Asterisks stay whatever the mask is: in comments they may be part of the end.
 */
static bool
hide(char *from, const char *to, char mask)
{
	bool changed = false;

	while (from < to)
	{
		size_t name = key_function_at(from);

		if (name == 0 && *from != '\n' && *from != '*' && !IS_HIGHBIT_SET(*from))
		{
			*from = mask;
			changed = true;
		}
		from += Max(name, 1);
	}
	return changed;
}

/* ------------------------------------------------------------------------
 * SQL
 * ------------------------------------------------------------------------
 */

static bool
is_name_start(char c)
{
	return isalpha((unsigned char) c) || c == '_' || IS_HIGHBIT_SET(c);
}

static bool
is_name_byte(char c)
{
	return is_name_start(c) || isdigit((unsigned char) c);
}

/* Length of the $tag$ that stands here, or 0. */
static size_t
dollar_quote_length(const char *text)
{
	size_t length = 1;

	if (text[0] != '$' || isdigit((unsigned char) text[1]))
		return 0;
	while (is_name_byte(text[length]))
		length++;
	return text[length] == '$' ? length + 1 : 0;
}

/* The quote that ends what begins here, or the end of the text. */
static char *
closing_quote(char *at, char quote, QuoteRule rule)
{
	while (*at && (*at != quote || (at[1] == quote && rule != QUOTES_NEVER)))
		at += (*at == quote || (*at == '\\' && rule == QUOTES_BACKSLASH)) && at[1] ? 2 : 1;
	return at;
}

/* The same for $tag$, which stands at opening. */
static char *
closing_dollar_quote(char *opening, size_t length)
{
	for (char *at = strchr(opening + length, '$'); at; at = strchr(at + 1, '$'))
		if (strncmp(at, opening, length) == 0)
			return at;
	return opening + strlen(opening);
}

/* The quote with which a literal goes on, on a later line, or NULL. */
static char *
continuation(char *at)
{
	bool newline = false;

	for (;;)
	{
		if (at[0] == '-' && at[1] == '-')
			at += strcspn(at, "\r\n");
		else if (scanner_isspace(*at))
		{
			newline = newline || *at == '\n' || *at == '\r';
			at++;
		}
		else
			return *at == '\'' && newline ? at : NULL;
	}
}

static void
find_key(Scan *scan, char *from)
{
	scan->key = unconstify(char *, redact_find_key(scan->text, from, &scan->key_length));
}

/* Hide the words that look like keys in a part of the statement. */
static void
hide_keys(Scan *scan, char *from, char *to, char mask)
{
	if (scan->key && scan->key < from)
		find_key(scan, from);
	while (scan->key && scan->key < to)
	{
		char *end = Min(scan->key + scan->key_length, to);

		hide(scan->key, end, mask);
		find_key(scan, end);
	}
}

static void
hide_literal(Scan *scan, char *from, char *to)
{
	if (scan->about_keys)
		hide(from, to, '*');
	else
		hide_keys(scan, from, to, '*');
}

/* Where a call may have been commented out.  The mask makes no end beside a slash. */
static void
hide_comment(Scan *scan, char *from, char *to)
{
	if (scan->about_keys)
		hide(from, to, 'x');
	else
		hide_keys(scan, from, to, 'x');
}

/* These return what follows. */

static char *
pass_literal(Scan *scan, char *quote, QuoteRule rule)
{
	char *end;

	do
	{
		end = closing_quote(quote + 1, '\'', rule);
		hide_literal(scan, quote + 1, end);
		if (*end == '\0')
			return end;
		quote = continuation(++end);
	} while (quote);
	return end;
}

static char *
pass_dollar_quote(Scan *scan, char *opening)
{
	size_t length = dollar_quote_length(opening);
	char  *end;

	if (length == 0)
		return opening + 1;
	end = closing_dollar_quote(opening, length);
	hide_literal(scan, opening + length, end);
	return *end ? end + length : end;
}

static char *
pass_quoted_name(Scan *scan, char *quote)
{
	char *end = closing_quote(quote + 1, '"', QUOTES_DOUBLED);

	hide_keys(scan, quote + 1, end, '*');
	return *end ? end + 1 : end;
}

static char *
pass_line_comment(Scan *scan, char *dashes)
{
	char *end = dashes + strcspn(dashes, "\r\n");

	hide_comment(scan, dashes + 2, end);
	return end;
}

/* Comments nest.  The mask makes neither a beginning nor an end beside a slash. */
static char *
pass_block_comment(Scan *scan, char *slash)
{
	int	  depth = 1;
	char *end = slash + 2;

	while (*end && depth > 0)
	{
		if (end[0] == '/' && end[1] == '*')
			depth++;
		else if (end[0] == '*' && end[1] == '/')
			depth--;
		else
		{
			end++;
			continue;
		}
		end += 2;
	}
	hide_comment(scan, slash + 2, depth == 0 ? end - 2 : end);
	return end;
}

/* A name, or a literal with a letter before it that makes a difference. */
static char *
pass_name(Scan *scan, char *start)
{
	char *end = start;

	if (strchr("eE", start[0]) && start[1] == '\'')
		return pass_literal(scan, start + 1, QUOTES_BACKSLASH);
	if (strchr("bBxX", start[0]) && start[1] == '\'')
		return pass_literal(scan, start + 1, QUOTES_NEVER);
	while (is_name_byte(*end) || *end == '$')
		end++;
	return end;
}

static char *
pass_token(Scan *scan, char *at)
{
	if (is_name_start(*at))
		return pass_name(scan, at);
	if (at[0] == '-' && at[1] == '-')
		return pass_line_comment(scan, at);
	if (at[0] == '/' && at[1] == '*')
		return pass_block_comment(scan, at);
	switch (*at)
	{
		case '\'':
			return pass_literal(scan, at, scan->plain);
		case '"':
			return pass_quoted_name(scan, at);
		case '$':
			return pass_dollar_quote(scan, at);
		default:
			return at + 1;
	}
}

void
redaction_hide_in_sql(char *text, bool about_keys, bool backslash_quotes)
{
	Scan scan = { .text = text, .about_keys = about_keys };

	scan.plain = backslash_quotes ? QUOTES_BACKSLASH : QUOTES_DOUBLED;
	find_key(&scan, text);
	for (char *at = text; *at;)
		at = pass_token(&scan, at);
}

/* ------------------------------------------------------------------------
 * Texts for people
 * ------------------------------------------------------------------------
 */

/* A quote is an apostrophe when it follows a word, also a hidden one: "the server's". */
static bool
opens_literal(const char *text, const char *quote)
{
	const char *word = quote;

	while (word > text && (is_name_byte(word[-1]) || word[-1] == '*'))
		word--;
	return word == quote || (quote - word == 1 && strchr("eEnNbBxX", *word));
}

/* From the first quote to the last one; to the end where one is open, or quotes are mixed. */
static bool
hide_between_quotes(char *text, bool is_sql, bool cut)
{
	char *from = NULL;
	char *to = NULL;
	int	  quotes = 0;
	int	  dollar_quotes = 0;

	for (char *at = strpbrk(text, "'$"); at; at = strpbrk(at, "'$"))
	{
		size_t length = *at == '\'' ? 1 : dollar_quote_length(at);

		if (length > 0 && (from || *at == '$' || is_sql || opens_literal(text, at)))
		{
			from = from ? from : at + length;
			to = at;
			*(*at == '\'' ? &quotes : &dollar_quotes) += 1;
		}
		at += Max(length, 1);
	}
	if (from == NULL)
		return false;
	if (cut || quotes % 2 != 0 || dollar_quotes % 2 != 0 || from[-1] != *to)
		to = from + strlen(from);
	return hide(from, to, '*');
}

/* Words such as vendors without a prefix give as keys. */
static bool
hide_bare_keys(char *text)
{
	bool changed = false;

	while (*text)
	{
		size_t length = key_function_at(text);
		bool   letters = false;
		bool   digits = false;

		text += length;
		for (length = 0; is_name_byte(text[length]) && text[length] != '_'; length++)
		{
			if (key_function_at(text + length) > 0)
				break;
			letters = letters || isalpha((unsigned char) text[length]);
			digits = digits || isdigit((unsigned char) text[length]);
		}
		if (length >= MIN_BARE_KEY_BYTES && letters && digits)
			changed |= hide(text, text + length, '*');
		text += length;
		if (*text && key_function_at(text) == 0)
			text++;
	}
	return changed;
}

/* Where pgaudit's line has the statement; the beginning of other lines. */
static char *
audited_statement(char *line)
{
	char *at = line;

	if (strncmp(line, AUDIT_PREFIX, strlen(AUDIT_PREFIX)) != 0)
		return line;
	for (int i = 0; i < AUDIT_FIELDS_TO_STATEMENT; i++)
	{
		at = strchr(at, ',');
		if (at == NULL)
			return line;
		at++;
	}
	return at;
}

/* What follows the statement: the parameters, which have no quotes. */
static bool
hide_audited_parameters(char *statement)
{
	char *at = statement;

	if (*at == '"')
		at = closing_quote(at + 1, '"', QUOTES_DOUBLED);
	at += strcspn(at, ",");
	return *at && hide(at + 1, at + strlen(at), '*');
}

bool
redaction_hide_in_line(char *text, bool about_keys, bool cut)
{
	char	   *statement = audited_statement(text);
	const char *key = text;
	size_t		length = 0;
	bool		changed = false;

	/* Quotes come last: what is hidden beside one decides whether it is an apostrophe. */
	if (about_keys)
	{
		if (statement != text)
			changed |= hide_audited_parameters(statement);
		changed |= hide_bare_keys(text);
	}
	while ((key = redact_find_key(text, key + length, &length)) != NULL)
		changed |= hide(unconstify(char *, key), key + length, '*');
	if (about_keys)
		changed |= hide_between_quotes(statement, redaction_about_keys(text), cut);
	return changed;
}

void
redaction_hide_after(char *text, const char *bytes)
{
	char *from = strpbrk(text, bytes);

	if (from)
		hide(from + 1, from + strlen(from), '*');
}

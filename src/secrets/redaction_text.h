/*
 * redaction_text.h
 *		Hiding keys in the texts of statements and of the server log.
 *
 * Pure: neither throws nor allocates, since the server log's hook calls it.  All
 * texts are NUL-terminated and in the server's encoding, keep their length, and
 * are read a bounded number of times, whatever stands in them.
 */
#ifndef LLM_ROUTER_REDACTION_TEXT_H
#define LLM_ROUTER_REDACTION_TEXT_H

#include "postgres.h"

/* Whether a text names one of the functions that take a key. */
extern bool redaction_about_keys(const char *text);

/* Whether it does, or holds a word that begins like a known vendor's key. */
extern bool redaction_needed(const char *text);

/*
 * Hide, in place, what begins like a known vendor's key in the literals, quoted
 * names and comments of SQL, and with about_keys all of its literals.  Every
 * token stays where it is and of its kind, as pg_stat_statements needs it.
 * backslash_quotes: a backslash escapes in plain literals
 * (standard_conforming_strings is off).
 */
extern void redaction_hide_in_sql(char *text, bool about_keys, bool backslash_quotes);

/*
 * Hide, in place, what begins like a known vendor's key in a text for people,
 * which may hold SQL, whole or cut off, in whatever quotes.  With about_keys
 * also all from its first literal to its last, words that look like keys without
 * a prefix, and the parameters that pgaudit adds.  cut: the end of the text
 * may be missing.  True when the text has changed.
 */
extern bool redaction_hide_in_line(char *text, bool about_keys, bool cut);

/* Hide, in place, all that follows the first of these bytes. */
extern void redaction_hide_after(char *text, const char *bytes);

#endif /* LLM_ROUTER_REDACTION_TEXT_H */

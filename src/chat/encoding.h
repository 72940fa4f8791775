/*
 * encoding.h
 *		Text between the network (UTF-8, hostile) and the database encoding,
 *		without ever failing.
 */
#ifndef LLM_ROUTER_ENCODING_H
#define LLM_ROUTER_ENCODING_H

#include "postgres.h"

#include "lib/stringinfo.h"

/* U+FFFD, what stands for bytes that are not UTF-8. */
#define UTF8_REPLACEMENT "\xEF\xBF\xBD"
#define UTF8_REPLACEMENT_LENGTH 3

/*
 * Length of the well-formed UTF-8 sequence at "bytes" (RFC 3629), or, with
 * *valid false, of the bytes that one U+FFFD replaces (the maximal subpart, as
 * Unicode recommends).  At least 1; bytes < end.
 */
extern int	utf8_sequence(const unsigned char *bytes, const unsigned char *end,
						  bool *valid);

/*
 * Append well-formed UTF-8 in the database encoding, with '?' for characters
 * that it lacks.  A database in SQL_ASCII gets the UTF-8 bytes.
 *
 * For encodings other than these two the server looks its conversion up in the
 * catalog, so there has to be a transaction.
 */
extern void encoding_append_from_utf8(StringInfo out, const char *utf8, size_t length);

/*
 * Append text of the database as well-formed UTF-8.  What SQL_ASCII stores that
 * is no UTF-8 becomes U+FFFD.
 */
extern void encoding_append_as_utf8(StringInfo out, const char *string, size_t length);

/*
 * Make one line of text in the database encoding, in place: at most max_bytes,
 * cut between characters, control characters turned into spaces.  Returns text.
 */
extern char *encoding_clean_line(char *text, int max_bytes);

/* The same of the network's bytes, up to the first NUL.  palloc'd. */
extern char *encoding_line_from_network(const char *bytes, size_t length, int max_bytes);

#endif							/* LLM_ROUTER_ENCODING_H */

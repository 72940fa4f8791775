/*
 * json.h
 *		Reading, building and writing jsonb; turning hostile bytes into it.
 *
 * All JSON is PostgreSQL's own.  Nothing here throws for bad input.
 */
#ifndef LLM_ROUTER_JSON_H
#define LLM_ROUTER_JSON_H

#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/jsonb.h"

/* Deeper documents than this are refused before any parser recurses. */
#define JSON_MAX_DEPTH 100

/*
 * Parse bytes from the network.  What no parser takes, but an answer that was
 * paid for must not be lost for, is repaired: bytes that are not UTF-8, \u0000,
 * raw NULs and lone surrogates become U+FFFD, raw control characters in strings
 * are escaped, characters that the database encoding lacks become '?', a byte
 * order mark is skipped.
 *
 * NULL, with *problem set to a short static text, when the bytes are no JSON
 * document, nest deeper than JSON_MAX_DEPTH, hold a number whose exponent is
 * beyond 400 (a few bytes that would become 131,072 digits), or are more than
 * jsonb can hold.  The result is palloc'd in the current context.
 */
extern Jsonb *json_from_bytes(const char *bytes, size_t length,
							  const char **problem);

/* Member of an object, or NULL; also NULL when the container is no object. */
extern JsonbValue *json_member(JsonbContainer *object, const char *key);

/*
 * Member as a C string / as a container / as an integer / as a boolean.  The
 * string is palloc'd; NULL (or false) when it is absent or of another type.
 * json_member_int64 refuses fractions and what does not fit.
 */
extern char			  *json_member_string(JsonbContainer *object, const char *key);
extern JsonbContainer *json_member_object(JsonbContainer *object, const char *key);
extern JsonbContainer *json_member_array(JsonbContainer *object, const char *key);
extern bool			   json_member_int64(JsonbContainer *object, const char *key, int64 *value);
extern bool			   json_member_bool(JsonbContainer *object, const char *key, bool *value);

/* The same for a value; all but json_value_string take NULL. */
extern char			  *json_value_string(const JsonbValue *value);
extern JsonbContainer *json_value_object(const JsonbValue *value);
extern JsonbContainer *json_value_array(const JsonbValue *value);
extern bool			   json_value_int64(const JsonbValue *value, int64 *number);

/* Whether a value is there at all: neither NULL nor JSON's null. */
extern bool json_value_given(const JsonbValue *value);

/* Whether a value (or NULL) is a string that is not empty. */
extern bool json_value_filled(const JsonbValue *value);

/* Whether a value (or NULL) is this very string. */
extern bool json_value_is(const JsonbValue *value, const char *string);

/* The name of a value's JSON type, for messages: "an array", "a string", … */
extern const char *json_type_name(const JsonbValue *value);

/*
 * Walk the members of an object, or the elements of an array, without going
 * into them: each is a scalar or a container (jbvBinary).  Walk to the end, or
 * leave the iterator to its memory context.
 */
extern JsonbIterator *json_iterate(JsonbContainer *container);
extern bool			  json_next_member(JsonbIterator **iterator, JsonbValue *key, JsonbValue *value);
extern bool			  json_next_element(JsonbIterator **iterator, JsonbValue *element);

/*
 * Push a key, or a whole member, of the object under construction.  Strings are
 * in the database encoding and must outlive the building.
 */
extern void json_push_key(JsonbParseState **state, const char *key);
extern void json_push_member(JsonbParseState **state, const char *key, JsonbValue *value);
extern void json_push_string(JsonbParseState **state, const char *key,
							 const char *string, int length);
extern void json_push_int64(JsonbParseState **state, const char *key, int64 number);
extern void json_push_null(JsonbParseState **state, const char *key);
extern void json_push_jsonb(JsonbParseState **state, const char *key, Jsonb *jsonb);

/* Copy the members of an object, but for a NULL-terminated list of names. */
extern void json_push_members(JsonbParseState **state, JsonbContainer *object,
							  const char *const *except);

/*
 * Append JSON text to buf, encoded as UTF-8 whatever the database encoding is:
 * what is sent to a provider.
 */
extern void json_append_value(StringInfo buf, const JsonbValue *value);
extern void json_append_string(StringInfo buf, const char *string, int length);
extern void json_append_key(StringInfo buf, const JsonbValue *key); /* "key": */

#endif /* LLM_ROUTER_JSON_H */

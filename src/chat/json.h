/*
 * json.h
 *		Reading jsonb, and turning hostile bytes into jsonb.
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
 * Parse bytes from the network.  Invalid UTF-8, \u0000, lone surrogates and
 * characters that the database encoding lacks are replaced (U+FFFD, or '?'
 * where the encoding has none), because an answer that was paid for must be
 * delivered.  NULL, with *problem set to a short text, when the bytes are no
 * JSON document, nest deeper than JSON_MAX_DEPTH, or hold what jsonb cannot.
 * The result is palloc'd in the current context.
 */
extern Jsonb *json_from_bytes(const char *bytes, size_t length,
							  const char **problem);

/* Member of an object, or NULL; also NULL when the container is no object. */
extern JsonbValue *json_member(JsonbContainer *object, const char *key);

/*
 * Member as a C string / as a container / as an integer.  The string is
 * palloc'd; NULL (or false) when it is absent or of another type.
 * json_member_int64 refuses fractions and what does not fit.
 */
extern char *json_member_string(JsonbContainer *object, const char *key);
extern JsonbContainer *json_member_object(JsonbContainer *object, const char *key);
extern JsonbContainer *json_member_array(JsonbContainer *object, const char *key);
extern bool json_member_int64(JsonbContainer *object, const char *key, int64 *value);
extern bool json_member_bool(JsonbContainer *object, const char *key, bool *value);

/* A JsonbValue string as a palloc'd C string. */
extern char *json_value_string(const JsonbValue *value);

/* The name of a value's JSON type, for messages: "an array", "a string", … */
extern const char *json_type_name(const JsonbValue *value);

/*
 * Append JSON text to buf, encoded as UTF-8 whatever the database encoding is:
 * what is sent to a provider.
 */
extern void json_append_value(StringInfo buf, const JsonbValue *value);
extern void json_append_string(StringInfo buf, const char *string, int length);

#endif							/* LLM_ROUTER_JSON_H */

/*
 * json_writer.h
 *		Writing JSON text with the commas in the right places.
 *
 * Text goes out as UTF-8, whatever the database encoding is: it is what is sent
 * to a provider.  Whoever writes keeps the document well formed otherwise: an
 * object's values each follow a key, and what begins is ended.
 */
#ifndef LLM_ROUTER_JSON_WRITER_H
#define LLM_ROUTER_JSON_WRITER_H

#include "chat/json.h"

typedef struct JsonWriter
{
	StringInfo out;
	bool	   comma; /* before the next key or element */
} JsonWriter;

/* begin is '{' or '[', end is '}' or ']'. */
extern void json_write_begin(JsonWriter *writer, char begin);
extern void json_write_end(JsonWriter *writer, char end);
extern void json_write_key(JsonWriter *writer, const char *key);

/* A value, after a key or as an element. */
extern void json_write_value(JsonWriter *writer, const JsonbValue *value);
extern void json_write_container(JsonWriter *writer, JsonbContainer *container);
extern void json_write_string(JsonWriter *writer, const char *string, int length);
extern void json_write_int64(JsonWriter *writer, int64 number);
extern void json_write_bool(JsonWriter *writer, bool truth);

extern void json_write_text(JsonWriter *writer, const char *string); /* NUL-terminated */

/* Key and value. */
extern void json_write_member(JsonWriter *writer, const char *key, const JsonbValue *value);
extern void json_write_member_text(JsonWriter *writer, const char *key, const char *string);

#endif /* LLM_ROUTER_JSON_WRITER_H */

/*
 * json_schema.h
 *		JSON Schemas as providers take them.
 */
#ifndef LLM_ROUTER_JSON_SCHEMA_H
#define LLM_ROUTER_JSON_SCHEMA_H

#include "chat/json_writer.h"

/*
 * Write a schema that answers are decoded by: without the keywords that no
 * decoder keeps, oneOf as anyOf, every object closed, only known formats of
 * strings.  What is left out is told in the description, for the model to read.
 */
extern void json_schema_write_closed(JsonWriter *writer, JsonbContainer *schema);

/*
 * Write the schema of a tool's input, which has to be an object, and not to be
 * put together at its top level; schema may be NULL.  With closed, also as above.
 */
extern void json_schema_write_input(JsonWriter *writer, JsonbContainer *schema, bool closed);

#endif /* LLM_ROUTER_JSON_SCHEMA_H */

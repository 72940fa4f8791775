/*
 * json_writer.c
 *		Writing JSON text with the commas in the right places.
 */
#include "chat/json_writer.h"

static void
separate(JsonWriter *writer)
{
	if (writer->comma)
		appendStringInfoCharMacro(writer->out, ',');
	writer->comma = true;
}

void
json_write_begin(JsonWriter *writer, char begin)
{
	separate(writer);
	appendStringInfoCharMacro(writer->out, begin);
	writer->comma = false;
}

void
json_write_end(JsonWriter *writer, char end)
{
	appendStringInfoCharMacro(writer->out, end);
	writer->comma = true;
}

void
json_write_key(JsonWriter *writer, const char *key)
{
	separate(writer);
	json_append_string(writer->out, key, (int) strlen(key));
	appendStringInfoCharMacro(writer->out, ':');
	writer->comma = false;
}

void
json_write_value(JsonWriter *writer, const JsonbValue *value)
{
	separate(writer);
	json_append_value(writer->out, value);
}

void
json_write_container(JsonWriter *writer, JsonbContainer *container)
{
	JsonbValue value = { .type = jbvBinary };

	value.val.binary.data = container;
	json_write_value(writer, &value);
}

void
json_write_string(JsonWriter *writer, const char *string, int length)
{
	separate(writer);
	json_append_string(writer->out, string, length);
}

void
json_write_text(JsonWriter *writer, const char *string)
{
	json_write_string(writer, string, (int) strlen(string));
}

void
json_write_int64(JsonWriter *writer, int64 number)
{
	separate(writer);
	appendStringInfo(writer->out, INT64_FORMAT, number);
}

void
json_write_bool(JsonWriter *writer, bool truth)
{
	separate(writer);
	appendStringInfoString(writer->out, truth ? "true" : "false");
}

void
json_write_member(JsonWriter *writer, const char *key, const JsonbValue *value)
{
	json_write_key(writer, key);
	json_write_value(writer, value);
}

void
json_write_member_text(JsonWriter *writer, const char *key, const char *string)
{
	json_write_key(writer, key);
	json_write_text(writer, string);
}

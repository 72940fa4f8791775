/*
 * json.c
 *		Reading jsonb, building it, and writing it as UTF-8 text.
 *
 * Members are found by binary search in place; nothing is copied but what the
 * caller keeps.
 */
#include "chat/json.h"

#include "base/encoding.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

JsonbValue *
json_member(JsonbContainer *object, const char *key)
{
	if (!JsonContainerIsObject(object))
		return NULL;
	return getKeyJsonValueFromContainer(object, key, (int) strlen(key), NULL);
}

char *
json_value_string(const JsonbValue *value)
{
	return pnstrdup(value->val.string.val, value->val.string.len);
}

char *
json_member_string(JsonbContainer *object, const char *key)
{
	JsonbValue *value = json_member(object, key);

	return value && value->type == jbvString ? json_value_string(value) : NULL;
}

bool
json_value_is(const JsonbValue *value, const char *string)
{
	return value && value->type == jbvString &&
		   value->val.string.len == (int) strlen(string) &&
		   memcmp(value->val.string.val, string, value->val.string.len) == 0;
}

bool
json_value_given(const JsonbValue *value)
{
	return value && value->type != jbvNull;
}

bool
json_value_filled(const JsonbValue *value)
{
	return value && value->type == jbvString && value->val.string.len > 0;
}

JsonbContainer *
json_value_object(const JsonbValue *value)
{
	if (value && value->type == jbvBinary && JsonContainerIsObject(value->val.binary.data))
		return value->val.binary.data;
	return NULL;
}

JsonbContainer *
json_value_array(const JsonbValue *value)
{
	if (value && value->type == jbvBinary && JsonContainerIsArray(value->val.binary.data))
		return value->val.binary.data;
	return NULL;
}

JsonbContainer *
json_member_object(JsonbContainer *object, const char *key)
{
	return json_value_object(json_member(object, key));
}

JsonbContainer *
json_member_array(JsonbContainer *object, const char *key)
{
	return json_value_array(json_member(object, key));
}

bool
json_value_int64(const JsonbValue *value, int64 *number)
{
	char *text;
	char *end;
	bool  whole;

	if (value == NULL || value->type != jbvNumeric)
		return false;

	/* numeric_int8 would throw, and round. */
	text = DatumGetCString(DirectFunctionCall1(numeric_out,
											   NumericGetDatum(value->val.numeric)));
	errno = 0;
	*number = strtoll(text, &end, 10);
	if (*end == '.')
		end += 1 + strspn(end + 1, "0");
	whole = errno == 0 && end != text && *end == '\0';
	pfree(text);
	return whole;
}

bool
json_member_int64(JsonbContainer *object, const char *key, int64 *value)
{
	return json_value_int64(json_member(object, key), value);
}

bool
json_member_bool(JsonbContainer *object, const char *key, bool *value)
{
	JsonbValue *member = json_member(object, key);

	if (member == NULL || member->type != jbvBool)
		return false;
	*value = member->val.boolean;
	return true;
}

const char *
json_type_name(const JsonbValue *value)
{
	switch (value->type)
	{
		case jbvNull:
			return "null";
		case jbvString:
			return "a string";
		case jbvNumeric:
			return "a number";
		case jbvBool:
			return "a boolean";
		default:
			return json_value_object(value) ? "an object" : "an array";
	}
}

/*
 * Reading
 */

JsonbIterator *
json_iterate(JsonbContainer *container)
{
	JsonbIterator *iterator = JsonbIteratorInit(container);
	JsonbValue	   start;

	JsonbIteratorNext(&iterator, &start, true);
	return iterator;
}

bool
json_next_member(JsonbIterator **iterator, JsonbValue *key, JsonbValue *value)
{
	if (JsonbIteratorNext(iterator, key, true) != WJB_KEY)
		return false;
	JsonbIteratorNext(iterator, value, true);
	return true;
}

bool
json_next_element(JsonbIterator **iterator, JsonbValue *element)
{
	return JsonbIteratorNext(iterator, element, true) == WJB_ELEM;
}

/*
 * Building
 */

void
json_push_key(JsonbParseState **state, const char *key)
{
	JsonbValue value;

	value.type = jbvString;
	value.val.string.val = (char *) key;
	value.val.string.len = (int) strlen(key);
	pushJsonbValue(state, WJB_KEY, &value);
}

void
json_push_member(JsonbParseState **state, const char *key, JsonbValue *value)
{
	json_push_key(state, key);
	pushJsonbValue(state, WJB_VALUE, value);
}

void
json_push_string(JsonbParseState **state, const char *key, const char *string, int length)
{
	JsonbValue value;

	value.type = jbvString;
	value.val.string.val = (char *) string;
	value.val.string.len = length;
	json_push_member(state, key, &value);
}

void
json_push_int64(JsonbParseState **state, const char *key, int64 number)
{
	JsonbValue value;

	value.type = jbvNumeric;
	value.val.numeric = int64_to_numeric(number);
	json_push_member(state, key, &value);
}

void
json_push_null(JsonbParseState **state, const char *key)
{
	JsonbValue value;

	value.type = jbvNull;
	json_push_member(state, key, &value);
}

void
json_push_jsonb(JsonbParseState **state, const char *key, Jsonb *jsonb)
{
	JsonbValue value;

	value.type = jbvBinary;
	value.val.binary.data = &jsonb->root;
	value.val.binary.len = VARSIZE(jsonb) - VARHDRSZ;
	json_push_member(state, key, &value);
}

void
json_push_members(JsonbParseState **state, JsonbContainer *object, const char *const *except)
{
	JsonbIterator *iterator = json_iterate(object);
	JsonbValue	   key;
	JsonbValue	   value;

	while (json_next_member(&iterator, &key, &value))
	{
		const char *const *name = except;

		while (*name && !json_value_is(&key, *name))
			name++;
		if (*name)
			continue;
		pushJsonbValue(state, WJB_KEY, &key);
		pushJsonbValue(state, WJB_VALUE, &value);
	}
}

/*
 * Writing
 */

void
json_append_string(StringInfo buf, const char *string, int length)
{
	static const char hex[] = "0123456789abcdef";
	const char		 *end = string + length;
	const char		 *copied = string;

	appendStringInfoCharMacro(buf, '"');
	for (const char *at = string; at < end; at++)
	{
		unsigned char c = (unsigned char) *at;

		if (c >= ' ' && c != '"' && c != '\\')
			continue;
		encoding_append_as_utf8(buf, copied, at - copied);
		copied = at + 1;
		if (c == '\n')
			appendBinaryStringInfo(buf, "\\n", 2);
		else if (c >= ' ')
		{
			appendStringInfoCharMacro(buf, '\\');
			appendStringInfoCharMacro(buf, (char) c);
		}
		else
		{
			appendBinaryStringInfo(buf, "\\u00", 4);
			appendStringInfoCharMacro(buf, hex[c >> 4]);
			appendStringInfoCharMacro(buf, hex[c & 15]);
		}
	}
	encoding_append_as_utf8(buf, copied, end - copied);
	appendStringInfoCharMacro(buf, '"');
}

void
json_append_key(StringInfo buf, const JsonbValue *key)
{
	json_append_string(buf, key->val.string.val, key->val.string.len);
	appendStringInfoCharMacro(buf, ':');
}

static void
append_container(StringInfo buf, JsonbContainer *container)
{
	JsonbIterator *iterator = json_iterate(container);
	JsonbValue	   key;
	JsonbValue	   value;
	const char	  *separator = "";

	/* jsonb values that SQL made can nest deeper than JSON_MAX_DEPTH. */
	check_stack_depth();

	if (JsonContainerIsObject(container))
	{
		appendStringInfoCharMacro(buf, '{');
		while (json_next_member(&iterator, &key, &value))
		{
			appendStringInfoString(buf, separator);
			json_append_key(buf, &key);
			json_append_value(buf, &value);
			separator = ",";
		}
		appendStringInfoCharMacro(buf, '}');
		return;
	}
	appendStringInfoCharMacro(buf, '[');
	while (json_next_element(&iterator, &value))
	{
		appendStringInfoString(buf, separator);
		json_append_value(buf, &value);
		separator = ",";
	}
	appendStringInfoCharMacro(buf, ']');
}

void
json_append_value(StringInfo buf, const JsonbValue *value)
{
	switch (value->type)
	{
		case jbvNull:
			appendBinaryStringInfo(buf, "null", 4);
			break;
		case jbvBool:
			appendStringInfoString(buf, value->val.boolean ? "true" : "false");
			break;
		case jbvString:
			json_append_string(buf, value->val.string.val, value->val.string.len);
			break;
		case jbvNumeric:
		{
			Datum number = NumericGetDatum(value->val.numeric);
			char *text = DatumGetCString(DirectFunctionCall1(numeric_out, number));

			appendStringInfoString(buf, text);
			pfree(text);
			break;
		}
		default:
			append_container(buf, value->val.binary.data);
	}
}

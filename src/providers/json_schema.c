/*
 * json_schema.c
 *		JSON Schemas as providers take them.
 *
 * One walk over the schema writes it.  What has to be left out is collected into
 * an object of its own, whose text ends the description: the decoder does not
 * keep it, but the model reads it.
 */
#include "providers/json_schema.h"

#include "miscadmin.h"

typedef struct SchemaWriter
{
	JsonWriter *json;
	bool		closed; /* at every level; else only the root is changed */
} SchemaWriter;

/* What is done with a member of a schema. */
typedef enum KeywordAction
{
	KEYWORD_KEPT,
	KEYWORD_SCHEMAS,	/* a schema, or an array of them */
	KEYWORD_SCHEMA_MAP, /* an object of schemas */
	KEYWORD_ONE_OF,		/* is written as anyOf */
	KEYWORD_FORMAT,		/* some are kept */
	KEYWORD_TOLD,		/* goes into the description */
	KEYWORD_LEFT_OUT,	/* says nothing to a model, or is written in another way */
	KEYWORD_DESCRIPTION /* is written when all is known */
} KeywordAction;

static const struct
{
	const char	 *name;
	KeywordAction action;
} keywords[] = {
	{ "$comment", KEYWORD_LEFT_OUT },
	{ "$defs", KEYWORD_SCHEMA_MAP },
	{ "$id", KEYWORD_LEFT_OUT },
	{ "$schema", KEYWORD_LEFT_OUT },
	{ "additionalProperties", KEYWORD_LEFT_OUT }, /* false is written for every object */
	{ "allOf", KEYWORD_SCHEMAS },
	{ "anyOf", KEYWORD_SCHEMAS },
	{ "contains", KEYWORD_TOLD },
	{ "definitions", KEYWORD_SCHEMA_MAP },
	{ "dependentRequired", KEYWORD_TOLD },
	{ "dependentSchemas", KEYWORD_TOLD },
	{ "else", KEYWORD_TOLD },
	{ "exclusiveMaximum", KEYWORD_TOLD },
	{ "exclusiveMinimum", KEYWORD_TOLD },
	{ "format", KEYWORD_FORMAT },
	{ "if", KEYWORD_TOLD },
	{ "items", KEYWORD_SCHEMAS },
	{ "maxContains", KEYWORD_TOLD },
	{ "maxItems", KEYWORD_TOLD },
	{ "maxLength", KEYWORD_TOLD },
	{ "maxProperties", KEYWORD_TOLD },
	{ "maximum", KEYWORD_TOLD },
	{ "minContains", KEYWORD_TOLD },
	{ "minItems", KEYWORD_TOLD },
	{ "minLength", KEYWORD_TOLD },
	{ "minProperties", KEYWORD_TOLD },
	{ "minimum", KEYWORD_TOLD },
	{ "multipleOf", KEYWORD_TOLD },
	{ "not", KEYWORD_TOLD },
	{ "oneOf", KEYWORD_ONE_OF },
	{ "pattern", KEYWORD_TOLD },
	{ "patternProperties", KEYWORD_TOLD },
	{ "prefixItems", KEYWORD_TOLD },
	{ "properties", KEYWORD_SCHEMA_MAP },
	{ "propertyNames", KEYWORD_TOLD },
	{ "then", KEYWORD_TOLD },
	{ "unevaluatedItems", KEYWORD_TOLD },
	{ "unevaluatedProperties", KEYWORD_TOLD },
	{ "uniqueItems", KEYWORD_TOLD },
};

/* The formats of strings that decoders know. */
static const char *const string_formats[] = {
	"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"
};

static KeywordAction
action_of(const JsonbValue *name, bool closed, bool is_root)
{
	static const char *const combining[] = { "anyOf", "oneOf", "allOf" };

	if (json_value_is(name, "description"))
		return KEYWORD_DESCRIPTION;
	if (is_root && json_value_is(name, "type"))
		return KEYWORD_LEFT_OUT; /* it is "object" */
	for (int i = 0; is_root && i < (int) lengthof(combining); i++)
		if (json_value_is(name, combining[i]))
			return KEYWORD_TOLD;
	for (int i = 0; closed && i < (int) lengthof(keywords); i++)
		if (json_value_is(name, keywords[i].name))
			return keywords[i].action;
	return KEYWORD_KEPT;
}

static bool
is_known_format(const JsonbValue *format)
{
	for (int i = 0; i < (int) lengthof(string_formats); i++)
		if (json_value_is(format, string_formats[i]))
			return true;
	return false;
}

/* Whether a schema speaks of objects: by its type, or one of them, or its properties. */
static bool
is_of_objects(JsonbContainer *schema)
{
	JsonbValue	   *type = json_member(schema, "type");
	JsonbContainer *types = json_value_array(type);
	JsonbValue		object = { .type = jbvString };

	object.val.string.val = (char *) "object";
	object.val.string.len = 6;
	return json_value_is(type, "object") || json_member(schema, "properties") ||
		   (types && findJsonbValueFromContainer(types, JB_FARRAY, &object));
}

static void write_schema(SchemaWriter *writer, JsonbContainer *schema, bool is_root);

/* A schema, or true, or what is none. */
static void
write_subschema(SchemaWriter *writer, const JsonbValue *value)
{
	if (json_value_object(value))
		write_schema(writer, json_value_object(value), false);
	else
		json_write_value(writer->json, value);
}

static void
write_schemas(SchemaWriter *writer, const JsonbValue *value)
{
	JsonbContainer *array = json_value_array(value);
	JsonbIterator  *iterator = array ? json_iterate(array) : NULL;
	JsonbValue		element;

	if (array == NULL)
	{
		write_subschema(writer, value);
		return;
	}
	json_write_begin(writer->json, '[');
	while (json_next_element(&iterator, &element))
		write_subschema(writer, &element);
	json_write_end(writer->json, ']');
}

static void
write_schema_map(SchemaWriter *writer, const JsonbValue *value)
{
	JsonbContainer *object = json_value_object(value);
	JsonbIterator  *iterator = object ? json_iterate(object) : NULL;
	JsonbValue		name;
	JsonbValue		schema;

	if (object == NULL)
	{
		json_write_value(writer->json, value);
		return;
	}
	json_write_begin(writer->json, '{');
	while (json_next_member(&iterator, &name, &schema))
	{
		json_write_key(writer->json, json_value_string(&name));
		write_subschema(writer, &schema);
	}
	json_write_end(writer->json, '}');
}

/* Keep for the description what is not written. */
static void
tell(JsonbParseState **told, JsonbValue *name, JsonbValue *value)
{
	if (*told == NULL)
		pushJsonbValue(told, WJB_BEGIN_OBJECT, NULL);
	pushJsonbValue(told, WJB_KEY, name);
	pushJsonbValue(told, WJB_VALUE, value);
}

static void
write_description(SchemaWriter *writer, const JsonbValue *description, JsonbParseState *told)
{
	StringInfoData text;
	Jsonb		  *rest;

	if (told == NULL)
	{
		if (description)
			json_write_member(writer->json, "description", description);
		return;
	}
	rest = JsonbValueToJsonb(pushJsonbValue(&told, WJB_END_OBJECT, NULL));
	initStringInfo(&text);
	if (json_value_filled(description))
	{
		appendBinaryStringInfo(&text, description->val.string.val, description->val.string.len);
		appendStringInfoCharMacro(&text, '\n');
	}
	appendStringInfoString(&text, "Must satisfy the JSON Schema ");
	JsonbToCString(&text, &rest->root, VARSIZE(rest));
	json_write_key(writer->json, "description");
	json_write_string(writer->json, text.data, text.len);
}

static void
write_keyword(SchemaWriter *writer, JsonbContainer *schema, KeywordAction action, JsonbValue *name,
			  JsonbValue *value, JsonbParseState **told)
{
	if (action == KEYWORD_TOLD ||
		(action == KEYWORD_FORMAT && !is_known_format(value)) ||
		(action == KEYWORD_ONE_OF && json_member(schema, "anyOf")))
	{
		tell(told, name, value);
		return;
	}
	json_write_key(writer->json, action == KEYWORD_ONE_OF ? "anyOf" : json_value_string(name));
	if (action == KEYWORD_SCHEMAS || action == KEYWORD_ONE_OF)
		write_schemas(writer, value);
	else if (action == KEYWORD_SCHEMA_MAP)
		write_schema_map(writer, value);
	else
		json_write_value(writer->json, value);
}

static void
write_schema(SchemaWriter *writer, JsonbContainer *schema, bool is_root)
{
	JsonbIterator	*iterator = json_iterate(schema);
	JsonbParseState *told = NULL;
	JsonbValue		 name;
	JsonbValue		 value;

	/* jsonb values that SQL made can nest deeper than JSON_MAX_DEPTH. */
	check_stack_depth();

	json_write_begin(writer->json, '{');
	if (is_root)
		json_write_member_text(writer->json, "type", "object");
	while (json_next_member(&iterator, &name, &value))
	{
		KeywordAction action = action_of(&name, writer->closed, is_root);

		if (action != KEYWORD_LEFT_OUT && action != KEYWORD_DESCRIPTION)
			write_keyword(writer, schema, action, &name, &value, &told);
	}
	write_description(writer, json_member(schema, "description"), told);
	if (writer->closed && (is_root || is_of_objects(schema)))
	{
		json_write_key(writer->json, "additionalProperties");
		json_write_bool(writer->json, false);
	}
	json_write_end(writer->json, '}');
}

void
json_schema_write_closed(JsonWriter *writer, JsonbContainer *schema)
{
	SchemaWriter schema_writer = { writer, true };

	write_schema(&schema_writer, schema, false);
}

void
json_schema_write_input(JsonWriter *writer, JsonbContainer *schema, bool closed)
{
	SchemaWriter schema_writer = { writer, closed };

	if (schema)
	{
		write_schema(&schema_writer, schema, true);
		return;
	}
	json_write_begin(writer, '{');
	json_write_member_text(writer, "type", "object");
	json_write_key(writer, "properties");
	json_write_begin(writer, '{');
	json_write_end(writer, '}');
	if (closed)
	{
		json_write_key(writer, "additionalProperties");
		json_write_bool(writer, false);
	}
	json_write_end(writer, '}');
}

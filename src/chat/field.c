/*
 * field.c
 *		Paths in the caller's JSON, and checks of values against a table.
 */
#include "chat/field.h"

#include "chat/json.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

/* Names in messages are the caller's: so much of them is shown. */
#define MAX_SHOWN_NAME 64

/* A table of at most so many names is listed in the hint. */
#define MAX_LISTED_NAMES 10

FieldPath
field_member(const FieldPath *parent, const char *member)
{
	FieldPath path = { parent, member, (int) strlen(member), 0 };

	return path;
}

FieldPath
field_element(const FieldPath *parent, int index)
{
	FieldPath path = { parent, NULL, 0, index };

	return path;
}

static void
append_path(StringInfo text, const FieldPath *path)
{
	if (path->parent)
		append_path(text, path->parent);
	if (path->member)
		appendStringInfo(text, "%s%.*s", text->len > 0 ? "." : "",
						 pg_mbcliplen(path->member, path->member_length, MAX_SHOWN_NAME),
						 path->member);
	else
		appendStringInfo(text, "[%d]", path->index);
}

bool
field_invalid(LlmError *error, const FieldPath *path, const char *format, ...)
{
	StringInfoData text;

	initStringInfo(&text);
	append_path(&text, path);
	appendStringInfoString(&text, ": ");
	for (;;)
	{
		va_list args;
		int		needed;

		va_start(args, format);
		needed = appendStringInfoVA(&text, format, args);
		va_end(args);
		if (needed == 0)
			break;
		enlargeStringInfo(&text, needed);
	}
	return error_set(error, ERRCODE_INVALID_PARAMETER_VALUE, "%s", text.data);
}

static int
type_of(const JsonbValue *value)
{
	int64 number;

	switch (value->type)
	{
		case jbvString:
			return FIELD_STRING;
		case jbvBool:
			return FIELD_BOOLEAN;
		case jbvNumeric:
			return json_value_int64(value, &number) ? FIELD_INTEGER | FIELD_NUMBER : FIELD_NUMBER;
		case jbvBinary:
			return json_value_object(value) ? FIELD_OBJECT : FIELD_ARRAY;
		default:
			return 0;
	}
}

/* "a string or an array" */
static char *
type_names(int types)
{
	static const struct
	{
		int			type;
		const char *name;
	} names[] = {
		{ FIELD_STRING, "a string" },
		{ FIELD_NUMBER, "a number" },
		{ FIELD_INTEGER, "an integer" },
		{ FIELD_BOOLEAN, "true or false" },
		{ FIELD_OBJECT, "an object" },
		{ FIELD_ARRAY, "an array" },
	};
	StringInfoData text;

	initStringInfo(&text);
	for (int i = 0; i < (int) lengthof(names); i++)
		if (types & names[i].type)
			appendStringInfo(&text, "%s%s", text.len > 0 ? " or " : "", names[i].name);
	return text.data;
}

static int
compare_to_int64(Numeric number, int64 bound)
{
	return DatumGetInt32(DirectFunctionCall2(numeric_cmp, NumericGetDatum(number),
											 NumericGetDatum(int64_to_numeric(bound))));
}

static bool
check_range(const FieldRule *rule, const JsonbValue *value,
			const FieldPath *path, LlmError *error)
{
	Numeric number = value->val.numeric;

	if (compare_to_int64(number, rule->minimum) >= 0 &&
		compare_to_int64(number, rule->maximum) <= 0)
		return true;
	if (rule->maximum == PG_INT64_MAX)
		return field_invalid(error, path, "must be at least " INT64_FORMAT, rule->minimum);
	return field_invalid(error, path, "must be from " INT64_FORMAT " to " INT64_FORMAT,
						 rule->minimum, rule->maximum);
}

static bool
check_choice(const FieldRule *rule, const JsonbValue *value,
			 const FieldPath *path, LlmError *error)
{
	StringInfoData valid;

	for (const char *const *choice = rule->choices; *choice; choice++)
		if (json_value_is(value, *choice))
			return true;

	initStringInfo(&valid);
	for (const char *const *choice = rule->choices; *choice; choice++)
		appendStringInfo(&valid, "%s\"%s\"", valid.len > 0 ? ", " : "", *choice);
	return field_invalid(error, path, "must be one of %s", valid.data);
}

bool
field_check(const FieldRule *rule, const JsonbValue *value,
			const FieldPath *path, LlmError *error)
{
	int type = type_of(value);

	if ((type & rule->types) == 0)
	{
		if (value->type == jbvNumeric && (rule->types & FIELD_INTEGER))
			return field_invalid(error, path, "must be an integer");
		return field_invalid(error, path, "must be %s, not %s", type_names(rule->types),
							 json_type_name(value));
	}
	if (rule->ranged && (type & FIELD_NUMBER) && !check_range(rule, value, path, error))
		return false;
	if (rule->choices && type == FIELD_STRING && !check_choice(rule, value, path, error))
		return false;
	return rule->check == NULL || rule->check(value, path, error);
}

static char *
joined_names(const char *const *names, int nnames)
{
	StringInfoData text;

	initStringInfo(&text);
	for (int i = 0; i < nnames; i++)
		appendStringInfo(&text, "%s%s", i > 0 ? ", " : "", names[i]);
	return text.data;
}

static bool
unknown_member(const FieldRule *rules, int nrules, const FieldPath *path, LlmError *error)
{
	const char **names = palloc(sizeof(char *) * nrules);
	const char	*nearest;

	for (int i = 0; i < nrules; i++)
		names[i] = rules[i].name;
	nearest = error_nearest(pnstrdup(path->member, path->member_length), names, nrules);
	field_invalid(error, path, "unknown option");
	if (nearest)
		error_hint(error, "Did you mean \"%s\"?", nearest);
	else if (nrules <= MAX_LISTED_NAMES)
		error_hint(error, "Available options: %s.", joined_names(names, nrules));
	else
		error_hint(error, "Parameters of one provider alone go into options.router.extra.");
	return false;
}

bool
field_check_object(const FieldRule *rules, int nrules, JsonbContainer *object,
				   const FieldPath *path, LlmError *error)
{
	JsonbIterator *iterator = json_iterate(object);
	JsonbValue	   key;
	JsonbValue	   value;

	while (json_next_member(&iterator, &key, &value))
	{
		const FieldRule *rule = NULL;
		FieldPath		 member = { path, key.val.string.val, key.val.string.len, 0 };

		for (int i = 0; i < nrules && rule == NULL; i++)
			if (json_value_is(&key, rules[i].name))
				rule = &rules[i];
		if (rule == NULL)
			return unknown_member(rules, nrules, &member, error);
		if (value.type != jbvNull && !field_check(rule, &value, &member, error))
			return false;
	}
	return true;
}

bool
field_require_string(JsonbContainer *object, const char *name, const FieldPath *path,
					 JsonbValue **value, LlmError *error)
{
	FieldPath member = field_member(path, name);

	*value = json_member(object, name);
	if (*value == NULL || (*value)->type == jbvNull)
		return field_invalid(error, &member, "is missing");
	if ((*value)->type != jbvString)
		return field_invalid(error, &member, "must be a string, not %s", json_type_name(*value));
	if ((*value)->val.string.len == 0)
		return field_invalid(error, &member, "must not be empty");
	return true;
}

bool
field_require_object(JsonbContainer *object, const char *name, const FieldPath *path,
					 JsonbContainer **value, LlmError *error)
{
	FieldPath	member = field_member(path, name);
	JsonbValue *found = json_member(object, name);

	if (found == NULL || found->type == jbvNull)
		return field_invalid(error, &member, "is missing");
	*value = json_value_object(found);
	if (*value == NULL)
		return field_invalid(error, &member, "must be an object, not %s", json_type_name(found));
	return true;
}

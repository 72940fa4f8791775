/*
 * parameters.c
 *		A request's parameters for formats that know them by other names.
 */
#include "providers/parameters.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"

JsonbValue *
parameter(const ChatRequest *request, const char *name)
{
	JsonbValue *value = json_member(&request->params->root, name);

	return json_value_given(value) ? value : NULL;
}

/* ------------------------------------------------------------------------
 * What need not be said
 * ------------------------------------------------------------------------
 */

static bool
has_elements(const JsonbValue *value)
{
	JsonbContainer *container = json_value_array(value);

	if (container == NULL)
		container = json_value_object(value);
	return container && JsonContainerSize(container) > 0;
}

static bool
has_tools(const ChatRequest *request)
{
	return has_elements(parameter(request, "tools")) || has_elements(parameter(request, "functions"));
}

static bool
is_number(const JsonbValue *value, int64 wanted)
{
	int64 number;

	return json_value_int64(value, &number) && number == wanted;
}

static bool
is_bool(const JsonbValue *value, bool wanted)
{
	return value->type == jbvBool && value->val.boolean == wanted;
}

bool
parameter_is_idle(const ChatRequest *request, const JsonbValue *name, const JsonbValue *value)
{
	static const char *const of_tools[] = { "tool_choice", "parallel_tool_calls", "function_call" };
	static const char *const zeros[] = { "presence_penalty", "frequency_penalty" };
	static const char *const falsehoods[] = { "logprobs", "store" };

	if (!json_value_given(value))
		return true;
	for (int i = 0; i < (int) lengthof(of_tools); i++)
		if (json_value_is(name, of_tools[i]) && !has_tools(request))
			return true;
	for (int i = 0; i < (int) lengthof(zeros); i++)
		if (json_value_is(name, zeros[i]) && is_number(value, 0))
			return true;
	for (int i = 0; i < (int) lengthof(falsehoods); i++)
		if (json_value_is(name, falsehoods[i]) && is_bool(value, false))
			return true;
	if (json_value_is(name, "n"))
		return is_number(value, 1);
	if (json_value_is(name, "parallel_tool_calls"))
		return is_bool(value, true);
	if (json_value_is(name, "top_logprobs"))
		return is_number(value, 0);
	if (json_value_is(name, "tools") || json_value_is(name, "functions") ||
		json_value_is(name, "logit_bias"))
		return !has_elements(value);
	if (json_value_is(name, "response_format"))
		return parameter_response_format(request, NULL, NULL) == RESPONSE_TEXT;
	return false;
}

void
parameters_note_dropped(const ChatRequest *request, const char *const *read, WireRequest *wire)
{
	JsonbIterator *iterator = json_iterate(&request->params->root);
	JsonbValue	   name;
	JsonbValue	   value;

	while (json_next_member(&iterator, &name, &value))
	{
		const char *const *known = read;

		while (*known && !json_value_is(&name, *known))
			known++;
		if (*known == NULL && !parameter_is_idle(request, &name, &value))
			wire_request_dropped(wire, json_value_string(&name));
	}
}

/* ------------------------------------------------------------------------
 * Parameters that several formats have
 * ------------------------------------------------------------------------
 */

static Numeric
decimal(const char *text)
{
	return DatumGetNumeric(DirectFunctionCall3(numeric_in, CStringGetDatum(text),
											   ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
}

/* Whether a is less than b. */
static bool
is_less(Numeric a, Numeric b)
{
	return DatumGetBool(DirectFunctionCall2(numeric_lt, NumericGetDatum(a), NumericGetDatum(b)));
}

void
parameter_write_number(const ChatRequest *request, const char *name, const char *minimum,
					   const char *maximum, const char *name_as_sent, JsonWriter *writer,
					   WireRequest *wire)
{
	JsonbValue *given = parameter(request, name);
	JsonbValue	number;

	if (given == NULL || given->type != jbvNumeric || parameter_in_extra(request, name_as_sent))
		return;
	number = *given;
	if (minimum && is_less(number.val.numeric, decimal(minimum)))
		number.val.numeric = decimal(minimum);
	if (maximum && is_less(decimal(maximum), number.val.numeric))
		number.val.numeric = decimal(maximum);
	if (number.val.numeric != given->val.numeric)
		wire_request_adjusted(wire, name);
	json_write_member(writer, name_as_sent, &number);
}

static bool
is_blank(const JsonbValue *string)
{
	for (int i = 0; i < string->val.string.len; i++)
		if (!isspace((unsigned char) string->val.string.val[i]))
			return false;
	return true;
}

void
parameter_write_stop(const ChatRequest *request, const char *name_as_sent, int max,
					 bool without_blank, JsonWriter *writer, WireRequest *wire)
{
	JsonbValue	   *stop = parameter(request, "stop");
	JsonbContainer *array = json_value_array(stop);
	JsonbIterator  *iterator = array ? json_iterate(array) : NULL;
	JsonbValue		element;
	int				written = 0;

	if (stop == NULL || parameter_in_extra(request, name_as_sent))
		return;
	if (array == NULL)
		element = *stop;
	while (array == NULL || json_next_element(&iterator, &element))
	{
		if (element.val.string.len == 0 || (without_blank && is_blank(&element)) || written == max)
			wire_request_adjusted(wire, "stop");
		else
		{
			if (written++ == 0)
			{
				json_write_key(writer, name_as_sent);
				json_write_begin(writer, '[');
			}
			json_write_value(writer, &element);
		}
		if (array == NULL)
			break;
	}
	if (written > 0)
		json_write_end(writer, ']');
}

ReasoningEffort
parameter_reasoning_effort(const ChatRequest *request)
{
	static const char *const names[] = {
		[EFFORT_NONE] = "none",
		[EFFORT_MINIMAL] = "minimal",
		[EFFORT_LOW] = "low",
		[EFFORT_MEDIUM] = "medium",
		[EFFORT_HIGH] = "high",
		[EFFORT_XHIGH] = "xhigh",
		[EFFORT_MAX] = "max",
	};
	JsonbValue	   *effort = parameter(request, "reasoning_effort");
	JsonbContainer *reasoning = json_value_object(parameter(request, "reasoning"));

	if (effort == NULL && reasoning)
		effort = json_member(reasoning, "effort");
	for (int i = EFFORT_NONE; i < (int) lengthof(names); i++)
		if (json_value_is(effort, names[i]))
			return (ReasoningEffort) i;
	return EFFORT_UNSET;
}

const char *
parameter_of_reasoning(const ChatRequest *request)
{
	return parameter(request, "reasoning") && !parameter(request, "reasoning_effort")
			   ? "reasoning"
			   : "reasoning_effort";
}

bool
parameter_limits_top_k(const ChatRequest *request)
{
	int64 top_k = 0;

	json_value_int64(parameter(request, "top_k"), &top_k);
	return top_k > 0;
}

ResponseFormat
parameter_response_format(const ChatRequest *request, JsonbContainer **schema, char **name)
{
	JsonbContainer *format = json_value_object(parameter(request, "response_format"));
	JsonbValue	   *type = format ? json_member(format, "type") : NULL;
	JsonbContainer *json_schema;

	if (json_value_is(type, "json_object"))
		return RESPONSE_JSON_OBJECT;
	if (!json_value_is(type, "json_schema"))
		return RESPONSE_TEXT;
	json_schema = json_member_object(format, "json_schema");
	if (schema)
		*schema = json_member_object(json_schema, "schema");
	if (name)
		*name = json_member_string(json_schema, "name");
	return RESPONSE_JSON_SCHEMA;
}

/* ------------------------------------------------------------------------
 * options.router.extra
 * ------------------------------------------------------------------------
 */

bool
parameter_in_extra(const ChatRequest *request, const char *name_as_sent)
{
	return request->router.extra && json_member(&request->router.extra->root, name_as_sent);
}

void
parameters_write_extra(const ChatRequest *request, const char *const *written, JsonWriter *writer)
{
	JsonbIterator *iterator;
	JsonbValue	   name;
	JsonbValue	   value;

	if (request->router.extra == NULL)
		return;
	iterator = json_iterate(&request->router.extra->root);
	while (json_next_member(&iterator, &name, &value))
	{
		const char *const *known = written;

		while (known && *known && !json_value_is(&name, *known))
			known++;
		if (known == NULL || *known == NULL)
			json_write_member(writer, json_value_string(&name), &value);
	}
}

/*
 * params.c
 *		The parameters of a chat request as tables, a row each.
 *
 * The names, types and ranges are those of OpenAI's chat completions
 * (https://platform.openai.com/docs/api-reference/chat/create), and of a few
 * sampling parameters that most compatible servers share.  What one provider
 * alone knows goes through options.router.extra.
 */
#include "chat/params.h"

#include "chat/json.h"
#include "utils/builtins.h"

#define MAX_STOP_SEQUENCES 4
#define MAX_TOOLS		   128
#define MAX_USER_ID_BYTES  255
#define MAX_TIMEOUT_MS	   (24 * 3600 * 1000)
#define MAX_ATTEMPTS	   20

/* Rows of the tables: a plain one, and one with a range. */
#define PARAM(name_, types_) .name = (name_), .types = (types_)
#define RANGED(name_, types_, minimum_, maximum_) \
	PARAM(name_, types_), .ranged = true, .minimum = (minimum_), .maximum = (maximum_)

static bool
check_stop(const JsonbValue *value, const FieldPath *path, LlmError *error)
{
	JsonbContainer *array = json_value_array(value);
	JsonbIterator  *iterator;
	JsonbValue		element;
	int				count = 0;

	if (array == NULL)
		return true;
	if (JsonContainerSize(array) > MAX_STOP_SEQUENCES)
		return field_invalid(error, path, "has more than %d strings", MAX_STOP_SEQUENCES);
	iterator = json_iterate(array);
	while (json_next_element(&iterator, &element))
	{
		FieldPath place = field_element(path, count++);

		if (element.type != jbvString)
			return field_invalid(error, &place, "must be a string, not %s",
								 json_type_name(&element));
	}
	return true;
}

static bool
check_logit_bias(const JsonbValue *value, const FieldPath *path, LlmError *error)
{
	static const FieldRule bias = { RANGED("", FIELD_NUMBER, -100, 100) };
	JsonbIterator		  *iterator = json_iterate(value->val.binary.data);
	JsonbValue			   key;
	JsonbValue			   element;

	while (json_next_member(&iterator, &key, &element))
	{
		FieldPath place = { path, key.val.string.val, key.val.string.len, 0 };

		if (!field_check(&bias, &element, &place, error))
			return false;
	}
	return true;
}

static bool
check_tool(JsonbContainer *tool, const FieldPath *path, LlmError *error)
{
	JsonbValue	   *type;
	JsonbContainer *function;
	JsonbValue	   *name;
	FieldPath		function_path = field_member(path, "function");

	if (!field_require_string(tool, "type", path, &type, error))
		return false;
	if (!json_value_is(type, "function"))
		return true;
	return field_require_object(tool, "function", path, &function, error) &&
		   field_require_string(function, "name", &function_path, &name, error);
}

static bool
check_tools(const JsonbValue *value, const FieldPath *path, LlmError *error)
{
	JsonbContainer *array = json_value_array(value);
	JsonbIterator  *iterator = json_iterate(array);
	JsonbValue		element;
	int				count = 0;

	if (JsonContainerSize(array) > MAX_TOOLS)
		return field_invalid(error, path, "has more than %d tools", MAX_TOOLS);
	while (json_next_element(&iterator, &element))
	{
		FieldPath		place = field_element(path, count++);
		JsonbContainer *tool = json_value_object(&element);

		if (tool == NULL)
			return field_invalid(error, &place, "must be an object, not %s",
								 json_type_name(&element));
		if (!check_tool(tool, &place, error))
			return false;
	}
	return true;
}

static bool
check_tool_choice(const JsonbValue *value, const FieldPath *path, LlmError *error)
{
	JsonbContainer *object = json_value_object(value);
	JsonbValue	   *type;

	return object == NULL || field_require_string(object, "type", path, &type, error);
}

static bool
check_response_format(const JsonbValue *value, const FieldPath *path, LlmError *error)
{
	static const char *const types[] = { "text", "json_object", "json_schema", NULL };
	static const FieldRule	 type_rule = { PARAM("type", FIELD_STRING), .choices = types };
	JsonbContainer			*object = value->val.binary.data;
	JsonbContainer			*schema;
	JsonbValue				*type;
	JsonbValue				*name;
	FieldPath				 type_path = field_member(path, "type");
	FieldPath				 schema_path = field_member(path, "json_schema");

	if (!field_require_string(object, "type", path, &type, error) ||
		!field_check(&type_rule, type, &type_path, error))
		return false;
	if (!json_value_is(type, "json_schema"))
		return true;
	return field_require_object(object, "json_schema", path, &schema, error) &&
		   field_require_string(schema, "name", &schema_path, &name, error);
}

static bool check_router(const JsonbValue *value, const FieldPath *path, LlmError *error);

static const char *const tool_choices[] = { "none", "auto", "required", NULL };

static const FieldRule chat_rules[] = {
	{ PARAM("audio", FIELD_OBJECT) },
	{ RANGED("frequency_penalty", FIELD_NUMBER, -2, 2) },
	{ PARAM("function_call", FIELD_STRING | FIELD_OBJECT) },
	{ PARAM("functions", FIELD_ARRAY) },
	{ PARAM("logit_bias", FIELD_OBJECT), .check = check_logit_bias },
	{ PARAM("logprobs", FIELD_BOOLEAN) },
	{ RANGED("max_completion_tokens", FIELD_INTEGER, 1, PG_INT32_MAX) },
	{ RANGED("max_tokens", FIELD_INTEGER, 1, PG_INT32_MAX) },
	{ PARAM("messages", FIELD_ARRAY) },
	{ PARAM("metadata", FIELD_OBJECT) },
	{ RANGED("min_p", FIELD_NUMBER, 0, 1) },
	{ PARAM("modalities", FIELD_ARRAY) },
	{ PARAM("model", FIELD_STRING) },
	{ PARAM("moderation", FIELD_OBJECT) },
	{ RANGED("n", FIELD_INTEGER, 1, 128) },
	{ PARAM("parallel_tool_calls", FIELD_BOOLEAN) },
	{ PARAM("prediction", FIELD_OBJECT) },
	{ RANGED("presence_penalty", FIELD_NUMBER, -2, 2) },
	{ PARAM("prompt_cache_key", FIELD_STRING) },
	{ PARAM("prompt_cache_options", FIELD_OBJECT) },
	{ PARAM("prompt_cache_retention", FIELD_STRING) },
	{ PARAM("reasoning", FIELD_OBJECT) },
	{ PARAM("reasoning_effort", FIELD_STRING) },
	{ RANGED("repetition_penalty", FIELD_NUMBER, 0, 2) },
	{ PARAM("response_format", FIELD_OBJECT), .check = check_response_format },
	{ PARAM("router", FIELD_OBJECT), .check = check_router },
	{ PARAM("safety_identifier", FIELD_STRING) },
	{ PARAM("seed", FIELD_INTEGER) },
	{ PARAM("service_tier", FIELD_STRING) },
	{ PARAM("stop", FIELD_STRING | FIELD_ARRAY), .check = check_stop },
	{ PARAM("store", FIELD_BOOLEAN) },
	{ PARAM("stream", FIELD_BOOLEAN) },
	{ PARAM("stream_options", FIELD_OBJECT) },
	{ RANGED("temperature", FIELD_NUMBER, 0, 2) },
	{ PARAM("tool_choice", FIELD_STRING | FIELD_OBJECT), .choices = tool_choices,
	  .check = check_tool_choice },
	{ PARAM("tools", FIELD_ARRAY), .check = check_tools },
	{ RANGED("top_k", FIELD_INTEGER, -1, PG_INT32_MAX) },
	{ RANGED("top_logprobs", FIELD_INTEGER, 0, 20) },
	{ RANGED("top_p", FIELD_NUMBER, 0, 1) },
	{ PARAM("user", FIELD_STRING) },
	{ PARAM("verbosity", FIELD_STRING) },
	{ PARAM("web_search_options", FIELD_OBJECT) },
};

/* Those that llm_router reads itself, or that only streaming needs. */
static const char *const own_params[] = {
	"messages",
	"model",
	"router",
	"max_tokens",
	"max_completion_tokens",
	"stream",
	"stream_options",
};

static bool
check_tags(const JsonbValue *value, const FieldPath *path, LlmError *error)
{
	StringInfoData text;

	initStringInfo(&text);
	JsonbToCString(&text, value->val.binary.data, value->val.binary.len);
	if (text.len > REQUEST_MAX_TAGS_BYTES)
		return field_invalid(error, path, "has %d bytes; at most %d are kept",
							 text.len, REQUEST_MAX_TAGS_BYTES);
	pfree(text.data);
	return true;
}

static bool
check_user_id(const JsonbValue *value, const FieldPath *path, LlmError *error)
{
	int length = value->val.string.len;

	if (length == 0 || length > MAX_USER_ID_BYTES)
		return field_invalid(error, path, "must have 1 to %d bytes", MAX_USER_ID_BYTES);
	for (int i = 0; i < length; i++)
	{
		unsigned char c = (unsigned char) value->val.string.val[i];

		if (c < ' ' || c == 0x7f)
			return field_invalid(error, path, "must not have control characters");
	}
	return true;
}

/* What "extra" must not touch: checked, counted and priced members. */
static bool
check_extra(const JsonbValue *value, const FieldPath *path, LlmError *error)
{
	static const char *const fixed[] = { "model", "messages", "n", "stream", "stream_options" };

	for (int i = 0; i < (int) lengthof(fixed); i++)
	{
		FieldPath member = field_member(path, fixed[i]);

		if (json_member(value->val.binary.data, fixed[i]))
			return field_invalid(error, &member, "cannot be set here");
	}
	return true;
}

static const char *const byok_modes[] = { "prefer", "only", "never", NULL };
static const char *const fallback_scopes[] = { "rules", "level", NULL };
static const char *const error_modes[] = { "raise", "return", NULL };

static const FieldRule router_rules[] = {
	{ PARAM("byok", FIELD_STRING), .choices = byok_modes },
	{ PARAM("extra", FIELD_OBJECT), .check = check_extra },
	{ PARAM("fallback_scope", FIELD_STRING), .choices = fallback_scopes },
	{ RANGED("max_attempts", FIELD_INTEGER, 1, MAX_ATTEMPTS) },
	{ PARAM("on_error", FIELD_STRING), .choices = error_modes },
	{ PARAM("strict", FIELD_BOOLEAN) },
	{ PARAM("tags", FIELD_OBJECT), .check = check_tags },
	{ RANGED("timeout_ms", FIELD_INTEGER, 1, MAX_TIMEOUT_MS) },
	{ PARAM("user_id", FIELD_STRING), .check = check_user_id },
};

static bool
check_router(const JsonbValue *value, const FieldPath *path, LlmError *error)
{
	return field_check_object(router_rules, lengthof(router_rules),
							  value->val.binary.data, path, error);
}

bool
params_check(JsonbContainer *object, const FieldPath *path, LlmError *error)
{
	return field_check_object(chat_rules, lengthof(chat_rules), object, path, error);
}

bool
params_is_forwarded(const JsonbValue *name)
{
	for (int i = 0; i < (int) lengthof(own_params); i++)
		if (json_value_is(name, own_params[i]))
			return false;
	return true;
}

/* The position of a string member in a list of choices, or -1. */
static int
member_choice(JsonbContainer *object, const char *name, const char *const *choices)
{
	JsonbValue *value = json_member(object, name);

	for (int i = 0; value && choices[i]; i++)
		if (json_value_is(value, choices[i]))
			return i;
	return -1;
}

static Jsonb *
member_jsonb(JsonbContainer *object, const char *name)
{
	JsonbValue *value = json_member(object, name);

	return value && value->type == jbvBinary ? JsonbValueToJsonb(value) : NULL;
}

void
params_read_router(JsonbContainer *router, RouterOptions *options)
{
	static const ByokMode	   byok[] = { BYOK_PREFER, BYOK_ONLY, BYOK_NEVER };
	static const FallbackScope scopes[] = { FALLBACK_RULES, FALLBACK_LEVEL };
	int64					   number;
	int						   choice;

	memset(options, 0, sizeof(*options));
	options->byok = BYOK_UNSET;
	options->fallback_scope = FALLBACK_UNSET;
	if (router == NULL)
		return;

	if (json_member_int64(router, "timeout_ms", &number))
		options->timeout_ms = (int) number;
	if (json_member_int64(router, "max_attempts", &number))
		options->max_attempts = (int) number;
	if ((choice = member_choice(router, "byok", byok_modes)) >= 0)
		options->byok = byok[choice];
	if ((choice = member_choice(router, "fallback_scope", fallback_scopes)) >= 0)
		options->fallback_scope = scopes[choice];
	options->return_errors = json_value_is(json_member(router, "on_error"), "return");
	json_member_bool(router, "strict", &options->strict);
	options->tags = member_jsonb(router, "tags");
	options->extra = member_jsonb(router, "extra");
	options->user_id = json_member_string(router, "user_id");
}

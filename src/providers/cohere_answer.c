/*
 * cohere_answer.c
 *		Reading an answer, and what its stream has in common with it.
 */
#include "providers/cohere.h"

#include "chat/json.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"

/* ------------------------------------------------------------------------
 * Usage
 * ------------------------------------------------------------------------
 */

/*
 * A count of billed_units, which is what is charged, else of tokens, which
 * includes a preamble of Cohere's own.  False for none, and for nonsense.
 */
static bool
read_count(JsonbContainer *usage, const char *name, int64 *count)
{
	static const char *const places[] = { "billed_units", "tokens" };

	for (int i = 0; i < (int) lengthof(places); i++)
	{
		JsonbContainer *place = json_member_object(usage, places[i]);
		JsonbValue	   *value = place ? json_member(place, name) : NULL;

		if (json_value_given(value))
			return json_value_int64(value, count) && *count >= 0 && *count <= USAGE_MAX_TOKENS;
	}
	return false;
}

void
cohere_read_usage(JsonbContainer *usage, TokenUsage *tokens)
{
	JsonbValue *cached;
	int64		count = 0;

	memset(tokens, 0, sizeof(*tokens));
	if (usage == NULL)
		return;
	cached = json_member(usage, "cached_tokens");
	if (json_value_given(cached) && (!json_value_int64(cached, &count) || count < 0))
		return;
	tokens->known = read_count(usage, "input_tokens", &tokens->input) &&
					read_count(usage, "output_tokens", &tokens->output);
	if (!tokens->known)
	{
		memset(tokens, 0, sizeof(*tokens));
		return;
	}

	/* It counts within tokens, and so may be more than what is billed. */
	tokens->cached_input = Min(count, tokens->input);
}

/* ------------------------------------------------------------------------
 * Reasons
 * ------------------------------------------------------------------------
 */

static const struct
{
	const char *said;
	const char *meant; /* NULL: there is no answer */
} finish_reasons[] = {
	{ "COMPLETE", "stop" },
	{ "STOP_SEQUENCE", "stop" },
	{ "MAX_TOKENS", "length" },
	{ "TOOL_CALL", "tool_calls" },
	{ "ERROR", NULL },
	{ "TIMEOUT", NULL },
	{ "ERROR_TOXIC", "content_filter" }, /* these are version 1's */
	{ "ERROR_LIMIT", "length" },
	{ "USER_CANCEL", NULL },
};

static int
find_reason(const JsonbValue *said)
{
	for (int i = 0; i < (int) lengthof(finish_reasons); i++)
		if (json_value_is(said, finish_reasons[i].said))
			return i;
	return -1;
}

bool
cohere_reason_is_failure(const JsonbValue *reason)
{
	int found = find_reason(reason);

	return found >= 0 && finish_reasons[found].meant == NULL;
}

const char *
cohere_finish_reason(const JsonbValue *said, bool has_tool_calls)
{
	int			found = find_reason(said);
	const char *meant = found >= 0 ? finish_reasons[found].meant : "stop";

	return has_tool_calls && strcmp(meant, "stop") == 0 ? "tool_calls" : meant;
}

/* ------------------------------------------------------------------------
 * Pieces
 * ------------------------------------------------------------------------
 */

int
cohere_begin_tool_call(Exchange *exchange, JsonbContainer *call, const char **problem)
{
	JsonbContainer *function = json_member_object(call, "function");
	char		   *name = function ? json_member_string(function, "name") : NULL;
	int				index;

	if (name == NULL || *name == '\0')
	{
		*problem = "a tool call of the answer has no name";
		return -1;
	}
	index = answer_begin_tool_call(exchange->answer, 0, json_member_string(call, "id"),
								   cohere_given_name(exchange->request, name), NULL);
	if (index < 0)
		*problem = "the answer has too many tool calls";
	return index;
}

void
cohere_add_arguments(Exchange *exchange, JsonbContainer *call, int index, bool first)
{
	JsonbContainer *function = json_member_object(call, "function");
	JsonbValue	   *arguments = function ? json_member(function, "arguments") : NULL;
	StringInfoData	text;

	/* null, also as a text, means that there are none. */
	if (!json_value_given(arguments) || (first && json_value_is(arguments, "null")))
		return;
	if (arguments->type == jbvString)
		answer_add_arguments(exchange->answer, 0, index, arguments->val.string.val,
							 arguments->val.string.len);
	else if (json_value_object(arguments))
	{
		initStringInfo(&text);
		JsonbToCString(&text, arguments->val.binary.data, arguments->val.binary.len);
		answer_add_arguments(exchange->answer, 0, index, text.data, text.len);
	}
}

void
cohere_add_content(Exchange *exchange, JsonbContainer *part, bool *has_text)
{
	JsonbValue *text = json_member(part, "text");
	JsonbValue *thinking = json_member(part, "thinking");

	if (json_value_filled(thinking))
		answer_add_reasoning(exchange->answer, 0, thinking->val.string.val, thinking->val.string.len);
	if (json_value_filled(text))
	{
		answer_add_text(exchange->answer, 0, text->val.string.val, text->val.string.len);
		*has_text = true;
	}
}

/*
 * One element: a text and the probabilities of its tokens.  Where they are
 * several, the text cannot be divided between them, but it has a probability as
 * a whole, their product.
 */
static void
add_logprob(Exchange *exchange, JsonbContainer *element)
{
	JsonbValue	   *text = json_member(element, "text");
	JsonbContainer *numbers = json_member_array(element, "logprobs");
	JsonbIterator  *iterator;
	JsonbValue		number;
	JsonbValue		sum = { .type = jbvNull };
	Datum			total;

	if (text == NULL || text->type != jbvString || numbers == NULL)
		return;
	iterator = json_iterate(numbers);
	while (json_next_element(&iterator, &number))
	{
		if (number.type != jbvNumeric)
			return;
		if (sum.type == jbvNull)
		{
			sum = number;
			continue;
		}
		total = DirectFunctionCall2(numeric_add, NumericGetDatum(sum.val.numeric),
									NumericGetDatum(number.val.numeric));
		sum.val.numeric = DatumGetNumeric(total);
	}
	if (sum.type == jbvNumeric)
		answer_add_logprob(exchange->answer, 0, text->val.string.val, text->val.string.len, &sum, NULL);
}

void
cohere_add_logprobs(Exchange *exchange, const JsonbValue *said)
{
	JsonbContainer *array = json_value_array(said);
	JsonbIterator  *iterator = array ? json_iterate(array) : NULL;
	JsonbValue		element;

	if (json_value_object(said))
		add_logprob(exchange, json_value_object(said));
	while (array && json_next_element(&iterator, &element))
		if (json_value_object(&element))
			add_logprob(exchange, json_value_object(&element));
}

/* ------------------------------------------------------------------------
 * The answer
 * ------------------------------------------------------------------------
 */

/* Content: parts, or in one text; false when it is neither. */
static bool
read_content(Exchange *exchange, const JsonbValue *content, bool *has_text)
{
	JsonbIterator *iterator;
	JsonbValue	   part;

	if (!json_value_given(content))
		return true;
	if (content->type == jbvString)
	{
		answer_add_text(exchange->answer, 0, content->val.string.val, content->val.string.len);
		*has_text = content->val.string.len > 0;
		return true;
	}
	if (!json_value_array(content))
		return false;
	iterator = json_iterate(json_value_array(content));
	while (json_next_element(&iterator, &part))
		if (json_value_object(&part))
			cohere_add_content(exchange, json_value_object(&part), has_text);
	return true;
}

static bool
read_tool_calls(Exchange *exchange, JsonbContainer *calls, const char **problem)
{
	JsonbIterator *iterator = json_iterate(calls);
	JsonbValue	   element;

	while (json_next_element(&iterator, &element))
	{
		JsonbContainer *call = json_value_object(&element);
		int				index;

		if (call == NULL)
		{
			*problem = "a tool call of the answer is no object";
			return false;
		}
		index = cohere_begin_tool_call(exchange, call, problem);
		if (index < 0)
			return false;
		cohere_add_arguments(exchange, call, index, true);
	}
	return true;
}

static bool
read_message(Exchange *exchange, JsonbContainer *message, bool *has_calls, const char **problem)
{
	JsonbContainer *calls = json_member_array(message, "tool_calls");
	JsonbValue	   *plan = json_member(message, "tool_plan");
	JsonbContainer *citations = json_member_array(message, "citations");
	bool			has_text = false;

	*has_calls = calls && JsonContainerSize(calls) > 0;
	if (!read_content(exchange, json_member(message, "content"), &has_text))
	{
		*problem = "the content of the answer is neither a text nor parts";
		return false;
	}
	if (!has_text && json_value_filled(plan))
		answer_add_text(exchange->answer, 0, plan->val.string.val, plan->val.string.len);
	else if (!has_text && !*has_calls)
		answer_add_text(exchange->answer, 0, "", 0);
	if (citations && JsonContainerSize(citations) > 0)
		answer_set_member(exchange->answer, 0, "citations",
						  JsonbValueToJsonb(json_member(message, "citations")));
	return !*has_calls || read_tool_calls(exchange, calls, problem);
}

bool
cohere_read_answer(Exchange *exchange, JsonbContainer *body, ChatAnswer *answer, const char **problem)
{
	JsonbContainer *message = json_member_object(body, "message");
	bool			has_calls;

	if (message == NULL)
	{
		*problem = "the answer has no message";
		return false;
	}
	answer_set_head(exchange->answer, json_member_string(body, "id"), exchange->model.name, 0);
	cohere_add_logprobs(exchange, json_member(body, "logprobs"));
	if (!read_message(exchange, message, &has_calls, problem))
		return false;
	answer_finish(exchange->answer, 0,
				  cohere_finish_reason(json_member(body, "finish_reason"), has_calls));
	answer->finish_reason = pstrdup(answer_finish_reason(exchange->answer));
	answer->completion = answer_close(exchange->answer, &answer->usage, NULL);
	return true;
}

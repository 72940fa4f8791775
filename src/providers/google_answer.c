/*
 * google_answer.c
 *		Reading generateContent's responses: a whole answer is one, a stream is
 *		many, each with the next parts.
 */
#include "providers/google.h"

#include "base/encoding.h"
#include "providers/failure.h"

#define MAX_REASON_BYTES 64

typedef struct Candidate
{
	bool has_text;
	bool has_calls;
	bool has_ended;
} Candidate;

typedef struct GoogleAnswer
{
	TokenUsage usage; /* of the last response that had it: counts are sums so far */
	bool	   usage_is_nonsense;
	Candidate  candidates[ANSWER_MAX_CHOICES];
} GoogleAnswer;

static GoogleAnswer *
get_state(Exchange *exchange)
{
	if (exchange->state == NULL)
		exchange->state = MemoryContextAllocZero(exchange->context, sizeof(GoogleAnswer));
	return exchange->state;
}

/* ------------------------------------------------------------------------
 * Usage
 * ------------------------------------------------------------------------
 */

/* A count, 0 where it is absent; false for nonsense. */
static bool
read_count(JsonbContainer *usage, const char *name, int64 *count)
{
	JsonbValue *value = json_member(usage, name);

	*count = 0;
	if (!json_value_given(value))
		return true;
	return json_value_int64(value, count) && *count >= 0 && *count <= USAGE_MAX_TOKENS;
}

/* Thoughts are beside the candidates' tokens here, and what tools said beside the prompt's. */
static void
read_usage(Exchange *exchange, GoogleAnswer *state, JsonbContainer *body)
{
	JsonbContainer *said = json_member_object(body, "usageMetadata");
	TokenUsage		usage = { 0 };
	int64			prompt, tool_prompt, candidates, thoughts, cached;

	if (said == NULL || !json_value_given(json_member(said, "promptTokenCount")))
		return;
	if (!read_count(said, "promptTokenCount", &prompt) ||
		!read_count(said, "toolUsePromptTokenCount", &tool_prompt) ||
		!read_count(said, "candidatesTokenCount", &candidates) ||
		!read_count(said, "thoughtsTokenCount", &thoughts) ||
		!read_count(said, "cachedContentTokenCount", &cached) ||
		prompt + tool_prompt > USAGE_MAX_TOKENS || candidates + thoughts > USAGE_MAX_TOKENS ||
		cached > prompt + tool_prompt)
		state->usage_is_nonsense = true;
	else
		usage = (TokenUsage){
			.known = true,
			.input = prompt + tool_prompt,
			.cached_input = cached,
			.output = candidates + thoughts,
			.reasoning = thoughts,
		};
	if (state->usage_is_nonsense)
		usage.known = false;
	state->usage = exchange->usage = usage;
	/* A sum of nothing, after text came, is not yet the sum. */
	exchange->usage.known = usage.known && usage.output > 0;
}

/* ------------------------------------------------------------------------
 * Candidates
 * ------------------------------------------------------------------------
 */

/* {"google": {"thought_signature": …}}, as Google's OpenAI-compatible endpoint has it. */
static Jsonb *
signature_content(JsonbContainer *part)
{
	JsonbValue		*signature = json_member(part, "thoughtSignature");
	JsonbParseState *state = NULL;

	if (!json_value_filled(signature))
		return NULL;
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	json_push_key(&state, "google");
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	json_push_member(&state, "thought_signature", signature);
	pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/* A call comes whole.  Calls beyond those that can be held are left out. */
static void
read_call(Exchange *exchange, int number, JsonbContainer *part, JsonbContainer *call)
{
	char		   *name = json_member_string(call, "name");
	JsonbContainer *args = json_member_object(call, "args");
	StringInfoData	text;
	int				index;

	if (name == NULL || *name == '\0')
		return;
	index = answer_begin_tool_call(exchange->answer, number, json_member_string(call, "id"), name,
								   signature_content(part));
	if (index < 0 || args == NULL)
		return;
	initStringInfo(&text);
	JsonbToCString(&text, args, 0);
	answer_add_arguments(exchange->answer, number, index, text.data, text.len);
}

static void
read_part(Exchange *exchange, Candidate *candidate, int number, JsonbContainer *part)
{
	JsonbContainer *call = json_member_object(part, "functionCall");
	JsonbValue	   *text = json_member(part, "text");
	bool			is_thought = false;

	json_member_bool(part, "thought", &is_thought);
	if (call)
	{
		candidate->has_calls = true;
		read_call(exchange, number, part, call);
	}
	else if (text && text->type == jbvString && is_thought)
		answer_add_reasoning(exchange->answer, number, text->val.string.val, text->val.string.len);
	else if (text && text->type == jbvString)
	{
		candidate->has_text |= text->val.string.len > 0;
		answer_add_text(exchange->answer, number, text->val.string.val, text->val.string.len);
	}
}

/* What ends a candidate, in OpenAI's word; NULL: the model failed. */
static const char *
finish_reason(const JsonbValue *said, const Candidate *candidate)
{
	static const char *const filtered[] = {
		"SAFETY",
		"RECITATION",
		"BLOCKLIST",
		"PROHIBITED_CONTENT",
		"SPII",
		"LANGUAGE",
		"IMAGE_SAFETY",
		"IMAGE_PROHIBITED_CONTENT",
		"IMAGE_RECITATION",
		"MODEL_ARMOR",
	};
	static const char *const failed[] = {
		"MALFORMED_FUNCTION_CALL",
		"UNEXPECTED_TOOL_CALL",
		"TOO_MANY_TOOL_CALLS",
		"MISSING_THOUGHT_SIGNATURE",
		"MALFORMED_RESPONSE",
	};

	if (json_value_is(said, "MAX_TOKENS"))
		return "length";
	for (int i = 0; i < (int) lengthof(filtered); i++)
		if (json_value_is(said, filtered[i]))
			return "content_filter";
	for (int i = 0; i < (int) lengthof(failed); i++)
		if (json_value_is(said, failed[i]) && !candidate->has_text)
			return NULL;
	return candidate->has_calls ? "tool_calls" : "stop";
}

static void
model_failed(const JsonbValue *reason, ProviderReply *reply)
{
	char *word = encoding_clean_line(json_value_string(reason), MAX_REASON_BYTES);

	failure_protocol(psprintf("the model ended with %s", word), reply);
	reply->code = word;
}

static GoogleRead
read_candidate(Exchange *exchange, GoogleAnswer *state, JsonbContainer *object, int position,
			   ProviderReply *reply)
{
	JsonbContainer *content = json_member_object(object, "content");
	JsonbContainer *parts = content ? json_member_array(content, "parts") : NULL;
	JsonbIterator  *iterator = parts ? json_iterate(parts) : NULL;
	JsonbValue	   *said = json_member(object, "finishReason");
	int64			number = position;
	Candidate	   *candidate;
	const char	   *reason;
	JsonbValue		part;

	json_member_int64(object, "index", &number);
	if (number < 0 || number >= ANSWER_MAX_CHOICES)
		return GOOGLE_READ;
	candidate = &state->candidates[number];
	if (candidate->has_ended)
		return GOOGLE_READ;
	while (parts && json_next_element(&iterator, &part))
		if (json_value_object(&part))
			read_part(exchange, candidate, (int) number, json_value_object(&part));
	/* In a stream it comes at the end; a whole answer without it has ended as well. */
	if (!json_value_filled(said) && exchange->request->streams)
		return GOOGLE_READ;
	reason = finish_reason(said, candidate);
	if (reason == NULL)
	{
		model_failed(said, reply);
		return GOOGLE_FAILED;
	}
	candidate->has_ended = true;
	answer_finish(exchange->answer, (int) number, reason);
	return GOOGLE_READ;
}

/* The prompt was blocked, with a good status. */
static bool
is_blocked(JsonbContainer *body, ProviderReply *reply)
{
	JsonbContainer *feedback = json_member_object(body, "promptFeedback");
	JsonbValue	   *reason = feedback ? json_member(feedback, "blockReason") : NULL;
	char		   *word;

	if (!json_value_filled(reason))
		return false;
	word = encoding_clean_line(json_value_string(reason), MAX_REASON_BYTES);
	reply->outcome = OUTCOME_FILTERED;
	reply->code = word;
	reply->message = psprintf("the prompt was blocked (%s)", word);
	return true;
}

GoogleRead
google_read_response(Exchange *exchange, const WireResponse *wire, JsonbContainer *body,
					 ProviderReply *reply)
{
	GoogleAnswer   *state = get_state(exchange);
	JsonbContainer *candidates = json_member_array(body, "candidates");
	JsonbIterator  *iterator = candidates ? json_iterate(candidates) : NULL;
	int				position = 0;
	JsonbValue		element;

	if (json_value_given(json_member(body, "error")))
	{
		failure_read(wire, body, reply);
		return GOOGLE_FAILED;
	}
	answer_set_head(exchange->answer, json_member_string(body, "responseId"),
					json_member_string(body, "modelVersion"), 0);
	read_usage(exchange, state, body);
	reply->answer.usage = state->usage;
	if ((candidates == NULL || JsonContainerSize(candidates) == 0) && is_blocked(body, reply))
		return GOOGLE_FAILED;
	while (candidates && json_next_element(&iterator, &element))
		if (json_value_object(&element) &&
			read_candidate(exchange, state, json_value_object(&element), position++, reply) == GOOGLE_FAILED)
			return GOOGLE_FAILED;
	return GOOGLE_READ;
}

void
google_finish(Exchange *exchange, const char *problem, ProviderReply *reply)
{
	GoogleAnswer *state = get_state(exchange);

	reply->answer.usage = state->usage;
	if (!state->candidates[0].has_ended)
	{
		failure_protocol(problem, reply);
		return;
	}
	reply->outcome = OUTCOME_OK;
	reply->answer.finish_reason = pstrdup(answer_finish_reason(exchange->answer));
	reply->answer.completion = answer_close(exchange->answer, &state->usage, NULL);
}

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
	bool  is_begun;
	bool  has_text;
	int	  calls;
	bool  has_ended;
	char *reason; /* why, as the API said; NULL: it did not */
} Candidate;

typedef struct GoogleAnswer
{
	TokenUsage usage; /* of the last response that had it: counts are sums so far */
	bool	   usage_is_nonsense;
	bool	   has_head;
	uint64	   id_hash; /* of the answer's id; 0: it has none */
	List	  *tools;	/* of the request, for their names */
	int		   count;	/* of candidates: the highest number and one */
	Candidate  candidates[ANSWER_MAX_CHOICES];
} GoogleAnswer;

static GoogleAnswer *
get_state(Exchange *exchange)
{
	GoogleAnswer *state = exchange->state;
	MemoryContext previous;
	LlmError	  error = { 0 };
	ToolSet		  set = { 0 };

	if (state)
		return state;
	previous = MemoryContextSwitchTo(exchange->context);
	exchange->state = state = palloc0(sizeof(GoogleAnswer));
	if (exchange->request->params && tool_set_read(exchange->request, &set, &error))
		state->tools = set.tools;
	MemoryContextSwitchTo(previous);
	return state;
}

static bool
failed(ProviderReply *reply, const char *problem)
{
	failure_protocol(problem, reply);
	return false;
}

/* Who answers, of the first response. */
static void
read_head(Exchange *exchange, GoogleAnswer *state, JsonbContainer *body)
{
	char *id = json_member_string(body, "responseId");
	char *model = json_member_string(body, "modelVersion");

	if (state->has_head)
		return;
	state->has_head = true;
	answer_set_head(exchange->answer, id, model && *model ? model : exchange->model.name, 0);
	if (id && *id)
		state->id_hash = hash_bytes_extended((unsigned char *) id, (int) strlen(id), 0);
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

/*
 * The id of a call.  Older models give none; one is made of the answer's, so that
 * it is the only one of its kind in a conversation.
 */
static char *
call_id(const GoogleAnswer *state, const Candidate *candidate, JsonbContainer *call)
{
	char *id = json_member_string(call, "id");

	if ((id && *id) || state->id_hash == 0)
		return id;
	return psprintf("call_" UINT64_FORMAT "_%d", state->id_hash, candidate->calls);
}

/* A call comes whole. */
static bool
read_call(Exchange *exchange, GoogleAnswer *state, int number, JsonbContainer *part,
		  JsonbContainer *call, ProviderReply *reply)
{
	Candidate	   *candidate = &state->candidates[number];
	char		   *name = json_member_string(call, "name");
	JsonbContainer *args = json_member_object(call, "args");
	StringInfoData	text;
	int				index;

	if (name == NULL || *name == '\0')
		return failed(reply, "a function call of the answer has no name");
	index = answer_begin_tool_call(exchange->answer, number, call_id(state, candidate, call),
								   google_given_name(state->tools, name), signature_content(part));
	if (index < 0)
		return failed(reply, "the answer has too many function calls");
	candidate->calls++;
	if (args == NULL)
		return true;
	initStringInfo(&text);
	JsonbToCString(&text, args, 0);
	answer_add_arguments(exchange->answer, number, index, text.data, text.len);
	return true;
}

static bool
read_part(Exchange *exchange, GoogleAnswer *state, int number, JsonbContainer *part,
		  ProviderReply *reply)
{
	JsonbContainer *call = json_member_object(part, "functionCall");
	JsonbValue	   *text = json_member(part, "text");
	bool			is_thought = false;

	if (call)
		return read_call(exchange, state, number, part, call, reply);
	if (text == NULL || text->type != jbvString)
		return true;
	json_member_bool(part, "thought", &is_thought);
	if (is_thought)
		answer_add_reasoning(exchange->answer, number, text->val.string.val, text->val.string.len);
	else
	{
		state->candidates[number].has_text |= text->val.string.len > 0;
		answer_add_text(exchange->answer, number, text->val.string.val, text->val.string.len);
	}
	return true;
}

/* A reason to end.  The last word counts: some streams give one with every part. */
static void
read_end(Exchange *exchange, Candidate *candidate, const JsonbValue *said)
{
	if (!json_value_filled(said))
		return;
	if (candidate->reason)
		pfree(candidate->reason);
	candidate->reason = MemoryContextStrdup(exchange->context,
											encoding_clean_line(json_value_string(said), MAX_REASON_BYTES));
	candidate->has_ended = true;
}

static bool
read_candidate(Exchange *exchange, GoogleAnswer *state, JsonbContainer *object, int position,
			   ProviderReply *reply)
{
	JsonbContainer *content = json_member_object(object, "content");
	JsonbContainer *parts = content ? json_member_array(content, "parts") : NULL;
	JsonbIterator  *iterator = parts ? json_iterate(parts) : NULL;
	int64			number = position;
	JsonbValue		part;

	json_member_int64(object, "index", &number);
	if (number < 0 || number >= ANSWER_MAX_CHOICES)
		return failed(reply, "a candidate of the answer has a number that cannot be");
	state->count = Max(state->count, (int) number + 1);
	state->candidates[number].is_begun = true;
	while (parts && json_next_element(&iterator, &part))
		if (json_value_object(&part) &&
			!read_part(exchange, state, (int) number, json_value_object(&part), reply))
			return false;
	read_end(exchange, &state->candidates[number], json_member(object, "finishReason"));
	return true;
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

bool
google_read_response(Exchange *exchange, const WireResponse *wire, JsonbContainer *body,
					 ProviderReply *reply)
{
	GoogleAnswer   *state = get_state(exchange);
	JsonbContainer *candidates = json_member_array(body, "candidates");
	JsonbIterator  *iterator = candidates ? json_iterate(candidates) : NULL;
	int				position = 0;
	JsonbValue		element;

	read_usage(exchange, state, body);
	reply->answer.usage = state->usage;
	if (json_value_given(json_member(body, "error")))
	{
		failure_read(wire, body, reply);
		return false;
	}
	read_head(exchange, state, body);
	if ((candidates == NULL || JsonContainerSize(candidates) == 0) && is_blocked(body, reply))
		return false;
	while (candidates && json_next_element(&iterator, &element))
	{
		if (json_value_object(&element) == NULL)
			return failed(reply, "a candidate of the answer is no object");
		if (!read_candidate(exchange, state, json_value_object(&element), position++, reply))
			return false;
	}
	return true;
}

/* ------------------------------------------------------------------------
 * The end
 * ------------------------------------------------------------------------
 */

/* What an end means; of those that are no answer, "stop" if enough was said all the same. */
static const struct
{
	const char *said;
	const char *meant;
	bool		needs_text;
	bool		needs_anything; /* text or calls */
} ends[] = {
	{ "STOP", "stop", false, false },
	{ "MAX_TOKENS", "length", false, false },
	{ "SAFETY", "content_filter", false, false },
	{ "RECITATION", "content_filter", false, false },
	{ "BLOCKLIST", "content_filter", false, false },
	{ "PROHIBITED_CONTENT", "content_filter", false, false },
	{ "SPII", "content_filter", false, false },
	{ "LANGUAGE", "content_filter", false, false },
	{ "IMAGE_SAFETY", "content_filter", false, false },
	{ "IMAGE_PROHIBITED_CONTENT", "content_filter", false, false },
	{ "IMAGE_RECITATION", "content_filter", false, false },
	{ "MODEL_ARMOR", "content_filter", false, false },
	{ "MALFORMED_FUNCTION_CALL", "stop", true, false },
	{ "UNEXPECTED_TOOL_CALL", "stop", true, false },
	{ "TOO_MANY_TOOL_CALLS", "stop", true, false },
	{ "MISSING_THOUGHT_SIGNATURE", "stop", true, false },
	{ "MALFORMED_RESPONSE", "stop", true, false },
	{ NULL, "stop", false, true }, /* OTHER, and what is not known */
};

/* The end of a candidate in OpenAI's word; NULL: there is no answer. */
static const char *
finish_reason(const Candidate *candidate)
{
	int end = 0;

	while (ends[end].said && (candidate->reason == NULL || strcmp(ends[end].said, candidate->reason) != 0))
		end++;
	if ((ends[end].needs_text && !candidate->has_text) ||
		(ends[end].needs_anything && !candidate->has_text && candidate->calls == 0))
		return NULL;
	return candidate->calls > 0 && strcmp(ends[end].meant, "stop") == 0 ? "tool_calls" : ends[end].meant;
}

/* Whether the first candidate and all others that came have come to an end that is an answer. */
static bool
check_ends(const Exchange *exchange, const GoogleAnswer *state, bool complete, ProviderReply *reply)
{
	const char *cut_off = exchange->events ? "the stream was cut off" : "the answer was cut off";

	if (!state->candidates[0].is_begun)
		return failed(reply, exchange->events ? cut_off : "the answer has no candidates");
	for (int i = 0; i < state->count; i++)
	{
		const Candidate *candidate = &state->candidates[i];

		if (!candidate->is_begun)
			continue;
		if (!candidate->has_ended && !complete)
			return failed(reply, cut_off);
		if (finish_reason(candidate) == NULL)
		{
			reply->code = candidate->reason;
			return failed(reply, candidate->reason ? psprintf("the model ended with %s", candidate->reason)
												   : "the model said nothing");
		}
	}
	return true;
}

void
google_finish(Exchange *exchange, bool complete, ProviderReply *reply)
{
	GoogleAnswer *state = get_state(exchange);

	reply->answer.usage = state->usage;
	if (!check_ends(exchange, state, complete, reply))
		return;
	for (int i = 0; i < state->count; i++)
	{
		const Candidate *candidate = &state->candidates[i];

		if (!candidate->is_begun)
			continue;
		if (!candidate->has_text && candidate->calls == 0)
			answer_add_text(exchange->answer, i, "", 0);
		answer_finish(exchange->answer, i, finish_reason(candidate));
	}
	reply->outcome = OUTCOME_OK;
	reply->answer.finish_reason = pstrdup(answer_finish_reason(exchange->answer));
	reply->answer.completion = answer_close(exchange->answer, &state->usage, NULL);
}

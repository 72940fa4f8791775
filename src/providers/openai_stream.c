/*
 * openai_stream.c
 *		Reading a stream of chat.completion.chunk objects.
 *
 * Most chunks are what OpenAI would have sent, and are passed on as they are;
 * the others are rebuilt.  Usage is kept for the last chunk, which comes when
 * all is known; the provider's own chunk with it is not passed on.
 */
#include "chat/json.h"
#include "providers/failure.h"
#include "providers/openai.h"

typedef struct OpenAiStream
{
	TokenUsage	usage; /* of the last chunk that had it */
	Money		reported_cost;
	Jsonb	   *usage_said;				   /* the member that it was read from, or NULL */
	bool		has_head;				   /* id and model are known */
	const char *finish_reason;			   /* of the first choice, a static word; or NULL */
	int			calls[ANSWER_MAX_CHOICES]; /* tool calls begun */
	bool		open[ANSWER_MAX_CHOICES];  /* begun, and not ended */
} OpenAiStream;

static OpenAiStream *
get_state(Exchange *exchange)
{
	OpenAiStream *stream = exchange->state;

	if (stream == NULL)
	{
		stream = MemoryContextAllocZero(exchange->context, sizeof(OpenAiStream));
		stream->reported_cost = MONEY_UNKNOWN;
		exchange->state = stream;
	}
	return stream;
}

static void
read_head(Exchange *exchange, OpenAiStream *stream, JsonbContainer *chunk)
{
	int64 created = 0;

	if (stream->has_head)
		return;
	json_member_int64(chunk, "created", &created);
	answer_set_head(exchange->answer, json_member_string(chunk, "id"),
					json_member_string(chunk, "model"), created);
	stream->has_head = json_value_filled(json_member(chunk, "id")) ||
					   json_value_filled(json_member(chunk, "model"));
}

static void
keep_usage_said(Exchange *exchange, OpenAiStream *stream, JsonbContainer *said)
{
	JsonbParseState *state = NULL;
	MemoryContext	 previous;

	if (stream->usage_said)
		pfree(stream->usage_said);
	stream->usage_said = NULL;
	if (said == NULL)
		return;
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	json_push_members(&state, said, (const char *const[]){ NULL });
	previous = MemoryContextSwitchTo(exchange->context);
	stream->usage_said = JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
	MemoryContextSwitchTo(previous);
}

/* Tokens and cost may come in different chunks, and more than once. */
static void
read_usage(Exchange *exchange, OpenAiStream *stream, JsonbContainer *chunk)
{
	ChatAnswer said = { 0 };

	openai_read_usage(chunk, &said);
	if (said.reported_cost != MONEY_UNKNOWN)
		stream->reported_cost = said.reported_cost;
	if (!said.usage.known)
		return;
	stream->usage = said.usage;
	keep_usage_said(exchange, stream, json_member_object(chunk, "usage"));
}

/* ------------------------------------------------------------------------
 * Chunks
 * ------------------------------------------------------------------------
 */

static void
count_string(Exchange *exchange, const JsonbValue *value)
{
	if (value && value->type == jbvString)
		answer_count_text(exchange->answer, value->val.string.val, value->val.string.len);
}

static void
count_parts(Exchange *exchange, JsonbContainer *parts)
{
	StringInfoData text;
	StringInfoData thinking;

	openai_read_parts(parts, &text, &thinking);
	answer_count_text(exchange->answer, text.data, text.len);
	answer_count_text(exchange->answer, thinking.data, thinking.len);
}

/* Count what a delta says.  Whether all of it has the form that OpenAI gives it. */
static bool
read_tool_deltas(Exchange *exchange, OpenAiStream *stream, int choice, JsonbContainer *calls)
{
	JsonbIterator *iterator = json_iterate(calls);
	JsonbValue	   element;
	bool		   plain = true;

	while (json_next_element(&iterator, &element))
	{
		JsonbContainer *call = json_value_object(&element);
		JsonbContainer *function = call ? json_member_object(call, "function") : NULL;
		JsonbValue	   *arguments = function ? json_member(function, "arguments") : NULL;
		int64			index;

		if (call == NULL)
			return false;
		if (function)
			count_string(exchange, json_member(function, "name"));
		count_string(exchange, arguments);
		plain = plain && json_member_int64(call, "index", &index) && function &&
				(arguments == NULL || arguments->type == jbvString) &&
				(!json_value_given(json_member(call, "id")) || json_member(call, "type"));
		if (json_value_filled(json_member(call, "id")))
			stream->calls[choice]++;
	}
	return plain;
}

static bool
read_delta(Exchange *exchange, OpenAiStream *stream, int choice, JsonbContainer *delta)
{
	JsonbValue	   *content = json_member(delta, "content");
	JsonbValue	   *reasoning = json_member(delta, "reasoning");
	JsonbContainer *calls = json_member_array(delta, "tool_calls");
	JsonbContainer *older_call = json_member_object(delta, "function_call");

	count_string(exchange, content);
	if (json_value_array(content))
		count_parts(exchange, json_value_array(content));
	if (older_call)
	{
		count_string(exchange, json_member(older_call, "name"));
		count_string(exchange, json_member(older_call, "arguments"));
	}
	count_string(exchange, reasoning);
	count_string(exchange, json_member(delta, "reasoning_content"));
	count_string(exchange, json_member(delta, "refusal"));
	return (!json_value_given(content) || content->type == jbvString) &&
		   !json_value_given(reasoning) &&
		   (calls == NULL || read_tool_deltas(exchange, stream, choice, calls));
}

static bool
read_finish_reason(OpenAiStream *stream, Exchange *exchange, int choice, const JsonbValue *said)
{
	const char *meant;

	if (!json_value_given(said))
		return said != NULL;
	meant = openai_finish_reason(said, stream->calls[choice] > 0);
	answer_note_end(exchange->answer);
	stream->open[choice] = false;
	if (choice == 0)
		stream->finish_reason = meant;
	return json_value_is(said, meant);
}

/* The place of a choice: its index, or where it stands; -1 for nonsense. */
static int
choice_number(JsonbContainer *choice, int position)
{
	int64 index = position;

	json_member_int64(choice, "index", &index);
	return index < 0 || index >= ANSWER_MAX_CHOICES ? -1 : (int) index;
}

/* Read all choices; *plain is whether the chunk can be passed on.  False: no chunk. */
static bool
read_choices(Exchange *exchange, OpenAiStream *stream, JsonbContainer *choices, bool *plain)
{
	JsonbIterator *iterator = json_iterate(choices);
	JsonbValue	   element;
	int			   position = 0;

	while (json_next_element(&iterator, &element))
	{
		JsonbContainer *choice = json_value_object(&element);
		JsonbContainer *delta = choice ? json_member_object(choice, "delta") : NULL;
		int				number = choice ? choice_number(choice, position++) : -1;

		if (number < 0)
			return false;
		*plain = *plain && delta && json_member(choice, "index");
		stream->open[number] = true;
		if (delta)
			*plain &= read_delta(exchange, stream, number, delta);
		*plain &= read_finish_reason(stream, exchange, number, json_member(choice, "finish_reason"));
	}
	return true;
}

static bool
has_plain_head(JsonbContainer *chunk)
{
	int64 created;

	return json_value_is(json_member(chunk, "object"), "chat.completion.chunk") &&
		   json_value_filled(json_member(chunk, "id")) &&
		   json_value_filled(json_member(chunk, "model")) &&
		   json_member_int64(chunk, "created", &created) &&
		   !json_value_given(json_member(chunk, "usage")) &&
		   json_member(chunk, "x_groq") == NULL && json_member(chunk, "llm_router") == NULL;
}

/* ------------------------------------------------------------------------
 * Rebuilding a chunk
 * ------------------------------------------------------------------------
 */

static void
push_tool_delta(JsonbParseState **state, JsonbContainer *call, int index)
{
	static const char *const rewritten[] = { "index", "type", "function", NULL };
	static const char *const rewritten_function[] = { "arguments", NULL };
	JsonbContainer			*function = json_member_object(call, "function");

	pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	json_push_members(state, call, rewritten);
	json_push_int64(state, "index", index);
	if (json_value_filled(json_member(call, "id")))
		json_push_string(state, "type", "function", 8);
	if (function)
	{
		json_push_key(state, "function");
		pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
		json_push_members(state, function, rewritten_function);
		openai_push_arguments(state, json_member(function, "arguments"), "");
		pushJsonbValue(state, WJB_END_OBJECT, NULL);
	}
	pushJsonbValue(state, WJB_END_OBJECT, NULL);
}

/* Where servers do not number the calls, each id begins one. */
static void
push_tool_deltas(JsonbParseState **state, JsonbContainer *calls, int begun)
{
	JsonbIterator *iterator = json_iterate(calls);
	JsonbValue	   element;
	int			   next = begun;

	/* Those of this chunk are counted already. */
	while (json_next_element(&iterator, &element))
		if (json_value_filled(json_member(json_value_object(&element), "id")))
			next--;

	json_push_key(state, "tool_calls");
	pushJsonbValue(state, WJB_BEGIN_ARRAY, NULL);
	iterator = json_iterate(calls);
	while (json_next_element(&iterator, &element))
	{
		JsonbContainer *call = json_value_object(&element);
		int64			index;

		if (json_value_filled(json_member(call, "id")))
			next++;
		index = Max(next - 1, 0);
		json_member_int64(call, "index", &index);
		push_tool_delta(state, call, (int) index);
	}
	pushJsonbValue(state, WJB_END_ARRAY, NULL);
}

static bool
all_objects(JsonbContainer *array)
{
	JsonbIterator *iterator = json_iterate(array);
	JsonbValue	   element;
	bool		   all = true;

	while (json_next_element(&iterator, &element))
		all = all && json_value_object(&element);
	return all;
}

static void
push_delta(JsonbParseState **state, JsonbContainer *delta, int begun)
{
	static const char *const rewritten[] = {
		"content", "reasoning", "reasoning_content", "tool_calls", NULL
	};
	JsonbValue	   *content = json_member(delta, "content");
	JsonbValue	   *reasoning = json_member(delta, "reasoning_content");
	JsonbContainer *calls = json_member_array(delta, "tool_calls");
	StringInfoData	text;
	StringInfoData	thinking;

	json_push_members(state, delta, rewritten);
	if (!json_value_given(reasoning))
		reasoning = json_member(delta, "reasoning");
	if (json_value_array(content))
	{
		openai_read_parts(json_value_array(content), &text, &thinking);
		if (text.len > 0)
			json_push_string(state, "content", text.data, text.len);
		if (thinking.len > 0)
			json_push_string(state, "reasoning_content", thinking.data, thinking.len);
	}
	else if (content && (content->type == jbvString || content->type == jbvNull))
		json_push_member(state, "content", content);
	if (json_value_filled(reasoning))
		json_push_member(state, "reasoning_content", reasoning);
	if (calls && JsonContainerSize(calls) > 0 && all_objects(calls))
		push_tool_deltas(state, calls, begun);
}

static void
push_choice(JsonbParseState **state, OpenAiStream *stream, JsonbContainer *choice, int position)
{
	static const char *const rewritten[] = { "index", "delta", "message", "finish_reason", NULL };
	JsonbContainer			*delta = json_member_object(choice, "delta");
	JsonbValue				*reason = json_member(choice, "finish_reason");
	int						 number = choice_number(choice, position);
	const char				*meant;

	pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	json_push_members(state, choice, rewritten);
	json_push_int64(state, "index", number);
	json_push_key(state, "delta");
	pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	if (delta)
		push_delta(state, delta, stream->calls[number]);
	pushJsonbValue(state, WJB_END_OBJECT, NULL);
	if (json_value_given(reason))
	{
		meant = openai_finish_reason(reason, stream->calls[number] > 0);
		json_push_string(state, "finish_reason", meant, (int) strlen(meant));
	}
	else
		json_push_null(state, "finish_reason");
	pushJsonbValue(state, WJB_END_OBJECT, NULL);
}

static Jsonb *
rebuild_chunk(Exchange *exchange, OpenAiStream *stream, JsonbContainer *chunk)
{
	static const char *const rewritten[] = { "id", "object", "created", "model",
											 "choices", "usage", "x_groq", "llm_router",
											 NULL };
	JsonbIterator			*iterator = json_iterate(json_member_array(chunk, "choices"));
	JsonbParseState			*state = NULL;
	JsonbValue				 element;
	int						 position = 0;

	answer_push_chunk_head(&state, exchange->answer);
	json_push_members(&state, chunk, rewritten);
	json_push_key(&state, "choices");
	pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	while (json_next_element(&iterator, &element))
		push_choice(&state, stream, json_value_object(&element), position++);
	pushJsonbValue(&state, WJB_END_ARRAY, NULL);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/* ------------------------------------------------------------------------
 * The stream
 * ------------------------------------------------------------------------
 */

/* All has come.  Without any choice there was no answer. */
static void
finish(Exchange *exchange, ProviderReply *reply)
{
	OpenAiStream   *stream = get_state(exchange);
	JsonbContainer *said = NULL;

	if (stream->finish_reason == NULL && !answer_has_substance(exchange->answer))
	{
		failure_protocol("the stream has no choices", reply);
		return;
	}
	if (stream->usage_said)
		said = &stream->usage_said->root;
	reply->outcome = OUTCOME_OK;
	reply->answer.usage = stream->usage;
	reply->answer.reported_cost = stream->reported_cost;
	reply->answer.finish_reason = stream->finish_reason ? pstrdup(stream->finish_reason) : NULL;
	reply->answer.completion = answer_close(exchange->answer, &reply->answer.usage, said);
}

static void
read_chunk(Exchange *exchange, OpenAiStream *stream, Jsonb *chunk)
{
	JsonbContainer *choices = json_member_array(&chunk->root, "choices");
	bool			plain = has_plain_head(&chunk->root);

	read_head(exchange, stream, &chunk->root);
	read_usage(exchange, stream, &chunk->root);
	if (choices && JsonContainerSize(choices) > 0 && read_choices(exchange, stream, choices, &plain))
		answer_add_chunk(exchange->answer,
						 plain ? chunk : rebuild_chunk(exchange, stream, &chunk->root));

	/* Some servers tell sums so far: all that a cut leaves to pay for only at the end. */
	exchange->usage = stream->usage;
	exchange->usage.known = stream->usage.known && stream->finish_reason;
}

bool
openai_parse_event(Exchange *exchange, const WireResponse *wire, const SseEvent *event,
				   ProviderReply *reply)
{
	OpenAiStream *stream = get_state(exchange);
	const char	 *problem;
	Jsonb		 *chunk;

	if (event->length == 6 && memcmp(event->data, "[DONE]", 6) == 0)
	{
		finish(exchange, reply);
		return true;
	}
	chunk = json_from_bytes(event->data, event->length, &problem);
	if (chunk == NULL || !JB_ROOT_IS_OBJECT(chunk))
	{
		failure_protocol(chunk ? "an event of the stream is no JSON object" : problem, reply);
		return true;
	}
	if (openai_is_failure(&chunk->root))
	{
		failure_read(wire, &chunk->root, reply);
		return true;
	}
	read_chunk(exchange, stream, chunk);
	return false;
}

void
openai_end_stream(Exchange *exchange, const WireResponse *wire, ProviderReply *reply)
{
	OpenAiStream *stream = get_state(exchange);
	bool		  is_open = false;

	for (int i = 0; i < ANSWER_MAX_CHOICES; i++)
		is_open = is_open || stream->open[i];

	/* Some servers leave out [DONE], and a finish_reason says as much. */
	if (stream->finish_reason && !is_open)
		finish(exchange, reply);
	else
		failure_protocol("the stream was cut off", reply);
}

/*
 * exchange.c
 *		One attempt as the adapters see it, and what they do alike in streams.
 */
#include "chat/json.h"
#include "providers/failure.h"
#include "providers/provider.h"
#include "utils/memutils.h"

Exchange *
exchange_create(const ApiFormat *format, const ProviderEndpoint *endpoint,
				const ProviderModel *model, const ChatRequest *request, TimestampTz now)
{
	Exchange *exchange = palloc0(sizeof(Exchange));

	exchange->format = format;
	exchange->endpoint = endpoint;
	exchange->model = *model;
	exchange->request = request;
	exchange->context = CurrentMemoryContext;
	exchange->answer = answer_create(request->streams, now);
	return exchange;
}

bool
exchange_is_stream(const WireResponse *wire)
{
	static const char type[] = "text/event-stream";
	const char		 *header = wire_response_header(wire, "content-type");

	return wire_response_good(wire) && header &&
		   pg_strncasecmp(header, type, strlen(type)) == 0;
}

/* Read all events that are complete; true when one ended the stream. */
static bool
read_events(Exchange *exchange, const WireResponse *wire, MemoryContext event_context,
			ProviderReply *reply)
{
	SseEvent event;

	while (sse_next(exchange->events, &event))
	{
		MemoryContextReset(event_context);
		if (exchange->format->parse_event(exchange, wire, &event, reply))
			return true;
	}
	return false;
}

bool
exchange_read_stream(Exchange *exchange, const WireResponse *wire, const char *bytes,
					 size_t length, bool at_end, size_t max_bytes, ProviderReply *reply)
{
	MemoryContext previous = MemoryContextSwitchTo(exchange->context);
	bool		  ended;

	if (exchange->events == NULL)
	{
		exchange->events = sse_create(max_bytes);
		exchange->event_context = AllocSetContextCreate(exchange->context, "llm_router event",
														ALLOCSET_DEFAULT_SIZES);
	}
	exchange->bytes_read += length;
	sse_feed(exchange->events, bytes, length);
	if (at_end)
		sse_end(exchange->events);

	MemoryContextSwitchTo(exchange->event_context);
	ended = read_events(exchange, wire, exchange->event_context, reply);
	/* Chunks are held until one of them says something. */
	if (!ended && (sse_overflowed(exchange->events) ||
				   (exchange->bytes_read > max_bytes &&
					(!exchange->request->streams || !answer_has_substance(exchange->answer)))))
	{
		failure_protocol("the answer, or an event of it, is larger than llm_router.max_response_size",
						 reply);
		ended = true;
	}
	if (!ended && at_end)
	{
		MemoryContextReset(exchange->event_context);
		exchange->format->end_stream(exchange, wire, reply);
		ended = true;
	}
	MemoryContextSwitchTo(previous);
	return ended;
}

/* Count what a message says, should the caller not read the chunks to their end. */
static void
count_message(Answer *answer, JsonbContainer *message)
{
	static const char *const texts[] = { "content", "refusal", "reasoning_content" };

	for (int i = 0; i < (int) lengthof(texts); i++)
	{
		JsonbValue *text = json_member(message, texts[i]);

		if (json_value_filled(text))
			answer_count_text(answer, text->val.string.val, text->val.string.len);
	}
	answer_note_end(answer);
}

/* One choice of a whole answer as a chunk: its message is the delta. */
static void
push_chunk_choice(JsonbParseState **state, JsonbContainer *choice, JsonbContainer *message)
{
	static const char *const not_in_delta[] = { "tool_calls", NULL };
	static const char *const message_only[] = { "message", NULL };
	JsonbContainer			*calls = json_member_array(message, "tool_calls");
	JsonbIterator			*iterator;
	JsonbValue				 call;
	int						 index = 0;

	pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	json_push_members(state, choice, message_only);
	json_push_key(state, "delta");
	pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	json_push_members(state, message, not_in_delta);
	if (calls)
	{
		json_push_key(state, "tool_calls");
		pushJsonbValue(state, WJB_BEGIN_ARRAY, NULL);
		iterator = json_iterate(calls);
		while (json_next_element(&iterator, &call))
		{
			static const char *const rewritten[] = { "index", NULL };

			pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
			json_push_members(state, json_value_object(&call), rewritten);
			json_push_int64(state, "index", index++);
			pushJsonbValue(state, WJB_END_OBJECT, NULL);
		}
		pushJsonbValue(state, WJB_END_ARRAY, NULL);
	}
	pushJsonbValue(state, WJB_END_OBJECT, NULL);
	pushJsonbValue(state, WJB_END_OBJECT, NULL);
}

/* A chunk of the completion, open where its choices come. */
static JsonbParseState *
begin_chunk(Jsonb *completion)
{
	static const char *const rewritten[] = { "object", "choices", "usage", NULL };
	JsonbParseState			*state = NULL;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	json_push_members(&state, &completion->root, rewritten);
	json_push_string(&state, "object", "chat.completion.chunk", 21);
	json_push_key(&state, "choices");
	pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	return state;
}

JsonbParseState *
exchange_chunks_of(Exchange *exchange, Jsonb *completion, const TokenUsage *usage)
{
	JsonbIterator	*iterator = json_iterate(json_member_array(&completion->root, "choices"));
	JsonbParseState *last = begin_chunk(completion);
	JsonbValue		 choice;

	while (json_next_element(&iterator, &choice))
	{
		JsonbContainer	*object = json_value_object(&choice);
		JsonbContainer	*message = json_member_object(object, "message");
		JsonbParseState *state = begin_chunk(completion);

		count_message(exchange->answer, message);
		push_chunk_choice(&state, object, message);
		pushJsonbValue(&state, WJB_END_ARRAY, NULL);
		answer_add_chunk(exchange->answer,
						 JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL)));
	}
	pushJsonbValue(&last, WJB_END_ARRAY, NULL);
	answer_push_usage(&last, usage, json_member_object(&completion->root, "usage"));
	return last;
}

/*
 * cohere_stream.c
 *		Reading a stream.  Each event is a JSON object whose type says what it is;
 *		types that are not known here are skipped.
 */
#include "providers/cohere.h"

#include "chat/json.h"
#include "providers/failure.h"

typedef struct CohereStream
{
	bool  has_text;
	int	  ncalls;
	int64 numbers[ANSWER_MAX_TOOL_CALLS]; /* that the stream gives the calls, by ours */
} CohereStream;

/* One event, and what it leads to. */
typedef struct Reader
{
	Exchange		   *exchange;
	CohereStream	   *stream;
	const WireResponse *wire;
	JsonbContainer	   *event;
	JsonbContainer	   *delta;	 /* its member, or NULL */
	JsonbContainer	   *message; /* of the delta, or NULL */
	ProviderReply	   *reply;
} Reader;

static CohereStream *
get_state(Exchange *exchange)
{
	if (exchange->state == NULL)
	{
		exchange->state = MemoryContextAllocZero(exchange->context, sizeof(CohereStream));
		answer_set_head(exchange->answer, NULL, exchange->model.name, 0);
	}
	return exchange->state;
}

static bool
failed(Reader *reader, const char *problem)
{
	failure_protocol(problem, reader->reply);
	return true;
}

/* Readers of the events; true ends the stream. */

static bool
read_message_start(Reader *reader)
{
	answer_set_head(reader->exchange->answer, json_member_string(reader->event, "id"), NULL, 0);
	return false;
}

static bool
read_content(Reader *reader)
{
	JsonbContainer *content = reader->message ? json_member_object(reader->message, "content") : NULL;

	cohere_add_logprobs(reader->exchange, json_member(reader->event, "logprobs"));
	if (content)
		cohere_add_content(reader->exchange, content, &reader->stream->has_text);
	return false;
}

static bool
read_tool_plan(Reader *reader)
{
	JsonbValue *plan = reader->message ? json_member(reader->message, "tool_plan") : NULL;

	if (json_value_filled(plan) && !reader->stream->has_text)
		answer_add_text(reader->exchange->answer, 0, plan->val.string.val, plan->val.string.len);
	return false;
}

/* In events, tool_calls is one call. */
static JsonbContainer *
tool_call(const Reader *reader)
{
	JsonbValue	   *value = reader->message ? json_member(reader->message, "tool_calls") : NULL;
	JsonbContainer *array = json_value_array(value);

	if (array && JsonContainerSize(array) > 0)
		value = getIthJsonbValueFromContainer(array, 0);
	return json_value_object(value);
}

static bool
read_tool_call_start(Reader *reader)
{
	CohereStream   *stream = reader->stream;
	JsonbContainer *call = tool_call(reader);
	const char	   *problem = "a tool call of the stream is no object";
	int				index = call ? cohere_begin_tool_call(reader->exchange, call, &problem) : -1;

	if (index < 0)
		return failed(reader, problem);
	stream->numbers[index] = index;
	json_member_int64(reader->event, "index", &stream->numbers[index]);
	stream->ncalls = index + 1;
	cohere_add_arguments(reader->exchange, call, index, true);
	return false;
}

static bool
read_tool_call_delta(Reader *reader)
{
	CohereStream   *stream = reader->stream;
	JsonbContainer *call = tool_call(reader);
	int				index = stream->ncalls - 1;
	int64			number;

	if (call == NULL)
		return false;
	if (json_member_int64(reader->event, "index", &number))
		while (index >= 0 && stream->numbers[index] != number)
			index--;
	if (index < 0)
		return failed(reader, "the stream has arguments of a tool call that was not begun");
	cohere_add_arguments(reader->exchange, call, index, false);
	return false;
}

/* Like tool_calls, one; it is passed on as an array of one. */
static bool
read_citation(Reader *reader)
{
	JsonbValue		*citation = reader->message ? json_member(reader->message, "citations") : NULL;
	JsonbParseState *state = NULL;

	if (!json_value_object(citation))
		return false;
	pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	pushJsonbValue(&state, WJB_ELEM, citation);
	answer_set_member(reader->exchange->answer, 0, "citations",
					  JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_ARRAY, NULL)));
	return false;
}

static bool
read_message_end(Reader *reader)
{
	Exchange	  *exchange = reader->exchange;
	ProviderReply *reply = reader->reply;
	JsonbValue	  *reason = reader->delta ? json_member(reader->delta, "finish_reason") : NULL;

	if (reader->delta)
		cohere_read_usage(json_member_object(reader->delta, "usage"), &reply->answer.usage);
	exchange->usage = reply->answer.usage;
	if (reader->delta && (cohere_reason_is_failure(reason) ||
						  json_value_given(json_member(reader->delta, "error"))))
	{
		failure_read(reader->wire, reader->delta, reply);
		return true;
	}
	if (!json_value_given(reason) && !answer_has_substance(exchange->answer))
		return failed(reader, "the stream has no answer");
	answer_finish(exchange->answer, 0, cohere_finish_reason(reason, reader->stream->ncalls > 0));
	reply->outcome = OUTCOME_OK;
	reply->answer.finish_reason = pstrdup(answer_finish_reason(exchange->answer));
	reply->answer.completion = answer_close(exchange->answer, &reply->answer.usage, NULL);
	return true;
}

static bool
read_error(Reader *reader)
{
	failure_read(reader->wire, reader->event, reader->reply);
	return true;
}

static const struct
{
	const char *type;
	bool (*read)(Reader *reader);
} event_readers[] = {
	{ "message-start", read_message_start },
	{ "content-start", read_content },
	{ "content-delta", read_content },
	{ "tool-plan-delta", read_tool_plan },
	{ "tool-call-start", read_tool_call_start },
	{ "tool-call-delta", read_tool_call_delta },
	{ "citation-start", read_citation },
	{ "message-end", read_message_end },
	{ "error", read_error },
};

static bool
read_event(Reader *reader)
{
	JsonbValue *type = json_member(reader->event, "type");
	JsonbValue *message = json_member(reader->event, "message");

	for (int i = 0; i < (int) lengthof(event_readers); i++)
		if (json_value_is(type, event_readers[i].type))
			return event_readers[i].read(reader);

	/* An error as it stands in bodies: a message, and no type. */
	if (type == NULL && ((message && message->type == jbvString) ||
						 json_value_given(json_member(reader->event, "error"))))
		return read_error(reader);
	return false;
}

bool
cohere_parse_event(Exchange *exchange, const WireResponse *wire, const SseEvent *event,
				   ProviderReply *reply)
{
	Reader		reader = { .exchange = exchange, .wire = wire, .reply = reply };
	const char *problem;
	Jsonb	   *json;

	reader.stream = get_state(exchange);
	if (event->length == 6 && memcmp(event->data, "[DONE]", 6) == 0)
		return failed(&reader, "the stream was cut off"); /* some send it, but after the end */
	json = json_from_bytes(event->data, event->length, &problem);
	if (json == NULL || !JB_ROOT_IS_OBJECT(json))
		return failed(&reader, json ? "an event of the stream is no JSON object" : problem);
	reader.event = &json->root;
	reader.delta = json_member_object(reader.event, "delta");
	reader.message = reader.delta ? json_member_object(reader.delta, "message") : NULL;
	return read_event(&reader);
}

void
cohere_end_stream(Exchange *exchange, const WireResponse *wire, ProviderReply *reply)
{
	failure_protocol("the stream was cut off", reply);
}

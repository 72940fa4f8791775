/*
 * replicate_answer.c
 *		Reading a prediction, and what is to be asked next.
 *
 * A prediction that was made goes one of these ways:
 *
 *		it is done					its output is the answer
 *		it is not, no stream		look at it, again and again, until it is
 *		it is not, with a stream	read the stream, then look for the counts
 *
 * An address for streams that is none of the provider's is not asked; the
 * prediction is then looked at as if there were no stream, and its whole output
 * makes the chunks.
 */
#include "providers/replicate.h"

#include "chat/json.h"
#include "providers/failure.h"
#include "utils/memutils.h"

/* How long to wait before a look: longer each time. */
#define FIRST_WAIT_MS	500
#define LONGEST_WAIT_MS 5000

/* An answer that is complete is not held back longer for its counts. */
#define MAX_METER_LOOKS	   8
#define MAX_METER_FAILURES 4

ReplicateState *
replicate_state(Exchange *exchange)
{
	if (exchange->state == NULL)
		exchange->state = MemoryContextAllocZero(exchange->context, sizeof(ReplicateState));
	return exchange->state;
}

/* ------------------------------------------------------------------------
 * What is asked next
 * ------------------------------------------------------------------------
 */

static WireRequest *
make_request(Exchange *exchange, const char *method, const char *url)
{
	WireRequest *wire = palloc(sizeof(WireRequest));

	wire_request_start(wire, exchange->endpoint, method, url);
	return wire;
}

static WireRequest *
cancel_request(Exchange *exchange)
{
	const char *url = replicate_state(exchange)->cancel_url;

	return url ? make_request(exchange, "POST", url) : NULL;
}

void
replicate_poll(Exchange *exchange, ReplicatePhase phase, ProviderReply *reply)
{
	ReplicateState *state = replicate_state(exchange);

	/* The first look at a stream's counts need not wait: all is done. */
	reply->follow_up_wait_ms = Min(FIRST_WAIT_MS * (state->polls + 1), LONGEST_WAIT_MS);
	if (phase == REPLICATE_METER && state->phase != REPLICATE_METER)
	{
		reply->follow_up_wait_ms = 0;
		state->polls = 0;
	}
	else
		state->polls++;
	state->phase = phase;
	reply->follow_up = make_request(exchange, "GET", state->get_url);
	if (phase == REPLICATE_POLL)
		reply->on_abort = cancel_request(exchange);
}

static void
read_stream_at(Exchange *exchange, const char *url, ProviderReply *reply)
{
	WireRequest *wire = make_request(exchange, "GET", url);

	wire->headers = NIL;
	wire_request_add_header(wire, "Accept", "text/event-stream");
	wire->streams = true;
	wire->keyless = true;
	replicate_state(exchange)->phase = REPLICATE_STREAM;
	reply->follow_up = wire;
	reply->on_abort = cancel_request(exchange);
}

/* Note the addresses of a new prediction; false when it cannot be looked at. */
static bool
note_urls(Exchange *exchange, JsonbContainer *urls)
{
	ReplicateState *state = replicate_state(exchange);
	char		   *get_url = urls ? json_member_string(urls, "get") : NULL;
	char		   *cancel_url = urls ? json_member_string(urls, "cancel") : NULL;

	if (state->get_url)
		return true;
	if (get_url == NULL || !replicate_may_ask(exchange, get_url))
		return false;
	state->get_url = MemoryContextStrdup(exchange->context, get_url);
	if (cancel_url && replicate_may_ask(exchange, cancel_url))
		state->cancel_url = MemoryContextStrdup(exchange->context, cancel_url);
	return true;
}

/* It is not done. */
static void
go_on(Exchange *exchange, JsonbContainer *prediction, ProviderReply *reply)
{
	ReplicateState *state = replicate_state(exchange);
	JsonbContainer *urls = json_member_object(prediction, "urls");
	char		   *stream_url = urls ? json_member_string(urls, "stream") : NULL;

	if (!note_urls(exchange, urls))
		failure_protocol("the prediction has no address at the provider's own host", reply);
	else if (state->phase == REPLICATE_CREATE && exchange->request->streams && stream_url &&
			 replicate_may_stream(exchange, stream_url))
		read_stream_at(exchange, stream_url, reply);
	else
		replicate_poll(exchange, state->phase == REPLICATE_METER ? REPLICATE_METER : REPLICATE_POLL,
					   reply);
}

/* ------------------------------------------------------------------------
 * A prediction that is done
 * ------------------------------------------------------------------------
 */

static bool
read_count(JsonbContainer *metrics, const char *name, int64 *count)
{
	return json_member_int64(metrics, name, count) && *count >= 0 && *count <= USAGE_MAX_TOKENS;
}

/* Language models count tokens; of others, nothing is known. */
static void
read_usage(JsonbContainer *prediction, TokenUsage *usage)
{
	JsonbContainer *metrics = json_member_object(prediction, "metrics");

	memset(usage, 0, sizeof(*usage));
	usage->known = metrics && read_count(metrics, "input_token_count", &usage->input) &&
				   read_count(metrics, "output_token_count", &usage->output);
	if (!usage->known)
		memset(usage, 0, sizeof(*usage));
}

/* The output: a text, or the pieces of one.  False for anything else. */
static bool
output_text(const JsonbValue *output, StringInfo text)
{
	JsonbContainer *array = json_value_array(output);
	JsonbIterator  *iterator;
	JsonbValue		piece;

	initStringInfo(text);
	if (output && output->type == jbvString)
	{
		appendBinaryStringInfo(text, output->val.string.val, output->val.string.len);
		return true;
	}
	if (array == NULL)
		return false;
	iterator = json_iterate(array);
	while (json_next_element(&iterator, &piece))
	{
		if (piece.type != jbvString)
			return false;
		appendBinaryStringInfo(text, piece.val.string.val, piece.val.string.len);
	}
	return true;
}

/* All is said. */
static void
finish(Exchange *exchange, ProviderReply *reply)
{
	TokenUsage *usage = &reply->answer.usage;
	int64		limit = replicate_output_limit(exchange);
	bool		is_cut = usage->known && limit > 0 && usage->output >= limit;

	answer_finish(exchange->answer, 0, is_cut ? "length" : "stop");
	reply->outcome = OUTCOME_OK;
	reply->answer.finish_reason = pstrdup(answer_finish_reason(exchange->answer));
	reply->answer.completion = answer_close(exchange->answer, usage, NULL);
}

static void
read_output(Exchange *exchange, JsonbContainer *prediction, ProviderReply *reply)
{
	StringInfoData text;

	/* A stream has brought it already. */
	if (!answer_has_substance(exchange->answer))
	{
		if (!output_text(json_member(prediction, "output"), &text))
		{
			failure_protocol("the output of the prediction is no text", reply);
			return;
		}
		answer_add_text(exchange->answer, 0, text.data, text.len);
	}
	finish(exchange, reply);
}

static void
read_prediction(Exchange *exchange, const WireResponse *wire, JsonbContainer *prediction,
				ProviderReply *reply)
{
	static const struct
	{
		const char *status;
		const char *message; /* where the prediction has no error */
	} failures[] = {
		{ "failed", "the prediction failed" },
		{ "canceled", "the prediction was canceled" },
		{ "aborted", "the prediction was aborted" },
	};
	ReplicateState *state = replicate_state(exchange);
	JsonbValue	   *status = json_member(prediction, "status");

	if (!json_value_filled(status))
	{
		failure_protocol("the answer is no prediction", reply);
		return;
	}
	answer_set_head(exchange->answer, json_member_string(prediction, "id"), exchange->model.name, 0);
	for (int i = 0; i < (int) lengthof(failures); i++)
		if (json_value_is(status, failures[i].status))
		{
			failure_read(wire, prediction, reply);
			if (reply->message == NULL)
				reply->message = pstrdup(failures[i].message);
			return;
		}
	if (json_value_is(status, "succeeded"))
		read_output(exchange, prediction, reply);
	else if (state->phase == REPLICATE_METER && state->polls >= MAX_METER_LOOKS)
		finish(exchange, reply);
	else
		go_on(exchange, prediction, reply);
}

/* The counts cannot be had; the answer is complete nevertheless. */
static void
finish_without_counts(Exchange *exchange, ProviderReply *reply)
{
	reply->message = reply->code = NULL;
	reply->retry_after_ms = -1;
	reply->do_not_retry = false;
	finish(exchange, reply);
}

/* An answer that is no prediction; it may be asked for again. */
static void
read_failure(Exchange *exchange, const WireResponse *wire, JsonbContainer *body, const char *problem,
			 ProviderReply *reply)
{
	ReplicateState *state = replicate_state(exchange);

	if (!wire_response_good(wire))
		failure_read(wire, body, reply);
	else
		failure_protocol(problem, reply);
	if (state->phase == REPLICATE_METER &&
		((reply->outcome != OUTCOME_RETRYABLE && reply->outcome != OUTCOME_RATE_LIMITED) ||
		 state->polls++ >= MAX_METER_FAILURES))
		finish_without_counts(exchange, reply);
}

/*
 * The document goes when it is read: a prediction repeats its input, and may be
 * looked at often.
 */
void
replicate_parse_chat(Exchange *exchange, const WireResponse *wire, ProviderReply *reply)
{
	MemoryContext	document;
	MemoryContext	previous;
	const char	   *problem;
	Jsonb		   *json;
	JsonbContainer *body;

	if (replicate_state(exchange)->phase == REPLICATE_STREAM)
	{
		/* There is no stream; the prediction goes on nevertheless. */
		replicate_poll(exchange, REPLICATE_POLL, reply);
		return;
	}
	document = AllocSetContextCreate(CurrentMemoryContext, "llm_router prediction",
									 ALLOCSET_DEFAULT_SIZES);
	previous = MemoryContextSwitchTo(document);
	json = json_from_bytes(wire->body, wire->body_length, &problem);
	MemoryContextSwitchTo(previous);

	body = wire_body_object(json);
	if (body)
		read_usage(body, &reply->answer.usage);
	if (body && wire_response_good(wire))
		read_prediction(exchange, wire, body, reply);
	else
		read_failure(exchange, wire, body, json ? "the answer is no JSON object" : problem, reply);
	MemoryContextDelete(document);
}

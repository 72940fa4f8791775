/*
 * replicate_stream.c
 *		Reading the stream of a prediction's output.
 *
 * Its events say by their name what they are; the data of "output" is plain text,
 * not JSON.  The bytes are the network's: they are brought into the database
 * encoding here, and a character that an event cuts waits for the next one.
 */
#include "providers/replicate.h"

#include "base/encoding.h"
#include "chat/json.h"
#include "providers/failure.h"

/* The length of the beginning of a character at the very end; 0 for none. */
static int
cut_length(const unsigned char *at, const unsigned char *end, int step)
{
	return at + step == end && *at >= 0xC2 && *at <= 0xF4 ? step : 0;
}

/*
 * Append well-formed UTF-8 without NULs, which jsonb cannot hold; U+FFFD stands
 * for what is neither.  Returns the length of a cut character, which is left.
 */
static int
append_clean(StringInfo clean, const char *bytes, size_t length)
{
	const unsigned char *at = (const unsigned char *) bytes;
	const unsigned char *end = at + length;
	const unsigned char *copied = at;

	while (at < end)
	{
		bool valid;
		int	 step = utf8_sequence(at, end, &valid);

		if (!valid || *at == '\0')
		{
			appendBinaryStringInfo(clean, (const char *) copied, (int) (at - copied));
			if (!valid && cut_length(at, end, step) > 0)
				return step;
			appendBinaryStringInfo(clean, UTF8_REPLACEMENT, UTF8_REPLACEMENT_LENGTH);
			copied = at + step;
		}
		at += step;
	}
	appendBinaryStringInfo(clean, (const char *) copied, (int) (end - copied));
	return 0;
}

static void
add_text(Exchange *exchange, const char *utf8, int length)
{
	StringInfoData text;

	initStringInfo(&text);
	encoding_append_from_utf8(&text, utf8, length);
	answer_add_text(exchange->answer, 0, text.data, text.len);
}

static void
read_output(Exchange *exchange, const SseEvent *event)
{
	ReplicateState *state = replicate_state(exchange);
	StringInfoData	bytes;
	StringInfoData	clean;

	initStringInfo(&bytes);
	appendBinaryStringInfo(&bytes, state->tail, state->tail_length);
	appendBinaryStringInfo(&bytes, event->data, (int) event->length);
	initStringInfo(&clean);
	state->tail_length = append_clean(&clean, bytes.data, bytes.len);
	memcpy(state->tail, bytes.data + bytes.len - state->tail_length, state->tail_length);
	if (clean.len > 0)
		add_text(exchange, clean.data, clean.len);
}

/* A character whose rest did not come. */
static void
flush_tail(Exchange *exchange)
{
	ReplicateState *state = replicate_state(exchange);

	if (state->tail_length > 0)
		add_text(exchange, UTF8_REPLACEMENT, UTF8_REPLACEMENT_LENGTH);
	state->tail_length = 0;
}

/* The data as JSON, if that is an object. */
static JsonbContainer *
event_object(const SseEvent *event)
{
	const char *problem;
	Jsonb	   *json = json_from_bytes(event->data, event->length, &problem);

	return json && JB_ROOT_IS_OBJECT(json) ? &json->root : NULL;
}

/* JSON or a text. */
static void
read_error(const WireResponse *wire, const SseEvent *event, ProviderReply *reply)
{
	WireResponse said = *wire;

	said.body = event->data;
	said.body_length = event->length;
	failure_read(&said, event_object(event), reply);
}

/* The end of the output: of all of it, or because of a reason. */
static void
read_done(Exchange *exchange, const WireResponse *wire, const SseEvent *event, ProviderReply *reply)
{
	JsonbContainer *said = event_object(event);
	JsonbValue	   *reason = said ? json_member(said, "reason") : NULL;

	if (json_value_is(reason, "canceled") || json_value_is(reason, "error"))
	{
		failure_read(wire, said, reply);
		if (reply->message == NULL)
			reply->message = psprintf("the prediction ended with the reason \"%s\"",
									  json_value_string(reason));
		return;
	}
	flush_tail(exchange);

	/* A stream that said nothing may have lost it. */
	replicate_poll(exchange, answer_has_substance(exchange->answer) ? REPLICATE_METER : REPLICATE_POLL,
				   reply);
}

bool
replicate_parse_event(Exchange *exchange, const WireResponse *wire, const SseEvent *event,
					  ProviderReply *reply)
{
	if (replicate_state(exchange)->get_url == NULL)
	{
		/* A stream in place of the prediction, which nobody asked for. */
		failure_protocol("the answer is no prediction", reply);
		return true;
	}
	if (strcmp(event->name, "output") == 0)
	{
		read_output(exchange, event);
		return false;
	}
	if (strcmp(event->name, "error") == 0)
		read_error(wire, event, reply);
	else if (strcmp(event->name, "done") == 0)
		read_done(exchange, wire, event, reply);
	else
		return false; /* logs, and what is not known */
	return true;
}

void
replicate_end_stream(Exchange *exchange, const WireResponse *wire, ProviderReply *reply)
{
	/* While nothing is said, the output may as well come whole. */
	if (replicate_state(exchange)->get_url && !answer_has_substance(exchange->answer))
	{
		replicate_state(exchange)->tail_length = 0;
		replicate_poll(exchange, REPLICATE_POLL, reply);
	}
	else
		failure_protocol("the stream was cut off", reply);
}

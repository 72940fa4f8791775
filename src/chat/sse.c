/*
 * sse.c
 *		Server-sent events, as they come in pieces from the network.
 *
 * Bytes wait in "input" until their line is complete; then the line goes into
 * the event under construction.  Each byte is looked at a bounded number of
 * times, however the pieces are cut: "scanned" is how far a line end has been
 * looked for, and the input is moved to the front only when at least half of it
 * has been used.
 */
#include "chat/sse.h"

#include "lib/stringinfo.h"
#include "utils/memutils.h"

struct SseParser
{
	size_t		   max_event_bytes;
	StringInfoData input;
	int			   used;	/* of the input, by lines that were read */
	int			   scanned; /* of the input: no line end between used and here */
	StringInfoData name;
	StringInfoData data;
	bool		   has_data; /* there was a data line, perhaps an empty one */
	bool		   taken;	 /* name and data are an event's that was handed out */
	bool		   started;	 /* the first line has been read */
	bool		   ended;
	bool		   overflowed;
};

SseParser *
sse_create(size_t max_event_bytes)
{
	SseParser *parser = palloc0(sizeof(SseParser));

	/* A StringInfo holds at most 1 GB, and has to have room for one more read. */
	parser->max_event_bytes = Min(max_event_bytes, MaxAllocSize / 4);
	initStringInfo(&parser->input);
	initStringInfo(&parser->name);
	initStringInfo(&parser->data);
	return parser;
}

static void
overflow(SseParser *parser)
{
	parser->overflowed = true;
	resetStringInfo(&parser->input);
	resetStringInfo(&parser->data);
	parser->used = parser->scanned = 0;
}

/* Forget what was used, when that is worth moving the rest. */
static void
make_room(SseParser *parser)
{
	StringInfo input = &parser->input;

	if (parser->used < input->len - parser->used)
		return;
	memmove(input->data, input->data + parser->used, input->len - parser->used);
	input->len -= parser->used;
	parser->scanned -= parser->used;
	parser->used = 0;
}

void
sse_feed(SseParser *parser, const char *bytes, size_t length)
{
	if (parser->overflowed || length == 0)
		return;
	make_room(parser);
	if (length > MaxAllocSize / 4 || parser->input.len + length > MaxAllocSize / 2)
		overflow(parser);
	else
		appendBinaryStringInfo(&parser->input, bytes, (int) length);
}

void
sse_end(SseParser *parser)
{
	parser->ended = true;
}

/* The next complete line, without its end; false when none is there. */
static bool
next_line(SseParser *parser, const char **line, size_t *length)
{
	StringInfo	input = &parser->input;
	const char *start = input->data + parser->used;
	const char *end = memchr(input->data + parser->scanned, '\n', input->len - parser->scanned);

	if (end == NULL)
	{
		parser->scanned = input->len;
		if ((size_t) (input->len - parser->used) > parser->max_event_bytes)
			overflow(parser);
		if (!parser->ended || parser->overflowed || parser->used == input->len)
			return false;
		end = input->data + input->len;
		parser->used = input->len;
	}
	else
		parser->used = parser->scanned = (int) (end + 1 - input->data);

	*line = start;
	*length = end - start;
	if (*length > 0 && start[*length - 1] == '\r')
		(*length)--;
	return true;
}

static bool
is_field(const char *line, size_t length, const char *name)
{
	return length == strlen(name) && memcmp(line, name, length) == 0;
}

static void
read_field(SseParser *parser, const char *line, size_t length)
{
	const char *colon = memchr(line, ':', length);
	size_t		name_length = colon ? (size_t) (colon - line) : length;
	const char *value = colon ? colon + 1 : line + length;
	size_t		value_length = line + length - value;

	if (value_length > 0 && *value == ' ')
	{
		value++;
		value_length--;
	}
	if (is_field(line, name_length, "event"))
	{
		resetStringInfo(&parser->name);
		appendBinaryStringInfo(&parser->name, value, (int) value_length);
	}
	else if (is_field(line, name_length, "data"))
	{
		if (parser->data.len + parser->has_data + value_length > parser->max_event_bytes)
		{
			overflow(parser);
			return;
		}
		if (parser->has_data)
			appendStringInfoCharMacro(&parser->data, '\n');
		appendBinaryStringInfo(&parser->data, value, (int) value_length);
		parser->has_data = true;
	}
}

static void
forget_event(SseParser *parser)
{
	resetStringInfo(&parser->name);
	resetStringInfo(&parser->data);
	parser->has_data = false;
}

/* Hand out the event under construction; without data it is none. */
static bool
take_event(SseParser *parser, SseEvent *event)
{
	if (!parser->has_data)
	{
		forget_event(parser);
		return false;
	}
	event->name = parser->name.data;
	event->data = parser->data.data;
	event->length = parser->data.len;
	parser->taken = true;
	return true;
}

bool
sse_next(SseParser *parser, SseEvent *event)
{
	static const char byte_order_mark[] = "\xEF\xBB\xBF";
	const char		 *line;
	size_t			  length;

	if (parser->taken)
		forget_event(parser);
	parser->taken = false;
	while (next_line(parser, &line, &length))
	{
		if (!parser->started && length >= 3 && memcmp(line, byte_order_mark, 3) == 0)
		{
			line += 3;
			length -= 3;
		}
		parser->started = true;
		if (length > 0)
			read_field(parser, line, length);
		else if (take_event(parser, event))
			return true;
	}
	return parser->ended && !parser->overflowed && take_event(parser, event);
}

bool
sse_overflowed(const SseParser *parser)
{
	return parser->overflowed;
}

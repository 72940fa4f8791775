/*
 * sse.h
 *		Server-sent events, as they come in pieces from the network.
 *
 * The format is that of the HTML standard, section 9.2.6, with the lines ended
 * by LF or CRLF, which is what every provider sends.  The fields "id" and
 * "retry" mean nothing here and are skipped, as are comments.
 */
#ifndef LLM_ROUTER_SSE_H
#define LLM_ROUTER_SSE_H

#include "postgres.h"

/* One event.  Raw bytes; good until the next call of the parser. */
typedef struct SseEvent
{
	const char *name; /* NUL-terminated; "" when the event has none */
	const char *data; /* the data lines joined by LF, NUL-terminated */
	size_t		length;
} SseEvent;

typedef struct SseParser SseParser;

/*
 * A parser in the current memory context, which it needs for its life.  An event
 * or a line of more than max_event_bytes is refused.
 */
extern SseParser *sse_create(size_t max_event_bytes);

/* Take bytes that have come, cut anywhere; they are copied. */
extern void sse_feed(SseParser *parser, const char *bytes, size_t length);

/* The stream has ended: a last event counts also without its blank line. */
extern void sse_end(SseParser *parser);

/* The next event that is complete; false when there is none. */
extern bool sse_next(SseParser *parser, SseEvent *event);

/* Whether an event was too large.  Nothing more comes after that. */
extern bool sse_overflowed(const SseParser *parser);

#endif /* LLM_ROUTER_SSE_H */

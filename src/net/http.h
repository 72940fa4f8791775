/*
 * http.h
 *		HTTP transfers on PostgreSQL's wait events.
 *
 * One curl multi handle lives as long as the process, with its connections, DNS
 * cache and TLS sessions.  Nothing here throws for what a server does: a
 * transfer ends with a failure code and a message.  http_wait is the one place
 * where the process sleeps, and where interrupts are taken: outside libcurl.
 */
#ifndef LLM_ROUTER_HTTP_H
#define LLM_ROUTER_HTTP_H

#include "providers/provider.h"

typedef struct HttpLimits
{
	int	   connect_timeout_ms;	  /* name look-up, TCP and TLS */
	int	   first_byte_timeout_ms; /* from the start to the status line */
	int	   timeout_ms;			  /* whole transfer; bounds the others as well */
	size_t max_response_bytes;	  /* body after decoding; headers have 64 kB, 500 lines */
} HttpLimits;					  /* of a streamed body, max_response_bytes does not bound the sum */

typedef enum HttpFailure
{
	HTTP_OK, /* an answer came, whatever its status */
	HTTP_CANNOT_RESOLVE,
	HTTP_CANNOT_CONNECT,  /* also: cut off, or no common version, in the TLS handshake */
	HTTP_TLS_FAILED,	  /* the certificate is not trusted, or no authorities to trust */
	HTTP_BLOCKED_ADDRESS, /* refused by the network policy, before anything was sent */
	HTTP_TIMEOUT,
	HTTP_TOO_LARGE,
	HTTP_BROKEN /* reset, cut, or not HTTP */
} HttpFailure;

typedef struct HttpTransfer HttpTransfer;

/*
 * Start a transfer.  It lives in a child of the current memory context and ends
 * with it (a reset callback aborts it), or with http_free.  wire's headers may
 * be wiped as soon as this returns; its body is not copied and must stay until
 * the end.  Nothing is sent before http_wait.  A POST is sent at most once.
 *
 * What is wrong with the request or the network ends the transfer, perhaps
 * before this returns; an ERROR is raised only for lack of memory or of file
 * descriptors.
 */
extern HttpTransfer *http_start(const WireRequest *wire, const HttpLimits *limits);

/* Whether it has ended. */
extern bool http_done(const HttpTransfer *transfer);

/* After the end: why it failed, or HTTP_OK. */
extern HttpFailure http_failure(const HttpTransfer *transfer);

/*
 * Of a failure, a text for people without secrets ("localhost:1: could not
 * connect: Connection refused"); owned by the transfer.  NULL for HTTP_OK.
 */
extern const char *http_message(const HttpTransfer *transfer);

/*
 * Whether the request, or a part of it, may have reached the server.  Also
 * while it runs, and in an aborting transaction.
 */
extern bool http_was_sent(const HttpTransfer *transfer);

/* The answer, when HTTP_OK; owned by the transfer. */
extern const WireResponse *http_response(const HttpTransfer *transfer);

/*
 * Of a request that streams: whether status and headers have come.  Then
 * http_response has them, and the body is to be taken as it comes: http_take
 * gives what came since the last time, good until the next http_wait.  A server
 * that is faster than its taker is held up, after 64 kB.
 */
extern bool	  http_answering(HttpTransfer *transfer);
extern size_t http_take(HttpTransfer *transfer, const char **bytes);

/* The answer is no stream: collect its body whole, within max_response_bytes. */
extern void http_collect(HttpTransfer *transfer);

/*
 * Set it aside while its taker is away, and take it up again: its deadlines stand
 * still in between, also when other transfers are driven.
 */
extern void http_set_aside(HttpTransfer *transfer);
extern void http_take_up(HttpTransfer *transfer);

/*
 * A request that is sent if its memory context ends before http_disarm: what
 * tells a server that an answer is no longer wanted.  It may be sent in an
 * aborting transaction, which it holds up for half a second at most; what
 * becomes of it, nobody hears.  NULL when it may not or cannot be sent.
 */
extern HttpTransfer *http_arm(const WireRequest *wire);
extern void			 http_disarm(HttpTransfer *transfer);

/* End it, if it still runs, and free it.  Safe in an aborting transaction. */
extern void http_free(HttpTransfer *transfer);

/*
 * Drive all transfers of this process, and sleep until one of them makes
 * progress, the latch is set, or timeout_ms (>= 0) has passed.  Returns early
 * when a transfer has ended.  Takes interrupts (cancel, terminate, barriers)
 * and notices a lost client within a second.  The latch is reset on return.
 */
extern void http_wait(int timeout_ms);

/*
 * Check a URL against the network policy without resolving it: https, or http
 * for loopback and llm_router.allowed_hosts.  False with 22023.
 */
extern bool http_url_allowed(const char *url, LlmError *error);

/* Refuse a libcurl that cannot do all this, when the server starts. */
extern void http_init(void);

#endif /* LLM_ROUTER_HTTP_H */

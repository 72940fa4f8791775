/*
 * http.c
 *		One HTTP transfer, from a wire request to a wire response or a failure.
 *
 * A transfer's memory is one context below the caller's; a libcurl easy handle,
 * taken from a small pool, is lent to it while it runs.  The context's reset
 * callback gives the handle back, so that an error anywhere, also an interrupt
 * in http_wait, ends the transfer and closes its connection.
 *
 * Invariants:
 * - libcurl's callbacks neither throw nor allocate with plain palloc.  They
 *	 refuse by saying why in the transfer (stop) and returning what makes
 *	 libcurl give up.
 * - A transfer is in running_transfers, and has an easy handle, until it has
 *	 ended, and never after.  (An armed request only has the handle.)
 * - The copies of secret headers made here are overwritten when it ends.
 * - A POST goes out at most once.  libcurl repeats a request by itself when a
 *	 kept connection dies before an answer; whether the server has worked on the
 *	 first, and charges for it, nobody knows (RFC 9110, 9.2.2).  So this is
 *	 refused here, and the engine, which keeps the accounts, decides.  (The loop
 *	 sorts out kept connections that ended while nobody used them.)
 *
 * HTTP/1.1 is used throughout: one request a connection needs no flow control
 * and no multiplexing, and every provider speaks it.
 */
#include "net/http.h"

#include "base/clock.h"
#include "base/settings.h"
#include "lib/ilist.h"
#include "net/loop.h"
#include "net/policy.h"
#include "net/trust.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include <curl/curl.h>

#if LIBCURL_VERSION_NUM < 0x075700
#error "llm_router needs libcurl 7.87 or newer: before, a cancel waits for the name server"
#endif

#define MAX_HEADER_BYTES (64 * 1024)
#define MAX_HEADERS		 500
#define FIRST_BODY_BYTES (8 * 1024)

/* How much of a stream waits here to be taken. */
#define STREAM_WINDOW_BYTES (64 * 1024)

/* How long an armed request may take; see http_arm. */
#define FAREWELL_MS 500L

/* Idle easy handles that are kept; each has some 20 kB of buffers. */
#define MAX_IDLE_HANDLES 8

/* A connection is not reused after that long, so that changes of DNS take effect. */
#define MAX_CONNECTION_AGE_S 600L

/* Silence before TCP keep-alive probes: below the idle timeouts of NAT gateways. */
#define TCP_PROBE_S 30L

typedef struct ByteBuffer
{
	char  *data; /* NUL-terminated once it is not NULL */
	size_t length;
	size_t size;
} ByteBuffer;

struct HttpTransfer
{
	LoopTransfer		  loop; /* first: see there */
	dlist_node			  node; /* in running_transfers, while it runs */
	MemoryContext		  context;
	MemoryContextCallback on_reset;
	CURL				 *easy; /* while it runs */
	HttpTarget			  target;
	HttpLimits			  limits;
	int64				  started_ms;
	int64				  aside_ms; /* since when it is set aside; 0: it is not */
	bool				  repeatable;
	bool				  running; /* in running_transfers */
	bool				  armed;   /* sent when the context ends */
	struct curl_slist	 *headers;
	char				 *header_text; /* what headers point to */
	size_t				  header_text_length;

	/* How far it came */
	bool connection_opened; /* to one address at least */
	bool connected;			/* the connection is ready for the request */
	bool answering;			/* the status line has come */
	bool sent;
	bool done;

	/* Of a body that is taken as it comes */
	bool streams;
	bool head_complete;
	bool head_read; /* into response */
	bool taken;		/* the body's bytes: the next ones may overwrite them */

	/* The answer */
	ByteBuffer	 head;
	ByteBuffer	 body;
	int			 header_count;
	WireResponse response;

	/* The failure; set by a callback that stops the transfer, or at its end */
	HttpFailure failure;
	const char *message;
	char		stop_reason[160];
	char		curl_message[CURL_ERROR_SIZE];
};

static dlist_head running_transfers = DLIST_STATIC_INIT(running_transfers);

/* A stream got its head or bytes since http_wait began. */
static bool stream_news;

static CURL *idle_handles[MAX_IDLE_HANDLES];
static int	 idle_count;

/* ------------------------------------------------------------------------
 * Callbacks of libcurl
 * ------------------------------------------------------------------------
 */

static void
stop(HttpTransfer *transfer, HttpFailure failure, const char *reason, ...) pg_attribute_printf(3, 4);

/* Note why a callback is about to make libcurl give up. */
static void
stop(HttpTransfer *transfer, HttpFailure failure, const char *reason, ...)
{
	va_list arguments;

	transfer->failure = failure;
	va_start(arguments, reason);
	vsnprintf(transfer->stop_reason, sizeof(transfer->stop_reason), reason, arguments);
	va_end(arguments);
}

/* Append; false when there is no memory. */
static bool
buffer_append(ByteBuffer *buffer, MemoryContext context, const char *data, size_t length)
{
	if (buffer->length + length >= buffer->size)
	{
		size_t size = Max(buffer->size * 2, FIRST_BODY_BYTES);
		char  *larger;

		while (size <= buffer->length + length)
			size *= 2;
		larger = MemoryContextAllocExtended(context, size, MCXT_ALLOC_HUGE | MCXT_ALLOC_NO_OOM);
		if (!larger)
			return false;
		if (buffer->data)
		{
			memcpy(larger, buffer->data, buffer->length);
			pfree(buffer->data);
		}
		buffer->data = larger;
		buffer->size = size;
	}
	memcpy(buffer->data + buffer->length, data, length);
	buffer->length += length;
	buffer->data[buffer->length] = '\0';
	return true;
}

/* CURLOPT_OPENSOCKETFUNCTION: called for each address that is tried. */
static curl_socket_t
on_open_socket(void *userdata, curlsocktype purpose, struct curl_sockaddr *address)
{
	HttpTransfer *transfer = userdata;
	const char	 *refused = policy_refusal(&address->addr, &transfer->target);
	curl_socket_t fd;

	if (refused)
	{
		stop(transfer, HTTP_BLOCKED_ADDRESS, "its name leads to a %s", refused);
		return CURL_SOCKET_BAD;
	}
	fd = loop_open_socket(address);
	if (fd == CURL_SOCKET_BAD)
		stop(transfer, HTTP_CANNOT_CONNECT, "too many files are open in this process");
	else
		transfer->connection_opened = true;
	return fd;
}

/*
 * CURLOPT_PREREQFUNCTION: the request is about to go out.  The address is
 * checked again, for a kept connection that was opened under another setting.
 */
static int
on_request(void *userdata, char *remote_address, char *local_address, int remote_port, int local_port)
{
	HttpTransfer *transfer = userdata;
	const char	 *refused = policy_refusal_of_text(remote_address, &transfer->target);

	if (refused)
		stop(transfer, HTTP_BLOCKED_ADDRESS, "its name leads to a %s", refused);
	else if (transfer->connected && !transfer->repeatable)
		stop(transfer, HTTP_BROKEN, "the connection was lost before an answer came");
	else
	{
		transfer->connected = true;
		return CURL_PREREQFUNC_OK;
	}
	return CURL_PREREQFUNC_ABORT;
}

/* "HTTP/1.1 200 OK", but not that of an interim answer (1xx). */
static bool
is_final_status_line(const char *line, size_t length)
{
	const char *space = memchr(line, ' ', length);

	return space && space + 1 < line + length && space[1] != '1';
}

/* CURLOPT_HEADERFUNCTION: one line, with its line end. */
static size_t
on_header(char *line, size_t size, size_t length, void *userdata)
{
	HttpTransfer *transfer = userdata;

	/* What follows a body (trailers) says nothing here. */
	if (transfer->armed || transfer->head_complete)
		return length;

	/* A new head: what came before was an interim one. */
	if (length > 5 && memcmp(line, "HTTP/", 5) == 0)
	{
		transfer->head.length = 0;
		transfer->header_count = 0;
		transfer->answering = is_final_status_line(line, length);
		return length;
	}
	if (transfer->answering && (line[0] == '\r' || line[0] == '\n'))
		transfer->head_complete = stream_news = true;
	if (transfer->head.length + length > MAX_HEADER_BYTES || ++transfer->header_count > MAX_HEADERS)
		stop(transfer, HTTP_TOO_LARGE, "its headers are larger than %d kB or more than %d",
			 MAX_HEADER_BYTES / 1024, MAX_HEADERS);
	else if (buffer_append(&transfer->head, transfer->context, line, length))
		return length;
	else
		stop(transfer, HTTP_TOO_LARGE, "there is no memory for its headers");
	return 0;
}

/* CURLOPT_WRITEFUNCTION: a piece of the body, decoded. */
static size_t
on_body(char *data, size_t size, size_t length, void *userdata)
{
	HttpTransfer *transfer = userdata;

	if (transfer->armed)
		return length;
	if (transfer->taken)
	{
		transfer->body.length = 0;
		transfer->taken = false;
	}
	if (transfer->streams)
	{
		stream_news = true;
		if (transfer->body.length > 0 && transfer->body.length + length > STREAM_WINDOW_BYTES)
		{
			transfer->loop.paused = true;
			return CURL_WRITEFUNC_PAUSE;
		}
	}
	else if (transfer->body.length + length > transfer->limits.max_response_bytes)
	{
		stop(transfer, HTTP_TOO_LARGE, "its answer is larger than %zu kB (llm_router.max_response_size)",
			 transfer->limits.max_response_bytes / 1024);
		return 0;
	}
	if (buffer_append(&transfer->body, transfer->context, data, length))
		return length;
	stop(transfer, HTTP_TOO_LARGE, "there is no memory for its answer");
	return 0;
}

/* ------------------------------------------------------------------------
 * Starting
 * ------------------------------------------------------------------------
 */

/*
 * The headers as libcurl wants them, in one piece of the transfer's memory, so
 * that the keys in it can be overwritten.  False when one holds a line break:
 * it would be read as a further header.
 */
static bool
make_headers(HttpTransfer *transfer, const WireRequest *wire)
{
	/* libcurl would ask before it sends a long body; not every server answers. */
	static char		   no_expect[] = "Expect:";
	int				   count = list_length(wire->headers) + 1;
	struct curl_slist *node;
	char			  *text;
	ListCell		  *cell;

	transfer->header_text_length = 0;
	foreach (cell, wire->headers)
	{
		const WireHeader *header = lfirst(cell);

		if (strpbrk(header->name, "\r\n") || strpbrk(header->value, "\r\n"))
			return false;
		transfer->header_text_length += strlen(header->name) + strlen(header->value) + sizeof(": ");
	}

	node = transfer->headers = palloc(sizeof(struct curl_slist) * count);
	text = transfer->header_text = palloc(transfer->header_text_length + 1);
	foreach (cell, wire->headers)
	{
		const WireHeader *header = lfirst(cell);

		node->data = text;
		node->next = node + 1;
		node++;
		text += sprintf(text, "%s: %s", header->name, header->value) + 1;
	}
	node->data = no_expect;
	node->next = NULL;
	return true;
}

/* The options that are the same for every transfer, but for settings. */
static CURLcode
set_common_options(CURL *easy)
{
	CURLcode worst = CURLE_OK;

#define SET(option, value)                                     \
	do                                                         \
	{                                                          \
		CURLcode code = curl_easy_setopt(easy, option, value); \
		if (code != CURLE_OK)                                  \
			worst = code;                                      \
	} while (0)

	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_QUICK_EXIT, 1L);
	SET(CURLOPT_PROTOCOLS_STR, "http,https");
	SET(CURLOPT_FOLLOWLOCATION, 0L);
	SET(CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_1_1);
	SET(CURLOPT_USERAGENT, "llm_router");

	/* Empty, not unset: the variables of the environment do not count. */
	SET(CURLOPT_PROXY, setting_proxy);
	SET(CURLOPT_NOPROXY, "");
	SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);

	SET(CURLOPT_TCP_KEEPALIVE, 1L);
	SET(CURLOPT_TCP_KEEPIDLE, TCP_PROBE_S);
	SET(CURLOPT_TCP_KEEPINTVL, TCP_PROBE_S);
	SET(CURLOPT_MAXLIFETIME_CONN, MAX_CONNECTION_AGE_S);

	/* trust_apply brings the authorities; nothing is to be loaded besides. */
	SET(CURLOPT_SSLVERSION, (long) CURL_SSLVERSION_TLSv1_2);
	SET(CURLOPT_SSL_VERIFYPEER, 1L);
	SET(CURLOPT_SSL_VERIFYHOST, 2L);
	SET(CURLOPT_CAINFO, NULL);
	SET(CURLOPT_CAPATH, NULL);
	SET(CURLOPT_PROXY_CAINFO, NULL);
	SET(CURLOPT_PROXY_CAPATH, NULL);
	SET(CURLOPT_SSL_CTX_FUNCTION, trust_apply);
	return worst;
}

static CURLcode
set_options(HttpTransfer *transfer, const WireRequest *wire)
{
	CURL	*easy = transfer->easy;
	CURLcode worst = set_common_options(easy);

	SET(CURLOPT_URL, wire->url);
	/* What compresses a stream may hold its events back. */
	SET(CURLOPT_ACCEPT_ENCODING, wire->streams ? NULL : "gzip");
	SET(CURLOPT_HTTPHEADER, transfer->headers);
	if (strcmp(wire->method, "POST") == 0)
	{
		SET(CURLOPT_POST, 1L);
		SET(CURLOPT_POSTFIELDS, wire->body.data);
		SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) wire->body.len);
	}
	SET(CURLOPT_CONNECTTIMEOUT_MS,
		(long) Min(transfer->limits.connect_timeout_ms, transfer->limits.timeout_ms));

	SET(CURLOPT_PRIVATE, transfer);
	SET(CURLOPT_ERRORBUFFER, transfer->curl_message);
	SET(CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
	SET(CURLOPT_OPENSOCKETDATA, transfer);
	SET(CURLOPT_PREREQFUNCTION, on_request);
	SET(CURLOPT_PREREQDATA, transfer);
	SET(CURLOPT_HEADERFUNCTION, on_header);
	SET(CURLOPT_HEADERDATA, transfer);
	SET(CURLOPT_WRITEFUNCTION, on_body);
	SET(CURLOPT_WRITEDATA, transfer);
#undef SET
	return worst;
}

static CURL *
take_handle(void)
{
	if (idle_count > 0)
		return idle_handles[--idle_count];
	return curl_easy_init();
}

/*
 * From libcurl 8.7.0 on a handle keeps the request that it sent, key and all, until
 * the next one.
 */
static bool
handles_keep_requests(void)
{
	static int keep = -1;

	if (keep < 0)
		keep = curl_version_info(CURLVERSION_NOW)->version_num >= 0x080700;
	return keep;
}

static void
put_handle_back(CURL *easy)
{
	if (idle_count == MAX_IDLE_HANDLES || handles_keep_requests())
	{
		curl_easy_cleanup(easy);
		return;
	}
	/* Forgets every pointer into the transfer; keeps its buffers. */
	curl_easy_reset(easy);
	idle_handles[idle_count++] = easy;
}

/* Whether libcurl has sent any of the request (not of a proxy's CONNECT). */
static bool
has_sent(const HttpTransfer *transfer)
{
	long bytes = 0;

	curl_easy_getinfo(transfer->easy, CURLINFO_REQUEST_SIZE, &bytes);
	return transfer->connected && bytes > 0;
}

/* Let go of libcurl.  Safe in an aborting transaction, and harmless twice. */
static void
release(HttpTransfer *transfer)
{
	if (transfer->easy)
	{
		transfer->sent = has_sent(transfer);
		loop_remove(transfer->easy);
		put_handle_back(transfer->easy);
		transfer->easy = NULL;
		if (transfer->running)
			dlist_delete(&transfer->node);
		transfer->running = false;
	}
	if (transfer->header_text)
		explicit_bzero(transfer->header_text, transfer->header_text_length);
}

static void
on_context_reset(void *argument)
{
	HttpTransfer *transfer = argument;

	if (transfer->armed && transfer->easy)
		loop_perform(transfer->easy);
	release(transfer);
}

static void
end(HttpTransfer *transfer, HttpFailure failure, const char *message)
{
	release(transfer);
	transfer->failure = failure;
	transfer->message = message;
	transfer->done = true;
}

/* Make its easy handle; false, and the transfer has ended, when that cannot be. */
static bool
make_handle(HttpTransfer *transfer, const WireRequest *wire)
{
	CURLcode code;

	if (!make_headers(transfer, wire))
	{
		end(transfer, HTTP_BROKEN, "a header or key for this provider contains a line break");
		return false;
	}
	transfer->easy = take_handle();
	if (!transfer->easy)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	code = set_options(transfer, wire);
	if (code == CURLE_OK)
		return true;
	end(transfer, HTTP_BROKEN,
		psprintf("this libcurl (%s) cannot be used: %s", curl_version(), curl_easy_strerror(code)));
	return false;
}

/* Hand the transfer to libcurl. */
static void
begin(HttpTransfer *transfer, const WireRequest *wire)
{
	CURLMcode code;

	if (!make_handle(transfer, wire))
		return;
	dlist_push_tail(&running_transfers, &transfer->node);
	transfer->running = true;
	code = loop_add(transfer->easy);
	if (code != CURLM_OK)
		end(transfer, HTTP_BROKEN, psprintf("libcurl failed: %s", curl_multi_strerror(code)));
}

/* A transfer in a context of its own, the current one from now on. */
static HttpTransfer *
allocate(const WireRequest *wire, const HttpLimits *limits)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "llm_router transfer",
												  ALLOCSET_DEFAULT_SIZES);
	HttpTransfer *transfer = MemoryContextAllocZero(context, sizeof(HttpTransfer));

	transfer->context = context;
	transfer->limits = *limits;
	transfer->repeatable = strcmp(wire->method, "GET") == 0;
	transfer->streams = wire->streams;
	transfer->started_ms = monotonic_ms();
	transfer->on_reset.func = on_context_reset;
	transfer->on_reset.arg = transfer;
	MemoryContextRegisterResetCallback(context, &transfer->on_reset);
	MemoryContextSwitchTo(context);
	return transfer;
}

HttpTransfer *
http_start(const WireRequest *wire, const HttpLimits *limits)
{
	MemoryContext previous = CurrentMemoryContext;
	HttpTransfer *transfer = allocate(wire, limits);
	LlmError	  error = { 0 };

	if (policy_check_url(wire->url, &transfer->target, &error))
		begin(transfer, wire);
	else
		end(transfer, HTTP_BLOCKED_ADDRESS, error.message);
	MemoryContextSwitchTo(previous);
	return transfer;
}

/* ------------------------------------------------------------------------
 * Armed requests
 * ------------------------------------------------------------------------
 */

HttpTransfer *
http_arm(const WireRequest *wire)
{
	static const HttpLimits limits = { .connect_timeout_ms = FAREWELL_MS, .timeout_ms = FAREWELL_MS };
	MemoryContext			previous = CurrentMemoryContext;
	HttpTransfer		   *transfer = allocate(wire, &limits);
	LlmError				error = { 0 };
	bool					can_be_sent;

	transfer->armed = true;
	can_be_sent = policy_check_url(wire->url, &transfer->target, &error) &&
				  make_handle(transfer, wire) &&
				  curl_easy_setopt(transfer->easy, CURLOPT_FORBID_REUSE, 1L) == CURLE_OK &&
				  curl_easy_setopt(transfer->easy, CURLOPT_TIMEOUT_MS, FAREWELL_MS) == CURLE_OK;
	MemoryContextSwitchTo(previous);
	if (can_be_sent)
		return transfer;
	http_disarm(transfer);
	return NULL;
}

void
http_disarm(HttpTransfer *transfer)
{
	transfer->armed = false;
	http_free(transfer);
}

/* ------------------------------------------------------------------------
 * Ending
 * ------------------------------------------------------------------------
 */

/* Where the words come from that end a message; none tells what was sent. */
typedef enum Detail
{
	NO_DETAIL,
	CURL_DETAIL, /* libcurl's: certificates, protocols */
	ERRNO_DETAIL /* the operating system's */
} Detail;

/* What libcurl's results mean.  The phrase follows "host:port: ". */
static const struct
{
	CURLcode	code;
	HttpFailure failure;
	Detail		detail;
	const char *phrase;
} results[] = {
	{ CURLE_COULDNT_RESOLVE_HOST, HTTP_CANNOT_RESOLVE, NO_DETAIL, "could not resolve the host name" },
	{ CURLE_COULDNT_RESOLVE_PROXY, HTTP_CANNOT_RESOLVE, NO_DETAIL,
	  "could not resolve the proxy (llm_router.proxy)" },
	{ CURLE_COULDNT_CONNECT, HTTP_CANNOT_CONNECT, ERRNO_DETAIL, "could not connect" },
	{ CURLE_PROXY, HTTP_CANNOT_CONNECT, CURL_DETAIL,
	  "could not connect through the proxy (llm_router.proxy)" },
	{ CURLE_SSL_CONNECT_ERROR, HTTP_CANNOT_CONNECT, CURL_DETAIL, "could not agree on TLS" },
	{ CURLE_PEER_FAILED_VERIFICATION, HTTP_TLS_FAILED, CURL_DETAIL, "its certificate is not trusted" },
	{ CURLE_SSL_ISSUER_ERROR, HTTP_TLS_FAILED, CURL_DETAIL, "its certificate is not trusted" },
	{ CURLE_SSL_INVALIDCERTSTATUS, HTTP_TLS_FAILED, CURL_DETAIL, "its certificate is not trusted" },
	{ CURLE_GOT_NOTHING, HTTP_BROKEN, NO_DETAIL, "closed the connection without an answer" },
	{ CURLE_PARTIAL_FILE, HTTP_BROKEN, NO_DETAIL, "cut its answer short" },
	{ CURLE_SEND_ERROR, HTTP_BROKEN, ERRNO_DETAIL, "lost the connection" },
	{ CURLE_RECV_ERROR, HTTP_BROKEN, ERRNO_DETAIL, "lost the connection" },
	{ CURLE_WEIRD_SERVER_REPLY, HTTP_BROKEN, NO_DETAIL, "answered in something that is not HTTP" },
	{ CURLE_UNSUPPORTED_PROTOCOL, HTTP_BROKEN, NO_DETAIL, "answered in something that is not HTTP" },
	{ CURLE_BAD_CONTENT_ENCODING, HTTP_BROKEN, NO_DETAIL,
	  "sent an answer whose compression is damaged or unknown" },
	{ CURLE_OUT_OF_MEMORY, HTTP_BROKEN, NO_DETAIL, "there is no memory for the request" },
};

static const char *
describe(const HttpTransfer *transfer, const char *phrase, const char *detail)
{
	return psprintf("%s:%d: %s%s%s", transfer->target.host, transfer->target.port, phrase,
					detail[0] ? ": " : "", detail);
}

/* End it because time is up; the message says which, by how far it came. */
static void
end_for_time(HttpTransfer *transfer)
{
	const HttpLimits *limits = &transfer->limits;
	const char		 *phrase;
	int				  limit_ms;

	if (!transfer->connected)
	{
		phrase = "could not connect";
		limit_ms = Min(limits->connect_timeout_ms, limits->timeout_ms);
	}
	else if (!transfer->answering)
	{
		phrase = "did not begin to answer";
		limit_ms = Min(limits->first_byte_timeout_ms, limits->timeout_ms);
	}
	else
	{
		phrase = "did not finish its answer";
		limit_ms = limits->timeout_ms;
	}
	end(transfer, HTTP_TIMEOUT, describe(transfer, psprintf("%s within %d ms", phrase, limit_ms), ""));
}

static const char *
detail_of(const HttpTransfer *transfer, Detail detail)
{
	long system_error = 0;

	switch (detail)
	{
		case NO_DETAIL:
			break;
		case CURL_DETAIL:
			return transfer->curl_message;
		case ERRNO_DETAIL:
			curl_easy_getinfo(transfer->easy, CURLINFO_OS_ERRNO, &system_error);
			return system_error == 0 ? "" : strerror((int) system_error);
	}
	return "";
}

static void
end_failed(HttpTransfer *transfer, CURLcode code)
{
	if (code == CURLE_OPERATION_TIMEDOUT)
	{
		end_for_time(transfer);
		return;
	}
	if (code == CURLE_SSL_CACERT_BADFILE)
	{
		end(transfer, HTTP_TLS_FAILED, pstrdup(trust_problem()));
		return;
	}
	for (int i = 0; i < (int) lengthof(results); i++)
	{
		if (results[i].code != code)
			continue;
		end(transfer, results[i].failure,
			describe(transfer, results[i].phrase, detail_of(transfer, results[i].detail)));
		return;
	}
	end(transfer, HTTP_BROKEN, describe(transfer, curl_easy_strerror(code), ""));
}

/* The reason that a callback gave, unless another address did in the end. */
static bool
was_stopped(const HttpTransfer *transfer, CURLcode code)
{
	if (transfer->failure == HTTP_OK)
		return false;
	return code == CURLE_WRITE_ERROR || code == CURLE_ABORTED_BY_CALLBACK || !transfer->connection_opened;
}

/* End it for libcurl's reason, or for the one of the callback that gave up. */
static void
end_stopped(HttpTransfer *transfer, CURLcode code)
{
	if (was_stopped(transfer, code))
		end(transfer, transfer->failure, describe(transfer, transfer->stop_reason, ""));
	else
		end_failed(transfer, code);
}

/* Take the head apart where it stands; names become lower case. */
static void
read_headers(HttpTransfer *transfer)
{
	WireHeader *header = palloc0(sizeof(WireHeader) * (transfer->header_count + 1));
	char	   *line = transfer->head.data;
	char	   *rest;

	for (; line && (rest = strchr(line, '\n')) != NULL; line = rest + 1)
	{
		char *colon = memchr(line, ':', rest - line);
		char *last = rest;

		if (!colon)
			continue;
		while (last > colon + 1 && isspace((unsigned char) last[-1]))
			last--;
		*last = '\0';
		*colon = '\0';
		header->name = line;
		header->value = colon + 1 + strspn(colon + 1, " \t");
		for (char *c = line; *c; c++)
			*c = pg_ascii_tolower((unsigned char) *c);
		transfer->response.headers = lappend(transfer->response.headers, header++);
	}
}

/* Once, although a stream's head is asked for before its end. */
static void
read_head(HttpTransfer *transfer)
{
	long status = 0;

	if (transfer->head_read)
		return;
	curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
	transfer->response.status = (int) status;
	transfer->response.body = "";
	transfer->response.received_at = GetCurrentTimestamp();
	read_headers(transfer);
	transfer->head_read = true;
}

static void
end_answered(HttpTransfer *transfer)
{
	read_head(transfer);
	if (!transfer->streams && transfer->body.data)
	{
		transfer->response.body = transfer->body.data;
		transfer->response.body_length = transfer->body.length;
	}
	end(transfer, HTTP_OK, NULL);
}

/* Read what libcurl has finished; whether there was any. */
static bool
collect_ended(void)
{
	bool	 any = false;
	CURL	*easy;
	CURLcode code;

	while (loop_take_ended(&easy, &code))
	{
		HttpTransfer *transfer;
		MemoryContext previous;

		curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **) &transfer);
		previous = MemoryContextSwitchTo(transfer->context);
		if (code == CURLE_OK)
			end_answered(transfer);
		else
			end_stopped(transfer, code);
		MemoryContextSwitchTo(previous);
		any = true;
	}
	return any;
}

/* ------------------------------------------------------------------------
 * Waiting
 * ------------------------------------------------------------------------
 */

/* When it has to be given up.  libcurl itself watches the time to connect. */
static int64
deadline_of(const HttpTransfer *transfer)
{
	int limit_ms = transfer->limits.timeout_ms;

	if (transfer->aside_ms > 0)
		return PG_INT64_MAX;
	if (!transfer->answering)
		limit_ms = Min(limit_ms, transfer->limits.first_byte_timeout_ms);
	return transfer->started_ms + limit_ms;
}

static int64
next_deadline(void)
{
	int64	   deadline = PG_INT64_MAX;
	dlist_iter iter;

	dlist_foreach (iter, &running_transfers)
	{
		deadline = Min(deadline, deadline_of(dlist_container(HttpTransfer, node, iter.cur)));
	}
	return deadline;
}

static void
end_overdue(void)
{
	int64			   now_ms = monotonic_ms();
	dlist_mutable_iter iter;

	dlist_foreach_modify (iter, &running_transfers)
	{
		HttpTransfer *transfer = dlist_container(HttpTransfer, node, iter.cur);
		MemoryContext previous = MemoryContextSwitchTo(transfer->context);

		if (deadline_of(transfer) <= now_ms)
			end_for_time(transfer);
		MemoryContextSwitchTo(previous);
	}
}

/* The multi handle itself failed: it serves nobody any more. */
static void
end_all(CURLMcode code)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify (iter, &running_transfers)
	{
		HttpTransfer *transfer = dlist_container(HttpTransfer, node, iter.cur);
		MemoryContext previous = MemoryContextSwitchTo(transfer->context);

		end(transfer, HTTP_BROKEN, describe(transfer, "libcurl failed", curl_multi_strerror(code)));
		MemoryContextSwitchTo(previous);
	}
}

/* Let go on what was held up and has been taken since. */
static void
resume_paused(void)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify (iter, &running_transfers)
	{
		HttpTransfer *transfer = dlist_container(HttpTransfer, node, iter.cur);
		MemoryContext previous = MemoryContextSwitchTo(transfer->context);
		CURLcode	  code;

		if (transfer->loop.paused && (transfer->taken || !transfer->streams))
		{
			transfer->loop.paused = false;
			code = loop_resume(transfer->easy);
			if (code != CURLE_OK)
				end_stopped(transfer, code);
		}
		MemoryContextSwitchTo(previous);
	}
}

void
http_wait(int timeout_ms)
{
	int64	  until_ms = monotonic_ms() + timeout_ms;
	CURLMcode code;

	stream_news = false;
	resume_paused();
	code = loop_drive();
	if (code == CURLM_OK && collect_ended())
		return;
	/* Interrupts and deadlines are looked at however fast a stream comes. */
	if (stream_news)
		until_ms = 0;
	if (code == CURLM_OK)
		code = loop_wait(Min(until_ms, next_deadline()));
	if (code != CURLM_OK)
	{
		end_all(code);
		return;
	}
	collect_ended();
	end_overdue();
}

/* ------------------------------------------------------------------------
 * Reading
 * ------------------------------------------------------------------------
 */

bool
http_done(const HttpTransfer *transfer)
{
	return transfer->done;
}

HttpFailure
http_failure(const HttpTransfer *transfer)
{
	return transfer->failure;
}

const char *
http_message(const HttpTransfer *transfer)
{
	return transfer->message;
}

bool
http_was_sent(const HttpTransfer *transfer)
{
	return transfer->easy ? has_sent(transfer) : transfer->sent;
}

const WireResponse *
http_response(const HttpTransfer *transfer)
{
	return &transfer->response;
}

bool
http_answering(HttpTransfer *transfer)
{
	MemoryContext previous;

	if (transfer->done)
		return transfer->failure == HTTP_OK;
	if (!transfer->head_complete)
		return false;
	previous = MemoryContextSwitchTo(transfer->context);
	read_head(transfer);
	MemoryContextSwitchTo(previous);
	return true;
}

size_t
http_take(HttpTransfer *transfer, const char **bytes)
{
	if (transfer->taken)
		return 0;
	*bytes = transfer->body.data;
	transfer->taken = true;
	return transfer->body.length;
}

void
http_collect(HttpTransfer *transfer)
{
	transfer->streams = false;
	if (transfer->done && transfer->body.data)
	{
		transfer->response.body = transfer->body.data;
		transfer->response.body_length = transfer->body.length;
	}
}

void
http_set_aside(HttpTransfer *transfer)
{
	transfer->aside_ms = monotonic_ms();
}

void
http_take_up(HttpTransfer *transfer)
{
	if (transfer->aside_ms > 0)
		transfer->started_ms += monotonic_ms() - transfer->aside_ms;
	transfer->aside_ms = 0;
}

void
http_free(HttpTransfer *transfer)
{
	MemoryContextDelete(transfer->context);
}

bool
http_url_allowed(const char *url, LlmError *error)
{
	HttpTarget target;

	return policy_check_url(url, &target, error);
}

void
http_init(void)
{
	const curl_version_info_data *version = curl_version_info(CURLVERSION_NOW);

	if (version->version_num < 0x075700 || !(version->features & CURL_VERSION_ASYNCHDNS) ||
		!version->ssl_version || strncmp(version->ssl_version, "OpenSSL/", 8) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("llm_router cannot use this libcurl: %s", curl_version()),
				 errhint("Install libcurl 7.87 or newer with OpenSSL and a resolver that does not block.")));
}

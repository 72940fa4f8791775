/*
 * provider.h
 *		The contract of an API format: bytes in, bytes out.
 *
 * An adapter is pure: it neither sends nor waits, and it never sees a key.
 * Differences between providers of one format are data (llm_providers.
 * request_rules), never names in code.
 *
 * One attempt is one Exchange: the adapter writes its request (build_chat), and
 * reads what comes back, either as whole documents (parse_chat) or as the events
 * of a stream (parse_event, end_stream).  Most answers are one document or one
 * stream; an adapter may also ask for another request to follow
 * (ProviderReply.follow_up), which then belongs to the same attempt.
 */
#ifndef LLM_ROUTER_PROVIDER_H
#define LLM_ROUTER_PROVIDER_H

#include "base/errors.h"
#include "chat/answer.h"
#include "chat/request.h"
#include "chat/response.h"
#include "chat/sse.h"
#include "datatype/timestamp.h"
#include "lib/stringinfo.h"
#include "nodes/pg_list.h"

typedef enum AuthType
{
	AUTH_NONE,
	AUTH_BEARER,		 /* Authorization: Bearer KEY */
	AUTH_X_API_KEY,		 /* x-api-key: KEY (Anthropic) */
	AUTH_X_GOOG_API_KEY, /* x-goog-api-key: KEY (Google) */
	AUTH_API_KEY		 /* api-key: KEY (Azure OpenAI) */
} AuthType;

typedef struct WireHeader
{
	char *name;
	char *value;
	bool  secret; /* holds a key: wiped after use, never logged */
} WireHeader;

/* A request as it goes over the wire. */
typedef struct WireRequest
{
	const char	  *method; /* "GET" or "POST" */
	char		  *url;
	List		  *headers; /* of WireHeader * */
	StringInfoData body;	/* UTF-8 JSON; empty for GET */
	bool		   streams; /* the answer may be an event stream */
	bool		   keyless; /* goes elsewhere than to the API: no key with it */

	/* OpenAI's names of parameters that this provider cannot honour: char * */
	List *dropped;	/* not sent */
	List *adjusted; /* sent with another value, the nearest that it takes */
} WireRequest;

/* An answer as it came over the wire, within the size limit.  Hostile. */
typedef struct WireResponse
{
	int			status;
	List	   *headers; /* of WireHeader *, names in lower case */
	const char *body;	 /* NUL-terminated for convenience */
	size_t		body_length;
	TimestampTz received_at;
} WireResponse;

/* A provider as an adapter sees it; owned by the catalog snapshot. */
typedef struct ProviderEndpoint
{
	const char *name;	  /* for messages only */
	const char *base_url; /* without a trailing slash */
	AuthType	auth_type;
	const char *check_path; /* of the cheap authenticated check, or NULL */
	const void *rules;		/* request_rules, read by the format's read_rules */
} ProviderEndpoint;

/* The model that is asked. */
typedef struct ProviderModel
{
	const char *name;
	int64		max_output_tokens; /* 0: unknown */
} ProviderModel;

/* What a wire response means. */
typedef struct ProviderReply
{
	Outcome	   outcome;
	ChatAnswer answer;				/* when OUTCOME_OK; usage also where an error has it */
	int64	   retry_after_ms;		/* -1: the provider did not say */
	bool	   do_not_retry;		/* x-should-retry: false */
	char	  *message;				/* the provider's own words, cut to 500 bytes; or NULL */
	char	  *code;				/* its machine code, or NULL */
	char	  *provider_request_id; /* x-request-id, or NULL */

	/*
	 * Not NULL: there is no answer yet, and outcome means nothing.  Send this
	 * after the wait, and read what it brings.  on_abort is then what tells the
	 * provider to stop, should the attempt end before its answer; or NULL.
	 */
	WireRequest *follow_up;
	int			 follow_up_wait_ms;
	WireRequest *on_abort;
} ProviderReply;

/* One attempt, as an adapter sees it. */
typedef struct Exchange
{
	const struct ApiFormat *format;
	const ProviderEndpoint *endpoint;
	ProviderModel			model;
	const ChatRequest	   *request; /* request->streams: chunks are wanted */
	MemoryContext			context; /* of the exchange; state lives here */
	Answer				   *answer;	 /* what has been read so far */

	/*
	 * Of a stream that is cut: what the provider said of its usage until then.
	 * known when that is all; otherwise input counts if it is above 0.
	 */
	TokenUsage usage;
	void	  *state; /* the adapter's own; NULL at first */

	SseParser	 *events; /* NULL before the first byte of a stream */
	MemoryContext event_context;
	size_t		  bytes_read; /* of the stream */
} Exchange;

typedef struct ApiFormat
{
	const char *name; /* as in llm_providers.api_format */

	/*
	 * A request that was sent is worked on, and charged, also when its connection
	 * is lost: it is not made again.
	 */
	bool works_on;

	/*
	 * Read llm_providers.request_rules (an object) into the adapter's own
	 * struct, palloc'd in the current context.  Lenient: the table's
	 * constraints have checked it.
	 */
	const void *(*read_rules)(Jsonb *rules);

	/*
	 * Write the request.  It may ask for a stream (wire->streams) although the
	 * caller wants the answer whole; the answer is then collected.  Parameters
	 * that the provider cannot honour are left out and noted
	 * (wire_request_dropped, _adjusted).  False with an error when the messages
	 * cannot be said in this format, or tools that are needed.
	 */
	bool (*build_chat)(Exchange *exchange, WireRequest *wire, LlmError *error);

	/*
	 * Read a whole document, good or bad; also when a stream was asked for.
	 * Never fails: fills *reply, which is initialised.
	 */
	void (*parse_chat)(Exchange *exchange, const WireResponse *wire, ProviderReply *reply);

	/*
	 * Read one event of a stream with a good status.  True when it ends the
	 * stream, by its end mark or by an error: *reply is filled then, for an
	 * answer with answer.completion from answer_close.  Runs in a memory context
	 * that is reset after events that do not end the stream.
	 */
	bool (*parse_event)(Exchange *exchange, const WireResponse *wire, const SseEvent *event,
						ProviderReply *reply);

	/* The bytes have ended without an end mark: an answer, or cut off? */
	void (*end_stream)(Exchange *exchange, const WireResponse *wire, ProviderReply *reply);

	/* The cheap authenticated request that proves a key; see provider_read_check. */
	void (*build_check)(const ProviderEndpoint *endpoint, WireRequest *wire);
} ApiFormat;

/* The format of that name, or NULL.  (registry.c) */
extern const ApiFormat *api_format_find(const char *name);

/* The auth type of that name; false when there is none such. */
extern bool auth_type_from_name(const char *name, AuthType *auth_type);

/* Add the header that carries the key; nothing for AUTH_NONE. */
extern void wire_request_authorize(WireRequest *wire, AuthType auth_type,
								   const char *api_key);
extern void wire_request_add_header(WireRequest *wire, const char *name,
									const char *value);

/*
 * An empty request to path, which is below the endpoint's base_url or, with
 * "://", a URL of its own; it accepts JSON.
 */
extern void wire_request_start(WireRequest *wire, const ProviderEndpoint *endpoint,
							   const char *method, const char *path);

/* Add the headers of an object of names and strings, or NULL: request_rules' "headers". */
extern void wire_request_add_constant_headers(WireRequest *wire, JsonbContainer *headers);

/*
 * A read_rules for formats in which no more than "headers" means something: the
 * rules are that object, or NULL.
 */
extern const void *provider_read_headers(Jsonb *rules);

/* Note a parameter (OpenAI's name) that is not sent, or sent otherwise.  Once is enough. */
extern void wire_request_dropped(WireRequest *wire, const char *parameter);
extern void wire_request_adjusted(WireRequest *wire, const char *parameter);

/* Overwrite every secret header. */
extern void wire_request_wipe(WireRequest *wire);

/* Value of a response header, or NULL; name in lower case. */
extern const char *wire_response_header(const WireResponse *wire, const char *name);

/* Whether a status is 2xx. */
extern bool wire_response_good(const WireResponse *wire);

/* An empty reply: nothing known, not even what it cost. */
extern void provider_reply_init(ProviderReply *reply);

/*
 * The object that was answered, or NULL: some errors come as the one element of
 * an array.  body may be NULL.
 */
extern JsonbContainer *wire_body_object(Jsonb *body);

/* Note the provider's own id of the exchange, from its headers. */
extern void provider_reply_read_id(ProviderReply *reply, const WireResponse *wire);

/* What the answer to a check says of the key: OUTCOME_OK, or why not. */
extern void provider_read_check(const WireResponse *wire, ProviderReply *reply);

/*
 * An exchange in the current memory context, where all of it lives.
 * (exchange.c)
 */
extern Exchange *exchange_create(const ApiFormat *format, const ProviderEndpoint *endpoint,
								 const ProviderModel *model, const ChatRequest *request,
								 TimestampTz now);

/* Whether an answer with these headers is to be read as a stream. */
extern bool exchange_is_stream(const WireResponse *wire);

/*
 * Read further bytes of a stream (with at_end, the last ones).  True when the
 * stream has ended, well or not: *reply says how.  An event of more than
 * max_bytes ends it, and so does a stream of more than that which is collected to
 * a whole answer.
 */
extern bool exchange_read_stream(Exchange *exchange, const WireResponse *wire, const char *bytes,
								 size_t length, bool at_end, size_t max_bytes,
								 ProviderReply *reply);

/*
 * Make chunks of a whole chat.completion, which a stream's caller gets when the
 * provider answered without streaming; returns the last chunk, still open.
 */
extern JsonbParseState *exchange_chunks_of(Exchange *exchange, Jsonb *completion,
										   const TokenUsage *usage);

/*
 * Scheme, host and port of a URL in canonical form ("https://host:443",
 * lower case), palloc'd: what a key is bound to.  NULL when url is not an
 * http(s) URL with a host.
 */
extern char *provider_origin(const char *url);

#endif /* LLM_ROUTER_PROVIDER_H */

/*
 * provider.h
 *		The contract of an API format: bytes in, bytes out.
 *
 * An adapter is pure: it neither sends nor waits, and it never sees a key.
 * Differences between providers of one format are data (llm_providers.
 * request_rules), never names in code.
 */
#ifndef LLM_ROUTER_PROVIDER_H
#define LLM_ROUTER_PROVIDER_H

#include "base/errors.h"
#include "chat/request.h"
#include "chat/response.h"
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
} ProviderReply;

typedef struct ApiFormat
{
	const char *name; /* as in llm_providers.api_format */

	/*
	 * Read llm_providers.request_rules (an object) into the adapter's own
	 * struct, palloc'd in the current context.  Lenient: the table's
	 * constraints have checked it.
	 */
	const void *(*read_rules)(Jsonb *rules);

	/*
	 * Write the request for one chat with the model of that name.  False with
	 * an error when the request cannot be said in this format.
	 */
	bool (*build_chat)(const ProviderEndpoint *endpoint, const char *model,
					   const ChatRequest *request, WireRequest *wire,
					   LlmError *error);

	/* Read any answer to it, good or bad.  Never fails: fills *reply. */
	void (*parse_chat)(const ProviderEndpoint *endpoint,
					   const WireResponse *wire, ProviderReply *reply);

	/* The cheap authenticated request that proves a key, and its reading. */
	void (*build_check)(const ProviderEndpoint *endpoint, WireRequest *wire);
	void (*parse_check)(const ProviderEndpoint *endpoint,
						const WireResponse *wire, ProviderReply *reply);
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

/* Overwrite every secret header. */
extern void wire_request_wipe(WireRequest *wire);

/* Value of a response header, or NULL; name in lower case. */
extern const char *wire_response_header(const WireResponse *wire, const char *name);

/*
 * Scheme, host and port of a URL in canonical form ("https://host:443",
 * lower case), palloc'd: what a key is bound to.  NULL when url is not an
 * http(s) URL with a host.
 */
extern char *provider_origin(const char *url);

#endif /* LLM_ROUTER_PROVIDER_H */

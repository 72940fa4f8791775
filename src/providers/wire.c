/*
 * wire.c
 *		Requests, answers and replies as every format makes and reads them.
 */
#include "base/encoding.h"
#include "chat/json.h"
#include "providers/failure.h"
#include "providers/provider.h"

#define MAX_REQUEST_ID_BYTES 100

static const struct
{
	const char *name;	/* as in llm_providers.auth_type */
	const char *header; /* NULL: none */
	const char *prefix; /* before the key */
} auth_types[] = {
	[AUTH_NONE] = { "none", NULL, NULL },
	[AUTH_BEARER] = { "bearer", "Authorization", "Bearer " },
	[AUTH_X_API_KEY] = { "x-api-key", "x-api-key", "" },
	[AUTH_X_GOOG_API_KEY] = { "x-goog-api-key", "x-goog-api-key", "" },
	[AUTH_API_KEY] = { "api-key", "api-key", "" },
};

bool
auth_type_from_name(const char *name, AuthType *auth_type)
{
	for (int i = 0; i < (int) lengthof(auth_types); i++)
	{
		if (strcmp(auth_types[i].name, name) == 0)
		{
			*auth_type = (AuthType) i;
			return true;
		}
	}
	return false;
}

void
wire_request_start(WireRequest *wire, const ProviderEndpoint *endpoint, const char *method,
				   const char *path)
{
	memset(wire, 0, sizeof(*wire));
	wire->method = method;
	wire->url = strstr(path, "://") ? pstrdup(path) : psprintf("%s%s", endpoint->base_url, path);
	initStringInfo(&wire->body);
	wire_request_add_header(wire, "Accept", "application/json");
}

void
wire_request_add_constant_headers(WireRequest *wire, JsonbContainer *headers)
{
	JsonbIterator *iterator = headers ? json_iterate(headers) : NULL;
	JsonbValue	   name;
	JsonbValue	   value;

	while (headers && json_next_member(&iterator, &name, &value))
		if (value.type == jbvString)
			wire_request_add_header(wire, json_value_string(&name), json_value_string(&value));
}

const void *
provider_read_headers(Jsonb *rules)
{
	Jsonb *copy = memcpy(palloc(VARSIZE(rules)), rules, VARSIZE(rules));

	return json_member_object(&copy->root, "headers");
}

static void
note_parameter(List **list, const char *parameter)
{
	ListCell *cell;

	foreach (cell, *list)
		if (strcmp(lfirst(cell), parameter) == 0)
			return;
	*list = lappend(*list, pstrdup(parameter));
}

void
wire_request_dropped(WireRequest *wire, const char *parameter)
{
	note_parameter(&wire->dropped, parameter);
}

void
wire_request_adjusted(WireRequest *wire, const char *parameter)
{
	note_parameter(&wire->adjusted, parameter);
}

static void
add_header(WireRequest *wire, const char *name, char *value, bool secret)
{
	WireHeader *header = palloc(sizeof(WireHeader));

	header->name = pstrdup(name);
	header->value = value;
	header->secret = secret;
	wire->headers = lappend(wire->headers, header);
}

void
wire_request_add_header(WireRequest *wire, const char *name, const char *value)
{
	add_header(wire, name, pstrdup(value), false);
}

static void
wipe_text(void *text)
{
	explicit_bzero(text, strlen(text));
}

/*
 * The value is wiped with its memory context as well, for errors before
 * wire_request_wipe().  (psprintf would leave a part of a long key in memory that
 * it tried first.)
 */
void
wire_request_authorize(WireRequest *wire, AuthType auth_type, const char *api_key)
{
	const char			  *prefix = auth_types[auth_type].prefix;
	MemoryContextCallback *on_reset;
	char				  *value;

	if (auth_types[auth_type].header == NULL)
		return;
	on_reset = palloc(sizeof(MemoryContextCallback));
	value = palloc(strlen(prefix) + strlen(api_key) + 1);
	strcpy(value, prefix);
	strcat(value, api_key);
	on_reset->func = wipe_text;
	on_reset->arg = value;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, on_reset);
	add_header(wire, auth_types[auth_type].header, value, true);
}

void
wire_request_wipe(WireRequest *wire)
{
	ListCell *cell;

	foreach (cell, wire->headers)
	{
		WireHeader *header = lfirst(cell);

		if (header->secret)
			explicit_bzero(header->value, strlen(header->value));
	}
}

const char *
wire_response_header(const WireResponse *wire, const char *name)
{
	ListCell *cell;

	foreach (cell, wire->headers)
	{
		const WireHeader *header = lfirst(cell);

		if (strcmp(header->name, name) == 0)
			return header->value;
	}
	return NULL;
}

bool
wire_response_good(const WireResponse *wire)
{
	return wire->status >= 200 && wire->status <= 299;
}

void
provider_reply_init(ProviderReply *reply)
{
	memset(reply, 0, sizeof(*reply));
	reply->retry_after_ms = -1;
	reply->answer.reported_cost = MONEY_UNKNOWN;
}

void
provider_reply_read_id(ProviderReply *reply, const WireResponse *wire)
{
	static const char *const headers[] = { "x-request-id", "request-id", "mistral-correlation-id" };

	for (int i = 0; i < (int) lengthof(headers) && reply->provider_request_id == NULL; i++)
	{
		const char *id = wire_response_header(wire, headers[i]);

		if (id)
			reply->provider_request_id = encoding_line_from_network(id, strlen(id),
																	MAX_REQUEST_ID_BYTES);
	}
}

JsonbContainer *
wire_body_object(Jsonb *body)
{
	if (body == NULL)
		return NULL;
	if (JB_ROOT_IS_OBJECT(body))
		return &body->root;
	if (JB_ROOT_COUNT(body) == 0)
		return NULL;
	return json_value_object(getIthJsonbValueFromContainer(&body->root, 0));
}

void
provider_read_check(const WireResponse *wire, ProviderReply *reply)
{
	const char	   *problem;
	Jsonb		   *json = json_from_bytes(wire->body, wire->body_length, &problem);
	JsonbContainer *body = wire_body_object(json);

	provider_reply_init(reply);
	if (!wire_response_good(wire))
		failure_read(wire, body, reply);
	else if (json == NULL || JB_ROOT_IS_SCALAR(json))
		failure_protocol(json ? "the answer is no JSON object" : problem, reply);
	else if (JB_ROOT_IS_OBJECT(json) && json_value_given(json_member(body, "error")))
		failure_read(wire, body, reply);
	else
		reply->outcome = OUTCOME_OK;
}

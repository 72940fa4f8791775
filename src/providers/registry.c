/*
 * registry.c
 *		The API formats by name, and what every format does alike: the header
 *		that carries the key, and what a key is bound to.
 */
#include "providers/provider.h"

#include "providers/openai.h"
#include "utils/formatting.h"

static const ApiFormat *const api_formats[] = {
	&openai_format,
};

static const struct
{
	const char *name;			/* as in llm_providers.auth_type */
	const char *header;			/* NULL: none */
	const char *prefix;			/* before the key */
}			auth_types[] = {
	[AUTH_NONE] = {"none", NULL, NULL},
	[AUTH_BEARER] = {"bearer", "Authorization", "Bearer "},
	[AUTH_X_API_KEY] = {"x-api-key", "x-api-key", ""},
	[AUTH_X_GOOG_API_KEY] = {"x-goog-api-key", "x-goog-api-key", ""},
	[AUTH_API_KEY] = {"api-key", "api-key", ""},
};

const ApiFormat *
api_format_find(const char *name)
{
	for (int i = 0; i < (int) lengthof(api_formats); i++)
	{
		const ApiFormat *format = api_formats[i];

		Assert(format->read_rules && format->build_chat && format->parse_chat &&
			   format->build_check && format->parse_check);
		if (strcmp(format->name, name) == 0)
			return format;
	}
	return NULL;
}

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

void
wire_request_authorize(WireRequest *wire, AuthType auth_type, const char *api_key)
{
	if (auth_types[auth_type].header)
		add_header(wire, auth_types[auth_type].header,
				   psprintf("%s%s", auth_types[auth_type].prefix, api_key), true);
}

void
wire_request_wipe(WireRequest *wire)
{
	ListCell   *cell;

	foreach(cell, wire->headers)
	{
		WireHeader *header = lfirst(cell);

		if (header->secret)
			explicit_bzero(header->value, strlen(header->value));
	}
}

const char *
wire_response_header(const WireResponse *wire, const char *name)
{
	ListCell   *cell;

	foreach(cell, wire->headers)
	{
		const WireHeader *header = lfirst(cell);

		if (strcmp(header->name, name) == 0)
			return header->value;
	}
	return NULL;
}

/* Length of the host at the start of "authority", or 0 when it is none. */
static size_t
host_length(const char *authority)
{
	size_t		length;

	if (*authority != '[')
		return strspn(authority, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_");

	/* An IPv6 address, RFC 3986 section 3.2.2. */
	length = strspn(authority + 1, "0123456789abcdefABCDEF:.");
	return length > 0 && authority[length + 1] == ']' ? length + 2 : 0;
}

char *
provider_origin(const char *url)
{
	static const struct
	{
		const char *prefix;
		int			port;
	}			schemes[] = {{"https://", 443}, {"http://", 80}};

	for (int i = 0; i < (int) lengthof(schemes); i++)
	{
		size_t		prefix = strlen(schemes[i].prefix);
		const char *authority = url + prefix;
		size_t		host;
		const char *rest;
		long		port = schemes[i].port;

		if (pg_strncasecmp(url, schemes[i].prefix, prefix) != 0)
			continue;
		host = host_length(authority);
		rest = authority + host;
		if (*rest == ':' && rest[1] >= '0' && rest[1] <= '9')
			port = strtol(rest + 1, (char **) &rest, 10);
		if (host == 0 || port < 1 || port > 65535 || strchr("/?#", *rest) == NULL)
			return NULL;

		/* strchr finds the end of the string, too: a URL may stop here. */
		return psprintf("%s%s:%ld", schemes[i].prefix,
						asc_tolower(authority, host), port);
	}
	return NULL;
}

/*
 * registry.c
 *		The API formats by name, and what a key is bound to.
 */
#include "providers/provider.h"

#include "providers/anthropic.h"
#include "providers/cohere.h"
#include "providers/google.h"
#include "providers/openai.h"
#include "providers/replicate.h"
#include "utils/formatting.h"

static const ApiFormat *const api_formats[] = {
	&openai_format,
	&anthropic_format,
	&google_format,
	&cohere_format,
	&replicate_format,
};

const ApiFormat *
api_format_find(const char *name)
{
	for (int i = 0; i < (int) lengthof(api_formats); i++)
	{
		const ApiFormat *format = api_formats[i];

		Assert(format->read_rules && format->build_chat && format->parse_chat &&
			   format->parse_event && format->end_stream && format->build_check);
		if (strcmp(format->name, name) == 0)
			return format;
	}
	return NULL;
}

/* Length of the host at the start of "authority", or 0 when it is none. */
static size_t
host_length(const char *authority)
{
	size_t length;

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
	} schemes[] = { { "https://", 443 }, { "http://", 80 } };

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

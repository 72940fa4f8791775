/*
 * replicate_urls.c
 *		Which of the addresses that an answer names may be asked.
 *
 * The key goes to the origin of the base URL and nowhere else.  Streams come
 * from another host of the same domain, and need no key.
 */
#include "providers/replicate.h"

#define MAX_URL_BYTES 2048

/* Of printable ASCII, and not too long. */
static bool
is_clean(const char *url)
{
	size_t length = 0;

	for (; url[length]; length++)
		if (url[length] <= ' ' || url[length] >= 0x7f || length == MAX_URL_BYTES)
			return false;
	return length > 0;
}

bool
replicate_may_ask(const Exchange *exchange, const char *url)
{
	char *home = provider_origin(exchange->endpoint->base_url);
	char *there = is_clean(url) ? provider_origin(url) : NULL;

	return home && there && strcmp(home, there) == 0;
}

/* The host in an origin ("https://host:443"), copied. */
static char *
host_of(const char *origin)
{
	const char *host = strstr(origin, "://") + 3;

	return pnstrdup(host, strrchr(host, ':') - host);
}

static bool
is_address(const char *host)
{
	return *host == '[' || strspn(host, "0123456789.") == strlen(host);
}

/*
 * Whether "there" is a host under the parent domain of "home": of
 * api.example.com, all of example.com.  A parent of one label ("com") is no
 * domain of anybody's.
 */
static bool
is_relative(const char *home, const char *there)
{
	const char *parent = strchr(home, '.');
	size_t		length;

	if (parent == NULL || is_address(home) || is_address(there) || strchr(parent + 1, '.') == NULL)
		return false;
	length = strlen(there);
	return strcmp(there, parent + 1) == 0 ||
		   (length > strlen(parent) && strcmp(there + length - strlen(parent), parent) == 0);
}

bool
replicate_may_stream(const Exchange *exchange, const char *url)
{
	char *home = provider_origin(exchange->endpoint->base_url);
	char *there = is_clean(url) ? provider_origin(url) : NULL;

	if (home == NULL || there == NULL)
		return false;
	if (strcmp(home, there) == 0)
		return true;
	if (strncmp(there, "https://", 8) != 0)
		return false;
	home = host_of(home);
	there = host_of(there);
	return strcmp(home, there) == 0 || is_relative(home, there);
}

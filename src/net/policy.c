/*
 * policy.c
 *		Where a request may go.
 *
 * A provider's URL comes from a table, and names resolve to whatever their
 * owner likes, so a URL alone says little.  The rules below look at the address
 * that a socket is about to be opened to: there is no gap between the check and
 * the connection.  All addresses are compared as 128 bits, IPv4 in its mapped
 * form ::ffff:a.b.c.d, so that no spelling of an address avoids its rule.
 *
 * URLs are split by libcurl itself: a second parser might read another host
 * than the one that is connected to.
 */
#include "net/policy.h"

#include "base/settings.h"
#include "net/curl_memory.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>

#define ADDRESS_BYTES 16

/* An IPv4 prefix in mapped form; its length counts from the mapped prefix on. */
#define V4(a, b, c, d)                                               \
	{                                                                \
		0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, (a), (b), (c), (d) \
	}
#define V4_BITS(bits) (96 + (bits))

/* An IPv6 prefix by its first three groups of 16 bits. */
#define V6(a, b, c)                                                   \
	{                                                                 \
		(a) >> 8, (a) &0xff, (b) >> 8, (b) &0xff, (c) >> 8, (c) &0xff \
	}

typedef struct AddressRule
{
	uint8		prefix[ADDRESS_BYTES];
	int			bits;
	const char *what;
	bool		loopback; /* allowed for a URL that itself says loopback */
} AddressRule;

/*
 * What is not a public unicast address: IANA's special-purpose registries
 * (RFC 6890), and where clouds serve credentials of the machine.
 */
static const AddressRule refused_addresses[] = {
	{ V4(127, 0, 0, 0), V4_BITS(8), "loopback address (RFC 1122)", true },
	{ { [15] = 1 }, 128, "loopback address (RFC 4291)", true },
	{ V4(10, 0, 0, 0), V4_BITS(8), "private address (RFC 1918)", false },
	{ V4(172, 16, 0, 0), V4_BITS(12), "private address (RFC 1918)", false },
	{ V4(192, 168, 0, 0), V4_BITS(16), "private address (RFC 1918)", false },
	{ V6(0xfc00, 0, 0), 7, "private address (RFC 4193)", false },
	{ V4(169, 254, 169, 254), V4_BITS(32), "cloud metadata service", false },
	{ V4(168, 63, 129, 16), V4_BITS(32), "cloud metadata service", false },
	{ V4(169, 254, 0, 0), V4_BITS(16), "link-local address (RFC 3927)", false },
	{ V6(0xfe80, 0, 0), 10, "link-local address (RFC 4291)", false },
	{ V6(0xfec0, 0, 0), 10, "site-local address (RFC 3879)", false },
	{ V4(100, 64, 0, 0), V4_BITS(10), "carrier-grade NAT address (RFC 6598)", false },
	{ V4(0, 0, 0, 0), V4_BITS(8), "unspecified address (RFC 1122)", false },
	{ { 0 }, 96, "unspecified or IPv4-compatible address (RFC 4291)", false },
	{ V4(192, 0, 0, 0), V4_BITS(24), "protocol assignment address (RFC 6890)", false },
	{ V4(192, 0, 2, 0), V4_BITS(24), "documentation address (RFC 5737)", false },
	{ V4(198, 51, 100, 0), V4_BITS(24), "documentation address (RFC 5737)", false },
	{ V4(203, 0, 113, 0), V4_BITS(24), "documentation address (RFC 5737)", false },
	{ V6(0x2001, 0x0db8, 0), 32, "documentation address (RFC 3849)", false },
	{ V4(198, 18, 0, 0), V4_BITS(15), "benchmarking address (RFC 2544)", false },
	{ V4(224, 0, 0, 0), V4_BITS(4), "multicast address (RFC 5771)", false },
	{ V6(0xff00, 0, 0), 8, "multicast address (RFC 4291)", false },
	{ V4(240, 0, 0, 0), V4_BITS(4), "reserved or broadcast address (RFC 1112)", false },
	{ V6(0x0100, 0, 0), 64, "discard address (RFC 6666)", false },
	{ V6(0x0064, 0xff9b, 0x0001), 48, "local NAT64 address (RFC 8215)", false },
	{ V6(0x2001, 0, 0), 32, "Teredo address (RFC 4380)", false },
	{ V6(0x2002, 0, 0), 16, "6to4 address (RFC 7526)", false },
};

/* 64:ff9b::/96 leads to the IPv4 address in its last four bytes (RFC 6052). */
static const uint8 nat64_prefix[ADDRESS_BYTES] = V6(0x0064, 0xff9b, 0);
static const uint8 mapped_prefix[ADDRESS_BYTES] = V4(0, 0, 0, 0);

static bool
has_prefix(const uint8 *address, const uint8 *prefix, int bits)
{
	int bytes = bits / 8;
	int rest = bits % 8;

	return memcmp(address, prefix, bytes) == 0 &&
		   (rest == 0 || ((address[bytes] ^ prefix[bytes]) >> (8 - rest)) == 0);
}

static const AddressRule *
find_rule(const uint8 *address)
{
	uint8 behind_nat64[ADDRESS_BYTES];

	if (has_prefix(address, nat64_prefix, 96))
	{
		memcpy(behind_nat64, mapped_prefix, 12);
		memcpy(behind_nat64 + 12, address + 12, 4);
		address = behind_nat64;
	}
	for (int i = 0; i < (int) lengthof(refused_addresses); i++)
	{
		const AddressRule *rule = &refused_addresses[i];

		if (has_prefix(address, rule->prefix, rule->bits))
			return rule;
	}
	return NULL;
}

/* Read an address as text; false when it is none. */
static bool
address_from_text(const char *text, uint8 *address)
{
	memcpy(address, mapped_prefix, 12);
	return inet_pton(AF_INET, text, address + 12) == 1 ||
		   inet_pton(AF_INET6, text, address) == 1;
}

/* Whether a URL with this host says openly that it means this machine. */
static bool
host_is_loopback(const char *host)
{
	uint8			   address[ADDRESS_BYTES];
	const AddressRule *rule;

	/* libcurl resolves localhost itself, and only to loopback (RFC 6761). */
	if (pg_strcasecmp(host, "localhost") == 0)
		return true;
	rule = address_from_text(host, address) ? find_rule(address) : NULL;
	return rule && rule->loopback;
}

/* ------------------------------------------------------------------------
 * llm_router.allowed_hosts: "host", "host:port", "[ipv6]:port", separated by
 * commas
 * ------------------------------------------------------------------------
 */

static bool
entry_names(const char *entry, size_t length, const HttpTarget *target)
{
	const char *colon = memchr(entry, ':', length);
	const char *port = NULL;
	size_t		host_length = strlen(target->host);

	if (length > 0 && entry[0] == '[')
	{
		const char *bracket = memchr(entry, ']', length);

		if (!bracket)
			return false;
		if (bracket + 1 < entry + length)
			port = bracket + 2;
		length = bracket - entry - 1;
		entry++;
	}
	else if (colon && !memchr(colon + 1, ':', entry + length - colon - 1))
	{
		port = colon + 1;
		length = colon - entry;
	}
	return length == host_length && pg_strncasecmp(entry, target->host, length) == 0 &&
		   (!port || atoi(port) == target->port);
}

static bool
host_is_allowed(const HttpTarget *target)
{
	const char *entry = setting_allowed_hosts;

	while (*entry)
	{
		size_t length = strcspn(entry, ", \t\n");

		if (entry_names(entry, length, target))
			return true;
		entry += length;
		entry += strspn(entry, ", \t\n");
	}
	return false;
}

/* ------------------------------------------------------------------------
 * Addresses and URLs
 * ------------------------------------------------------------------------
 */

static const char *
refusal(const uint8 *address, const HttpTarget *target)
{
	const AddressRule *rule = find_rule(address);

	if (!rule || setting_proxy[0] != '\0')
		return NULL;
	if (rule->loopback && host_is_loopback(target->host))
		return NULL;
	return host_is_allowed(target) ? NULL : rule->what;
}

const char *
policy_refusal(const struct sockaddr *address, const HttpTarget *target)
{
	uint8 bytes[ADDRESS_BYTES];

	switch (address->sa_family)
	{
		case AF_INET:
			memcpy(bytes, mapped_prefix, 12);
			memcpy(bytes + 12, &((const struct sockaddr_in *) address)->sin_addr, 4);
			break;
		case AF_INET6:
			memcpy(bytes, &((const struct sockaddr_in6 *) address)->sin6_addr, ADDRESS_BYTES);
			break;
		default:
			return "address that is neither IPv4 nor IPv6";
	}
	return refusal(bytes, target);
}

const char *
policy_refusal_of_text(const char *address, const HttpTarget *target)
{
	uint8 bytes[ADDRESS_BYTES];

	if (!address_from_text(address, bytes))
		return "address that is neither IPv4 nor IPv6";
	return refusal(bytes, target);
}

/*
 * Fill *target, and tell whether the URL has a user or password in it.  Frees
 * what libcurl allocated before anything can throw.
 */
static CURLUcode
read_url(const char *url, HttpTarget *target, bool *has_credentials)
{
	CURLU	 *parts = curl_memory_init() ? curl_url() : NULL; /* a transfer's first use of libcurl */
	char	 *scheme = NULL;
	char	 *host = NULL;
	char	 *port = NULL;
	char	 *user = NULL;
	CURLUcode code = parts ? curl_url_set(parts, CURLUPART_URL, url, 0) : CURLUE_OUT_OF_MEMORY;

	if (code == CURLUE_OK)
		code = curl_url_get(parts, CURLUPART_SCHEME, &scheme, 0);
	if (code == CURLUE_OK)
		code = curl_url_get(parts, CURLUPART_HOST, &host, 0);
	if (code == CURLUE_OK)
		code = curl_url_get(parts, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT);
	if (code == CURLUE_OK)
	{
		size_t length = strlen(host);
		bool   bracketed = host[0] == '[' && length > 2;

		*has_credentials = curl_url_get(parts, CURLUPART_USER, &user, 0) == CURLUE_OK;
		target->https = strcmp(scheme, "https") == 0;
		target->port = atoi(port);
		if (length >= TARGET_HOST_SIZE)
			code = CURLUE_BAD_HOSTNAME;
		else if (!target->https && strcmp(scheme, "http") != 0)
			code = CURLUE_UNSUPPORTED_SCHEME;
		else if (bracketed)
			strlcpy(target->host, host + 1, length - 1);
		else
			strlcpy(target->host, host, TARGET_HOST_SIZE);
	}
	curl_free(scheme);
	curl_free(host);
	curl_free(port);
	curl_free(user);
	curl_url_cleanup(parts);
	return code;
}

bool
policy_check_url(const char *url, HttpTarget *target, LlmError *error)
{
	bool		has_credentials = false;
	uint8		address[ADDRESS_BYTES];
	const char *refused = NULL;
	CURLUcode	code = read_url(url, target, &has_credentials);

	/* The URL itself is not repeated: what is wrong in it may be a secret. */
	if (code != CURLUE_OK)
	{
		error_set(error, ERRCODE_INVALID_PARAMETER_VALUE,
				  "the URL is not valid: %s", curl_url_strerror(code));
		return error_hint(error, "It looks like https://host/path, or http:// for a local server.");
	}
	if (has_credentials)
	{
		error_set(error, ERRCODE_INVALID_PARAMETER_VALUE,
				  "the URL of %s contains a user name or password", target->host);
		return error_hint(error, "Store the key with llm_provider_set_key; URLs appear in logs.");
	}
	if (!target->https && !host_is_loopback(target->host) && !host_is_allowed(target))
	{
		error_set(error, ERRCODE_INVALID_PARAMETER_VALUE,
				  "the URL of %s must use https", target->host);
		return error_hint(error,
						  "For a server in your own network, add \"%s:%d\" to llm_router.allowed_hosts.",
						  target->host, target->port);
	}
	if (address_from_text(target->host, address))
		refused = refusal(address, target);
	if (refused)
	{
		error_set(error, ERRCODE_INVALID_PARAMETER_VALUE,
				  "requests to %s are refused: %s", target->host, refused);
		return error_hint(error, "If it is meant, add it to llm_router.allowed_hosts.");
	}
	return true;
}

/*
 * policy.h
 *		Where a request may go: https, and public addresses, unless the
 *		administrator named the host in llm_router.allowed_hosts.
 */
#ifndef LLM_ROUTER_POLICY_H
#define LLM_ROUTER_POLICY_H

#include "base/errors.h"

#include <sys/socket.h>

/* A host name has at most 253 characters (RFC 1035, 2.3.4). */
#define TARGET_HOST_SIZE 256

/* Who a URL leads to, as libcurl reads it. */
typedef struct HttpTarget
{
	bool https;
	char host[TARGET_HOST_SIZE]; /* IPv6 without brackets */
	int	 port;
} HttpTarget;

/*
 * Read url into *target, and check what can be checked without resolving its
 * name: the scheme, and an address that stands there instead of a name.  False
 * with 22023.
 */
extern bool policy_check_url(const char *url, HttpTarget *target, LlmError *error);

/*
 * Why a connection to this address may not be opened for the target ("private
 * address (RFC 1918)", a constant), or NULL when it may.  With a proxy the
 * address is the proxy's, and always allowed.  Neither throws nor allocates:
 * for libcurl's callbacks.
 */
extern const char *policy_refusal(const struct sockaddr *address, const HttpTarget *target);

/* The same for an address as text; what is no address is refused. */
extern const char *policy_refusal_of_text(const char *address, const HttpTarget *target);

#endif /* LLM_ROUTER_POLICY_H */

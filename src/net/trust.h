/*
 * trust.h
 *		The certificate authorities that TLS connections are checked against.
 */
#ifndef LLM_ROUTER_TRUST_H
#define LLM_ROUTER_TRUST_H

#include "postgres.h"

#include <curl/curl.h>

/*
 * CURLOPT_SSL_CTX_FUNCTION: makes a connection trust the system's authorities
 * and those of llm_router.ca_file.  CURLE_SSL_CACERT_BADFILE when a file
 * cannot be read; trust_problem() then says which.
 */
extern CURLcode trust_apply(CURL *easy, void *ssl_context, void *userdata);

/* What the last CURLE_SSL_CACERT_BADFILE was about. */
extern const char *trust_problem(void);

#endif /* LLM_ROUTER_TRUST_H */

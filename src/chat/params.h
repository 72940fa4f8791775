/*
 * params.h
 *		The parameters of a chat request, and the router's own: what may be
 *		said, and the types and ranges.
 */
#ifndef LLM_ROUTER_PARAMS_H
#define LLM_ROUTER_PARAMS_H

#include "chat/field.h"
#include "chat/request.h"

/*
 * Check the members of an options object (path "options"), or of a whole
 * request object (path NULL).  "messages" is only checked to be an array.
 */
extern bool params_check(JsonbContainer *object, const FieldPath *path, LlmError *error);

/*
 * Whether a parameter goes to the provider as it is; the others ("model",
 * "router", the output limit, …) have a place of their own in ChatRequest.
 */
extern bool params_is_forwarded(const JsonbValue *name);

/* Read options.router, which params_check found right; NULL gives the defaults. */
extern void params_read_router(JsonbContainer *router, RouterOptions *options);

#endif							/* LLM_ROUTER_PARAMS_H */

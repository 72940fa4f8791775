/*
 * key_revalidation.h
 *		Asking providers again about the keys of users.
 */
#ifndef LLM_ROUTER_KEY_REVALIDATION_H
#define LLM_ROUTER_KEY_REVALIDATION_H

#include "postgres.h"

#include "datatype/timestamp.h"

/*
 * In the worker that makes rounds: check the keys of this database that nobody has
 * asked about for llm_router.key_revalidation_interval.  Returns when the next are
 * due; DT_NOEND: there are none.
 */
extern TimestampTz key_revalidation_run(void);

#endif /* LLM_ROUTER_KEY_REVALIDATION_H */

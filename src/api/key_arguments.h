/*
 * key_arguments.h
 *		What the functions that take an API key do with their arguments.
 */
#ifndef LLM_ROUTER_KEY_ARGUMENTS_H
#define LLM_ROUTER_KEY_ARGUMENTS_H

#include "postgres.h"

#include "engine/key_check.h"
#include "fmgr.h"
#include "state/catalog.h"

typedef struct KeyArguments
{
	const Catalog		  *catalog; /* pinned */
	const CatalogProvider *provider;
	char				  *api_key; /* NULL: the argument is; wiped at the end */
} KeyArguments;

/*
 * Find the provider, and read the key from the argument of that number (-1: the
 * function takes none).  22023
 * for no provider (NULL) and an unknown one.  Whatever happens, key_arguments_wipe
 * has to follow: zero *arguments before, and call both in PG_TRY and PG_FINALLY.
 */
extern void key_arguments_read(FunctionCallInfo fcinfo, int api_key, const char *provider,
							   KeyArguments *arguments);
extern void key_arguments_wipe(KeyArguments *arguments);

/* 22023 unless the key can be one, and the provider takes keys. */
extern void key_argument_check(const KeyArguments *arguments);

/* Raise LR005 with what the provider said; user_id is audited, NULL for the platform. */
extern void key_argument_refused(const CatalogProvider *provider, const KeyCheck *check,
								 const char *user_id) __attribute__((noreturn));

#endif /* LLM_ROUTER_KEY_ARGUMENTS_H */

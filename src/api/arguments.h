/*
 * arguments.h
 *		What every SQL-callable function does with its arguments.
 */
#ifndef LLM_ROUTER_ARGUMENTS_H
#define LLM_ROUTER_ARGUMENTS_H

#include "postgres.h"

#include "fmgr.h"
#include "utils/jsonb.h"

/* Raise LR010 unless llm_router was preloaded. */
extern void argument_require_preloaded(void);

/* An argument of type text as a palloc'd C string, or NULL. */
extern char *argument_string(FunctionCallInfo fcinfo, int number);

/* An argument of type boolean; otherwise for NULL. */
extern bool argument_bool(FunctionCallInfo fcinfo, int number, bool otherwise);

/* An argument of type jsonb, or NULL. */
extern Jsonb *argument_jsonb(FunctionCallInfo fcinfo, int number);

#endif /* LLM_ROUTER_ARGUMENTS_H */

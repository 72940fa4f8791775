/*
 * parameters.h
 *		A request's parameters for formats that know them by other names.
 */
#ifndef LLM_ROUTER_PARAMETERS_H
#define LLM_ROUTER_PARAMETERS_H

#include "chat/json_writer.h"
#include "providers/provider.h"

/*
 * Whether leaving a parameter out says the same: it has its default, or speaks of
 * tools where there are none.  Such a parameter need not be noted as dropped.
 */
extern bool parameter_is_idle(const ChatRequest *request, const JsonbValue *name,
							  const JsonbValue *value);

/*
 * Note every parameter as dropped that is not in the NULL-terminated list of those
 * that the adapter reads, unless it is idle.
 */
extern void parameters_note_dropped(const ChatRequest *request, const char *const *read,
									WireRequest *wire);

/* A parameter of the request, or NULL: neither absent nor null. */
extern JsonbValue *parameter(const ChatRequest *request, const char *name);

/*
 * Write a number under the name that the provider knows, brought between minimum
 * and maximum, which are decimals ("0.01"), or NULL for none; noted as adjusted
 * when that changes it.  Nothing when the request does not have it.
 */
extern void parameter_write_number(const ChatRequest *request, const char *name,
								   const char *minimum, const char *maximum,
								   const char *name_as_sent, JsonWriter *writer,
								   WireRequest *wire);

/*
 * "stop", a string or an array of strings, as an array of at most max strings; empty
 * ones are left out, and blank ones if the provider refuses them.  All is noted.
 */
extern void parameter_write_stop(const ChatRequest *request, const char *name_as_sent, int max,
								 bool without_blank, JsonWriter *writer, WireRequest *wire);

/* The efforts of OpenAI's reasoning_effort, in order. */
typedef enum ReasoningEffort
{
	EFFORT_UNSET, /* not given, or a word that is none of these */
	EFFORT_NONE,
	EFFORT_MINIMAL,
	EFFORT_LOW,
	EFFORT_MEDIUM,
	EFFORT_HIGH,
	EFFORT_XHIGH,
	EFFORT_MAX
} ReasoningEffort;

/* reasoning_effort, or the effort of OpenRouter's "reasoning" object. */
extern ReasoningEffort parameter_reasoning_effort(const ChatRequest *request);

/* Under which of the two names it was asked for, for notes: OpenAI's, if in doubt. */
extern const char *parameter_of_reasoning(const ChatRequest *request);

/* Whether top_k limits anything: 0 and -1 mean all tokens, which is said by saying nothing. */
extern bool parameter_limits_top_k(const ChatRequest *request);

/* What is asked of the form of the answer. */
typedef enum ResponseFormat
{
	RESPONSE_TEXT,
	RESPONSE_JSON_OBJECT,
	RESPONSE_JSON_SCHEMA
} ResponseFormat;

/* schema and name, if wanted, are set for RESPONSE_JSON_SCHEMA; schema may be NULL. */
extern ResponseFormat parameter_response_format(const ChatRequest *request,
												JsonbContainer **schema, char **name);

/*
 * Write the members of options.router.extra that "written" (a NULL-terminated
 * list, or NULL) does not name.  An adapter asks parameter_in_extra before it
 * writes a member of its own, so that extra wins.
 */
extern bool parameter_in_extra(const ChatRequest *request, const char *name_as_sent);
extern void parameters_write_extra(const ChatRequest *request, const char *const *written,
								   JsonWriter *writer);

#endif /* LLM_ROUTER_PARAMETERS_H */

/*
 * cohere.h
 *		The parts of the cohere format, which are one file each.
 */
#ifndef LLM_ROUTER_COHERE_H
#define LLM_ROUTER_COHERE_H

#include "chat/json_writer.h"
#include "providers/provider.h"

extern const ApiFormat cohere_format;

/* cohere_request.c: the body of a chat request, one JSON object in UTF-8. */
extern bool cohere_write_chat(const Exchange *exchange, WireRequest *wire, LlmError *error);

/*
 * cohere_messages.c: the messages array.  instruction, or NULL, is added to the
 * system message.  False with an error when the conversation cannot be said.
 */
extern bool cohere_write_messages(JsonWriter *writer, JsonbContainer *messages,
								  const char *instruction, LlmError *error);

/*
 * cohere_tools.c: the tools, strict_tools and tool_choice.  *has_tools is whether
 * any were written.
 */
extern bool cohere_write_tools(const Exchange *exchange, JsonWriter *writer, WireRequest *wire,
							   bool *has_tools, LlmError *error);

/*
 * Names of tools here are letters, digits and underscores that begin with no
 * digit; all other characters become underscores.  cohere_given_name is the way
 * back: the name that the request has for what an answer calls "said".
 */
extern char		  *cohere_tool_name(const JsonbValue *name);
extern const char *cohere_given_name(const ChatRequest *request, const char *said);

/*
 * A JSON Schema without the keywords that are refused where a schema is
 * enforced; *changed is set when one was left out that says something.
 */
extern void cohere_write_schema(JsonWriter *writer, JsonbContainer *schema, bool *changed);

/* cohere_answer.c: what is charged; usage may be NULL.  Unknown for nonsense. */
extern void cohere_read_usage(JsonbContainer *usage, TokenUsage *tokens);

/* Whether an answer, or the last event of a stream, with this reason is none. */
extern bool cohere_reason_is_failure(const JsonbValue *reason);

/* The reason in OpenAI's word. */
extern const char *cohere_finish_reason(const JsonbValue *said, bool has_tool_calls);

/* A tool call of an answer, begun: its index, or -1 with a problem. */
extern int cohere_begin_tool_call(Exchange *exchange, JsonbContainer *call, const char **problem);

/* The arguments in a tool call, or a piece of them. */
extern void cohere_add_arguments(Exchange *exchange, JsonbContainer *call, int index, bool first);

/* The text or thought in a part of a message's content. */
extern void cohere_add_content(Exchange *exchange, JsonbContainer *part, bool *has_text);

/* Probabilities of tokens, {"text", "logprobs"} or an array of such. */
extern void cohere_add_logprobs(Exchange *exchange, const JsonbValue *said);

extern bool cohere_read_answer(Exchange *exchange, JsonbContainer *body, ChatAnswer *answer,
							   const char **problem);

/* cohere_stream.c */
extern bool cohere_parse_event(Exchange *exchange, const WireResponse *wire,
							   const SseEvent *event, ProviderReply *reply);
extern void cohere_end_stream(Exchange *exchange, const WireResponse *wire, ProviderReply *reply);

#endif /* LLM_ROUTER_COHERE_H */

/*
 * openai.h
 *		The parts of the openai format, which are one file each.
 */
#ifndef LLM_ROUTER_OPENAI_H
#define LLM_ROUTER_OPENAI_H

#include "providers/provider.h"

extern const ApiFormat openai_format;

/*
 * llm_providers.request_rules, read once: how a provider's requests differ from
 * OpenAI's.  Lists are arrays of names, NULL when the rule is absent; they
 * point into a copy of the document.
 */
typedef struct OpenAiRules
{
	char		   *max_tokens_field;
	bool			keeps_developer_role; /* else sent as "system" */
	bool			reasoning_models;	  /* OpenAI's rules by model name apply */
	JsonbContainer *rename;				  /* object: OpenAI's name -> name as sent */
	JsonbContainer *drop;				  /* parameters removed, by OpenAI's names */
	JsonbContainer *only;				  /* parameters allowed, by names as sent */
	JsonbContainer *drop_message_fields;
	JsonbContainer *keep_message_fields; /* of those that only answers have */
	JsonbContainer *reasoning_efforts;	 /* accepted values */
	JsonbContainer *headers;			 /* object: constant headers */
	JsonbContainer *query;				 /* object: constant parameters of the URL */
	Numeric			max_temperature;	 /* or NULL */
	bool			stop_as_array;
	bool			logprobs_as_integer;
	bool			drops_image_detail;
	bool			marks_prefix;		 /* a last message of the assistant has "prefix": true */
	bool			asks_for_usage;		 /* in streams, by stream_options */
	int				tool_call_id_length; /* exactly so many letters and digits; 0: any */
	int				max_n;				 /* 0: any */
	int				max_top_logprobs;	 /* 0: any */
} OpenAiRules;

extern const void *openai_read_rules(Jsonb *document);

/* Whether a list of names has this one; false for no list. */
extern bool openai_list_has(JsonbContainer *list, const char *name, int length);

/* What OpenAI's own models accept, by name; see openai_rules.c. */
typedef struct OpenAiModelTraits
{
	bool reasons; /* o-series, gpt-5 and newer */
	bool is_gpt;  /* of those, gpt */
	bool takes_stop;
	bool samples_without_effort; /* temperature, … with effort "none" */
} OpenAiModelTraits;

extern OpenAiModelTraits openai_model_traits(const char *model);

/* openai_request.c: the body of a chat request, one JSON object in UTF-8. */
extern void openai_append_chat(WireRequest *wire, const Exchange *exchange);

/* openai_messages.c: the messages array inside it, and the tools. */
extern void openai_append_tools(StringInfo body, JsonbContainer *tools);
extern void openai_append_messages(StringInfo body, const OpenAiRules *rules,
								   bool developer_to_system, JsonbContainer *messages);

/* openai_usage.c: tokens and the reported cost, in all known spellings. */
extern void openai_read_usage(JsonbContainer *body, ChatAnswer *answer);

/*
 * openai_answer.c: a chat.completion from the body of a good answer; false with
 * a short static text when it lacks what nobody can fill in.  answer->usage is
 * read already.
 */
extern bool openai_read_completion(Exchange *exchange, JsonbContainer *body,
								   const WireResponse *wire, ChatAnswer *answer,
								   const char **problem);

/*
 * The same for the parts that streams have, too: the reason in OpenAI's word, the
 * text and the thoughts of content that comes as parts, and arguments as text.
 */
extern const char *openai_finish_reason(const JsonbValue *said, bool has_tool_calls);
extern void		   openai_read_parts(JsonbContainer *parts, StringInfo text, StringInfo thinking);
extern void		   openai_push_arguments(JsonbParseState **state, const JsonbValue *arguments,
										 const char *if_none);

/* openai.c: whether a good status came with an error. */
extern bool openai_is_failure(JsonbContainer *body);

/* openai_stream.c */
extern bool openai_parse_event(Exchange *exchange, const WireResponse *wire,
							   const SseEvent *event, ProviderReply *reply);
extern void openai_end_stream(Exchange *exchange, const WireResponse *wire, ProviderReply *reply);

#endif /* LLM_ROUTER_OPENAI_H */

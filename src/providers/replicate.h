/*
 * replicate.h
 *		The parts of the replicate format, which are one file each.
 */
#ifndef LLM_ROUTER_REPLICATE_H
#define LLM_ROUTER_REPLICATE_H

#include "chat/json_writer.h"
#include "providers/provider.h"

extern const ApiFormat replicate_format;

/* What the exchange's last request was for. */
typedef enum ReplicatePhase
{
	REPLICATE_CREATE, /* a prediction */
	REPLICATE_STREAM, /* its output, as it is made */
	REPLICATE_POLL,	  /* the prediction, until it is done */
	REPLICATE_METER	  /* the prediction, whose output the stream brought, for its counts */
} ReplicatePhase;

typedef struct ReplicateState
{
	ReplicatePhase phase;
	char		  *get_url; /* of the prediction; NULL before it is known */
	char		  *cancel_url;
	int			   polls;	/* so far */
	char		   tail[3]; /* the beginning of a character that a stream has cut */
	int			   tail_length;
} ReplicateState;

/* ------------------------------------------------------------------------
 * The request
 * ------------------------------------------------------------------------
 */

/*
 * replicate_input.c: the member input.  False with an error when the request
 * cannot be said to this model.
 */
extern bool replicate_write_input(const Exchange *exchange, JsonWriter *writer, WireRequest *wire,
								  LlmError *error);

/* How many tokens the output may have, as far as that is known; or 0. */
extern int64 replicate_output_limit(const Exchange *exchange);

/* How a model takes a conversation. */
typedef struct ReplicatePromptStyle
{
	const char *system_member; /* for the system text */
	const char *image_member;  /* for images; NULL: it takes none */
	bool		many_images;   /* an array of them; else one */
	bool		messages;	   /* takes OpenAI's messages as they are */
	bool		llama_marks;   /* knows Llama 3's marks of turns */
} ReplicatePromptStyle;

/* replicate_prompt.c: the conversation, as members of input. */
extern bool replicate_write_conversation(const Exchange *exchange, const ReplicatePromptStyle *style,
										 JsonWriter *writer, LlmError *error);

/* ------------------------------------------------------------------------
 * The answer
 * ------------------------------------------------------------------------
 */

/* replicate_answer.c: the state of the exchange, made at the first call. */
extern ReplicateState *replicate_state(Exchange *exchange);

/* Look at the prediction again, after a while; on_abort stops it. */
extern void replicate_poll(Exchange *exchange, ReplicatePhase phase, ProviderReply *reply);

/* Read a prediction, good or bad. */
extern void replicate_parse_chat(Exchange *exchange, const WireResponse *wire, ProviderReply *reply);

/* replicate_urls.c: whether an address that an answer names may be asked ... */
extern bool replicate_may_ask(const Exchange *exchange, const char *url);	 /* ... with the key */
extern bool replicate_may_stream(const Exchange *exchange, const char *url); /* ... without it */

/* replicate_stream.c */
extern bool replicate_parse_event(Exchange *exchange, const WireResponse *wire,
								  const SseEvent *event, ProviderReply *reply);
extern void replicate_end_stream(Exchange *exchange, const WireResponse *wire, ProviderReply *reply);

#endif /* LLM_ROUTER_REPLICATE_H */

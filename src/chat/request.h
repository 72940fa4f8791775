/*
 * request.h
 *		One chat request, parsed and checked: messages, OpenAI parameters and
 *		the router's own settings.
 */
#ifndef LLM_ROUTER_REQUEST_H
#define LLM_ROUTER_REQUEST_H

#include "base/errors.h"
#include "utils/jsonb.h"

typedef enum ByokMode
{
	BYOK_UNSET,	 /* the user's default decides */
	BYOK_PREFER, /* user keys first, platform keys after */
	BYOK_ONLY,
	BYOK_NEVER
} ByokMode;

typedef enum FallbackScope
{
	FALLBACK_UNSET, /* not said: the setting decides */
	FALLBACK_RULES, /* only models that a rule names */
	FALLBACK_LEVEL	/* then other models of the level, by price */
} FallbackScope;

/* options->'router' */
typedef struct RouterOptions
{
	int			  timeout_ms;	/* whole call; 0: llm_router.request_timeout */
	int			  max_attempts; /* 0: llm_router.max_attempts */
	Jsonb		 *tags;			/* an object of at most 8 kB as text, or NULL */
	ByokMode	  byok;
	char		 *user_id; /* or NULL */
	FallbackScope fallback_scope;
	bool		  return_errors; /* on_error = return */
	bool		  strict;		 /* rather refuse than drop a parameter */
	Jsonb		 *extra;		 /* an object merged into the wire body, or NULL */
} RouterOptions;

#define REQUEST_MAX_TAGS_BYTES 8192

typedef struct ChatRequest
{
	Jsonb *messages; /* OpenAI's array, checked */

	/*
	 * Every other OpenAI parameter that was given (options over the members of
	 * a whole request object), checked for name and type; without messages,
	 * model, router, stream, stream_options, max_tokens and
	 * max_completion_tokens.  Never NULL.
	 */
	Jsonb		 *params;
	bool		  streams;			 /* the answer is wanted as a stream */
	char		 *model;			 /* "model" of a request object or options; or NULL */
	int64		  max_output_tokens; /* 0: not given */
	int			  choices;			 /* n; 1 when not given */
	bool		  needs_tools;
	bool		  needs_vision;
	bool		  needs_json_schema;
	int64		  input_tokens; /* upper estimate */
	RouterOptions router;
} ChatRequest;

/*
 * Read only options.router.on_error, leniently: whether the caller wants
 * errors returned has to be known before the rest can be found wrong.
 */
extern bool chat_request_returns_errors(Jsonb *options);

/* What a request is parsed for, and which "stream" it may have. */
typedef enum ChatMode
{
	CHAT_WHOLE,	 /* the whole answer: false */
	CHAT_STREAM, /* its pieces: true */
	CHAT_PLAN	 /* no answer, only its plan or price: either */
} ChatMode;

/*
 * Parse "messages" (OpenAI's array, or one whole request object) and "options"
 * (an object, or NULL).  False with a 22023 error that begins with the path of
 * the bad field ("messages[2].role: …"); an unknown option names the nearest
 * valid one in its hint.  Everything is palloc'd in the current context.
 */
extern bool chat_request_parse(Jsonb *messages, Jsonb *options, ChatMode mode,
							   ChatRequest *request, LlmError *error);

/* The messages array for a bare prompt, as llm_ask sends it. */
extern Jsonb *chat_messages_from_prompt(const char *prompt, int length);

#endif /* LLM_ROUTER_REQUEST_H */

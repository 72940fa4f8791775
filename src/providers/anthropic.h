/*
 * anthropic.h
 *		The parts of the anthropic format, which are one file each.
 */
#ifndef LLM_ROUTER_ANTHROPIC_H
#define LLM_ROUTER_ANTHROPIC_H

#include "chat/json_writer.h"
#include "providers/conversation.h"
#include "providers/parameters.h"
#include "providers/provider.h"
#include "providers/tools.h"

extern const ApiFormat anthropic_format;

/* Anthropic's parts, messages and tools may carry it; so may a caller's. */
#define CACHE_CONTROL "cache_control"

/* ------------------------------------------------------------------------
 * The request
 * ------------------------------------------------------------------------
 */

/* What a model accepts, by its name; see anthropic_model.c. */
typedef struct AnthropicTraits
{
	bool samples;		   /* takes temperature, top_p, top_k */
	bool samples_by_one;   /* of temperature and top_p, only one */
	bool continues;		   /* a last message of the assistant, as the beginning of its answer */
	bool thinks;		   /* knows "thinking" */
	bool thinks_by_effort; /* else within a budget */
	bool thinks_unasked;   /* perhaps, unless it is forbidden */
	bool knows_xhigh;	   /* the effort */
	bool knows_schemas;	   /* output_config.format, and tools with "strict" */
} AnthropicTraits;

extern AnthropicTraits anthropic_model_traits(const char *model);

typedef enum AnthropicThinking
{
	THINKING_UNSAID,
	THINKING_OFF,
	THINKING_BY_EFFORT,
	THINKING_IN_BUDGET,
	THINKING_IN_EXTRA /* options.router.extra says it */
} AnthropicThinking;

/* What the parts of a request depend on; made by anthropic_plan.c. */
typedef struct AnthropicPlan
{
	const ChatRequest *request;
	AnthropicTraits	   model;
	ToolSet			   tools;
	ResponseFormat	   format;
	JsonbContainer	  *schema;		/* of the answer; NULL unless RESPONSE_JSON_SCHEMA */
	char			  *answer_tool; /* see anthropic_answer_tool; or NULL */
	bool			   has_to_call; /* a tool: it may not think then */
	AnthropicThinking  thinking;
	bool			   thinks; /* or may do so */
	const char		  *effort; /* for THINKING_BY_EFFORT; or NULL */
	int64			   budget; /* of thoughts, for THINKING_IN_BUDGET */
	int64			   max_tokens;
	bool			   continues; /* see AnthropicTraits; not in every request */
} AnthropicPlan;

extern bool anthropic_plan(const Exchange *exchange, AnthropicPlan *plan, WireRequest *wire,
						   LlmError *error);

/*
 * The name of the tool whose input is the answer, where a model without schemas is
 * to answer by one; else NULL.  Whoever reads the answer finds the same name.
 */
extern char *anthropic_answer_tool(const Exchange *exchange);

/* Whether an assistant's message has thoughts that can be sent back. */
extern bool anthropic_has_thoughts(JsonbContainer *message);

/* A block of thoughts as the provider takes it back. */
extern bool anthropic_is_thought(const JsonbValue *block);

/*
 * anthropic_history.c: tool calls of the conversation, whose ids are sent as they
 * are where the provider takes them: a few characters, each id once.
 */
typedef struct ToolHistory ToolHistory;

extern ToolHistory *tool_history_create(void);

/* The id under which to send a call, and under which its result is found from now on. */
extern Slice tool_history_add(ToolHistory *history, const MessageToolCall *call);

/* False when there was no such call. */
extern bool tool_history_find(ToolHistory *history, const JsonbValue *id, Slice *sent);

/* The names of all tools that were called, a List of Slice *. */
extern List *tool_history_names(const ToolHistory *history);

/* anthropic_messages.c: the members messages and system. */
extern bool anthropic_write_messages(JsonWriter *writer, const AnthropicPlan *plan,
									 ToolHistory *history, LlmError *error);
extern void anthropic_write_system(JsonWriter *writer, const AnthropicPlan *plan);

/* anthropic_tools.c: the members tools and tool_choice. */
extern void anthropic_write_tools(JsonWriter *writer, const AnthropicPlan *plan,
								  const ToolHistory *history, WireRequest *wire);

/* Write cache_control as an object has it; whether there was any.  NULL has none. */
extern bool anthropic_write_cache_control(JsonWriter *writer, JsonbContainer *object);

/* anthropic_request.c: the body of a chat request. */
extern bool anthropic_append_chat(Exchange *exchange, WireRequest *wire, LlmError *error);

/* ------------------------------------------------------------------------
 * The answer
 * ------------------------------------------------------------------------
 */

/* Counts of tokens as they are said, a member at a time in streams. */
typedef struct AnthropicUsage
{
	int64 input; /* without the next two */
	int64 cache_read;
	int64 cache_write;
	int64 output;
	int64 thinking; /* part of output */
	bool  has_input;
	bool  has_output;
	bool  is_nonsense;
} AnthropicUsage;

/* Read an object "usage", or NULL: what it says replaces what was said before. */
extern void anthropic_read_usage(JsonbContainer *usage, AnthropicUsage *said);

/*
 * The sums of a whole message, unknown when a side is missing or makes no sense;
 * and those of one that may be cut off, as Exchange.usage has them.
 */
extern TokenUsage anthropic_whole_usage(const AnthropicUsage *said);
extern TokenUsage anthropic_usage_so_far(const AnthropicUsage *said);

/* An answer as far as it has been read: the state of an exchange. */
typedef struct AnthropicReading
{
	Exchange	  *exchange;
	char		  *answer_tool; /* its input is the content; or NULL */
	bool		   has_answer;	/* that tool was called */
	StringInfoData held_text;	/* what is the content unless it is called; no data: none */
	bool		   has_text;
	int			   calls;	 /* of other tools */
	List		  *thoughts; /* of Jsonb *, for a whole answer */
	int			   nthoughts;
	char		  *stop_reason; /* or NULL */
	char		  *explanation; /* of a refusal; or NULL */
	AnthropicUsage usage;
	bool		   started; /* an event of a stream has said something */
	List		  *blocks;	/* of a stream: those that are open */
} AnthropicReading;

extern AnthropicReading *anthropic_reading(Exchange *exchange);

/* What a message, or an event about it, says of its end: stop_reason, stop_details. */
extern void anthropic_read_end(AnthropicReading *reading, JsonbContainer *object);

extern void anthropic_add_text(AnthropicReading *reading, const JsonbValue *text);
extern void anthropic_add_thinking(AnthropicReading *reading, const JsonbValue *text);

/* A block of thoughts that is complete.  False when there are too many. */
extern bool anthropic_add_thought(AnthropicReading *reading, Jsonb *block);

/* Where the input of a tool goes. */
typedef enum ToolTarget
{
	TOOL_REFUSED = -3, /* the answer cannot be read on: a call has no name, or there are too many */
	TOOL_IGNORED = -2,
	TOOL_IS_ANSWER = -1 /* else a tool call's index */
} ToolTarget;

extern int	anthropic_begin_tool(AnthropicReading *reading, JsonbContainer *block);
extern void anthropic_add_input(AnthropicReading *reading, int target, const char *text, int length);

/* The input of a block as it stands in it, if there is any. */
extern bool anthropic_add_whole_input(AnthropicReading *reading, int target, JsonbContainer *block);

/* All has been read: fill *reply. */
extern void anthropic_finish(AnthropicReading *reading, ProviderReply *reply);

/* Read an error, which may come with a good status. */
extern bool anthropic_is_failure(JsonbContainer *body);
extern void anthropic_read_failure(const WireResponse *wire, JsonbContainer *body,
								   ProviderReply *reply);

/* anthropic_answer.c: a whole message.  False with a short static text when it is none. */
extern bool anthropic_read_message(AnthropicReading *reading, JsonbContainer *message,
								   const char **problem);

/* anthropic_stream.c */
extern bool anthropic_parse_event(Exchange *exchange, const WireResponse *wire,
								  const SseEvent *event, ProviderReply *reply);
extern void anthropic_end_stream(Exchange *exchange, const WireResponse *wire,
								 ProviderReply *reply);

#endif /* LLM_ROUTER_ANTHROPIC_H */

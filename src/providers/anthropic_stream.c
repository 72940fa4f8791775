/*
 * anthropic_stream.c
 *		Reading a stream of events, which brings a message's blocks in pieces.
 *
 * The blocks are numbered, and come one after the other; that several are open at
 * once is taken all the same, within bounds.  A text's pieces need no block, so
 * that none is lost.
 */
#include "providers/anthropic.h"

#include "providers/failure.h"
#include "utils/memutils.h"

#define MAX_OPEN_BLOCKS 16

/* A block whose pieces come.  Of thoughts all is kept, to be given back whole. */
typedef struct OpenBlock
{
	int64		   index;
	bool		   is_tool;
	int			   target;	  /* of a tool: see ToolTarget */
	bool		   has_input; /* some of it has come */
	bool		   is_whole;  /* its input was there at the start */
	Jsonb		  *start;	  /* of thoughts: the block as it began; or NULL */
	StringInfoData thinking;
	char		  *signature;
} OpenBlock;

static OpenBlock *
find_block(AnthropicReading *reading, JsonbContainer *event)
{
	ListCell *cell;
	int64	  index;

	if (!json_member_int64(event, "index", &index))
		return NULL;
	foreach (cell, reading->blocks)
		if (((OpenBlock *) lfirst(cell))->index == index)
			return lfirst(cell);
	return NULL;
}

/* In the exchange's memory context. */
static OpenBlock *
open_block(AnthropicReading *reading, JsonbContainer *event)
{
	OpenBlock *block = palloc0(sizeof(OpenBlock));

	block->index = -1;
	json_member_int64(event, "index", &block->index);
	reading->blocks = lappend(reading->blocks, block);
	return block;
}

static void
read_head(AnthropicReading *reading, JsonbContainer *event)
{
	JsonbContainer *message = json_member_object(event, "message");

	if (message == NULL)
		return;
	answer_set_head(reading->exchange->answer, json_member_string(message, "id"),
					json_member_string(message, "model"), 0);

	/* Its output_tokens are of the first piece only. */
	anthropic_read_usage(json_member_object(message, "usage"), &reading->usage);
	reading->usage.has_output = false;
	reading->usage.output = 0;
	reading->exchange->usage = anthropic_usage_so_far(&reading->usage);
}

static bool
begin_tool(AnthropicReading *reading, JsonbContainer *event, JsonbContainer *content)
{
	int			  target = anthropic_begin_tool(reading, content);
	MemoryContext previous;
	OpenBlock	 *block;

	if (target == TOOL_REFUSED)
		return false;
	previous = MemoryContextSwitchTo(reading->exchange->context);
	block = open_block(reading, event);
	MemoryContextSwitchTo(previous);
	block->is_tool = true;
	block->target = target;
	block->is_whole = anthropic_add_whole_input(reading, target, content);
	block->has_input = block->is_whole;
	return true;
}

static void
begin_thought(AnthropicReading *reading, JsonbContainer *event, JsonbValue *content)
{
	MemoryContext	previous = MemoryContextSwitchTo(reading->exchange->context);
	JsonbContainer *object = json_value_object(content);
	JsonbValue	   *thinking = json_member(object, "thinking");
	OpenBlock	   *block = open_block(reading, event);

	block->start = JsonbValueToJsonb(content);
	initStringInfo(&block->thinking);
	if (json_value_filled(thinking))
		appendBinaryStringInfo(&block->thinking, thinking->val.string.val, thinking->val.string.len);
	block->signature = json_member_string(object, "signature");
	MemoryContextSwitchTo(previous);
	anthropic_add_thinking(reading, thinking);
}

/* False when the answer cannot be read on. */
static bool
begin_block(AnthropicReading *reading, JsonbContainer *event, const char **problem)
{
	JsonbValue	   *value = json_member(event, "content_block");
	JsonbContainer *content = json_value_object(value);
	JsonbValue	   *type = content ? json_member(content, "type") : NULL;

	if (list_length(reading->blocks) >= MAX_OPEN_BLOCKS)
	{
		*problem = "too many blocks of the stream are open";
		return false;
	}
	if (json_value_is(type, "text"))
		anthropic_add_text(reading, json_member(content, "text"));
	else if (json_value_is(type, "thinking") || json_value_is(type, "redacted_thinking"))
		begin_thought(reading, event, value);
	else if (json_value_is(type, "tool_use") && !begin_tool(reading, event, content))
	{
		*problem = "a tool call of the stream has no name, or there are too many";
		return false;
	}
	return true;
}

static void
read_signature(AnthropicReading *reading, OpenBlock *block, const JsonbValue *signature)
{
	if (block == NULL || block->start == NULL || !json_value_filled(signature))
		return;
	if (block->signature)
		pfree(block->signature);
	block->signature = MemoryContextAlloc(reading->exchange->context, signature->val.string.len + 1);
	memcpy(block->signature, signature->val.string.val, signature->val.string.len);
	block->signature[signature->val.string.len] = '\0';
}

static void
read_delta(AnthropicReading *reading, JsonbContainer *event)
{
	JsonbContainer *delta = json_member_object(event, "delta");
	JsonbValue	   *type = delta ? json_member(delta, "type") : NULL;
	OpenBlock	   *block = find_block(reading, event);
	JsonbValue	   *piece;

	if (json_value_is(type, "text_delta"))
		anthropic_add_text(reading, json_member(delta, "text"));
	else if (json_value_is(type, "thinking_delta"))
	{
		piece = json_member(delta, "thinking");
		anthropic_add_thinking(reading, piece);
		if (block && block->start && json_value_filled(piece))
			appendBinaryStringInfo(&block->thinking, piece->val.string.val, piece->val.string.len);
	}
	else if (json_value_is(type, "signature_delta"))
		read_signature(reading, block, json_member(delta, "signature"));
	else if (json_value_is(type, "input_json_delta") && block && block->is_tool && !block->is_whole)
	{
		piece = json_member(delta, "partial_json");
		if (!json_value_filled(piece))
			return;
		block->has_input = true;
		anthropic_add_input(reading, block->target, piece->val.string.val, piece->val.string.len);
	}
}

/* A block of thoughts as it would have come in a whole answer. */
static Jsonb *
whole_thought(OpenBlock *block)
{
	static const char *const in_pieces[] = { "thinking", "signature", NULL };
	JsonbParseState			*state = NULL;

	if (json_value_is(json_member(&block->start->root, "type"), "redacted_thinking"))
		return block->start;
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	json_push_members(&state, &block->start->root, in_pieces);
	json_push_string(&state, "thinking", block->thinking.data, block->thinking.len);
	if (block->signature)
		json_push_string(&state, "signature", block->signature, (int) strlen(block->signature));
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

static bool
end_block(AnthropicReading *reading, JsonbContainer *event, const char **problem)
{
	OpenBlock *block = find_block(reading, event);
	bool	   good = true;

	if (block == NULL)
		return true;
	if (block->is_tool && !block->has_input)
		anthropic_add_input(reading, block->target, "{}", 2);
	if (block->start)
	{
		good = anthropic_add_thought(reading, whole_thought(block));
		*problem = "the stream has too many blocks of thoughts";
		pfree(block->start);
		pfree(block->thinking.data);
	}
	reading->blocks = list_delete_ptr(reading->blocks, block);
	pfree(block);
	return good;
}

/* stop_reason, and usage, which is that of the whole message. */
static void
read_message_delta(AnthropicReading *reading, JsonbContainer *event)
{
	JsonbContainer *delta = json_member_object(event, "delta");

	if (delta)
		anthropic_read_end(reading, delta);
	anthropic_read_usage(json_member_object(event, "usage"), &reading->usage);
	reading->exchange->usage = anthropic_usage_so_far(&reading->usage);
}

/* ------------------------------------------------------------------------
 * The stream
 * ------------------------------------------------------------------------
 */

/* False when *problem ends it. */
static bool
read_event(AnthropicReading *reading, const JsonbValue *type, JsonbContainer *event,
		   const char **problem)
{
	reading->started = reading->started || !json_value_is(type, "ping");
	if (json_value_is(type, "message_start"))
		read_head(reading, event);
	else if (json_value_is(type, "content_block_start"))
		return begin_block(reading, event, problem);
	else if (json_value_is(type, "content_block_delta"))
		read_delta(reading, event);
	else if (json_value_is(type, "content_block_stop"))
		return end_block(reading, event, problem);
	else if (json_value_is(type, "message_delta"))
		read_message_delta(reading, event);
	return true; /* "ping" and what is new */
}

bool
anthropic_parse_event(Exchange *exchange, const WireResponse *wire, const SseEvent *event,
					  ProviderReply *reply)
{
	AnthropicReading *reading = anthropic_reading(exchange);
	const char		 *problem;
	Jsonb			 *json = json_from_bytes(event->data, event->length, &problem);
	JsonbValue		 *type;

	if (json == NULL || !JB_ROOT_IS_OBJECT(json))
	{
		failure_protocol(json ? "an event of the stream is no JSON object" : problem, reply);
		return true;
	}
	type = json_member(&json->root, "type");
	if (anthropic_is_failure(&json->root))
	{
		anthropic_read_failure(wire, &json->root, reply);
		return true;
	}
	if (json_value_is(type, "message_stop"))
	{
		if (reading->started)
			anthropic_finish(reading, reply);
		else
			failure_protocol("the stream has no message", reply);
		return true;
	}
	if (read_event(reading, type, &json->root, &problem))
		return false;
	failure_protocol(problem, reply);
	return true;
}

void
anthropic_end_stream(Exchange *exchange, const WireResponse *wire, ProviderReply *reply)
{
	failure_protocol("the stream was cut off", reply);
}

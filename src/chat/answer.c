/*
 * answer.c
 *		An answer under construction: a chat.completion, or chunks of a stream.
 *
 * A piece for a whole answer is appended to its choice; in a stream it becomes a
 * chunk at once.  The first chunk of a choice also says the role, so that nothing
 * is handed out before there is something to say.
 */
#include "chat/answer.h"

#include "chat/json.h"
#include "chat/tokens.h"
#include "datatype/timestamp.h"
#include "lib/stringinfo.h"
#include "nodes/pg_list.h"
#include "utils/memutils.h"

typedef struct ToolCall
{
	char		  *id;
	char		  *name;
	Jsonb		  *extra;	  /* or NULL */
	StringInfoData arguments; /* of a whole answer */
	bool		   has_arguments;
} ToolCall;

typedef struct Member
{
	char  *name;
	Jsonb *value;
} Member;

/* A text of a whole answer; data is NULL while there is none. */
typedef StringInfoData Text;

typedef struct Choice
{
	bool  started; /* its first chunk is made */
	Text  content;
	Text  reasoning;
	Text  refusal;
	List *calls;	/* of ToolCall * */
	List *members;	/* of Member * */
	List *logprobs; /* of Jsonb *, of a stream those that no chunk has */
	char *finish_reason;
} Choice;

struct Answer
{
	MemoryContext context;
	bool		  streams;
	char		 *id;
	char		 *model;
	int64		  created; /* Unix time */
	Choice		 *choices;
	int			  nchoices;
	int			  size;	  /* of choices: room for one, or for all that may come */
	List		 *chunks; /* of Jsonb * */
	int			  taken;  /* of chunks */
	bool		  has_substance;
	TokenCounter  tokens;
};

Answer *
answer_create(bool streams, TimestampTz now)
{
	Answer *answer = palloc0(sizeof(Answer));

	answer->context = CurrentMemoryContext;
	answer->streams = streams;
	answer->id = psprintf("chatcmpl-" INT64_FORMAT, now);
	answer->model = pstrdup("unknown");
	answer->created = now / USECS_PER_SEC +
					  (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * (int64) SECS_PER_DAY;
	return answer;
}

static char *
keep_string(Answer *answer, const char *string)
{
	return MemoryContextStrdup(answer->context, string);
}

static Jsonb *
keep_jsonb(Answer *answer, const Jsonb *jsonb)
{
	return memcpy(MemoryContextAlloc(answer->context, VARSIZE(jsonb)), jsonb, VARSIZE(jsonb));
}

void
answer_set_head(Answer *answer, const char *id, const char *model, int64 created)
{
	if (id && *id)
		answer->id = keep_string(answer, id);
	if (model && *model)
		answer->model = keep_string(answer, model);
	if (created > 0)
		answer->created = created;
}

/* The choice of that number, made if it is new; good until a further one is. */
static Choice *
get_choice(Answer *answer, int number)
{
	Assert(number >= 0 && number < ANSWER_MAX_CHOICES);
	if (number >= answer->size)
	{
		int		size = number == 0 ? 1 : ANSWER_MAX_CHOICES;
		Choice *larger = MemoryContextAllocZero(answer->context, sizeof(Choice) * size);

		if (answer->nchoices > 0)
			memcpy(larger, answer->choices, sizeof(Choice) * answer->nchoices);
		answer->choices = larger;
		answer->size = size;
	}
	answer->nchoices = Max(answer->nchoices, number + 1);
	return &answer->choices[number];
}

/* ------------------------------------------------------------------------
 * Chunks
 * ------------------------------------------------------------------------
 */

static void
push_head(JsonbParseState **state, const Answer *answer, const char *object)
{
	pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	json_push_string(state, "id", answer->id, (int) strlen(answer->id));
	json_push_string(state, "object", object, (int) strlen(object));
	json_push_int64(state, "created", answer->created);
	json_push_string(state, "model", answer->model, (int) strlen(answer->model));
}

void
answer_push_chunk_head(JsonbParseState **state, const Answer *answer)
{
	push_head(state, answer, "chat.completion.chunk");
}

/* A chunk of one choice, open where the members of its delta follow. */
static void
begin_chunk(JsonbParseState **state, Answer *answer, int number)
{
	Choice *choice = get_choice(answer, number);

	answer_push_chunk_head(state, answer);
	json_push_key(state, "choices");
	pushJsonbValue(state, WJB_BEGIN_ARRAY, NULL);
	pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	json_push_int64(state, "index", number);
	json_push_key(state, "delta");
	pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	if (!choice->started)
		json_push_string(state, "role", "assistant", 9);
	choice->started = true;
}

static void
push_logprobs(JsonbParseState **state, const Choice *choice)
{
	ListCell *cell;

	if (choice->logprobs == NIL)
	{
		json_push_null(state, "logprobs");
		return;
	}
	json_push_key(state, "logprobs");
	pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	json_push_key(state, "content");
	pushJsonbValue(state, WJB_BEGIN_ARRAY, NULL);
	foreach (cell, choice->logprobs)
	{
		Jsonb	  *logprob = lfirst(cell);
		JsonbValue element = { .type = jbvBinary };

		element.val.binary.data = &logprob->root;
		element.val.binary.len = VARSIZE(logprob) - VARHDRSZ;
		pushJsonbValue(state, WJB_ELEM, &element);
	}
	pushJsonbValue(state, WJB_END_ARRAY, NULL);
	json_push_null(state, "refusal");
	pushJsonbValue(state, WJB_END_OBJECT, NULL);
}

/* Close it and keep it. */
static void
end_chunk(JsonbParseState **state, Answer *answer, int number, const char *finish_reason)
{
	Choice *choice = get_choice(answer, number);
	Jsonb  *chunk;

	pushJsonbValue(state, WJB_END_OBJECT, NULL);
	push_logprobs(state, choice);
	if (finish_reason)
		json_push_string(state, "finish_reason", finish_reason, (int) strlen(finish_reason));
	else
		json_push_null(state, "finish_reason");
	pushJsonbValue(state, WJB_END_OBJECT, NULL);
	pushJsonbValue(state, WJB_END_ARRAY, NULL);
	chunk = JsonbValueToJsonb(pushJsonbValue(state, WJB_END_OBJECT, NULL));
	/* Until here the chunk was made of what they hold. */
	list_free_deep(choice->logprobs);
	choice->logprobs = NIL;
	answer_add_chunk(answer, chunk);
}

void
answer_add_chunk(Answer *answer, Jsonb *chunk)
{
	MemoryContext previous = MemoryContextSwitchTo(answer->context);

	answer->chunks = lappend(answer->chunks, keep_jsonb(answer, chunk));
	MemoryContextSwitchTo(previous);
}

Jsonb *
answer_take_chunk(Answer *answer)
{
	Jsonb *chunk;

	if (answer->taken == list_length(answer->chunks))
		return NULL;
	chunk = list_nth(answer->chunks, answer->taken++);
	if (answer->taken == list_length(answer->chunks))
	{
		list_free(answer->chunks);
		answer->chunks = NIL;
		answer->taken = 0;
	}
	return chunk;
}

/* ------------------------------------------------------------------------
 * Pieces
 * ------------------------------------------------------------------------
 */

void
answer_count_text(Answer *answer, const char *text, int length)
{
	if (length > 0)
		answer->has_substance = true;
	tokens_count(&answer->tokens, text, length);
}

static void
append_text(Answer *answer, Text *text, const char *piece, int length)
{
	MemoryContext previous = MemoryContextSwitchTo(answer->context);

	if (text->data == NULL)
		initStringInfo(text);
	appendBinaryStringInfo(text, piece, length);
	MemoryContextSwitchTo(previous);
}

/* A piece of one of the texts of a message. */
static void
add_piece(Answer *answer, int number, Text *text, const char *member, const char *piece, int length)
{
	JsonbParseState *state = NULL;

	answer_count_text(answer, piece, length);
	if (!answer->streams)
		append_text(answer, text, piece, length);
	else if (length > 0)
	{
		begin_chunk(&state, answer, number);
		json_push_string(&state, member, piece, length);
		end_chunk(&state, answer, number, NULL);
	}
}

void
answer_add_text(Answer *answer, int choice, const char *text, int length)
{
	add_piece(answer, choice, &get_choice(answer, choice)->content, "content", text, length);
}

void
answer_add_reasoning(Answer *answer, int choice, const char *text, int length)
{
	add_piece(answer, choice, &get_choice(answer, choice)->reasoning, "reasoning_content", text,
			  length);
}

void
answer_add_refusal(Answer *answer, int choice, const char *text, int length)
{
	add_piece(answer, choice, &get_choice(answer, choice)->refusal, "refusal", text, length);
}

static void
push_tool_call_head(JsonbParseState **state, const ToolCall *call)
{
	json_push_string(state, "id", call->id, (int) strlen(call->id));
	json_push_string(state, "type", "function", 8);
	if (call->extra)
		json_push_jsonb(state, "extra_content", call->extra);
}

/* A chunk about one tool call; name is NULL after the first. */
static void
add_tool_chunk(Answer *answer, int number, int index, const ToolCall *call, const char *name,
			   const char *arguments, int length)
{
	JsonbParseState *state = NULL;

	begin_chunk(&state, answer, number);
	json_push_key(&state, "tool_calls");
	pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	json_push_int64(&state, "index", index);
	if (name)
		push_tool_call_head(&state, call);
	json_push_key(&state, "function");
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	if (name)
		json_push_string(&state, "name", name, (int) strlen(name));
	json_push_string(&state, "arguments", arguments, length);
	pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	pushJsonbValue(&state, WJB_END_ARRAY, NULL);
	end_chunk(&state, answer, number, NULL);
}

int
answer_begin_tool_call(Answer *answer, int number, const char *id, const char *name, Jsonb *extra)
{
	Choice		 *choice = get_choice(answer, number);
	int			  index = list_length(choice->calls);
	MemoryContext previous;
	ToolCall	 *call;

	if (index >= ANSWER_MAX_TOOL_CALLS)
		return -1;
	previous = MemoryContextSwitchTo(answer->context);
	call = palloc0(sizeof(ToolCall));
	call->id = id && *id ? pstrdup(id) : psprintf("call_%d", index);
	call->name = pstrdup(name);
	call->extra = extra ? keep_jsonb(answer, extra) : NULL;
	initStringInfo(&call->arguments);
	choice->calls = lappend(choice->calls, call);
	MemoryContextSwitchTo(previous);

	answer_count_text(answer, name, (int) strlen(name));
	answer->has_substance = true;
	if (answer->streams)
		add_tool_chunk(answer, number, index, call, name, "", 0);
	return index;
}

void
answer_add_arguments(Answer *answer, int number, int index, const char *text, int length)
{
	Choice	 *choice = get_choice(answer, number);
	ToolCall *call = list_nth(choice->calls, index);

	if (length == 0)
		return;
	call->has_arguments = true;
	answer_count_text(answer, text, length);
	if (answer->streams)
		add_tool_chunk(answer, number, index, call, NULL, text, length);
	else
		append_text(answer, &call->arguments, text, length);
}

void
answer_set_member(Answer *answer, int number, const char *name, Jsonb *value)
{
	Choice			*choice = get_choice(answer, number);
	JsonbParseState *state = NULL;
	MemoryContext	 previous;
	Member			*member;

	if (answer->streams)
	{
		begin_chunk(&state, answer, number);
		json_push_jsonb(&state, name, value);
		end_chunk(&state, answer, number, NULL);
		return;
	}
	previous = MemoryContextSwitchTo(answer->context);
	member = palloc(sizeof(Member));
	member->name = pstrdup(name);
	member->value = keep_jsonb(answer, value);
	choice->members = lappend(choice->members, member);
	MemoryContextSwitchTo(previous);
}

void
answer_add_logprob(Answer *answer, int number, const char *token, int length,
				   const JsonbValue *logprob, const JsonbValue *others)
{
	Choice			*choice = get_choice(answer, number);
	JsonbParseState *state = NULL;
	JsonbValue		 value = *logprob;
	MemoryContext	 previous = MemoryContextSwitchTo(answer->context);

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	json_push_string(&state, "token", token, length);
	json_push_member(&state, "logprob", &value);
	json_push_null(&state, "bytes");
	json_push_key(&state, "top_logprobs");
	if (json_value_array(others))
	{
		value = *others;
		pushJsonbValue(&state, WJB_VALUE, &value);
	}
	else
	{
		pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
		pushJsonbValue(&state, WJB_END_ARRAY, NULL);
	}
	choice->logprobs = lappend(choice->logprobs,
							   JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL)));
	MemoryContextSwitchTo(previous);
}

void
answer_finish(Answer *answer, int number, const char *finish_reason)
{
	Choice			*choice = get_choice(answer, number);
	JsonbParseState *state = NULL;

	for (int i = 0; i < list_length(choice->calls); i++)
		if (!((ToolCall *) list_nth(choice->calls, i))->has_arguments)
			answer_add_arguments(answer, number, i, "{}", 2);
	choice->finish_reason = keep_string(answer, finish_reason);
	answer->has_substance = true;
	if (answer->streams)
	{
		begin_chunk(&state, answer, number);
		end_chunk(&state, answer, number, finish_reason);
	}
}

bool
answer_has_substance(const Answer *answer)
{
	return answer->has_substance;
}

void
answer_note_end(Answer *answer)
{
	answer->has_substance = true;
}

const char *
answer_finish_reason(const Answer *answer)
{
	return answer->nchoices > 0 ? answer->choices[0].finish_reason : NULL;
}

int64
answer_tokens(const Answer *answer)
{
	return tokens_counted(&answer->tokens);
}

/* ------------------------------------------------------------------------
 * The end
 * ------------------------------------------------------------------------
 */

static void
push_text(JsonbParseState **state, const char *name, const Text *text)
{
	if (text->data)
		json_push_string(state, name, text->data, text->len);
	else
		json_push_null(state, name);
}

static void
push_tool_calls(JsonbParseState **state, const List *calls)
{
	ListCell *cell;

	json_push_key(state, "tool_calls");
	pushJsonbValue(state, WJB_BEGIN_ARRAY, NULL);
	foreach (cell, calls)
	{
		const ToolCall *call = lfirst(cell);

		pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
		push_tool_call_head(state, call);
		json_push_key(state, "function");
		pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
		json_push_string(state, "name", call->name, (int) strlen(call->name));
		json_push_string(state, "arguments", call->arguments.data, call->arguments.len);
		pushJsonbValue(state, WJB_END_OBJECT, NULL);
		pushJsonbValue(state, WJB_END_OBJECT, NULL);
	}
	pushJsonbValue(state, WJB_END_ARRAY, NULL);
}

static void
push_message(JsonbParseState **state, const Choice *choice)
{
	ListCell *cell;

	json_push_key(state, "message");
	pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	json_push_string(state, "role", "assistant", 9);
	push_text(state, "content", &choice->content);
	push_text(state, "refusal", &choice->refusal);
	if (choice->reasoning.data)
		push_text(state, "reasoning_content", &choice->reasoning);
	if (choice->calls)
		push_tool_calls(state, choice->calls);
	foreach (cell, choice->members)
	{
		const Member *member = lfirst(cell);

		json_push_jsonb(state, member->name, member->value);
	}
	pushJsonbValue(state, WJB_END_OBJECT, NULL);
}

static void
push_choices(JsonbParseState **state, const Answer *answer)
{
	json_push_key(state, "choices");
	pushJsonbValue(state, WJB_BEGIN_ARRAY, NULL);
	for (int i = 0; i < answer->nchoices && !answer->streams; i++)
	{
		const Choice *choice = &answer->choices[i];

		/* A number that the provider left out. */
		if (choice->finish_reason == NULL)
			continue;
		pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
		json_push_int64(state, "index", i);
		push_message(state, choice);
		push_logprobs(state, choice);
		json_push_string(state, "finish_reason", choice->finish_reason,
						 (int) strlen(choice->finish_reason));
		pushJsonbValue(state, WJB_END_OBJECT, NULL);
	}
	pushJsonbValue(state, WJB_END_ARRAY, NULL);
}

/* The parts of the sums that OpenAI has members for. */
static void
push_usage_details(JsonbParseState **state, const TokenUsage *usage)
{
	json_push_key(state, "prompt_tokens_details");
	pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	json_push_int64(state, "cached_tokens", usage->cached_input);
	json_push_int64(state, "cache_write_tokens", usage->cache_write);
	pushJsonbValue(state, WJB_END_OBJECT, NULL);
	json_push_key(state, "completion_tokens_details");
	pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	json_push_int64(state, "reasoning_tokens", usage->reasoning);
	pushJsonbValue(state, WJB_END_OBJECT, NULL);
}

void
answer_push_usage(JsonbParseState **state, const TokenUsage *usage, JsonbContainer *said)
{
	static const char *const sums[] = { "prompt_tokens", "completion_tokens", "total_tokens", NULL };

	if (!usage->known)
		return;
	json_push_key(state, "usage");
	pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	if (said)
		json_push_members(state, said, sums);
	else
		push_usage_details(state, usage);
	json_push_int64(state, "prompt_tokens", usage->input);
	json_push_int64(state, "completion_tokens", usage->output);
	json_push_int64(state, "total_tokens", usage->input + usage->output);
	pushJsonbValue(state, WJB_END_OBJECT, NULL);
}

JsonbParseState *
answer_close(Answer *answer, const TokenUsage *usage, JsonbContainer *usage_said)
{
	JsonbParseState *state = NULL;

	push_head(&state, answer, answer->streams ? "chat.completion.chunk" : "chat.completion");
	push_choices(&state, answer);
	answer_push_usage(&state, usage, usage_said);
	return state;
}

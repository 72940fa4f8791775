/*
 * answer.h
 *		An answer under construction, in OpenAI's form: a chat.completion, or the
 *		chat.completion.chunk objects of a stream.
 *
 * Adapters say what they read, piece by piece, and need not know which of the
 * two is wanted: a whole answer collects the pieces, a streamed one makes each
 * a chunk.
 */
#ifndef LLM_ROUTER_ANSWER_H
#define LLM_ROUTER_ANSWER_H

#include "chat/usage.h"
#include "datatype/timestamp.h"
#include "utils/jsonb.h"

typedef struct Answer Answer;

/* Choices and tool calls that a provider may send; more are refused. */
#define ANSWER_MAX_CHOICES	  128
#define ANSWER_MAX_TOOL_CALLS 1024

/*
 * An answer in the current memory context, where everything of it will live.
 * now becomes its time of creation.
 */
extern Answer *answer_create(bool streams, TimestampTz now);

/*
 * Who answers; copied.  NULL, an empty text or 0 leaves what there was: an id
 * that was made up, "unknown", and the time given at the start.
 */
extern void answer_set_head(Answer *answer, const char *id, const char *model, int64 created);

/*
 * A piece of a choice's content, reasoning or refusal, in the database encoding.
 * Empty pieces make the member exist ("" instead of null) and no chunk.
 */
extern void answer_add_text(Answer *answer, int choice, const char *text, int length);
extern void answer_add_reasoning(Answer *answer, int choice, const char *text, int length);
extern void answer_add_refusal(Answer *answer, int choice, const char *text, int length);

/*
 * Begin a choice's next tool call and return its index (from 0); -1 when there
 * are too many.  Without an id one is made up.  extra, an object or NULL, becomes
 * its extra_content.  Then the arguments, as pieces of JSON text; none at all
 * become "{}" in answer_finish.
 */
extern int	answer_begin_tool_call(Answer *answer, int choice, const char *id,
								   const char *name, Jsonb *extra);
extern void answer_add_arguments(Answer *answer, int choice, int call,
								 const char *text, int length);

/*
 * A further member of a choice's message, such as thinking_blocks: an extension
 * of ours.  Said once.
 */
extern void answer_set_member(Answer *answer, int choice, const char *name, Jsonb *value);

/*
 * The probability of a token of a choice's text: a number, and the likeliest
 * others (an array), or NULL for none.  In a stream it goes out with the
 * choice's next chunk, so it is said before the text.
 */
extern void answer_add_logprob(Answer *answer, int choice, const char *token, int length,
							   const JsonbValue *logprob, const JsonbValue *others);

/* Why a choice ended: one of OpenAI's words.  Once; nothing follows. */
extern void answer_finish(Answer *answer, int choice, const char *finish_reason);

/*
 * A chunk that the adapter made itself; copied.  It may begin as an object that
 * has id, object, created and model already.
 */
extern void answer_push_chunk_head(JsonbParseState **state, const Answer *answer);
extern void answer_add_chunk(Answer *answer, Jsonb *chunk);

/* Note text that came in a chunk of the adapter's own, for answer_tokens. */
extern void answer_count_text(Answer *answer, const char *text, int length);

/*
 * Whether anything has been said that a caller would miss: text, a tool call, an
 * end.  An adapter that makes chunks itself notes an end by answer_note_end.
 */
extern bool answer_has_substance(const Answer *answer);
extern void answer_note_end(Answer *answer);

/* The finish_reason of the first choice, or NULL. */
extern const char *answer_finish_reason(const Answer *answer);

/* Of a stream, the next chunk, which is the caller's now; NULL when there is none. */
extern Jsonb *answer_take_chunk(Answer *answer);

/*
 * Push the member usage, where usage is known: said, an object or NULL, gives its
 * members besides the three sums, which agree with usage.
 */
extern void answer_push_usage(JsonbParseState **state, const TokenUsage *usage,
							  JsonbContainer *said);

/*
 * The chat.completion, or a stream's last chunk (without choices), with usage
 * where it is known, as an object that is still open: see ChatAnswer.
 */
extern JsonbParseState *answer_close(Answer *answer, const TokenUsage *usage,
									 JsonbContainer *usage_said);

/* Upper estimate of the tokens of all text so far, arguments included. */
extern int64 answer_tokens(const Answer *answer);

#endif /* LLM_ROUTER_ANSWER_H */

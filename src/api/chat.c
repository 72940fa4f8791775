/*
 * chat.c
 *		llm_chat, llm_ask and llm_chat_stream: read the arguments, run one call,
 *		give its answer or raise its error.  llm_text and llm_last_call beside them.
 */
#include "base/compat.h"

#include "api/arguments.h"
#include "chat/request.h"
#include "chat/response.h"
#include "engine/attempts.h"
#include "engine/call.h"
#include "fmgr.h"
#include "funcapi.h"
#include "libpq/libpq.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"

PG_FUNCTION_INFO_V1(llm_chat);
PG_FUNCTION_INFO_V1(llm_ask);
PG_FUNCTION_INFO_V1(llm_chat_stream);
PG_FUNCTION_INFO_V1(llm_text);
PG_FUNCTION_INFO_V1(llm_last_call);

/* One call's arguments after the first, which llm_chat and llm_ask share. */
enum
{
	ARG_POWER_LEVEL = 1,
	ARG_MODEL,
	ARG_OPTIONS
};

/*
 * Run one chat.  The answer, or NULL with *error when it failed and options
 * say on_error = return; any other failure is raised.
 */
static Jsonb *
chat_run(FunctionCallInfo fcinfo, Jsonb *messages, LlmError *error)
{
	Jsonb	   *options = argument_jsonb(fcinfo, ARG_OPTIONS);
	bool		returns_errors = chat_request_returns_errors(options);
	ChatRequest request;
	Call	   *call;
	Jsonb	   *response = NULL;

	argument_require_preloaded();
	if (chat_request_parse(messages, options, CHAT_WHOLE, &request, error))
	{
		call = call_create(&request, argument_string(fcinfo, ARG_POWER_LEVEL),
						   argument_string(fcinfo, ARG_MODEL));
		call_run(&call, 1);
		response = call_response(call);
		if (response == NULL)
			*error = *call_error(call);
	}
	if (response == NULL && !returns_errors)
		error_throw(error);
	return response;
}

/*
 * llm_chat(messages jsonb, power_level text, model text, options jsonb)
 *		RETURNS jsonb
 *
 * OpenAI's chat.completion with the member llm_router, or {"error": {…}} with
 * on_error = return.  NULL messages: NULL, without a call.
 */
Datum
llm_chat(PG_FUNCTION_ARGS)
{
	LlmError error = { 0 };
	Jsonb	*response;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	response = chat_run(fcinfo, PG_GETARG_JSONB_P(0), &error);
	PG_RETURN_JSONB_P(response ? response : error_to_jsonb(&error));
}

/*
 * llm_ask(prompt text, power_level text, model text, options jsonb)
 *		RETURNS text
 *
 * The text of the answer to one user message.  NULL when the model answered
 * without text; with on_error = return also, with a WARNING, when it failed.
 */
Datum
llm_ask(PG_FUNCTION_ARGS)
{
	LlmError error = { 0 };
	text	*prompt;
	Jsonb	*response;
	text	*answer;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	prompt = PG_GETARG_TEXT_PP(0);
	response = chat_run(fcinfo,
						chat_messages_from_prompt(VARDATA_ANY(prompt),
												  VARSIZE_ANY_EXHDR(prompt)),
						&error);
	if (response == NULL)
	{
		ereport(WARNING,
				(errcode(error.sqlstate),
				 errmsg_internal("%s", error.message),
				 error.detail ? errdetail_internal("%s", error.detail) : 0,
				 error.hint ? errhint("%s", error.hint) : 0));
		PG_RETURN_NULL();
	}
	answer = chat_response_text(response);
	if (answer == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(answer);
}

/* A stream between two of its rows. */
typedef struct StreamState
{
	Call	   *call; /* NULL when the arguments were wrong */
	LlmError	error;
	bool		returns_errors;
	bool		over; /* the last row has been given */
	ChatRequest request;
} StreamState;

/* Begin the call; its memory is the set's. */
static StreamState *
stream_begin(FunctionCallInfo fcinfo)
{
	Jsonb		*options = argument_jsonb(fcinfo, ARG_OPTIONS);
	StreamState *stream = palloc0(sizeof(StreamState));

	argument_require_preloaded();
	stream->returns_errors = chat_request_returns_errors(options);
	if (PG_ARGISNULL(0))
		stream->over = true;
	else if (chat_request_parse(PG_GETARG_JSONB_P_COPY(0), options, CHAT_STREAM, &stream->request,
								&stream->error))
		stream->call = call_create(&stream->request, argument_string(fcinfo, ARG_POWER_LEVEL),
								   argument_string(fcinfo, ARG_MODEL));
	return stream;
}

/*
 * Hand the rows so far to the client before a wait: the protocol's buffer would
 * keep them until it is full.
 */
static void
flush_rows(void)
{
	if (whereToSendOutput == DestRemote)
		pq_flush();
}

/* The next row in the current memory context; NULL after the last. */
static Jsonb *
stream_next(StreamState *stream)
{
	Jsonb *chunk;
	Jsonb *row;

	if (stream->over)
		return NULL;
	chunk = stream->call ? call_next_chunk(stream->call, flush_rows) : NULL;
	if (chunk)
	{
		/* The row is reset with its context, the chunk would stay with the call. */
		row = memcpy(palloc(VARSIZE(chunk)), chunk, VARSIZE(chunk));
		pfree(chunk);
		return row;
	}
	stream->over = true;
	if (stream->call && call_response(stream->call))
		return call_response(stream->call);
	if (stream->call)
		stream->error = *call_error(stream->call);
	if (!stream->returns_errors)
		error_throw(&stream->error);
	return error_to_jsonb(&stream->error);
}

/*
 * llm_chat_stream(messages jsonb, power_level text, model text, options jsonb)
 *		RETURNS SETOF jsonb
 *
 * OpenAI's chat.completion.chunk objects, each as it arrives; the last one has
 * usage and the member llm_router.  With on_error = return, a failure is a last
 * row {"error": {…}}.  NULL messages: no row.  A set that is not read to its end
 * ends the call.
 */
Datum
llm_chat_stream(PG_FUNCTION_ARGS)
{
	FuncCallContext *set;
	Jsonb			*row;

	if (SRF_IS_FIRSTCALL())
	{
		MemoryContext previous;

		set = SRF_FIRSTCALL_INIT();
		previous = MemoryContextSwitchTo(set->multi_call_memory_ctx);
		set->user_fctx = stream_begin(fcinfo);
		MemoryContextSwitchTo(previous);
	}
	set = SRF_PERCALL_SETUP();
	row = stream_next(set->user_fctx);
	if (row == NULL)
		SRF_RETURN_DONE(set);
	SRF_RETURN_NEXT(set, JsonbPGetDatum(row));
}

/*
 * llm_text(response jsonb) RETURNS text
 *
 * The text of an answer of llm_chat; NULL when it has none.
 */
Datum
llm_text(PG_FUNCTION_ARGS)
{
	text *answer = chat_response_text(PG_GETARG_JSONB_P(0));

	if (answer == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(answer);
}

/*
 * llm_last_call() RETURNS TABLE(request_id uuid, provider text, model text,
 *		power_level text, input_tokens bigint, output_tokens bigint,
 *		cost_usd numeric, response_time_ms bigint, attempts integer)
 *
 * The last call of this session that got an answer; no row before the first.
 */
Datum
llm_last_call(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	CallSummary	   call;
	Datum		   values[9];
	bool		   nulls[9] = { false };

	InitMaterializedSRF(fcinfo, 0);
	if (!call_last(&call))
		return (Datum) 0;

	values[0] = UUIDPGetDatum(&call.request_id);
	values[1] = CStringGetTextDatum(call.provider);
	values[2] = CStringGetTextDatum(call.model);
	values[3] = CStringGetTextDatum(call.power_level);
	values[4] = Int64GetDatum(call.usage.input);
	values[5] = Int64GetDatum(call.usage.output);
	nulls[4] = nulls[5] = !call.usage.known;
	nulls[6] = call.cost == MONEY_UNKNOWN;
	if (!nulls[6])
		values[6] = DirectFunctionCall1(numeric_trim_scale,
										NumericGetDatum(money_to_numeric(call.cost)));
	values[7] = Int64GetDatum(call.response_time_ms);
	values[8] = Int32GetDatum(call.attempts);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	return (Datum) 0;
}

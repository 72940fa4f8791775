/*
 * llm_router_test.c
 *		The pure layers (chat, providers) as SQL functions, for tests only: one
 *		function a step, JSON in and JSON out.  Not part of the extension.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "base/encoding.h"
#include "chat/json.h"
#include "chat/request.h"
#include "chat/response.h"
#include "fmgr.h"
#include "funcapi.h"
#include "portability/instr_time.h"
#include "providers/provider.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(test_json);
PG_FUNCTION_INFO_V1(test_request);
PG_FUNCTION_INFO_V1(test_build);
PG_FUNCTION_INFO_V1(test_wire);
PG_FUNCTION_INFO_V1(test_answer);
PG_FUNCTION_INFO_V1(test_stream);
PG_FUNCTION_INFO_V1(test_exchange);
PG_FUNCTION_INFO_V1(test_gathered);
PG_FUNCTION_INFO_V1(test_check);
PG_FUNCTION_INFO_V1(test_key_check);
PG_FUNCTION_INFO_V1(test_cost);
PG_FUNCTION_INFO_V1(test_reported_cost);
PG_FUNCTION_INFO_V1(test_origin);
PG_FUNCTION_INFO_V1(test_text);
PG_FUNCTION_INFO_V1(test_format_microseconds);

#define TEST_BASE_URL "https://api.example.com/v1"

/* When every answer of these tests was received: noon of 2026-11-23, UTC. */
#define TEST_TIME (INT64CONST(848750400) * USECS_PER_SEC)

/* test_json(bytea) returns jsonb: json_from_bytes. */
Datum
test_json(PG_FUNCTION_ARGS)
{
	bytea	   *bytes = PG_GETARG_BYTEA_PP(0);
	const char *problem;
	Jsonb	   *json = json_from_bytes(VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes), &problem);

	if (json == NULL)
		elog(ERROR, "%s", problem);
	PG_RETURN_JSONB_P(json);
}

static void
push_text(JsonbParseState **state, const char *key, const char *text)
{
	if (text)
		json_push_string(state, key, text, (int) strlen(text));
}

static void
push_bool(JsonbParseState **state, const char *key, bool truth)
{
	JsonbValue value = { .type = jbvBool, .val.boolean = truth };

	json_push_member(state, key, &value);
}

static void
push_jsonb(JsonbParseState **state, const char *key, Jsonb *json)
{
	JsonbValue value = { .type = jbvBinary };

	if (json == NULL)
		return;
	value.val.binary.data = &json->root;
	value.val.binary.len = VARSIZE(json) - VARHDRSZ;
	json_push_member(state, key, &value);
}

static void
parse_request(FunctionCallInfo fcinfo, int messages, ChatMode mode, ChatRequest *request)
{
	Jsonb	*options = PG_ARGISNULL(messages + 1) ? NULL : PG_GETARG_JSONB_P(messages + 1);
	LlmError error = { 0 };

	if (!chat_request_parse(PG_GETARG_JSONB_P(messages), options, mode, request, &error))
		error_throw(&error);
}

/* test_request(messages jsonb, options jsonb) returns jsonb: what was understood. */
Datum
test_request(PG_FUNCTION_ARGS)
{
	ChatRequest		 request;
	JsonbParseState *state = NULL;

	parse_request(fcinfo, 0, CHAT_WHOLE, &request);
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_jsonb(&state, "params", request.params);
	push_text(&state, "model", request.model);
	json_push_int64(&state, "max_output_tokens", request.max_output_tokens);
	json_push_int64(&state, "choices", request.choices);
	push_bool(&state, "tools", request.needs_tools);
	push_bool(&state, "vision", request.needs_vision);
	push_bool(&state, "json_schema", request.needs_json_schema);
	json_push_int64(&state, "timeout_ms", request.router.timeout_ms);
	json_push_int64(&state, "max_attempts", request.router.max_attempts);
	json_push_int64(&state, "byok", request.router.byok);
	json_push_int64(&state, "fallback_scope", request.router.fallback_scope);
	push_bool(&state, "return_errors", request.router.return_errors);
	push_text(&state, "user_id", request.router.user_id);
	push_jsonb(&state, "tags", request.router.tags);
	push_jsonb(&state, "extra", request.router.extra);
	PG_RETURN_JSONB_P(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL)));
}

static const ApiFormat *
endpoint_for(const char *format_name, Jsonb *rules, ProviderEndpoint *endpoint)
{
	const ApiFormat *format = api_format_find(format_name);

	if (format == NULL)
		elog(ERROR, "no format %s", format_name);
	memset(endpoint, 0, sizeof(*endpoint));
	endpoint->name = "test";
	endpoint->base_url = TEST_BASE_URL;
	endpoint->auth_type = AUTH_BEARER;
	endpoint->rules = format->read_rules(rules);
	return format;
}

static Jsonb *
jsonb_of(const char *text)
{
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text)));
}

/* An exchange in that format for a request that stands in further arguments. */
static Exchange *
start_exchange(FunctionCallInfo fcinfo, const char *format_name, Jsonb *rules, const char *model,
			   int64 max_output_tokens, int messages, ChatMode mode)
{
	ProviderEndpoint *endpoint = palloc(sizeof(ProviderEndpoint));
	const ApiFormat	 *format = endpoint_for(format_name, rules, endpoint);
	ChatRequest		 *request = palloc(sizeof(ChatRequest));
	ProviderModel	  asked = { model, max_output_tokens };

	parse_request(fcinfo, messages, mode, request);
	return exchange_create(format, endpoint, &asked, request, TEST_TIME);
}

/* test_build(rules jsonb, model text, messages jsonb, options jsonb) returns text: openai's body. */
Datum
test_build(PG_FUNCTION_ARGS)
{
	Exchange   *exchange = start_exchange(fcinfo, "openai", PG_GETARG_JSONB_P(0),
										  text_to_cstring(PG_GETARG_TEXT_PP(1)), 0, 2, CHAT_WHOLE);
	WireRequest wire;
	LlmError	error = { 0 };

	if (!exchange->format->build_chat(exchange, &wire, &error))
		error_throw(&error);
	PG_RETURN_TEXT_P(cstring_to_text_with_len(wire.body.data, wire.body.len));
}

static void
push_names(JsonbParseState **state, const char *key, List *names)
{
	JsonbValue name = { .type = jbvString };
	ListCell  *cell;

	if (names == NIL)
		return;
	json_push_key(state, key);
	pushJsonbValue(state, WJB_BEGIN_ARRAY, NULL);
	foreach (cell, names)
	{
		name.val.string.val = lfirst(cell);
		name.val.string.len = (int) strlen(lfirst(cell));
		pushJsonbValue(state, WJB_ELEM, &name);
	}
	pushJsonbValue(state, WJB_END_ARRAY, NULL);
}

static JsonbValue *
push_wire(JsonbParseState **state, const WireRequest *wire)
{
	const char *problem;
	ListCell   *cell;

	pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	push_text(state, "request", psprintf("%s %s", wire->method, wire->url));
	foreach (cell, wire->headers)
	{
		const WireHeader *header = lfirst(cell);

		/* The two that every request has say nothing here. */
		if (strcmp(header->value, "application/json") != 0)
			push_text(state, psprintf("header %s", header->name), header->value);
	}
	if (wire->body.len > 0)
		push_jsonb(state, "body", json_from_bytes(wire->body.data, wire->body.len, &problem));
	if (wire->streams)
		push_bool(state, "streams", true);
	if (wire->keyless)
		push_bool(state, "keyless", true);
	push_names(state, "dropped", wire->dropped);
	push_names(state, "adjusted", wire->adjusted);
	return pushJsonbValue(state, WJB_END_OBJECT, NULL);
}

/*
 * test_wire(format text, model text, messages jsonb, options jsonb, streams boolean,
 *			 max_output_tokens int) returns jsonb: the request as it would go out, or why not.
 */
Datum
test_wire(PG_FUNCTION_ARGS)
{
	Exchange		*exchange = start_exchange(fcinfo, text_to_cstring(PG_GETARG_TEXT_PP(0)), jsonb_of("{}"),
											   text_to_cstring(PG_GETARG_TEXT_PP(1)), PG_GETARG_INT32(5), 2,
										   PG_GETARG_BOOL(4) ? CHAT_STREAM : CHAT_WHOLE);
	JsonbParseState *state = NULL;
	WireRequest		 wire;
	LlmError		 error = { 0 };

	if (exchange->format->build_chat(exchange, &wire, &error))
		PG_RETURN_JSONB_P(JsonbValueToJsonb(push_wire(&state, &wire)));
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_text(&state, "unsupported", error.message);
	PG_RETURN_JSONB_P(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL)));
}

/* The request that proves a key, with a key. */
static text *
key_check(const char *format_name, Jsonb *rules)
{
	ProviderEndpoint endpoint;
	const ApiFormat *format = endpoint_for(format_name, rules, &endpoint);
	WireRequest		 wire;
	StringInfoData	 text;
	ListCell		*cell;

	format->build_check(&endpoint, &wire);
	wire_request_authorize(&wire, endpoint.auth_type, "test-key");
	initStringInfo(&text);
	appendStringInfo(&text, "%s %s", wire.method, wire.url);
	foreach (cell, wire.headers)
	{
		WireHeader *header = lfirst(cell);

		appendStringInfo(&text, "\n%s: %s%s", header->name, header->value,
						 header->secret ? " (secret)" : "");
	}
	wire_request_wipe(&wire);
	return cstring_to_text(text.data);
}

/* test_check(rules jsonb) returns text: that of openai, with rules. */
Datum
test_check(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(key_check("openai", PG_GETARG_JSONB_P(0)));
}

/* test_key_check(format text, rules jsonb) returns text: that of any format. */
Datum
test_key_check(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(key_check(text_to_cstring(PG_GETARG_TEXT_PP(0)), PG_GETARG_JSONB_P(1)));
}

static void
read_headers(Jsonb *headers, WireResponse *wire)
{
	JsonbIterator *iterator = json_iterate(&headers->root);
	JsonbValue	   key;
	JsonbValue	   value;

	wire->headers = NIL;
	while (json_next_member(&iterator, &key, &value))
	{
		WireHeader *header = palloc0(sizeof(WireHeader));

		header->name = json_value_string(&key);
		header->value = json_value_string(&value);
		wire->headers = lappend(wire->headers, header);
	}
	wire->received_at = TEST_TIME;
}

static void
push_usage(JsonbParseState **state, const TokenUsage *usage)
{
	if (!usage->known)
		return;
	json_push_key(state, "usage");
	pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	json_push_int64(state, "input", usage->input);
	json_push_int64(state, "cached_input", usage->cached_input);
	json_push_int64(state, "cache_write", usage->cache_write);
	json_push_int64(state, "output", usage->output);
	json_push_int64(state, "reasoning", usage->reasoning);
	pushJsonbValue(state, WJB_END_OBJECT, NULL);
}

static JsonbValue *
push_reply(JsonbParseState **state, ProviderReply *reply)
{
	pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	if (reply->follow_up)
	{
		json_push_key(state, "follow_up");
		push_wire(state, reply->follow_up);
		json_push_int64(state, "wait_ms", reply->follow_up_wait_ms);
		if (reply->on_abort)
		{
			json_push_key(state, "on_abort");
			push_wire(state, reply->on_abort);
		}
		return pushJsonbValue(state, WJB_END_OBJECT, NULL);
	}
	push_text(state, "outcome", outcome_name(reply->outcome));
	push_text(state, "code", reply->code);
	push_text(state, "message", reply->message);
	push_text(state, "request_id", reply->provider_request_id);
	if (reply->retry_after_ms >= 0)
		json_push_int64(state, "retry_after_ms", reply->retry_after_ms);
	if (reply->do_not_retry)
		push_bool(state, "do_not_retry", true);
	push_usage(state, &reply->answer.usage);
	if (reply->answer.reported_cost != MONEY_UNKNOWN)
		push_text(state, "cost", money_to_string(reply->answer.reported_cost));
	if (reply->outcome == OUTCOME_OK)
	{
		push_text(state, "finish_reason", reply->answer.finish_reason);
		push_jsonb(state, "completion",
				   JsonbValueToJsonb(pushJsonbValue(&reply->answer.completion, WJB_END_OBJECT, NULL)));
	}
	return pushJsonbValue(state, WJB_END_OBJECT, NULL);
}

/*
 * test_answer(format text, model text, status int, headers jsonb, body bytea,
 *			   messages jsonb, options jsonb) returns jsonb: what the answer means.
 */
Datum
test_answer(PG_FUNCTION_ARGS)
{
	Exchange		*exchange = start_exchange(fcinfo, text_to_cstring(PG_GETARG_TEXT_PP(0)), jsonb_of("{}"),
											   text_to_cstring(PG_GETARG_TEXT_PP(1)), 0, 5, CHAT_WHOLE);
	bytea			*body = PG_GETARG_BYTEA_PP(4);
	WireResponse	 wire = { .status = PG_GETARG_INT32(2) };
	JsonbParseState *state = NULL;
	ProviderReply	 reply;

	read_headers(PG_GETARG_JSONB_P(3), &wire);
	wire.body_length = VARSIZE_ANY_EXHDR(body);
	wire.body = pnstrdup(VARDATA_ANY(body), wire.body_length);
	provider_reply_init(&reply);
	provider_reply_read_id(&reply, &wire);
	exchange->format->parse_chat(exchange, &wire, &reply);
	PG_RETURN_JSONB_P(JsonbValueToJsonb(push_reply(&state, &reply)));
}

/* Push the chunks so far as the member "chunks". */
static void
push_chunks(JsonbParseState **state, Answer *answer)
{
	JsonbValue element = { .type = jbvBinary };
	Jsonb	  *chunk;

	json_push_key(state, "chunks");
	pushJsonbValue(state, WJB_BEGIN_ARRAY, NULL);
	while ((chunk = answer_take_chunk(answer)) != NULL)
	{
		element.val.binary.data = &chunk->root;
		element.val.binary.len = VARSIZE(chunk) - VARHDRSZ;
		pushJsonbValue(state, WJB_ELEM, &element);
	}
	pushJsonbValue(state, WJB_END_ARRAY, NULL);
}

/* Read a stream that comes in pieces of so many bytes, as the answer that is wanted. */
static void
read_stream(Exchange *exchange, bytea *stream, size_t size, ProviderReply *reply)
{
	size_t		 length = VARSIZE_ANY_EXHDR(stream);
	WireResponse wire = { .status = 200, .body = "", .received_at = TEST_TIME };
	bool		 ended = false;

	provider_reply_init(reply);
	for (size_t at = 0; at < length && !ended; at += size)
		ended = exchange_read_stream(exchange, &wire, VARDATA_ANY(stream) + at, Min(size, length - at),
									 at + size >= length, 1024 * 1024, reply);
	if (!ended)
		elog(ERROR, "the stream did not end");
}

/*
 * test_stream(format text, model text, stream bytea, piece int, messages jsonb,
 *			   options jsonb) returns jsonb: the chunks of a stream that comes in pieces of so
 * many bytes, and what its end means.
 */
Datum
test_stream(PG_FUNCTION_ARGS)
{
	Exchange		*exchange = start_exchange(fcinfo, text_to_cstring(PG_GETARG_TEXT_PP(0)), jsonb_of("{}"),
											   text_to_cstring(PG_GETARG_TEXT_PP(1)), 0, 4, CHAT_STREAM);
	JsonbParseState *state = NULL;
	ProviderReply	 reply;

	read_stream(exchange, PG_GETARG_BYTEA_PP(2), PG_GETARG_INT32(3), &reply);
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_chunks(&state, exchange->answer);
	json_push_int64(&state, "tokens", answer_tokens(exchange->answer));
	json_push_key(&state, "end");
	push_reply(&state, &reply);
	PG_RETURN_JSONB_P(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL)));
}

/* Read one of test_exchange's answers: {"status", "body"}, {"events": text} or {"bytes": bytea}. */
static void
read_step(Exchange *exchange, JsonbContainer *step, ProviderReply *reply)
{
	WireResponse   wire = { .status = 200, .body = "", .received_at = TEST_TIME };
	char		  *events = json_member_string(step, "events");
	char		  *bytes = json_member_string(step, "bytes");
	JsonbValue	  *body = json_member(step, "body");
	int64		   status;
	StringInfoData text;

	if (json_member_int64(step, "status", &status))
		wire.status = (int) status;
	provider_reply_init(reply);
	initStringInfo(&text);
	if (events)
		encoding_append_as_utf8(&text, events, strlen(events));
	else if (bytes)
	{
		bytea *decoded = DatumGetByteaPP(DirectFunctionCall1(byteain, CStringGetDatum(bytes)));

		appendBinaryStringInfo(&text, VARDATA_ANY(decoded), VARSIZE_ANY_EXHDR(decoded));
	}
	else if (body)
		json_append_value(&text, body);
	if ((events || bytes) &&
		!exchange_read_stream(exchange, &wire, text.data, text.len, true, 1024 * 1024, reply))
		elog(ERROR, "the stream did not end");
	if (events || bytes)
		return;
	wire.body = text.data;
	wire.body_length = text.len;
	exchange->format->parse_chat(exchange, &wire, reply);
}

/*
 * test_exchange(format text, model text, messages jsonb, options jsonb, streams boolean,
 *				 answers jsonb) returns setof jsonb: one exchange of several requests: what each
 * answer means, after the chunks that it brings.
 */
Datum
test_exchange(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Exchange	  *exchange = start_exchange(fcinfo, text_to_cstring(PG_GETARG_TEXT_PP(0)), jsonb_of("{}"),
											 text_to_cstring(PG_GETARG_TEXT_PP(1)), 0, 2,
										 PG_GETARG_BOOL(4) ? CHAT_STREAM : CHAT_WHOLE);
	JsonbIterator *iterator = json_iterate(&PG_GETARG_JSONB_P(5)->root);
	JsonbValue	   step;
	WireRequest	   wire;
	LlmError	   error = { 0 };

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	if (!exchange->format->build_chat(exchange, &wire, &error))
		error_throw(&error);
	while (json_next_element(&iterator, &step))
	{
		JsonbParseState *state = NULL;
		ProviderReply	 reply;
		Jsonb			*chunk;
		Datum			 value;
		bool			 is_null = false;

		if (json_value_object(&step) == NULL)
			elog(ERROR, "an answer is no object");
		read_step(exchange, json_value_object(&step), &reply);
		while ((chunk = answer_take_chunk(exchange->answer)) != NULL)
		{
			value = JsonbPGetDatum(chunk);
			tuplestore_putvalues(result->setResult, result->setDesc, &value, &is_null);
		}
		value = JsonbPGetDatum(JsonbValueToJsonb(push_reply(&state, &reply)));
		tuplestore_putvalues(result->setResult, result->setDesc, &value, &is_null);
	}
	return (Datum) 0;
}

/*
 * test_gathered(format text, model text, stream bytea, messages jsonb, options jsonb)
 * returns jsonb: the whole answer that a stream is, and what it said of usage if it is none.
 */
Datum
test_gathered(PG_FUNCTION_ARGS)
{
	Exchange		*exchange = start_exchange(fcinfo, text_to_cstring(PG_GETARG_TEXT_PP(0)), jsonb_of("{}"),
											   text_to_cstring(PG_GETARG_TEXT_PP(1)), 0, 3, CHAT_WHOLE);
	JsonbParseState *state = NULL;
	ProviderReply	 reply;

	read_stream(exchange, PG_GETARG_BYTEA_PP(2), 7, &reply);
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	json_push_key(&state, "end");
	push_reply(&state, &reply);
	json_push_int64(&state, "input_so_far", exchange->usage.input);
	PG_RETURN_JSONB_P(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL)));
}

static Price
price_argument(FunctionCallInfo fcinfo, int argument)
{
	Price price = PRICE_UNKNOWN;

	if (!PG_ARGISNULL(argument) &&
		!price_from_numeric(PG_GETARG_NUMERIC(argument), &price))
		elog(ERROR, "not a price");
	return price;
}

/*
 * test_cost(input, cached_input, cache_write, output, long_input, long_output numeric,
 *			 input_tokens, cached, written, output_tokens bigint) returns numeric:
 * prices per 1,000 tokens; prompts above 1,000 tokens are long.
 */
Datum
test_cost(PG_FUNCTION_ARGS)
{
	PriceList list = {
		.input = price_argument(fcinfo, 0),
		.cached_input = price_argument(fcinfo, 1),
		.cache_write = price_argument(fcinfo, 2),
		.output = price_argument(fcinfo, 3),
		.long_prompt_above = 1000,
		.long_input = price_argument(fcinfo, 4),
		.long_cached_input = PRICE_UNKNOWN,
		.long_output = price_argument(fcinfo, 5),
	};
	TokenUsage usage = {
		.known = true,
		.input = PG_GETARG_INT64(6),
		.cached_input = PG_GETARG_INT64(7),
		.cache_write = PG_GETARG_INT64(8),
		.output = PG_GETARG_INT64(9),
	};
	UnitPrices prices = prices_for_prompt(&list, usage.input);
	Money	   cost = cost_of_usage(&prices, &usage);

	if (cost == MONEY_UNKNOWN)
		PG_RETURN_NULL();
	PG_RETURN_NUMERIC(money_to_numeric(cost));
}

/* test_reported_cost(numeric) returns text: through Money and back; NULL when refused. */
Datum
test_reported_cost(PG_FUNCTION_ARGS)
{
	Money money;

	if (!money_from_numeric(PG_GETARG_NUMERIC(0), &money))
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(money_to_string(money)));
}

/* test_origin(text) returns text: provider_origin. */
Datum
test_origin(PG_FUNCTION_ARGS)
{
	char *origin = provider_origin(text_to_cstring(PG_GETARG_TEXT_PP(0)));

	if (origin == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(origin));
}

/* test_text(jsonb) returns text: chat_response_text. */
Datum
test_text(PG_FUNCTION_ARGS)
{
	text *answer = chat_response_text(PG_GETARG_JSONB_P(0));

	if (answer == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(answer);
}

/* Add the time since *start to *sum, and begin anew. */
static void
count_time(instr_time *start, double *sum)
{
	instr_time now;
	instr_time passed;

	INSTR_TIME_SET_CURRENT(now);
	passed = now;
	INSTR_TIME_SUBTRACT(passed, *start);
	*sum += INSTR_TIME_GET_DOUBLE(passed) * 1e6;
	*start = now;
}

/* One round: check what was asked, write it in that format, read the answer. */
static void
run_format(FunctionCallInfo fcinfo, const ProviderEndpoint *endpoint, const ApiFormat *format,
		   const char *body, size_t length, double *sums)
{
	ProviderModel model = { text_to_cstring(PG_GETARG_TEXT_PP(1)), 0 };
	WireResponse  wire = { .status = 200, .body = body, .body_length = length, .received_at = TEST_TIME };
	WireRequest	  request_wire;
	ChatRequest	  request;
	ProviderReply reply;
	LlmError	  error = { 0 };
	Exchange	 *exchange;
	instr_time	  start;

	INSTR_TIME_SET_CURRENT(start);
	parse_request(fcinfo, 2, CHAT_WHOLE, &request);
	count_time(&start, &sums[0]);
	exchange = exchange_create(format, endpoint, &model, &request, TEST_TIME);
	if (!format->build_chat(exchange, &request_wire, &error))
		error_throw(&error);
	count_time(&start, &sums[1]);
	provider_reply_init(&reply);
	provider_reply_read_id(&reply, &wire);
	format->parse_chat(exchange, &wire, &reply);
	if (reply.outcome != OUTCOME_OK)
		elog(ERROR, "the answer was not read: %s", reply.message);
	JsonbValueToJsonb(pushJsonbValue(&reply.answer.completion, WJB_END_OBJECT, NULL));
	count_time(&start, &sums[2]);
}

/*
 * test_format_microseconds(format text, model text, messages jsonb, options jsonb,
 *							body text, rounds int) returns float8[]
 *
 * The mean times of checking the request, of writing it, and of reading the answer.
 */
Datum
test_format_microseconds(PG_FUNCTION_ARGS)
{
	ProviderEndpoint endpoint;
	const ApiFormat *format = endpoint_for(text_to_cstring(PG_GETARG_TEXT_PP(0)), jsonb_of("{}"), &endpoint);
	text			*body = PG_GETARG_TEXT_PP(4);
	int				 rounds = PG_GETARG_INT32(5);
	double			 sums[3] = { 0 };
	Datum			 means[3];
	MemoryContext	 context = AllocSetContextCreate(CurrentMemoryContext, "rounds", ALLOCSET_DEFAULT_SIZES);
	MemoryContext	 previous;

	/* Out of their compressed form once, not in every round. */
	fcinfo->args[2].value = JsonbPGetDatum(PG_GETARG_JSONB_P(2));
	if (!PG_ARGISNULL(3))
		fcinfo->args[3].value = JsonbPGetDatum(PG_GETARG_JSONB_P(3));

	previous = MemoryContextSwitchTo(context);
	for (int i = 0; i < rounds; i++)
	{
		run_format(fcinfo, &endpoint, format, VARDATA_ANY(body), VARSIZE_ANY_EXHDR(body), sums);
		MemoryContextReset(context);
	}
	MemoryContextSwitchTo(previous);
	for (int i = 0; i < (int) lengthof(means); i++)
		means[i] = Float8GetDatum(sums[i] / rounds);
	PG_RETURN_ARRAYTYPE_P(construct_array(means, lengthof(means), FLOAT8OID, sizeof(float8),
										  FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

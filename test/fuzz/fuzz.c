/*
 * fuzz.c
 *		libFuzzer inside a PostgreSQL backend: there is no PostgreSQL to link
 *		against, so the fuzzer is loaded into one, as two SQL functions.
 *
 *		fuzz_response(corpus text, seconds int): any answer of a provider
 *		fuzz_request(corpus text, seconds int): messages and options
 *
 * Every input runs in a memory context of its own, which is reset after it.  An
 * error that is thrown is a finding: the parsers promise not to throw.
 */
#include "postgres.h"

#include <unistd.h>

#include "chat/json.h"
#include "chat/request.h"
#include "chat/response.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "providers/provider.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(fuzz_response);
PG_FUNCTION_INFO_V1(fuzz_request);

typedef int (*FuzzTarget)(const uint8_t *data, size_t size);

extern int LLVMFuzzerRunDriver(int *argc, char ***argv, FuzzTarget target);

static const ApiFormat *format;
static ProviderEndpoint endpoint;
static MemoryContext	input_context;

static const char *const rules_text =
	"{\"reasoning_models\":true,\"stop_as_array\":true,\"logprobs_as_integer\":true,"
	"\"tool_call_id_length\":9,\"image_detail\":false,\"max_n\":2,\"max_temperature\":1,"
	"\"reasoning_efforts\":[\"low\"],\"rename\":{\"seed\":\"random_seed\"},\"drop\":[\"user\"]}";

/* A finding that is not a memory error: stop as sanitizers do. */
static void
finding(const char *what)
{
	fprintf(stderr, "FINDING: %s\n", what);
	abort();
}

static Exchange *
start_exchange(const ChatRequest *request)
{
	const ProviderModel model = { "gpt-5.1", 0 };

	return exchange_create(format, &endpoint, &model, request, 0);
}

/* The first byte chooses the status, the rest is the body. */
static void
try_response(const uint8_t *data, size_t size)
{
	static const int statuses[] = { 200, 200, 200, 400, 403, 413, 429, 500 };
	WireHeader		 header = { .name = "retry-after" };
	WireResponse	 wire = { 0 };
	ChatRequest		 plain_request = { 0 };
	ProviderReply	 reply;

	if (size == 0)
		return;
	wire.status = statuses[data[0] % lengthof(statuses)];
	wire.body_length = size - 1;
	wire.body = palloc(size);
	memcpy(unconstify(char *, wire.body), data + 1, size - 1);
	unconstify(char *, wire.body)[size - 1] = '\0';

	/* The body again, as a header: dates and durations are parsed as well. */
	header.value = unconstify(char *, wire.body);
	wire.headers = list_make1(&header);

	provider_reply_init(&reply);
	format->parse_chat(start_exchange(&plain_request), &wire, &reply);
	if (reply.outcome == OUTCOME_OK)
		chat_response_text(JsonbValueToJsonb(pushJsonbValue(&reply.answer.completion, WJB_END_OBJECT, NULL)));
	else if (reply.message && strlen(reply.message) > 500)
		finding("a message of more than 500 bytes");
	if (reply.retry_after_ms == 0 || reply.retry_after_ms < -1)
		finding("a wait that is none");
	provider_read_check(&wire, &reply);
}

/* Messages, and after a newline options; what is understood is also written. */
static void
try_request(const uint8_t *data, size_t size)
{
	const uint8_t *split = memchr(data, '\n', size);
	size_t		   length = split ? (size_t) (split - data) : size;
	const char	  *problem;
	Jsonb		  *messages = json_from_bytes((const char *) data, length, &problem);
	Jsonb		  *options = NULL;
	ChatRequest	   request;
	WireRequest	   wire;
	LlmError	   error = { 0 };

	if (messages == NULL)
		return;
	if (split)
		options = json_from_bytes((const char *) split + 1, size - length - 1, &problem);
	chat_request_returns_errors(options);
	if (!chat_request_parse(messages, options, CHAT_WHOLE, &request, &error))
	{
		if (error.sqlstate != ERRCODE_INVALID_PARAMETER_VALUE || error.message == NULL)
			finding("an error without SQLSTATE or message");
		return;
	}
	if (!format->build_chat(start_exchange(&request), &wire, &error))
		finding("a checked request that cannot be written");
	if (json_from_bytes(wire.body.data, wire.body.len, &problem) == NULL)
		finding("a body that is not JSON");
}

static int
run_input(void (*target)(const uint8_t *, size_t), const uint8_t *data, size_t size)
{
	MemoryContext before = MemoryContextSwitchTo(input_context);

	PG_TRY();
	{
		target(data, size);
	}
	PG_CATCH();
	{
		EmitErrorReport();
		finding("an error was thrown");
	}
	PG_END_TRY();
	MemoryContextSwitchTo(before);
	MemoryContextReset(input_context);
	return 0;
}

static int
response_input(const uint8_t *data, size_t size)
{
	return run_input(try_response, data, size);
}

static int
request_input(const uint8_t *data, size_t size)
{
	return run_input(try_request, data, size);
}

static Datum
run_fuzzer(FunctionCallInfo fcinfo, FuzzTarget target)
{
	char *arguments[] = {
		"fuzz",
		text_to_cstring(PG_GETARG_TEXT_PP(0)),
		psprintf("-max_total_time=%d", PG_GETARG_INT32(1)),
		"-max_len=4096",
		"-timeout=10",
		"-rss_limit_mb=2048",
		"-detect_leaks=0", /* memory belongs to contexts */
		"-handle_segv=0", "-handle_term=0", "-handle_int=0",
		"-print_final_stats=1",
		NULL
	};
	char **argv = arguments;
	int	   argc = lengthof(arguments) - 1;
	Datum  rules = DirectFunctionCall1(jsonb_in, CStringGetDatum(rules_text));

	format = api_format_find("openai");
	endpoint.name = "fuzz";
	endpoint.base_url = "https://fuzz.example.com/v1";
	endpoint.rules = format->read_rules(DatumGetJsonbP(rules));
	input_context = AllocSetContextCreate(CurrentMemoryContext, "fuzz input",
										  ALLOCSET_DEFAULT_SIZES);
	PG_RETURN_INT32(LLVMFuzzerRunDriver(&argc, &argv, target));
}

Datum
fuzz_response(PG_FUNCTION_ARGS)
{
	return run_fuzzer(fcinfo, response_input);
}

Datum
fuzz_request(PG_FUNCTION_ARGS)
{
	return run_fuzzer(fcinfo, request_input);
}

/*
 * fuzz.c
 *		libFuzzer inside a PostgreSQL backend: there is no PostgreSQL to link
 *		against, so the fuzzer is loaded into one, as an SQL function.
 *
 *		fuzz(target text, corpus text, dictionary text, seconds int)
 *
 * Targets:
 *		sse				 bytes of a stream of events
 *		request			 messages and options, written in every format
 *		response_FORMAT	 what a provider answers, document by document
 *		stream_FORMAT	 the same, the events of its stream in pieces
 *		redaction		 statements and log lines in which keys are hidden
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
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "providers/provider.h"
#include "providers/redact.h"
#include "secrets/redaction_text.h"
#include "sql_tokens.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(fuzz);

extern int LLVMFuzzerRunDriver(int *argc, char ***argv, int (*target)(const uint8_t *, size_t));

#define MAX_INPUT_BYTES	  4096
#define MAX_MESSAGE_BYTES 500
#define MAX_WAIT_MS		  (60 * 60 * 1000)
#define MODELS			  4
#define REQUESTS		  4

/* Between the documents that answer one another's follow-ups. */
#define SEPARATOR 0x1e

typedef struct FormatUnderTest
{
	const char		*name;
	const char		*models[MODELS];
	const ApiFormat *format;
	ProviderEndpoint endpoint;
} FormatUnderTest;

/* All there are; models that are treated differently. */
static FormatUnderTest formats[] = {
	{ "openai", { "gpt-5.1", "gpt-4o-mini", "o4-mini", "llama-3.3-70b" } },
	{ "anthropic", { "claude-sonnet-4-5", "claude-opus-4-8", "claude-sonnet-5", "claude-haiku-4-5" } },
	{ "google", { "gemini-2.5-flash", "gemini-3.6-flash", "gemini-2.5-pro", "gemini-2.0-flash" } },
	{ "cohere", { "command-a-03-2025", "command-r7b-12-2024", "command-a-reasoning-08-2025", "aya" } },
	{ "replicate", { "meta/meta-llama-3-8b", "openai/gpt-5", "anthropic/claude-4.5-sonnet", "a/b" } },
};

/* What was asked, for what is answered: options. */
static const char *const option_texts[REQUESTS] = {
	"{}",
	"{\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"type\":\"object\","
	"\"properties\":{\"a\":{\"type\":\"string\"}}}}},{\"type\":\"custom\",\"custom\":{\"name\":\"g\"}}]}",
	"{\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"s\","
	"\"schema\":{\"type\":\"object\"}}},\"max_tokens\":40,\"logprobs\":true,\"top_logprobs\":2}",
	"{\"n\":2,\"stop\":[\"END\",\"x\"],\"reasoning_effort\":\"low\",\"max_tokens\":60000}",
};

static const char *const rules_text =
	"{\"reasoning_models\":true,\"stop_as_array\":true,\"logprobs_as_integer\":true,"
	"\"tool_call_id_length\":9,\"image_detail\":false,\"max_n\":2,\"max_temperature\":1,"
	"\"reasoning_efforts\":[\"low\"],\"rename\":{\"seed\":\"random_seed\"},\"drop\":[\"user\"]}";

static FormatUnderTest *under_test; /* of response_ and stream_ */
static void (*target)(const uint8_t *, size_t);
static MemoryContext input_context;
static ChatRequest	 whole_requests[REQUESTS];
static ChatRequest	 stream_requests[REQUESTS];

/* A finding that is not a memory error: stop as sanitizers do. */
static void
finding(const char *what)
{
	fprintf(stderr, "FINDING: %s\n", what);
	abort();
}

static Jsonb *
jsonb_of(const char *text)
{
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text)));
}

/* With a NUL behind it, and perhaps others inside. */
static char *
copy_of(const char *bytes, size_t length)
{
	char *copy = memcpy(palloc(length + 1), bytes, length);

	copy[length] = '\0';
	return copy;
}

/* ------------------------------------------------------------------------
 * What every result has to be
 * ------------------------------------------------------------------------
 */

static void
check_text(const char *text, size_t length)
{
	if (memchr(text, '\0', length) || !pg_verify_mbstr(PG_UTF8, text, (int) length, true))
		finding("a text that is not UTF-8");
}

/* It can be written and read again.  Returns it as text. */
static char *
check_jsonb(Jsonb *jsonb)
{
	char *text = JsonbToCString(NULL, &jsonb->root, VARSIZE(jsonb));

	check_text(text, strlen(text));
	jsonb_of(text);
	return text;
}

static void
check_finish_reason(const JsonbValue *reason)
{
	static const char *const reasons[] = {
		"stop", "length", "tool_calls", "content_filter", "function_call"
	};

	for (int i = 0; i < (int) lengthof(reasons); i++)
		if (json_value_is(reason, reasons[i]))
			return;
	finding("a finish_reason that OpenAI does not have");
}

static void
check_choice(JsonbContainer *choice, bool streams)
{
	JsonbContainer *message = choice ? json_member_object(choice, streams ? "delta" : "message") : NULL;
	JsonbValue	   *reason = choice ? json_member(choice, "finish_reason") : NULL;
	JsonbValue	   *content = message ? json_member(message, "content") : NULL;
	int64			index = 0;

	if (message == NULL)
		finding("a choice without its message");
	if (!json_member_int64(choice, "index", &index) || index < 0 || index >= ANSWER_MAX_CHOICES)
		finding("a choice without its place");
	if (content && content->type != jbvString && content->type != jbvNull)
		finding("a content that is no text");
	if (!streams || json_value_given(reason))
		check_finish_reason(reason);
}

/* A chat.completion or a chunk; the last chunk may be without choices. */
static char *
check_object(Jsonb *jsonb, bool streams, bool needs_choice)
{
	JsonbContainer *choices = json_member_array(&jsonb->root, "choices");
	JsonbIterator  *iterator;
	JsonbValue		choice;
	const char	   *type = streams ? "chat.completion.chunk" : "chat.completion";
	int64			created;

	if (!JB_ROOT_IS_OBJECT(jsonb) || !json_value_is(json_member(&jsonb->root, "object"), type))
		finding("an answer that is not OpenAI's object");
	if (!json_value_filled(json_member(&jsonb->root, "id")) ||
		!json_value_filled(json_member(&jsonb->root, "model")) ||
		!json_member_int64(&jsonb->root, "created", &created))
		finding("an answer without its head");
	if (json_member(&jsonb->root, "llm_router"))
		finding("the router's own member, forged");
	if (choices == NULL || (needs_choice && JsonContainerSize(choices) == 0))
		finding("an answer without choices");
	iterator = json_iterate(choices);
	while (json_next_element(&iterator, &choice))
		check_choice(json_value_object(&choice), streams);
	return check_jsonb(jsonb);
}

static void
check_usage(const TokenUsage *usage)
{
	const int64 counts[] = {
		usage->input, usage->cached_input, usage->cache_write, usage->output, usage->reasoning
	};

	for (int i = 0; i < (int) lengthof(counts); i++)
		if (counts[i] < 0 || counts[i] > USAGE_MAX_TOKENS)
			finding("a count of tokens out of range");
}

/* A request as it would go out. */
static void
check_wire(const WireRequest *wire, const ProviderEndpoint *endpoint)
{
	ListCell *cell;

	if (pg_strncasecmp(wire->url, "https://", 8) != 0 || strpbrk(wire->url, " \r\n\t"))
		finding("a URL that is none");
	if (!wire->keyless && strncmp(wire->url, endpoint->base_url, strlen(endpoint->base_url)) != 0 &&
		strcmp(provider_origin(wire->url), provider_origin(endpoint->base_url)) != 0)
		finding("a key for somebody else");
	foreach (cell, wire->headers)
	{
		const WireHeader *header = lfirst(cell);

		if (strpbrk(header->name, "\r\n") || strpbrk(header->value, "\r\n"))
			finding("a header of several lines");
	}
	if (wire->body.len == 0)
		return;
	check_text(wire->body.data, wire->body.len);
	DirectFunctionCall1(json_in, CStringGetDatum(wire->body.data));
}

/* What became of the answer; its text is added to told. */
static void
check_reply(const Exchange *exchange, ProviderReply *reply, StringInfo told)
{
	bool   streams = exchange->request->streams;
	Jsonb *completion;

	if (reply->follow_up)
	{
		check_wire(reply->follow_up, exchange->endpoint);
		if (reply->on_abort)
			check_wire(reply->on_abort, exchange->endpoint);
		if (reply->follow_up_wait_ms < 0 || reply->follow_up_wait_ms > MAX_WAIT_MS)
			finding("a wait for ever");
		return;
	}
	check_usage(&reply->answer.usage);
	appendStringInfo(told, "%s %d\n", outcome_name(reply->outcome), reply->answer.usage.known);
	if (reply->retry_after_ms == 0 || reply->retry_after_ms < -1)
		finding("a wait that is none");
	if (reply->outcome == OUTCOME_OK)
	{
		completion = JsonbValueToJsonb(pushJsonbValue(&reply->answer.completion, WJB_END_OBJECT, NULL));
		appendStringInfoString(told, check_object(completion, streams, !streams));
		chat_response_text(completion);
	}
	else if (reply->message)
	{
		check_text(reply->message, strlen(reply->message));
		appendStringInfoString(told, reply->message);
		if (strlen(reply->message) > MAX_MESSAGE_BYTES)
			finding("a message of more than 500 bytes");
	}
}

/* ------------------------------------------------------------------------
 * Answers
 * ------------------------------------------------------------------------
 */

/* An exchange whose request has been written; wire says whether it streams. */
static Exchange *
start_exchange(const FormatUnderTest *format, int model, const ChatRequest *requests, int number,
			   WireRequest *wire)
{
	const ProviderModel asked = { format->models[model % MODELS], 0 };
	LlmError			error = { 0 };
	Exchange		   *exchange = exchange_create(format->format, &format->endpoint, &asked,
												   &requests[number], 0);

	if (exchange->format->build_chat(exchange, wire, &error))
		return exchange;
	if (number == 0)
		finding("a plain request that cannot be written");
	return start_exchange(format, model, requests, 0, wire);
}

static void
take_chunks(Exchange *exchange, StringInfo told)
{
	Jsonb *chunk;

	while ((chunk = answer_take_chunk(exchange->answer)) != NULL)
	{
		if (!exchange->request->streams)
			finding("a chunk that nobody asked for");
		appendStringInfo(told, "%s\n", check_object(chunk, true, true));
		pfree(chunk);
	}
}

/* One document; the first one also as a header: dates and durations are parsed as well. */
static void
read_document(Exchange *exchange, int status, const char *body, size_t length, bool first,
			  ProviderReply *reply)
{
	WireHeader	 header = { .name = "retry-after", .value = unconstify(char *, body) };
	WireResponse wire = { .status = status, .body = body, .body_length = length };

	if (first)
		wire.headers = list_make1(&header);
	exchange->format->parse_chat(exchange, &wire, reply);
}

static void
read_stream(Exchange *exchange, const char *bytes, size_t length, size_t piece, StringInfo told,
			ProviderReply *reply)
{
	WireResponse wire = { .status = 200, .body = "" };
	bool		 ended = false;

	for (size_t at = 0; !ended; at += piece)
	{
		if (at > length)
			finding("a stream without an end");
		ended = exchange_read_stream(exchange, &wire, bytes + at, Min(piece, length - at),
									 at + piece >= length, 1024 * 1024, reply);
		take_chunks(exchange, told);
	}
}

/* One exchange: documents or streams, as long as one asks for another. */
static void
run_exchange(Exchange *exchange, bool as_stream, int status, const char *bytes, size_t length, size_t piece,
			 StringInfo told)
{
	const char	 *end = bytes + length;
	ProviderReply reply;
	bool		  first = true;

	do
	{
		const char *separator = memchr(bytes, SEPARATOR, end - bytes);
		size_t		size = (separator ? separator : end) - bytes;

		provider_reply_init(&reply);
		if (as_stream)
			read_stream(exchange, bytes, size, piece, told, &reply);
		else
			read_document(exchange, status, copy_of(bytes, size), size, first, &reply);
		take_chunks(exchange, told);
		check_reply(exchange, &reply, told);
		check_usage(&exchange->usage);
		if (answer_tokens(exchange->answer) < 0)
			finding("fewer tokens than none");
		if (reply.follow_up == NULL || separator == NULL)
			break;
		as_stream = reply.follow_up->streams;
		bytes = separator + 1;
		status = 200;
		first = false;
	} while (true);
}

/* The first byte chooses status, request, model, and whether chunks are wanted. */
static void
try_response(const uint8_t *data, size_t size)
{
	static const int statuses[] = { 200, 200, 200, 400, 403, 413, 429, 500 };
	StringInfoData	 told;
	WireRequest		 wire;
	WireResponse	 checked = { 0 };
	ProviderReply	 reply;
	Exchange		*exchange;

	if (size == 0)
		return;
	initStringInfo(&told);
	exchange = start_exchange(under_test, data[0] >> 5, data[0] & 0x80 ? stream_requests : whole_requests,
							  (data[0] >> 3) % REQUESTS, &wire);
	checked.status = statuses[data[0] % lengthof(statuses)];
	run_exchange(exchange, false, checked.status, (const char *) data + 1, size - 1, size, &told);

	checked.body = copy_of((const char *) data + 1, size - 1);
	checked.body_length = size - 1;
	provider_reply_init(&reply);
	provider_read_check(&checked, &reply);
}

/* The first byte chooses the size of the pieces, which must not matter, request and model. */
static void
try_stream(const uint8_t *data, size_t size)
{
	static const size_t pieces[] = { 1, 2, 3, 7, 16, 64, 500, MAX_INPUT_BYTES };
	StringInfoData		told[2];

	if (size == 0)
		return;
	for (int i = 0; i < (int) lengthof(told); i++)
	{
		WireRequest wire;
		Exchange   *exchange = start_exchange(under_test, data[0] >> 5,
											  data[0] & 0x80 ? whole_requests : stream_requests,
											  (data[0] >> 3) % REQUESTS, &wire);

		/* Where the first request does not stream, a follow-up may; a server may stream unasked. */
		initStringInfo(&told[i]);
		run_exchange(exchange, wire.streams, 200, (const char *) data + 1, size - 1,
					 i == 0 ? pieces[data[0] % lengthof(pieces)] : MAX_INPUT_BYTES, &told[i]);
	}
	if (strcmp(told[0].data, told[1].data) != 0)
		finding("the pieces of a stream matter");
}

/* ------------------------------------------------------------------------
 * Events
 * ------------------------------------------------------------------------
 */

/*
 * Read all events; cut at places that come from seed, or, when that is 0, not at
 * all.  Returns whether one was too large.
 */
static bool
read_events(const char *bytes, size_t length, size_t max_event_bytes, uint32 seed, StringInfo told)
{
	MemoryContext context = AllocSetContextCreate(input_context, "events", ALLOCSET_DEFAULT_SIZES);
	MemoryContext previous = MemoryContextSwitchTo(context);
	SseParser	 *parser = sse_create(max_event_bytes);
	SseEvent	  event;
	size_t		  largest = 0;
	bool		  overflowed;

	for (size_t at = 0, piece; at < length; at += piece)
	{
		seed = seed * 1103515245 + 12345 * (seed != 0);
		piece = seed == 0 ? length : Min(1 + (seed >> 16) % 64, length - at);
		largest = Max(largest, piece);
		sse_feed(parser, bytes + at, piece);
		if (at + piece == length)
			sse_end(parser);
		while (sse_next(parser, &event))
		{
			if (event.length > max_event_bytes || strlen(event.name) > max_event_bytes + largest)
				finding("an event that is too large");
			if (event.data[event.length] != '\0')
				finding("an event without its end");
			appendStringInfo(told, "%zu %s\n", event.length, event.name);
			appendBinaryStringInfo(told, event.data, (int) event.length);
		}
		/* A buffer doubles, and is kept in the context beside the one that it replaces. */
		if (MemoryContextMemAllocated(context, true) > 64 * 1024 + 16 * (max_event_bytes + largest))
			finding("memory without bounds");
	}
	overflowed = sse_overflowed(parser);
	MemoryContextSwitchTo(previous);
	MemoryContextDelete(context);
	return overflowed;
}

/* The first two bytes choose the limit and the pieces. */
static void
try_sse(const uint8_t *data, size_t size)
{
	static const size_t limits[] = { 8, 64, 500, MAX_INPUT_BYTES };
	StringInfoData		told[2];
	bool				overflowed[2];
	size_t				limit;

	if (size < 2)
		return;
	limit = limits[data[0] % lengthof(limits)];
	for (int i = 0; i < (int) lengthof(told); i++)
	{
		initStringInfo(&told[i]);
		overflowed[i] = read_events((const char *) data + 2, size - 2, limit,
									i == 0 ? 0 : 1 + data[1] + 256 * (data[0] >> 2), &told[i]);
	}
	/* A line that is too large is found out only before its end has come. */
	if (!overflowed[0] && !overflowed[1] && told[0].len != told[1].len)
		finding("the pieces of a stream matter");
	if (memcmp(told[0].data, told[1].data, Min(told[0].len, told[1].len)) != 0)
		finding("the pieces of a stream matter");
}

/* ------------------------------------------------------------------------
 * Requests
 * ------------------------------------------------------------------------
 */

/* What is understood is written in every format, or refused with a reason. */
static void
write_request(const ChatRequest *request, int model)
{
	for (int i = 0; i < (int) lengthof(formats); i++)
	{
		const ProviderModel asked = { formats[i].models[model], 0 };
		Exchange		   *exchange = exchange_create(formats[i].format, &formats[i].endpoint, &asked,
													   request, 0);
		WireRequest			wire;
		LlmError			error = { 0 };

		if (exchange->format->build_chat(exchange, &wire, &error))
			check_wire(&wire, exchange->endpoint);
		else if (error.message == NULL)
			finding("a request that is refused without a reason");
		else
			check_text(error.message, strlen(error.message));
	}
}

/* Messages, and after a newline options. */
static void
try_request(const uint8_t *data, size_t size)
{
	const uint8_t *split = memchr(data, '\n', size);
	size_t		   length = split ? (size_t) (split - data) : size;
	const char	  *problem;
	Jsonb		  *messages = json_from_bytes((const char *) data, length, &problem);
	Jsonb		  *options = NULL;
	ChatRequest	   request;
	LlmError	   error = { 0 };

	if (messages == NULL)
		return;
	if (split)
		options = json_from_bytes((const char *) split + 1, size - length - 1, &problem);
	chat_request_returns_errors(options);
	if (chat_request_parse(messages, options, size % 2 ? CHAT_WHOLE : CHAT_STREAM, &request, &error))
		write_request(&request, (int) (size / 2 % MODELS));
	else if (error.sqlstate != ERRCODE_INVALID_PARAMETER_VALUE || error.message == NULL)
		finding("an error without SQLSTATE or message");
}

/* ------------------------------------------------------------------------
 * Hiding keys
 * ------------------------------------------------------------------------
 */

/* NULL when the scanner refuses it. */
static char *
tokens_of(const char *statement, bool backslash_quotes)
{
	char *volatile tokens = NULL;

	PG_TRY();
	{
		tokens = sql_tokens(statement, backslash_quotes);
	}
	PG_CATCH();
	{
		FlushErrorState();
		MemoryContextSwitchTo(input_context);
	}
	PG_END_TRY();
	return tokens;
}

static void
try_line(const char *line, size_t length, bool about_keys, bool cut)
{
	char  *hidden = copy_of(line, length);
	size_t key_length;

	if (redaction_hide_in_line(hidden, about_keys, cut) != (strcmp(hidden, line) != 0))
		finding("a line that is not changed as is said");
	if (strlen(hidden) != length || redaction_hide_in_line(hidden, about_keys, cut))
		finding("a line that is not hidden at once");
	if (redact_find_key(hidden, hidden, &key_length))
		finding("a key in a line");
	if (redaction_about_keys(hidden) != redaction_about_keys(line))
		finding("a line that is no longer known to be about keys");
}

/* The first byte chooses what is known of the text. */
static void
try_redaction(const uint8_t *data, size_t size)
{
	bool  backslash_quotes = size > 0 && (data[0] & 1);
	char *text = copy_of((const char *) data + (size > 0), size - (size > 0));
	char *hidden;
	char *before;
	char *after;

	try_line(text, strlen(text), false, false);
	try_line(text, strlen(text), true, size > 0 && (data[0] & 2));

	if (!pg_verify_mbstr(PG_UTF8, text, (int) strlen(text), true) ||
		(before = tokens_of(text, backslash_quotes)) == NULL)
		return;
	hidden = pstrdup(text);
	redaction_hide_in_sql(hidden, size > 0 && (data[0] & 4), backslash_quotes);
	after = tokens_of(hidden, backslash_quotes);
	if (strlen(hidden) != strlen(text) || after == NULL || strcmp(before, after) != 0)
		finding("a token that has changed");
}

/* ------------------------------------------------------------------------
 * Running
 * ------------------------------------------------------------------------
 */

static int
run_input(const uint8_t *data, size_t size)
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

static void
prepare(void)
{
	Jsonb	*messages = jsonb_of("[{\"role\":\"user\",\"content\":\"hi\"}]");
	LlmError error = { 0 };

	for (int i = 0; i < (int) lengthof(formats); i++)
	{
		formats[i].format = api_format_find(formats[i].name);
		formats[i].endpoint.name = "fuzz";
		formats[i].endpoint.base_url = "https://api.example.com/v1";
		formats[i].endpoint.rules = formats[i].format->read_rules(jsonb_of(rules_text));
	}
	for (int i = 0; i < REQUESTS; i++)
	{
		Jsonb *options = jsonb_of(option_texts[i]);

		if (!chat_request_parse(messages, options, CHAT_WHOLE, &whole_requests[i], &error) ||
			!chat_request_parse(messages, options, CHAT_STREAM, &stream_requests[i], &error))
			error_throw(&error);
	}
	input_context = AllocSetContextCreate(CurrentMemoryContext, "fuzz input", ALLOCSET_DEFAULT_SIZES);
}

static void
choose_target(const char *name)
{
	const char *format = strchr(name, '_');

	if (strcmp(name, "sse") == 0)
		target = try_sse;
	else if (strcmp(name, "request") == 0)
		target = try_request;
	else if (strcmp(name, "redaction") == 0)
		target = try_redaction;
	else
		target = name[0] == 's' ? try_stream : try_response;
	for (int i = 0; format && i < (int) lengthof(formats); i++)
		if (strcmp(formats[i].name, format + 1) == 0)
			under_test = &formats[i];
	if (format && under_test == NULL)
		elog(ERROR, "no target %s", name);
}

Datum
fuzz(PG_FUNCTION_ARGS)
{
	char *arguments[] = {
		"fuzz",
		text_to_cstring(PG_GETARG_TEXT_PP(1)),
		psprintf("-dict=%s", text_to_cstring(PG_GETARG_TEXT_PP(2))),
		psprintf("-max_total_time=%d", PG_GETARG_INT32(3)),
		psprintf("-max_len=%d", MAX_INPUT_BYTES),
		"-timeout=10",
		"-rss_limit_mb=2048",
		"-detect_leaks=0", /* memory belongs to contexts */
		"-handle_segv=0", "-handle_term=0", "-handle_int=0",
		"-print_final_stats=1",
		NULL
	};
	char **argv = arguments;
	int	   argc = lengthof(arguments) - 1;

	prepare();
	choose_target(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	PG_RETURN_INT32(LLVMFuzzerRunDriver(&argc, &argv, run_input));
}

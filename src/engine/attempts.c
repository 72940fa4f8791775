/*
 * attempts.c
 *		The attempts of a call, and what is told of them.
 */
#include "engine/attempts.h"

#include "routing/retry.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

typedef struct Attempt
{
	const char *provider;
	const char *model;
	bool		used_byok;
	Outcome		outcome;
	int			http_status;
	int64		response_time_ms;
	char	   *code;	 /* the provider's machine code, or NULL */
	char	   *message; /* the provider's, or ours; or NULL */
} Attempt;

void
attempts_begin(Attempts *attempts, MemoryContext context, const char *provider,
			   const char *model, bool used_byok)
{
	MemoryContext previous = MemoryContextSwitchTo(context);
	Attempt		 *attempt = palloc0(sizeof(Attempt));

	attempt->provider = provider;
	attempt->model = model;
	attempt->used_byok = used_byok;
	attempt->outcome = OUTCOME_CANCELLED;
	attempts->list = lappend(attempts->list, attempt);
	MemoryContextSwitchTo(previous);
}

void
attempts_end(Attempts *attempts, const ProviderReply *reply, int http_status,
			 int64 response_time_ms)
{
	Attempt *attempt = llast(attempts->list);

	attempt->outcome = reply->outcome;
	attempt->http_status = http_status;
	attempt->response_time_ms = response_time_ms;
	if (reply->code)
		attempt->code = MemoryContextStrdup(GetMemoryChunkContext(attempt), reply->code);
	if (reply->message)
		attempt->message = MemoryContextStrdup(GetMemoryChunkContext(attempt),
											   reply->message);
}

int
attempts_count(const Attempts *attempts)
{
	return list_length(attempts->list);
}

/* ------------------------------------------------------------------------
 * The member llm_router
 * ------------------------------------------------------------------------
 */

static void
push_key(JsonbParseState **state, const char *key)
{
	JsonbValue value = { .type = jbvString };

	value.val.string.val = unconstify(char *, key);
	value.val.string.len = (int) strlen(key);
	pushJsonbValue(state, WJB_KEY, &value);
}

static void
push_string(JsonbParseState **state, const char *key, const char *string)
{
	JsonbValue value = { .type = jbvNull };

	if (string)
	{
		value.type = jbvString;
		value.val.string.val = unconstify(char *, string);
		value.val.string.len = (int) strlen(string);
	}
	push_key(state, key);
	pushJsonbValue(state, WJB_VALUE, &value);
}

static void
push_bool(JsonbParseState **state, const char *key, bool boolean)
{
	JsonbValue value = { .type = jbvBool };

	value.val.boolean = boolean;
	push_key(state, key);
	pushJsonbValue(state, WJB_VALUE, &value);
}

static void
push_integer(JsonbParseState **state, const char *key, int64 integer)
{
	JsonbValue value = { .type = jbvNumeric };

	value.val.numeric = int64_to_numeric(integer);
	push_key(state, key);
	pushJsonbValue(state, WJB_VALUE, &value);
}

/* An amount of USD as a JSON number, exact, without trailing zeros; or null. */
static void
push_money(JsonbParseState **state, const char *key, Money money)
{
	JsonbValue value = { .type = jbvNull };

	if (money != MONEY_UNKNOWN)
	{
		Datum numeric = NumericGetDatum(money_to_numeric(money));

		value.type = jbvNumeric;
		value.val.numeric = DatumGetNumeric(DirectFunctionCall1(numeric_trim_scale, numeric));
	}
	push_key(state, key);
	pushJsonbValue(state, WJB_VALUE, &value);
}

static void
push_attempt(JsonbParseState **state, const Attempt *attempt)
{
	pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	push_string(state, "provider", attempt->provider);
	push_string(state, "model", attempt->model);
	push_bool(state, "used_byok", attempt->used_byok);
	push_string(state, "outcome", outcome_name(attempt->outcome));
	if (attempt->http_status != 0)
		push_integer(state, "http_status", attempt->http_status);
	push_integer(state, "response_time_ms", attempt->response_time_ms);
	if (attempt->code)
		push_string(state, "code", attempt->code);
	if (attempt->message)
		push_string(state, "message", attempt->message);
	pushJsonbValue(state, WJB_END_OBJECT, NULL);
}

static char *
uuid_to_string(const pg_uuid_t *uuid)
{
	return DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(uuid)));
}

/* An array of names, where there are any. */
static void
push_names(JsonbParseState **state, const char *key, const List *names)
{
	JsonbValue value = { .type = jbvString };
	ListCell  *cell;

	if (names == NIL)
		return;
	push_key(state, key);
	pushJsonbValue(state, WJB_BEGIN_ARRAY, NULL);
	foreach (cell, names)
	{
		value.val.string.val = lfirst(cell);
		value.val.string.len = (int) strlen(lfirst(cell));
		pushJsonbValue(state, WJB_ELEM, &value);
	}
	pushJsonbValue(state, WJB_END_ARRAY, NULL);
}

void
attempts_push_note(JsonbParseState **state, const Attempts *attempts, const AnswerNote *note)
{
	ListCell *cell;

	push_key(state, "llm_router");
	pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	push_string(state, "request_id", uuid_to_string(note->request_id));
	push_string(state, "provider", note->provider);
	push_string(state, "model", note->model);
	push_string(state, "power_level", note->power_level);
	push_bool(state, "used_byok", note->used_byok);
	push_money(state, "cost_usd", note->cost);
	push_integer(state, "response_time_ms", note->response_time_ms);
	push_names(state, "dropped_params", note->dropped);
	push_names(state, "adjusted_params", note->adjusted);
	push_key(state, "attempts");
	pushJsonbValue(state, WJB_BEGIN_ARRAY, NULL);
	foreach (cell, attempts->list)
		push_attempt(state, lfirst(cell));
	pushJsonbValue(state, WJB_END_ARRAY, NULL);
	pushJsonbValue(state, WJB_END_OBJECT, NULL);
}

/* ------------------------------------------------------------------------
 * Errors
 * ------------------------------------------------------------------------
 */

/*
 * The SQLSTATE for the whole call: that of the last outcome when it decided the
 * call by itself, or when all attempts ended alike; else LR002.
 */
static int
attempts_sqlstate(const Attempts *attempts)
{
	const Attempt *last = llast(attempts->list);
	int			   sqlstate = retry_sqlstate(last->outcome);
	ListCell	  *cell;

	if (sqlstate == ERRCODE_LLM_BAD_REQUEST)
		return sqlstate;
	foreach (cell, attempts->list)
	{
		const Attempt *attempt = lfirst(cell);

		if (retry_sqlstate(attempt->outcome) != sqlstate)
			return ERRCODE_LLM_ALL_FAILED;
	}
	return sqlstate;
}

/* "2. groq/llama: rate_limited (HTTP 429, 35 ms): Rate limit reached" */
static void
append_attempt(StringInfo text, int number, const Attempt *attempt)
{
	appendStringInfo(text, "%s%d. %s/%s: %s (", number > 1 ? "\n" : "", number,
					 attempt->provider, attempt->model, outcome_name(attempt->outcome));
	if (attempt->http_status != 0)
		appendStringInfo(text, "HTTP %d, ", attempt->http_status);
	appendStringInfo(text, "%lld ms)", (long long) attempt->response_time_ms);
	if (attempt->message)
		appendStringInfo(text, ": %s", attempt->message);
}

static const char *
hint_for(int sqlstate, Outcome last)
{
	if (last == OUTCOME_UNSUPPORTED)
		return "Leave out what it cannot be asked, or add models that can to llm_routing_rules.";
	switch (sqlstate)
	{
		case ERRCODE_LLM_TIMEOUT:
			return "Raise options.router.timeout_ms, llm_router.request_timeout, "
				   "llm_router.first_token_timeout or llm_router.connect_timeout.";
		case ERRCODE_LLM_BAD_REQUEST:
			return "Change the messages or options; other providers were not asked, because they "
				   "would refuse them as well.";
		case ERRCODE_LLM_ALL_FAILED:
			return "Try again later, or add fallback models to llm_routing_rules; llm_doctor() "
				   "tells what is wrong with providers.";
		default:
			return NULL;
	}
}

void
attempts_error(const Attempts *attempts, const pg_uuid_t *request_id, LlmError *error)
{
	const Attempt *last = llast(attempts->list);
	int			   count = attempts_count(attempts);
	int			   sqlstate = attempts_sqlstate(attempts);
	const char	  *hint = hint_for(sqlstate, last->outcome);
	StringInfoData detail;

	initStringInfo(&detail);
	for (int i = 0; i < count; i++)
		append_attempt(&detail, i + 1, list_nth(attempts->list, i));

	error_set(error, sqlstate, "%s/%s: %s%s%s (request %s)",
			  last->provider, last->model, outcome_name(last->outcome),
			  last->message ? ": " : "", last->message ? last->message : "",
			  uuid_to_string(request_id));
	error_detail(error, "%s", detail.data);
	if (hint)
		error_hint(error, "%s", hint);
}

Jsonb *
error_to_jsonb(const LlmError *error)
{
	JsonbParseState *state = NULL;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_key(&state, "error");
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_string(&state, "code", unpack_sql_state(error->sqlstate));
	push_string(&state, "message", error->message);
	push_string(&state, "detail", error->detail);
	push_string(&state, "hint", error->hint);
	pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

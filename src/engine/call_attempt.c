/*
 * call_attempt.c
 *		One attempt of a call: building its request, reading what comes back, and
 *		settling what it used.
 *
 * Most attempts are one request and one answer, whole or streamed.  Some formats
 * ask for more requests (ProviderReply.follow_up), which belong to the attempt:
 * they do not count as attempts, and share its deadline.
 *
 * Invariants:
 * - call->received is up to date whenever interrupts may be taken.
 * - on_abort is armed only while the provider works on the attempt.
 */
#include "engine/call_attempt.h"

#include "base/settings.h"
#include "providers/redact.h"
#include "routing/retry.h"
#include "secrets/credential.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/*
 * A stream's end mark comes a moment before the end of the HTTP answer, which
 * the connection needs to be used again.
 */
#define STREAM_END_MS 100

/* Asking again after an answer that is not ready: what was paid for is not lost by one failure. */
#define MAX_FOLLOW_UP_FAILURES 4
#define FOLLOW_UP_FAILURE_MS   500

/* ------------------------------------------------------------------------
 * Sending
 * ------------------------------------------------------------------------
 */

static HttpLimits
attempt_limits(const Call *call)
{
	int remaining = (int) Max(call->deadline_ms - monotonic_ms(), 1);

	return (HttpLimits){
		.connect_timeout_ms = Min(setting_connect_timeout, remaining),
		.first_byte_timeout_ms = Min(setting_first_token_timeout, remaining),
		.timeout_ms = remaining,
		.max_response_bytes = (size_t) setting_max_response_size * 1024,
	};
}

/* End the attempt for a reason of our own. */
static void
attempt_refused(Call *call, Outcome outcome, const char *message)
{
	provider_reply_init(&call->reply);
	call->reply.outcome = outcome;
	call->reply.message = pstrdup(message);
}

/* The key of the current candidate, to be wiped, or NULL with the error. */
static char *
current_key(Call *call, LlmError *error)
{
	const PlanEntry		  *entry = current_entry(call);
	const CatalogProvider *provider = entry->model->provider;

	if (entry->user_key)
		return credential_open(entry->user_key->token, call->user_id, provider->origin, error);
	return credential_open(provider->encrypted_key, NULL, provider->origin, error);
}

/* Add the key, where the request needs one.  False with the reply when it cannot be opened. */
static bool
attempt_authorize(Call *call, WireRequest *wire)
{
	AuthType auth_type = current_entry(call)->model->provider->endpoint.auth_type;
	LlmError error = { 0 };
	char	*key;

	if (auth_type == AUTH_NONE || wire->keyless)
		return true;
	key = current_key(call, &error);
	if (key == NULL)
	{
		attempt_refused(call, OUTCOME_UNUSABLE_KEY, error.message);
		call->key_error = error;
		return false;
	}
	wire_request_authorize(wire, auth_type, key);
	credential_wipe(key);
	return true;
}

static void
append_names(StringInfo text, const List *names)
{
	ListCell *cell;

	foreach (cell, names)
		appendStringInfo(text, "%s%s", text->len > 0 ? ", " : "", (char *) lfirst(cell));
}

/* options.router.strict: rather not at all than otherwise. */
static bool
attempt_is_exact(Call *call, const WireRequest *wire)
{
	StringInfoData names;

	if (!call->request->router.strict || (wire->dropped == NIL && wire->adjusted == NIL))
		return true;
	initStringInfo(&names);
	append_names(&names, wire->dropped);
	append_names(&names, wire->adjusted);
	attempt_refused(call, OUTCOME_UNSUPPORTED,
					psprintf("it cannot honour %s, and options.router.strict is set", names.data));
	return false;
}

/*
 * Write the request of the current candidate, with its key.  False when that
 * cannot be done; call->reply says why.
 */
static bool
attempt_build(Call *call, WireRequest *wire)
{
	const CatalogModel	  *model = current_entry(call)->model;
	const CatalogProvider *provider = model->provider;
	const ProviderModel	   asked = { model->name, model->max_output_tokens };
	LlmError			   error = { 0 };

	call->exchange = exchange_create(provider->format, &provider->endpoint, &asked,
									 limits_request(call), GetCurrentTimestamp());
	if (!provider->format->build_chat(call->exchange, wire, &error))
	{
		attempt_refused(call, OUTCOME_UNSUPPORTED, error.message);
		return false;
	}
	call->dropped = wire->dropped;
	call->adjusted = wire->adjusted;
	return attempt_is_exact(call, wire) && attempt_authorize(call, wire);
}

static void
attempt_note_in_ledger(Call *call)
{
	const PlanEntry	   *entry = current_entry(call);
	const CatalogModel *model = entry->model;
	LedgerAttempt		attempt = {
			  .attempt = attempts_count(&call->attempts),
			  .provider_id = model->provider->id,
			  .model_id = model->id,
			  .provider = model->provider->name,
			  .model = model->name,
			  .used_byok = entry->used_byok,
			  .user_key_id = entry->user_key ? entry->user_key->id : 0,
			  .prices = prices_for_prompt(&model->prices, call->request->input_tokens),
			  .estimated_cost = entry->estimated_cost,
			  .estimated_tokens = entry->estimated_tokens,
			  .started_at = GetCurrentTimestamp(),
	};

	ledger_attempt(&call->ticket, &attempt);
}

/* Forget the attempt before, whose transfer and reply live in attempt_context. */
static void
attempt_clear(Call *call)
{
	MemoryContextReset(call->attempt_context);
	call->transfer = NULL;
	call->on_abort = NULL;
	call->exchange = NULL;
	call->follow_up = NULL;
	call->follow_up_failures = 0;
	call->http_status = 0;
	call->sent_before = false;
	call->intent_queued = false;
	call->dropped = call->adjusted = NIL;
	call->streaming = call->stream_over = false;
	memset(&call->received, 0, sizeof(call->received));
	call->received_estimated = false;
}

static void
attempt_send(Call *call, WireRequest *wire)
{
	HttpLimits limits = attempt_limits(call);

	call->attempt_open = true;
	call->may_stream = wire->streams;
	call->transfer = http_start(wire, &limits);
	wire_request_wipe(wire);
}

void
attempt_begin(Call *call)
{
	const PlanEntry *entry = current_entry(call);

	attempt_clear(call);
	call->attempt_started_ms = monotonic_ms();
	call->tries_of_entry++;
	attempts_begin(&call->attempts, call->context, entry->model->provider->name,
				   entry->model->name, entry->used_byok);
	attempt_note_in_ledger(call);
	limits_attempt_begins(call);
}

bool
attempt_start(Call *call)
{
	WireRequest	  wire = { 0 };
	MemoryContext previous = MemoryContextSwitchTo(call->attempt_context);
	bool		  built;

	built = attempt_build(call, &wire);
	if (built)
		attempt_send(call, &wire);
	MemoryContextSwitchTo(previous);
	return built;
}

/* ------------------------------------------------------------------------
 * Following up
 * ------------------------------------------------------------------------
 */

/* Let go of a transfer that has served. */
static void
drop_transfer(Call *call)
{
	if (call->transfer == NULL)
		return;
	call->sent_before |= http_was_sent(call->transfer);
	http_free(call->transfer);
	call->transfer = NULL;
}

static void
disarm(Call *call)
{
	if (call->on_abort)
		http_disarm(call->on_abort);
	call->on_abort = NULL;
}

/* Whether the provider has said its last word, good or bad. */
static bool
has_answered(const Call *call)
{
	return call->transfer &&
		   (call->stream_over || (http_done(call->transfer) && http_failure(call->transfer) == HTTP_OK));
}

/* A copy of a request, so that the original can be sent again after the wiping. */
static bool
authorized_copy(Call *call, const WireRequest *request, WireRequest *copy)
{
	*copy = *request;
	copy->headers = list_copy(request->headers);
	return attempt_authorize(call, copy);
}

static void
follow_up_after(Call *call, WireRequest *request, int64 wait_ms)
{
	drop_transfer(call);
	call->streaming = call->stream_over = false;
	call->follow_up = request;
	call->follow_up_ms = monotonic_ms() + wait_ms;
}

/* The answer is not ready: note what to send next, and what if nobody wants it any more. */
static void
attempt_follow_up(Call *call)
{
	WireRequest *on_abort = call->reply.on_abort;
	WireRequest	 wire;

	follow_up_after(call, call->reply.follow_up, call->reply.follow_up_wait_ms);
	call->follow_up_failures = 0;
	if (on_abort == NULL)
		disarm(call);
	else if (call->on_abort == NULL && authorized_copy(call, on_abort, &wire))
	{
		call->on_abort = http_arm(&wire);
		wire_request_wipe(&wire);
	}
}

/* Whether the provider answered as asked, although the answer may tell of a failure. */
static bool
has_told(const Call *call)
{
	return has_answered(call) && http_response(call->transfer)->status < 300;
}

/* Whether what failed was only asking for the answer, and may be done again. */
static bool
retry_follow_up(Call *call)
{
	Outcome outcome = call->reply.outcome;

	if (call->follow_up == NULL || has_told(call) || (call->follow_up->streams && call->received.known) ||
		(outcome != OUTCOME_RETRYABLE && outcome != OUTCOME_RATE_LIMITED) ||
		++call->follow_up_failures > MAX_FOLLOW_UP_FAILURES)
		return false;
	follow_up_after(call, call->follow_up,
					Max(call->reply.retry_after_ms, FOLLOW_UP_FAILURE_MS << call->follow_up_failures));
	return true;
}

/* Send it when its time has come.  True when the attempt is over instead. */
static bool
send_follow_up(Call *call)
{
	WireRequest wire;

	if (past_deadline(call))
	{
		attempt_refused(call, OUTCOME_TIMEOUT, "the answer was not ready before the deadline of the call");
		return true;
	}
	if (monotonic_ms() < call->follow_up_ms)
		return false;
	if (!authorized_copy(call, call->follow_up, &wire))
		return true;
	attempt_send(call, &wire);
	return false;
}

/* ------------------------------------------------------------------------
 * Reading
 * ------------------------------------------------------------------------
 */

/* What a transfer without an answer means. */
static Outcome
outcome_of_failure(HttpFailure failure)
{
	switch (failure)
	{
		case HTTP_OK:
			break;
		case HTTP_CANNOT_RESOLVE:
		case HTTP_CANNOT_CONNECT:
		case HTTP_BROKEN:
			return OUTCOME_RETRYABLE;
		case HTTP_BLOCKED_ADDRESS:
			return OUTCOME_BLOCKED_ADDRESS;
		case HTTP_TIMEOUT:
			return OUTCOME_TIMEOUT;
		case HTTP_TLS_FAILED:
		case HTTP_TOO_LARGE:
			return OUTCOME_PROTOCOL_ERROR;
	}
	pg_unreachable();
}

/* The provider's words may repeat the key that it was sent. */
static void
hide_key(Call *call)
{
	char   **words[] = { &call->reply.message, &call->reply.code };
	LlmError error = { 0 };
	char	*key;

	if ((call->reply.message == NULL && call->reply.code == NULL) ||
		current_entry(call)->model->provider->endpoint.auth_type == AUTH_NONE)
		return;
	key = current_key(call, &error);
	for (int i = 0; i < (int) lengthof(words); i++)
	{
		if (key == NULL)
			*words[i] = NULL;
		else if (*words[i])
			redact_secret(*words[i], key);
	}
	credential_wipe(key);
}

/* What a cut would leave to pay for. */
static void
note_received(Call *call)
{
	const Exchange *exchange = call->exchange;
	TokenUsage		received = exchange->usage;

	if (!call->may_stream || !answer_has_substance(exchange->answer))
		return;
	call->received_estimated = !received.known;
	if (!received.known)
	{
		if (received.input <= 0)
			received.input = call->request->input_tokens;
		received.output = Max(received.output, answer_tokens(exchange->answer));
		received.known = true;
	}
	call->received = received;
}

/* A transfer that failed. */
static void
read_failure(Call *call)
{
	HttpFailure failure = http_failure(call->transfer);

	attempt_refused(call, outcome_of_failure(failure), http_message(call->transfer));

	/* Neither a certificate nor a size will be another one in half a second. */
	call->reply.do_not_retry = failure == HTTP_TLS_FAILED || failure == HTTP_TOO_LARGE ||
							   (call->exchange->format->works_on && http_was_sent(call->transfer));
}

/* A whole document. */
static void
read_document(Call *call)
{
	const WireResponse *response = http_response(call->transfer);

	provider_reply_init(&call->reply);
	provider_reply_read_id(&call->reply, response);
	call->exchange->format->parse_chat(call->exchange, response, &call->reply);
	note_received(call);
}

/* What has come of an event stream; true when its end was read. */
static bool
read_events(Call *call)
{
	const WireResponse *response = http_response(call->transfer);
	bool				at_end = http_done(call->transfer) && http_failure(call->transfer) == HTTP_OK;
	const char		   *bytes = NULL;
	size_t				length = http_take(call->transfer, &bytes);
	bool				over;

	if (length == 0 && !at_end)
		return false;
	if (length > 0)
		call->progress_ms = monotonic_ms();
	provider_reply_init(&call->reply);
	over = exchange_read_stream(call->exchange, response, bytes, length, at_end,
								(size_t) setting_max_response_size * 1024, &call->reply);
	if (over)
		provider_reply_read_id(&call->reply, response);
	note_received(call);
	return over;
}

/* When a stream has been silent for too long, and the limit that says so. */
static int64
silence_limit(const Call *call, int *limit_ms)
{
	if (call->stream_over)
		*limit_ms = STREAM_END_MS;
	else if (call->received.known)
		*limit_ms = setting_stream_idle_timeout;
	else
	{
		*limit_ms = setting_first_token_timeout;
		return call->attempt_started_ms + *limit_ms;
	}
	return call->progress_ms + *limit_ms;
}

static void
end_silent_stream(Call *call, int limit_ms)
{
	const char *what = call->received.known ? "the stream fell silent for %d ms"
											: "the stream did not begin within %d ms";

	drop_transfer(call);
	attempt_refused(call, OUTCOME_TIMEOUT, psprintf(what, limit_ms));
}

/* Cut off, but only after all had come that makes an answer. */
static bool
is_whole_without_end(Call *call)
{
	const WireResponse *response = http_response(call->transfer);

	if (http_failure(call->transfer) != HTTP_BROKEN)
		return false;
	provider_reply_init(&call->reply);
	exchange_read_stream(call->exchange, response, NULL, 0, true,
						 (size_t) setting_max_response_size * 1024, &call->reply);
	if (call->reply.outcome != OUTCOME_OK || call->reply.follow_up)
		return false;
	provider_reply_read_id(&call->reply, response);
	call->stream_over = true;
	return true;
}

/* A transfer whose body is an event stream; true when it is over. */
static bool
advance_stream(Call *call)
{
	int limit_ms;

	if (!call->stream_over && read_events(call))
	{
		call->stream_over = true;
		call->progress_ms = monotonic_ms();
	}
	if (http_done(call->transfer))
	{
		if (!call->stream_over && !is_whole_without_end(call))
			read_failure(call);
		return true;
	}
	if (monotonic_ms() < silence_limit(call, &limit_ms))
		return false;
	if (!call->stream_over)
		end_silent_stream(call, limit_ms);
	return true;
}

/* What shows with the head of an answer: its status, and whether it is a stream. */
static void
look_at_head(Call *call)
{
	if (call->streaming || !http_answering(call->transfer))
		return;
	call->http_status = http_response(call->transfer)->status;
	if (!call->may_stream)
		return;
	if (exchange_is_stream(http_response(call->transfer)))
	{
		call->streaming = true;
		call->progress_ms = monotonic_ms();
	}
	else
		http_collect(call->transfer);
}

/* Read the transfer; true when it is over, and call->reply made of it. */
static bool
advance_transfer(Call *call)
{
	look_at_head(call);
	if (call->streaming)
		return advance_stream(call);
	if (!http_done(call->transfer))
		return false;
	if (http_failure(call->transfer) == HTTP_OK)
		read_document(call);
	else
		read_failure(call);
	return true;
}

bool
attempt_advance(Call *call)
{
	MemoryContext previous = MemoryContextSwitchTo(call->attempt_context);
	bool		  over = call->transfer ? advance_transfer(call) : send_follow_up(call);

	if (over && call->reply.follow_up)
	{
		attempt_follow_up(call);
		over = false;
	}
	else if (over && retry_follow_up(call))
		over = false;
	else if (over)
	{
		/* A last word leaves nothing to stop; giving up on fetching it does. */
		if (has_answered(call) && call->follow_up_failures <= MAX_FOLLOW_UP_FAILURES)
			disarm(call);
		hide_key(call);
	}
	MemoryContextSwitchTo(previous);
	return over;
}

int64
attempt_sleep_ms(const Call *call)
{
	int limit_ms;

	if (call->transfer == NULL)
		return Min(call->follow_up_ms, call->deadline_ms) - monotonic_ms();
	return call->streaming ? silence_limit(call, &limit_ms) - monotonic_ms() : 1000;
}

void
attempt_put_off(Call *call, int64 ms)
{
	call->attempt_started_ms += ms;
	call->progress_ms += ms;
	call->follow_up_ms += ms;
}

/* ------------------------------------------------------------------------
 * Settling
 * ------------------------------------------------------------------------
 */

bool
attempt_may_have_cost(const Call *call)
{
	if (call->reply.answer.usage.known || call->received.known || call->sent_before)
		return true;
	if (call->transfer == NULL)
		return false;
	if (has_answered(call))
		return call->reply.outcome == OUTCOME_PROTOCOL_ERROR && has_told(call);
	return http_was_sent(call->transfer);
}

/* Tokens and their cost; nothing when they are not known. */
static void
set_usage(const Call *call, LedgerOutcome *outcome, const TokenUsage *usage, bool estimated)
{
	if (!usage->known)
		return;
	outcome->usage = *usage;
	outcome->estimated = estimated;
	outcome->prices = prices_for_prompt(&current_entry(call)->model->prices, usage->input);
	outcome->cost = cost_of_usage(&outcome->prices, usage);
}

/* What every record says, with the cost where nothing more is known. */
static LedgerOutcome
start_outcome(const Call *call, LedgerStatus status, bool is_final, Money cost)
{
	return (LedgerOutcome){
		.status = status,
		.is_final = is_final,
		.http_status = call->http_status,
		.response_time_ms = elapsed_ms(is_final ? call->started_ms : call->attempt_started_ms),
		.cost = cost,
		.prices = prices_for_prompt(&current_entry(call)->model->prices, call->request->input_tokens),
	};
}

static void
end_record(Call *call, const LedgerOutcome *outcome)
{
	ledger_settle(&call->ticket, outcome);
	limits_settle(call, outcome);
	call->cost = outcome->cost;
	call->reserved = false;
	call->attempt_open = false;
}

void
attempt_settle(Call *call, LedgerStatus status, bool is_final)
{
	ChatAnswer *answer = &call->reply.answer;
	bool		is_free = !call->attempt_open ||
				   (status == LEDGER_ERROR && !call->may_have_cost);
	LedgerOutcome outcome = start_outcome(call, status, is_final, is_free ? 0 : MONEY_UNKNOWN);

	outcome.outcome = call->reply.outcome;
	if (answer->usage.known)
		set_usage(call, &outcome, &answer->usage, false);
	else
	{
		set_usage(call, &outcome, &call->received, call->received_estimated);
		answer->usage = outcome.usage;
	}
	if (answer->reported_cost != MONEY_UNKNOWN)
	{
		outcome.cost = answer->reported_cost;
		outcome.cost_reported = true;
	}
	if (answer->finish_reason)
		strlcpy(outcome.finish_reason, answer->finish_reason, sizeof(outcome.finish_reason));
	if (call->reply.provider_request_id)
		strlcpy(outcome.provider_request_id, call->reply.provider_request_id,
				sizeof(outcome.provider_request_id));
	end_record(call, &outcome);
}

void
attempt_abandon(Call *call)
{
	LedgerOutcome outcome = start_outcome(call, call->handed_out ? LEDGER_PARTIAL : LEDGER_CANCELLED,
										  true, call->attempt_open ? MONEY_UNKNOWN : 0);

	outcome.outcome = OUTCOME_CANCELLED;
	if (call->attempt_open)
		set_usage(call, &outcome, &call->received, call->received_estimated);
	end_record(call, &outcome);
}

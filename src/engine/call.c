/*
 * call.c
 *		One chat as a state machine, and the loop that runs any number of them.
 *
 * A call goes through these states; each step returns at once, and the only
 * place that sleeps is http_wait in call_run:
 *
 *		ADMISSION	waits for one of llm_router.max_concurrency places
 *		RESERVE		waits for the ledger's writer and for room for the record
 *		TRANSFER	an attempt is under way
 *		BACKOFF		waits before the next attempt at the same candidate
 *		COMMIT		the record is settled; waits until it is committed
 *		DONE
 *
 * Invariants:
 * - Nothing is sent before room for its record is reserved, and every attempt
 *	 that may have cost money is settled: on success, on failure, on cancel, in
 *	 an aborting transaction and in an exiting process.
 * - A call is ended by whichever comes first of call_free, the reset of its
 *	 memory context, and the abort of the resource owner that it began under.
 *	 The last is needed because a failed transaction block keeps its memory
 *	 until the client says ROLLBACK.  Ending twice is harmless, and ending never
 *	 throws.
 * - Elapsed time is measured by a clock that cannot jump.
 */
#include "engine/call.h"

#include "base/compat.h"
#include "base/settings.h"
#include "engine/attempts.h"
#include "lib/ilist.h"
#include "miscadmin.h"
#include "net/http.h"
#include "providers/redact.h"
#include "routing/retry.h"
#include "secrets/credential.h"
#include "state/admission.h"
#include "state/caller.h"
#include "state/catalog.h"
#include "state/ledger.h"
#include "common/pg_prng.h"
#include "portability/instr_time.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

typedef enum CallState
{
	CALL_ADMISSION,
	CALL_RESERVE,
	CALL_TRANSFER,
	CALL_BACKOFF,
	CALL_COMMIT,
	CALL_DONE
} CallState;

struct Call
{
	dlist_node			  node;			   /* in live_calls, until it is ended */
	MemoryContext		  context;		   /* holds everything of the call, itself too */
	MemoryContext		  attempt_context; /* of the attempt under way */
	MemoryContextCallback on_reset;
	ResourceOwner		  owner;
	bool				  ended;

	CallState		   state;
	const ChatRequest *request;
	pg_uuid_t		   id;
	char			  *user_id;
	char			  *role_name;
	char			  *tags;	/* JSON text, or NULL */
	const Catalog	  *catalog; /* pinned until the call is ended */
	RoutePlan		   plan;

	int64		started_ms; /* of now_ms() */
	int64		deadline_ms;
	int64		wait_until_ms; /* end of ADMISSION, BACKOFF or COMMIT */
	TimestampTz reserve_since;
	int			max_attempts;
	bool		admitted;
	bool		waits_for_place;

	int			  entry; /* of the plan, tried now */
	int			  tries_of_entry;
	int64		  attempt_started_ms;
	HttpTransfer *transfer;
	LedgerTicket  ticket;
	bool		  reserved;		/* the ticket is open */
	bool		  attempt_open; /* sent, and its end not known */
	Attempts	  attempts;

	Exchange	 *exchange;		 /* in attempt_context */
	ProviderReply reply;		 /* of the last attempt; in attempt_context */
	LlmError	  key_error;	 /* of OUTCOME_UNUSABLE_KEY; in attempt_context */
	bool		  may_have_cost; /* the last attempt, though it failed */
	Money		  cost;			 /* as settled last */
	Jsonb		 *response;
	LlmError	  error;
};

static dlist_head live_calls = DLIST_STATIC_INIT(live_calls);
static bool		  owner_callback_registered;

static CallSummary last_call;
static bool		   has_last_call;

static void call_settle(Call *call, LedgerStatus status, bool is_final);

/* Milliseconds of a clock that only goes forward. */
static int64
now_ms(void)
{
	instr_time now;

	INSTR_TIME_SET_CURRENT(now);
	return (int64) INSTR_TIME_GET_MICROSEC(now) / 1000;
}

/* Random bytes, fetched many at once: a fetch costs system calls. */
static void
random_bytes(uint8 *bytes, int length)
{
	static uint8 pool[64 * UUID_LEN];
	static int	 left; /* of the pool, at its end */

	if (left < length)
	{
		if (!pg_strong_random(pool, sizeof(pool)))
			ereport(ERROR,
					(errcode(ERRCODE_INTERNAL_ERROR),
					 errmsg("could not generate random values")));
		left = sizeof(pool);
	}
	memcpy(bytes, pool + sizeof(pool) - left, length);
	left -= length;
}

/*
 * A version 7 UUID (RFC 9562): the time in front keeps the ledger's index
 * inserts at its right edge.
 */
static void
make_request_id(pg_uuid_t *id)
{
	/* Unix epoch; PostgreSQL's begins 30 years later. */
	uint64 ms = (uint64) (GetCurrentTimestamp() / 1000) +
				(uint64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY * 1000;

	random_bytes(id->data, UUID_LEN);
	for (int i = 0; i < 6; i++)
		id->data[i] = (unsigned char) (ms >> (40 - 8 * i));
	id->data[6] = (id->data[6] & 0x0f) | 0x70;
	id->data[8] = (id->data[8] & 0x3f) | 0x80;
}

/*
 * End a call: stop its transfer, settle an attempt under way, give back what it
 * holds.  Runs in aborting transactions, so it neither throws nor allocates.
 */
static void
call_end(Call *call)
{
	if (call->ended)
		return;
	call->ended = true;
	dlist_delete(&call->node);

	if (call->transfer)
	{
		http_free(call->transfer);
		call->transfer = NULL;
	}
	if (call->reserved)
		call_settle(call, LEDGER_CANCELLED, true);
	if (call->admitted)
		admission_leave();
	else if (call->waits_for_place)
		admission_withdraw();
	if (call->catalog)
		catalog_unpin(call->catalog);
}

/* Child contexts go first: the transfer has been stopped by its own callback. */
static void
call_context_reset(void *arg)
{
	Call *call = arg;

	call->transfer = NULL;
	call_end(call);
}

static void
call_owner_released(ResourceReleasePhase phase, bool is_commit,
					bool is_top_level, void *arg)
{
	dlist_mutable_iter iter;

	if (is_commit || phase != RESOURCE_RELEASE_BEFORE_LOCKS)
		return;
	dlist_foreach_modify (iter, &live_calls)
	{
		Call *call = dlist_container(Call, node, iter.cur);

		if (call->owner == CurrentResourceOwner)
			call_end(call);
	}
}

static const PlanEntry *
current_entry(const Call *call)
{
	return &call->plan.entries[call->entry];
}

static Call *
call_allocate(const ChatRequest *request)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "llm_router call",
												  ALLOCSET_DEFAULT_SIZES);
	Call		 *call = MemoryContextAllocZero(context, sizeof(Call));

	call->context = context;
	call->attempt_context = AllocSetContextCreate(context, "llm_router attempt",
												  ALLOCSET_DEFAULT_SIZES);
	call->request = request;
	call->owner = CurrentResourceOwner;
	call->ticket = LEDGER_NO_TICKET;

	if (!owner_callback_registered)
	{
		RegisterResourceReleaseCallback(call_owner_released, NULL);
		owner_callback_registered = true;
	}
	dlist_push_tail(&live_calls, &call->node);
	call->on_reset.func = call_context_reset;
	call->on_reset.arg = call;
	MemoryContextRegisterResetCallback(context, &call->on_reset);
	return call;
}

Call *
call_create(const ChatRequest *request, const char *power_level, const char *model)
{
	Call				*call = call_allocate(request);
	MemoryContext		 caller_context = MemoryContextSwitchTo(call->context);
	const RouterOptions *options = &request->router;
	RouteCaller			 caller;
	int					 timeout_ms;

	make_request_id(&call->id);
	call->started_ms = now_ms();
	timeout_ms = options->timeout_ms > 0 ? options->timeout_ms : setting_request_timeout;
	call->deadline_ms = call->started_ms + timeout_ms;
	call->wait_until_ms = call->started_ms + Min(timeout_ms, setting_concurrency_timeout);
	call->max_attempts = options->max_attempts > 0 ? options->max_attempts
												   : setting_max_attempts;

	call->catalog = catalog_get();
	catalog_pin(call->catalog);

	if (caller_fill(&caller, options, &call->error) &&
		route_plan(call->catalog, request, power_level, model, &caller,
				   &call->plan, &call->error) &&
		(call->plan.neligible > 0 || route_nothing_eligible(&call->plan, &call->error)))
	{
		call->user_id = pstrdup(caller.user_id);
		call->role_name = GetUserNameFromId(GetUserId(), false);
		if (options->tags)
			call->tags = JsonbToCString(NULL, &options->tags->root, 0);
		call->state = CALL_ADMISSION;
	}
	else
		call->state = CALL_DONE;

	MemoryContextSwitchTo(caller_context);
	return call;
}

/* ------------------------------------------------------------------------
 * Attempts
 * ------------------------------------------------------------------------
 */

static int64
elapsed_ms(int64 since)
{
	return Max(now_ms() - since, 0);
}

static bool
past_deadline(const Call *call)
{
	return now_ms() >= call->deadline_ms;
}

static HttpLimits
attempt_limits(const Call *call)
{
	int remaining = (int) Max(call->deadline_ms - now_ms(), 1);

	return (HttpLimits){
		.connect_timeout_ms = Min(setting_connect_timeout, remaining),
		.first_byte_timeout_ms = Min(setting_first_token_timeout, remaining),
		.timeout_ms = remaining,
		.max_response_bytes = (size_t) setting_max_response_size * 1024,
	};
}

/* The attempt could not even be sent: note why. */
static void
attempt_refused(Call *call, Outcome outcome, const char *message)
{
	provider_reply_init(&call->reply);
	call->reply.outcome = outcome;
	call->reply.message = pstrdup(message);
}

/* The key of the current candidate, or NULL with the error. */
static const char *
current_key(Call *call, LlmError *error)
{
	const CatalogProvider *provider = current_entry(call)->model->provider;

	return credential_open(provider->encrypted_key, NULL, provider->origin, error);
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
	const char			  *key;
	LlmError			   error = { 0 };

	call->exchange = exchange_create(provider->format, &provider->endpoint, &asked, call->request,
									 GetCurrentTimestamp());
	if (!provider->format->build_chat(call->exchange, wire, &error))
	{
		attempt_refused(call, OUTCOME_UNSUPPORTED, error.message);
		return false;
	}
	if (provider->endpoint.auth_type == AUTH_NONE)
		return true;

	key = current_key(call, &error);
	if (key == NULL)
	{
		attempt_refused(call, OUTCOME_UNUSABLE_KEY, error.message);
		call->key_error = error;
		return false;
	}
	wire_request_authorize(wire, provider->endpoint.auth_type, key);
	return true;
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
			  .prices = prices_for_prompt(&model->prices, call->request->input_tokens),
			  .estimated_cost = entry->estimated_cost,
			  .started_at = GetCurrentTimestamp(),
	};

	ledger_attempt(&call->ticket, &attempt);
}

static void attempt_finish(Call *call);

static void
attempt_start(Call *call)
{
	const PlanEntry *entry = current_entry(call);
	WireRequest		 wire = { 0 };
	HttpLimits		 limits = attempt_limits(call);
	MemoryContext	 previous;

	/* The transfer and the reply of the attempt before live in here. */
	MemoryContextReset(call->attempt_context);
	call->transfer = NULL;
	previous = MemoryContextSwitchTo(call->attempt_context);

	call->attempt_started_ms = now_ms();
	call->tries_of_entry++;
	attempts_begin(&call->attempts, call->context, entry->model->provider->name,
				   entry->model->name, entry->used_byok);
	attempt_note_in_ledger(call);
	if (!attempt_build(call, &wire))
	{
		attempt_finish(call);
		MemoryContextSwitchTo(previous);
		return;
	}

	call->attempt_open = true;
	call->transfer = http_start(&wire, &limits);
	wire_request_wipe(&wire);
	call->state = CALL_TRANSFER;
	MemoryContextSwitchTo(previous);
}

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
	char	  **words[] = { &call->reply.message, &call->reply.code };
	LlmError	error = { 0 };
	const char *key;

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
}

/* Make call->reply of the transfer that has ended. */
static void
attempt_read_reply(Call *call)
{
	HttpFailure failure = http_failure(call->transfer);

	if (failure == HTTP_OK)
	{
		provider_reply_init(&call->reply);
		provider_reply_read_id(&call->reply, http_response(call->transfer));
		call->exchange->format->parse_chat(call->exchange, http_response(call->transfer),
										   &call->reply);
		hide_key(call);
		return;
	}

	attempt_refused(call, outcome_of_failure(failure), http_message(call->transfer));

	/* Neither a certificate nor a size will be another one in half a second. */
	call->reply.do_not_retry = failure == HTTP_TLS_FAILED || failure == HTTP_TOO_LARGE;
}

/*
 * Whether an attempt without a good answer may still have been charged: when
 * the provider says what it used, or when it may have answered and we do not
 * have the answer.
 */
static bool
attempt_may_have_cost(const Call *call)
{
	if (call->reply.answer.usage.known)
		return true;
	if (http_failure(call->transfer) == HTTP_OK)
		return call->reply.outcome == OUTCOME_PROTOCOL_ERROR &&
			   http_response(call->transfer)->status < 300;
	return http_was_sent(call->transfer);
}

static int
reply_status(const Call *call)
{
	if (call->transfer && http_done(call->transfer) &&
		http_failure(call->transfer) == HTTP_OK)
		return http_response(call->transfer)->status;
	return 0;
}

/*
 * End the ledger's reservation with what is known of the current attempt.
 * Runs in aborting transactions: neither throws nor allocates.
 */
static void
call_settle(Call *call, LedgerStatus status, bool is_final)
{
	LedgerOutcome	  outcome = { .status = status, .is_final = is_final };
	const ChatAnswer *answer = &call->reply.answer;

	outcome.outcome = status == LEDGER_CANCELLED ? OUTCOME_CANCELLED : call->reply.outcome;
	outcome.response_time_ms = elapsed_ms(is_final ? call->started_ms
												   : call->attempt_started_ms);
	outcome.cost = call->attempt_open ? MONEY_UNKNOWN : 0; /* 0: between attempts */
	outcome.prices = prices_for_prompt(&current_entry(call)->model->prices,
									   call->request->input_tokens);
	if (status != LEDGER_CANCELLED)
	{
		outcome.http_status = reply_status(call);
		outcome.usage = answer->usage;
		if (answer->usage.known)
			outcome.prices = prices_for_prompt(&current_entry(call)->model->prices,
											   answer->usage.input);
		outcome.cost_reported = answer->reported_cost != MONEY_UNKNOWN;
		if (outcome.cost_reported)
			outcome.cost = answer->reported_cost;
		else if (answer->usage.known)
			outcome.cost = cost_of_usage(&outcome.prices, &answer->usage);
		else if (status == LEDGER_ERROR && !call->may_have_cost)
			outcome.cost = 0;
		if (answer->finish_reason)
			strlcpy(outcome.finish_reason, answer->finish_reason,
					sizeof(outcome.finish_reason));
		if (call->reply.provider_request_id)
			strlcpy(outcome.provider_request_id, call->reply.provider_request_id,
					sizeof(outcome.provider_request_id));
	}
	ledger_settle(&call->ticket, &outcome);
	call->cost = outcome.cost;
	call->reserved = false;
	call->attempt_open = false;
}

/* ------------------------------------------------------------------------
 * The end of an attempt, and of the call
 * ------------------------------------------------------------------------
 */

/* The record is settled: wait for its commit, unless nobody wants that. */
static void
call_await_commit(Call *call)
{
	if (!setting_ledger_wait)
	{
		call->state = CALL_DONE;
		return;
	}
	call->wait_until_ms = now_ms() + setting_ledger_wait_timeout;
	call->state = CALL_COMMIT;
}

static void
remember_last_call(const Call *call, int64 response_time_ms)
{
	static char			provider[LEDGER_NAME_SIZE];
	static char			model[LEDGER_NAME_SIZE];
	const CatalogModel *used = current_entry(call)->model;

	strlcpy(provider, used->provider->name, sizeof(provider));
	strlcpy(model, used->name, sizeof(model));
	last_call = (CallSummary){
		.request_id = call->id,
		.provider = provider,
		.model = model,
		.power_level = power_level_name(call->plan.power_level),
		.usage = call->reply.answer.usage,
		.cost = call->cost,
		.response_time_ms = response_time_ms,
		.attempts = attempts_count(&call->attempts),
	};
	has_last_call = true;
}

/*
 * A good answer.  It is settled before it is made up for the caller: making it
 * up takes memory, and must not cost the record.
 */
static void
call_succeed(Call *call)
{
	const PlanEntry *entry = current_entry(call);
	JsonbParseState *completion = call->reply.answer.completion;
	int64			 response_time_ms = elapsed_ms(call->started_ms);
	AnswerNote		 note;

	call_settle(call, LEDGER_OK, true);

	note = (AnswerNote){
		.request_id = &call->id,
		.provider = entry->model->provider->name,
		.model = entry->model->name,
		.power_level = power_level_name(call->plan.power_level),
		.used_byok = entry->used_byok,
		.cost = call->cost,
		.response_time_ms = response_time_ms,
	};
	attempts_push_note(&completion, &call->attempts, &note);
	call->response = JsonbValueToJsonb(pushJsonbValue(&completion, WJB_END_OBJECT, NULL));
	remember_last_call(call, response_time_ms);
	call_await_commit(call);
}

/* Every attempt is used up, or the last one was decisive. */
static void
call_give_up(Call *call)
{
	LlmError *error = &call->error;

	call_settle(call, LEDGER_ERROR, true);

	attempts_error(&call->attempts, &call->id, error);
	if (call->reply.outcome == OUTCOME_UNUSABLE_KEY)
	{
		error->sqlstate = call->key_error.sqlstate;
		if (call->key_error.hint)
			error_hint(error, "%s", call->key_error.hint);
	}
	else if (error->sqlstate == ERRCODE_LLM_KEY)
		error_hint(error, "Store a valid key: SELECT llm_provider_set_key('%s', '…');",
				   current_entry(call)->model->provider->name);
	call_await_commit(call);
}

/* An attempt has ended, or could not be sent: what now? */
static void
attempt_finish(Call *call)
{
	MemoryContext previous = MemoryContextSwitchTo(call->context);
	RetryState	  state;
	RetryDecision next;

	attempts_end(&call->attempts, &call->reply, reply_status(call),
				 elapsed_ms(call->attempt_started_ms));
	call->may_have_cost = call->reply.outcome != OUTCOME_OK &&
						  call->transfer != NULL && attempt_may_have_cost(call);

	if (call->reply.outcome == OUTCOME_OK)
	{
		call_succeed(call);
		MemoryContextSwitchTo(previous);
		return;
	}

	state = (RetryState){
		.attempts = attempts_count(&call->attempts),
		.max_attempts = call->max_attempts,
		.entry = call->entry,
		.tries_of_entry = call->tries_of_entry,
		.remaining_ms = call->deadline_ms - now_ms(),
		.random = pg_prng_double(&pg_global_prng_state),
	};
	next = retry_decide(&call->plan, &state, call->reply.outcome,
						call->reply.retry_after_ms, call->reply.do_not_retry);
	if (next.step == STEP_GIVE_UP)
		call_give_up(call);
	else
	{
		/* An attempt that may have cost money has a row of its own. */
		if (call->may_have_cost)
			call_settle(call, LEDGER_ERROR, false);
		if (next.step == STEP_NEXT_CANDIDATE)
		{
			call->entry = next.next_entry;
			call->tries_of_entry = 0;
		}
		call->wait_until_ms = now_ms() + next.wait_ms;
		call->state = CALL_BACKOFF;
	}
	call->attempt_open = false;
	MemoryContextSwitchTo(previous);
}

/* ------------------------------------------------------------------------
 * Steps
 * ------------------------------------------------------------------------
 */

static void
step_admission(Call *call)
{
	call->admitted = admission_enter();
	call->waits_for_place = !call->admitted;
	if (call->admitted)
	{
		call->reserve_since = GetCurrentTimestamp();
		call->state = CALL_RESERVE;
	}
	else if (now_ms() >= call->wait_until_ms)
	{
		error_set(&call->error, ERRCODE_LLM_RATE_LIMIT,
				  "%d calls are running, which is llm_router.max_concurrency",
				  admission_limit());
		error_hint(&call->error, "Try again, or raise llm_router.max_concurrency or "
								 "llm_router.concurrency_timeout.");
		call->state = CALL_DONE;
	}
}

static void
step_reserve(Call *call)
{
	LedgerProgress progress = LEDGER_READY;

	if (!call->reserved)
	{
		LedgerRequest request = {
			.request_id = call->id,
			.user_id = call->user_id,
			.role_name = call->role_name,
			.power_level = power_level_name(call->plan.power_level),
			.tags = call->tags,
		};

		progress = ledger_reserve(&request, call->reserve_since, &call->ticket,
								  &call->error);
	}
	if (progress == LEDGER_READY)
	{
		call->reserved = true;
		attempt_start(call);
	}
	else if (progress == LEDGER_REFUSED)
		call->state = CALL_DONE;
	else if (past_deadline(call))
	{
		error_set(&call->error, ERRCODE_LLM_TIMEOUT,
				  "the ledger had no room for the record of this call before its deadline");
		error_hint(&call->error, "Look at llm_status: the ledger writer may be blocked, or "
								 "llm_router.ledger_size too small.");
		call->state = CALL_DONE;
	}
}

static void
step_transfer(Call *call)
{
	MemoryContext previous;

	if (!http_done(call->transfer))
		return;
	previous = MemoryContextSwitchTo(call->attempt_context);
	attempt_read_reply(call);
	attempt_finish(call);
	MemoryContextSwitchTo(previous);
}

static void
step_backoff(Call *call)
{
	if (now_ms() < call->wait_until_ms)
		return;
	call->reserve_since = GetCurrentTimestamp();
	call->state = CALL_RESERVE;
}

static void
step_commit(Call *call)
{
	if (!ledger_committed(&call->ticket))
	{
		if (now_ms() < call->wait_until_ms)
			return;
		ereport(WARNING,
				(errmsg("the ledger row of this call is not committed yet"),
				 errdetail("It stays queued, and is written as soon as the ledger writer can."),
				 errhint("Look at llm_status; a lock on llm_usage_logs holds the writer up.")));
	}
	call->state = CALL_DONE;
}

/* Go as far as possible without waiting. */
static void
call_advance(Call *call)
{
	MemoryContext previous = MemoryContextSwitchTo(call->context);
	CallState	  before;

	do
	{
		before = call->state;
		switch (call->state)
		{
			case CALL_ADMISSION:
				step_admission(call);
				break;
			case CALL_RESERVE:
				step_reserve(call);
				break;
			case CALL_TRANSFER:
				step_transfer(call);
				break;
			case CALL_BACKOFF:
				step_backoff(call);
				break;
			case CALL_COMMIT:
				step_commit(call);
				break;
			case CALL_DONE:
				break;
		}
	} while (call->state != before);
	if (call->state == CALL_DONE)
		call_end(call);
	MemoryContextSwitchTo(previous);
}

/* How long this call can sleep unless something happens. */
static int64
call_sleep_ms(const Call *call)
{
	switch (call->state)
	{
		case CALL_RESERVE:
			return 100;
		case CALL_ADMISSION:
		case CALL_BACKOFF:
		case CALL_COMMIT:
			return Min(call->wait_until_ms - now_ms(), 1000);
		case CALL_TRANSFER:
		case CALL_DONE:
			break;
	}
	return 1000;
}

void
call_run(Call **calls, int ncalls)
{
	for (;;)
	{
		int64 sleep_ms = PG_INT64_MAX;

		for (int i = 0; i < ncalls; i++)
		{
			call_advance(calls[i]);
			if (calls[i]->state != CALL_DONE)
				sleep_ms = Min(sleep_ms, call_sleep_ms(calls[i]));
		}
		if (sleep_ms == PG_INT64_MAX)
			return;
		http_wait((int) Max(sleep_ms, 0));
	}
}

Jsonb *
call_response(const Call *call)
{
	return call->response;
}

const LlmError *
call_error(const Call *call)
{
	return &call->error;
}

void
call_free(Call *call)
{
	call_end(call);
	MemoryContextDelete(call->context);
}

bool
call_last(CallSummary *summary)
{
	if (has_last_call)
		*summary = last_call;
	return has_last_call;
}

/*
 * call.c
 *		One chat as a state machine, and the loop that runs any number of them.
 *
 * A call goes through these states; each step returns at once, and the only
 * place that sleeps is http_wait in call_run:
 *
 *		LIMITS		reserves its worst case of the budgets that apply
 *		ADMISSION	waits for one of llm_router.max_concurrency places
 *		RESERVE		waits for the ledger's writer and for room for the record
 *		INTENT		waits until the attempt is in the ledger (llm_router.record_intent)
 *		TRANSFER	an attempt is under way
 *		BACKOFF		waits before an attempt
 *		COMMIT		the record is settled; waits until it is committed
 *		DONE
 *
 * A call whose answer streams hands out chunks on the way, between two steps;
 * what an attempt does is in call_attempt.c.
 *
 * Invariants:
 * - Nothing is sent before room for its record is reserved, and every attempt
 *	 that may have cost money is settled, in the ledger and then in the budgets: on
 *	 success, on failure, on cancel, in an aborting transaction and in an exiting
 *	 process.
 * - A call is ended by whichever comes first of call_free, the reset of its
 *	 memory context, and the abort of the resource owner that it began under.
 *	 The last is needed because a failed transaction block keeps its memory
 *	 until the client says ROLLBACK.  Ending twice is harmless, and ending never
 *	 throws.
 * - Elapsed time is measured by a clock that cannot jump.
 */
#include "engine/call.h"

#include "base/settings.h"
#include "common/pg_prng.h"
#include "engine/call_attempt.h"
#include "engine/call_circuits.h"
#include "miscadmin.h"
#include "net/http.h"
#include "routing/retry.h"
#include "state/admission.h"
#include "state/audit.h"
#include "state/caller.h"
#include "state/catalog.h"
#include "storage/ipc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

static dlist_head live_calls = DLIST_STATIC_INIT(live_calls);
static bool		  owner_callback_registered;
static bool		  exit_callback_registered;

static CallSummary last_call;
static bool		   has_last_call;

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
		attempt_abandon(call);
	call_circuits_abandon(call);
	limits_end(call);
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
	call->on_abort = NULL;
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

/* The process exits: before the ledger ends what is open, with what it knows. */
static void
end_live_calls(int code, Datum arg)
{
	while (!dlist_is_empty(&live_calls))
		call_end(dlist_head_element(Call, node, &live_calls));
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
	int					 timeout_ms;

	make_request_id(&call->id);
	call->started_ms = monotonic_ms();
	timeout_ms = options->timeout_ms > 0 ? options->timeout_ms : setting_request_timeout;
	call->deadline_ms = call->started_ms + timeout_ms;
	call->wait_until_ms = call->started_ms + Min(timeout_ms, setting_concurrency_timeout);
	call->max_attempts = options->max_attempts > 0 ? options->max_attempts
												   : setting_max_attempts;

	call->catalog = catalog_get();
	catalog_pin(call->catalog);
	call->names_model = model != NULL || request->model != NULL;

	if (caller_fill(&call->caller, options, &call->error) &&
		route_plan(call->catalog, request, power_level, model, &call->caller,
				   &call->plan, &call->error) &&
		(call->plan.neligible > 0 || route_nothing_eligible(&call->plan, &call->error)))
	{
		call->user_id = pstrdup(call->caller.user_id);
		call->role_name = GetUserNameFromId(GetUserId(), false);
		if (options->tags)
			call->tags = JsonbToCString(NULL, &options->tags->root, 0);
		call->reserve_since = GetCurrentTimestamp();
		call->state = CALL_LIMITS;
	}
	else
		call->state = CALL_DONE;

	MemoryContextSwitchTo(caller_context);
	return call;
}

/* ------------------------------------------------------------------------
 * The end of an attempt, and of the call
 * ------------------------------------------------------------------------
 */

/* The record is settled: wait for its commit, unless nobody wants that. */
static void
call_await_commit(Call *call)
{
	limits_warn(call);
	if (!setting_ledger_wait)
	{
		call->state = CALL_DONE;
		return;
	}
	call->wait_until_ms = monotonic_ms() + setting_ledger_wait_timeout;
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

	attempt_settle(call, LEDGER_OK, true);

	note = (AnswerNote){
		.request_id = &call->id,
		.provider = entry->model->provider->name,
		.model = entry->model->name,
		.power_level = power_level_name(call->plan.power_level),
		.used_byok = entry->used_byok,
		.cost = call->cost,
		.response_time_ms = response_time_ms,
		.dropped = call->dropped,
		.adjusted = call->adjusted,
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
	LlmError		*error = &call->error;
	const PlanEntry *entry = current_entry(call);

	attempt_settle(call, call->handed_out ? LEDGER_PARTIAL : LEDGER_ERROR, true);

	attempts_error(&call->attempts, &call->id, error);
	if (call->reply.outcome == OUTCOME_UNUSABLE_KEY)
	{
		error->sqlstate = call->key_error.sqlstate;
		if (call->key_error.hint)
			error_hint(error, "%s", call->key_error.hint);
	}
	else if (error->sqlstate == ERRCODE_LLM_KEY && entry->user_key)
		error_hint(error, "Replace your key: SELECT llm_key_update(%lld, '…');",
				   (long long) entry->user_key->id);
	else if (error->sqlstate == ERRCODE_LLM_KEY)
		error_hint(error, "Store a valid key: SELECT llm_provider_set_key('%s', '…');",
				   entry->model->provider->name);
	if (call->handed_out)
		error_hint(error, "A part of the answer was delivered before; no other attempt follows then.");
	call_await_commit(call);
}

/*
 * The provider refused the user's key: it is not used again until the provider
 * accepts it.
 */
static void
mark_refused_key(const Call *call)
{
	const PlanEntry *entry = current_entry(call);
	const UserKey	*key = entry->user_key;
	char			*refusal;

	if (key == NULL || call->reply.outcome != OUTCOME_BAD_KEY)
		return;
	refusal = psprintf("HTTP status %d%s%s", call->http_status, call->reply.message ? ": " : "",
					   call->reply.message ? call->reply.message : "");
	audit_note_key_refused(key->id, key->version,
						   &(AuditEntry){
							   .actor = call->role_name,
							   .user_id = call->user_id,
							   .action = "byok.key.refused",
							   .object = entry->model->provider->name,
							   .detail = audit_key_detail(key->id, NULL, refusal),
						   });
}

/* What the table of outcomes says, but for providers that have reached their rate. */
static RetryDecision
decide_next(Call *call)
{
	bool	   do_not_retry = call->reply.do_not_retry;
	RetryState state = {
		.attempts = attempts_count(&call->attempts),
		.max_attempts = call->max_attempts,
		.entry = call->entry,
		.tries_of_entry = call->tries_of_entry,
		.remaining_ms = call->deadline_ms - monotonic_ms(),
		.random = pg_prng_double(&pg_global_prng_state),
		.delivered = call->handed_out,
	};

	for (;;)
	{
		RetryDecision next = retry_decide(&call->plan, &state, call->reply.outcome,
										  call->reply.retry_after_ms, do_not_retry);

		if (next.step == STEP_GIVE_UP || limits_enter_provider(call, next.next_entry))
			return next;
		do_not_retry |= next.step == STEP_RETRY_SAME;
	}
}

/* An attempt has ended, or could not be sent: what now? */
static void
attempt_finish(Call *call)
{
	MemoryContext previous = MemoryContextSwitchTo(call->context);
	RetryDecision next;

	attempts_end(&call->attempts, &call->reply, call->http_status,
				 elapsed_ms(call->attempt_started_ms));
	call->may_have_cost = call->reply.outcome != OUTCOME_OK && attempt_may_have_cost(call);
	call_circuits_note(call);

	if (call->reply.outcome == OUTCOME_OK)
	{
		call_succeed(call);
		MemoryContextSwitchTo(previous);
		return;
	}

	mark_refused_key(call);

	/* What it said so far is the answer's beginning, or nobody's. */
	if (!call->handed_out)
		call->exchange = NULL;

	next = decide_next(call);
	if (next.step == STEP_GIVE_UP || (call->may_have_cost && !limits_extend(call)))
		call_give_up(call);
	else
	{
		/* An attempt that may have cost money has a row of its own. */
		if (call->may_have_cost)
			attempt_settle(call, LEDGER_ERROR, false);
		if (next.step == STEP_NEXT_CANDIDATE)
		{
			call->entry = next.next_entry;
			call->tries_of_entry = 0;
		}
		call->wait_until_ms = monotonic_ms() + next.wait_ms;
		call->state = CALL_BACKOFF;
	}
	call->attempt_open = false;
	MemoryContextSwitchTo(previous);
}

/* ------------------------------------------------------------------------
 * Steps
 * ------------------------------------------------------------------------
 */

/* Go on to an attempt, when there is a candidate that may be asked now. */
static void
call_reserve(Call *call)
{
	if (!call_circuits_admit(call))
		return;
	call->reserve_since = GetCurrentTimestamp();
	call->state = CALL_RESERVE;
}

/* After the ledger's own callback was registered: the last one runs first. */
static void
end_at_exit(void)
{
	if (!exit_callback_registered)
		before_shmem_exit(end_live_calls, 0);
	exit_callback_registered = true;
}

static void
step_limits(Call *call)
{
	if (limits_may_apply(call))
	{
		if (!ledger_prepare(&call->error))
		{
			call->state = CALL_DONE;
			return;
		}
		end_at_exit();
	}
	switch (limits_reserve(call))
	{
		case LIMITS_READY:
			if (call->admitted)
				call_reserve(call);
			else
				call->state = CALL_ADMISSION;
			break;
		case LIMITS_REFUSED:
			call->state = CALL_DONE;
			break;
		case LIMITS_WAIT:
			if (past_deadline(call))
			{
				error_set(&call->error, ERRCODE_LLM_TIMEOUT,
						  "a budget could not be counted before the deadline of the call");
				error_hint(&call->error, "A lock on llm_usage_rollup may hold up who counts it.");
				call->state = CALL_DONE;
			}
			break;
	}
}

static void
step_admission(Call *call)
{
	call->admitted = admission_enter();
	call->waits_for_place = !call->admitted;
	if (call->admitted)
		call_reserve(call);
	else if (monotonic_ms() >= call->wait_until_ms)
	{
		(void) admission_refused(&call->error);
		call->state = CALL_DONE;
	}
}

static void
send_attempt(Call *call)
{
	call->state = CALL_TRANSFER;
	if (!attempt_start(call))
		attempt_finish(call);
}

/* Nothing was sent: what has been noted ends as cancelled, at no cost. */
static void
step_intent(Call *call)
{
	if (!call->intent_queued)
		call->intent_queued = ledger_intend(&call->ticket, &call->intent);
	if (call->intent_queued && ledger_committed(&call->intent))
		send_attempt(call);
	else if (past_deadline(call))
	{
		error_set(&call->error, ERRCODE_LLM_TIMEOUT,
				  "the ledger did not commit the intent of this call before its deadline");
		error_hint(&call->error, "Look at llm_status: the ledger writer may be blocked. "
								 "llm_router.record_intent asks for it.");
		call->state = CALL_DONE;
	}
}

static void
step_reserve(Call *call)
{
	LedgerProgress progress = LEDGER_READY;

	if (limits_expired(call))
	{
		limits_let_go(call);
		call->state = CALL_LIMITS;
		return;
	}
	if (!call->reserved)
	{
		LedgerRequest request = {
			.request_id = call->id,
			.user_id = call->user_id,
			.role_name = call->role_name,
			.power_level = power_level_name(call->plan.power_level),
			.tier = call->plan.tier,
			.tags = call->tags,
		};

		progress = ledger_reserve(&request, call->reserve_since, &call->ticket,
								  &call->error);
	}
	if (progress == LEDGER_READY)
	{
		call->reserved = true;
		end_at_exit();
		attempt_begin(call);
		if (setting_record_intent)
			call->state = CALL_INTENT;
		else
			send_attempt(call);
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
	if (attempt_advance(call))
		attempt_finish(call);
}

static void
step_backoff(Call *call)
{
	if (monotonic_ms() >= call->wait_until_ms)
		call_reserve(call);
}

static void
step_commit(Call *call)
{
	if (!ledger_committed(&call->ticket))
	{
		if (monotonic_ms() < call->wait_until_ms)
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
			case CALL_LIMITS:
				step_limits(call);
				break;
			case CALL_ADMISSION:
				step_admission(call);
				break;
			case CALL_RESERVE:
				step_reserve(call);
				break;
			case CALL_INTENT:
				step_intent(call);
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
		case CALL_LIMITS:
			return LIMITS_POLL_MS;
		case CALL_RESERVE:
		case CALL_INTENT:
			return 100;
		case CALL_ADMISSION:
		case CALL_BACKOFF:
		case CALL_COMMIT:
			return Min(call->wait_until_ms - monotonic_ms(), 1000);
		case CALL_TRANSFER:
			return Min(attempt_sleep_ms(call), 1000);
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

/*
 * Set the call aside while its reader has the word, and take it up again: none of
 * its clocks goes on in between.  The provider is not to pay for a slow reader.
 */
static void
call_set_aside(Call *call)
{
	call->aside_ms = monotonic_ms();
	if (call->transfer)
		http_set_aside(call->transfer);
}

static void
call_take_up(Call *call)
{
	int64 away_ms = call->aside_ms > 0 ? elapsed_ms(call->aside_ms) : 0;

	call->aside_ms = 0;
	call->started_ms += away_ms;
	call->deadline_ms += away_ms;
	call->wait_until_ms += away_ms;
	attempt_put_off(call, away_ms);
	if (call->transfer)
		http_take_up(call->transfer);
}

/*
 * The next chunk, or NULL.  The first is not handed out before it says
 * something: until then the call can still go to another provider.
 */
static Jsonb *
take_chunk(Call *call)
{
	if (call->exchange == NULL || !answer_has_substance(call->exchange->answer))
		return NULL;
	return answer_take_chunk(call->exchange->answer);
}

Jsonb *
call_next_chunk(Call *call, void (*before_wait)(void))
{
	Jsonb *chunk;

	call_take_up(call);
	chunk = take_chunk(call);
	while (chunk == NULL && call->state != CALL_DONE)
	{
		call_advance(call);
		chunk = take_chunk(call);
		if (chunk == NULL && call->state != CALL_DONE)
		{
			/* The reader may be slow to take what is there. */
			call_set_aside(call);
			before_wait();
			call_take_up(call);
			http_wait((int) Max(call_sleep_ms(call), 0));
		}
	}
	call->handed_out |= chunk != NULL;
	call_set_aside(call);
	return chunk;
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

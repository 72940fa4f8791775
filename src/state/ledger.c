/*
 * ledger.c
 *		The caller's side of the ledger: reserve, settle, and see it committed.
 *
 * What this process has open is settled when it ends, as cancelled: by a
 * before_shmem_exit callback, which in a FATAL exit runs before the
 * transaction is aborted (callbacks run last in, first out, and PostgreSQL's
 * own was registered at the start).  The abort then finds its tickets ended.
 *
 * After a kill -9 the whole shared memory starts anew; see doc/ledger.md.
 */
#include "state/ledger.h"

#include "access/xlog.h"
#include "base/compat.h"
#include "base/settings.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "state/extension.h"
#include "state/ledger_ring.h"
#include "state/ledger_spill.h"
#include "state/ledger_writers.h"
#include "storage/ipc.h"
#include "utils/timestamp.h"

/* How long a call looks for a writer before it is refused. */
#define WRITER_TIMEOUT_MS 5000

static int	open_records; /* of this process */
static bool exit_registered;

static void settle_at_exit(int code, Datum arg);

void
ledger_init(void)
{
	ledger_ring_init();
}

static bool
refuse(LlmError *error, const char *message, const char *hint)
{
	error_set(error, ERRCODE_LLM_NOT_RUNNING, "%s", message);
	error_hint(error, "%s", hint);
	return false;
}

/* Whether this database can have a writer that sees the ledger; or why not. */
static bool
ledger_is_possible(LlmError *error)
{
	if (!settings_preloaded)
		return refuse(error, "llm_router is not preloaded",
					  "Add llm_router to shared_preload_libraries and restart the server.");
	if (!IsUnderPostmaster)
		return refuse(error, "llm_router does not work in single-user mode",
					  "Start the server normally: the ledger needs its background worker.");
	if (RecoveryInProgress())
		return refuse(error, "llm_router does not call providers on a standby",
					  "Call on the primary: a standby cannot write the ledger.");
	if (!extension_is_committed())
		return refuse(error,
					  "this transaction, which has not ended, created or altered the extension llm_router",
					  "COMMIT first: until then the ledger's writer cannot see the ledger.");
	return true;
}

static void
register_exit(void)
{
	if (exit_registered)
		return;
	before_shmem_exit(settle_at_exit, (Datum) 0);
	exit_registered = true;
}

bool
ledger_prepare(LlmError *error)
{
	if (!ledger_is_possible(error))
		return false;
	register_exit();
	return true;
}

/* No writer yet: ask for one, for as long as the caller may wait. */
static LedgerProgress
await_writer(TimestampTz since, LlmError *error)
{
	bool started = ledger_writer_start(MyDatabaseId);

	if (!TimestampDifferenceExceeds(since, GetCurrentTimestamp(), WRITER_TIMEOUT_MS))
		return LEDGER_WAIT;
	if (started)
		refuse(error, "the ledger writer of this database does not start",
			   "The server log says why; llm_status shows the workers.");
	else
		refuse(error, "no background worker is free for the ledger of this database",
			   "Raise llm_router.max_workers, and max_worker_processes with it.");
	return LEDGER_REFUSED;
}

static bool
queue_has_writer(const LedgerQueue *queue)
{
	return queue != NULL && queue->writer_state == WRITER_READY && queue->holder == LEDGER_NONE;
}

/* An open record, or LEDGER_NONE.  Sets *writer to whether there is one. */
static int32
open_record(int32 text_size, bool *writer)
{
	LedgerQueue *queue;
	int32		 slot = LEDGER_NONE;

	LWLockAcquire(ledger_lock, LW_EXCLUSIVE);
	queue = ledger_queue_get(MyDatabaseId);
	*writer = queue_has_writer(queue);
	if (*writer)
		slot = ledger_record_open(queue, LEDGER_CALL, text_size);
	if (slot == LEDGER_NONE)
		ledger_sleepers_add();
	LWLockRelease(ledger_lock);
	return slot;
}

LedgerProgress
ledger_reserve(const LedgerRequest *request, TimestampTz since, LedgerTicket *ticket,
			   LlmError *error)
{
	const char *texts[LEDGER_TEXT_COUNT] = {
		[LEDGER_TEXT_USER_ID] = request->user_id,
		[LEDGER_TEXT_ROLE_NAME] = request->role_name,
		[LEDGER_TEXT_POWER_LEVEL] = request->power_level,
		[LEDGER_TEXT_TIER] = request->tier,
		[LEDGER_TEXT_TAGS] = request->tags ? request->tags : "",
	};
	int32 text_size = 0;
	int32 slot;
	bool  writer;

	*ticket = LEDGER_NO_TICKET;
	if (!ledger_prepare(error))
		return LEDGER_REFUSED;
	for (int i = 0; i < LEDGER_TEXT_COUNT; i++)
		text_size += (int32) strlen(texts[i]) + 1;

	slot = open_record(text_size, &writer);
	if (slot == LEDGER_NONE)
		return writer ? LEDGER_WAIT : await_writer(since, error);

	open_records++;
	ledger_record(slot)->request_id = request->request_id;
	ledger_text_write(slot, texts, LEDGER_TEXT_COUNT);
	ticket->slot = slot;
	ticket->generation = ledger_record(slot)->block.generation;
	return LEDGER_READY;
}

LedgerProgress
ledger_await_writer(TimestampTz since, LlmError *error)
{
	const LedgerQueue *queue;
	bool			   writer;
	bool			   ready;

	if (!ledger_prepare(error))
		return LEDGER_REFUSED;
	LWLockAcquire(ledger_lock, LW_EXCLUSIVE);
	queue = ledger_queue_get(MyDatabaseId);
	writer = queue_has_writer(queue);
	ready = writer && !queue->writer_catches_up;
	if (!ready)
		ledger_sleepers_add();
	LWLockRelease(ledger_lock);
	if (ready)
		return LEDGER_READY;
	return writer ? LEDGER_WAIT : await_writer(since, error);
}

/* The record of a ticket that has not ended, or NULL. */
static LedgerRecord *
ticket_record(const LedgerTicket *ticket)
{
	LedgerRecord *record;

	if (ticket->slot < 0)
		return NULL;

	/* Without the lock: nobody but this process ends its own open records. */
	record = ledger_record(ticket->slot);
	if (record->block.generation != ticket->generation || record->block.state != BLOCK_OPEN)
		return NULL;
	return record;
}

/* What does not fit is cut between characters, never within one. */
static void
copy_name(char to[LEDGER_NAME_SIZE], const char *from)
{
	int length = pg_mbcliplen(from, (int) strlen(from), LEDGER_NAME_SIZE - 1);

	memcpy(to, from, length);
	to[length] = '\0';
}

/* Drop an incomplete character that whoever filled the buffer may have left. */
static void
clip(char *text)
{
	int length = (int) strlen(text);

	text[pg_mbcliplen(text, length, length)] = '\0';
}

void
ledger_attempt(const LedgerTicket *ticket, const LedgerAttempt *attempt)
{
	LedgerRecord *record = ticket_record(ticket);

	if (record == NULL)
		return;

	/* ledger_pending may be looking. */
	record->attempt = 0;
	pg_write_barrier();
	record->provider_id = attempt->provider_id;
	record->model_id = attempt->model_id;
	record->used_byok = attempt->used_byok;
	record->user_key_id = attempt->user_key_id;
	record->prices = attempt->prices;
	record->estimated_cost = attempt->estimated_cost;
	record->estimated_tokens = attempt->estimated_tokens;
	record->started_at = attempt->started_at;
	copy_name(record->provider, attempt->provider);
	copy_name(record->model, attempt->model);
	pg_write_barrier();
	record->attempt = attempt->attempt;
}

/* Queue the record, and see that somebody takes it.  Returns its position. */
static uint64
queue_record(int32 slot)
{
	LedgerRecord *record = ledger_record(slot);
	LedgerQueue	 *queue = &ledger_ring->queues[record->queue];
	uint64		  position;
	int32		  wake = LEDGER_NONE;

	LWLockAcquire(ledger_lock, LW_EXCLUSIVE);
	ledger_record_queue(slot);
	position = record->position;
	if (queue->writer_pid == 0)
		wake = ledger_ring->launcher_process;
	else if (queue->writer_sleeps)
	{
		wake = queue->writer_process;
		queue->writer_sleeps = false;
	}
	LWLockRelease(ledger_lock);
	ledger_wake(wake);
	return position;
}

/* Of a record: what a call has said of itself. */
#define CALL_PART_OFFSET offsetof(LedgerRecord, request_id)
#define CALL_PART_SIZE	 (offsetof(LedgerRecord, text_size) - CALL_PART_OFFSET)

bool
ledger_intend(const LedgerTicket *ticket, LedgerTicket *intent)
{
	LedgerRecord *record = ticket_record(ticket);
	LedgerRecord *copy;
	const char	 *texts[LEDGER_TEXT_COUNT];
	int32		  slot;

	ledger_text_read(ticket->slot, texts, LEDGER_TEXT_COUNT);
	LWLockAcquire(ledger_lock, LW_EXCLUSIVE);
	slot = ledger_record_open(&ledger_ring->queues[record->queue], LEDGER_CALL, record->text_size);
	if (slot == LEDGER_NONE)
		ledger_sleepers_add();
	LWLockRelease(ledger_lock);
	if (slot == LEDGER_NONE)
		return false;

	/* Nothing from here on can fail: the copy has no other owner. */
	copy = ledger_record(slot);
	memcpy((char *) copy + CALL_PART_OFFSET, (const char *) record + CALL_PART_OFFSET, CALL_PART_SIZE);
	ledger_text_write(slot, texts, LEDGER_TEXT_COUNT);
	copy->is_intent = true;
	copy->owner_waits = true;
	copy->outcome = (LedgerOutcome){
		.status = LEDGER_UNKNOWN,
		.cost = MONEY_UNKNOWN,
		.prices = record->prices,
	};
	record->supersedes = true;
	*intent = (LedgerTicket){ .slot = LEDGER_NONE, .position = queue_record(slot) };
	return true;
}

static void
settle_record(int32 slot, const LedgerOutcome *outcome, uint64 *position)
{
	LedgerRecord *record = ledger_record(slot);

	record->outcome = *outcome;
	clip(record->outcome.finish_reason);
	clip(record->outcome.provider_request_id);
	record->owner_waits = setting_ledger_wait;
	*position = queue_record(slot);
	open_records--;
}

/* End an open record that nobody will read. */
static void
release_record(int32 slot)
{
	const LedgerQueue *queue = &ledger_ring->queues[ledger_record(slot)->queue];

	LWLockAcquire(ledger_lock, LW_EXCLUSIVE);
	ledger_record_free(slot);
	if (queue->writer_should_leave)
		ledger_wake(queue->writer_process);
	LWLockRelease(ledger_lock);
	open_records--;
}

/* End an open record, as a row unless no attempt was noted. */
static void
end_record(int32 slot, const LedgerOutcome *outcome, uint64 *position)
{
	if (ledger_record(slot)->attempt > 0)
		settle_record(slot, outcome, position);
	else
		release_record(slot);
}

void
ledger_settle(LedgerTicket *ticket, const LedgerOutcome *outcome)
{
	if (ticket_record(ticket) != NULL)
		end_record(ticket->slot, outcome, &ticket->position);
}

bool
ledger_note(const char *json)
{
	LlmError	 error;
	LedgerQueue *queue;
	int32		 slot = LEDGER_NONE;

	if (!ledger_is_possible(&error) || !OidIsValid(extension_schema()))
		return false;
	register_exit();

	LWLockAcquire(ledger_lock, LW_EXCLUSIVE);
	queue = ledger_queue_get(MyDatabaseId);
	if (queue != NULL)
		slot = ledger_record_open(queue, LEDGER_NOTE, (int32) strlen(json) + 1);
	LWLockRelease(ledger_lock);
	if (slot == LEDGER_NONE)
		return false;

	/* Nothing between these two can fail: the record has no other owner. */
	ledger_text_write(slot, &json, 1);
	(void) queue_record(slot);
	return true;
}

bool
ledger_committed(const LedgerTicket *ticket)
{
	const LedgerQueue *queue;
	bool			   committed;

	/*
	 * A queue whose place has been given away was empty; one made anew starts
	 * at the last position given.
	 */
	LWLockAcquire(ledger_lock, LW_SHARED);
	queue = ledger_queue_find(MyDatabaseId);
	committed = queue == NULL || queue->committed_position >= ticket->position;
	LWLockRelease(ledger_lock);
	return committed;
}

LedgerCharge
ledger_charge(const LedgerOutcome *outcome, Money estimated_cost, int64 estimated_tokens)
{
	LedgerCharge charge = { .cost = outcome->cost };

	if (charge.cost == MONEY_UNKNOWN)
		charge.cost = Max(estimated_cost, 0);
	if (outcome->usage.known)
		charge.tokens = outcome->usage.input + outcome->usage.output;
	else if (outcome->cost != 0)
		charge.tokens = estimated_tokens;
	charge.is_request = outcome->is_final && outcome->status != LEDGER_ERROR;
	return charge;
}

/*
 * Copy a record that its owner may be noting anew.  The number of the attempt is
 * 0 while the owner does, and another afterwards.  With the lock held, the record
 * stays open or queued.
 */
static bool
copy_pending(int32 block, LedgerPending *pending)
{
	const LedgerRecord	*record = ledger_record(block);
	bool				 is_open = record->block.state == BLOCK_OPEN;
	const LedgerOutcome	 unknown = { .is_final = true, .status = LEDGER_UNKNOWN, .cost = MONEY_UNKNOWN };
	const LedgerOutcome *outcome = is_open ? &unknown : &record->outcome;

	pending->attempt = record->attempt;
	pg_read_barrier();
	pending->request_id = record->request_id;
	pending->used_byok = record->used_byok;
	pending->started_at = record->started_at;
	pending->charge = ledger_charge(outcome, record->estimated_cost, record->estimated_tokens);
	pg_read_barrier();
	return pending->attempt > 0 && pending->attempt == record->attempt;
}

/* Whether the record is a call's of this database, and somebody's by now. */
static bool
is_pending(const LedgerRecord *record)
{
	return (record->block.state == BLOCK_OPEN || record->block.state == BLOCK_QUEUED) &&
		   record->kind == LEDGER_CALL && !record->is_intent &&
		   ledger_ring->queues[record->queue].database == MyDatabaseId;
}

pg_uuid_t *
ledger_requests(int *n)
{
	int32	   touched = *(volatile int32 *) &ledger_ring->touched_blocks;
	pg_uuid_t *requests = palloc(sizeof(pg_uuid_t) * (touched + 1));

	*n = 0;
	LWLockAcquire(ledger_lock, LW_SHARED);
	for (int32 block = 0; block < touched; block++)
	{
		if (is_pending(ledger_record(block)))
			requests[(*n)++] = ledger_record(block)->request_id;
	}
	LWLockRelease(ledger_lock);
	return requests;
}

LedgerPending *
ledger_pending(int *n)
{
	int32		   touched = *(volatile int32 *) &ledger_ring->touched_blocks;
	int			   capacity = 64;
	LedgerPending *pending = palloc(sizeof(LedgerPending) * capacity);

	*n = 0;
	for (int32 block = 0; block < touched; block++)
	{
		const char *texts[LEDGER_TEXT_COUNT];
		bool		copied = false;

		/* Looked at without the lock first: most blocks are free. */
		if (*(volatile LedgerBlockState *) &ledger_record(block)->block.state == BLOCK_FREE)
			continue;
		if (*n == capacity)
			pending = repalloc(pending, sizeof(LedgerPending) * (capacity *= 2));
		LWLockAcquire(ledger_lock, LW_SHARED);
		while (is_pending(ledger_record(block)) && ledger_record(block)->attempt > 0 && !copied)
			copied = copy_pending(block, &pending[*n]);
		if (copied)
			ledger_text_read(block, texts, LEDGER_TEXT_COUNT);
		LWLockRelease(ledger_lock);
		if (!copied)
			continue;
		pending[*n].user_id = texts[LEDGER_TEXT_USER_ID];
		pending[*n].power_level = texts[LEDGER_TEXT_POWER_LEVEL];
		pending[*n].tier = texts[LEDGER_TEXT_TIER];
		(*n)++;
	}
	return pending;
}

/* End one record of a process that ends, where nobody else will. */
static void
abandon_record(int32 slot)
{
	const LedgerRecord *record = ledger_record(slot);
	LedgerOutcome		outcome = {
			  .status = LEDGER_CANCELLED,
			  .outcome = OUTCOME_CANCELLED,
			  .is_final = true,
			  .prices = record->prices,
			  .cost = MONEY_UNKNOWN,
	};
	uint64 position;

	outcome.response_time_ms = (GetCurrentTimestamp() - record->started_at) / 1000;
	end_record(slot, &outcome, &position);
}

static void
settle_at_exit(int code, Datum arg)
{
	int32 me = compat_my_proc_number();

	for (int32 i = 0; open_records > 0 && i < ledger_ring->total_blocks; i++)
	{
		const LedgerRecord *record = ledger_record(i);

		if (record->block.state == BLOCK_OPEN && record->owner == me)
			abandon_record(i);
	}
	ledger_spill_orphans(MyDatabaseId);
}

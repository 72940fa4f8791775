/*
 * ledger_ring.c
 *		Records on their way to the ledger writers, in shared memory.
 *
 * The memory is a pool of blocks of LEDGER_BLOCK_SIZE bytes.  A record is one
 * block, which holds all but long texts, and a chain of further blocks for
 * those.  Blocks are named by number, never by address.
 *
 * A record's life: free, open (reserved; filled by the process that reserved
 * it, without the lock, as nobody else looks), queued (its database's writer
 * reads it, again without the lock, as nobody changes it), free.  It leaves
 * the queue only after the writer's commit, so that a writer that dies on the
 * way leaves nothing to be put back.  A block's generation grows whenever a
 * record leaves it: a ticket of the past finds another generation and does
 * nothing.
 *
 * One lock, ledger_lock, protects the lists, the queues and the counters.  It
 * is a leaf: whoever holds it takes no other lock, throws nothing, and sets
 * latches at most.  So it may be taken while a transaction aborts and in a
 * before_shmem_exit callback, where LWLocks still work and nothing of ours can
 * hold it.
 *
 * Notes share the blocks, but have a list of their own in each queue, and no
 * more than a share of the blocks: what is only audited keeps no call waiting.
 *
 * Positions are given to queued records from one counter for all databases,
 * so that they stay comparable when a queue's place is given to another.
 */
#include "state/ledger_ring.h"

#include "base/compat.h"
#include "base/settings.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#define LOCK_TRANCHE "llm_router_ledger"

/* A block that continues a record's text. */
typedef struct LedgerTextBlock
{
	LedgerBlock block;
	char		text[FLEXIBLE_ARRAY_MEMBER];
} LedgerTextBlock;

#define FIRST_TEXT_SIZE (LEDGER_BLOCK_SIZE - (int32) offsetof(LedgerRecord, text))
#define MORE_TEXT_SIZE	(LEDGER_BLOCK_SIZE - (int32) offsetof(LedgerTextBlock, text))

StaticAssertDecl(FIRST_TEXT_SIZE >= 64, "an ordinary record should fit one block");

/*
 * The share of the pool that one database may take: a ledger that cannot be
 * written (its table is locked, say) must not stop the others.
 */
#define MAX_SHARE_OF_QUEUE(total) ((total) / 4 * 3)

/* Notes that one database may have queued. */
#define MAX_NOTES(total) ((total) / 16)

LedgerRing *ledger_ring;
LWLock	   *ledger_lock;

static char					  *blocks;
static shmem_request_hook_type previous_shmem_request;
static shmem_startup_hook_type previous_shmem_startup;

/* Blocks are aligned for int128. */
static Size
blocks_offset(void)
{
	return CACHELINEALIGN(sizeof(LedgerRing));
}

static int32
blocks_total(void)
{
	return (int32) ((Size) setting_ledger_size * 1024 / LEDGER_BLOCK_SIZE);
}

static Size
ring_size(void)
{
	return add_size(blocks_offset(), mul_size(blocks_total(), LEDGER_BLOCK_SIZE));
}

static void
ring_shmem_request(void)
{
	if (previous_shmem_request)
		previous_shmem_request();
	RequestAddinShmemSpace(ring_size());
	RequestNamedLWLockTranche(LOCK_TRANCHE, 1);
}

static LedgerBlock *
block_header(int32 block)
{
	Assert(block >= 0 && block < ledger_ring->total_blocks);
	return (LedgerBlock *) (blocks + (Size) block * LEDGER_BLOCK_SIZE);
}

LedgerRecord *
ledger_record(int32 block)
{
	return (LedgerRecord *) block_header(block);
}

static void
ring_format(void)
{
	memset(ledger_ring, 0, sizeof(LedgerRing));
	ledger_ring->launcher_process = LEDGER_NONE;
	ledger_ring->total_blocks = blocks_total();
	ledger_ring->free_blocks = ledger_ring->total_blocks;
	ledger_ring->free_head = 0;
	for (int32 i = 0; i < ledger_ring->total_blocks; i++)
	{
		LedgerBlock *header = block_header(i);

		header->state = BLOCK_FREE;
		header->generation = 0;
		header->next = i + 1 < ledger_ring->total_blocks ? i + 1 : LEDGER_NONE;
	}
}

static void
ring_shmem_startup(void)
{
	bool found;

	if (previous_shmem_startup)
		previous_shmem_startup();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	ledger_ring = ShmemInitStruct("llm_router ledger", ring_size(), &found);
	blocks = (char *) ledger_ring + blocks_offset();
	ledger_lock = &GetNamedLWLockTranche(LOCK_TRANCHE)->lock;
	if (!found)
		ring_format();
	LWLockRelease(AddinShmemInitLock);
}

void
ledger_ring_init(void)
{
	previous_shmem_request = shmem_request_hook;
	shmem_request_hook = ring_shmem_request;
	previous_shmem_startup = shmem_startup_hook;
	shmem_startup_hook = ring_shmem_startup;
}

LedgerQueue *
ledger_queue_find(Oid database)
{
	Assert(LWLockHeldByMe(ledger_lock));
	for (int i = 0; i < LEDGER_MAX_QUEUES; i++)
		if (ledger_ring->queues[i].database == database)
			return &ledger_ring->queues[i];
	return NULL;
}

int32
ledger_queue_length(const LedgerQueue *queue)
{
	int32 length = 0;

	for (int kind = 0; kind < LEDGER_KIND_COUNT; kind++)
		length += queue->lists[kind].length;
	return length;
}

/* A place that is free, or whose queue can be forgotten. */
static LedgerQueue *
queue_find_place(void)
{
	LedgerQueue *idle = ledger_queue_find(InvalidOid);

	for (int i = 0; idle == NULL && i < LEDGER_MAX_QUEUES; i++)
	{
		LedgerQueue *queue = &ledger_ring->queues[i];

		if (ledger_queue_length(queue) == 0 && queue->open == 0 && queue->holder == LEDGER_NONE &&
			(queue->writer_state == WRITER_NONE || queue->writer_state == WRITER_FAILED))
			idle = queue;
	}
	return idle;
}

LedgerQueue *
ledger_queue_get(Oid database)
{
	LedgerQueue *queue = ledger_queue_find(database);

	if (queue != NULL)
		return queue;
	queue = queue_find_place();
	if (queue != NULL)
	{
		memset(queue, 0, sizeof(LedgerQueue));
		queue->database = database;
		for (int kind = 0; kind < LEDGER_KIND_COUNT; kind++)
			queue->lists[kind] = (LedgerList){ .head = LEDGER_NONE, .tail = LEDGER_NONE };
		queue->writer_process = LEDGER_NONE;
		queue->holder = LEDGER_NONE;
		queue->committed_position = ledger_ring->last_position;
		queue->last_activity = GetCurrentTimestamp();
	}
	return queue;
}

static int32
block_take(LedgerBlockState state)
{
	int32		 block = ledger_ring->free_head;
	LedgerBlock *header = block_header(block);

	ledger_ring->free_head = header->next;
	ledger_ring->free_blocks--;
	ledger_ring->touched_blocks = Max(ledger_ring->touched_blocks, block + 1);
	header->state = state;
	header->next = LEDGER_NONE;
	return block;
}

int32
ledger_record_open(LedgerQueue *queue, LedgerKind kind, int32 text_size)
{
	int32		  more = Max(0, text_size - FIRST_TEXT_SIZE);
	int32		  needed = 1 + (more + MORE_TEXT_SIZE - 1) / MORE_TEXT_SIZE;
	int32		  block;
	LedgerRecord *record;

	if (needed > ledger_ring->free_blocks ||
		queue->blocks + needed > MAX_SHARE_OF_QUEUE(ledger_ring->total_blocks))
		return LEDGER_NONE;
	if (kind == LEDGER_NOTE &&
		queue->lists[kind].length >= MAX_NOTES(ledger_ring->total_blocks))
		return LEDGER_NONE;

	block = block_take(BLOCK_OPEN);
	record = ledger_record(block);
	for (LedgerBlock *last = &record->block; more > 0; more -= MORE_TEXT_SIZE)
	{
		last->next = block_take(BLOCK_TEXT);
		last = block_header(last->next);
	}
	record->kind = kind;
	record->queue = (int32) (queue - ledger_ring->queues);
	record->owner = compat_my_proc_number();
	record->owner_waits = false;
	record->next_record = LEDGER_NONE;
	record->epoch = queue->epoch;
	record->attempt = 0;
	record->is_intent = false;
	record->supersedes = false;
	record->text_size = text_size;
	queue->blocks += needed;
	queue->open++;
	queue->last_activity = GetCurrentTimestamp();
	return block;
}

/* Give a record's blocks back.  Its queue's lists and counters are the caller's. */
static void
record_dispose(LedgerQueue *queue, int32 block)
{
	if (ledger_record(block)->epoch != queue->epoch)
		queue->unfinished_before_epoch--;
	while (block != LEDGER_NONE)
	{
		LedgerBlock *header = block_header(block);
		int32		 next = header->next;

		header->generation++;
		header->state = BLOCK_FREE;
		header->next = ledger_ring->free_head;
		ledger_ring->free_head = block;
		ledger_ring->free_blocks++;
		queue->blocks--;
		block = next;
	}
}

void
ledger_record_queue(int32 block)
{
	LedgerRecord *record = ledger_record(block);
	LedgerQueue	 *queue = &ledger_ring->queues[record->queue];
	LedgerList	 *list = &queue->lists[record->kind];

	Assert(record->block.state == BLOCK_OPEN);
	record->block.state = BLOCK_QUEUED;
	record->position = ++ledger_ring->last_position;
	record->queued_at = GetCurrentTimestamp();
	if (list->tail == LEDGER_NONE)
		list->head = block;
	else
		ledger_record(list->tail)->next_record = block;
	list->tail = block;
	list->length++;
	queue->open--;
	queue->last_activity = record->queued_at;
}

void
ledger_record_free(int32 block)
{
	LedgerQueue *queue = &ledger_ring->queues[ledger_record(block)->queue];

	queue->open--;
	record_dispose(queue, block);
	ledger_sleepers_wake();
}

void
ledger_queue_advance(LedgerQueue *queue, LedgerKind kind, int n)
{
	LedgerList *list = &queue->lists[kind];

	for (; n > 0; n--)
	{
		int32		  block = list->head;
		LedgerRecord *record = ledger_record(block);

		if (kind == LEDGER_CALL)
			queue->committed_position = record->position;
		list->head = record->next_record;
		if (list->head == LEDGER_NONE)
			list->tail = LEDGER_NONE;
		list->length--;
		record_dispose(queue, block);
	}
	ledger_sleepers_wake();
}

int
ledger_queue_peek(const LedgerQueue *queue, LedgerKind kind, int32 *numbers, int max)
{
	int n = 0;

	for (int32 block = queue->lists[kind].head; block != LEDGER_NONE && n < max;
		 block = ledger_record(block)->next_record)
		numbers[n++] = block;
	return n;
}

/* More than fit ask again by themselves: LEDGER_WAIT is for 100 ms at most. */
void
ledger_sleepers_add(void)
{
	int32 me = compat_my_proc_number();

	for (int i = 0; i < ledger_ring->nsleepers; i++)
		if (ledger_ring->sleepers[i] == me)
			return;
	if (ledger_ring->nsleepers < LEDGER_MAX_SLEEPERS)
		ledger_ring->sleepers[ledger_ring->nsleepers++] = me;
}

void
ledger_sleepers_wake(void)
{
	for (int i = 0; i < ledger_ring->nsleepers; i++)
		ledger_wake(ledger_ring->sleepers[i]);
	ledger_ring->nsleepers = 0;
}

/* The room for text in a block, first or further. */
static char *
text_room(int32 block, int32 *size)
{
	LedgerBlock *header = block_header(block);

	if (header->state == BLOCK_TEXT)
	{
		*size = MORE_TEXT_SIZE;
		return ((LedgerTextBlock *) header)->text;
	}
	*size = FIRST_TEXT_SIZE;
	return ((LedgerRecord *) header)->text;
}

void
ledger_text_write(int32 block, const char *const *texts, int n)
{
	int32 room;
	char *to = text_room(block, &room);

	for (int i = 0; i < n; i++)
	{
		const char *from = texts[i];
		int32		left = (int32) strlen(from) + 1;

		while (left > 0)
		{
			int32 part = Min(left, room);

			memcpy(to, from, part);
			to += part;
			from += part;
			left -= part;
			room -= part;
			if (left > 0)
			{
				block = block_header(block)->next;
				to = text_room(block, &room);
			}
		}
	}
}

void
ledger_text_read(int32 block, const char **texts, int n)
{
	int32 left = ledger_record(block)->text_size;
	char *text = palloc(left);
	char *to = text;

	while (left > 0)
	{
		int32 room;
		char *from = text_room(block, &room);
		int32 part = Min(left, room);

		memcpy(to, from, part);
		to += part;
		left -= part;
		block = block_header(block)->next;
	}
	for (int i = 0; i < n; i++)
	{
		texts[i] = text;
		text += strlen(text) + 1;
	}
}

void
ledger_wake(int32 process)
{
	if (process != LEDGER_NONE)
		SetLatch(&GetPGProcByNumber(process)->procLatch);
}

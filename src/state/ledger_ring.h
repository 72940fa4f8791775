/*
 * ledger_ring.h
 *		The shared memory of the ledger: records on their way to a writer, and
 *		one queue for each database.  For state/ and workers/ only; callers of
 *		the ledger see ledger.h, and those who audit see audit.h.
 */
#ifndef LLM_ROUTER_LEDGER_RING_H
#define LLM_ROUTER_LEDGER_RING_H

#include "state/ledger.h"
#include "storage/lwlock.h"

#define LEDGER_BLOCK_SIZE	1024
#define LEDGER_MAX_QUEUES	256
#define LEDGER_MAX_SLEEPERS 64
#define LEDGER_NONE			(-1) /* no block, no process */

typedef enum LedgerBlockState
{
	BLOCK_FREE,
	BLOCK_OPEN,	  /* a record that its process still fills */
	BLOCK_QUEUED, /* a record that is the writer's */
	BLOCK_TEXT	  /* more text of a record */
} LedgerBlockState;

/*
 * What a record becomes.  Each kind has its own list in a queue: callers wait
 * for calls, nobody waits for notes, and neither waits for the other.
 */
typedef enum LedgerKind
{
	LEDGER_CALL, /* a row of llm_usage_logs */
	LEDGER_NOTE	 /* an entry of llm_audit_logs; its only text is JSON */
} LedgerKind;

#define LEDGER_KIND_COUNT (LEDGER_NOTE + 1)

/* Texts of a call's record, in the order in which they are stored, each with its NUL. */
typedef enum LedgerText
{
	LEDGER_TEXT_USER_ID,
	LEDGER_TEXT_ROLE_NAME,
	LEDGER_TEXT_POWER_LEVEL,
	LEDGER_TEXT_TIER,
	LEDGER_TEXT_TAGS /* empty: none */
} LedgerText;

#define LEDGER_TEXT_COUNT (LEDGER_TEXT_TAGS + 1)

/* What every block begins with. */
typedef struct LedgerBlock
{
	LedgerBlockState state;
	int32			 next;		 /* of the record's text or the free list, or LEDGER_NONE */
	uint32			 generation; /* grows when the block is given back */
} LedgerBlock;

/* The first block of a record.  Its text goes on in the blocks that follow. */
typedef struct LedgerRecord
{
	LedgerBlock block;
	LedgerKind	kind;
	int32		next_record; /* in its list of the queue, or LEDGER_NONE */
	int32		queue;		 /* index */
	int32		owner;		 /* process number: latch to set, and whose to settle */
	bool		owner_waits; /* for the commit */
	uint32		epoch;		 /* the queue's, at reservation */
	uint64		position;	 /* since it was queued */
	TimestampTz queued_at;

	/* Of a call; a note has nothing but its text. */
	pg_uuid_t	  request_id;
	int32		  attempt; /* 0: none was sent, or it is just being noted */
	int32		  provider_id;
	int32		  model_id;
	bool		  used_byok;
	bool		  is_intent;   /* will be replaced by the record of how the attempt ended */
	bool		  supersedes;  /* intents of its request, which may be in the table */
	int64		  user_key_id; /* 0: the platform's */
	UnitPrices	  prices;
	Money		  estimated_cost;
	int64		  estimated_tokens;
	TimestampTz	  started_at;
	LedgerOutcome outcome;
	char		  provider[LEDGER_NAME_SIZE];
	char		  model[LEDGER_NAME_SIZE];

	int32 text_size; /* bytes, over all blocks */
	char  text[FLEXIBLE_ARRAY_MEMBER];
} LedgerRecord;

typedef enum LedgerWriterState
{
	WRITER_NONE,
	WRITER_STARTING, /* asked for; writer_since says when */
	WRITER_READY,
	WRITER_FAILED /* the last one ended before it was ready */
} LedgerWriterState;

/* Queued records of a kind, in the order of their queueing; leave after the commit. */
typedef struct LedgerList
{
	int32 head;
	int32 tail;
	int32 length;
} LedgerList;

/* One database's queue.  Protected by the ledger's lock, as all here. */
typedef struct LedgerQueue
{
	Oid database; /* InvalidOid: the place is free */

	LedgerList lists[LEDGER_KIND_COUNT];
	int32	   open;   /* reservations */
	int32	   blocks; /* taken by all of them */

	/*
	 * What a writer that was told to leave still has to see through: records
	 * reserved before "epoch" began that have not left.
	 */
	uint32 epoch;
	int32  unfinished_before_epoch;

	LedgerWriterState writer_state;
	TimestampTz		  writer_since; /* of this state */
	pid_t			  writer_pid;	/* 0: none */
	int32			  writer_process;
	bool			  writer_sleeps;	   /* has to be woken for a new record */
	bool			  writer_should_leave; /* another database needs its place */
	bool			  writer_catches_up;   /* with what a stop of the server had left */
	TimestampTz		  last_activity;

	/*
	 * Databases being dropped, renamed, moved or copied have no worker: the
	 * process that does it holds the queue.
	 */
	int32 holder; /* process number, or LEDGER_NONE */

	uint64 committed_position; /* every call's record up to here has left */

	/* Since the server's start, for llm_status. */
	uint64 committed;
	uint64 quarantined;
	uint64 logged; /* could only be written to the server log */
} LedgerQueue;

typedef struct LedgerRing
{
	/* The launcher, which starts writers for records that have none. */
	pid_t launcher_pid; /* 0: none */
	int32 launcher_process;

	uint64 last_position; /* of all queues, so that they never repeat */
	int32  total_blocks;
	int32  free_blocks;
	int32  free_head;
	int32  touched_blocks; /* no later one has ever been taken */

	/* Processes to wake when room or a writer may be had. */
	int32 sleepers[LEDGER_MAX_SLEEPERS];
	int32 nsleepers;

	LedgerQueue queues[LEDGER_MAX_QUEUES];
} LedgerRing;

extern LedgerRing *ledger_ring;
extern LWLock	  *ledger_lock;

/* Shared memory; called once by ledger_init. */
extern void ledger_ring_init(void);

/* The record in a block; any block number but LEDGER_NONE. */
extern LedgerRecord *ledger_record(int32 block);

/*
 * With the lock held exclusively, up to "unlocked": none of these throws.
 */

/* The database's queue, or NULL. */
extern LedgerQueue *ledger_queue_find(Oid database);

/* The same, made if need be; NULL when all places are in use. */
extern LedgerQueue *ledger_queue_get(Oid database);

/* How many records are queued, of all kinds. */
extern int32 ledger_queue_length(const LedgerQueue *queue);

/* Take blocks for a record with so much text; LEDGER_NONE when there is no room. */
extern int32 ledger_record_open(LedgerQueue *queue, LedgerKind kind, int32 text_size);

/* Put an open record at its list's end, or give it back. */
extern void ledger_record_queue(int32 block);
extern void ledger_record_free(int32 block);

/*
 * Take the first n records of a kind off the queue, after their commit; wakes
 * those who wait for room.
 */
extern void ledger_queue_advance(LedgerQueue *queue, LedgerKind kind, int n);

/* Collect the numbers of up to max first records of a kind; returns how many. */
extern int ledger_queue_peek(const LedgerQueue *queue, LedgerKind kind, int32 *blocks, int max);

/* Have this process's latch set when room or a writer may be had; and do it. */
extern void ledger_sleepers_add(void);
extern void ledger_sleepers_wake(void);

/* Unlocked. */

/* Copy n texts into an open record of one's own; a call's as laid out by LedgerText. */
extern void ledger_text_write(int32 block, const char *const *texts, int n);

/* Read a record's n texts: one palloc'd area, texts[] point into it. */
extern void ledger_text_read(int32 block, const char **texts, int n);

/* Set a process's latch.  That of a process that has taken its place is harmless. */
extern void ledger_wake(int32 process);

#endif /* LLM_ROUTER_LEDGER_RING_H */

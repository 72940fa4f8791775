/*
 * table.h
 *		A table of fixed size in shared memory, in which entries are found by a
 *		hash of their name, and the longest unused ones give way.
 *
 * Everything here is called with the lock of the table's owner held exclusively;
 * nothing throws or allocates.
 */
#ifndef LLM_ROUTER_TABLE_H
#define LLM_ROUTER_TABLE_H

#include "postgres.h"

#define TABLE_NONE (-1)

/* 128 bits of a name, seeded anew at each start: nobody can make two names meet. */
typedef struct TableKey
{
	uint64 high;
	uint64 low;
} TableKey;

/* What every entry begins with. */
typedef struct TableEntry
{
	TableKey key;
	int32	 next;	/* of its bucket, or of the free ones */
	int32	 older; /* among those that are not pinned */
	int32	 newer;
	int32	 pins; /* in use: does not give way; -1: free */
} TableEntry;

typedef struct SharedTable
{
	uint64 seeds[2];
	Size   entry_size;
	int32  capacity;
	int32  nbuckets;
	int32  touched; /* entries from here on have never been used, nor their memory */
	int32  nused;
	int32  first_free;
	int32  oldest;
	int32  newest;
} SharedTable;

/* Shared memory for so many entries; and what is to be done with it once. */
extern Size table_size(int32 capacity, Size entry_size);
extern void table_format(SharedTable *table, int32 capacity, Size entry_size);

/* How many entries fit. */
extern int32 table_capacity(Size size, Size entry_size);

extern TableKey table_key(const SharedTable *table, const void *name, Size length);

/* By number: below "touched", free ones too. */
extern void *table_entry(const SharedTable *table, int32 number);
extern int32 table_number(const SharedTable *table, const void *entry);

/* Found: it becomes the newest.  NULL: there is none. */
extern void *table_find(SharedTable *table, TableKey key);

/*
 * A new entry, zeroed but for its head, not pinned; NULL when the table is full:
 * then see whether the oldest can be dropped (NULL: all are pinned).
 */
extern void *table_make(SharedTable *table, TableKey key);
extern void *table_oldest(SharedTable *table);
extern void	 table_drop(SharedTable *table, void *entry);

/* Keep an entry from giving way; as often as it is unpinned later. */
extern void table_pin(SharedTable *table, void *entry);
extern void table_unpin(SharedTable *table, void *entry);

#endif /* LLM_ROUTER_TABLE_H */

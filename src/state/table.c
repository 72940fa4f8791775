/*
 * table.c
 *		A table of fixed size in shared memory, whose longest unused entries give
 *		way.
 *
 * Entries are chained by number: in their bucket, and, while nobody has pinned
 * them, from the newest to the oldest.  Memory is touched as it is first needed,
 * so a generous table costs only what is used of it.
 */
#include "state/table.h"

#include "common/hashfn.h"
#include "port/pg_bitutils.h"

static int32 *
buckets_of(const SharedTable *table)
{
	return (int32 *) ((char *) unconstify(SharedTable *, table) + MAXALIGN(sizeof(SharedTable)));
}

/* Aligned for int128. */
static Size
entries_offset(int32 nbuckets)
{
	return CACHELINEALIGN(MAXALIGN(sizeof(SharedTable)) + sizeof(int32) * nbuckets);
}

static int32
buckets_for(int32 capacity)
{
	return (int32) pg_nextpower2_32((uint32) capacity);
}

Size
table_size(int32 capacity, Size entry_size)
{
	return add_size(entries_offset(buckets_for(capacity)), mul_size(capacity, entry_size));
}

int32
table_capacity(Size size, Size entry_size)
{
	return (int32) (size / (entry_size + 2 * sizeof(int32)));
}

void
table_format(SharedTable *table, int32 capacity, Size entry_size)
{
	memset(table, 0, sizeof(SharedTable));
	if (!pg_strong_random(table->seeds, sizeof(table->seeds)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not generate random values")));
	table->entry_size = entry_size;
	table->capacity = capacity;
	table->nbuckets = buckets_for(capacity);
	table->first_free = table->oldest = table->newest = TABLE_NONE;
	for (int32 i = 0; i < table->nbuckets; i++)
		buckets_of(table)[i] = TABLE_NONE;
}

TableKey
table_key(const SharedTable *table, const void *name, Size length)
{
	return (TableKey){
		.high = hash_bytes_extended(name, (int) length, table->seeds[0]),
		.low = hash_bytes_extended(name, (int) length, table->seeds[1]),
	};
}

static TableEntry *
entry_at(const SharedTable *table, int32 number)
{
	return (TableEntry *) ((char *) unconstify(SharedTable *, table) + entries_offset(table->nbuckets) +
						   (Size) number * table->entry_size);
}

void *
table_entry(const SharedTable *table, int32 number)
{
	return entry_at(table, number);
}

int32
table_number(const SharedTable *table, const void *entry)
{
	return (int32) (((const char *) entry - (const char *) entry_at(table, 0)) / table->entry_size);
}

static int32 *
bucket_of(const SharedTable *table, TableKey key)
{
	return &buckets_of(table)[key.low & (uint64) (table->nbuckets - 1)];
}

/* ------------------------------------------------------------------------
 * From the newest to the oldest
 * ------------------------------------------------------------------------
 */

static void
line_up(SharedTable *table, TableEntry *entry)
{
	int32 number = table_number(table, entry);

	entry->older = table->newest;
	entry->newer = TABLE_NONE;
	if (table->newest != TABLE_NONE)
		entry_at(table, table->newest)->newer = number;
	else
		table->oldest = number;
	table->newest = number;
}

static void
step_out(SharedTable *table, TableEntry *entry)
{
	if (entry->older != TABLE_NONE)
		entry_at(table, entry->older)->newer = entry->newer;
	else
		table->oldest = entry->newer;
	if (entry->newer != TABLE_NONE)
		entry_at(table, entry->newer)->older = entry->older;
	else
		table->newest = entry->older;
}

void
table_pin(SharedTable *table, void *entry)
{
	TableEntry *head = entry;

	if (head->pins++ == 0)
		step_out(table, head);
}

void
table_unpin(SharedTable *table, void *entry)
{
	TableEntry *head = entry;

	Assert(head->pins > 0);
	if (--head->pins == 0)
		line_up(table, head);
}

/* ------------------------------------------------------------------------
 * Finding, making, dropping
 * ------------------------------------------------------------------------
 */

void *
table_find(SharedTable *table, TableKey key)
{
	for (int32 number = *bucket_of(table, key); number != TABLE_NONE;)
	{
		TableEntry *entry = entry_at(table, number);

		if (entry->key.high == key.high && entry->key.low == key.low)
		{
			if (entry->pins == 0)
			{
				step_out(table, entry);
				line_up(table, entry);
			}
			return entry;
		}
		number = entry->next;
	}
	return NULL;
}

/* A place that nobody has, or TABLE_NONE. */
static int32
take_place(SharedTable *table)
{
	int32 number = table->first_free;

	if (number != TABLE_NONE)
		table->first_free = entry_at(table, number)->next;
	else if (table->touched < table->capacity)
		number = table->touched++;
	return number;
}

void *
table_make(SharedTable *table, TableKey key)
{
	int32		number = take_place(table);
	int32	   *bucket = bucket_of(table, key);
	TableEntry *entry;

	if (number == TABLE_NONE)
		return NULL;
	entry = entry_at(table, number);
	memset(entry, 0, table->entry_size);
	entry->key = key;
	entry->next = *bucket;
	*bucket = number;
	line_up(table, entry);
	table->nused++;
	return entry;
}

void *
table_oldest(SharedTable *table)
{
	return table->oldest == TABLE_NONE ? NULL : entry_at(table, table->oldest);
}

void
table_drop(SharedTable *table, void *dropped)
{
	TableEntry *entry = dropped;
	int32		number = table_number(table, entry);
	int32	   *link = bucket_of(table, entry->key);

	Assert(entry->pins == 0);
	while (*link != number)
		link = &entry_at(table, *link)->next;
	*link = entry->next;
	step_out(table, entry);
	entry->pins = -1;
	entry->next = table->first_free;
	table->first_free = number;
	table->nused--;
}

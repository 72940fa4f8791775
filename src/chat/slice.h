/*
 * slice.h
 *		A piece of a longer text, not NUL-terminated, and what a hash table with
 *		such keys (lib/simplehash.h) needs of it.
 */
#ifndef LLM_ROUTER_SLICE_H
#define LLM_ROUTER_SLICE_H

#include "postgres.h"

#include "common/hashfn.h"

typedef struct Slice
{
	const char *data; /* NULL: absent */
	int			length;
} Slice;

static inline uint32
slice_hash(Slice slice)
{
	return hash_bytes((const unsigned char *) slice.data, slice.length);
}

static inline bool
slice_equal(Slice a, Slice b)
{
	return a.length == b.length && (a.length == 0 || memcmp(a.data, b.data, a.length) == 0);
}

#endif /* LLM_ROUTER_SLICE_H */

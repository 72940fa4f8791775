/*
 * curl_memory.c
 *		libcurl's memory, wiped when it is given back.
 *
 * Called in libcurl's own threads as well, so it uses nothing of PostgreSQL's.
 * Each piece is preceded by its size, since the allocator's own idea of it cannot
 * be asked for portably.
 */
#include "net/curl_memory.h"

#include <curl/curl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* As large as the strictest alignment, so that what follows has it. */
typedef union Header
{
	size_t		size;
	max_align_t alignment;
} Header;

static void *
allocate(size_t size)
{
	Header *header;

	if (size > SIZE_MAX - sizeof(Header) || (header = malloc(sizeof(Header) + size)) == NULL)
		return NULL;
	header->size = size;
	return header + 1;
}

static void
wipe_and_free(void *memory)
{
	Header *header = memory;

	if (memory == NULL)
		return;
	header--;
	explicit_bzero(memory, header->size);
	free(header);
}

static void *
reallocate(void *memory, size_t size)
{
	void  *moved = allocate(size);
	size_t before;

	if (moved == NULL || memory == NULL)
		return moved;
	before = ((Header *) memory - 1)->size;
	memcpy(moved, memory, before < size ? before : size);
	wipe_and_free(memory);
	return moved;
}

static void *
allocate_zeroed(size_t number, size_t size)
{
	void *memory = size != 0 && number > SIZE_MAX / size ? NULL : allocate(number * size);

	return memory ? memset(memory, 0, number * size) : NULL;
}

static char *
duplicate(const char *text)
{
	size_t size = strlen(text) + 1;
	char  *copy = allocate(size);

	return copy ? memcpy(copy, text, size) : NULL;
}

bool
curl_memory_init(void)
{
	static bool initialised;

	if (!initialised)
		initialised = curl_global_init_mem(CURL_GLOBAL_DEFAULT, allocate, wipe_and_free, reallocate,
										   duplicate, allocate_zeroed) == CURLE_OK;
	return initialised;
}

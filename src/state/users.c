/*
 * users.c
 *		The rows of llm_users, as this process has looked them up.
 *
 * A pooled session serves many users, so the cache holds many, and a bounded
 * number: when it is full, or llm_users has changed, it starts anew.  Users
 * without a row are cached as well.
 */
#include "state/users.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "state/extension.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#define MAX_CACHED_USERS 1024

/* llm_router.user_id and names of roles fit; longer ids are not cached. */
#define MAX_KEY_SIZE 256

typedef struct CachedUser
{
	char  user_id[MAX_KEY_SIZE]; /* the hash key */
	bool  has_row;
	char *tier; /* both in cache_context */
	char *default_power_level;
} CachedUser;

static HTAB			*cache;
static MemoryContext cache_context;
static uint64		 cache_generation;

/* An empty cache that belongs to a generation of the table. */
static void
start_cache(uint64 generation)
{
	HASHCTL control = { .keysize = MAX_KEY_SIZE, .entrysize = sizeof(CachedUser) };

	cache = NULL;
	if (cache_context == NULL)
		cache_context = AllocSetContextCreate(TopMemoryContext, "llm_router users",
											  ALLOCSET_DEFAULT_SIZES);
	else
		MemoryContextReset(cache_context);
	control.hcxt = cache_context;
	cache = hash_create("llm_router users", 64, &control,
						HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	cache_generation = generation;
}

/* The user's row, read as of now; strings in the given context. */
static CachedUser
read_user(const char *user_id, MemoryContext context)
{
	CachedUser user = { .has_row = false };
	Oid		   types[] = { TEXTOID };
	Datum	   values[] = { CStringGetTextDatum(user_id) };
	OwnerGuard guard;
	int		   result;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	owner_enter(&guard);
	PushActiveSnapshot(GetLatestSnapshot());
	result = SPI_execute_with_args(psprintf("SELECT subscription_tier, default_power_level::text"
											" FROM %s WHERE user_id = $1",
											extension_table("llm_users")),
								   1, types, values, NULL, true, 1);
	PopActiveSnapshot();
	if (result != SPI_OK_SELECT)
		elog(ERROR, "could not read llm_users: %s", SPI_result_code_string(result));
	if (SPI_processed > 0)
	{
		HeapTuple row = SPI_tuptable->vals[0];
		char	 *tier = SPI_getvalue(row, SPI_tuptable->tupdesc, 1);
		char	 *level = SPI_getvalue(row, SPI_tuptable->tupdesc, 2);

		user.has_row = true;
		user.tier = MemoryContextStrdup(context, tier);
		user.default_power_level = level ? MemoryContextStrdup(context, level) : NULL;
	}
	owner_leave(&guard);
	SPI_finish();
	return user;
}

/* The cached user, or NULL. */
static const CachedUser *
find_cached(const char *user_id)
{
	uint64 generation = extension_users_generation();

	if (cache == NULL || cache_generation != generation)
		start_cache(generation);
	return hash_search(cache, user_id, HASH_FIND, NULL);
}

/*
 * Read the user and remember it.  A change that comes while it is read makes
 * the generation differ, so that the next look-up starts anew.
 */
static const CachedUser *
remember_user(const char *user_id)
{
	CachedUser	read;
	CachedUser *user;

	if (hash_get_num_entries(cache) >= MAX_CACHED_USERS)
		start_cache(cache_generation);
	read = read_user(user_id, cache_context);
	user = hash_search(cache, user_id, HASH_ENTER, NULL);
	user->has_row = read.has_row;
	user->tier = read.tier;
	user->default_power_level = read.default_power_level;
	return user;
}

bool
user_lookup(const char *user_id, char **tier, char **default_power_level)
{
	const CachedUser *user;
	CachedUser		  uncached;

	if (strlen(user_id) >= MAX_KEY_SIZE)
	{
		uncached = read_user(user_id, CurrentMemoryContext);
		user = &uncached;
	}
	else if ((user = find_cached(user_id)) == NULL)
		user = remember_user(user_id);

	if (!user->has_row)
		return false;
	*tier = pstrdup(user->tier);
	*default_power_level = user->default_power_level ? pstrdup(user->default_power_level)
													 : NULL;
	return true;
}

/*
 * users.c
 *		The users' rows and keys, as this process has looked them up.
 *
 * A pooled session serves many users, so the cache holds many, and a bounded
 * number: when it is full, or something has changed, it starts anew.  Users
 * without a row are cached as well.  Keys are cached sealed; opened ones are
 * credential.c's.
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
	char	   user_id[MAX_KEY_SIZE]; /* the hash key */
	UserRecord record;				  /* its parts in cache_context */
} CachedUser;

static HTAB			*cache;
static MemoryContext cache_context;
static uint64		 cache_users_generation;
static uint64		 cache_configuration_generation;

/* An empty cache that belongs to what the tables say now. */
static void
start_cache(void)
{
	HASHCTL control = { .keysize = MAX_KEY_SIZE, .entrysize = sizeof(CachedUser) };

	cache = NULL;
	cache_users_generation = extension_users_generation();
	cache_configuration_generation = extension_configuration_generation();
	if (cache_context == NULL)
		cache_context = AllocSetContextCreate(TopMemoryContext, "llm_router users",
											  ALLOCSET_DEFAULT_SIZES);
	else
		MemoryContextReset(cache_context);
	control.hcxt = cache_context;
	cache = hash_create("llm_router users", 64, &control,
						HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
}

static ByokMode
byok_from_name(const char *name)
{
	if (name == NULL)
		return BYOK_UNSET;
	if (strcmp(name, "prefer") == 0)
		return BYOK_PREFER;
	return strcmp(name, "only") == 0 ? BYOK_ONLY : BYOK_NEVER;
}

static char *
row_string(uint64 number, int column)
{
	return SPI_getvalue(SPI_tuptable->vals[number], SPI_tuptable->tupdesc, column);
}

static int64
row_int64(uint64 number, int column)
{
	bool is_null;

	return DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[number], SPI_tuptable->tupdesc, column,
									   &is_null));
}

/* The result of read_user's query, in the current context. */
static void
read_rows(UserRecord *user)
{
	user->tier = row_string(0, 1);
	user->default_power_level = row_string(0, 2);
	user->byok = byok_from_name(row_string(0, 3));
	user->rate.requests = row_int64(0, 9);
	user->rate.tokens = row_int64(0, 10);
	user->keys = palloc(sizeof(UserKey) * SPI_processed);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		char *token = row_string(i, 6);

		if (token == NULL)
			continue;
		user->keys[user->nkeys++] = (UserKey){
			.id = row_int64(i, 4),
			.provider_id = (int32) row_int64(i, 5),
			.token = token,
			.base_url = row_string(i, 7),
			.version = (int32) row_int64(i, 8),
		};
	}
}

/*
 * Read as of now; SPI's memory goes away with it, so the result is built in the
 * given context.  One row a key, and one without a key for a user who has none.
 * A key for another address of its provider does not stand in a usable one's way.
 */
static void
read_user(const char *user_id, MemoryContext context, UserRecord *user)
{
	Oid			  types[] = { TEXTOID };
	Datum		  values[] = { CStringGetTextDatum(user_id) };
	OwnerGuard	  guard;
	MemoryContext previous;
	char		 *query;
	int			  result;

	memset(user, 0, sizeof(*user));
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	owner_enter(&guard);
	query = psprintf("SELECT u.subscription_tier, u.default_power_level::text, u.byok,"
					 " k.id, k.provider_id::bigint, k.encrypted_api_key, k.base_url, k.version::bigint,"
					 " coalesce(u.requests_per_minute, -1)::bigint, coalesce(u.tokens_per_minute, -1)"
					 " FROM (SELECT 1) AS one LEFT JOIN %s AS u ON u.user_id = $1"
					 " LEFT JOIN (SELECT DISTINCT ON (k.provider_id) k.*"
					 " FROM %s AS k JOIN %s AS p ON p.id = k.provider_id AND p.base_url = k.base_url"
					 " WHERE k.user_id = $1 AND k.is_active AND k.refused_at IS NULL"
					 " ORDER BY k.provider_id, k.id) AS k ON true",
					 extension_table("llm_users"), extension_table("user_api_keys"),
					 extension_table("llm_providers"));
	PushActiveSnapshot(GetLatestSnapshot());
	result = SPI_execute_with_args(query, 1, types, values, NULL, true, 0);
	PopActiveSnapshot();
	if (result != SPI_OK_SELECT)
		elog(ERROR, "could not read the user: %s", SPI_result_code_string(result));
	previous = MemoryContextSwitchTo(context);
	read_rows(user);
	MemoryContextSwitchTo(previous);
	owner_leave(&guard);
	SPI_finish();
}

/* The cached user, or NULL. */
static const UserRecord *
find_cached(const char *user_id)
{
	const CachedUser *user;

	if (cache == NULL || cache_users_generation != extension_users_generation() ||
		cache_configuration_generation != extension_configuration_generation())
		start_cache();
	user = hash_search(cache, user_id, HASH_FIND, NULL);
	return user ? &user->record : NULL;
}

/*
 * Read the user and remember it.  A change that comes while it is read makes
 * the generation differ, so that the next look-up starts anew.
 */
static const UserRecord *
remember_user(const char *user_id)
{
	UserRecord	read;
	CachedUser *user;

	if (hash_get_num_entries(cache) >= MAX_CACHED_USERS)
		start_cache();
	read_user(user_id, cache_context, &read);
	user = hash_search(cache, user_id, HASH_ENTER, NULL);
	user->record = read;
	return &user->record;
}

static char *
copy_string(const char *text)
{
	return text ? pstrdup(text) : NULL;
}

/* The cache may start anew while the caller still needs it. */
static void
copy_user(const UserRecord *from, UserRecord *to)
{
	*to = *from;
	to->tier = copy_string(from->tier);
	to->default_power_level = copy_string(from->default_power_level);
	to->keys = palloc(sizeof(UserKey) * Max(from->nkeys, 1));
	for (int i = 0; i < from->nkeys; i++)
	{
		to->keys[i] = from->keys[i];
		to->keys[i].token = pstrdup(from->keys[i].token);
		to->keys[i].base_url = pstrdup(from->keys[i].base_url);
	}
}

void
user_lookup(const char *user_id, UserRecord *user)
{
	const UserRecord *known;

	if (strlen(user_id) >= MAX_KEY_SIZE)
	{
		read_user(user_id, CurrentMemoryContext, user);
		return;
	}
	known = find_cached(user_id);
	copy_user(known ? known : remember_user(user_id), user);
}

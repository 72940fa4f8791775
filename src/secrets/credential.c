/*
 * credential.c
 *		API keys, sealed with the master key for their user and provider.
 *
 * The plaintext of a token is JSON, so that people can read it with any Fernet
 * tool, but of one exact form:
 *
 *		{"v":1,"user":"alice","origin":"https://api.example.com:443","key":"…"}
 *
 * with "user":null for a platform key, in UTF-8.  So opening does not parse it,
 * which would leave copies of the key behind: everything up to the key must be
 * what this user and this origin give.
 *
 * Opened keys are cached in a table with one place for each value of a few bits
 * of the token's end.  That is its HMAC, so the places are evenly used; a
 * collision costs another decryption, some microseconds.  The warm path makes no
 * system call but reading the clock.
 *
 * Keys that expired, and all of them after a reload, are wiped by a timer, so that
 * a session which goes idle does not keep them.  It runs in a signal handler, which
 * may come at any moment: it looks at whole entries only (opened), leaves alone the
 * one that is being copied, and frees nothing.
 *
 * PostgreSQL turns off a session's timers at every error.  A failed transaction
 * block tells nobody of the errors that follow the first, so the timer is not turned
 * on again after an error: the cache is emptied instead, and nothing is left to wipe.
 */
#include "secrets/credential.h"

#include "access/xact.h"
#include "base/settings.h"
#include "mb/pg_wchar.h"
#include "postmaster/interrupt.h"
#include "secrets/keyring.h"
#include "storage/ipc.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#define PAYLOAD_END "\"}"

#define MASK_FROM_LENGTH 20 /* of seven characters shown, at least thirteen are not */

#define CACHE_SIZE 256 /* keys; a power of two */

/* So long after a reload an idle session may keep keys. */
#define MAX_WIPE_PERIOD_MS 10000

typedef struct CachedCredential
{
	volatile sig_atomic_t opened; /* api_key is whole, and nobody else changes the entry */
	TimestampTz			  expires_at;
	size_t				  size; /* of all this, to wipe it */
	const char			 *token;
	const char			 *user_id; /* NULL: platform key */
	const char			 *origin;
	char				 *api_key; /* up to the end of text */
	char				  text[FLEXIBLE_ARRAY_MEMBER];
} CachedCredential;

static CachedCredential *cache[CACHE_SIZE];
static MemoryContext	 cache_context;
static TimestampTz		 cache_reload;	/* PgReloadTime that the cache belongs to */
static uint32			 cache_keyring; /* keyring_version() that it belongs to */

static CachedCredential *volatile copying; /* from this entry, so it is not wiped now */
static TimeoutId wipe_timeout;

bool
credential_valid(const char *api_key, LlmError *error)
{
	size_t length = strlen(api_key);

	if (length == 0)
		error_set(error, ERRCODE_INVALID_PARAMETER_VALUE, "the API key is empty");
	else if (length > CREDENTIAL_MAX_LENGTH)
		error_set(error, ERRCODE_INVALID_PARAMETER_VALUE, "the API key is longer than %d bytes",
				  CREDENTIAL_MAX_LENGTH);
	else
	{
		for (const char *c = api_key; *c != '\0'; c++)
		{
			if (*c > ' ' && *c <= '~' && *c != '"' && *c != '\\')
				continue;
			error_set(error, ERRCODE_INVALID_PARAMETER_VALUE,
					  "the API key has a space or a character that no key has");
			return error_hint(error, "Look for line ends, spaces or quotes that were copied along with it.");
		}
		return true;
	}
	return error_hint(error, "Give the key as the provider shows it, without \"Bearer\".");
}

/*
 * Everything of the payload before the key, in UTF-8; palloc'd.  (In a SQL_ASCII
 * database, where a user's name may be anything, as it is.)
 */
static char *
payload_prefix(const char *user_id, const char *origin)
{
	StringInfoData prefix;

	initStringInfo(&prefix);
	appendStringInfoString(&prefix, "{\"v\":1,\"user\":");
	if (user_id)
		escape_json(&prefix, user_id);
	else
		appendStringInfoString(&prefix, "null");
	appendStringInfoString(&prefix, ",\"origin\":");
	escape_json(&prefix, origin);
	appendStringInfoString(&prefix, ",\"key\":\"");
	if (GetDatabaseEncoding() == PG_SQL_ASCII)
		return prefix.data;
	return pg_server_to_any(prefix.data, prefix.len, PG_UTF8);
}

bool
credential_seal(const char *api_key, const char *user_id, const char *origin,
				char **token, LlmError *error)
{
	char *prefix;
	char *payload;
	bool  sealed;

	if (!credential_valid(api_key, error))
		return false;
	prefix = payload_prefix(user_id, origin);
	/* psprintf would leave a part of it in memory that it tried first. */
	payload = palloc(strlen(prefix) + strlen(api_key) + sizeof(PAYLOAD_END));
	strcpy(payload, prefix);
	strcat(payload, api_key);
	strcat(payload, PAYLOAD_END);
	sealed = keyring_seal(payload, strlen(payload), token, error);
	explicit_bzero(payload, strlen(payload));
	pfree(payload);
	pfree(prefix);
	return sealed;
}

bool
credential_reseal(const char *token, char **new_token, bool *changed, LlmError *error)
{
	char  *plain = palloc(strlen(token) + 1);
	size_t length;
	bool   by_first_key;
	bool   done = true;

	*new_token = NULL;
	*changed = false;
	if (!keyring_open(token, plain, &length, &by_first_key, error))
		return false;
	if (!by_first_key)
		done = *changed = keyring_seal(plain, length, new_token, error);
	explicit_bzero(plain, length);
	pfree(plain);
	return done;
}

static void
forget_place(int place)
{
	CachedCredential *entry = cache[place];

	if (entry == NULL)
		return;
	cache[place] = NULL;
	explicit_bzero(entry, entry->size);
	pfree(entry);
}

void
credential_forget(void)
{
	for (int place = 0; place < CACHE_SIZE; place++)
		forget_place(place);
	copying = NULL;
}

static void
forget_at_exit(int code, Datum arg)
{
	credential_forget();
}

/* In a signal handler: wipe what has expired, or all after a reload. */
static void
wipe_expired(void)
{
	TimestampTz now = GetCurrentTimestamp();
	bool		reloaded = ConfigReloadPending || cache_reload != PgReloadTime;

	for (int place = 0; place < CACHE_SIZE; place++)
	{
		CachedCredential *entry = cache[place];

		if (entry == NULL || !entry->opened || entry == copying || (entry->expires_at > now && !reloaded))
			continue;
		entry->opened = false;
		explicit_bzero(entry->api_key, (char *) entry + entry->size - entry->api_key);
	}
}

/* See to it that wipe_expired() is called now and then. */
static void
start_wiping(void)
{
	int period_ms = Min(Max(setting_key_cache_ttl * 1000 / 4, 1000), MAX_WIPE_PERIOD_MS);

	if (!get_timeout_active(wipe_timeout))
		enable_timeout_every(wipe_timeout,
							 TimestampTzPlusMilliseconds(GetCurrentTimestamp(), period_ms), period_ms);
}

static void
forget_at_abort(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_ABORT)
		credential_forget();
}

static void
forget_at_subtransaction_abort(SubXactEvent event, SubTransactionId id, SubTransactionId parent, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		credential_forget();
}

/* Wipe what has expired, or all when the keys may have changed. */
static void
tidy_cache(TimestampTz now)
{
	if (cache_context == NULL)
	{
		cache_context = AllocSetContextCreate(TopMemoryContext, "llm_router keys",
											  ALLOCSET_SMALL_SIZES);
		on_proc_exit(forget_at_exit, 0);
		wipe_timeout = RegisterTimeout(USER_TIMEOUT, wipe_expired);
		RegisterXactCallback(forget_at_abort, NULL);
		RegisterSubXactCallback(forget_at_subtransaction_abort, NULL);
	}
	if (cache_reload != PgReloadTime || cache_keyring != keyring_version())
		credential_forget();
	cache_reload = PgReloadTime;
	cache_keyring = keyring_version();
	for (int place = 0; place < CACHE_SIZE; place++)
		if (cache[place] != NULL && cache[place]->expires_at <= now)
			forget_place(place);
}

/*
 * The token's last whole group of four base64 characters is of its HMAC; "="
 * may pad the group after it.
 */
static int
cache_place(const char *token, size_t length)
{
	uint32 bits = 0;

	if (length >= 8)
		memcpy(&bits, token + length - 8, sizeof(bits));
	return (bits * 0x9e3779b1U) >> 24;
}

static bool
same_user(const char *one, const char *other)
{
	return one == NULL || other == NULL ? one == other : strcmp(one, other) == 0;
}

/* Add a string to the entry's text. */
static char *
place_text(char **end, const char *text)
{
	char  *copy = *end;
	size_t size = strlen(text) + 1;

	memcpy(copy, text, size);
	*end += size;
	return copy;
}

/* A new entry, expired, with room for whatever the token may hold. */
static CachedCredential *
create_entry(const char *token, const char *user_id, const char *origin)
{
	size_t token_size = strlen(token) + 1;
	size_t size = offsetof(CachedCredential, text) + 2 * token_size +
				  (user_id ? strlen(user_id) + 1 : 0) + strlen(origin) + 1;
	CachedCredential *entry = MemoryContextAlloc(cache_context, size);
	char			 *end = entry->text;

	entry->opened = false;
	entry->expires_at = DT_NOBEGIN;
	entry->size = size;
	entry->token = place_text(&end, token);
	entry->user_id = user_id ? place_text(&end, user_id) : NULL;
	entry->origin = place_text(&end, origin);
	entry->api_key = end;
	return entry;
}

/*
 * Leave only the API key of the payload that was decrypted to its place.  False
 * when it was sealed for somebody else.
 */
static bool
extract_key(char *payload, size_t length, const char *prefix)
{
	size_t before = strlen(prefix);
	size_t after = strlen(PAYLOAD_END);
	size_t key_length;

	if (length < before + after ||
		memcmp(payload, prefix, before) != 0 ||
		memcmp(payload + length - after, PAYLOAD_END, after) != 0)
		return false;
	key_length = length - before - after;
	memmove(payload, payload + before, key_length);
	explicit_bzero(payload + key_length, length - key_length);
	return true;
}

/* Decrypt into the entry. */
static bool
open_entry(CachedCredential *entry, LlmError *error)
{
	char  *prefix = payload_prefix(entry->user_id, entry->origin);
	size_t length;

	if (!keyring_open(entry->token, entry->api_key, &length, NULL, error))
		return false;
	if (extract_key(entry->api_key, length, prefix))
		return true;
	error_set(error, ERRCODE_LLM_KEY,
			  "the stored key was sealed for another user or for another address of the provider");
	return error_hint(error, "If base_url of the provider was changed on purpose, store the key again.");
}

/* Copy the key out; NULL when it has been wiped meanwhile. */
static char *
copy_key(CachedCredential *entry)
{
	char *copy = palloc(CREDENTIAL_MAX_LENGTH + 1);
	bool  whole;

	copying = entry;
	whole = entry->opened;
	if (whole)
		strlcpy(copy, entry->api_key, CREDENTIAL_MAX_LENGTH + 1);
	copying = NULL;
	if (whole)
		return copy;
	pfree(copy);
	return NULL;
}

/* The cached entry if it is this key's and may still be used. */
static CachedCredential *
find_cached(const char *token, const char *user_id, const char *origin, int place, TimestampTz now)
{
	CachedCredential *entry = cache[place];

	if (entry != NULL && entry->expires_at > now && cache_reload == PgReloadTime &&
		strcmp(entry->token, token) == 0 && same_user(entry->user_id, user_id) &&
		strcmp(entry->origin, origin) == 0)
		return entry;
	return NULL;
}

char *
credential_open(const char *token, const char *user_id, const char *origin,
				LlmError *error)
{
	TimestampTz		  now = GetCurrentTimestamp();
	int				  place = cache_place(token, strlen(token));
	CachedCredential *entry = find_cached(token, user_id, origin, place, now);
	char			 *api_key = entry ? copy_key(entry) : NULL;

	if (api_key)
		return api_key;

	/* The cache owns the entry before it is opened, in case that is cancelled. */
	tidy_cache(now);
	forget_place(place);
	entry = cache[place] = create_entry(token, user_id, origin);
	if (!open_entry(entry, error))
	{
		forget_place(place);
		return NULL;
	}
	/* The timer leaves it alone until it is copied, even with a time to live of 0. */
	copying = entry;
	entry->expires_at = TimestampTzPlusMilliseconds(now, (int64) setting_key_cache_ttl * 1000);
	entry->opened = true;
	start_wiping();
	return copy_key(entry);
}

void
credential_wipe(char *api_key)
{
	if (api_key == NULL)
		return;
	explicit_bzero(api_key, strlen(api_key));
	pfree(api_key);
}

bool
credential_move(const char *token, const char *user_id, const char *origin,
				const char *new_origin, char **new_token, LlmError *error)
{
	char *api_key = credential_open(token, user_id, origin, error);
	bool  sealed = api_key && credential_seal(api_key, user_id, new_origin, new_token, error);

	credential_wipe(api_key);
	return sealed;
}

char *
credential_mask(const char *api_key)
{
	size_t length = strlen(api_key);

	if (length < MASK_FROM_LENGTH)
		return pstrdup("...");
	return psprintf("%.3s...%s", api_key, api_key + length - 4);
}

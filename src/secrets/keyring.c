/*
 * keyring.c
 *		The master keys: where they come from, and sealing with them.
 *
 * Sources, of which the first that is configured counts: the environment
 * variable LLM_ROUTER_MASTER_KEY, llm_router.master_key_command,
 * llm_router.master_key_file, and a generated file in the data directory.  One
 * bad key makes the whole source unusable, so that a typing error cannot pass
 * for a lost key.  Problems name the setting and the line, never content, and
 * not the path, since callers without privileges see them.
 *
 * A process looks at its source when it has to open or seal: the environment
 * cannot change, a file is read again when it changed.  The command may ask a
 * remote service, so it is run once a server start or reload, by the process
 * that first needs it, and its keys are kept in shared memory: whoever can read
 * that memory can also read the memory of the processes that use them.  Not by
 * the postmaster, which must never wait.  The postmaster only counts reloads
 * (it sees each exactly once, where a backend sees it when it is next used).
 *
 * Locks: the heavyweight lock of wait_for_command is held by the process that runs the
 * command, because its waiters can be cancelled; the LWLock protects the shared
 * keys and is held to copy them.  The heavyweight lock comes first.
 */
#include "secrets/keyring.h"

#include <ctype.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access/xlog.h"
#include "base/settings.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "secrets/fernet.h"
#include "secrets/key_command.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "storage/lock.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#define ENVIRONMENT_VARIABLE "LLM_ROUTER_MASTER_KEY"
#define GENERATED_FILE		 "llm_router_master.key"

/* For hints. */
#define SOURCES \
	"llm_router.master_key_file, llm_router.master_key_command or " ENVIRONMENT_VARIABLE

#define MAX_MASTER_KEYS	 32
#define MAX_SOURCE_BYTES 16384 /* keys and comments together */
#define COMMAND_RETRY_MS 10000 /* after the command failed */

typedef struct MasterKeys
{
	int	  nkeys;
	uint8 keys[MAX_MASTER_KEYS][FERNET_KEY_BYTES];
	char  problem[256]; /* "" when they can be used */
} MasterKeys;

/* What the command printed. */
typedef struct SharedKeyring
{
	pg_atomic_uint32 reloads;		/* of the configuration; counted by the postmaster */
	bool			 loaded;		/* protected by the LWLock, as all that follows */
	uint32			 loaded_reload; /* value of reloads before the command ran */
	TimestampTz		 loaded_at;
	MasterKeys		 keys;
} SharedKeyring;

/* What tells that a file is not the one that was read. */
typedef struct FileIdentity
{
	dev_t			device;
	ino_t			inode;
	off_t			size;
	struct timespec modified;
	struct timespec changed; /* chmod and chown as well */
} FileIdentity;

static SharedKeyring *shared;
static LWLock		 *shared_lock;

/* This process's master keys. */
static MasterKeys  current;
static const char *current_source;
static uint32	   current_version;

/* The file that current came from. */
static char			current_file[MAXPGPATH];
static FileIdentity current_identity;
static TimestampTz	current_reload;

static shmem_request_hook_type previous_shmem_request;
static shmem_startup_hook_type previous_shmem_startup;

static void
wipe_at_exit(int code, Datum arg)
{
	explicit_bzero(&current, sizeof(current));
}

/* Make loaded this process's keys. */
static void
adopt(const MasterKeys *loaded, const char *source)
{
	static bool registered = false;

	if (!registered)
	{
		on_proc_exit(wipe_at_exit, 0);
		registered = true;
	}
	current_source = source;
	if (memcmp(&current, loaded, sizeof(current)) == 0)
		return;
	memcpy(&current, loaded, sizeof(current));
	current_version++;
}

/* Give up on a source; returns nothing usable. */
static void
reject(MasterKeys *keys, const char *format, ...) pg_attribute_printf(2, 3);

static void
reject(MasterKeys *keys, const char *format, ...)
{
	va_list args;

	explicit_bzero(keys, sizeof(*keys));
	va_start(args, format);
	vsnprintf(keys->problem, sizeof(keys->problem), format, args);
	va_end(args);
}

/* Narrow a line to what is neither comment nor white space around. */
static void
trim(const char **start, const char **end)
{
	const char *comment = memchr(*start, '#', *end - *start);

	if (comment)
		*end = comment;
	while (*start < *end && isspace((unsigned char) **start))
		(*start)++;
	while (*end > *start && isspace((unsigned char) (*end)[-1]))
		(*end)--;
}

/*
 * Read keys, separated by any of separators; # begins a comment.  Lines are
 * counted as an editor counts them, other items as keys.
 */
static void
parse_keys(MasterKeys *keys, const char *text, const char *separators,
		   const char *name)
{
	bool lines = strcmp(separators, "\n") == 0;
	int	 line = 1;

	memset(keys, 0, sizeof(*keys));
	for (const char *next = text; next != NULL; line++)
	{
		const char *start = next;
		const char *end = start + strcspn(start, separators);

		next = *end ? end + 1 : NULL;
		trim(&start, &end);
		if (start == end)
			continue;
		if (keys->nkeys == MAX_MASTER_KEYS)
		{
			reject(keys, "%s has more than %d keys", name, MAX_MASTER_KEYS);
			return;
		}
		if (!fernet_key_decode(start, end - start, keys->keys[keys->nkeys]))
		{
			reject(keys, "%s %d of %s is not a Fernet key (32 bytes in base64url)",
				   lines ? "line" : "key", lines ? line : keys->nkeys + 1, name);
			return;
		}
		keys->nkeys++;
	}
	if (keys->nkeys == 0)
		reject(keys, "%s has no keys", name);
}

static void
use_environment(const char *value)
{
	MasterKeys loaded;

	parse_keys(&loaded, value, ", \t\r\n", ENVIRONMENT_VARIABLE);
	adopt(&loaded, "environment");
	explicit_bzero(&loaded, sizeof(loaded));
}

static FileIdentity
file_identity(const struct stat *st)
{
	FileIdentity identity;

	memset(&identity, 0, sizeof(identity));
	identity.device = st->st_dev;
	identity.inode = st->st_ino;
	identity.size = st->st_size;
	identity.modified = st->st_mtim;
	identity.changed = st->st_ctim;
	return identity;
}

/*
 * Why a file with these properties must not be trusted, or NULL.  PostgreSQL's
 * own rule for ssl_key_file: a file of root's may be readable by its group,
 * which is how container platforms hand secrets over.
 */
static const char *
file_objection(const struct stat *st)
{
	mode_t forbidden = st->st_uid == 0 ? S_IWGRP | S_IRWXO : S_IRWXG | S_IRWXO;

	if (!S_ISREG(st->st_mode))
		return "is not a regular file";
	if (st->st_uid != geteuid() && st->st_uid != 0)
		return "must belong to the server's user or to root";
	if (st->st_mode & forbidden)
		return "can be read or written by others; its permissions must be 0600, or 0640 if root owns it";
	if (st->st_size >= MAX_SOURCE_BYTES)
		return "is too large for a file of keys";
	return NULL;
}

/* Read the open file into text.  Returns false with errno set. */
static bool
read_whole(int fd, char text[MAX_SOURCE_BYTES])
{
	size_t	used = 0;
	ssize_t got;

	while (used < MAX_SOURCE_BYTES - 1 &&
		   (got = read(fd, text + used, MAX_SOURCE_BYTES - 1 - used)) != 0)
	{
		if (got > 0)
			used += got;
		else if (errno != EINTR)
			return false;
	}
	text[used] = '\0';
	return true;
}

/* Read keys from a file that exists; name is what problems call it. */
static void
read_file(MasterKeys *keys, const char *path, const char *name, FileIdentity *identity)
{
	char		text[MAX_SOURCE_BYTES];
	struct stat st;
	const char *objection;

	/* Not blocking, so that a named pipe cannot hang the session. */
	int fd = OpenTransientFile(path, O_RDONLY | O_NONBLOCK | PG_BINARY);

	if (fd < 0 || fstat(fd, &st) != 0)
		reject(keys, "%s cannot be opened: %s", name, strerror(errno));
	else
	{
		*identity = file_identity(&st);
		if ((objection = file_objection(&st)) != NULL)
			reject(keys, "%s %s", name, objection);
		else if (!read_whole(fd, text))
			reject(keys, "%s cannot be read: %s", name, strerror(errno));
		else
			parse_keys(keys, text, "\n", name);
	}
	if (fd >= 0)
		CloseTransientFile(fd);
	explicit_bzero(text, sizeof(text));
}

/*
 * Use a file of keys, reading it only if it is not the one last read.  No
 * generated file is no keys; a file that a setting names has to be there.
 */
static void
use_file(const char *path, const char *name, const char *source, bool required)
{
	MasterKeys	 loaded;
	FileIdentity identity;
	struct stat	 st;

	memset(&loaded, 0, sizeof(loaded));
	memset(&identity, 0, sizeof(identity));
	if (stat(path, &st) == 0)
	{
		identity = file_identity(&st);
		if (current_source == source && current_reload == PgReloadTime &&
			strcmp(current_file, path) == 0 &&
			memcmp(&identity, &current_identity, sizeof(identity)) == 0)
			return;
		read_file(&loaded, path, name, &identity);
	}
	else if (errno != ENOENT || required)
		reject(&loaded, "%s cannot be opened: %s", name, strerror(errno));

	adopt(&loaded, source);
	explicit_bzero(&loaded, sizeof(loaded));
	strlcpy(current_file, path, sizeof(current_file));
	current_identity = identity;
	current_reload = PgReloadTime;
}

/* Copy what the command printed, if it has run since the last reload. */
static bool
copy_shared(MasterKeys *keys)
{
	bool fresh;

	LWLockAcquire(shared_lock, LW_SHARED);
	fresh = shared->loaded &&
			shared->loaded_reload == pg_atomic_read_u32(&shared->reloads) &&
			(shared->keys.problem[0] == '\0' ||
			 !TimestampDifferenceExceeds(shared->loaded_at, GetCurrentTimestamp(),
										 COMMAND_RETRY_MS));
	if (fresh)
		memcpy(keys, &shared->keys, sizeof(*keys));
	LWLockRelease(shared_lock);
	return fresh;
}

/* Run the command and put what it printed into shared memory. */
static void
run_command(MasterKeys *keys)
{
	static const char name[] = "llm_router.master_key_command";
	uint32			  reload = pg_atomic_read_u32(&shared->reloads);
	char			  text[MAX_SOURCE_BYTES];
	char			 *problem = key_command_run(setting_master_key_command, text, sizeof(text));

	if (problem)
	{
		reject(keys, "%s %s", name, problem);
		ereport(LOG, (errmsg("%s", keys->problem)));
	}
	else
		parse_keys(keys, text, "\n", name);
	explicit_bzero(text, sizeof(text));

	LWLockAcquire(shared_lock, LW_EXCLUSIVE);
	memcpy(&shared->keys, keys, sizeof(*keys));
	shared->loaded = true;
	shared->loaded_reload = reload;
	shared->loaded_at = GetCurrentTimestamp();
	LWLockRelease(shared_lock);
}

/*
 * One process runs the command, the others wait for it.  The lock is an advisory
 * one of no database and of a class that SQL cannot name; it is a session's, as
 * workers need keys outside transactions.
 */
static void
wait_for_command(MasterKeys *keys)
{
	LOCKTAG command_lock;

	SET_LOCKTAG_ADVISORY(command_lock, InvalidOid, 0x6c6c6d72, 0x6b657973, 3);
	(void) LockAcquire(&command_lock, ExclusiveLock, true, false);
	PG_TRY();
	{
		if (!copy_shared(keys))
			run_command(keys);
	}
	PG_CATCH();
	{
		(void) LockRelease(&command_lock, ExclusiveLock, true);
		PG_RE_THROW();
	}
	PG_END_TRY();
	(void) LockRelease(&command_lock, ExclusiveLock, true);
}

static void
use_command(void)
{
	MasterKeys loaded;

	if (!copy_shared(&loaded))
		wait_for_command(&loaded);
	adopt(&loaded, "command");
	explicit_bzero(&loaded, sizeof(loaded));
}

/* See to it that current is what the source says now. */
static void
refresh(void)
{
	const char *environment = getenv(ENVIRONMENT_VARIABLE);

	Assert(settings_preloaded);
	if (environment != NULL && *environment != '\0')
		use_environment(environment);
	else if (*setting_master_key_command != '\0')
		use_command();
	else if (*setting_master_key_file != '\0')
		use_file(setting_master_key_file, "llm_router.master_key_file", "file", true);
	else
		use_file(GENERATED_FILE, GENERATED_FILE " in the data directory",
				 "generated file", false);
}

bool
keyring_usable(LlmError *error)
{
	refresh();
	if (current.problem[0] != '\0')
	{
		error_set(error, ERRCODE_LLM_MASTER_KEY, "the master key cannot be used: %s",
				  current.problem);
		return error_hint(error, "An administrator has to correct its source; see llm_doctor().");
	}
	if (current.nkeys == 0)
	{
		error_set(error, ERRCODE_LLM_MASTER_KEY, "no master key is configured");
		return error_hint(error, "Bring back the key that sealed the stored keys, as " SOURCES
								 " or as the file " GENERATED_FILE " in the data directory.");
	}
	return true;
}

/*
 * What names a key without giving it away: SHA-256 over a prefix of this use
 * alone and the key, cut to 64 bits.
 */
static void
fingerprint(const uint8 *key, char text[KEYRING_FINGERPRINT_LENGTH + 1])
{
	static const char prefix[] = "llm_router master key fingerprint:";
	uint8			  input[sizeof(prefix) - 1 + FERNET_KEY_BYTES];
	uint8			  digest[EVP_MAX_MD_SIZE];

	memcpy(input, prefix, sizeof(prefix) - 1);
	memcpy(input + sizeof(prefix) - 1, key, FERNET_KEY_BYTES);
	text[0] = '\0';
	if (EVP_Digest(input, sizeof(input), digest, NULL, EVP_sha256(), NULL))
		for (int i = 0; i < KEYRING_FINGERPRINT_LENGTH / 2; i++)
			snprintf(text + 2 * i, 3, "%02x", digest[i]);
	explicit_bzero(input, sizeof(input));
}

void
keyring_status(KeyringStatus *status)
{
	refresh();
	memset(status, 0, sizeof(*status));
	status->nkeys = current.nkeys;
	status->source = current_source;
	if (current.problem[0] != '\0')
		status->problem = pstrdup(current.problem);
	if (current.nkeys > 0)
		fingerprint(current.keys[0], status->fingerprint);
}

bool
keyring_has(const char *wanted)
{
	refresh();
	for (int i = 0; i < current.nkeys; i++)
	{
		char text[KEYRING_FINGERPRINT_LENGTH + 1];

		fingerprint(current.keys[i], text);
		if (strcmp(text, wanted) == 0)
			return true;
	}
	return false;
}

uint32
keyring_version(void)
{
	return current_version;
}

/*
 * Write text to a new file, durably, unless path exists.  The content goes to
 * another name first, since another process may read path as soon as it is
 * there.  Returns false with errno set.
 */
static bool
write_new_file(const char *path, const char *text)
{
	char temporary[MAXPGPATH];
	int	 fd;
	bool done;
	int	 saved_errno;

	snprintf(temporary, sizeof(temporary), "%s.%d.tmp", path, MyProcPid);
	fd = OpenTransientFilePerm(temporary, O_WRONLY | O_CREAT | O_TRUNC | PG_BINARY, 0600);
	if (fd < 0)
		return false;
	errno = ENOSPC; /* what a short write means */
	done = write(fd, text, strlen(text)) == (ssize_t) strlen(text) && pg_fsync(fd) == 0;
	saved_errno = errno;
	CloseTransientFile(fd);
	if (done && link(temporary, path) != 0 && errno != EEXIST)
	{
		saved_errno = errno;
		done = false;
	}
	unlink(temporary);
	if (done)
		fsync_fname(".", true);
	errno = saved_errno;
	return done;
}

bool
keyring_generate(LlmError *error)
{
	static const char comment[] = "# Master key of llm_router. Without it the stored keys are lost: "
								  "keep a copy elsewhere.\n";
	uint8			  key[FERNET_KEY_BYTES];
	char			  encoded[FERNET_KEY_LENGTH + 1];
	char			  text[sizeof(comment) + FERNET_KEY_LENGTH + 1];
	bool			  written;

	refresh();
	if (strcmp(current_source, "generated file") != 0 || current.nkeys > 0 ||
		current.problem[0] != '\0')
		return keyring_usable(error);
	if (RecoveryInProgress() || IsBinaryUpgrade)
	{
		error_set(error, ERRCODE_LLM_MASTER_KEY, "a master key cannot be made during recovery or an upgrade");
		return error_hint(error, "Store the first key on the primary, or after the upgrade.");
	}
	if (!pg_strong_random(key, sizeof(key)))
		return error_set(error, ERRCODE_LLM_MASTER_KEY, "could not make a master key: no random numbers");
	fernet_key_encode(key, encoded);
	snprintf(text, sizeof(text), "%s%s\n", comment, encoded);
	written = write_new_file(GENERATED_FILE, text);
	explicit_bzero(key, sizeof(key));
	explicit_bzero(encoded, sizeof(encoded));
	explicit_bzero(text, sizeof(text));
	if (!written)
		return error_set(error, ERRCODE_LLM_MASTER_KEY, "could not write %s in the data directory: %s",
						 GENERATED_FILE, strerror(errno));
	return keyring_usable(error);
}

bool
keyring_seal(const char *plain, size_t length, char **token, LlmError *error)
{
	if (!keyring_usable(error))
		return false;
	*token = fernet_seal(current.keys[0], plain, length);
	if (*token == NULL)
		return error_set(error, ERRCODE_LLM_MASTER_KEY,
						 "could not encrypt a key: OpenSSL or the random generator failed");
	return true;
}

bool
keyring_open(const char *token, char *plain, size_t *length, bool *by_first_key,
			 LlmError *error)
{
	if (!keyring_usable(error))
		return false;
	for (int i = 0; i < current.nkeys; i++)
	{
		if (fernet_open(current.keys[i], token, plain, length))
		{
			if (by_first_key)
				*by_first_key = i == 0;
			return true;
		}
	}
	error_set(error, ERRCODE_LLM_MASTER_KEY, "no configured master key opens the stored key");
	return error_hint(error, "Add the master key that sealed it to " SOURCES ", or store the key again.");
}

/* Runs in the postmaster: no locks, nothing that can fail. */
static void
count_reload(void)
{
	if (shared != NULL)
		pg_atomic_fetch_add_u32(&shared->reloads, 1);
}

static void
request_shared_memory(void)
{
	if (previous_shmem_request)
		previous_shmem_request();
	RequestAddinShmemSpace(MAXALIGN(sizeof(SharedKeyring)));
	RequestNamedLWLockTranche("llm_router_keyring", 1);
}

static void
start_shared_memory(void)
{
	bool found;

	if (previous_shmem_startup)
		previous_shmem_startup();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared = ShmemInitStruct("llm_router keyring", sizeof(SharedKeyring), &found);
	shared_lock = &GetNamedLWLockTranche("llm_router_keyring")->lock;
	if (!found)
	{
		memset(shared, 0, sizeof(*shared));
		pg_atomic_init_u32(&shared->reloads, 0);
	}
	LWLockRelease(AddinShmemInitLock);
}

void
keyring_init(void)
{
	previous_shmem_request = shmem_request_hook;
	shmem_request_hook = request_shared_memory;
	previous_shmem_startup = shmem_startup_hook;
	shmem_startup_hook = start_shared_memory;
	settings_reload_hook = count_reload;
}

/*
 * ledger_spill.c
 *		The files that keep records over a restart.
 *
 * llm_router/OID.spill in the data directory holds one record a line: the
 * CRC-32C of the record in hexadecimal, a space, and the record in JSON, in the
 * database's encoding: a call by the columns of llm_usage_logs, a note as
 * llm_note_write takes it.  It is appended to, a newline first, so that a line
 * cut by a crash spoils no other.
 *
 * Who spills holds the queue as its holder, so that no writer starts and no
 * second process spills it; the ledger's lock is not held while writing.
 * Loading twice does no harm: the ledger's key refuses what it has, and
 * llm_note_write passes over an entry that is there.
 */
#include "state/ledger_spill.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/compat.h"
#include "common/file_perm.h"
#include "miscadmin.h"
#include "port/pg_crc32c.h"
#include "state/ledger_row.h"
#include "storage/fd.h"
#include "utils/memutils.h"

#define SPILL_DIRECTORY "llm_router"
#define SPILL_SUFFIX	".spill"
#define SPILL_BATCH		256 /* records written with one fsync */
#define CRC_DIGITS		8

static void
spill_path(char path[MAXPGPATH], Oid database)
{
	snprintf(path, MAXPGPATH, SPILL_DIRECTORY "/%u" SPILL_SUFFIX, database);
}

static uint32
line_crc(const char *json, int length)
{
	pg_crc32c crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, json, length);
	FIN_CRC32C(crc);
	return crc;
}

/* Append to the database's file and bring it to disk. */
static bool
append_durably(Oid database, const StringInfoData *lines)
{
	char path[MAXPGPATH];
	int	 file;
	bool written;

	spill_path(path, database);
	if (MakePGDirectory(SPILL_DIRECTORY) < 0 && errno != EEXIST)
		return false;
	file = BasicOpenFilePerm(path, O_WRONLY | O_CREAT | O_APPEND | PG_BINARY, pg_file_create_mode);
	if (file < 0)
		return false;
	written = write(file, lines->data, lines->len) == lines->len && pg_fsync(file) == 0;
	if (close(file) != 0)
		written = false;
	if (written)
	{
		fsync_fname(SPILL_DIRECTORY, true);
		fsync_fname(".", true);
	}
	return written;
}

void
ledger_log_line(Oid database, const char *json, const char *reason)
{
	ereport(LOG,
			(errmsg("llm_router: %s of database %u not written (%s): %s",
					ledger_json_kind(json) == LEDGER_CALL ? "ledger record" : "audit entry",
					database, reason, json),
			 errhidestmt(true), errhidecontext(true)));
}

void
ledger_log_record(Oid database, int32 block, const char *reason)
{
	StringInfoData json;

	initStringInfo(&json);
	ledger_record_json(block, &json);
	ledger_log_line(database, json.data, reason);
	pfree(json.data);
}

static void
spill_records(Oid database, const int32 *numbers, int n, bool *logged)
{
	StringInfoData lines;
	StringInfoData json;

	initStringInfo(&lines);
	initStringInfo(&json);
	for (int i = 0; i < n; i++)
	{
		/* Nothing was sent before it was committed. */
		if (ledger_record(numbers[i])->is_intent)
			continue;
		resetStringInfo(&json);
		ledger_record_json(numbers[i], &json);
		appendStringInfo(&lines, "\n%08X %s\n", line_crc(json.data, json.len), json.data);
	}
	*logged = !append_durably(database, &lines);
	if (*logged)
	{
		ereport(LOG,
				(errcode_for_file_access(),
				 errmsg("llm_router: could not write the spill file of database %u: %m",
						database)));
		for (int i = 0; i < n; i++)
			ledger_log_record(database, numbers[i], "the spill file could not be written");
	}
	pfree(lines.data);
	pfree(json.data);
}

/* Hold the queue if it has records that nobody else sees to. */
static LedgerQueue *
hold_queue(Oid database)
{
	LedgerQueue *queue;
	int32		 me = compat_my_proc_number();

	LWLockAcquire(ledger_lock, LW_EXCLUSIVE);
	queue = ledger_queue_find(database);
	if (queue != NULL && ledger_queue_length(queue) > 0 && queue->writer_pid == 0 &&
		(queue->holder == LEDGER_NONE || queue->holder == me))
		queue->holder = me;
	else
		queue = NULL;
	LWLockRelease(ledger_lock);
	return queue;
}

/* The next records, all of a kind, or, when there are none, the end of the hold. */
static int
next_records(LedgerQueue *queue, LedgerKind *kind, int32 *numbers)
{
	int n;

	LWLockAcquire(ledger_lock, LW_EXCLUSIVE);
	*kind = queue->lists[LEDGER_CALL].length > 0 ? LEDGER_CALL : LEDGER_NOTE;
	n = ledger_queue_peek(queue, *kind, numbers, SPILL_BATCH);
	if (n == 0)
		queue->holder = LEDGER_NONE;
	LWLockRelease(ledger_lock);
	return n;
}

static void
records_done(LedgerQueue *queue, LedgerKind kind, int n, bool logged)
{
	LWLockAcquire(ledger_lock, LW_EXCLUSIVE);
	ledger_queue_advance(queue, kind, n);
	if (logged)
		queue->logged += n;
	LWLockRelease(ledger_lock);
}

void
ledger_spill(Oid database)
{
	LedgerQueue *queue = hold_queue(database);
	int32		 numbers[SPILL_BATCH];
	LedgerKind	 kind;
	int			 n;
	int			 total = 0;

	if (queue == NULL)
		return;
	while ((n = next_records(queue, &kind, numbers)) > 0)
	{
		bool logged;

		spill_records(database, numbers, n, &logged);
		records_done(queue, kind, n, logged);
		total += n;
	}
	ereport(LOG,
			(errmsg("llm_router: %d ledger records of database %u are kept for the next start",
					total, database)));
}

void
ledger_spill_orphans(Oid database)
{
	const LedgerQueue *queue;
	bool			   orphans;

	LWLockAcquire(ledger_lock, LW_SHARED);
	queue = ledger_queue_find(database);
	orphans = queue != NULL && ledger_queue_length(queue) > 0 &&
			  queue->writer_state == WRITER_NONE && ledger_ring->launcher_pid == 0;
	LWLockRelease(ledger_lock);
	if (orphans)
		ledger_spill(database);
}

void
ledger_log_records(Oid database, const char *reason)
{
	LedgerQueue *queue = hold_queue(database);
	int32		 numbers[SPILL_BATCH];
	LedgerKind	 kind;
	int			 n;

	if (queue == NULL)
		return;
	while ((n = next_records(queue, &kind, numbers)) > 0)
	{
		for (int i = 0; i < n; i++)
			ledger_log_record(database, numbers[i], reason);
		records_done(queue, kind, n, true);
	}
}

List *
ledger_spill_databases(void)
{
	List		  *databases = NIL;
	DIR			  *directory = AllocateDir(SPILL_DIRECTORY);
	struct dirent *entry;

	if (directory == NULL)
		return NIL;
	while ((entry = ReadDirExtended(directory, SPILL_DIRECTORY, LOG)) != NULL)
	{
		char *end;
		Oid	  database = (Oid) strtoul(entry->d_name, &end, 10);

		if (end != entry->d_name && strcmp(end, SPILL_SUFFIX) == 0)
			databases = lappend_oid(databases, database);
	}
	FreeDir(directory);
	return databases;
}

static char *
read_file(const char *path)
{
	int			file = OpenTransientFile(path, O_RDONLY | PG_BINARY);
	struct stat status;
	char	   *content;

	if (file < 0)
	{
		if (errno == ENOENT)
			return NULL;
		ereport(ERROR,
				(errcode_for_file_access(), errmsg("could not open file \"%s\": %m", path)));
	}
	if (fstat(file, &status) != 0)
		ereport(ERROR,
				(errcode_for_file_access(), errmsg("could not stat file \"%s\": %m", path)));
	content = MemoryContextAllocHuge(CurrentMemoryContext, (Size) status.st_size + 1);
	if (read(file, content, status.st_size) != status.st_size)
		ereport(ERROR,
				(errcode_for_file_access(), errmsg("could not read file \"%s\": %m", path)));
	content[status.st_size] = '\0';
	CloseTransientFile(file);
	return content;
}

/* The JSON of a line, or NULL when the line is damaged. */
static const char *
line_json(const char *line)
{
	char  *end;
	uint32 crc = (uint32) strtoul(line, &end, 16);

	if (end != line + CRC_DIGITS || *end != ' ' ||
		line_crc(end + 1, (int) strlen(end + 1)) != crc)
		return NULL;
	return end + 1;
}

List *
ledger_spill_read(Oid database)
{
	char  path[MAXPGPATH];
	char *content;
	char *rest;
	List *records = NIL;

	spill_path(path, database);
	content = read_file(path);
	if (content == NULL)
		return NIL;
	for (char *line = strtok_r(content, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
	{
		const char *record = line_json(line);

		if (record != NULL)
			records = lappend(records, unconstify(char *, record));
		else
			ereport(LOG,
					(errmsg("llm_router: damaged line in \"%s\": %s", path, line)));
	}
	return records;
}

void
ledger_spill_remove(Oid database)
{
	char path[MAXPGPATH];

	spill_path(path, database);
	if (access(path, F_OK) == 0)
		(void) durable_unlink(path, LOG);
}

/*
 * trust.c
 *		The certificate authorities, loaded once a process.
 *
 * libcurl by itself would read the system's whole bundle for each new
 * connection, or once a process (20 ms, 0.9 MB for Debian's 144 authorities).
 * A directory with hashed names holds the same, and OpenSSL reads from it only
 * the authority that a server's certificate names: 0.2 ms.  So the bundle is
 * used only where there is no such directory.  In both cases OpenSSL keeps what
 * it has read in the store, which is remade when a file or directory changes:
 * an authority that the administrator removes is not trusted for as long as a
 * session lives.
 */
#include "net/trust.h"

#include "base/settings.h"

#include <dirent.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/stat.h>

/* What a file was like when it was loaded. */
typedef struct FileStamp
{
	char			path[MAXPGPATH];
	struct timespec modified;
	ino_t			inode;
} FileStamp;

static X509_STORE *store;
static FileStamp   system_stamp;
static FileStamp   ca_file_stamp;
static char		   problem[MAXPGPATH + 128];

static FileStamp
stamp_of(const char *path)
{
	FileStamp	stamp = { 0 };
	struct stat status;

	strlcpy(stamp.path, path, sizeof(stamp.path));
	if (path[0] != '\0' && stat(path, &status) == 0)
	{
		stamp.modified = status.st_mtim;
		stamp.inode = status.st_ino;
	}
	return stamp;
}

static bool
stamps_equal(const FileStamp *a, const FileStamp *b)
{
	return strcmp(a->path, b->path) == 0 && a->inode == b->inode &&
		   a->modified.tv_sec == b->modified.tv_sec && a->modified.tv_nsec == b->modified.tv_nsec;
}

/* Whether OpenSSL finds authorities there by their hash ("5ad8a5d6.0"). */
static bool
is_hashed_directory(const char *path)
{
	DIR			  *directory = opendir(path);
	struct dirent *entry;
	bool		   found = false;

	if (!directory)
		return false;
	while (!found && (entry = readdir(directory)) != NULL)
		found = strspn(entry->d_name, "0123456789abcdef") == 8 && strcmp(entry->d_name + 8, ".0") == 0;
	closedir(directory);
	return found;
}

/* The directory or bundle of the system that libcurl was built for; "" if unknown. */
static const char *
system_authorities(void)
{
	static const char *path;

	if (!path)
	{
		const curl_version_info_data *version = curl_version_info(CURLVERSION_NOW);

		if (version->capath && is_hashed_directory(version->capath))
			path = version->capath;
		else
			path = version->cainfo ? version->cainfo : "";
	}
	return path;
}

static bool
load_system(X509_STORE *into, const char *path)
{
	struct stat status;

	if (path[0] == '\0')
		return X509_STORE_set_default_paths(into) == 1;
	if (stat(path, &status) == 0 && S_ISDIR(status.st_mode))
		return X509_STORE_load_path(into, path) == 1;
	return X509_STORE_load_file(into, path) == 1;
}

/* Make the store anew; false with "problem" set. */
static bool
load_store(void)
{
	X509_STORE *fresh = X509_STORE_new();
	const char *unreadable = NULL;

	if (!fresh)
		unreadable = "memory";
	else if (!load_system(fresh, system_stamp.path))
		unreadable = system_stamp.path;
	else if (ca_file_stamp.path[0] != '\0' && X509_STORE_load_file(fresh, ca_file_stamp.path) != 1)
		unreadable = ca_file_stamp.path;

	ERR_clear_error();
	X509_STORE_free(store);
	store = fresh;
	if (!unreadable)
		return true;

	snprintf(problem, sizeof(problem), "cannot load certificate authorities from \"%s\"", unreadable);
	X509_STORE_free(store);
	store = NULL;
	return false;
}

CURLcode
trust_apply(CURL *easy, void *ssl_context, void *userdata)
{
	FileStamp system_now = stamp_of(system_authorities());
	FileStamp ca_file_now = stamp_of(setting_ca_file);

	if (!store || !stamps_equal(&system_now, &system_stamp) || !stamps_equal(&ca_file_now, &ca_file_stamp))
	{
		system_stamp = system_now;
		ca_file_stamp = ca_file_now;
		if (!load_store())
			return CURLE_SSL_CACERT_BADFILE;
	}
	SSL_CTX_set1_cert_store(ssl_context, store);
	return CURLE_OK;
}

const char *
trust_problem(void)
{
	return problem;
}

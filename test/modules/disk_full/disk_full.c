/*
 * disk_full.c
 *		A full disk, for a server that is started with this in LD_PRELOAD.
 *
 * While the file that DISK_FULL_FLAG names exists, no file of a table (below
 * base/) can grow: what would make it longer fails with ENOSPC.  All else is as
 * usual, WAL included, without which PostgreSQL stops altogether.
 */
#define _GNU_SOURCE

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static bool
is_of_a_table(int fd)
{
	char	link[64];
	char	path[4096];
	ssize_t length;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	length = readlink(link, path, sizeof(path) - 1);
	if (length < 0)
		return false;
	path[length] = '\0';
	return strstr(path, "/base/") != NULL;
}

/* Whether the disk is full for what ends at that offset. */
static bool
is_full(int fd, off_t end)
{
	const char *flag = getenv("DISK_FULL_FLAG");
	struct stat file;

	return flag && access(flag, F_OK) == 0 && is_of_a_table(fd) && fstat(fd, &file) == 0 && end > file.st_size;
}

static off_t
total(const struct iovec *parts, int n)
{
	off_t size = 0;

	for (int i = 0; i < n; i++)
		size += parts[i].iov_len;
	return size;
}

ssize_t
pwrite(int fd, const void *bytes, size_t size, off_t offset)
{
	static ssize_t (*next)(int, const void *, size_t, off_t);

	if (next == NULL)
		next = dlsym(RTLD_NEXT, "pwrite");
	if (is_full(fd, offset + (off_t) size))
	{
		errno = ENOSPC;
		return -1;
	}
	return next(fd, bytes, size, offset);
}

ssize_t
pwritev(int fd, const struct iovec *parts, int n, off_t offset)
{
	static ssize_t (*next)(int, const struct iovec *, int, off_t);

	if (next == NULL)
		next = dlsym(RTLD_NEXT, "pwritev");
	if (is_full(fd, offset + total(parts, n)))
	{
		errno = ENOSPC;
		return -1;
	}
	return next(fd, parts, n, offset);
}

int
posix_fallocate(int fd, off_t offset, off_t size)
{
	static int (*next)(int, off_t, off_t);

	if (next == NULL)
		next = dlsym(RTLD_NEXT, "posix_fallocate");
	return is_full(fd, offset + size) ? ENOSPC : next(fd, offset, size);
}

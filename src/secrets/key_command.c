/*
 * key_command.c
 *		Run llm_router.master_key_command.
 *
 * Not popen(): a command that asks a key management service may hang, and
 * neither popen nor pclose can be interrupted or knows which process to end.
 * Here the command has a process group of its own, which is killed however the
 * wait ends, and the wait is on the latch.
 */
#include "secrets/key_command.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/compat.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#define COMMAND_TIMEOUT_MS 30000

extern char **environ;

/*
 * Start "sh -c command" in its own process group, with a plain signal state and
 * its output in the pipe.  Returns 0 or an errno.
 */
static int
start_command(const char *command, int output_fd, pid_t *pid)
{
	char *const				   argv[] = { "sh", "-c", unconstify(char *, command), NULL };
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t		   attributes;
	sigset_t				   none;
	sigset_t				   defaults;
	int						   result;

	sigemptyset(&none);
	sigemptyset(&defaults);
	sigaddset(&defaults, SIGPIPE);
	sigaddset(&defaults, SIGHUP);

	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attributes);
	posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, output_fd, STDOUT_FILENO);
	posix_spawnattr_setpgroup(&attributes, 0);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setsigdefault(&attributes, &defaults);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP |
											  POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	result = posix_spawn(pid, "/bin/sh", &actions, &attributes, argv, environ);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	return result;
}

/* Read until the end of the output.  Returns NULL or what went wrong. */
static char *
read_output(int fd, char *output, size_t size)
{
	TimestampTz deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
													   COMMAND_TIMEOUT_MS);
	size_t		used = 0;

	for (;;)
	{
		long	left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), deadline);
		ssize_t got;

		if (left <= 0)
			return psprintf("did not finish within %d s", COMMAND_TIMEOUT_MS / 1000);
		WaitLatchOrSocket(MyLatch,
						  WL_LATCH_SET | WL_SOCKET_READABLE | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						  fd, left, compat_wait_event("LlmRouterKeyCommand"));
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();

		got = read(fd, output + used, size - 1 - used);
		if (got == 0)
			break;
		if (got < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (got < 0)
			return psprintf("could not be read: %s", strerror(errno));
		used += got;
		if (used == size - 1)
			return pstrdup("printed more than master keys");
	}
	output[used] = '\0';
	return NULL;
}

/* What its exit status says is wrong, or NULL. */
static char *
status_problem(int status)
{
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return NULL;
	if (WIFEXITED(status))
		return psprintf("failed with exit status %d", WEXITSTATUS(status));
	return pstrdup("was ended by a signal");
}

/*
 * Reap the command.  One that closed its output and goes on is not waited for:
 * it gets the rest of a second, then it is killed.
 */
static int
end_command(pid_t pid, bool at_once)
{
	int status = 0;

	for (int tries = 0; !at_once && tries < 100; tries++)
	{
		if (waitpid(pid, &status, WNOHANG) != 0)
			return status;
		pg_usleep(10000);
	}
	kill(-pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

char *
key_command_run(const char *command, char *output, size_t size)
{
	int	  fds[2];
	pid_t pid;
	int	  failed;
	char *volatile problem = NULL;
	volatile bool finished = false;

	if (pipe2(fds, O_CLOEXEC) != 0)
		return psprintf("could not be started: %s", strerror(errno));
	failed = start_command(command, fds[1], &pid);
	close(fds[1]);
	if (failed != 0)
	{
		close(fds[0]);
		return psprintf("could not be started: %s", strerror(failed));
	}
	ReserveExternalFD();
	fcntl(fds[0], F_SETFL, O_NONBLOCK);

	PG_TRY();
	{
		problem = read_output(fds[0], output, size);
		finished = problem == NULL;
	}
	PG_FINALLY();
	{
		int status;

		close(fds[0]);
		ReleaseExternalFD();
		status = end_command(pid, !finished);
		if (finished)
			problem = status_problem(status);
		if (!finished || problem != NULL)
			explicit_bzero(output, size);
	}
	PG_END_TRY();
	return problem;
}

/*
 * loop.c
 *		libcurl's multi handle on PostgreSQL's wait events.
 *
 * A WaitEventSet cannot forget a socket, and libcurl's sockets come and go.  So
 * libcurl's sockets are in an epoll descriptor of our own, and that one, with
 * the latch and the postmaster's death, is in a set that lives as long as the
 * process.  Nothing is created or registered anew for a request on a connection
 * that is already open, except that libcurl lets go of the socket in between.
 *
 * Invariants:
 * - Interrupts are taken in loop_wait, never while libcurl is on the stack.
 * - libcurl resolves names in threads of its own.  They are created with all
 *	 signals blocked, so that PostgreSQL's signals are handled by the one thread
 *	 that may do so.
 * - Each socket counts as an external file descriptor of the process while it
 *	 is open, so that PostgreSQL's own files leave room for it, and the other
 *	 way round.
 * - What is created stays when a later step fails, and is used the next time.
 *
 * epoll makes this Linux only.
 */
#include "net/loop.h"

#include "base/clock.h"
#include "base/compat.h"
#include "libpq/libpq.h"
#include "miscadmin.h"
#include "net/curl_memory.h"
#include "storage/fd.h"
#include "storage/latch.h"
#include "utils/memutils.h"

#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define CLIENT_CHECK_MS 500

/* Idle connections kept open: enough for every provider of a plan. */
#define MAX_IDLE_CONNECTIONS 16L

#define EVENTS_AT_ONCE 64

#define NO_TIMER PG_INT64_MAX

static CURLM		*multi;
static CURLSH		*share; /* TLS sessions; connections and names are the multi's */
static int			 epoll_fd = -1;
static WaitEventSet *wait_set;
static uint32		 wait_event;
static int64		 timer_ms = NO_TIMER; /* when libcurl wants to be called */
static int64		 client_checked_ms;	  /* when the client was last known to be there */
static int64		 waited_until_ms;	  /* when loop_wait last woke up */

/* What is known of a file descriptor. */
typedef enum SocketState
{
	SOCKET_UNKNOWN = 0, /* not opened by loop_open_socket */
	SOCKET_IN_USE,
	SOCKET_IDLE /* of a kept connection between two requests */
} SocketState;

static uint8 *socket_states; /* by descriptor; from malloc */
static int	  socket_states_size;

static bool		signals_blocked;
static sigset_t signals_before;

/* ------------------------------------------------------------------------
 * Callbacks of libcurl: they do not throw
 * ------------------------------------------------------------------------
 */

/* CURLMOPT_TIMERFUNCTION */
static int
on_timer(CURLM *handle, long timeout_ms, void *userdata)
{
	timer_ms = timeout_ms < 0 ? NO_TIMER : monotonic_ms() + timeout_ms;
	return 0;
}

static SocketState
socket_state(int fd)
{
	return fd < socket_states_size ? (SocketState) socket_states[fd] : SOCKET_UNKNOWN;
}

/* False when there is no memory to remember it. */
static bool
set_socket_state(int fd, SocketState state)
{
	if (fd >= socket_states_size)
	{
		int	   size = Max(fd + 1, 64);
		uint8 *larger = realloc(socket_states, size);

		if (!larger)
			return false;
		memset(larger + socket_states_size, SOCKET_UNKNOWN, size - socket_states_size);
		socket_states = larger;
		socket_states_size = size;
	}
	socket_states[fd] = state;
	return true;
}

/* libcurl lets go of the socket of a paused transfer, too. */
static bool
is_paused(CURL *easy)
{
	LoopTransfer *transfer = NULL;

	return curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **) &transfer) == CURLE_OK && transfer &&
		   transfer->paused;
}

/*
 * CURLMOPT_SOCKETFUNCTION.  "registered" is what curl_multi_assign remembers
 * with the socket: not NULL once it is in the epoll descriptor.
 */
static int
on_socket(CURL *easy, curl_socket_t fd, int what, void *userdata, void *registered)
{
	struct epoll_event event = { .data.fd = fd };
	bool			   is_idle = what == CURL_POLL_REMOVE && !is_paused(easy);

	if (socket_state(fd) != SOCKET_UNKNOWN)
		set_socket_state(fd, is_idle ? SOCKET_IDLE : SOCKET_IN_USE);
	if (what == CURL_POLL_REMOVE)
	{
		/* libcurl may have closed it already, which removed it as well. */
		(void) epoll_ctl(epoll_fd, EPOLL_CTL_DEL, fd, NULL);
		return 0;
	}
	if (what & CURL_POLL_IN)
		event.events |= EPOLLIN;
	if (what & CURL_POLL_OUT)
		event.events |= EPOLLOUT;
	if (epoll_ctl(epoll_fd, registered ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event) != 0)
		return -1;
	if (!registered)
		curl_multi_assign(multi, fd, &epoll_fd);
	return 0;
}

/* CURLOPT_RESOLVER_START_FUNCTION: a thread is about to be created. */
static int
on_resolver_start(void *resolver, void *reserved, void *userdata)
{
	sigset_t all;

	if (!signals_blocked)
	{
		sigfillset(&all);
		signals_blocked = pthread_sigmask(SIG_SETMASK, &all, &signals_before) == 0;
	}
	return signals_blocked ? 0 : 1;
}

/* CURLOPT_CLOSESOCKETFUNCTION */
static int
on_socket_close(void *userdata, curl_socket_t fd)
{
	set_socket_state(fd, SOCKET_UNKNOWN);
	ReleaseExternalFD();
	return close(fd);
}

curl_socket_t
loop_open_socket(const struct curl_sockaddr *address)
{
	int fd;

	if (!AcquireExternalFD())
		return CURL_SOCKET_BAD;
	fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
	if (fd >= 0 && set_socket_state(fd, SOCKET_IN_USE))
		return fd;
	if (fd >= 0)
		close(fd);
	ReleaseExternalFD();
	return CURL_SOCKET_BAD;
}

/* ------------------------------------------------------------------------
 * Making it
 * ------------------------------------------------------------------------
 */

static void
create_multi(void)
{
	CURLM *fresh_multi;

	/* Here, not in the postmaster: a forked library state is nobody's. */
	if (!curl_memory_init())
		ereport(ERROR, (errcode(ERRCODE_SYSTEM_ERROR), errmsg("could not initialize libcurl")));

	if (!share && (share = curl_share_init()) != NULL)
		curl_share_setopt(share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
	fresh_multi = curl_multi_init();
	if (!share || !fresh_multi)
	{
		curl_multi_cleanup(fresh_multi);
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	}
	curl_multi_setopt(fresh_multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl_multi_setopt(fresh_multi, CURLMOPT_TIMERFUNCTION, on_timer);
	curl_multi_setopt(fresh_multi, CURLMOPT_MAXCONNECTS, MAX_IDLE_CONNECTIONS);
	multi = fresh_multi;
}

static void
create_epoll(void)
{
	if (!AcquireExternalFD())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("too many files are open in this process for another network connection"),
				 errhint("Raise max_files_per_process.")));
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (epoll_fd < 0)
	{
		ReleaseExternalFD();
		ereport(ERROR, (errcode_for_file_access(), errmsg("could not create an epoll descriptor: %m")));
	}
}

static void
create_wait_set(void)
{
	WaitEventSet *fresh = compat_create_wait_event_set(3);

	AddWaitEventToSet(fresh, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	AddWaitEventToSet(fresh, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
	AddWaitEventToSet(fresh, WL_SOCKET_READABLE, epoll_fd, NULL, NULL);
	wait_event = compat_wait_event("LlmRouterHttp");
	wait_set = fresh;
}

static void
loop_create(void)
{
	if (!multi)
		create_multi();
	if (epoll_fd < 0)
		create_epoll();
	if (!wait_set)
		create_wait_set();
}

/* ------------------------------------------------------------------------
 * Running it
 * ------------------------------------------------------------------------
 */

/*
 * Make libcurl see which kept connections have ended: before a request there is
 * nothing to read but the end.  libcurl would notice a closed socket by itself,
 * but takes the farewell of TLS that comes before for a sign of life, and a
 * request would be lost on it.  So that is read away.  Returns whether there
 * are such connections.
 */
static bool
sort_out_idle_connections(void)
{
	bool found = false;

	for (int fd = 0; fd < socket_states_size; fd++)
	{
		char rest[4096];
		char byte;
		int	 rounds = 16;

		if (socket_states[fd] != SOCKET_IDLE)
			continue;
		if (recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			continue;
		found = true;
		shutdown(fd, SHUT_RDWR);
		while (rounds-- > 0 && recv(fd, rest, sizeof(rest), MSG_DONTWAIT) > 0)
			;
	}
	return found;
}

/* What every transfer needs of this file. */
static bool
set_callbacks(CURL *easy)
{
	return curl_easy_setopt(easy, CURLOPT_SHARE, share) == CURLE_OK &&
		   curl_easy_setopt(easy, CURLOPT_RESOLVER_START_FUNCTION, on_resolver_start) == CURLE_OK &&
		   curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, on_socket_close) == CURLE_OK;
}

CURLMcode
loop_add(CURL *easy)
{
	long fresh;

	loop_create();
	/* libcurl 8.22 was seen to use one that had ended within the last second. */
	fresh = sort_out_idle_connections();
	if (curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, fresh) != CURLE_OK || !set_callbacks(easy))
		return CURLM_UNKNOWN_OPTION;
	return curl_multi_add_handle(multi, easy);
}

void
loop_remove(CURL *easy)
{
	curl_multi_remove_handle(multi, easy);
}

/* After libcurl: a resolver's thread has been created. */
static void
unblock_signals(void)
{
	if (!signals_blocked)
		return;
	pthread_sigmask(SIG_SETMASK, &signals_before, NULL);
	signals_blocked = false;
}

static CURLMcode
let_curl_work(curl_socket_t fd, int events)
{
	int		  running;
	CURLMcode code = curl_multi_socket_action(multi, fd, events, &running);

	unblock_signals();
	return code;
}

CURLcode
loop_resume(CURL *easy)
{
	CURLcode code = curl_easy_pause(easy, CURLPAUSE_CONT);

	unblock_signals();
	return code;
}

void
loop_perform(CURL *easy)
{
	if (set_callbacks(easy))
		curl_easy_perform(easy);
	unblock_signals();
}

CURLMcode
loop_drive(void)
{
	if (timer_ms == NO_TIMER || timer_ms > monotonic_ms())
		return CURLM_OK;
	timer_ms = NO_TIMER;
	return let_curl_work(CURL_SOCKET_TIMEOUT, 0);
}

static CURLMcode
serve_sockets(void)
{
	struct epoll_event events[EVENTS_AT_ONCE];
	int				   nevents = epoll_wait(epoll_fd, events, EVENTS_AT_ONCE, 0);
	CURLMcode		   code = CURLM_OK;

	for (int i = 0; i < nevents && code == CURLM_OK; i++)
	{
		int what = 0;

		if (events[i].events & EPOLLIN)
			what |= CURL_CSELECT_IN;
		if (events[i].events & EPOLLOUT)
			what |= CURL_CSELECT_OUT;
		if (events[i].events & (EPOLLERR | EPOLLHUP))
			what |= CURL_CSELECT_ERR;
		code = let_curl_work(events[i].data.fd, what);
	}
	return code;
}

/*
 * End the session, as ProcessInterrupts does, when the client has gone.  Looked
 * at twice a second of waiting, so that quick requests do not pay for it.
 */
static void
check_client(int64 now_ms)
{
	if (now_ms - waited_until_ms > CLIENT_CHECK_MS)
		client_checked_ms = now_ms; /* no wait was going on */
	if (!MyProcPort || now_ms - client_checked_ms < CLIENT_CHECK_MS)
		return;
	client_checked_ms = now_ms;
	if (!pq_check_connection())
	{
		ClientConnectionLost = true;
		InterruptPending = true;
	}
}

CURLMcode
loop_wait(int64 until_ms)
{
	WaitEvent events[3];
	CURLMcode code = CURLM_OK;
	int64	  now_ms = monotonic_ms();
	int64	  sleep_ms = Min(Min(until_ms, timer_ms) - now_ms, CLIENT_CHECK_MS);
	int		  nevents;

	loop_create();
	check_client(now_ms);
	CHECK_FOR_INTERRUPTS();

	nevents = WaitEventSetWait(wait_set, (long) Max(sleep_ms, 0), events, lengthof(events), wait_event);
	waited_until_ms = monotonic_ms();
	for (int i = 0; i < nevents; i++)
	{
		if (events[i].events & WL_LATCH_SET)
			ResetLatch(MyLatch);
		else if (events[i].events & WL_SOCKET_READABLE)
			code = serve_sockets();
	}
	if (code == CURLM_OK)
		code = loop_drive();
	CHECK_FOR_INTERRUPTS();
	return code;
}

bool
loop_take_ended(CURL **easy, CURLcode *result)
{
	CURLMsg *message;
	int		 left;

	if (!multi)
		return false;
	message = curl_multi_info_read(multi, &left);
	if (!message)
		return false;
	*easy = message->easy_handle;
	*result = message->data.result;
	return true;
}

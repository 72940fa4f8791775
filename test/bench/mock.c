/*
 * mock.c
 *	  The fastest provider there is: one thread, one fixed answer.
 *
 * An HTTP/1.1 keep-alive server on 127.0.0.1 for benchmarks. Any POST is
 * answered with the same chat.completion of 600 bytes, at once or after a
 * fixed delay; what is asked is not looked at beyond its length, but for
 * "stream": true, which is answered with a stream of chunks as OpenAI sends
 * them, each in an HTTP chunk of its own.
 *
 *	  mock [--port N] [--port-file FILE] [--delay-ms N] [--chunks N] [--chunk-us N]
 *
 * A stream has so many pieces of text (--chunks, default 20,000), a first and
 * two last chunks, and the end mark. It is sent as fast as the client takes it,
 * many chunks a write; with --chunk-us each has a write of its own, and a pause
 * of so many microseconds, perhaps 0, before it.
 *
 * The port file gets the lines "http=PORT" and "pid=PID" once the server
 * listens. It runs until it is killed.
 *
 * Invariants: a connection has at most one answer, or piece of one, waiting;
 * since all wait equally long (--delay-ms or --chunk-us), those that wait form a
 * queue in the order of their due times, and one timer for its head serves any
 * number of connections. A connection that ends while its answer waits stays
 * allocated, with fd -1, until the queue has let go of it.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define BODY_BYTES 600
#define HEAD_BYTES 16384 /* the longest request head */
#define EVENTS	   256

#define DEFAULT_CHUNKS 20000
#define CHUNK_BYTES	   1024 /* more than any chunk has */
#define MAX_WRITES	   256	/* before others have their turn */

typedef struct Connection
{
	int				   fd;		  /* -1: ended */
	bool			   waiting;	  /* in the queue */
	int64_t			   due;		  /* when the waiting answer is sent, ns */
	struct Connection *next;	  /* in the queue */
	size_t			   body_left; /* bytes of the request's body still to come */
	size_t			   matched;	  /* how much of "stream":true the body said last */
	bool			   streams;	  /* it said all of it */
	bool			   sending;	  /* a stream, as far as "sent" */
	size_t			   sent;
	size_t			   chunk; /* the one that "sent" is in */
	size_t			   head_length;
	char			   head[HEAD_BYTES + 1];
} Connection;

static int		   epoll_fd;
static int		   timer_fd;
static int64_t	   delay_ns;
static bool		   write_each; /* every chunk by itself */
static Connection *queue_head;
static Connection *queue_tail;
static char		   answer[BODY_BYTES + 256];
static size_t	   answer_length;

/* The stream as it is sent; chunk i ends before stream_ends[i]. */
static char	  *stream;
static size_t  stream_length;
static size_t *stream_ends;
static size_t  stream_chunks;

static void
die(const char *what)
{
	fprintf(stderr, "mock: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int64_t
now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

/* Makes the answer: its content is padded so that the body has BODY_BYTES. */
static void
make_answer(void)
{
	static const char before[] =
		"{\"id\":\"chatcmpl-mock\",\"object\":\"chat.completion\",\"created\":1764000000,"
		"\"model\":\"mock\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\","
		"\"content\":\"";
	static const char after[] =
		"\",\"refusal\":null},\"logprobs\":null,\"finish_reason\":\"stop\"}],"
		"\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":60,\"total_tokens\":72,"
		"\"prompt_tokens_details\":{\"cached_tokens\":0},"
		"\"completion_tokens_details\":{\"reasoning_tokens\":0}}}";
	char   content[BODY_BYTES];
	size_t length = BODY_BYTES - strlen(before) - strlen(after);

	memset(content, 'a', length);
	answer_length = (size_t) snprintf(answer, sizeof(answer),
									  "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
									  "Content-Length: %d\r\n\r\n%s%.*s%s",
									  BODY_BYTES, before, (int) length, content, after);
}

/* Adds an event to the stream, as an HTTP chunk of its own. */
static void
add_event(const char *data)
{
	char event[CHUNK_BYTES];
	int	 length = snprintf(event, sizeof(event), "data: %s\n\n", data);

	stream_length += (size_t) sprintf(stream + stream_length, "%x\r\n%s\r\n", (unsigned) length, event);
	stream_ends[stream_chunks++] = stream_length;
}

/* Adds a chunk of one choice, or of none with its usage. */
static void
add_chunk(const char *choices, const char *usage)
{
	char chunk[CHUNK_BYTES - 64];

	snprintf(chunk, sizeof(chunk),
			 "{\"id\":\"chatcmpl-CfA1b2C3d4E5f6G7h8I9j0K1L2M3\",\"object\":\"chat.completion.chunk\","
			 "\"created\":1764000000,\"model\":\"mock-model\",\"service_tier\":\"default\","
			 "\"system_fingerprint\":\"fp_560af6e559\",\"choices\":[%s],\"usage\":%s}",
			 choices, usage);
	add_event(chunk);
}

/* Adds a chunk that carries a delta. */
static void
add_delta(const char *delta, const char *finish_reason)
{
	char choice[256];

	snprintf(choice, sizeof(choice),
			 "{\"index\":0,\"delta\":{%s},\"logprobs\":null,\"finish_reason\":%s}", delta, finish_reason);
	add_chunk(choice, "null");
}

/* Makes the stream: so many pieces of text, of words of several lengths. */
static void
make_stream(int pieces)
{
	static const char head[] =
		"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
		"Transfer-Encoding: chunked\r\n\r\n";
	static const char *const words[] = {
		" spider", " has", " eight", " legs", ",", " and", " usually", " silk", "-producing",
		" spinnerets", ".\\n\\n", " \\\"Arachne\\\"", " wo", "ven", " caf\xc3\xa9", " the"
	};
	const int words_length = (int) (sizeof(words) / sizeof(words[0]));
	char	  delta[128];

	stream = malloc(sizeof(head) + ((size_t) pieces + 5) * CHUNK_BYTES);
	stream_ends = calloc((size_t) pieces + 5, sizeof(size_t));
	if (stream == NULL || stream_ends == NULL)
		die("out of memory");
	stream_length = (size_t) sprintf(stream, "%s", head);
	add_delta("\"role\":\"assistant\",\"content\":\"\",\"refusal\":null", "null");
	for (int i = 0; i < pieces; i++)
	{
		snprintf(delta, sizeof(delta), "\"content\":\"%s\"", words[i % words_length]);
		add_delta(delta, "null");
	}
	add_delta("", "\"stop\"");
	snprintf(delta, sizeof(delta), "{\"prompt_tokens\":12,\"completion_tokens\":%d,\"total_tokens\":%d}",
			 pieces, pieces + 12);
	add_chunk("", delta);
	add_event("[DONE]");
	stream_length += (size_t) sprintf(stream + stream_length, "0\r\n\r\n");
	stream_ends[stream_chunks++] = stream_length;
}

/* Sets the timer to the due time of the queue's head, if there is one. */
static void
arm_timer(void)
{
	struct itimerspec when = { 0 };

	if (queue_head == NULL)
		return;
	when.it_value.tv_sec = queue_head->due / 1000000000;
	when.it_value.tv_nsec = queue_head->due % 1000000000;
	if (timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &when, NULL) < 0)
		die("timerfd_settime");
}

static void
end_connection(Connection *connection)
{
	close(connection->fd);
	connection->fd = -1;
	if (!connection->waiting)
		free(connection);
}

/*
 * Sends the answer, which fits every socket buffer: after a short write the
 * client does not read, and the connection ends.
 */
static void
send_answer(Connection *connection)
{
	if (send(connection->fd, answer, answer_length, MSG_NOSIGNAL) != (ssize_t) answer_length)
		end_connection(connection);
}

static void
watch(int operation, int fd, uint32_t events, void *what)
{
	struct epoll_event event = { .events = events, .data.ptr = what };

	if (epoll_ctl(epoll_fd, operation, fd, &event) < 0)
		die("epoll_ctl");
}

/* Sends to the end of a chunk, or of the stream; false when the client has to read first. */
static bool
send_piece(Connection *connection)
{
	size_t	end = write_each ? stream_ends[connection->chunk] : stream_length;
	ssize_t written = send(connection->fd, stream + connection->sent, end - connection->sent, MSG_NOSIGNAL);

	if (written > 0)
		connection->sent += (size_t) written;
	connection->chunk += connection->sent == stream_ends[connection->chunk];
	return connection->sent == end;
}

static void
wait_turn(Connection *connection)
{
	connection->waiting = true;
	connection->due = now_ns() + delay_ns;
	connection->next = NULL;
	if (queue_head == NULL)
		queue_head = connection;
	else
		queue_tail->next = connection;
	queue_tail = connection;
	if (queue_head == connection)
		arm_timer();
}

/* Goes on with a stream; epoll calls again when there is room for more. */
static void
send_stream(Connection *connection)
{
	bool	 pauses = write_each && delay_ns > 0;
	bool	 more = send_piece(connection);
	uint32_t events;

	for (int i = 1; i < MAX_WRITES && more && !pauses && connection->sent < stream_length; i++)
		more = send_piece(connection);
	if (connection->sent == stream_length)
		connection->sending = false;
	else if (more && pauses)
		wait_turn(connection);
	events = EPOLLIN | (connection->sending && !connection->waiting ? EPOLLOUT : 0);
	watch(EPOLL_CTL_MOD, connection->fd, events, connection);
}

/* The time for it has come. */
static void
send_due(Connection *connection)
{
	if (connection->sending)
		send_stream(connection);
	else
		send_answer(connection);
}

/* Answers now, or puts the connection into the queue. */
static void
answer_request(Connection *connection)
{
	connection->sending = connection->streams;
	connection->sent = connection->chunk = 0;
	if (delay_ns == 0)
		send_due(connection);
	else
		wait_turn(connection);
}

/* Looks for "stream":true in a piece of the body; in a string its quotes would be escaped. */
static void
look_for_stream(Connection *connection, const char *body, size_t length)
{
	static const char wanted[] = "\"stream\":true";
	size_t			  matched = connection->matched;

	for (size_t i = 0; i < length && !connection->streams; i++)
	{
		if (body[i] == ' ')
			continue;
		/* The second quote may be the first one of another try. */
		while (matched > 0 && body[i] != wanted[matched])
			matched = matched == strlen("\"stream\"") ? 1 : 0;
		matched += body[i] == wanted[matched];
		connection->streams = matched == strlen(wanted);
	}
	connection->matched = matched;
}

/*
 * Consumes what has been received of the current request. The client sends
 * the next request only after the answer to this one, so what follows a
 * complete head is its body.
 */
static void
consume(Connection *connection)
{
	char  *end;
	char  *field;
	size_t head_length;
	size_t body_length;
	size_t body_received;

	connection->head[connection->head_length] = '\0';
	end = strstr(connection->head, "\r\n\r\n");
	if (end == NULL)
		return;
	head_length = (size_t) (end + 4 - connection->head);
	body_received = connection->head_length - head_length;
	*end = '\0';
	field = strcasestr(connection->head, "\r\ncontent-length:");
	body_length = field ? strtoul(field + strlen("\r\ncontent-length:"), NULL, 10) : 0;
	connection->head_length = 0;
	connection->matched = 0;
	connection->streams = false;
	look_for_stream(connection, end + 4, body_received);
	connection->body_left = body_length > body_received ? body_length - body_received : 0;
	if (connection->body_left == 0)
		answer_request(connection);
}

/* Reads once; level-triggered epoll calls again while there is more. */
static void
on_readable(Connection *connection)
{
	char	discarded[65536];
	bool	in_body = connection->body_left > 0;
	size_t	room = in_body ? sizeof(discarded) : HEAD_BYTES - connection->head_length;
	char   *into = in_body ? discarded : connection->head + connection->head_length;
	ssize_t got = recv(connection->fd, into, room, 0);

	if (got < 0 && errno == EAGAIN)
		return;
	if (got <= 0 || connection->waiting || connection->sending)
		end_connection(connection); /* gone, head too long, or a request before the answer */
	else if (!in_body)
	{
		connection->head_length += (size_t) got;
		consume(connection);
	}
	else
	{
		look_for_stream(connection, discarded, (size_t) got);
		connection->body_left -= (size_t) got < connection->body_left ? (size_t) got : connection->body_left;
		if (connection->body_left == 0)
			answer_request(connection);
	}
}

/* Sends all answers that are due. */
static void
on_timer(void)
{
	uint64_t expirations;
	int64_t	 now = now_ns();

	if (read(timer_fd, &expirations, sizeof(expirations)) < 0 && errno != EAGAIN)
		die("read of the timer");
	while (queue_head != NULL && queue_head->due <= now)
	{
		Connection *connection = queue_head;

		queue_head = connection->next;
		connection->waiting = false;
		if (connection->fd < 0)
			free(connection);
		else
			send_due(connection);
	}
	arm_timer();
}

static void
on_connect(int listener)
{
	int			on = 1;
	int			fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	Connection *connection;

	if (fd < 0)
		return;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	connection = calloc(1, sizeof(Connection));
	if (connection == NULL)
		die("out of memory");
	connection->fd = fd;
	watch(EPOLL_CTL_ADD, fd, EPOLLIN, connection);
}

/* A listening socket on 127.0.0.1; *port 0 lets the kernel choose, and is set. */
static int
listen_on(uint16_t *port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(*port) };
	socklen_t		   length = sizeof(address);
	int				   on = 1;
	int				   fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 ||
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
		bind(fd, (struct sockaddr *) &address, sizeof(address)) < 0 ||
		listen(fd, 4096) < 0 ||
		getsockname(fd, (struct sockaddr *) &address, &length) < 0)
		die("listen");
	*port = ntohs(address.sin_port);
	return fd;
}

/* Written under another name first, so that readers see all of it or nothing. */
static void
write_port_file(const char *path, uint16_t port)
{
	char  unfinished[4096];
	FILE *file;

	snprintf(unfinished, sizeof(unfinished), "%s.new", path);
	file = fopen(unfinished, "w");
	if (file == NULL ||
		fprintf(file, "http=%u\npid=%d\n", port, (int) getpid()) < 0 ||
		fclose(file) != 0 ||
		rename(unfinished, path) < 0)
		die(path);
}

static void
parse_arguments(int argc, char **argv, uint16_t *port, const char **port_file, int *chunks)
{
	for (int i = 1; i < argc; i += 2)
	{
		if (i + 1 < argc && strcmp(argv[i], "--port") == 0)
			*port = (uint16_t) atoi(argv[i + 1]);
		else if (i + 1 < argc && strcmp(argv[i], "--port-file") == 0)
			*port_file = argv[i + 1];
		else if (i + 1 < argc && strcmp(argv[i], "--delay-ms") == 0)
			delay_ns = atoll(argv[i + 1]) * 1000000;
		else if (i + 1 < argc && strcmp(argv[i], "--chunks") == 0)
			*chunks = atoi(argv[i + 1]);
		else if (i + 1 < argc && strcmp(argv[i], "--chunk-us") == 0)
		{
			write_each = true;
			delay_ns = atoll(argv[i + 1]) * 1000;
		}
		else
		{
			fprintf(stderr, "usage: mock [--port N] [--port-file FILE] [--delay-ms N] [--chunks N] "
							"[--chunk-us N]\n");
			exit(2);
		}
	}
}

/* Thousands of connections need more descriptors than a shell allows by default. */
static void
raise_file_limit(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) == 0)
	{
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
}

/* Waits for events and handles them, for ever. */
static void
serve(int *listener)
{
	struct epoll_event events[EVENTS];

	for (;;)
	{
		int	 count = epoll_wait(epoll_fd, events, EVENTS, -1);
		bool timer_expired = false;

		if (count < 0 && errno != EINTR)
			die("epoll_wait");
		for (int i = 0; i < count; i++)
		{
			if (events[i].data.ptr == listener)
				on_connect(*listener);
			else if (events[i].data.ptr == &timer_fd)
				timer_expired = true;
			else if (events[i].events == EPOLLOUT)
				send_stream(events[i].data.ptr);
			else
				on_readable(events[i].data.ptr);
		}
		if (timer_expired)
			on_timer(); /* last: it may free connections that have events here */
	}
}

int
main(int argc, char **argv)
{
	const char *port_file = NULL;
	uint16_t	port = 0;
	int			chunks = DEFAULT_CHUNKS;
	int			listener;

	parse_arguments(argc, argv, &port, &port_file, &chunks);
	raise_file_limit();
	make_answer();
	make_stream(chunks);
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (epoll_fd < 0 || timer_fd < 0)
		die("epoll and timer");
	listener = listen_on(&port);
	watch(EPOLL_CTL_ADD, listener, EPOLLIN, &listener);
	watch(EPOLL_CTL_ADD, timer_fd, EPOLLIN, &timer_fd);
	if (port_file)
		write_port_file(port_file, port);
	else
	{
		printf("http=%u\n", port);
		fflush(stdout);
	}
	serve(&listener);
}

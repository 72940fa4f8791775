/*
 * stream_client.c
 *	  Reads the rows of a query one at a time, as they come, and discards them.
 *
 *	  stream_client WARM_UP QUERY
 *
 * Both run in one session on the server that the environment names (PGHOST
 * etc.), and only QUERY is measured. libpq's single-row mode is what a client of
 * a stream uses; psql with FETCH_COUNT would pay for a cursor.
 *
 * Prints one line: "rows"; "seconds", from sending the query to its end; "first_ms",
 * until the first row; "cpu_us", CPU of the server's process a row; "kib_begun" and
 * "kib_most", memory that the process had to itself after WARM_UP, and the most that
 * was seen at every 1,024th row, without shared memory; and "last", the last row.
 * Exits with 1 if the query failed or gave no row.
 */
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ROWS_A_LOOK 1024

static double
seconds_of(clockid_t clock)
{
	struct timespec now = { 0 };

	clock_gettime(clock, &now);
	return (double) now.tv_sec + (double) now.tv_nsec / 1e9;
}

/* CPU time of a process of this machine. */
static double
cpu_seconds(int pid)
{
	clockid_t clock;

	return clock_getcpuclockid(pid, &clock) == 0 ? seconds_of(clock) : 0;
}

/* Anonymous memory: what it allocated, without files and shared memory. */
static long
private_kib(int pid)
{
	char  line[256];
	long  kib = 0;
	FILE *status;

	snprintf(line, sizeof(line), "/proc/%d/status", pid);
	status = fopen(line, "r");
	if (status == NULL)
		return 0;
	while (fgets(line, sizeof(line), status))
		if (sscanf(line, "RssAnon: %ld", &kib) == 1)
			break;
	fclose(status);
	return kib;
}

static void
fail(PGconn *connection, const char *what)
{
	fprintf(stderr, "stream_client: %s: %s", what, PQerrorMessage(connection));
	exit(1);
}

int
main(int argc, char **argv)
{
	PGconn	 *connection;
	PGresult *result;
	PGresult *last = NULL;
	double	  begun;
	double	  first = 0;
	double	  spent;
	double	  elapsed;
	long	  rows = 0;
	long	  kib_begun;
	long	  kib_most;
	int		  pid;

	if (argc != 3)
	{
		fprintf(stderr, "usage: stream_client WARM_UP QUERY\n");
		return 2;
	}
	connection = PQconnectdb("");
	if (PQstatus(connection) != CONNECTION_OK)
		fail(connection, "connect");
	result = PQexec(connection, argv[1]);
	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		fail(connection, argv[1]);
	PQclear(result);
	pid = PQbackendPID(connection);
	kib_begun = kib_most = private_kib(pid);
	spent = -cpu_seconds(pid);
	begun = seconds_of(CLOCK_MONOTONIC);
	if (!PQsendQuery(connection, argv[2]) || !PQsetSingleRowMode(connection))
		fail(connection, argv[2]);
	while ((result = PQgetResult(connection)) != NULL)
	{
		if (PQresultStatus(result) == PGRES_SINGLE_TUPLE)
		{
			if (rows++ == 0)
				first = seconds_of(CLOCK_MONOTONIC) - begun;
			if (rows % ROWS_A_LOOK == 0)
			{
				long kib = private_kib(pid);

				kib_most = kib > kib_most ? kib : kib_most;
			}
			PQclear(last);
			last = result;
		}
		else if (PQresultStatus(result) == PGRES_TUPLES_OK)
			PQclear(result);
		else
			fail(connection, argv[2]);
	}
	elapsed = seconds_of(CLOCK_MONOTONIC) - begun;
	spent += cpu_seconds(pid);
	PQfinish(connection);
	if (rows == 0)
		return 1;
	printf("rows=%ld seconds=%.4f first_ms=%.2f cpu_us=%.2f kib_begun=%ld kib_most=%ld last=%s\n",
		   rows, elapsed, first * 1000, spent * 1e6 / (double) rows, kib_begun, kib_most,
		   PQgetvalue(last, 0, 0));
	return 0;
}

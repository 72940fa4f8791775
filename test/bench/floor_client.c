/*
 * floor_client.c
 *	  The least that an HTTP call with libcurl costs: the floor for benchmarks.
 *
 * Each of N processes sends the same chat request again and again on one easy
 * handle over one kept connection, for S seconds, and discards the answer.
 *
 *	  floor_client --url URL [--clients N] [--seconds S]
 *
 * Prints one line: "clients"; "rate", requests a second of all clients;
 * "p50_us" and "p99_us", latencies; "cpu_us", CPU of all clients a request; and
 * "failures", transfers that failed or had another status than 200. Exits with
 * 1 if there was a failure or no request.
 */
#include <curl/curl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BUCKETS 1000000 /* of one microsecond each; the last one holds all slower ones */

static const char request_body[] =
	"{\"model\":\"mock\",\"messages\":[{\"role\":\"user\",\"content\":\"What is the capital of France?\"}],"
	"\"max_completion_tokens\":100}";

/* What all processes share: every counter is only ever added to, atomically. */
typedef struct Results
{
	uint64_t requests;
	uint64_t failures;
	uint32_t latencies[BUCKETS];
} Results;

static double
now_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double) now.tv_sec + (double) now.tv_nsec / 1e9;
}

static size_t
discard(char *data, size_t size, size_t count, void *unused)
{
	(void) data;
	(void) unused;
	return size * count;
}

static bool
call(CURL *handle)
{
	long status = 0;

	if (curl_easy_perform(handle) != CURLE_OK)
		return false;
	curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
	return status == 200;
}

/* One client: calls until `deadline`; the first call, which connects, is not counted. */
static void
run_client(const char *url, double deadline, Results *results)
{
	CURL			  *handle = curl_easy_init();
	struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");

	headers = curl_slist_append(headers, "Authorization: Bearer sk-test-bench");
	curl_easy_setopt(handle, CURLOPT_URL, url);
	curl_easy_setopt(handle, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(handle, CURLOPT_POSTFIELDS, request_body);
	curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, discard);
	curl_easy_setopt(handle, CURLOPT_PROXY, "");
	curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(handle, CURLOPT_TIMEOUT, 30L);
	call(handle);
	for (double begun = now_seconds(), ended; begun < deadline; begun = ended)
	{
		bool   ok = call(handle);
		double micros;

		ended = now_seconds();
		micros = (ended - begun) * 1e6;
		__atomic_fetch_add(ok ? &results->requests : &results->failures, 1, __ATOMIC_RELAXED);
		if (ok)
			__atomic_fetch_add(&results->latencies[micros < BUCKETS ? (int) micros : BUCKETS - 1], 1,
							   __ATOMIC_RELAXED);
	}
	curl_slist_free_all(headers);
	curl_easy_cleanup(handle);
}

/* The latency in microseconds that `share` of all requests stayed within. */
static int
percentile(const Results *results, double share)
{
	uint64_t wanted = (uint64_t) ((double) results->requests * share);
	uint64_t seen = 0;

	for (int micros = 0; micros < BUCKETS; micros++)
	{
		seen += results->latencies[micros];
		if (seen > wanted)
			return micros;
	}
	return BUCKETS;
}

static double
cpu_seconds_of_children(void)
{
	struct rusage usage;

	getrusage(RUSAGE_CHILDREN, &usage);
	return (double) (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
		   (double) (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

int
main(int argc, char **argv)
{
	const char *url = NULL;
	int			clients = 1;
	double		seconds = 5;
	double		begun;
	double		elapsed;
	double		requests;
	Results	   *results;

	for (int i = 1; i < argc; i += 2)
	{
		if (i + 1 < argc && strcmp(argv[i], "--url") == 0)
			url = argv[i + 1];
		else if (i + 1 < argc && strcmp(argv[i], "--clients") == 0)
			clients = atoi(argv[i + 1]);
		else if (i + 1 < argc && strcmp(argv[i], "--seconds") == 0)
			seconds = atof(argv[i + 1]);
		else
		{
			url = NULL;
			break;
		}
	}
	if (url == NULL || clients < 1 || seconds <= 0)
	{
		fprintf(stderr, "usage: floor_client --url URL [--clients N] [--seconds S]\n");
		return 2;
	}
	results = mmap(NULL, sizeof(Results), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (results == MAP_FAILED)
	{
		perror("floor_client: mmap");
		return 1;
	}
	curl_global_init(CURL_GLOBAL_DEFAULT);
	begun = now_seconds();
	for (int i = 0; i < clients; i++)
	{
		pid_t child = fork();

		if (child < 0)
			perror("floor_client: fork");
		else if (child == 0)
		{
			run_client(url, begun + seconds, results);
			_exit(0);
		}
	}
	while (wait(NULL) > 0)
		;
	elapsed = now_seconds() - begun;
	requests = (double) results->requests;
	printf("clients=%d rate=%.0f p50_us=%d p99_us=%d cpu_us=%.1f failures=%llu\n",
		   clients,
		   requests / elapsed,
		   percentile(results, 0.5),
		   percentile(results, 0.99),
		   requests > 0 ? cpu_seconds_of_children() * 1e6 / requests : 0,
		   (unsigned long long) results->failures);
	return results->failures == 0 && results->requests > 0 ? 0 : 1;
}

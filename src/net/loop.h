/*
 * loop.h
 *		One libcurl multi handle for the life of the process, driven by
 *		PostgreSQL's wait events.
 */
#ifndef LLM_ROUTER_LOOP_H
#define LLM_ROUTER_LOOP_H

#include "postgres.h"

#include <curl/curl.h>

/*
 * What CURLOPT_PRIVATE of a handle given to loop_add points to begins with this:
 * the loop has to tell a transfer that is held up from a connection that is idle.
 */
typedef struct LoopTransfer
{
	bool paused; /* CURLOPT_WRITEFUNCTION returned CURL_WRITEFUNC_PAUSE */
} LoopTransfer;

/*
 * Give an easy handle to the multi handle; it starts at the next loop_drive.
 * Makes what the loop needs at first, and raises an ERROR when memory or file
 * descriptors are lacking for it.
 */
extern CURLMcode loop_add(CURL *easy);

/* Take it back, whatever its state.  Quick, and safe in an aborting transaction. */
extern void loop_remove(CURL *easy);

/*
 * Let a paused transfer go on.  What libcurl held back is written at once; what
 * the writing says is the result.
 */
extern CURLcode loop_resume(CURL *easy);

/*
 * Run an easy handle that was not given to the multi handle, to its end, without
 * taking interrupts: for the briefest of requests only.  Does not throw.
 */
extern void loop_perform(CURL *easy);

/* Do what is due by libcurl's timers, without sleeping. */
extern CURLMcode loop_drive(void);

/*
 * Sleep until a socket is ready, the latch is set, or the time until_ms (of
 * monotonic_ms) has come; then let libcurl work.  Takes interrupts, also before
 * it sleeps; at most a second passes before a lost client is noticed.
 */
extern CURLMcode loop_wait(int64 until_ms);

/* One easy handle that has ended, with its result; false when there is none. */
extern bool loop_take_ended(CURL **easy, CURLcode *result);

/*
 * For CURLOPT_OPENSOCKETFUNCTION: a socket that counts among the process's
 * external file descriptors, or CURL_SOCKET_BAD.  Does not throw.
 */
extern curl_socket_t loop_open_socket(const struct curl_sockaddr *address);

#endif /* LLM_ROUTER_LOOP_H */

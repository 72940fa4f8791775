/*
 * curl_memory.h
 *		libcurl's memory, wiped when it is given back.
 */
#ifndef LLM_ROUTER_CURL_MEMORY_H
#define LLM_ROUTER_CURL_MEMORY_H

#include <stdbool.h>

/*
 * Initialise libcurl so that it wipes what it frees: its copies of requests hold
 * keys.  Comes before whatever of libcurl a process uses first, because that would
 * initialise it otherwise; called again it does nothing.  False when that fails.  Where another
 * library of the process has initialised libcurl before, its memory stays as that
 * one chose.
 */
extern bool curl_memory_init(void);

#endif /* LLM_ROUTER_CURL_MEMORY_H */

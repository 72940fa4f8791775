/*
 * key_command.h
 *		Run llm_router.master_key_command.
 */
#ifndef LLM_ROUTER_KEY_COMMAND_H
#define LLM_ROUTER_KEY_COMMAND_H

#include "postgres.h"

/*
 * Run a shell command and read what it prints into output: at most size - 1
 * bytes, NUL-terminated.  Returns NULL, or what went wrong (palloc'd; output is
 * wiped then, and the command's own words are in the server log, where its
 * standard error goes).  It has 30 seconds.  The wait takes interrupts, so this
 * throws on cancel and terminate; the command is killed with all that it started.
 */
extern char *key_command_run(const char *command, char *output, size_t size);

#endif /* LLM_ROUTER_KEY_COMMAND_H */

/*
 * errors.h
 *		SQLSTATEs of class LR, outcomes of an attempt, and errors as values.
 *
 * The pure layers (chat, providers, routing) and the engine report failures by
 * filling an LlmError and returning false; only the SQL boundary throws it.
 * That is what lets llm_chat(..., on_error => return) and batches keep going.
 */
#ifndef LLM_ROUTER_ERRORS_H
#define LLM_ROUTER_ERRORS_H

#include "postgres.h"

/* Class LR: documented in doc/errors.md; part of the SQL contract. */
#define ERRCODE_LLM_NOTHING_ELIGIBLE MAKE_SQLSTATE('L', 'R', '0', '0', '1')
#define ERRCODE_LLM_ALL_FAILED		 MAKE_SQLSTATE('L', 'R', '0', '0', '2')
#define ERRCODE_LLM_BUDGET			 MAKE_SQLSTATE('L', 'R', '0', '0', '3')
#define ERRCODE_LLM_RATE_LIMIT		 MAKE_SQLSTATE('L', 'R', '0', '0', '4')
#define ERRCODE_LLM_KEY				 MAKE_SQLSTATE('L', 'R', '0', '0', '5')
#define ERRCODE_LLM_BAD_REQUEST		 MAKE_SQLSTATE('L', 'R', '0', '0', '6')
#define ERRCODE_LLM_TIMEOUT			 MAKE_SQLSTATE('L', 'R', '0', '0', '7')
#define ERRCODE_LLM_TIER			 MAKE_SQLSTATE('L', 'R', '0', '0', '8')
#define ERRCODE_LLM_MASTER_KEY		 MAKE_SQLSTATE('L', 'R', '0', '0', '9')
#define ERRCODE_LLM_NOT_RUNNING		 MAKE_SQLSTATE('L', 'R', '0', '1', '0')

/*
 * How one attempt (one HTTP request to one candidate) ended.  What the router
 * does after each is one table, in routing/retry.c.
 */
typedef enum Outcome
{
	OUTCOME_OK,
	OUTCOME_RETRYABLE,		  /* server error, overloaded, connection lost */
	OUTCOME_RATE_LIMITED,	  /* try again after retry_after_ms */
	OUTCOME_QUOTA,			  /* the account has no credit left */
	OUTCOME_BAD_KEY,		  /* the provider does not know the key, or not any more */
	OUTCOME_NOT_PERMITTED,	  /* it knows the key, which may not do this, or not from here */
	OUTCOME_BAD_REQUEST,	  /* refused as invalid; others would refuse it too */
	OUTCOME_TOO_LARGE,		  /* larger than this account's rate limit */
	OUTCOME_CONTEXT_TOO_LONG, /* a model with a larger window may do */
	OUTCOME_MODEL_GONE,		  /* this provider no longer has the model */
	OUTCOME_FILTERED,		  /* refused for its content */
	OUTCOME_TIMEOUT,
	OUTCOME_PROTOCOL_ERROR,	 /* not the answer that the format promises */
	OUTCOME_BLOCKED_ADDRESS, /* our own network policy refused the address */
	OUTCOME_UNUSABLE_KEY,	 /* the stored key cannot be decrypted here */
	OUTCOME_UNSUPPORTED,	 /* cannot be said to this provider; nothing was sent */
	OUTCOME_CANCELLED
} Outcome;

#define OUTCOME_COUNT (OUTCOME_CANCELLED + 1)

/* The outcome's name in DETAIL, in attempts[] and in the ledger's error_code. */
extern const char *outcome_name(Outcome outcome);

/* An error as a value.  sqlstate 0 means that there is none. */
typedef struct LlmError
{
	int	  sqlstate;
	char *message; /* lower case, no full stop */
	char *detail;  /* or NULL */
	char *hint;	   /* or NULL */
} LlmError;

/*
 * Fill *error (strings palloc'd in the current context) and return false, so
 * that a caller can write "return error_set(...)".
 */
extern bool error_set(LlmError *error, int sqlstate, const char *message, ...)
	pg_attribute_printf(3, 4);

/* Add DETAIL or HINT to an error that was set; returns false as well. */
extern bool error_detail(LlmError *error, const char *detail, ...)
	pg_attribute_printf(2, 3);
extern bool error_hint(LlmError *error, const char *hint, ...)
	pg_attribute_printf(2, 3);

/*
 * Raise it with ereport(ERROR).  Exported for test modules.  PostgreSQL 18 replaced
 * the macro for the attribute.
 */
extern PGDLLEXPORT void error_throw(const LlmError *error) __attribute__((noreturn));

/*
 * A name that the caller gave, as messages show it: at most 300 bytes of it, cut
 * between characters.  palloc'd.
 */
extern char *error_shown_name(const char *name);

/*
 * The candidate that is nearest to "word" by edit distance, or NULL when none
 * is near enough to be meant.  For hints: 'did you mean "temperature"'.
 */
extern const char *error_nearest(const char *word, const char *const *candidates,
								 int ncandidates);

#endif /* LLM_ROUTER_ERRORS_H */

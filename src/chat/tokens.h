/*
 * tokens.h
 *		An upper estimate of token counts, without a tokenizer.
 *
 * Never under what the byte-pair tokenizers of the large providers count
 * (tested against cl100k_base and o200k_base), seldom more than double.
 */
#ifndef LLM_ROUTER_TOKENS_H
#define LLM_ROUTER_TOKENS_H

#include "postgres.h"

#include "utils/jsonb.h"

/* Upper estimate for text in the database encoding. */
extern int64 tokens_estimate_text(const char *text, size_t length);

/*
 * The same for a text that comes in pieces, cut between characters.  All zeros at
 * the start; needs no memory, so that it can be asked in an aborting transaction.
 */
typedef struct TokenCounter
{
	unsigned char previous;	   /* ASCII character, or 0x80 for any other, or 0 at the start */
	int			  run;		   /* length of the run of digits or of one character */
	int			  word_length; /* letters so far */
	int64		  cost;		   /* in parts of a token */
} TokenCounter;

extern void	 tokens_count(TokenCounter *counter, const char *text, size_t length);
extern int64 tokens_counted(const TokenCounter *counter);

/*
 * Upper estimate for a whole request: messages (an array), with the overhead
 * of each message, images and files, and params (tools and response_format
 * count as prompt).  params may be NULL.
 */
extern int64 tokens_estimate_request(JsonbContainer *messages, JsonbContainer *params);

#endif /* LLM_ROUTER_TOKENS_H */

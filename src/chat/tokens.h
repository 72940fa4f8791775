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
 * Upper estimate for a whole request: messages (an array), with the overhead
 * of each message, images and files, and params (tools and response_format
 * count as prompt).  params may be NULL.
 */
extern int64 tokens_estimate_request(JsonbContainer *messages, JsonbContainer *params);

#endif /* LLM_ROUTER_TOKENS_H */

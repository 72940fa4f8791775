/*
 * anthropic_usage.c
 *		Tokens as they are reported.
 *
 * Unlike in OpenAI's usage, input_tokens are those beside what was read from a
 * cache or written to it.  Nonsense is not guessed at: the usage is then unknown.
 */
#include "providers/anthropic.h"

/* Read a count if it is there, and not null; *found, or NULL, is set then. */
static void
read_count(JsonbContainer *usage, const char *name, int64 *count, bool *found, AnthropicUsage *said)
{
	JsonbValue *value = json_member(usage, name);
	int64		number;

	if (!json_value_given(value))
		return;
	if (!json_value_int64(value, &number) || number < 0 || number > USAGE_MAX_TOKENS)
	{
		said->is_nonsense = true;
		return;
	}
	*count = number;
	if (found)
		*found = true;
}

/* Cache writes by how long they last, where their sum is not said. */
static void
read_cache_writes(JsonbContainer *usage, AnthropicUsage *said)
{
	JsonbContainer *writes = json_member_object(usage, "cache_creation");
	int64			short_lived = 0;
	int64			long_lived = 0;

	if (writes == NULL || json_value_given(json_member(usage, "cache_creation_input_tokens")))
		return;
	read_count(writes, "ephemeral_5m_input_tokens", &short_lived, NULL, said);
	read_count(writes, "ephemeral_1h_input_tokens", &long_lived, NULL, said);
	said->cache_write = short_lived + long_lived;
}

void
anthropic_read_usage(JsonbContainer *usage, AnthropicUsage *said)
{
	JsonbContainer *details = usage ? json_member_object(usage, "output_tokens_details") : NULL;

	if (usage == NULL)
		return;
	read_count(usage, "input_tokens", &said->input, &said->has_input, said);
	read_count(usage, "cache_read_input_tokens", &said->cache_read, NULL, said);
	read_count(usage, "cache_creation_input_tokens", &said->cache_write, NULL, said);
	read_cache_writes(usage, said);
	read_count(usage, "output_tokens", &said->output, &said->has_output, said);
	if (details)
		read_count(details, "thinking_tokens", &said->thinking, NULL, said);
}

TokenUsage
anthropic_usage_so_far(const AnthropicUsage *said)
{
	TokenUsage usage = { 0 };
	int64	   input = said->input + said->cache_read + said->cache_write;

	if (said->is_nonsense || !said->has_input || input > USAGE_MAX_TOKENS ||
		said->thinking > said->output)
		return usage;
	usage.known = said->has_output;
	usage.input = input;
	usage.cached_input = said->cache_read;
	usage.cache_write = said->cache_write;
	usage.output = said->output;
	usage.reasoning = said->thinking;
	return usage;
}

TokenUsage
anthropic_whole_usage(const AnthropicUsage *said)
{
	TokenUsage usage = anthropic_usage_so_far(said);

	return usage.known ? usage : (TokenUsage){ 0 };
}

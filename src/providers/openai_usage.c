/*
 * openai_usage.c
 *		Tokens and cost as the servers of this format report them.
 *
 * Money hangs on these numbers, so nonsense (negative, fractional, absurd) is
 * not guessed at: the usage is then unknown, and the answer delivered all the
 * same.
 */
#include "chat/json.h"
#include "providers/openai.h"

/* Where a count may stand: a member of usage, or of an object inside it. */
typedef struct CountPlace
{
	const char *object; /* or NULL */
	const char *member;
} CountPlace;

static const CountPlace input_places[] = {
	{ NULL, "prompt_tokens" }, { NULL, "input_tokens" }, { NULL, NULL }
};
static const CountPlace output_places[] = {
	{ NULL, "completion_tokens" }, { NULL, "output_tokens" }, { NULL, NULL }
};
static const CountPlace total_places[] = {
	{ NULL, "total_tokens" }, { NULL, NULL }
};
static const CountPlace cached_places[] = {
	{ "prompt_tokens_details", "cached_tokens" },
	{ "prompt_token_details", "cached_tokens" }, /* Mistral */
	{ "input_tokens_details", "cached_tokens" },
	{ NULL, "num_cached_tokens" },		 /* Mistral */
	{ NULL, "cached_tokens" },			 /* Together */
	{ NULL, "prompt_cache_hit_tokens" }, /* DeepSeek */
	{ NULL, NULL }
};
static const CountPlace cache_write_places[] = {
	{ "prompt_tokens_details", "cache_write_tokens" },
	{ NULL, "cache_write_tokens" },
	{ NULL, "cache_creation_input_tokens" },
	{ NULL, NULL }
};
static const CountPlace reasoning_places[] = {
	{ "completion_tokens_details", "reasoning_tokens" },
	{ "output_tokens_details", "reasoning_tokens" },
	{ NULL, "reasoning_tokens" },
	{ NULL, NULL }
};

/*
 * Read a count from the first place that has one.  *count stays 0 where none
 * has; false for nonsense.
 */
static bool
read_count(JsonbContainer *usage, const CountPlace *places, int64 *count, bool *found)
{
	*count = 0;
	*found = false;
	for (const CountPlace *place = places; place->member; place++)
	{
		JsonbContainer *container = place->object ? json_member_object(usage, place->object) : usage;
		JsonbValue	   *value = container ? json_member(container, place->member) : NULL;

		if (value == NULL || value->type == jbvNull)
			continue;
		*found = true;
		return json_value_int64(value, count) && *count >= 0 && *count <= USAGE_MAX_TOKENS;
	}
	return true;
}

static bool
read_counts(JsonbContainer *usage, TokenUsage *tokens)
{
	int64 total;
	bool  has_input;
	bool  has_output;
	bool  has_total;
	bool  found;

	if (!read_count(usage, input_places, &tokens->input, &has_input) ||
		!read_count(usage, output_places, &tokens->output, &has_output) ||
		!read_count(usage, total_places, &total, &has_total) ||
		!read_count(usage, cached_places, &tokens->cached_input, &found) ||
		!read_count(usage, cache_write_places, &tokens->cache_write, &found) ||
		!read_count(usage, reasoning_places, &tokens->reasoning, &found) ||
		!has_input)
		return false;

	if (!has_output)
	{
		if (!has_total || total < tokens->input)
			return false;
		tokens->output = total - tokens->input;
	}

	/* Some servers count reasoning beside the completion; their total shows it. */
	if (tokens->reasoning > 0 && has_output && has_total &&
		total == tokens->input + tokens->output + tokens->reasoning)
		tokens->output += tokens->reasoning;

	/* A part cannot be more than its whole. */
	return tokens->cached_input <= tokens->input &&
		   tokens->cache_write <= tokens->input - tokens->cached_input &&
		   tokens->reasoning <= tokens->output;
}

void
openai_read_usage(JsonbContainer *body, ChatAnswer *answer)
{
	JsonbContainer *usage = json_member_object(body, "usage");
	JsonbValue	   *cost;

	memset(&answer->usage, 0, sizeof(answer->usage));
	answer->reported_cost = MONEY_UNKNOWN;
	if (usage == NULL)
	{
		JsonbContainer *groq = json_member_object(body, "x_groq");

		usage = groq ? json_member_object(groq, "usage") : NULL;
	}
	if (usage == NULL)
		return;

	if (read_counts(usage, &answer->usage))
		answer->usage.known = true;
	else
		memset(&answer->usage, 0, sizeof(answer->usage));

	/* OpenRouter: USD that it charged. */
	cost = json_member(usage, "cost");
	if (cost && cost->type == jbvNumeric &&
		!money_from_numeric(cost->val.numeric, &answer->reported_cost))
		answer->reported_cost = MONEY_UNKNOWN;
}

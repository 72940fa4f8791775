/*
 * errors.c
 *		Errors as values, and raising them at the SQL boundary.
 */
#include "base/errors.h"

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/varlena.h"

/* Longer than any name that is one. */
#define MAX_SHOWN_NAME 300

static const char *const outcome_names[OUTCOME_COUNT] = {
	[OUTCOME_OK] = "ok",
	[OUTCOME_RETRYABLE] = "unavailable",
	[OUTCOME_RATE_LIMITED] = "rate_limited",
	[OUTCOME_QUOTA] = "quota_exhausted",
	[OUTCOME_BAD_KEY] = "bad_key",
	[OUTCOME_NOT_PERMITTED] = "not_permitted",
	[OUTCOME_BAD_REQUEST] = "bad_request",
	[OUTCOME_TOO_LARGE] = "too_large",
	[OUTCOME_CONTEXT_TOO_LONG] = "context_too_long",
	[OUTCOME_MODEL_GONE] = "model_gone",
	[OUTCOME_FILTERED] = "filtered",
	[OUTCOME_TIMEOUT] = "timeout",
	[OUTCOME_PROTOCOL_ERROR] = "protocol_error",
	[OUTCOME_BLOCKED_ADDRESS] = "blocked_address",
	[OUTCOME_UNUSABLE_KEY] = "unusable_key",
	[OUTCOME_UNSUPPORTED] = "unsupported",
	[OUTCOME_CANCELLED] = "cancelled",
};

const char *
outcome_name(Outcome outcome)
{
	Assert(outcome >= 0 && outcome < OUTCOME_COUNT);
	return outcome_names[outcome];
}

static char *format_text(const char *format, va_list args) pg_attribute_printf(1, 0);

static char *
format_text(const char *format, va_list args)
{
	StringInfoData text;

	initStringInfo(&text);
	for (;;)
	{
		va_list copy;
		int		needed;

		va_copy(copy, args);
		needed = appendStringInfoVA(&text, format, copy);
		va_end(copy);
		if (needed == 0)
			return text.data;
		enlargeStringInfo(&text, needed);
	}
}

bool
error_set(LlmError *error, int sqlstate, const char *message, ...)
{
	va_list args;

	va_start(args, message);
	error->sqlstate = sqlstate;
	error->message = format_text(message, args);
	error->detail = NULL;
	error->hint = NULL;
	va_end(args);
	return false;
}

bool
error_detail(LlmError *error, const char *detail, ...)
{
	va_list args;

	va_start(args, detail);
	error->detail = format_text(detail, args);
	va_end(args);
	return false;
}

bool
error_hint(LlmError *error, const char *hint, ...)
{
	va_list args;

	va_start(args, hint);
	error->hint = format_text(hint, args);
	va_end(args);
	return false;
}

void
error_throw(const LlmError *error)
{
	Assert(error->sqlstate != 0);
	ereport(ERROR,
			(errcode(error->sqlstate),
			 errmsg_internal("%s", error->message),
			 error->detail ? errdetail_internal("%s", error->detail) : 0,
			 error->hint ? errhint("%s", error->hint) : 0));
	pg_unreachable();
}

char *
error_shown_name(const char *name)
{
	int length = (int) strlen(name);

	return pnstrdup(name, pg_mbcliplen(name, length, MAX_SHOWN_NAME));
}

const char *
error_nearest(const char *word, const char *const *candidates, int ncandidates)
{
	const char *nearest = NULL;
	int			length = (int) strlen(word);

	/* A third of the word may differ; varstr_levenshtein takes 255 characters. */
	int limit = Max(1, length / 3);

	if (length > 255)
		return NULL;
	for (int i = 0; i < ncandidates; i++)
	{
		int distance = varstr_levenshtein_less_equal(word, length, candidates[i],
													 (int) strlen(candidates[i]),
													 1, 1, 1, limit, true);

		if (distance <= limit)
		{
			nearest = candidates[i];
			limit = distance - 1;
			if (limit < 0)
				break;
		}
	}
	return nearest;
}

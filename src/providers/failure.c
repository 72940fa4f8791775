/*
 * failure.c
 *		What a provider's error means.
 *
 * First the error is read into a Failure: its status, its machine codes and its
 * message, wherever the many dialects put them.  Then one table is searched
 * from top to bottom.  Only the error's own members are looked at, never the
 * whole body: some errors echo the prompt.
 */
#include "providers/failure.h"

#include "base/encoding.h"
#include "chat/json.h"
#include "providers/redact.h"
#include "providers/retry_after.h"
#include "utils/builtins.h"
#include "utils/formatting.h"

#define MAX_CODES			 12
#define MAX_MESSAGE_BYTES	 500
#define MAX_CODE_BYTES		 64
#define MAX_PLAIN_TEXT_BYTES 200

typedef struct Failure
{
	int	  status;
	char *codes[MAX_CODES]; /* lower case; the most telling first */
	int	  ncodes;
	char *message;		 /* as said, or NULL */
	char *lower_message; /* "" when there is none */
} Failure;

typedef enum SignKind
{
	SIGN_STATUS, /* the status is enough */
	SIGN_CODE,	 /* one of the codes is text */
	SIGN_MESSAGE /* the message contains text (and also) */
} SignKind;

/* A failure's sign.  Statuses are ranges; 0 to 999 is any. */
typedef struct Sign
{
	int			from;
	int			to;
	SignKind	kind;
	Outcome		outcome;
	const char *text;
	const char *also;
} Sign;

/* The members of a row: status range, kind, outcome, and the text to find. */
#define STATUS(from, to, outcome)				   from, to, SIGN_STATUS, outcome, NULL, NULL
#define CODE_AT(from, to, text, outcome)		   from, to, SIGN_CODE, outcome, text, NULL
#define CODE(text, outcome)						   CODE_AT(0, 999, text, outcome)
#define MESSAGE_AND(from, to, text, also, outcome) from, to, SIGN_MESSAGE, outcome, text, also
#define MESSAGE(from, to, text, outcome)		   MESSAGE_AND(from, to, text, NULL, outcome)

/* The first that fits decides. */
static const Sign signs[] = {
	/* The key is wrong or revoked, in so many words: such a key is not sent again. */
	{ STATUS(401, 401, OUTCOME_BAD_KEY) },
	{ CODE("api_key_invalid", OUTCOME_BAD_KEY) },
	{ CODE("invalid_api_key", OUTCOME_BAD_KEY) },
	{ CODE("authentication", OUTCOME_BAD_KEY) },
	{ CODE("authentication_error", OUTCOME_BAD_KEY) },
	{ MESSAGE(400, 400, "incorrect api key", OUTCOME_BAD_KEY) },				 /* xAI */
	{ MESSAGE_AND(403, 403, "api key", "reported as leaked", OUTCOME_BAD_KEY) }, /* Google */

	/* No credit, except OpenRouter's limit on requests in flight. */
	{ CODE_AT(402, 402, "openrouter_in_flight_budget", OUTCOME_RATE_LIMITED) },
	{ STATUS(402, 402, OUTCOME_QUOTA) },
	{ CODE("insufficient_quota", OUTCOME_QUOTA) },
	{ CODE("quota_per_day", OUTCOME_QUOTA) },
	{ CODE("credit_balance_exhausted", OUTCOME_QUOTA) },
	{ CODE("billing_hard_limit_reached", OUTCOME_QUOTA) },
	{ CODE("billing_error", OUTCOME_QUOTA) },
	{ CODE("payment_required", OUTCOME_QUOTA) },
	{ MESSAGE(400, 499, "credit balance is too low", OUTCOME_QUOTA) },
	{ MESSAGE(400, 499, "exceeded your monthly included credits", OUTCOME_QUOTA) },
	{ MESSAGE_AND(429, 429, "trial key", "month", OUTCOME_QUOTA) }, /* Cohere */
	{ MESSAGE(400, 499, "reached your specified api usage limits", OUTCOME_QUOTA) },
	{ MESSAGE(400, 499, "spend limit", OUTCOME_QUOTA) },

	/* One request is larger than the account may send in a minute. */
	{ MESSAGE(429, 429, "request too large", OUTCOME_TOO_LARGE) },
	{ MESSAGE_AND(413, 413, "request too large", "per minute", OUTCOME_TOO_LARGE) },

	/* 403: moderation, Together's context error, else a lack of permission. */
	{ CODE_AT(403, 403, "moderation", OUTCOME_FILTERED) },
	{ CODE_AT(403, 403, "content_policy_violation", OUTCOME_FILTERED) },
	{ CODE_AT(403, 403, "refusal", OUTCOME_FILTERED) },
	{ MESSAGE(403, 403, "guardrail", OUTCOME_FILTERED) },
	{ MESSAGE(403, 403, "context length", OUTCOME_CONTEXT_TOO_LONG) },
	{ MESSAGE_AND(403, 403, "tokens", "exceed", OUTCOME_CONTEXT_TOO_LONG) },
	{ MESSAGE_AND(403, 403, "tokens", "must be <=", OUTCOME_CONTEXT_TOO_LONG) },
	{ STATUS(403, 403, OUTCOME_NOT_PERMITTED) },
	{ CODE("permission_denied", OUTCOME_NOT_PERMITTED) },

	/* Google: a file that is not ready, else an account that may not from there. */
	{ MESSAGE_AND(400, 400, "file", "active state", OUTCOME_BAD_REQUEST) },
	{ CODE_AT(400, 400, "failed_precondition", OUTCOME_NOT_PERMITTED) },
	{ CODE("permission_error", OUTCOME_NOT_PERMITTED) },

	/* The model is gone, or was never there. */
	{ STATUS(404, 404, OUTCOME_MODEL_GONE) },
	{ CODE("model_not_found", OUTCOME_MODEL_GONE) },
	{ CODE("model_not_available", OUTCOME_MODEL_GONE) },
	{ CODE("model_not_supported", OUTCOME_MODEL_GONE) },
	{ CODE("model_decommissioned", OUTCOME_MODEL_GONE) },
	{ CODE("unknown_model", OUTCOME_MODEL_GONE) },
	{ CODE("invalid_model", OUTCOME_MODEL_GONE) },
	{ CODE("not_found", OUTCOME_MODEL_GONE) },
	{ CODE("not_found_error", OUTCOME_MODEL_GONE) },

	/* A model with a larger window may do. */
	{ CODE("context_length_exceeded", OUTCOME_CONTEXT_TOO_LONG) },
	{ CODE("max_tokens_exceeded", OUTCOME_CONTEXT_TOO_LONG) },
	{ CODE("token_limit_exceeded", OUTCOME_CONTEXT_TOO_LONG) },
	{ CODE("string_too_long", OUTCOME_CONTEXT_TOO_LONG) },
	{ MESSAGE(400, 428, "maximum context length", OUTCOME_CONTEXT_TOO_LONG) },
	{ MESSAGE(400, 428, "context length", OUTCOME_CONTEXT_TOO_LONG) },
	{ MESSAGE(400, 428, "context window", OUTCOME_CONTEXT_TOO_LONG) },
	{ MESSAGE(400, 428, "prompt is too long", OUTCOME_CONTEXT_TOO_LONG) },
	{ MESSAGE(400, 428, "exceed context limit", OUTCOME_CONTEXT_TOO_LONG) },
	{ MESSAGE(400, 428, "available context size", OUTCOME_CONTEXT_TOO_LONG) },
	{ MESSAGE(400, 428, "max tokens must be less than or equal to", OUTCOME_BAD_REQUEST) }, /* Cohere */
	{ MESSAGE(400, 428, "too many tokens", OUTCOME_CONTEXT_TOO_LONG) },
	{ MESSAGE_AND(400, 428, "input token count", "exceeds the maximum number of tokens",
				  OUTCOME_CONTEXT_TOO_LONG) },
	{ MESSAGE(400, 428, "input tokens exceed", OUTCOME_CONTEXT_TOO_LONG) },
	{ MESSAGE(400, 428, "inputs tokens + max_new_tokens must be", OUTCOME_CONTEXT_TOO_LONG) },
	{ MESSAGE(400, 428, "`inputs` tokens + `max_new_tokens` must be", OUTCOME_CONTEXT_TOO_LONG) },
	{ MESSAGE(400, 428, "please reduce the length", OUTCOME_CONTEXT_TOO_LONG) },

	/* Replicate: the error of a prediction that failed comes with a good status. */
	{ MESSAGE(200, 299, "prompttoolong", OUTCOME_CONTEXT_TOO_LONG) },
	{ MESSAGE(200, 299, "exceeds maximum input length", OUTCOME_CONTEXT_TOO_LONG) },
	{ MESSAGE(200, 299, "maximum context length", OUTCOME_CONTEXT_TOO_LONG) },
	{ MESSAGE(200, 299, "context window", OUTCOME_CONTEXT_TOO_LONG) },
	{ MESSAGE(200, 299, "prompt is too long", OUTCOME_CONTEXT_TOO_LONG) },
	{ MESSAGE(200, 299, "input is too long", OUTCOME_CONTEXT_TOO_LONG) },
	{ MESSAGE_AND(200, 299, "input token count", "exceeds the maximum number of tokens",
				  OUTCOME_CONTEXT_TOO_LONG) },

	/* Refused for its content. */
	{ CODE("content_policy_violation", OUTCOME_FILTERED) },
	{ CODE("content_filter", OUTCOME_FILTERED) },
	{ CODE("refusal", OUTCOME_FILTERED) },
	{ MESSAGE(200, 299, "flagged as sensitive", OUTCOME_FILTERED) }, /* Replicate */
	{ MESSAGE(200, 299, "(e005)", OUTCOME_FILTERED) },
	{ MESSAGE(200, 299, "e005:", OUTCOME_FILTERED) },
	{ MESSAGE(200, 299, "code: e005", OUTCOME_FILTERED) },
	{ MESSAGE(400, 428, "violating our usage policy", OUTCOME_FILTERED) },
	{ MESSAGE(400, 428, "blocked by guardrail", OUTCOME_FILTERED) },

	/* 498: at Groq it is the capacity, at Cohere a token that it has forbidden. */
	{ CODE_AT(498, 498, "capacity_exceeded", OUTCOME_RETRYABLE) },
	{ STATUS(498, 498, OUTCOME_FILTERED) },

	/* Groq: the model wrote no valid JSON or tool call; another try may do. */
	{ CODE_AT(400, 400, "json_validate_failed", OUTCOME_PROTOCOL_ERROR) },
	{ CODE_AT(400, 400, "tool_use_failed", OUTCOME_PROTOCOL_ERROR) },

	{ STATUS(408, 408, OUTCOME_TIMEOUT) },
	{ STATUS(409, 409, OUTCOME_RETRYABLE) },
	{ STATUS(425, 425, OUTCOME_RETRYABLE) },
	{ STATUS(429, 429, OUTCOME_RATE_LIMITED) },
	{ STATUS(499, 499, OUTCOME_RETRYABLE) },
	{ STATUS(400, 499, OUTCOME_BAD_REQUEST) },
	{ STATUS(501, 501, OUTCOME_BAD_REQUEST) },
	{ STATUS(504, 504, OUTCOME_TIMEOUT) },
	{ STATUS(524, 524, OUTCOME_TIMEOUT) },

	/* Codes whose status says less than they do: 5xx, and errors in a 200. */
	{ CODE("timeout", OUTCOME_TIMEOUT) },
	{ CODE("timeout_error", OUTCOME_TIMEOUT) },
	{ CODE("deadline_exceeded", OUTCOME_TIMEOUT) },
	{ CODE("rate_limit_exceeded", OUTCOME_RATE_LIMITED) },
	{ CODE("rate_limit_error", OUTCOME_RATE_LIMITED) },
	{ CODE("resource_exhausted", OUTCOME_RATE_LIMITED) },
	{ CODE_AT(200, 299, "invalid_argument", OUTCOME_BAD_REQUEST) },
	{ CODE_AT(200, 299, "invalid_request", OUTCOME_BAD_REQUEST) },
	{ CODE_AT(200, 299, "invalid_request_error", OUTCOME_BAD_REQUEST) },
	{ CODE_AT(200, 299, "invalid_prompt", OUTCOME_BAD_REQUEST) },
	{ CODE_AT(200, 299, "validation", OUTCOME_BAD_REQUEST) },
	{ STATUS(200, 299, OUTCOME_RETRYABLE) },
	{ STATUS(500, 999, OUTCOME_RETRYABLE) },

	/* Redirects are not followed; nothing else is an answer. */
	{ STATUS(0, 999, OUTCOME_PROTOCOL_ERROR) },
};

static bool
has_code(const Failure *failure, const char *code)
{
	for (int i = 0; i < failure->ncodes; i++)
		if (strcmp(failure->codes[i], code) == 0)
			return true;
	return false;
}

static bool
sign_fits(const Sign *sign, const Failure *failure)
{
	if (failure->status < sign->from || failure->status > sign->to)
		return false;
	switch (sign->kind)
	{
		case SIGN_STATUS:
			return true;
		case SIGN_CODE:
			return has_code(failure, sign->text);
		case SIGN_MESSAGE:
			return strstr(failure->lower_message, sign->text) != NULL &&
				   (sign->also == NULL || strstr(failure->lower_message, sign->also) != NULL);
	}
	return false;
}

static Outcome
classify(const Failure *failure)
{
	const Sign *sign = signs;

	/* The last row fits every status that is in range. */
	while (sign < signs + lengthof(signs) - 1 && !sign_fits(sign, failure))
		sign++;
	return sign->outcome;
}

/* Remember a machine code; numbers repeat the status, or mean nothing here. */
static void
add_code(Failure *failure, const JsonbValue *value)
{
	char *code;

	if (value == NULL || failure->ncodes == MAX_CODES ||
		value->type != jbvString || value->val.string.len == 0)
		return;
	code = encoding_clean_line(json_value_string(value), MAX_CODE_BYTES);
	failure->codes[failure->ncodes++] = asc_tolower(code, strlen(code));
}

static void
add_member_codes(Failure *failure, JsonbContainer *object)
{
	static const char *const members[] = {
		"code", "error_type", "type", "status", "reason", "limit_source", "finish_reason"
	};

	for (int i = 0; i < (int) lengthof(members); i++)
		add_code(failure, json_member(object, members[i]));
}

/* Members whose presence means that a moderator refused the content. */
static void
add_moderation(Failure *failure, JsonbContainer *object)
{
	static const char *const members[] = { "guardrails", "reasons", "flagged_input", "patterns" };

	for (int i = 0; i < (int) lengthof(members); i++)
		if (json_member(object, members[i]) && failure->ncodes < MAX_CODES)
		{
			failure->codes[failure->ncodes++] = "moderation";
			return;
		}
}

/* The "msg" members of an array of validation errors, joined. */
static char *
joined_messages(JsonbContainer *details)
{
	JsonbIterator *iterator = json_iterate(details);
	JsonbValue	   detail;
	StringInfoData text;

	initStringInfo(&text);
	while (json_next_element(&iterator, &detail) && text.len < MAX_MESSAGE_BYTES)
	{
		JsonbContainer *object = json_value_object(&detail);
		char		   *message = object ? json_member_string(object, "msg") : NULL;

		if (message)
			appendStringInfo(&text, "%s%s", text.len > 0 ? "; " : "", message);
	}
	return text.len > 0 ? text.data : NULL;
}

static char *
message_of_details(JsonbContainer *object)
{
	JsonbContainer *details = json_member_array(object, "detail");

	return details ? joined_messages(details) : json_member_string(object, "detail");
}

/* The provider's words, wherever its dialect puts them. */
static char *
find_message(JsonbContainer *body, JsonbContainer *error)
{
	static const char *const members[] = { "error", "message" };
	JsonbContainer			*nested = json_member_object(body, "message");
	JsonbContainer			*errors = json_member_array(body, "errors");
	JsonbContainer			*groq = json_member_object(body, "x_groq");
	char					*message = error ? json_member_string(error, "message") : NULL;

	for (int i = 0; message == NULL && i < (int) lengthof(members); i++)
		message = json_member_string(body, members[i]);
	if (message == NULL && nested)
		message = message_of_details(nested);
	if (message == NULL)
		message = message_of_details(body);
	if (message == NULL)
		message = json_member_string(body, "title");
	if (message == NULL && groq)
		message = json_member_string(groq, "error");
	if (message == NULL && errors && JsonContainerSize(errors) > 0)
	{
		JsonbContainer *first = json_value_object(getIthJsonbValueFromContainer(errors, 0));

		message = first ? json_member_string(first, "message") : NULL;
	}
	return message;
}

/* Google: a quota that is used up for the day, not for the minute. */
static void
add_daily_quota(Failure *failure, JsonbContainer *detail)
{
	JsonbContainer *violations = json_member_array(detail, "violations");
	JsonbIterator  *iterator = violations ? json_iterate(violations) : NULL;
	JsonbValue		violation;

	while (violations && json_next_element(&iterator, &violation) && failure->ncodes < MAX_CODES)
	{
		JsonbContainer *object = json_value_object(&violation);
		char		   *quota = object ? json_member_string(object, "quotaId") : NULL;

		if (quota && strstr(quota, "PerDay"))
			failure->codes[failure->ncodes++] = "quota_per_day";
	}
}

/* Google's details[]: the reasons of its ErrorInfo, the quotas of its QuotaFailure. */
static void
add_details(Failure *failure, JsonbContainer *error)
{
	JsonbContainer *details = json_member_array(error, "details");
	JsonbIterator  *iterator;
	JsonbValue		detail;

	if (details == NULL)
		return;
	iterator = json_iterate(details);
	while (json_next_element(&iterator, &detail) && failure->ncodes < MAX_CODES)
		if (json_value_object(&detail))
		{
			add_code(failure, json_member(json_value_object(&detail), "reason"));
			add_daily_quota(failure, json_value_object(&detail));
		}
}

static void
read_error(Failure *failure, JsonbContainer *body, JsonbContainer *error)
{
	JsonbContainer *metadata = error ? json_member_object(error, "metadata") : NULL;
	int64			status;

	failure->message = find_message(body, error);
	if (metadata)
	{
		add_member_codes(failure, metadata);
		add_moderation(failure, metadata);
	}
	if (error)
	{
		add_member_codes(failure, error);
		add_details(failure, error);

		/* OpenRouter: the true status of an error that came with 200. */
		if (failure->status < 300 && json_member_int64(error, "code", &status) &&
			status >= 400 && status <= 599)
			failure->status = (int) status;
	}
	add_member_codes(failure, body);
	add_moderation(failure, body);
}

/* The object with the error: body.error, choices[0].error, or none. */
static JsonbContainer *
find_error(JsonbContainer *body)
{
	JsonbContainer *error = json_member_object(body, "error");
	JsonbContainer *choices = json_member_array(body, "choices");
	JsonbContainer *choice;

	if (error || choices == NULL || JsonContainerSize(choices) == 0)
		return error;
	choice = json_value_object(getIthJsonbValueFromContainer(choices, 0));
	return choice ? json_member_object(choice, "error") : NULL;
}

/* A short text is worth showing; a web page is not. */
static char *
plain_text_message(const WireResponse *wire)
{
	const char *body = wire->body;
	size_t		length = wire->body_length;

	while (length > 0 && isspace((unsigned char) *body))
	{
		body++;
		length--;
	}
	if (length == 0 || *body == '<' || *body == '{' || *body == '[')
		return NULL;
	return encoding_line_from_network(body, length, MAX_PLAIN_TEXT_BYTES);
}

void
failure_read(const WireResponse *wire, JsonbContainer *body, ProviderReply *reply)
{
	Failure failure = { .status = wire->status };

	if (body)
		read_error(&failure, body, find_error(body));
	else
		failure.message = plain_text_message(wire);
	failure.lower_message = failure.message ? asc_tolower(failure.message, strlen(failure.message)) : "";

	reply->outcome = classify(&failure);
	reply->retry_after_ms = retry_after_ms(wire, body, failure.lower_message);
	reply->do_not_retry = retry_is_forbidden(wire);
	reply->code = failure.ncodes > 0 ? failure.codes[0] : NULL;
	reply->message = NULL;
	if (failure.message && failure.message[0])
		reply->message = encoding_clean_line(redact_keys(failure.message), MAX_MESSAGE_BYTES);
}

void
failure_protocol(const char *problem, ProviderReply *reply)
{
	reply->outcome = OUTCOME_PROTOCOL_ERROR;
	reply->message = pstrdup(problem);
}

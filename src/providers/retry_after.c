/*
 * retry_after.c
 *		When a provider says that one may try again: seconds, milliseconds, HTTP
 *		dates (RFC 9110, section 5.6.7), RFC 3339 times, Go durations ("6m0s"),
 *		epochs.
 *
 * Integers only, and every sum is bounded: the texts are hostile.
 */
#include "providers/retry_after.h"

#include "chat/json.h"

#include "utils/datetime.h"

#define MAX_WAIT_MS (INT64CONST(31) * 24 * 3600 * 1000)

/* A decimal number in thousandths; digits beyond are dropped.  NULL for none. */
static const char *
read_decimal(const char *text, int64 *thousandths)
{
	int64		unit = 1000;
	const char *at = text;

	*thousandths = 0;
	for (; *at >= '0' && *at <= '9'; at++)
		*thousandths = Min(*thousandths * 10 + (*at - '0') * unit, PG_INT64_MAX / 100);
	if (at == text)
		return NULL;
	if (*at == '.' && at[1] >= '0' && at[1] <= '9')
		for (at++; *at >= '0' && *at <= '9'; at++)
			*thousandths += (*at - '0') * (unit /= 10);
	return at;
}

static int64
bounded(int64 ms)
{
	return ms <= 0 ? -1 : Min(ms, MAX_WAIT_MS);
}

/* "1.5", "1s", "6m0s", "2m59.56s", "120ms" at the start of text; or -1. */
static int64
read_duration(const char *text)
{
	static const struct
	{
		const char *name;
		int64		microseconds;
	} units[] = {
		{ "ms", 1000 },
		{ "us", 1 },
		{ "ns", 0 },
		{ "h", INT64CONST(3600000000) },
		{ "m", 60000000 },
		{ "s", 1000000 },
	};
	int64		total = 0;
	int64		number;
	const char *at = text;

	while ((at = read_decimal(at, &number)) != NULL)
	{
		int64 microseconds = 1000000; /* a bare number is seconds */
		bool  has_unit = false;

		for (int i = 0; i < (int) lengthof(units) && !has_unit; i++)
		{
			size_t length = strlen(units[i].name);

			if (strncmp(at, units[i].name, length) != 0)
				continue;
			microseconds = units[i].microseconds;
			at += length;
			has_unit = true;
		}
		number = Min(number, MAX_WAIT_MS);
		total += (int64) ((int128) number * microseconds / 1000);
		total = Min(total, MAX_WAIT_MS * 1000);
		if (!has_unit || *at < '0' || *at > '9')
			break;
	}

	/* Rounded up, so that the wait is never too short. */
	return bounded((total + 999) / 1000);
}

/* "Sun, 06 Nov 1994 08:49:37 GMT"; or -1. */
static int64
read_http_date(const char *text, TimestampTz now)
{
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	char			  month[4];
	const char		 *found;
	int				  day;
	int				  year;
	int				  hour;
	int				  minute;
	int				  second;
	int64			  seconds;

	if (sscanf(text, "%*3[A-Za-z], %2d %3[A-Za-z] %4d %2d:%2d:%2d GMT",
			   &day, month, &year, &hour, &minute, &second) != 6)
		return -1;
	found = strlen(month) == 3 ? strstr(months, month) : NULL;
	if (found == NULL || (found - months) % 3 != 0 || year < 1970 || year > 9999 ||
		day < 1 || day > 31 || hour < 0 || hour > 23 || minute < 0 || minute > 59 ||
		second < 0 || second > 60)
		return -1;

	seconds = (date2j(year, (int) (found - months) / 3 + 1, day) - POSTGRES_EPOCH_JDATE) *
				  (int64) SECS_PER_DAY +
			  hour * SECS_PER_HOUR + minute * SECS_PER_MINUTE + second;
	return bounded(seconds * 1000 - now / 1000);
}

/* "2026-11-23T12:00:30Z", with a fraction or an offset from UTC as well; or -1. */
static int64
read_rfc3339(const char *text, TimestampTz now)
{
	int			year, month, day, hour, minute, second;
	int			length = 0;
	int			offset_hours = 0;
	int			offset_minutes = 0;
	int64		seconds;
	const char *zone;

	if (sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d%n", &year, &month, &day, &hour, &minute, &second,
			   &length) != 6 ||
		year < 1970 || year > 9999 || month < 1 || month > 12 || day < 1 || day > 31 ||
		hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 60)
		return -1;

	/* A fraction counts as a whole second, so that the wait is never too short. */
	zone = text + length;
	if (*zone == '.')
	{
		zone += 1 + strspn(zone + 1, "0123456789");
		second++;
	}
	if ((*zone == '+' || *zone == '-') &&
		sscanf(zone + 1, "%2d:%2d", &offset_hours, &offset_minutes) != 2)
		return -1;
	seconds = (date2j(year, month, day) - POSTGRES_EPOCH_JDATE) * (int64) SECS_PER_DAY +
			  hour * SECS_PER_HOUR + minute * SECS_PER_MINUTE + second -
			  (*zone == '-' ? -1 : 1) *
				  (offset_hours * SECS_PER_HOUR + offset_minutes * SECS_PER_MINUTE);
	return bounded(seconds * 1000 - now / 1000);
}

/* A moment (a time, or epoch seconds or milliseconds) or a number of seconds; or -1. */
static int64
read_reset(const char *text, TimestampTz now)
{
	int64 epoch_ms = now / 1000 +
					 (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * (int64) SECS_PER_DAY * 1000;
	int64 thousandths;
	int64 seconds;

	if (strspn(text, "0123456789") == 4 && text[4] == '-')
		return read_rfc3339(text, now);
	if (read_decimal(text, &thousandths) == NULL)
		return -1;
	seconds = thousandths / 1000;
	if (seconds > INT64CONST(100000000000))
		return bounded(seconds - epoch_ms);
	if (seconds > INT64CONST(1000000000))
		return bounded(seconds * 1000 - epoch_ms);
	return read_duration(text);
}

/* The limit that is used up says when it is renewed; the longest of them. */
static int64
read_reset_headers(const WireResponse *wire)
{
	static const char *const limits[][2] = {
		{ "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests" },
		{ "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens" },
		{ "x-ratelimit-remaining", "x-ratelimit-reset" },
		{ "anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-reset" },
		{ "anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-reset" },
		{ "anthropic-ratelimit-input-tokens-remaining", "anthropic-ratelimit-input-tokens-reset" },
		{ "anthropic-ratelimit-output-tokens-remaining", "anthropic-ratelimit-output-tokens-reset" },
	};
	const char *policy = wire_response_header(wire, "ratelimit");
	int64		longest = -1;

	for (int i = 0; i < (int) lengthof(limits); i++)
	{
		const char *remaining = wire_response_header(wire, limits[i][0]);
		const char *reset = wire_response_header(wire, limits[i][1]);

		if (remaining && strcmp(remaining, "0") == 0 && reset)
			longest = Max(longest, read_reset(reset, wire->received_at));
	}

	/* Hugging Face: "api";r=0;t=55 */
	if (policy && strstr(policy, ";r=0;t="))
		longest = Max(longest, read_duration(strstr(policy, ";r=0;t=") + 7));
	return longest;
}

/* "Please try again in 7.66s", "Your rate limit resets in ~30s" */
static int64
read_message(const char *message)
{
	static const char *const phrases[] = { "try again in ", "resets in ~", "resets in " };

	for (int i = 0; message && i < (int) lengthof(phrases); i++)
	{
		const char *found = strstr(message, phrases[i]);
		int64		wait = found ? read_duration(found + strlen(phrases[i])) : -1;

		if (wait > 0)
			return wait;
	}
	return -1;
}

/* Google's google.rpc.RetryInfo: {"@type": …, "retryDelay": "34.4s"} */
static int64
read_retry_info(JsonbContainer *body)
{
	JsonbContainer *error = body ? json_member_object(body, "error") : NULL;
	JsonbContainer *details = error ? json_member_array(error, "details") : NULL;
	JsonbIterator  *iterator = details ? json_iterate(details) : NULL;
	int64			wait = -1;
	JsonbValue		detail;

	while (details && json_next_element(&iterator, &detail))
	{
		JsonbContainer *object = json_value_object(&detail);
		char		   *delay = object ? json_member_string(object, "retryDelay") : NULL;

		if (delay)
			wait = Max(wait, read_duration(delay));
	}
	return wait;
}

int64
retry_after_ms(const WireResponse *wire, JsonbContainer *body, const char *message)
{
	const char *milliseconds = wire_response_header(wire, "retry-after-ms");
	const char *seconds = wire_response_header(wire, "retry-after");
	int64		number;
	int64		wait = -1;

	if (milliseconds && read_decimal(milliseconds, &number))
		wait = bounded(number / 1000);
	if (wait < 0 && seconds)
		wait = read_duration(seconds);
	if (wait < 0 && seconds)
		wait = read_http_date(seconds, wire->received_at);
	if (wait < 0)
		wait = read_reset_headers(wire);
	if (wait < 0)
		wait = read_retry_info(body);
	if (wait < 0)
		wait = read_message(message);
	return wait;
}

bool
retry_is_forbidden(const WireResponse *wire)
{
	const char *header = wire_response_header(wire, "x-should-retry");

	return header && strcmp(header, "false") == 0;
}

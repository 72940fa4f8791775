/*
 * settings.c
 *		The settings: one table a type, a row each.
 *
 * A setting's context is the strictest that fits: what decides where prompts
 * and keys may go is the administrator's, what only makes a caller's own call
 * wait longer or shorter is the caller's.
 */
#include "base/settings.h"

#include <limits.h>

#include "miscadmin.h"
#include "pgtime.h"
#include "utils/guc.h"

bool settings_preloaded = false;
void (*settings_reload_hook)(void);

char *setting_user_id;
char *setting_default_power_level;
char *setting_default_subscription_tier;
char *setting_default_end_user_tier;
int	  setting_fallback_scope;
char *setting_master_key_file;
char *setting_master_key_command;
int	  setting_key_cache_ttl;
int	  setting_key_revalidation_interval;
int	  setting_connect_timeout;
int	  setting_first_token_timeout;
int	  setting_stream_idle_timeout;
int	  setting_request_timeout;
int	  setting_max_attempts;
int	  setting_max_response_size;
int	  setting_max_concurrency;
int	  setting_concurrency_timeout;
int	  setting_circuit_failures;
int	  setting_circuit_cooldown;
int	  setting_health_check_interval;
char *setting_ca_file;
char *setting_proxy;
char *setting_allowed_hosts;
bool  setting_ledger_wait;
bool  setting_record_intent;
int	  setting_ledger_wait_timeout;
int	  setting_ledger_size;
int	  setting_limits_size;
char *setting_budget_timezone;
int	  setting_budget_max_tokens;
int	  setting_max_workers;
int	  setting_worker_idle_timeout;
int	  setting_usage_retention;
int	  setting_audit_retention;

/* The longest user name that the ledger and the key table take, in bytes. */
#define MAX_USER_ID_BYTES 255

static const struct config_enum_entry fallback_scopes[] = {
	{ "rules", SETTING_FALLBACK_RULES, false },
	{ "level", SETTING_FALLBACK_LEVEL, false },
	{ NULL, 0, false }
};

static bool
check_power_level(char **value, void **extra, GucSource source)
{
	static const char *const levels[] = { "eco", "balanced", "precision" };

	for (int i = 0; i < (int) lengthof(levels); i++)
		if (strcmp(*value, levels[i]) == 0)
			return true;
	GUC_check_errhint("Available values: eco, balanced, precision.");
	return false;
}

static bool
check_user_id(char **value, void **extra, GucSource source)
{
	if (strlen(*value) > MAX_USER_ID_BYTES)
	{
		GUC_check_errdetail("A user id has at most %d bytes.", MAX_USER_ID_BYTES);
		return false;
	}
	for (const char *c = *value; *c; c++)
	{
		if ((unsigned char) *c < ' ' || *c == 0x7f)
		{
			GUC_check_errdetail("A user id has no control characters.");
			return false;
		}
	}
	return true;
}

static bool
check_budget_timezone(char **value, void **extra, GucSource source)
{
	const pg_tz *zone = pg_tzset(*value);

	if (zone == NULL)
	{
		GUC_check_errhint("Give a name of pg_timezone_names, such as Europe/Berlin.");
		return false;
	}
	if (!pg_tz_acceptable(unconstify(pg_tz *, zone)))
	{
		GUC_check_errdetail("PostgreSQL does not support leap seconds.");
		return false;
	}
	return true;
}

/*
 * Not a check: PostgreSQL has no hook for a reload, but checks each setting of
 * the files again.  Other processes come here as well, whenever they get to it.
 */
static bool
notice_reload(char **value, void **extra, GucSource source)
{
	if (settings_reload_hook && !IsUnderPostmaster && source == PGC_S_FILE)
		settings_reload_hook();
	return true;
}

typedef struct StringSetting
{
	const char		  *name;
	const char		  *description;
	const char		  *details;
	char			 **variable;
	const char		  *initial;
	GucContext		   context;
	int				   flags;
	GucStringCheckHook check;
} StringSetting;

static const StringSetting string_settings[] = {
	{ "llm_router.user_id",
	  "The end user on whose behalf this session calls.",
	  "Empty: the current role. Set it with SET LOCAL; it takes a superuser or GRANT SET ON PARAMETER.",
	  &setting_user_id, "", PGC_SUSET, GUC_NOT_IN_SAMPLE, check_user_id },
	{ "llm_router.default_power_level",
	  "Power level of calls that name none: eco, balanced or precision.",
	  "A user's own default (llm_users) comes first; it is lowered to what the tier includes.",
	  &setting_default_power_level, "balanced", PGC_USERSET, 0, check_power_level },
	{ "llm_router.default_subscription_tier",
	  "Tier of a role that calls for itself and has no row in llm_users.",
	  NULL,
	  &setting_default_subscription_tier, "enterprise", PGC_SUSET, 0, NULL },
	{ "llm_router.default_end_user_tier",
	  "Tier of an llm_router.user_id that has no row in llm_users.",
	  NULL,
	  &setting_default_end_user_tier, "free", PGC_SUSET, 0, NULL },
	{ "llm_router.master_key_file",
	  "File with the master keys, one a line; the first encrypts, all decrypt.",
	  "Not readable by group or others. Empty: LLM_ROUTER_MASTER_KEY, master_key_command, or a "
	  "generated file in the data directory.",
	  &setting_master_key_file, "", PGC_SIGHUP, GUC_SUPERUSER_ONLY, NULL },
	{ "llm_router.master_key_command",
	  "Shell command that prints the master keys, one a line, for a key management service.",
	  "Run once a server start or reload, by the process that first needs the keys; it has 30 s.",
	  &setting_master_key_command, "", PGC_SIGHUP, GUC_SUPERUSER_ONLY, notice_reload },
	{ "llm_router.budget_timezone",
	  "Time zone in which the days, weeks and months of budgets begin.",
	  "One for the whole server, whatever the sessions' TimeZone is; weeks begin on Monday.",
	  &setting_budget_timezone, "UTC", PGC_SIGHUP, 0, check_budget_timezone },
	{ "llm_router.ca_file",
	  "PEM file of certificate authorities to trust besides the system's.",
	  NULL,
	  &setting_ca_file, "", PGC_SIGHUP, 0, NULL },
	{ "llm_router.proxy",
	  "URL of the HTTP proxy for all calls; empty: none.",
	  "Proxy variables of the environment are ignored. A proxy is trusted: it resolves and checks "
	  "addresses itself.",
	  &setting_proxy, "", PGC_SIGHUP, GUC_SUPERUSER_ONLY, NULL },
	{ "llm_router.allowed_hosts",
	  "Hosts, comma separated (host or host:port), that may be called over http or at private addresses.",
	  "Loopback over http is always allowed for a provider whose URL says so.",
	  &setting_allowed_hosts, "", PGC_SIGHUP, GUC_LIST_INPUT, NULL },
};

typedef struct IntegerSetting
{
	const char *name;
	const char *description;
	const char *details;
	int		   *variable;
	int			initial;
	int			minimum;
	int			maximum;
	GucContext	context;
	int			flags;
} IntegerSetting;

static const IntegerSetting integer_settings[] = {
	{ "llm_router.key_cache_ttl",
	  "How long a process keeps a decrypted key in its memory.",
	  "0: decrypted for each call.",
	  &setting_key_cache_ttl, 15 * 60, 0, 24 * 3600, PGC_SIGHUP, GUC_UNIT_S },
	{ "llm_router.key_revalidation_interval",
	  "How often providers are asked again about the keys of users.",
	  "0: never. A key that its provider refuses is marked, reported and not used.",
	  &setting_key_revalidation_interval, 24 * 3600, 0, 365 * 24 * 3600, PGC_SIGHUP, GUC_UNIT_S },
	{ "llm_router.connect_timeout",
	  "Time for name look-up, TCP and TLS of one attempt.",
	  NULL,
	  &setting_connect_timeout, 10 * 1000, 1, 3600 * 1000, PGC_USERSET, GUC_UNIT_MS },
	{ "llm_router.first_token_timeout",
	  "Time from the start of an attempt to the first byte of its answer, or the first chunk of a stream.",
	  "A provider that does not stream sends nothing before the whole answer is made.",
	  &setting_first_token_timeout, 120 * 1000, 1, 3600 * 1000, PGC_USERSET, GUC_UNIT_MS },
	{ "llm_router.stream_idle_timeout",
	  "Time that a stream may be silent after its first chunk, comments included.",
	  NULL,
	  &setting_stream_idle_timeout, 60 * 1000, 1, 3600 * 1000, PGC_USERSET, GUC_UNIT_MS },
	{ "llm_router.request_timeout",
	  "Time for a whole call, with all its attempts and waits.",
	  NULL,
	  &setting_request_timeout, 300 * 1000, 1, 24 * 3600 * 1000, PGC_USERSET, GUC_UNIT_MS },
	{ "llm_router.max_attempts",
	  "Attempts of one call, over all candidates.",
	  NULL,
	  &setting_max_attempts, 4, 1, 20, PGC_USERSET, 0 },
	{ "llm_router.max_response_size",
	  "Largest answer that is accepted from a provider, after decompression.",
	  "Of a stream, the largest event.",
	  &setting_max_response_size, 32 * 1024, 16, 512 * 1024, PGC_SUSET, GUC_UNIT_KB },
	{ "llm_router.max_concurrency",
	  "Calls that may run at once in the whole server.",
	  "-1: three quarters of max_connections, so that slow providers cannot take every connection.",
	  &setting_max_concurrency, -1, -1, INT_MAX / 2, PGC_SIGHUP, 0 },
	{ "llm_router.concurrency_timeout",
	  "How long a call waits for its turn when max_concurrency is reached, before it fails with LR004.",
	  NULL,
	  &setting_concurrency_timeout, 10 * 1000, 0, 3600 * 1000, PGC_USERSET, GUC_UNIT_MS },
	{ "llm_router.circuit_failures",
	  "Failures in a row after which a model or provider is left alone for a while.",
	  "0: never, also not when a provider asks for a pause.",
	  &setting_circuit_failures, 5, 0, 1000, PGC_SIGHUP, 0 },
	{ "llm_router.circuit_cooldown",
	  "How long it is left alone; doubled each time that it fails again, up to 16 times this.",
	  "Other candidates come first meanwhile. What a provider asks for with Retry-After counts instead.",
	  &setting_circuit_cooldown, 30 * 1000, 10, 3600 * 1000, PGC_SIGHUP, GUC_UNIT_MS },
	{ "llm_router.health_check_interval",
	  "How often the health of providers is checked, where llm_providers says nothing else.",
	  "0: never. A provider that is down is not used until it answers again.",
	  &setting_health_check_interval, 5 * 60, 0, 30 * 24 * 3600, PGC_SIGHUP, GUC_UNIT_S },
	{ "llm_router.ledger_wait_timeout",
	  "How long an answer waits for its ledger row to be committed, before it is given with a WARNING.",
	  "The record stays queued and is written all the same.",
	  &setting_ledger_wait_timeout, 5 * 1000, 1, 3600 * 1000, PGC_USERSET, GUC_UNIT_MS },
	{ "llm_router.ledger_size",
	  "Shared memory for records on their way to the ledger.",
	  "A call in progress takes 1 to 10 kB.",
	  &setting_ledger_size, 8 * 1024, 256, 1024 * 1024, PGC_POSTMASTER, GUC_UNIT_KB },
	{ "llm_router.limits_size",
	  "Shared memory for the counters of budgets and rates.",
	  "Half for each. Memory is touched only when it is needed.",
	  &setting_limits_size, 16 * 1024, 64, 1024 * 1024, PGC_POSTMASTER, GUC_UNIT_KB },
	{ "llm_router.budget_max_tokens",
	  "Longest answer asked for where dollars or tokens are limited and the request says no max_tokens.",
	  "What such an answer may cost is reserved before it is asked for.",
	  &setting_budget_max_tokens, 4096, 1, PG_INT32_MAX, PGC_SUSET, 0 },
	{ "llm_router.max_workers",
	  "Background workers of llm_router in the whole server, besides the launcher.",
	  "They come out of max_worker_processes, start on demand and leave when idle.",
	  &setting_max_workers, 4, 1, 256, PGC_SIGHUP, 0 },
	{ "llm_router.worker_idle_timeout",
	  "How long a worker with nothing to do stays before it leaves.",
	  NULL,
	  &setting_worker_idle_timeout, 30 * 1000, 10, 24 * 3600 * 1000, PGC_SIGHUP, GUC_UNIT_MS },
	{ "llm_router.usage_retention",
	  "Days that llm_usage_logs keeps; older partitions are dropped.",
	  "0: for ever.",
	  &setting_usage_retention, 0, 0, 36500, PGC_SIGHUP, 0 },
	{ "llm_router.audit_retention",
	  "Days that llm_audit_logs keeps; older entries are deleted.",
	  "0: for ever.",
	  &setting_audit_retention, 0, 0, 36500, PGC_SIGHUP, 0 },
};

void
settings_init(void)
{
	settings_preloaded = true;

	for (int i = 0; i < (int) lengthof(string_settings); i++)
	{
		const StringSetting *s = &string_settings[i];

		DefineCustomStringVariable(s->name, s->description, s->details, s->variable,
								   s->initial, s->context, s->flags, s->check, NULL, NULL);
	}
	for (int i = 0; i < (int) lengthof(integer_settings); i++)
	{
		const IntegerSetting *s = &integer_settings[i];

		DefineCustomIntVariable(s->name, s->description, s->details, s->variable,
								s->initial, s->minimum, s->maximum, s->context, s->flags,
								NULL, NULL, NULL);
	}
	DefineCustomEnumVariable("llm_router.fallback_scope",
							 "Which models may stand in: those that routing rules name, or all of "
							 "the level.",
							 "rules: prompts go only to providers that somebody chose.",
							 &setting_fallback_scope, SETTING_FALLBACK_RULES, fallback_scopes,
							 PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable("llm_router.ledger_wait",
							 "Whether an answer waits until its ledger row is committed.",
							 "Off: the answer comes earlier; a crash in between loses the row, a "
							 "ROLLBACK does not.",
							 &setting_ledger_wait, true, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable("llm_router.record_intent",
							 "Whether every attempt is committed to the ledger before it is sent.",
							 "On: what was under way when the server crashed is in the ledger, with status "
							 "unknown, and counts against budgets. Costs a commit an attempt.",
							 &setting_record_intent, false, PGC_SUSET, 0, NULL, NULL, NULL);
	MarkGUCPrefixReserved("llm_router");
}

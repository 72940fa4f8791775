/*
 * settings.h
 *		The settings (llm_router.*).  Documented where they are defined, in
 *		settings.c, and in doc/settings.md.
 */
#ifndef LLM_ROUTER_SETTINGS_H
#define LLM_ROUTER_SETTINGS_H

#include "postgres.h"

/* The values of llm_router.fallback_scope; the same as FallbackScope's. */
#define SETTING_FALLBACK_RULES 1
#define SETTING_FALLBACK_LEVEL 2

/*
 * Whether llm_router was preloaded.  If not, there are neither settings nor
 * shared memory, and whatever needs them raises LR010.
 */
extern bool settings_preloaded;

/*
 * Called by the postmaster when it reads the configuration files, so exactly
 * once a reload, if they hold llm_router.master_key_command.  Must neither wait
 * nor fail.
 */
extern void (*settings_reload_hook)(void);

/* Who and what */
extern char *setting_user_id;
extern char *setting_default_power_level;
extern char *setting_default_subscription_tier;
extern char *setting_default_end_user_tier;
extern int	 setting_fallback_scope; /* a FallbackScope */

/* Secrets */
extern char *setting_master_key_file;
extern char *setting_master_key_command;
extern int	 setting_key_cache_ttl;				/* seconds; 0: never cached */
extern int	 setting_key_revalidation_interval; /* s; 0: never */

/* Calls */
extern int setting_connect_timeout;		/* ms */
extern int setting_first_token_timeout; /* ms */
extern int setting_stream_idle_timeout; /* ms */
extern int setting_request_timeout;		/* ms, the whole call */
extern int setting_max_attempts;
extern int setting_max_response_size;	  /* kB */
extern int setting_max_concurrency;		  /* -1: three quarters of max_connections */
extern int setting_concurrency_timeout;	  /* ms */
extern int setting_circuit_failures;	  /* 0: no circuits */
extern int setting_circuit_cooldown;	  /* ms */
extern int setting_health_check_interval; /* s; 0: never */

/* Limits */
extern int	 setting_limits_size; /* kB of shared memory */
extern char *setting_budget_timezone;
extern int	 setting_budget_max_tokens;

/* Network */
extern char *setting_ca_file;
extern char *setting_proxy;
extern char *setting_allowed_hosts;

/* Ledger and workers */
extern bool setting_ledger_wait;
extern bool setting_record_intent;
extern int	setting_ledger_wait_timeout; /* ms */
extern int	setting_ledger_size;		 /* kB of shared memory */
extern int	setting_max_workers;
extern int	setting_worker_idle_timeout; /* ms */
extern int	setting_usage_retention;	 /* days; 0: for ever */
extern int	setting_audit_retention;	 /* days; 0: for ever */

/* Define them all.  Called once by _PG_init. */
extern void settings_init(void);

#endif /* LLM_ROUTER_SETTINGS_H */

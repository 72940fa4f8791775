/*
 * caller.c
 *		Who calls: the user, the tier, and the settings that bear on the plan.
 */
#include "state/caller.h"

#include "base/settings.h"
#include "miscadmin.h"
#include "state/audit.h"
#include "state/circuits.h"
#include "state/users.h"
#include "utils/acl.h"
#include "utils/date.h"

char *
caller_user_id(bool *is_role)
{
	*is_role = setting_user_id[0] == '\0';
	return *is_role ? GetUserNameFromId(GetUserId(), false) : pstrdup(setting_user_id);
}

bool
caller_may_set_user(void)
{
	return pg_parameter_aclcheck("llm_router.user_id", GetUserId(), ACL_SET) == ACLCHECK_OK;
}

void
caller_note_refusal(const char *user_id, const char *means)
{
	AuditEntry entry = {
		.actor = GetUserNameFromId(GetUserId(), false),
		.user_id = user_id,
		.action = "access.refused",
		.object = means,
	};

	audit_note(&entry);
}

bool
caller_may_act_for(const char *user_id, const char *means, LlmError *error)
{
	if (caller_may_set_user())
		return true;
	caller_note_refusal(user_id, means);
	error_set(error, ERRCODE_INSUFFICIENT_PRIVILEGE,
			  "%s: role \"%s\" may not speak for other users", means,
			  GetUserNameFromId(GetUserId(), false));
	return error_hint(error, "GRANT SET ON PARAMETER llm_router.user_id,"
							 " as llm_grant(role, 'application') does.");
}

/* The user that the options name; NULL with an error when they may not. */
static char *
named_user(const char *user_id, LlmError *error)
{
	return caller_may_act_for(user_id, "options.router.user_id", error) ? pstrdup(user_id)
																		: NULL;
}

bool
caller_fill(RouteCaller *caller, const RouterOptions *options, LlmError *error)
{
	bool	   is_role = false;
	char	  *user_id = options->user_id ? named_user(options->user_id, error)
										  : caller_user_id(&is_role);
	UserRecord user;

	if (user_id == NULL)
		return false;
	user_lookup(user_id, &user);
	if (user.tier == NULL)
		user.tier = pstrdup(is_role ? setting_default_subscription_tier
									: setting_default_end_user_tier);
	*caller = (RouteCaller){
		.user_id = user_id,
		.tier = user.tier,
		.user_default_level = user.default_power_level,
		.setting_default_level = setting_default_power_level,
		.fallback_scope = (FallbackScope) setting_fallback_scope,
		.byok = user.byok == BYOK_UNSET ? BYOK_PREFER : user.byok,
		.user_keys = user.keys,
		.nuser_keys = user.nkeys,
		.look_at_health = circuits_looker(),
		.today = GetSQLCurrentDate(),
		.rate = user.rate,
	};
	return true;
}

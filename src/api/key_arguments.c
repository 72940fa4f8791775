/*
 * key_arguments.c
 *		What the functions that take an API key do with their arguments.
 */
#include "api/key_arguments.h"

#include "api/arguments.h"
#include "base/errors.h"
#include "miscadmin.h"
#include "secrets/credential.h"
#include "state/audit.h"

static const CatalogProvider *
find_provider(const Catalog *catalog, const char *name)
{
	const CatalogProvider *provider = catalog_provider(catalog, name);
	const char			 **names;
	const char			  *nearest;

	if (provider != NULL)
		return provider;
	names = palloc_array(const char *, Max(catalog->nproviders, 1));
	for (int i = 0; i < catalog->nproviders; i++)
		names[i] = catalog->providers[i].name;
	nearest = error_nearest(name, names, catalog->nproviders);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown provider \"%s\"", error_shown_name(name)),
			 nearest ? errhint("Did you mean \"%s\"?", nearest)
					 : errhint("SELECT name FROM llm_providers lists them.")));
}

void
key_arguments_read(FunctionCallInfo fcinfo, int api_key, const char *provider,
				   KeyArguments *arguments)
{
	if (provider == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the provider is NULL"),
				 errhint("Give its name, such as 'openai'.")));
	if (api_key >= 0)
		arguments->api_key = argument_string(fcinfo, api_key);
	arguments->catalog = catalog_get();
	catalog_pin(arguments->catalog);
	arguments->provider = find_provider(arguments->catalog, provider);
}

void
key_arguments_wipe(KeyArguments *arguments)
{
	if (arguments->api_key)
		explicit_bzero(arguments->api_key, strlen(arguments->api_key));
	if (arguments->catalog)
		catalog_unpin(arguments->catalog);
}

void
key_argument_check(const KeyArguments *arguments)
{
	LlmError error = { 0 };

	if (arguments->api_key == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the API key is NULL")));
	if (!credential_valid(arguments->api_key, &error))
		error_throw(&error);
	if (arguments->provider->endpoint.auth_type == AUTH_NONE)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("provider \"%s\" takes no key", arguments->provider->name),
				 errhint("Its auth_type in llm_providers is none.")));
}

void
key_argument_refused(const CatalogProvider *provider, const KeyCheck *check, const char *user_id)
{
	audit_note(&(AuditEntry){
		.actor = GetUserNameFromId(GetUserId(), false),
		.user_id = user_id,
		.action = user_id ? "byok.key.validation_failed" : "provider.key.validation_failed",
		.object = provider->name,
		.detail = audit_key_detail(0, NULL, check->message),
	});
	ereport(ERROR,
			(errcode(ERRCODE_LLM_KEY),
			 errmsg("provider \"%s\" refused the key", provider->name),
			 errdetail_internal("%s", check->message),
			 errhint("Nothing was stored. Look in the provider's console whether the key is active.")));
}

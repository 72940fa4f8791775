/*
 * google_model.c
 *		What differs between Google's models, by their names.
 */
#include "providers/google.h"

const char *
google_model_name(const char *name)
{
	static const char prefix[] = "models/";

	return strncmp(name, prefix, strlen(prefix)) == 0 ? name + strlen(prefix) : name;
}

/*
 * "gemini-2.5-flash-lite", "gemini-3-pro-preview", "gemini-3.7-flash".  Models think
 * from 2.5 on, in a budget; from 3 on at a level.  A name without a version is
 * taken for the newest ("gemini-flash-latest").
 */
GoogleModelTraits
google_model_traits(const char *name)
{
	static const char gemini[] = "gemini-";
	GoogleModelTraits traits = { 0 };
	const char		 *version;
	char			 *rest;

	name = google_model_name(name);
	traits.is_gemma = strncmp(name, "gemma", 5) == 0;
	if (strncmp(name, gemini, strlen(gemini)) != 0)
		return traits;

	version = name + strlen(gemini);
	traits.version = 999;
	if (*version >= '0' && *version <= '9')
	{
		long major = strtol(version, &rest, 10);
		long minor = 0;

		if (*rest == '.' && rest[1] >= '0' && rest[1] <= '9')
			minor = strtol(rest + 1, &rest, 10);
		traits.version = (int) (Min(major, 99) * 100 + Min(minor, 99));
	}
	traits.is_pro = strstr(version, "pro") != NULL;
	traits.is_lite = strstr(version, "lite") != NULL;
	traits.thinks = traits.version >= 205;
	traits.thinks_by_level = traits.version >= 300;
	return traits;
}

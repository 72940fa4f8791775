/*
 * google_model.c
 *		What differs between Google's models, by their names.
 */
#include "providers/google.h"

/* A version is 100 times the major and minor number: 205 for 2.5. */
#define VERSION_NONE   0   /* the name has none that we know */
#define VERSION_NEWEST 999 /* "gemini-flash-latest" */

#define LOW_TO_HIGH \
	(GOOGLE_LEVEL(EFFORT_LOW) | GOOGLE_LEVEL(EFFORT_MEDIUM) | GOOGLE_LEVEL(EFFORT_HIGH))

const char *
google_model_path(const char *name)
{
	if (strncmp(name, "models/", 7) == 0 || strncmp(name, "tunedModels/", 12) == 0)
		return name;
	return psprintf("models/%s", name);
}

/* "gemini-2.5-flash-lite", "gemini-3-pro-preview", "gemini-flash-latest" */
static int
gemini_version(const char *name)
{
	static const char prefix[] = "gemini-";
	static const char latest[] = "-latest";
	int				  length = (int) strlen(name);
	char			 *rest;
	long			  major;
	long			  minor = 0;

	if (strncmp(name, prefix, strlen(prefix)) != 0)
		return VERSION_NONE;
	name += strlen(prefix);
	length -= (int) strlen(prefix);
	if (*name < '0' || *name > '9')
		return length > (int) strlen(latest) && strcmp(name + length - strlen(latest), latest) == 0
				   ? VERSION_NEWEST
				   : VERSION_NONE;
	major = strtol(name, &rest, 10);
	if (*rest == '.' && rest[1] >= '0' && rest[1] <= '9')
		minor = strtol(rest + 1, &rest, 10);
	return (int) (Min(major, 9) * 100 + Min(minor, 99));
}

/*
 * From Gemini 3 on.  "minimal" is for the flash models before 3.7; the models for
 * images have less to choose from.
 */
static int
thinking_levels(const char *name, int version)
{
	bool is_pro = strstr(name, "pro") != NULL;

	if (strstr(name, "image"))
		return GOOGLE_LEVEL(EFFORT_HIGH) | (is_pro ? 0 : GOOGLE_LEVEL(EFFORT_MINIMAL));
	if (is_pro && version == 300)
		return GOOGLE_LEVEL(EFFORT_LOW) | GOOGLE_LEVEL(EFFORT_HIGH);
	return LOW_TO_HIGH | (is_pro || version >= 307 ? 0 : GOOGLE_LEVEL(EFFORT_MINIMAL));
}

/* Models think from 2.5 on, in a budget; from 3 on at a level. */
static void
read_thinking(const char *name, int version, GoogleModelTraits *traits)
{
	if (version < 205 || strstr(name, "-tts") || (version < 300 && strstr(name, "image")))
		return;
	if (version >= 300)
	{
		traits->thinking = GOOGLE_THINKS_AT_LEVEL;
		traits->levels = thinking_levels(name, version);
		return;
	}
	traits->thinking = GOOGLE_THINKS_IN_BUDGET;
	traits->can_stop_thinking = strstr(name, "pro") == NULL;
	traits->max_budget = traits->can_stop_thinking ? 24576 : 32768;
	traits->min_budget = traits->can_stop_thinking ? 1 : 128;
	if (strstr(name, "lite"))
		traits->min_budget = 512;
}

/*
 * Of what a name does not tell, that is taken which is never refused: no
 * thinkingConfig, a signature for each call.
 */
GoogleModelTraits
google_model_traits(const char *name)
{
	GoogleModelTraits traits = { 0 };
	bool			  is_gemma;
	int				  version;

	name = strchr(google_model_path(name), '/') + 1;
	version = gemini_version(name);
	is_gemma = strncmp(name, "gemma", 5) == 0;
	traits.has_instruction = !is_gemma;
	traits.has_json = !is_gemma;
	traits.has_json_beside_tools = version >= 300;
	traits.has_penalties = version != VERSION_NONE && version <= 200;
	traits.wants_signatures = !is_gemma && (version == VERSION_NONE || version >= 300);
	read_thinking(name, version, &traits);
	return traits;
}

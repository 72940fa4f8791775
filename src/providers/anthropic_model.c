/*
 * anthropic_model.c
 *		What a model accepts, by its name.
 *
 * Names are "claude-<family>-<major>[-<minor>]" and, before 4, "claude-<major>
 * [-<minor>]-<family>", with a date behind them or not.  A name that says no
 * version is taken for the newest, which refuses most: its requests are valid
 * everywhere.  So are versions that nobody knows yet.
 */
#include "providers/anthropic.h"

#define VERSION(major, minor) ((major) *100 + (minor))
#define NEWEST				  PG_INT32_MAX

/* Read a number of a version: of one or two digits, unlike a date.  NULL for none. */
static const char *
read_number(const char *at, int *number)
{
	size_t digits = strspn(at, "0123456789");

	if (digits < 1 || digits > 2 || isalpha((unsigned char) at[digits]))
		return NULL;
	*number = atoi(at);
	return at + digits;
}

static int
version_of(const char *model)
{
	static const char vendor[] = "claude-";
	const char		 *at = strstr(model, vendor);

	if (at == NULL)
		return NEWEST;
	at += strlen(vendor);
	while (*at)
	{
		int			major;
		int			minor = 0;
		const char *rest = read_number(at, &major);

		if (rest)
		{
			/* Resellers write a point. */
			if (*rest == '-' || *rest == '.')
				read_number(rest + 1, &minor);
			return VERSION(major, minor);
		}
		at += strcspn(at, "-");
		at += strspn(at, "-");
	}
	return NEWEST;
}

AnthropicTraits
anthropic_model_traits(const char *model)
{
	int				version = version_of(model);
	bool			is_opus = strstr(model, "opus") != NULL;
	AnthropicTraits traits;

	traits.samples = version < VERSION(4, 7);
	traits.samples_by_one = version >= VERSION(4, 1);
	traits.continues = version < VERSION(4, 6);
	traits.thinks = version >= VERSION(3, 7);
	traits.thinks_by_effort = version >= VERSION(4, 6);
	traits.thinks_unasked = version >= VERSION(5, 0);
	traits.knows_xhigh = version >= VERSION(4, 7);
	traits.knows_schemas = version >= VERSION(4, 5) || (is_opus && version == VERSION(4, 1));
	return traits;
}

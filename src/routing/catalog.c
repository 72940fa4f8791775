/*
 * catalog.c (routing)
 *		Names in the configuration.
 */
#include "routing/catalog.h"

static const char *const power_level_names[POWER_LEVEL_COUNT] = {
	[POWER_ECO] = "eco",
	[POWER_BALANCED] = "balanced",
	[POWER_PRECISION] = "precision",
};

const char *
power_level_name(PowerLevel level)
{
	Assert(level >= 0 && level < POWER_LEVEL_COUNT);
	return power_level_names[level];
}

bool
power_level_from_name(const char *name, PowerLevel *level)
{
	for (int i = 0; i < POWER_LEVEL_COUNT; i++)
	{
		if (strcmp(name, power_level_names[i]) == 0)
		{
			*level = (PowerLevel) i;
			return true;
		}
	}
	return false;
}

const CatalogTier *
catalog_tier(const Catalog *catalog, const char *name)
{
	for (int i = 0; i < catalog->ntiers; i++)
	{
		if (strcmp(catalog->tiers[i].name, name) == 0)
			return &catalog->tiers[i];
	}
	return NULL;
}

/*
 * catalog.c (state)
 *		Loading the configuration tables into a snapshot, once and after changes.
 *
 * Invariants:
 * - A snapshot is built in a memory context of its own and becomes the current
 *	 one only when it is whole: an error on the way leaves the old one.
 * - The tables are read as of now, not as of the transaction's snapshot.  In a
 *	 REPEATABLE READ transaction that is older than the change, its own snapshot
 *	 would load the old rows, and no further invalidation would come.
 * - A change that arrives while loading makes it load again.
 * - A replaced snapshot goes away when its last pin does.
 */
#include "state/catalog.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "routing/budget.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

typedef struct LoadedCatalog
{
	Catalog catalog; /* first, so that a Catalog * is a LoadedCatalog * */
	uint64	generation;
	int		pins;
} LoadedCatalog;

static LoadedCatalog *current;

/* Changes while loading are rare; many in a row are somebody's bulk load. */
#define MAX_LOADS 5

/* ------------------------------------------------------------------------
 * Rows
 * ------------------------------------------------------------------------
 */

/* Finds rows by their id while loading. */
typedef struct IdEntry
{
	int32 id;
	void *object;
} IdEntry;

static int
compare_ids(const void *a, const void *b)
{
	int32 left = ((const IdEntry *) a)->id;
	int32 right = ((const IdEntry *) b)->id;

	return left < right ? -1 : left > right;
}

static void *
find_id(const IdEntry *index, int size, int32 id)
{
	const IdEntry  key = { .id = id };
	const IdEntry *entry = bsearch(&key, index, size, sizeof(IdEntry), compare_ids);

	return entry ? entry->object : NULL;
}

/* A row of the result of the last query. */
typedef struct Row
{
	HeapTuple tuple;
	TupleDesc desc;
} Row;

static Row
result_row(uint64 number)
{
	return (Row){ SPI_tuptable->vals[number], SPI_tuptable->tupdesc };
}

static Datum
row_datum(const Row *row, int column, bool *is_null)
{
	return SPI_getbinval(row->tuple, row->desc, column, is_null);
}

/* In the current memory context; NULL for NULL. */
static char *
row_string(const Row *row, int column)
{
	bool  is_null;
	Datum value = row_datum(row, column, &is_null);

	return is_null ? NULL : TextDatumGetCString(value);
}

static int32
row_int32(const Row *row, int column, int32 if_null)
{
	bool  is_null;
	Datum value = row_datum(row, column, &is_null);

	return is_null ? if_null : DatumGetInt32(value);
}

static bool
row_bool(const Row *row, int column)
{
	bool  is_null;
	Datum value = row_datum(row, column, &is_null);

	return !is_null && DatumGetBool(value);
}

static Ability
row_ability(const Row *row, int column)
{
	bool  is_null;
	Datum value = row_datum(row, column, &is_null);

	if (is_null)
		return ABILITY_UNKNOWN;
	return DatumGetBool(value) ? ABILITY_YES : ABILITY_NO;
}

static Price
row_price(const Row *row, int column)
{
	bool  is_null;
	Datum value = row_datum(row, column, &is_null);
	Price price;

	if (is_null || !price_from_numeric(DatumGetNumeric(value), &price))
		return PRICE_UNKNOWN;
	return price;
}

static PowerLevel
row_power_level(const Row *row, int column)
{
	char	  *name = row_string(row, column);
	PowerLevel level;

	if (name == NULL || !power_level_from_name(name, &level))
		elog(ERROR, "unexpected power level \"%s\"", name ? name : "NULL");
	pfree(name);
	return level;
}

static int64
row_int64(const Row *row, int column, int64 if_null)
{
	bool  is_null;
	Datum value = row_datum(row, column, &is_null);

	return is_null ? if_null : DatumGetInt64(value);
}

/* An integer of requests, and then a bigint of tokens. */
static RateLimit
row_rate(const Row *row, int column)
{
	return (RateLimit){
		.requests = row_int32(row, column, RATE_NO_LIMIT),
		.tokens = row_int64(row, column + 1, RATE_NO_LIMIT),
	};
}

/*
 * Run a query under the active snapshot; the result is in SPI_tuptable and
 * SPI_processed.
 */
static void
run_query(const char *query)
{
	int result = SPI_execute(query, true, 0);

	if (result != SPI_OK_SELECT)
		elog(ERROR, "could not read the configuration: %s", SPI_result_code_string(result));
}

/* ------------------------------------------------------------------------
 * Tables.  Queries and indexes are made in SPI's memory, which goes away with
 * it, the objects in the snapshot's.
 * ------------------------------------------------------------------------
 */

static void
read_provider(const Row *row, CatalogProvider *provider)
{
	Datum rules;
	bool  is_null;

	provider->id = row_int32(row, 1, 0);
	provider->name = row_string(row, 2);
	provider->enabled = row_bool(row, 3);
	provider->format_name = row_string(row, 4);
	provider->format = api_format_find(provider->format_name);
	provider->endpoint.name = provider->name;
	provider->endpoint.base_url = row_string(row, 5);
	provider->endpoint.check_path = row_string(row, 6);
	if (!auth_type_from_name(row_string(row, 7), &provider->endpoint.auth_type))
		elog(ERROR, "unexpected auth_type of provider \"%s\"", provider->name);
	rules = row_datum(row, 8, &is_null);
	if (provider->format && !is_null)
		provider->endpoint.rules = provider->format->read_rules(DatumGetJsonbPCopy(rules));
	provider->origin = provider_origin(provider->endpoint.base_url);
	provider->encrypted_key = row_string(row, 9);
	provider->confirmed = row_bool(row, 10);
	provider->rate = row_rate(row, 11);
}

static IdEntry *
load_providers(Catalog *catalog)
{
	IdEntry		 *ids;
	MemoryContext previous;

	run_query(psprintf("SELECT p.id, p.name, p.enabled, p.api_format, p.base_url, p.check_path,"
					   " p.auth_type, p.request_rules, k.encrypted_api_key,"
					   " p.confirmed_base_url = p.base_url, p.requests_per_minute, p.tokens_per_minute"
					   " FROM %s p LEFT JOIN %s k ON k.provider_id = p.id AND k.base_url = p.base_url"
					   " ORDER BY p.name COLLATE \"C\"",
					   extension_table("llm_providers"), extension_table("llm_provider_keys")));
	ids = palloc(sizeof(IdEntry) * (SPI_processed + 1));
	previous = MemoryContextSwitchTo(catalog->context);
	catalog->nproviders = (int) SPI_processed;
	catalog->providers = palloc0(sizeof(CatalogProvider) * (SPI_processed + 1));
	for (int i = 0; i < catalog->nproviders; i++)
	{
		Row row = result_row(i);

		read_provider(&row, &catalog->providers[i]);
		ids[i] = (IdEntry){ catalog->providers[i].id, &catalog->providers[i] };
	}
	MemoryContextSwitchTo(previous);
	qsort(ids, catalog->nproviders, sizeof(IdEntry), compare_ids);
	return ids;
}

static void
read_model(const Row *row, CatalogModel *model)
{
	Datum retires_on;
	bool  is_null;

	model->id = row_int32(row, 1, 0);
	model->name = row_string(row, 3);
	model->power_level = row_power_level(row, 4);
	model->enabled = row_bool(row, 5);
	model->prices.input = row_price(row, 6);
	model->prices.cached_input = row_price(row, 7);
	model->prices.cache_write = row_price(row, 8);
	model->prices.output = row_price(row, 9);
	model->prices.long_prompt_above = row_int32(row, 10, 0);
	model->prices.long_input = row_price(row, 11);
	model->prices.long_cached_input = row_price(row, 12);
	model->prices.long_output = row_price(row, 13);
	model->context_window = row_int32(row, 14, 0);
	model->max_output_tokens = row_int32(row, 15, 0);
	model->tools = row_ability(row, 16);
	model->vision = row_ability(row, 17);
	model->json_schema = row_ability(row, 18);
	retires_on = row_datum(row, 19, &is_null);
	model->retires_on = is_null ? DATEVAL_NOEND : DatumGetDateADT(retires_on);
}

/* In the order that Catalog promises. */
static IdEntry *
load_models(Catalog *catalog, const IdEntry *provider_ids)
{
	IdEntry		 *ids;
	MemoryContext previous;

	run_query(psprintf("SELECT m.id, m.provider_id, m.model_name, m.power_level::text, m.enabled,"
					   " m.cost_per_1k_input_tokens, m.cost_per_1k_cached_input_tokens,"
					   " m.cost_per_1k_cache_write_tokens, m.cost_per_1k_output_tokens,"
					   " m.long_prompt_above, m.cost_per_1k_long_input_tokens,"
					   " m.cost_per_1k_long_cached_input_tokens, m.cost_per_1k_long_output_tokens,"
					   " m.max_tokens, m.max_output_tokens,"
					   " m.supports_functions, m.supports_vision, m.supports_json_schema, m.retires_on"
					   " FROM %s m JOIN %s p ON p.id = m.provider_id"
					   " ORDER BY array_position('{eco,balanced,precision}'::text[],"
					   " m.power_level::text),"
					   " m.cost_per_1k_input_tokens + m.cost_per_1k_output_tokens,"
					   " p.name COLLATE \"C\", m.model_name COLLATE \"C\"",
					   extension_table("llm_models"), extension_table("llm_providers")));
	ids = palloc(sizeof(IdEntry) * (SPI_processed + 1));
	previous = MemoryContextSwitchTo(catalog->context);
	catalog->nmodels = (int) SPI_processed;
	catalog->models = palloc0(sizeof(CatalogModel) * (SPI_processed + 1));
	for (int i = 0; i < catalog->nmodels; i++)
	{
		Row			  row = result_row(i);
		CatalogModel *model = &catalog->models[i];

		model->provider = find_id(provider_ids, catalog->nproviders, row_int32(&row, 2, 0));
		read_model(&row, model);
		ids[i] = (IdEntry){ model->id, model };
		for (int level = model->power_level + 1; level <= POWER_LEVEL_COUNT; level++)
			catalog->level_start[level] = i + 1;
	}
	MemoryContextSwitchTo(previous);
	qsort(ids, catalog->nmodels, sizeof(IdEntry), compare_ids);
	return ids;
}

static void
load_tiers(Catalog *catalog)
{
	MemoryContext previous;

	run_query(psprintf("SELECT subscription_tier, 'eco' = ANY (power_levels),"
					   " 'balanced' = ANY (power_levels), 'precision' = ANY (power_levels),"
					   " requests_per_minute, tokens_per_minute"
					   " FROM %s ORDER BY subscription_tier COLLATE \"C\"",
					   extension_table("llm_tiers")));
	previous = MemoryContextSwitchTo(catalog->context);
	catalog->ntiers = (int) SPI_processed;
	catalog->tiers = palloc0(sizeof(CatalogTier) * (SPI_processed + 1));
	catalog->rules = palloc0(sizeof(struct CatalogRuleList) * POWER_LEVEL_COUNT *
							 (SPI_processed + 1));
	for (int i = 0; i < catalog->ntiers; i++)
	{
		Row row = result_row(i);

		catalog->tiers[i].name = row_string(&row, 1);
		for (int level = 0; level < POWER_LEVEL_COUNT; level++)
			catalog->tiers[i].power_levels[level] = row_bool(&row, 2 + level);
		catalog->tiers[i].rate = row_rate(&row, 2 + POWER_LEVEL_COUNT);
	}
	MemoryContextSwitchTo(previous);
}

/* Ordered by tier and level, so that the rules of each pair stand together. */
static void
load_rules(Catalog *catalog, const IdEntry *model_ids)
{
	CatalogRule *rule;

	run_query(psprintf("SELECT subscription_tier, power_level::text, priority, model_id, fallback_model_id"
					   " FROM %s ORDER BY subscription_tier COLLATE \"C\", power_level::text, priority",
					   extension_table("llm_routing_rules")));
	rule = MemoryContextAllocZero(catalog->context,
								  sizeof(CatalogRule) * (SPI_processed + 1));
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		Row						row = result_row(i);
		const CatalogTier	   *tier = catalog_tier(catalog, row_string(&row, 1));
		struct CatalogRuleList *list;

		rule->priority = row_int32(&row, 3, 0);
		rule->model = find_id(model_ids, catalog->nmodels, row_int32(&row, 4, 0));
		rule->fallback = find_id(model_ids, catalog->nmodels, row_int32(&row, 5, 0));
		if (tier == NULL || rule->model == NULL)
			continue; /* foreign keys are not enforced in replica role */

		list = &catalog->rules[(tier - catalog->tiers) * POWER_LEVEL_COUNT +
							   row_power_level(&row, 2)];
		if (list->nrules++ == 0)
			list->rules = rule;
		rule++;
	}
}

/* NULL: no limit; so is one that Money cannot hold. */
static Money
row_money_limit(const Row *row, int column)
{
	bool  is_null;
	Datum value = row_datum(row, column, &is_null);
	Money money;

	if (is_null || !money_from_numeric(DatumGetNumeric(value), &money))
		return BUDGET_NO_LIMIT;
	return money;
}

static void
read_budget(const Row *row, CatalogBudget *budget)
{
	budget->id = row_int64(row, 1, 0);
	budget->updated_at = row_int64(row, 2, 0);
	if (!budget_scope_from_name(row_string(row, 3), &budget->scope) ||
		!budget_period_from_name(row_string(row, 5), &budget->period))
		elog(ERROR, "unexpected scope or period of budget %lld", (long long) budget->id);
	budget->scope_value = row_string(row, 4);
	budget->limit.usd = row_money_limit(row, 6);
	budget->limit.requests = row_int64(row, 7, BUDGET_NO_LIMIT);
	budget->limit.tokens = row_int64(row, 8, BUDGET_NO_LIMIT);
	budget->downgrades = row_bool(row, 9);
	budget->warn_at = row_int32(row, 10, -1);
}

static void
load_budgets(Catalog *catalog)
{
	MemoryContext previous;

	run_query(psprintf("SELECT id, updated_at, scope, scope_value, period, limit_usd, limit_requests,"
					   " limit_tokens, action = 'downgrade', (warn_at * 100)::integer"
					   " FROM %s WHERE enabled ORDER BY id",
					   extension_table("llm_budgets")));
	previous = MemoryContextSwitchTo(catalog->context);
	catalog->nbudgets = (int) SPI_processed;
	catalog->budgets = palloc0(sizeof(CatalogBudget) * (SPI_processed + 1));
	for (int i = 0; i < catalog->nbudgets; i++)
	{
		Row row = result_row(i);

		read_budget(&row, &catalog->budgets[i]);
	}
	MemoryContextSwitchTo(previous);
}

static void
load_tables(Catalog *catalog)
{
	IdEntry *providers = load_providers(catalog);
	IdEntry *models = load_models(catalog, providers);

	load_tiers(catalog);
	load_rules(catalog, models);
	load_budgets(catalog);
}

/* ------------------------------------------------------------------------
 * The snapshot
 * ------------------------------------------------------------------------
 */

/* Load a snapshot, in a context that belongs to the current one. */
static LoadedCatalog *
load_snapshot(void)
{
	MemoryContext  context = AllocSetContextCreate(CurrentMemoryContext,
												   "llm_router configuration",
												   ALLOCSET_DEFAULT_SIZES);
	LoadedCatalog *snapshot = MemoryContextAllocZero(context, sizeof(LoadedCatalog));
	OwnerGuard	   guard;

	snapshot->catalog.context = context;
	snapshot->generation = extension_configuration_generation();
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	owner_enter(&guard);
	PushActiveSnapshot(GetLatestSnapshot());
	load_tables(&snapshot->catalog);
	PopActiveSnapshot();
	owner_leave(&guard);
	SPI_finish();

	ereport(DEBUG1,
			(errmsg_internal("llm_router loaded its configuration: %d providers, %d models",
							 snapshot->catalog.nproviders, snapshot->catalog.nmodels)));
	return snapshot;
}

static void
release_if_unused(LoadedCatalog *snapshot)
{
	if (snapshot != current && snapshot->pins == 0)
		MemoryContextDelete(snapshot->catalog.context);
}

static bool
is_fresh(const LoadedCatalog *snapshot)
{
	return snapshot->generation == extension_configuration_generation();
}

const Catalog *
catalog_get(void)
{
	LoadedCatalog *loaded = NULL;
	LoadedCatalog *replaced = current;

	if (current && is_fresh(current))
		return &current->catalog;

	for (int loads = 0; loads < MAX_LOADS && (loaded == NULL || !is_fresh(loaded)); loads++)
	{
		if (loaded)
			MemoryContextDelete(loaded->catalog.context);
		loaded = load_snapshot();
	}
	MemoryContextSetParent(loaded->catalog.context, TopMemoryContext);
	current = loaded;
	if (replaced)
		release_if_unused(replaced);
	return &current->catalog;
}

void
catalog_pin(const Catalog *catalog)
{
	((LoadedCatalog *) unconstify(Catalog *, catalog))->pins++;
}

void
catalog_unpin(const Catalog *catalog)
{
	LoadedCatalog *snapshot = (LoadedCatalog *) unconstify(Catalog *, catalog);

	Assert(snapshot->pins > 0);
	snapshot->pins--;
	release_if_unused(snapshot);
}

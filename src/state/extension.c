/*
 * extension.c
 *		Where the extension is in this database, acting as its owner, and
 *		hearing of changed configuration.
 *
 * The extension is looked up by name once and then known by OIDs, so that
 * ALTER SCHEMA RENAME changes nothing; a schema's name is asked for when a
 * statement is made.
 *
 * Changes are told through relcache invalidations, which PostgreSQL sends at
 * commit and only then, to all processes of the database.  The trigger
 * llm_config_changed() sends one for llm_providers, which stands for the whole
 * configuration, or for llm_users, which stands for users and their keys.  The
 * callback does nothing but count, since it may run wherever a lock is taken:
 * InvalidOid ("all of them", after an overflow of the queue) counts for both.
 * Dropping the extension drops these tables, which invalidates them too, so the
 * callback also says when to look the extension up again.  VACUUM and ANALYZE of
 * the two tables cause an unneeded reload; that is harmless.
 */
#include "state/extension.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_extension.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "base/settings.h"
#include "miscadmin.h"
#include "state/rounds.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#define EXTENSION_NAME		"llm_router"
#define PROVIDERS_TABLE		"llm_providers"
#define PROVIDER_KEYS_TABLE "llm_provider_keys"
#define USERS_TABLE			"llm_users"
#define USER_KEYS_TABLE		"user_api_keys"

PG_FUNCTION_INFO_V1(llm_config_changed);

static struct
{
	bool found; /* the rest is valid */
	Oid	 schema;
	Oid	 owner;
	Oid	 providers;
	Oid	 users;

	TransactionId made_by; /* that wrote the row of pg_extension */
} extension;

/* Numbers that a process starts with differ from every cache's "never read", 0. */
static uint64 configuration_generation = 1;
static uint64 users_generation = 1;

static void
relation_invalidated(Datum arg, Oid relid)
{
	if (!OidIsValid(relid) || relid == extension.providers)
	{
		configuration_generation++;
		extension.found = false;
	}
	if (!OidIsValid(relid) || relid == extension.users)
	{
		users_generation++;
		extension.found = false;
	}
}

/* In this transaction a provider, or the platform's key of one, was changed. */
static bool providers_changed;

#define CHANGED_WAIT_MS 1000

/*
 * Its health is to be checked.  Not before commit, when nobody else sees the change;
 * and a moment later, so that several in a row are looked at together.
 */
static void
check_changed_providers(XactEvent event, void *arg)
{
	bool commits = event == XACT_EVENT_COMMIT || event == XACT_EVENT_PREPARE;

	if (event != XACT_EVENT_ABORT && !commits)
		return;
	if (providers_changed && commits && setting_health_check_interval > 0)
		rounds_due(MyDatabaseId, TimestampTzPlusMilliseconds(GetCurrentTimestamp(), CHANGED_WAIT_MS));
	providers_changed = false;
}

void
extension_init(void)
{
	/* Inherited by every process that the postmaster forks. */
	CacheRegisterRelcacheCallback(relation_invalidated, (Datum) 0);
	RegisterXactCallback(check_changed_providers, NULL);
}

/* Find the extension unless it is known.  Needs a transaction. */
static bool
extension_find(void)
{
	Relation	pg_extension;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	AcceptInvalidationMessages();
	if (extension.found)
		return true;

	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber, F_NAMEEQ,
				CStringGetDatum(EXTENSION_NAME));
	pg_extension = table_open(ExtensionRelationId, AccessShareLock);
	scan = systable_beginscan(pg_extension, ExtensionNameIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		Form_pg_extension row = (Form_pg_extension) GETSTRUCT(tuple);

		extension.schema = row->extnamespace;
		extension.owner = row->extowner;
		extension.providers = get_relname_relid(PROVIDERS_TABLE, row->extnamespace);
		extension.users = get_relname_relid(USERS_TABLE, row->extnamespace);
		extension.made_by = HeapTupleHeaderGetXmin(tuple->t_data);
		extension.found = OidIsValid(extension.providers) && OidIsValid(extension.users);
	}
	systable_endscan(scan);
	table_close(pg_extension, AccessShareLock);
	return extension.found;
}

static void
extension_require(void)
{
	if (!extension_find())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("extension llm_router is not installed in this database"),
				 errhint("CREATE EXTENSION llm_router;")));
}

Oid
extension_schema(void)
{
	return extension_find() ? extension.schema : InvalidOid;
}

Oid
extension_owner(void)
{
	return extension_find() ? extension.owner : InvalidOid;
}

bool
extension_is_committed(void)
{
	return !extension_find() || !TransactionIdIsCurrentTransactionId(extension.made_by);
}

char *
extension_table(const char *name)
{
	extension_require();
	return quote_qualified_identifier(get_namespace_name(extension.schema), name);
}

uint64
extension_configuration_generation(void)
{
	AcceptInvalidationMessages();
	return configuration_generation;
}

uint64
extension_users_generation(void)
{
	AcceptInvalidationMessages();
	return users_generation;
}

void
owner_enter(OwnerGuard *guard)
{
	extension_require();
	GetUserIdAndSecContext(&guard->user, &guard->security_context);
	SetUserIdAndSecContext(extension.owner,
						   guard->security_context | SECURITY_LOCAL_USERID_CHANGE |
							   SECURITY_RESTRICTED_OPERATION);
	guard->guc_level = NewGUCNestLevel();
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

void
owner_leave(OwnerGuard *guard)
{
	AtEOXact_GUC(false, guard->guc_level);
	SetUserIdAndSecContext(guard->user, guard->security_context);
}

/* A user's key was stored or changed: it is to be checked again after the interval. */
static void
keys_due(void)
{
	int64 interval_ms = (int64) setting_key_revalidation_interval * 1000;

	if (interval_ms > 0)
		rounds_due(MyDatabaseId, TimestampTzPlusMilliseconds(GetCurrentTimestamp(), interval_ms));
}

/*
 * llm_config_changed() RETURNS trigger
 *
 * On the tables of the configuration and on llm_users: at commit, and after
 * the command in this transaction, every process reads them anew.  Users' keys
 * are to be checked again some time, whoever stored them.
 */
Datum
llm_config_changed(PG_FUNCTION_ARGS)
{
	Relation changed;
	bool	 is_users;
	Oid		 told;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("llm_config_changed() can be called as a trigger only")));

	changed = ((TriggerData *) fcinfo->context)->tg_relation;
	is_users = strcmp(RelationGetRelationName(changed), USERS_TABLE) == 0 ||
			   strcmp(RelationGetRelationName(changed), USER_KEYS_TABLE) == 0;
	told = get_relname_relid(is_users ? USERS_TABLE : PROVIDERS_TABLE,
							 RelationGetNamespace(changed));
	if (OidIsValid(told))
		CacheInvalidateRelcacheByRelid(told);
	if (strcmp(RelationGetRelationName(changed), USER_KEYS_TABLE) == 0)
		keys_due();
	providers_changed |= strcmp(RelationGetRelationName(changed), PROVIDERS_TABLE) == 0 ||
						 strcmp(RelationGetRelationName(changed), PROVIDER_KEYS_TABLE) == 0;
	PG_RETURN_POINTER(NULL); /* an SQL NULL would be an error in a trigger */
}

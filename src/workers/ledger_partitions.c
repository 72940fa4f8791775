/*
 * ledger_partitions.c
 *		The partitions of llm_usage_logs.
 *
 * Whether a time has a partition is asked of the table's bounds, not of names:
 * a DBA may have partitions of other sizes, a default partition, or
 * pg_partman.  What is made is the part of the calendar month (UTC) around the
 * time that no partition covers.
 *
 * A partition is created as a table of its own and then attached, which takes a
 * SHARE UPDATE EXCLUSIVE lock on the parent: readers are not held up.  It is
 * not a member of the extension and has the keys and indexes that the parent
 * must not have, and with the first one comes a view over the parent that is
 * not a member either, llm_usage_guard: because of it DROP EXTENSION without
 * CASCADE refuses to take the ledger along (doc/ledger.md).
 */
#include "workers/ledger_partitions.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "commands/defrem.h"
#include "executor/spi.h"
#include "partitioning/partbounds.h"
#include "partitioning/partdesc.h"
#include "state/extension.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/partcache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#define PARENT "llm_usage_logs"
#define GUARD  "llm_usage_guard"

static Relation
open_parent(void)
{
	Oid parent = get_relname_relid(PARENT, extension_schema());

	if (!OidIsValid(parent))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table \"%s\" does not exist", PARENT)));
	return table_open(parent, AccessShareLock);
}

/* The month of a time, in UTC, whatever the session's time zone. */
static void
month_of(TimestampTz time, TimestampTz *from, TimestampTz *to)
{
	struct pg_tm tm;
	fsec_t		 fraction;

	if (timestamp2tm(time, NULL, &tm, &fraction, NULL, NULL) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("timestamp out of range")));
	tm.tm_mday = 1;
	tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
	(void) tm2timestamp(&tm, 0, NULL, from);
	if (++tm.tm_mon > MONTHS_PER_YEAR)
	{
		tm.tm_mon = 1;
		tm.tm_year++;
	}
	(void) tm2timestamp(&tm, 0, NULL, to);
}

/* The value of a bound; false when it is infinite. */
static bool
bound_time(PartitionBoundInfo bounds, int i, TimestampTz *time)
{
	if (bounds->kind != NULL && bounds->kind[i][0] != PARTITION_RANGE_DATUM_VALUE)
		return false;
	*time = DatumGetTimestampTz(bounds->datums[i][0]);
	return true;
}

/*
 * Whether a partition covers the time.  If not, narrow *from and *to to the gap
 * that it is in.  (Range bounds are sorted, and indexes[i] is the partition
 * that ends with bound i.)
 */
static bool
time_is_covered(Relation parent, TimestampTz time, TimestampTz *from, TimestampTz *to)
{
	PartitionBoundInfo bounds = RelationGetPartitionDesc(parent, true)->boundinfo;
	PartitionKey	   key = RelationGetPartitionKey(parent);
	Datum			   value = TimestampTzGetDatum(time);
	TimestampTz		   bound;
	bool			   equal;
	int				   below;

	if (bounds == NULL)
		return false;
	below = partition_range_datum_bsearch(key->partsupfunc, key->partcollation, bounds, 1,
										  &value, &equal);
	if (bounds->indexes[below + 1] >= 0 || bounds->default_index >= 0)
		return true;
	if (below >= 0 && bound_time(bounds, below, &bound))
		*from = Max(*from, bound);
	if (below + 1 < bounds->ndatums && bound_time(bounds, below + 1, &bound))
		*to = Min(*to, bound);
	return false;
}

static void
execute(const char *command)
{
	if (SPI_execute(command, false, 0) < 0)
		elog(ERROR, "could not execute \"%s\"", command);
}

static void
make_guard(const char *parent)
{
	if (OidIsValid(get_relname_relid(GUARD, extension_schema())))
		return;
	execute(psprintf("CREATE VIEW %s AS SELECT id FROM %s WHERE false", extension_table(GUARD), parent));
	execute(psprintf("REVOKE ALL ON %s FROM PUBLIC", extension_table(GUARD)));
	execute(psprintf("COMMENT ON VIEW %s IS"
					 " 'Makes DROP EXTENSION llm_router refuse to drop the ledger without CASCADE.'",
					 extension_table(GUARD)));
}

static void
make_partition(TimestampTz time, TimestampTz from, TimestampTz to)
{
	struct pg_tm tm;
	fsec_t		 fraction;
	char		 label[NAMEDATALEN];
	char		*name;
	char		*child;
	char		*parent = extension_table(PARENT);

	(void) timestamp2tm(time, NULL, &tm, &fraction, NULL, NULL);
	snprintf(label, sizeof(label), "p%04d%02d", tm.tm_year, tm.tm_mon);
	name = ChooseRelationName(PARENT, NULL, label, extension_schema(), false);
	child = extension_table(name);

	execute(psprintf("CREATE TABLE %s (LIKE %s INCLUDING DEFAULTS INCLUDING STORAGE INCLUDING COMPRESSION)",
					 child, parent));

	/* user_id is in the key for Citus, which wants its distribution column there. */
	execute(psprintf("ALTER TABLE %s ADD PRIMARY KEY (created_at, request_id, attempt, user_id)", child));
	execute(psprintf("CREATE INDEX ON %s (user_id, created_at)", child));
	execute(psprintf("CREATE INDEX ON %s (request_id)", child));
	execute(psprintf("CREATE INDEX ON %s (request_id) WHERE is_final IS NULL", child));
	execute(psprintf("REVOKE ALL ON %s FROM PUBLIC", child));
	execute(psprintf("ALTER TABLE %s ENABLE ROW LEVEL SECURITY", child));
	execute(psprintf("ALTER TABLE %s ATTACH PARTITION %s FOR VALUES FROM (%s) TO (%s)", parent, child,
					 quote_literal_cstr(timestamptz_to_str(from)),
					 quote_literal_cstr(timestamptz_to_str(to))));
	make_guard(parent);
}

/* The first of the times that no partition covers, or n; and its gap. */
static int
find_uncovered(const TimestampTz *times, int n, TimestampTz *from, TimestampTz *to)
{
	Relation parent = open_parent();
	int		 i;

	for (i = 0; i < n; i++)
	{
		month_of(times[i], from, to);
		if (!time_is_covered(parent, times[i], from, to))
			break;
	}
	table_close(parent, NoLock);
	return i;
}

void
partitions_ensure(const TimestampTz *times, int n)
{
	TimestampTz from;
	TimestampTz to;
	int			i;

	while ((i = find_uncovered(times, n, &from, &to)) < n)
	{
		make_partition(times[i], from, to);
		CommandCounterIncrement();
	}
}

void
partitions_make_ahead(TimestampTz now)
{
	TimestampTz from;
	TimestampTz times[2] = { now };

	month_of(now, &from, &times[1]);
	partitions_ensure(times, lengthof(times));
}

bool
partitions_drop_one(TimestampTz before)
{
	Relation		   parent = open_parent();
	PartitionDesc	   partitions = RelationGetPartitionDesc(parent, true);
	PartitionBoundInfo bounds = partitions->boundinfo;
	Oid				   partition = InvalidOid;
	char			  *schema;

	for (int i = 0; bounds != NULL && i < bounds->ndatums; i++)
	{
		TimestampTz end;

		if (bounds->indexes[i] >= 0 && bound_time(bounds, i, &end) && end <= before)
		{
			partition = partitions->oids[bounds->indexes[i]];
			break;
		}
	}
	table_close(parent, NoLock);
	if (!OidIsValid(partition))
		return false;
	schema = get_namespace_name(get_rel_namespace(partition));
	execute(psprintf("DROP TABLE %s", quote_qualified_identifier(schema, get_rel_name(partition))));
	return true;
}

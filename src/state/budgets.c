/*
 * budgets.c
 *		What has been used of each budget, in shared memory.
 *
 * One lock protects the table and all counters.  It is held for a few hundred
 * nanoseconds, twice a call, and only where budgets apply, so that a reservation
 * under several budgets is all or nothing.  It is a leaf: whoever holds it takes
 * no other lock and throws nothing.
 *
 * A counter is uncounted, being counted, or counted.  The first who asks for it
 * counts: the ledger's rollup, plus the attempts that are on their way there
 * (ledger_pending), those under way at their worst case.  Until it is counted,
 * nothing can be reserved, so nothing of what it will hold goes past it.  What is
 * on its way is collected before the snapshot is taken in which the tables are
 * read: it is in the one, in the other, or in both, and then told by its row.
 * Whoever counts holds no lock meanwhile, the others ask again.  If it fails, the
 * counter is uncounted again.
 *
 * Reserved amounts belong to calls, which pin the counter, so that it cannot give
 * way.  One that nobody pins loses nothing by giving way: it is counted again.
 */
#include "state/budgets.h"

#include "base/compat.h"
#include "base/settings.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "state/extension.h"
#include "state/ledger.h"
#include "state/table.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#define BUDGETS_NAME "llm_router_budgets"

/* Users' ids, tiers and levels are no longer; see llm_router.user_id. */
#define MAX_VALUE_SIZE 256

typedef enum CounterState
{
	COUNTER_UNCOUNTED,
	COUNTER_BEING_COUNTED,
	COUNTER_COUNTED
} CounterState;

typedef struct Counter
{
	TableEntry	 entry;
	BudgetAmount used;
	BudgetAmount reserved;
	Oid			 database;
	CounterState state;
	bool		 warned; /* in this period */
	bool		 has_value;
	int64		 budget_id;
	TimestampTz	 updated_at;
	BudgetRange	 range;
	char		 value[MAX_VALUE_SIZE];
} Counter;

/* Its name, for the hash: what follows from the budget, and then the value. */
typedef struct CounterName
{
	int64		budget_id;
	TimestampTz updated_at;
	TimestampTz start;
	Oid			database;
	uint32		length;
	char		value[MAX_VALUE_SIZE];
} CounterName;

static SharedTable *counters;
static LWLock	   *counters_lock;

static shmem_request_hook_type previous_request_hook;
static shmem_startup_hook_type previous_startup_hook;

/* ------------------------------------------------------------------------
 * Shared memory
 * ------------------------------------------------------------------------
 */

/* Half of llm_router.limits_size; the other half is for rates. */
static int32
counters_capacity(void)
{
	return table_capacity((Size) setting_limits_size * 1024 / 2, sizeof(Counter));
}

static void
budgets_request(void)
{
	if (previous_request_hook)
		previous_request_hook();
	RequestAddinShmemSpace(table_size(counters_capacity(), sizeof(Counter)));
	RequestNamedLWLockTranche(BUDGETS_NAME, 1);
}

static void
budgets_startup(void)
{
	bool found;

	if (previous_startup_hook)
		previous_startup_hook();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	counters = ShmemInitStruct(BUDGETS_NAME, table_size(counters_capacity(), sizeof(Counter)), &found);
	counters_lock = &GetNamedLWLockTranche(BUDGETS_NAME)->lock;
	if (!found)
		table_format(counters, counters_capacity(), sizeof(Counter));
	LWLockRelease(AddinShmemInitLock);
}

void
budgets_init(void)
{
	previous_request_hook = shmem_request_hook;
	shmem_request_hook = budgets_request;
	previous_startup_hook = shmem_startup_hook;
	shmem_startup_hook = budgets_startup;
}

/* ------------------------------------------------------------------------
 * Periods
 * ------------------------------------------------------------------------
 */

/* The setting's check hook has accepted the name. */
static pg_tz *
budget_zone(void)
{
	static char	  name[TZ_STRLEN_MAX + 1];
	static pg_tz *zone;

	if (zone == NULL || strcmp(name, setting_budget_timezone) != 0)
	{
		zone = pg_tzset(setting_budget_timezone);
		strlcpy(name, setting_budget_timezone, sizeof(name));
	}
	return zone;
}

BudgetRange
budget_current_range(BudgetPeriod period, TimestampTz now)
{
	static BudgetRange ranges[BUDGET_MONTH + 1];
	static pg_tz	  *ranges_zone;
	pg_tz			  *zone = budget_zone();
	BudgetRange		  *range = &ranges[period];

	if (zone != ranges_zone)
		memset(ranges, 0, sizeof(ranges));
	ranges_zone = zone;
	if ((now < range->start || now >= range->end) && !budget_range(period, now, zone, range))
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE), errmsg("timestamp out of range")));
	return *range;
}

/* ------------------------------------------------------------------------
 * Counting
 * ------------------------------------------------------------------------
 */

/* The rows whose use the budget counts: a condition on the columns of the ledger; $3 is the value. */
static const char *
counted_rows(const BudgetUse *use)
{
	switch (use->budget->scope)
	{
		case BUDGET_TOTAL:
			return "true";
		case BUDGET_TIER:
			return "subscription_tier = $3";
		case BUDGET_USER:
			return "user_id = $3";
		case BUDGET_EACH_USER:
			return use->budget->scope_value == NULL
					   ? "user_id = $3"
					   : psprintf("user_id = $3 AND subscription_tier = %s",
								  quote_literal_cstr(use->budget->scope_value));
		case BUDGET_POWER_LEVEL:
			return "power_level = $3";
	}
	pg_unreachable();
}

static bool
counts_pending(const BudgetUse *use, const LedgerPending *pending)
{
	const CatalogBudget *budget = use->budget;

	if (pending->used_byok || pending->started_at < use->range.start || pending->started_at >= use->range.end)
		return false;
	switch (budget->scope)
	{
		case BUDGET_TOTAL:
			return true;
		case BUDGET_TIER:
			return strcmp(pending->tier, use->value) == 0;
		case BUDGET_USER:
			return strcmp(pending->user_id, use->value) == 0;
		case BUDGET_EACH_USER:
			return strcmp(pending->user_id, use->value) == 0 &&
				   (budget->scope_value == NULL || strcmp(pending->tier, budget->scope_value) == 0);
		case BUDGET_POWER_LEVEL:
			return strcmp(pending->power_level, use->value) == 0;
	}
	pg_unreachable();
}

/* Run a query about a use: $1 and $2 are its period, $3 its value, $4 the pending requests. */
static void
run_query(const BudgetUse *use, const char *query, ArrayType *requests)
{
	Oid	  types[] = { TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID, UUIDARRAYOID };
	Datum values[] = {
		TimestampTzGetDatum(use->range.start),
		TimestampTzGetDatum(use->range.end),
		use->value ? CStringGetTextDatum(use->value) : (Datum) 0,
		PointerGetDatum(requests),
	};
	char nulls[] = { ' ', ' ', use->value ? ' ' : 'n', ' ' };
	int	 result = SPI_execute_with_args(query, lengthof(types), types, values, nulls, true, 0);

	if (result != SPI_OK_SELECT)
		elog(ERROR, "could not count a budget: %s", SPI_result_code_string(result));
}

static Datum
result_datum(uint64 row, int column)
{
	bool is_null;

	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, &is_null);
}

/* What the tables say. */
static BudgetAmount
count_tables(const BudgetUse *use, ArrayType *requests)
{
	BudgetAmount used = { 0 };

	run_query(use,
			  psprintf("SELECT coalesce(sum(total_cost + unknown_cost_estimate), 0),"
					   " coalesce(sum(requests) FILTER (WHERE status <> 'error'), 0)::bigint,"
					   " coalesce(sum(input_tokens + output_tokens + unknown_tokens_estimate), 0)::bigint"
					   " FROM %s WHERE bucket >= $1 AND bucket < $2 AND NOT used_byok AND %s",
					   extension_table("llm_usage_rollup"), counted_rows(use)),
			  requests);
	if (!money_from_numeric(DatumGetNumeric(result_datum(0, 1)), &used.usd))
		elog(ERROR, "the ledger's sum is out of range");
	used.requests = DatumGetInt64(result_datum(0, 2));
	used.tokens = DatumGetInt64(result_datum(0, 3));
	return used;
}

/* Add those of the pending attempts that the tables do not have. */
static void
count_pending(const BudgetUse *use, const LedgerPending *pending, int npending, ArrayType *requests,
			  BudgetAmount *used)
{
	if (npending == 0)
		return;
	run_query(use,
			  psprintf("SELECT request_id, attempt FROM %s WHERE created_at >= $1 AND created_at < $2"
					   " AND request_id = ANY ($4) AND is_final IS NOT NULL",
					   extension_table("llm_usage_logs")),
			  requests);
	for (int i = 0; i < npending; i++)
	{
		const LedgerCharge *charge = &pending[i].charge;
		bool				found = false;

		for (uint64 row = 0; row < SPI_processed && !found; row++)
			found = memcmp(DatumGetUUIDP(result_datum(row, 1)), &pending[i].request_id, UUID_LEN) == 0 &&
					DatumGetInt32(result_datum(row, 2)) == pending[i].attempt;
		if (found)
			continue;
		used->usd += charge->cost;
		used->requests += charge->is_request;
		used->tokens += charge->tokens;
	}
}

/* Whether somebody has been told of the budget's end since the period, or the budget as it is, began. */
static bool
was_warned(const BudgetUse *use, ArrayType *requests)
{
	if (use->budget->warn_at < 0)
		return false;
	run_query(use,
			  psprintf("SELECT FROM %s WHERE action = 'budget.warning' AND created_at >= greatest($1, %s)"
					   " AND created_at < $2 AND detail->>'budget_id' = '" INT64_FORMAT "'"
					   " AND detail->>'scope_value' IS NOT DISTINCT FROM $3",
					   extension_table("llm_audit_logs"),
					   quote_literal_cstr(timestamptz_to_str(use->budget->updated_at)), use->budget->id),
			  requests);
	return SPI_processed > 0;
}

/* Those that count, put first; and their requests as an array. */
static ArrayType *
select_pending(const BudgetUse *use, LedgerPending *pending, int *npending)
{
	int	   n = 0;
	Datum *ids = palloc(sizeof(Datum) * (*npending + 1));

	for (int i = 0; i < *npending; i++)
	{
		if (!counts_pending(use, &pending[i]))
			continue;
		pending[n] = pending[i];
		ids[n] = UUIDPGetDatum(&pending[n].request_id);
		n++;
	}
	*npending = n;
	return construct_array(ids, n, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR);
}

typedef struct Counted
{
	BudgetAmount used;
	bool		 warned;
} Counted;

static Counted
count_use(const BudgetUse *use)
{
	Counted		   counted;
	OwnerGuard	   guard;
	int			   npending;
	LedgerPending *pending;
	ArrayType	  *requests;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	owner_enter(&guard);
	pending = ledger_pending(&npending);
	requests = select_pending(use, pending, &npending);
	PushActiveSnapshot(GetLatestSnapshot());
	counted.used = count_tables(use, requests);
	count_pending(use, pending, npending, requests, &counted.used);
	counted.warned = was_warned(use, requests);
	PopActiveSnapshot();
	owner_leave(&guard);
	SPI_finish();
	return counted;
}

/* ------------------------------------------------------------------------
 * Counters
 * ------------------------------------------------------------------------
 */

static Counter *
counter_of(const BudgetUse *use)
{
	return table_entry(counters, use->number);
}

/* The counter has not been counted after all; pinned: let go of it as well. */
static void
give_up_counting(int32 number, bool unpin)
{
	Counter *counter = table_entry(counters, number);

	LWLockAcquire(counters_lock, LW_EXCLUSIVE);
	counter->state = COUNTER_UNCOUNTED;
	if (unpin)
		table_unpin(counters, counter);
	LWLockRelease(counters_lock);
}

static void
counting_failed(int code, Datum number)
{
	give_up_counting(DatumGetInt32(number), true);
}

static void
count(const BudgetUse *use)
{
	Counter *counter = counter_of(use);
	Counted	 counted = { 0 };

	PG_ENSURE_ERROR_CLEANUP(counting_failed, Int32GetDatum(use->number));
	{
		counted = count_use(use);
	}
	PG_END_ENSURE_ERROR_CLEANUP(counting_failed, Int32GetDatum(use->number));
	LWLockAcquire(counters_lock, LW_EXCLUSIVE);
	counter->used = counted.used;
	counter->warned = counted.warned;
	counter->state = COUNTER_COUNTED;
	LWLockRelease(counters_lock);
}

/* Its hash; without holes, whose bytes would be anything. */
static TableKey
counter_key(const BudgetUse *use)
{
	CounterName name;

	memset(&name, 0, offsetof(CounterName, value));
	name.budget_id = use->budget->id;
	name.updated_at = use->budget->updated_at;
	name.start = use->range.start;
	name.database = MyDatabaseId;
	name.length = use->value ? (uint32) strlcpy(name.value, use->value, MAX_VALUE_SIZE) : 0;
	return table_key(counters, &name, offsetof(CounterName, value) + Min(name.length, MAX_VALUE_SIZE));
}

/* Made, in place of one that nobody uses if need be; NULL: all are in use.  Lock held. */
static Counter *
make_counter(const BudgetUse *use, TableKey key)
{
	Counter *counter = table_make(counters, key);

	if (counter == NULL && table_oldest(counters) != NULL)
	{
		table_drop(counters, table_oldest(counters));
		counter = table_make(counters, key);
	}
	if (counter == NULL)
		return NULL;
	counter->database = MyDatabaseId;
	counter->budget_id = use->budget->id;
	counter->updated_at = use->budget->updated_at;
	counter->range = use->range;
	counter->has_value = use->value != NULL;
	if (counter->has_value)
		strlcpy(counter->value, use->value, sizeof(counter->value));
	return counter;
}

/* Pin the counter.  Sets *state; if nobody has begun to count it, this process has now. */
static bool
pin_counter(BudgetUse *use, CounterState *state)
{
	TableKey key = counter_key(use);
	Counter *counter;

	LWLockAcquire(counters_lock, LW_EXCLUSIVE);
	counter = table_find(counters, key);
	if (counter == NULL)
		counter = make_counter(use, key);
	if (counter != NULL)
	{
		table_pin(counters, counter);
		use->number = table_number(counters, counter);
		*state = counter->state;
		if (counter->state == COUNTER_UNCOUNTED)
			counter->state = COUNTER_BEING_COUNTED;
	}
	LWLockRelease(counters_lock);
	return counter != NULL;
}

static BudgetProgress
refuse_for_room(const CatalogBudget *budget, LlmError *error)
{
	error_set(error, ERRCODE_LLM_BUDGET,
			  "budget %lld cannot be counted: all memory for counters is taken by calls under way",
			  (long long) budget->id);
	error_hint(error, "Raise llm_router.limits_size and restart the server.");
	return BUDGET_REFUSED;
}

BudgetProgress
budget_use(const CatalogBudget *budget, const BudgetSubject *subject, TimestampTz now, TimestampTz since,
		   BudgetUse *use, LlmError *error)
{
	CounterState state = COUNTER_COUNTED;

	*use = (BudgetUse){
		.budget = budget,
		.value = budget_counted_value(budget, subject),
		.range = budget_current_range(budget->period, now),
	};
	if (!pin_counter(use, &state))
		return refuse_for_room(budget, error);
	if (state == COUNTER_COUNTED)
		return BUDGET_READY;
	if (state == COUNTER_BEING_COUNTED)
		return BUDGET_WAIT;
	switch (ledger_await_writer(since, error))
	{
		case LEDGER_READY:
			count(use);
			return BUDGET_READY;
		case LEDGER_WAIT:
			give_up_counting(use->number, false);
			return BUDGET_WAIT;
		case LEDGER_REFUSED:
			give_up_counting(use->number, true);
			return BUDGET_REFUSED;
	}
	pg_unreachable();
}

void
budgets_let_go(const BudgetUse *uses, int n)
{
	LWLockAcquire(counters_lock, LW_EXCLUSIVE);
	for (int i = 0; i < n; i++)
		table_unpin(counters, counter_of(&uses[i]));
	LWLockRelease(counters_lock);
}

/* ------------------------------------------------------------------------
 * Reserving and settling
 * ------------------------------------------------------------------------
 */

/* The first use that does not admit the amount, or n.  Lock held. */
static int
first_refusal(const BudgetUse *uses, int n, const BudgetAmount *amount, BudgetObstacle *obstacle)
{
	int i;

	for (i = 0; i < n; i++)
	{
		const Counter *counter = counter_of(&uses[i]);
		BudgetAmount   taken = counter->used;

		budget_add(&taken, &counter->reserved);
		*obstacle = budget_admits(&uses[i].budget->limit, &taken, amount);
		if (*obstacle != BUDGET_ADMITS)
			break;
	}
	return i;
}

bool
budgets_reserve(const BudgetUse *uses, int n, const BudgetAmount *amount, BudgetRefusal *refusal)
{
	LWLockAcquire(counters_lock, LW_EXCLUSIVE);
	refusal->use = first_refusal(uses, n, amount, &refusal->obstacle);
	if (refusal->use < n)
	{
		refusal->used = counter_of(&uses[refusal->use])->used;
		refusal->reserved = counter_of(&uses[refusal->use])->reserved;
	}
	else
	{
		for (int i = 0; i < n; i++)
			budget_add(&counter_of(&uses[i])->reserved, amount);
	}
	LWLockRelease(counters_lock);
	return refusal->use == n;
}

void
budgets_settle(const BudgetUse *uses, int n, const BudgetAmount *reserved, const BudgetAmount *used)
{
	LWLockAcquire(counters_lock, LW_EXCLUSIVE);
	for (int i = 0; i < n; i++)
	{
		Counter *counter = counter_of(&uses[i]);

		budget_subtract(&counter->reserved, reserved);
		budget_add(&counter->used, used);
	}
	LWLockRelease(counters_lock);
}

bool
budget_should_warn(const BudgetUse *use, int *share)
{
	Counter *counter = counter_of(use);
	bool	 should;

	if (use->budget->warn_at < 0)
		return false;
	LWLockAcquire(counters_lock, LW_EXCLUSIVE);
	*share = budget_used_share(&use->budget->limit, &counter->used);
	should = !counter->warned && *share >= use->budget->warn_at;
	counter->warned |= should;
	LWLockRelease(counters_lock);
	return should;
}

/* ------------------------------------------------------------------------
 * Looking
 * ------------------------------------------------------------------------
 */

BudgetCount *
budgets_list(int *n)
{
	int32		 capacity = counters->touched + 64;
	BudgetCount *list = palloc(sizeof(BudgetCount) * capacity);
	char		*values = palloc((Size) MAX_VALUE_SIZE * capacity);

	*n = 0;
	LWLockAcquire(counters_lock, LW_SHARED);
	for (int32 number = 0; number < Min(counters->touched, capacity); number++)
	{
		const Counter *counter = table_entry(counters, number);
		char		  *value = values + (Size) MAX_VALUE_SIZE * *n;

		if (counter->entry.pins < 0 || counter->database != MyDatabaseId ||
			counter->state != COUNTER_COUNTED)
			continue;
		strlcpy(value, counter->value, MAX_VALUE_SIZE);
		list[(*n)++] = (BudgetCount){
			.budget_id = counter->budget_id,
			.updated_at = counter->updated_at,
			.range = counter->range,
			.used = counter->used,
			.reserved = counter->reserved,
			.value = counter->has_value ? value : NULL,
		};
	}
	LWLockRelease(counters_lock);
	return list;
}

/*
 * ledger_row.c
 *		What a call's record says, column by column; and any record as JSON.
 */
#include "state/ledger_row.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/timestamp.h"

typedef enum ColumnNumber
{
	COLUMN_REQUEST_ID,
	COLUMN_ATTEMPT,
	COLUMN_USER_ID,
	COLUMN_ROLE_NAME,
	COLUMN_PROVIDER,
	COLUMN_MODEL,
	COLUMN_PROVIDER_ID,
	COLUMN_MODEL_ID,
	COLUMN_POWER_LEVEL,
	COLUMN_SUBSCRIPTION_TIER,
	COLUMN_INPUT_TOKENS,
	COLUMN_CACHED_INPUT_TOKENS,
	COLUMN_CACHE_WRITE_TOKENS,
	COLUMN_OUTPUT_TOKENS,
	COLUMN_REASONING_TOKENS,
	COLUMN_PRICE_INPUT,
	COLUMN_PRICE_CACHED_INPUT,
	COLUMN_PRICE_CACHE_WRITE,
	COLUMN_PRICE_OUTPUT,
	COLUMN_TOTAL_COST,
	COLUMN_ESTIMATED_COST,
	COLUMN_ESTIMATED_TOKENS,
	COLUMN_COST_SOURCE,
	COLUMN_RESPONSE_TIME_MS,
	COLUMN_USED_BYOK,
	COLUMN_STATUS,
	COLUMN_HTTP_STATUS,
	COLUMN_ERROR_CODE,
	COLUMN_FINISH_REASON,
	COLUMN_IS_FINAL,
	COLUMN_ATTEMPTS,
	COLUMN_TAGS,
	COLUMN_PROVIDER_REQUEST_ID,
	COLUMN_CREATED_AT
} ColumnNumber;

StaticAssertDecl(COLUMN_CREATED_AT + 1 == LEDGER_COLUMN_COUNT, "every column has a number");

/*
 * Token counts and times are wider here than in the table: what does not fit
 * there is refused by the insert and goes to quarantine, rather than being cut.
 */
const LedgerColumn ledger_columns[LEDGER_COLUMN_COUNT] = {
	[COLUMN_REQUEST_ID] = { "request_id", UUIDOID },
	[COLUMN_ATTEMPT] = { "attempt", INT4OID },
	[COLUMN_USER_ID] = { "user_id", TEXTOID },
	[COLUMN_ROLE_NAME] = { "role_name", TEXTOID },
	[COLUMN_PROVIDER] = { "provider", TEXTOID },
	[COLUMN_MODEL] = { "model", TEXTOID },
	[COLUMN_PROVIDER_ID] = { "provider_id", INT4OID },
	[COLUMN_MODEL_ID] = { "model_id", INT4OID },
	[COLUMN_POWER_LEVEL] = { "power_level", TEXTOID },
	[COLUMN_SUBSCRIPTION_TIER] = { "subscription_tier", TEXTOID },
	[COLUMN_INPUT_TOKENS] = { "input_tokens", INT8OID },
	[COLUMN_CACHED_INPUT_TOKENS] = { "cached_input_tokens", INT8OID },
	[COLUMN_CACHE_WRITE_TOKENS] = { "cache_write_tokens", INT8OID },
	[COLUMN_OUTPUT_TOKENS] = { "output_tokens", INT8OID },
	[COLUMN_REASONING_TOKENS] = { "reasoning_tokens", INT8OID },
	[COLUMN_PRICE_INPUT] = { "price_input", NUMERICOID },
	[COLUMN_PRICE_CACHED_INPUT] = { "price_cached_input", NUMERICOID },
	[COLUMN_PRICE_CACHE_WRITE] = { "price_cache_write", NUMERICOID },
	[COLUMN_PRICE_OUTPUT] = { "price_output", NUMERICOID },
	[COLUMN_TOTAL_COST] = { "total_cost", NUMERICOID },
	[COLUMN_ESTIMATED_COST] = { "estimated_cost", NUMERICOID },
	[COLUMN_ESTIMATED_TOKENS] = { "estimated_tokens", INT8OID },
	[COLUMN_COST_SOURCE] = { "cost_source", TEXTOID },
	[COLUMN_RESPONSE_TIME_MS] = { "response_time_ms", INT8OID },
	[COLUMN_USED_BYOK] = { "used_byok", BOOLOID },
	[COLUMN_STATUS] = { "status", TEXTOID },
	[COLUMN_HTTP_STATUS] = { "http_status", INT4OID },
	[COLUMN_ERROR_CODE] = { "error_code", TEXTOID },
	[COLUMN_FINISH_REASON] = { "finish_reason", TEXTOID },
	[COLUMN_IS_FINAL] = { "is_final", BOOLOID },
	[COLUMN_ATTEMPTS] = { "attempts", INT4OID },
	[COLUMN_TAGS] = { "tags", JSONOID },
	[COLUMN_PROVIDER_REQUEST_ID] = { "provider_request_id", TEXTOID },
	[COLUMN_CREATED_AT] = { "created_at", TIMESTAMPTZOID },
};

static const char *const status_names[] = {
	[LEDGER_OK] = "ok",
	[LEDGER_ERROR] = "error",
	[LEDGER_CANCELLED] = "cancelled",
	[LEDGER_PARTIAL] = "partial",
	[LEDGER_UNKNOWN] = "unknown",
};

static const char *
cost_source(const LedgerOutcome *outcome)
{
	if (outcome->cost == MONEY_UNKNOWN)
		return "unknown";
	if (outcome->cost_reported)
		return "provider";
	if (outcome->prices.input == 0 && outcome->prices.output == 0)
		return "free";
	if (outcome->estimated)
		return "estimate";
	return "prices";
}

/* The row under construction. */
typedef struct Row
{
	Datum *values;
	bool  *nulls;
} Row;

static void
set(Row *row, ColumnNumber column, Datum value)
{
	row->values[column] = value;
	row->nulls[column] = false;
}

/* Empty: NULL. */
static void
set_text(Row *row, ColumnNumber column, const char *text)
{
	if (text[0] != '\0')
		set(row, column, CStringGetTextDatum(text));
}

static void
set_price(Row *row, ColumnNumber column, Price price)
{
	if (price != PRICE_UNKNOWN)
		set(row, column, NumericGetDatum(price_to_numeric(price)));
}

static void
set_money(Row *row, ColumnNumber column, Money money)
{
	if (money != MONEY_UNKNOWN)
		set(row, column, NumericGetDatum(money_to_numeric(money)));
}

static void
set_request(Row *row, int32 block, const LedgerRecord *record)
{
	const char *texts[LEDGER_TEXT_COUNT];

	ledger_text_read(block, texts, LEDGER_TEXT_COUNT);
	set(row, COLUMN_REQUEST_ID, UUIDPGetDatum(&record->request_id));
	/* A user's id may be empty only if the role's name were: never NULL. */
	set(row, COLUMN_USER_ID, CStringGetTextDatum(texts[LEDGER_TEXT_USER_ID]));
	set(row, COLUMN_ROLE_NAME, CStringGetTextDatum(texts[LEDGER_TEXT_ROLE_NAME]));
	set(row, COLUMN_POWER_LEVEL, CStringGetTextDatum(texts[LEDGER_TEXT_POWER_LEVEL]));
	set(row, COLUMN_SUBSCRIPTION_TIER, CStringGetTextDatum(texts[LEDGER_TEXT_TIER]));
	set_text(row, COLUMN_TAGS, texts[LEDGER_TEXT_TAGS]);
}

static void
set_attempt(Row *row, const LedgerRecord *record)
{
	set(row, COLUMN_ATTEMPT, Int32GetDatum(record->attempt));
	set(row, COLUMN_ATTEMPTS, Int32GetDatum(record->attempt));
	set(row, COLUMN_PROVIDER, CStringGetTextDatum(record->provider));
	set(row, COLUMN_MODEL, CStringGetTextDatum(record->model));
	set(row, COLUMN_PROVIDER_ID, Int32GetDatum(record->provider_id));
	set(row, COLUMN_MODEL_ID, Int32GetDatum(record->model_id));
	set(row, COLUMN_USED_BYOK, BoolGetDatum(record->used_byok));
	set_money(row, COLUMN_ESTIMATED_COST, record->estimated_cost);
	set(row, COLUMN_ESTIMATED_TOKENS, Int64GetDatum(record->estimated_tokens));
	set(row, COLUMN_CREATED_AT, TimestampTzGetDatum(record->started_at));
}

static void
set_usage(Row *row, const TokenUsage *usage)
{
	if (!usage->known)
		return;
	set(row, COLUMN_INPUT_TOKENS, Int64GetDatum(usage->input));
	set(row, COLUMN_CACHED_INPUT_TOKENS, Int64GetDatum(usage->cached_input));
	set(row, COLUMN_CACHE_WRITE_TOKENS, Int64GetDatum(usage->cache_write));
	set(row, COLUMN_OUTPUT_TOKENS, Int64GetDatum(usage->output));
	set(row, COLUMN_REASONING_TOKENS, Int64GetDatum(usage->reasoning));
}

static void
set_outcome(Row *row, const LedgerOutcome *outcome)
{
	set_usage(row, &outcome->usage);
	set_price(row, COLUMN_PRICE_INPUT, outcome->prices.input);
	set_price(row, COLUMN_PRICE_CACHED_INPUT, outcome->prices.cached_input);
	set_price(row, COLUMN_PRICE_CACHE_WRITE, outcome->prices.cache_write);
	set_price(row, COLUMN_PRICE_OUTPUT, outcome->prices.output);
	set_money(row, COLUMN_TOTAL_COST, outcome->cost);
	set_text(row, COLUMN_COST_SOURCE, cost_source(outcome));
	set(row, COLUMN_RESPONSE_TIME_MS, Int64GetDatum(outcome->response_time_ms));
	set_text(row, COLUMN_STATUS, status_names[outcome->status]);
	if (outcome->http_status != 0)
		set(row, COLUMN_HTTP_STATUS, Int32GetDatum(outcome->http_status));
	if (outcome->status == LEDGER_ERROR || outcome->status == LEDGER_PARTIAL)
		set_text(row, COLUMN_ERROR_CODE, outcome_name(outcome->outcome));
	set_text(row, COLUMN_FINISH_REASON, outcome->finish_reason);
	set(row, COLUMN_IS_FINAL, BoolGetDatum(outcome->is_final));
	set_text(row, COLUMN_PROVIDER_REQUEST_ID, outcome->provider_request_id);
}

void
ledger_row_values(int32 block, Datum values[LEDGER_COLUMN_COUNT],
				  bool nulls[LEDGER_COLUMN_COUNT])
{
	const LedgerRecord *record = ledger_record(block);
	Row					row = { values, nulls };

	memset(nulls, true, LEDGER_COLUMN_COUNT);
	set_request(&row, block, record);
	set_attempt(&row, record);
	set_outcome(&row, &record->outcome);

	/* Neither an end nor a request, until it is replaced or found to be orphaned. */
	if (record->is_intent)
		nulls[COLUMN_IS_FINAL] = nulls[COLUMN_RESPONSE_TIME_MS] = true;
}

static void
append_json_value(StringInfo json, Oid type, Datum value)
{
	char time[MAXDATELEN + 1];

	switch (type)
	{
		case INT4OID:
			appendStringInfo(json, "%d", DatumGetInt32(value));
			break;
		case INT8OID:
			appendStringInfo(json, INT64_FORMAT, DatumGetInt64(value));
			break;
		case BOOLOID:
			appendStringInfoString(json, DatumGetBool(value) ? "true" : "false");
			break;
		case NUMERICOID:
			appendStringInfoString(json,
								   DatumGetCString(DirectFunctionCall1(numeric_out, value)));
			break;
		case JSONOID:
			appendStringInfoString(json, TextDatumGetCString(value));
			break;
		case TEXTOID:
			escape_json(json, TextDatumGetCString(value));
			break;
		case UUIDOID:
			escape_json(json, DatumGetCString(DirectFunctionCall1(uuid_out, value)));
			break;
		case TIMESTAMPTZOID:
			escape_json(json, JsonEncodeDateTime(time, value, TIMESTAMPTZOID, NULL));
			break;
		default:
			elog(ERROR, "unexpected type %u of a ledger column", type);
	}
}

static void
append_row(int32 block, StringInfo json)
{
	Datum values[LEDGER_COLUMN_COUNT];
	bool  nulls[LEDGER_COLUMN_COUNT];
	char  separator = '{';

	ledger_row_values(block, values, nulls);
	for (int i = 0; i < LEDGER_COLUMN_COUNT; i++)
	{
		if (nulls[i])
			continue;
		appendStringInfo(json, "%c\"%s\":", separator, ledger_columns[i].name);
		append_json_value(json, ledger_columns[i].type, values[i]);
		separator = ',';
	}
	appendStringInfoChar(json, '}');
}

void
ledger_record_json(int32 block, StringInfo json)
{
	const char *note;

	if (ledger_record(block)->kind == LEDGER_CALL)
		append_row(block, json);
	else
	{
		ledger_text_read(block, &note, 1);
		appendStringInfoString(json, note);
	}
}

LedgerKind
ledger_json_kind(const char *json)
{
	return strncmp(json, LEDGER_NOTE_OPENING, strlen(LEDGER_NOTE_OPENING)) == 0 ? LEDGER_NOTE
																				: LEDGER_CALL;
}

/*
 * usage.c
 *		Tokens, prices and exact cost, in 128-bit integers.
 *
 * A price has at most 1e18 units and a count of tokens is under 2^31, so that a
 * sum of four products stays far under 1.7e38.  Nothing here uses floating
 * point, nor rounds anything but a cost that a provider reports.
 */
#include "chat/usage.h"

#include "fmgr.h"
#include "utils/builtins.h"

#define MAX_PRICE ((int128) INT64CONST(1000000) * INT64CONST(1000000000000))
#define MAX_MONEY ((int128) INT64CONST(1000000000000000) * INT64CONST(1000000000000000))

/* Digits of the longest int128, and room for sign, point and NUL. */
#define MONEY_TEXT_BYTES 48

UnitPrices
prices_for_prompt(const PriceList *list, int64 input_tokens)
{
	UnitPrices prices = { list->input, list->cached_input, list->cache_write, list->output };

	if (list->long_prompt_above <= 0 || input_tokens <= list->long_prompt_above)
		return prices;

	if (list->long_input != PRICE_UNKNOWN)
	{
		/* The short prompt's discount would be wrong here: none is safer. */
		prices.input = list->long_input;
		prices.cached_input = list->long_cached_input;

		/* No price list has a long cache write, which is dearer than input. */
		if (prices.cache_write != PRICE_UNKNOWN)
			prices.cache_write = Max(prices.cache_write, list->long_input);
	}
	if (list->long_output != PRICE_UNKNOWN)
		prices.output = list->long_output;
	return prices;
}

/* Add tokens * price to *total; false when there are tokens without a price. */
static bool
add_cost(Money *total, int64 tokens, Price price)
{
	if (tokens <= 0)
		return true;
	if (price == PRICE_UNKNOWN)
		return false;
	*total += (Money) tokens * price;
	return true;
}

Money
cost_of_usage(const UnitPrices *prices, const TokenUsage *usage)
{
	int64 input = Max(usage->input, 0);
	int64 cached = Min(Max(usage->cached_input, 0), input);
	int64 written = Min(Max(usage->cache_write, 0), input - cached);
	Price cached_price = prices->cached_input;
	Price write_price = prices->cache_write;
	Money total = 0;

	if (cached_price == PRICE_UNKNOWN)
		cached_price = prices->input;
	if (write_price == PRICE_UNKNOWN)
		write_price = prices->input;

	if (!usage->known ||
		!add_cost(&total, input - cached - written, prices->input) ||
		!add_cost(&total, cached, cached_price) ||
		!add_cost(&total, written, write_price) ||
		!add_cost(&total, usage->output, prices->output))
		return MONEY_UNKNOWN;
	return total;
}

/*
 * A numeric times 10^scale as an integer, rounded half up; false when it is
 * negative, not finite, or above max.
 */
static bool
numeric_to_units(Numeric number, int scale, int128 max, int128 *units)
{
	char	   *text;
	const char *digit;
	int128		result = 0;
	int			fraction_digits = -1; /* -1: before the point */
	bool		fits = true;

	if (numeric_is_nan(number) || numeric_is_inf(number))
		return false;

	text = DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(number)));
	for (digit = text; *digit && fits && fraction_digits < scale; digit++)
	{
		if (*digit == '.')
		{
			fraction_digits = 0;
			continue;
		}
		if (fraction_digits >= 0)
			fraction_digits++;

		/* Only a minus sign is no digit here. */
		fits = *digit != '-' && result <= max;
		result = result * 10 + (*digit - '0');
	}
	for (int i = Max(fraction_digits, 0); i < scale && fits; i++)
	{
		fits = result <= max;
		result *= 10;
	}
	if (fits && fraction_digits == scale && *digit >= '5')
		result++;
	pfree(text);

	*units = result;
	return fits && result <= max;
}

bool
price_from_numeric(Numeric number, Price *price)
{
	int128 units;

	if (!numeric_to_units(number, PRICE_SCALE, MAX_PRICE, &units))
		return false;
	*price = (Price) units;
	return true;
}

bool
money_from_numeric(Numeric number, Money *money)
{
	return numeric_to_units(number, MONEY_SCALE, MAX_MONEY, money);
}

Numeric
price_to_numeric(Price price)
{
	Assert(price >= 0);
	return int64_div_fast_to_numeric(price, PRICE_SCALE);
}

/* Decimal text with exactly MONEY_SCALE digits after the point. */
static char *
money_digits(Money money, char *buffer)
{
	char *at = buffer + MONEY_TEXT_BYTES - 1;
	int	  digits = 0;

	Assert(money >= 0);
	*at = '\0';
	while (money > 0 || digits <= MONEY_SCALE)
	{
		if (digits == MONEY_SCALE)
			*--at = '.';
		*--at = (char) ('0' + (int) (money % 10));
		money /= 10;
		digits++;
	}
	return at;
}

Numeric
money_to_numeric(Money money)
{
	char  buffer[MONEY_TEXT_BYTES];
	Datum number = DirectFunctionCall3(numeric_in,
									   CStringGetDatum(money_digits(money, buffer)),
									   ObjectIdGetDatum(InvalidOid),
									   Int32GetDatum(-1));

	return DatumGetNumeric(number);
}

char *
money_to_string(Money money)
{
	char  buffer[MONEY_TEXT_BYTES];
	char *text = money_digits(money, buffer);
	char *end = text + strlen(text);

	while (end[-1] == '0')
		end--;
	if (end[-1] == '.')
		end--;
	return pnstrdup(text, end - text);
}

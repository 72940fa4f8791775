/*
 * usage.h
 *		Tokens, prices and exact cost.  Pure integer arithmetic.
 *
 * A price is an integer in units of 1e-12 USD per 1,000 tokens, which is what
 * numeric(20,12) in llm_models holds; price times tokens is then an integer in
 * units of 1e-15 USD, the scale of total_cost in the ledger.  Nothing is ever
 * rounded.
 */
#ifndef LLM_ROUTER_USAGE_H
#define LLM_ROUTER_USAGE_H

#include "base/compat.h"

#include "utils/numeric.h"

typedef int64  Price; /* 1e-12 USD per 1,000 tokens */
typedef int128 Money; /* 1e-15 USD */

#define PRICE_UNKNOWN ((Price) -1) /* NULL in the catalog; 0 is free */
#define MONEY_UNKNOWN ((Money) -1)

/* Digits after the point of the numerics that stand for Price and Money. */
#define PRICE_SCALE 12
#define MONEY_SCALE 15

/* A model's prices, as its row in llm_models says them. */
typedef struct PriceList
{
	Price input;
	Price cached_input; /* unknown: cached tokens cost as input */
	Price cache_write;	/* unknown: cache writes cost as input */
	Price output;
	int64 long_prompt_above; /* tokens; 0: no long-prompt prices */
	Price long_input;		 /* for the whole prompt when it is longer */
	Price long_cached_input;
	Price long_output;
} PriceList;

/* The four prices that apply to one call, and that its ledger row stores. */
typedef struct UnitPrices
{
	Price input;
	Price cached_input;
	Price cache_write;
	Price output;
} UnitPrices;

/*
 * The largest count that an adapter believes: what the ledger's columns hold,
 * and more than any model reads or writes.
 */
#define USAGE_MAX_TOKENS PG_INT32_MAX

/* What a provider says that a call used.  Sums are as in OpenAI's usage. */
typedef struct TokenUsage
{
	bool  known;		/* false: the provider did not say */
	int64 input;		/* all prompt tokens, cached ones included */
	int64 cached_input; /* part of input */
	int64 cache_write;	/* part of input */
	int64 output;		/* reasoning included */
	int64 reasoning;	/* part of output */
} TokenUsage;

/* The prices for a prompt of so many tokens. */
extern UnitPrices prices_for_prompt(const PriceList *list, int64 input_tokens);

/*
 * The exact cost, or MONEY_UNKNOWN when a price that is needed is unknown or
 * usage is not known.  Counts that contradict each other (more cached than
 * input) are clamped so that no part is charged twice.
 */
extern Money cost_of_usage(const UnitPrices *prices, const TokenUsage *usage);

/*
 * Conversions.  From numeric: false when it is NULL-like (NaN, infinite),
 * negative, or too large (a price above 1e6 USD, an amount above 1e15 USD);
 * digits beyond the scale are rounded half up, which only a cost that a
 * provider reports can have.
 */
extern bool	   price_from_numeric(Numeric number, Price *price);
extern bool	   money_from_numeric(Numeric number, Money *money);
extern Numeric price_to_numeric(Price price);
extern Numeric money_to_numeric(Money money);

/* USD as text without trailing zeros ("0.000045"), palloc'd. */
extern char *money_to_string(Money money);

#endif /* LLM_ROUTER_USAGE_H */

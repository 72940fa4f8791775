-- Cost is exact. Arguments: prices per 1,000 tokens (input, cached, cache write, output, long input, long output), then
-- tokens (input, of these cached, of these written to the cache, output).
\pset null 'unknown'

SELECT test_cost(0.00015, NULL, NULL, 0.0006, NULL, NULL, 8, 0, 0, 2) AS plain;
SELECT test_cost(0.00015, 0.000075, NULL, 0.0006, NULL, NULL, 100, 40, 0, 0) AS cached;
SELECT test_cost(0.00015, NULL, NULL, 0.0006, NULL, NULL, 100, 40, 0, 0) AS cached_without_a_price_costs_as_input;
SELECT test_cost(0.003, 0.0003, 0.00375, 0.015, NULL, NULL, 100, 40, 20, 10) AS cache_write;
SELECT test_cost(0.000000000001, NULL, NULL, 0, NULL, NULL, 1, 0, 0, 1) AS smallest_price_and_free_output;
SELECT test_cost(1000000, NULL, NULL, 1000000, NULL, NULL, 1000, 0, 0, 999999999999) AS largest;

-- A prompt above the threshold has its own prices, for all of it.
SELECT test_cost(0.001, 0.0001, NULL, 0.01, 0.002, 0.02, 1000, 0, 0, 100) AS at_the_threshold,
	   test_cost(0.001, 0.0001, NULL, 0.01, 0.002, 0.02, 1001, 0, 0, 100) AS above_it,
	   test_cost(0.001, 0.0001, NULL, 0.01, NULL, NULL, 1001, 0, 0, 100) AS without_long_prices;

-- No price for tokens that were used: unknown, not zero.
SELECT test_cost(NULL, NULL, NULL, 0.01, NULL, NULL, 1, 0, 0, 1) AS no_input_price,
	   test_cost(0.01, NULL, NULL, NULL, NULL, NULL, 1, 0, 0, 1) AS no_output_price,
	   test_cost(0.01, NULL, NULL, NULL, NULL, NULL, 1, 0, 0, 0) AS none_needed;

-- Contradictions are clamped: nothing is charged twice.
SELECT test_cost(0.001, 0.0001, 0.002, 0, NULL, NULL, 10, 20, 20, 0) AS more_cached_than_input;

-- Reported costs: rounded half up at 15 digits, refused when they are no amount.
SELECT test_reported_cost(0.0000450), test_reported_cost(0), test_reported_cost(12.5),
	   test_reported_cost(1e-15), test_reported_cost(4e-16), test_reported_cost(5e-16), test_reported_cost(0.9999999999999999);
SELECT test_reported_cost(-0.1), test_reported_cost('NaN'), test_reported_cost('Infinity'),
	   test_reported_cost(1e15), test_reported_cost(1e16), test_reported_cost(1e300);

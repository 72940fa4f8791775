# Numbers and texts at their bounds: costs are exact for any usage and any
# price, nonsense is not charged, and no message grows with what it is about.
use strict;
use warnings;

use JSON::PP;
use LlmRouterTest;
use Test::More;

my $CALLS = 60;

my $provider = LlmRouterTest::start_provider();
my $node = LlmRouterTest::start_node('bounds');
LlmRouterTest::add_sim($node, $provider);

sub sql { return LlmRouterTest::sql($node, shift) }

sub pick { return $_[ int(rand(scalar @_)) ] }

subtest 'costs are exact to the last digit' => sub {
	my $seed = srand(20261123);
	my @usages;
	my @prices;
	for (1 .. $CALLS)
	{
		# No count is above 2^31 - 1, which is what the ledger's columns hold.
		my $input = pick(0, 1, int(rand(1000)), int(rand(1e9)), 2_147_483_647);
		my $cached = pick(0, int(rand($input + 1)), $input);
		my $written = pick(0, int(rand($input - $cached + 1)), $input - $cached);
		push @usages, {
			usage => {
				prompt_tokens => $input, completion_tokens => pick(0, 1, int(rand(1e6)), 2_147_483_647),
				cached_tokens => $cached, cache_write_tokens => $written } };
		my @four = map { pick(0, '0.000000000001', '999999.999999999999', '1000000', sprintf('%.12f', rand(10)), sprintf('%.6f', rand())) } 1 .. 4;
		$_ = pick($_, $_, 'NULL') foreach @four[1, 2];
		push @prices, '(' . join(', ', $_, @four) . ')';
	}
	sql("SELECT llm_model_add('sim', 'exact-' || n, 'eco', 0, 0) FROM generate_series(1, $CALLS) AS n;
		UPDATE llm_models SET cost_per_1k_input_tokens = i, cost_per_1k_cached_input_tokens = c,
			cost_per_1k_cache_write_tokens = w, cost_per_1k_output_tokens = o
		FROM (VALUES " . join(', ', @prices) . ") AS v (n, i, c, w, o) WHERE model_name = 'exact-' || n");
	$provider->reset;
	$provider->script(map { { %{ $usages[ $_ - 1 ] }, for_model => "exact-$_" } } 1 .. $CALLS);

	sql("CREATE TABLE answers AS SELECT n, llm_chat('[{\"role\": \"user\", \"content\": \"Hi\"}]', model => 'sim/exact-' || n) AS a
		FROM generate_series(1, $CALLS) AS n");
	my $expected = q{((input_tokens - cached_input_tokens - cache_write_tokens) * cost_per_1k_input_tokens
		+ cached_input_tokens * coalesce(cost_per_1k_cached_input_tokens, cost_per_1k_input_tokens)
		+ cache_write_tokens * coalesce(cost_per_1k_cache_write_tokens, cost_per_1k_input_tokens)
		+ output_tokens * cost_per_1k_output_tokens) * 0.001};
	my $joined = q{answers JOIN llm_models ON model_name = 'exact-' || n
		JOIN llm_usage_logs l ON request_id = (a #>> '{llm_router,request_id}')::uuid};
	is(sql("SELECT count(*) FROM $joined"), $CALLS, 'every call has its row');
	is(sql("SELECT string_agg(format('%s: %s, not %s', n, total_cost, $expected), E'\n') FROM $joined WHERE total_cost IS DISTINCT FROM $expected"),
		'', "total_cost is the sum in numeric (seed $seed)");
	is(sql("SELECT count(*) FROM $joined WHERE (a #>> '{llm_router,cost_usd}')::numeric IS DISTINCT FROM total_cost"), 0,
		'and cost_usd says the same');
	is(sql("SELECT count(*) FROM $joined WHERE input_tokens <> (a #>> '{usage,prompt_tokens}')::bigint
		OR output_tokens <> (a #>> '{usage,completion_tokens}')::bigint"), 0, 'of the tokens in the answer');
};

subtest 'counts that cannot be are not charged, and the answer is delivered' => sub {
	my $big = '1' . '0' x 18;
	foreach my $usage (
		{ prompt_tokens => 0 + $big }, { completion_tokens => -1 }, { prompt_tokens => 1.5 }, { prompt_tokens => '7' },
		{ prompt_tokens => undef, completion_tokens => undef }, { prompt_tokens => 5, cached_tokens => 6 },
		{ completion_tokens => 5, reasoning_tokens => 6 }, { prompt_tokens => [] }, { prompt_tokens => 1e300 }, { completion_tokens => 2_147_483_648 })
	{
		$provider->reset;
		$provider->script({ usage => $usage });
		my $what = encode_json($usage);
		is(sql("SELECT llm_ask('Hi', 'eco')"), 'You said: Hi', "$what: answered");
		is(sql("SELECT total_cost IS NULL, input_tokens IS NULL, cost_source FROM llm_usage_logs ORDER BY created_at DESC LIMIT 1"),
			't|t|unknown', "$what: the cost is unknown");
	}
};

subtest 'a cost that the provider reports is taken within reason' => sub {
	foreach my $case ([ 0.0000012345, '0.0000012345' ], [ 0, '0' ], [ -1, '' ], [ 'free', '' ], [ 1e300, '' ])
	{
		my ($cost, $total) = @$case;
		$provider->reset;
		# What it refuses to believe, it reckons by the prices.
		$provider->script({ usage => { prompt_tokens => 8, completion_tokens => 4, cost => $cost } });
		sql("SELECT llm_ask('Hi', 'eco')");
		$total = '0.000016' if $total eq '';
		is(sql("SELECT total_cost = $total FROM llm_usage_logs ORDER BY created_at DESC LIMIT 1"), 't', "$cost");
	}
};

subtest 'messages do not grow with a name' => sub {
	foreach my $call (
		"llm_ask('Hi', repeat('x', 1000000))", "llm_ask('Hi', model => repeat('x', 1000000))",
		"llm_ask('Hi', model => 'sim/' || repeat('é', 1000000))", "llm_ask('Hi', options => jsonb_build_object(repeat('x', 1000000), 1))",
		"llm_ask('Hi', options => jsonb_build_object('router', jsonb_build_object(repeat('x', 1000000), 1)))",
		"llm_ask('Hi', options => jsonb_build_object('logit_bias', jsonb_build_object(repeat('x', 1000000), 'x')))",
		"llm_chat(jsonb_build_array(jsonb_build_object('role', repeat('x', 1000000))))",
		"llm_provider_set_key(repeat('x', 1000000), 'sk-test')")
	{
		my ($status, $out, $err) = $node->psql('postgres', "SELECT $call");
		like($err, qr/ERROR/, substr($call, 0, 60));
		cmp_ok(length($err), '<', 3000, 'a short message');
	}
};

$node->stop;
done_testing();

# A chat from SQL, end to end: what the provider receives, what the caller
# gets, and what the ledger says.
use strict;
use warnings;

use JSON::PP;
use LlmRouterTest;
use Test::More;

my $provider = LlmRouterTest::start_provider();
my $node = LlmRouterTest::start_node('chat');
LlmRouterTest::add_sim($node, $provider);

sub sql { return LlmRouterTest::sql($node, shift) }

sub chat
{
	my ($arguments) = @_;
	return decode_json(sql("SELECT llm_chat($arguments)"));
}

my $hello = q('[{"role": "user", "content": "Hello"}]');

subtest 'llm_chat returns a chat.completion with who answered and what it cost' => sub {
	my $answer = chat("$hello, 'eco'");

	is($answer->{object}, 'chat.completion', 'object');
	is($answer->{choices}[0]{message}{content}, 'You said: Hello', 'content');
	is($answer->{choices}[0]{finish_reason}, 'stop', 'finish reason');
	my $router = $answer->{llm_router};
	is($router->{provider}, 'sim', 'provider');
	is($router->{model}, 'sim-eco', 'model');
	is($router->{power_level}, 'eco', 'power level');
	is(scalar @{ $router->{attempts} }, 1, 'one attempt');
	is($router->{attempts}[0]{outcome}, 'ok', 'which succeeded');

	# 1 USD per million tokens in, 2 out.
	my $usage = $answer->{usage};
	my $row = sql("SELECT status, is_final, provider, model, input_tokens, output_tokens, attempts,
		total_cost = ($usage->{prompt_tokens} * 1 + $usage->{completion_tokens} * 2) / 1000000.0,
		total_cost = (SELECT cost_usd FROM llm_last_call()) IS NOT TRUE
		FROM llm_usage_logs WHERE request_id = '$router->{request_id}'");
	is($row, "ok|t|sim|sim-eco|$usage->{prompt_tokens}|$usage->{completion_tokens}|1|t|t",
		'the ledger has the exact cost at once');
};

subtest 'cached and reasoning tokens cost what their prices say' => sub {
	sql("UPDATE llm_models SET cost_per_1k_cached_input_tokens = 0.0001 WHERE model_name = 'sim-eco'");
	$provider->script({ usage => { prompt_tokens => 1000, completion_tokens => 100, cached_tokens => 600,
				reasoning_tokens => 40 } });
	my $answer = chat("$hello, 'eco'");
	# 400 at 1, 600 cached at 0.1, 100 out (40 of them reasoning) at 2 USD per million
	is($answer->{llm_router}{cost_usd}, 0.00066, 'cost_usd');
	is(sql("SELECT input_tokens, cached_input_tokens, output_tokens, reasoning_tokens, total_cost = 0.00066,
		price_input = 0.001, price_cached_input = 0.0001, price_output = 0.002, cost_source
		FROM llm_usage_logs ORDER BY created_at DESC LIMIT 1"),
		'1000|600|100|40|t|t|t|t|prices', 'the row stores the tokens and the unit prices');
};

subtest 'a price change applies to calls after it, not to rows before' => sub {
	my $before = sql("SELECT sum(total_cost) FROM llm_usage_logs");
	sql("SELECT llm_model_set_price('sim', 'sim-eco', 1000, 1000)");
	is(sql("SELECT sum(total_cost) FROM llm_usage_logs"), $before, 'rows are as they were');
	chat("$hello, 'eco'");
	is(sql("SELECT price_input = 1 FROM llm_usage_logs ORDER BY created_at DESC LIMIT 1"), 't', 'the new price');
	sql("SELECT llm_model_set_price('sim', 'sim-eco', 1, 2)");
};

subtest 'a call of an unknown price is answered, and its cost is NULL' => sub {
	sql("UPDATE llm_models SET cost_per_1k_output_tokens = NULL WHERE model_name = 'sim-eco'");
	my $answer = chat("$hello, 'eco'");
	is($answer->{llm_router}{cost_usd}, undef, 'cost_usd is null');
	is(sql("SELECT total_cost IS NULL, cost_source FROM llm_usage_logs ORDER BY created_at DESC LIMIT 1"),
		't|unknown', 'in the ledger too');
	sql("SELECT llm_model_set_price('sim', 'sim-eco', 1, 2)");
};

subtest 'options reach the provider, over the members of a whole request object' => sub {
	$provider->reset;
	chat(q('{"messages": [{"role": "user", "content": "Hello"}], "temperature": 0.5, "seed": 7}', 'eco',
		options => '{"temperature": 0.25, "max_tokens": 50, "router": {"extra": {"top_k": 3}}}'));
	my ($request) = $provider->requests;
	my $body = $request->{body};
	is($body->{model}, 'sim-eco', 'model');
	is($body->{temperature}, 0.25, 'options win');
	is($body->{seed}, 7, 'the rest stays');
	is($body->{max_tokens}, 50, 'the output limit');
	is($body->{top_k}, 3, 'extra goes as it is');
	is_deeply([ grep { exists $body->{$_} } qw(router stream) ], [], "the router's own settings do not");
};

subtest 'llm_ask gives the text' => sub {
	is(sql("SELECT llm_ask('Hi')"), 'You said: Hi', 'at the default level');
	is(sql("SELECT model FROM llm_usage_logs ORDER BY created_at DESC LIMIT 1"), 'sim-balanced', 'which is balanced');
	is(sql("SELECT llm_text(llm_chat($hello))"), 'You said: Hello', 'llm_text does so for llm_chat');
};

subtest 'a model can be named' => sub {
	is(chat("$hello, model => 'sim-precision'")->{llm_router}{model}, 'sim-precision', 'by its name');
	is(chat("$hello, model => 'sim/sim-precision'")->{llm_router}{model}, 'sim-precision', 'with its provider');
};

subtest 'llm_last_call shows the last answer of the session' => sub {
	is(sql("SELECT count(*) FROM llm_last_call()"), '0', 'no row before the first');
	is(sql("SELECT llm_ask('Hi', 'eco'); SELECT provider, model, power_level, attempts, input_tokens > 0, cost_usd > 0
		FROM llm_last_call()"), "You said: Hi\nsim|sim-eco|eco|1|t|t", 'then one');
};

subtest 'nothing is sent for NULL, EXPLAIN, PREPARE, or a refused argument' => sub {
	$provider->reset;
	is(sql("SELECT llm_chat(NULL) IS NULL, llm_ask(NULL) IS NULL"), 't|t', 'NULL in, NULL out');
	sql("EXPLAIN SELECT llm_ask('Hi')");
	sql("PREPARE ask AS SELECT llm_ask('Hi')");
	sql("CREATE TABLE t (a text DEFAULT llm_ask('Hi')); DROP TABLE t");
	my %refused = (
		"llm_chat('[]')"                                                      => '22023',
		"llm_chat('[{\"role\": \"king\", \"content\": \"x\"}]')"              => '22023',
		"llm_chat($hello, 'cheap')"                                           => '22023',
		"llm_chat($hello, model => 'nothing')"                                => '22023',
		"llm_chat($hello, options => '{\"temprature\": 1}')"                  => '22023',
		"llm_chat($hello, options => '{\"router\": {\"byok\": \"always\"}}')" => '22023');
	foreach my $call (sort keys %refused)
	{
		my ($state, $message) = LlmRouterTest::sql_error($node, "SELECT $call");
		is($state, $refused{$call}, "$call: $message");
	}
	is(scalar($provider->requests), 0, 'the provider received nothing');
};

subtest 'calls of a session share a connection' => sub {
	$provider->reset;
	sql(join(';', ("SELECT llm_ask('Hi')") x 20));
	is(scalar($provider->requests), 20, '20 requests');
	is($provider->stats->{connections}, 1, 'over one connection');
};

subtest 'a row that fails does not lose the others with on_error = return' => sub {
	$provider->reset;
	$provider->script({ for_model => 'sim-eco', error => { status => 400, message => 'No.' } });
	my $answers = sql(q(SELECT llm_chat('[{"role": "user", "content": "Hello"}]', level,
		options => '{"router": {"on_error": "return"}}')->'error'->>'code'
		FROM unnest(ARRAY['balanced', 'eco', 'precision']) AS level));
	is($answers, "\nLR006\n", 'the error is a value, the others are answers');
	my ($status, $out, $err) = $node->psql('postgres',
		q(SELECT llm_ask('Hi', model => 'nothing', options => '{"router": {"on_error": "return"}}') IS NULL));
	is($out, 't', 'llm_ask gives NULL');
	like($err, qr/WARNING:.*nothing/, 'with a WARNING');
};

subtest 'tools, images and JSON schemas go through' => sub {
	my $answer = chat(q('[{"role": "user", "content": "call weather"}]', 'eco',
		options => '{"tools": [{"type": "function", "function": {"name": "weather",
			"parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}]}'));
	is($answer->{choices}[0]{message}{tool_calls}[0]{function}{name}, 'weather', 'a tool call');
	is($answer->{choices}[0]{finish_reason}, 'tool_calls', 'its finish reason');

	$answer = chat(q('[{"role": "user", "content": [{"type": "text", "text": "What is it?"},
		{"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}]}]', 'eco'));
	like($answer->{choices}[0]{message}{content}, qr/What is it/, 'an image');

	$answer = chat(q('[{"role": "user", "content": "A city"}]', 'eco', options => '{"response_format":
		{"type": "json_schema", "json_schema": {"name": "city", "schema": {"type": "object",
		"properties": {"name": {"type": "string"}}, "required": ["name"], "additionalProperties": false}}}}'));
	is_deeply(decode_json($answer->{choices}[0]{message}{content}), { name => 'text' }, 'a JSON schema');
};

$node->stop;
done_testing();

# What the router does when a provider fails: retry, wait, fall back, give up.
use strict;
use warnings;

use JSON::PP;
use LlmRouterTest;
use Test::More;

my $provider = LlmRouterTest::start_provider();
my $node = LlmRouterTest::start_node('fallback');
LlmRouterTest::add_sim($node, $provider);

# A second provider, which stands in at the level eco.
my $second = $provider->url('/local/v1');
LlmRouterTest::sql($node, <<"SQL");
SELECT llm_provider_add('stand-in', '$second', auth_type => 'none');
SELECT llm_model_add('stand-in', 'stand-in-eco', 'eco', 10, 20);
UPDATE llm_routing_rules SET fallback_model_id = llm_model_id('stand-in', 'stand-in-eco') WHERE power_level = 'eco';
SQL

sub sql { return LlmRouterTest::sql($node, shift) }

# Call with that script; returns the models asked, in order, and the answer or error.
sub outcome
{
	my ($script, %option) = @_;
	my $options = $option{options} // '{}';
	my $level = $option{level} // 'eco';
	$provider->reset;
	$provider->script(@$script) if @$script;
	my $answer = decode_json(sql(
		"SELECT llm_chat('[{\"role\": \"user\", \"content\": \"Hello\"}]', '$level',
		 options => '$options'::jsonb || '{\"router\": {\"on_error\": \"return\"}}'::jsonb
		 || jsonb_build_object('router', coalesce('$options'::jsonb->'router', '{}') || '{\"on_error\": \"return\"}'))"));
	return (join(' ', map { $_->{body}{model} } $provider->requests),
		$answer->{error} ? $answer->{error}{code} : $answer->{llm_router}{model}, $answer);
}

my $primary = { for_model => 'sim-eco', times => undef };

subtest 'a server error is tried again, then the next candidate is asked' => sub {
	my ($asked, $result) = outcome([ { for_model => 'sim-eco', status => 503 } ]);
	is($asked, 'sim-eco sim-eco', 'the same model again after one 503');
	is($result, 'sim-eco', 'which answers');
	($asked, $result) = outcome([ { %$primary, status => 500 } ]);
	like($asked, qr/^(sim-eco ){2,3}stand-in-eco$/, 'another after several');
	is($result, 'stand-in-eco', 'which answers');
};

subtest 'attempts[] of the answer tell how the earlier ones ended, with the provider\'s code' => sub {
	my (undef, undef, $answer) = outcome([ { %$primary, error => { status => 404, code => 'model_not_found', message => 'Gone.' } } ]);
	my $first = $answer->{llm_router}{attempts}[0];
	is("$first->{model} $first->{outcome} $first->{http_status} $first->{code} $first->{message}",
		'sim-eco model_gone 404 model_not_found Gone.', 'the first');
};

foreach my $case (
	[ 'a refused key',        { status => 401 } ],
	[ 'no credit',            { error => { status => 429, code => 'insufficient_quota', type => 'insufficient_quota' } } ],
	[ 'a model that is gone', { error => { status => 404, code => 'model_not_found' } } ],
	[ 'a rate limit',         { status => 429, headers => { 'Retry-After' => '30' } } ],
	[ 'an answer that is HTML', { payload => 'html' } ],
	[ 'an answer cut short',  { close => 'mid_body' } ],
	[ 'a reset connection',   { reset => 'after_request' } ])
{
	my ($name, $fault) = @$case;
	subtest "$name sends the call to the next candidate" => sub {
		my ($asked, $result, $answer) = outcome([ { %$primary, %$fault } ]);
		like($asked, qr/ stand-in-eco$/, "asked: $asked");
		is($result, 'stand-in-eco', 'the stand-in answers');
		isnt($answer->{llm_router}{attempts}[0]{outcome}, 'ok', "first: $answer->{llm_router}{attempts}[0]{outcome}");
	};
}

subtest 'what every provider would refuse ends the call' => sub {
	my ($asked, $result) = outcome([ { %$primary, error => { status => 400, message => 'Bad temperature.' } } ]);
	is($asked, 'sim-eco', 'asked once');
	is($result, 'LR006', 'LR006');
	($asked, $result) = outcome([ { %$primary, error => { status => 400, code => 'content_policy_violation' } } ]);
	is("$asked $result", 'sim-eco LR006', 'filtered content likewise');
};

subtest 'a prompt that is too long goes to a larger model' => sub {
	sql("UPDATE llm_models SET max_tokens = 8000 WHERE model_name = 'sim-eco';
		 UPDATE llm_models SET max_tokens = 128000 WHERE model_name = 'stand-in-eco'");
	my ($asked, $result) = outcome([ { %$primary, error => { status => 400, code => 'context_length_exceeded' } } ]);
	is("$asked $result", 'sim-eco stand-in-eco stand-in-eco', 'which answers');
	sql("UPDATE llm_models SET max_tokens = 4000 WHERE model_name = 'stand-in-eco'");
	($asked, $result) = outcome([ { %$primary, error => { status => 400, code => 'context_length_exceeded' } } ]);
	is($asked, 'sim-eco', 'and not to a smaller one');
	like($result, qr/^LR00[26]$/, "that call fails: $result");
	sql("UPDATE llm_models SET max_tokens = NULL");
};

subtest 'Retry-After of the only candidate is honoured' => sub {
	my ($asked, $result, $answer) =
	  outcome([ { status => 429, headers => { 'Retry-After' => '1' } } ], level => 'precision');
	is("$asked $result", 'sim-precision sim-precision sim-precision', 'the same model, later');
	cmp_ok($answer->{llm_router}{response_time_ms}, '>=', 1000, "after $answer->{llm_router}{response_time_ms} ms");
};

subtest 'a Retry-After beyond the deadline is not waited for' => sub {
	my ($asked, $result, $answer) = outcome([ { status => 429, headers => { 'Retry-After' => '3600' }, times => undef } ],
		level => 'precision');
	is("$asked $result", 'sim-precision LR002', 'the call fails at once');
	like($answer->{error}{message}, qr/rate_limited/, $answer->{error}{message});
};

subtest 'attempts are bounded by max_attempts' => sub {
	my ($asked, $result) = outcome([ { status => 503, times => undef } ], options => '{"router": {"max_attempts": 2}}');
	is(scalar(split(/ /, $asked)), 2, "asked: $asked");
	is($result, 'LR002', 'LR002');
};

subtest 'the deadline bounds everything' => sub {
	my ($asked, $result, $answer) =
	  outcome([ { hang => 'before_headers', times => undef } ], options => '{"router": {"timeout_ms": 400}}');
	is($result, 'LR007', "LR007: $answer->{error}{message}");
	is(sql("SELECT response_time_ms BETWEEN 390 AND 10000 FROM llm_usage_logs ORDER BY created_at DESC LIMIT 1"), 't',
		'at about the time said');
};

subtest 'a first answer that does not begin in time goes to the next candidate' => sub {
	$provider->reset;
	$provider->script({ %$primary, hang => 'before_headers' });
	is(sql("SET llm_router.first_token_timeout = '300ms'; SELECT llm_ask('Hi', 'eco');
			SELECT model FROM llm_last_call()"), "You said: Hi\nstand-in-eco", 'the stand-in answers');
};

subtest 'the error names the reason and the request; DETAIL has the attempts' => sub {
	my (undef, undef, $answer) = outcome([ { times => undef, error => { status => 500, message => 'Out of order.' } } ],
		options => '{"router": {"max_attempts": 3}}');
	like($answer->{error}{message}, qr/Out of order\. \(request [0-9a-f-]{36}\)$/, $answer->{error}{message});
	my @attempts = split /\n/, $answer->{error}{detail};
	is(scalar(@attempts), 3, 'three lines');
	like($attempts[0], qr{^1\. sim/sim-eco: unavailable \(HTTP 500, \d+ ms\): Out of order\.$}, $attempts[0]);
};

subtest 'an earlier attempt that may have cost money has a row of its own' => sub {
	$provider->reset;
	sql("DELETE FROM llm_usage_logs");
	$provider->script({ %$primary, times => 2, close => 'mid_body' }, { %$primary, times => 2, status => 503 });
	sql("SELECT llm_ask('Hi', 'eco', options => '{\"router\": {\"max_attempts\": 6}}')");
	is(sql("SELECT string_agg(format('%s %s %s %s', model, status, is_final, coalesce(total_cost::text, 'unknown')), E'\\n'
		 ORDER BY created_at, attempt) FROM llm_usage_logs WHERE total_cost IS NULL"),
		join("\n", ('sim-eco error f unknown') x sql("SELECT count(*) FROM llm_usage_logs WHERE NOT is_final")),
		'cut answers: their cost is unknown');
	cmp_ok(sql("SELECT count(*) FROM llm_usage_logs WHERE NOT is_final"), '>=', 1, 'there is one');
	is(sql("SELECT count(*), min(status), count(DISTINCT request_id) FROM llm_usage_logs WHERE is_final"), '1|ok|1',
		'one final row');
};

subtest 'a failed call has a row as well, which cost nothing' => sub {
	sql("DELETE FROM llm_usage_logs");
	outcome([ { times => undef, error => { status => 400, message => 'No.' } } ]);
	is(sql("SELECT status, is_final, total_cost = 0, http_status FROM llm_usage_logs"), 'error|t|t|400', 'final, 0 USD');
};

subtest 'a key that the provider refuses is LR005 with the line to run' => sub {
	my (undef, $result, $answer) =
	  outcome([ { times => undef, error => { status => 401, code => 'invalid_api_key', message => 'Incorrect API key provided: sk-abc***' } } ]);
	is($result, 'LR005', 'LR005');
	like($answer->{error}{hint}, qr/llm_provider_set_key\('/, 'with the call to make');
};

$node->stop;
done_testing();

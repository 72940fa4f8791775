# The ten shipped providers, asked the same ten questions through SQL.
#
# Each is simulated as strictly as its vendor answers: requests are checked with
# the vendor's own SDK types and rules, and answers and events are built from them.
# No request may be refused, no member of it ignored.  The table is printed at the
# end.
use strict;
use warnings;

use JSON::PP;
use LlmRouterTest;
use ProvidersTest;
use Test::More;

my $provider = LlmRouterTest::start_provider();
my $node = LlmRouterTest::start_node('providers');
my $json = JSON::PP->new->canonical->allow_nonref;

sub sql { return LlmRouterTest::sql($node, shift) }
sub quoted { return ProvidersTest::quoted(shift) }

ProvidersTest::lead($node, $provider);
sql(q(UPDATE llm_models SET retires_on = NULL;
	  UPDATE llm_models SET supports_functions = true, supports_vision = true, supports_json_schema = true
	  WHERE provider_id NOT IN (SELECT id FROM llm_providers WHERE name IN ('cohere', 'replicate'));
	  SELECT llm_model_add('cohere', 'command-a-vision-07-2025', 'balanced', 2.5, 10, supports_vision => true)));

# The model that is asked, and the one for images where it is another.
my %models = (
	openai      => ['gpt-4.1'],
	anthropic   => ['claude-haiku-4-5'],
	google      => ['gemini-2.5-flash'],
	cohere      => [ 'command-a-03-2025', 'command-a-vision-07-2025' ],
	together    => ['openai/gpt-oss-120b'],
	openrouter  => ['anthropic/claude-haiku-4.5'],
	replicate   => [ 'meta/meta-llama-3-8b-instruct', 'anthropic/claude-4.5-sonnet' ],
	groq        => ['openai/gpt-oss-20b'],
	mistral     => ['mistral-large-2512'],
	huggingface => ['openai/gpt-oss-20b:groq']);

my $pixel = 'data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';
my $tool = {
	type     => 'function',
	function => {
		name        => 'weather',
		description => 'The weather at a place',
		parameters  => { type => 'object', properties => { place => { type => 'string' } }, required => ['place'] } } };
my $schema = {
	type                 => 'object',
	properties           => { city => { type => 'string' } },
	required             => ['city'],
	additionalProperties => JSON::PP::false };

sub user { return { role => 'user', content => shift } }

sub says
{
	my ($text) = @_;
	return sub { (shift->{content} // '') =~ /^\Q$text\E\s*$/ };
}

# An assistant's turn as a router's answer has it, and the results of its calls.
my @tool_turns = (
	user('How is the weather in Oslo and Rome?'),
	{
		role       => 'assistant',
		content    => '',
		refusal    => undef,
		tool_calls => [
			{ id => 'call_0123456789abcdef01234567', type => 'function', function => { name => 'weather', arguments => '{"place": "Oslo"}' } },
			{ id => 'call.with:odd/characters', type => 'function', function => { name => 'weather', arguments => '' } } ] },
	{ role => 'tool', tool_call_id => 'call_0123456789abcdef01234567', content => 'Rain' },
	{ role => 'tool', tool_call_id => 'call.with:odd/characters',      content => 'Sun' });

# name, messages, options, what the answer's message has to be
my @questions = (
	[ 'plain', [ user('Hello') ], {}, says('You said: Hello') ],
	[
		'system',
		[ { role => 'system', content => 'Be kind.' }, { role => 'developer', content => 'Be brief.' }, user('Hello') ],
		{}, says('You said: Hello')
	],
	[
		'multi-turn',
		[ user('Hello'), { role => 'assistant', content => 'Hi', annotations => [], reasoning_content => 'A greeting.' },
			{ role => 'system', content => 'Be brief now.' }, user('And'), user([ { type => 'text', text => 'now' } ]) ],
		{}, sub { (shift->{content} // '') =~ /now\s*$/ }
	],
	[
		'image',
		[ user([ { type => 'text', text => 'Look' }, { type => 'image_url', image_url => { url => $pixel, detail => 'low' } } ]) ],
		{}, sub { (shift->{content} // '') =~ /^You said: Look\s*$/ }
	],
	[
		'tool call',
		[ user('Please call weather') ],
		{ tools => [$tool], tool_choice => 'required', parallel_tool_calls => JSON::PP::false },
		sub {
			my ($message) = @_;
			my $call = $message->{tool_calls}[0] // {};
			($call->{function}{name} // '') eq 'weather' && decode_json($call->{function}{arguments})->{place} eq 'text' && $call->{id};
		}
	],
	[ 'tool result', \@tool_turns, { tools => [$tool] }, sub { (shift->{content} // '') =~ /^The tool said: .*Sun/s } ],
	[
		'JSON schema',
		[ user('A city as JSON') ],
		{ response_format => { type => 'json_schema', json_schema => { name => 'city', schema => $schema, strict => JSON::PP::true } } },
		sub { my $city = eval { decode_json(shift->{content}) }; $city && $city->{city} eq 'text' }
	],
	[ 'stop', [ user('one END two') ], { stop => [ 'END', 'FINE' ] }, sub { (shift->{content} // '') =~ /^You said: one\s*$/ } ],
	[ 'stream', [ user('Hello there, world') ], {}, says('You said: Hello there, world') ],
	[ 'error', [ user('Hello') ], {}, undef ]);

# What a provider cannot do: the router says so before anything is sent.
my %cannot = (replicate => { 'tool call' => 1, 'tool result' => 1, 'JSON schema' => 1 });

# A whole message out of the chunks of a stream.
sub assembled
{
	my @rows = @_;
	my %message = (content => '');
	foreach my $choice (map { @{ $_->{choices} } } @rows)
	{
		$message{content} .= $choice->{delta}{content} // '';
		$message{finish_reason} //= $choice->{finish_reason};
	}
	return \%message;
}

sub ask
{
	my ($model, $what, $messages, $options) = @_;
	my $function = $what eq 'stream' ? 'llm_chat_stream' : 'llm_chat';
	my @rows = map { decode_json($_) }
	  split /\n/, sql("SELECT $function(" . quoted($messages) . ', model => ' . quoted($model) . ', options => '
		  . quoted({ %$options, router => { on_error => 'return' } }) . ')');
	return $what eq 'stream' ? (assembled(@rows), $rows[-1]) : ($rows[0]{choices}[0]{message} // {}, $rows[0]);
}

# The requests of the question before are forgotten; predictions live on.
my %table;
foreach my $name (sort keys %models)
{
	subtest $name => sub {
		foreach my $question (@questions)
		{
			my ($what, $messages, $options, $fits) = @$question;
			my ($usual, $vision) = @{ $models{$name} };
			my $model = "$name/" . ($what eq 'image' && $vision ? $vision : $usual);
			$provider->reset;
			$provider->script({ error => { status => 429, message => 'Slow down.' }, headers => { 'Retry-After' => '90' } }) if $what eq 'error';
			my ($message, $answer) = ask($model, $what, $messages, $options);
			my @requests = $provider->requests;
			my $shown = $json->encode($answer);
			if ($what eq 'error')
			{
				is($answer->{error}{code}, 'LR002', 'error: LR002') or diag($shown);
				like($answer->{error}{detail}, qr/rate_limited \(HTTP 429/, 'error: a 429 is a rate limit');
				is(scalar @requests, 1, 'error: with one request, because it asks for a long wait');
				$table{$name}{$what} = 'rate_limited';
				next;
			}
			if ($cannot{$name}{$what})
			{
				like($answer->{error}{code} // '', qr/^LR00[16]$/, "$what: cannot be asked") or diag($shown);
				is(scalar @requests, 0, "$what: and nothing is sent");
				$table{$name}{$what} = "not sent ($answer->{error}{code})";
				next;
			}
			ok($fits->($message), "$what: answered") or diag($shown);
			is_deeply([ map { $_->{refused} // () } @requests ], [], "$what: no request was refused");
			is_deeply([ map { @{ $_->{ignored} // [] } } @requests ], [], "$what: and no member was ignored");
			ok($answer->{usage}{total_tokens} > 0, "$what: with usage");
			next unless $answer->{llm_router};
			is(sql("SELECT status || cost_source || (total_cost = (input_tokens * price_input + output_tokens * price_output) / 1000
				OR cost_source = 'provider')::text FROM llm_usage_logs WHERE request_id = '$answer->{llm_router}{request_id}'"),
				$name eq 'openrouter' ? 'okprovidertrue' : 'okpricestrue', "$what: and its exact cost in the ledger");
			$table{$name}{$what} = 'ok';
		}
	};
}

# What a provider lacks, of what is asked here.
subtest 'what a provider cannot honour is named, or refused' => sub {
	my %lacking = (
		openai    => [ { seed => 7, top_k => 5 }, 'top_k', undef ],
		anthropic => [ { seed => 7, n => 2, temperature => 1.5 }, 'n, seed', 'temperature' ],
		google    => [ { logit_bias => { 5 => 1 }, n => 9, max_tokens => 500 }, 'logit_bias', 'n' ],
		cohere    => [ { n => 2, temperature => 1.5 }, 'n', 'temperature' ],
		replicate => [ { n => 2, logprobs => JSON::PP::true }, 'logprobs, n', undef ],
		groq      => [ { n => 2, logit_bias => { 5 => 1 } }, 'logit_bias, n', undef ],
		mistral   => [ { top_k => 5, temperature => 2, reasoning_effort => 'low' }, 'top_k', 'reasoning_effort, temperature' ]);
	foreach my $name (sort keys %lacking)
	{
		my ($options, $dropped, $adjusted) = @{ $lacking{$name} };
		my $model = "$name/$models{$name}[0]";
		$provider->reset;
		my ($message, $answer) = ask($model, 'plain', [ user('Hello') ], $options);
		ok($message->{content}, "$name answers") or diag($json->encode($answer));
		is(join(', ', sort @{ $answer->{llm_router}{dropped_params} // [] }), $dropped // '', "$name: what was dropped");
		is(join(', ', sort @{ $answer->{llm_router}{adjusted_params} // [] }), $adjusted // '', "$name: what was adjusted");
		$provider->reset;
		my $strict = quoted({ %$options, router => { strict => JSON::PP::true } });
		my ($state, $error) = LlmRouterTest::sql_error($node,
			'SELECT llm_chat(' . quoted([ user('Hello') ]) . ", model => '$model', options => $strict)");
		like("$state $error", qr/^LR006 .*unsupported: it cannot honour/, "$name, strict: LR006");
		is(scalar($provider->requests), 0, "$name, strict: nothing is sent");
	}
};

subtest 'with strict the next candidate is asked' => sub {
	sql(q(DELETE FROM llm_routing_rules WHERE power_level = 'eco';
		  INSERT INTO llm_routing_rules (power_level, subscription_tier, priority, model_id, fallback_model_id)
		  VALUES ('eco', 'enterprise', 1, llm_model_id('groq', 'openai/gpt-oss-20b'), llm_model_id('openai', 'gpt-4o-mini'))));
	$provider->reset;
	my $answer = decode_json(sql('SELECT llm_chat(' . quoted([ user('Hello') ]) . ", 'eco', options => "
		  . quoted({ n => 2, router => { strict => JSON::PP::true } }) . ')'));
	is($answer->{llm_router}{provider}, 'openai', 'the one that can honour it');
	is(scalar @{ $answer->{choices} }, 2, 'which does');
	is($answer->{llm_router}{attempts}[0]{outcome}, 'unsupported', 'and the first is in the attempts');
	is(scalar($provider->requests), 1, 'though it got no request');
};

subtest 'what is wrong with a request is found before anything is sent' => sub {
	my $call = { role => 'assistant', tool_calls => [ { id => 'c', type => 'function', function => { name => 'f', arguments => '{}' } } ] };
	my @wrong = (
		[ [ user([ { type => 'image_url', image_url => { url => 'cat.png' } } ]) ], {}, 'messages[0].content[0].image_url.url' ],
		[ [ user([ { type => 'image_url', image_url => { url => 'data:image/png,raw' } } ]) ], {}, 'messages[0].content[0].image_url.url' ],
		[ [ user('Hi') ], { tools => [ { type => 'function', function => {} } ] }, 'options.tools[0].function.name' ],
		[ [ user('Hi'), $call, { role => 'tool', tool_call_id => 'd', content => 'x' } ], {}, 'messages[2].tool_call_id' ],
		[ [ { role => 'robot', content => 'Hi' } ], {}, 'messages[0].role' ],
		[ [ user([ { type => 'smell', smell => 'rose' } ]) ], {}, 'messages[0].content[0].type' ]);
	$provider->reset;
	foreach my $case (@wrong)
	{
		my ($messages, $options, $path) = @$case;
		my ($state, $error) = LlmRouterTest::sql_error($node,
			'SELECT llm_chat(' . quoted($messages) . ", model => 'anthropic/claude-haiku-4-5', options => " . quoted($options) . ')');
		like("$state $error", qr/^22023 \Q$path\E: /, $error);
	}
	is(scalar($provider->requests), 0, 'nothing was sent');
};

subtest 'a hostile or broken provider costs a call, not the server' => sub {
	my %broken = (
		'garbage instead of an answer'     => [ 'llm_chat',        { payload => 'garbage_json' } ],
		'a web page instead of an answer'  => [ 'llm_chat',        { payload => 'html' } ],
		'nothing'                          => [ 'llm_chat',        { payload => 'empty' } ],
		'a body that is cut off'           => [ 'llm_chat',        { close => 'mid_body' } ],
		'a stream that is cut off'         => [ 'llm_chat_stream', { close => 'mid_body', stop_after_events => 2 } ],
		'a stream without its end'         => [ 'llm_chat_stream', { stop_after_events => 2 } ],
		'an error in a stream'             => [ 'llm_chat_stream', { stream_error => { status => 529, message => 'Overloaded.', type => 'overloaded_error' }, stop_after_events => 2 } ]);
	foreach my $name (sort keys %models)
	{
		foreach my $what (sort keys %broken)
		{
			my ($function, $behaviour) = @{ $broken{$what} };
			$provider->reset;
			# A stream of predictions is a request of its own.
			my %place = $name eq 'replicate' && $function eq 'llm_chat_stream' ? (for_path => '/replicate-stream') : ();
			$provider->script({ %$behaviour, %place, times => undef });
			my ($state, $error) = LlmRouterTest::sql_error($node, "SELECT $function(" . quoted([ user('Hello there') ])
				  . ", model => '$name/$models{$name}[0]', options => " . quoted({ router => { max_attempts => 1 } }) . ')');
			is($state, 'LR002', "$name, $what: LR002") or diag($error);
		}
	}
	is(sql('SELECT 1'), 1, 'the server is there');
};

note('The answers of ten providers to ten questions:');
note(sprintf('%-12s' . ' %-17s' x @questions, 'provider', map { $_->[0] } @questions));
foreach my $name (sort keys %models)
{
	note(sprintf('%-12s' . ' %-17s' x @questions, $name, map { $table{$name}{ $_->[0] } // 'FAILED' } @questions));
}

done_testing();

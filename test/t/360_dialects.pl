# Every dialect of the openai format, asked the same questions with the shipped
# request rules: no provider may refuse a request or ignore a member of it.
#
# The shipped providers keep their rules and models; only base_url leads to the
# simulated provider, which is as strict as the vendors are.  The table of what
# was sent is printed at the end.
use strict;
use warnings;

use JSON::PP;
use LlmRouterTest;
use Test::More;

my $provider = LlmRouterTest::start_provider();
my $node = LlmRouterTest::start_node('dialects');
my $master_key = $node->data_dir . '/master.key';
my $json = JSON::PP->new->utf8->canonical->allow_nonref;

sub sql { return LlmRouterTest::sql($node, shift) }

sub quoted
{
	my ($value) = @_;
	my $text = ref $value ? $json->encode($value) : $value;
	$text =~ s/'/''/g;
	return "'$text'";
}

# provider => [path of the simulated base URL, models to ask]
my %dialects = (
	openai      => [ '/openai/v1',         'gpt-4.1-mini', 'gpt-5-mini', 'gpt-5.4-mini', 'gpt-6-luna' ],
	together    => [ '/together/v1',       'openai/gpt-oss-120b', 'moonshotai/Kimi-K2.5' ],
	openrouter  => [ '/openrouter/api/v1', 'anthropic/claude-opus-4.7' ],
	groq        => [ '/groq/openai/v1',    'openai/gpt-oss-20b' ],
	mistral     => [ '/mistral/v1',        'mistral-large-2512' ],
	huggingface => [ '/huggingface/v1',    'openai/gpt-oss-20b:groq' ],
	local       => [ '/local/v1',          'SmolLM2-135M-Instruct' ]);

my $tool = {
	type     => 'function',
	function => {
		name        => 'weather',
		description => 'The weather at a place',
		parameters  => {
			type                 => 'object',
			properties           => { place => { type => 'string' } },
			required             => ['place'],
			additionalProperties => JSON::PP::false } } };
my $schema = {
	type                 => 'object',
	properties           => { city => { type => 'string' } },
	required             => ['city'],
	additionalProperties => JSON::PP::false };
my $pixel = 'data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';

sub user { return { role => 'user', content => shift } }

# An assistant's turn as this router returns it for one provider or another,
# sent back whole, as client libraries do.
my $call = {
	id       => 'call_0123456789abcdef01234567',
	type     => 'function',
	function => { name => 'weather', arguments => '{"place": "Oslo"}' } };
my @tool_turns = (
	user('How is the weather in Oslo?'),
	{
		role              => 'assistant',
		content           => undef,
		refusal           => undef,
		annotations       => [],
		reasoning         => 'I should look.',
		reasoning_content => 'I should look.',
		reasoning_details => [ { type => 'reasoning.text', text => 'I should look.' } ],
		tool_calls        => [$call] },
	{ role => 'tool', tool_call_id => $call->{id}, content => 'Rain' });

# All parameters that OpenAI and its likes have; a provider gets those it takes.
my %everything = (
	frequency_penalty => 0.5,
	presence_penalty  => -0.5,
	logit_bias        => { 50256 => -100 },
	logprobs          => JSON::PP::true,
	top_logprobs      => 20,
	max_tokens        => 64,
	metadata          => { purpose => 'test' },
	min_p             => 0.05,
	moderation        => { model => 'omni-moderation-latest' },
	n                 => 2,
	parallel_tool_calls => JSON::PP::false,
	prompt_cache_key    => 'k',
	prompt_cache_retention => '24h',
	reasoning         => { effort => 'low' },
	reasoning_effort  => 'medium',
	repetition_penalty => 1.1,
	safety_identifier => 's',
	seed              => 7,
	service_tier      => 'default',
	stop              => 'END',
	store             => JSON::PP::false,
	temperature       => 2,
	tool_choice       => 'auto',
	tools             => [$tool],
	top_k             => 40,
	top_p             => 0.9,
	user              => 'u',
	verbosity         => 'low');

# name, messages, options, what has to be true of the answer
my @questions = (
	[ 'plain', [ user('Hello') ], {}, sub { shift->{content} eq 'You said: Hello' } ],
	[
		'system and developer',
		[ { role => 'system', content => 'Be kind.' }, { role => 'developer', content => 'Be brief.' }, user('Hello') ],
		{}, sub { shift->{content} eq 'You said: Hello' }
	],
	[
		'names',
		[ { role => 'system', name => 'boss', content => 'Be kind.' }, { role => 'user', name => 'ann', content => 'Hello' } ],
		{}, sub { shift->{content} eq 'You said: Hello' }
	],
	[
		'several turns',
		[
			user('Hello'),
			{ role => 'assistant', content => 'Hi', refusal => undef, annotations => [], reasoning_content => 'A greeting.' },
			user([ { type => 'text', text => 'And now' } ])
		],
		{}, sub { shift->{content} eq 'You said: And now' }
	],
	[
		'image',
		[ user([ { type => 'text', text => 'Look' }, { type => 'image_url', image_url => { url => $pixel, detail => 'low' } } ]) ],
		{}, sub { shift->{content} eq "You said: Look\n" }
	],
	[
		'tool call',
		[ user('Please call weather') ],
		{ tools => [$tool], tool_choice => 'required', parallel_tool_calls => JSON::PP::false },
		sub { shift->{tool_calls}[0]{function}{arguments} eq '{"place": "text"}' }
	],
	[
		'a refusal before',
		[ user('Hello'), { role => 'assistant', content => undef, refusal => 'No.' }, user('Please') ],
		{}, sub { shift->{content} eq 'You said: Please' }
	],
	[ 'tool result', \@tool_turns, { tools => [$tool] }, sub { shift->{content} eq 'The tool said: Rain' } ],
	[
		'JSON schema',
		[ user('A city as JSON') ],
		{ response_format => { type => 'json_schema', json_schema => { name => 'city', schema => $schema, strict => JSON::PP::true } } },
		sub { shift->{content} eq '{"city": "text"}' }
	],
	[ 'JSON mode', [ user('As JSON') ], { response_format => { type => 'json_object' } }, sub { shift->{content} eq '{"echo": "As JSON"}' } ],
	[ 'stop', [ user('one END two') ], { stop => 'END' }, sub { shift->{content} =~ /^You said: one / } ],
	[ 'output limit', [ user('Hello') ], { max_tokens => 16 }, sub { shift->{content} eq 'You said: Hello' } ],
	[ 'everything', [ user('Hello') ], \%everything, sub { shift->{content} eq 'You said: Hello' } ],
	[
		'no reasoning',
		[ user('Hello') ],
		{ reasoning_effort => 'none', temperature => 0.5, top_p => 0.9, logprobs => JSON::PP::true, top_logprobs => 3 },
		sub { shift->{content} eq 'You said: Hello' }
	]);

# The shipped providers, led to the simulated one; their keys; a local server.
open(my $file, '>', $master_key) or die $!;
print $file "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n";
close($file);
chmod 0600, $master_key;
sql("ALTER SYSTEM SET llm_router.master_key_file = '$master_key'; SELECT pg_reload_conf()");
LlmRouterTest::wait_for_sql($node, "SELECT current_setting('llm_router.master_key_file') = '$master_key'");
sql("SELECT llm_provider_add('local', 'http://127.0.0.1:1/v1', auth_type => 'none');
	 SELECT llm_model_add('local', 'SmolLM2-135M-Instruct', 'eco', 0, 0);
	 UPDATE llm_models SET supports_functions = true, supports_vision = true, supports_json_schema = true, retires_on = NULL");
foreach my $name (sort keys %dialects)
{
	my $url = $provider->url($dialects{$name}[0]);
	# Keys are checked in 370_provider_keys.pl.
	sql("UPDATE llm_providers SET check_path = NULL, base_url = '$url' WHERE name = '$name'");
	sql("SELECT llm_provider_set_key('$name', 'sk-test-$name', validate => false)") if $name ne 'local';
}

my @table;
foreach my $name (sort keys %dialects)
{
	my ($path, @models) = @{ $dialects{$name} };
	foreach my $model (@models)
	{
		subtest "$name/$model" => sub {
			foreach my $question (@questions)
			{
				my ($what, $messages, $options, $fits) = @$question;
				$provider->reset;
				my $answer = eval {
					$json->decode(sql('SELECT llm_chat(' . quoted($messages) . ', model => ' . quoted("$name/$model")
						  . ', options => ' . quoted($options) . ')'));
				} || { error => $@ };
				my @requests = $provider->requests;
				my $message = $answer->{choices}[0]{message} // {};
				ok($message->{role} && $fits->($message), "$what: answered") or diag($json->encode($answer));
				is(scalar @requests, 1, "$what: with one request");
				is_deeply([ map { $_->{refused} // () } @requests ], [], "$what: which was not refused");
				# OpenRouter takes reasoning back, which OpenAI's types do not have.
				is_deeply([ grep { !/^messages\[\d+\]\.reasoning/ || $name ne 'openrouter' } map { @{ $_->{ignored} } } @requests ],
					[], "$what: and no member was ignored");
				push @table, [ "$name/$model", $what, join(' ', sort grep { !/^(model|messages)$/ } keys %{ $requests[0]{body} // {} }) ];
			}
		};
	}
}

subtest 'a call of one provider is answered at another under the same id' => sub {
	$provider->reset;
	sql('SELECT llm_chat(' . quoted(\@tool_turns) . ", model => 'mistral/mistral-large-2512', options => "
		  . quoted({ tools => [$tool] }) . ')');
	my ($request) = $provider->requests;
	my $messages = $request->{body}{messages};
	like($messages->[1]{tool_calls}[0]{id}, qr/^[A-Za-z0-9]{9}$/, 'nine letters or digits');
	is($messages->[2]{tool_call_id}, $messages->[1]{tool_calls}[0]{id}, 'the same in the result');
};

subtest 'parameters go under the names and in the forms that a provider knows' => sub {
	my %expected = (
		openai      => [ 'gpt-5-mini',             { max_completion_tokens => 64, seed => 7, n => 2 } ],
		together    => [ 'openai/gpt-oss-120b',    { max_tokens => 64, stop => ['END'], logprobs => 20, top_k => 40, n => 2 } ],
		openrouter  => [ 'anthropic/claude-opus-4.7', { max_tokens => 64, stop => 'END', user => 'u', top_k => 40 } ],
		groq        => [ 'openai/gpt-oss-20b',     { max_completion_tokens => 64, user => 'u', reasoning_effort => 'medium' } ],
		mistral     => [ 'mistral-large-2512',     { random_seed => 7, max_tokens => 64, temperature => 1.5, reasoning_effort => 'high' } ],
		huggingface => [ 'openai/gpt-oss-20b:groq', { max_tokens => 64, stop => ['END'], top_logprobs => 5 } ],
		local       => [ 'SmolLM2-135M-Instruct',  { max_tokens => 64, temperature => 2, top_k => 40 } ]);
	foreach my $name (sort keys %expected)
	{
		my ($model, $members) = @{ $expected{$name} };
		$provider->reset;
		sql('SELECT llm_chat(' . quoted([ user('Hello') ]) . ', model => ' . quoted("$name/$model") . ', options => '
			  . quoted(\%everything) . ')');
		my ($request) = $provider->requests;
		is_deeply({ map { $_ => $request->{body}{$_} } keys %$members }, $members, $name);
	}
};

subtest 'errors of each dialect are understood' => sub {
	foreach my $name (sort keys %dialects)
	{
		my $model = $dialects{$name}[1];
		$provider->reset;
		$provider->script({ error => { status => 401, message => 'No.', code => 'invalid_api_key' } });
		my ($state) = LlmRouterTest::sql_error($node, "SELECT llm_ask('Hi', model => '$name/$model')");
		is($state, 'LR005', "$name: 401");
		$provider->script({ error => { status => 400, message => 'No.', code => 'invalid_value' } });
		($state) = LlmRouterTest::sql_error($node, "SELECT llm_ask('Hi', model => '$name/$model')");
		is($state, 'LR006', "$name: 400");
	}
};

note(sprintf('%-40s %-22s %s', @$_)) foreach [ 'model', 'question', 'members sent' ], @table;
$node->stop;
done_testing();

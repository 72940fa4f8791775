# The INSERTs of doc/providers.md, taken from there and run, lead to servers that
# answer: only the addresses are the simulated provider's.
use strict;
use warnings;

use JSON::PP;
use LlmRouterTest;
use PostgreSQL::Test::Utils;
use ProvidersTest;
use Test::More;

my $provider = LlmRouterTest::start_provider();
my $node = LlmRouterTest::start_node('compatible');
ProvidersTest::lead($node, $provider, 'openrouter');

sub sql { return LlmRouterTest::sql($node, shift) }

# Where the simulated provider speaks as these do.
my %servers = (
	ollama   => [ '/local/v1', 'llama3.2' ],
	vllm     => [ '/local/v1', 'meta-llama/Llama-3.1-8B-Instruct' ],
	llamacpp => [ '/local/v1', 'any' ],
	azure    => [ '/azure/openai/v1', 'gpt-5-mini' ],
	deepseek => [ '/deepseek', 'deepseek-chat' ],
	xai      => [ '/xai/v1', 'grok-4' ]);

my $documentation = slurp_file(LlmRouterTest::project() . '/doc/providers.md');
my %documented;
foreach my $statement ($documentation =~ /^(INSERT INTO llm_providers .*?;)$/msg)
{
	my ($name) = $statement =~ /VALUES \('(\w+)'/;
	$documented{$name} = $statement;
}
is_deeply([ sort keys %documented ], [ sort keys %servers ], 'each server has its INSERT');

# Everything that OpenAI's format can ask for; a server gets what its rules leave.
my $options = encode_json({
	temperature => 0.5, top_p => 0.9, seed => 7, max_tokens => 64, stop => 'END', presence_penalty => 0.5,
	frequency_penalty => 0.5, n => 1, user => 'u' });

foreach my $name (sort keys %servers)
{
	subtest $name => sub {
		my ($path, $model) = @{ $servers{$name} };
		my $url = $provider->url($path);
		(my $statement = $documented{$name}) =~ s{'https?://[^']+'}{'$url'} or die "no base_url in the INSERT of $name";
		sql($statement);
		sql("SELECT llm_model_add('$name', '$model', 'balanced', 1, 2)");
		$provider->reset;
		if (sql("SELECT auth_type <> 'none' FROM llm_providers WHERE name = '$name'") eq 't')
		{
			sql("SELECT llm_provider_set_key('$name', 'sk-test-$name')");
			is(($provider->requests)[0]{status}, 200, 'its check accepts a key');
			my ($state) = LlmRouterTest::sql_error($node, "SELECT llm_provider_set_key('$name', 'wrong')");
			is($state, 'LR005', 'and refuses a wrong one');
		}
		foreach my $function ('llm_chat', 'llm_chat_stream')
		{
			$provider->reset;
			my $answer = sql("SELECT $function('[{\"role\": \"user\", \"content\": \"Hello\"}]', model => '$name/$model', options => '$options')");
			my ($request) = $provider->requests;
			is($request->{refused}, undef, "$function is not refused");
			is_deeply($request->{ignored}, [], 'nothing that is sent is ignored');
			like($answer, qr/"prompt_tokens": 8/, 'and usage is told');
			next if $name ne 'azure';
			my %headers = map { lc $_->[0] => $_->[1] } @{ $request->{headers} };
			is($headers{'api-key'}, 'sk-test-azure', 'the key is in the header that Azure wants');
			is($headers{authorization}, undef, 'and in no other');
			is_deeply($request->{query}, { 'api-version' => ['preview'] }, 'the URL has the API version');
		}
	};
}

subtest 'OpenRouter is told who calls' => sub {
	my ($update) = $documentation =~ /^(UPDATE llm_providers.*?;)$/ms;
	$provider->reset;
	sql(q(SELECT llm_ask('Hello', model => 'openrouter/deepseek/deepseek-v3.2')));
	my %headers = map { @$_ } @{ ($provider->requests)[-1]{headers} };
	is($headers{'X-OpenRouter-Title'}, 'llm_router', 'by the name of the extension');
	sql($update);
	sql(q(SELECT llm_ask('Hello', model => 'openrouter/deepseek/deepseek-v3.2')));
	%headers = map { @$_ } @{ ($provider->requests)[-1]{headers} };
	is("$headers{'HTTP-Referer'} $headers{'X-OpenRouter-Title'}", 'https://example.com Example', 'or as the documented UPDATE says');
	is(sql('SELECT cost_source FROM llm_usage_logs ORDER BY created_at DESC LIMIT 1'), 'provider', 'and tells what it charged');
};

done_testing();

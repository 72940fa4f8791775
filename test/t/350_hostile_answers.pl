# A provider's answer is hostile input: a clear error, and a session that goes on.
use strict;
use warnings;

use LlmRouterTest;
use Test::More;

my $provider = LlmRouterTest::start_provider();
my $node = LlmRouterTest::start_node('hostile', conf => "llm_router.max_response_size = '1MB'");
LlmRouterTest::add_sim($node, $provider);

sub sql { return LlmRouterTest::sql($node, shift) }

sub error_of
{
	my (@script) = @_;
	$provider->reset;
	$provider->script(map { { times => undef, %$_ } } @script);
	return LlmRouterTest::sql_error($node,
		q(SELECT llm_ask('Hi', options => '{"router": {"max_attempts": 1, "timeout_ms": 20000}}')));
}

my %faults = (
	'garbage that is not HTTP'           => { not_http => JSON::PP::true },
	'garbage that is not JSON'           => { payload  => 'garbage_json' },
	'an empty body'                      => { payload  => 'empty' },
	'an HTML page'                       => { payload  => 'html' },
	'a document nested 100,000 deep'     => { nesting  => 100_000 },
	'an answer larger than the limit'    => { huge_mb  => 8 },
	'an answer without end'              => { endless  => JSON::PP::true },
	'headers without end'                => { huge_headers_kb => 1024 },
	'a cut body'                         => { close    => 'mid_body' },
	'a Content-Length that is too large' => { content_length => 100_000, close => 'after_answer' },
	'a body cut in a chunk'              => { close    => 'mid_body', chunked => JSON::PP::true },
	'choices that are a string'          => { replace  => { choices => 'none' } },
	'choices that are empty'             => { replace  => { choices => [] } },
	'a choice without a message'         => { replace  => { choices => [ { index => 0 } ] } },
	'a redirect'                         => { redirect => 'http://127.0.0.1:1/' },
	'a reset'                            => { reset    => 'mid_body' });

foreach my $name (sort keys %faults)
{
	my ($state, $message) = error_of($faults{$name});
	like($state, qr/^LR00[26]$/, "$name: $state $message");
}

# What can be delivered is delivered: it was paid for.
foreach my $payload (qw(invalid_utf8 nul lone_surrogate))
{
	$provider->reset;
	$provider->script({ payload => $payload });
	is(sql("SELECT length(llm_ask('Hi')) > 0"), 't', "an answer with $payload is delivered with replacements");
}

foreach my $usage ({ prompt_tokens => -5 }, { prompt_tokens => 1.5 }, { prompt_tokens => 1e30 }, { completion_tokens => 'many' })
{
	$provider->reset;
	$provider->script({ usage => $usage });
	my ($name) = map { "$_ = $usage->{$_}" } keys %$usage;
	is(sql("SELECT llm_ask('Hi'); SELECT total_cost IS NULL FROM llm_usage_logs ORDER BY created_at DESC LIMIT 1"),
		"You said: Hi\nt", "an answer whose usage says $name is delivered, its cost unknown");
}

subtest 'a session that met all of it is whole, and no larger' => sub {
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	my $memory = "SELECT sum(total_bytes) FROM pg_backend_memory_contexts";
	my $call = q(SELECT llm_ask('Hi', options => '{"router": {"max_attempts": 1, "on_error": "return"}}'));
	my $used;
	for my $round (1 .. 3)
	{
		foreach my $name (sort keys %faults)
		{
			$provider->reset;
			$provider->script($faults{$name});
			$session->query($call);
		}
		my $now = $session->query($memory);
		cmp_ok($now, '<=', $used + 64 * 1024, "$now bytes after round $round") if $round == 3;
		$used = $now if $round == 2;
	}
	$provider->reset;
	is($session->query("SELECT llm_ask('Still here')"), 'You said: Still here', 'it answers');
	$session->{run}->kill_kill;
};

$node->stop;
done_testing();

# Replicate answers by predictions: made, polled until they are done, streamed from
# another host, and cancelled when nobody waits for them any more.
use strict;
use warnings;

use JSON::PP;
use LlmRouterTest;
use ProvidersTest;
use Test::More;
use Time::HiRes qw(time);

# Far above what an interrupt takes.
my $SOON = 5;

my $provider = LlmRouterTest::start_provider();
my $node = LlmRouterTest::start_node('replicate');
ProvidersTest::lead($node, $provider, 'replicate');
my $MODEL = 'replicate/meta/meta-llama-3-8b-instruct';

sub sql { return LlmRouterTest::sql($node, shift) }

sub call
{
	my ($function, $tag, %router) = @_;
	my $options = encode_json({ router => { tags => { test => $tag }, max_attempts => 1, %router } });
	my $prompt = $function eq 'llm_ask' ? 'Hello there' : '[{"role": "user", "content": "Hello there"}]';
	return "SELECT $function('$prompt', model => '$MODEL', options => '$options')";
}

sub ledger
{
	my ($tag, $columns) = @_;
	my $where = "FROM llm_usage_logs WHERE tags->>'test' = '$tag' AND is_final";
	LlmRouterTest::wait_for_sql($node, "SELECT count(*) = 1 $where");
	return sql("SELECT concat_ws('|', $columns) $where");
}

# The requests of a call, as "METHOD path", ids left out.
sub traffic
{
	return map { "$_->{method} " . $_->{path} =~ s{/(?:replicate/v1|replicate-stream)}{}r =~ s{(predictions)/[^/]+}{$1/ID}r =~ s{^/[a-z0-9]{10,}$}{/ID}r }
	  $provider->requests;
}

sub cancelled
{
	return scalar grep { m{/cancel$} } traffic();
}

subtest 'a prediction that is done at once is one request' => sub {
	$provider->reset;
	is(sql(call('llm_ask', 'at once')), 'You said: Hello there', 'its output is the answer');
	is_deeply([traffic()], ['POST /models/meta/meta-llama-3-8b-instruct/predictions'], 'one request');
	my %headers = map { @$_ } @{ ($provider->requests)[0]{headers} };
	like($headers{Prefer}, qr/^wait/, 'which asks to wait for it');
	is(ledger('at once', 'status, cost_source'), 'ok|prices', 'its tokens are priced');
	is(cancelled(), 0, 'and nothing is cancelled');
};

subtest 'one that is not is polled' => sub {
	$provider->reset;
	$provider->script({ pending_polls => 2 });
	is(sql(call('llm_ask', 'polled')), 'You said: Hello there', 'until it is done');
	is_deeply([ (traffic())[ 1 .. 3 ] ], [ ('GET /predictions/ID') x 3 ], 'at its own URL');
	is(ledger('polled', 'status, attempts'), 'ok|1', 'as one attempt');
	is(cancelled(), 0, 'and not cancelled');
};

subtest 'a poll that fails is made again, the prediction is not' => sub {
	$provider->reset;
	$provider->script({ pending_polls => 1 }, { for_path => '/replicate/v1/predictions/', status => 503 });
	is(sql(call('llm_ask', 'failed poll')), 'You said: Hello there', 'the answer comes');
	is(scalar(grep { /^POST/ } traffic()), 1, 'with one prediction');
};

subtest 'a poll that tells of a failure is the last one' => sub {
	$provider->reset;
	$provider->script({ pending_polls => 1, prediction_fails => 'CUDA out of memory' });
	my ($state) = LlmRouterTest::sql_error($node, call('llm_ask', 'fails later'));
	is($state, 'LR002', 'the call fails');
	is_deeply([traffic()], [ 'POST /models/meta/meta-llama-3-8b-instruct/predictions', ('GET /predictions/ID') x 2 ],
		'after what it took to learn that, and there is nothing to cancel');
};

subtest 'a prediction whose answer is lost is not made again' => sub {
	$provider->reset;
	$provider->script({ reset => 'after_request' });
	my ($state) = LlmRouterTest::sql_error($node, call('llm_ask', 'lost', max_attempts => 3));
	is($state, 'LR002', 'the call fails');
	is_deeply([traffic()], ['POST /models/meta/meta-llama-3-8b-instruct/predictions'], 'after one request: it may have been paid for');
	is(ledger('lost', "COALESCE(total_cost::text, 'unknown')"), 'unknown', 'so that its cost is unknown');
};

subtest 'the deadline cancels the prediction' => sub {
	$provider->reset;
	$provider->script({ pending_polls => 1000 });
	my ($state) = LlmRouterTest::sql_error($node, call('llm_ask', 'deadline', timeout_ms => 900));
	is($state, 'LR007', 'LR007');
	LlmRouterTest::wait_until('the cancel request', sub { cancelled() });
	is(ledger('deadline', "status, error_code, COALESCE(total_cost::text, 'unknown')"), 'error|timeout|unknown', 'what it cost is not known');
};

foreach my $way ('pg_cancel_backend', 'pg_terminate_backend')
{
	subtest "$way cancels the prediction" => sub {
		$provider->reset;
		$provider->script({ pending_polls => 1000 });
		my $session = $node->background_psql('postgres', on_error_stop => 0);
		my $pid = $session->query('SELECT pg_backend_pid()');
		$session->query_until(qr/begun/, "\\echo begun\n" . call('llm_ask', $way) . ";\n");
		$provider->wait_for_requests(2);
		my $begun = time();
		sql("SELECT $way($pid)");
		LlmRouterTest::wait_until('the cancel request', sub { cancelled() });
		my $took = time() - $begun;
		cmp_ok($took, '<', $SOON, sprintf('after %.0f ms', 1000 * $took));
		is(ledger($way, 'status'), 'cancelled', 'its record');
		my ($request) = grep { $_->{path} =~ m{/cancel$} } $provider->requests;
		my %headers = map { @$_ } @{ $request->{headers} };
		is($headers{Authorization}, 'Bearer sk-test-replicate', 'the key authorizes it');
		$session->{run}->kill_kill;
	};
}

subtest 'a provider that does not answer the cancel request holds nobody up' => sub {
	$provider->reset;
	$provider->script({ pending_polls => 1000 }, { for_path => '/replicate/v1/predictions/', times => 1 },
		{ hang => 'before_headers', for_path => '/replicate/v1/predictions/', times => undef });
	my $begun = time();
	my ($state) = LlmRouterTest::sql_error($node, "SET statement_timeout = '1500ms';" . call('llm_ask', 'deaf'));
	my $took = time() - $begun;
	is($state, '57014', 'the statement ends');
	cmp_ok($took, '<', 1.5 + 1, sprintf('after %.0f ms, of which 1500 are its timeout', 1000 * $took));
};

subtest 'a prediction that fails is a failure, whatever the status says' => sub {
	my %failures = (
		'CUDA out of memory'                              => [ 'LR002', 'unavailable' ],
		'The input was flagged as sensitive (E005)'       => [ 'LR006', 'filtered' ],
		'Prediction interrupted; please retry (code: PA)' => [ 'LR002', 'unavailable' ]);
	foreach my $text (sort keys %failures)
	{
		$provider->reset;
		$provider->script({ prediction_fails => $text, times => undef });
		my ($state, $message) = LlmRouterTest::sql_error($node, call('llm_ask', $text));
		is("$state $message" =~ s/ \(request.*//r, "$failures{$text}[0] $MODEL: $failures{$text}[1]: $text", $text);
	}
};

subtest 'a stream comes from another host, which gets no key' => sub {
	$provider->reset;
	my @rows = map { decode_json($_) } split /\n/, sql(call('llm_chat_stream', 'stream'));
	is(join('', map { $_->{choices}[0]{delta}{content} // '' } @rows), 'You said: Hello there', 'the pieces make the answer');
	cmp_ok(scalar(@rows), '>', 3, 'which came in several');
	cmp_ok($rows[-1]{usage}{total_tokens}, '>', 0, 'the last has usage');
	is(scalar($provider->requests), 3, 'create, stream, and metrics');
	my ($stream) = grep { $_->{path} =~ /^\/replicate-stream/ } $provider->requests;
	my %headers = map { lc $_->[0] => $_->[1] } @{ $stream->{headers} };
	is($headers{authorization}, undef, 'the stream is read without the key');
	is(ledger('stream', 'status, cost_source'), 'ok|prices', 'its tokens are priced');
};

subtest 'a stream that nobody reads to its end is cancelled' => sub {
	$provider->reset;
	# A stream that has come whole by then is not cancelled.
	$provider->script({ hold_after_events => 2, for_path => '/replicate-stream/' });
	like(sql(call('llm_chat_stream', 'limit') . ' LIMIT 1'), qr/chunk/, 'after its first row');
	is(ledger('limit', 'status, error_code, cost_source'), 'partial|cancelled|estimate', 'what was delivered is paid for');
	LlmRouterTest::wait_until('the cancel request', sub { cancelled() });
};

subtest 'where a stream cannot be read, its prediction is polled' => sub {
	$provider->reset;
	$provider->script({ urls => { stream => undef }, pending_polls => 1 });
	my @rows = map { decode_json($_) } split /\n/, sql(call('llm_chat_stream', 'no stream'));
	is(join('', map { $_->{choices}[0]{delta}{content} // '' } @rows), 'You said: Hello there', 'the answer comes in one piece');
};

subtest 'URLs in an answer lead nowhere else' => sub {
	my %hostile = (
		'get elsewhere'    => [ { urls => { get => 'https://example.com/steal' }, pending_polls => 1 }, 'llm_chat' ],
		'get at a port'    => [ { urls => { get => 'http://127.0.0.1:1/replicate/v1/predictions/x' }, pending_polls => 1 }, 'llm_chat' ],
		'get as a file'    => [ { urls => { get => 'file:///etc/passwd' }, pending_polls => 1 }, 'llm_chat' ]);
	foreach my $name (sort keys %hostile)
	{
		my ($behaviour, $function) = @{ $hostile{$name} };
		$provider->reset;
		$provider->script($behaviour);
		my ($state, $message) = LlmRouterTest::sql_error($node, call($function, $name));
		like("$state $message", qr/^LR002 .*protocol_error/, "$name: protocol_error");
		is(scalar($provider->requests), 1, "$name: nothing more is sent");
	}
	foreach my $url ('https://169.254.169.254/latest', 'https://stream.example.com/x', 'http://127.0.0.2:1/x')
	{
		$provider->reset;
		$provider->script({ urls => { stream => $url } });
		my @rows = map { decode_json($_) } split /\n/, sql(call('llm_chat_stream', "stream at $url"));
		is(join('', map { $_->{choices}[0]{delta}{content} // '' } @rows), 'You said: Hello there', "stream at $url: polled instead");
	}
};

done_testing();

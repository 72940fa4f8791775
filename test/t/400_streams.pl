# A stream reaches the client as it is made, and costs what was delivered.
#
# The provider holds its answers after some events until it is told to go on: what
# a client has seen until then, it has seen before the provider had finished.
use strict;
use warnings;

use JSON::PP;
use LlmRouterTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

# Far above what an interrupt takes, far below what a held stream would.
my $SOON = 5;

my $provider = LlmRouterTest::start_provider();
my $node = LlmRouterTest::start_node('streams');
LlmRouterTest::add_sim($node, $provider);

# A second provider, the fallback of every rule.
my $url = $provider->url('/local/v1');
LlmRouterTest::sql($node, <<"SQL");
SELECT llm_provider_add('other', '$url', auth_type => 'none');
SELECT llm_model_add('other', 'other-eco', 'eco', 1, 2);
UPDATE llm_routing_rules SET fallback_model_id = llm_model_id('other', 'other-eco') WHERE power_level = 'eco';
SQL

my $HELLO = q([{"role": "user", "content": "Hello there, world"}]);
my $HELD = 3;					# events: the role and two words

sub sql { return LlmRouterTest::sql($node, shift) }

sub stream
{
	my ($tag, %router) = @_;
	my $options = encode_json({ router => { tags => { test => $tag }, %router } });
	return qq{llm_chat_stream('$HELLO', 'eco', options => '$options')};
}

# The rows of one statement, decoded; dies on an error.
sub rows
{
	return map { decode_json($_) } split /\n/, sql('SELECT ' . shift);
}

# Their contents joined.
sub text_of
{
	return join '', map { $_->{choices}[0]{delta}{content} // '' } @_;
}

# The final row of a call, once it is there; columns joined by |.
sub ledger
{
	my ($tag, $columns) = @_;
	my $where = "FROM llm_usage_logs WHERE tags->>'test' = '$tag' AND is_final";
	LlmRouterTest::wait_for_sql($node, "SELECT count(*) = 1 $where");
	return sql("SELECT concat_ws('|', $columns) $where");
}

# A session in which a stream has been begun, and held.
sub held_stream
{
	my ($tag, $statement, $prelude) = @_;
	$provider->reset;
	$provider->script({ hold_after_events => $HELD });
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	my $pid = $session->query('SELECT pg_backend_pid()');
	$session->query($prelude) if $prelude;
	$session->query_until(qr/begun/, "\\echo begun\n" . $statement . ";\n");
	LlmRouterTest::wait_until('the stream is held',
		sub { my ($request) = $provider->requests; $request && ($request->{events} // 0) >= $HELD });
	return ($session, $pid);
}

subtest 'a stream is chunks, and a last one with usage and cost' => sub {
	my @rows = rows(stream('plain'));
	my $last = pop @rows;
	is(text_of(@rows), 'You said: Hello there, world', 'the pieces make the answer');
	cmp_ok(scalar(@rows), '>', 3, 'which came in several');
	is(scalar(grep { $_->{object} ne 'chat.completion.chunk' } @rows, $last), 0, 'each is a chunk');
	is($rows[-1]{choices}[0]{finish_reason}, 'stop', 'the last piece says why it ended');
	is_deeply($last->{choices}, [], 'the last chunk has no choices');
	is($last->{usage}{completion_tokens}, 7, 'but usage');
	is($last->{llm_router}{provider}, 'sim', 'and who answered');
	is($last->{llm_router}{cost_usd}, '2.5e-05', 'and its cost');
	is(ledger('plain', 'status, cost_source, input_tokens, output_tokens, total_cost, finish_reason, http_status'),
		'ok|prices|11|7|0.000025000000000|stop|200', 'as the ledger has it');
	is(sql('SELECT ' . stream('last') . '; SELECT output_tokens FROM llm_last_call()') =~ /\n7$/, 1, 'llm_last_call knows it');
};

subtest 'a whole request object may ask for a stream' => sub {
	is(text_of(rows(qq{llm_chat_stream('{"stream": true, "stream_options": {"include_usage": true}, "messages": $HELLO}', 'eco')})),
		'You said: Hello there, world', 'in llm_chat_stream');
	my ($state, $message) = LlmRouterTest::sql_error($node, qq{SELECT llm_chat('{"stream": true, "messages": $HELLO}', 'eco')});
	is("$state $message", '22023 stream: cannot be true here', 'not in llm_chat');
	is(sql("SELECT llm_chat_stream(NULL)"), '', 'and NULL messages give no row');
};

subtest 'psql with FETCH_COUNT shows the first chunk before the provider has finished' => sub {
	my ($session) = held_stream('psql', '\\set FETCH_COUNT 1' . "\nSELECT " . stream('psql'));
	like($session->query_until(qr/ said:/, ''), qr/You/, 'the words that were sent are shown');
	is($provider->stats->{open_requests}, 1, 'while the provider is at work');
	$provider->control('POST', 'release', {});
	like($session->query_until(qr/llm_router/, ''), qr/ world/, 'the others follow');
	$session->quit;
};

subtest 'FETCH of a cursor gives a chunk before the provider has finished' => sub {
	my ($session) = held_stream('cursor', 'FETCH 1 FROM c', 'BEGIN; DECLARE c NO SCROLL CURSOR FOR SELECT ' . stream('cursor'));
	like($session->query('FETCH 1 FROM c'), qr/"You"/, 'the first word');
	is($provider->stats->{open_requests}, 1, 'while the provider is at work');
	$provider->control('POST', 'release', {});
	like($session->query('FETCH ALL FROM c'), qr/llm_router/, 'the rest');
	$session->query('COMMIT');
	$session->quit;
	is(ledger('cursor', 'status'), 'ok', 'one whole answer');
};

foreach my $way ('libpq', 'psycopg')
{
	subtest "a client that reads rows as they come ($way) gets the first before the provider has finished" => sub {
		$provider->reset;
		$provider->script({ hold_after_events => $HELD });
		my ($in, $out, $err) = ('', '', '');
		my $client = IPC::Run::start(
			[ LlmRouterTest::python(), LlmRouterTest::project() . '/test/client/rows.py', $way,
				$node->connstr('postgres') . ' user=' . sql('SELECT current_user'), 'SELECT ' . stream($way) ],
			'<', \$in, '>', \$out, '2>', \$err, IPC::Run::timeout($LlmRouterTest::TIMEOUT));
		$client->pump until $out =~ / said:/ || !$client->pumpable;
		like($out, qr/"You"/, 'the words that were sent') or diag $err;
		is($provider->stats->{open_requests}, 1, 'while the provider is at work');
		$provider->control('POST', 'release', {});
		$client->finish;
		like($out, qr/llm_router/, 'the others follow');
	};
}

subtest 'in FROM the executor collects the rows first' => sub {
	my ($session) = held_stream('from', "\\set FETCH_COUNT 1\nSELECT * FROM " . stream('from'));
	is($session->{stdout}, '', 'nothing is shown while the provider is at work');
	$provider->control('POST', 'release', {});
	like($session->query_until(qr/llm_router/, ''), qr/"You"/, 'all comes at the end');
	$session->quit;
	my ($target) = held_stream('below', "\\set FETCH_COUNT 1\nSELECT s->'choices' FROM (SELECT " . stream('below') . ' AS s) AS t');
	like($target->query_until(qr/ said:/, ''), qr/You/, 'a subquery with the function in its target list streams');
	$provider->control('POST', 'release', {});
	$target->quit;
};

subtest 'how the bytes are cut does not matter' => sub {
	foreach my $way ({ cut_bytes => 1 }, { cut_bytes => 7 }, { crlf => JSON::PP::true }, { comments => JSON::PP::true },
		{ no_final_blank_line => JSON::PP::true }, { cut_bytes => 3, crlf => JSON::PP::true, comments => JSON::PP::true })
	{
		$provider->reset;
		$provider->script($way);
		my @rows = rows(stream('bytes'));
		is(text_of(@rows), 'You said: Hello there, world', join ', ', map { "$_ $way->{$_}" } sort keys %$way);
	}
};

subtest 'a provider that answers whole is read as well' => sub {
	$provider->reset;
	$provider->script({ body => {
		id => 'x', object => 'chat.completion', created => 1, model => 'm',
		choices => [ { index => 0, finish_reason => 'stop', message => { role => 'assistant', content => 'Whole.' } } ],
		usage => { prompt_tokens => 5, completion_tokens => 1, total_tokens => 6 } } });
	my @rows = rows(stream('whole'));
	is(text_of(@rows), 'Whole.', 'its text');
	is($rows[-1]{usage}{total_tokens}, 6, 'its usage');
	is(ledger('whole', 'status, output_tokens'), 'ok|1', 'its record');
};

subtest 'usage that the provider does not tell is estimated' => sub {
	$provider->reset;
	$provider->script({ no_usage => JSON::PP::true });
	rows(stream('untold'));
	like(ledger('untold', 'status, cost_source, total_cost > 0, output_tokens BETWEEN 7 AND 20'), qr/^ok\|estimate\|t\|t$/, 'from the text');
};

# ---- Failures

subtest 'until the first chunk another candidate can take over' => sub {
	my %failures = (
		'a status'          => { status => 503 },
		'an error event'    => { stream_error => { status => 500, message => 'Broken.', type => 'server_error' }, stop_after_events => 1 },
		'a cut connection'  => { close => 'mid_body', stop_after_events => 1 },
		'a reset'           => { reset => 'mid_body', stop_after_events => 1 },
		'no events at all'  => { raw_body => '', headers => { 'Content-Type' => 'text/event-stream' } });
	foreach my $name (sort keys %failures)
	{
		$provider->reset;
		$provider->script({ %{ $failures{$name} }, for_model => 'sim-eco', times => undef });
		my @rows = rows(stream("before: $name"));
		is(text_of(@rows), 'You said: Hello there, world', "$name: the answer is whole");
		is($rows[-1]{llm_router}{provider}, 'other', 'and another provider gave it');
		is(scalar(grep { $_->{model} ne 'other-eco' } @rows), 0, 'all of it');
	}
};

subtest 'after the first chunk no other candidate is asked' => sub {
	my %failures = (
		'an error event'   => [ { stream_error => { status => 500, message => 'Broken.', type => 'server_error' } }, 'LR002', 'unavailable' ],
		'a cut connection' => [ { close => 'mid_body' }, 'LR002', 'unavailable' ]);
	foreach my $name (sort keys %failures)
	{
		my ($behaviour, $state, $code) = @{ $failures{$name} };
		$provider->reset;
		$provider->script({ stop_after_events => $HELD, %$behaviour, event_delay_ms => 60, for_model => 'sim-eco' });
		my ($got, $out, $err) = $node->psql('postgres', "\\set FETCH_COUNT 1\n\\set VERBOSITY verbose\nSELECT " . stream("after: $name"));
		like($out, qr/"You"/, "$name: what came was delivered");
		like($err, qr/$state: sim\/sim-eco: $code/, 'then the error');
		like($err, qr/A part of the answer was delivered/, 'and says so');
		is(scalar($provider->requests), 1, 'one request');
		is(ledger("after: $name", 'status, error_code, cost_source, total_cost > 0'), "partial|$code|estimate|t",
			'what was delivered is in the ledger');
	}
};

subtest 'on_error = return gives the error as the last row' => sub {
	$provider->reset;
	$provider->script({ stop_after_events => $HELD, close => 'mid_body', event_delay_ms => 60, for_model => 'sim-eco' });
	my @rows = rows(stream('returned', on_error => 'return'));
	is($rows[-1]{error}{code}, 'LR002', 'after the chunks');
	is(text_of(@rows[ 0 .. $#rows - 1 ]), 'You said:', 'which stay');
	my @bad = rows(q(llm_chat_stream('[{"role": "user"}]', options => '{"router": {"on_error": "return"}}')));
	is($bad[0]{error}{code}, '22023', 'also of bad arguments');
};

# ---- Interrupts

my %endings = (
	'pg_cancel_backend' => sub { my ($session, $pid) = @_; sql("SELECT pg_cancel_backend($pid)") },
	'pg_terminate_backend' => sub { my ($session, $pid) = @_; sql("SELECT pg_terminate_backend($pid)") },
	'a client that goes away' => sub { my ($session) = @_; $session->{run}->kill_kill });
foreach my $name (sort keys %endings)
{
	subtest "$name ends a stream, which costs what was delivered" => sub {
		my ($session, $pid) = held_stream($name, "\\set FETCH_COUNT 1\nSELECT " . stream($name));
		$session->query_until(qr/ said:/, '');
		my $begun = time();
		$endings{$name}->($session, $pid);
		is(ledger($name, 'status, error_code, cost_source, total_cost > 0, is_final'), 'partial|cancelled|estimate|t|t', 'its record');
		my $took = time() - $begun;
		cmp_ok($took, '<', $SOON, sprintf('after %.0f ms', 1000 * $took));
		LlmRouterTest::wait_until('the provider sees the end', sub { $provider->stats->{open_requests} == 0 });
		$session->{run}->kill_kill;
	};
}

my %early = (
	'CLOSE'    => [ 'BEGIN; DECLARE c NO SCROLL CURSOR FOR SELECT %s', 'FETCH 1 FROM c', 'CLOSE c' ],
	'COMMIT'   => [ 'BEGIN; DECLARE c NO SCROLL CURSOR FOR SELECT %s', 'FETCH 1 FROM c', 'COMMIT' ],
	'ROLLBACK' => [ 'BEGIN; DECLARE c NO SCROLL CURSOR FOR SELECT %s', 'FETCH 1 FROM c', 'ROLLBACK' ],
	'ROLLBACK TO SAVEPOINT' => [ 'BEGIN; SAVEPOINT s; DECLARE c NO SCROLL CURSOR FOR SELECT %s', 'FETCH 1 FROM c', 'ROLLBACK TO s' ]);
foreach my $name (sort keys %early)
{
	subtest "$name of a cursor that was read in part ends the stream" => sub {
		my ($prelude, $fetch, $end) = @{ $early{$name} };
		my ($session) = held_stream($name, $fetch, sprintf($prelude, stream($name)));
		$session->query('FETCH 1 FROM c');
		$session->query($end);
		is(ledger($name, 'status, error_code, total_cost > 0'), 'partial|cancelled|t', 'at the price of what was delivered');
		LlmRouterTest::wait_until('the provider sees the end', sub { $provider->stats->{open_requests} == 0 });
		$session->quit;
	};
}

subtest 'LIMIT ends a stream' => sub {
	$provider->reset;
	$provider->script({ hold_after_events => $HELD });
	like(sql('SELECT ' . stream('limit') . ' LIMIT 2'), qr/"You"/, 'after the rows that were asked for');
	is(ledger('limit', 'status, error_code'), 'partial|cancelled', 'and the rest is not paid for');
};

subtest 'statement_timeout' => sub {
	$provider->reset;
	$provider->script({ hold_after_events => $HELD });
	my ($state) = LlmRouterTest::sql_error($node, "SET statement_timeout = '300ms'; SELECT " . stream('statement_timeout'));
	is($state, '57014', 'ends it with 57014');
	is(ledger('statement_timeout', 'status, error_code'), 'partial|cancelled', 'and its record stays');
};

# ---- Timeouts

subtest 'first_token_timeout counts until the first chunk, whatever comments come' => sub {
	$provider->reset;
	$provider->script({ hang => 'after_headers', for_model => 'sim-eco' });
	my $out = sql("SET llm_router.first_token_timeout = '300ms'; SELECT " . stream('first token'));
	like($out, qr/"provider": "other"/, 'then the next candidate is asked');
	is(ledger('first token', 'attempt'), 2, 'in the same call');
};

subtest 'stream_idle_timeout ends a stream that falls silent' => sub {
	$provider->reset;
	$provider->script({ hold_after_events => $HELD });
	my ($state, $message) = LlmRouterTest::sql_error($node,
		"SET llm_router.stream_idle_timeout = '300ms'; SELECT " . stream('idle'));
	is($state, 'LR007', 'with LR007');
	like($message, qr/the stream fell silent for 300 ms/, $message);
	is(ledger('idle', 'status, error_code, total_cost > 0, http_status'), 'partial|timeout|t|200', 'its record');
};

subtest 'the time that a reader takes is not the call\'s' => sub {
	$provider->reset;
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	$session->query("SET llm_router.stream_idle_timeout = '400ms'");
	$session->query('BEGIN; DECLARE c NO SCROLL CURSOR FOR SELECT ' . stream('slow reader', timeout_ms => 600));
	$session->query('FETCH 1 FROM c; SELECT pg_sleep(0.8)');
	is($session->query("SELECT llm_ask('Hi', 'eco', 'other/other-eco')"), 'You said: Hi', 'another call in between');
	like($session->query('FETCH ALL FROM c'), qr/llm_router/, 'a reader slower than every timeout gets the whole answer');
	$session->query('COMMIT');
	$session->quit;
	is(ledger('slow reader', 'status, response_time_ms < 600'), 'ok|t', 'and the call was quick');
};

subtest 'a flood of events that say nothing is cancelled as well, and bounded' => sub {
	$provider->reset;
	$provider->script({ endless => JSON::PP::true, replace => { choices => [] }, for_model => 'sim-eco', times => undef });
	my $begun = time();
	my ($state) = LlmRouterTest::sql_error($node, "SET statement_timeout = '300ms'; SET llm_router.max_response_size = '512MB'; SELECT "
		  . stream('flood'));
	my $took = time() - $begun;
	is($state, '57014', 'with 57014');
	cmp_ok($took, '<', $SOON, sprintf('after %.0f ms', 1000 * $took));
	is(ledger('flood', 'status'), 'cancelled', 'nothing of it was delivered');
	my @rows = rows(stream('flood ends'));
	is($rows[-1]{llm_router}{provider}, 'other', 'after max_response_size the next candidate is asked');
};

# ---- Several at once

subtest 'two streams and a whole answer in one session' => sub {
	$provider->reset;
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	$session->query("BEGIN; DECLARE a NO SCROLL CURSOR FOR SELECT " . stream('a') . '; DECLARE b NO SCROLL CURSOR FOR SELECT ' . stream('b'));
	like($session->query('FETCH 2 FROM a'), qr/"You"/, 'one begins');
	like($session->query('FETCH 2 FROM b'), qr/"You"/, 'the other begins');
	is($session->query("SELECT llm_ask('Hi', 'eco')"), 'You said: Hi', 'a whole answer between them');
	like($session->query('FETCH ALL FROM a'), qr/ world/, 'one ends');
	like($session->query('FETCH ALL FROM b'), qr/ world/, 'the other ends');
	$session->query('COMMIT');
	$session->quit;
	is(ledger('a', 'status') . ledger('b', 'status'), 'okok', 'both are whole');
};

subtest 'a reader that is slower than the provider holds it up' => sub {
	$provider->reset;
	$provider->script({ content => join(' ', ('word') x 20000), for_model => 'sim-eco' });
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	$session->query('BEGIN; DECLARE c NO SCROLL CURSOR FOR SELECT ' . stream('large'));
	$session->query('FETCH 1 FROM c');
	# Each drives the stream as well, until what nobody takes is held up.
	foreach (1 .. 3)
	{
		$provider->script({ delay_ms => 200, for_model => 'other-eco' });
		is($session->query("SELECT llm_ask('Hi', 'eco', 'other/other-eco')"), 'You said: Hi', 'other calls go on beside it');
	}
	$session->query('MOVE FORWARD ALL FROM c; COMMIT');
	$session->quit;
	is(ledger('large', 'status, output_tokens'), 'ok|25000', 'nothing of it is lost');
};

# ---- Hostile streams

subtest 'hostile events end the attempt, not the server' => sub {
	my %hostile = (
		'no JSON'         => "data: {\"id\": \n\n",
		'no object'       => "data: [1, 2]\n\n",
		'a scalar'        => "data: 5\n\n",
		'deep nesting'    => 'data: ' . ('[' x 100_000) . "\n\n",
		'a huge exponent' => "data: {\"a\": 1e100000}\n\n",
		'a large event'   => 'data: "' . ('x' x (40 * 1024 * 1024)) . "\"\n\n");
	foreach my $name (sort keys %hostile)
	{
		$provider->reset;
		$provider->script({ insert_events => [ $hostile{$name} ], for_model => 'sim-eco', times => undef });
		my @rows = rows(stream("hostile: $name"));
		is($rows[-1]{llm_router}{provider}, 'other', "$name: the next candidate answers");
	}
	my %harmless = (
		'an unknown event' => "event: odd\ndata: {}\n\n",
		'odd members'      => "data: {\"choices\": [{\"index\": 0, \"delta\": 5, \"finish_reason\": null}], \"usage\": \"much\"}\n\n",
		'odd tool calls'   => "data: {\"choices\": [{\"index\": 0, \"delta\": {\"tool_calls\": [5, {\"function\": 7}]}}]}\n\n",
		'an odd index'     => "data: {\"choices\": [{\"index\": 99999999999, \"delta\": {\"content\": \"x\"}}]}\n\n",
		'no choices'       => "data: {\"id\": \"x\", \"choices\": []}\n\n",
		'raw NULs'         => "data: {\"note\": \"\0\"}\n\n");
	foreach my $name (sort keys %harmless)
	{
		$provider->reset;
		$provider->script({ insert_events => [ $harmless{$name} ], for_model => 'sim-eco' });
		my @rows = rows(stream("harmless: $name"));
		like(text_of(@rows), qr/Hello there, world$/, "$name: the answer is whole");
	}
	foreach my $payload (qw(invalid_utf8 nul lone_surrogate))
	{
		$provider->reset;
		$provider->script({ payload => $payload, for_model => 'sim-eco' });
		like(text_of(rows(stream($payload))), qr/\x{FFFD}.*world$/, "$payload is replaced");
	}
};

done_testing();

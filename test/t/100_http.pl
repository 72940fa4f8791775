# One transfer: what is sent, what comes back, and every way in which a server can fail.
use strict;
use warnings;

use HttpTest;
use JSON::PP;
use LlmRouterTest;
use Test::More;

my $provider = LlmRouterTest::start_provider();
my $node = HttpTest::start_node('http', conf => <<'CONF');
llm_router.connect_timeout = '2s'
llm_router.first_token_timeout = '2s'
llm_router.request_timeout = '4s'
llm_router.max_response_size = '1MB'
CONF
my $chat = '/local/v1/chat/completions';
my $body = '{"model": "m", "messages": [{"role": "user", "content": "Hi"}]}';

# The answer to one request after which the provider behaves so.
sub answer_to
{
	my (%behaviour) = @_;
	$provider->reset;
	$provider->script(\%behaviour) if %behaviour;
	return HttpTest::transfer($node, 'POST', $provider->url($chat), $body);
}

subtest 'a request arrives as it was built, and its answer comes back whole' => sub {
	$provider->reset;
	my $answer = HttpTest::transfer($node, 'POST', $provider->url($chat), $body,
		"Content-Type: application/json\nAuthorization: Bearer sk-test-1");
	is($answer->{failure}, 'ok', 'answered');
	is($answer->{status}, 200, 'with 200');
	is($answer->{sent}, 't', 'it was sent');
	is(decode_json($answer->{body})->{choices}[0]{message}{content}, 'You said: Hi', 'the body is whole');
	like($answer->{headers}, qr/^content-type=application\/json/m, 'names of headers are in lower case');
	my ($received) = $provider->requests;
	my %headers = map { $_->[0] => $_->[1] } @{ $received->{headers} };
	is($headers{Authorization}, 'Bearer sk-test-1', 'a secret header is sent, though its source was overwritten');
	is($headers{'Content-Type'}, 'application/json', 'and the type of the body');
	ok(!exists $headers{Expect}, 'without asking first');
};

is(HttpTest::transfer($node, 'GET', $provider->url('/local/v1/models'))->{status}, 200, 'GET');

subtest 'a body of 3 MB is sent' => sub {
	my $url = $provider->url($chat);
	my $answer = LlmRouterTest::sql($node, <<"SQL");
SELECT failure, status FROM transfer('POST', '$url',
    '{"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "' || repeat('x', 3000000) || '"}]}')
SQL
	is($answer, 'ok|200', 'answered');
};

is(answer_to(status => 429, headers => { 'Retry-After' => '7' })->{headers} =~ /^retry-after=(.*)$/m ? $1 : '', '7',
	'an error is an answer, with its headers');
is(answer_to(redirect => 'http://127.0.0.1:1/')->{status}, 302, 'a redirect is not followed');
is(decode_json(answer_to(gzip => JSON::PP::true)->{body})->{object}, 'chat.completion', 'a compressed answer is decoded');
is(answer_to(chunked => JSON::PP::true)->{failure}, 'ok', 'a chunked answer');
is(answer_to(payload => 'empty')->{failure}, 'ok', 'an empty body is an answer');
like(answer_to()->{message} // '', qr/^$/, 'there is no message where nothing failed');

# name => [ behaviour, failure, message, sent ]
my @failures = (
	[ 'no answer', { hang => 'before_headers' }, 'timeout', qr/:\d+: did not begin to answer within 2000 ms$/ ],
	[ 'headers without a body', { hang => 'after_headers' }, 'timeout', qr/: did not finish its answer within 4000 ms$/ ],
	[ 'half an answer', { hang => 'mid_body' }, 'timeout', qr/: did not finish its answer within 4000 ms$/ ],
	[ 'a byte now and then', { drip => { bytes => 1, every_ms => 100 } }, 'timeout', qr/: did not finish its answer/ ],
	[ 'something else than HTTP', { not_http => JSON::PP::true }, 'broken', qr/: answered in something that is not HTTP$/ ],
	[ 'a connection that is reset', { reset => 'after_request' }, 'broken', qr/: lost the connection: Connection reset by peer$/ ],
	[ 'a reset in the body', { reset => 'mid_body' }, 'broken', qr/: lost the connection: Connection reset by peer$/ ],
	[ 'a connection that is closed', { close => 'after_request' }, 'broken', qr/: closed the connection without an answer$/ ],
	[ 'a cut answer', { close => 'mid_body' }, 'broken', qr/: cut its answer short$/ ],
	[ 'a chunked answer without its end', { close => 'mid_body', chunked => JSON::PP::true }, 'broken', qr/: cut its answer short$|: lost the connection/ ],
	[ 'a Content-Length that is too large', { content_length => 100_000, close => 'after_answer' }, 'broken', qr/: cut its answer short$/ ],
	[ 'an answer above the limit', { huge_mb => 8 }, 'too large', qr/: its answer is larger than 1024 kB \(llm_router.max_response_size\)$/ ],
	[ 'an answer above the limit, compressed', { huge_mb => 8, gzip => JSON::PP::true }, 'too large', qr/: its answer is larger than 1024 kB/ ],
	[ 'an answer without end', { endless => JSON::PP::true }, 'too large', qr/: its answer is larger than/ ],
	[ 'headers without end', { huge_headers_kb => 1024 }, 'too large', qr/: its headers are larger than 64 kB or more than 500$/ ]);
foreach my $case (@failures)
{
	my ($name, $behaviour, $failure, $message) = @$case;
	my $answer = answer_to(%$behaviour);
	subtest $name => sub {
		is($answer->{failure}, $failure, "is a failure: $failure");
		like($answer->{message}, $message, 'that says what happened');
		is($answer->{sent}, 't', 'after the request was sent');
	};
}

subtest 'a name that does not exist' => sub {
	my $answer = HttpTest::transfer($node, 'POST', 'https://no-such-host.invalid/', $body);
	is($answer->{failure}, 'cannot resolve', 'cannot be resolved');
	like($answer->{message}, qr/^no-such-host\.invalid:443: could not resolve the host name$/, 'and says so');
	is($answer->{sent}, 'f', 'nothing was sent');
};

subtest 'a port where nobody listens' => sub {
	my $listener = HttpTest::silent_listener();
	my $port = $listener->sockport;
	close($listener);
	my $answer = HttpTest::transfer($node, 'POST', "http://127.0.0.1:$port/", $body);
	is($answer->{failure}, 'cannot connect', 'cannot be connected to');
	is($answer->{message}, "127.0.0.1:$port: could not connect: Connection refused", 'and says why');
	is($answer->{sent}, 'f', 'nothing was sent');
};

subtest 'a TLS handshake that hangs' => sub {
	my $listener = HttpTest::silent_listener();
	my $answer = HttpTest::transfer($node, 'POST', 'https://127.0.0.1:' . $listener->sockport . '/', $body);
	is($answer->{failure}, 'timeout', 'is a timeout');
	like($answer->{message}, qr/: could not connect within 2000 ms$/, 'of connecting');
	is($answer->{sent}, 'f', 'nothing was sent');
};

subtest 'a timeout of the whole bounds that of connecting' => sub {
	my $listener = HttpTest::silent_listener();
	my $answer = HttpTest::transfer_after($node, "SET llm_router.request_timeout = '300ms';",
		'POST', 'https://127.0.0.1:' . $listener->sockport . '/', $body);
	like($answer->{message}, qr/: could not connect within 300 ms$/, 'and is the one that is told');
};

subtest 'a key with a line break' => sub {
	$provider->reset;
	my $answer = HttpTest::transfer($node, 'POST', $provider->url($chat), $body, 'Authorization: Bearer a\rX-Injected: b');
	is($answer->{failure}, 'broken', 'is not sent');
	is($answer->{message}, 'a header or key for this provider contains a line break', 'and says why, without the key');
	is(scalar $provider->requests, 0, 'nothing arrives');
};

subtest 'a session that met all of it goes on' => sub {
	$provider->reset;
	my $session = $node->background_psql('postgres');
	my $call = HttpTest::call('POST', $provider->url($chat), $body);
	foreach my $case (@failures)
	{
		next if $case->[2] eq 'timeout';
		$provider->script($case->[1]);
		$session->query("SELECT failure FROM $call");
	}
	is($session->query("SELECT failure FROM $call"), 'ok', 'the next request is answered');
	$session->quit;
};

$node->stop;
done_testing();

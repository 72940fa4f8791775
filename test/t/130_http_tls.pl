# TLS: whom a transfer trusts, and that a session is resumed.
use strict;
use warnings;

use File::Copy qw(copy);
use HttpTest;
use LlmRouterTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $provider = LlmRouterTest::start_provider(tls => 1);
my $ca = "$provider->{certificates}/ca.pem";
my $chat = '/local/v1/chat/completions';
my $body = '{"model": "m", "messages": [{"role": "user", "content": "Hi"}]}';

my $node = HttpTest::start_node('tls');
my $ca_file = $node->data_dir . '/ca.pem';

sub transfer
{
	my ($listener) = @_;
	return HttpTest::transfer($node, 'POST', $provider->url($chat, $listener), $body);
}

# Sets llm_router.ca_file and waits until new sessions have it.
sub set_ca_file
{
	my ($file) = @_;
	LlmRouterTest::sql($node, "ALTER SYSTEM SET llm_router.ca_file = '$file'");
	$node->reload;
	LlmRouterTest::wait_for_sql($node, 'SHOW llm_router.ca_file', $file);
	return;
}

my $answer = transfer('https');
is($answer->{failure}, 'TLS failed', 'an authority that the system does not know is not trusted');
like($answer->{message}, qr/^127\.0\.0\.1:\d+: its certificate is not trusted: .*local issuer certificate/, 'and the message says why');
is($answer->{sent}, 'f', 'nothing was sent');

set_ca_file("$ca_file.missing");
$answer = transfer('https');
is($answer->{failure}, 'TLS failed', 'a ca_file that is missing');
is($answer->{message}, qq(cannot load certificate authorities from "$ca_file.missing"), 'is named');

copy($ca, $ca_file) or die "$ca: $!";
set_ca_file($ca_file);
is(transfer('https')->{failure}, 'ok', 'an authority of ca_file is trusted');

my %refused = (
	https_wrong_host => qr/its certificate is not trusted: .*(?:does not match|no alternative certificate subject name)/,
	https_expired    => qr/its certificate is not trusted: .*certificate has expired/,
	https_untrusted  => qr/its certificate is not trusted: .*self.signed certificate/);
foreach my $listener (sort keys %refused)
{
	$answer = transfer($listener);
	is($answer->{failure}, 'TLS failed', "$listener is refused");
	like($answer->{message}, $refused{$listener}, 'and the message says why');
	is($answer->{sent}, 'f', 'nothing was sent');
}

$provider->script({ reset => 'connect' });
$answer = transfer('https');
is($answer->{failure}, 'cannot connect', 'a handshake that is cut off');
# Whether the reset meets the connection or the handshake is the kernel's to say.
like($answer->{message}, qr/: could not (?:agree on TLS|connect): /, 'says so');

subtest 'connections are kept, and a further one resumes the TLS session' => sub {
	$provider->reset;
	my $session = $node->background_psql('postgres');
	my $url = $provider->url($chat, 'https');
	my $repeat = "SELECT repeat_transfer('POST', '$url', '$body', 'Content-Type: application/json', ";
	is($session->query("$repeat 2, 1)"), 2, 'two requests');
	# Neither ends before the other begins.
	$provider->script({ delay_ms => 500, times => 2 });
	is($session->query("$repeat 1, 2)"), 2, 'and two at once');
	my @requests = sort { $a->{connection} <=> $b->{connection} } $provider->requests;
	is($requests[2]{connection}, $requests[0]{connection}, 'use the first connection for three of them');
	isnt($requests[3]{connection}, $requests[0]{connection}, 'and another one for one');
	ok(!$requests[0]{tls}{resumed}, 'the first made a TLS session');
	ok($requests[3]{tls}{resumed}, 'which the other one resumed');
	$session->quit;
};

subtest 'an authority that is taken out of ca_file is not trusted by running sessions' => sub {
	my $session = $node->background_psql('postgres');
	is($session->query('SELECT failure FROM ' . HttpTest::call('POST', $provider->url($chat, 'https'), $body)), 'ok', 'trusted');
	open(my $file, '>', "$ca_file.new") or die $!;
	close($file);
	copy('/etc/ssl/certs/ca-certificates.crt', "$ca_file.new");
	rename("$ca_file.new", $ca_file) or die $!;
	$provider->script({ close => 'after_answer' });
	$session->query('SELECT failure FROM ' . HttpTest::call('POST', $provider->url($chat, 'https_expired'), $body));
	is($session->query('SELECT failure FROM ' . HttpTest::call('POST', $provider->url($chat, 'https_wrong_host'), $body)),
		'TLS failed', 'a new connection is refused');
	$session->quit;
};

# Providers' front ends say farewell in TLS before they close an idle connection, and so does the simulated one.
subtest 'a connection that the server closed while it was idle is replaced' => sub {
	my $call = 'SELECT failure FROM ' . HttpTest::call('POST', $provider->url($chat, 'https'), $body);
	my $session = $node->background_psql('postgres');
	copy($ca, $ca_file);
	$provider->reset;
	$provider->script({ close => 'after_answer' });
	is($session->query($call), 'ok', 'answered');
	LlmRouterTest::wait_until('the connection is closed', sub { $provider->stats->{open_connections} == 0 });
	is($session->query($call), 'ok', 'answered again');
	is(scalar $provider->requests, 2, 'each asked once');
	$session->quit;
};

$node->stop;
done_testing();

# HttpTest.pm
#		What the tests of src/net/ share: a server with the module of
#		test/modules/http/ in place of llm_router, and transfers through it.
#
#	my $node = HttpTest::start_node('http', conf => "llm_router.request_timeout = '5s'");
#	my $answer = HttpTest::transfer($node, 'POST', $url, '{}');
#	is($answer->{failure}, 'ok');
package HttpTest;

use strict;
use warnings;

use File::Basename qw(dirname);
use File::Spec;
use IO::Socket::INET;
use LlmRouterTest;

my $project = File::Spec->rel2abs(dirname(dirname(dirname(dirname(__FILE__)))));
my $module = "$project/test/modules/http/llm_router_http_test";

# A running node with the functions below. Option: conf => lines of postgresql.conf.
sub start_node
{
	my ($name, %option) = @_;
	die "$module.so is missing: make -C test/modules/http\n" unless -e "$module.so";
	my $node = LlmRouterTest::start_node($name, start => 0, conf => "shared_preload_libraries = '$module'\n" . ($option{conf} // ''));
	$node->start;
	LlmRouterTest::sql($node, <<"SQL");
CREATE FUNCTION transfer(method text, url text, body text DEFAULT '', headers text DEFAULT 'Content-Type: application/json',
    OUT failure text, OUT message text, OUT sent bool, OUT status int, OUT headers_received text, OUT answer bytea)
    AS '$module', 'http_test_transfer' LANGUAGE C;
CREATE FUNCTION repeat_transfer(method text, url text, body text, headers text, rounds int, at_once int) RETURNS bigint
    AS '$module', 'http_test_repeat' LANGUAGE C;
CREATE FUNCTION address_refusal(address text, host text, port int) RETURNS text AS '$module', 'http_test_address' LANGUAGE C STRICT;
CREATE FUNCTION url_refusal(url text) RETURNS text AS '$module', 'http_test_url' LANGUAGE C STRICT;
SQL
	return $node;
}

# The SQL of one transfer; body and headers may be left out.
sub call
{
	my (@arguments) = @_;
	return 'transfer(' . join(', ', map { (my $text = $_) =~ s/'/''/g; "E'$text'" } @arguments) . ')';
}

# One transfer in a session of its own, after the given SET commands: a hash.
sub transfer_after
{
	my ($node, $settings, @arguments) = @_;
	my $row = LlmRouterTest::sql($node, $settings . 'SELECT failure, message, sent, status, headers_received, ' .
		"convert_from(answer, 'LATIN1') FROM " . call(@arguments));
	my %answer;
	@answer{qw(failure message sent status headers body)} = split /\|/, $row, 6;
	return \%answer;
}

sub transfer
{
	my ($node, @arguments) = @_;
	return transfer_after($node, '', @arguments);
}

# Starts a transfer in the background; returns its psql session and the pid of its backend.
sub start_transfer
{
	my ($node, @arguments) = @_;
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	my $pid = $session->query('SELECT pg_backend_pid()');
	my $call = call(@arguments);
	$session->query_until(qr/started/, "\\echo started\nSELECT failure, message FROM $call;\n");
	return ($session, $pid);
}

# A socket on 127.0.0.1 that listens and is never accepted from.
sub silent_listener
{
	my ($backlog) = @_;
	return IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => $backlog // 16, ReuseAddr => 1)
	  // die "listen: $!";
}

1;

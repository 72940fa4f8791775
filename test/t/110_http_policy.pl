# Where requests may go: by URL, and by the address that a name leads to.
use strict;
use warnings;

use HttpTest;
use LlmRouterTest;
use Test::More;

my $node = HttpTest::start_node('policy', conf => "llm_router.allowed_hosts = 'ollama.internal, gpu:8080, 10.9.9.9, [fd00::5]:443'\n");

sub sql { return LlmRouterTest::sql($node, shift) }

# Why this address is refused for a host; '' when it is not.
sub refusal
{
	my ($address, $host, $port) = @_;
	return sql("SELECT address_refusal('$address', '" . ($host // 'api.example.com') . "', " . ($port // 443) . ')');
}

# The first and the last address of each range, and its neighbours outside.
my @ranges = (
	[ 'loopback', [qw(127.0.0.1 127.255.255.255 ::1 ::ffff:127.0.0.1)], [qw(126.255.255.255 128.0.0.0)] ],
	[ 'private', [qw(10.0.0.0 10.255.255.255 172.16.0.0 172.31.255.255 192.168.0.0 192.168.255.255)],
	  [qw(9.255.255.255 11.0.0.0 172.15.255.255 172.32.0.0 192.167.255.255 192.169.0.0)] ],
	[ 'private', [qw(fc00:: fdff:ffff::1 fd00:ec2::254 ::ffff:10.0.0.1 64:ff9b::10.0.0.1)], [qw(fbff::1 64:ff9b::8.8.8.8)] ],
	[ 'link-local', [qw(169.254.0.0 169.254.255.255 fe80:: febf:ffff::1)], [qw(169.253.255.255 169.255.0.0 fe00::1)] ],
	[ 'cloud metadata', [qw(169.254.169.254 168.63.129.16 ::ffff:169.254.169.254 64:ff9b::169.254.169.254)], [qw(168.63.129.17)] ],
	[ 'carrier-grade NAT', [qw(100.64.0.0 100.100.100.200 100.127.255.255)], [qw(100.63.255.255 100.128.0.0)] ],
	[ 'unspecified', [qw(0.0.0.0 0.255.255.255 :: ::8.8.8.8)], [qw(1.0.0.0)] ],
	[ 'multicast', [qw(224.0.0.0 239.255.255.255 ff00:: ff02::1)], [qw(223.255.255.255)] ],
	[ 'reserved', [qw(240.0.0.0 255.255.255.255)], [] ],
	[ 'documentation', [qw(192.0.2.1 198.51.100.1 203.0.113.255 2001:db8::1)], [qw(192.0.3.0 203.0.114.0 2001:db9::1)] ],
	[ 'benchmarking', [qw(198.18.0.0 198.19.255.255)], [qw(198.17.255.255 198.20.0.0)] ],
	[ 'protocol assignment', [qw(192.0.0.192)], [qw(192.0.1.0)] ],
	[ 'NAT64', [qw(64:ff9b:1::1)], [qw(64:ff9b:2::1)] ],
	[ '6to4', [qw(2002:7f00:1::)], [qw(2003::1)] ],
	[ 'Teredo', [qw(2001:0:1::1)], [qw(2001:1::1)] ],
	[ 'site-local', [qw(fec0::1)], [] ],
	[ 'discard', [qw(100::1)], [qw(100:0:0:1::1)] ]);
foreach my $range (@ranges)
{
	my ($what, $inside, $outside) = @$range;
	like(refusal($_), qr/\Q$what\E/, "$_ is refused: $what") foreach @$inside;
	is(refusal($_), '', "$_ is allowed") foreach @$outside;
}
is(refusal('2606:4700::6810:84e5'), '', 'a public IPv6 address is allowed');

is(refusal('127.0.0.1', $_), '', "loopback is allowed when the URL says $_") foreach qw(localhost LOCALHOST 127.0.0.1 127.1.2.3 ::1);
isnt(refusal('10.0.0.1', 'localhost'), '', 'that name allows nothing but loopback');
isnt(refusal('127.0.0.1', 'localhost.example.com'), '', 'and no other name does');

is(refusal('10.0.0.1', 'ollama.internal', $_), '', "a named host is allowed at port $_") foreach (80, 11434);
is(refusal('10.0.0.1', 'OLLAMA.internal'), '', 'in any case');
is(refusal('169.254.169.254', 'ollama.internal'), '', 'at any address');
isnt(refusal('10.0.0.1', 'a.ollama.internal'), '', 'but not what is below it');
isnt(refusal('10.0.0.1', 'ollama.interna'), '', 'nor a part of it');
is(refusal('10.0.0.1', 'gpu', 8080), '', 'a host named with its port is allowed there');
isnt(refusal('10.0.0.1', 'gpu', 80), '', 'and not elsewhere');
is(refusal('fd00::5', 'fd00::5', 443), '', 'an IPv6 address with its port');
isnt(refusal('fd00::5', 'fd00::5', 80), '', 'and not elsewhere');

sub url_refusal { return sql("SELECT url_refusal('" . shift() . "')") }

is(url_refusal($_), '', "$_ may be called")
  foreach ('https://api.openai.com/v1', 'http://127.0.0.1:8080/v1', 'http://localhost/', 'http://[::1]:1/', 'http://ollama.internal:11434/v1',
	'http://gpu:8080/', 'http://10.9.9.9/', 'https://10.9.9.9/');
my %refused_urls = (
	'http://api.openai.com/v1'         => qr/^the URL of api\.openai\.com must use https$/,
	'http://gpu:8081/'                 => qr/must use https$/,
	'https://169.254.169.254/'         => qr/^requests to 169\.254\.169\.254 are refused: cloud metadata service$/,
	'https://2852039166/'              => qr/cloud metadata service$/,
	'https://0xa9.0xfe.0xa9.0xfe/'     => qr/cloud metadata service$/,
	'https://[::ffff:10.0.0.1]/'       => qr/private address/,
	'https://10.0.0.1/'                => qr/private address/,
	'http://localhost.example.com/'    => qr/must use https$/,
	'http://127.0.0.1@example.com/'    => qr/contains a user name or password$/,
	'https://user:secret@example.com/' => qr/^the URL of example\.com contains a user name or password$/,
	'ftp://example.com/'               => qr/^the URL is not valid: /,
	'file:///etc/passwd'               => qr/^the URL is not valid: /,
	'example.com'                      => qr/^the URL is not valid: /,
	'https://'                         => qr/^the URL is not valid: /,
	'https://exa mple.com/'            => qr/^the URL is not valid: /,
	''                                 => qr/^the URL is not valid: /,
	'https://' . 'a' x 300 . '.com/'   => qr/^the URL is not valid: /);
like(url_refusal($_), $refused_urls{$_}, "'$_' is refused") foreach sort keys %refused_urls;

subtest 'a transfer to a refused URL ends before any traffic' => sub {
	my $answer = HttpTest::transfer($node, 'POST', 'http://api.openai.com/v1', '{}');
	is($answer->{failure}, 'blocked address', 'as blocked');
	is($answer->{sent}, 'f', 'nothing was sent');
};

# A name that the machine resolves to an address of its own, by /etc/hosts.
my $name = `hostname`;
chomp $name;
my $address = (grep { /^[\d.]+$/ } split ' ', `getent ahostsv4 $name`)[0] // '';
SKIP:
{
	skip "the name of this machine ($name) leads to no address that is refused", 2
	  if $name eq '' || $name eq 'localhost' || $address eq '' || refusal($address) eq '';
	my $answer = HttpTest::transfer($node, 'POST', "https://$name:1/", '{}');
	is($answer->{failure}, 'blocked address', "a name that leads to $address is refused when the socket opens");
	like($answer->{message}, qr/^\Q$name\E:1: its name leads to a .*address \(RFC \d+\)$/, 'and the message says why');
}

$node->stop;
done_testing();

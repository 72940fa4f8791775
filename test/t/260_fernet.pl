# Stored keys are Fernet tokens: the vectors of the specification
# (github.com/fernet/spec, in test/keys/vectors), and both directions against
# Python's cryptography. llm_keys_reencrypt opens any token that a master key
# made, whatever it holds, so foreign tokens can be put to the real code.
use strict;
use warnings;

use LlmRouterTest;
use JSON::PP;
use MIME::Base64 qw(encode_base64url);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::Local qw(timegm);

my $python = LlmRouterTest::python();
plan skip_all => 'Python with the package cryptography is not installed'
  if system("$python -c 'import cryptography' 2>/dev/null") != 0;

# The Python side; its output.
sub peer
{
	my ($out, $err) = run_command([ $python, 'test/keys/fernet_peer.py', @_ ]);
	die $err if $err;
	return $out;
}

sub vectors { return @{ decode_json(slurp_file("test/keys/vectors/$_[0].json")) } }

my ($new_key) = peer_key();
my ($vector_key) = map { $_->{secret} } vectors('verify');

sub peer_key
{
	my @bytes = map { chr(($_ * 37 + 11) % 256) } 1 .. 32;
	return encode_base64url(join('', @bytes)) . '=';
}

my $key_file = PostgreSQL::Test::Utils::tempdir() . '/keys';
append_to_file($key_file, "$new_key\n$vector_key\n");
chmod 0600, $key_file;
my $node = LlmRouterTest::start_node('fernet', conf => "llm_router.master_key_file = '$key_file'\n");

sub sql { return LlmRouterTest::sql($node, shift) }

# So that tokens can be stored that do not even look like one.
sql('ALTER TABLE llm_provider_keys DROP CONSTRAINT key_is_encrypted');

sub put_token
{
	my ($token) = @_;
	sql("DELETE FROM llm_provider_keys; INSERT INTO llm_provider_keys (provider_id, encrypted_api_key, base_url) "
		  . "SELECT id, '$token', base_url FROM llm_providers WHERE name = 'openai'");
	return;
}

sub stored_token { return sql('SELECT encrypted_api_key FROM llm_provider_keys') }

for my $vector (vectors('generate'))
{
	my $iv = join('', map { sprintf '%02x', $_ } @{ $vector->{iv} });
	my ($year, $month, $day, $hour, $minute, $second, $zone) =
	  $vector->{now} =~ /(\d+)-(\d+)-(\d+)T(\d+):(\d+):(\d+)-0(\d):00/;
	my $time = timegm($second, $minute, $hour, $day, $month - 1, $year) + 3600 * $zone;
	is(peer('generate', $vector->{secret}, $time, $iv, $vector->{src}),
		$vector->{token}, 'generate.json: the comparison itself follows the specification');
}

sql("SELECT llm_provider_set_key('openai', 'sk-fernet-0123456789', validate => false)");
is(peer('again', $new_key, stored_token()),
	stored_token(), 'a token is byte for byte what the specification makes with its time and IV');
is_deeply(
	decode_json(peer('decrypt', $new_key, stored_token())),
	{ v => 1, user => undef, origin => 'https://api.openai.com:443', key => 'sk-fernet-0123456789' },
	"Python's cryptography opens a stored key");
my $first = stored_token();
sql("SELECT llm_provider_set_key('openai', 'sk-fernet-0123456789', validate => false)");
isnt(stored_token(), $first, 'the same key gives another token: the IV is random');

for my $vector (vectors('verify'))
{
	put_token($vector->{token});
	is(sql('SELECT llm_keys_reencrypt()'), 1, 'verify.json: the token opens');
	is(peer('decrypt', $new_key, stored_token()), $vector->{src}, 'verify.json: … to its text');
}

put_token(peer('encrypt', $vector_key, "a text of some length, with \xe2\x98\x83"));
is(sql('SELECT llm_keys_reencrypt()'), 1, "a token of Python's cryptography opens");
is(peer('decrypt', $new_key, stored_token()), "a text of some length, with \xe2\x98\x83", '… to its text');

for my $vector (vectors('invalid'))
{
	put_token($vector->{token});

	# Age is for tokens that expire; stored keys do not.
	if ($vector->{desc} =~ /TTL|far-future/)
	{
		is(sql('SELECT llm_keys_reencrypt()'), 1, "invalid.json, $vector->{desc}: the age of a stored key does not matter");
		next;
	}
	my ($state, $message) = LlmRouterTest::sql_error($node, 'SELECT llm_keys_reencrypt()');
	is($state, 'LR009', "invalid.json, $vector->{desc}: $message");
}

$node->stop;
done_testing();

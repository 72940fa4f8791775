# llm_provider_set_key asks the provider before it stores a key; and no key,
# stored or refused, is in anything that people read.
use strict;
use warnings;

use JSON::PP;
use LlmRouterTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $provider = LlmRouterTest::start_provider(arguments => [ '--api-key', 'sk-test-good', '--api-key', 'my.own+key/of=1234' ]);
my $node = LlmRouterTest::start_node('keys', conf => "log_min_messages = debug5\nllm_router.first_token_timeout = '1s'\n");
LlmRouterTest::add_sim($node, $provider, path => '/v1', auth_type => 'bearer');

sub sql { return LlmRouterTest::sql($node, shift) }

sub set_key
{
	my ($key, $arguments) = @_;
	my ($status, $out, $err) = $node->psql('postgres', "SELECT llm_provider_set_key('sim', $key$arguments)",
		extra_params => [ '-v', 'VERBOSITY=verbose' ], on_error_stop => 1);
	return ($status, $err);
}

sub stored { return sql("SELECT count(*) FROM llm_provider_keys JOIN llm_providers p ON p.id = provider_id WHERE p.name = 'sim'") }

sub set_check_path { return sql("UPDATE llm_providers SET check_path = " . (defined $_[0] ? "'$_[0]'" : 'NULL') . " WHERE name = 'sim'") }

# With the log at its most talkative, so that it would say what there is to say.
my $log_start = -s $node->logfile;

subtest 'a key that the provider refuses is not stored' => sub {
	$provider->reset;
	set_check_path('/models');
	my ($status, $err) = set_key(q('sk-test-bad-0123456789'), '');
	like($err, qr/ERROR:  LR005: provider "sim" refused the key/, 'LR005');
	like($err, qr/HTTP status 401/, 'with the status');
	unlike($err, qr/DETAIL.*sk-test-bad/, 'and without the key');
	is(stored(), 0, 'nothing is stored');
	my ($request) = $provider->requests;
	is("$request->{method} $request->{path}", 'GET /v1/models', 'the check was asked for');
};

subtest 'a key that the provider accepts is stored' => sub {
	my ($status, $err) = set_key(q('sk-test-good'), '');
	is($err, '', 'without a word');
	is(stored(), 1, 'stored');
	is(sql("SELECT llm_ask('Hi', 'eco')"), 'You said: Hi', 'and used');
};

subtest 'a refused key leaves the one before it in place' => sub {
	set_key(q('sk-test-other'), '');
	is(sql("SELECT llm_ask('Hi', 'eco')"), 'You said: Hi', 'which still works');
};

subtest 'a provider that does not answer cannot refuse: WARNING, and stored' => sub {
	foreach my $behaviour ({ hang => 'before_headers' }, { status => 503 }, { close => 'after_request' }, { payload => 'html' },
		{ status => 302, redirect => $provider->url('/v1/models') }, { endless => JSON::PP::true })
	{
		sql("SELECT llm_provider_set_key('sim', NULL)");
		is(stored(), 0, 'no key');
		$provider->reset;
		# A GET on a kept connection that ended may be sent twice.
		$provider->script({ %$behaviour, times => undef });
		my ($status, $err) = set_key(q('sk-test-good'), '');
		$provider->reset;
		my $what = join ',', %$behaviour;
		like($err, qr/WARNING:  \S+: the key of provider "sim" is stored without a check/, "$what: WARNING");
		is(stored(), 1, "$what: stored");
	}
};

subtest 'nothing is asked where that is not wanted, or there is no check' => sub {
	$provider->reset;
	my ($status, $err) = set_key(q('sk-test-good'), ', validate => false');
	is($err, '', 'validate => false is silent');
	set_check_path(undef);
	($status, $err) = set_key(q('sk-test-good'), '');
	like($err, qr/WARNING.*stored without a check/, 'without a check_path it warns');
	is(scalar($provider->requests), 0, 'nothing was asked');
};

subtest 'a check_path that is a whole URL is asked as it is, with the key' => sub {
	# The rules want https, and the host of base_url or its parent domain. The
	# certificate is of localhost and 127.0.0.1.
	my $tls = LlmRouterTest::start_provider(tls => 1, arguments => [ '--api-key', 'sk-test-good' ]);
	my $port = $tls->{port}{https};
	my ($state, $message) = LlmRouterTest::sql_error($node,
		"UPDATE llm_providers SET check_path = 'https://127.0.0.1:$port/api/whoami' WHERE name = 'sim'");
	is($state, '23514', "another origin is refused: $message");

	# Past that rule (Hugging Face's host cannot be had here): what is asked.
	sql("ALTER TABLE llm_providers DROP CONSTRAINT check_path_is_local");
	sql("ALTER SYSTEM SET llm_router.ca_file = '$tls->{certificates}/ca.pem'; SELECT pg_reload_conf()");
	LlmRouterTest::wait_for_sql($node, "SELECT current_setting('llm_router.ca_file') <> ''");
	set_check_path("https://127.0.0.1:$port/openrouter/api/v1/key");
	my ($status, $err) = set_key(q('sk-test-wrong'), '');
	like($err, qr/LR005/, 'a wrong key is refused there');
	($status, $err) = set_key(q('sk-test-good'), '');
	is($err, '', 'a good one is accepted');
	is($_->{path}, '/openrouter/api/v1/key', 'at that URL') foreach $tls->requests;
	set_check_path('/models');
	$tls->stop;
};

subtest 'a key that cannot be one is refused unsent' => sub {
	$provider->reset;
	foreach my $key (q(E'sk-test-good\n'), q(E'sk-test-good\r\nX-Evil: 1'), q(' sk-test-good'), q('"sk-test-good"'), q(''), q(E'sk-test-g\u00f6od'))
	{
		my ($status, $err) = set_key($key, '');
		like($err, qr/ERROR:  22023: the API key /, "$key: 22023");
		unlike($err, qr/(?:ERROR|DETAIL|HINT|CONTEXT).*sk-test/, "$key: not repeated");
	}
	is(scalar($provider->requests), 0, 'nothing was sent');
};

subtest 'a key that the provider repeats is shown to nobody' => sub {
	foreach my $key ('sk-test-good', 'my.own+key/of=1234')
	{
		set_key("'$key'", '');
		foreach my $said ("The key $key is bad.", "x=$key", ('a' x 490) . $key, "$key$key")
		{
			$provider->reset;
			$provider->script({ error => { status => 401, message => $said, code => $key } });
			my ($status, $out, $err) = $node->psql('postgres', "SELECT llm_ask('Hi', 'eco')", extra_params => [ '-v', 'VERBOSITY=verbose' ]);
			like($err, qr/LR005/, 'refused');
			unlike($err, qr/\Q$key\E/, substr("not in the error: $said", 0, 60));
			unlike($err, qr/\Q@{[ substr($key, 0, 10) ]}\E/, 'nor its beginning');
		}
		foreach my $body ({ raw_body => "The key $key" }, { raw_body => ('word ' x 38) . $key }, { raw_body => ('word ' x 38) . "x $key" })
		{
			$provider->reset;
			$provider->script({ status => 401, %$body });
			my ($status, $out, $err) = $node->psql('postgres', "SELECT llm_ask('Hi', 'eco')", extra_params => [ '-v', 'VERBOSITY=verbose' ]);
			like($err, qr/LR005/, 'refused in plain text');
			unlike($err, qr/\Q@{[ substr($key, 0, 6) ]}\E/, 'without the key');
		}
		$provider->script({ status => 503, error => { status => 503, message => "busy with $key", code => $key } });
		my $answer = decode_json(sql(q(SELECT llm_chat('[{"role": "user", "content": "Hi"}]', 'eco'))));
		unlike(encode_json($answer->{llm_router}), qr/\Q$key\E/, 'nor in the attempts of a good answer');
		is(sql("SELECT count(*) FROM llm_usage_logs u WHERE u::text LIKE '%$key%'"), 0, 'nor in the ledger');
	}
};

subtest 'no key is in the log' => sub {
	my $log = slurp_file($node->logfile, $log_start);
	my @lines = grep { /sk-test|my\.own/ && !/FROM llm_usage_logs u WHERE/ } split /\n/, $log;
	is(scalar @lines, 0, 'at DEBUG5') or diag(join "\n", @lines[0 .. 5]);
};

$node->stop;
done_testing();

# Calls with users' own keys: which key is sent, what happens when the provider
# refuses it, and what the answer, the ledger and the key's row say of it.
use strict;
use warnings;

use JSON::PP;
use LlmRouterTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my @good = ('sk-test-platform', map { "sk-test-$_" } qw(ann ann-second bob));
my $provider = LlmRouterTest::start_provider(arguments => [ map { ('--api-key', $_) } @good ]);
my $node = LlmRouterTest::start_node('byok', conf => "llm_router.key_cache_ttl = '1s'\n");
LlmRouterTest::add_sim($node, $provider, path => '/v1', auth_type => 'bearer');
sql("SELECT llm_provider_set_key('sim', 'sk-test-platform')");
sql("CREATE ROLE app LOGIN; SELECT llm_grant('app', 'application')");

sub sql { return LlmRouterTest::sql($node, shift) }

# As the application, for a user.
sub as
{
	my ($user, $query) = @_;
	return $node->safe_psql('postgres', "SET llm_router.user_id = '$user'; $query", extra_params => [ '-qU', 'app' ]);
}

sub as_error
{
	my ($user, $query) = @_;
	my ($status, $out, $err) = $node->psql('postgres', "SET llm_router.user_id = '$user'; $query",
		extra_params => [ '-qU', 'app', '-v', 'VERBOSITY=verbose' ], on_error_stop => 1);
	return $err;
}

sub chat { my ($user, $options) = @_; return decode_json(as($user, chat_sql($options))) }

sub chat_sql
{
	my $options = encode_json({ router => $_[0] // {} });
	return qq(SELECT llm_chat('[{"role": "user", "content": "Hi"}]', 'eco', options => '$options'));
}

# The key of each request since the last reset.
sub keys_sent
{
	return [
		map {
			my ($header) = grep { lc $_->[0] eq 'authorization' } @{ $_->{headers} };
			$header->[1] =~ s/^Bearer //r
		} $provider->requests ];
}

sub ledger { return sql("SELECT provider, used_byok, status, total_cost FROM llm_usage_logs ORDER BY id DESC LIMIT 1") }

subtest 'a key is asked about before it is stored' => sub {
	like(as_error('ann', "SELECT llm_key_add('sim', 'sk-test-wrong')"), qr/ERROR:  LR005: provider "sim" refused the key\nDETAIL:  HTTP status 401/,
		'a refused one is LR005 with the answer');
	like(as_error('ann', "SELECT * FROM llm_key_add('sim', 'sk-test-wrong')"), qr/HINT:  Nothing was stored/, '… and not stored');
	is(as('ann', 'SELECT count(*) FROM llm_keys'), 0, 'indeed');
	$provider->script({ status => 503, times => undef });
	like(as_error('ann', "SELECT llm_key_add('sim', 'sk-test-ann')"), qr/ERROR:  LR002: provider "sim" cannot be asked/, 'one that cannot be asked about is LR002');
	$provider->reset;
	is(as('ann', "SELECT valid, http_status FROM llm_key_test('sim', 'sk-test-ann')"), 't|200', 'llm_key_test: accepted');
	is(as('ann', "SELECT valid, http_status FROM llm_key_test('sim', 'sk-test-wrong')"), 'f|401', 'llm_key_test: refused');
	like(as('ann', "SELECT llm_key_add('sim', 'sk-test-ann')"), qr/^\d+$/, 'an accepted one is stored');
	is(as('ann', 'SELECT status, checked_at IS NOT NULL FROM llm_keys'), 'usable|t', 'and usable');
	is_deeply(keys_sent(), [ 'sk-test-ann', 'sk-test-wrong', 'sk-test-ann' ], 'each was sent once');
};

subtest "a user's key is used for that user alone, and said so" => sub {
	$provider->reset;
	my $answer = chat('ann');
	is($answer->{llm_router}{used_byok}, JSON::PP::true, 'the answer says so');
	like(ledger(), qr/^sim\|t\|ok\|0\.0000/, 'so does the ledger, with the cost');
	is(chat('bob')->{llm_router}{used_byok}, JSON::PP::false, 'another user has none');
	is_deeply(keys_sent(), [ 'sk-test-ann', 'sk-test-platform' ], 'each with the right key');
	like(as('ann', 'SELECT string_agg(c, chr(10)) FROM (SELECT llm_chat_stream(\'[{"role": "user", "content": "Hi"}]\', \'eco\')::text AS c) AS s'),
		qr/"used_byok": true/, 'streams use it, too');
};

subtest 'byok says whose keys may be used, by call or by user' => sub {
	$provider->reset;
	chat('ann', { byok => 'never' });
	like(as_error('bob', chat_sql({ byok => 'only' })), qr/LR005/, 'only: a user without a key is refused');
	sql("INSERT INTO llm_users (user_id, byok) VALUES ('ann', 'never'), ('bob', 'only')");
	chat('ann');
	chat('ann', { byok => 'prefer' });
	like(as_error('bob', chat_sql()), qr/LR005.*no key of your own/s, "the user's default: only");
	is(chat('bob', { byok => 'prefer' })->{llm_router}{used_byok}, JSON::PP::false, 'the call may say otherwise');
	is_deeply(keys_sent(), [ qw(sk-test-platform sk-test-platform sk-test-ann sk-test-platform) ], 'by the keys sent');
	sql("DELETE FROM llm_users");
};

subtest 'of several keys the oldest usable one is sent' => sub {
	$provider->reset;
	as('ann', "SELECT llm_key_add('sim', 'sk-test-ann-second', 'second')");
	$provider->reset;
	chat('ann');
	as('ann', "SELECT llm_key_set_active(id, false) FROM llm_keys WHERE key_name = 'default'");
	chat('ann');
	is_deeply(keys_sent(), [ 'sk-test-ann', 'sk-test-ann-second' ], 'then the next');
	as('ann', "SELECT llm_key_set_active(id, true) FROM llm_keys WHERE key_name = 'default'; SELECT llm_key_delete(id) FROM llm_keys WHERE key_name = 'second'");
};

subtest 'last_used_at is noted, and not for each call' => sub {
	LlmRouterTest::wait_for_sql($node, "SELECT last_used_at IS NOT NULL FROM user_api_keys WHERE user_id = 'ann'");
	my $row = "SELECT ctid, xmin, last_used_at FROM user_api_keys WHERE user_id = 'ann'";
	my $before = sql($row);
	chat('ann') for 1 .. 5;
	is(sql($row), $before, 'five more calls wrote nothing');
};

subtest 'a change acts in sessions that have the key in their memory' => sub {
	my $session = $node->background_psql('postgres', extra_params => [ '-U', 'app' ]);
	$session->query_safe("SET llm_router.user_id = 'ann'");
	$session->query_safe(chat_sql());
	$provider->reset;
	as('ann', "SELECT llm_key_update(id, 'sk-test-ann-second', false) FROM llm_keys");
	$session->query_safe(chat_sql());
	as('ann', "SELECT llm_key_set_active(id, false) FROM llm_keys");
	$session->query_safe(chat_sql());
	is_deeply(keys_sent(), [ 'sk-test-ann-second', 'sk-test-platform' ], 'replaced, then not used');
	as('ann', "SELECT llm_key_update(id, 'sk-test-ann', false), llm_key_set_active(id, true) FROM llm_keys");
	$session->quit;
};

subtest "a token copied to another user's row does not open" => sub {
	as('bob', "SELECT llm_key_add('sim', 'sk-test-bob')");
	sql("UPDATE user_api_keys SET encrypted_api_key = (SELECT encrypted_api_key FROM user_api_keys WHERE user_id = 'ann') WHERE user_id = 'bob'");
	$provider->reset;
	my $answer = chat('bob');
	is_deeply(keys_sent(), ['sk-test-platform'], 'the platform answers');
	is($answer->{llm_router}{attempts}[0]{outcome}, 'unusable_key', 'and the attempt says why');
	like(as_error('bob', chat_sql({ byok => 'only' })), qr/LR005.*another user/s, 'alone it is LR005');
	as('bob', 'SELECT llm_key_delete(id) FROM llm_keys');
};

subtest 'a repointed provider gets no key' => sub {
	my $elsewhere = LlmRouterTest::start_provider();
	my $url = $elsewhere->url('/v1');
	my $home = sql("UPDATE llm_providers SET base_url = '$url' WHERE name = 'sim'; SELECT 1");
	like(as_error('ann', chat_sql()), qr/LR005/, 'neither the user\'s nor the platform\'s');
	is(scalar($elsewhere->requests), 0, 'nothing was sent there');
	is(as('ann', 'SELECT status FROM llm_keys'), 'address changed', 'and llm_keys says why');
	sql("UPDATE llm_providers SET base_url = '" . $provider->url('/v1') . "' WHERE name = 'sim'");
	is(chat('ann')->{llm_router}{used_byok}, JSON::PP::true, 'back home it is used again');
	$elsewhere->stop;
};

subtest "a refused user key falls back to the platform's, is marked, and is not tried again" => sub {
	as('ann', "SELECT llm_key_update(id, 'sk-test-revoked', false) FROM llm_keys");
	my $listener = $node->background_psql('postgres');
	$listener->query_safe('LISTEN llm_router');
	$provider->reset;
	my $answer = decode_json(as('ann', 'BEGIN READ ONLY; ' . chat_sql() . '; ROLLBACK'));
	is($answer->{llm_router}{used_byok}, JSON::PP::false, 'the platform answered');
	is_deeply([ map { $_->{outcome} } @{ $answer->{llm_router}{attempts} } ], [ 'bad_key', 'ok' ], 'after the refusal');
	LlmRouterTest::wait_for_sql($node, "SELECT refused_at IS NOT NULL FROM user_api_keys WHERE user_id = 'ann'");
	like(as('ann', 'SELECT status, refusal FROM llm_keys'), qr/^refused\|HTTP status 401/, 'the key is marked, also from a READ ONLY transaction that is rolled back');
	my ($payload) = $listener->query('SELECT 1') =~ /notification "llm_router" with payload "(\{.*\})"/;
	is_deeply(decode_json($payload), { event => 'key_refused', key_id => sql("SELECT id FROM user_api_keys WHERE user_id = 'ann'") }, 'who listens hears of the key, and nothing of whom');
	$listener->quit;
	chat('ann');
	is_deeply(keys_sent(), [ qw(sk-test-revoked sk-test-platform sk-test-platform) ], 'and not sent again');
	is(sql("SELECT user_id, actor, object, detail ->> 'key_name' IS NULL FROM llm_audit_logs WHERE action = 'byok.key.refused'"), 'ann|app|sim|t', 'the audit log has it');
	like(as_error('ann', chat_sql({ byok => 'only' })), qr/LR005/, 'only: LR005');
	as('ann', 'SELECT llm_key_set_active(id, true) FROM llm_keys');
	like(as_error('ann', chat_sql({ byok => 'only' })), qr/LR005.*HINT:  Replace your key: SELECT llm_key_update\(\d+/s, 'activated it is tried again, and the error says what to do');
	as('ann', "SELECT llm_key_update(id, 'sk-test-ann') FROM llm_keys");
	is(as('ann', 'SELECT status FROM llm_keys'), 'usable', 'a new key is usable');
};

subtest "a user who holds a lock on a key holds up nobody's audit entries" => sub {
	as('ann', "SELECT llm_key_update(id, 'sk-test-revoked', false) FROM llm_keys");
	my $holder = $node->background_psql('postgres', extra_params => [ '-U', 'app' ]);
	$holder->query_safe("SET llm_router.user_id = 'ann'; BEGIN; SELECT llm_key_set_active(id, true) FROM llm_keys");
	my $entries = "SELECT count(*) FROM llm_audit_logs WHERE action = 'byok.key.refused'";
	my $before = sql($entries);
	chat('ann');
	as('bob', "SELECT llm_key_add('sim', 'sk-test-revoked', 'gone', false)");
	chat('bob');
	LlmRouterTest::wait_for_sql($node, "SELECT ($entries) = $before + 2");
	pass('both refusals are in the audit log');
	is(as('bob', 'SELECT status FROM llm_keys'), 'refused', "and another user's key is marked");
	$holder->query_safe('ROLLBACK');
	$holder->quit;
	chat('ann');
	LlmRouterTest::wait_for_sql($node, "SELECT refused_at IS NOT NULL FROM user_api_keys WHERE user_id = 'ann'");
	pass('the key itself is marked by the next call');
	as('ann', "SELECT llm_key_update(id, 'sk-test-ann') FROM llm_keys");
};

subtest 'a lock on the whole table of keys holds up neither calls nor entries for long, and nothing is lost' => sub {
	my @users = map { "u$_" } 1 .. 8;
	as($_, "SELECT llm_key_add('sim', 'sk-test-ann', validate => false)") for @users;
	as('revoked', "SELECT llm_key_add('sim', 'sk-test-revoked', validate => false)");
	chat('bob', { byok => 'never' });
	my $holder = $node->background_psql('postgres');
	$holder->query_safe('BEGIN; LOCK user_api_keys IN SHARE MODE');
	my $entries = "SELECT count(*) FROM llm_audit_logs WHERE action = 'byok.key.refused'";
	my $before = sql($entries);
	my $session = $node->background_psql('postgres', extra_params => [ '-U', 'app' ]);
	my $rows = sql('SELECT count(*) FROM llm_usage_logs');
	chat('revoked');
	my $start = time;
	$session->query_safe("SET llm_router.user_id = '$_'; " . chat_sql()) for @users;
	cmp_ok(time - $start, '<', 4, 'calls have their answers, and so their rows, soon');
	is(sql('SELECT count(*) FROM llm_usage_logs'), $rows + @users + 1, 'indeed');
	is(sql($entries), $before, 'the entry waits');
	$holder->query_safe('ROLLBACK');
	LlmRouterTest::wait_for_sql($node, "SELECT ($entries) = $before + 1");
	LlmRouterTest::wait_for_sql($node, "SELECT count(*) FROM user_api_keys WHERE user_id ~ '^u\\d' AND last_used_at IS NOT NULL", scalar @users);
	is(as('revoked', 'SELECT status FROM llm_keys'), 'refused', 'all is noted when the lock is gone');
	$_->quit for $holder, $session;
	sql("DELETE FROM user_api_keys WHERE user_id ~ '^(u\\d|revoked)'");
};

subtest 'a key that was refused is not sent again in the same call' => sub {
	sql("SELECT llm_model_add('sim', 'sim-other', 'eco', 1, 2)");
	as('ann', "SELECT llm_key_update(id, 'sk-test-revoked', false) FROM llm_keys");
	$provider->reset;
	like(as_error('ann', chat_sql({ byok => 'only' })), qr/LR005/, 'LR005');
	is_deeply(keys_sent(), ['sk-test-revoked'], 'though the provider has another model for it');
	LlmRouterTest::wait_for_sql($node, "SELECT refused_at IS NOT NULL FROM user_api_keys WHERE user_id = 'ann'");
	as('ann', "SELECT llm_key_update(id, 'sk-test-ann') FROM llm_keys");
};

subtest 'only a key that the provider does not know is marked' => sub {
	my @permissions = ({ status => 403, message => 'no access to this model' },
		{ status => 403, message => 'Country, region, or territory not supported', code => 'unsupported_country_region_territory' },
		{ status => 400, message => 'User location is not supported for the API use.', code => 'FAILED_PRECONDITION' },
		{ status => 400, message => 'not for this key', code => 'permission_error' });
	foreach my $error (@permissions)
	{
		$provider->reset;
		$provider->script({ error => $error });
		my $answer = chat('ann');
		is_deeply([ map { $_->{outcome} } @{ $answer->{llm_router}{attempts} } ], [ 'not_permitted', 'ok' ], "$error->{status} $error->{message}: not permitted");
		is($answer->{llm_router}{used_byok}, JSON::PP::false, 'another key is tried first');
		is(chat('ann')->{llm_router}{used_byok}, JSON::PP::true, 'and the next call uses it');
	}
	$provider->reset;
	$provider->script({ error => { status => 400, message => 'API key not valid. Please pass a valid API key.', code => 'API_KEY_INVALID' } });
	chat('ann');
	LlmRouterTest::wait_for_sql($node, "SELECT refused_at IS NOT NULL FROM user_api_keys WHERE user_id = 'ann'");
	is(as('ann', 'SELECT status FROM llm_keys'), 'refused', '400 with a code that says so is a refusal');
	as('ann', 'SELECT llm_key_set_active(id, true) FROM llm_keys');
};

subtest 'after a provider moved, its keys are moved but those that do not open' => sub {
	# The sum of the session's memory at the first and the last of many keys.
	sql(<<'SQL');
CREATE TABLE memory (key_name text, bytes bigint);
CREATE FUNCTION note_memory() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO public.memory SELECT NEW.key_name, sum(total_bytes) FROM pg_backend_memory_contexts;
	RETURN NEW;
END $$;
CREATE TRIGGER note_memory BEFORE UPDATE ON user_api_keys FOR EACH ROW WHEN (NEW.key_name IN ('many100', 'many10000'))
	EXECUTE FUNCTION note_memory();
SQL
	as('ann', "SELECT llm_key_add('sim', 'sk-test-ann-second', 'broken', false)");
	sql("UPDATE user_api_keys SET encrypted_api_key = 'gAAAAAbroken' WHERE key_name = 'broken'");
	sql(<<'SQL');
INSERT INTO user_api_keys (user_id, provider_id, encrypted_api_key, base_url, masked_key, key_name)
SELECT user_id, provider_id, encrypted_api_key, base_url, masked_key, 'many' || i
FROM user_api_keys, generate_series(1, 10000) AS i WHERE user_id = 'ann' AND key_name = 'default'
SQL
	my ($home, $away) = map { $_->url('/v1') } $provider, my $elsewhere = LlmRouterTest::start_provider();
	my $stray = "SELECT string_agg(user_id || ' ' || key_name, ', ' ORDER BY id) FROM user_api_keys WHERE base_url <> '$away'";
	my $keys = sql("SELECT (SELECT count(*) FROM user_api_keys) + (SELECT count(*) FROM llm_provider_keys) - 1");
	sql("UPDATE llm_providers SET base_url = '$away' WHERE name = 'sim'");
	my ($status, $moved, $err) = $node->psql('postgres', "SELECT llm_provider_confirm_keys('sim')");
	is($moved, $keys, 'all but one are');
	like($err, qr/WARNING:  1 keys of provider "sim" cannot be opened and stay set aside\nDETAIL:  The first is that with id \d+ of user_api_keys: /, 'which is told');
	is(sql($stray), 'ann broken', 'and set aside');
	cmp_ok(sql('SELECT max(bytes) - min(bytes) FROM memory'), '<', 2_000_000, 'the memory of a key is given back after it');
	is(sql("SELECT detail - 'base_url' FROM llm_audit_logs WHERE action = 'provider.keys.confirm' ORDER BY id DESC LIMIT 1"), qq({"keys": $keys, "left": 1}), 'the audit log has both numbers');
	is(chat('ann')->{llm_router}{used_byok}, JSON::PP::true, 'the others are used there');
	sql('DROP TRIGGER note_memory ON user_api_keys; DROP FUNCTION note_memory; DROP TABLE memory');
	sql("DELETE FROM user_api_keys WHERE key_name ~ '^(many|broken)'; UPDATE llm_providers SET base_url = '$home' WHERE name = 'sim'");
	sql("SELECT llm_provider_confirm_keys('sim')");
	$elsewhere->stop;
};

subtest 'a name that is not UTF-8, in a SQL_ASCII database' => sub {
	my $jose = q(SELECT set_config('llm_router.user_id', convert_from('jos\\351'::bytea, 'SQL_ASCII'), false));
	sql("CREATE DATABASE ascii TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'");
	$node->safe_psql('ascii', 'CREATE EXTENSION llm_router');
	my ($status, $out, $err) = $node->psql('ascii', <<"SQL");
SELECT llm_provider_add('sim', '@{[ $provider->url('/v1') ]}', auth_type => 'bearer');
SELECT llm_model_add('sim', 'sim-eco', 'eco', 1, 2);
$jose;
SELECT llm_key_add('sim', 'sk-test-ann') > 0;
SELECT llm_chat('[{"role": "user", "content": "Hi"}]', model => 'sim/sim-eco') -> 'llm_router' ->> 'used_byok';
SQL
	is($err, '', 'makes no error');
	like($out, qr/t\ntrue$/, 'its key is stored and used');
};

done_testing();

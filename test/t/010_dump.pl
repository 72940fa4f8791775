# Dump, restore, upgrade and removal of a database with the extension: the
# configuration and the ledger come through as they were, and nobody's edits or
# records are lost.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# Every table of the extension, and partitions of the ledger, as one text.
my $contents_sql = q{
	SELECT c.relname, x.rows
	FROM pg_class c
	JOIN pg_namespace n ON n.oid = c.relnamespace,
	LATERAL (SELECT query_to_xml(format('SELECT to_jsonb(t) AS r FROM %s t ORDER BY to_jsonb(t)', c.oid::regclass), false, false, '')::text AS rows) x
	WHERE c.relkind = 'r' AND c.relname ~ '^(llm_|user_api_keys)' AND n.nspname = 'public'
	ORDER BY c.relname};

# Where identity sequences stand.
my $sequences_sql = q{
	SELECT sequencename, last_value FROM pg_sequences
	WHERE sequencename ~ '^(llm_|user_api_keys)' ORDER BY 1};

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'llm_router'");
$node->start;

sub contents
{
	my ($database) = @_;
	return $node->safe_psql($database, $contents_sql) . $node->safe_psql($database, $sequences_sql);
}

# Compares two databases without printing hundreds of lines when they differ.
sub same_contents
{
	my ($got, $wanted, $name) = @_;
	my @got = split /\n/, contents($got);
	my @wanted = split /\n/, contents($wanted);
	is_deeply(\@got, \@wanted, $name);
	return;
}

# Edits of an operator, and rows in every table.
sub use_database
{
	my ($database) = @_;
	$node->safe_psql($database, q{
		UPDATE llm_providers SET enabled = false, base_url = 'https://eu.api.openai.com/v1' WHERE name = 'openai';
		UPDATE llm_providers SET health_status = 'healthy', response_time_ms = 12 WHERE name = 'groq';
		UPDATE llm_providers SET confirmed_base_url = NULL WHERE name = 'cohere';
		SELECT llm_model_set_price('mistral', 'mistral-large-2512', 7, 8);
		DELETE FROM llm_providers WHERE name = 'replicate';
		DELETE FROM llm_models WHERE model_name = 'claude-opus-5';
		DELETE FROM llm_routing_rules WHERE subscription_tier = 'starter';
		DELETE FROM llm_tiers WHERE subscription_tier = 'starter';
		INSERT INTO llm_tiers (subscription_tier, power_levels) VALUES ('gold', '{eco}');
		SELECT llm_provider_add('local', 'http://localhost:8080/v1', auth_type => 'none');
		SELECT llm_model_add('local', 'tiny', 'eco', 0, 0);
		INSERT INTO llm_routing_rules (power_level, subscription_tier, priority, model_id)
			VALUES ('eco', 'gold', 1, llm_model_id('local', 'tiny'));
		INSERT INTO llm_users (user_id, subscription_tier) VALUES ('ann', 'gold');
		INSERT INTO llm_budgets (scope, period, limit_usd) VALUES ('total', 'month', 5);
		INSERT INTO llm_provider_keys (provider_id, encrypted_api_key, base_url)
		VALUES (llm_provider_id('groq'), 'gAAAAAtest', 'https://api.groq.com/openai/v1');
		INSERT INTO user_api_keys (user_id, provider_id, encrypted_api_key, base_url, masked_key)
		VALUES ('ann', llm_provider_id('groq'), 'gAAAAAtest', 'https://api.groq.com/openai/v1', '…');
		INSERT INTO llm_audit_logs (actor, action) VALUES ('ann', 'byok.key.add');
		INSERT INTO llm_jobs (user_id, role_name, messages) VALUES ('ann', 'ann', '[]');
		INSERT INTO llm_provider_health_checks (provider_id, reachable) VALUES (llm_provider_id('groq'), true);
		INSERT INTO llm_usage_rollup (bucket, user_id, provider, model, power_level, used_byok, status, requests)
			VALUES ('2026-11-23 12:15+00', 'ann', 'replicate', 'gone', 'eco', false, 'ok', 1);
		INSERT INTO llm_usage_quarantine (reason, record) VALUES ('test', '{}');
	});
	return;
}

# The ledger as its writer makes it: partitions with keys of their own and the
# guard view, none of them members of the extension.
sub fill_ledger
{
	my ($database) = @_;
	$node->safe_psql($database, q{
		CREATE TABLE llm_usage_logs_p202611 PARTITION OF llm_usage_logs
			FOR VALUES FROM ('2026-11-01 00:00+00') TO ('2026-12-01 00:00+00');
		ALTER TABLE llm_usage_logs_p202611 ADD PRIMARY KEY (user_id, created_at, request_id, attempt);
		CREATE INDEX ON llm_usage_logs_p202611 (created_at);
		CREATE VIEW llm_usage_guard AS SELECT * FROM llm_usage_logs;
		INSERT INTO llm_usage_logs (id, request_id, attempt, user_id, provider, model, provider_id, total_cost, created_at)
		SELECT nextval('llm_usage_logs_id_seq'), gen_random_uuid(), 1, 'ann', 'replicate', 'gone', 7, 0.000000000000001, '2026-11-23 12:16+00'
		FROM generate_series(1, 10);
	});
	return;
}

my $backup = $node->backup_dir;
mkdir $backup;

$node->safe_psql('postgres', 'CREATE DATABASE used');
$node->safe_psql('used', 'CREATE EXTENSION llm_router');
use_database('used');
fill_ledger('used');

is(scalar(grep { /^(?:llm_|user_api_keys)\w*\|.*<r>/ } split /\n/, $node->safe_psql('used', $contents_sql) =~ s/\n(?!llm_|user_api_keys)//gr),
	16, 'every table has rows to compare');

# Deleting a provider leaves the ledger alone.
is($node->safe_psql('used', q{DELETE FROM llm_providers WHERE name = 'replicate'; SELECT count(*) FROM llm_usage_logs}),
	'10', 'the ledger outlives the provider it names');

# Plain format.
$node->command_ok([ 'pg_dump', '-f', "$backup/used.sql", 'used' ], 'pg_dump, plain format');
$node->safe_psql('postgres', 'CREATE DATABASE plain');
$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', 'plain', '-f', "$backup/used.sql" ], 'plain dump restores');
same_contents('plain', 'used', 'plain dump: every table and sequence is as it was');

# Custom format, one process.
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$backup/used.dump", 'used' ], 'pg_dump, custom format');
$node->safe_psql('postgres', 'CREATE DATABASE custom');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', 'custom', "$backup/used.dump" ], 'custom dump restores');
same_contents('custom', 'used', 'custom dump: every table and sequence is as it was');

# Custom format, many processes: the extension's rows in one process first, as
# doc/schema.md says.
$node->safe_psql('postgres', 'CREATE DATABASE parallel');
my ($toc) = run_command([ 'pg_restore', '-l', "$backup/used.dump" ]);
my $is_ours = qr/ (?:TABLE DATA|SEQUENCE SET) \S+ (?:llm_|user_api_keys)/;
append_to_file("$backup/ours.list", join("\n", grep { $_ =~ $is_ours } split /\n/, $toc) . "\n");
append_to_file("$backup/rest.list", join("\n", grep { $_ !~ $is_ours } split /\n/, $toc) . "\n");
$node->command_ok([ 'pg_restore', '--exit-on-error', '--section=pre-data', '-d', 'parallel', "$backup/used.dump" ],
	'restore of definitions');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-L', "$backup/ours.list", '-d', 'parallel', "$backup/used.dump" ],
	'restore of the extension\'s rows');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-j', '2', '--section=data', '--section=post-data', '-L', "$backup/rest.list",
		'-d', 'parallel', "$backup/used.dump" ],
	'restore of the rest with two processes');
same_contents('parallel', 'used', 'parallel restore: every table and sequence is as it was');

# What a restore leaves behind works.
$node->safe_psql('plain', q{SELECT llm_provider_add('after', 'http://localhost:1/v1')});
is($node->safe_psql('plain', q{SELECT id > (SELECT max(id) FROM llm_providers WHERE name <> 'after') FROM llm_providers WHERE name = 'after'}),
	't', 'ids go on after those that were restored');

# A dump of a dump.
$node->command_ok([ 'pg_dump', '-f', "$backup/again.sql", 'custom' ], 'pg_dump of the restored database');
$node->safe_psql('postgres', 'CREATE DATABASE again');
$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', 'again', '-f', "$backup/again.sql" ], 'it restores');
same_contents('again', 'used', 'restored twice: every table and sequence is as it was');

# A second row of llm_install must not wipe a configuration in use.
my ($status, undef, $error) = $node->psql('used', 'INSERT INTO llm_install DEFAULT VALUES');
isnt($status, 0, 'restoring over a configuration in use is refused');
like($error, qr/configuration of this database is in use/, '… and says why');
same_contents('used', 'custom', '… and changes nothing');

# DROP EXTENSION.
($status, undef, $error) = $node->psql('used', 'DROP EXTENSION llm_router');
isnt($status, 0, 'DROP EXTENSION without CASCADE is refused while there is a ledger');
like($error, qr/llm_usage_guard/, '… naming the guard');
is($node->safe_psql('used', 'SELECT count(*) FROM llm_usage_logs'), '10', '… and the ledger is still there');
$node->safe_psql('postgres', 'CREATE DATABASE unused');
$node->safe_psql('unused', 'CREATE EXTENSION llm_router; DROP EXTENSION llm_router');
is($node->safe_psql('unused', q{SELECT count(*) FROM pg_class WHERE relname ~ '^llm_'}), '0',
	'DROP EXTENSION of an unused installation leaves nothing');

# Renaming the schema.
$node->safe_psql('postgres', 'CREATE DATABASE renamed');
$node->safe_psql('renamed', q{
	CREATE SCHEMA gateway;
	CREATE EXTENSION llm_router SCHEMA gateway;
	ALTER SCHEMA gateway RENAME TO "LLM gateway";
	SET search_path = "LLM gateway";
	SELECT llm_provider_add('local', 'http://localhost:8080/v1');
	SELECT llm_model_add('local', 'tiny', 'eco', 1, 2);
	SELECT llm_model_set_price('local', 'tiny', 3, 4);
	SELECT llm_seed();
	CREATE ROLE renamed_user;
	SELECT llm_grant('renamed_user', 'user'), llm_revoke('renamed_user', 'user');
	UPDATE llm_tiers SET requests_per_minute = 5 WHERE subscription_tier = 'free';
});
is($node->safe_psql('renamed', q{SELECT cost_per_1k_input_tokens FROM "LLM gateway".llm_models WHERE model_name = 'tiny'}),
	'0.003000000000', 'everything works after ALTER SCHEMA RENAME');
$node->command_ok([ 'pg_dump', '-f', "$backup/renamed.sql", 'renamed' ], 'pg_dump after a rename');
$node->safe_psql('postgres', 'CREATE DATABASE renamed_copy');
$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', 'renamed_copy', '-f', "$backup/renamed.sql" ],
	'it restores into the schema of the new name');
is($node->safe_psql('renamed_copy', q{SELECT count(*) FROM "LLM gateway".llm_models WHERE model_name = 'tiny'}),
	'1', '… with its rows');

# An upgrade that ships other prices and a new provider, as a script of a version
# that exists in this test only.
my $extension_dir = $node->config_data('--sharedir') . '/extension';
my $version = $node->safe_psql('postgres', q{SELECT default_version FROM pg_available_extensions WHERE name = 'llm_router'});
my $script = "$extension_dir/llm_router--$version--next.sql";
END { unlink $script if defined $script }

my $upgrade = q{
	DO $upgrade$
	DECLARE
		shipped	text := pg_get_functiondef('llm_seed_models()'::regprocedure);
	BEGIN
		shipped := regexp_replace(shipped, '(''gpt-5.4-mini'', +''GPT-5.4 mini'', +''balanced'', +)0.75', '\10.7');
		shipped := regexp_replace(shipped, '(''mistral-large-2512'', +''Mistral Large 3'', +''balanced'', +)0.5', '\10.4');
		shipped := regexp_replace(shipped, '(''claude-opus-5'', +''Claude Opus 5'', +''precision'', +)5', '\14');
		shipped := regexp_replace(shipped, '\(''openai'', +''gpt-3.5-turbo''',
			'(''newcomer'', ''fresh'', ''Fresh'', ''eco'', 1, NULL, NULL, 2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL), \&');
		EXECUTE shipped;
		EXECUTE replace(pg_get_functiondef('llm_seed_providers()'::regprocedure), '(''openai'', ''OpenAI''',
			'(''newcomer'', ''Newcomer'', ''https://api.example.com/v1'', ''/models'', ''openai'', ''bearer'', ''{}''), (''openai'', ''OpenAI''');
	END
	$upgrade$;
	SELECT llm_seed();
};
my $prices = q{SELECT string_agg(cost_per_1k_input_tokens::text, ' ' ORDER BY model_name) FROM llm_models
	WHERE model_name IN ('gpt-5.4-mini', 'mistral-large-2512')};

my $before = $node->safe_psql('custom', q{SELECT to_jsonb(p) FROM llm_providers p ORDER BY id});
if (-w $extension_dir)
{
	append_to_file($script, $upgrade);
	$node->safe_psql('custom', q{ALTER EXTENSION llm_router UPDATE TO 'next'});
}
else
{
	diag("$extension_dir is not writable: running the upgrade script by hand");
	$node->safe_psql('custom', $upgrade);
}
is($node->safe_psql('custom', $prices), '0.000700000000 0.007000000000',
	'an upgrade improves an untouched price and keeps one that the operator set');
is($node->safe_psql('custom', q{SELECT count(*) FROM llm_models WHERE model_name = 'claude-opus-5'}), '0',
	'… leaves a deleted model deleted');
is($node->safe_psql('custom', q{SELECT count(*) FROM llm_routing_rules WHERE subscription_tier = 'starter'}), '0',
	'… and deleted rules');
is($node->safe_psql('custom', q{SELECT to_jsonb(p) FROM llm_providers p WHERE name <> 'newcomer' ORDER BY id}), $before,
	'… changes no provider');
is($node->safe_psql('custom', q{SELECT m.model_name FROM llm_models m JOIN llm_providers p ON p.id = m.provider_id WHERE p.name = 'newcomer'}),
	'fresh', '… and adds what is new');

my $after = contents('custom');
$node->safe_psql('custom', 'SELECT llm_seed()');
is(contents('custom'), $after, 'writing the catalogue again changes nothing');
$node->stop;
done_testing();

# Where the master key comes from, in which order, and what happens when it is
# missing, wrong, unreadable or changed.
use strict;
use warnings;

use LlmRouterTest;
use MIME::Base64 qw(encode_base64url);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $directory = PostgreSQL::Test::Utils::tempdir();

# A master key that depends on $seed only.
sub master_key { my ($seed) = @_; return encode_base64url(chr($seed) x 32) . '=' }

my ($key_a, $key_b, $key_c) = map { master_key($_) } 1 .. 3;

sub write_file
{
	my ($path, $content, $mode) = @_;
	unlink $path;
	append_to_file($path, $content);
	chmod $mode // 0600, $path;
	return;
}

sub set_key { my ($node, $key) = @_; return "SELECT llm_provider_set_key('openai', '$key', validate => false)" }

sub reload_with
{
	my ($node, $setting, $value) = @_;
	$node->append_conf('postgresql.conf', "$setting = '$value'\n");
	$node->reload;
	LlmRouterTest::wait_for_sql($node, "SELECT current_setting('$setting')", $value);
	return;
}

# The detail of llm_doctor's check of the master key.
sub doctor
{
	my ($node) = @_;
	return LlmRouterTest::sql($node, "SELECT status || ': ' || detail FROM llm_doctor() WHERE check_name = 'master key'");
}

my $node = LlmRouterTest::start_node('generated', streaming => 1);
my $generated = $node->data_dir . '/llm_router_master.key';

subtest 'the generated file' => sub {
	ok(!-e $generated, 'CREATE EXTENSION makes no file');
	is(LlmRouterTest::sql($node, 'SELECT llm_keys_reencrypt()'), 0, 'nothing to re-encrypt');
	doctor($node);
	$node->psql('postgres', 'BEGIN READ ONLY; ' . set_key($node, 'sk-1'));
	ok(!-e $generated, '… nor do looking and a read-only transaction');

	LlmRouterTest::sql($node, set_key($node, 'sk-1'));
	ok(-e $generated, 'the first stored key does');
	is(sprintf('%04o', (stat $generated)[2] & 07777), '0600', 'for the server only');
	my @left = glob($node->data_dir . '/llm_router_master.key.*');
	is(scalar(@left), 0, 'no temporary file stays');
	like(doctor($node), qr/^warning: generated in the data directory/, 'llm_doctor warns of it');
	like(LlmRouterTest::sql($node, 'SELECT master_key_fingerprint FROM llm_install'),
		qr/^[0-9a-f]{16}$/, 'its fingerprint is recorded');

	my $before = slurp_file($generated);
	$node->restart;
	LlmRouterTest::sql($node, set_key($node, 'sk-2'));
	is(slurp_file($generated), $before, 'it stays the same after a restart');
	is(LlmRouterTest::sql($node, 'SELECT llm_keys_reencrypt()'), 0, 'and opens what it sealed');
};

subtest 'a standby makes no file' => sub {
	$node->backup('base');
	my $standby = PostgreSQL::Test::Cluster->new('standby');
	$standby->init_from_backup($node, 'base', has_streaming => 1);
	unlink $standby->data_dir . '/llm_router_master.key';
	$standby->start;
	my ($state) = LlmRouterTest::sql_error($standby, set_key($standby, 'sk-3'));
	is($state, '25006', 'a key cannot be stored there');
	ok(!-e $standby->data_dir . '/llm_router_master.key', 'no file');
	$standby->promote;
	($state) = LlmRouterTest::sql_error($standby, set_key($standby, 'sk-3'));
	is($state, 'LR009', 'nor after promotion, since there are keys that need the missing one');
	ok(!-e $standby->data_dir . '/llm_router_master.key', 'no file');
	$standby->stop;
};

subtest 'another master key' => sub {
	rename $generated, "$directory/kept" or die $!;
	my ($state, $message) = LlmRouterTest::sql_error($node, 'SELECT llm_keys_reencrypt()');
	is($state, 'LR009', "missing: $message");

	write_file("$directory/a", "$key_a\n");
	reload_with($node, 'llm_router.master_key_file', "$directory/a");
	($state, $message) = LlmRouterTest::sql_error($node, set_key($node, 'sk-4'));
	is($state, 'LR009', "wrong: $message");
	is($message, 'the configured master keys are not those of this database', 'it is said of the database');
	($state) = LlmRouterTest::sql_error($node, 'SELECT llm_keys_reencrypt()');
	is($state, 'LR009', 'nothing can be re-encrypted');

	LlmRouterTest::sql($node, 'DELETE FROM llm_provider_keys');
	LlmRouterTest::sql($node, set_key($node, 'sk-4'));
	is(LlmRouterTest::sql($node, 'SELECT llm_keys_reencrypt()'), 0, 'without stored keys any master key will do');
	ok(!-e $generated, 'and no file is made beside another source');
};

subtest 'rotation in the file, without a reload' => sub {
	write_file("$directory/a", "# new\n$key_b\n\n$key_a # old\n");
	like(doctor($node), qr/^ok: 2 from the file/, 'both keys are read');
	is(LlmRouterTest::sql($node, 'SELECT llm_keys_reencrypt()'), 1, 'one key is re-encrypted');
	is(LlmRouterTest::sql($node, 'SELECT llm_keys_reencrypt()'), 0, 'a second time none');
	write_file("$directory/a", "$key_b\n");
	is(LlmRouterTest::sql($node, 'SELECT llm_keys_reencrypt()'), 0, 'the old key is no longer needed');
	LlmRouterTest::sql($node, set_key($node, 'sk-5'));
};

subtest 'a bad file' => sub {
	write_file("$directory/a", "$key_b\n# comment\nnot-a-key\n");
	is(doctor($node), 'error: line 3 of llm_router.master_key_file is not a Fernet key (32 bytes in base64url)',
		'the line is named, its content is not');
	my ($state) = LlmRouterTest::sql_error($node, set_key($node, 'sk-6'));
	is($state, 'LR009', 'no key can be stored');

	write_file("$directory/a", "$key_b\n", 0640);
	like(doctor($node), qr/^error: llm_router.master_key_file can be read or written by others/, 'readable by the group');
	write_file("$directory/a", "# nothing\n");
	like(doctor($node), qr/has no keys$/, 'empty');
	unlink "$directory/a";
	like(doctor($node), qr/cannot be opened: No such file/, 'missing');
	system('mkfifo', '-m', '600', "$directory/a");
	like(doctor($node), qr/is not a regular file$/, 'a named pipe does not hang');
	unlink "$directory/a";
	write_file("$directory/a", "$key_b\n");
	is(LlmRouterTest::sql($node, 'SELECT llm_keys_reencrypt()'), 0, 'mended');
};

subtest 'the command' => sub {
	my $log = "$directory/runs";
	write_file("$directory/from_kms", "$key_b\n");
	reload_with($node, 'llm_router.master_key_command', "echo run >> $log; cat $directory/from_kms");
	is(LlmRouterTest::sql($node, 'SELECT llm_keys_reencrypt()'), 0, 'it comes before the file');
	LlmRouterTest::sql($node, 'SELECT llm_keys_reencrypt()') for 1 .. 3;
	like(doctor($node), qr/^ok: 1 from the command/, 'llm_doctor names it');
	is(slurp_file($log), "run\n", 'five sessions ran it once');

	write_file("$directory/from_kms", "$key_c\n$key_b\n");
	is(LlmRouterTest::sql($node, 'SELECT llm_keys_reencrypt()'), 0, 'a change counts');
	$node->reload;
	LlmRouterTest::wait_for_sql($node, 'SELECT llm_keys_reencrypt()', 1);
	pass('… after a reload');
	is(slurp_file($log), "run\nrun\n", 'which ran it once more');
	$node->restart;
	LlmRouterTest::sql($node, 'SELECT llm_keys_reencrypt()');
	is(slurp_file($log), "run\nrun\nrun\n", 'and so did a restart');

	reload_with($node, 'llm_router.master_key_command', 'exit 3');
	LlmRouterTest::wait_for_sql($node,
		"SELECT detail FROM llm_doctor() WHERE check_name = 'master key'",
		'llm_router.master_key_command failed with exit status 3');
	pass('a failure is told');
};

subtest 'a command that hangs can be cancelled, and leaves no process' => sub {
	my $pid_file = "$directory/pid";
	reload_with($node, 'llm_router.master_key_command', "echo \$\$ > $pid_file; sleep 1000; :");
	my ($state) =
	  LlmRouterTest::sql_error($node, "SET statement_timeout = '1s'; SELECT llm_keys_reencrypt()");
	is($state, '57014', 'cancelled');
	my $pid = slurp_file($pid_file) + 0;
	ok($pid > 0 && !kill(0, $pid), 'the command is gone');
};

subtest 'the environment comes first' => sub {
	local $ENV{LLM_ROUTER_MASTER_KEY} = "$key_c, $key_b";
	$node->restart;
	like(doctor($node), qr/^ok: 2 from the environment/, 'both keys are read');
	is(LlmRouterTest::sql($node, 'SELECT llm_keys_reencrypt()'), 0, 'and open what is stored');
	$ENV{LLM_ROUTER_MASTER_KEY} = "$key_c,$key_b,short";
	$node->restart;
	is(doctor($node), 'error: key 3 of LLM_ROUTER_MASTER_KEY is not a Fernet key (32 bytes in base64url)',
		'a bad one is told by its number');
};

my $log = slurp_file($node->logfile);
unlike($log, qr/not-a-key|\Q$key_a\E|\Q$key_b\E|\Q$key_c\E/, 'no master key is in the server log');
$node->stop;
done_testing();

# Keys that come in statements stay out of all that the server writes and shows,
# with everything that logs or counts statements turned on as far as it goes.
# What cannot be kept out is in doc/security.md; it is not among the statements here.
use strict;
use warnings;

use File::Find;
use JSON::PP;
use LlmRouterTest;
use PostgreSQL::Test::Utils;
use Test::More;

# Each key has the mark in it, which is looked for; the last two have no prefix.
my $mark = 'SeNtIn';
my %keys = (
	openai      => 'sk-proj-SeNtInEl0openai-Abc_123456',
	anthropic   => 'sk-ant-api03-SeNtInEl1anthropic-x',
	openrouter  => 'sk-or-v1-SeNtInEl2openrouter0123',
	groq        => 'gsk_SeNtInEl3groq0123456789',
	huggingface => 'hf_SeNtInElHuggingFaceAbcdefghijk',
	replicate   => 'r8_SeNtInEl4replicate0123456789',
	google      => 'AIzaSySeNtInEl5google0123-_x',
	together    => 'tgp_v1_SeNtInEl6together0123',
	cohere      => 'SeNtInEl7cohere0123456789abcdefghijkl',
	mistral     => 'SeNtInElMistralHasNeitherPrefixNorNumber');
my @prefixed = grep { !/cohere|mistral/ } sort keys %keys;

# The functions that take keys, called with a key as SQL has it.
my @functions = (
	sub { "llm_provider_set_key('sim', $_[0], validate => false)" },
	sub { "llm_key_add('sim', $_[0], 'key ' || nextval('names'), validate => false)" },
	sub { "llm_key_test('sim', $_[0])" },
	sub { "llm_key_update(1, $_[0], validate => false)" });

my $provider = LlmRouterTest::start_provider(arguments => [ map { ('--api-key', $_) } 'sk-test-good', values %keys ]);
my $node = LlmRouterTest::start_node('leaks', conf => <<'CONF');
shared_preload_libraries = 'auto_explain,pg_stat_statements,pgaudit,llm_router'
logging_collector = on
log_directory = 'log'
log_destination = 'stderr,csvlog,jsonlog'
log_min_messages = debug5
log_min_error_statement = debug5
log_error_verbosity = verbose
log_statement = all
log_duration = on
log_min_duration_statement = 0
log_parameter_max_length = -1
log_parameter_max_length_on_error = -1
log_lock_waits = on
log_temp_files = 0
restart_after_crash = on
deadlock_timeout = '10ms'
track_activity_query_size = '8kB'
auto_explain.log_min_duration = 0
auto_explain.log_analyze = on
auto_explain.log_verbose = on
auto_explain.log_settings = on
auto_explain.log_triggers = on
auto_explain.log_nested_statements = on
pgaudit.log = 'all'
pgaudit.log_parameter = on
pgaudit.log_relation = on
pgaudit.log_client = on
pgaudit.log_rows = on
pg_stat_statements.track = all
pg_stat_statements.track_utility = on
CONF
LlmRouterTest::add_sim($node, $provider, path => '/v1', auth_type => 'bearer');
sql(q(UPDATE llm_providers SET check_path = '/models' WHERE name = 'sim'));
sql(q(CREATE EXTENSION pg_stat_statements; CREATE EXTENSION pgaudit));
sql(q(SELECT llm_key_add('sim', 'sk-test-good', 'first', validate => false)));
sql(q(CREATE TABLE texts (a text UNIQUE, b int CHECK (b <> 3)); CREATE SEQUENCE names));

sub sql { return LlmRouterTest::sql($node, shift) }

my @told;                              # everything that clients were told
my $files = 0;

sub write_steps
{
	my (@steps) = @_;
	my $file = "$PostgreSQL::Test::Utils::tmp_check/steps" . $files++ . '.json';
	open my $handle, '>:raw', $file or die "$file: $!";
	print $handle encode_json(\@steps);
	close $handle;
	return $file;
}

# Runs steps of test/client/statements.py in one session; what became of each.
sub run_steps
{
	my (@steps) = @_;
	my ($out, $err) = ('', '');
	IPC::Run::run([ LlmRouterTest::python(), LlmRouterTest::project() . '/test/client/statements.py', $node->connstr('postgres'), write_steps(@steps) ],
		'>', \$out, '2>', \$err);
	my @answers = map { decode_json($_) } split /\n/, $out;
	die "$out$err" if @answers != @steps;
	push @told, map { @{ $_->{texts} } } @answers;
	return @answers;
}

# The steps of a subtest, [ SQLSTATE, step ] each: all in one session.
sub ends_with
{
	my ($what, @expected) = @_;
	my @answers = run_steps(map { $_->[1] } @expected);
	my @wrong = grep { $answers[$_]{state} ne $expected[$_][0] } 0 .. $#expected;
	is(scalar @wrong, 0, "$what: " . scalar(@expected) . ' statements end as they should')
	  or diag(map { "$expected[$_][1]{sql}: $answers[$_]{state} instead of $expected[$_][0]: @{ $answers[$_]{texts} }\n" } @wrong);
	return;
}

# A subtest that has each key of @names in statements of $make->(key, call), where
# call makes SQL of SQL; functions take turns.
sub with_keys
{
	my ($what, $names, $make) = @_;
	my $turn = 0;
	subtest $what => sub {
		foreach my $name (@$names)
		{
			# A user has a bounded number of keys.
			sql(q(DELETE FROM user_api_keys WHERE key_name LIKE 'key %'));
			ends_with($name, $make->($keys{$name}, $functions[ $turn++ % @functions ]));
		}
	};
	return;
}

my @all = sort keys %keys;

# ------------------------------------------------------------------------
# Statements of every kind
# ------------------------------------------------------------------------

with_keys('a plan that is kept, when pg_stat_statements has forgotten its statement' => \@all, sub {
	my ($key, $call) = @_;
	return map { [ '00000', { sql => $_ } ] } 'CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $f$ BEGIN PERFORM ' . $call->("'$key'") . '; END $f$',
	  'SELECT f()', 'SELECT pg_stat_statements_reset()', 'SELECT f()', 'DROP FUNCTION f';
});
my $forgotten = sql(q(SELECT count(*) FROM pg_stat_statements WHERE query ~ 'SeNt[I]n'));

my $columns = 0;                       # each time a statement that pg_stat_statements does not have
with_keys('a literal' => \@all, sub {
	my ($key, $call) = @_;
	my ($half, $rest) = $key =~ /^(.*$mark)(.*)$/;
	return map { [ '00000', { sql => 'SELECT ' . $call->($_) . ', 1' x ++$columns } ] } "-- SELECT llm_key_add('sim', '$key')\n'$key'", "'$key'", "E'$key'", "U&'$key'", "\$\$$key\$\$", "\$x\$$key\$x\$",
	  "'$half'\n-- it's one\n'$rest'", "'$half' || '$rest'", "/* '$key' */ '$key' -- $key\n", "'$key'::text", "text'$key'";
});

with_keys('a literal in the extended protocol' => \@all, sub {
	my ($key, $call) = @_;
	return ([ '00000', { sql => 'SELECT ' . $call->("'$key'"), params => [] } ],
		[ '00000', { sql => 'SELECT ' . $call->("'$key'"), params => [], name => 'statement' } ],
		[ '00000', { sql => "SELECT pg_log_backend_memory_contexts(pg_backend_pid())" } ]);
});

with_keys('a bound parameter' => \@all, sub {
	my ($key, $call) = @_;
	return ([ '00000', { sql => 'SELECT ' . $call->('$1'), params => [ $key ] } ],
		[ '00000', { sql => 'SELECT ' . $call->('$1'), params => [ $key ], name => 'statement' } ],
		[ '22012', { sql => 'SELECT ' . $call->('$1') . ', 1 / $2::int', params => [ $key, '0' ] } ],
		[ '22P02', { sql => 'SELECT ' . $call->('$2') . ', $1::int', params => [ $key, $key ] } ]);
});

with_keys('DO, prepared statements, EXPLAIN, CREATE TABLE AS, cursors, COPY, several statements at once' => \@all, sub {
	my ($key, $call) = @_;
	my $counted = sub { 'SELECT count(s) FROM (SELECT ' . $call->("'$key'") . ') AS s' };
	my $plan = 'EXPLAIN (ANALYZE, VERBOSE) ';
	return map { [ '00000', { sql => $_ } ] } 'DO $$ BEGIN PERFORM ' . $call->("'$key'") . '; END $$',
	  "DO 'DECLARE k text := ''$key''; BEGIN EXECUTE ''SELECT * FROM " . $call->('$1') =~ s/'/''''/gr . "'' USING k; END'",
	  'PREPARE p AS ' . $counted->(), 'EXECUTE p', "$plan EXECUTE p", 'CREATE TEMP TABLE x AS EXECUTE p', 'DROP TABLE x', 'DEALLOCATE p',
	  $plan . $counted->(), 'CREATE TEMP TABLE x AS ' . $counted->(), 'DROP TABLE x', 'SELECT count(s) INTO TEMP x FROM (SELECT ' . $call->("'$key'") . ') AS s', 'DROP TABLE x',
	  'BEGIN', 'DECLARE c CURSOR FOR ' . $counted->(), 'SELECT * FROM pg_cursors', 'FETCH c', 'COMMIT', 'DECLARE c CURSOR WITH HOLD FOR ' . $counted->(), 'FETCH c', 'CLOSE c',
	  'COPY (' . $counted->() . ') TO STDOUT', 'SELECT 1; ' . $counted->() . "; SELECT 'x'",
	  'BEGIN; SAVEPOINT s; ' . $counted->() . '; ROLLBACK TO s; COMMIT',
	  'INSERT INTO texts (b) ' . $counted->(), 'UPDATE texts SET b = (' . $counted->() . ')', 'DELETE FROM texts WHERE b = (' . $counted->() . ')',
	  'VALUES ((' . $counted->() . '))', 'WITH x AS MATERIALIZED (' . $counted->() . ') SELECT * FROM x';
});

with_keys('objects that have a key in their text, while they are made, used and dropped' => \@all, sub {
	my ($key, $call) = @_;
	my $counted = sub { 'SELECT count(s) FROM (SELECT ' . $call->("'$key'") . ') AS s' };
	return map { [ '00000', { sql => $_ } ] } 'CREATE VIEW v AS ' . $counted->(), 'SELECT * FROM v', 'DROP VIEW v',
	  'CREATE MATERIALIZED VIEW v AS ' . $counted->(), 'REFRESH MATERIALIZED VIEW v', 'DROP MATERIALIZED VIEW v',
	  'CREATE FUNCTION f() RETURNS bigint LANGUAGE sql AS $f$' . $counted->() . '$f$', 'SELECT f()', 'DROP FUNCTION f',
	  'CREATE FUNCTION f() RETURNS bigint LANGUAGE sql BEGIN ATOMIC ' . $counted->() . '; END', 'SELECT f()', 'DROP FUNCTION f',
	  'CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $f$ BEGIN PERFORM ' . $call->("'$key'") . '; END $f$', 'SELECT f()', 'DROP FUNCTION f',
	  "CREATE FUNCTION my_llm_key_add(secret text) RETURNS void LANGUAGE plpgsql AS 'BEGIN PERFORM llm_provider_set_key(''sim'', secret, validate => false); END'",
	  "SELECT my_llm_key_add('$key')", 'DROP FUNCTION my_llm_key_add',
	  'CREATE PROCEDURE p() LANGUAGE plpgsql AS $f$ BEGIN PERFORM ' . $call->("'$key'") . '; COMMIT; PERFORM ' . $call->("'$key'") . '; END $f$', 'CALL p()', 'DROP PROCEDURE p';
});

my $new = 5;                           # each time a statement that pg_stat_statements does not have
with_keys('a known prefix, where no function of ours is named' => \@prefixed, sub {
	my ($key) = @_;
	return ((map { [ '00000', { sql => $_ } ] } "SELECT '$key'", "SELECT 1 AS \"$key\"", "SELECT 1 /* $key */" . ' + 1' x $new++ . " -- $key", "SET app.secret = '$key'", 'RESET app.secret',
			"PREPARE p (text) AS SELECT \$1", "EXECUTE p('$key')", 'DEALLOCATE p', "DO \$\$ DECLARE k text := '$key'; BEGIN RAISE WARNING 'the key is %', k USING DETAIL = k, HINT = k; END \$\$",
			"CREATE TABLE t (a text DEFAULT '$key')", "COMMENT ON TABLE t IS '$key'", 'DROP TABLE t', "COPY texts (a) FROM PROGRAM 'echo $key >/dev/null'",
			"CREATE FUNCTION w(provider text, secret text) RETURNS void LANGUAGE plpgsql AS 'BEGIN PERFORM llm_provider_set_key(provider, secret, validate => false); END'",
			"SELECT w('sim', '$key')", "SELECT w(secret => '$key', provider => 'sim')", 'DROP FUNCTION w',
			"CREATE PROCEDURE w(provider text, secret text) LANGUAGE plpgsql AS 'BEGIN PERFORM llm_provider_set_key(provider, secret, validate => false); END'",
			"CALL w('sim', '$key')", 'DROP PROCEDURE w'),
		[ '00000', { sql => 'SELECT $1::text', params => [ $key ] } ], [ '22P02', { sql => 'SELECT $1::int', params => [ $key ] } ],
		[ '22P02', { sql => "SELECT '$key'::int" } ], [ '42703', { sql => "SELECT \"$key\"" } ], [ '42P01', { sql => "SELECT * FROM \"$key\"" } ],
		[ '42601', { sql => "SELEC '$key'" } ], [ '22P02', { sql => "SELECT '{\"key\": $key}'::json" } ],
		[ '00000', { sql => 'COPY texts (a) FROM STDIN', copy => "$key\n" } ], [ '23505', { sql => 'COPY texts (a) FROM STDIN', copy => "$key\n" } ],
		[ '22P02', { sql => 'COPY texts (b) FROM STDIN', copy => "$key\n" } ], [ '23505', { sql => "INSERT INTO texts (a) VALUES ('$key')" } ],
		[ '23514', { sql => "INSERT INTO texts VALUES ('$key', 3)" } ], [ '00000', { sql => 'DELETE FROM texts' } ],
		[ '22023', { sql => "SET llm_router.default_power_level = '$key'" } ], [ '22023', { sql => "SET SESSION AUTHORIZATION '$key'" } ],
		[ '42704', { sql => "SELECT '\"$key\"'::regtype" } ], [ '3F000', { sql => "CREATE TABLE \"$key\".t ()" } ]);
});

with_keys('statements that fail' => \@all, sub {
	my ($key, $call) = @_;
	my $good = $call->("'$key'");
	return ([ '42601', { sql => "SELECT $good FROM" } ], [ '42601', { sql => "SELECT $good)", params => [] } ],
		[ '42601', { sql => "SELECT llm_key_add('sim', '$key'" } ], [ '42601', { sql => "SELECT llm_key_add('sim', $key')" } ],
		[ '42601', { sql => "SELECT llm_key_add('sim, '$key')" } ], [ '42601', { sql => "SELECT llm_key_add('sim', '$key" } ],
		[ '42703', { sql => "SELECT $good, nothing" } ], [ '42P01', { sql => "SELECT $good FROM nothing" } ], [ '42883', { sql => "SELECT llm_key_add('$key')" } ],
		[ '22012', { sql => "SELECT $good, 1 / (SELECT 0 FROM pg_class LIMIT 1)" } ],
		[ '22P02', { sql => "SELECT llm_key_add('sim', '$key', validate => '$key')" } ], [ '22P02', { sql => "SELECT llm_key_update('$key', '$key')" } ],
		[ '00000', { sql => "SELECT 1 / (current_query() !~ 'SeNt[I]n')::int, $good" } ],
		[ '42703', { sql => "DO \$d\$ BEGIN EXECUTE 'SELECT nothing, ' || \$q\$$good\$q\$; END \$d\$" } ],
		[ '22P02', { sql => "SELECT $good, '$key'::int" } ], [ '22P02', { sql => "SELECT $good, '{$key}'::json" } ],
		[ '22023', { sql => "SELECT llm_provider_set_key('nobody', '$key')" } ], [ '22023', { sql => "SELECT llm_key_add(NULL, '$key')" } ],
		[ '22023', { sql => "SELECT llm_provider_set_key('sim', '$key and more')" } ], [ '22023', { sql => "SELECT llm_key_test('sim', E'$key\\n')" } ],
		[ '22023', { sql => "SELECT llm_key_update(0, '$key')" } ], [ '23505', { sql => "SELECT llm_key_add('sim', '$key', 'first', validate => false)" } ],
		[ '25006', { sql => "BEGIN READ ONLY; SELECT llm_key_add('sim', '$key')" } ], [ '25P02', { sql => "SELECT $good" } ], [ '00000', { sql => 'ROLLBACK' } ],
		[ '00000', { sql => "INSERT INTO texts (a) SELECT '$key' FROM (SELECT $good) AS s" } ],
		[ '23505', { sql => "INSERT INTO texts (a) SELECT '$key' FROM (SELECT " . $call->("'$key'") . ') AS s' } ],
		[ '23514', { sql => "INSERT INTO texts SELECT 'x$key', 3 FROM (SELECT " . $call->("'$key'") . ') AS s' } ], [ '00000', { sql => 'DELETE FROM texts' } ],
		[ '42501', { sql => "SET ROLE pg_monitor; SELECT $good" } ], [ '00000', { sql => 'RESET ROLE' } ]);
});

subtest 'a key with a prefix, or with numbers, in the wrong quotes or in none' => sub {
	foreach my $name (grep { $_ ne 'mistral' } @all)
	{
		ends_with($name, [ '42703', { sql => "SELECT llm_key_add('sim', \"$keys{$name}\")" } ]);
		my ($answer) = run_steps({ sql => "SELECT llm_key_add('sim', $keys{$name})" });
		like($answer->{state}, qr/^42/, "$name: an error");
	}
};

my $quiet = join '; ', "SET log_statement = 'none'", "SET log_min_messages = 'error'", 'SET log_duration = off', 'SET log_min_duration_statement = -1',
  'SET auto_explain.log_min_duration = -1', "SET pgaudit.log = 'none'";

# Each is given the whole text, which has to be read once for all of them.
subtest 'ten thousand statements in one text' => sub {
	my $calls = join ';', map { "SELECT $_, llm_key_test('sim', '$keys{mistral}')" } 1 .. 3;
	ends_with('with a key', [ '00000', { sql => $quiet . ';' . join(';', ("INSERT INTO texts (b) VALUES (1)") x 10000, $calls, 'DELETE FROM texts') . '; SELECT 1 /* ' . 'x' x 1000000 . ' */' } ]);
};

subtest 'texts of many bytes, in other languages, and with everything that looks like a quote' => sub {
	my $long = 'Schlüssel und 鍵 ' x 40000;
	ends_with('them', map { [ '00000', { sql => $_ } ] } "SELECT llm_key_test('sim', '$keys{cohere}'), '$long', '$keys{openai}'", "SELECT '$long', '$keys{openai}'",
		"SELECT '$long'; DO \$\$ BEGIN PERFORM llm_key_test('sim', \$q\$$keys{mistral}\$q\$); END \$\$",
		"SELECT 'it''s', E'it\\'s', \"a'b\" FROM (SELECT 1 AS \"a'b\") AS x, /* it's /* nested's */ */ llm_key_test('sim', '$keys{cohere}') -- it's",
		"SET standard_conforming_strings = off", "SELECT 'it\\'s', llm_key_test('sim', '$keys{cohere}'), 'C:\\\\'", 'RESET standard_conforming_strings');
};

# ------------------------------------------------------------------------
# While statements run
# ------------------------------------------------------------------------

# Not by the mark itself, so that looking for it is not found.
my $seen = "SELECT count(*) FROM pg_stat_activity WHERE query ~ 'SeNt[I]n'";

# The pid of the session of that application_name which runs something.
sub pid_of
{
	my ($name) = @_;
	return LlmRouterTest::wait_until("session $name",
		sub { sql("SELECT pid FROM pg_stat_activity WHERE application_name = '$name' AND state = 'active'") });
}

# Runs steps in the background, of which the last one waits for something. The log is
# quiet, so that it is not what hides keys.
sub start_steps
{
	my ($name, @steps) = @_;
	unshift @steps, { sql => $quiet };
	return LlmRouterTest::start_process($name, LlmRouterTest::python(), LlmRouterTest::project() . '/test/client/statements.py',
		$node->connstr('postgres') . " application_name=$name", write_steps(@steps));
}

# What start_process wrote down.
sub note_told
{
	my ($name) = @_;
	push @told, slurp_file("$PostgreSQL::Test::Utils::log_path/$name.log");
	return;
}

my %waiting = (
	simple   => sub { ({ sql => "SELECT llm_key_test('sim', '$_[0]')" }) },
	extended => sub { ({ sql => "SELECT llm_key_test('sim', '$_[0]')", params => [] }) },
	from     => sub { ({ sql => "SELECT * FROM llm_key_test('sim', '$_[0]')", params => [] }) },
	named    => sub { ({ sql => "SELECT llm_key_test('sim', '$_[0]')", params => [], name => 's' }) },
	bound    => sub { ({ sql => "SELECT llm_key_test('sim', \$1)", params => [ $_[0] ] }) },
	insert   => sub { ({ sql => "INSERT INTO texts (b) SELECT count(s) FROM (SELECT llm_key_test('sim', '$_[0]')) AS s", params => [] }) },
	do       => sub { ({ sql => "DO \$\$ BEGIN PERFORM llm_key_test('sim', '$_[0]'); END \$\$", params => [] }) },
	cursor   => sub { ({ sql => 'BEGIN' }, { sql => "DECLARE c CURSOR FOR SELECT llm_key_test('sim', '$_[0]')", params => [] }, { sql => 'FETCH c' }) },
	execute  => sub { ({ sql => "PREPARE p AS SELECT llm_key_test('sim', \$1)" }, { sql => "EXECUTE p('$_[0]')" }) },
	copy     => sub { ({ sql => "COPY (SELECT llm_key_test('sim', '$_[0]')) TO STDOUT" }) },
	cut      => sub { ({ sql => 'SELECT llm_key_test(\'sim\', \'' . $_[0] . '\'), \'' . ('x' x 9000) . "'" }) },
	late     => sub { ({ sql => "WITH k AS MATERIALIZED (SELECT '$_[0]' AS k) SELECT '" . ('x' x 9000) . "', llm_key_test('sim', k) FROM k" }) });

subtest 'pg_stat_activity, while a statement waits for a provider, and after it was cancelled' => sub {
	foreach my $how (sort keys %waiting)
	{
		foreach my $name ('openai', 'mistral')
		{
			$provider->reset;
			$provider->script({ hang => 'before_headers', times => undef });
			my $process = start_steps("wait_${how}_$name", $waiting{$how}->($keys{$name}));
			$provider->wait_for_requests(1);
			my $pid = pid_of("wait_${how}_$name");
			is(sql($seen), 0, "$how, $name: not while it runs");
			sql("SELECT pg_cancel_backend($pid)");
			LlmRouterTest::wait_for_exit($process);
			note_told("wait_${how}_$name");
			like($told[-1], qr/57014/, "$how, $name: cancelled");
		}
	}
	$provider->reset;
};

subtest 'statement_timeout, waiting for a lock, and a deadlock' => sub {
	$provider->script({ hang => 'before_headers', times => undef });
	ends_with("$_: statement_timeout", [ '00000', { sql => "SET statement_timeout = '200ms'" } ], [ '57014', { sql => "SELECT llm_key_test('sim', '$keys{$_}')" } ],
		[ '57014', { sql => "SELECT llm_key_test('sim', \$1)", params => [ $keys{$_} ] } ]) foreach 'openai', 'mistral';
	$provider->reset;

	my $lock = $node->background_psql('postgres', on_error_stop => 0);
	$lock->query_safe('BEGIN; LOCK TABLE llm_provider_keys');
	foreach my $name ('openai', 'mistral')
	{
		my $process = start_steps("lock_$name", { sql => "SELECT llm_provider_set_key('sim', '$keys{$name}', validate => false)" });
		LlmRouterTest::wait_for_sql($node, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'lock_$name' AND wait_event_type = 'Lock'", 1);
		is(sql($seen), 0, "$name: not while it waits");
		sql("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = 'lock_$name'");
		LlmRouterTest::wait_for_exit($process);
		note_told("lock_$name");
	}
	$lock->query('ROLLBACK');

	# The log has both statements.
	my $process = start_steps('deadlock', { sql => 'BEGIN; LOCK TABLE texts' },
		{ sql => "SELECT pg_advisory_lock(1), pg_advisory_unlock(1), llm_provider_set_key('sim', '$keys{mistral}', validate => false)" });
	$lock->query_safe('SELECT pg_advisory_lock(1)');
	LlmRouterTest::wait_for_sql($node, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'deadlock' AND wait_event_type = 'Lock'", 1);
	$lock->query("SELECT llm_key_test('sim', '$keys{mistral}') FROM texts");
	$lock->query('SELECT pg_advisory_unlock_all()');
	LlmRouterTest::wait_for_exit($process);
	note_told('deadlock');
	$lock->quit;
};

subtest 'pg_stat_activity, after a statement that did not run' => sub {
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	foreach my $statement (map { ("SELECT llm_key_test('sim', '$_') FROM", "SELECT nothing, llm_key_test('sim', '$_')", "SELECT llm_key_test('nobody', '$_')") } $keys{openai}, $keys{mistral})
	{
		$session->query($statement);
		is(sql($seen), 0, $statement =~ s/$mark\w+/…/r);
	}
	$session->quit;
};

# ------------------------------------------------------------------------
# Where keys are looked for
# ------------------------------------------------------------------------

subtest 'no table and no view has a key' => sub {
	sql(<<"SQL");
CREATE FUNCTION places() RETURNS TABLE (place text, hits bigint) LANGUAGE plpgsql AS \$\$
BEGIN
	FOR place IN SELECT oid::regclass FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'f') ORDER BY 1
	LOOP
		EXECUTE format('SELECT count(*) FROM %s AS whole_row WHERE whole_row::text ~ \$1', place) INTO hits USING 'SeNt[I]n';
		RETURN NEXT;
	END LOOP;
END \$\$
SQL
	my %found = map { split /\|/ } split /\n/, sql("SET log_min_messages = warning; SET auto_explain.log_min_duration = -1; SET pgaudit.log = none; SELECT * FROM places()");
	cmp_ok(scalar keys %found, '>', 200, 'looked at ' . scalar(keys %found) . ' tables and views, of the system and of llm_router');
	ok(exists $found{$_}, "such as $_") foreach qw(llm_provider_keys user_api_keys llm_audit_logs llm_keys pg_stat_statements pg_stat_activity pg_settings pg_prepared_statements);
	is_deeply([ grep { $found{$_} > 0 } sort keys %found ], [], 'and found none');
	is($forgotten, 0, 'nor had pg_stat_statements before it was last told to forget');
	sql('DROP FUNCTION places');
	cmp_ok(sql(q(SELECT count(*) FROM pg_stat_statements WHERE query ~ 'llm_key_test' AND query ~ '\*\*\*')), '>', 0, 'pg_stat_statements has the statements, without the keys');
};

subtest 'no dump has a key' => sub {
	foreach my $command ([ 'pg_dump', '-d', $node->connstr('postgres') ], [ 'pg_dumpall', '-d', $node->connstr('postgres') ])
	{
		my ($out, $err) = ('', '');
		ok(IPC::Run::run($command, '>', \$out, '2>', \$err), "$command->[0] works") or diag($err);
		like($out, qr/gAAAAA/, "$command->[0] has encrypted keys");
		unlike($out, qr/$mark/, "$command->[0] has none in plain text");
	}
};

subtest 'no request had a key in its address' => sub {
	$provider->reset;
	sql("SELECT llm_provider_set_key('sim', '$keys{openai}')");
	sql("SELECT llm_ask('Hi', 'eco', options => '{\"router\": {\"byok\": \"never\"}}')");
	my @requests = $provider->requests;
	cmp_ok(scalar @requests, '>=', 2, 'the provider was asked');
	unlike($_->{path} . ($_->{query} // '') . encode_json($_->{body} // ''), qr/$mark/, "$_->{path}: not in path, query and body") foreach @requests;
};

subtest 'no error and no notice had a key' => sub {
	cmp_ok(scalar @told, '>', 300, 'clients were told ' . scalar(@told) . ' texts');
	my @leaks = grep { /$mark/ } @told;
	is(scalar @leaks, 0, 'none with a key') or diag(join "\n", @leaks[0 .. ($#leaks < 9 ? $#leaks : 9)]);
};

subtest 'a backend that crashes with a statement' => sub {
	foreach my $name ('openai', 'mistral')
	{
		$provider->reset;
		$provider->script({ hang => 'before_headers', times => undef });
		my $process = start_steps("crash_$name", { sql => "SELECT llm_key_test('sim', '$keys{$name}')" });
		$provider->wait_for_requests(1);
		kill 'KILL', pid_of("crash_$name");
		LlmRouterTest::wait_for_exit($process);
		LlmRouterTest::wait_until('the server has restarted', sub { my ($status) = $node->psql('postgres', 'SELECT 1'); $status == 0 });
	}
	pass('and the server goes on');
};

subtest 'no log has a key' => sub {
	$node->stop;
	my @logs = $node->logfile;
	find({ no_chdir => 1, wanted => sub { push @logs, $_ if -f } }, map { $node->data_dir . "/$_" } qw(log pg_stat pg_stat_tmp));
	my %kinds;
	foreach my $log (@logs)
	{
		my ($kind) = $log =~ m{([^/.]+|\.csv|\.json|\.log)$};
		my @leaks;
		open my $handle, '<:raw', $log or die "$log: $!";
		while (my $line = <$handle>)
		{
			$kinds{$kind}++;
			push @leaks, $line if $line =~ /$mark/;
		}
		close $handle;
		is(scalar @leaks, 0, "none in $kind of " . (-s $log) . ' bytes') or diag(map { substr($_, 0, 1000) } @leaks[0 .. ($#leaks < 9 ? $#leaks : 9)]);
	}
	cmp_ok($kinds{$_} // 0, '>', 1000, "$_ was read") foreach qw(.log .csv .json);
	my $said = join '', map { slurp_file($_) } grep { /\.log$/ } @logs;
	like($said, qr/$_/, "the log has: $_") foreach qr/LOG: .* statement: SELECT llm_key_add\('\*+'/, qr/execute <unnamed>: SELECT llm_key_test\('sim', \$1\)|execute <unnamed>: SELECT llm_key_add/,
	  qr/DETAIL:  parameters: \$1 = '\*+'/, qr/AUDIT: SESSION,\d+,1,READ,SELECT,/, qr/Query Text: SELECT /, qr/prepare: PREPARE p AS/, qr/CONTEXT:  .* with parameters: \$1 = '\*+/,
	  qr/still waiting for/, qr/Failed process was running: SELECT llm_key_test\('\*+/, qr/canceling statement due to statement timeout/;
};

subtest 'llm_doctor warns where another library is loaded later' => sub {
	$node->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_stat_statements,llm_router,pgaudit'\n");
	$node->start;
	is(sql("SELECT status, hint FROM llm_doctor() WHERE check_name = 'preload'"),
		"warning|Set shared_preload_libraries = 'pg_stat_statements, pgaudit, llm_router' and restart the server.", 'with the line to set');
	$node->stop;
};

done_testing();

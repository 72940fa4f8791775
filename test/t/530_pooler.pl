# Identity through a pooler in transaction mode: two end users in turn over one
# server connection, each with its own identity, usage and tier, and nothing left
# behind for the next.
use strict;
use warnings;

use IPC::Run;
use LlmRouterTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $provider = LlmRouterTest::start_provider();
my $node = LlmRouterTest::start_node('pooled');
LlmRouterTest::add_sim($node, $provider);
LlmRouterTest::sql($node, <<'SQL');
CREATE ROLE app LOGIN;
CREATE ROLE web;
SELECT llm_grant('app', 'application'), llm_grant('web', 'user');
GRANT web TO app;
INSERT INTO llm_users (user_id, subscription_tier) VALUES ('ann', 'enterprise'), ('bob', 'starter');
SQL

# PgBouncer on a Unix socket of its own, as the user that runs the tests, with
# one connection to the server.
my ($pgbouncer) = grep { -x } '/usr/sbin/pgbouncer', '/usr/bin/pgbouncer';
die "pgbouncer is missing: bash test/install_dependencies.sh test\n" unless $pgbouncer;
my $directory = PostgreSQL::Test::Utils::tempdir_short();
my $server = $node->host;
my $server_port = $node->port;
my $port = 6432;
append_to_file("$directory/users", qq("app" ""\n));
append_to_file("$directory/pgbouncer.ini", <<"INI");
[databases]
postgres = host=$server port=$server_port dbname=postgres
[pgbouncer]
listen_addr =
listen_port = $port
unix_socket_dir = $directory
auth_type = trust
auth_file = $directory/users
pool_mode = transaction
default_pool_size = 1
reserve_pool_size = 0
INI
my $pid = LlmRouterTest::start_process('pgbouncer', $pgbouncer, "$directory/pgbouncer.ini");
my $pooled = "host=$directory port=$port dbname=postgres user=app";
LlmRouterTest::wait_until('PgBouncer answers',
	sub { -S "$directory/.s.PGSQL.$port" && ($node->psql('postgres', 'SELECT 1', connstr => $pooled))[0] == 0 });

# A client that stays connected to the pooler.
sub client
{
	my $client = { in => '', out => '', err => '' };
	$client->{handle} = IPC::Run::start([ 'psql', '-XAtq', '-d', $pooled ],
		'<', \$client->{in}, '>', \$client->{out}, '2>', \$client->{err}, IPC::Run::timeout(180));
	return $client;
}

# The output of statements, and then their errors.
my $number = 0;
sub ask
{
	my ($client, $statements) = @_;
	my $mark = 'done ' . ++$number;
	$client->{out} = $client->{err} = '';
	$client->{in} = "$statements;\n\\echo $mark\n\\warn $mark\n";
	$client->{handle}->pump until $client->{out} =~ /\Q$mark\E\n/ && $client->{err} =~ /\Q$mark\E\n/;
	my ($answer) = $client->{out} =~ /^(.*?)\n?\Q$mark\E\n/s;
	my ($error) = $client->{err} =~ /^(.*?)\n?\Q$mark\E\n/s;
	return $error eq '' ? $answer : "$answer$error";
}

my ($first, $second) = (client(), client());
my $backend = ask($first, 'SELECT pg_backend_pid()');
is(ask($second, 'SELECT pg_backend_pid()'), $backend, 'both clients have the same server connection');

# The transactions of two users, in turn.
sub as { my ($user, $statements) = @_; return "BEGIN; SET LOCAL llm_router.user_id = '$user'; $statements; COMMIT" }

my $usage = 'SELECT count(*), min(user_id), max(user_id) FROM llm_usage_logs';
foreach my $turn (1 .. 3)
{
	is(ask($first, as('ann', "SELECT llm_user_id(); SELECT llm_ask('a$turn', 'precision'); $usage")), "ann\nYou said: a$turn\n$turn|ann|ann", "turn $turn: ann");
	is(ask($second, as('bob', "SELECT llm_user_id(); SELECT llm_ask('b$turn', 'eco'); $usage")), "bob\nYou said: b$turn\n$turn|bob|bob", "turn $turn: bob");
	like(ask($second, as('bob', "SELECT llm_ask('b', 'precision')")), qr/tier starter of user "bob" does not include/, "turn $turn: bob's tier");
	is(ask($first, "SELECT llm_user_id(); $usage"), "app\n0||", "turn $turn: nobody between them");
}
is(ask($first, 'SELECT pg_backend_pid()'), $backend, 'all of it over one server connection');

# One round trip.
my $named = sub { my ($user, $text, $level) = @_; return qq(SELECT llm_ask('$text', '$level', options => '{"router": {"user_id": "$user"}}')) };
is(ask($first, $named->('ann', 'x', 'precision')), 'You said: x', 'options.router.user_id in one statement');
like(ask($second, $named->('bob', 'x', 'precision')), qr/tier starter of user "bob"/, '... with the tier of each');
like(ask($second, $named->('carl', 'x', 'precision')), qr/tier free of user "carl"/, '... and free for one who is unknown');
is(ask($first, 'SELECT llm_user_id()'), 'app', '... leaves nothing behind');

# As PostgREST does.
my $request = sub { my ($user, $statements) = @_; return "BEGIN; SELECT FROM llm_set_user('$user'); SET LOCAL ROLE web; $statements; COMMIT" };
is(ask($first, $request->('ann', "SELECT llm_user_id(), current_user; SELECT llm_ask('y', 'eco'); $usage")), "ann|web\nYou said: y\n5|ann|ann", 'llm_set_user, then SET LOCAL ROLE');
is(ask($second, $request->('bob', "SELECT llm_user_id(), current_user; $usage")), "bob|web\n3|bob|bob", '... for the other user');
like(ask($second, $request->('bob', "SELECT llm_set_user('ann')")), qr/permission denied/, '... who cannot become the first');
is(ask($second, 'SELECT llm_user_id(), current_user'), 'app|app', '... nor leave anything behind');

# What a client does wrong.
like(ask($first, "BEGIN; SET LOCAL llm_router.user_id = 'ann'; SELECT 1/0; COMMIT"), qr/division by zero/, 'a transaction that fails');
is(ask($second, "SELECT llm_user_id()"), 'app', '... leaves nothing behind');
ask($first, "BEGIN; SET LOCAL llm_router.user_id = 'ann'; SELECT llm_user_id()");
$first->{handle}->kill_kill;
is(ask($second, 'SELECT llm_user_id()'), 'app', 'nor does a client that is gone in the middle of one');

is(ask($second, as('bob', q(PREPARE asked AS SELECT llm_ask($1, 'eco'); EXECUTE asked('z'); DEALLOCATE asked))), 'You said: z', 'a prepared statement within its transaction');

is(LlmRouterTest::sql($node, q(SELECT user_id, count(*) FROM llm_usage_logs GROUP BY 1 ORDER BY 1)), "ann|5\nbob|4", 'the ledger names the right user of every call');
is(LlmRouterTest::sql($node, q(SELECT DISTINCT role_name FROM llm_usage_logs ORDER BY 1)), "app\nweb", '... and the role');

$second->{in} = "\\q\n";
$second->{handle}->finish;
LlmRouterTest::stop_process($pid);
done_testing();

# LlmRouterTest.pm
#		What the TAP tests share: a server with llm_router, the simulated
#		provider (test/provider/README.md), and bounded waiting.
#
# Everything started here is stopped when the test ends, also when it dies:
# PostgreSQL::Test::Cluster does so for its nodes, the END block for the rest.
# A wait polls every 20 ms and dies after $TIMEOUT seconds, saying for what.
#
#	my $provider = LlmRouterTest::start_provider();
#	my $node = LlmRouterTest::start_node('main', conf => "max_connections = 50");
#	LlmRouterTest::add_sim($node, $provider);
#	$provider->script({ status => 503 });
#	is($node->safe_psql('postgres', "SELECT llm_ask('hello')"), ...);
package LlmRouterTest;

use strict;
use warnings;

use File::Basename qw(dirname);
use File::Temp qw(tempdir);
use HTTP::Tiny;
use JSON::PP;
use POSIX qw(WNOHANG);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More ();
use Time::HiRes qw(sleep time);

our $TIMEOUT = 60;

my $project = dirname(dirname(dirname(dirname(__FILE__))));
my %children;					# pids that start_process() started

# The project's directory.
sub project
{
	return $project;
}

# Polls until $condition->() is true and returns its value.
sub wait_until
{
	my ($what, $condition, $timeout) = @_;
	my $deadline = time() + ($timeout // $TIMEOUT);
	while (1)
	{
		my $value = $condition->();
		return $value if $value;
		die "gave up waiting: $what\n" if time() > $deadline;
		sleep 0.02;
	}
}

# Polls until $query gives $expected (default "t") in database postgres.
sub wait_for_sql
{
	my ($node, $query, $expected, $timeout) = @_;
	$expected //= 't';
	my $last = '';
	eval {
		wait_until($query, sub { ($last = sql($node, $query)) eq $expected }, $timeout);
		1;
	} or die "$@the last answer was: $last\n";
	return;
}

# One query in database postgres, as text; dies on an error.
sub sql
{
	my ($node, $query) = @_;
	return $node->safe_psql('postgres', $query);
}

# One query that must fail: returns (SQLSTATE, primary message).
sub sql_error
{
	my ($node, $query) = @_;
	my ($status, $out, $err) =
	  $node->psql('postgres', $query, extra_params => [ '-v', 'VERBOSITY=verbose' ], on_error_stop => 1);
	my ($state, $message) = $err =~ /ERROR:\s+(\w{5}): ([^\n]*)/;
	return ($state // '', $message // $err);
}

# A running node with llm_router preloaded and created in database postgres. It
# has neither circuits nor health checks unless conf says otherwise: most tests
# have providers fail on purpose, and count the requests that reach them.
# Options: conf => lines of postgresql.conf; encoding, default UTF8; start => 0
# leaves the node initialised only; extension => 0 leaves out CREATE EXTENSION;
# streaming => 1 allows standbys.
sub start_node
{
	my ($name, %option) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init(
		allows_streaming => $option{streaming} // 0,
		extra            => [ '--encoding', $option{encoding} // 'UTF8', '--no-locale' ]);
	$node->append_conf('postgresql.conf', "shared_preload_libraries = 'llm_router'\n"
		  . "llm_router.circuit_failures = 0\nllm_router.health_check_interval = 0\n" . ($option{conf} // ''));
	return $node unless $option{start} // 1;
	$node->start;
	sql($node, 'CREATE EXTENSION llm_router') if $option{extension} // 1;
	return $node;
}

# Starts a program with its output in the test's log directory; its pid.
sub start_process
{
	my ($name, @command) = @_;
	my $log = "$PostgreSQL::Test::Utils::log_path/$name.log";
	my $pid = fork() // die "fork: $!";
	if ($pid == 0)
	{
		open(STDIN,  '<',  '/dev/null') or die $!;
		open(STDOUT, '>>', $log)        or die $!;
		open(STDERR, '>&', \*STDOUT)    or die $!;
		exec(@command) or POSIX::_exit(127);
	}
	$children{$pid} = 1;
	return $pid;
}

# Waits for the end of a process of start_process().
sub wait_for_exit
{
	my ($pid) = @_;
	return unless $children{$pid};
	wait_until("the end of process $pid", sub { waitpid($pid, WNOHANG) == $pid });
	delete $children{$pid};
	return;
}

# Signals a process of start_process() and waits for its end.
sub stop_process
{
	my ($pid, $signal) = @_;
	return unless delete $children{$pid};
	kill($signal // 'TERM', $pid);
	waitpid($pid, 0);
	return;
}

END
{
	my $status = $?;
	stop_process($_, 'KILL') foreach keys %children;
	$? = $status;
}

# The Python which has the packages of the tests' requirements.txt files.
sub python
{
	return $ENV{LLM_ROUTER_PYTHON} // 'python3';
}

# Starts the simulated provider and waits until it listens. Options: tls => 1
# for TLS with throw-away certificates in $provider->{certificates}; arguments
# => [...] for more of provider.py's options. $provider->{port} maps the names
# of its port file (http, https, https_expired, ...) to port numbers.
sub start_provider
{
	my (%option) = @_;
	my $directory = tempdir('llm_router_provider_XXXXXX', TMPDIR => 1, CLEANUP => 1);
	my $self = bless { certificates => "$directory/certificates", http => HTTP::Tiny->new(timeout => $TIMEOUT) };
	my @arguments = ('--port', 0, '--port-file', "$directory/ports", @{ $option{arguments} // [] });
	push @arguments, '--certificates', $self->{certificates} if $option{tls};

	$self->{pid} = start_process('provider', python(), "$project/test/provider/provider.py", @arguments);
	wait_until(
		'the simulated provider listens',
		sub {
			die "the simulated provider did not start: see provider.log\n"
			  if waitpid($self->{pid}, WNOHANG) == $self->{pid};
			return -e "$directory/ports";
		});
	my $ports = slurp_file("$directory/ports");
	$self->{port} = { $ports =~ /^(\w+)=(\d+)$/mg };
	delete $self->{port}{pid};
	return $self;
}

# The URL of a path, over the listener of that name (default "http").
sub url
{
	my ($self, $path, $listener) = @_;
	$listener //= 'http';
	my $scheme = $listener =~ /^https/ ? 'https' : 'http';
	return "$scheme://127.0.0.1:$self->{port}{$listener}$path";
}

sub control
{
	my ($self, $method, $path, $data) = @_;
	my $answer = $self->{http}->request($method, $self->url("/control/$path"),
		defined $data ? { content => encode_json($data) } : {});
	die "control API: $method $path: $answer->{status} $answer->{content}\n" unless $answer->{success};
	return decode_json($answer->{content});
}

# Adds behaviours to the provider's script, consumed one a request.
sub script
{
	my ($self, @behaviours) = @_;
	$self->control('POST', 'script', \@behaviours);
	return;
}

# Forgets the script, the log and the counters.
sub reset
{
	my ($self) = @_;
	$self->control('POST', 'reset', {});
	return;
}

# What was received after number $since (default: all): a list of hashes.
sub requests
{
	my ($self, $since) = @_;
	return @{ $self->control('GET', 'requests?since=' . ($since // 0))->{requests} };
}

# The counters: connections accepted, requests open now, ...
sub stats
{
	my ($self) = @_;
	return $self->control('GET', 'stats');
}

sub wait_for_requests
{
	my ($self, $count) = @_;
	wait_until("$count requests at the provider", sub { scalar($self->requests) >= $count });
	return;
}

sub stop
{
	my ($self) = @_;
	stop_process($self->{pid});
	return;
}

# Adds the simulated provider as "sim", with a model sim-LEVEL for each power
# level at 1 and 2 USD per million tokens, and makes these the only models that
# the routing rules name. Options: path, default "/local/v1", which takes no
# key; auth_type, default "none"; listener, default "http".
sub add_sim
{
	my ($node, $provider, %option) = @_;
	my $url = $provider->url($option{path} // '/local/v1', $option{listener});
	my $auth_type = $option{auth_type} // 'none';
	sql($node, <<"SQL");
SELECT llm_provider_add('sim', '$url', auth_type => '$auth_type');
SELECT llm_model_add('sim', 'sim-' || level, level, 1, 2, supports_functions => true, supports_vision => true, supports_json_schema => true)
  FROM unnest(ARRAY['eco', 'balanced', 'precision']) AS level;
CREATE TEMP TABLE combinations AS SELECT DISTINCT power_level, subscription_tier FROM llm_routing_rules;
DELETE FROM llm_routing_rules;
INSERT INTO llm_routing_rules (power_level, subscription_tier, priority, model_id)
  SELECT power_level, subscription_tier, 1, llm_model_id('sim', 'sim-' || power_level) FROM combinations;
SQL
	return;
}

# Pids of the node's processes of a kind, as pg_stat_activity's backend_type
# names it; % matches any text.
sub backend_pids
{
	my ($node, $backend_type) = @_;
	return split /\n/, sql($node, "SELECT pid FROM pg_stat_activity WHERE backend_type LIKE '$backend_type' ORDER BY 1");
}

1;

# A real language model answers: SmolLM2-135M-Instruct in llama.cpp's server on
# this machine, asked with llm_ask and llm_chat, and every token is accounted for.
#
# Skipped only when the package index that carries the model cannot be reached.
use strict;
use warnings;

use JSON::PP;
use LlmRouterTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $MODEL = 'smollm2-135m-instruct';

# The Python with the model's packages: LLM_ROUTER_MODEL_PYTHON, else made for this run.
sub model_python
{
	return $ENV{LLM_ROUTER_MODEL_PYTHON} if $ENV{LLM_ROUTER_MODEL_PYTHON};
	local $ENV{PIP_NO_DEPS} = 1;
	my $python = `bash test/lib/venv.sh "$PostgreSQL::Test::Utils::tmp_check/model" test/model/requirements.txt`;
	plan skip_all => 'REAL MODEL NOT TESTED: the Python package index cannot be reached' if $? >> 8 == 3;
	die "the model could not be installed\n" if $?;
	chomp $python;
	return $python;
}

# Starts the model's server; its base URL once it answers.
sub start_model
{
	my $ports = "$PostgreSQL::Test::Utils::tmp_check/model.ports";
	LlmRouterTest::start_process('model', model_python(), 'test/model/serve.py', '--port-file', $ports);
	LlmRouterTest::wait_until('the model listens', sub { -e $ports }, 120);
	my ($port) = slurp_file($ports) =~ /^http=(\d+)$/m;
	return "http://127.0.0.1:$port/v1";
}

my $url = start_model();
my $node = LlmRouterTest::start_node('real_model');

# Prices that no rounding hides: 3 and 7 USD per million tokens.
LlmRouterTest::sql($node, <<"SQL");
SELECT llm_provider_add('local', '$url', auth_type => 'none');
SELECT llm_model_add('local', '$MODEL', 'eco', 3, 7, max_tokens => 4096);
SQL

my $answer = LlmRouterTest::sql($node,
	"SELECT llm_ask('Explain in one sentence what a database is.', model => 'local/$MODEL', options => '{\"max_tokens\": 100}')");
like($answer, qr/data/i, 'the model speaks about what it was asked');
note($answer);

my $response = decode_json(
	LlmRouterTest::sql($node, <<"SQL"));
SELECT llm_chat('[{"role": "system", "content": "You answer briefly."}, {"role": "user", "content": "Say hello."}]',
				model => 'local/$MODEL', options => '{"max_tokens": 5, "temperature": 0}')
SQL
is($response->{object}, 'chat.completion', 'llm_chat returns a chat.completion');
is($response->{llm_router}{provider}, 'local', 'it names the provider');
is($response->{llm_router}{model}, $MODEL, 'it names the model');
cmp_ok($response->{usage}{completion_tokens}, '<=', 5, 'max_tokens reaches the model');
cmp_ok($response->{usage}{prompt_tokens}, '>', 5, 'the prompt was counted');

my $request_id = $response->{llm_router}{request_id};
my $row = "FROM llm_usage_logs WHERE request_id = '$request_id'";
is( LlmRouterTest::sql($node, "SELECT count(*) || ' ' || min(status) $row"),
	'1 ok', 'the ledger has one row of the call');
is( LlmRouterTest::sql($node, "SELECT input_tokens || ' ' || output_tokens $row"),
	"$response->{usage}{prompt_tokens} $response->{usage}{completion_tokens}",
	'the row has the tokens that the model counted');
is( LlmRouterTest::sql($node,
		"SELECT total_cost = (3 * (input_tokens - coalesce(cached_input_tokens, 0)) + 3 * coalesce(cached_input_tokens, 0)
							  + 7 * output_tokens) / 1000000.0 $row"),
	't',
	'the cost is the tokens times the prices, exactly');

my @chunks = map { decode_json($_) } split /\n/, LlmRouterTest::sql($node, <<"SQL");
SELECT llm_chat_stream('[{"role": "user", "content": "Name three colours."}]', model => 'local/$MODEL',
					   options => '{"max_tokens": 20, "temperature": 0}')
SQL
my $last = pop @chunks;
my $text = join '', map { $_->{choices}[0]{delta}{content} // '' } @chunks;
cmp_ok(scalar(@chunks), '>', 5, 'a stream comes in pieces');
like($text, qr/\w/, 'which make a text');
note($text);
is($last->{usage}{completion_tokens}, LlmRouterTest::sql($node,
		"SELECT output_tokens FROM llm_usage_logs WHERE request_id = '$last->{llm_router}{request_id}' AND status = 'ok'"),
	'the tokens that the model counted are in the last chunk and in the ledger');

my $long = LlmRouterTest::sql($node, <<"SQL");
SELECT llm_chat(jsonb_build_array(jsonb_build_object('role', 'user', 'content', 'Count: ' || string_agg(i::text, ' '))),
				model => 'local/$MODEL', options => '{"max_tokens": 3}') -> 'usage' ->> 'completion_tokens'
  FROM generate_series(1, 300) AS i
SQL
cmp_ok($long, '<=', 3, 'a long prompt is answered too');

done_testing();

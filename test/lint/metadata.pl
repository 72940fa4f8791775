#!/usr/bin/perl
# metadata.pl: META.json, which PGXN reads, is JSON and tells the version of llm_router.control.
use strict;
use warnings;
use JSON::PP;

sub slurp
{
	my ($file) = @_;
	open(my $handle, '<', $file) or die "$file: $!\n";
	local $/;
	return <$handle>;
}

my ($version) = slurp('llm_router.control') =~ /^default_version\s*=\s*'([^']+)'/m
  or die "llm_router.control has no default_version\n";
my $meta = decode_json(slurp('META.json'));
my %found = ('version' => $meta->{version}, 'provides.llm_router.version' => $meta->{provides}{llm_router}{version});
my $faults = 0;
for my $field (sort keys %found)
{
	next if defined $found{$field} && $found{$field} eq $version;
	print "META.json: $field is " . ($found{$field} // 'missing') . ", llm_router.control says $version\n";
	$faults++;
}
exit($faults ? 1 : 0);

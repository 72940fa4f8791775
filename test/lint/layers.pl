#!/usr/bin/perl
# layers.pl: a folder of src/ is a layer, which includes only its own headers and those of the layers before it. Also:
# the version of PostgreSQL is asked for in src/base/compat.h only, and the pure layers include no header with which
# they could reach tables, shared memory, the network or the clock.
use strict;
use warnings;

my @layers = qw(base chat providers routing secrets state net engine workers api);
my %rank = map { $layers[$_] => $_ } 0 .. $#layers;
my %pure = map { $_ => 1 } qw(chat providers routing);
my $impure = qr{^(?:executor/spi|storage/|access/(?!hash|htup)|catalog/(?!pg_type)|libpq/|utils/(?:timestamp|snapmgr|rel|guc)\b|time\.h|sys/|curl/)};

my @faults;
for my $file (sort(glob('src/*.[ch]'), glob('src/*/*.[ch]')))
{
	my ($layer) = $file =~ m{^src/([^/]+)/};
	push @faults, "$file: src/$layer is not a layer" if defined $layer && !exists $rank{$layer};
	open(my $handle, '<', $file) or die "$file: $!";
	while (my $line = <$handle>)
	{
		push @faults, "$file:$.: PG_VERSION_NUM outside src/base/compat.h"
		  if $line =~ /\bPG_VERSION_NUM\b/ && $file ne 'src/base/compat.h';
		next unless $line =~ m{^\s*#\s*include\s+["<]([^">]+)[">]};
		my $header = $1;
		my ($folder) = $header =~ m{^([^/]+)/};
		if (-e "src/$header")
		{
			push @faults, "$file:$.: $layer may not include $header: $folder comes later"
			  if defined $layer && exists $rank{$layer} && $rank{ $folder // 'base' } > $rank{$layer};
		}
		elsif (defined $layer && $pure{$layer} && $header =~ $impure)
		{
			push @faults, "$file:$.: $layer is pure and may not include $header";
		}
	}
	close($handle);
}
print map { "$_\n" } @faults;
exit(@faults ? 1 : 0);

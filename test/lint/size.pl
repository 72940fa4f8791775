#!/usr/bin/perl
# size.pl FILE...: no function over 100 lines, counted from its opening brace to the closing one, and no line over 110
# columns with tabs at every fourth. Relies on the layout of make format: both braces stand in the first column.
use strict;
use warnings;

my ($max_lines, $max_columns) = (100, 110);
my @faults;

sub columns
{
	my ($line) = @_;
	1 while $line =~ s/^([^\t]*)\t/$1 . ' ' x (4 - length($1) % 4)/e;
	return length($line);
}

for my $file (@ARGV)
{
	open(my $handle, '<:encoding(UTF-8)', $file) or die "$file: $!";
	my ($name, $opened) = ('', 0);
	while (my $line = <$handle>)
	{
		chomp $line;
		push @faults, "$file:$.: the line has " . columns($line) . ' columns' if columns($line) > $max_columns;
		$name = $1 if !$opened && $line =~ /^(\w+)\(/;
		$opened = $. if $line =~ /^\{/;
		next unless $line =~ /^\}/ && $opened;
		my $lines = $. - $opened + 1;
		push @faults, "$file:$opened: $name has $lines lines" if $name ne '' && $lines > $max_lines;
		($name, $opened) = ('', 0);
	}
	close($handle);
}
print map { "$_\n" } @faults;
exit(@faults ? 1 : 0);

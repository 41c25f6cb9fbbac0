#!/usr/bin/perl
# The most frequent words of the files named, or of standard input.
use strict; use warnings; use utf8;
use open qw(:std :encoding(UTF-8));

my $most = @ARGV && $ARGV[0] =~ /^-(\d+)$/ ? (shift, $1)[1] : 20;
my %seen;
while (<>) {
    $seen{lc $1}++ while /(\p{L}[\p{L}'’-]*)/g;
}
my @words = sort { $seen{$b} <=> $seen{$a} or $a cmp $b } keys %seen;
printf "%7d %s\n", $seen{$_}, $_ for grep { defined } @words[0 .. $most - 1];

#!/usr/bin/perl
#
# access-report.pl - who asks for what, how often and how slowly, from a combined access log
#
use strict;
use warnings;
use Getopt::Long qw(:config no_ignore_case bundling);
use POSIX qw(strftime);
use Time::Local;

my %MONTH;
@MONTH{qw(Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec)} = (0 .. 11);

my ($top, $since, $verbose) = (10, undef, 0);
GetOptions(
    'top|n=i'   => \$top,
    'since|s=s' => \$since,
    'verbose|v' => \$verbose,
) or die "usage: $0 [-n COUNT] [-s YYYY-MM-DD] [-v] [LOG...]\n";

my $start = 0;
if (defined $since) {
    my ($y, $m, $d) = $since =~ /^(\d{4})-(\d\d)-(\d\d)$/
        or die "$0: --since wants YYYY-MM-DD, got '$since'\n";
    $start = timelocal(0, 0, 0, $d, $m - 1, $y);
}

my (%hits, %bytes, %status, %agents, %slow);
my ($lines, $bad) = (0, 0);

while (my $line = <>) {
    $lines++;
    chomp $line;
    unless ($line =~ m{^(\S+)\s+\S+\s+(\S+)\s+\[([^\]]+)\]\s+"([A-Z]+)\s+(\S+)[^"]*"\s+(\d{3})\s+(\d+|-)(?:\s+"[^"]*"\s+"([^"]*)")?(?:\s+([\d.]+))?}) {
        $bad++;
        warn "$ARGV:$.: not understood: $line\n" if $verbose;
        next;
    }
    my ($host, $user, $when, $method, $uri, $code, $size, $agent, $took) = ($1, $2, $3, $4, $5, $6, $7, $8, $9);
    next if $start && epoch($when) < $start;

    $uri =~ s/\?.*//;
    $uri =~ s{/\d+(?=/|$)}{/:id}g;    # /orders/4711 and /orders/4712 are one page
    $hits{$uri}++;
    $bytes{$uri} += $size eq '-' ? 0 : $size;
    $status{$code}++;
    $agents{ family($agent // '-') }++;
    push @{ $slow{$uri} }, $took if defined $took;
} continue {
    close ARGV if eof;                # $. starts again with each file
}

printf "%d lines, %d not understood\n\n", $lines, $bad;
table('Pages', \%hits, sub { sprintf '%10s', human($bytes{ $_[0] }) });
table('Status', \%status);
table('Agents', \%agents);

print "\nSlowest (95th percentile)\n";
my %p95 = map { $_ => percentile(95, @{ $slow{$_} }) } grep { @{ $slow{$_} } >= 20 } keys %slow;
for my $uri ((sort { $p95{$b} <=> $p95{$a} } keys %p95)[ 0 .. $top - 1 ]) {
    last unless defined $uri;
    printf "  %8.3f s  %s\n", $p95{$uri}, $uri;
}
exit($bad ? 1 : 0);

sub epoch {
    my ($d, $mon, $y, $h, $m, $s) = $_[0] =~ m{^(\d+)/(\w{3})/(\d{4}):(\d\d):(\d\d):(\d\d)} or return 0;
    return timelocal($s, $m, $h, $d, $MONTH{$mon}, $y);
}

sub family {
    local $_ = shift;
    return 'bot'     if /bot|crawl|spider/i;
    return 'curl'    if /^curl/;
    return "Firefox" if m{Firefox/\d+};
    return "Chrome"  if m{Chrome/\d+} && !/Edg/;
    return 'other';
}

sub human {
    my $n = shift;
    for my $unit (qw(B K M G)) {
        return sprintf($unit eq 'B' ? '%d%s' : '%.1f%s', $n, $unit) if $n < 1024;
        $n /= 1024;
    }
    return sprintf '%.1fT', $n;
}

sub percentile {
    my ($p, @sorted) = (shift, sort { $a <=> $b } @_);
    return $sorted[ int($p / 100 * $#sorted + 0.5) ];
}

sub table {
    my ($title, $count, $extra) = @_;
    print "$title\n";
    my @keys = sort { $count->{$b} <=> $count->{$a} || $a cmp $b } keys %$count;
    splice @keys, $top if @keys > $top;
    printf "  %8d%s  %s\n", $count->{$_}, ($extra ? $extra->($_) : ''), $_ for @keys;
    print "\n";
}
